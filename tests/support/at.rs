//! File system calls relative to an open directory, so that trees can be deeper than any path may be long.
//!
//! Every call panics with its subject, save those whose name begins with `try_`: these return what the file system
//! says, for attributes that some refuse.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags,
};

/// An open directory.
pub(crate) struct At {
    fd: OwnedFd,
}

/// Seconds and nanoseconds since 1970.
pub(crate) type Time = (i64, i64);

impl At {
    /// Opens a directory by path.
    pub(crate) fn open(path: &Path) -> Self {
        Self::try_open(CWD, path.as_os_str())
            .unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()))
    }

    fn try_open(directory: impl AsFd, name: &OsStr) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self { fd: rustix::fs::openat(directory, name, flags, Mode::empty())? })
    }

    /// Opens the directory `path` below this one, component by component.
    pub(crate) fn dir(&self, path: impl AsRef<[u8]>) -> Self {
        let path = path.as_ref();
        let mut here = self.fd.try_clone().map(|fd| Self { fd }).expect("a descriptor");
        for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
            here = Self::try_open(&here.fd, OsStr::from_bytes(name)).unwrap_or_else(|error| {
                panic!("cannot open {}: {error}", String::from_utf8_lossy(path));
            });
        }
        here
    }

    /// Makes the directory `name` with mode 0755 and opens it.
    pub(crate) fn mkdir(&self, name: impl AsRef<[u8]>) -> Self {
        let name = OsStr::from_bytes(name.as_ref());
        rustix::fs::mkdirat(&self.fd, name, Mode::from_raw_mode(0o755))
            .unwrap_or_else(|e| fail("make", name, e));
        Self::try_open(&self.fd, name).unwrap_or_else(|e| fail("open", name, e))
    }

    /// A path for calls that have no form relative to a descriptor. Valid while this value lives.
    pub(crate) fn path_of(&self, name: impl AsRef<[u8]>) -> PathBuf {
        Path::new(&format!("/proc/self/fd/{}", self.fd.as_raw_fd())).join(OsStr::from_bytes(name.as_ref()))
    }

    /// Names in this directory, sorted.
    pub(crate) fn names(&self) -> Vec<Vec<u8>> {
        let mut names: Vec<Vec<u8>> = rustix::fs::Dir::read_from(&self.fd)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").file_name().to_bytes().to_vec())
            .filter(|name| name != b"." && name != b"..")
            .collect();
        names.sort();
        names
    }

    /// Makes or overwrites a file, mode 0644.
    pub(crate) fn write(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) {
        let path = self.path_of(name.as_ref());
        std::fs::write(&path, content).unwrap_or_else(|e| fail("write", path.as_os_str(), e));
        self.chmod(name, 0o644);
    }

    /// Makes a file of `size` bytes that has data only where `parts` says.
    pub(crate) fn write_sparse(&self, name: impl AsRef<[u8]>, size: u64, parts: &[(u64, &[u8])]) {
        use std::os::unix::fs::FileExt;
        let path = self.path_of(name);
        let file = std::fs::File::create(&path).unwrap_or_else(|e| fail("create", path.as_os_str(), e));
        file.set_len(size).expect("a sparse file");
        for (offset, bytes) in parts {
            file.write_all_at(bytes, *offset).expect("data in a sparse file");
        }
    }

    pub(crate) fn read(&self, name: impl AsRef<[u8]>) -> Vec<u8> {
        let path = self.path_of(name);
        std::fs::read(&path).unwrap_or_else(|e| fail("read", path.as_os_str(), e))
    }

    pub(crate) fn symlink(&self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) {
        let name = name.as_ref();
        self.try_symlink(name, target).unwrap_or_else(|e| fail("link", OsStr::from_bytes(name), e));
    }

    pub(crate) fn try_symlink(&self, name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> io::Result<()> {
        Ok(rustix::fs::symlinkat(target.as_ref(), &self.fd, name.as_ref())?)
    }

    /// Gives the entry `from` of `other` the further name `to` here.
    pub(crate) fn link(&self, to: impl AsRef<[u8]>, other: &Self, from: impl AsRef<[u8]>) {
        let to = OsStr::from_bytes(to.as_ref());
        rustix::fs::linkat(&other.fd, from.as_ref(), &self.fd, to, AtFlags::empty())
            .unwrap_or_else(|e| fail("link", to, e));
    }

    pub(crate) fn unlink(&self, name: impl AsRef<[u8]>) {
        let name = OsStr::from_bytes(name.as_ref());
        rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()).unwrap_or_else(|e| fail("remove", name, e));
    }

    /// Removes an entry and all below it.
    pub(crate) fn remove(&self, name: impl AsRef<[u8]>) {
        let name = name.as_ref();
        if self.kind(name) == FileType::Directory {
            let below = self.dir(name);
            for child in below.names() {
                below.remove(child);
            }
            let name = OsStr::from_bytes(name);
            rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)
                .unwrap_or_else(|e| fail("remove", name, e));
        } else {
            self.unlink(name);
        }
    }

    pub(crate) fn rename(&self, from: impl AsRef<[u8]>, to: impl AsRef<[u8]>) {
        let from = OsStr::from_bytes(from.as_ref());
        rustix::fs::renameat(&self.fd, from, &self.fd, to.as_ref())
            .unwrap_or_else(|e| fail("rename", from, e));
    }

    pub(crate) fn stat(&self, name: impl AsRef<[u8]>) -> rustix::fs::Stat {
        let name = OsStr::from_bytes(name.as_ref());
        rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
            .unwrap_or_else(|e| fail("stat", name, e))
    }

    pub(crate) fn kind(&self, name: impl AsRef<[u8]>) -> FileType {
        FileType::from_raw_mode(self.stat(name).st_mode)
    }

    pub(crate) fn target(&self, name: impl AsRef<[u8]>) -> Vec<u8> {
        rustix::fs::readlinkat(&self.fd, name.as_ref(), Vec::new()).expect("a symbolic link").into_bytes()
    }

    pub(crate) fn chmod(&self, name: impl AsRef<[u8]>, mode: u32) {
        let name = OsStr::from_bytes(name.as_ref());
        rustix::fs::chmodat(&self.fd, name, Mode::from_raw_mode(mode), AtFlags::empty())
            .unwrap_or_else(|e| fail("chmod", name, e));
    }

    pub(crate) fn try_chown(&self, name: impl AsRef<[u8]>, uid: u32, gid: u32) -> io::Result<()> {
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        Ok(rustix::fs::chownat(&self.fd, name.as_ref(), Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
    }

    pub(crate) fn try_set_mtime(
        &self,
        name: impl AsRef<[u8]>,
        (seconds, nanoseconds): Time,
    ) -> io::Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT as _ },
            last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ },
        };
        Ok(rustix::fs::utimensat(&self.fd, name.as_ref(), &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    pub(crate) fn set_mtime(&self, name: impl AsRef<[u8]>, time: Time) {
        let name = name.as_ref();
        self.try_set_mtime(name, time)
            .unwrap_or_else(|e| fail("set the time of", OsStr::from_bytes(name), e));
    }

    pub(crate) fn try_mknod(
        &self,
        name: &str,
        kind: FileType,
        mode: u32,
        device: (u32, u32),
    ) -> io::Result<()> {
        let device = rustix::fs::makedev(device.0, device.1);
        rustix::fs::mknodat(&self.fd, name, kind, Mode::from_raw_mode(mode), device)?;
        self.chmod(name, mode);
        Ok(())
    }

    /// Extended attributes, sorted; none where the file system has no such thing.
    pub(crate) fn xattrs(&self, name: &[u8]) -> io::Result<Vec<(OsString, Vec<u8>)>> {
        let path = self.path_of(name);
        let mut list = vec![0; 65536];
        let length = match rustix::fs::llistxattr(&path, &mut list) {
            Err(rustix::io::Errno::NOTSUP) => 0,
            other => other?,
        };
        let mut found = Vec::new();
        for attribute in list[..length].split(|byte| *byte == 0).filter(|attribute| !attribute.is_empty()) {
            let mut value = vec![0; 65536];
            let length = rustix::fs::lgetxattr(&path, attribute, &mut value)?;
            value.truncate(length);
            found.push((OsString::from_vec(attribute.to_vec()), value));
        }
        found.sort();
        Ok(found)
    }

    pub(crate) fn try_set_xattr(
        &self,
        name: impl AsRef<[u8]>,
        attribute: &str,
        value: &[u8],
    ) -> io::Result<()> {
        Ok(rustix::fs::lsetxattr(self.path_of(name), attribute, value, XattrFlags::empty())?)
    }

    /// File flags of a regular file or a directory; none where the file system has no such thing.
    pub(crate) fn flags(&self, name: &[u8]) -> io::Result<u32> {
        match flags::get(&self.path_of(name)) {
            Err(error) if flags::unknown(&error) => Ok(0),
            other => other,
        }
    }

    pub(crate) fn try_set_flags(&self, name: impl AsRef<[u8]>, flags: u32) -> io::Result<()> {
        flags::set(&self.path_of(name), flags)
    }

    /// Magic number of the file system.
    #[cfg(target_os = "linux")]
    pub(crate) fn file_system(&self) -> i64 {
        rustix::fs::fstatfs(&self.fd).expect("a file system").f_type
    }
}

fn fail(action: &str, name: &OsStr, error: impl std::fmt::Display) -> ! {
    panic!("cannot {action} {}: {error}", name.display())
}

/// Flags that are compared and set in tests.
pub(crate) mod flags {
    pub(crate) const APPEND: u32 = 0x20;
    pub(crate) const IMMUTABLE: u32 = 0x10;
    pub(crate) const NODUMP: u32 = 0x40;
    pub(crate) const ALL: u32 = APPEND | IMMUTABLE | NODUMP;

    use std::io;
    use std::path::Path;

    #[cfg(target_os = "linux")]
    pub(crate) fn get(path: &Path) -> io::Result<u32> {
        use rustix::fs::{Mode, OFlags};
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty())?;
        Ok(rustix::fs::ioctl_getflags(&file)?.bits() & ALL)
    }

    #[cfg(target_os = "linux")]
    pub(crate) fn set(path: &Path, value: u32) -> io::Result<()> {
        use rustix::fs::{IFlags, Mode, OFlags};
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty())?;
        let others = rustix::fs::ioctl_getflags(&file)?.difference(IFlags::from_bits_retain(ALL));
        Ok(rustix::fs::ioctl_setflags(&file, others | IFlags::from_bits_retain(value))?)
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn get(_: &Path) -> io::Result<u32> {
        Err(io::ErrorKind::Unsupported.into())
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn set(_: &Path, _: u32) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Whether an error says that the file system has no flags.
    pub(crate) fn unknown(error: &io::Error) -> bool {
        let errno = error.raw_os_error();
        error.kind() == io::ErrorKind::Unsupported
            || [rustix::io::Errno::NOTTY, rustix::io::Errno::NOTSUP, rustix::io::Errno::NOSYS]
                .iter()
                .any(|known| errno == Some(known.raw_os_error()))
    }
}

/// Removes a tree, if need be after clearing what protects it. What cannot be removed stays and is told.
pub(crate) fn remove_tree(path: &Path) {
    if std::fs::remove_dir_all(path).is_ok() || !path.exists() {
        return;
    }
    unprotect(&At::open(path));
    if let Err(error) = std::fs::remove_dir_all(path) {
        super::announce(&format!("LEFT {}: {error}", path.display()));
    }
}

fn unprotect(directory: &At) {
    for name in directory.names() {
        let kind = directory.kind(&name);
        if matches!(kind, FileType::RegularFile | FileType::Directory)
            && directory.flags(&name).is_ok_and(|flags| flags & (flags::IMMUTABLE | flags::APPEND) != 0)
        {
            // What stays protected is told by the caller, which cannot remove it then.
            let _ = directory.try_set_flags(&name, 0);
        }
        if kind == FileType::Directory {
            if !super::is_root() {
                directory.chmod(&name, 0o700);
            }
            unprotect(&directory.dir(&name));
        }
    }
}
