//! What a stream does to the names of its base.
//!
//! Commands speak of the names that a receiver has at that moment: entries are made under a temporary name, what is in the way is put
//! aside, and directories move late. So the receiver's tree is played through, but only as far as commands mention it: a directory
//! of the base knows its path there, and what is not known of it is still as it is in the base. Memory follows
//! the change and not the tree. What does not add up is an error, never passed over.

use super::Command;
use crate::Hint;
use std::collections::BTreeMap;
use std::io;

/// A longer path has no name in any system call.
const LONGEST_PATH_BYTES: usize = 4096;
const ROOT: usize = 0;

/// What an entry is, as far as its names are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// All else.
    Other,
}

/// The tree that a stream begins with.
pub trait Base {
    /// What is at this path, without following a link; `None` if there is nothing. All directories above it have been asked for
    /// before, and are directories.
    fn kind(&self, path: &[u8]) -> io::Result<Option<Kind>>;
}

/// A command that cannot be: the stream does not fit its base, or is not understood.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // each is its message
pub enum Inconsistent {
    #[error("it is no difference from another subvolume")]
    Whole,
    #[error("it does not begin with the subvolume that it is a difference from, or tells more than one")]
    Begin,
    #[error("it ends too early, or goes on after its end")]
    End,
    #[error("there is no {0:?} at that moment")]
    Absent(String),
    #[error("there is a {0:?} already at that moment")]
    Exists(String),
    #[error("{0:?} is no directory at that moment")]
    NoDirectory(String),
    #[error("{0:?} is a directory at that moment")]
    IsDirectory(String),
    #[error("the directory {0:?} is not empty at that moment")]
    NotEmpty(String),
    #[error("the directory {0:?} would come to lie in itself")]
    IntoItself(String),
    #[error("the path that begins {0:?} is too long")]
    TooLong(String),
    #[error("the base's {path:?} cannot be looked up")]
    Base {
        path: String,
        #[source]
        source: io::Error,
    },
}

type Result<T> = std::result::Result<T, Inconsistent>;

