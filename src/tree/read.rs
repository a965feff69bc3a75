//! Reading a tree.
//!
//! Nothing here changes a tree, not even its access times where the system allows that. A tree may
//! change while it is read: what vanishes between two calls is `None`, never an error.

mod file;
mod look;

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

pub use file::FileContent;
pub use look::{Look, OpenFile};

use super::path::printable;
use super::platform::{self, Place};
use super::{Device, Entry, Error, Flags, Identity, Kind, Node, Result, Timestamp, TreePath};

/// A tree that is open for reading: a directory and everything below it in the same file system.
#[derive(Clone, Debug)]
pub struct Tree {
    root: Dir,
    location: Option<Arc<Path>>,
}

/// An open directory of a tree. Cheap to clone; the descriptor closes with the last clone.
#[derive(Clone)]
pub struct Dir(Arc<Opened>);

impl std::fmt::Debug for Dir {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Dir").field(&self.0.path).finish()
    }
}

struct Opened {
    fd: OwnedFd,
    path: TreePath,
    /// Device of the tree's file system.
    device: u64,
    /// Where the tree is, for messages.
    place: Arc<str>,
    /// What entries of the tree may have that could not be read.
    unread: Arc<OnceLock<&'static str>>,
}

/// A name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The name as the system gave it.
    pub name: Vec<u8>,
    /// Its kind, where the directory itself tells.
    pub kind: Option<Kind>,
    /// Number of its entry; where something is mounted, of what lies beneath.
    pub inode: u64,
}

/// What one system call tells of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Type.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of last modification.
    pub mtime: Timestamp,
    /// Content length in bytes (0 unless a regular file).
    pub size: u64,
    /// Bytes allocated.
    pub allocated_bytes: u64,
    /// Number of a device node.
    pub device: Option<Device>,
    /// What tells it from others.
    pub identity: Identity,
    /// Whether another file system is mounted here.
    pub mount_point: bool,
}

impl Tree {
    /// Opens the directory at `path` as a tree's root. Links in `path` itself are followed, it is the
    /// administrator's; no link below it ever is.
    pub fn open(path: &Path) -> Result<Self> {
        let place = printable(path.as_os_str().as_encoded_bytes());
        let opened = rustix::fs::openat(rustix::fs::CWD, path, OPEN_DIR - OFlags::NOFOLLOW, Mode::empty());
        match opened {
            Ok(fd) => {
                let location = std::path::absolute(path).ok().map(Arc::from);
                Ok(Self { location, ..Self::from_fd(fd, &place)? })
            }
            Err(source) => {
                Err(Error::Io { action: "open the directory", path: place, source: source.into() })
            }
        }
    }

    /// The tree below an open directory. `place` says in messages where it is.
    pub fn from_fd(fd: OwnedFd, place: &str) -> Result<Self> {
        let seen = platform::stat(fd.as_fd(), b"", None).map_err(|source| Error::Io {
            action: "read the attributes of",
            path: place.to_owned(),
            source,
        })?;
        if seen.stat.kind != Kind::Directory {
            return Err(Error::WrongKind {
                path: place.to_owned(),
                found: seen.stat.kind.described(),
                wanted: Kind::Directory.described(),
            });
        }
        let place = Arc::from(place.trim_end_matches('/'));
        let (path, device) = (TreePath::root(), seen.stat.identity.device);
        Ok(Self {
            root: Dir(Arc::new(Opened { fd, path, device, place, unread: Arc::default() })),
            location: None,
        })
    }

    /// The absolute path that the tree was opened by, for programs that need one; `None` after [`Tree::from_fd`].
    pub fn location(&self) -> Option<&Path> {
        self.location.as_deref()
    }

    /// What entries that were read so far may have, and the platform or the file system did not let be read.
    pub fn unread(&self) -> Option<&'static str> {
        self.root.0.unread.get().copied()
    }

    /// Whether its file system is known to touch an entry's ctime when extended attributes of it change.
    pub fn ctime_tells_of_xattrs(&self) -> bool {
        platform::ctime_tells_of_xattrs(self.root.as_fd())
    }

    /// The root directory.
    pub fn root(&self) -> Dir {
        self.root.clone()
    }

    /// Returns when all that was written to the tree's file system is on stable storage.
    pub fn sync(&self) -> Result<()> {
        platform::sync(self.root.as_fd())
            .map_err(|source| self.root.error("write to stable storage", b"", source))
    }

    /// What the root itself is.
    pub fn root_node(&self) -> Result<Node> {
        let root = &self.root;
        let fail = |source| root.error("read the attributes of", b"", source);
        let seen = platform::stat(root.0.fd.as_fd(), b"", Some(root.0.device)).map_err(fail)?;
        let fd = root.0.fd.as_fd();
        root.complete(&Place { dir: fd, name: b".", own: Some(fd) }, &seen.stat).map_err(fail)
    }

    /// Opens a directory by its path, as [`Dir::open_below`].
    pub fn open_dir(&self, path: &TreePath) -> Result<Option<Dir>> {
        self.root.open_below(path)
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}

