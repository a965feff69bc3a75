//! What a hint leads to.
//!
//! A hint is a place to look at, not a decision. What is added to it: everything below a directory that only one tree has, or that is
//! another directory now; and in a directory that was touched, names that come and go.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use super::candidates::Candidates;
use super::collect::{Attempt, Reach, Stop};
use super::directories::{Directories, Sides};
use crate::change::{DirectoryPair, Result, Scope, Trees, walk};
use crate::tree::{Dir, Kind, Name, Stat, TreePath};

/// A candidate whose entry has several names in one of the trees.
#[derive(Debug)]
pub(super) struct Linked {
    directory: TreePath,
    name: Vec<u8>,
    /// 0 for the base, 1 for the tree as it is now.
    pub(super) side: usize,
    pub(super) inode: u64,
    /// How many names it has.
    pub(super) links: u64,
}

/// Directories below which everything is a candidate, or will be when whoever claimed them is done.
#[derive(Debug, Default)]
pub(super) struct Claimed(Mutex<HashSet<TreePath>>);

impl Claimed {
    /// False where the directory, or one above it, was claimed before.
    fn claim(&self, path: &TreePath) -> bool {
        let mut claimed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut above = Some(path.clone());
        while let Some(path) = above {
            if claimed.contains(&path) {
                return false;
            }
            above = path.split().map(|(parent, _)| parent);
        }
        claimed.insert(path.clone())
    }
}

/// Collects candidates; several can share the work.
pub(super) struct Looker<'a> {
    trees: Trees<'a>,
    scope: Scope<'a>,
    limit: usize,
    claimed: &'a Claimed,
    directories: Directories<'a>,
    found: Candidates,
    linked: Vec<Linked>,
}

impl<'a> Looker<'a> {
    /// Holds at most `limit` paths.
    pub(super) fn new(trees: Trees<'a>, scope: Scope<'a>, limit: usize, claimed: &'a Claimed) -> Self {
        Self {
            trees,
            scope,
            limit,
            claimed,
            directories: Directories::new(trees),
            found: Candidates::default(),
            linked: Vec::new(),
        }
    }

    /// Takes over what another has found.
    pub(super) fn merge(&mut self, other: Self) -> Attempt<()> {
        let is_new = |linked: &Linked| !self.found.contains(&linked.directory, &linked.name);
        self.linked.extend(other.linked.into_iter().filter(is_new));
        self.found.merge(other.found);
        self.check_limit()
    }

    /// Of the candidates since the last call those that have several names.
    pub(super) fn take_linked(&mut self) -> Vec<Linked> {
        std::mem::take(&mut self.linked)
    }

    pub(super) fn into_found(self) -> Candidates {
        self.found
    }

    pub(super) fn excludes(&self, path: &TreePath) -> bool {
        self.scope.exclude.iter().any(|out| out == path || out.is_above(path))
    }

    fn check_limit(&self) -> Attempt<()> {
        Stop::beyond(self.limit, self.found.count())
    }

    /// Looks at what a hint is about.
    pub(super) fn examine(&mut self, path: &TreePath, reach: Reach) -> Attempt<()> {
        self.scope.check()?;
        if self.excludes(path) {
            return Ok(());
        }
        let Some((parent, name)) = path.split() else {
            let [base, now] = [self.trees.base, Some(self.trees.now)]
                .map(|tree| tree.map(|tree| tree.root().own_stat()).transpose());
            return self.look_below(path, [base?, now?], reach);
        };
        let Some(sides) = self.directories.open(&parent)? else { return Ok(()) };
        if sides[0].is_some() != sides[1].is_some() {
            // Then so is the entry itself.
            return self.examine(&parent, Reach::Subtree);
        }
        let stats = self.add(&parent, &sides, name)?;
        self.look_below(path, stats, reach)
    }

    /// Adds a name and tells what it is on both sides.
    fn add(&mut self, directory: &TreePath, sides: &Sides, name: &[u8]) -> Attempt<[Option<Stat>; 2]> {
        let [base, now] = sides.each_ref().map(|dir| match dir {
            Some(dir) => dir.stat(name),
            None => Ok(None),
        });
        let stats = [base?, now?];
        if self.found.insert(directory, name) {
            self.check_limit()?;
            for (side, stat) in stats.iter().enumerate() {
                if let Some(Stat { kind, identity, mount_point: false, .. }) = stat
                    && *kind != Kind::Directory
                    && identity.links > 1
                {
                    let (directory, name) = (directory.clone(), name.to_vec());
                    let (inode, links) = (identity.inode, identity.links);
                    self.linked.push(Linked { directory, name, side, inode, links });
                }
            }
        }
        Ok(stats)
    }

    /// Looks at what is below an entry, as far as it is a directory.
    fn look_below(&mut self, path: &TreePath, stats: [Option<Stat>; 2], reach: Reach) -> Attempt<()> {
        let [base, now] = stats.map(|stat| stat.filter(|stat| stat.kind == Kind::Directory));
        let same = match (base, now) {
            (None, None) => return Ok(()),
            (Some(base), Some(now)) => base.identity.inode == now.identity.inode || path.is_root(),
            _ => false,
        };
        match self.directories.open(path)? {
            None => Ok(()),
            Some(sides) if same && reach == Reach::Entry => self.names(path, &sides),
            Some(sides) => self.everything(path, sides),
        }
    }

    /// Adds everything below a directory.
    fn everything(&mut self, path: &TreePath, sides: Sides) -> Attempt<()> {
        if !self.claimed.claim(path) {
            return Ok(());
        }
        let (trees, scope) = (self.trees, self.scope);
        self.add_from(|add| walk::below(trees, path, sides, scope, add))
    }

    /// Adds all that `walk` emits.
    pub(super) fn add_from(
        &mut self,
        walk: impl FnOnce(&mut dyn FnMut(DirectoryPair) -> bool) -> Result<()>,
    ) -> Attempt<()> {
        let mut stop = None;
        walk(&mut |pair| {
            stop = self.add_all(pair).err();
            stop.is_none()
        })?;
        stop.map_or(Ok(()), Err)
    }

    fn add_all(&mut self, pair: DirectoryPair) -> Attempt<()> {
        let sides = [pair.base, pair.now];
        for candidate in &pair.names {
            self.add(&pair.path, &sides, &candidate.name)?;
        }
        Ok(())
    }

    /// Adds the names in a directory that are there on one side alone, or are another entry now.
    fn names(&mut self, path: &TreePath, sides: &Sides) -> Attempt<()> {
        let list = |dir: &Option<Dir>| dir.as_ref().map_or(Ok(Vec::new()), Dir::names);
        let (base, now) = (list(&sides[0])?, list(&sides[1])?);
        let is_in = |names: &[Name], name: &Name| {
            let at = names.binary_search_by(|other| other.name.cmp(&name.name));
            at.is_ok_and(|at| names[at].inode == name.inode)
        };
        let gone = base.iter().filter(|name| !is_in(&now, name));
        let come = now.iter().filter(|name| !is_in(&base, name));
        for Name { name, .. } in gone.chain(come) {
            self.examine(&path.join(name), Reach::Entry)?;
        }
        Ok(())
    }
}
