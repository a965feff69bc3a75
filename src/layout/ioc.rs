//! What the layouts of libioc and of its ancestor iocage have in common: a directory for each kind of resource, in it a
//! dataset for each, `jails/NAME`, and in that `config.json`, `fstab` and the dataset `root`. A jail's root is a clone of the root of a
//! release or of a template.
//!
//! [`Arrangement`] is what differs between them.

pub(super) mod basejail;
mod keys;

use std::io::ErrorKind;
use std::path::Path;

use remand_backends::{Backend, Dataset, DatasetKind, DatasetName, Snapshot, SnapshotInfo};

pub(super) use keys::without_patch_level;

use super::{Arrival, Layout};
use crate::config::{Config, Defaults, Dialect, Place, View};
use crate::error::{Error, Result};
use crate::resource::{Base, Basejail, Part, Resource, ResourceKind, Selector, check_name, label};

pub(super) const ROOT: &str = "root";
const FSTAB: &str = "fstab";

/// Facts about a layout of this family.
pub(super) trait Arrangement: Send + Sync + std::fmt::Debug {
    /// Its name in a manifest.
    const NAME: &'static str;

    /// The directories that resources are in, each with the kind of what is in it.
    const DIRECTORIES: &'static [(&'static str, ResourceKind)];

    /// The directory in which a resource of this kind is made.
    fn above(kind: ResourceKind) -> Option<&'static str>;

    /// Kinds of which none may have the name of a resource of `kind`.
    fn rivals(_kind: ResourceKind) -> &'static [ResourceKind] {
        &[]
    }

    /// The kind of a resource in a directory for `kind`; it may depend on its config.
    fn kind(kind: ResourceKind, config: Option<&Config>) -> ResourceKind;

    /// How its manager spells a config.
    const DIALECT: Dialect;

    /// What the root of a jail or template can be a copy of, the likeliest first, where only its config can tell.
    fn configured_bases(config: &Config) -> Vec<Selector>;

    /// How a jail that is a basejail gets its base directories.
    fn basejail(directory: &Path, view: &View) -> Result<Option<Basejail>>;

    /// What one of a jail's datasets beside the root is a clone of.
    fn base_of_part(_backend: &dyn Backend, _part: &str, _dataset: &Dataset) -> Result<Option<Base>> {
        Ok(None)
    }

    /// See [`Layout::base_part`].
    fn base_part(release: &str, part: &str) -> Result<DatasetName>;

    /// See [`Layout::adapt`].
    fn adapt(backend: &dyn Backend, config: &mut Config, arrival: &Arrival<'_>) -> Result<Vec<String>>;

    /// See [`Layout::adapt_fstab`].
    fn adapt_fstab(
        backend: &dyn Backend,
        text: &[u8],
        config: &Config,
        arrival: &Arrival<'_>,
    ) -> Result<Option<Vec<u8>>>;
}

