//! FreeBSD: stat(2) tells of flags, too; extended attributes by extattr(2).
//!
//! # Limits
//!
//! No crate offers these calls without `unsafe` or relative to a descriptor, so they are not made:
//!
//! * chflags: flags are read, but to set or clear them is a loss, and an entry or directory whose
//!   flags forbid changes cannot be replaced.
//! * ACLs (`acl_get_fd_np`, `acl_set_fd_np`; exacl has them for paths only, and paths may be longer
//!   than the system's limit): they are not read, and to set them is a loss.
//! * `bindat`: a socket is a loss.
//! * Extended attributes of links, FIFOs and devices are read, but to set them is a loss: the system
//!   writes only through a descriptor that is open for more than `O_PATH`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use xattr::FileExt;

use super::super::path::printable;
use super::super::{Acl, Device, Flags, Identity, Kind, Stat};
use super::{Attributes, Place, Seen, kind_of, timestamp, unknown_kind};

/// Nothing keeps a file from noting that it was read, save a mount option.
pub(in crate::tree) const QUIET: OFlags = OFlags::empty();

/// Flags that file systems of this platform have.
pub(in crate::tree) const FLAGS: Flags = {
    let (mut all, mut nth) = (Flags::empty(), 0);
    while nth < FILE_FLAGS.len() {
        all = all.union(FILE_FLAGS[nth].1);
        nth += 1;
    }
    all
};

/// Bits of `st_flags` (`sys/stat.h`).
const FILE_FLAGS: &[(u32, Flags)] = &[
    (0x0000_0001, Flags::NODUMP),
    (0x0000_0002, Flags::UCHG),
    (0x0000_0004, Flags::UAPPND),
    (0x0000_0008, Flags::OPAQUE),
    (0x0000_0010, Flags::UUNLNK),
    (0x0000_0080, Flags::SYSTEM),
    (0x0000_0100, Flags::SPARSE),
    (0x0000_0200, Flags::OFFLINE),
    (0x0000_0400, Flags::REPARSE),
    (0x0000_0800, Flags::UARCH),
    (0x0000_1000, Flags::RDONLY),
    (0x0000_8000, Flags::HIDDEN),
    (0x0001_0000, Flags::ARCH),
    (0x0002_0000, Flags::SCHG),
    (0x0004_0000, Flags::SAPPND),
    (0x0010_0000, Flags::SUNLNK),
];

/// UFS keeps ACLs as these attributes, in a form of its own.
const ACLS: [&[u8]; 3] = [b"system.posix1e.acl_access", b"system.posix1e.acl_default", b"system.nfs4.acl"];

/// `O_RESOLVE_BENEATH` keeps to a directory, but follows links on the way.
pub(in crate::tree) const fn open_below(
    _: BorrowedFd<'_>,
    _: &[u8],
    _: OFlags,
) -> rustix::io::Result<OwnedFd> {
    Err(Errno::NOSYS)
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
    let flags = named(found.st_flags);
    Ok(Seen { stat, fixed: Some(!flags.forbidding().is_empty()) })
}

fn raw_stat(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<rustix::fs::Stat> {
    if name.is_empty() {
        rustix::fs::fstat(dir)
    } else {
        rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
    }
}

fn named(bits: u32) -> Flags {
    FILE_FLAGS
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .fold(Flags::empty(), |flags, (_, flag)| flags.union(*flag))
}

/// A descriptor with what the crate xattr offers for files.
struct Handle<'a>(BorrowedFd<'a>);

impl AsRawFd for Handle<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl FileExt for Handle<'_> {}

/// Whether a change of extended attributes touches ctime. Not in every file system, and no call tells.
pub(in crate::tree) fn ctime_tells_of_xattrs(_: BorrowedFd<'_>) -> bool {
    false
}

/// Whether the file system calls everything data without saying so. None is known here.
pub(in crate::tree) fn hides_holes(_: BorrowedFd<'_>) -> bool {
    false
}

/// The entry's extended attributes. Where the file system has none there are none.
pub(in crate::tree) fn attributes(place: &Place<'_>) -> io::Result<Attributes> {
    let opened = path_handle(place)?;
    let handle = Handle(opened.as_ref().map(AsFd::as_fd).or(place.own).unwrap_or(place.dir));
    let mut attributes = Attributes { unread: Some("ACLs"), ..Attributes::default() };
    for name in xattr_names(&handle)? {
        if !is_acl(&name)
            && let Some(value) = handle.get_xattr(OsStr::from_bytes(&name))?
        {
            attributes.xattrs.insert(name, value);
        }
    }
    Ok(attributes)
}

