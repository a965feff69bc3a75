//! Snapshots, their files, clones.

use super::{Case, Fixture, Outcome, kept, name, of, run_name, snapshot_name};
use remand_backends::{DatasetName, Error, Kept, Snapshot};
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) const CASES: &[Case] = &[
    ("open-tree", open_tree),
    ("open-tree-of-absent", open_tree_of_absent),
    ("snapshot-stays-while-files-change", snapshot_stays_while_files_change),
    ("snapshot-is-recursive", snapshot_is_recursive),
    ("snapshots-are-listed-in-order", snapshots_are_listed_in_order),
    ("destroy-snapshot-of-absent-is-success", destroy_snapshot_of_absent_is_success),
    ("descendants", descendants),
    ("clone", clone),
    ("clone-keeps-lineage", clone_keeps_lineage),
    ("snapshot-with-clone-is-busy", snapshot_with_clone_is_busy),
];

const NO_SNAPSHOTS: Outcome = Outcome::Skipped("it has no snapshots");

fn open_tree(pool: &Fixture) -> Outcome {
    let created = pool.create("a");
    pool.write("a", "file", "text");
    let snapshot = pool.snapshot("a", &run_name(1), true);
    assert_eq!(snapshot.snapshot().dataset, name("a"));
    // Twice at once, as two readers would.
    let trees = ["one", "two"].map(|view| pool.backend.open_tree(snapshot.snapshot(), view).unwrap());
    for tree in &trees {
        assert_eq!(std::fs::read_to_string(tree.path().join("file")).unwrap(), "text");
    }
    for tree in trees {
        tree.close().unwrap();
    }
    let dropped = pool.backend.open_tree(snapshot.snapshot(), "three").unwrap();
    drop(dropped);
    pool.backend.destroy_snapshot(snapshot).map_err(|kept| kept.error).unwrap();
    assert_eq!(pool.backend.leftovers().unwrap(), []);
    pool.destroy(created);
    Outcome::Passed
}

fn open_tree_of_absent(pool: &Fixture) -> Outcome {
    let created = pool.create("a");
    let error = pool.backend.open_tree(&of("a", &run_name(1)), "view").unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error:?}");
    let live = Snapshot { dataset: name("no"), name: None };
    assert!(matches!(pool.backend.open_tree(&live, "view"), Err(Error::NotFound(_))));
    assert_eq!(pool.backend.leftovers().unwrap(), []);
    pool.destroy(created);
    Outcome::Passed
}

fn snapshot_stays_while_files_change(pool: &Fixture) -> Outcome {
    if !pool.backend.capabilities().consistent_while_running {
        return NO_SNAPSHOTS;
    }
    let created = pool.create("a");
    let directory = pool.directory("a");
    for number in 0..50 {
        std::fs::write(directory.join(format!("file{number}")), "0").unwrap();
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut generation = 1;
            while !stop.load(Ordering::Relaxed) {
                for number in 0..50 {
                    std::fs::write(directory.join(format!("file{number}")), generation.to_string()).unwrap();
                }
                generation += 1;
            }
        });
        let snapshot = pool.snapshot("a", &run_name(1), true);
        let tree = pool.backend.open_tree(snapshot.snapshot(), "view").unwrap();
        let read = || {
            let mut all: Vec<_> = std::fs::read_dir(tree.path())
                .unwrap()
                .map(|entry| {
                    let path = entry.unwrap().path();
                    (path.clone(), std::fs::read_to_string(path).unwrap())
                })
                .collect();
            all.sort();
            all
        };
        let first = read();
        assert_eq!(first.len(), 50);
        for _ in 0..5 {
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert_eq!(read(), first);
        }
        stop.store(true, Ordering::Relaxed);
        if std::fs::write(tree.path().join("new"), "").is_ok() {
            assert!(!directory.join("new").exists(), "a view is no way into the dataset");
            assert_eq!(read().len(), 51, "what was written went into the view alone");
        }
        tree.close().unwrap();
        pool.backend.destroy_snapshot(snapshot).map_err(|kept| kept.error).unwrap();
    });
    pool.destroy(created);
    Outcome::Passed
}

