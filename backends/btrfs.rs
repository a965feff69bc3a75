//! btrfs: by its ioctls, relative to descriptors; streams by btrfs(8) as a process.
//!
//! A pool is a directory on btrfs. Its datasets are the subvolumes in it, and directories where a manager keeps a part as such. A
//! read-only subvolume is a snapshot of itself, so a release that is one can be a base without any further snapshot.
//!
//! remand's own snapshots lie at `.remand/snapshots/NAME/DATASET/@`, read-only. (No dataset has a component `@`.) The user's are
//! the read-only subvolumes in the pool that were made from a dataset, and those at `.snapshots/LAST@NAME` beside one, where a
//! restore puts a dataset's history. The module `subvolumes` tells them from datasets.
//!
//! A crash leaves subvolumes and directories in `.remand/staging` and `.remand/views`, and snapshots in `.remand/snapshots`;
//! [`Backend::leftovers`] finds them.

use crate::dir::Dir;
use crate::{
    Backend, BackendKind, Capabilities, Created, CreatedSnapshot, Dataset, DatasetKind, DatasetName, Error,
    Kept, Leftover, NativeDiff, OpenTree, Result, Snapshot, SnapshotInfo, SnapshotName, Streams, Together,
};
use remand_sys::btrfs::{self, Subvolume};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

mod create;
pub mod diff;
pub(crate) mod mounts;
pub(crate) mod names;
mod place;
mod properties;
pub(crate) mod relay;
pub mod send_stream;
mod snapshots;
mod specials;
mod state;
mod streams;
mod subvolumes;
mod view;

/// A pool that is a directory on btrfs.
#[derive(Debug)]
pub struct Btrfs {
    dir: Dir,
    /// Whether btrfs(8) is here.
    has_program: bool,
    /// Which dataset has an identity that others were cloned from; `None` where none has.
    origins: Mutex<BTreeMap<btrfs::Uuid, Option<DatasetName>>>,
    /// In what of a staging a place of history was made that no stream and no tree brought along.
    made_histories: Mutex<BTreeSet<DatasetName>>,
}

/// What [`Btrfs::open`] found.
#[derive(Debug)]
pub enum Opened {
    /// A pool with snapshots.
    Btrfs(Btrfs),
    /// A directory that can be used as such alone.
    Dir(Dir, Reason),
}

/// Why a directory is no pool on btrfs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is on another file system.
    OtherFileSystem,
    /// The caller is not root.
    NotRoot,
    /// Its path cannot be told to btrfs(8).
    Path,
}

impl Reason {
    /// What is missing, of an [`Error::Unsupported`].
    pub fn what(self) -> &'static str {
        match self {
            Self::OtherFileSystem => "a pool on btrfs (it is on another file system)",
            Self::NotRoot => "a pool on btrfs (that takes root)",
            Self::Path => "a pool on btrfs (its path is not UTF-8)",
        }
    }

    /// What a user should know who gets a plain directory instead.
    pub fn remark(self) -> String {
        let why = match self {
            Self::OtherFileSystem => "is on a file system without snapshots",
            Self::NotRoot => "is on btrfs, but snapshots take root",
            Self::Path => "is on btrfs, but its path is not UTF-8",
        };
        format!("the pool {why}: it is treated as a plain directory")
    }
}

impl Btrfs {
    /// Makes a pool on btrfs of a directory, if it is one.
    pub fn open(dir: Dir) -> Result<Opened> {
        let fail = |source| Error::io("look at", dir.label(), source);
        if !btrfs::is_btrfs(dir.root()).map_err(fail)? {
            return Ok(Opened::Dir(dir, Reason::OtherFileSystem));
        }
        if !rustix::process::geteuid().is_root() {
            return Ok(Opened::Dir(dir, Reason::NotRoot));
        }
        if dir.directory().to_str().is_none() {
            return Ok(Opened::Dir(dir, Reason::Path));
        }
        let has_program = crate::process::installed("btrfs");
        Ok(Opened::Btrfs(Self {
            dir,
            has_program,
            origins: Mutex::default(),
            made_histories: Mutex::default(),
        }))
    }

    fn label_of(&self, name: &DatasetName) -> String {
        self.dir.path_of(name).display().to_string()
    }

