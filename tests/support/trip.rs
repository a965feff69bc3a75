//! What must hold after a restore.

use super::compare::assert_same_without;
use super::pool::{Pool, fstab, names};

/// Fails the test unless `restored` in `target` is `name` in `source`, complete; with the config as it was.
#[track_caller]
pub(crate) fn assert_restored(source: &Pool, name: &str, target: &Pool, restored: &str) {
    assert_tree_restored(source, name, target, restored);
    let config = |pool: &Pool, name: &str| {
        std::fs::read_to_string(pool.path(&format!("jails/{name}/config.json"))).expect("a config")
    };
    assert_eq!(config(source, name), config(target, restored), "config.json");
}

/// The same without a look at the config.
#[track_caller]
pub(crate) fn assert_tree_restored(source: &Pool, name: &str, target: &Pool, restored: &str) {
    let ignored = [source.unseen(), target.unseen()].concat();
    let (from, to) = (source.path(&format!("jails/{name}")), target.path(&format!("jails/{restored}")));
    let mut parts = vec!["root", "hooks"];
    if source.place().has_datasets() {
        parts.push("data");
    }
    for part in parts {
        assert_same_without(&from.join(part), &to.join(part), &ignored);
    }
    assert_eq!(names(&from), names(&to), "what lies beside the root");
    assert_eq!(std::fs::read(from.join("notes.txt")).unwrap(), std::fs::read(to.join("notes.txt")).unwrap());
    let wanted = expected_fstab(source, name, target, restored);
    let got = std::fs::read_to_string(to.join("fstab")).expect("an fstab");
    assert_eq!(wanted, got, "fstab");
    assert_eq!(target.remains(), [""; 0], "left behind");
    assert_eq!(source.remains(), [""; 0], "left behind");
}

/// Entries below the jail point into its new place, and those below the pool into the new one; comments stay.
fn expected_fstab(source: &Pool, name: &str, target: &Pool, restored: &str) -> String {
    let old_jail = source.path(&format!("jails/{name}"));
    let new_jail = target.path(&format!("jails/{restored}"));
    let old = fstab(&old_jail, source.directory());
    let new = fstab(&new_jail, target.directory());
    let (comment, _) = old.split_once('\n').expect("a comment");
    let (_, entries) = new.split_once('\n').expect("entries");
    format!("{comment}\n{entries}")
}
