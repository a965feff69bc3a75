//! Snapshot backends: where a pool's datasets live, and how they are snapshotted, cloned, streamed and removed.
//!
//! This crate knows nothing of archives, jails or terminals. A [`Backend`] speaks for one *pool*; every
//! [`DatasetName`] is relative to it. What a backend can do is told by [`Capabilities`], which are facts and not
//! promises of methods that answer "unsupported": generic code takes the general way where a capability is missing.
//!
//! # What every backend promises
//!
//! - *Absent* is an answer (`Ok(None)`), never an error; and an error is never taken for *absent*.
//! - Nothing that exists is overwritten, replaced or mounted over.
//! - Only a [`Created`] token can be destroyed. It is handed out by the call that created the thing, after it succeeded,
//!   works on no other pool, and cannot be made or copied outside of this crate. What an interrupted run left behind goes by
//!   [`Backend::destroy_leftover`].
//! - A method returns when its effect is complete; a failed method has undone what it did, or says what remains.
//! - All methods can be called from several threads.
#![forbid(unsafe_code)]
#![allow(clippy::result_large_err)] // a failed call gives its proof back, and is rare

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::{Path, PathBuf};

pub mod btrfs;
pub mod dir;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
pub mod name;
pub mod native_diff;
pub mod outside;
pub mod process;
mod remembered;
pub mod streams;
pub mod zfs;

pub use error::{Error, Result};
pub use name::{DatasetName, SnapshotName};
pub use native_diff::{Hint, NativeDiff};
pub use streams::{Partial, ReceiveOptions, SendOptions, Streams};

/// A kind of backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendKind {
    /// ZFS, by zfs(8).
    Zfs,
    /// btrfs, by btrfs(8).
    Btrfs,
    /// Plain directories.
    Dir,
}

impl BackendKind {
    /// `zfs`, `btrfs`, `dir`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zfs => "zfs",
            Self::Btrfs => "btrfs",
            Self::Dir => "dir",
        }
    }
}

/// What a backend can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // independent facts
pub struct Capabilities {
    /// It has snapshots, so that what is read stays as it was while the resource runs.
    pub consistent_while_running: bool,
    /// Snapshots of a dataset and all below it are of one moment.
    pub atomic_recursive: bool,
    /// It has clones, whose unchanged entries keep inode number and ctime.
    pub clones: bool,
    /// It can send the difference between two snapshots.
    pub incremental: bool,
    /// It can list what changed between two snapshots: [`Backend::native_diff`] is there.
    pub native_diff: bool,
    /// A dataset as it is (a [`Snapshot`] without a name) can be the base of others: a read-only subvolume, a
    /// directory. Where this is false only snapshots can.
    pub datasets_are_bases: bool,
}

/// What a dataset is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatasetKind {
    /// A file system of its own: it has snapshots, clones and streams where the backend has them.
    FileSystem,
    /// A block device.
    Volume,
    /// A directory of the dataset above it, or of a backend that has nothing else. Where the backend has snapshots, one
    /// of it shows what the dataset above has there; it has no clones and no streams.
    Directory,
}

/// Encryption of a dataset by the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// None.
    None,
    /// It is encrypted, and its key is loaded.
    Unlocked,
    /// It is encrypted, and its content cannot be read before its key is loaded.
    Locked,
}

/// A dataset that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Name in the pool.
    pub name: DatasetName,
    /// Where its files are now; `None` when it is not mounted, or is a volume.
    pub directory: Option<PathBuf>,
    /// What it is.
    pub kind: DatasetKind,
    /// The snapshot that it was cloned from, if that lies in the pool.
    pub origin: Option<Snapshot>,
}

/// A snapshot of one dataset. Without a name it is the dataset as it is, where [`Capabilities::datasets_are_bases`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Snapshot {
    /// The dataset.
    pub dataset: DatasetName,
    /// The part after the `@`.
    pub name: Option<SnapshotName>,
}

/// What is known of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// Identity that survives send and receive.
    pub guid: Option<String>,
    /// What was found out about its content holds as long as this is the same; `None` where nothing vouches for that.
    pub content_id: Option<String>,
    /// When it was made, in seconds since 1970.
    pub created_seconds: Option<i64>,
}

