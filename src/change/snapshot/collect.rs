//! Makes the backend's hints into names that may differ.
//!
//! A hint is a place to look at, not a decision. What is added to the hints: everything below a directory that only one tree has, or
//! that is another directory now; in a directory that was touched, names that come and go; and all names of an entry of
//! which one name is a candidate.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use remand_backends::{Hint, NativeDiff};

use super::candidates::{Candidates, Place};
use super::directories::{Directories, Sides};
use crate::change::{DirectoryPair, Error, Scope, Trees, walk};
use crate::tree::{Dir, Kind, Name, Stat, TreePath};
use crate::undo::chain;

/// So many times the backend is asked for the names of an entry. Beyond that one walk over all names is cheaper.
const MAX_QUESTIONS: usize = 4096;

/// So many walks are made for names, each of which can bring entries whose names must be looked for in turn.
const MAX_WALKS: usize = 8;

/// Why there are no candidates.
#[derive(Debug)]
pub(super) enum Stop {
    /// The hints do not suffice, for this reason; the trees must be walked.
    Walk(String),
    /// A walk would fail too.
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<crate::tree::Error> for Stop {
    fn from(error: crate::tree::Error) -> Self {
        Self::Error(Error::Tree(error))
    }
}

type Attempt<T> = std::result::Result<T, Stop>;

/// How far a hint reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    /// The entry, and where it is one directory in both trees which names are in it.
    Entry,
    /// Everything below it too.
    Subtree,
}

/// Names of an entry that has several in one tree.
#[derive(Clone, Copy, Debug)]
struct Links {
    all: u64,
    known: u64,
}

/// See the module.
pub(super) struct Collector<'a> {
    trees: Trees<'a>,
    scope: Scope<'a>,
    limit: usize,
    directories: Directories<'a>,
    found: Candidates,
    /// Directories below which everything is a candidate.
    whole: HashSet<TreePath>,
    /// Multiply linked entries of base and now, by number.
    links: [HashMap<u64, Links>; 2],
    /// Of these, those whose names are not all known.
    open: [BTreeSet<u64>; 2],
    /// Those whose names were looked for.
    settled: [HashSet<u64>; 2],
}

impl<'a> Collector<'a> {
    /// At most `limit` paths are held.
    pub(super) fn new(trees: Trees<'a>, scope: Scope<'a>, limit: usize) -> Self {
        Self {
            trees,
            scope,
            limit,
            directories: Directories::new(trees),
            found: Candidates::default(),
            whole: HashSet::new(),
            links: Default::default(),
            open: Default::default(),
            settled: Default::default(),
        }
    }

    /// All candidates. `changes` calls back with the hints, as [`NativeDiff::changes`] does.
    pub(super) fn collect(
        mut self,
        native: &dyn NativeDiff,
        changes: impl FnOnce(&mut dyn FnMut(Hint) -> bool) -> remand_backends::Result<()>,
    ) -> Attempt<Candidates> {
        for (Place(path), reach) in self.hints(changes)? {
            self.scope.check()?;
            self.examine(&path, reach)?;
        }
        self.all_names(native)?;
        Ok(self.found)
    }

    /// Every hint once, with the longest reach that was told.
    fn hints(
        &self,
        changes: impl FnOnce(&mut dyn FnMut(Hint) -> bool) -> remand_backends::Result<()>,
    ) -> Attempt<BTreeMap<Place, Reach>> {
        let mut hints = BTreeMap::new();
        let mut stop = None;
        let told = changes(&mut |hint| {
            stop = self.hint(hint, &mut hints).err();
            stop.is_none()
        });
        self.scope.check()?;
        match (stop, told) {
            (Some(stop), _) => Err(stop),
            (None, Err(error)) => Err(Stop::Walk(chain(&error))),
            (None, Ok(())) => Ok(hints),
        }
    }

    fn hint(&self, hint: Hint, hints: &mut BTreeMap<Place, Reach>) -> Attempt<()> {
        self.scope.check()?;
        let (path, reach) = match hint {
            Hint::Entry(path) | Hint::Names(path) => (path, Reach::Entry),
            Hint::Subtree(path) => (path, Reach::Subtree),
        };
        let path = TreePath::new(&path).map_err(|error| Stop::Walk(error.to_string()))?;
        let known = hints.entry(Place(path)).or_insert(reach);
        *known = reach.max(*known);
        self.check_limit(hints.len())
    }

    fn check_limit(&self, count: usize) -> Attempt<()> {
        if count > self.limit {
            return Err(Stop::Walk(format!("more than {} paths may differ", self.limit)));
        }
        Ok(())
    }