/// A descriptor that only stands for an entry which cannot be open without side effects.
fn path_handle(place: &Place<'_>) -> rustix::io::Result<Option<OwnedFd>> {
    if place.own.is_some() {
        return Ok(None);
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(place.dir, place.name, flags, Mode::empty()).map(Some)
}

fn xattr_names(handle: &Handle<'_>) -> io::Result<Vec<Vec<u8>>> {
    let listed = match handle.list_xattr() {
        Ok(listed) => listed,
        Err(error) if is_unsupported(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names = Vec::new();
    for name in listed.map(OsStringExt::into_vec) {
        // The crate (1.7) lists the last attribute of the namespace system under the name user.
        if let Some(rest) = name.strip_prefix(b"user.") {
            let system = [b"system.", rest].concat();
            if handle.get_xattr(OsStr::from_bytes(&system)).is_ok_and(|value| value.is_some()) {
                names.push(system);
            }
            if handle.get_xattr(OsStr::from_bytes(&name))?.is_none() {
                continue;
            }
        }
        names.push(name);
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

fn is_unsupported(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::OPNOTSUPP)
}

fn is_acl(name: &[u8]) -> bool {
    ACLS.contains(&name)
}

/// The flags of an entry, of whatever kind.
pub(in crate::tree) fn flags(place: &Place<'_>) -> io::Result<Flags> {
    let found = match place.own {
        Some(own) => rustix::fs::fstat(own)?,
        None => raw_stat(place.dir, place.name)?,
    };
    Ok(named(found.st_flags))
}

/// Makes the flags of an entry be `wanted`, which this module cannot where they are others now.
pub(in crate::tree) fn set_flags(place: &Place<'_>, wanted: Flags) -> io::Result<()> {
    if flags(place)? == wanted { Ok(()) } else { Err(Errno::OPNOTSUPP.into()) }
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

/// Makes the extended attributes of an entry be these and no others. What was refused comes back by
/// name, the rest is set.
pub(in crate::tree) fn set_xattrs(
    place: &Place<'_>,
    xattrs: &BTreeMap<Vec<u8>, Vec<u8>>,
) -> Vec<(String, io::Error)> {
    let label = |name: &[u8]| format!("xattr {}", printable(name));
    let Some(own) = place.own else {
        let refused = |name: &Vec<u8>| (label(name), Errno::OPNOTSUPP.into());
        return xattrs.keys().map(refused).collect();
    };
    let handle = Handle(own);
    let mut refused = Vec::new();
    match xattr_names(&handle) {
        Ok(names) => {
            for name in names.iter().filter(|name| !is_acl(name) && !xattrs.contains_key(*name)) {
                let removed = handle.remove_xattr(OsStr::from_bytes(name));
                refused.extend(removed.err().map(|error| (label(name), error)));
            }
        }
        Err(error) => refused.push(("xattrs".to_owned(), error)),
    }
    for (name, value) in xattrs {
        let done = if is_acl(name) {
            Err(Errno::INVAL.into())
        } else {
            handle.set_xattr(OsStr::from_bytes(name), value)
        };
        refused.extend(done.err().map(|error| (label(name), error)));
    }
    refused
}

/// Makes the ACLs of an entry be these, which this module cannot where there shall be some.
pub(in crate::tree) fn set_acl(_: &Place<'_>, _: Kind, acl: &Acl) -> io::Result<()> {
    if acl.is_empty() { Ok(()) } else { Err(Errno::OPNOTSUPP.into()) }
}

/// Writes everything to stable storage. There is no call for one file system.
pub(in crate::tree) fn sync(dir: BorrowedFd<'_>) -> io::Result<()> {
    rustix::fs::sync();
    Ok(rustix::fs::fsync(dir)?)
}

/// Makes `to` share all data of `from`: there is no call for that alone.
pub(in crate::tree) fn clone_data(_: BorrowedFd<'_>, _: BorrowedFd<'_>) -> rustix::io::Result<()> {
    Err(Errno::OPNOTSUPP)
}

/// Copies up to `length` bytes at `offset` to the same place in another file. No crate wraps the call.
pub(in crate::tree) fn copy_range(
    _: BorrowedFd<'_>,
    _: BorrowedFd<'_>,
    _: u64,
    _: usize,
) -> rustix::io::Result<usize> {
    Err(Errno::OPNOTSUPP)
}

/// Makes a socket that nobody listens at. mknod(2) makes none, and binding one needs a short path.
pub(in crate::tree) fn make_socket(_: BorrowedFd<'_>, _: &[u8]) -> rustix::io::Result<()> {
    Err(Errno::OPNOTSUPP)
}

/// Whether the kernel can make a device of that number.
pub(in crate::tree) const fn has_device(_: Device) -> bool {
    true
}
