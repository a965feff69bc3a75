//! Copying what is in one directory and no directory.

use std::collections::{HashMap, hash_map};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::super::{Content, Dir, Entry, Error, FileContent, Kind, Loss, Result, Stat, TreePath, TreeWriter};
use super::Copied;

/// How often a file that changes while it is read is read again.
const ATTEMPTS: u32 = 3;

/// What all threads that copy have in common: where inodes with several names were copied to.
#[derive(Default)]
pub(super) struct Files {
    names: Mutex<HashMap<u64, TreePath>>,
}

/// Names of a directory, and the writer of the same directory in the copy.
pub(super) struct Batch {
    pub(super) from: Dir,
    pub(super) names: Vec<Vec<u8>>,
    pub(super) part: TreeWriter,
}

/// What came of a batch.
pub(super) struct Done {
    pub(super) directory: TreePath,
    pub(super) part: TreeWriter,
    pub(super) copied: Copied,
    /// What could not be read.
    pub(super) losses: Vec<Loss>,
    /// Other names of inodes that are copied elsewhere, which may not be there yet.
    pub(super) links: Vec<(TreePath, u64)>,
}

impl Files {
    fn names(&self) -> MutexGuard<'_, HashMap<u64, TreePath>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where an inode was copied to.
    pub(super) fn first(&self, inode: u64) -> Option<TreePath> {
        self.names().get(&inode).cloned()
    }

    /// Copies all that a batch names.
    pub(super) fn copy(&self, batch: Batch) -> Result<Done> {
        let Batch { from, names, part } = batch;
        let mut done = Done {
            directory: from.path().clone(),
            part,
            copied: Copied::default(),
            losses: Vec::new(),
            links: Vec::new(),
        };
        for name in names {
            self.entry(&from, &name, &mut done)?;
        }
        Ok(done)
    }

    /// Copies an entry. What vanished meanwhile was never there.
    fn entry(&self, dir: &Dir, name: &[u8], done: &mut Done) -> Result<()> {
        let Some(stat) = dir.stat(name)? else { return Ok(()) };
        let path = dir.path().join(name);
        let why = match stat.kind {
            // When the directory was listed it was something else.
            Kind::Directory => Some("it became a directory while it was read"),
            _ if stat.mount_point => Some("something of another file system is mounted here"),
            _ => None,
        };
        if let Some(why) = why {
            done.losses.push(Loss { path, what: stat.kind.name().to_owned(), source: io::Error::other(why) });
            return Ok(());
        }
        if stat.identity.links < 2 {
            return make(dir, name, &stat, &path, done).map(drop);
        }
        let inode = stat.identity.inode;
        let is_first = match self.names().entry(inode) {
            hash_map::Entry::Occupied(_) => false,
            hash_map::Entry::Vacant(vacant) => {
                vacant.insert(path.clone());
                true
            }
        };
        if !is_first {
            done.links.push((path, inode));
        } else if !make(dir, name, &stat, &path, done)? {
            self.names().remove(&inode);
        }
        Ok(())
    }
}

/// Makes a copy; whether there was something to copy.
fn make(dir: &Dir, name: &[u8], stat: &Stat, path: &TreePath, done: &mut Done) -> Result<bool> {
    let Some(node) = dir.node(name, stat)? else { return Ok(false) };
    if stat.kind == Kind::File {
        let Some(content) = dir.open_file(name)? else { return Ok(false) };
        let (data_bytes, loss) = write_file((dir, name, path), node.entry, content, &mut done.part)?;
        done.copied.data_bytes += data_bytes;
        done.losses.extend(loss);
    } else {
        done.part.put(path, &node.entry, None)?;
    }
    done.copied.entries += 1;
    Ok(true)
}

/// Writes a regular file; the bytes of its data, and whether it is what it was at any moment.
fn write_file(
    (dir, name, path): (&Dir, &[u8], &TreePath),
    mut entry: Entry,
    mut content: FileContent,
    to: &mut TreeWriter,
) -> Result<(u64, Option<Loss>)> {
    for attempt in 1.. {
        entry.size = content.size();
        entry.mtime = content.stat().mtime;
        to.put(path, &entry, Some(&mut content))?;
        let stable = content.is_stable().map_err(|source| Error::Io {
            action: "read the attributes of",
            path: path.to_string(),
            source,
        })?;
        let data_bytes = content.extents().iter().map(|extent| extent.length).sum::<u64>();
        if stable {
            return Ok((data_bytes, None));
        }
        let again = if attempt == ATTEMPTS { None } else { dir.open_file(name)? };
        let Some(again) = again else {
            let source = io::Error::other("it changed while it was read");
            return Ok((data_bytes, Some(Loss { path: path.clone(), what: "content".to_owned(), source })));
        };
        content = again;
    }
    unreachable!("the last attempt returns")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::super::Tree;
    use super::*;

    #[test]
    fn a_file_that_changed_while_it_was_read_is_read_again() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(from.path().join("file"), b"before").unwrap();
        let root = Tree::open(from.path()).unwrap().root();
        let stat = root.stat(b"file").unwrap().unwrap();
        let entry = root.node(b"file", &stat).unwrap().unwrap().entry;
        let content = root.open_file(b"file").unwrap().unwrap();
        fs::write(from.path().join("file"), b"afterwards").unwrap();
        let mut writer = TreeWriter::new(fs::File::open(to.path()).unwrap().into()).unwrap();
        let path = TreePath::root().join(b"file");
        let (bytes, loss) = write_file((&root, b"file", &path), entry, content, &mut writer).unwrap();
        assert!(loss.is_none(), "{loss:?}");
        assert_eq!(bytes, 10);
        assert_eq!(fs::read(to.path().join("file")).unwrap(), b"afterwards");
        let time =
            |dir: &tempfile::TempDir| fs::metadata(dir.path().join("file")).unwrap().modified().unwrap();
        assert_eq!(time(&from), time(&to));
    }
}
