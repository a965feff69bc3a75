//! `remand restore`.

use super::{small, target};
use crate::support::pool::{Place, Pool, Size, names};
use crate::support::run::{export, remand, restore};
use crate::support::trip::{assert_restored, assert_tree_restored};

#[test]
fn from_a_file_a_directory_and_a_pipe() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    export(&pool, "web01", &scratch.join("a"), &["--format", "directory"]);
    for name in ["a.tar.gz", "a"] {
        let target = target();
        restore(&target, &scratch.join(name), &[]);
        assert_restored(&pool, "web01", &target, "web01");
    }
    for name in ["a.tar.gz", "b.tar.zst", "c.tar"] {
        if name != "a.tar.gz" {
            export(&pool, "web01", &scratch.join(name), &[]);
        }
        let target = target();
        remand(["restore", "-"]).on(&target).input(std::fs::read(scratch.join(name)).unwrap()).ends(0);
        assert_restored(&pool, "web01", &target, "web01");
    }
}

#[test]
fn what_the_file_is_called_does_not_matter() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.zst"), &[]);
    std::fs::rename(scratch.join("a.tar.zst"), scratch.join("b.tar.gz")).unwrap();
    let target = target();
    restore(&target, &scratch.join("b.tar.gz"), &[]);
    assert_restored(&pool, "web01", &target, "web01");
}

#[test]
fn standalone_needs_no_release() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &["--standalone"]);
    let target = Pool::empty(&Place::dir());
    restore(&target, &scratch.join("a.tar.gz"), &[]);
    assert_restored(&pool, "web01", &target, "web01");
}

#[test]
fn under_another_name_with_the_same_identity() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    restore(&pool, &scratch.join("a.tar.gz"), &["--name", "web02", "--identity", "keep"]);
    assert_tree_restored(&pool, "web01", &pool, "web02");
    let before = std::fs::read_to_string(pool.path("jails/web01/config.json")).unwrap();
    let after = std::fs::read_to_string(pool.path("jails/web02/config.json")).unwrap();
    assert!(after.contains("63ecac12d0f8,63ecac12d0f9"), "{after}");
    assert_eq!(before.lines().count(), after.lines().count());
}

#[test]
fn a_dry_run_changes_nothing() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    let target = target();
    let ended = remand(["restore", "--dry-run"]).on(&target).arg(scratch.join("a.tar.gz")).ends(0);
    assert!(!ended.stdout.is_empty() || !ended.stderr.is_empty(), "it says what it would do");
    assert_eq!(names(target.directory()), ["jails", "releases"]);
    assert_eq!(target.jails(), [""; 0]);
}

#[test]
fn another_base_is_told_and_can_be_allowed() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    let target = target();
    std::fs::write(target.path("releases/base-1.0/root/etc/passwd"), "other content of this release\n")
        .unwrap();
    let ended = remand(["restore"]).on(&target).arg(scratch.join("a.tar.gz")).ends(21);
    ended.tells("base-1.0");
    ended.tells("--allow-base-mismatch");
    assert_eq!((target.jails(), target.remains()), (vec![], vec![]));
    let ended = remand(["restore", "--allow-base-mismatch"]).on(&target).arg(scratch.join("a.tar.gz")).end();
    assert!([0, 3].contains(&ended.status), "{}", ended.describe());
    let read = |name: &str| std::fs::read(target.root("web01").join(name)).unwrap();
    assert_eq!(read("etc/passwd"), b"other content of this release\n");
    assert_eq!(read("srv/new"), std::fs::read(pool.root("web01").join("srv/new")).unwrap());
}

#[test]
fn a_base_whose_times_alone_differ_is_no_hindrance() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    let target = target();
    let passwd = target.path("releases/base-1.0/root/etc/passwd");
    std::fs::File::open(passwd).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let ended = remand(["restore"]).on(&target).arg(scratch.join("a.tar.gz")).end();
    assert!([0, 3].contains(&ended.status), "{}", ended.describe());
    ended.tells("base-1.0");
    assert_eq!(target.jails(), ["web01"]);
}

#[test]
fn onto_another_release() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    let target = Pool::empty(&Place::dir());
    target.release("base-1.1", Size::Small);
    remand(["restore"]).on(&target).arg(scratch.join("a.tar.gz")).ends(20);
    restore(&target, &scratch.join("a.tar.gz"), &["--base", "base-1.1"]);
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(target.path("jails/web01/config.json")).unwrap()).unwrap();
    assert_eq!(config["release"], "base-1.1", "the config says what it is a clone of now");
}

#[test]
fn it_becomes_visible_in_one_piece_and_is_not_told_before() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    let target = target();
    restore(&target, &scratch.join("a.tar.gz"), &[]);
    assert_eq!(target.remains(), [""; 0]);
    remand(["cleanup"]).on(&target).ends(0);
    assert_eq!(target.jails(), ["web01"]);
}
