//! Clones of snapshots, and of datasets as they are.

use super::{Case, Fixture, Outcome, kept, name, of, run_name, snapshot_name};
use remand_backends::{BackendKind, DatasetName, Error, Kept, Snapshot};
use std::os::unix::fs::MetadataExt;

pub(super) const CASES: &[Case] = &[
    ("clone", clone),
    ("clone-keeps-lineage", clone_keeps_lineage),
    ("clone-of-a-dataset-as-it-is", clone_of_a_dataset_as_it_is),
    ("clone-takes-datasets-where-its-origin-had-some", clone_takes_datasets_where_its_origin_had_some),
    ("snapshot-with-clone", snapshot_with_clone),
];

fn clone(pool: &Fixture) -> Outcome {
    if !pool.backend.capabilities().clones {
        return Outcome::Skipped("it has no clones");
    }
    let base = pool.create("base");
    pool.write("base", "file", "base's");
    let snapshot = pool.snapshot("base", &snapshot_name("p3"), false);
    let _parent = pool.create("jails");
    let created = pool.backend.clone_snapshot(&of("base", &snapshot_name("p3")), &name("jails/a b")).unwrap();
    let found = pool.backend.dataset(created.dataset()).unwrap().unwrap();
    assert_eq!(found.origin, Some(of("base", &snapshot_name("p3"))));
    assert_eq!(pool.read("jails/a b", "file"), "base's");
    pool.write("jails/a b", "file", "its own");
    assert_eq!(pool.read("base", "file"), "base's");
    let before = pool.everything();
    for (origin, target) in [("p3", "base"), ("no", "jails/c"), ("p3", "no/c")] {
        let error =
            pool.backend.clone_snapshot(&of("base", &snapshot_name(origin)), &name(target)).unwrap_err();
        assert!(matches!(error, Error::Exists(_) | Error::NotFound(_)), "{target}: {error:?}");
    }
    assert_eq!(pool.everything(), before);
    pool.destroy(created);
    pool.backend.destroy_snapshot(snapshot).map_err(|kept| kept.error).unwrap();
    pool.destroy(base);
    Outcome::Passed
}

fn clone_keeps_lineage(pool: &Fixture) -> Outcome {
    if !pool.backend.capabilities().clones {
        return Outcome::Skipped("it has no clones");
    }
    let base = pool.create("base");
    pool.write("base", "same", "text");
    pool.write("base", "changed", "text");
    let snapshot = pool.snapshot("base", &snapshot_name("p3"), false);
    let created = pool.backend.clone_snapshot(snapshot.snapshot(), &name("a")).unwrap();
    // Some ZFS keep whole seconds only.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    pool.write("a", "changed", "TEXT");
    let in_clone = pool.snapshot("a", &run_name(1), false);
    let trees = [
        pool.backend.open_tree(snapshot.snapshot(), "one").unwrap(),
        pool.backend.open_tree(in_clone.snapshot(), "two").unwrap(),
    ];
    let identity = |tree: usize, file| {
        let data = trees[tree].path().join(file).metadata().unwrap();
        (data.ino(), data.ctime(), data.ctime_nsec())
    };
    assert_eq!(identity(0, "same"), identity(1, "same"));
    assert_ne!(identity(0, "changed"), identity(1, "changed"));
    for tree in trees {
        tree.close().unwrap();
    }
    pool.destroy(created);
    pool.destroy(base);
    Outcome::Passed
}

fn clone_of_a_dataset_as_it_is(pool: &Fixture) -> Outcome {
    let capabilities = pool.backend.capabilities();
    let itself = Snapshot { dataset: name("base"), name: None };
    let base = pool.create("base");
    if !capabilities.datasets_are_bases || !capabilities.clones {
        assert!(pool.backend.clone_snapshot(&itself, &name("a")).is_err());
        assert!(!pool.exists("a"));
        return Outcome::Skipped("it has no clones of datasets as they are");
    }
    pool.write("base", "file", "base's");
    pool.backend.set_property(&base, "btrfs:ro", "true").unwrap();
    let created = pool.backend.clone_snapshot(&itself, &name("a")).unwrap();
    assert_eq!(pool.backend.dataset(&name("a")).unwrap().unwrap().origin, Some(itself.clone()));
    pool.write("a", "file", "its own");
    let tree = pool.backend.open_tree(&itself, "view").unwrap();
    assert_eq!(std::fs::read_to_string(tree.path().join("file")).unwrap(), "base's");
    tree.close().unwrap();
    pool.destroy(base);
    assert_eq!(pool.backend.dataset(&name("a")).unwrap().unwrap().origin, None);
    pool.destroy(created);
    Outcome::Passed
}

/// What a snapshot shows in place of a dataset below must not be in the way of one below its clone.
fn clone_takes_datasets_where_its_origin_had_some(pool: &Fixture) -> Outcome {
    if !pool.backend.capabilities().clones {
        return Outcome::Skipped("it has no clones");
    }
    let _base = [pool.create("base"), pool.create("base/b c"), pool.create("base/b c/d")];
    let snapshot = pool.snapshot("base", &snapshot_name("p3"), true);
    let created = pool.backend.clone_snapshot(snapshot.snapshot(), &name("a")).unwrap();
    assert!(!pool.exists("a/b c"));
    let _below = pool.create("a/b c");
    pool.write("a/b c", "file", "text");
    assert_eq!(pool.read("a/b c", "file"), "text");
    let inner = of("base/b c", &snapshot_name("p3"));
    let other = pool.backend.clone_snapshot(&inner, &name("other")).unwrap();
    let _below =
        pool.backend.clone_snapshot(&of("base/b c/d", &snapshot_name("p3")), &name("other/d")).unwrap();
    let found = pool.backend.descendants(&DatasetName::pool()).unwrap();
    let found: Vec<_> = found.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(found, ["a", "a/b c", "base", "base/b c", "base/b c/d", "other", "other/d"]);
    for token in [created, other] {
        pool.destroy(token);
    }
    Outcome::Passed
}

fn snapshot_with_clone(pool: &Fixture) -> Outcome {
    if !pool.backend.capabilities().clones {
        return Outcome::Skipped("it has no clones");
    }
    let base = pool.create("base");
    pool.write("base", "file", "text");
    let snapshot = pool.snapshot("base", &run_name(1), false);
    let created = pool.backend.clone_snapshot(snapshot.snapshot(), &name("a")).unwrap();
    match pool.backend.destroy_snapshot(snapshot) {
        // A clone stands on its own.
        Ok(()) => {
            assert_eq!(pool.backend.kind(), BackendKind::Btrfs);
            pool.destroy(base);
            assert_eq!(pool.read("a", "file"), "text");
            pool.destroy(created);
        }
        Err(Kept { token: snapshot, error }) => {
            assert!(matches!(error, Error::Busy { .. }), "{error:?}");
            // Nor does the dataset take the clone along.
            let (base, error) = kept(pool.backend.destroy(base));
            assert!(matches!(error, Error::Busy { .. }), "{error:?}");
            assert!(pool.exists("a"));
            pool.destroy(created);
            pool.backend.destroy_snapshot(snapshot).map_err(|kept| kept.error).unwrap();
            pool.destroy(base);
        }
    }
    Outcome::Passed
}
