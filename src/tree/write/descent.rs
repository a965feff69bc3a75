//! The way from a tree's root down to a directory, as open descriptors.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;

use super::super::platform;
use super::super::read::{OPEN_DIR, is_absent, open_quietly};
use super::super::{Error, Kind, TreePath};

/// Levels that stay open above the deepest. A level that is needed again after it was closed is
/// found as `..` of the one below and must be the directory that it was.
const OPEN_LEVELS: usize = 64;

/// Where a writer is. Members of an archive come sorted, so the directory of the next one is near
/// that of the last. However deep it is, the number of descriptors is bounded.
pub(super) struct Descent {
    root: Arc<OwnedFd>,
    device: u64,
    /// Path of the deepest directory. Kept, and not made of the levels, because comparing paths is
    /// what costs in a tree of many levels.
    path: Vec<u8>,
    levels: Vec<Level>,
}

struct Level {
    /// Where its path ends in that of the deepest.
    end: usize,
    inode: u64,
    /// What its owner keeps with the directory.
    record: usize,
    fd: Option<Arc<OwnedFd>>,
}

/// Why a directory was not entered.
pub(super) enum Refused {
    /// It is not there.
    Absent,
    /// It is a link, no directory, a mount point, or was moved meanwhile.
    Foreign,
    /// The system refused.
    Io(io::Error),
}

impl Descent {
    /// Starts at `root`, in the file system of `device`.
    pub(super) fn new(root: Arc<OwnedFd>, device: u64) -> Self {
        Self { root, device, path: Vec::new(), levels: Vec::new() }
    }

    /// Starts in a directory of the tree and stays there.
    pub(super) fn at(directory: Arc<OwnedFd>, device: u64, path: &TreePath, record: usize) -> Self {
        let path = path.as_bytes().to_vec();
        // One level, of which the name is the whole way: nobody goes above it.
        let level = Level { end: path.len(), inode: 0, record, fd: Some(Arc::clone(&directory)) };
        let levels = if path.is_empty() { Vec::new() } else { vec![level] };
        Self { root: directory, device, path, levels }
    }

    /// Device of the tree.
    pub(super) fn device(&self) -> u64 {
        self.device
    }

    /// Levels below the root.
    pub(super) fn depth(&self) -> usize {
        self.levels.len()
    }

    /// Descriptors that it holds.
    #[cfg(test)]
    pub(super) fn open_levels(&self) -> usize {
        self.levels.iter().filter(|level| level.fd.is_some()).count()
    }

    /// The deepest directory. It is always open.
    pub(super) fn top(&self) -> Arc<OwnedFd> {
        Arc::clone(self.levels.last().and_then(|level| level.fd.as_ref()).unwrap_or(&self.root))
    }

    /// What [`Descent::push`] was given for the deepest directory.
    pub(super) fn record(&self) -> Option<usize> {
        self.levels.last().map(|level| level.record)
    }

    /// Path of the deepest directory.
    pub(super) fn path(&self) -> TreePath {
        TreePath::new(&self.path).unwrap_or_default()
    }

    /// How many levels the way down to the directory at `path` has in common with this one, and the
    /// names from there on.
    pub(super) fn common<'p>(&self, path: &'p TreePath) -> (usize, impl Iterator<Item = &'p [u8]> + use<'p>) {
        let bytes = path.as_bytes();
        let ends_here = |end: usize| end == bytes.len() || bytes.get(end) == Some(&b'/');
        let same = if bytes.starts_with(&self.path) {
            self.path.len()
        } else {
            bytes.iter().zip(&self.path).take_while(|(a, b)| a == b).count()
        };
        let mut depth = self.levels.partition_point(|level| level.end <= same);
        // The last of them may end inside a longer name.
        while depth > 0 && !ends_here(self.levels[depth - 1].end) {
            depth -= 1;
        }
        let rest = &bytes[self.end_of(depth)..];
        (depth, rest.split(|&byte| byte == b'/').filter(|name| !name.is_empty()))
    }

    fn end_of(&self, depth: usize) -> usize {
        depth.checked_sub(1).map_or(0, |nth| self.levels[nth].end)
    }

    fn truncate(&mut self, depth: usize) {
        self.path.truncate(self.end_of(depth));
        self.levels.truncate(depth);
    }

    fn name(&self, nth: usize) -> &[u8] {
        let name = &self.path[self.end_of(nth)..self.levels[nth].end];
        name.strip_prefix(b"/").unwrap_or(name)
    }

    /// Enters a directory of the deepest one.
    pub(super) fn push(&mut self, name: &[u8], record: usize) -> Result<(), Refused> {
        let (fd, inode) = enter(&self.top(), name, self.device)?;
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(name);
        self.levels.push(Level { end: self.path.len(), inode, record, fd: Some(Arc::new(fd)) });
        if let Some(too_many) = self.levels.len().checked_sub(OPEN_LEVELS + 1) {
            self.levels[too_many].fd = None;
        }
        Ok(())
    }

    /// Leaves directories until `depth` levels are left.
    pub(super) fn pop_to(&mut self, depth: usize) -> Result<(), Refused> {
        // The levels that are open are the deepest ones.
        let open = self.levels.iter().rposition(|level| level.fd.is_none()).map_or(0, |closed| closed + 1);
        if depth == 0 || depth > open {
            self.truncate(depth);
            return Ok(());
        }
        let wanted = depth - 1;
        // From the nearer side.
        let fd = if open - wanted < depth { self.climb(open, wanted)? } else { self.walk(wanted)? };
        self.truncate(depth);
        self.levels[wanted].fd = Some(fd);
        Ok(())
    }

    /// Opens level `wanted` from level `open` by way of `..`.
    fn climb(&self, open: usize, wanted: usize) -> Result<Arc<OwnedFd>, Refused> {
        let mut fd = self.levels.get(open).and_then(|level| level.fd.clone()).ok_or(Refused::Foreign)?;
        for level in self.levels[wanted..open].iter().rev() {
            fd = level.again(&fd, b"..", self.device)?;
        }
        Ok(fd)
    }

    /// Opens level `wanted` from the root.
    fn walk(&self, wanted: usize) -> Result<Arc<OwnedFd>, Refused> {
        let mut fd = Arc::clone(&self.root);
        for (nth, level) in self.levels[..=wanted].iter().enumerate() {
            fd = level.again(&fd, self.name(nth), self.device)?;
        }
        Ok(fd)
    }

    /// Leaves the deepest directory.
    pub(super) fn pop(&mut self) -> Result<(), Refused> {
        self.pop_to(self.levels.len().saturating_sub(1))
    }

    /// The error for a path that leads through `name` in the deepest directory.
    pub(super) fn error(&self, refused: Refused, name: &[u8], path: &TreePath) -> Error {
        match refused {
            Refused::Absent => Error::NoParent { path: path.to_string() },
            Refused::Foreign => {
                Error::Escapes { path: path.to_string(), through: self.path().join(name).to_string() }
            }
            Refused::Io(source) => {
                Error::Io { action: "open the directory of", path: path.to_string(), source }
            }
        }
    }
}

