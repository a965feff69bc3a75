//! What comes, moves and goes: create, clone, rename, destroy.

use super::subvolumes::{HISTORY, walk};
use super::{Btrfs, mounts, place, state};
use crate::dir::remove::remove_tree;
use crate::dir::{DIRECTORY, STATE, open_beneath, rename_new};
use crate::{Backend, Created, DatasetName, Error, Result, Snapshot};
use remand_sys::btrfs;
use rustix::fs::{self, AtFlags, Mode};
use rustix::io::Errno;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{MutexGuard, PoisonError};

/// How often a tree is emptied in which somebody makes new subvolumes meanwhile.
const TRIES: u32 = 5;

impl Btrfs {
    pub(super) fn create_empty(&self, name: &DatasetName) -> Result<Created> {
        let mode = Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
        self.make(name, |above, last| {
            btrfs::create(above, last.as_bytes())?;
            // The caller's umask is no matter.
            let opened = fs::openat(above, last, DIRECTORY, Mode::empty());
            if let Err(errno) = opened.and_then(|opened| fs::fchmod(opened, mode)) {
                btrfs::delete(above, last.as_bytes())?;
                return Err(errno.into());
            }
            Ok(())
        })
    }

    pub(super) fn create_clone(&self, origin: &Snapshot, name: &DatasetName) -> Result<Created> {
        let path = self.directory_of(origin)?;
        let source = fs::openat(fs::CWD, &path, DIRECTORY, Mode::empty())
            .map_err(|errno| Error::io("open", path.display().to_string(), errno.into()))?;
        if place::top(&source)
            .map_err(|source| Error::io("look at", path.display().to_string(), source))?
            .is_none()
        {
            return Err(Error::Unsupported {
                subject: path.display().to_string(),
                what: "a clone of a directory",
            });
        }
        self.make(name, |above, last| btrfs::snapshot(above, last.as_bytes(), &source, false))
    }

