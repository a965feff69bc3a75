//! Copying a tree.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

use super::read::Name;
use super::{Content, Dir, Entry, Identity, Kind, Loss, Result, Stat, Tree, TreePath, TreeWriter};

/// Directories above the deepest that stay open.
const OPEN_LEVELS: usize = 64;

/// How often a file that changes while it is read is read again.
const ATTEMPTS: u32 = 3;

/// What was copied so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Bytes of data; holes don't count.
    pub data_bytes: u64,
    /// Entries, the root among them.
    pub entries: u64,
}

/// Copies the tree `from` below the open directory `to`, with all attributes, holes and hard links,
/// and returns what could not be kept. `progress` is called after each entry. An entry for which
/// `exclude` is true is left out, with all below it. What another file system has mounted is left
/// out too: of a mounted directory there is an empty one, of a mounted file nothing and a [`Loss`].
pub fn copy(
    from: &Tree,
    to: OwnedFd,
    exclude: &dyn Fn(&TreePath) -> bool,
    progress: &mut dyn FnMut(Copied),
) -> Result<Vec<Loss>> {
    let mut writer = TreeWriter::new(to)?;
    let mut losses = copy_into(from, &mut writer, exclude, progress)?;
    losses.extend(writer.finish()?);
    Ok(losses)
}

/// As [`copy`], but into a writer that goes on afterwards. Returns only what could not be read.
pub fn copy_into(
    from: &Tree,
    to: &mut TreeWriter,
    exclude: &dyn Fn(&TreePath) -> bool,
    progress: &mut dyn FnMut(Copied),
) -> Result<Vec<Loss>> {
    let root = from.root();
    to.put(&TreePath::root(), &from.root_node()?.entry, None)?;
    let copied = Copied { data_bytes: 0, entries: 1 };
    progress(copied);
    let mut copying = Copying {
        from,
        to,
        exclude,
        progress,
        copied,
        names: HashMap::new(),
        levels: Vec::new(),
        losses: Vec::new(),
    };
    copying.push(root)?;
    while let Some(level) = copying.levels.last_mut() {
        match level.names.next() {
            Some(name) => copying.entry(&name.name)?,
            None => copying.pop()?,
        }
    }
    Ok(copying.losses)
}

struct Copying<'a> {
    from: &'a Tree,
    to: &'a mut TreeWriter,
    exclude: &'a dyn Fn(&TreePath) -> bool,
    progress: &'a mut dyn FnMut(Copied),
    copied: Copied,
    /// Where inodes with several names were copied to.
    names: HashMap<u64, TreePath>,
    /// The directories from the root to the deepest. Only the last ones are open.
    levels: Vec<Level>,
    losses: Vec<Loss>,
}

struct Level {
    dir: Option<Dir>,
    identity: Identity,
    names: std::vec::IntoIter<Name>,
}

impl Copying<'_> {
    fn push(&mut self, dir: Dir) -> Result<()> {
        let (identity, names) = (dir.own_stat()?.identity, dir.names()?.into_iter());
        self.levels.push(Level { dir: Some(dir), identity, names });
        if let Some(too_many) = self.levels.len().checked_sub(OPEN_LEVELS + 1) {
            self.levels[too_many].dir = None;
        }
        Ok(())
    }

    /// Goes back to the directory of the deepest one, which may have been closed meanwhile.
    fn pop(&mut self) -> Result<()> {
        let below = self.levels.pop().and_then(|level| level.dir);
        if let (Some(level), Some(below)) = (self.levels.last_mut(), below)
            && level.dir.is_none()
        {
            level.dir = match below.open_parent(&level.identity)? {
                None => match below.path().split() {
                    // Moved meanwhile: what is at the path now counts.
                    Some((path, _)) => self.from.open_dir(&path)?,
                    None => None,
                },
                parent => parent,
            };
        }
        Ok(())
    }

    /// Copies an entry of the deepest directory. What vanished meanwhile was never there.
    fn entry(&mut self, name: &[u8]) -> Result<()> {
        let Some(dir) = self.levels.last().and_then(|level| level.dir.clone()) else { return Ok(()) };
        let path = dir.path().join(name);
        if (self.exclude)(&path) {
            return Ok(());
        }
        let Some(stat) = dir.stat(name)? else { return Ok(()) };
        if stat.mount_point && stat.kind != Kind::Directory {
            let source = io::Error::other("something of another file system is mounted here");
            self.losses.push(Loss { path, what: stat.kind.name().to_owned(), source });
            return Ok(());
        }
        let linked = stat.kind != Kind::Directory && stat.identity.links > 1;
        if let Some(first) = self.names.get(&stat.identity.inode).filter(|_| linked) {
            self.to.link(&path, first)?;
        } else {
            let Some(node) = dir.node(name, &stat)? else { return Ok(()) };
            match stat.kind {
                Kind::File => self.file(&dir, name, &path, node.entry)?,
                _ => self.to.put(&path, &node.entry, None)?,
            }
            if linked {
                self.names.insert(stat.identity.inode, path);
            }
        }
        self.copied.entries += 1;
        (self.progress)(self.copied);
        self.descend(&dir, name, &stat)
    }

    fn descend(&mut self, dir: &Dir, name: &[u8], stat: &Stat) -> Result<()> {
        if stat.kind == Kind::Directory
            && !stat.mount_point
            && let Some(below) = dir.open_dir(name)?
        {
            self.push(below)?;
        }
        Ok(())
    }

    fn file(&mut self, dir: &Dir, name: &[u8], path: &TreePath, mut entry: Entry) -> Result<()> {
        for attempt in 1.. {
            let Some(mut content) = dir.open_file(name)? else { return Ok(()) };
            entry.size = content.size();
            entry.mtime = content.stat().mtime;
            self.to.put(path, &entry, Some(&mut content))?;
            let stable = content.is_stable().map_err(|source| super::Error::Io {
                action: "read the attributes of",
                path: path.to_string(),
                source,
            })?;
            if stable || attempt == ATTEMPTS {
                self.copied.data_bytes += content.extents().iter().map(|extent| extent.length).sum::<u64>();
                if !stable {
                    let source = io::Error::other("it changed while it was read");
                    self.losses.push(Loss { path: path.clone(), what: "content".to_owned(), source });
                }
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
