//! What a backend itself tells of a difference is all of it: random changes, and a comparison of every entry as the judge.
//!
//! It is compiled into the tests and into the example `native_diff`, which runs it on a host of one's own choice.

use remand_backends::{Hint, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[path = "native_diff_suite/operations.rs"]
mod operations;
#[path = "native_diff_suite/places.rs"]
mod places;
#[path = "native_diff_suite/random.rs"]
mod random;
#[path = "native_diff_suite/tree.rs"]
mod tree;

pub(crate) use places::{BtrfsPlace, PoolPlace};
use random::Random;
use tree::{Seen, Tree};

/// How a case is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Changes that make the base.
    pub(crate) before: u32,
    /// Changes between base and now.
    pub(crate) after: u32,
    /// Whether names of an entry that has others are removed too.
    pub(crate) unlinking: bool,
}

/// Where a case happens.
pub(crate) trait Place {
    /// An empty directory that becomes the base.
    fn base(&mut self) -> PathBuf;
    /// Freezes the base; a writable copy of it.
    fn now(&mut self) -> PathBuf;
    /// Freezes the copy; both, for reading.
    fn freeze(&mut self) -> (PathBuf, PathBuf);
    fn changes(&self, hint: &mut dyn FnMut(Hint) -> bool) -> Result<()>;
    /// See [`remand_backends::NativeDiff::names_of`].
    fn names_of(&self, tree: &Path, inode: u64) -> Result<Option<Vec<Vec<u8>>>>;
    fn remove(self: Box<Self>);
}

/// What came out of a case.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What the changes were.
    pub(crate) log: Vec<String>,
    pub(crate) hints: BTreeSet<Hint>,
    /// Paths that differ.
    pub(crate) differing: usize,
    /// What differs and no hint covers.
    pub(crate) missed: Vec<String>,
    /// Hints about what is the same.
    pub(crate) idle: usize,
}

/// Runs one case.
pub(crate) fn run(mut place: Box<dyn Place>, seed: u64, plan: Plan) -> Outcome {
    let mut random = Random::new(seed);
    let mut log = Vec::new();
    let base = place.base();
    operations::perform(&base, plan.before, plan.unlinking, &mut random, &mut |_| {});
    let now = place.now();
    operations::perform(&now, plan.after, plan.unlinking, &mut random, &mut |line| log.push(line));
    let (base, now) = place.freeze();
    let (base, now) = [base, now].map(|path| read(&*place, &path)).into();
    let mut hints = BTreeSet::new();
    let told = place.changes(&mut |hint| {
        hints.insert(hint);
        true
    });
    if let Err(error) = told {
        panic!("seed {seed}: {error} ({:?})", std::error::Error::source(&error).map(ToString::to_string));
    }
    let outcome = judge(&base, &now, hints, log);
    place.remove();
    outcome
}

/// Reads a tree, and checks that the backend knows all names of what has several.
fn read(place: &dyn Place, path: &Path) -> Tree {
    let tree = Tree::read(path);
    for (inode, names) in tree.linked() {
        if let Some(mut told) = place.names_of(path, inode).expect("an answer") {
            told.sort();
            assert!(names.iter().eq(&told), "inode {inode}: {names:?} / {told:?}");
        }
    }
    tree
}

fn judge(base: &Tree, now: &Tree, hints: BTreeSet<Hint>, log: Vec<String>) -> Outcome {
    let differing = base.differing(now);
    let covered = Covered { base, now, hints: &hints };
    let is_missed = |path: &&Vec<u8>| {
        let mut names: BTreeSet<&Vec<u8>> = BTreeSet::from([*path]);
        names.extend(base.names_like(path));
        names.extend(now.names_like(path));
        !names.into_iter().any(|name| covered.directly(name))
    };
    let show = |path: &Vec<u8>| {
        let name = String::from_utf8_lossy(path);
        format!("{name:?}: {} / {}", Seen::show(base.get(path)), Seen::show(now.get(path)))
    };
    let missed = differing.iter().filter(is_missed).map(show).collect();
    let idle = hints.iter().filter(|hint| !differing.contains(hint.path())).count();
    Outcome { log, differing: differing.len(), missed, idle, hints }
}

struct Covered<'a> {
    base: &'a Tree,
    now: &'a Tree,
    hints: &'a BTreeSet<Hint>,
}

impl Covered<'_> {
    /// Whether who follows the hints looks at this path.
    fn directly(&self, path: &[u8]) -> bool {
        if self.hints.contains(&Hint::Entry(path.to_vec())) {
            return true;
        }
        let mut at = Some(path.to_vec());
        while let Some(path) = at {
            if self.hints.contains(&Hint::Subtree(path.clone())) {
                return true;
            }
            at = tree::parent(&path);
            // Names tell what came, went or is another entry, and all that is below.
            let other =
                self.base.get(&path).map(|seen| seen.inode) != self.now.get(&path).map(|seen| seen.inode);
            if other && at.as_ref().is_some_and(|above| self.hints.contains(&Hint::Names(above.clone()))) {
                return true;
            }
        }
        false
    }
}

/// Runs `cases` and prints what they came to; the seeds of those that failed.
pub(crate) fn run_all(
    label: &str,
    cases: std::ops::Range<u64>,
    plan: Plan,
    make: &dyn Fn(u64) -> Box<dyn Place>,
) -> Vec<u64> {
    let mut failed = Vec::new();
    let (mut hints, mut differing, mut idle) = (0, 0, 0);
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in cases.clone() {
        let outcome = run(make(seed), seed, plan);
        hints += outcome.hints.len();
        differing += outcome.differing;
        idle += outcome.idle;
        for hint in &outcome.hints {
            let kind = match hint {
                Hint::Entry(_) => "entries",
                Hint::Names(_) => "names",
                Hint::Subtree(_) => "subtrees",
            };
            *kinds.entry(kind).or_default() += 1;
        }
        if !outcome.missed.is_empty() {
            println!("{label}: seed {seed}: MISSED {:#?}", outcome.missed);
            println!("  after {:#?}\n  hints {:?}", outcome.log, shown(&outcome.hints));
            failed.push(seed);
        }
    }
    println!(
        "{label}: {} cases, {differing} paths differ, {hints} hints {kinds:?}, {idle} of them idle, {} cases with misses",
        cases.count(),
        failed.len()
    );
    failed
}

fn shown(hints: &BTreeSet<Hint>) -> Vec<String> {
    let show = |hint: &Hint| match hint {
        Hint::Entry(path) => String::from_utf8_lossy(path).into_owned(),
        Hint::Names(path) => format!("{}/*", String::from_utf8_lossy(path)),
        Hint::Subtree(path) => format!("{}/**", String::from_utf8_lossy(path)),
    };
    hints.iter().map(show).collect()
}

/// A path below a directory, from bytes.
fn at(root: &Path, path: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    root.join(std::ffi::OsStr::from_bytes(path))
}