impl<A: Arrangement> Layout for A {
    fn name(&self) -> &'static str {
        A::NAME
    }

    fn names(&self, backend: &dyn Backend) -> Result<Vec<(ResourceKind, String)>> {
        let mut found = Vec::new();
        for (above, kind) in A::DIRECTORIES {
            for name in names(backend, above)? {
                found.push((kind_at(self, backend, above, *kind, &name)?, name));
            }
        }
        found.sort();
        Ok(found)
    }

    fn resource(&self, backend: &dyn Backend, kind: ResourceKind, name: &str) -> Result<Option<Resource>> {
        let dataset = self.place(kind, name)?;
        let what = label(kind, name);
        let root = join(&dataset, ROOT)?;
        let (Some(own), Some(root)) = (look_up(backend, &dataset)?, look_up(backend, &root)?) else {
            return Ok(None);
        };
        let Some(directory) = own.directory.clone() else {
            return Err(Error::Unsupported(format!(
                "The dataset of the {what} is not mounted; mount it first"
            )));
        };
        let is_file = |name: &str| directory.join(name).symlink_metadata().is_ok_and(|found| found.is_file());
        let has_files = kind != ResourceKind::Release;
        let place = Place { backend, dataset: &dataset, directory: &directory };
        let form = if has_files { place.form(self.config_forms())? } else { None };
        let (config, unclear) = match form.map(|form| place.config(form, &what)).transpose() {
            Ok(config) => (config, None),
            // It travels as it is.
            Err(error @ Error::Malformed { .. }) => (None, Some(error)),
            Err(error) => return Err(error),
        };
        let stored = if kind == ResourceKind::Template { ResourceKind::Jail } else { kind };
        if has_files && A::above(kind) == A::above(stored) && A::kind(stored, config.as_ref()) != kind {
            return Ok(None);
        }
        let base = match &root.origin {
            _ if !has_files => None,
            Some(origin) => base_of_clone(self, backend, &root, origin)?,
            None if root.kind == DatasetKind::Directory => match unclear {
                Some(error) => return Err(error),
                None => configured_base(self, backend, config.as_ref())?,
            },
            None => None,
        };
        let view = match &config {
            Some(config) => Some(Defaults::of(backend)?.view(config)),
            None => None,
        };
        let datasets = parts::<A>(backend, &dataset, root, &what)?;
        let basejail = match &view {
            _ if datasets.iter().any(|part| part.base.is_some()) => Some(Basejail::Cloned),
            Some(view) => A::basejail(&directory, view)?,
            None => None,
        };
        Ok(Some(Resource {
            kind,
            name: name.to_owned(),
            enclosed: backend
                .enclosed(&dataset)
                .map_err(Error::backend(format!("look for snapshots in the {what}")))?,
            dataset,
            config: form,
            view,
            fstab: has_files && is_file(FSTAB),
            directory,
            base,
            basejail,
            datasets,
        }))
    }

    fn place(&self, kind: ResourceKind, name: &str) -> Result<DatasetName> {
        check_name(name)?;
        let above = A::above(kind).ok_or_else(|| {
            Error::Unsupported(format!("{}'s layout has no place for the {}", A::NAME, label(kind, name)))
        })?;
        join(&DatasetName::pool(), &format!("{above}/{name}"))
    }

    fn rivals(&self, kind: ResourceKind) -> &'static [ResourceKind] {
        A::rivals(kind)
    }

    fn bases(&self, backend: &dyn Backend, source: &Selector) -> Result<Vec<Base>> {
        let place = self.place(source.kind, &source.name)?;
        let root = join(&place, ROOT)?;
        let Some(found) = look_up(backend, &root)? else { return Ok(Vec::new()) };
        let above = A::above(source.kind).unwrap_or_default();
        // What is a jail to its manager is no base.
        let stored = A::DIRECTORIES.iter().find(|(name, _)| *name == above).map(|(_, kind)| *kind);
        if stored.is_some_and(|stored| stored != source.kind)
            && kind_at(self, backend, above, ResourceKind::Jail, &source.name)? != source.kind
        {
            return Ok(Vec::new());
        }
        let base =
            |snapshot| Base { kind: source.kind, name: source.name.clone(), snapshot, parted_seconds: None };
        let itself =
            backend.capabilities().datasets_are_bases.then(|| Snapshot { dataset: root.clone(), name: None });
        if found.kind == DatasetKind::Directory {
            return Ok(itself.map(base).into_iter().collect());
        }
        let failed = Error::backend(format!("list the snapshots of {}", source.base_label()));
        let snapshots = backend.snapshots(&root).map_err(failed)?;
        let own = |info: &SnapshotInfo| {
            info.snapshot.name.as_ref().is_some_and(|name| crate::run::is_run_id(name.as_str()))
        };
        let snapshots = snapshots.into_iter().filter(|info| !own(info)).map(|info| info.snapshot);
        Ok(snapshots.chain(itself).map(base).collect())
    }

    fn bare_base(&self, backend: &dyn Backend, source: &Selector) -> Result<Option<DatasetName>> {
        if backend.capabilities().datasets_are_bases || !self.bases(backend, source)?.is_empty() {
            return Ok(None);
        }
        let found = self.resource(backend, source.kind, &source.name)?;
        let root = found.filter(|found| found.root().kind == DatasetKind::FileSystem);
        Ok(root.map(|found| found.root().dataset.clone()))
    }

    fn base_part(&self, release: &str, part: &str) -> Result<DatasetName> {
        A::base_part(release, part)
    }

    fn dialect(&self) -> Dialect {
        A::DIALECT
    }

    fn adapt(
        &self,
        backend: &dyn Backend,
        config: &mut Config,
        arrival: &Arrival<'_>,
    ) -> Result<Vec<String>> {
        A::adapt(backend, config, arrival)
    }

    fn adapt_fstab(
        &self,
        backend: &dyn Backend,
        text: &[u8],
        config: &Config,
        arrival: &Arrival<'_>,
    ) -> Result<Option<Vec<u8>>> {
        A::adapt_fstab(backend, text, config, arrival)
    }
}

