//! libioc's layout: `jails/NAME/{config.json,fstab,root}`, `releases/NAME/root`, `base/NAME/root/…` for basejails.

mod basejail;

use remand_backends::{Backend, Dataset, DatasetKind, DatasetName, Snapshot};

use super::Layout;
use crate::config::{Dialect, Place, View};
use crate::error::{Error, Result};
use crate::resource::{Base, Basejail, Part, Resource, ResourceKind, check_name, label};

const ROOT: &str = "root";

/// libioc's layout.
#[derive(Debug)]
pub struct Libioc;

impl Layout for Libioc {
    fn name(&self) -> &'static str {
        "libioc"
    }

    fn resources(&self, backend: &dyn Backend) -> Result<Vec<Resource>> {
        let mut found = Vec::new();
        for (kind, name) in self.names(backend)? {
            found.extend(self.resource(backend, kind, &name)?);
        }
        Ok(found)
    }

    fn names(&self, backend: &dyn Backend) -> Result<Vec<(ResourceKind, String)>> {
        let mut found = Vec::new();
        for kind in [ResourceKind::Jail, ResourceKind::Release] {
            found.extend(names(backend, kind)?.into_iter().map(|name| (kind, name)));
        }
        Ok(found)
    }

    fn resource(&self, backend: &dyn Backend, kind: ResourceKind, name: &str) -> Result<Option<Resource>> {
        let dataset = self.place(kind, name)?;
        let root = join(&dataset, ROOT)?;
        let what = label(kind, name);
        let (Some(own), Some(root)) = (look_up(backend, &dataset)?, look_up(backend, &root)?) else {
            return Ok(None);
        };
        let Some(directory) = own.directory.clone() else {
            return Err(Error::Unsupported(format!(
                "The dataset of the {what} is not mounted; mount it first"
            )));
        };
        let is_file = |name: &str| directory.join(name).symlink_metadata().is_ok_and(|found| found.is_file());
        let place = Place { backend, dataset: &dataset, directory: &directory };
        let config = if kind == ResourceKind::Jail { place.form(self.config_forms())? } else { None };
        let (view, unclear) = match config.map(|form| place.view(form, &what)).transpose() {
            Ok(view) => (view, None),
            // It travels as it is.
            Err(error @ Error::Malformed { .. }) => (None, Some(error)),
            Err(error) => return Err(error),
        };
        let fstab = kind == ResourceKind::Jail && is_file("fstab");
        let base = match (kind, &root.origin) {
            (ResourceKind::Jail, Some(origin)) => self.base_of_clone(backend, &root, origin)?,
            (ResourceKind::Jail, None) if root.kind == DatasetKind::Directory => match unclear {
                Some(error) => return Err(error),
                None => self.configured_base(backend, view.as_ref())?,
            },
            _ => None,
        };
        let mut datasets = vec![part(ROOT, root, None)];
        for below in backend
            .descendants(&dataset)
            .map_err(Error::backend(format!("list the datasets of the {what}")))?
        {
            match below.name.below(&dataset).map(str::to_owned) {
                Some(name) if name != ROOT => {
                    let base = basejail::base_of_part(backend, &name, &below)?;
                    datasets.push(part(&name, below, base));
                }
                _ => {}
            }
        }
        let enclosed = backend
            .enclosed(&dataset)
            .map_err(Error::backend(format!("look for snapshots in the {what}")))?;
        let basejail = if datasets.iter().any(|part| part.base.is_some()) {
            Some(Basejail::Cloned)
        } else {
            view.as_ref().and_then(basejail::configured)
        };
        let name = name.to_owned();
        Ok(Some(Resource {
            kind,
            name,
            dataset,
            directory,
            config,
            view,
            fstab,
            base,
            basejail,
            datasets,
            enclosed,
        }))
    }

    fn place(&self, kind: ResourceKind, name: &str) -> Result<DatasetName> {
        check_name(name)?;
        let above = match kind {
            ResourceKind::Jail => "jails",
            ResourceKind::Release => "releases",
            ResourceKind::Plain => {
                return Err(Error::Unsupported(format!(
                    "libioc's layout has no place for the plain dataset {name}"
                )));
            }
        };
        join(&DatasetName::pool(), &format!("{above}/{name}"))
    }

    fn bases(&self, backend: &dyn Backend, release: &str) -> Result<Vec<Base>> {
        let root = join(&self.place(ResourceKind::Release, release)?, ROOT)?;
        let Some(found) = look_up(backend, &root)? else { return Ok(Vec::new()) };
        let base = |snapshot| Base { name: release.to_owned(), snapshot, parted_seconds: None };
        let itself =
            backend.capabilities().datasets_are_bases.then(|| Snapshot { dataset: root.clone(), name: None });
        if found.kind == DatasetKind::Directory {
            return Ok(itself.map(base).into_iter().collect());
        }
        let snapshots =
            backend.snapshots(&root).map_err(Error::backend(format!("list the snapshots of {release}")))?;
        let own = |info: &remand_backends::SnapshotInfo| {
            info.snapshot.name.as_ref().is_some_and(|name| crate::run::is_run_id(name.as_str()))
        };
        let snapshots = snapshots.into_iter().filter(|info| !own(info)).map(|info| info.snapshot);
        Ok(snapshots.chain(itself).map(base).collect())
    }

    fn release_of(&self, snapshot: &Snapshot) -> Option<String> {
        let name = snapshot.dataset.as_str().strip_prefix("releases/")?.strip_suffix("/root")?;
        check_name(name).is_ok().then(|| name.to_owned())
    }

    fn base_part(&self, release: &str, part: &str) -> Result<DatasetName> {
        basejail::place(release, part)
    }

    fn dialect(&self) -> Dialect {
        Dialect::Libioc
    }

    fn release_key(&self) -> &'static str {
        "release"
    }
}

