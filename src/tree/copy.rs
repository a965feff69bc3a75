//! Copying a tree on all cores: one thread walks it and makes the directories, the others copy what is in them.
//!
//! ```text
//! walk, make directories ─batch of names─▶ workers (read, create, share or copy data, attributes) ─▶ what is left for the end
//! ```
//!
//! Every batch is of one directory that is there by then. What depends on other directories waits until all batches are done: other names
//! of an entry, and in [`TreeWriter::finish`] times and modes of directories and flags that forbid changes.

mod files;

use std::num::NonZero;
use std::os::fd::OwnedFd;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use self::files::{Batch, Done, Files};
use super::{Dir, Identity, Kind, Loss, Result, Tree, TreePath, TreeWriter};

/// Directories above the deepest that stay open.
const OPEN_LEVELS: usize = 64;

/// Names that are copied together.
const BATCH_NAMES: usize = 64;
/// More threads than this do not help.
const MAX_THREADS: usize = 16;

/// What was copied so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    /// Bytes of data; holes don't count.
    pub data_bytes: u64,
    /// Entries, the root among them.
    pub entries: u64,
}

/// Copies the tree `from` below the open directory `to`, with all attributes, holes and hard links,
/// and returns what could not be kept. `progress` is called again and again. An entry for which
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

/// As [`copy`], but into a writer that goes on afterwards. Returns only what is known to be lost by then, by path.
pub fn copy_into(
    from: &Tree,
    to: &mut TreeWriter,
    exclude: &Exclude<'_>,
    progress: &mut dyn FnMut(Copied),
) -> Result<Vec<Loss>> {
    to.put(&TreePath::root(), &from.root_node()?.entry, None)?;
    let files = Files::default();
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    std::thread::scope(|scope| {
        let (jobs, queue) = bounded::<Batch>(2 * threads);
        let (tell, told) = unbounded();
        let workers: Vec<_> = (0..threads)
            .map(|_| {
                let (queue, tell, files) = (queue.clone(), tell.clone(), &files);
                scope.spawn(move || work(files, &queue, &tell))
            })
            .collect();
        // If all workers are gone, nobody takes a batch any more.
        drop((queue, tell));
        let copied = Copied { data_bytes: 0, entries: 1 };
        progress(copied);
        let gathered = Gathered { copied, losses: Vec::new(), links: Vec::new(), progress };
        let walk = Walk { from, to, exclude, jobs, told, gathered, levels: Vec::new() };
        let outcome = walk.run(&files);
        for worker in workers {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        outcome
    })
}

/// A worker's part. After a failure it takes no more.
fn work(files: &Files, queue: &Receiver<Batch>, tell: &Sender<Result<Done>>) {
    for batch in queue {
        let done = files.copy(batch);
        let failed = done.is_err();
        if tell.send(done).is_err() || failed {
            return;
        }
    }
}

/// What came of all batches so far.
struct Gathered<'a> {
    copied: Copied,
    losses: Vec<Loss>,
    /// Paths that are other names of the entry with this inode number.
    links: Vec<(TreePath, u64)>,
    progress: &'a mut dyn FnMut(Copied),
}

impl Gathered<'_> {
    fn add(&mut self, done: Done, to: &mut TreeWriter) {
        self.links.extend(done.links);
        self.losses.extend(done.losses);
        self.losses.extend(to.join_part(&done.directory, done.part));
        if done.copied.entries > 0 {
            self.count(done.copied);
        }
    }

    fn count(&mut self, more: Copied) {
        self.copied.data_bytes += more.data_bytes;
        self.copied.entries += more.entries;
        (self.progress)(self.copied);
    }
}

/// The walking thread's part.
struct Walk<'a, 'p> {
    from: &'a Tree,
    to: &'a mut TreeWriter,
    exclude: &'a Exclude<'a>,
    jobs: Sender<Batch>,
    told: Receiver<Result<Done>>,
    gathered: Gathered<'p>,
    /// The directories from the root to the deepest. Only the last ones are open.
    levels: Vec<Level>,
}

