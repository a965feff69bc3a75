//! The names of an archive: which there were, and what lies in what.
//!
//! The key of a name is made of that of what it lies in, so that of names that follow one another no part is hashed twice, however deep
//! they are.

use std::collections::{HashMap, HashSet};

use super::{Short, refuse, short};
use crate::archive::bounds::{FREE_PARENTS, PARENTS_PER_LINE};
use crate::archive::{MemberName, Result};
use crate::tree::TreePath;

/// What is known of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It is a directory.
    Directory,
    /// Something is below it.
    Parent,
    /// It is something else.
    Other,
    /// It is not there any more.
    Deleted,
}

/// Names that were seen.
pub(super) struct Names {
    pub(super) key: [u8; 32],
    known: HashMap<Short, Known>,
    /// Of the base alone, and led to by links.
    led_to: HashSet<Short>,
    /// The path before this one, and where each of its parts ends, with the key up to there.
    last: Vec<u8>,
    parts: Vec<(usize, Short)>,
    lines: u64,
    parents: u64,
}

impl Names {
    pub(super) fn new() -> Self {
        let mut key = [0; 32];
        // Seeded by the system, differently in every run.
        for (number, part) in key.chunks_mut(8).enumerate() {
            use std::hash::BuildHasher as _;
            let random = std::collections::hash_map::RandomState::new().hash_one(number);
            part.copy_from_slice(&random.to_le_bytes());
        }
        let (known, led_to) = (HashMap::new(), HashSet::new());
        Self { key, known, led_to, last: Vec::new(), parts: Vec::new(), lines: 0, parents: 0 }
    }

    /// What is known of a path.
    pub(super) fn find(&self, path: &TreePath) -> Option<Known> {
        self.known.get(&self.key_of(path)).copied()
    }

    /// Remembers that a link leads to a name that only the base has so far. A line that follows may say more of it, but not that it is a
    /// directory, or gone.
    pub(super) fn lead_to(&mut self, path: &TreePath) {
        self.led_to.insert(self.key_of(path));
    }

    fn key_of(&self, path: &TreePath) -> Short {
        path.components().fold(Short::default(), |above, part| self.below(&above, part))
    }

    /// Remembers a name, which must be new, and lie in what is a directory.
    pub(super) fn remember(&mut self, name: &MemberName, known: Known) -> Result<()> {
        self.lines += 1;
        self.go_to(name.path());
        let Some(((_, own), above)) = self.parts.split_last() else {
            return Err(refuse(name, "it is no name"));
        };
        for (_, key) in above {
            match self.known.get(key) {
                Some(Known::Directory | Known::Parent) => {}
                // Of what was deleted, or replaced, all below is gone too.
                _ if known == Known::Deleted => {}
                Some(_) => return Err(refuse(name, "what it lies in is no directory")),
                None => {
                    self.parents += 1;
                    self.known.insert(*key, Known::Parent);
                }
            }
        }
        if self.parents > FREE_PARENTS.saturating_add(self.lines.saturating_mul(PARENTS_PER_LINE)) {
            return Err(refuse(name, "with it the archive has too many directories without entries"));
        }
        match self.known.get(own) {
            None => {}
            Some(Known::Parent) if known == Known::Directory => {}
            Some(Known::Parent) => {
                return Err(refuse(name, "something lies in it, but it is no directory"));
            }
            Some(_) => return Err(refuse(name, "it is there twice")),
        }
        if known != Known::Other && self.led_to.contains(own) {
            return Err(refuse(name, "a link leads to it, so it must be there and no directory"));
        }
        self.known.insert(*own, known);
        Ok(())
    }

    /// Key of a name in what has the key `above`.
    fn below(&self, above: &Short, part: &[u8]) -> Short {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(above).update(part);
        short(&hasher)
    }

    /// Makes `parts` those of `path`.
    fn go_to(&mut self, path: &TreePath) {
        let bytes = path.as_bytes();
        let same = if bytes.starts_with(&self.last) {
            self.last.len()
        } else {
            bytes.iter().zip(&self.last).take_while(|(a, b)| a == b).count()
        };
        let ends_here = |end: usize| end == bytes.len() || bytes.get(end) == Some(&b'/');
        let mut depth = self.parts.partition_point(|(end, _)| *end <= same);
        // The last of them may end inside a longer name.
        while depth > 0 && !ends_here(self.parts[depth - 1].0) {
            depth -= 1;
        }
        self.parts.truncate(depth);
        let (mut end, mut key) = self.parts.last().copied().unwrap_or_default();
        for part in bytes[end..].split(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
            end += part.len() + usize::from(end > 0);
            key = self.below(&key, part);
            self.parts.push((end, key));
        }
        self.last.clear();
        self.last.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(path: &str) -> MemberName {
        MemberName::new(TreePath::new(path.as_bytes()).unwrap())
    }

    #[test]
    fn directories_without_entries_are_bounded() {
        let most = usize::try_from(FREE_PARENTS + PARENTS_PER_LINE).unwrap();
        let deep = |parents: usize| name(&format!("{}f", "a/".repeat(parents)));
        let mut names = Names::new();
        names.remember(&deep(most), Known::Other).unwrap();
        // The next line may have its share, and no more.
        let further = |parents: usize| name(&format!("{}f", "b/".repeat(parents)));
        let share = usize::try_from(PARENTS_PER_LINE).unwrap();
        assert!(names.remember(&further(share + 1), Known::Other).is_err());
        let mut names = Names::new();
        assert!(names.remember(&deep(most + 1), Known::Other).is_err());
        // A directory in each of many is honest.
        let mut names = Names::new();
        for number in 0..100_000 {
            names.remember(&name(&format!("{}/{number}/a/b/c/f", number % 100)), Known::Other).unwrap();
        }
    }

    #[test]
    fn below_what_was_replaced_only_deletions_may_lie() {
        let mut names = Names::new();
        names.remember(&name("a"), Known::Other).unwrap();
        names.remember(&name("a/b/c"), Known::Deleted).unwrap();
        assert_eq!(names.find(name("a/b").path()), None);
        assert!(names.remember(&name("a/d"), Known::Other).is_err());
        // Nor does a deletion make a directory of what it lies in.
        names.remember(&name("e/f"), Known::Deleted).unwrap();
        names.remember(&name("e"), Known::Other).unwrap();
    }

    #[test]
    fn what_a_link_leads_to_stays_and_is_no_directory() {
        for (known, is_possible) in [(Known::Other, true), (Known::Directory, false), (Known::Deleted, false)]
        {
            let mut names = Names::new();
            names.lead_to(name("a/b").path());
            assert_eq!(names.find(name("a/b").path()), None);
            assert_eq!(names.remember(&name("a/b"), known).is_ok(), is_possible, "{known:?}");
            names.remember(&name("a/c"), known).unwrap();
        }
    }

    proptest! {
        #[test]
        fn the_keys_of_a_path_do_not_depend_on_the_one_before(
            paths in prop::collection::vec("[ab]{1,2}(/[ab]{1,2}){0,4}", 1..20)
        ) {
            let mut names = Names::new();
            let mut seen: std::collections::HashSet<String> = std::collections::HashSet::new();
            for path in paths {
                let new = seen.insert(path.clone());
                let remembered = names.remember(&name(&path), Known::Directory);
                prop_assert_eq!(remembered.is_ok(), new, "{}", path);
                prop_assert_eq!(names.find(name(&path).path()), Some(Known::Directory));
            }
        }
    }
}
