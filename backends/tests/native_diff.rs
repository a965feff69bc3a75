//! What backends tell of a difference is all of it.

#[path = "../native_diff_suite.rs"]
mod suite;

use suite::{BtrfsPlace, Plan, ZfsPlace, run_all};

#[test]
fn btrfs_tells_every_change() {
    let Ok(above) = std::env::var("REMAND_TEST_BTRFS") else {
        eprintln!("SKIPPED btrfs: REMAND_TEST_BTRFS is not set");
        return;
    };
    let plan = Plan { before: 60, after: 30, unlinking: true };
    let failed = run_all("btrfs", 0..30, plan, &|seed| Box::new(BtrfsPlace::new(&above, seed)));
    assert!(failed.is_empty(), "seeds {failed:?}");
}

#[test]
fn zfs_tells_every_change_but_those_that_zfs_diff_is_known_to_leave_out() {
    let Ok(above) = std::env::var("REMAND_TEST_ZPOOL") else {
        eprintln!("SKIPPED zfs: REMAND_TEST_ZPOOL is not set");
        return;
    };
    if remand_backends::open(&above).expect("the pool for tests").native_diff().is_none() {
        eprintln!("SKIPPED zfs: this zfs(8) has no diff");
        return;
    }
    let plan = Plan { before: 60, after: 30, unlinking: false };
    let failed = run_all("zfs", 0..10, plan, &|seed| Box::new(ZfsPlace::new(&above, seed)));
    assert!(failed.is_empty(), "seeds {failed:?}");
}
