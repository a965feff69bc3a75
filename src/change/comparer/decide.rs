//! Decides on one name.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::attributes::differences;
use super::bytes::Buffers;
use super::cache::{Cache, lock};
use crate::archive::Digest;
use crate::change::links::{Inode, Same};
use crate::change::stamp::Stamped;
use crate::change::{
    Candidate, Change, Differs, DirectoryPair, Error, OfBase, Proof, Replaced, Result, Scope, What, Whole,
};
use crate::tree::{self, Dir, Identity, Kind, Look, Node, OpenFile, Stat, TreePath};

/// How often a name is looked at anew that changes while it is looked at.
const ATTEMPTS: u32 = 16;

/// What all threads of a comparison share.
pub(super) struct Shared<'a> {
    pub(super) proof: Proof,
    /// Whether an entry's extended attributes can change while its ctime does not.
    pub(super) silent_xattrs: bool,
    /// What is wanted of the base's entries.
    pub(super) of_base: OfBase,
    pub(super) scope: Scope<'a>,
    pub(super) whole: Option<&'a Whole<'a>>,
    pub(super) cache: Cache,
    pub(super) seen_entries: AtomicU64,
    pub(super) compared_bytes: AtomicU64,
    pub(super) mount_points: Mutex<Vec<TreePath>>,
    /// Multiply linked inodes of the base and how many of their names are gone: deleted, or a directory now.
    pub(super) gone: Mutex<HashMap<Inode, u64>>,
}

impl Shared<'_> {
    /// Whether the base's entries are wanted with all attributes and digests, for its fingerprint.
    pub(super) fn wants_all_of_base(&self) -> bool {
        self.of_base == OfBase::Fingerprint
    }
}

/// What was found at one name.
pub(super) struct Found {
    pub(super) path: TreePath,
    /// The base's entry, where everything of the base is wanted.
    pub(super) base: Option<(Node, Option<Digest>)>,
    pub(super) outcome: Outcome,
}

/// What follows for one name.
pub(super) enum Outcome {
    Unchanged,
    Changed(Box<Change>),
    /// Depends on other names.
    Linked(Box<Linked>),
}

/// A name of an entry that has several, in base or now.
pub(super) struct Linked {
    pub(super) base: Option<Replaced>,
    /// The base's inode, unless it is a directory.
    pub(super) base_inode: Option<Inode>,
    pub(super) inode: Inode,
    /// `None` where it was proven to be unchanged.
    pub(super) node: Option<Node>,
    pub(super) same: Same,
    pub(super) differs: Differs,
}

/// One thread's part.
pub(super) struct Decider<'a> {
    pub(super) shared: &'a Shared<'a>,
    pub(super) buffers: Buffers,
    /// The base's entries of this batch, if they are stamped.
    pub(super) stamped: Stamped,
}

/// A name on both sides.
pub(super) struct Sides<'a> {
    pub(super) pair: &'a DirectoryPair,
    pub(super) name: &'a [u8],
    pub(super) base: Option<Stat>,
    pub(super) now: Option<Stat>,
}

/// The entry changed between two looks at it.
pub(super) struct Restless;

pub(super) type Attempt<T> = std::result::Result<T, Failed>;

pub(super) enum Failed {
    Restless,
    Error(Error),
}

impl From<Restless> for Failed {
    fn from(_: Restless) -> Self {
        Self::Restless
    }
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<tree::Error> for Failed {
    fn from(error: tree::Error) -> Self {
        Self::Error(Error::Tree(error))
    }
}

pub(super) fn inode(identity: &Identity) -> Inode {
    (identity.device, identity.inode)
}

pub(super) fn shared_inode(stat: &Stat) -> bool {
    stat.kind != Kind::Directory && stat.identity.links > 1
}

impl<'a> Decider<'a> {
    pub(super) fn new(shared: &'a Shared<'a>) -> Self {
        Self { shared, buffers: Buffers::new(), stamped: Stamped::default() }
    }

    /// Decides on one name of a pair. `None` where neither side has it (any more), or nothing is to be told.
    pub(super) fn decide(&mut self, pair: &DirectoryPair, candidate: &Candidate) -> Result<Option<Found>> {
        for _ in 0..ATTEMPTS {
            self.shared.scope.check()?;
            match self.attempt(pair, candidate) {
                Ok(found) => return Ok(found),
                Err(Failed::Error(error)) => return Err(error),
                Err(Failed::Restless) => {}
            }
        }
        Err(Error::Tree(tree::Error::Io {
            action: "read",
            path: pair.path.join(&candidate.name).to_string(),
            source: std::io::Error::other("it becomes another file all the time"),
        }))
    }