impl Dir {
    /// Path of this directory in its tree.
    pub fn path(&self) -> &TreePath {
        &self.0.path
    }

    /// The names in it, sorted bytewise, without `.` and `..`. Empty where the directory was removed.
    pub fn names(&self) -> Result<Vec<Name>> {
        let fail = |source: Errno| self.error("list the directory", b"", source.into());
        let mut names = list(self.0.fd.as_fd()).map_err(fail)?;
        names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        // A directory that changes meanwhile may give a name twice.
        names.dedup_by(|a, b| a.name == b.name);
        Ok(names)
    }

    /// Opens a directory below it by the way there, and never through a link. `None` where it is absent or not a directory (any more), or
    /// another file system is mounted on the way.
    pub fn open_below(&self, way: &TreePath) -> Result<Option<Dir>> {
        if way.is_root() {
            return Ok(Some(self.clone()));
        }
        match open_way(self.0.fd.as_fd(), way, self.0.device) {
            Ok(Some(fd)) => {
                let path = way.components().fold(self.0.path.clone(), |path, name| path.join(name));
                Ok(Some(Dir(Arc::new(self.opened(fd, path)))))
            }
            Ok(None) => Ok(None),
            Err(source) => Err(self.error("open the directory", way.as_bytes(), source)),
        }
    }

    /// Opens a directory in it, never through a link. `None` as for [`Dir::open_below`].
    pub fn open_dir(&self, name: &[u8]) -> Result<Option<Dir>> {
        match open_dir(self.0.fd.as_fd(), name, self.0.device) {
            Ok(Some(fd)) => Ok(Some(Dir(Arc::new(self.opened(fd, self.0.path.join(name)))))),
            Ok(None) => Ok(None),
            Err(source) => Err(self.error("open the directory", name, source)),
        }
    }

    /// Opens the directory that this one is in, for walkers that do not keep a descriptor for every
    /// level. `None` where it is not the one of that `identity` (any more).
    pub fn open_parent(&self, identity: &Identity) -> Result<Option<Dir>> {
        let Some((path, _)) = self.0.path.split() else { return Ok(None) };
        let fail = |source| self.error("open the directory of", b"", source);
        let Some(fd) = open_dir(self.0.fd.as_fd(), b"..", self.0.device).map_err(fail)? else {
            return Ok(None);
        };
        let found = platform::stat(fd.as_fd(), b"", None).map_err(fail)?.stat.identity;
        let same = (found.device, found.inode) == (identity.device, identity.inode);
        Ok(same.then(|| Dir(Arc::new(self.opened(fd, path)))))
    }

    /// What this directory itself is, as [`Dir::stat`] says it of its entries.
    pub fn own_stat(&self) -> Result<Stat> {
        let seen = platform::stat(self.0.fd.as_fd(), b"", Some(self.0.device));
        Ok(seen.map_err(|source| self.error("read the attributes of", b"", source))?.stat)
    }

