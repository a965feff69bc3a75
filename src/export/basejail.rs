//! What an export of a basejail leaves out, because the restore takes it from the target's release.

use std::sync::atomic::AtomicBool;

use remand_backends::{Snapshot, SnapshotName};

use super::datasets::Job;
use super::plan::{Plan, Wishes};
use crate::archive::manifest::{BaseDirectory, Encoding};
use crate::basejail;
use crate::change::{self, Change, Trees};
use crate::error::{Error, Result};
use crate::pool::{Pool, with_view};
use crate::resource::{Base, Part, Resource};
use crate::step::Steps;
use crate::tree::{Tree, TreePath};

impl Job<'_> {
    /// The base directories of the root, as the manifest has them.
    pub(super) fn left_out(&self, base: Option<&Tree>) -> Result<Vec<BaseDirectory>> {
        let paths = &self.plan.base_directories;
        if paths.is_empty() {
            return Ok(Vec::new());
        }
        let snapshot = self.snapshot_of(&self.plan.datasets[0]);
        let found =
            self.with_view(&snapshot, |view| basejail::left_out(paths, Trees { base, now: &view.tree }))?;
        tell(&found, self.steps);
        Ok(found)
    }
}

/// Says what is not in the result.
pub(crate) fn tell(left_out: &[BaseDirectory], steps: &Steps<'_>) {
    if !left_out.is_empty() {
        let paths: Vec<_> = left_out.iter().map(|directory| directory.path.as_str()).collect();
        let message =
            format!("belongs to the release of this basejail, its content is left out: {}", paths.join(", "));
        steps.notice("root", message);
    }
}

/// Where clones of a release's datasets are compared.
pub(super) struct Comparison<'a> {
    pub(super) pool: &'a Pool,
    pub(super) resource: &'a Resource,
    pub(super) steps: &'a Steps<'a>,
    pub(super) interrupted: &'a AtomicBool,
    /// The run, and the snapshot of every dataset; none reads the live trees.
    pub(super) snapshot: Option<(&'a str, Option<SnapshotName>)>,
}

impl Comparison<'_> {
    /// Looks at each clone of a release's dataset. One that changed since travels whole, so that nothing is lost.
    pub(super) fn keep_changed(&self, plan: &mut Plan, wishes: Wishes) -> Result<()> {
        for (at, part) in self.resource.datasets.iter().enumerate() {
            let left_out = plan
                .datasets
                .iter()
                .any(|planned| planned.name == part.name && planned.encoding == Encoding::Base);
            let Some(base) = part.base.as_ref().filter(|_| left_out) else { continue };
            if self.is_changed(at, part, base)? {
                let message = format!(
                    "has changed since it was cloned from {}; it travels whole",
                    base.snapshot.dataset.as_str()
                );
                self.steps.notice(&part.name, message);
                plan.keep_whole(part, wishes)?;
            }
        }
        Ok(())
    }

    fn is_changed(&self, at: usize, part: &Part, base: &Base) -> Result<bool> {
        let run = self.snapshot.as_ref().map_or("", |(run, _)| run);
        let with = |snapshot: &Snapshot, side: &str, work: &mut dyn FnMut(&Tree) -> Result<bool>| {
            let name = format!("{run}-{side}{at}");
            with_view(self.pool.backend(), snapshot, &name, self.steps, |view| work(&view.tree))
        };
        if let Some((_, name)) = &self.snapshot {
            let now = Snapshot { dataset: part.dataset.clone(), name: name.clone() };
            return with(&base.snapshot, "origin", &mut |origin| {
                with(&now, "part", &mut |now| self.differ(part, base, Trees { base: Some(origin), now }))
            });
        }
        let now = crate::diff::live(part)?;
        crate::diff::reading(self.pool, self.resource, self.steps, |reading| {
            reading.with(&base.snapshot, |origin| {
                self.differ(part, base, Trees { base: Some(origin), now: &now })
            })
        })
    }

    /// Whether anything differs; the first difference decides.
    fn differ(&self, part: &Part, base: &Base, trees: Trees<'_>) -> Result<bool> {
        let prefix = format!("{}/", part.name);
        let datasets = self.resource.datasets.iter().map(|part| part.name.as_str());
        let all = datasets.chain(self.resource.enclosed.iter().map(String::as_str));
        let below = all.filter_map(|name| name.strip_prefix(&prefix));
        let exclude: Vec<TreePath> = below.filter_map(|name| TreePath::new(name.as_bytes()).ok()).collect();
        let options = change::Options {
            threads: 0,
            of_base: change::OfBase::Nothing,
            exclude: &exclude,
            interrupted: self.interrupted,
            whole: None,
        };
        let engine = crate::base::choose(Some(base), None, None)?.engine(None);
        let mut different = false;
        let outcome = change::compare(engine.as_ref(), trees, options, &mut |_: Change| {
            different = true;
            Err(Error::Interrupted) // nothing more has to be found
        });
        match outcome {
            Err(Error::Interrupted) if different => Ok(true),
            other => other.map(|_| false),
        }
    }
}