    fn attempt(&mut self, pair: &DirectoryPair, candidate: &Candidate) -> Attempt<Option<Found>> {
        let name = &candidate.name[..];
        // Where most pairs are told apart by what one call says, files are not opened for it.
        let opens = candidate.is_file && self.needs_attributes();
        let (mut base, base_file) = look(pair.base.as_ref(), name, opens)?;
        let (now, now_file) = look(pair.now.as_ref(), name, opens)?;
        let files = [base_file, now_file];
        // Before anything is read: what is written meanwhile has another ctime from then on.
        let to_stamp = base.filter(|_| self.shared.of_base >= OfBase::Stamp);
        if base.is_some_and(|stat| stat.mount_point) {
            lock(&self.shared.mount_points).push(pair.path.join(name));
            // What the base has beneath a mount cannot be seen. A directory must be there, of others nothing is known.
            base = base.filter(|stat| stat.kind == Kind::Directory);
        }
        let sides = Sides { pair, name, base, now };
        let found = match (&sides.base, &sides.now) {
            (None, None) => None,
            (_, Some(stat)) if stat.mount_point => self.mount_point(&sides, stat)?,
            (None, Some(stat)) => Some(Self::new_entry(&sides, stat)?),
            (Some(stat), None) => Some(self.deleted(&sides, stat)?),
            (Some(base), Some(now)) => self.both(&sides, (base, now), files)?,
        };
        if sides.now.is_some() {
            self.shared.seen_entries.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(base) = &to_stamp {
            self.stamped.add(&pair.path, name, base);
        }
        Ok(found)
    }

    /// What lies beneath a mount cannot be seen, but that it is a directory, where one is mounted. Of the rest the
    /// base's is the best guess.
    fn mount_point(&mut self, sides: &Sides<'_>, now: &Stat) -> Attempt<Option<Found>> {
        let found = match &sides.base {
            Some(base) if base.kind == now.kind => None,
            _ if now.kind != Kind::Directory => None,
            Some(base) => self.both(sides, (base, now), [None, None])?,
            None => Some(Self::new_entry(sides, now)?),
        };
        lock(&self.shared.mount_points).push(sides.path());
        Ok(found)
    }

    fn new_entry(sides: &Sides<'_>, now: &Stat) -> Attempt<Found> {
        let node = node(sides.pair.now.as_ref(), sides.name, now)?;
        let outcome = if shared_inode(now) {
            Outcome::Linked(Box::new(Linked {
                base: None,
                base_inode: None,
                inode: inode(&now.identity),
                node: Some(node),
                same: Same::Nothing,
                differs: Differs::default(),
            }))
        } else {
            sides.changed(What::Whole { node, replaced: None }, Differs::default())
        };
        Ok(Found { path: sides.path(), base: None, outcome })
    }

    fn deleted(&mut self, sides: &Sides<'_>, base: &Stat) -> Attempt<Found> {
        let digest = self.base_digest(sides, base)?;
        let full = self.full_base(sides, base, digest)?;
        self.count_gone(base);
        let replaced = Replaced { kind: base.kind, digest };
        let outcome = sides.changed(What::Deleted { replaced }, Differs::default());
        Ok(Found { path: sides.path(), base: full, outcome })
    }

    /// Whether more than one call is needed for most names to be decided on.
    fn needs_attributes(&self) -> bool {
        self.shared.silent_xattrs || !matches!(self.shared.proof, Proof::Lineage { .. })
    }

    /// `files` are those that are open already.
    fn both(
        &mut self,
        sides: &Sides<'_>,
        (base, now): (&Stat, &Stat),
        [base_file, now_file]: [Option<OpenFile>; 2],
    ) -> Attempt<Option<Found>> {
        let untouched = self.is_untouched(base, now);
        if untouched && !self.shared.silent_xattrs {
            return self.identical(sides, base, now);
        }
        // Open until this is decided: most files are read next.
        let (base_node, base_file) = node_and_file(sides.pair.base.as_ref(), sides.name, base, base_file)?;
        let (now_node, now_file) = node_and_file(sides.pair.now.as_ref(), sides.name, now, now_file)?;
        let mut differs = differences(&base_node.entry, &now_node.entry);
        if now.kind != Kind::Directory
            && inode(&base.identity) != inode(&now.identity)
            && self.shared.whole.is_some_and(|whole| whole(&now.identity))
        {
            differs.content = true;
        }
        let mut digest = None;
        if base.kind == Kind::File {
            let files = [base_file, now_file];
            let compared = self.contents(sides, (base, now), files, untouched, &mut differs)?;
            digest = compared.digest;
        }
        let linked = now.kind != Kind::Directory && (shared_inode(base) || shared_inode(now));
        if !linked && !differs.any() && !self.shared.wants_all_of_base() {
            return Ok(None);
        }
        if now.kind == Kind::Directory {
            self.count_gone(base);
        }
        let full = self.shared.wants_all_of_base().then_some((base_node, digest));
        let replaced = Replaced { kind: base.kind, digest };
        let same = sameness(now.kind, differs);
        let outcome = if linked {
            Outcome::Linked(Box::new(Linked {
                base: Some(replaced),
                base_inode: (base.kind != Kind::Directory).then(|| inode(&base.identity)),
                inode: inode(&now.identity),
                node: Some(now_node),
                same,
                differs,
            }))
        } else {
            match same {
                Same::All | Same::Identical => Outcome::Unchanged,
                Same::Content => sides.changed(What::Metadata { node: now_node, replaced }, differs),
                Same::Nothing => {
                    sides.changed(What::Whole { node: now_node, replaced: Some(replaced) }, differs)
                }
            }
        };
        Ok(Some(Found { path: sides.path(), base: full, outcome }))
    }

    fn is_untouched(&self, base: &Stat, now: &Stat) -> bool {
        let Proof::Lineage { before_seconds } = self.shared.proof else { return false };
        base.identity.ctime.seconds < before_seconds
            && base.kind == now.kind
            && base.identity.inode == now.identity.inode
            && base.identity.ctime == now.identity.ctime
    }

    /// An inode that was not touched since the clone was made.
    fn identical(&mut self, sides: &Sides<'_>, base: &Stat, now: &Stat) -> Attempt<Option<Found>> {
        let linked = shared_inode(base) || shared_inode(now);
        if !linked && !self.shared.wants_all_of_base() {
            return Ok(None);
        }
        let digest = if self.shared.wants_all_of_base() { self.base_digest(sides, base)? } else { None };
        let full = self.full_base(sides, base, digest)?;
        let outcome = if linked {
            Outcome::Linked(Box::new(Linked {
                base: Some(Replaced { kind: base.kind, digest }),
                base_inode: Some(inode(&base.identity)),
                inode: inode(&now.identity),
                node: None,
                same: Same::Identical,
                differs: Differs::default(),
            }))
        } else {
            Outcome::Unchanged
        };
        Ok(Some(Found { path: sides.path(), base: full, outcome }))
    }

    /// The base's entry with all attributes, where it is wanted.
    fn full_base(
        &self,
        sides: &Sides<'_>,
        base: &Stat,
        digest: Option<Digest>,
    ) -> Attempt<Option<(Node, Option<Digest>)>> {
        if !self.shared.wants_all_of_base() {
            return Ok(None);
        }
        Ok(Some((node(sides.pair.base.as_ref(), sides.name, base)?, digest)))
    }

    fn count_gone(&self, base: &Stat) {
        if shared_inode(base) {
            *lock(&self.shared.gone).entry(inode(&base.identity)).or_default() += 1;
        }
    }
}

impl Sides<'_> {
    pub(super) fn path(&self) -> TreePath {
        self.pair.path.join(self.name)
    }

