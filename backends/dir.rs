//! Plain directories: the reference implementation, without snapshots, that works anywhere.
//!
//! A dataset is a directory below the pool's. Every path is walked from the pool's descriptor, component by component, and
//! a symbolic link on the way is no dataset: nothing that a jail's root can plant leads out of the pool.
//! What a crash leaves is in `.remand/staging` and `.remand/views`, where [`Backend::leftovers`] finds it.

use crate::name::invalid;
use crate::{
    Backend, BackendKind, Capabilities, Created, CreatedSnapshot, Dataset, DatasetKind, DatasetName, Error,
    Kept, Leftover, NativeDiff, OpenTree, Result, Snapshot, SnapshotInfo, SnapshotName, Streams, Together,
};
use rustix::fs::{self, AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

mod datasets;
#[cfg(target_os = "linux")]
#[path = "dir/linux.rs"]
mod platform;
#[cfg(target_os = "freebsd")]
#[path = "dir/freebsd.rs"]
mod platform;
pub(crate) mod remove;

pub(crate) use platform::{open_beneath, rename_new};

/// The state directory and what it always holds.
pub(crate) const STATE: &str = ".remand";
const STATE_PARTS: [&str; 2] = ["staging", "views"];

pub(crate) const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A pool that is a directory.
#[derive(Debug)]
pub struct Dir {
    path: PathBuf,
    label: String,
    root: OwnedFd,
    /// Held while a record of [`datasets`] is read and written again.
    remembering: Mutex<()>,
    remark: Option<String>,
}

impl Dir {
    /// Opens a directory as a pool; `None` if there is no such directory.
    pub fn open(path: &Path) -> Result<Option<Self>> {
        let fail = |action, source| Error::io(action, path.display().to_string(), source);
        let path = match path.canonicalize() {
            Ok(path) => path,
            Err(error) if is_absent(error.kind()) => return Ok(None),
            Err(error) => return Err(fail("find", error)),
        };
        match fs::openat(CWD, &path, DIRECTORY, Mode::empty()) {
            Ok(root) => Ok(Some(Self {
                label: path.display().to_string(),
                path,
                root,
                remark: None,
                remembering: Mutex::new(()),
            })),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(error) => Err(fail("open", error.into())),
        }
    }

    /// The same pool, opened in spite of something that its user should know.
    pub(crate) fn with_remark(mut self, remark: String) -> Self {
        self.remark = Some(remark);
        self
    }

    /// The pool's own directory.
    pub(crate) fn root(&self) -> &OwnedFd {
        &self.root
    }

    pub(crate) fn path_of(&self, name: &DatasetName) -> PathBuf {
        name.components().fold(self.path.clone(), |path, part| path.join(part))
    }

    pub(crate) fn fail(&self, action: &'static str, name: &DatasetName, errno: Errno) -> Error {
        Error::io(action, self.path_of(name).display().to_string(), errno.into())
    }

    pub(crate) fn missing(&self, name: &DatasetName) -> Error {
        Error::NotFound(format!("dataset {}", self.path_of(name).display()))
    }

    pub(crate) fn taken(&self, name: &DatasetName) -> Error {
        Error::Exists(self.path_of(name).display().to_string())
    }

    /// The directory of a dataset; `None` where there is none (a link or a file is none).
    pub(crate) fn find(&self, name: &DatasetName) -> Result<Option<OwnedFd>> {
        let fail = |errno| self.fail("open", name, errno);
        let mut directory = self
            .root
            .as_fd()
            .try_clone_to_owned()
            .map_err(|source| Error::io("open", self.path.display().to_string(), source))?;
        for part in name.components() {
            directory = match fs::openat(&directory, part, DIRECTORY, Mode::empty()) {
                Ok(next) => next,
                // FreeBSD says EMLINK for a link.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::MLINK) => return Ok(None),
                Err(errno) => return Err(fail(errno)),
            };
        }
        Ok(Some(directory))
    }

    /// The directory above a dataset, and the dataset's own name in it.
    pub(crate) fn find_above<'name>(&self, name: &'name DatasetName) -> Result<(OwnedFd, &'name str)> {
        let (Some(parent), Some(last)) = (name.parent(), name.components().next_back()) else {
            return Err(Error::Exists(self.label.clone()));
        };
        let above = self.find(&parent)?.ok_or_else(|| self.missing(&parent))?;
        Ok((above, last))
    }

    fn info(&self, name: &DatasetName) -> Dataset {
        Dataset {
            name: name.clone(),
            directory: Some(self.path_of(name)),
            kind: DatasetKind::Directory,
            origin: None,
        }
    }

    pub(crate) fn make_private(
        &self,
        above: BorrowedFd<'_>,
        part: &str,
        name: &DatasetName,
    ) -> Result<OwnedFd> {
        match fs::mkdirat(above, part, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(self.fail("create", name, errno)),
        }
        let directory =
            fs::openat(above, part, DIRECTORY, Mode::empty()).map_err(|e| self.fail("open", name, e))?;
        // It may be older than we are, or have come from a copy.
        fs::fchmod(&directory, Mode::RWXU).map_err(|e| self.fail("protect", name, e))?;
        Ok(directory)
    }

    pub(crate) fn rename_now(&self, from: &DatasetName, to: &DatasetName) -> Result<()> {
        let (from_above, from_last) = self.find_above(from)?;
        let (to_above, to_last) = self.find_above(to)?;
        let renamed = match rename_new(&from_above, from_last, &to_above, to_last) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                self.rename_checked((&from_above, from_last), (&to_above, to_last))?
            }
            other => other,
        };
        match renamed {
            Ok(()) => {}
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR | Errno::ISDIR) => return Err(self.taken(to)),
            Err(errno) => return Err(self.fail("rename", from, errno)),
        }
        // The rename is what makes a restore visible: it must survive a crash that comes after it, or be undone.
        for directory in [&to_above, &from_above] {
            match fs::fsync(directory) {
                // A file system whose directories need no such thing.
                Ok(()) | Err(Errno::INVAL) => {}
                Err(errno) => {
                    let back = fs::renameat(&to_above, to_last, &from_above, from_last);
                    let back = back.map_err(|errno| self.fail("rename", to, errno));
                    let error = self.fail("write back", to, errno);
                    return Err(error.with_undo(self.path_of(to).display().to_string(), back));
                }
            }
        }
        Ok(())
    }

    /// Where the kernel cannot rename without replacing: a look before the leap, under a lock that every run takes. rename(2)
    /// itself refuses all but an empty directory, so what is left to chance is a stranger who makes one in between.
    fn rename_checked(
        &self,
        from: (&OwnedFd, &str),
        to: (&OwnedFd, &str),
    ) -> Result<std::result::Result<(), Errno>> {
        let lock_path = self.state_directory()?.join("rename.lock");
        let fail = |source| Error::io("lock", lock_path.display().to_string(), source);
        let lock = File::options().create(true).append(true).open(&lock_path).map_err(fail)?;
        lock.lock().map_err(fail)?;
        Ok(match fs::statat(to.0, to.1, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Err(Errno::EXIST),
            Err(Errno::NOENT) => {
                let copies = from.0.try_clone().and_then(|from| Ok((from, to.0.try_clone()?)));
                let (from_above, to_above) = copies.map_err(fail)?;
                let (from, to) = (from.1.to_owned(), to.1.to_owned());
                let rename = move || fs::renameat(from_above, from, to_above, to);
                crate::outside::run(rename).map_err(fail)?
            }
            Err(errno) => Err(errno),
        })
    }

    fn remove(&self, name: &DatasetName) -> Result<()> {
        let Some(parent) = name.parent() else { return Err(Error::NotLeftover(self.label.clone())) };
        let Some(above) = self.find(&parent)? else { return Ok(()) };
        let last = name.components().next_back().unwrap_or_default();
        let last = CString::new(last).map_err(|_| self.fail("remove", name, Errno::INVAL))?;
        remove::remove_tree(&above, &last, &self.path_of(name))
    }

    fn remember_created(&self, name: &DatasetName) -> Result<()> {
        // What is right below the pool needs no record: whoever asks for it knows its name.
        if name.parent().is_none_or(|above| above.parent().is_none()) {
            return Ok(());
        }
        let _one_at_a_time = self.remembering.lock().unwrap_or_else(PoisonError::into_inner);
        self.remember(name, BTreeMap::new())
    }

    fn remove_and_forget(&self, name: &DatasetName) -> Result<()> {
        let _one_at_a_time = self.remembering.lock().unwrap_or_else(PoisonError::into_inner);
        let recalled = self.recall(name)?;
        self.remove(name)?;
        self.forget(recalled)
    }

    fn unsupported<T>(&self, what: &'static str) -> Result<T> {
        Err(Error::Unsupported { subject: self.label.clone(), what })
    }

    fn live(&self, snapshot: &Snapshot) -> Result<PathBuf> {
        if let Some(name) = &snapshot.name {
            return Err(Error::NotFound(format!("snapshot {}@{name}", snapshot.dataset)));
        }
        self.find(&snapshot.dataset)?.ok_or_else(|| self.missing(&snapshot.dataset))?;
        Ok(self.path_of(&snapshot.dataset))
    }

    pub(crate) fn leftovers_in(&self, part: &str) -> Result<Vec<Leftover>> {
        let name = DatasetName::new(STATE)?.join(part)?;
        let Some(directory) = self.find(&name)? else { return Ok(Vec::new()) };
        let fail = |errno| self.fail("list", &name, errno);
        let mut found = Vec::new();
        for entry in fs::Dir::read_from(&directory).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let entry = entry.file_name();
            if matches!(entry.to_bytes(), b"." | b"..") {
                continue;
            }
            let text = entry
                .to_str()
                .map_err(|_| invalid(&entry.to_string_lossy(), "dataset", "it is not UTF-8"))?;
            found.push(name.join(text)?);
        }
        found.sort();
        Ok(found.into_iter().map(Leftover::Dataset).collect())
    }
}

