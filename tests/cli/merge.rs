//! `remand restore` onto a base that is not the one that the archive was made against.

use std::path::Path;

use crate::support::Scratch;
use crate::support::pool::{Place, Pool, config};
use crate::support::run::{Ended, export, remand};

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn read(target: &Pool, path: &str) -> Option<String> {
    std::fs::read_to_string(target.root("web01").join(path)).ok()
}

fn mode(target: &Pool, path: &str) -> u32 {
    let metadata = std::fs::metadata(target.root("web01").join(path)).unwrap();
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o7777
}

/// A release with a handful of files.
fn release(pool: &Pool, name: &str) -> std::path::PathBuf {
    let root = pool.path(&format!("releases/{name}/root"));
    for file in
        ["both", "mine", "theirs", "same", "mode", "gone", "old/a", "old/b", "bare", "other", "linked"]
    {
        put(&root, &format!("etc/{file}"), "as released\n");
    }
    root
}

/// An archive of a jail that changed some of them, and a pool with a release that others changed.
fn two_sides() -> (Scratch, Pool) {
    let (scratch, source) = (Scratch::new(), Pool::empty(&Place::dir()));
    release(&source, "base-1.0");
    let root = source.root("web01");
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .arg(source.path("releases/base-1.0/root"))
        .arg({
            std::fs::create_dir_all(root.parent().unwrap()).unwrap();
            &root
        })
        .status();
    assert!(copied.unwrap().success());
    std::fs::write(source.path("jails/web01/config.json"), config("web01", "base-1.0")).unwrap();
    put(&root, "etc/both", "by the jail\n");
    put(&root, "etc/mine", "by the jail\n");
    put(&root, "etc/same", "by everybody\n");
    put(&root, "etc/new", "by the jail\n");
    for file in ["mode", "bare", "other"] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(root.join("etc").join(file), mode).unwrap();
    }
    std::fs::hard_link(root.join("etc/linked"), root.join("etc/link")).unwrap();
    std::fs::remove_file(root.join("etc/gone")).unwrap();
    std::fs::remove_dir_all(root.join("etc/old")).unwrap();
    export(&source, "web01", &scratch.join("a.tar.gz"), &[]);

    let target = Pool::empty(&Place::dir());
    let other = release(&target, "base-1.1");
    put(&other, "etc/both", "by the release\n");
    put(&other, "etc/theirs", "by the release\n");
    put(&other, "etc/same", "by everybody\n");
    put(&other, "etc/gone", "by the release\n");
    put(&other, "etc/old/c", "by the release\n");
    put(&other, "etc/other", "by the release\n");
    for gone in ["bare", "linked"] {
        std::fs::remove_file(other.join("etc").join(gone)).unwrap();
    }
    (scratch, target)
}

fn restore(scratch: &Scratch, target: &Pool, rule: Option<&str>) -> Ended {
    let mut run = remand(["restore", "--base", "base-1.1"]).on(target).arg(scratch.join("a.tar.gz"));
    if let Some(rule) = rule {
        run = run.arg("--on-conflict").arg(rule);
    }
    run.end()
}

/// What nobody disagrees about.
fn assert_merged(target: &Pool) {
    assert_eq!(read(target, "etc/mine").unwrap(), "by the jail\n");
    assert_eq!(read(target, "etc/theirs").unwrap(), "by the release\n");
    assert_eq!(read(target, "etc/same").unwrap(), "by everybody\n");
    assert_eq!(read(target, "etc/new").unwrap(), "by the jail\n");
    assert_eq!(mode(target, "etc/mode"), 0o600);
    assert_eq!(read(target, "etc/old/a"), None);
    // The archive has only the attributes of the first, and only the second name of the other.
    assert_eq!((read(target, "etc/bare"), read(target, "etc/link")), (None, None));
    assert_eq!(read(target, "etc/other").unwrap(), "by the release\n");
    assert_eq!(target.remains(), [""; 0]);
}

#[test]
fn conflicts_fail_and_are_listed() {
    let (scratch, target) = two_sides();
    for rule in [None, Some("fail")] {
        let ended = restore(&scratch, &target, rule);
        ended.expect(21);
        for path in
            ["etc/both", "etc/gone", "etc/old/", "etc/bare", "etc/other", "etc/link (a link to etc/linked"]
        {
            ended.tells(path);
        }
        assert!(!ended.stderr.contains("etc/same"), "both sides agree: {}", ended.stderr);
        assert_eq!(target.jails(), [""; 0]);
        assert_eq!(target.remains(), [""; 0]);
    }
}

#[test]
fn keep_takes_the_bases_version() {
    let (scratch, target) = two_sides();
    let ended = restore(&scratch, &target, Some("keep"));
    ended.expect(3);
    ended.tells("etc/both: differs in this base; the base's version was kept");
    ended.tells("etc/link: is another name of etc/linked, which this base does not have; it was left out");
    ended.tells("etc/old: was deleted in the archive, but has other entries");
    ended.tells("6 conflicts");
    assert_merged(&target);
    assert_eq!(mode(&target, "etc/other"), 0o644);
    assert_eq!(read(&target, "etc/both").unwrap(), "by the release\n");
    assert_eq!(read(&target, "etc/gone").unwrap(), "by the release\n");
    assert_eq!(read(&target, "etc/old/c").unwrap(), "by the release\n");
}

#[test]
fn theirs_takes_the_archives_version() {
    let (scratch, target) = two_sides();
    let ended = restore(&scratch, &target, Some("theirs"));
    ended.expect(3);
    ended.tells("etc/both: differs in this base; the archive's version was taken");
    ended.tells(
        "etc/old: was deleted in the archive, but has other entries in this base; they were removed with it",
    );
    ended.tells("etc/bare: is not in this base, and the archive has its attributes only");
    ended.tells("etc/link: is another name of etc/linked, which this base does not have; it was left out");
    ended.tells("etc/other: has other content in this base; the archive has its attributes only");
    assert_merged(&target);
    assert_eq!(mode(&target, "etc/other"), 0o600);
    assert_eq!(read(&target, "etc/both").unwrap(), "by the jail\n");
    assert_eq!(read(&target, "etc/gone"), None);
    assert_eq!(read(&target, "etc/old/c"), None);
}

#[test]
fn a_base_that_nobody_touched_has_no_conflicts() {
    let (scratch, target) = two_sides();
    release(&target, "base-1.2");
    let run = remand(["restore", "--base", "base-1.2"]).on(&target).arg(scratch.join("a.tar.gz"));
    // Times of modification are those of this release.
    let ended = run.end();
    assert!([0, 3].contains(&ended.status), "{}", ended.describe());
    assert_eq!(read(&target, "etc/both").unwrap(), "by the jail\n");
    assert_eq!(read(&target, "etc/gone"), None);
    assert!(!target.root("web01").join("etc/old").exists());
}