    fn changed(&self, what: What, differs: Differs) -> Outcome {
        let directory = match what {
            What::Deleted { .. } => None,
            _ => self.pair.now.clone(),
        };
        Outcome::Changed(Box::new(Change { path: self.path(), what, differs, group: None, directory }))
    }
}

/// Kinds other than regular files travel whole with any change.
fn sameness(kind: Kind, differs: Differs) -> Same {
    if !differs.any() {
        Same::All
    } else if kind == Kind::File && !differs.essence() {
        Same::Content
    } else {
        Same::Nothing
    }
}

fn look(dir: Option<&Dir>, name: &[u8], opens: bool) -> Attempt<(Option<Stat>, Option<OpenFile>)> {
    let found = match dir {
        Some(dir) => dir.look(name, opens)?,
        None => None,
    };
    Ok(found.map_or((None, None), |Look { stat, file }| (Some(stat), file)))
}

fn node(dir: Option<&Dir>, name: &[u8], stat: &Stat) -> Attempt<Node> {
    Ok(node_and_file(dir, name, stat, None)?.0)
}

fn node_and_file(
    dir: Option<&Dir>,
    name: &[u8],
    stat: &Stat,
    file: Option<OpenFile>,
) -> Attempt<(Node, Option<OpenFile>)> {
    let found = match dir {
        Some(dir) => dir.node_and_file(name, Look { stat: *stat, file })?,
        None => None,
    };
    Ok(found.ok_or(Restless)?)
}