/// Proof that a dataset was created by this run. Dropping it does nothing.
#[derive(Debug)]
#[must_use = "a created dataset must be kept or destroyed"]
pub struct Created {
    /// [`Backend::label`] of its pool.
    pool: String,
    dataset: DatasetName,
}

impl Created {
    fn new(pool: &str, dataset: DatasetName) -> Self {
        Self { pool: pool.to_owned(), dataset }
    }

    /// Fails if it was made in another pool.
    fn check(&self, pool: &str) -> Result<()> {
        if self.pool == pool { Ok(()) } else { Err(Error::NotFound(format!("{} in {pool}", self.dataset))) }
    }

    /// What was created.
    pub fn dataset(&self) -> &DatasetName {
        &self.dataset
    }
}

/// Proof that a snapshot (of one dataset, or of it and all below it) was created by this run.
#[derive(Debug)]
#[must_use = "a created snapshot must be kept or destroyed"]
pub struct CreatedSnapshot {
    pool: String,
    snapshot: Snapshot,
    recursive: bool,
}

/// Snapshots of several datasets.
#[derive(Debug)]
#[must_use = "created snapshots must be kept or destroyed"]
pub struct Together {
    /// What has to be destroyed.
    pub created: Vec<CreatedSnapshot>,
    /// Whether all of them, with all below, are of one moment.
    pub one_moment: bool,
}

/// Makes the snapshots of [`Backend::snapshot_together`] one after the other.
fn one_by_one(backend: &dyn Backend, names: &[DatasetName], snapshot: &SnapshotName) -> Result<Together> {
    let mut created = Vec::new();
    for name in names {
        match backend.snapshot(name, snapshot, true) {
            Ok(one) => created.push(one),
            Err(error) => {
                for one in created {
                    if let Err(kept) = backend.destroy_snapshot(one) {
                        tracing::warn!(error = %kept.error, "a snapshot is left");
                    }
                }
                return Err(error);
            }
        }
    }
    let one_moment = names.len() == 1 && backend.capabilities().atomic_recursive;
    Ok(Together { created, one_moment })
}

impl CreatedSnapshot {
    /// What was created.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// Whether the datasets below have it too.
    pub fn recursive(&self) -> bool {
        self.recursive
    }
}

/// A failed call that still holds the proof that was given to it.
#[derive(Debug)]
pub struct Kept<T> {
    /// The proof.
    pub token: T,
    /// What went wrong.
    pub error: Error,
}

/// What an interrupted run left in a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leftover {
    /// A dataset below the state dataset's `staging` or `views`.
    Dataset(DatasetName),
    /// A snapshot that carries remand's name and, where the backend has properties, its mark. It is listed
    /// once for the topmost dataset that has it.
    Snapshot(Snapshot),
}

impl Leftover {
    /// The dataset, if it is one right below the state dataset's `staging`.
    fn staged(&self) -> Option<&DatasetName> {
        let Self::Dataset(name) = self else { return None };
        matches!(name.components().collect::<Vec<_>>()[..], [dir::STATE, "staging", _]).then_some(name)
    }
}

/// A snapshot whose files can be read below [`OpenTree::path`]. Must be closed; dropping it closes it too but
/// cannot tell about failures.
#[must_use]
pub trait OpenTree: Send + Sync + Debug {
    /// The directory that holds the snapshot's files.
    fn path(&self) -> &Path;

    /// Removes what was made for reading.
    fn close(self: Box<Self>) -> Result<()>;
}

/// One pool.
pub trait Backend: Send + Sync + Debug {
    /// Which kind.
    fn kind(&self) -> BackendKind;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Where the pool's own directory is.
    fn directory(&self) -> &Path;

    /// The pool's name for people: the dataset, or the directory.
    fn label(&self) -> String;

    /// What the user should know about how this pool was opened: that it is treated as something less than it is, and why.
    fn remark(&self) -> Option<String> {
        None
    }

