//! Names for snapshots that others have made: their directories can be called anything.

use crate::SnapshotName;
use std::collections::BTreeMap;

const NAME_BYTES: usize = 255;
/// Most bytes of a part of a name that is put together: two of them and a number stay below that.
const PART_BYTES: usize = 72;

/// What a name is made of.
#[derive(Clone, Debug)]
pub(super) struct Raw<'a> {
    /// As the snapshot is called.
    pub(super) name: &'a [u8],
    /// The directory that it lies in.
    pub(super) parent: &'a [u8],
    /// A number that no other has.
    pub(super) id: u64,
    /// Whether the name stays as it is.
    pub(super) fixed: bool,
}

/// A name for each: the same for the same snapshots in any order, and never one for two. Where two would have one name, the
/// directories that they lie in tell them apart, and then their numbers.
pub(super) fn distinct(all: &[Raw<'_>]) -> Vec<SnapshotName> {
    let part = |bytes: &[u8]| valid(bytes, PART_BYTES);
    let ways: [&dyn Fn(&Raw<'_>) -> String; 3] = [
        &|raw| format!("{}-{}", part(raw.parent), part(raw.name)),
        &|raw| format!("{}-{}", part(raw.name), raw.id),
        // Somebody has called one so by hand.
        &|raw| format!("{}-{}-{}", part(raw.parent), part(raw.name), raw.id),
    ];
    let mut names: Vec<String> = all.iter().map(|raw| valid(raw.name, NAME_BYTES)).collect();
    for way in ways {
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for name in &names {
            *seen.entry(name.clone()).or_default() += 1;
        }
        for (raw, name) in all.iter().zip(&mut names) {
            if seen[name] > 1 && !raw.fixed {
                *name = way(raw);
            }
        }
    }
    names.iter().map(|name| SnapshotName::new(name).expect("it was made valid")).collect()
}

/// The name that a snapshot gets which somebody has called so, where no other has it.
pub fn made_valid(name: &[u8]) -> SnapshotName {
    SnapshotName::new(&valid(name, NAME_BYTES)).expect("it was made valid")
}

/// The bytes as a name of at most so many: those that no name has are underscores.
fn valid(bytes: &[u8], most: usize) -> String {
    let mut name = String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        let bad = matches!(c, '@' | '#' | '%' | '/' | char::REPLACEMENT_CHARACTER) || c.is_control();
        let c = if bad || (c == '-' && name.is_empty()) { '_' } else { c };
        if name.len() + c.len_utf8() > most {
            break;
        }
        name.push(c);
    }
    if matches!(name.as_str(), "" | "." | "..") { "_".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named(all: &[(&str, &str, u64, bool)]) -> Vec<String> {
        let raw: Vec<_> = all
            .iter()
            .map(|&(parent, name, id, fixed)| Raw {
                name: name.as_bytes(),
                parent: parent.as_bytes(),
                id,
                fixed,
            })
            .collect();
        distinct(&raw).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_stay_where_they_can_and_tell_apart_where_they_must() {
        assert_eq!(named(&[(".snapshots", "p3", 1, false), ("x", "a b:c", 2, false)]), ["p3", "a b:c"]);
        assert_eq!(
            named(&[("1", "snapshot", 5, false), ("2", "snapshot", 6, false)]),
            ["1-snapshot", "2-snapshot"]
        );
        assert_eq!(named(&[("x", "p3", 1, true), ("y", "p3", 2, false)]), ["p3", "y-p3"]);
        assert_eq!(named(&[("x", "p3", 1, false), ("x", "p3", 2, false)]), ["p3-1", "p3-2"]);
        assert_eq!(named(&[("x", "-a@b#c\n", 1, false), ("x", "..", 2, false)]), ["_a_b_c_", "_"]);
    }

    proptest! {
        #[test]
        fn no_two_have_one_name(all in proptest::collection::vec(("[ab@-]{0,2}", "[ab@1-]{0,4}"), 0..12)) {
            let raw: Vec<_> = all.iter().zip(1..).map(|((parent, name), id)| Raw {
                name: name.as_bytes(), parent: parent.as_bytes(), id, fixed: false,
            }).collect();
            let mut names = distinct(&raw);
            let again = distinct(&raw.iter().rev().cloned().collect::<Vec<_>>());
            prop_assert!(names.iter().eq(again.iter().rev()));
            names.sort();
            names.dedup();
            prop_assert_eq!(names.len(), all.len());
        }

        #[test]
        fn any_bytes_give_a_name(name in proptest::collection::vec(any::<u8>(), 0..300), parent in ".{0,200}") {
            let raw = Raw { name: &name, parent: parent.as_bytes(), id: u64::MAX, fixed: false };
            for name in distinct(&[raw.clone(), Raw { id: 1, ..raw }]) {
                prop_assert!(name.as_str().len() <= NAME_BYTES);
            }
        }
    }
}
