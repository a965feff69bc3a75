//! Where a manager keeps its resources in a pool, and in what form their config is.
//!
//! One module a layout: it implements [`Layout`], is named in [`named`], and [`detect()`] tells it by the marks that its manager
//! leaves. Layouts that only differ in a few facts share the rest (`layout/ioc.rs`).

mod arrival;
mod detect;
mod ioc;
pub mod iocage;
pub mod libioc;

use remand_backends::{Backend, DatasetName};

pub use arrival::Arrival;
pub use detect::{Marks, detect};

use crate::config::{Config, Dialect, Form};
use crate::error::{Error, Result};
use crate::resource::{Base, Resource, ResourceKind, Selector};

/// How a manager arranges a pool.
pub trait Layout: Send + Sync + std::fmt::Debug {
    /// Its name in a manifest.
    fn name(&self) -> &'static str;

    /// The resources of a pool, sorted by kind and name.
    fn resources(&self, backend: &dyn Backend) -> Result<Vec<Resource>> {
        let mut found = Vec::new();
        for (kind, name) in self.names(backend)? {
            found.extend(self.resource(backend, kind, &name)?);
        }
        Ok(found)
    }

    /// Names that can be resources', sorted by kind and name. Of each no more is looked at than what tells its kind.
    fn names(&self, backend: &dyn Backend) -> Result<Vec<(ResourceKind, String)>>;

    /// One resource; `None` where there is none.
    fn resource(&self, backend: &dyn Backend, kind: ResourceKind, name: &str) -> Result<Option<Resource>>;

    /// The dataset that a resource has, or would have. `name` has been checked.
    fn place(&self, kind: ResourceKind, name: &str) -> Result<DatasetName>;

    /// Kinds of which none may have the name of a resource of `kind`, because the manager could not tell them apart.
    fn rivals(&self, kind: ResourceKind) -> &'static [ResourceKind];

    /// The snapshots of a release or template that can be a base, the newest last; one without a name where the backend has no
    /// snapshots. Empty where it, or a snapshot of it, is missing.
    fn bases(&self, backend: &dyn Backend, source: &Selector) -> Result<Vec<Base>>;

    /// The root of a release or template that has no snapshot yet and needs one to be a base.
    fn bare_base(&self, backend: &dyn Backend, source: &Selector) -> Result<Option<DatasetName>>;

    /// The dataset of a release that a dataset of a basejail is cloned from; `part` is the latter's name relative to its
    /// resource. Both have been checked.
    fn base_part(&self, release: &str, part: &str) -> Result<DatasetName>;

    /// The forms of config that the manager reads, in the order in which it looks for them.
    fn config_forms(&self) -> &'static [Form] {
        &Form::ALL
    }

    /// How the manager writes a config: in the first of these forms, with values in this spelling.
    fn dialect(&self) -> Dialect;

    /// Changes a restored resource's config where this manager needs other values than the archive's: those that name the
    /// base, and of an archive of another layout those that mean something else here. It is spelt as [`Layout::dialect`] says
    /// already. What it does not know stays. Returns what the user should know.
    fn adapt(&self, backend: &dyn Backend, config: &mut Config, arrival: &Arrival<'_>)
    -> Result<Vec<String>>;

    /// Changes its fstab in the same way, `text` being an archive's, with `backup:///`. `config` is the config as it arrives.
    /// `None` where nothing has to change.
    fn adapt_fstab(
        &self,
        backend: &dyn Backend,
        text: &[u8],
        config: &Config,
        arrival: &Arrival<'_>,
    ) -> Result<Option<Vec<u8>>>;
}

/// Names of the layouts.
pub const NAMES: [&str; 2] = ["libioc", "iocage"];

/// The layout with this name; `None` if there is no such.
pub fn named(name: &str) -> Option<Box<dyn Layout>> {
    match name {
        "libioc" => Some(Box::new(libioc::Libioc)),
        "iocage" => Some(Box::new(iocage::Iocage)),
        _ => None,
    }
}

/// The layout that the user asks for, else the one whose marks the pool has.
pub fn choose(backend: &dyn Backend, asked: Option<&str>) -> Result<Box<dyn Layout>> {
    let name = match asked {
        Some(name) => name,
        None => detect(&Marks::of(backend)?),
    };
    named(name).ok_or_else(|| {
        Error::Usage(format!("There is no layout {name}; remand knows {}", NAMES.join(" and ")))
    })
}
