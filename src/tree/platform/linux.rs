//! Linux: statx(2) since 4.11, extended attributes by descriptor or through `/proc`, ACLs as extended
//! attributes, inode flags by ioctl.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, FileType, IFlags, Mode, OFlags, ResolveFlags, Statx, StatxAttributes, StatxFlags, XattrFlags,
};
use rustix::io::Errno;

use super::super::path::printable;
use super::super::{Acl, Device, Flags, Identity, Kind, Stat};
use super::{Attributes, Place, Seen, kind_of, posix_acl, timestamp, unknown_kind};

/// Asks a file not to note that it was read.
pub(in crate::tree) const QUIET: OFlags = OFlags::NOATIME;

/// Flags that file systems of this platform have.
pub(in crate::tree) const FLAGS: Flags = {
    let (mut all, mut nth) = (Flags::empty(), 0);
    while nth < INODE_FLAGS.len() {
        all = all.union(INODE_FLAGS[nth].1);
        nth += 1;
    }
    all
};

/// Names of inode flags, as libarchive has them. Those not listed (extents, inline data, encryption,
/// verity…) say how a file system stores a file and mean nothing in another.
const INODE_FLAGS: &[(IFlags, Flags)] = &[
    (IFlags::APPEND, Flags::SAPPND),
    (IFlags::COMPRESSED, Flags::COMPRESS),
    (IFlags::DIRSYNC, Flags::DIRSYNC),
    (IFlags::IMMUTABLE, Flags::SCHG),
    (IFlags::JOURNALING, Flags::JOURNAL_DATA),
    (IFlags::NOATIME, Flags::NOATIME),
    (IFlags::NOCOW, Flags::NOCOW),
    (IFlags::NODUMP, Flags::NODUMP),
    (IFlags::NOTAIL, Flags::NOTAIL),
    (IFlags::PROJECT_INHERIT, Flags::PROJINHERIT),
    (IFlags::SECURE_REMOVAL, Flags::SECDEL),
    (IFlags::SYNC, Flags::SYNC),
    (IFlags::TOPDIR, Flags::TOPDIR),
    (IFlags::UNRM, Flags::UNDEL),
];

const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
/// What XFS shows of the same ACLs to root a second time, in its own form. Elsewhere they are names like any other.
const ACLS_OF_XFS: [&[u8]; 2] = [b"trusted.SGI_ACL_FILE", b"trusted.SGI_ACL_DEFAULT"];

/// Looks at `name` in `dir`; an empty name is `dir` itself. `device` is that of the tree.
pub(in crate::tree) fn stat(dir: BorrowedFd<'_>, name: &[u8], device: Option<u64>) -> io::Result<Seen> {
    let mut how = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT;
    how.set(AtFlags::EMPTY_PATH, name.is_empty());
    let found = rustix::fs::statx(dir, name, how, StatxFlags::BASIC_STATS)?;
    seen(&found, device)
}

/// What keeps the kernel to the directory when a name in it is opened: one component leads nowhere else.
pub(in crate::tree) const fn beneath(_: &[u8]) -> OFlags {
    OFlags::empty()
}

/// A descriptor that only stands for an entry, where that is of use: what cannot be opened has no flags here.
#[allow(clippy::unnecessary_wraps)] // as on other platforms
pub(in crate::tree) const fn handle(_: BorrowedFd<'_>, _: &[u8]) -> io::Result<Option<OwnedFd>> {
    Ok(None)
}

/// Opens by a path of several components, through no link and onto no mount: openat2(2), since 5.6. An older kernel and some sandboxes
/// answer with an error.
pub(in crate::tree) fn open_below(
    dir: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    rustix::fs::openat2(dir, path, flags, Mode::empty(), resolve)
}

/// Opens a name in a directory, unless something is mounted there.
pub(in crate::tree) fn open_here(
    dir: BorrowedFd<'_>,
    name: &[u8],
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    open_below(dir, name, flags | QUIET)
}

