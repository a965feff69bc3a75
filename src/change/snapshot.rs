//! Asks the backend what differs between two of its snapshots, and looks nowhere else.
//!
//! The cost follows the change and not the size of the trees. What the backend tells are hints ([`NativeDiff`]); the comparer
//! confirms each. All of them are collected before the first is compared: if the backend fails on the way, or there
//! are more than memory should hold, both trees are walked as by [`Lineage`](super::lineage), whose proof of equality this
//! engine shares. So it never finds less.

mod candidates;
mod collect;
mod directories;
mod look;
mod names;

use remand_backends::{NativeDiff, Snapshot as Frozen};

use self::candidates::Candidates;
use self::collect::{Collector, Stop};
use self::directories::Directories;
use super::{Candidate, DirectoryPair, Engine, Proof, Result, Scope, Trees, walk};

/// Paths that are held in memory; beyond that a walk costs less.
const MAX_PATHS: usize = 200_000;

/// What the backend is asked about: the snapshots that the two trees show.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Who knows.
    pub native: &'a dyn NativeDiff,
    /// What the base's tree shows.
    pub base: &'a Frozen,
    /// What the tree shows as it is now.
    pub now: &'a Frozen,
}

/// See the module.
#[derive(Clone, Copy)]
pub struct Snapshot<'a> {
    asked: Asked<'a>,
    before_seconds: Option<i64>,
    limit: usize,
}

impl<'a> Snapshot<'a> {
    /// `before_seconds` is as for [`Proof::Lineage`]; without it bytes decide what the hints lead to.
    pub fn new(asked: Asked<'a>, before_seconds: Option<i64>) -> Self {
        Self { asked, before_seconds, limit: MAX_PATHS }
    }

    /// Holds no more than `limit` paths.
    #[cfg(test)]
    pub(super) fn limited(self, limit: usize) -> Self {
        Self { limit, ..self }
    }
}

impl Engine for Snapshot<'_> {
    fn name(&self) -> &'static str {
        "snapshot"
    }

    fn proof(&self) -> Proof {
        match self.before_seconds {
            Some(before_seconds) => Proof::Lineage { before_seconds },
            None => Proof::Bytes,
        }
    }

    fn visits_everything(&self) -> bool {
        false
    }

    fn candidates(
        &self,
        trees: Trees<'_>,
        scope: Scope<'_>,
        emit: &mut dyn FnMut(DirectoryPair) -> bool,
    ) -> Result<Option<String>> {
        if trees.base.is_none() {
            walk::merged(None, Some(trees.now), scope, emit)?;
            return Ok(None);
        }
        let Asked { native, base, now } = self.asked;
        let collector = Collector { trees, scope, limit: self.limit };
        match collector.collect(native, |hint| native.changes(base, now, hint)) {
            Ok(found) => emit_all(found, trees, scope, emit).map(|()| None),
            Err(Stop::Error(error)) => Err(error),
            Err(Stop::Walk(reason)) => {
                walk::merged(trees.base, Some(trees.now), scope, emit)?;
                Ok(Some(reason))
            }
        }
    }
}

fn emit_all(
    found: Candidates,
    trees: Trees<'_>,
    scope: Scope<'_>,
    emit: &mut dyn FnMut(DirectoryPair) -> bool,
) -> Result<()> {
    let mut directories = Directories::new(trees);
    for (path, names) in found.into_directories() {
        scope.check()?;
        let Some([base, now]) = directories.open(&path)? else { continue };
        let names = names.into_iter().map(Candidate::from).collect();
        if !emit(DirectoryPair { path, base, now, names }) {
            break;
        }
    }
    Ok(())
}
