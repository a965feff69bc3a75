//! Removal of a tree of any depth, which never leaves it.
//!
//! Everything goes relative to descriptors, no link is followed, and a mounted file system is an error. There is one open
//! descriptor at a time, and the way up is `..`, checked against what the way down saw: neither the depth of the tree nor
//! somebody who moves directories about meanwhile leads elsewhere.

use super::platform;
use crate::{Error, Result};
use remand_sys::mounts;
use rustix::fs::{self, AtFlags, FileType};
use rustix::io::Errno;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// A directory on the way down.
struct Level {
    /// Its name in the directory above.
    name: CString,
    identity: (u64, u64),
    /// What is still to be removed in it.
    directories: Vec<CString>,
}

/// Removes `name` in `above` with everything in it, immutable and append-only files too. Absent is success.
/// `path` is for messages, and to find out what is mounted in it before anything is gone. What is mounted later, or where the system
/// does not tell of mounts, is found on the way.
pub(crate) fn remove_tree(above: &OwnedFd, name: &CStr, path: &Path) -> Result<()> {
    let fail = |errno: Errno| match errno {
        Errno::XDEV => Error::MountedOver(path.display().to_string()),
        errno => Error::io("remove", path.display().to_string(), platform::explained(errno)),
    };
    let points = mounts::points().unwrap_or_default();
    if let Some(point) = mounts::inside(&points, path) {
        return Err(Error::MountedOver(point.display().to_string()));
    }
    match fs::statat(above, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(fail(errno)),
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Directory => {
            return unlink((above, Whose::Others), name, AtFlags::empty(), path).map_err(fail);
        }
        Ok(_) => {}
    }
    Removal { path, levels: Vec::new() }.run(above, name.to_owned()).map_err(|(errno, inside)| match errno {
        Errno::XDEV => Error::MountedOver(place(path, &inside)),
        errno => Error::io("remove", place(path, &inside), platform::explained(errno)),
    })
}

fn place(path: &Path, inside: &str) -> String {
    if inside.is_empty() { path.display().to_string() } else { path.join(inside).display().to_string() }
}

struct Removal<'path> {
    path: &'path Path,
    levels: Vec<Level>,
}

impl Removal<'_> {
    /// Fails with the place, relative to the tree.
    fn run(&mut self, above: &OwnedFd, name: CString) -> std::result::Result<(), (Errno, String)> {
        let top = name.clone();
        let mut current = self.enter(above, name).map_err(|errno| (errno, String::new()))?;
        loop {
            match self.step(&current) {
                Ok(Some(next)) => current = next,
                Ok(None) => break,
                Err(errno) => return Err((errno, self.place())),
            }
        }
        drop(current);
        self.levels.clear();
        unlink((above, Whose::Others), &top, AtFlags::REMOVEDIR, self.path)
            .map_err(|errno| (errno, String::new()))
    }

    /// One directory down or, where nothing is left, up; `None` when the topmost is empty.
    fn step(&mut self, current: &OwnedFd) -> std::result::Result<Option<OwnedFd>, Errno> {
        let Some(level) = self.levels.last_mut() else { return Ok(None) };
        if let Some(child) = level.directories.pop() {
            return self.enter(current, child).map(Some);
        }
        let Some(done) = self.levels.pop() else { return Ok(None) };
        let Some(level) = self.levels.last() else { return Ok(None) };
        let above = fs::openat(current, c"..", super::DIRECTORY, fs::Mode::empty())?;
        if identity(&above)? != level.identity {
            return Err(Errno::STALE); // somebody has moved it
        }
        unlink((&above, Whose::Ours), &done.name, AtFlags::REMOVEDIR, self.path)?;
        Ok(Some(above))
    }

    /// Opens a directory and removes all in it that is none.
    fn enter(&mut self, above: &OwnedFd, name: CString) -> std::result::Result<OwnedFd, Errno> {
        let opened = platform::open_beneath(above, &name);
        // Also where it cannot be entered: this is the place to tell.
        self.levels.push(Level { name, identity: (0, 0), directories: Vec::new() });
        let directory = opened?;
        let identity = identity(&directory)?;
        let mut directories = Vec::new();
        for entry in fs::Dir::read_from(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let file_type = match entry.file_type() {
                FileType::Unknown => {
                    let stat = fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
                    FileType::from_raw_mode(stat.st_mode)
                }
                known => known,
            };
            if file_type == FileType::Directory {
                directories.push(name.to_owned());
            } else {
                unlink((&directory, Whose::Ours), name, AtFlags::empty(), self.path)?;
            }
        }
        if let Some(level) = self.levels.last_mut() {
            level.identity = identity;
            level.directories = directories;
        }
        Ok(directory)
    }

    /// Where it stands, for people; the middle of a very deep place is left out.
    fn place(&self) -> String {
        const SHOWN: usize = 16;
        let names: Vec<_> = self.levels.iter().skip(1).map(|level| level.name.to_string_lossy()).collect();
        if names.len() <= 2 * SHOWN {
            return names.join("/");
        }
        format!("{}/…/{}", names[..SHOWN].join("/"), names[names.len() - SHOWN..].join("/"))
    }
}

fn identity(directory: impl AsFd) -> std::result::Result<(u64, u64), Errno> {
    let stat = fs::fstat(directory)?;
    #[allow(clippy::unnecessary_cast, clippy::cast_sign_loss)] // their types differ between platforms
    Ok((stat.st_dev as u64, stat.st_ino as u64))
}

/// Whether a directory belongs to the tree: if not, its flags are not for us to change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Ours,
    Others,
}

/// Removes one entry, if need be after taking off the flags that forbid it.
fn unlink(
    (above, whose): (&OwnedFd, Whose),
    name: &CStr,
    flags: AtFlags,
    path: &Path,
) -> std::result::Result<(), Errno> {
    match fs::unlinkat(above, name, flags) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::PERM | Errno::ACCESS) => {}
        Err(errno) => return Err(errno),
    }
    if whose == Whose::Ours {
        platform::unlock_directory(above, path)?;
    }
    let unlocked = platform::unlock_entry(above, name)?;
    let removed = fs::unlinkat(above, name, flags);
    if let Some(unlocked) = unlocked {
        // A hard link that leads out of the tree is still somebody's file.
        unlocked.restore()?;
    }
    removed
}
