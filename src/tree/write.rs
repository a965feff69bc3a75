//! Writing a tree.
//!
//! A directory's time of modification changes with every entry that is written in it, and flags may
//! forbid just that. So what a directory shall be is kept until [`TreeWriter::finish`], which sets it
//! from the deepest up, and a directory of which nobody says what it shall be gets back the time and
//! flags that it had. After a crash the tree is incomplete and must be thrown away.

mod attributes;
mod content;
mod create;
mod descent;
mod finish;
mod folded;
mod part;
mod records;
mod remove;

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use self::attributes::{Loosened, Losses, Setter};
use self::content::Shortcuts;
use self::descent::{Descent, Refused};
use self::records::{ROOT, Record, Records};
use super::platform::{self, Place, Seen};
use super::read::{list, open_entry};
use super::{Content, Dir, Entry, Error, Flags, Kind, Result, TreePath};

/// Something that the platform, the file system or the permissions refused to keep.
#[derive(Debug)]
pub struct Loss {
    /// The entry.
    pub path: TreePath,
    /// What is missing: `owner`, `mode`, `mtime`, `xattr user.x`, `acl`, `flags uchg`, `device node`…
    /// Where it is the entry itself (`device node`, `socket`, `fifo`, `symlink`, `hard link`), there is none
    /// now.
    pub what: String,
    /// What the system said.
    pub source: std::io::Error,
}

/// Writes entries below one directory that nobody else uses. Everything is resolved relative to descriptors and
/// no link is ever followed. Times and modes of directories, and flags that forbid changes, are set by
/// [`TreeWriter::finish`].
///
/// An entry's attributes that can't be kept are a [`Loss`]; an [`Error`] means that the entry is not
/// what it should be and that the tree is of no use.
pub struct TreeWriter {
    at: Descent,
    records: Records,
    losses: Losses,
    shortcuts: Shortcuts,
    /// Entries that could not be made; what is linked to them is missing too.
    missing: HashSet<TreePath>,
}

impl TreeWriter {
    /// Writes below `root`, an open directory.
    pub fn new(root: OwnedFd) -> Result<Self> {
        Self::with_flags(root, true)
    }

    /// Writes below `root`, but leaves file flags alone: nobody could delete the result otherwise.
    /// This is for copies whose attributes are kept elsewhere, as in an archive of DIRECTORY format.
    pub fn lenient(root: OwnedFd) -> Result<Self> {
        Self::with_flags(root, false)
    }

    fn with_flags(root: OwnedFd, flags: bool) -> Result<Self> {
        let path = TreePath::root();
        let seen = platform::stat(root.as_fd(), b"", None).map_err(failed("look at", &path))?;
        wrong_kind(&path, seen.stat.kind, Kind::Directory)?;
        Ok(Self {
            at: Descent::new(Arc::new(root), seen.stat.identity.device),
            records: Records::new(),
            losses: Losses { list: Vec::new(), without_flags: !flags },
            shortcuts: Shortcuts::default(),
            missing: HashSet::new(),
        })
    }

    /// Makes the entry at `path` be `entry`. What is there gives way, a whole directory tree too, except that a
    /// directory stays for a directory. A regular file gets its bytes from `content` into a new inode (never
    /// through one that another name shares); sparse where `content` is, and sharing the data of `content.file()` where
    /// the file system can. The root (`""`) takes attributes only.
    pub fn put(&mut self, path: &TreePath, entry: &Entry, content: Option<&mut dyn Content>) -> Result<()> {
        let Some((parent, name)) = path.split() else { return self.set_metadata(path, entry) };
        let directory = self.enter(&parent, path)?;
        let found = self.look(name, path)?;
        let stays =
            entry.kind == Kind::Directory && found.is_some_and(|seen| seen.stat.kind == Kind::Directory);
        if stays {
            self.refuse_mount(found, path)?;
        } else {
            self.open(directory, &parent)?;
            if found.is_some() {
                self.clear(directory, name, path)?;
            }
            self.made(path);
        }
        if entry.kind != Kind::Directory {
            return self.create(directory, name, path, entry, content);
        }
        if !stays {
            self.create_directory(directory, name, path)?;
        }
        let record = self.records.child(directory, name);
        self.records.get(record).wanted = Some(Box::new(entry.clone()));
        Ok(())
    }