    /// Looks a dataset up. `DatasetName::pool()` is the pool itself.
    fn dataset(&self, name: &DatasetName) -> Result<Option<Dataset>>;

    /// All datasets below `name`, however deep, parents before children, by name; but for the pool's state dataset. A
    /// backend that cannot tell a dataset from a directory lists those that it remembers, because they were created in a dataset
    /// and not right below the pool. An absent `name` is an error.
    fn descendants(&self, name: &DatasetName) -> Result<Vec<Dataset>>;

    /// The snapshots of a dataset, oldest first.
    fn snapshots(&self, name: &DatasetName) -> Result<Vec<SnapshotInfo>>;

    /// What is known of one snapshot, also of a dataset that is read-only and so a snapshot of itself. `None` where there is no such
    /// snapshot, or nothing is known of it.
    fn snapshot_info(&self, snapshot: &Snapshot) -> Result<Option<SnapshotInfo>> {
        Ok(self.snapshots(&snapshot.dataset)?.into_iter().find(|info| info.snapshot == *snapshot))
    }

    /// The second since 1970 in which a clone parted from its [`Dataset::origin`]: an entry that was last touched before it
    /// (by ctime), and has the same inode number and ctime in both, is the same. `None` where that is not known.
    fn parted_seconds(&self, clone: &Dataset) -> Result<Option<i64>>;

    /// Paths below a dataset where something else lies that is neither part of it nor one of its [`Backend::descendants`]:
    /// other datasets' snapshots. A tree of the dataset shows an empty directory there, or a mount point.
    fn enclosed(&self, name: &DatasetName) -> Result<Vec<String>>;

    /// Whether the dataset is encrypted, and if so whether its key is there.
    fn encryption(&self, _name: &DatasetName) -> Result<Encryption> {
        Ok(Encryption::None)
    }

    /// The dataset's own properties, by name: set on it or, on ZFS, received along with it, as `zfs send -p` has it. Not what it
    /// inherits, and no statistics.
    fn own_properties(&self, name: &DatasetName) -> Result<BTreeMap<String, String>>;

    /// Sets a property on a dataset that this run created.
    fn set_property(&self, created: &Created, property: &str, value: &str) -> Result<()>;

    /// Makes a snapshot of `name`, and of all below it when `recursive`, marked as `run`'s. Backends without snapshots
    /// return a token for the live dataset.
    fn snapshot(
        &self,
        name: &DatasetName,
        snapshot: &SnapshotName,
        recursive: bool,
    ) -> Result<CreatedSnapshot>;

    /// Makes a snapshot of several datasets, and of all below them: in one operation where the backend has such. More datasets can
    /// have it afterwards than were named. After a failure none is left, or `leftovers` finds it.
    fn snapshot_together(&self, names: &[DatasetName], snapshot: &SnapshotName) -> Result<Together>;

    /// Destroys a snapshot that was created. Absent is success.
    fn destroy_snapshot(&self, created: CreatedSnapshot) -> std::result::Result<(), Kept<CreatedSnapshot>>;

    /// Destroys ahead of the rest of what was created the snapshot of `dataset`, where it can go alone; the rest, and what is not destroyed
    /// now, is still to be destroyed. Where it cannot, as by default, nothing happens.
    fn destroy_early(&self, _created: &CreatedSnapshot, _dataset: &DatasetName) -> Result<()> {
        Ok(())
    }

    /// Opens the files of a snapshot for reading; read-only where the backend can do that without harm. What is written there
    /// anyway reaches neither snapshot nor dataset. `view` is a unique name (of the run) for what must be made to do so, below
    /// the state dataset's `views`.
    fn open_tree(&self, snapshot: &Snapshot, view: &str) -> Result<Box<dyn OpenTree>>;

    /// Makes sure that the state dataset `.remand` exists, with `staging` and `views` in it, all readable by root alone, and
    /// returns its directory. Never destroyed by a rollback.
    fn state_directory(&self) -> Result<PathBuf>;

    /// The state directory if it exists, without making anything.
    fn existing_state_directory(&self) -> Result<Option<PathBuf>>;

