//! Where a manager keeps its resources in a pool, and in what form their config is.
//!
//! One module a layout. The first is libioc's; a further one implements [`Layout`] and is named in [`detect`].

pub mod libioc;

use remand_backends::{Backend, DatasetName, Snapshot};

use crate::config::{Dialect, Form};
use crate::error::Result;
use crate::resource::{Base, Resource, ResourceKind};

/// How a manager arranges a pool.
pub trait Layout: Send + Sync + std::fmt::Debug {
    /// Its name in a manifest.
    fn name(&self) -> &'static str;

    /// The resources of a pool, sorted by kind and name.
    fn resources(&self, backend: &dyn Backend) -> Result<Vec<Resource>>;

    /// Names that can be resources', sorted by kind and name, without a look at each.
    fn names(&self, backend: &dyn Backend) -> Result<Vec<(ResourceKind, String)>>;

    /// One resource; `None` where there is none.
    fn resource(&self, backend: &dyn Backend, kind: ResourceKind, name: &str) -> Result<Option<Resource>>;

    /// The dataset that a resource has, or would have. `name` has been checked.
    fn place(&self, kind: ResourceKind, name: &str) -> Result<DatasetName>;

    /// The snapshots of a release that can be a base, the newest last; one without a name where the backend has no
    /// snapshots. Empty where the release, or a snapshot of it, is missing.
    fn bases(&self, backend: &dyn Backend, release: &str) -> Result<Vec<Base>>;

    /// The release that a snapshot belongs to, if it is one's root.
    fn release_of(&self, snapshot: &Snapshot) -> Option<String>;

    /// The dataset of a release that a dataset of a basejail is cloned from; `part` is the latter's name relative to its
    /// resource. Both have been checked.
    fn base_part(&self, release: &str, part: &str) -> Result<DatasetName>;

    /// The forms of config that the manager reads, in the order in which it looks for them.
    fn config_forms(&self) -> &'static [Form] {
        &Form::ALL
    }

    /// How the manager writes a config: in the first of these forms, with values in this spelling.
    fn dialect(&self) -> Dialect;

    /// Key of the config that names the release.
    fn release_key(&self) -> &'static str;
}

/// The layout of a pool. An empty pool gets libioc's.
pub fn detect(_backend: &dyn Backend) -> Box<dyn Layout> {
    Box::new(libioc::Libioc)
}