    /// Makes `path` another name of the entry at `to`, which is in this tree and no directory.
    pub fn link(&mut self, path: &TreePath, to: &TreePath) -> Result<()> {
        let fail = failed("link", path);
        let (Some((parent, name)), Some((to_parent, to_name))) = (path.split(), to.split()) else {
            return Err(fail(Errno::INVAL.into()));
        };
        let to_directory = self.enter(&to_parent, to)?;
        let to_dir = self.at.top();
        let Some(seen) = self.look(to_name, to)? else {
            if self.missing.contains(to) {
                return self.miss(path, "hard link", io::Error::other(format!("{to} could not be made")));
            }
            return Err(fail(Errno::NOENT.into()));
        };
        // A directory cannot be linked, and what is above `to` would take it away.
        if seen.stat.kind == Kind::Directory || path.is_above(to) {
            return wrong_kind(path, Kind::Directory, Kind::File);
        }
        self.refuse_mount(Some(seen), to)?;
        let later = self.records.find(to_directory, to_name).map(|record| self.records.get(record).flags);
        let directory = self.enter(&parent, path)?;
        let there = self.look(name, path)?;
        if there.is_some_and(|there| there.stat.identity.inode == seen.stat.identity.inode) {
            return Ok(());
        }
        self.open(directory, &parent)?;
        if there.is_some() {
            self.clear(directory, name, path)?;
        }
        self.made(path);
        match link_at(&*to_dir, to_name, &self.at.top(), name, seen.stat.kind) {
            Ok(()) => {}
            Err(error) if is_unlinkable(&error) => return self.miss(path, "hard link", error),
            Err(error) => return Err(fail(error)),
        }
        if let Some(flags) = later.filter(|flags| !flags.is_empty()) {
            let record = self.records.child(directory, name);
            self.records.get(record).flags = flags;
        }
        Ok(())
    }

    /// Makes `path` another name of the entry `to` in `dir`, of another tree. False where it cannot be one: on another file system, or
    /// if there are too many. `flags` are those that the entry shall have in the end, if nobody else sets them.
    pub fn link_from(&mut self, path: &TreePath, dir: &Dir, to: &[u8], flags: Flags) -> Result<bool> {
        let fail = failed("link", path);
        let Some((parent, name)) = path.split() else { return Err(fail(Errno::INVAL.into())) };
        let seen = platform::stat(dir.as_fd(), to, None).map_err(&fail)?;
        if seen.stat.kind == Kind::Directory {
            return wrong_kind(path, Kind::Directory, Kind::File).map(|()| false);
        }
        let directory = self.enter(&parent, path)?;
        let there = self.look(name, path)?;
        let inode = |seen: Seen| (seen.stat.identity.device, seen.stat.identity.inode);
        if there.map(inode) == Some(inode(seen)) {
            return Ok(true);
        }
        if seen.stat.identity.device != self.at.device() {
            return Ok(false);
        }
        self.open(directory, &parent)?;
        if there.is_some() {
            self.clear(directory, name, path)?;
        }
        self.made(path);
        match link_at(dir, to, &self.at.top(), name, seen.stat.kind) {
            Ok(()) => {}
            Err(error) if is_unlinkable(&error) => return Ok(false),
            Err(error) => return Err(fail(error)),
        }
        if !flags.forbidding().is_empty() {
            let record = self.records.child(directory, name);
            self.records.get(record).flags = flags.forbidding();
        }
        Ok(true)
    }

