//! What Linux does its own way.

use crate::outside;
use remand_sys::btrfs;
use rustix::fs::{self, IFlags, Mode, OFlags, RenameFlags, ResolveFlags, StatxFlags};
use rustix::io::Errno;
use rustix::path::Arg;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Renames, but never onto something. `EINVAL`, `ENOSYS` or `ENOTSUP` where kernel or file system cannot.
pub(crate) fn rename_new(
    from_above: impl AsFd,
    from: impl Arg,
    to_above: impl AsFd,
    to: impl Arg,
) -> Result<(), Errno> {
    let (from_above, to_above) = (owned(from_above)?, owned(to_above)?);
    let (from, to) = (from.into_c_str()?.into_owned(), to.into_c_str()?.into_owned());
    let rename = move || fs::renameat_with(from_above, from, to_above, to, RenameFlags::NOREPLACE);
    outside::run(rename).unwrap_or(Err(Errno::IO))
}

fn owned(fd: impl AsFd) -> Result<OwnedFd, Errno> {
    fd.as_fd().try_clone_to_owned().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

/// Opens a directory in `above`; `EXDEV` if another file system, or a bind mount of the same one, is mounted there.
pub(crate) fn open_beneath(above: impl AsFd, name: &CStr) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    match fs::openat2(&above, name, super::DIRECTORY, Mode::empty(), resolve) {
        // Before Linux 5.6, or forbidden by a container's filter.
        Err(Errno::NOSYS | Errno::PERM) => {}
        other => return other,
    }
    let directory = fs::openat(&above, name, super::DIRECTORY, Mode::empty())?;
    if mount_of(&above)? == mount_of(&directory)? { Ok(directory) } else { Err(Errno::XDEV) }
}

/// What a directory is known by, wherever it is moved: its inode number, and where the file system tells when it was made, that
/// too, because numbers are used again. All subvolumes have one number and a clone has its origin's time, but each a UUID.
pub(super) fn identity(directory: impl AsFd) -> Result<String, Errno> {
    if fs::fstat(&directory)?.st_ino == btrfs::ROOT_INODE && btrfs::is_btrfs(&directory).unwrap_or(false) {
        let known = btrfs::subvolume(&directory);
        let known = known.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        return Ok(format!("{:032x}", u128::from_be_bytes(known.uuid)));
    }
    let stat = fs::statx(directory, c"", fs::AtFlags::EMPTY_PATH, StatxFlags::INO | StatxFlags::BTIME)?;
    let born = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::BTIME);
    let time = if born { (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec) } else { (0, 0) };
    Ok(format!("{}-{}.{:09}", stat.stx_ino, time.0, time.1))
}

/// Tells mounts apart: the device, and the mount's id where the kernel has it (5.8).
fn mount_of(directory: impl AsFd) -> Result<(u32, u32, Option<u64>), Errno> {
    let flags = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let stat = fs::statx(directory, c"", fs::AtFlags::EMPTY_PATH, flags)?;
    let has_id = StatxFlags::from_bits_retain(stat.stx_mask).contains(StatxFlags::MNT_ID);
    Ok((stat.stx_dev_major, stat.stx_dev_minor, has_id.then_some(stat.stx_mnt_id)))
}

/// The flags that forbid to remove an entry, taken off it; put back by [`Unlocked::restore`] if it has other names.
#[derive(Debug)]
pub(super) struct Unlocked {
    file: OwnedFd,
    flags: IFlags,
}

const LOCKS: IFlags = IFlags::IMMUTABLE.union(IFlags::APPEND);

impl Unlocked {
    /// Gives the flags back to an inode that is still there under another name.
    pub(super) fn restore(&self) -> Result<(), Errno> {
        if fs::fstat(&self.file)?.st_nlink == 0 { Ok(()) } else { fs::ioctl_setflags(&self.file, self.flags) }
    }
}

/// Takes the flags that forbid removal off a directory; false if it had none.
pub(super) fn unlock_directory(directory: impl AsFd, _path: &Path) -> Result<bool, Errno> {
    let flags = get_flags(&directory)?;
    if !flags.intersects(LOCKS) {
        return Ok(false);
    }
    fs::ioctl_setflags(directory, flags.difference(LOCKS))?;
    Ok(true)
}

/// Takes the flags that forbid removal off an entry; `None` if it had none. Links and devices cannot have any.
pub(super) fn unlock_entry(above: impl AsFd, name: &CStr) -> Result<Option<Unlocked>, Errno> {
    let stat = fs::statat(&above, name, fs::AtFlags::SYMLINK_NOFOLLOW)?;
    if !matches!(
        fs::FileType::from_raw_mode(stat.st_mode),
        fs::FileType::RegularFile | fs::FileType::Directory
    ) {
        return Ok(None);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = fs::openat(above, name, flags, Mode::empty())?;
    let flags = get_flags(&file)?;
    if !flags.intersects(LOCKS) {
        return Ok(None);
    }
    fs::ioctl_setflags(&file, flags.difference(LOCKS))?;
    Ok(Some(Unlocked { file, flags }))
}

/// The system's error, which tells all that is known.
pub(super) fn explained(errno: Errno) -> io::Error {
    errno.into()
}

/// None where the file system has no flags.
fn get_flags(file: impl AsFd) -> Result<IFlags, Errno> {
    match fs::ioctl_getflags(file) {
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(IFlags::empty()),
        other => other,
    }
}
