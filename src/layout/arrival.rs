//! A resource on its way into a pool.

use crate::resource::{ResourceKind, Selector};

/// What a layout needs to know of a resource that is restored.
#[derive(Clone, Debug)]
pub struct Arrival<'a> {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its name in the archive.
    pub old_name: &'a str,
    /// The name that it gets.
    pub name: &'a str,
    /// Layout of the pool that it came from.
    pub layout: &'a str,
    /// The base that it had, as far as the archive says.
    pub had: Option<Selector>,
    /// The base that it is a clone of now.
    pub has: Option<Selector>,
    /// Directories of its root that belong to its base, as far as the archive says.
    pub directories: Vec<String>,
}

impl Arrival<'_> {
    /// The base, where it is another one than it had.
    pub(crate) fn other_base(&self) -> Option<&Selector> {
        self.has.as_ref().filter(|base| Some(*base) != self.had.as_ref())
    }

    /// The base that it has, or else had.
    pub(super) fn base(&self) -> Option<&Selector> {
        self.has.as_ref().or(self.had.as_ref())
    }
}
