//! The state directory, and what interrupted runs left.

use super::{Case, Fixture, Outcome, name, of, run_name, snapshot_name};
use remand_backends::{BackendKind, DatasetName, Error, Leftover};
use std::os::unix::fs::PermissionsExt;

pub(super) const CASES: &[Case] = &[
    ("state-directory", state_directory),
    ("state-directory-of-several-runs-at-once", state_directory_of_several_runs_at_once),
    ("staged-datasets-are-leftovers", staged_datasets_are_leftovers),
    ("what-is-staged-can-be-adopted", what_is_staged_can_be_adopted),
    ("snapshots-are-leftovers-once", snapshots_are_leftovers_once),
    ("half-made-things-are-leftovers", half_made_things_are_leftovers),
    ("only-leftovers-are-destroyed", only_leftovers_are_destroyed),
];

fn state_directory(pool: &Fixture) -> Outcome {
    assert_eq!(pool.backend.existing_state_directory().unwrap(), None);
    let path = pool.backend.state_directory().unwrap();
    assert_eq!(path, pool.backend.directory().join(".remand"));
    for part in ["", "staging", "views"] {
        let mode = path.join(part).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o700, "{part}");
    }
    std::fs::write(path.join("lock"), "text").unwrap();
    assert_eq!(pool.backend.state_directory().unwrap(), path);
    assert_eq!((pool.again)().existing_state_directory().unwrap(), Some(path.clone()));
    assert_eq!(std::fs::read_to_string(path.join("lock")).unwrap(), "text");
    // Staging is used like any dataset.
    let staged = pool.create(".remand/staging/x y");
    pool.write(".remand/staging/x y", "file", "text");
    let renamed = pool.rename(staged, "x");
    assert_eq!(pool.read("x", "file"), "text");
    pool.destroy(renamed);
    Outcome::Passed
}

fn state_directory_of_several_runs_at_once(pool: &Fixture) -> Outcome {
    let others: Vec<_> = (0..4).map(|_| (pool.again)()).collect();
    std::thread::scope(|scope| {
        for other in &others {
            scope.spawn(move || other.state_directory().unwrap());
        }
    });
    assert!(pool.backend.existing_state_directory().unwrap().is_some());
    Outcome::Passed
}

fn staged_datasets_are_leftovers(pool: &Fixture) -> Outcome {
    pool.backend.state_directory().unwrap();
    let _crashed = [
        pool.create(".remand/staging/b"),
        pool.create(".remand/staging/b/below"),
        pool.create(".remand/views/a b"),
    ];
    pool.write(".remand/staging/b/below", "file", "text");
    let other = (pool.again)();
    let found = other.leftovers().unwrap();
    let wanted = [".remand/views/a b", ".remand/staging/b"].map(|text| Leftover::Dataset(name(text)));
    assert_eq!(found, wanted);
    for leftover in &found {
        other.destroy_leftover(leftover).unwrap();
        other.destroy_leftover(leftover).unwrap(); // somebody else was faster
    }
    assert_eq!(other.leftovers().unwrap(), []);
    assert!(other.existing_state_directory().unwrap().is_some());
    Outcome::Passed
}

fn what_is_staged_can_be_adopted(pool: &Fixture) -> Outcome {
    pool.backend.state_directory().unwrap();
    let _parent = pool.create("jails");
    let _crashed = [pool.create(".remand/staging/a"), pool.create(".remand/views/v"), pool.create("b")];
    pool.write(".remand/staging/a", "file", "text");
    let other = (pool.again)();
    let adopt = |text| other.adopt(&Leftover::Dataset(name(text)));
    for wrong in [".remand/views/v", "b", ".remand/staging", ".remand/staging/a/below"] {
        assert!(matches!(adopt(wrong), Err(Error::NotLeftover(_))), "{wrong}");
    }
    let adopted = adopt(".remand/staging/a").unwrap().unwrap();
    let renamed = other.rename(adopted, &name("jails/a")).unwrap();
    assert_eq!(pool.read("jails/a", "file"), "text");
    assert!(adopt(".remand/staging/a").unwrap().is_none());
    other.destroy(renamed).unwrap();
    Outcome::Passed
}

