//! Which names in a stream's subvolume are neither plain files nor directories.
//!
//! btrfs-receive(8) opens what a stream tells it to write to, whatever that is by then. Through a device node that the same stream made
//! it would write to the host's disk, for a FIFO it would wait for ever, and a symbolic link leads to another file. No stream of the
//! kernel does that, so one that does is refused.
//!
//! Known are only the names that lead to such entries: memory follows their number and not the length of the stream.

use super::send_stream::Command;
use std::collections::BTreeMap;

const ROOT: usize = 0;

/// What is neither a plain file nor a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Special {
    Symlink,
    /// A device node, a FIFO or a socket.
    Node,
}

/// A special entry, or a directory that leads to some.
#[derive(Clone, Debug, Default)]
struct Name {
    special: Option<Special>,
    below: BTreeMap<Vec<u8>, usize>,
}

/// The special entries of one subvolume. Names are in one allocation, so that no depth costs stack.
#[derive(Clone, Debug)]
pub(crate) struct Specials {
    names: Vec<Name>,
    free: Vec<usize>,
}

/// A command does something through a special entry.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trick(pub(super) String);

type Result<T> = std::result::Result<T, Trick>;

fn parts(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/').filter(|part| !part.is_empty())
}

fn trick<T>(what: &str, path: &[u8]) -> Result<T> {
    Err(Trick(format!("it {what} {:?}, which is no plain file", String::from_utf8_lossy(path))))
}

impl Specials {
    /// Of an empty subvolume.
    pub(super) fn new() -> Self {
        Self { names: vec![Name::default()], free: Vec::new() }
    }

    /// Does what a command says, or refuses it. After a refusal it is of no more use.
    pub(super) fn apply(&mut self, command: &Command<'_>) -> Result<()> {
        match *command {
            Command::Mkfile { path, .. } | Command::Mkdir { path, .. } => self.plain(path, "makes"),
            Command::Symlink { path, .. } => self.make(path, Special::Symlink),
            Command::Mknod { path, .. } | Command::Mkfifo { path, .. } | Command::Mksock { path, .. } => {
                self.make(path, Special::Node)
            }
            Command::Rename { path, to } => self.rename(path, to),
            Command::Link { path, existing } => match self.find(existing)? {
                Some(special) => self.make(path, special),
                None => self.plain(path, "links"),
            },
            Command::Unlink { path } | Command::Rmdir { path } => {
                self.find(path)?;
                if let Some(gone) = self.detach(path) {
                    self.forget(gone);
                }
                Ok(())
            }
            Command::Write { path, .. }
            | Command::Clone { path, .. }
            | Command::Truncate { path, .. }
            | Command::UpdateExtent { path, .. }
            | Command::Fallocate { path, .. }
            | Command::EncodedWrite { path, .. }
            | Command::EnableVerity { path, .. } => self.plain(path, "writes to"),
            // The one call of these that follows a link.
            Command::Chmod { path, .. } => match self.find(path)? {
                Some(Special::Symlink) => trick("changes the mode of", path),
                _ => Ok(()),
            },
            Command::SetXattr { path, .. }
            | Command::RemoveXattr { path, .. }
            | Command::Chown { path, .. }
            | Command::Utimes { path, .. }
            | Command::Fileattr { path, .. } => self.find(path).map(drop),
            Command::Subvol { .. } | Command::Snapshot { .. } | Command::End => Ok(()),
        }
    }

    /// Fails if a path leads through a special entry, or to one.
    pub(super) fn plain(&self, path: &[u8], what: &str) -> Result<()> {
        if self.find(path)?.is_some() { trick(what, path) } else { Ok(()) }
    }

    /// The special entry at a path; fails where one is on the way.
    fn find(&self, path: &[u8]) -> Result<Option<Special>> {
        let mut at = ROOT;
        for part in parts(path) {
            if self.names[at].special.is_some() {
                return trick("goes through", path);
            }
            match self.names[at].below.get(part) {
                Some(&next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(self.names[at].special)
    }

    fn make(&mut self, path: &[u8], special: Special) -> Result<()> {
        self.plain(path, "makes")?;
        let name = self.add(Name { special: Some(special), ..Name::default() });
        self.attach(path, name);
        Ok(())
    }

    fn rename(&mut self, path: &[u8], to: &[u8]) -> Result<()> {
        let (from, over) = (self.find(path)?, self.find(to)?);
        // Of two names of one entry both stay, and nobody can tell that here.
        if from.is_some() && over.is_some() {
            return trick("renames onto", to);
        }
        let moved = self.detach(path);
        if let Some(replaced) = self.detach(to) {
            self.forget(replaced);
        }
        if let Some(moved) = moved {
            self.attach(to, moved);
        }
        Ok(())
    }

    fn add(&mut self, name: Name) -> usize {
        if let Some(place) = self.free.pop() {
            self.names[place] = name;
            return place;
        }
        self.names.push(name);
        self.names.len() - 1
    }

    /// Puts a name at a path, where there is none.
    fn attach(&mut self, path: &[u8], name: usize) {
        let mut at = ROOT;
        let mut left = parts(path).peekable();
        while let Some(part) = left.next() {
            if left.peek().is_none() {
                self.names[at].below.insert(part.to_vec(), name);
                return;
            }
            at = if let Some(&next) = self.names[at].below.get(part) {
                next
            } else {
                let next = self.add(Name::default());
                self.names[at].below.insert(part.to_vec(), next);
                next
            };
        }
    }

    /// Takes what is at a path out, with all below it, and the directories above that lead to nothing else.
    fn detach(&mut self, path: &[u8]) -> Option<usize> {
        let mut at = ROOT;
        let mut way = Vec::new();
        for part in parts(path) {
            let next = *self.names[at].below.get(part)?;
            way.push((at, part));
            at = next;
        }
        let (above, part) = way.pop()?;
        self.names[above].below.remove(part);
        let mut empty = above;
        while let Some((above, part)) = way.pop() {
            if !self.names[empty].below.is_empty() {
                break;
            }
            self.names[above].below.remove(part);
            self.free.push(empty);
            empty = above;
        }
        Some(at)
    }

    fn forget(&mut self, name: usize) {
        let mut gone = vec![name];
        while let Some(name) = gone.pop() {
            gone.extend(std::mem::take(&mut self.names[name]).below.into_values());
            self.free.push(name);
        }
    }
}

#[cfg(test)]
#[path = "specials/tests.rs"]
mod tests;