/// Whether the pool has a release.
pub(super) fn has_release<A: Arrangement>(backend: &dyn Backend, release: &str) -> Result<bool> {
    let Some(above) = A::above(ResourceKind::Release) else { return Ok(false) };
    if check_name(release).is_err() {
        return Ok(false);
    }
    Ok(look_up(backend, &join(&DatasetName::pool(), &format!("{above}/{release}/{ROOT}"))?)?.is_some())
}

/// What kind of resource lies in the directory `above`, in which those of `kind` are.
fn kind_at<A: Arrangement>(
    layout: &A,
    backend: &dyn Backend,
    above: &str,
    kind: ResourceKind,
    name: &str,
) -> Result<ResourceKind> {
    if kind == ResourceKind::Release {
        return Ok(kind);
    }
    let (dataset, directory) =
        (join(&DatasetName::pool(), &format!("{above}/{name}"))?, backend.directory().join(above).join(name));
    let place = Place { backend, dataset: &dataset, directory: &directory };
    let form = place.form(layout.config_forms())?;
    match form.map(|form| place.config(form, &label(kind, name))).transpose() {
        Ok(config) => Ok(A::kind(kind, config.as_ref())),
        Err(Error::Malformed { .. }) => Ok(A::kind(kind, None)),
        Err(error) => Err(error),
    }
}

/// The release or template that a root was cloned from.
fn base_of_clone<A: Arrangement>(
    layout: &A,
    backend: &dyn Backend,
    root: &Dataset,
    origin: &Snapshot,
) -> Result<Option<Base>> {
    let mut names = origin.dataset.as_str().split('/');
    let (Some(above), Some(name), Some(ROOT), None) =
        (names.next(), names.next(), names.next(), names.next())
    else {
        return Ok(None);
    };
    let kind = A::DIRECTORIES.iter().find(|(known, _)| *known == above).map(|(_, kind)| *kind);
    let Some(kind) = kind.filter(|_| check_name(name).is_ok()) else { return Ok(None) };
    let kind = kind_at(layout, backend, above, kind, name)?;
    if kind == ResourceKind::Jail {
        return Ok(None);
    }
    let parted_seconds = backend
        .parted_seconds(root)
        .map_err(Error::backend(format!("look {} up", origin.dataset.as_str())))?;
    Ok(Some(Base { kind, name: name.to_owned(), snapshot: origin.clone(), parted_seconds }))
}

/// Of a root that is no clone the config alone tells the base. One that is not in the pool is none: nothing could be
/// restored against it.
fn configured_base<A: Arrangement>(
    layout: &A,
    backend: &dyn Backend,
    config: Option<&Config>,
) -> Result<Option<Base>> {
    let Some(config) = config else { return Ok(None) };
    for source in A::configured_bases(config) {
        let plain =
            without_patch_level(&source.name).map(|name| Selector { name: name.into(), ..source.clone() });
        for source in [Some(source), plain].into_iter().flatten() {
            if check_name(&source.name).is_ok()
                && let Some(base) = layout.bases(backend, &source)?.pop()
            {
                return Ok(Some(base));
            }
        }
    }
    Ok(None)
}

/// The datasets of a resource, the root first.
fn parts<A: Arrangement>(
    backend: &dyn Backend,
    dataset: &DatasetName,
    root: Dataset,
    what: &str,
) -> Result<Vec<Part>> {
    let part = |name: &str, dataset: Dataset, base| {
        let Dataset { name: full, kind, directory, .. } = dataset;
        Part { name: name.to_owned(), dataset: full, kind, directory, base }
    };
    let mut datasets = vec![part(ROOT, root, None)];
    let below = backend.descendants(dataset);
    for below in below.map_err(Error::backend(format!("list the datasets of the {what}")))? {
        match below.name.below(dataset).map(str::to_owned) {
            Some(name) if name != ROOT => {
                let base = A::base_of_part(backend, &name, &below)?;
                datasets.push(part(&name, below, base));
            }
            _ => {}
        }
    }
    Ok(datasets)
}

pub(super) fn join(above: &DatasetName, name: &str) -> Result<DatasetName> {
    above.join(name).map_err(|error| Error::Usage(error.to_string()))
}

fn look_up(backend: &dyn Backend, name: &DatasetName) -> Result<Option<Dataset>> {
    backend.dataset(name).map_err(Error::backend(format!("look {} up", name.as_str())))
}

/// Names in a directory of the pool. Those that no resource can have are somebody else's.
fn names(backend: &dyn Backend, above: &str) -> Result<Vec<String>> {
    let above = backend.directory().join(above);
    let entries = match std::fs::read_dir(&above) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", above.display())(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("read", above.display()))?;
        names.extend(entry.file_name().into_string().ok().filter(|name| check_name(name).is_ok()));
    }
    Ok(names)
}
