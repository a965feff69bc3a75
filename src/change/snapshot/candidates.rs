//! Names that may differ, in the module's order of directories.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use crate::tree::TreePath;

/// A path, ordered so that a directory comes before all that is below it, and this before its next sibling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) TreePath);

impl Ord for Place {
    fn cmp(&self, other: &Self) -> Ordering {
        // No name has a byte that is lower than this.
        let lowest = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
        self.0.as_bytes().iter().map(lowest).cmp(other.0.as_bytes().iter().map(lowest))
    }
}

impl PartialOrd for Place {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Names by directory.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    directories: BTreeMap<Place, BTreeSet<Vec<u8>>>,
    count: usize,
}

impl Candidates {
    /// Adds a name; false where it is there.
    pub(super) fn insert(&mut self, directory: &TreePath, name: &[u8]) -> bool {
        let new = self.directories.entry(Place(directory.clone())).or_default().insert(name.to_vec());
        self.count += usize::from(new);
        new
    }

    pub(super) fn contains(&self, directory: &TreePath, name: &[u8]) -> bool {
        self.directories.get(&Place(directory.clone())).is_some_and(|names| names.contains(name))
    }

    /// Adds all of another's.
    pub(super) fn merge(&mut self, other: Self) {
        for (place, names) in other.directories {
            let known = self.directories.entry(place).or_default();
            let before = known.len();
            known.extend(names);
            self.count += known.len() - before;
        }
    }

    /// Names in all directories.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// Directories with their names, both in order.
    pub(super) fn into_directories(self) -> impl Iterator<Item = (TreePath, Vec<Vec<u8>>)> {
        self.directories.into_iter().map(|(Place(path), names)| (path, names.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_comes_before_what_is_below_and_that_before_its_sibling() {
        let mut candidates = Candidates::default();
        let path = |text: &str| TreePath::new(text.as_bytes()).unwrap();
        for directory in ["a.b", "a/b", "a", "", "a/b/c", "a-", "a/\u{1}", "b"] {
            assert!(candidates.insert(&path(directory), b"z"));
            assert!(candidates.insert(&path(directory), b"y"));
            assert!(!candidates.insert(&path(directory), b"z"));
        }
        assert_eq!(candidates.count(), 16);
        let mut other = Candidates::default();
        for (directory, name) in [("a", b"z"), ("a", b"x"), ("c", b"z")] {
            assert!(other.insert(&path(directory), name));
        }
        assert!(candidates.contains(&path("a"), b"z") && !candidates.contains(&path("a"), b"x"));
        assert!(!candidates.contains(&path("c"), b"z"));
        candidates.merge(other);
        assert_eq!(candidates.count(), 18);
        assert!(candidates.contains(&path("a"), b"x") && candidates.contains(&path("c"), b"z"));
        let directories: Vec<_> = candidates.into_directories().collect();
        let order: Vec<String> = directories.iter().map(|(path, _)| path.to_string()).collect();
        assert_eq!(order, ["", "a", "a/\\u{1}", "a/b", "a/b/c", "a-", "a.b", "b", "c"]);
        for (path, names) in &directories {
            let expected: &[&[u8]] = match path.as_bytes() {
                b"a" => &[b"x", b"y", b"z"],
                b"c" => &[b"z"],
                _ => &[b"y", b"z"],
            };
            assert_eq!(*names, expected);
        }
    }
}
