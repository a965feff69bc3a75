//! Compares by content: every name on both sides, every byte of files of equal size.
//!
//! Needs nothing of the trees: they may be copies, on different file systems or hosts.

use super::{DirectoryPair, Engine, Proof, Result, Scope, Trees, walk};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Content;

impl Engine for Content {
    fn name(&self) -> &'static str {
        "content"
    }

    fn proof(&self) -> Proof {
        Proof::Bytes
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