    /// Creates an empty dataset, mounted, whose parent exists.
    fn create(&self, name: &DatasetName) -> Result<Created>;

    /// Creates a dataset as a writable clone of a snapshot, mounted. Only where [`Capabilities::clones`].
    fn clone_snapshot(&self, origin: &Snapshot, name: &DatasetName) -> Result<Created>;

    /// Renames a created dataset with all below it, in one step. The new name must be free: if it is not, the error is
    /// [`Error::Exists`] and nothing happened.
    fn rename(&self, created: Created, to: &DatasetName) -> std::result::Result<Created, Kept<Created>>;

    /// Mounts a dataset and all below it where their properties allow it.
    fn mount(&self, name: &DatasetName) -> Result<()>;

    /// Destroys a created dataset with all that is in it, snapshots and children too. Absent is success.
    fn destroy(&self, created: Created) -> std::result::Result<(), Kept<Created>>;

    /// What interrupted (or still running) runs have in this pool.
    fn leftovers(&self) -> Result<Vec<Leftover>>;

    /// Destroys a leftover, after checking once more that it is one. The caller has made sure that its run is dead.
    fn destroy_leftover(&self, leftover: &Leftover) -> Result<()>;

    /// Becomes the owner of a staging dataset that a dead run left whole, to go on where it was interrupted. `None` if there is none
    /// (any more). The caller has made sure that the run is dead.
    fn adopt(&self, leftover: &Leftover) -> Result<Option<Created>>;

    /// Native streams, where there are such.
    fn streams(&self) -> Option<&dyn Streams>;

    /// What the backend itself knows of the difference of two snapshots, where it knows that.
    fn native_diff(&self) -> Option<&dyn NativeDiff>;
}

/// Finds out which backend is at `pool` and opens it. A path (with a `/` at its begin, or `.` or `..` as a component)
/// is a directory: the ZFS dataset that is mounted exactly there, a directory on btrfs, or a plain directory. Anything else is
/// first the name of a ZFS dataset, then of a directory. `zfs:NAME`, `btrfs:PATH` and `dir:PATH` ask for one kind and no other.
/// [`Error::NoPool`] if there is nothing.
pub fn open(pool: &str) -> Result<Box<dyn Backend>> {
    let none = || Error::NoPool(pool.to_owned());
    if let Some(name) = pool.strip_prefix("zfs:") {
        return Ok(Box::new(zfs::Zfs::open(name)?.ok_or_else(none)?));
    }
    if let Some(path) = pool.strip_prefix("dir:") {
        return Ok(Box::new(dir::Dir::open(Path::new(path))?.ok_or_else(none)?));
    }
    if let Some(path) = pool.strip_prefix("btrfs:") {
        let dir = dir::Dir::open(Path::new(path))?.ok_or_else(none)?;
        return match btrfs::Btrfs::open(dir)? {
            btrfs::Opened::Btrfs(pool) => Ok(Box::new(pool)),
            btrfs::Opened::Dir(dir, reason) => {
                Err(Error::Unsupported { subject: dir.label(), what: reason.what() })
            }
        };
    }
    let path = Path::new(pool);
    let is_path = path.is_absolute() || pool.split('/').any(|part| part == "." || part == "..");
    if !is_path && let Some(zfs) = zfs::Zfs::open(pool)? {
        return Ok(Box::new(zfs));
    }
    let dir = dir::Dir::open(path)?.ok_or_else(none)?;
    let dir = match btrfs::Btrfs::open(dir)? {
        btrfs::Opened::Btrfs(pool) => return Ok(Box::new(pool)),
        btrfs::Opened::Dir(dir, btrfs::Reason::OtherFileSystem) => dir,
        btrfs::Opened::Dir(dir, reason) => return Ok(Box::new(dir.with_remark(reason.remark()))),
    };
    if let Some(dataset) = zfs::dataset_mounted_at(dir.directory())?
        && let Some(zfs) = zfs::Zfs::open(&dataset)?
    {
        return Ok(Box::new(zfs));
    }
    Ok(Box::new(dir))
}
