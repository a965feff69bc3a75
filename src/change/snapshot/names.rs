//! All names of every entry of which one name is a candidate.

use std::collections::{BTreeSet, HashMap, HashSet};

use remand_backends::NativeDiff;

use super::collect::{Attempt, Reach, Stop};
use super::look::Looker;
use crate::change::{Scope, Trees, walk};
use crate::tree::TreePath;
use crate::undo::chain;

/// So many times the backend is asked for the names of an entry. Beyond that one walk over all names is cheaper.
const MAX_QUESTIONS: usize = 4096;

/// So many walks are made for names, each of which can bring entries whose names must be looked for in turn.
const MAX_WALKS: usize = 8;

/// Names of an entry that has several in one tree.
#[derive(Clone, Copy, Debug)]
struct Links {
    all: u64,
    known: u64,
}

/// See the module. Pairs are of base and now, and entries go by their numbers.
pub(super) struct Names<'a> {
    trees: Trees<'a>,
    scope: Scope<'a>,
    native: &'a dyn NativeDiff,
    looker: Looker<'a>,
    links: [HashMap<u64, Links>; 2],
    /// Entries whose names are not all known.
    open: [BTreeSet<u64>; 2],
    /// Those whose names were looked for.
    settled: [HashSet<u64>; 2],
}

impl<'a> Names<'a> {
    /// Of the candidates that `looker` has found.
    pub(super) fn of(
        looker: Looker<'a>,
        trees: Trees<'a>,
        scope: Scope<'a>,
        native: &'a dyn NativeDiff,
    ) -> Self {
        let mut names = Self {
            trees,
            scope,
            native,
            looker,
            links: Default::default(),
            open: Default::default(),
            settled: Default::default(),
        };
        names.count();
        names
    }

    /// Adds what is missing, and returns who holds all candidates.
    pub(super) fn complete(mut self) -> Attempt<Looker<'a>> {
        let (mut questions, mut walks) = (0, 0);
        loop {
            self.scope.check()?;
            let open = std::mem::take(&mut self.open);
            if open.iter().all(BTreeSet::is_empty) {
                return Ok(self.looker);
            }
            let mut unknown: [HashSet<u64>; 2] = Default::default();
            for (side, inodes) in open.into_iter().enumerate() {
                self.settled[side].extend(&inodes);
                for inode in inodes {
                    questions += 1;
                    if questions > MAX_QUESTIONS || !self.ask(side, inode)? {
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

    /// Counts the names that were found since the last call.
    fn count(&mut self) {
        for found in self.looker.take_linked() {
            let (side, inode) = (found.side, found.inode);
            let links = self.links[side].entry(inode).or_insert(Links { all: 0, known: 0 });
            *links = Links { all: found.links, known: links.known + 1 };
            if links.known >= links.all {
                self.open[side].remove(&inode);
            } else if !self.settled[side].contains(&inode) {
                self.open[side].insert(inode);
            }
        }
    }

    /// Asks the backend for all names of an entry; false where it does not know them all.
    fn ask(&mut self, side: usize, inode: u64) -> Attempt<bool> {
        let tree = [self.trees.base, Some(self.trees.now)][side];
        let Some(location) = tree.and_then(|tree| tree.location()) else { return Ok(false) };
        let told = self.native.names_of(location, inode).map_err(|error| Stop::Walk(chain(&error)))?;
        let Some(names) = told else { return Ok(false) };
        for name in names {
            let path = TreePath::new(&name).map_err(|error| Stop::Walk(error.to_string()))?;
            if self.looker.excludes(&path) {
                if let Some(links) = self.links[side].get_mut(&inode) {
                    links.known += 1;
                }
            } else {
                self.looker.examine(&path, Reach::Entry)?;
            }
        }
        self.count();
        Ok(self.links[side].get(&inode).is_none_or(|links| links.known >= links.all))
    }

    /// Finds the names of entries by a walk over all names, which looks at no entry that is not wanted.
    fn search(&mut self, inodes: &[HashSet<u64>; 2]) -> Attempt<()> {
        let wanted = |numbers: [Option<u64>; 2]| {
            numbers.iter().zip(inodes).any(|(number, inodes)| number.is_some_and(|at| inodes.contains(&at)))
        };
        let (trees, scope) = (self.trees, self.scope);
        self.looker.add_from(|add| walk::numbered(trees, scope, &wanted, add))?;
        self.count();
        Ok(())
    }
}
