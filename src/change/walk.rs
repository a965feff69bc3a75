//! A walk over two trees at once, in the module's order.
//!
//! Memory grows with the depth and width of the place where the walk is, not with the trees; the number of open
//! descriptors is bounded at any depth.

use std::vec::IntoIter;

use super::{Candidate, DirectoryPair, Error, Result, Scope, Trees};
use crate::tree::{Dir, Kind, Name, Stat, Tree, TreePath};

/// Directories whose descriptors stay open while the walk is below them. Deeper ones are opened again by their
/// path when the walk comes back.
const HELD_LEVELS: usize = 32;

/// A subdirectory that is still to be visited.
struct Sub {
    name: Vec<u8>,
    base: bool,
    now: bool,
}

/// One tree's directory while the walk is below it.
enum Side {
    Absent,
    Open(Dir),
    Closed,
}

impl Side {
    fn of(dir: Option<Dir>) -> Self {
        dir.map_or(Self::Absent, Self::Open)
    }

    fn close(&mut self) {
        if matches!(self, Self::Open(_)) {
            *self = Self::Closed;
        }
    }
}

const BASE: usize = 0;
const NOW: usize = 1;

/// A directory whose subdirectories are not all visited.
struct Level {
    /// Its path is that many bytes of the walk's path.
    path_length: usize,
    sides: [Side; 2],
    rest: IntoIter<Sub>,
}

/// Emits all names of both trees. Stops early when `emit` returns false.
///
/// What is mounted in `now` is not entered, and the base's entries below such a place are left out too: nothing is
/// known of what lies beneath the mount.
pub fn merged(
    base: Option<&Tree>,
    now: Option<&Tree>,
    scope: Scope<'_>,
    emit: &mut dyn FnMut(DirectoryPair) -> bool,
) -> Result<()> {
    Walk::new([base, now], scope).run([base.map(Tree::root), now.map(Tree::root)], emit)
}

/// The sum of a measure over all regular files.
pub fn files(tree: &Tree, scope: Scope<'_>, measure: impl Fn(&Stat) -> u64) -> Result<u64> {
    let (mut sum, mut failure) = (0, None);
    merged(Some(tree), None, scope, &mut |pair| {
        let Some(directory) = &pair.base else { return true };
        for Candidate { name, .. } in &pair.names {
            match directory.stat(name) {
                Ok(stat) => {
                    sum += stat.filter(|stat| stat.kind == Kind::File).map_or(0, |stat| measure(&stat));
                }
                Err(error) => failure = Some(error),
            }
        }
        failure.is_none()
    })?;
    failure.map_or(Ok(sum), |error| Err(Error::Tree(error)))
}

/// Emits all names below one directory, which is open on the sides that have it.
pub(super) fn below(
    trees: Trees<'_>,
    path: &TreePath,
    sides: [Option<Dir>; 2],
    scope: Scope<'_>,
    emit: &mut dyn FnMut(DirectoryPair) -> bool,
) -> Result<()> {
    let mut walk = Walk::new([trees.base, Some(trees.now)], scope);
    walk.path = path.as_bytes().to_vec();
    walk.run(sides, emit)
}

/// Emits the names whose entries' numbers, in base and now, `wanted` asks for; nothing but directories is looked at.
pub(super) fn numbered(
    trees: Trees<'_>,
    scope: Scope<'_>,
    wanted: &dyn Fn([Option<u64>; 2]) -> bool,
    emit: &mut dyn FnMut(DirectoryPair) -> bool,
) -> Result<()> {
    let mut walk = Walk::new([trees.base, Some(trees.now)], scope);
    walk.wanted = Some(wanted);
    walk.run([trees.base.map(Tree::root), Some(trees.now.root())], emit)
}

struct Walk<'a> {
    trees: [Option<&'a Tree>; 2],
    scope: Scope<'a>,
    /// Path of the directory that was entered last.
    path: Vec<u8>,
    levels: Vec<Level>,
    /// Says by the numbers of a name's entries whether it is emitted; all are where this is missing.
    wanted: Option<&'a dyn Fn([Option<u64>; 2]) -> bool>,
}

impl<'a> Walk<'a> {
    fn new(trees: [Option<&'a Tree>; 2], scope: Scope<'a>) -> Self {
        Self { trees, scope, path: Vec::new(), levels: Vec::new(), wanted: None }
    }

    /// Walks the directory at `self.path`.
    fn run(
        &mut self,
        [base, now]: [Option<Dir>; 2],
        emit: &mut dyn FnMut(DirectoryPair) -> bool,
    ) -> Result<()> {
        if !self.enter(base, now, emit)? {
            return Ok(());
        }
        while let Some((base, now)) = self.next_pair()? {
            if !self.enter(base, now, emit)? {
                break;
            }
        }
        Ok(())
    }

    fn tree_path(&self) -> TreePath {
        TreePath::new(&self.path).expect("names from a directory make a clean path")
    }

    /// Emits the names of one directory and remembers its subdirectories.
    fn enter(
        &mut self,
        base: Option<Dir>,
        now: Option<Dir>,
        emit: &mut dyn FnMut(DirectoryPair) -> bool,
    ) -> Result<bool> {
        self.scope.check()?;
        let path = self.tree_path();
        let (names, subs) = self.union(&path, base.as_ref(), now.as_ref())?;
        if !subs.is_empty() {
            if let Some(level) = self.levels.len().checked_sub(HELD_LEVELS) {
                self.levels[level].sides.iter_mut().for_each(Side::close);
            }
            self.levels.push(Level {
                path_length: self.path.len(),
                sides: [Side::of(base.clone()), Side::of(now.clone())],
                rest: subs.into_iter(),
            });
        }
        Ok(names.is_empty() || emit(DirectoryPair { path, base, now, names }))
    }

    /// The names on both sides, and which of them are directories.
    fn union(
        &self,
        path: &TreePath,
        base: Option<&Dir>,
        now: Option<&Dir>,
    ) -> Result<(Vec<Candidate>, Vec<Sub>)> {
        let mut base_names = names_of(base)?.into_iter().peekable();
        let mut now_names = names_of(now)?.into_iter().peekable();
        let mut names = Vec::with_capacity(base_names.len().max(now_names.len()));
        let mut subs = Vec::new();
        loop {
            let order = match (base_names.peek(), now_names.peek()) {
                (None, None) => break,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(base), Some(now)) => base.name.cmp(&now.name),
            };
            let in_base = if order.is_le() { base_names.next() } else { None };
            let in_now = if order.is_ge() { now_names.next() } else { None };
            let base_is_dir = is_directory(base, in_base.as_ref())?;
            let now_is_dir = is_directory(now, in_now.as_ref())?;
            let is_file = [&in_base, &in_now].into_iter().flatten().all(|name| name.kind == Some(Kind::File));
            let inodes = [&in_base, &in_now].map(|name| name.as_ref().map(|name| name.inode));
            let Some(Name { name, .. }) = in_now.or(in_base) else { break };
            if !self.scope.exclude.is_empty() && self.scope.excludes(&path.join(&name)) {
                continue;
            }
            if base_is_dir || now_is_dir {
                subs.push(Sub { name: name.clone(), base: base_is_dir, now: now_is_dir });
            }
            if self.wanted.is_none_or(|wanted| wanted(inodes)) {
                names.push(Candidate { name, is_file });
            }
        }
        Ok((names, subs))
    }

