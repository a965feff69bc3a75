//! Directories on btrfs, by descriptor: what they are, and the way down without following links or entering mounts.

use crate::dir::{DIRECTORY, open_beneath};
use remand_sys::btrfs::{self, PLACEHOLDER_INODE, ROOT_INODE, Subvolume};
use rustix::fs::{self, AtFlags, Mode, Timespec, Timestamps};
use rustix::io::Errno;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// The subvolume that a directory is the top of; `None` if it is none, or on another file system.
pub(super) fn top(directory: &OwnedFd) -> io::Result<Option<Subvolume>> {
    if fs::fstat(directory)?.st_ino != ROOT_INODE || !btrfs::is_btrfs(directory)? {
        return Ok(None);
    }
    btrfs::subvolume(directory).map(Some)
}

/// Whether it is the empty directory that a snapshot shows in place of a subvolume.
pub(super) fn is_placeholder(directory: &OwnedFd) -> io::Result<bool> {
    Ok(fs::fstat(directory)?.st_ino == PLACEHOLDER_INODE && btrfs::is_btrfs(directory)?)
}

/// Opens the directory at a path below another; `XDEV` where something is mounted on the way.
pub(super) fn open_below(directory: &OwnedFd, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut current = directory.as_fd().try_clone_to_owned().map_err(|error| errno_of(&error))?;
    for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
        let part = CString::new(part).map_err(|_| Errno::INVAL)?;
        current = open_beneath(&current, &part)?;
    }
    Ok(current)
}

/// The top of the subvolume that a directory is in; `XDEV` if it is not to be reached by the mount that the directory was opened in.
pub(super) fn top_above(directory: &OwnedFd) -> Result<OwnedFd, Errno> {
    let mut current = directory.as_fd().try_clone_to_owned().map_err(|error| errno_of(&error))?;
    let device = fs::fstat(&current)?.st_dev;
    while fs::fstat(&current)?.st_ino != ROOT_INODE {
        current = fs::openat(&current, c"..", DIRECTORY, Mode::empty())?;
        if fs::fstat(&current)?.st_dev != device {
            return Err(Errno::XDEV);
        }
    }
    Ok(current)
}

/// A path's last component, and what is before it.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

/// Removes the placeholder `name` in a directory. Anything else there stays.
pub(super) fn clear_placeholder(directory: &OwnedFd, name: &str) -> Result<(), Errno> {
    match fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if stat.st_ino == PLACEHOLDER_INODE && btrfs::is_btrfs(directory).unwrap_or(false) => {
            fs::unlinkat(directory, name, AtFlags::REMOVEDIR)
        }
        Ok(_) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Does something in a directory, and puts the directory's times back where `keep`.
pub(super) fn keeping_times<T, E: From<Errno>>(
    directory: &OwnedFd,
    keep: bool,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    if !keep {
        return work();
    }
    let before = fs::fstat(directory)?;
    let done = work()?;
    let times = Timestamps {
        last_access: time(before.st_atime, before.st_atime_nsec),
        last_modification: time(before.st_mtime, before.st_mtime_nsec),
    };
    fs::futimens(directory, &times)?;
    Ok(done)
}

/// Systems differ in the sign of nanoseconds.
fn time(seconds: i64, nanoseconds: impl TryInto<i64>) -> Timespec {
    Timespec { tv_sec: seconds, tv_nsec: nanoseconds.try_into().unwrap_or_default() }
}

pub(super) fn errno_of(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