    /// Makes a dataset where nothing is, but perhaps the placeholder of one that a clone or a snapshot does not have.
    pub(super) fn make(
        &self,
        name: &DatasetName,
        make: impl FnOnce(&OwnedFd, &str) -> io::Result<()>,
    ) -> Result<Created> {
        let (above, last) = self.dir.find_above(name)?;
        let is_there = Cell::new(false);
        let outcome: io::Result<()> = place::keeping_times(&above, state::staged_in(name).is_some(), || {
            place::clear_placeholder(&above, last)?;
            make(&above, last)?;
            is_there.set(true);
            Ok(())
        });
        let failed = |error| Error::io("create", self.label_of(name), error);
        match outcome {
            Ok(()) => Ok(Created::new(&self.dir.label(), name.clone())),
            // Nobody has a token for it, so nobody else could take it back.
            Err(error) if is_there.get() => {
                let undone = btrfs::delete(&above, last.as_bytes());
                let undone = undone.map_err(|error| Error::io("remove", self.label_of(name), error));
                Err(failed(error).with_undo(self.label_of(name), undone))
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(self.dir.taken(name)),
            Err(error) => Err(failed(error)),
        }
    }

    /// Fails if a dataset cannot come to be under this name.
    pub(super) fn check_free(&self, name: &DatasetName) -> Result<()> {
        let (above, last) = self.dir.find_above(name)?;
        match fs::statat(&above, last, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(()),
            Ok(stat) if stat.st_ino == btrfs::PLACEHOLDER_INODE => Ok(()),
            Ok(_) => Err(self.dir.taken(name)),
            Err(errno) => Err(self.dir.fail("look at", name, errno)),
        }
    }

    /// Renames a dataset, and the history beside it.
    pub(super) fn rename_now(&self, from: &DatasetName, to: &DatasetName) -> Result<()> {
        match self.dir.rename_now(from, to) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                self.while_writable(from, to)?;
            }
            other => other?,
        }
        if let Err(error) = self.move_history(from, to) {
            return Err(error.with_undo(self.label_of(to), self.dir.rename_now(to, from)));
        }
        Ok(())
    }

    /// A read-only subvolume cannot get into another directory.
    fn while_writable(&self, from: &DatasetName, to: &DatasetName) -> Result<()> {
        let directory = self.existing(from)?;
        let fail = |source| Error::io("set writable for its renaming", self.label_of(from), source);
        btrfs::set_read_only(&directory, false).map_err(fail)?;
        let renamed = self.dir.rename_now(from, to);
        let back = btrfs::set_read_only(&directory, true)
            .map_err(|source| Error::io("set read-only again", self.label_of(to), source));
        match (renamed, back) {
            (Ok(()), Err(error)) => Err(error.with_undo(self.label_of(to), self.dir.rename_now(to, from))),
            (renamed, back) => renamed.and(back),
        }
    }

    fn move_history(&self, from: &DatasetName, to: &DatasetName) -> Result<()> {
        let (old_above, old_last) = self.dir.find_above(from)?;
        let history = history_of(&old_above, old_last).map_err(|errno| self.dir.fail("list", from, errno))?;
        if history.is_empty() {
            return Ok(());
        }
        let fail = |source: io::Error| Error::io("rename a snapshot of", self.label_of(from), source);
        let (new_above, new_last) = self.dir.find_above(to)?;
        let new_place = self.make_history(&new_above, to).map_err(|errno| fail(errno.into()))?;
        let old_place =
            open_beneath(&old_above, &name_of(HISTORY.as_bytes())?).map_err(|errno| fail(errno.into()))?;
        let mut moved: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        for name in history {
            let new = [new_last.as_bytes(), &name[old_last.len()..]].concat();
            match move_snapshot((&old_place, &name), (&new_place, &new)) {
                Ok(()) => moved.push((name, new)),
                Err(error) => {
                    for (old, new) in moved.iter().rev() {
                        move_snapshot((&new_place, new), (&old_place, old)).map_err(fail)?;
                    }
                    return Err(fail(error));
                }
            }
        }
        // What stays in a staging area is a leftover that is empty; the dataset is where it belongs.
        let _ = self.prune_history(&old_above, from);
        Ok(())
    }

    /// Destroys a dataset with all in it, and its snapshots that are remand's or lie where a restore puts them. Absent is success.
    pub(super) fn destroy_dataset(&self, name: &DatasetName) -> Result<()> {
        let Some(parent) = name.parent() else { return Err(Error::NotLeftover(self.dir.label())) };
        if let Some(above) = self.dir.find(&parent)? {
            let last = name.components().next_back().unwrap_or_default();
            delete_tree(&above, last.as_bytes(), &self.dir.path_of(name))?;
            let history = history_of(&above, last).map_err(|errno| self.dir.fail("list", name, errno))?;
            for snapshot in history {
                let path = self.dir.path_of(&parent).join(HISTORY);
                let place = open_beneath(&above, &name_of(HISTORY.as_bytes())?)
                    .map_err(|errno| self.dir.fail("open the snapshots of", name, errno))?;
                delete_tree(&place, &snapshot, &path.join(lossy(&snapshot)))?;
            }
            self.prune_history(&above, name)?;
        }
        self.destroy_all_own(name)
    }

    /// The directory beside a dataset that its history lies in.
    pub(super) fn make_history(
        &self,
        above: &OwnedFd,
        name: &DatasetName,
    ) -> std::result::Result<OwnedFd, Errno> {
        match fs::mkdirat(above, HISTORY, Mode::RWXU) {
            Ok(()) => self.made_histories().extend(name.parent()),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        fs::openat(above, HISTORY, DIRECTORY, Mode::empty())
    }

    /// Removes the place of history in a staging if it is empty and remand's: others came with what is restored.
    pub(super) fn prune_history(&self, above: &OwnedFd, name: &DatasetName) -> Result<()> {
        let Some(parent) = name.parent().filter(|parent| parent.components().next() == Some(STATE)) else {
            return Ok(());
        };
        let fail = |errno| self.dir.fail("remove the place of snapshots in", &parent, errno);
        let ours = state::staged_in(&parent).is_none() || self.made_histories().contains(&parent);
        let plain = match fs::statat(above, HISTORY, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat.st_ino != btrfs::ROOT_INODE,
            Err(Errno::NOENT) => false,
            Err(errno) => return Err(fail(errno)),
        };
        if ours && plain {
            // Whether it is empty the kernel knows best.
            let removed = place::keeping_times(above, true, || {
                match fs::unlinkat(above, HISTORY, AtFlags::REMOVEDIR) {
                    Ok(()) => Ok(true),
                    Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOENT) => Ok(false),
                    Err(errno) => Err(errno),
                }
            });
            if removed.map_err(fail)? {
                self.made_histories().remove(&parent);
            }
        }
        Ok(())
    }

    fn made_histories(&self) -> MutexGuard<'_, BTreeSet<DatasetName>> {
        self.made_histories.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

