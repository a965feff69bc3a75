//! Compares a clone with what it was cloned from.
//!
//! In the clone an entry keeps its inode number and ctime until it is touched, and neither can be set by hand. So
//! an entry that has both equal is unchanged, and nothing more of it is read. Two trees of no common lineage must not
//! be compared so: equal numbers mean nothing there.
//!
//! Some file systems keep ctime in whole seconds (zfs-fuse shows no more). There a change in the very second of the snapshot
//! leaves an equal ctime behind. So the rule holds only for what was last touched before the second in which the snapshot was
//! made; the rest is read. And where a file system does not touch ctime when an extended attribute changes
//! ([`Tree::ctime_tells_of_xattrs`](crate::tree::Tree::ctime_tells_of_xattrs)), equal numbers prove the content alone, and attributes are
//! compared.

use super::{DirectoryPair, Engine, Proof, Result, Scope, Trees, walk};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Lineage {
    /// The second, since 1970, in which the snapshot was made.
    pub before_seconds: i64,
}

impl Engine for Lineage {
    fn name(&self) -> &'static str {
        "lineage"
    }

    fn proof(&self) -> Proof {
        Proof::Lineage { before_seconds: self.before_seconds }
    }

    fn visits_everything(&self) -> bool {
        true
    }

    fn candidates(
        &self,
        trees: Trees<'_>,
        scope: Scope<'_>,
        emit: &mut dyn FnMut(DirectoryPair) -> bool,
    ) -> Result<Option<String>> {
        walk::merged(trees.base, Some(trees.now), scope, emit).map(|()| None)
    }
}
