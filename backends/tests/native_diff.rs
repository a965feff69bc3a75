//! What backends tell of a difference is all of it.

#[path = "../native_diff_suite.rs"]
mod suite;

use remand_backends::Hint;
use std::path::Path;
use std::process::Command;

use suite::{BtrfsPlace, Place, Plan, PoolPlace, run_all};

#[test]
fn btrfs_tells_every_change() {
    let Ok(above) = std::env::var("REMAND_TEST_BTRFS") else {
        eprintln!("SKIPPED btrfs: REMAND_TEST_BTRFS is not set");
        return;
    };
    let plan = Plan { before: 60, after: 30, unlinking: true };
    let failed = run_all("btrfs", 0..30, plan, &|seed| Box::new(BtrfsPlace::new(&above, seed)));
    assert!(failed.is_empty(), "seeds {failed:?}");
    let failed = run_all("btrfs, by a stream", 0..30, plan, &|seed| Box::new(BtrfsPlace::sent(&above, seed)));
    assert!(failed.is_empty(), "seeds {failed:?}");
}

#[test]
fn btrfs_tells_every_change_between_snapshots_of_a_pool() {
    let Ok(above) = std::env::var("REMAND_TEST_BTRFS") else {
        eprintln!("SKIPPED btrfs: REMAND_TEST_BTRFS is not set");
        return;
    };
    let pool = tempfile::tempdir_in(above).expect("a directory");
    let pool = pool.path().canonicalize().expect("its path");
    let pool = pool.to_str().expect("UTF-8");
    let plan = Plan { before: 60, after: 30, unlinking: true };
    let failed = run_all("btrfs pool", 0..5, plan, &|seed| Box::new(PoolPlace::new(pool, seed)));
    assert!(failed.is_empty(), "seeds {failed:?}");
}

#[test]
fn btrfs_compares_nothing_that_can_still_change() {
    let Ok(above) = std::env::var("REMAND_TEST_BTRFS") else {
        eprintln!("SKIPPED btrfs: REMAND_TEST_BTRFS is not set");
        return;
    };
    let mut place = Box::new(BtrfsPlace::new(&above, 1000));
    let writable_base = place.base();
    std::fs::create_dir(writable_base.join("d")).expect("a directory");
    let writable_now = place.now();
    std::fs::write(writable_now.join("d/f"), "new").expect("a file");
    let (base, now) = place.freeze();
    let changes = |base: &Path, now: &Path| {
        let mut hints = Vec::new();
        let told = remand_backends::btrfs::diff::changes(base, now, &mut |hint| {
            hints.push(hint);
            true
        });
        told.map(|()| hints)
    };
    let told = changes(&base, &now).expect("hints");
    assert_eq!(told.iter().filter(|hint| **hint == Hint::Entry(b"d/f".to_vec())).count(), 1, "{told:?}");
    assert_eq!(changes(&base, &base).expect("hints"), []);
    for (base, now, refused) in [
        (&writable_base, &now, &writable_base),
        (&base, &writable_now, &writable_now),
        (&base.join("d"), &now, &base.join("d")),
        (&base, &now.join("d"), &now.join("d")),
    ] {
        let error = changes(base, now).expect_err("it is refused").to_string();
        let reason = "telling what changed in what is no read-only subvolume is not possible here";
        assert_eq!(error, format!("{}: {reason}", refused.display()));
    }
    assert!(
        changes(&base, &base.join("absent")).expect_err("absent").to_string().starts_with("Cannot open ")
    );
    place.remove();
}

#[test]
fn btrfs_tells_where_a_nested_subvolume_came() {
    let Ok(above) = std::env::var("REMAND_TEST_BTRFS") else {
        eprintln!("SKIPPED btrfs: REMAND_TEST_BTRFS is not set");
        return;
    };
    let mut place = Box::new(BtrfsPlace::new(&above, 1001));
    std::fs::create_dir(place.base().join("d")).expect("a directory");
    let nested = place.now().join("d/nested");
    let btrfs = |action: &str| {
        let ran = Command::new("btrfs").args(["-q", "subvolume", action]).arg(&nested).status();
        assert!(ran.expect("btrfs runs").success(), "{action}");
    };
    btrfs("create");
    let (_, now) = place.freeze();
    assert!(now.join("d/nested").is_dir(), "a snapshot shows an empty directory");
    let mut hints = Vec::new();
    let told = place.changes(&mut |hint| {
        hints.push(hint);
        true
    });
    told.expect("hints");
    assert_eq!(hints, [Hint::Entry(b"d".to_vec()), Hint::Names(b"d".to_vec())]);
    btrfs("delete");
    place.remove();
}

/// The pool for tests, if there is one and its ZFS has a diff.
fn pool_with_diff() -> Option<String> {
    let Ok(above) = std::env::var("REMAND_TEST_ZPOOL") else {
        eprintln!("SKIPPED zfs: REMAND_TEST_ZPOOL is not set");
        return None;
    };
    if remand_backends::open(&above).expect("the pool for tests").native_diff().is_none() {
        eprintln!("SKIPPED zfs: this zfs(8) has no diff");
        return None;
    }
    Some(above)
}

#[test]
fn zfs_tells_every_change_but_those_that_zfs_diff_is_known_to_leave_out() {
    let Some(above) = pool_with_diff() else { return };
    let plan = Plan { before: 60, after: 30, unlinking: false };
    let failed = run_all("zfs", 0..10, plan, &|seed| Box::new(PoolPlace::new(&above, seed)));
    assert!(failed.is_empty(), "seeds {failed:?}");
}

#[test]
fn zfs_says_so_where_it_leaves_out_a_change() {
    let Some(above) = pool_with_diff() else { return };
    let mut place = Box::new(PoolPlace::new(&above, 1000));
    let base = place.base();
    for directory in ["a", "b"] {
        std::fs::create_dir(base.join(directory)).expect("a directory");
    }
    std::fs::write(base.join("a/first"), "1").expect("a file");
    std::fs::write(base.join("a/plain"), "1").expect("a file");
    std::fs::hard_link(base.join("a/first"), base.join("b/later")).expect("a later name");
    std::fs::remove_file(base.join("b/later")).expect("it goes");
    let now = place.now();
    std::fs::write(now.join("a/first"), "22").expect("a change");
    std::fs::write(now.join("a/plain"), "22").expect("a change");
    place.freeze();
    let mut hints = Vec::new();
    let told = place.changes(&mut |hint| {
        hints.push(hint);
        true
    });
    told.expect("hints");
    assert!(hints.contains(&Hint::Entry(b"a/plain".to_vec())), "{hints:?}");
    let pool = remand_backends::open(&above).expect("the pool for tests");
    let leaves_out = pool.native_diff().expect("zfs diff").leaves_out();
    let tells_all = hints.contains(&Hint::Entry(b"a/first".to_vec()));
    println!("tells all: {tells_all}; leaves out: {leaves_out:?}");
    assert!(tells_all || leaves_out.is_some(), "{hints:?}");
    place.remove();
}