    /// A dataset's directory, which must be there.
    fn existing(&self, name: &DatasetName) -> Result<OwnedFd> {
        self.dir.find(name)?.ok_or_else(|| self.dir.missing(name))
    }

    /// The subvolume that a directory is the top of; `None` if it is none.
    fn top_of(&self, name: &DatasetName, directory: &OwnedFd) -> Result<Option<Subvolume>> {
        place::top(directory).map_err(|source| Error::io("look at", self.label_of(name), source))
    }

    /// `None` where an empty directory stands for a subvolume that is elsewhere.
    fn look_up(&self, name: &DatasetName) -> Result<Option<(OwnedFd, Option<Subvolume>)>> {
        let Some(directory) = self.dir.find(name)? else { return Ok(None) };
        let placeholder = place::is_placeholder(&directory)
            .map_err(|source| Error::io("look at", self.label_of(name), source))?;
        if placeholder {
            return Ok(None);
        }
        let top = self.top_of(name, &directory)?;
        Ok(Some((directory, top)))
    }

    fn describe(&self, name: &DatasetName, subvolume: Option<&Subvolume>) -> Result<Dataset> {
        let origin = match subvolume.and_then(|subvolume| subvolume.parent_uuid) {
            Some(uuid) => self.origin(uuid)?,
            None => None,
        };
        let kind = if subvolume.is_some() { DatasetKind::FileSystem } else { DatasetKind::Directory };
        Ok(Dataset { name: name.clone(), directory: Some(self.dir.path_of(name)), kind, origin })
    }
}