    /// Looks an entry up with one system call; `None` where there is none (any more).
    pub fn stat(&self, name: &[u8]) -> Result<Option<Stat>> {
        match platform::stat(self.0.fd.as_fd(), name, Some(self.0.device)) {
            Ok(seen) => Ok(Some(seen.stat)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(source) => Err(self.error("read the attributes of", name, source)),
        }
    }

    fn complete(&self, place: &Place<'_>, stat: &Stat) -> std::io::Result<Node> {
        let target = match stat.kind {
            Kind::Symlink => Some(rustix::fs::readlinkat(place.dir, place.name, Vec::new())?.into_bytes()),
            _ => None,
        };
        let attributes = platform::attributes(place)?;
        if let Some(what) = attributes.unread {
            self.0.unread.get_or_init(|| what);
        }
        let flags = platform::flags(place)?;
        Ok(Node { entry: entry(stat, target, attributes, flags), identity: stat.identity })
    }

    fn opened(&self, fd: OwnedFd, path: TreePath) -> Opened {
        let (place, unread) = (Arc::clone(&self.0.place), Arc::clone(&self.0.unread));
        Opened { fd, path, device: self.0.device, place, unread }
    }

    /// An error about `name` in this directory; an empty name is the directory itself.
    fn error(&self, action: &'static str, name: &[u8], source: std::io::Error) -> Error {
        let mut path = self.0.place.to_string();
        for part in [self.0.path.as_bytes(), name].into_iter().filter(|part| !part.is_empty()) {
            path.push('/');
            path.push_str(&printable(part));
        }
        if path.is_empty() {
            path.push('/');
        }
        Error::Io { action, path, source }
    }
}

fn entry(stat: &Stat, target: Option<Vec<u8>>, attributes: platform::Attributes, flags: Flags) -> Entry {
    Entry {
        kind: stat.kind,
        mode: stat.mode,
        uid: stat.uid,
        gid: stat.gid,
        mtime: stat.mtime,
        size: stat.size,
        target,
        device: stat.device,
        xattrs: attributes.xattrs,
        acl: attributes.acl,
        flags,
    }
}

/// `NONBLOCK` because something else may have taken the place of what was seen there: opening a FIFO
/// would wait for its other end.
const OPEN_FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
pub(super) const OPEN_DIR: OFlags = OPEN_FILE.union(OFlags::DIRECTORY);

/// Opens a regular file or directory; `None` where there is none (any more).
pub(super) fn open_entry(dir: BorrowedFd<'_>, name: &[u8], kind: Kind) -> std::io::Result<Option<OwnedFd>> {
    match open_quietly(dir, name, if kind == Kind::Directory { OPEN_DIR } else { OPEN_FILE }) {
        Ok(fd) => Ok(Some(fd)),
        // A socket gives NXIO or OPNOTSUPP, a device without driver NXIO or NODEV.
        Err(Errno::NXIO | Errno::OPNOTSUPP | Errno::NODEV) => Ok(None),
        Err(error) if is_absent(&error.into()) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The names in a directory, in its own order. None where it was removed.
pub(super) fn list(dir: BorrowedFd<'_>) -> rustix::io::Result<Vec<Name>> {
    // A description of its own: the directory may be listed by others at the same time.
    let again = match open_quietly(dir, b".", OPEN_DIR) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        opened => opened?,
    };
    let mut names = Vec::new();
    for found in rustix::fs::Dir::new(again)? {
        let found = found?;
        let name = CStr::to_bytes(found.file_name());
        if name != b"." && name != b".." {
            let kind = platform::kind_of(found.file_type());
            names.push(Name { name: name.to_vec(), kind, inode: found.ino() });
        }
    }
    Ok(names)
}

/// Opens a directory of the same file system; `None` where there is none.
fn open_dir(dir: BorrowedFd<'_>, name: &[u8], device: u64) -> std::io::Result<Option<OwnedFd>> {
    let Some(fd) = open_entry(dir, name, Kind::Directory)? else { return Ok(None) };
    let seen = platform::stat(fd.as_fd(), b"", Some(device))?;
    Ok((!seen.stat.mount_point).then_some(fd))
}

/// Opens a directory of the same file system by its path below another; `None` where there is none. With one call, where the platform has
/// such a one and it can tell; else one component after the other.
fn open_way(dir: BorrowedFd<'_>, way: &TreePath, device: u64) -> std::io::Result<Option<OwnedFd>> {
    match platform::open_below(dir, way.as_bytes(), OPEN_DIR | platform::QUIET) {
        Ok(fd) => {
            // Whoever leaves the file system on the way does not come back to it without a mount.
            let seen = platform::stat(fd.as_fd(), b"", Some(device))?;
            return Ok((!seen.stat.mount_point).then_some(fd));
        }
        Err(error) if error == Errno::XDEV || is_absent(&error.into()) => return Ok(None),
        // Too long a path, a file system that somebody is changing just now, a directory that another user owns.
        Err(_) => {}
    }
    let mut last = None::<OwnedFd>;
    for name in way.components() {
        match open_dir(last.as_ref().map_or(dir, AsFd::as_fd), name, device)? {
            Some(next) => last = Some(next),
            None => return Ok(None),
        }
    }
    Ok(last)
}

/// Opens without a trace in the access time, where one may: only the owner and root.
pub(super) fn open_quietly(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | platform::beneath(name);
    match rustix::fs::openat(dir, name, flags | platform::QUIET, Mode::empty()) {
        Err(Errno::PERM) => rustix::fs::openat(dir, name, flags, Mode::empty()),
        opened => opened,
    }
}

/// Whether an error says that an entry is not there, or not of the kind that was asked for.
/// `MLINK` is FreeBSD's answer to a link where none may be.
pub(super) fn is_absent(error: &std::io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::MLINK))
}

#[cfg(test)]
mod tests;