impl Libioc {
    /// The release that a root was cloned from.
    fn base_of_clone(
        &self,
        backend: &dyn Backend,
        root: &Dataset,
        origin: &Snapshot,
    ) -> Result<Option<Base>> {
        let Some(name) = self.release_of(origin) else { return Ok(None) };
        let parted_seconds = backend
            .parted_seconds(root)
            .map_err(Error::backend(format!("look {} up", origin.dataset.as_str())))?;
        Ok(Some(Base { name, snapshot: origin.clone(), parted_seconds }))
    }

    /// Of a root that is no clone the config alone tells the release. One that is not in the pool is no base: nothing could be
    /// restored against it.
    fn configured_base(&self, backend: &dyn Backend, view: Option<&View>) -> Result<Option<Base>> {
        match view.and_then(|view| view.release.as_ref()) {
            Some(release) if check_name(release).is_ok() => Ok(self.bases(backend, release)?.pop()),
            _ => Ok(None),
        }
    }
}

fn part(name: &str, dataset: Dataset, base: Option<Base>) -> Part {
    let Dataset { name: full, kind, directory, .. } = dataset;
    Part { name: name.to_owned(), dataset: full, kind, directory, base }
}

fn join(above: &DatasetName, name: &str) -> Result<DatasetName> {
    above.join(name).map_err(|error| Error::Usage(error.to_string()))
}

fn look_up(backend: &dyn Backend, name: &DatasetName) -> Result<Option<Dataset>> {
    backend.dataset(name).map_err(Error::backend(format!("look {} up", name.as_str())))
}

/// Names of the resources of a kind. Directories whose names no resource can have are somebody else's.
fn names(backend: &dyn Backend, kind: ResourceKind) -> Result<Vec<String>> {
    let above = backend.directory().join(if kind == ResourceKind::Jail { "jails" } else { "releases" });
    let entries = match std::fs::read_dir(&above) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", above.display())(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("read", above.display()))?;
        names.extend(entry.file_name().into_string().ok().filter(|name| check_name(name).is_ok()));
    }
    names.sort();
    Ok(names)
}
