//! Restoring several resources of one archive: all of them or none, whatever happens in between.

mod killed;
mod links;
#[path = "../support/many.rs"]
mod many;
#[path = "../support/mod.rs"]
mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use many::archive_of;
use support::compare::assert_same_without;
use support::pool::{Place, Pool, Size, names};
use support::run::remand;
use support::trip::assert_restored;
use support::{Scratch, announce};

/// A pool with a release and three jails.
fn three(place: &Place) -> Pool {
    let pool = Pool::with_release(place, Size::Small);
    for name in ["a", "b", "c"] {
        pool.jail(name, "base-1.0", Size::Small);
        std::fs::write(pool.root(name).join("srv/own"), format!("of {name}\n")).unwrap();
    }
    pool
}

fn target(place: &Place) -> Pool {
    Pool::with_release(place, Size::Small)
}

#[track_caller]
fn nothing_is_left(pool: &Pool) {
    assert_eq!(pool.remains(), [""; 0]);
    assert_eq!(names(&pool.path(".remand/runs")), [""; 0], "records");
}

fn some_and_all(place: &Place) {
    let (scratch, source) = (Scratch::new(), three(place));
    for archive in ["all.tar.gz", "all"] {
        let archive = scratch.join(archive);
        archive_of(&source, &["a", "b", "c"], &[], &archive);
        let all = target(place);
        let ended = remand(["restore"]).on(&all).arg(&archive).ends(0);
        for name in ["a", "b", "c"] {
            ended.tells(&format!("Restored jail {name}"));
            assert_restored(&source, name, &all, name);
        }
        nothing_is_left(&all);
        let one = target(place);
        remand(["restore"]).on(&one).arg(&archive).arg("b").ends(0);
        assert_restored(&source, "b", &one, "b");
        assert_eq!(one.jails(), ["b"]);
        remand(["restore"]).on(&one).args(&["--identity", "keep"]).arg(&archive).args(&["a=x", "c"]).ends(0);
        assert_eq!(one.jails(), ["b", "c", "x"]);
        assert_same_without(&source.root("a"), &one.root("x"), &one.unseen());
        nothing_is_left(&one);
    }
}

#[test]
fn by_name_or_all() {
    for place in Place::all("many") {
        some_and_all(&place);
    }
}

#[test]
fn from_a_pipe() {
    let (scratch, source) = (Scratch::new(), three(&Place::dir()));
    let archive = scratch.join("all.tar.gz");
    archive_of(&source, &["a", "b", "c"], &[], &archive);
    let pool = target(&Place::dir());
    let bytes = std::fs::read(&archive).unwrap();
    remand(["restore", "-"]).on(&pool).args(&["--exclude", "b"]).input(bytes).ends(0);
    assert_eq!(pool.jails(), ["a", "c"]);
    assert_restored(&source, "a", &pool, "a");
    assert_restored(&source, "c", &pool, "c");
}

#[test]
fn what_cannot_be_selected() {
    let (scratch, source) = (Scratch::new(), three(&Place::dir()));
    let archive = scratch.join("all.tar");
    archive_of(&source, &["a", "b", "c"], &[], &archive);
    let pool = target(&Place::dir());
    for (status, arguments) in [
        (10, &["a", "nobody"][..]),
        (10, &["release:a"]),
        (10, &["--exclude", "nobody"]),
        (2, &["--name", "x"]),
        (2, &["a=b", "b"]),
        (2, &["a=../x"]),
    ] {
        remand(["restore"]).on(&pool).arg(&archive).args(arguments).ends(status);
        assert_eq!(names(pool.directory()), ["jails", "releases"], "{arguments:?}");
    }
    let ended = remand(["restore", "--dry-run"]).on(&pool).arg(&archive).args(&["c", "a=x"]).ends(0);
    let text = format!("{}{}", ended.text(), ended.stderr);
    assert!(text.contains("jail x onto base-1.0") && text.contains("jail c"), "{text}");
    assert!(!text.contains("jail b"), "{text}");
    assert_eq!(names(pool.directory()), ["jails", "releases"]);
}