fn seen(found: &Statx, tree_device: Option<u64>) -> io::Result<Seen> {
    let mode = u32::from(found.stx_mode);
    let kind = kind_of(FileType::from_raw_mode(mode)).ok_or_else(|| unknown_kind(mode))?;
    let device = rustix::fs::makedev(found.stx_dev_major, found.stx_dev_minor);
    let known = found.stx_attributes_mask;
    let fixing = StatxAttributes::IMMUTABLE | StatxAttributes::APPEND;
    // Device numbers of directories alone are reliable: overlayfs shows those of its layers for files.
    let foreign = kind == Kind::Directory && tree_device.is_some_and(|of_tree| of_tree != device);
    let time = |time: &rustix::fs::StatxTimestamp| timestamp(time.tv_sec, i64::from(time.tv_nsec));
    let stat = Stat {
        kind,
        mode: mode & 0o7777,
        uid: found.stx_uid,
        gid: found.stx_gid,
        mtime: time(&found.stx_mtime),
        size: if kind == Kind::File { found.stx_size } else { 0 },
        allocated_bytes: found.stx_blocks.saturating_mul(512),
        device: kind
            .is_device()
            .then_some(Device { major: found.stx_rdev_major, minor: found.stx_rdev_minor }),
        identity: Identity {
            device,
            inode: found.stx_ino,
            links: u64::from(found.stx_nlink),
            ctime: time(&found.stx_ctime),
        },
        mount_point: foreign || found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT),
    };
    Ok(Seen { stat, fixed: known.contains(fixing).then(|| found.stx_attributes.intersects(fixing)) })
}

/// Whether the file system calls everything data: FUSE does for every program behind it that does not implement
/// `lseek`, and does not say so.
pub(in crate::tree) fn hides_holes(file: BorrowedFd<'_>) -> bool {
    is_fuse(file)
}

/// Whether a change of extended attributes touches ctime: the kernel's own file systems see to it, of programs behind
/// FUSE nobody knows (zfs-fuse does not).
pub(in crate::tree) fn ctime_tells_of_xattrs(file: BorrowedFd<'_>) -> bool {
    !is_fuse(file)
}

fn is_fuse(file: BorrowedFd<'_>) -> bool {
    const FUSE_SUPER_MAGIC: rustix::fs::FsWord = 0x6573_5546;
    rustix::fs::fstatfs(file).is_ok_and(|found| found.f_type == FUSE_SUPER_MAGIC)
}

/// The entry's extended attributes and ACLs. Where the file system has none there are none.
pub(in crate::tree) fn attributes(place: &Place<'_>) -> io::Result<Attributes> {
    let mut attributes = Attributes::default();
    let names = match xattr_names(place) {
        Ok(names) => names,
        Err(error) if is_unsupported(&error) => {
            // Behind FUSE that need not mean that there are none: one ENOSYS of the program (zfs-fuse gives it on
            // read-only mounts) and the kernel asks it no more.
            attributes.unread = is_fuse(place.dir).then_some("extended attributes and ACLs");
            return Ok(attributes);
        }
        Err(error) => return Err(error),
    };
    for name in names {
        let value = match xattr(place, &name) {
            Ok(value) => value,
            // Removed since it was listed.
            Err(Errno::NODATA) => continue,
            Err(error) => return Err(error.into()),
        };
        let acl = match &name[..] {
            ACL_ACCESS => &mut attributes.acl.access,
            ACL_DEFAULT => &mut attributes.acl.default,
            _ => {
                attributes.xattrs.insert(name, value);
                continue;
            }
        };
        *acl = Some(
            posix_acl::to_text(&value).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?,
        );
    }
    Ok(attributes)
}

/// Without what tells of the ACLs a second time.
fn xattr_names(place: &Place<'_>) -> io::Result<Vec<Vec<u8>>> {
    let length = || match place.own {
        Some(own) => rustix::fs::flistxattr_query(own),
        None => rustix::fs::llistxattr_query(proc_path(place)),
    };
    let list = read_sized(length, |buffer| match place.own {
        Some(own) => rustix::fs::flistxattr(own, buffer),
        None => rustix::fs::llistxattr(proc_path(place), buffer),
    });
    match list {
        Ok(list) => {
            let names = list.split(|&byte| byte == 0).filter(|name| !name.is_empty());
            Ok(names.filter(|name| !is_acl_of_xfs(place, name)).map(<[u8]>::to_vec).collect())
        }
        Err(error) => Err(error.into()),
    }
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::OPNOTSUPP | Errno::NOSYS))
}

fn xattr(place: &Place<'_>, name: &[u8]) -> rustix::io::Result<Vec<u8>> {
    let length = || match place.own {
        Some(own) => rustix::fs::fgetxattr_query(own, name),
        None => rustix::fs::lgetxattr_query(proc_path(place), name),
    };
    read_sized(length, |buffer| match place.own {
        Some(own) => rustix::fs::fgetxattr(own, name, buffer),
        None => rustix::fs::lgetxattr(proc_path(place), name, buffer),
    })
}

