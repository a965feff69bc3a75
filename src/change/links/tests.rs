use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::{Fate, Inode, Name, Planned, Same, plan};

/// A file of a model tree: content and attributes, each a number.
type Data = (u8, u8);

/// Names and inodes of a model tree.
#[derive(Clone, Debug, Default)]
struct Model {
    names: BTreeMap<String, u64>,
    inodes: BTreeMap<u64, Data>,
}

impl Model {
    fn of(names: &[(&str, u64)], inodes: &[(u64, Data)]) -> Self {
        Self {
            names: names.iter().map(|&(name, inode)| (name.to_owned(), inode)).collect(),
            inodes: inodes.iter().copied().collect(),
        }
    }

    /// What can be seen of it: for each name its data and the first name that shares its inode.
    fn seen(&self) -> BTreeMap<String, (Data, String)> {
        let first =
            |inode| self.names.iter().find(|(_, other)| **other == inode).map(|(name, _)| name.clone());
        self.names
            .iter()
            .map(|(name, &inode)| (name.clone(), (self.inodes[&inode], first(inode).unwrap())))
            .collect()
    }
}

fn names<'a>(base: &Model, now: &'a Model, clone: bool) -> (Vec<Name<'a>>, HashMap<Inode, u64>) {
    let inode = |number: u64| (0, number);
    let list = now
        .names
        .iter()
        .map(|(path, &number)| {
            let old = base.names.get(path);
            let same = match old {
                Some(&old) if clone && old == number && base.inodes[&old] == now.inodes[&number] => {
                    Same::Identical
                }
                Some(old) if base.inodes[old] == now.inodes[&number] => Same::All,
                Some(old) if base.inodes[old].0 == now.inodes[&number].0 => Same::Content,
                _ => Same::Nothing,
            };
            Name { path: path.as_bytes(), base: old.copied().map(inode), now: inode(number), same }
        })
        .collect();
    let mut gone = HashMap::new();
    for (path, &number) in &base.names {
        if !now.names.contains_key(path) {
            *gone.entry(inode(number)).or_default() += 1;
        }
    }
    (list, gone)
}