fn one_fails(place: &Place) {
    let (scratch, source) = (Scratch::new(), three(place));
    source.release("other-2.0", Size::Small);
    std::fs::write(source.root("a").join("etc/added"), "x").unwrap();
    source.bare_jail("d", "other-2.0", Size::Small);
    let archive = scratch.join("all.tar.gz");
    archive_of(&source, &["a", "b", "c", "d"], &[], &archive);
    let pool = target(place);
    pool.make("jails/b");
    std::fs::write(pool.path("jails/b/mine"), "mine").unwrap();
    remand(["restore"]).on(&pool).arg(&archive).args(&["a", "b"]).ends(12);
    remand(["restore"]).on(&pool).arg(&archive).args(&["a", "d"]).ends(20);
    assert_eq!(pool.jails(), ["b"]);
    nothing_is_left(&pool);
    let ended = remand(["restore", "--keep-going", "--json"]).on(&pool).arg(&archive).ends(3);
    assert_eq!(pool.jails(), ["a", "b", "c"]);
    assert_eq!(std::fs::read(pool.path("jails/b/mine")).unwrap(), b"mine");
    assert_restored(&source, "a", &pool, "a");
    assert_restored(&source, "c", &pool, "c");
    let result = ended.json().pop().expect("a result")["result"].take();
    let failed: Vec<_> =
        result["resources"].as_array().unwrap().iter().filter(|one| one["failed"].is_string()).collect();
    assert_eq!(failed.len(), 2, "{failed:?}");
    nothing_is_left(&pool);
    // All of them fail: then so does the restore.
    remand(["restore", "--keep-going"]).on(&pool).arg(&archive).args(&["b", "d"]).ends(12);
}

#[test]
fn one_that_fails_takes_the_others_along_unless_told_otherwise() {
    one_fails(&Place::dir());
    for place in [Place::btrfs("many: failure"), Place::zfs("many: failure")].into_iter().flatten() {
        one_fails(&place);
    }
}

#[test]
fn one_that_is_not_whole() {
    let (scratch, source) = (Scratch::new(), three(&Place::dir()));
    let archive = scratch.join("all.tar.gz");
    many::with_failure(&source, &["a", "b", "c"], 1, &archive);
    let pool = target(&Place::dir());
    for arguments in [&[][..], &["a", "b"], &["b"], &["--keep-going", "b"]] {
        let ended = remand(["restore"]).on(&pool).arg(&archive).args(arguments).ends(1);
        ended.tells("jail b failed while it was exported");
        ended.tells("the disk is broken");
        ended.tells("--keep-going");
        assert_eq!(pool.jails(), [""; 0]);
        nothing_is_left(&pool);
    }
    remand(["restore"]).on(&pool).arg(&archive).arg("c").ends(0);
    remand(["restore", "--keep-going"]).on(&pool).arg(&archive).args(&["a", "b"]).ends(3);
    assert_eq!(pool.jails(), ["a", "c"]);
    nothing_is_left(&pool);
}

#[test]
fn damage_is_fatal_for_all() {
    let (scratch, source) = (Scratch::new(), three(&Place::dir()));
    let archive = scratch.join("all.tar");
    archive_of(&source, &["a", "b", "c"], &[], &archive);
    let mut bytes = std::fs::read(&archive).unwrap();
    let at = bytes.windows(5).rposition(|window| window == b"of c\n").expect("the content");
    bytes[at] = b'X';
    let pool = target(&Place::dir());
    remand(["restore", "-", "--keep-going"]).on(&pool).input(bytes).ends(22);
    assert_eq!(pool.jails(), [""; 0]);
    nothing_is_left(&pool);
}