    /// Opens the next directory in the order; its path is then `self.path`.
    fn next_pair(&mut self) -> Result<Option<(Option<Dir>, Option<Dir>)>> {
        while let Some(level) = self.levels.last_mut() {
            self.path.truncate(level.path_length);
            let Some(sub) = level.rest.next() else {
                self.levels.pop();
                continue;
            };
            let now = if sub.now { self.open(NOW, &sub.name)? } else { Opened::Absent };
            let base = if sub.base { self.open(BASE, &sub.name)? } else { Opened::Absent };
            if self.levels.last().is_some_and(|level| level.rest.as_slice().is_empty()) {
                // A chain of single directories holds no descriptor a level.
                self.levels.pop();
            }
            if !self.path.is_empty() {
                self.path.push(b'/');
            }
            self.path.extend_from_slice(&sub.name);
            match (base, now) {
                (_, Opened::MountPoint) | (Opened::Absent | Opened::MountPoint, Opened::Absent) => {}
                (base, now) => return Ok(Some((base.dir(), now.dir()))),
            }
        }
        Ok(None)
    }

    /// Opens a directory below the deepest level.
    fn open(&mut self, side: usize, name: &[u8]) -> Result<Opened> {
        if self.levels.last().is_some_and(|level| matches!(level.sides[side], Side::Closed)) {
            self.reopen(side)?;
        }
        match self.levels.last().map(|level| &level.sides[side]) {
            Some(Side::Open(parent)) => open(parent, name),
            _ => Ok(Opened::Absent),
        }
    }

    /// Opens the deepest levels again, as many as may be held: the walk comes to them next.
    fn reopen(&mut self, side: usize) -> Result<()> {
        let first = self.levels.len().saturating_sub(HELD_LEVELS);
        let top = TreePath::new(&self.path[..self.levels[first].path_length]);
        let top = top.expect("names from a directory make a clean path");
        let tree = self.trees[side].expect("a directory of a tree");
        let mut dir = tree.open_dir(&top).map_err(Error::Tree)?;
        let mut at = self.levels[first].path_length;
        for level in &mut self.levels[first..] {
            let below = self.path[at..level.path_length].split(|&byte| byte == b'/');
            for name in below.filter(|name| !name.is_empty()) {
                dir = match dir {
                    Some(dir) => dir.open_dir(name).map_err(Error::Tree)?,
                    None => None,
                };
            }
            at = level.path_length;
            if matches!(level.sides[side], Side::Closed) {
                level.sides[side] = Side::of(dir.clone());
            }
        }
        Ok(())
    }
}

/// What was found where a directory was to be opened.
pub(super) enum Opened {
    /// No directory.
    Absent,
    /// Another file system's directory.
    MountPoint,
    /// The directory.
    Dir(Dir),
}

impl Opened {
    /// The directory, if it is one to be walked.
    pub(super) fn dir(self) -> Option<Dir> {
        match self {
            Self::Dir(dir) => Some(dir),
            _ => None,
        }
    }
}

/// Opens a directory of the same file system.
pub(super) fn open(parent: &Dir, name: &[u8]) -> Result<Opened> {
    if let Some(dir) = parent.open_dir(name).map_err(Error::Tree)? {
        return Ok(Opened::Dir(dir));
    }
    let stat = parent.stat(name).map_err(Error::Tree)?;
    Ok(if stat.is_some_and(|stat| stat.mount_point) { Opened::MountPoint } else { Opened::Absent })
}

fn names_of(dir: Option<&Dir>) -> Result<Vec<Name>> {
    dir.map_or(Ok(Vec::new()), Dir::names).map_err(Error::Tree)
}

/// Whether a name is a directory: the listing knows, or the entry is looked up.
fn is_directory(dir: Option<&Dir>, name: Option<&Name>) -> Result<bool> {
    let (Some(dir), Some(name)) = (dir, name) else { return Ok(false) };
    let kind = match name.kind {
        Some(kind) => Some(kind),
        None => dir.stat(&name.name).map_err(Error::Tree)?.map(|stat| stat.kind),
    };
    Ok(kind == Some(Kind::Directory))
}