fn snapshot_is_recursive(pool: &Fixture) -> Outcome {
    if !pool.backend.capabilities().atomic_recursive {
        return NO_SNAPSHOTS;
    }
    let created = pool.create("a");
    let _below = [pool.create("a/b"), pool.create("a/b/c d")];
    pool.write("a/b/c d", "file", "text");
    let count = |dataset| pool.backend.snapshots(&name(dataset)).unwrap().len();
    let all = || ["a", "a/b", "a/b/c d"].map(count);
    let recursive = pool.snapshot("a", &run_name(1), true);
    assert_eq!(all(), [1, 1, 1]);
    let single = pool.snapshot("a/b", &run_name(2), false);
    assert_eq!(all(), [1, 2, 1]);
    let tree = pool.backend.open_tree(&of("a/b/c d", &run_name(1)), "view").unwrap();
    assert_eq!(std::fs::read_to_string(tree.path().join("file")).unwrap(), "text");
    tree.close().unwrap();
    let taken = pool.backend.snapshot(&name("a"), &run_name(1), true).unwrap_err();
    assert!(matches!(taken, Error::Exists(_)), "{taken:?}");
    pool.backend.destroy_snapshot(single).map_err(|kept| kept.error).unwrap();
    assert_eq!(all(), [1, 1, 1]);
    pool.backend.destroy_snapshot(recursive).map_err(|kept| kept.error).unwrap();
    assert_eq!(all(), [0, 0, 0]);
    pool.destroy(created);
    Outcome::Passed
}

fn snapshots_are_listed_in_order(pool: &Fixture) -> Outcome {
    if !pool.backend.capabilities().consistent_while_running {
        return NO_SNAPSHOTS;
    }
    let created = pool.create("a");
    let below = pool.create("a/b");
    let names = ["zz", "p3", "a b:c", "11"];
    // All within a second or two: the clock is too coarse to order them.
    for snapshot in names {
        let _kept = pool.snapshot("a", &snapshot_name(snapshot), true);
    }
    let found = pool.backend.snapshots(&name("a")).unwrap();
    let listed: Vec<_> = found.iter().map(|info| info.snapshot.name.as_ref().unwrap().as_str()).collect();
    assert_eq!(listed, names);
    let mut guids: Vec<_> = found.into_iter().map(|info| info.guid.unwrap()).collect();
    assert!(guids.iter().all(|guid| guid.parse::<u64>().is_ok()), "{guids:?}");
    guids.sort();
    guids.dedup();
    assert_eq!(guids.len(), names.len());
    drop(below);
    pool.destroy(created);
    Outcome::Passed
}

fn destroy_snapshot_of_absent_is_success(pool: &Fixture) -> Outcome {
    let created = pool.create("a");
    let below = pool.create("a/b");
    let snapshot = pool.snapshot("a", &run_name(1), true);
    let again = if pool.backend.capabilities().consistent_while_running {
        // The topmost one is gone, the others must still go.
        let other = pool.snapshot("a", &run_name(2), true);
        pool.destroy(below);
        Some(other)
    } else {
        None
    };
    if let Some(other) = again {
        pool.backend.destroy_snapshot(other).map_err(|kept| kept.error).unwrap();
    }
    pool.destroy(created);
    pool.backend.destroy_snapshot(snapshot).map_err(|kept| kept.error).unwrap();
    Outcome::Passed
}

fn descendants(pool: &Fixture) -> Outcome {
    let created: Vec<_> =
        ["web", "web/data", "web/data/db", "web/data b", "web2"].map(|made| pool.create(made)).into();
    pool.backend.state_directory().unwrap();
    let list = |above: &DatasetName| -> Vec<String> {
        pool.backend.descendants(above).unwrap().iter().map(|found| found.name.to_string()).collect()
    };
    if pool.backend.capabilities().atomic_recursive {
        assert_eq!(list(&name("web")), ["web/data", "web/data b", "web/data/db"]);
        assert_eq!(list(&DatasetName::pool()).len(), 5);
    } else {
        assert!(list(&name("web")).is_empty());
    }
    for token in created.into_iter().rev() {
        pool.destroy(token);
    }
    Outcome::Passed
}

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

fn snapshot_with_clone_is_busy(pool: &Fixture) -> Outcome {
    if !pool.backend.capabilities().clones {
        return Outcome::Skipped("it has no clones");
    }
    let base = pool.create("base");
    let snapshot = pool.snapshot("base", &run_name(1), false);
    let created = pool.backend.clone_snapshot(snapshot.snapshot(), &name("a")).unwrap();
    let Err(Kept { token: snapshot, error }) = pool.backend.destroy_snapshot(snapshot) else {
        panic!("it must not succeed")
    };
    assert!(matches!(error, Error::Busy { .. }), "{error:?}");
    // Nor does the dataset take the clone along.
    let (base, error) = kept(pool.backend.destroy(base));
    assert!(matches!(error, Error::Busy { .. }), "{error:?}");
    assert!(pool.exists("a"));
    pool.destroy(created);
    pool.backend.destroy_snapshot(snapshot).map_err(|kept| kept.error).unwrap();
    pool.destroy(base);
    Outcome::Passed
}
