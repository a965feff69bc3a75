//! Snapshots of several datasets in one go.

use super::{Case, Fixture, Outcome, name, of, run_name};
use remand_backends::{BackendKind, Error};

pub(super) const CASES: &[Case] =
    &[("snapshots-together", together), ("snapshots-together-with-one-missing", one_missing)];

fn together(pool: &Fixture) -> Outcome {
    let above = pool.create("jails");
    let created = ["jails/a", "jails/a/root", "jails/b"].map(|dataset| pool.create(dataset));
    pool.write("jails/a/root", "file", "old");
    pool.write("jails/b", "file", "old");
    let run = run_name(1);
    let snapshots = pool.backend.snapshot_together(&[name("jails/a"), name("jails/b")], &run).unwrap();
    let capabilities = pool.backend.capabilities();
    assert_eq!(snapshots.one_moment, capabilities.atomic_recursive);
    if capabilities.consistent_while_running {
        pool.write("jails/a/root", "file", "new");
        pool.write("jails/b", "file", "new");
        for (view, dataset) in ["jails/a/root", "jails/b"].into_iter().enumerate() {
            let tree = pool.backend.open_tree(&of(dataset, &run), &format!("view{view}")).unwrap();
            assert_eq!(std::fs::read_to_string(tree.path().join("file")).unwrap(), "old", "{dataset}");
            tree.close().unwrap();
        }
    }
    for one in snapshots.created {
        pool.backend.destroy_snapshot(one).map_err(|kept| kept.error).unwrap();
    }
    assert_eq!(pool.backend.leftovers().unwrap(), []);
    assert!(
        pool.backend.kind() == BackendKind::Dir
            || pool.backend.snapshots(&name("jails/b")).unwrap().is_empty()
    );
    created.into_iter().rev().for_each(|created| pool.destroy(created));
    pool.destroy(above);
    Outcome::Passed
}

fn one_missing(pool: &Fixture) -> Outcome {
    let created = pool.create("a");
    let error = pool.backend.snapshot_together(&[name("a"), name("b")], &run_name(1)).unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error:?}");
    assert_eq!(pool.backend.leftovers().unwrap(), []);
    pool.destroy(created);
    Outcome::Passed
}