/// Applies a plan to the base as a restore would.
fn restored(base: &Model, now: &Model, names: &[Name<'_>], planned: &[Planned]) -> Model {
    let mut result = base.clone();
    result.names.retain(|name, _| now.names.contains_key(name));
    for (name, planned) in names.iter().zip(planned) {
        let path = String::from_utf8(name.path.to_vec()).unwrap();
        let data = now.inodes[&now.names[&path]];
        match planned.fate {
            Fate::Stays => {}
            Fate::Metadata => result.inodes.get_mut(&result.names[&path]).unwrap().1 = data.1,
            Fate::Whole => {
                let inode = 1000 + result.inodes.len() as u64;
                result.inodes.insert(inode, data);
                result.names.insert(path, inode);
            }
            Fate::Link(to) => {
                let inode = result.names[std::str::from_utf8(names[to].path).unwrap()];
                result.names.insert(path, inode);
            }
        }
    }
    result
}

fn fates(base: &Model, now: &Model) -> Vec<Fate> {
    let (list, gone) = names(base, now, false);
    let planned = plan(&list, &gone);
    assert_eq!(restored(base, now, &list, &planned).seen(), now.seen());
    planned.iter().map(|planned| planned.fate).collect()
}

#[test]
fn unchanged_groups_stay() {
    let base = Model::of(&[("a", 1), ("b", 1), ("c", 2)], &[(1, (1, 1)), (2, (1, 1))]);
    let now = Model::of(&[("a", 7), ("b", 7), ("c", 8)], &[(7, (1, 1)), (8, (1, 1))]);
    assert_eq!(fates(&base, &now), [Fate::Stays; 3]);
    let (list, gone) = names(&base, &now, false);
    let planned = plan(&list, &gone);
    assert_eq!(planned.iter().map(|p| p.group).collect::<Vec<_>>(), [Some(0), Some(0), None]);
    assert!(planned.iter().all(|p| !p.links_differ));
}

#[test]
fn a_new_name_links_to_the_one_that_the_base_has() {
    let base = Model::of(&[("m", 1)], &[(1, (1, 1))]);
    let now = Model::of(&[("a", 5), ("m", 5), ("z", 5)], &[(5, (1, 1))]);
    assert_eq!(fates(&base, &now), [Fate::Link(1), Fate::Stays, Fate::Link(1)]);
}

#[test]
fn of_two_that_were_split_one_keeps_the_inode() {
    let base = Model::of(&[("a", 1), ("b", 1)], &[(1, (1, 1))]);
    let now = Model::of(&[("a", 5), ("b", 6)], &[(5, (1, 1)), (6, (1, 1))]);
    assert_eq!(fates(&base, &now), [Fate::Stays, Fate::Whole]);
    let (list, gone) = names(&base, &now, false);
    assert!(plan(&list, &gone).iter().all(|p| p.links_differ && p.group.is_none()));
}

#[test]
fn attributes_of_a_split_name_do_not_reach_the_other() {
    let base = Model::of(&[("a", 1), ("b", 1)], &[(1, (1, 1))]);
    let now = Model::of(&[("a", 5), ("b", 6)], &[(5, (1, 2)), (6, (1, 1))]);
    assert_eq!(fates(&base, &now), [Fate::Metadata, Fate::Whole]);
}

#[test]
fn attributes_of_a_group_change_once() {
    let base = Model::of(&[("a", 1), ("b", 1), ("c", 3)], &[(1, (1, 1)), (3, (1, 1))]);
    let now = Model::of(&[("a", 5), ("b", 5), ("c", 5)], &[(5, (1, 2))]);
    assert_eq!(fates(&base, &now), [Fate::Metadata, Fate::Stays, Fate::Link(0)]);
}

#[test]
fn changed_content_travels_once() {
    let base = Model::of(&[("a", 1), ("b", 1)], &[(1, (1, 1))]);
    let now = Model::of(&[("a", 5), ("b", 5)], &[(5, (2, 1))]);
    assert_eq!(fates(&base, &now), [Fate::Whole, Fate::Link(0)]);
}

#[test]
fn everything_new_travels_with_the_first_name() {
    let now = Model::of(&[("a", 5), ("b", 6), ("c", 5)], &[(5, (2, 1)), (6, (2, 1))]);
    assert_eq!(fates(&Model::default(), &now), [Fate::Whole, Fate::Whole, Fate::Link(0)]);
}

#[test]
fn a_name_whose_twin_was_deleted_stays() {
    let base = Model::of(&[("a", 1), ("b", 1)], &[(1, (1, 1))]);
    let now = Model::of(&[("b", 1)], &[(1, (1, 1))]);
    assert_eq!(fates(&base, &now), [Fate::Stays]);
    let (list, gone) = names(&base, &now, false);
    assert!(plan(&list, &gone)[0].links_differ);
}

#[test]
fn in_a_clone_the_same_inode_goes_before_an_equal_copy() {
    let base = Model::of(&[("a", 1), ("n", 1)], &[(1, (1, 1))]);
    let now = Model::of(&[("a", 9), ("n", 1)], &[(1, (1, 1)), (9, (1, 1))]);
    let (list, gone) = names(&base, &now, true);
    let planned = plan(&list, &gone);
    assert_eq!(planned.iter().map(|p| p.fate).collect::<Vec<_>>(), [Fate::Whole, Fate::Stays]);
    assert_eq!(restored(&base, &now, &list, &planned).seen(), now.seen());
}

fn model() -> impl Strategy<Value = Model> {
    let names = proptest::collection::btree_map("[a-h]", 0..5_u64, 0..8);
    let data = proptest::collection::vec((0..2_u8, 0..2_u8), 5);
    (names, data).prop_map(|(names, data)| Model {
        names,
        inodes: data.into_iter().enumerate().map(|(inode, data)| (inode as u64, data)).collect(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn a_restore_makes_what_is_there_now(base in model(), now in model(), clone: bool) {
        let (list, gone) = names(&base, &now, clone);
        let planned = plan(&list, &gone);
        prop_assert_eq!(restored(&base, &now, &list, &planned).seen(), now.seen());
        for (name, fate) in list.iter().zip(planned.iter().map(|planned| planned.fate)) {
            if name.same == Same::Identical {
                prop_assert_eq!(fate, Fate::Stays);
            }
            if let Fate::Link(to) = fate {
                prop_assert_eq!(list[to].now, name.now);
                let earlier = list[to].path < name.path;
                prop_assert!(earlier || matches!(planned[to].fate, Fate::Stays | Fate::Metadata));
            }
        }
    }

    #[test]
    fn links_differ_where_the_sets_of_names_do(base in model(), now in model()) {
        let (list, gone) = names(&base, &now, false);
        let sharing = |model: &Model, path: &str| {
            let inode = model.names[path];
            model.names.iter().filter(|(_, other)| **other == inode).map(|(n, _)| n.clone()).collect::<Vec<_>>()
        };
        for (name, planned) in list.iter().zip(plan(&list, &gone)) {
            let path = std::str::from_utf8(name.path).unwrap();
            let differ = name.base.is_some() && sharing(&base, path) != sharing(&now, path);
            prop_assert_eq!(planned.links_differ, differ, "{}", path);
        }
    }
}
