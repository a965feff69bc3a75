//! Every backend passes the contract.

#[path = "../contract.rs"]
mod contract;

/// Which dataset the suite may work in.
const ZPOOL: &str = "REMAND_TEST_ZPOOL";
/// Which directory on btrfs.
const BTRFS: &str = "REMAND_TEST_BTRFS";

#[test]
fn dir_passes_the_contract() {
    let above = tempfile::tempdir().expect("a directory");
    // By its real path: the pool's is without links.
    let above = above.path().canonicalize().expect("its path");
    let failed = contract::run("dir", "", &|case| contract::dir_fixture(&above, case));
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn zfs_passes_the_contract() {
    let Ok(above) = std::env::var(ZPOOL) else {
        eprintln!("SKIPPED zfs: {ZPOOL} is not set");
        return;
    };
    let failed = contract::run("zfs", "", &|case| contract::zfs_fixture(&above, case));
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn btrfs_passes_the_contract() {
    let Some(above) = std::env::var_os(BTRFS).filter(|above| !above.is_empty()) else {
        eprintln!("SKIPPED btrfs: {BTRFS} is not set");
        return;
    };
    let above = tempfile::tempdir_in(above).expect("a directory");
    let above = above.path().canonicalize().expect("its path");
    let failed = contract::run("btrfs", "", &|case| contract::btrfs_fixture(&above, case));
    assert!(failed.is_empty(), "{failed:?}");
}
