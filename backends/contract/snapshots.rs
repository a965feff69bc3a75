//! Snapshots and their files.

use super::{Case, Fixture, Outcome, name, of, run_name, snapshot_name};
use remand_backends::{BackendKind, DatasetKind, DatasetName, Error, Snapshot};
use std::sync::atomic::{AtomicBool, Ordering};

pub(super) const CASES: &[Case] = &[
    ("open-tree", open_tree),
    ("open-tree-of-absent", open_tree_of_absent),
    ("snapshot-stays-while-files-change", snapshot_stays_while_files_change),
    ("snapshot-is-recursive", snapshot_is_recursive),
    ("snapshots-are-listed-in-order", snapshots_are_listed_in_order),
    ("destroy-snapshot-of-absent-is-success", destroy_snapshot_of_absent_is_success),
    ("destroy-early-takes-no-other", destroy_early_takes_no_other),
    ("descendants", descendants),
    ("snapshot-info", snapshot_info),
    ("snapshot-info-of-a-dataset-as-it-is", snapshot_info_of_a_dataset_as_it_is),
    ("snapshots-of-users", snapshots_of_users),
    ("snapshot-of-a-directory", snapshot_of_a_directory),
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
    if !pool.backend.capabilities().consistent_while_running {
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
    if pool.backend.kind() == BackendKind::Zfs {
        assert!(guids.iter().all(|guid| guid.parse::<u64>().is_ok()), "{guids:?}");
    }
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

fn destroy_early_takes_no_other(pool: &Fixture) -> Outcome {
    if !pool.backend.capabilities().consistent_while_running {
        return NO_SNAPSHOTS;
    }
    let created = pool.create("a");
    let _below = [pool.create("a/root"), pool.create("a/root/b"), pool.create("a/data")];
    let _beside = pool.create("a2");
    pool.write("a/root/b", "file", "text");
    let count = |dataset| pool.backend.snapshots(&name(dataset)).unwrap().len();
    let all = || ["a", "a/root/b", "a/data", "a2"].map(count);
    let snapshot = pool.snapshot("a", &run_name(1), true);
    let other = pool.snapshot("a2", &run_name(1), true);
    for dataset in ["a/root", "a/root", "a2", "a"] {
        pool.backend.destroy_early(&snapshot, &name(dataset)).unwrap();
        assert_eq!(all(), [1; 4], "{dataset}");
        assert!(count("a/root") <= 1);
    }
    let tree = pool.backend.open_tree(&of("a/root/b", &run_name(1)), "view").unwrap();
    assert_eq!(std::fs::read_to_string(tree.path().join("file")).unwrap(), "text");
    tree.close().unwrap();
    pool.backend.destroy_snapshot(snapshot).map_err(|kept| kept.error).unwrap();
    assert_eq!((all(), count("a/root")), ([0, 0, 0, 1], 0));
    pool.backend.destroy_snapshot(other).map_err(|kept| kept.error).unwrap();
    pool.destroy(created);
    Outcome::Passed
}

fn descendants(pool: &Fixture) -> Outcome {
    let created: Vec<_> =
        ["web", "web/data", "web/data/db", "web/data b", "web2"].map(|made| pool.create(made)).into();
    pool.backend.state_directory().unwrap();
    let list = |above: &DatasetName| -> Vec<String> {
        pool.backend.descendants(above).unwrap().iter().map(|found| found.name.to_string()).collect()
    };
    if pool.backend.kind() == BackendKind::Dir {
        assert!(list(&name("web")).is_empty());
    } else {
        assert_eq!(list(&name("web")), ["web/data", "web/data b", "web/data/db"]);
        assert_eq!(list(&DatasetName::pool()).len(), 5);
    }
    for token in created.into_iter().rev() {
        pool.destroy(token);
    }
    Outcome::Passed
}

fn snapshot_info(pool: &Fixture) -> Outcome {
    if !pool.backend.capabilities().consistent_while_running {
        let created = pool.create("a");
        assert_eq!(pool.backend.snapshot_info(&of("a", &snapshot_name("p3"))).unwrap(), None);
        pool.destroy(created);
        return NO_SNAPSHOTS;
    }
    let before_seconds = now_seconds();
    let created = pool.create("a");
    pool.write("a", "file", "text");
    let [first, second] = ["p3", "p4"].map(|snapshot| {
        let kept = pool.snapshot("a", &snapshot_name(snapshot), false);
        pool.write("a", "file", snapshot);
        kept
    });
    let info = |snapshot: &Snapshot| pool.backend.snapshot_info(snapshot).unwrap().unwrap();
    let (one, two) = (info(first.snapshot()), info(second.snapshot()));
    assert_eq!(pool.backend.snapshots(&name("a")).unwrap(), [one.clone(), two.clone()]);
    assert_eq!((pool.again)().snapshot_info(first.snapshot()).unwrap(), Some(one.clone()), "it stays");
    assert!(one.content_id.is_some() && one.content_id != two.content_id, "{one:?} {two:?}");
    assert_ne!(one.guid, two.guid);
    let clock = before_seconds - 1..=now_seconds() + 1;
    assert!(clock.contains(&one.created_seconds.unwrap()), "{one:?} {clock:?}");
    assert_eq!(pool.backend.snapshot_info(&of("a", &snapshot_name("no"))).unwrap(), None);
    assert_eq!(pool.backend.snapshot_info(&of("no", &snapshot_name("p3"))).unwrap_or(None), None);
    let found = pool.backend.dataset(&name("a")).unwrap().unwrap();
    assert_eq!(pool.backend.parted_seconds(&found).unwrap(), None);
    let clone = pool.backend.clone_snapshot(first.snapshot(), &name("b")).unwrap();
    let found = pool.backend.dataset(&name("b")).unwrap().unwrap();
    let parted = pool.backend.parted_seconds(&found).unwrap().unwrap();
    assert!((before_seconds - 1..=now_seconds() + 1).contains(&parted), "{parted}");
    for token in [clone, created] {
        pool.destroy(token);
    }
    Outcome::Passed
}

fn now_seconds() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_secs()).unwrap()
}