fn with_release(place: &Place, options: &[&str]) {
    let (scratch, source) = (Scratch::new(), three(place));
    let archive = scratch.join("all.tar.gz");
    archive_of(&source, &["release:base-1.0", "a", "b"], options, &archive);
    let pool = Pool::empty(place);
    remand(["restore", "-"]).on(&pool).input(std::fs::read(&archive).unwrap()).ends(0);
    for name in ["a", "b"] {
        assert_restored(&source, name, &pool, name);
    }
    let release = "releases/base-1.0/root";
    assert_same_without(&source.path(release), &pool.path(release), &pool.unseen());
    nothing_is_left(&pool);
    // What refers to what holds: the jail can be exported against its base again, and its base is found.
    let base = |pool: &Pool| {
        let listed = remand(["list", "--json"]).on(pool).ends(0).json();
        let jail = listed.iter().find(|it| it["resource"]["name"] == "a").expect("the jail");
        jail["resource"]["base"].clone()
    };
    assert!(base(&pool).as_str().is_some_and(|base| base.contains("base-1.0")), "{}", base(&pool));
    assert_eq!(base(&pool), base(&source));
    remand(["export", "a"]).on(&pool).arg(scratch.join("again.tar.gz")).ends(0);
    remand(["restore", "--name", "a2", "--identity", "keep"])
        .on(&pool)
        .arg(scratch.join("again.tar.gz"))
        .ends(0);
    assert_same_without(&source.root("a"), &pool.root("a2"), &pool.unseen());
    // The release under another name, because one of its name has something else.
    let other = Pool::empty(place);
    other.release("base-1.0", Size::Common);
    remand(["restore"]).on(&other).arg(&archive).args(&["release:base-1.0=base-1.1", "a"]).ends(0);
    assert_same_without(&source.root("a"), &other.root("a"), &other.unseen());
    let config = std::fs::read_to_string(other.path("jails/a/config.json")).unwrap();
    assert!(config.contains("base-1.1"), "{config}");
    // Without the release there is no base.
    let empty = Pool::empty(place);
    remand(["restore"]).on(&empty).arg(&archive).arg("a").ends(20);
    nothing_is_left(&empty);
}

#[test]
fn a_release_comes_before_what_is_built_on_it() {
    for place in Place::all("many: release") {
        with_release(&place, &["--portable"]);
        if place.has_datasets() {
            with_release(&place, &[]);
        }
    }
}

/// Feeds it all but the end of an archive, lets `meanwhile` happen, and then the rest.
fn fed(pool: &Pool, archive: &Path, arguments: &[&str], meanwhile: impl FnOnce()) -> std::process::Output {
    let bytes = std::fs::read(archive).unwrap();
    let mut child = remand(["restore", "-"])
        .on(pool)
        .args(arguments)
        .into_command()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let (first, last) = bytes.split_at(bytes.len() - 2000);
    input.write_all(first).unwrap();
    let end = Instant::now() + Duration::from_secs(60);
    while names(&pool.path(".remand/staging")).is_empty() {
        assert!(Instant::now() < end, "nothing is staged");
        std::thread::sleep(Duration::from_millis(10));
    }
    meanwhile();
    input.write_all(last).unwrap();
    drop(input);
    child.wait_with_output().unwrap()
}

fn taken_meanwhile(place: &Place) {
    let (scratch, source) = (Scratch::new(), three(place));
    let archive = scratch.join("all.tar");
    // More than is read ahead.
    std::fs::write(source.root("c").join("srv/noise"), support::workload::noise(1, 6_000_000)).unwrap();
    archive_of(&source, &["a", "b", "c"], &["--portable"], &archive);
    let pool = target(place);
    let ended = fed(&pool, &archive, &[], || pool.make("jails/c"));
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(12), "{stderr}");
    assert_eq!(pool.jails(), ["c"], "what was visible already is taken back");
    nothing_is_left(&pool);
}

#[test]
fn a_rename_that_fails_takes_back_the_others() {
    taken_meanwhile(&Place::dir());
    for place in [Place::btrfs("many: rename"), Place::zfs("many: rename")].into_iter().flatten() {
        taken_meanwhile(&place);
    }
}

#[test]
fn many_more_resources_than_descriptors() {
    let place = Place::dir();
    let (scratch, source) = (Scratch::new(), Pool::empty(&place));
    source.release("base-1.0", Size::Small);
    source.bare_jail("web", "base-1.0", Size::Small);
    let archive = scratch.join("all.tar");
    many::copies(&source, "web", 150, &archive);
    let pool = target(&place);
    let mut command = std::process::Command::new("sh");
    // The soft limit is raised to the hard one, and that is one descriptor each and a few.
    command.args(["-c", "ulimit -Hn 200; ulimit -Sn 40; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_remand")]);
    let ended = command.args(["restore", "--pool", pool.name()]).arg(&archive).output().unwrap();
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(pool.jails().len(), 150);
    nothing_is_left(&pool);
    announce("150 resources with 200 descriptors");
}
