//! Whether there is room for what is restored, before anything is written.

use std::sync::atomic::AtomicBool;

use super::visitor::Restore;
use super::work::{Onto, Work};
use crate::change::{Scope, walk};
use crate::error::Result;
use crate::pool::with_view;

impl Restore<'_> {
    /// Fails where what is sure to be written to the pool does not fit.
    pub(super) fn check_room(&self) -> Result<()> {
        let content = self.works.iter().map(content_bytes).sum::<u64>();
        let directory = self.context.pool.backend().directory();
        // Most have room enough, and then nothing needs to be counted.
        self.rooms.need(directory, content, "what the archive holds")?;
        let mut bytes = content;
        for work in &self.works {
            bytes += self.copied_bytes(work, self.context.interrupted)?;
        }
        let what =
            if bytes > content { "what the archive holds, on a copy of its base" } else { return Ok(()) };
        self.rooms.need(directory, bytes, what)
    }

    /// What a base comes to that is copied, because the pool has no clones: each file once, without its holes.
    fn copied_bytes(&self, work: &Work<'_>, interrupted: &AtomicBool) -> Result<u64> {
        let Onto::Base(chosen) = &work.onto else { return Ok(0) };
        let pool = self.context.pool;
        if pool.backend().capabilities().clones || !self.rooms.refuses(pool.backend().directory()) {
            return Ok(0);
        }
        let name = format!("{}-{}-room", self.run_id(), work.number);
        with_view(pool.backend(), &chosen.base.snapshot, &name, self.context.steps, |view| {
            let scope = Scope { exclude: &[], interrupted };
            let bytes = |stat: &crate::tree::Stat| {
                // What has several names is met as often, where all of them are in the tree.
                stat.size.min(stat.allocated_bytes) / stat.identity.links.max(1)
            };
            Ok(walk::files(&view.tree, scope, bytes)?)
        })
    }
}

/// What the archive says that it holds of a resource's datasets.
fn content_bytes(work: &Work<'_>) -> u64 {
    work.plan.record.datasets.iter().filter_map(|dataset| dataset.bytes).sum()
}