fn snapshots_are_leftovers_once(pool: &Fixture) -> Outcome {
    if !pool.backend.capabilities().consistent_while_running {
        return Outcome::Skipped("it has no snapshots");
    }
    let _datasets = [pool.create("a"), pool.create("a/b"), pool.create("a/b/c"), pool.create("a2")];
    let _crashed = [
        pool.snapshot("a", &run_name(1), true),
        pool.snapshot("a/b", &run_name(2), true),
        pool.snapshot("a2", &run_name(1), true),
    ];
    // The user's own: by name, and by a name that looks alike.
    let _theirs = [
        pool.snapshot("a", &snapshot_name("p3"), true),
        pool.snapshot("a", &snapshot_name("remand-x"), true),
    ];
    let found = (pool.again)().leftovers().unwrap();
    let wanted =
        [of("a", &run_name(1)), of("a2", &run_name(1)), of("a/b", &run_name(2))].map(Leftover::Snapshot);
    assert_eq!(found, wanted);
    for leftover in &found {
        pool.backend.destroy_leftover(leftover).unwrap();
        pool.backend.destroy_leftover(leftover).unwrap();
    }
    assert_eq!(pool.backend.leftovers().unwrap(), []);
    assert_eq!(pool.backend.snapshots(&name("a")).unwrap().len(), 2);
    assert_eq!(pool.backend.snapshots(&name("a/b/c")).unwrap().len(), 2);
    Outcome::Passed
}

/// What a crash leaves between two steps.
fn half_made_things_are_leftovers(pool: &Fixture) -> Outcome {
    if pool.backend.kind() == BackendKind::Zfs {
        return Outcome::Skipped("zfs(8) makes things in one step");
    }
    let state = pool.backend.state_directory().unwrap();
    std::fs::create_dir_all(state.join("staging/receive-1/x")).unwrap();
    std::fs::write(state.join("staging/receive-1/x/file"), "text").unwrap();
    std::fs::write(state.join("views/file"), "text").unwrap();
    let mut wanted = vec![
        Leftover::Dataset(name(".remand/views/file")),
        Leftover::Dataset(name(".remand/staging/receive-1")),
    ];
    if pool.backend.kind() == BackendKind::Btrfs {
        let _within = pool.create(".remand/staging/receive-1/x/inner");
        std::fs::create_dir_all(state.join(format!("snapshots/{}/jails/a", run_name(1)))).unwrap();
        wanted.push(Leftover::Snapshot(of("", &run_name(1))));
        // A set that lacks its topmost and, of another, all but the directory.
        let _kept = [pool.create("a"), pool.create("a/b"), pool.create("a/c")];
        let _crashed = [pool.snapshot("a/b", &run_name(2), false), pool.snapshot("a/c", &run_name(2), false)];
        std::fs::create_dir(state.join(format!("snapshots/{}/a/d", run_name(2)))).unwrap();
        wanted.extend([of("a/b", &run_name(2)), of("a/c", &run_name(2))].map(Leftover::Snapshot));
    }
    let found = (pool.again)().leftovers().unwrap();
    assert_eq!(found, wanted);
    for leftover in &found {
        pool.backend.destroy_leftover(leftover).unwrap();
    }
    assert_eq!(pool.backend.leftovers().unwrap(), []);
    assert!(!state.join("staging/receive-1").exists());
    let sets = std::fs::read_dir(state.join("snapshots"));
    assert!(sets.is_err() || sets.unwrap().next().is_none());
    Outcome::Passed
}

fn only_leftovers_are_destroyed(pool: &Fixture) -> Outcome {
    pool.backend.state_directory().unwrap();
    let created = pool.create("a");
    let theirs = pool.snapshot("a", &snapshot_name("p3"), false);
    let staged = pool.create(".remand/staging/b");
    let _below = pool.create(".remand/staging/b/c");
    let before = pool.everything();
    for text in
        ["a", "", ".remand", ".remand/staging", ".remand/views", ".remand/staging/b/c", ".remand/locks/x"]
    {
        let error = pool.backend.destroy_leftover(&Leftover::Dataset(name(text))).unwrap_err();
        assert!(matches!(error, Error::NotLeftover(_)), "{text}: {error:?}");
    }
    if pool.backend.capabilities().consistent_while_running {
        let error =
            pool.backend.destroy_leftover(&Leftover::Snapshot(of("a", &snapshot_name("p3")))).unwrap_err();
        assert!(matches!(error, Error::NotLeftover(_)), "{error:?}");
        assert_eq!(pool.backend.snapshots(&name("a")).unwrap().len(), 1);
    }
    assert_eq!(pool.everything(), before);
    assert!(pool.backend.dataset(&DatasetName::pool()).unwrap().is_some());
    drop(theirs);
    for token in [staged, created] {
        pool.destroy(token);
    }
    Outcome::Passed
}