fn snapshot_info_of_a_dataset_as_it_is(pool: &Fixture) -> Outcome {
    let itself = Snapshot { dataset: name("a"), name: None };
    let created = pool.create("a");
    if pool.backend.kind() != BackendKind::Btrfs {
        assert_eq!(pool.backend.snapshot_info(&itself).unwrap().and_then(|info| info.content_id), None);
        pool.destroy(created);
        return Outcome::Skipped("no dataset of it is a snapshot of itself");
    }
    let content = || pool.backend.snapshot_info(&itself).unwrap().unwrap().content_id;
    pool.write("a", "file", "one");
    assert_eq!(content(), None, "it can change at any time");
    let mut seen = Vec::new();
    for round in 0..3 {
        pool.write("a", "file", &format!("round {round}"));
        pool.backend.set_property(&created, "btrfs:ro", "true").unwrap();
        let found = content().unwrap();
        assert_eq!(content(), Some(found.clone()));
        // Clones are made and go without touching it.
        let clone = pool.backend.clone_snapshot(&itself, &name("clone")).unwrap();
        pool.write("clone", "file", "other");
        pool.destroy(clone);
        assert_eq!(content(), Some(found.clone()));
        assert!(!seen.contains(&found), "{seen:?}");
        seen.push(found);
        pool.backend.set_property(&created, "btrfs:ro", "false").unwrap();
    }
    pool.destroy(created);
    Outcome::Passed
}

