//! FreeBSD: stat(2) tells of flags, too; chflags(2), extended attributes by extattr(2), ACLs by acl(3), sockets by bindat(2).
//!
//! What cannot be opened without side effects (links, FIFOs, devices, sockets) is reached through a descriptor of `O_PATH`: open(2) of
//! newer systems names extended attributes, and ACLs to be read, among what that is good for. Where the kernel does not take it, that is told.

mod acls;
mod attributes;

use std::ffi::CString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use remand_sys::freebsd::{copy, flags as chflags, socket};
use remand_sys::securelevel;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::super::{Device, Flags, Identity, Kind, Stat};
use super::forms::{bits_with, flags_of};
use super::{Place, Seen, kind_of, timestamp, unknown_kind};

pub(in crate::tree) use super::forms::FLAGS;
pub(in crate::tree) use acls::set_acl;
pub(in crate::tree) use attributes::{attributes, set_xattrs};

/// Nothing keeps a file from noting that it was read, save a mount option.
pub(in crate::tree) const QUIET: OFlags = OFlags::empty();

/// Keeps the kernel to the directory when a name in it is opened. `..` leads out.
pub(in crate::tree) fn beneath(name: &[u8]) -> OFlags {
    if name == b".." { OFlags::empty() } else { OFlags::RESOLVE_BENEATH }
}

/// `O_RESOLVE_BENEATH` keeps to a directory, but follows links on the way: only a path of one component leads through none.
pub(in crate::tree) const fn open_below(
    _: BorrowedFd<'_>,
    _: &[u8],
    _: OFlags,
) -> rustix::io::Result<OwnedFd> {
    Err(Errno::NOSYS)
}

/// Opens a name in a directory. Devices are in file systems of their own, where nothing is looked for.
pub(in crate::tree) fn open_here(
    dir: BorrowedFd<'_>,
    name: &[u8],
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    rustix::fs::openat(dir, name, flags | beneath(name), Mode::empty())
}

/// Looks at `name` in `dir`; an empty name is `dir` itself. `device` is that of the tree.
pub(in crate::tree) fn stat(dir: BorrowedFd<'_>, name: &[u8], device: Option<u64>) -> io::Result<Seen> {
    let found = raw_stat(dir, name)?;
    let mode = u32::from(found.st_mode);
    let kind = kind_of(FileType::from_raw_mode(found.st_mode)).ok_or_else(|| unknown_kind(mode))?;
    let stat = Stat {
        kind,
        mode: mode & 0o7777,
        uid: found.st_uid,
        gid: found.st_gid,
        mtime: timestamp(found.st_mtime, found.st_mtime_nsec),
        size: if kind == Kind::File { u64::try_from(found.st_size).unwrap_or(0) } else { 0 },
        allocated_bytes: u64::try_from(found.st_blocks).unwrap_or(0).saturating_mul(512),
        device: kind.is_device().then(|| Device {
            major: rustix::fs::major(found.st_rdev),
            minor: rustix::fs::minor(found.st_rdev),
        }),
        identity: Identity {
            device: found.st_dev,
            inode: found.st_ino,
            links: found.st_nlink,
            ctime: timestamp(found.st_ctime, found.st_ctime_nsec),
        },
        mount_point: device.is_some_and(|of_tree| of_tree != found.st_dev),
    };
    let flags = flags_of(found.st_flags);
    Ok(Seen { stat, fixed: Some(!flags.forbidding().is_empty()) })
}

fn raw_stat(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<rustix::fs::Stat> {
    if name.is_empty() {
        rustix::fs::fstat(dir)
    } else {
        rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
    }
}

/// Whether a change of extended attributes touches ctime. Not in every file system, and no call tells.
pub(in crate::tree) fn ctime_tells_of_xattrs(_: BorrowedFd<'_>) -> bool {
    false
}

/// Whether the file system calls everything data without saying so. None is known here.
pub(in crate::tree) fn hides_holes(_: BorrowedFd<'_>) -> bool {
    false
}

/// A descriptor that only stands for an entry, of whatever kind, wherever it is by now.
pub(in crate::tree) fn handle(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC | beneath(name);
    Ok(Some(rustix::fs::openat(dir, name, flags, Mode::empty())?))
}

fn c_name(name: &[u8]) -> io::Result<CString> {
    CString::new(name).map_err(|_| Errno::INVAL.into())
}

fn is_unsupported(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::OPNOTSUPP)
}

/// Whether the kernel refuses a descriptor of `O_PATH` for a call that newer ones let it be used for.
fn wants_more_than_a_path(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::BADF)
}