impl Backend for Btrfs {
    fn kind(&self) -> BackendKind {
        BackendKind::Btrfs
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            consistent_while_running: true,
            atomic_recursive: false,
            clones: true,
            incremental: true,
            native_diff: self.native_diff().is_some(),
            datasets_are_bases: true,
        }
    }

    fn directory(&self) -> &Path {
        self.dir.directory()
    }

    fn label(&self) -> String {
        self.dir.label()
    }

    fn remark(&self) -> Option<String> {
        let remark = "btrfs(8) is not installed: datasets travel as trees, without their history";
        (!self.has_program).then(|| remark.to_owned())
    }

    fn dataset(&self, name: &DatasetName) -> Result<Option<Dataset>> {
        match self.look_up(name)? {
            Some((_, subvolume)) => self.describe(name, subvolume.as_ref()).map(Some),
            None => Ok(None),
        }
    }

    fn descendants(&self, name: &DatasetName) -> Result<Vec<Dataset>> {
        self.list_descendants(name)
    }

    fn snapshots(&self, name: &DatasetName) -> Result<Vec<SnapshotInfo>> {
        self.existing(name)?;
        Ok(self.snapshots_of(name)?.into_iter().map(|found| found.info()).collect())
    }

    fn snapshot_info(&self, snapshot: &Snapshot) -> Result<Option<SnapshotInfo>> {
        let Some((_, subvolume)) = self.look_up(&snapshot.dataset)? else { return Ok(None) };
        if snapshot.name.is_some() {
            if let Some(own) = self.own_snapshot(snapshot)? {
                return Ok(Some(subvolumes::info(snapshot.clone(), &own)));
            }
            let all = self.snapshots(&snapshot.dataset)?;
            return Ok(all.into_iter().find(|info| info.snapshot == *snapshot));
        }
        Ok(subvolume.map(|subvolume| subvolumes::info(snapshot.clone(), &subvolume)))
    }

    fn parted_seconds(&self, clone: &Dataset) -> Result<Option<i64>> {
        if clone.origin.is_none() {
            return Ok(None);
        }
        let found = self.look_up(&clone.name)?;
        Ok(found.and_then(|(_, subvolume)| subvolume).map(|subvolume| subvolume.created_seconds))
    }

    fn enclosed(&self, name: &DatasetName) -> Result<Vec<String>> {
        self.list_enclosed(name)
    }

    fn own_properties(&self, name: &DatasetName) -> Result<BTreeMap<String, String>> {
        properties::local(self, name)
    }

    fn set_property(&self, created: &Created, property: &str, value: &str) -> Result<()> {
        created.check(&self.label())?;
        properties::set(self, &created.dataset, property, value)
    }

    fn snapshot(
        &self,
        name: &DatasetName,
        snapshot: &SnapshotName,
        recursive: bool,
    ) -> Result<CreatedSnapshot> {
        self.make_snapshots(name, snapshot, recursive)?;
        let snapshot = Snapshot { dataset: name.clone(), name: Some(snapshot.clone()) };
        Ok(CreatedSnapshot { pool: self.label(), snapshot, recursive })
    }

    fn snapshot_together(&self, names: &[DatasetName], snapshot: &SnapshotName) -> Result<Together> {
        crate::one_by_one(self, names, snapshot)
    }

    fn destroy_snapshot(&self, created: CreatedSnapshot) -> std::result::Result<(), Kept<CreatedSnapshot>> {
        let destroy = || {
            if created.pool != self.label() {
                return Err(Error::NotFound(format!("snapshot of {} in {}", created.pool, self.label())));
            }
            self.destroy_own(&created.snapshot, created.recursive)
        };
        match destroy() {
            Ok(()) => Ok(()),
            Err(error) => Err(Kept { token: created, error }),
        }
    }

    fn destroy_early(&self, created: &CreatedSnapshot, dataset: &DatasetName) -> Result<()> {
        let all = &created.snapshot;
        let is_part = created.recursive && dataset.below(&all.dataset).is_some();
        if created.pool != self.label() || !is_part {
            return Ok(());
        }
        self.destroy_own(&Snapshot { dataset: dataset.clone(), name: all.name.clone() }, false)
    }

    fn open_tree(&self, snapshot: &Snapshot, _view: &str) -> Result<Box<dyn OpenTree>> {
        view::open(self, snapshot)
    }

    fn state_directory(&self) -> Result<PathBuf> {
        let path = self.dir.state_directory()?;
        state::make(self)?;
        Ok(path)
    }

    fn existing_state_directory(&self) -> Result<Option<PathBuf>> {
        self.dir.existing_state_directory()
    }

    fn create(&self, name: &DatasetName) -> Result<Created> {
        self.create_empty(name)
    }

    fn clone_snapshot(&self, origin: &Snapshot, name: &DatasetName) -> Result<Created> {
        self.create_clone(origin, name)
    }

    fn rename(&self, created: Created, to: &DatasetName) -> std::result::Result<Created, Kept<Created>> {
        let rename = || {
            created.check(&self.label())?;
            let recalled = self.dir.recall(&created.dataset)?;
            self.rename_now(&created.dataset, to)?;
            Ok(recalled)
        };
        let recalled = match rename() {
            Ok(recalled) => recalled,
            Err(error) => return Err(Kept { token: created, error }),
        };
        let renamed = Created::new(&self.label(), to.clone());
        match self.dir.moved(recalled, to) {
            Ok(()) => Ok(renamed),
            Err(error) => Err(Kept { token: renamed, error }),
        }
    }

    fn mount(&self, name: &DatasetName) -> Result<()> {
        self.existing(name).map(drop)
    }

    fn destroy(&self, created: Created) -> std::result::Result<(), Kept<Created>> {
        let destroy = || {
            created.check(&self.label())?;
            let recalled = self.dir.recall(&created.dataset)?;
            self.destroy_dataset(&created.dataset)?;
            self.dir.forget(recalled)
        };
        match destroy() {
            Ok(()) => Ok(()),
            Err(error) => Err(Kept { token: created, error }),
        }
    }

    fn leftovers(&self) -> Result<Vec<Leftover>> {
        state::leftovers(self)
    }

    fn destroy_leftover(&self, leftover: &Leftover) -> Result<()> {
        state::destroy_leftover(self, leftover)
    }

    fn adopt(&self, leftover: &Leftover) -> Result<Option<Created>> {
        let name = leftover.staged().ok_or_else(|| Error::NotLeftover(format!("{leftover:?}")))?;
        Ok(self.look_up(name)?.map(|_| Created::new(&self.label(), name.clone())))
    }

    fn streams(&self) -> Option<&dyn Streams> {
        self.has_program.then_some(self as &dyn Streams)
    }

    fn native_diff(&self) -> Option<&dyn NativeDiff> {
        self.has_program.then_some(self as &dyn NativeDiff)
    }
}