    /// Sets all attributes of the existing entry at `path`, which must be of `entry.kind`, and removes those
    /// (xattrs, ACLs, flags) that `entry` does not have. Content stays.
    pub fn set_metadata(&mut self, path: &TreePath, entry: &Entry) -> Result<()> {
        let Some((parent, name)) = path.split() else {
            wrong_kind(path, entry.kind, Kind::Directory)?;
            self.records.get(ROOT).wanted = Some(Box::new(entry.clone()));
            return Ok(());
        };
        let directory = self.enter(&parent, path)?;
        let Some(seen) = self.look(name, path)? else {
            if self.missing.contains(path) {
                return Ok(());
            }
            return Err(failed("set the attributes of", path)(Errno::NOENT.into()));
        };
        wrong_kind(path, seen.stat.kind, entry.kind)?;
        self.refuse_mount(Some(seen), path)?;
        if entry.kind == Kind::Directory {
            let record = self.records.child(directory, name);
            self.records.get(record).wanted = Some(Box::new(entry.clone()));
            return Ok(());
        }
        if seen.fixed != Some(false) {
            let dir = self.at.top();
            Loosened::new(dir.as_fd(), name, entry.kind).map_err(failed("clear the flags of", path))?;
        }
        self.set_attributes(directory, name, path, entry, None)
    }

    /// Removes the entry at `path`, and all below it. False where there was none.
    pub fn remove(&mut self, path: &TreePath) -> Result<bool> {
        let Some((parent, name)) = path.split() else {
            return Err(failed("remove", path)(Errno::INVAL.into()));
        };
        let directory = match self.enter(&parent, path) {
            Err(Error::NoParent { .. }) => return Ok(false),
            entered => entered?,
        };
        self.made(path);
        if self.look(name, path)?.is_none() {
            return Ok(false);
        }
        self.open(directory, &parent)?;
        self.clear(directory, name, path)?;
        Ok(true)
    }

    /// Removes what is in the directory at `path`, whose attributes stay. Nothing happens where there is none.
    pub fn empty(&mut self, path: &TreePath) -> Result<()> {
        let probe = path.join(b"."); // its parent is the directory itself
        let directory = match self.enter(path, &probe) {
            Err(Error::NoParent { .. } | Error::Escapes { .. }) => return Ok(()),
            entered => entered?,
        };
        self.open(directory, path)?;
        let names = list(self.at.top().as_fd()).map_err(|error| failed("list", path)(error.into()))?;
        for found in names {
            self.clear(directory, &found.name, &path.join(&found.name))?;
        }
        Ok(())
    }

    /// What could not be kept so far, once it is so much that it should not wait in memory for the end.
    pub(crate) fn many_losses(&mut self) -> Vec<Loss> {
        const MANY: usize = 256;
        if self.losses.list.len() < MANY { Vec::new() } else { std::mem::take(&mut self.losses.list) }
    }

    /// Goes to the directory at `parent`, for the sake of `path`.
    fn enter(&mut self, parent: &TreePath, path: &TreePath) -> Result<Record> {
        let (depth, names) = self.at.common(parent);
        if depth < self.at.depth() {
            self.at.pop_to(depth).map_err(|refused| self.at.error(refused, b"..", path))?;
        }
        for name in names {
            let record = self.records.child(self.at.record().unwrap_or(ROOT), name);
            self.at.push(name, record).map_err(|refused| self.at.error(refused, name, path))?;
        }
        Ok(self.at.record().unwrap_or(ROOT))
    }

    /// Prepares the directory that was entered for changes of its entries.
    fn open(&mut self, directory: Record, path: &TreePath) -> Result<()> {
        if self.records.get(directory).open {
            return Ok(());
        }
        let dir = self.at.top();
        let seen = platform::stat(dir.as_fd(), b"", None).map_err(failed("look at", path))?;
        let mut flags = Flags::empty();
        if seen.fixed != Some(false) {
            let place = Place { dir: dir.as_fd(), name: b".", own: Some(dir.as_fd()) };
            flags = platform::loosen(&place).map_err(failed("clear the flags of", path))?;
        }
        let pending = self.records.get(directory);
        pending.found = Some((seen.stat.mtime, flags));
        pending.open = true;
        Ok(())
    }

