//! What becomes of entries that have several names.
//!
//! A restore begins with the base and its inodes. Names of one inode share content and attributes, so a change of
//! one name must not reach a name that goes its own way now. The rules:
//!
//! - An inode of the base is *kept* by at most one group of names (a group: the names that share an entry now), and a
//!   group keeps at most one inode: that of a name whose content is the same in base and now.
//! - Names of the group that have the kept inode in the base stay as they are. If attributes differ, one of them
//!   carries the change for all.
//! - The group's other names become links to the first kept name.
//! - A group that keeps nothing travels with its first name, the others become links to it.
//!
//! So every name of a base inode that is not in the keeping group gives way to another inode, and a change of
//! attributes reaches exactly the group that it is meant for.
//!
//! Pure: nothing here looks at a file.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Device and number of an inode in its tree.
pub(super) type Inode = (u64, u64);

/// How much of a name's entry is the same in base and now, hard links aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Same {
    /// Not even the content, or the kind travels whole with any change.
    Nothing,
    /// The content of a regular file; its attributes differ.
    Content,
    /// Everything.
    All,
    /// Everything, because it is the very inode in a clone. Such a name always stays as it is.
    Identical,
}

/// A name of an entry that has several names in base or now.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name<'a> {
    /// Path in the tree.
    pub(super) path: &'a [u8],
    /// The base's inode at this path; `None` where the base has nothing there, or a directory.
    pub(super) base: Option<Inode>,
    /// The inode now.
    pub(super) now: Inode,
    /// Compares base and now; [`Same::Nothing`] where the base has nothing.
    pub(super) same: Same,
}

/// What becomes of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing to do.
    Stays,
    /// Its attributes are set; content stays.
    Metadata,
    /// Travels whole, as a new inode.
    Whole,
    /// Becomes another name of what is at the path with this position in the list of names.
    Link(usize),
}

/// One name's fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Planned {
    /// What becomes of it.
    pub(super) fate: Fate,
    /// Number of its group, where the group has more than one name.
    pub(super) group: Option<u64>,
    /// Whether other names share its entry than in the base.
    pub(super) links_differ: bool,
}

/// Decides for all `names`, which are sorted by path. `gone` counts, for each inode of the base, names that have it and
/// are not among `names`: deleted, or a directory now. One result for each name, in the same order.
pub(super) fn plan<S: std::hash::BuildHasher>(
    names: &[Name<'_>],
    gone: &HashMap<Inode, u64, S>,
) -> Vec<Planned> {
    debug_assert!(names.is_sorted_by(|a, b| a.path < b.path));
    let groups = Groups::of(names);
    let kept = keep(names, &groups);
    let shared = Shared::count(names, gone);
    let mut number = 0;
    let mut planned = vec![Planned { fate: Fate::Stays, group: None, links_differ: false }; names.len()];
    for (members, kept) in groups.members.iter().zip(kept) {
        let group = (members.len() > 1).then_some(number);
        number += u64::from(group.is_some());
        let stays =
            |&&at: &&usize| kept.is_some() && names[at].base == kept && names[at].same != Same::Nothing;
        let carrier = members.iter().find(stays).copied();
        for (position, &at) in members.iter().enumerate() {
            let name = &names[at];
            let fate = match carrier {
                Some(carrier) if at == carrier && name.same == Same::Content => Fate::Metadata,
                Some(_) if stays(&&at) => Fate::Stays,
                Some(carrier) => Fate::Link(carrier),
                None if position == 0 => Fate::Whole,
                None => Fate::Link(members[0]),
            };
            planned[at] = Planned { fate, group, links_differ: shared.differ(name, members.len()) };
        }
    }
    planned
}

/// The names of each group by their position, groups in the order of their first names.
struct Groups {
    members: Vec<Vec<usize>>,
}

impl Groups {
    fn of(names: &[Name<'_>]) -> Self {
        let mut numbers: HashMap<Inode, usize> = HashMap::new();
        let mut members: Vec<Vec<usize>> = Vec::new();
        for (at, name) in names.iter().enumerate() {
            match numbers.entry(name.now) {
                Entry::Occupied(number) => members[*number.get()].push(at),
                Entry::Vacant(vacant) => {
                    vacant.insert(members.len());
                    members.push(vec![at]);
                }
            }
        }
        Self { members }
    }
}

/// The inode of the base that each group keeps. Inodes that are the same in both trees go first: they need no look at
/// anything else.
fn keep(names: &[Name<'_>], groups: &Groups) -> Vec<Option<Inode>> {
    let mut taken: HashMap<Inode, usize> = HashMap::new();
    let mut kept = vec![None; groups.members.len()];
    let passes: [fn(Same) -> bool; 2] = [|same| same == Same::Identical, |same| same != Same::Nothing];
    for wanted in passes {
        for (number, members) in groups.members.iter().enumerate() {
            if kept[number].is_some() {
                continue;
            }
            for &at in members {
                let Some(inode) = names[at].base.filter(|_| wanted(names[at].same)) else { continue };
                if let Entry::Vacant(vacant) = taken.entry(inode) {
                    vacant.insert(number);
                    kept[number] = Some(inode);
                    break;
                }
            }
        }
    }
    kept
}

/// How many names share an inode, in the base and in both trees.
struct Shared {
    base: HashMap<Inode, u64>,
    both: HashMap<(Inode, Inode), u64>,
}

impl Shared {
    fn count<S: std::hash::BuildHasher>(names: &[Name<'_>], gone: &HashMap<Inode, u64, S>) -> Self {
        let mut base: HashMap<Inode, u64> = gone.iter().map(|(&inode, &count)| (inode, count)).collect();
        let mut both = HashMap::new();
        for name in names {
            if let Some(inode) = name.base {
                *base.entry(inode).or_default() += 1;
                *both.entry((inode, name.now)).or_default() += 1;
            }
        }
        Self { base, both }
    }

    fn differ(&self, name: &Name<'_>, members: usize) -> bool {
        name.base.is_some_and(|inode| {
            let both = self.both.get(&(inode, name.now));
            both != self.base.get(&inode) || both != Some(&(members as u64))
        })
    }
}

#[cfg(test)]
mod tests;