/// Asks for the length first and then for the value. A buffer that is only just large enough for most
/// values would save a call where there is something to read, but FUSE file systems exist that answer
/// a buffer that is too small with nonsense instead of `ERANGE` (zfs-fuse 0.7 does), and most entries
/// have nothing to read. An empty buffer is no question for the length: rustix answers 0.
fn read_sized(
    length: impl Fn() -> rustix::io::Result<usize>,
    read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
) -> rustix::io::Result<Vec<u8>> {
    const CHANGES: usize = 16;
    for _ in 0..CHANGES {
        let length = length()?;
        if length == 0 {
            return Ok(Vec::new());
        }
        let mut buffer = vec![0; length];
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            // It grew in between.
            Err(Errno::RANGE) => {}
            Err(error) => return Err(error),
        }
    }
    Err(Errno::RANGE)
}

/// There is no `getxattrat` before Linux 6.13; this path has the same effect, however deep the
/// directory lies.
fn proc_path(place: &Place<'_>) -> Vec<u8> {
    let mut path = format!("/proc/self/fd/{}/", place.dir.as_raw_fd()).into_bytes();
    path.extend_from_slice(place.name);
    path
}

/// The flags of an entry. Only regular files and directories have some.
pub(in crate::tree) fn flags(place: &Place<'_>) -> io::Result<Flags> {
    let Some(inode_flags) = inode_flags(place)? else { return Ok(Flags::empty()) };
    Ok(INODE_FLAGS
        .iter()
        .filter(|(bit, _)| inode_flags.contains(*bit))
        .fold(Flags::empty(), |flags, (_, flag)| flags.union(*flag)))
}