    /// Removes an entry of the directory that was entered, and all below it.
    fn clear(&mut self, directory: Record, name: &[u8], path: &TreePath) -> Result<()> {
        self.records.forget(directory, name);
        remove::remove(&self.at.top(), name, path, self.at.device())
    }

    /// Sets the attributes of an entry of the directory that was entered, and keeps for later the flags
    /// that would be in the way until then. `own` is the entry where it is open already.
    fn set_attributes(
        &mut self,
        directory: Record,
        name: &[u8],
        path: &TreePath,
        entry: &Entry,
        own: Option<&OwnedFd>,
    ) -> Result<()> {
        let dir = self.at.top();
        let opened = match own {
            None if platform::opens(entry.kind) => {
                open_entry(dir.as_fd(), name, entry.kind).map_err(failed("open", path))?
            }
            _ => None,
        };
        let own = own.or(opened.as_ref()).map(AsFd::as_fd);
        let path = || path.clone();
        let place = Place { dir: dir.as_fd(), name, own };
        Setter { losses: &mut self.losses, place, path: &path }.set(entry, Flags::FORBIDDING)?;
        let later = entry.flags.forbidding();
        if !later.is_empty() && !self.losses.without_flags {
            let record = self.records.child(directory, name);
            self.records.get(record).flags = later;
        } else if let Some(record) = self.records.find(directory, name) {
            self.records.get(record).flags = Flags::empty();
        }
        Ok(())
    }

    /// Notes that an entry could not be made.
    fn miss(&mut self, path: &TreePath, what: &str, source: io::Error) -> Result<()> {
        self.losses.add(path.clone(), what.to_owned(), source)?;
        self.missing.insert(path.clone());
        Ok(())
    }

    /// Forgets that an entry could not be made.
    fn made(&mut self, path: &TreePath) {
        // Seldom anything is missing, and paths may be long.
        if !self.missing.is_empty() {
            self.missing.remove(path);
        }
    }

    /// What is below a mount point is not of this tree.
    fn refuse_mount(&self, seen: Option<Seen>, path: &TreePath) -> Result<()> {
        match (seen, path.split()) {
            (Some(seen), Some((_, name))) if seen.stat.mount_point => {
                Err(self.at.error(Refused::Foreign, name, path))
            }
            _ => Ok(()),
        }
    }
}

/// Links an entry whose flags may forbid that.
fn link_at(to_dir: impl AsFd, to: &[u8], dir: &OwnedFd, name: &[u8], kind: Kind) -> io::Result<()> {
    let to_dir = to_dir.as_fd();
    let link = || rustix::fs::linkat(to_dir, to, dir, name, AtFlags::empty());
    match link() {
        Err(Errno::PERM) => {}
        done => return Ok(done?),
    }
    let loosened = Loosened::new(to_dir, to, kind)?;
    if !loosened.was_fixed() {
        return Err(Errno::PERM.into());
    }
    let done = link();
    loosened.restore()?;
    Ok(done?)
}

/// Whether an entry cannot have another name here.
fn is_unlinkable(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::OPNOTSUPP | Errno::MLINK | Errno::XDEV))
}

/// Makes an error of what the system says about `path`.
fn failed(action: &'static str, path: &TreePath) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io { action, path: shown(path), source }
}

/// The path for people; the root has none.
fn shown(path: &TreePath) -> String {
    if path.is_root() { ".".to_owned() } else { path.to_string() }
}

fn wrong_kind(path: &TreePath, found: Kind, wanted: Kind) -> Result<()> {
    if found == wanted {
        return Ok(());
    }
    Err(Error::WrongKind { path: shown(path), found: found.described(), wanted: wanted.described() })
}

#[cfg(test)]
mod tests;