fn snapshots_of_users(pool: &Fixture) -> Outcome {
    if pool.backend.kind() != BackendKind::Btrfs {
        assert!(pool.backend.enclosed(&DatasetName::pool()).unwrap().is_empty());
        return Outcome::Skipped("snapshots of it are nowhere but in the dataset");
    }
    let _kept = [pool.create("a"), pool.create("a/root"), pool.create("b"), pool.create("b/root")];
    pool.user_snapshot("a/root", "a/.snapshots/root@old");
    pool.user_snapshot("a/root", "a/root/.snapshots/1/snapshot");
    pool.user_snapshot("a/root", "a/root/.snapshots/2/snapshot");
    pool.user_snapshot("a/root", "kept/root.2026@x");
    // Somebody else's datasets: the next release, and another one's data.
    pool.user_snapshot("a/root", "next/root");
    pool.user_snapshot("a/root", "b/data");
    let list = |dataset| -> Vec<String> {
        let found = pool.backend.snapshots(&name(dataset)).unwrap();
        found.into_iter().map(|info| info.snapshot.name.unwrap().to_string()).collect()
    };
    assert_eq!(list("a/root"), ["old", "1-snapshot", "2-snapshot", "root.2026_x"]);
    assert!(list("a").is_empty() && list("b/root").is_empty());
    let below = |dataset| -> Vec<String> {
        let found = pool.backend.descendants(&name(dataset)).unwrap();
        found.into_iter().map(|found| found.name.to_string()).collect()
    };
    assert_eq!(below("a"), ["a/root"]);
    assert_eq!(below("b"), ["b/data", "b/root"]);
    let itself = Snapshot { dataset: name("next/root"), name: None };
    let clone = pool.backend.clone_snapshot(&itself, &name("clone")).unwrap();
    assert_eq!(pool.backend.dataset(&name("clone")).unwrap().unwrap().origin, Some(itself));
    let clone_of_old = pool.backend.clone_snapshot(&of("a/root", &snapshot_name("old")), &name("c")).unwrap();
    let origin = pool.backend.dataset(&name("c")).unwrap().unwrap().origin;
    assert_eq!(origin, Some(of("a/root", &snapshot_name("old"))));
    let enclosed = |dataset| pool.backend.enclosed(&name(dataset)).unwrap();
    let snapper = ["root/.snapshots/1/snapshot", "root/.snapshots/2/snapshot"];
    assert_eq!(enclosed("a"), [".snapshots", snapper[0], snapper[1]]);
    // A file of the user is nobody's snapshot.
    std::fs::write(pool.directory("a").join(".snapshots/note"), "").unwrap();
    assert_eq!(enclosed("a"), [".snapshots/root@old", snapper[0], snapper[1]]);
    assert!(enclosed("b").is_empty());
    // They are not for us to destroy.
    assert_eq!(pool.backend.leftovers().unwrap(), []);
    for token in [clone, clone_of_old] {
        pool.destroy(token);
    }
    assert_eq!(list("a/root").len(), 4);
    Outcome::Passed
}

fn snapshot_of_a_directory(pool: &Fixture) -> Outcome {
    if pool.backend.kind() != BackendKind::Btrfs {
        return Outcome::Skipped("it has no directories with snapshots");
    }
    let plain = pool.backend.directory().join("plain dir/inner");
    std::fs::create_dir_all(&plain).unwrap();
    std::fs::write(plain.join("file"), "text").unwrap();
    let _below = pool.create("plain dir/inner/sub");
    pool.write("plain dir/inner/sub", "file", "below");
    let dataset = "plain dir/inner";
    assert_eq!(pool.backend.dataset(&name(dataset)).unwrap().unwrap().kind, DatasetKind::Directory);
    let snapshot = pool.snapshot(dataset, &run_name(1), true);
    std::fs::write(plain.join("file"), "later").unwrap();
    pool.write("plain dir/inner/sub", "file", "later");
    let read = |of: &Snapshot| {
        let tree = pool.backend.open_tree(of, "view").unwrap();
        let text = std::fs::read_to_string(tree.path().join("file")).unwrap();
        tree.close().unwrap();
        text
    };
    assert_eq!(read(snapshot.snapshot()), "text");
    assert_eq!(read(&of("plain dir/inner/sub", &run_name(1))), "below");
    pool.backend.destroy_snapshot(snapshot).map_err(|kept| kept.error).unwrap();
    assert_eq!(pool.backend.leftovers().unwrap(), []);
    Outcome::Passed
}