struct Level {
    dir: Option<Dir>,
    identity: Identity,
    /// Names of directories that are still to be copied.
    names: std::vec::IntoIter<Vec<u8>>,
}

impl Walk<'_, '_> {
    fn run(mut self, files: &Files) -> Result<Vec<Loss>> {
        self.push(self.from.root())?;
        while let Some(level) = self.levels.last_mut() {
            match level.names.next() {
                Some(name) => self.directory(&name)?,
                None => self.pop()?,
            }
        }
        let Self { from, to, jobs, told, mut gathered, .. } = self;
        drop(jobs);
        for done in told {
            gathered.add(done?, to);
        }
        link(from, to, files, &mut gathered)?;
        let mut losses = gathered.losses;
        losses.sort_by(|a, b| a.path.as_bytes().cmp(b.path.as_bytes()));
        Ok(losses)
    }

    /// Begins with a directory that was made already: what is in it and no directory is handed on.
    fn push(&mut self, dir: Dir) -> Result<()> {
        let identity = dir.own_stat()?.identity;
        let (mut directories, mut others) = (Vec::new(), Vec::new());
        for name in dir.names()? {
            let kind = match name.kind {
                None => dir.stat(&name.name)?.map(|stat| stat.kind),
                kind => kind,
            };
            match kind {
                Some(Kind::Directory) => directories.push(name.name),
                // What vanished meanwhile was never there.
                None => {}
                Some(_) => others.push(name.name),
            }
        }
        let wanted = |name: &Vec<u8>| !(self.exclude)(&dir.path().join(name));
        others.retain(wanted);
        directories.retain(wanted);
        for names in others.chunks(BATCH_NAMES) {
            self.hand_on(&dir, names.to_vec())?;
        }
        self.levels.push(Level { dir: Some(dir), identity, names: directories.into_iter() });
        if let Some(too_many) = self.levels.len().checked_sub(OPEN_LEVELS + 1) {
            self.levels[too_many].dir = None;
        }
        Ok(())
    }

    fn hand_on(&mut self, dir: &Dir, names: Vec<Vec<u8>>) -> Result<()> {
        let part = self.to.part(dir.path())?;
        let taken = self.jobs.send(Batch { from: dir.clone(), names, part });
        for done in self.told.try_iter() {
            self.gathered.add(done?, self.to);
        }
        // Nobody has taken it only if all have failed, and then one of them has said why.
        if taken.is_err() {
            for done in &self.told {
                done?;
            }
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

    /// Copies a directory of the deepest one. What vanished meanwhile was never there.
    fn directory(&mut self, name: &[u8]) -> Result<()> {
        let Some(dir) = self.levels.last().and_then(|level| level.dir.clone()) else { return Ok(()) };
        let Some(stat) = dir.stat(name)? else { return Ok(()) };
        if stat.kind != Kind::Directory {
            return self.hand_on(&dir, vec![name.to_vec()]);
        }
        let Some(node) = dir.node(name, &stat)? else { return Ok(()) };
        self.to.put(&dir.path().join(name), &node.entry, None)?;
        self.gathered.count(Copied { data_bytes: 0, entries: 1 });
        if !stat.mount_point
            && let Some(below) = dir.open_dir(name)?
        {
            self.push(below)?;
        }
        Ok(())
    }
}

/// Makes the other names of entries, once all are there.
fn link(from: &Tree, to: &mut TreeWriter, files: &Files, gathered: &mut Gathered<'_>) -> Result<()> {
    let mut links = std::mem::take(&mut gathered.links);
    links.sort_unstable_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
    for (path, inode) in links {
        if let Some(first) = files.first(inode) {
            to.link(&path, &first)?;
            gathered.count(Copied { data_bytes: 0, entries: 1 });
            continue;
        }
        // What had the first name vanished before it was copied.
        let Some((parent, name)) = path.split() else { continue };
        if let Some(dir) = from.open_dir(&parent)? {
            let batch = Batch { from: dir, names: vec![name.to_vec()], part: to.part(&parent)? };
            gathered.add(files.copy(batch)?, to);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