    fn excludes(&self, path: &TreePath) -> bool {
        self.scope.exclude.iter().any(|out| out == path || out.is_above(path))
    }

    /// Looks at what a hint is about.
    fn examine(&mut self, path: &TreePath, reach: Reach) -> Attempt<()> {
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
            self.check_limit(self.found.count())?;
            for (side, stat) in stats.iter().enumerate() {
                if let Some(stat) = stat {
                    self.count_link(side, stat);
                }
            }
        }
        Ok(stats)
    }

    fn count_link(&mut self, side: usize, stat: &Stat) {
        if stat.kind == Kind::Directory || stat.identity.links < 2 || stat.mount_point {
            return;
        }
        let inode = stat.identity.inode;
        let links = self.links[side].entry(inode).or_insert(Links { all: 0, known: 0 });
        *links = Links { all: stat.identity.links, known: links.known + 1 };
        if links.known >= links.all {
            self.open[side].remove(&inode);
        } else if !self.settled[side].contains(&inode) {
            self.open[side].insert(inode);
        }
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
        let mut above = Some(path.clone());
        while let Some(path) = above {
            if self.whole.contains(&path) {
                return Ok(());
            }
            above = path.split().map(|(parent, _)| parent);
        }
        self.whole.insert(path.clone());
        let (trees, scope) = (self.trees, self.scope);
        let mut stop = None;
        walk::below(trees, path, sides, scope, &mut |pair| {
            stop = self.add_all(pair).err();
            stop.is_none()
        })?;
        stop.map_or(Ok(()), Err)
    }

    fn add_all(&mut self, pair: DirectoryPair) -> Attempt<()> {
        let sides = [pair.base, pair.now];
        for name in &pair.names {
            self.add(&pair.path, &sides, name)?;
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

    /// Adds all names of every entry of which one name is a candidate.
    fn all_names(&mut self, native: &dyn NativeDiff) -> Attempt<()> {
        let (mut questions, mut walks) = (0, 0);
        loop {
            self.scope.check()?;
            let open = std::mem::take(&mut self.open);
            if open.iter().all(BTreeSet::is_empty) {
                return Ok(());
            }
            let mut unknown: [HashSet<u64>; 2] = Default::default();
            for (side, inodes) in open.into_iter().enumerate() {
                self.settled[side].extend(&inodes);
                for inode in inodes {
                    questions += 1;
                    if questions > MAX_QUESTIONS || !self.ask(native, side, inode)? {
                        unknown[side].insert(inode);
                    }
                }
            }
            if unknown.iter().any(|inodes| !inodes.is_empty()) {
                // Who cannot tell one, cannot tell others.
                questions = MAX_QUESTIONS;
                walks += 1;
                if walks > MAX_WALKS {
                    return Err(Stop::Walk("too many entries share names with each other".into()));
                }
                self.search(&unknown)?;
            }
        }
    }

    /// Asks the backend for all names of an entry; false where it does not know them all.
    fn ask(&mut self, native: &dyn NativeDiff, side: usize, inode: u64) -> Attempt<bool> {
        let tree = [self.trees.base, Some(self.trees.now)][side];
        let Some(location) = tree.and_then(|tree| tree.location()) else { return Ok(false) };
        let Some(names) = native.names_of(location, inode).map_err(|error| Stop::Walk(chain(&error)))? else {
            return Ok(false);
        };
        for name in names {
            let path = TreePath::new(&name).map_err(|error| Stop::Walk(error.to_string()))?;
            if self.excludes(&path) {
                if let Some(links) = self.links[side].get_mut(&inode) {
                    links.known += 1;
                }
            } else {
                self.examine(&path, Reach::Entry)?;
            }
        }
        Ok(self.links[side].get(&inode).is_none_or(|links| links.known >= links.all))
    }

    /// Finds the names of entries by a walk over all names, which looks at no entry that is not wanted.
    fn search(&mut self, inodes: &[HashSet<u64>; 2]) -> Attempt<()> {
        let wanted = |numbers: [Option<u64>; 2]| {
            numbers.iter().zip(inodes).any(|(number, inodes)| number.is_some_and(|at| inodes.contains(&at)))
        };
        let (trees, scope) = (self.trees, self.scope);
        let mut stop = None;
        walk::numbered(trees, scope, &wanted, &mut |pair| {
            stop = self.add_all(pair).err();
            stop.is_none()
        })?;
        stop.map_or(Ok(()), Err)
    }
}