impl Level {
    /// Opens this level once more, as `name` in `from`.
    fn again(&self, from: &OwnedFd, name: &[u8], device: u64) -> Result<Arc<OwnedFd>, Refused> {
        let (fd, inode) = enter(from, name, device)?;
        if inode == self.inode { Ok(Arc::new(fd)) } else { Err(Refused::Foreign) }
    }
}

/// Opens a directory of the same file system, which is no mount point; with its inode number.
fn enter(dir: &OwnedFd, name: &[u8], device: u64) -> Result<(OwnedFd, u64), Refused> {
    let fd = open_quietly(dir.as_fd(), name, OPEN_DIR).map_err(|error| match error {
        Errno::NOENT => Refused::Absent,
        error if is_absent(&error.into()) => Refused::Foreign,
        error => Refused::Io(error.into()),
    })?;
    let stat = platform::stat(fd.as_fd(), b"", Some(device)).map_err(Refused::Io)?.stat;
    if stat.kind != Kind::Directory || stat.mount_point {
        return Err(Refused::Foreign);
    }
    Ok((fd, stat.identity.inode))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes directories below one another, and goes down to the last.
    fn down(place: &std::path::Path, names: &[&[u8]]) -> Descent {
        let root: OwnedFd = std::fs::File::open(place).unwrap().into();
        let device = platform::stat(root.as_fd(), b"", None).unwrap().stat.identity.device;
        let mut descent = Descent::new(Arc::new(root), device);
        for (record, name) in names.iter().enumerate() {
            rustix::fs::mkdirat(descent.top(), *name, rustix::fs::Mode::RWXU).unwrap();
            assert!(descent.push(name, record).is_ok());
        }
        descent
    }

    #[test]
    fn what_two_ways_have_in_common_are_whole_names() {
        let place = tempfile::tempdir().unwrap();
        let descent = down(place.path(), &[b"a", b"bc", b"d"]);
        for (way, common, rest) in [
            ("", 0, &[][..]),
            ("a", 1, &[]),
            ("b", 0, &["b"]),
            ("ab", 0, &["ab"]),
            ("a/b", 1, &["b"]),
            ("a/bc", 2, &[]),
            ("a/bcd", 1, &["bcd"]),
            ("a/bd/d", 1, &["bd", "d"]),
            ("a/bc/d", 3, &[]),
            ("a/bc/d/e/f", 3, &["e", "f"]),
            ("a/bc/de", 2, &["de"]),
            ("a/bc/e", 2, &["e"]),
            ("x/bc/d", 0, &["x", "bc", "d"]),
        ] {
            let way = TreePath::new(way.as_bytes()).unwrap();
            let (found, names) = descent.common(&way);
            let names: Vec<_> = names.map(String::from_utf8_lossy).collect();
            assert_eq!(
                (found, &names[..]),
                (common, &rest.iter().map(|name| (*name).into()).collect::<Vec<_>>()[..]),
                "{way}"
            );
        }
    }

    #[test]
    fn every_level_is_found_again() {
        let place = tempfile::tempdir().unwrap();
        let names = [&b"d"[..]; 2 * OPEN_LEVELS];
        let inode =
            |descent: &Descent| platform::stat(descent.top().as_fd(), b"", None).unwrap().stat.identity.inode;
        for step in [1, 7, OPEN_LEVELS - 1, OPEN_LEVELS + 3] {
            let place = place.path().join(step.to_string());
            std::fs::create_dir(&place).unwrap();
            let mut descent = down(&place, &names);
            assert!(descent.open_levels() <= OPEN_LEVELS + 1);
            let inodes: Vec<u64> = descent.levels.iter().map(|level| level.inode).collect();
            for depth in (1..names.len()).rev().step_by(step) {
                assert!(descent.pop_to(depth).is_ok());
                assert_eq!((descent.depth(), inode(&descent)), (depth, inodes[depth - 1]));
            }
        }
    }
}