fn is_absent(kind: std::io::ErrorKind) -> bool {
    matches!(kind, std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
}

impl Backend for Dir {
    fn kind(&self) -> BackendKind {
        BackendKind::Dir
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            consistent_while_running: false,
            atomic_recursive: false,
            clones: false,
            incremental: false,
            native_diff: false,
            datasets_are_bases: true,
        }
    }

    fn directory(&self) -> &Path {
        &self.path
    }

    fn label(&self) -> String {
        self.label.clone()
    }

    fn remark(&self) -> Option<String> {
        self.remark.clone()
    }

    fn dataset(&self, name: &DatasetName) -> Result<Option<Dataset>> {
        Ok(self.find(name)?.map(|_| self.info(name)))
    }

    fn descendants(&self, name: &DatasetName) -> Result<Vec<Dataset>> {
        self.find(name)?.ok_or_else(|| self.missing(name))?;
        Ok(self.remembered_below(name)?.iter().map(|name| self.info(name)).collect())
    }

    fn snapshots(&self, name: &DatasetName) -> Result<Vec<SnapshotInfo>> {
        self.find(name)?.ok_or_else(|| self.missing(name))?;
        Ok(Vec::new())
    }

    fn parted_seconds(&self, _clone: &Dataset) -> Result<Option<i64>> {
        Ok(None)
    }

    fn enclosed(&self, _name: &DatasetName) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn own_properties(&self, name: &DatasetName) -> Result<BTreeMap<String, String>> {
        self.find(name)?.ok_or_else(|| self.missing(name))?;
        self.remembered_properties(name)
    }

    fn set_property(&self, created: &Created, property: &str, value: &str) -> Result<()> {
        created.check(&self.label)?;
        self.remember_property(&created.dataset, property, value)
    }

    fn snapshot(&self, name: &DatasetName, _: &SnapshotName, recursive: bool) -> Result<CreatedSnapshot> {
        self.find(name)?.ok_or_else(|| self.missing(name))?;
        let snapshot = Snapshot { dataset: name.clone(), name: None };
        Ok(CreatedSnapshot { pool: self.label.clone(), snapshot, recursive })
    }

    fn snapshot_together(&self, names: &[DatasetName], snapshot: &SnapshotName) -> Result<Together> {
        crate::one_by_one(self, names, snapshot)
    }

    fn destroy_snapshot(&self, _: CreatedSnapshot) -> std::result::Result<(), Kept<CreatedSnapshot>> {
        Ok(())
    }

    fn open_tree(&self, snapshot: &Snapshot, _view: &str) -> Result<Box<dyn OpenTree>> {
        Ok(Box::new(Live { path: self.live(snapshot)? }))
    }

    fn state_directory(&self) -> Result<PathBuf> {
        let state = DatasetName::new(STATE)?;
        let directory = self.make_private(self.root.as_fd(), STATE, &state)?;
        for part in STATE_PARTS {
            self.make_private(directory.as_fd(), part, &state.join(part)?)?;
        }
        Ok(self.path_of(&state))
    }

    fn existing_state_directory(&self) -> Result<Option<PathBuf>> {
        let state = DatasetName::new(STATE)?;
        Ok(self.find(&state)?.map(|_| self.path_of(&state)))
    }

    fn create(&self, name: &DatasetName) -> Result<Created> {
        let (above, last) = self.find_above(name)?;
        let mode = Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
        match fs::mkdirat(&above, last, mode) {
            Ok(()) => {}
            Err(Errno::EXIST) => return Err(self.taken(name)),
            Err(errno) => return Err(self.fail("create", name, errno)),
        }
        let created = Created::new(&self.label, name.clone());
        // The caller's umask is no matter.
        let protect =
            fs::openat(&above, last, DIRECTORY, Mode::empty()).and_then(|made| fs::fchmod(made, mode));
        let protected = protect.map_err(|errno| self.fail("create", name, errno));
        match protected.and_then(|()| self.remember_created(name)) {
            Ok(()) => Ok(created),
            Err(error) => Err(error.with_undo(self.path_of(name).display().to_string(), self.remove(name))),
        }
    }

    fn clone_snapshot(&self, _: &Snapshot, _: &DatasetName) -> Result<Created> {
        self.unsupported("a clone")
    }

    fn rename(&self, created: Created, to: &DatasetName) -> std::result::Result<Created, Kept<Created>> {
        let rename = || {
            created.check(&self.label)?;
            let _one_at_a_time = self.remembering.lock().unwrap_or_else(PoisonError::into_inner);
            let recalled = self.recall(&created.dataset)?;
            self.rename_now(&created.dataset, to)?;
            Ok(recalled)
        };
        let recalled = match rename() {
            Ok(recalled) => recalled,
            Err(error) => return Err(Kept { token: created, error }),
        };
        let renamed = Created::new(&self.label, to.clone());
        match self.moved(recalled, to) {
            Ok(()) => Ok(renamed),
            Err(error) => Err(Kept { token: renamed, error }),
        }
    }

    fn mount(&self, name: &DatasetName) -> Result<()> {
        self.find(name)?.map(drop).ok_or_else(|| self.missing(name))
    }

    fn destroy(&self, created: Created) -> std::result::Result<(), Kept<Created>> {
        match created.check(&self.label).and_then(|()| self.remove_and_forget(&created.dataset)) {
            Ok(()) => Ok(()),
            Err(error) => Err(Kept { token: created, error }),
        }
    }

    fn leftovers(&self) -> Result<Vec<Leftover>> {
        let mut found = self.leftovers_in("views")?;
        found.extend(self.leftovers_in("staging")?);
        Ok(found)
    }

    fn destroy_leftover(&self, leftover: &Leftover) -> Result<()> {
        let Leftover::Dataset(name) = leftover else {
            return self.unsupported("a snapshot");
        };
        match name.components().collect::<Vec<_>>()[..] {
            [STATE, part, _] if STATE_PARTS.contains(&part) => self.remove_and_forget(name),
            _ => Err(Error::NotLeftover(self.path_of(name).display().to_string())),
        }
    }

    fn adopt(&self, leftover: &Leftover) -> Result<Option<Created>> {
        let name = leftover.staged().ok_or_else(|| Error::NotLeftover(format!("{leftover:?}")))?;
        Ok(self.find(name)?.map(|_| Created::new(&self.label, name.clone())))
    }

    fn streams(&self) -> Option<&dyn Streams> {
        None
    }

    fn native_diff(&self) -> Option<&dyn NativeDiff> {
        None
    }
}

/// The live dataset in place of a snapshot.
#[derive(Debug)]
struct Live {
    path: PathBuf,
}

impl OpenTree for Live {
    fn path(&self) -> &Path {
        &self.path
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
