//! What differs between a base and a tree.
//!
//! An [`Engine`] yields *candidates*: pairs of directories with the names in them that may differ. One
//! comparer, the same for all engines, looks at each name on both sides and decides. So an
//! engine that names too much costs time and nothing else.
//!
//! ```text
//! engine ──DirectoryPair──▶ comparer (several threads) ──Change, in order──▶ consumer
//! ```
//!
//! **Order.** A directory's names come sorted bytewise, all of them before anything in its subdirectories;
//! then its subdirectories, each whole, in the same order. Names of multiply linked entries come last of all,
//! because only then all names of an entry are known.

pub mod choose;
pub mod comparer;
pub mod content;
pub mod fingerprint;
pub mod lineage;
mod links;
pub mod quick;
pub mod rsync;
pub mod snapshot;
pub mod stamp;
pub mod walk;

pub use crate::archive::index::Replaced;
pub use choose::{Choice, Kinship};
pub(crate) use comparer::differences;
pub use fingerprint::{Fingerprint, FingerprintBuilder, fingerprint_of_tree};
pub use stamp::{Stamp, stamp_of_tree};

use std::sync::atomic::AtomicBool;

use crate::tree::{Dir, Identity, Node, Tree, TreePath};

/// Two trees that are compared: what a resource is now, and its base if it has one.
#[derive(Clone, Copy)]
pub struct Trees<'a> {
    /// The base; `None` means that everything is new.
    pub base: Option<&'a Tree>,
    /// The tree as it is now.
    pub now: &'a Tree,
}

/// A directory as it is on both sides (either can be missing), and names in it that may differ.
pub struct DirectoryPair {
    /// Path in the tree.
    pub path: TreePath,
    /// The directory in the base.
    pub base: Option<Dir>,
    /// The directory now.
    pub now: Option<Dir>,
    /// Sorted bytewise, without repetition.
    pub names: Vec<Candidate>,
}

/// A name that may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// As the system gave it.
    pub name: Vec<u8>,
    /// Whether each directory that has it is known to call it a regular file.
    pub is_file: bool,
}

impl From<Vec<u8>> for Candidate {
    /// A name of which nothing is known.
    fn from(name: Vec<u8>) -> Self {
        Self { name, is_file: false }
    }
}

impl DirectoryPair {
    /// The same directory with other names.
    fn with(&self, names: Vec<Candidate>) -> Self {
        Self { path: self.path.clone(), base: self.base.clone(), now: self.now.clone(), names }
    }
}

/// When two regular files of equal size count as equal without being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Never: bytes decide.
    Bytes,
    /// When inode number and ctime are equal, in two trees of which one is a clone of the other, and ctime is earlier than the
    /// second in which that clone's snapshot was made.
    Lineage {
        /// That second, since 1970.
        before_seconds: i64,
    },
    /// When size and mtime are equal: the user's explicit choice, a guess.
    Quick,
}

/// What an engine is to look at.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// Paths whose subtrees are left out on both sides.
    pub exclude: &'a [TreePath],
    /// Becomes true when the user wants to stop.
    pub interrupted: &'a AtomicBool,
}

impl Scope<'_> {
    /// Fails with [`Error::Interrupted`] when the user wants to stop.
    pub fn check(&self) -> Result<()> {
        if self.interrupted.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        Ok(())
    }

    /// Whether `path` itself is left out.
    pub fn excludes(&self, path: &TreePath) -> bool {
        self.exclude.contains(path)
    }
}

/// Finds candidates.
///
/// Besides each name that differs, these must be candidates: where an entry of either tree has several names
/// ([`Stat::identity`](crate::tree::Stat)) and one of them is a candidate, all of them, because which of them differ
/// depends on all of them; and everything below a directory that only one tree has. The root is always compared and is no
/// candidate.
pub trait Engine: Send + Sync {
    /// Name as `--engine` takes it.
    fn name(&self) -> &'static str;

    /// What the comparer may take for equal.
    fn proof(&self) -> Proof;

    /// Whether every name of both trees is a candidate, so that the base's fingerprint can be
    /// computed on the way.
    fn visits_everything(&self) -> bool;

    /// Hands every candidate to `emit`, in the module's order. Stops early when `emit` returns false. An engine that
    /// could not go its own way and walked both trees instead returns why.
    fn candidates(
        &self,
        trees: Trees<'_>,
        scope: Scope<'_>,
        emit: &mut dyn FnMut(DirectoryPair) -> bool,
    ) -> Result<Option<String>>;
}

/// What of an entry differs from the base's.
#[expect(clippy::struct_excessive_bools, reason = "a set of facts that exclude each other in no way")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Differs {
    /// Kind.
    pub kind: bool,
    /// Content of a regular file, target of a link, number of a device.
    pub content: bool,
    /// Permission bits.
    pub mode: bool,
    /// Owner or group.
    pub owner: bool,
    /// Time of last modification.
    pub mtime: bool,
    /// Extended attributes.
    pub xattrs: bool,
    /// Access control lists.
    pub acl: bool,
    /// Flags.
    pub flags: bool,
    /// Which names share the entry.
    pub links: bool,
}

