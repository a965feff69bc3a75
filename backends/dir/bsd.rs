//! What FreeBSD and other Unixes do their own way.

use crate::process::Program;
use rustix::fs::{self, Mode};
use rustix::io::Errno;
use rustix::path::Arg;
use std::convert::Infallible;
use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// There is no rename without replacing.
pub(crate) fn rename_new(_: impl AsFd, _: impl Arg, _: impl AsFd, _: impl Arg) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

/// Opens a directory in `above`; `EXDEV` if another file system is mounted there. A nullfs mount has a device of its own.
pub(crate) fn open_beneath(above: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let directory = fs::openat(&above, name, super::DIRECTORY, Mode::empty())?;
    if fs::fstat(&above)?.st_dev == fs::fstat(&directory)?.st_dev { Ok(directory) } else { Err(Errno::XDEV) }
}

/// What a directory is known by, wherever it is moved: its inode number, and when it was made, because numbers are used again.
pub(super) fn identity(directory: impl AsFd) -> Result<String, Errno> {
    let stat = fs::fstat(directory)?;
    Ok(format!("{}-{}.{:09}", stat.st_ino, stat.st_birthtime, stat.st_birthtime_nsec))
}

/// Never made here: [`unlock_directory`] has unlocked everything at once.
#[derive(Debug)]
pub(super) struct Unlocked(Infallible);

impl Unlocked {
    pub(super) fn restore(&self) -> Result<(), Errno> {
        match self.0 {}
    }
}

/// Takes the flags that forbid removal off everything in the tree at `path`, by chflags(1): there is no safe call for it that
/// does not follow links. Other file systems that are mounted in it are left out. True if it could.
pub(super) fn unlock_directory(_: impl AsFd, path: &Path) -> Result<bool, Errno> {
    let flags = "noschg,nosappnd,nosunlnk,nouchg,nouappnd,nouunlnk";
    let Some(path) = path.to_str() else { return Ok(false) };
    let finished = Program::new("chflags", ["-R", "-P", "-x", flags, path]).finish();
    Ok(finished.is_ok_and(|finished| finished.success))
}

/// See [`unlock_directory`].
pub(super) fn unlock_entry(_: impl AsFd, _: &CStr) -> Result<Option<Unlocked>, Errno> {
    Ok(None)
}
