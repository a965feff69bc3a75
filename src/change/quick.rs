//! Compares by size and time of modification, where the user says that this is enough.
//!
//! Content that was changed at equal size and mtime is missed; attributes are still compared.

use super::{DirectoryPair, Engine, Proof, Result, Scope, Trees, walk};

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quick;

impl Engine for Quick {
    fn name(&self) -> &'static str {
        "quick"
    }

    fn proof(&self) -> Proof {
        Proof::Quick
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