fn inode_flags(place: &Place<'_>) -> io::Result<Option<IFlags>> {
    let Some(own) = place.own else { return Ok(None) };
    match rustix::fs::ioctl_getflags(own) {
        Ok(flags) => Ok(Some(flags)),
        // What file systems without flags answer.
        Err(Errno::NOTTY | Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Makes the known flags of an entry be `wanted`. Flags that say how the file system stores the file
/// stay as they are.
pub(in crate::tree) fn set_flags(place: &Place<'_>, wanted: Flags) -> io::Result<()> {
    let (Some(own), Some(now)) = (place.own, inode_flags(place)?) else {
        return if wanted.is_empty() { Ok(()) } else { Err(Errno::OPNOTSUPP.into()) };
    };
    let mut new = now;
    for (bit, flag) in INODE_FLAGS {
        new.set(*bit, wanted.contains(*flag));
    }
    if new != now {
        rustix::fs::ioctl_setflags(own, new)?;
    }
    Ok(())
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

/// Whether entries of this kind can be open without side effects, and so have flags.
pub(in crate::tree) const fn opens(kind: Kind) -> bool {
    matches!(kind, Kind::File | Kind::Directory)
}

/// Whether symbolic links have permission bits that mean something.
pub(in crate::tree) const SYMLINK_MODES: bool = false;

/// Sets the permission bits of an entry that is no symbolic link.
pub(in crate::tree) fn set_mode(place: &Place<'_>, mode: u32) -> io::Result<()> {
    let mode = Mode::from_raw_mode(mode);
    if let Some(own) = place.own {
        return Ok(rustix::fs::fchmod(own, mode)?);
    }
    // There is no call that sets a mode and follows no link before Linux 6.6. This descriptor is the
    // entry itself, whatever has its name by now.
    let handle = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let entry = rustix::fs::openat(place.dir, place.name, handle, Mode::empty())?;
    Ok(rustix::fs::chmod(format!("/proc/self/fd/{}", entry.as_raw_fd()), mode)?)
}

/// Makes the extended attributes of an entry be these and no others. What was refused comes back by
/// name, the rest is set.
pub(in crate::tree) fn set_xattrs(
    place: &Place<'_>,
    xattrs: &BTreeMap<Vec<u8>, Vec<u8>>,
) -> Vec<(String, io::Error)> {
    let mut refused = Vec::new();
    match xattr_names(place) {
        Ok(names) => {
            let extra = names
                .iter()
                .filter(|name| !is_acl(name) && !xattrs.contains_key(*name) && !is_given_by_the_host(name));
            refused.extend(
                extra.filter_map(|name| Some((label(name), remove_xattr(place, name).err()?.into()))),
            );
        }
        // None to remove; those to set say for themselves that they cannot be.
        Err(error) if is_unsupported(&error) => {}
        Err(error) => refused.push(("xattrs".to_owned(), error)),
    }
    for (name, value) in xattrs {
        // An ACL that comes this way would escape all checks.
        let is_acl = is_acl(name) || is_acl_of_xfs(place, name);
        let done = if is_acl { Err(Errno::INVAL) } else { set_xattr(place, name, value) };
        refused.extend(done.err().map(|error| (label(name), error.into())));
    }
    refused
}

/// Makes the ACLs of an entry be these and no others.
pub(in crate::tree) fn set_acl(place: &Place<'_>, kind: Kind, acl: &Acl) -> io::Result<()> {
    let set = |name: &[u8], text: &Option<String>| match text.as_ref().map(|text| posix_acl::from_text(text))
    {
        Some(Ok(raw)) => Ok(set_xattr(place, name, &raw)?),
        Some(Err(error)) => Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
        // Where the file system or the kind of entry has no ACLs there is none to remove.
        None => match remove_xattr(place, name) {
            Err(error) if error != Errno::OPNOTSUPP => Err(error.into()),
            _ => Ok(()),
        },
    };
    if kind == Kind::Symlink && acl.access.is_none() && acl.default.is_none() {
        return if acl.nfs4.is_some() { Err(no_nfs4()) } else { Ok(()) };
    }
    let access = set(ACL_ACCESS, &acl.access);
    let default = if kind == Kind::Directory || acl.default.is_some() {
        set(ACL_DEFAULT, &acl.default)
    } else {
        Ok(())
    };
    access.and(default).and(if acl.nfs4.is_some() { Err(no_nfs4()) } else { Ok(()) })
}

fn no_nfs4() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "this system keeps no NFSv4 ACLs")
}

fn set_xattr(place: &Place<'_>, name: &[u8], value: &[u8]) -> rustix::io::Result<()> {
    match place.own {
        Some(own) => rustix::fs::fsetxattr(own, name, value, XattrFlags::empty()),
        None => rustix::fs::lsetxattr(proc_path(place), name, value, XattrFlags::empty()),
    }
}

fn remove_xattr(place: &Place<'_>, name: &[u8]) -> rustix::io::Result<()> {
    let removed = match place.own {
        Some(own) => rustix::fs::fremovexattr(own, name),
        None => rustix::fs::lremovexattr(proc_path(place), name),
    };
    if removed == Err(Errno::NODATA) { Ok(()) } else { removed }
}

/// Labels that a security module gives every entry of this host by itself and does not let go of. An
/// archive from a host without that module has none, and nothing is wrong with that.
fn is_given_by_the_host(name: &[u8]) -> bool {
    name == b"security.selinux" || name.starts_with(b"security.SMACK64")
}

fn is_acl(name: &[u8]) -> bool {
    name == ACL_ACCESS || name == ACL_DEFAULT
}

fn is_acl_of_xfs(place: &Place<'_>, name: &[u8]) -> bool {
    const XFS_SUPER_MAGIC: rustix::fs::FsWord = 0x5846_5342;
    ACLS_OF_XFS.contains(&name)
        && rustix::fs::fstatfs(place.own.unwrap_or(place.dir))
            .is_ok_and(|found| found.f_type == XFS_SUPER_MAGIC)
}

/// What a loss is called.
fn label(name: &[u8]) -> String {
    format!("xattr {}", printable(name))
}

/// Writes everything of the file system to stable storage.
pub(in crate::tree) fn sync(dir: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::fs::syncfs(dir)?)
}

/// Makes `to` share all data of `from`.
pub(in crate::tree) fn clone_data(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::fs::ioctl_ficlone(to, from)
}

/// Copies up to `length` bytes at `offset` to the same place in another file; 0 where `from` ends.
pub(in crate::tree) fn copy_range(
    from: BorrowedFd<'_>,
    to: BorrowedFd<'_>,
    offset: u64,
    length: usize,
) -> rustix::io::Result<usize> {
    let (mut source, mut target) = (offset, offset);
    rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), length)
}

/// Makes a socket that nobody listens at.
pub(in crate::tree) fn make_socket(dir: BorrowedFd<'_>, name: &[u8]) -> rustix::io::Result<()> {
    rustix::fs::mknodat(dir, name, FileType::Socket, Mode::RUSR | Mode::WUSR, 0)
}

/// Whether the kernel can make a device of that number: it has 12 bits for the driver and 20 for the
/// device, and cuts others off in silence.
pub(in crate::tree) const fn has_device(device: Device) -> bool {
    device.major < 1 << 12 && device.minor < 1 << 20
}

#[cfg(test)]
mod tests;
