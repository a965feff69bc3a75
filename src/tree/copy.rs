//! Copying a tree: one thread reads it ahead of another that writes.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

use crossbeam_channel::{Sender, bounded};

use super::read::Name;
use super::{Content, Dir, Entry, FileContent, Identity, Kind, Loss, Result, Tree, TreePath, TreeWriter};

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

/// Entries that wait to be written, most of which hold a descriptor.
const AHEAD: usize = 32;

/// Copies the tree `from` below the open directory `to`, with all attributes, holes and hard links,
/// and returns what could not be kept. `progress` is called after each entry. An entry for which
/// `exclude` is true is left out, with all below it. What another file system has mounted is left
/// out too: of a mounted directory there is an empty one, of a mounted file nothing and a [`Loss`].
pub fn copy(
    from: &Tree,
    to: OwnedFd,
    exclude: &Exclude<'_>,
    progress: &mut dyn FnMut(Copied),
) -> Result<Vec<Loss>> {
    let mut writer = TreeWriter::new(to)?;
    let mut losses = copy_into(from, &mut writer, exclude, progress)?;
    losses.extend(writer.finish()?);
    Ok(losses)
}

/// Says what is left out.
pub type Exclude<'a> = dyn Fn(&TreePath) -> bool + Sync + 'a;

/// As [`copy`], but into a writer that goes on afterwards. Returns only what could not be read.
pub fn copy_into(
    from: &Tree,
    to: &mut TreeWriter,
    exclude: &Exclude<'_>,
    progress: &mut dyn FnMut(Copied),
) -> Result<Vec<Loss>> {
    to.put(&TreePath::root(), &from.root_node()?.entry, None)?;
    let mut copied = Copied { data_bytes: 0, entries: 1 };
    progress(copied);
    let mut losses = Vec::new();
    std::thread::scope(|threads| {
        let (sender, ahead) = bounded(AHEAD);
        let reading = threads.spawn(move || Reading::new(from, exclude, sender).run());
        for found in &ahead {
            if write(found, to, &mut copied, &mut losses)? {
                copied.entries += 1;
                progress(copied);
            }
        }
        reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    Ok(losses)
}

/// What the reading thread has found.
#[allow(clippy::large_enum_variant)] // nearly all are of that one
enum Found {
    /// An entry, of a regular file with what is needed to read it.
    Entry(TreePath, Entry, Option<OpenFile>),
    /// A path that is another name of the second one.
    Link(TreePath, TreePath),
    /// What cannot be copied.
    Lost(Loss),
}

struct OpenFile {
    directory: Dir,
    name: Vec<u8>,
    content: FileContent,
}

/// Writes what was found; whether that is an entry.
fn write(found: Found, to: &mut TreeWriter, copied: &mut Copied, losses: &mut Vec<Loss>) -> Result<bool> {
    match found {
        Found::Entry(path, entry, Some(file)) => {
            let (data_bytes, loss) = write_file(&path, entry, file, to)?;
            copied.data_bytes += data_bytes;
            losses.extend(loss);
        }
        Found::Entry(path, entry, None) => to.put(&path, &entry, None)?,
        Found::Link(path, first) => to.link(&path, &first)?,
        Found::Lost(loss) => {
            losses.push(loss);
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes a regular file; the bytes of its data, and whether it is what it was at any moment.
fn write_file(
    path: &TreePath,
    mut entry: Entry,
    file: OpenFile,
    to: &mut TreeWriter,
) -> Result<(u64, Option<Loss>)> {
    let OpenFile { directory, name, mut content } = file;
    for attempt in 1.. {
        entry.size = content.size();
        entry.mtime = content.stat().mtime;
        to.put(path, &entry, Some(&mut content))?;
        let stable = content.is_stable().map_err(|source| super::Error::Io {
            action: "read the attributes of",
            path: path.to_string(),
            source,
        })?;
        let data_bytes = content.extents().iter().map(|extent| extent.length).sum::<u64>();
        if stable {
            return Ok((data_bytes, None));
        }
        let again = if attempt == ATTEMPTS { None } else { directory.open_file(&name)? };
        let Some(again) = again else {
            let source = io::Error::other("it changed while it was read");
            return Ok((data_bytes, Some(Loss { path: path.clone(), what: "content".to_owned(), source })));
        };
        content = again;
    }
    unreachable!("the last attempt returns")
}

/// The reading thread's part: it walks the tree and opens files, ahead of who writes them.
struct Reading<'a> {
    from: &'a Tree,
    exclude: &'a Exclude<'a>,
    found: Sender<Found>,
    /// Where inodes with several names were copied to.
    names: HashMap<u64, TreePath>,
    /// The directories from the root to the deepest. Only the last ones are open.
    levels: Vec<Level>,
}

struct Level {
    dir: Option<Dir>,
    identity: Identity,
    names: std::vec::IntoIter<Name>,
}

impl<'a> Reading<'a> {
    fn new(from: &'a Tree, exclude: &'a Exclude<'a>, found: Sender<Found>) -> Self {
        Self { from, exclude, found, names: HashMap::new(), levels: Vec::new() }
    }

    /// Ends early, without an error, when the writer has stopped.
    fn run(mut self) -> Result<()> {
        self.push(self.from.root())?;
        while let Some(level) = self.levels.last_mut() {
            match level.names.next() {
                Some(name) => {
                    if !self.entry(&name.name)? {
                        return Ok(());
                    }
                }
                None => self.pop()?,
            }
        }
        Ok(())
    }

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

    /// Hands an entry of the deepest directory on; whether the writer has taken it. What vanished meanwhile was never there.
    fn entry(&mut self, name: &[u8]) -> Result<bool> {
        let Some(dir) = self.levels.last().and_then(|level| level.dir.clone()) else { return Ok(true) };
        let path = dir.path().join(name);
        if (self.exclude)(&path) {
            return Ok(true);
        }
        let Some(stat) = dir.stat(name)? else { return Ok(true) };
        if stat.mount_point && stat.kind != Kind::Directory {
            let source = io::Error::other("something of another file system is mounted here");
            let loss = Loss { path, what: stat.kind.name().to_owned(), source };
            return Ok(self.found.send(Found::Lost(loss)).is_ok());
        }
        let linked = stat.kind != Kind::Directory && stat.identity.links > 1;
        let found = if let Some(first) = self.names.get(&stat.identity.inode).filter(|_| linked) {
            Found::Link(path, first.clone())
        } else {
            let Some(node) = dir.node(name, &stat)? else { return Ok(true) };
            let file = match stat.kind {
                Kind::File => {
                    let Some(content) = dir.open_file(name)? else { return Ok(true) };
                    Some(OpenFile { directory: dir.clone(), name: name.to_owned(), content })
                }
                _ => None,
            };
            if linked {
                self.names.insert(stat.identity.inode, path.clone());
            }
            Found::Entry(path, node.entry, file)
        };
        let taken = self.found.send(found).is_ok();
        if taken
            && stat.kind == Kind::Directory
            && !stat.mount_point
            && let Some(below) = dir.open_dir(name)?
        {
            self.push(below)?;
        }
        Ok(taken)
    }
}

#[cfg(test)]
mod tests;