impl Differs {
    /// Whether anything differs.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Whether something other than attributes and hard links differs, so that the entry travels whole.
    pub fn essence(&self) -> bool {
        self.kind || self.content
    }
}

/// What happened to an entry.
pub enum What {
    /// The base has no such path; or what it has there was replaced, or has other content. The entry
    /// travels whole.
    Whole {
        /// What it is now.
        node: Node,
        /// What the base has there.
        replaced: Option<Replaced>,
    },
    /// Content equals the base's; attributes alone differ. Regular files only: every other kind travels whole.
    Metadata {
        /// What it is now.
        node: Node,
        /// What the base has there (the content's digest is that of both).
        replaced: Replaced,
    },
    /// Another name of an entry that is at `to`: an earlier change in this order, or an entry that the base
    /// has at `to` with the same content and that is still there.
    Link {
        /// What it is now.
        node: Node,
        /// The name that carries the content.
        to: TreePath,
        /// What the base has at this path.
        replaced: Option<Replaced>,
    },
    /// The base has it, the tree does not.
    Deleted {
        /// What the base has there.
        replaced: Replaced,
    },
}

/// One difference.
pub struct Change {
    /// Where.
    pub path: TreePath,
    /// What happened.
    pub what: What,
    /// What exactly differs; all false for new and deleted entries.
    pub differs: Differs,
    /// Number of the hard-link group, where the entry has several names in the tree.
    pub group: Option<u64>,
    /// The open directory that the entry is in now, so that its content can be read without another look-up
    /// (`None` for deletions, the root itself, and entries that came last because they have several names).
    pub directory: Option<Dir>,
}

/// What a comparison found besides the changes.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// The base's fingerprint, if it was asked for.
    pub fingerprint: Option<Fingerprint>,
    /// The base's stamp, if it was asked for: of what was compared, and of what the fingerprint was computed from.
    pub stamp: Option<Stamp>,
    /// Entries of the tree that were looked at.
    pub seen_entries: u64,
    /// Bytes that were read to decide.
    pub compared_bytes: u64,
    /// Mount points that were not entered, because another file system is mounted there.
    pub mount_points: Vec<TreePath>,
    /// Why the engine walked both trees although its own way is another.
    pub fallback: Option<String>,
}

/// What a comparison finds out of its base besides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum OfBase {
    /// Nothing.
    #[default]
    Nothing,
    /// Its stamp.
    Stamp,
    /// Its fingerprint, and the stamp of what that was computed from.
    Fingerprint,
}

/// How to compare.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Threads that compare; 0 means one a core.
    pub threads: usize,
    /// What to find out of the base besides: on the way where every name of the base is visited, by a second pass where
    /// the engine, `exclude` or a mount point keeps some out of sight.
    pub of_base: OfBase,
    /// Paths (relative to the trees' root) whose subtrees are left out on both sides.
    pub exclude: &'a [TreePath],
    /// Becomes true when the user wants to stop.
    pub interrupted: &'a AtomicBool,
    /// Files (and what else is no directory) that count as changed although the base has the same, unless it is the same inode.
    pub whole: Option<&'a Whole<'a>>,
}

/// Says of an entry whether it has to travel whole.
pub type Whole<'a> = dyn Fn(&Identity) -> bool + Sync + 'a;

/// A failed comparison.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// One of the trees could not be read.
    #[error("Cannot compare the trees")]
    Tree(#[source] crate::tree::Error),
    /// An engine's program failed.
    #[error("{program} failed with {status}: {stderr}")]
    Program {
        /// Which.
        program: &'static str,
        /// How it ended.
        status: String,
        /// The end of what it said.
        stderr: String,
    },
    /// An engine's program could not be started.
    #[error("Cannot run {program}")]
    Start {
        /// Which.
        program: &'static str,
        /// Why.
        source: std::io::Error,
    },
    /// An engine's program said something that cannot be understood.
    #[error("{program} printed a line that cannot be understood: {line}")]
    Output {
        /// Which.
        program: &'static str,
        /// What.
        line: String,
    },
    /// A path is longer than an engine's program can follow.
    #[error("{program} cannot reach {path}: the path is too long; the content engine can")]
    TooLong {
        /// Which.
        program: &'static str,
        /// The directory, for people.
        path: String,
    },
    /// An engine's program needs paths, and a tree was opened without one.
    #[error("{program} cannot compare a tree that has no path")]
    NoPath {
        /// Which.
        program: &'static str,
    },
    /// The user wants to stop.
    #[error("Interrupted")]
    Interrupted,
}

/// Result of a comparison.
pub type Result<T> = std::result::Result<T, Error>;

/// Compares `trees`: candidates from `engine`, each change to `consume` in order.
pub fn compare<E: From<Error>>(
    engine: &dyn Engine,
    trees: Trees<'_>,
    options: Options<'_>,
    consume: &mut dyn FnMut(Change) -> std::result::Result<(), E>,
) -> std::result::Result<Summary, E> {
    comparer::run(engine, trees, options, consume)
}

#[cfg(test)]
mod tests;
