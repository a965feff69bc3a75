//! What FreeBSD does its own way.

use remand_sys::freebsd::flags;
use remand_sys::securelevel;
use rustix::fs::{self, Mode, OFlags};
use rustix::io::Errno;
use rustix::path::Arg;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// There is no rename without replacing.
pub(crate) fn rename_new(_: impl AsFd, _: impl Arg, _: impl AsFd, _: impl Arg) -> Result<(), Errno> {
    Err(Errno::NOSYS)
}

/// Opens a directory in `above`; `EXDEV` if another file system is mounted there. A nullfs mount has a device of its own.
pub(crate) fn open_beneath(above: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let directory = fs::openat(&above, name, super::DIRECTORY | OFlags::RESOLVE_BENEATH, Mode::empty())?;
    if fs::fstat(&above)?.st_dev == fs::fstat(&directory)?.st_dev { Ok(directory) } else { Err(Errno::XDEV) }
}

/// What a directory is known by, wherever it is moved: its inode number, and when it was made, because numbers are used again.
pub(super) fn identity(directory: impl AsFd) -> Result<String, Errno> {
    let stat = fs::fstat(directory)?;
    Ok(format!("{}-{}.{:09}", stat.st_ino, stat.st_birthtime, stat.st_birthtime_nsec))
}

/// The flags that forbid to remove an entry, taken off it; put back by [`Unlocked::restore`] if it has other names.
#[derive(Debug)]
pub(super) struct Unlocked {
    entry: OwnedFd,
    bits: u32,
}

/// `UF_IMMUTABLE`, `UF_APPEND`, `UF_NOUNLINK`, `SF_IMMUTABLE`, `SF_APPEND`, `SF_NOUNLINK`
const LOCKS: u32 = 0x0016_0016;

impl Unlocked {
    /// Gives the flags back to an inode that is still there under another name.
    pub(super) fn restore(&self) -> Result<(), Errno> {
        let gone = fs::fstat(&self.entry)?.st_nlink == 0;
        if gone { Ok(()) } else { flags::set_of_path(&self.entry, self.bits).map_err(number_of) }
    }
}

/// Takes the flags that forbid removal off a directory; false if it had none.
pub(super) fn unlock_directory(directory: impl AsFd, _path: &Path) -> Result<bool, Errno> {
    let bits = fs::fstat(&directory)?.st_flags;
    if bits & LOCKS == 0 {
        return Ok(false);
    }
    flags::set(directory, bits & !LOCKS).map_err(number_of)?;
    Ok(true)
}

/// Takes the flags that forbid removal off an entry, of whatever kind; `None` if it had none.
pub(super) fn unlock_entry(above: impl AsFd, name: &CStr) -> Result<Option<Unlocked>, Errno> {
    let stands_for = OFlags::PATH | OFlags::NOFOLLOW | OFlags::RESOLVE_BENEATH | OFlags::CLOEXEC;
    let entry = fs::openat(above, name, stands_for, Mode::empty())?;
    let bits = fs::fstat(&entry)?.st_flags;
    if bits & LOCKS == 0 {
        return Ok(None);
    }
    flags::set_of_path(&entry, bits & !LOCKS).map_err(number_of)?;
    Ok(Some(Unlocked { entry, bits }))
}

fn number_of(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

/// The system's error, with the reason where that is its securelevel.
pub(super) fn explained(errno: Errno) -> io::Error {
    match securelevel::reason().filter(|_| errno == Errno::PERM) {
        Some(reason) => io::Error::new(io::ErrorKind::PermissionDenied, reason),
        None => errno.into(),
    }
}