fn name_of(name: &[u8]) -> Result<CString> {
    CString::new(name).map_err(|error| Error::io("look for", lossy(name), error.into()))
}

/// The subvolumes that are a dataset's history, by name, in the directory beside it.
pub(super) fn history_of(above: &OwnedFd, last: &str) -> std::result::Result<Vec<Vec<u8>>, Errno> {
    let place = match fs::openat(above, HISTORY, DIRECTORY, Mode::empty()) {
        Ok(place) => place,
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(Vec::new()),
        Err(errno) => return Err(errno),
    };
    let prefix = format!("{last}@");
    let mut names = Vec::new();
    for entry in fs::Dir::read_from(&place)? {
        let entry = entry?;
        if !entry.file_name().to_bytes().starts_with(prefix.as_bytes()) {
            continue;
        }
        let top = open_beneath(&place, entry.file_name())
            .and_then(|inner| place::top(&inner).map_err(|error| place::errno_of(&error)));
        match top {
            Ok(Some(subvolume)) if subvolume.read_only => names.push(entry.file_name().to_bytes().to_vec()),
            Ok(_) | Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    names.sort();
    Ok(names)
}

/// Renames a read-only subvolume, which takes making it writable for a moment.
fn move_snapshot(from: (&OwnedFd, &[u8]), to: (&OwnedFd, &[u8])) -> io::Result<()> {
    let name = CString::new(from.1)?;
    let directory = open_beneath(from.0, &name)?;
    btrfs::set_read_only(&directory, false)?;
    let renamed = rename_new(from.0, from.1, to.0, to.1);
    if let Err(error) = btrfs::set_read_only(&directory, true) {
        if renamed.is_ok() {
            rename_new(to.0, to.1, from.0, from.1)?;
        }
        return Err(error);
    }
    Ok(renamed?)
}

/// Removes what is at `name` in a directory: a subvolume or a directory with all that is in it, or a file. Absent is success.
/// `path` is for messages, and to find mounts.
pub(super) fn delete_tree(above: &OwnedFd, name: &[u8], path: &Path) -> Result<()> {
    let fail = |source: io::Error| match place::errno_of(&source) {
        Errno::XDEV => Error::MountedOver(path.display().to_string()),
        Errno::BUSY => Error::Busy { subject: path.display().to_string(), detail: source.to_string() },
        _ => Error::io("remove", path.display().to_string(), source),
    };
    let is_directory = match fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => fs::FileType::from_raw_mode(stat.st_mode) == fs::FileType::Directory,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(fail(errno.into())),
    };
    if !is_directory {
        return remove_tree(above, &name_of(name)?, path);
    }
    mounts::check_unused(path)?;
    let directory = match open_beneath(above, &name_of(name)?) {
        Ok(directory) => directory,
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(fail(errno.into())),
    };
    let is_subvolume = place::top(&directory).map_err(fail)?.is_some();
    let mut tries = 0;
    loop {
        tries += 1;
        // What holds no others goes at once: to look for such takes a look at all subvolumes of the one around it.
        let removed = if is_subvolume {
            btrfs::delete(above, name)
        } else {
            fs::unlinkat(above, name, AtFlags::REMOVEDIR).map_err(io::Error::from)
        };
        match removed {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty && tries < TRIES => {}
            Err(error) => return Err(fail(error)),
        }
        delete_below(&directory, path)?;
        if !is_subvolume {
            return remove_tree(above, &name_of(name)?, path);
        }
    }
}

/// Deletes all subvolumes below a directory, the innermost first.
fn delete_below(directory: &OwnedFd, path: &Path) -> Result<()> {
    let found = walk(directory).map_err(|source| Error::io("list", path.display().to_string(), source))?;
    for found in found.iter().rev() {
        let inner = path.join(lossy(&found.path));
        if found.subvolume.is_none() {
            return Err(Error::MountedOver(inner.display().to_string()));
        }
        match delete_one(directory, &found.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Somebody made another one in it: the caller looks again.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) => return Err(Error::io("remove", inner.display().to_string(), error)),
        }
    }
    Ok(())
}

fn delete_one(directory: &OwnedFd, path: &[u8]) -> io::Result<()> {
    let (above, last) = place::split(path);
    let above = place::open_below(directory, above)?;
    match btrfs::delete(&above, last) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            // It lies in a read-only one, which is to go as well.
            btrfs::set_read_only(place::top_above(&above)?, false)?;
            btrfs::delete(&above, last)
        }
        other => other,
    }
}