/// The flags of an entry, of whatever kind.
pub(in crate::tree) fn flags(place: &Place<'_>) -> io::Result<Flags> {
    bits(place).map(flags_of)
}

fn bits(place: &Place<'_>) -> io::Result<u32> {
    let found = match place.own {
        Some(own) => rustix::fs::fstat(own)?,
        None => raw_stat(place.dir, place.name)?,
    };
    Ok(found.st_flags)
}

/// Makes the known flags of an entry be `wanted`. Bits that are the file system's own stay as they are.
pub(in crate::tree) fn set_flags(place: &Place<'_>, wanted: Flags) -> io::Result<()> {
    let now = bits(place)?;
    let new = bits_with(now, wanted);
    if new == now {
        return Ok(());
    }
    let set = match place.own {
        Some(own) => match chflags::set(own, new) {
            Err(error) if wants_more_than_a_path(&error) => chflags::set_of_path(own, new),
            set => set,
        },
        None => chflags::set_at(place.dir, &c_name(place.name)?, new),
    };
    set.map_err(|error| explained(error, flags_of(now).difference(wanted)))
}

/// Says why flags were not taken away, where the reason is the system's securelevel.
fn explained(error: io::Error, cleared: Flags) -> io::Error {
    let superuser = Flags::SCHG.union(Flags::SAPPND).union(Flags::SUNLNK);
    if Errno::from_io_error(&error) != Some(Errno::PERM) || cleared.intersection(superuser).is_empty() {
        return error;
    }
    match securelevel::reason() {
        Some(reason) => io::Error::new(io::ErrorKind::PermissionDenied, reason),
        None => error,
    }
}

/// Takes away the flags that forbid changes of an entry, and says which there were.
pub(in crate::tree) fn loosen(place: &Place<'_>) -> io::Result<Flags> {
    let now = flags(place)?;
    let forbidding = now.forbidding();
    if !forbidding.is_empty() {
        set_flags(place, now.difference(forbidding))?;
    }
    Ok(forbidding)
}

/// Whether entries of this kind can be open without side effects.
pub(in crate::tree) const fn opens(kind: Kind) -> bool {
    matches!(kind, Kind::File | Kind::Directory)
}

/// Whether symbolic links have permission bits that mean something.
pub(in crate::tree) const SYMLINK_MODES: bool = true;

/// Sets the permission bits of an entry.
pub(in crate::tree) fn set_mode(place: &Place<'_>, mode: u32) -> io::Result<()> {
    let mode = Mode::from_bits_truncate(u16::try_from(mode & 0o7777).unwrap_or(0));
    match place.own {
        Some(own) => rustix::fs::fchmod(own, mode)?,
        None => rustix::fs::chmodat(place.dir, place.name, mode, AtFlags::SYMLINK_NOFOLLOW)?,
    }
    Ok(())
}

/// Writes everything to stable storage. There is no call for one file system.
pub(in crate::tree) fn sync(dir: BorrowedFd<'_>) -> io::Result<()> {
    rustix::fs::sync();
    Ok(rustix::fs::fsync(dir)?)
}

/// Makes `to` share all data of `from`: there is no call for that alone. [`copy_range`] shares where it can.
pub(in crate::tree) fn clone_data(_: BorrowedFd<'_>, _: BorrowedFd<'_>) -> rustix::io::Result<()> {
    Err(Errno::OPNOTSUPP)
}

/// Copies up to `length` bytes at `offset` to the same place in another file.
pub(in crate::tree) fn copy_range(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    offset: u64,
    length: usize,
) -> rustix::io::Result<usize> {
    copy::range(from, to, offset, length).map_err(number_of)
}

fn number_of(error: io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::INVAL)
}

/// Makes a socket that nobody listens at. A name that is too long for an address is given afterwards.
pub(in crate::tree) fn make_socket(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    const TRIES: u32 = 1000;
    let new =
        || rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    if name.len() <= socket::MAX_NAME_BYTES {
        return socket::bind(dir, new()?, name).map_err(number_of);
    }
    if raw_stat(dir, name).is_ok() {
        return Err(Errno::EXIST);
    }
    for nth in 0..TRIES {
        let short = format!(".remand-socket-{}-{nth}", std::process::id());
        match socket::bind(dir, new()?, short.as_bytes()).map_err(number_of) {
            Ok(()) => return rustix::fs::renameat(dir, &short, dir, name),
            Err(Errno::ADDRINUSE) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::ADDRINUSE)
}

/// Whether the kernel can make a device of that number.
pub(in crate::tree) const fn has_device(_: Device) -> bool {
    true
}