fn shown(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// An entry that a command mentioned. One of the base with several names is several nodes until a command says otherwise: each
/// is told, so nothing is lost by that.
#[derive(Debug)]
struct Node {
    /// Where it is in the base; `None` if it is new.
    origin: Option<Vec<u8>>,
    kind: Kind,
    /// Something of it changed that is not a name in it.
    touched: bool,
    /// Of a directory that has a name: the one that it lies in.
    parent: Option<usize>,
    /// Names that were mentioned: what they are now, or `None` if there is no such name any more.
    names: BTreeMap<Vec<u8>, Option<usize>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Before,
    Within,
    Ended,
}

/// A receiver's tree.
#[derive(Debug)]
pub struct Namespace<B> {
    base: B,
    nodes: Vec<Node>,
    state: State,
}

impl<B: Base> Namespace<B> {
    /// The tree before the first command.
    pub fn new(base: B) -> Self {
        let root = Node {
            origin: Some(Vec::new()),
            kind: Kind::Directory,
            touched: false,
            parent: None,
            names: BTreeMap::new(),
        };
        Self { base, nodes: vec![root], state: State::Before }
    }

    /// Does what a command says. After an error the tree is of no more use.
    pub fn apply(&mut self, command: &Command<'_>) -> Result<()> {
        match (self.state, command) {
            (State::Before, Command::Snapshot { .. }) => self.state = State::Within,
            (_, Command::Subvol { .. }) => return Err(Inconsistent::Whole),
            (State::Before, _) | (_, Command::Snapshot { .. }) => return Err(Inconsistent::Begin),
            (State::Ended, _) => return Err(Inconsistent::End),
            (State::Within, Command::End) => self.state = State::Ended,
            (State::Within, command) => self.change(command)?,
        }
        Ok(())
    }

    fn change(&mut self, command: &Command<'_>) -> Result<()> {
        match *command {
            Command::Mkdir { path, .. } => self.make(path, Kind::Directory),
            Command::Mkfile { path, .. }
            | Command::Mknod { path, .. }
            | Command::Mkfifo { path, .. }
            | Command::Mksock { path, .. }
            | Command::Symlink { path, .. } => self.make(path, Kind::Other),
            Command::Rename { path, to } => self.rename(path, to),
            Command::Link { path, existing } => self.link(path, existing),
            Command::Unlink { path } => self.remove(path, Kind::Other),
            Command::Rmdir { path } => self.remove(path, Kind::Directory),
            Command::SetXattr { path, .. }
            | Command::RemoveXattr { path, .. }
            | Command::Write { path, .. }
            | Command::Clone { path, .. }
            | Command::Truncate { path, .. }
            | Command::Chmod { path, .. }
            | Command::Chown { path, .. }
            | Command::Utimes { path, .. }
            | Command::UpdateExtent { path, .. }
            | Command::Fallocate { path, .. }
            | Command::Fileattr { path, .. }
            | Command::EncodedWrite { path, .. }
            | Command::EnableVerity { path, .. } => {
                let node = self.resolve(path)?;
                self.nodes[node].touched = true;
                Ok(())
            }
            // Not for here: `apply` knows them.
            Command::Subvol { .. } | Command::Snapshot { .. } | Command::End => Err(Inconsistent::Begin),
        }
    }

    /// What a name in a directory is at this moment.
    fn lookup(&mut self, directory: usize, name: &[u8]) -> Result<Option<usize>> {
        let node = &self.nodes[directory];
        if let Some(&known) = node.names.get(name) {
            return Ok(known);
        }
        let Some(origin) = &node.origin else { return Ok(None) };
        let origin = join(origin, name)?;
        let kind = self.base.kind(&origin);
        let Some(kind) = kind.map_err(|source| Inconsistent::Base { path: shown(&origin), source })? else {
            return Ok(None);
        };
        let found = self.add(Some(origin), kind);
        self.put(directory, name, found);
        Ok(Some(found))
    }

    fn add(&mut self, origin: Option<Vec<u8>>, kind: Kind) -> usize {
        self.nodes.push(Node { origin, kind, touched: false, parent: None, names: BTreeMap::new() });
        self.nodes.len() - 1
    }

    fn put(&mut self, directory: usize, name: &[u8], node: usize) {
        self.nodes[directory].names.insert(name.to_vec(), Some(node));
        if self.nodes[node].kind == Kind::Directory {
            self.nodes[node].parent = Some(directory);
        }
    }

    fn take(&mut self, directory: usize, name: &[u8]) {
        self.nodes[directory].names.insert(name.to_vec(), None);
    }

    fn resolve(&mut self, path: &[u8]) -> Result<usize> {
        let mut node = ROOT;
        for name in path.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            if self.nodes[node].kind != Kind::Directory {
                return Err(Inconsistent::NoDirectory(shown(path)));
            }
            node = self.lookup(node, name)?.ok_or_else(|| Inconsistent::Absent(shown(path)))?;
        }
        Ok(node)
    }

    /// The directory that a path's last name is in, and that name.
    fn place<'a>(&mut self, path: &'a [u8]) -> Result<(usize, &'a [u8])> {
        let (above, name) = match path.iter().rposition(|&byte| byte == b'/') {
            Some(slash) => (&path[..slash], &path[slash + 1..]),
            None => (&path[..0], path),
        };
        let directory = self.resolve(above)?;
        if name.is_empty() || self.nodes[directory].kind != Kind::Directory {
            return Err(Inconsistent::NoDirectory(shown(above)));
        }
        Ok((directory, name))
    }

    fn make(&mut self, path: &[u8], kind: Kind) -> Result<()> {
        let (directory, name) = self.place(path)?;
        if self.lookup(directory, name)?.is_some() {
            return Err(Inconsistent::Exists(shown(path)));
        }
        let node = self.add(None, kind);
        self.put(directory, name, node);
        Ok(())
    }

    fn rename(&mut self, path: &[u8], to: &[u8]) -> Result<()> {
        let (from_directory, from_name) = self.place(path)?;
        let absent = || Inconsistent::Absent(shown(path));
        let node = self.lookup(from_directory, from_name)?.ok_or_else(absent)?;
        let (to_directory, to_name) = self.place(to)?;
        if let Some(replaced) = self.lookup(to_directory, to_name)? {
            if replaced == node {
                return Ok(()); // as rename(2) has it for two names of one entry
            }
            if [node, replaced].iter().any(|&node| self.nodes[node].kind == Kind::Directory) {
                return Err(Inconsistent::Exists(shown(to)));
            }
            self.nodes[replaced].touched = true;
        }
        let mut above = Some(to_directory);
        while let Some(directory) = above {
            if directory == node {
                return Err(Inconsistent::IntoItself(shown(path)));
            }
            above = self.nodes[directory].parent;
        }
        self.nodes[node].touched = true;
        self.take(from_directory, from_name);
        self.put(to_directory, to_name, node);
        Ok(())
    }

    fn link(&mut self, path: &[u8], existing: &[u8]) -> Result<()> {
        let node = self.resolve(existing)?;
        if self.nodes[node].kind == Kind::Directory {
            return Err(Inconsistent::IsDirectory(shown(existing)));
        }
        let (directory, name) = self.place(path)?;
        if self.lookup(directory, name)?.is_some() {
            return Err(Inconsistent::Exists(shown(path)));
        }
        self.nodes[node].touched = true;
        self.put(directory, name, node);
        Ok(())
    }

    fn remove(&mut self, path: &[u8], kind: Kind) -> Result<()> {
        let (directory, name) = self.place(path)?;
        let absent = || Inconsistent::Absent(shown(path));
        let node = self.lookup(directory, name)?.ok_or_else(absent)?;
        match (kind, self.nodes[node].kind) {
            (Kind::Other, Kind::Directory) => return Err(Inconsistent::IsDirectory(shown(path))),
            (Kind::Directory, Kind::Other) => return Err(Inconsistent::NoDirectory(shown(path))),
            _ => {}
        }
        if self.nodes[node].names.values().any(Option::is_some) {
            return Err(Inconsistent::NotEmpty(shown(path)));
        }
        self.nodes[node].touched = true;
        self.take(directory, name);
        Ok(())
    }

    /// Calls `hint` for everything that differs from the base, until it returns false. The stream must have ended. The names in
    /// a directory that changed are told too: no stream says that a nested subvolume came or went, of which the directory shows
    /// an empty one.
    pub fn finish(self, hint: &mut dyn FnMut(Hint) -> bool) -> Result<()> {
        if self.state != State::Ended {
            return Err(Inconsistent::End);
        }
        // Whether a node still has the name that it has in the base.
        let mut stayed = vec![false; self.nodes.len()];
        let mut pending = vec![(ROOT, Vec::new())];
        while let Some((number, path)) = pending.pop() {
            let node = &self.nodes[number];
            if node.origin.as_ref() == Some(&path) {
                stayed[number] = true;
                let names = node.kind == Kind::Directory;
                if node.touched
                    && !(hint(Hint::Entry(path.clone())) && (!names || hint(Hint::Names(path.clone()))))
                {
                    return Ok(());
                }
            } else if !hint(node.whole(path.clone())) {
                return Ok(());
            }
            for (name, entry) in &node.names {
                if let Some(entry) = *entry {
                    pending.push((entry, join(&path, name)?));
                }
            }
        }
        for (node, stayed) in self.nodes.into_iter().zip(stayed) {
            if let (Some(origin), false) = (&node.origin, stayed)
                && !hint(node.whole(origin.clone()))
            {
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Node {
    fn whole(&self, path: Vec<u8>) -> Hint {
        match self.kind {
            Kind::Directory => Hint::Subtree(path),
            Kind::Other => Hint::Entry(path),
        }
    }
}

fn join(directory: &[u8], name: &[u8]) -> Result<Vec<u8>> {
    let mut path = Vec::with_capacity(directory.len() + 1 + name.len());
    path.extend_from_slice(directory);
    if !directory.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    if path.len() < LONGEST_PATH_BYTES { Ok(path) } else { Err(Inconsistent::TooLong(shown(&path[..64]))) }
}
