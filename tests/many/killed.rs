//! Killed in the middle of the renames: `cleanup` goes on with them.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::support::Scratch;
use super::support::compare::assert_same_without;
use super::support::pool::{Place, Pool, Size, destroy, names, zfs};
use super::support::run::remand;
use super::{archive_of, nothing_is_left, target};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

/// Kills a restore when the first of its jails becomes visible. How many are visible then.
fn kill_between(pool: &Pool, archive: &Path) -> usize {
    let mut child: Child = remand(["restore"])
        .on(pool)
        .arg(archive)
        .into_command()
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let jails = pool.path("jails");
    while names(&jails).is_empty() && child.try_wait().unwrap().is_none() {}
    let _ = kill_process(Pid::from_child(&child), Signal::KILL);
    child.wait().unwrap();
    // Programs that it had started may still be at it.
    std::thread::sleep(Duration::from_millis(500));
    names(&jails).len()
}

fn killed_between_renames(place: &Place) {
    let count = if place.is_zfs() { 4 } else { 24 };
    let (scratch, source) = (Scratch::new(), Pool::with_release(place, Size::Small));
    let all: Vec<String> = (0..count).map(|number| format!("j{number:02}")).collect();
    for name in &all {
        source.bare_jail(name, "base-1.0", Size::Small);
    }
    let archive = scratch.join("all.tar.gz");
    archive_of(&source, &all.iter().map(String::as_str).collect::<Vec<_>>(), &[], &archive);
    let mut between = 0;
    for round in 0..40 {
        if between == 3 {
            return;
        }
        let pool = target(place);
        let visible = kill_between(&pool, &archive);
        if visible == 0 || visible == count {
            continue;
        }
        between += 1;
        let (first, last) = (&all[0], &all[count - 1]);
        let ended = remand(["restore"]).on(&pool).arg(&archive).arg(first).ends(12);
        ended.tells("remand cleanup --yes");
        let listed = remand(["cleanup"]).on(&pool).ends(0).text();
        assert!(listed.contains(&format!("jail {last}, whole")), "{listed}");
        assert_eq!(names(&pool.path("jails")).len(), visible, "listing changes nothing");
        if between == 2 {
            // The name was taken since.
            pool.make(&format!("jails/{last}"));
            let ended = remand(["cleanup", "--yes"]).on(&pool).ends(3);
            ended.tells(&format!("jail {last} is whole"));
            assert_eq!(names(&pool.path(&format!("jails/{last}"))), [""; 0], "it is not touched");
            assert!(!pool.remains().is_empty());
            if round % 2 == 0 {
                remand(["cleanup", "--yes", "--discard"]).on(&pool).ends(0);
                assert_eq!(names(&pool.path(&format!("jails/{last}"))), [""; 0]);
                nothing_is_left(&pool);
                continue;
            }
            remove(&pool, last);
        }
        remand(["cleanup", "--yes"]).on(&pool).ends(0);
        assert_eq!(pool.jails(), all);
        nothing_is_left(&pool);
        for name in &all {
            assert_same_without(
                &source.path(&format!("jails/{name}/root")),
                &pool.root(name),
                &pool.unseen(),
            );
        }
        let hook = "hooks/pre/start.sh";
        assert_eq!(
            std::fs::read(pool.path(&format!("jails/{last}/{hook}"))).unwrap(),
            b"#!/bin/sh\nexit 0\n"
        );
    }
    panic!("too few runs were killed between two renames: {between}");
}

fn remove(pool: &Pool, name: &str) {
    if pool.is_zfs() {
        assert!(destroy(&format!("{}/jails/{name}", pool.name())));
    }
    pool.delete(&format!("jails/{name}"));
}

/// The record of a dead restore that was to make these jails visible.
fn record(pool: &Pool, id: &str, jails: &[&str]) {
    let entry = |jail: &&str| {
        let times = json!([{ "dataset": "", "path": "", "seconds": 1_000_000_000, "nanoseconds": 0 }]);
        let from = format!(".remand/staging/{id}");
        json!({ "resource": format!("jail {jail}"), "from": from, "to": format!("jails/{jail}"), "times": times })
    };
    let publish: Vec<_> = jails.iter().map(entry).collect();
    let record = json!({
        "operation": "restore", "resource": "jails", "pid": 1, "host": "h", "since": "2026-01-01T00:00:00Z", "publish": publish,
    });
    std::fs::write(pool.path(".remand/runs").join(id), record.to_string()).unwrap();
}

/// Killed within the rename itself, after which zfs(8) mounts one dataset after the other.
#[test]
fn what_is_visible_is_mounted_on_zfs() {
    let Some(place) = Place::zfs("many: mount") else { return };
    let (scratch, pool) = (Scratch::new(), Pool::with_release(&place, Size::Small));
    for name in ["a", "b", "c"] {
        pool.jail(name, "base-1.0", Size::Small);
    }
    // It makes the state dataset.
    remand(["export", "a"]).on(&pool).arg(scratch.join("a.tar.gz")).ends(0);
    let unmount = |name: &str| {
        zfs(["unmount", &format!("{}/jails/{name}/data/db", pool.name())]);
        zfs(["unmount", &format!("{}/jails/{name}/data", pool.name())]);
    };
    let time = |name: &str| {
        let of = std::fs::metadata(pool.path(&format!("jails/{name}"))).unwrap();
        (of.mtime(), of.mtime_nsec())
    };
    let settled = (1_000_000_000, 0);
    unmount("a");
    record(&pool, "remand-20260101T000000Z-00000001", &["a", "b", "gone"]);
    let listed = remand(["cleanup"]).on(&pool).ends(0).text();
    assert!(listed.contains("jail a, visible and not all mounted") && !listed.contains("jail b"), "{listed}");
    assert!(!pool.is_mounted("jails/a"), "listing mounts nothing");
    remand(["cleanup", "--yes"]).on(&pool).ends(0).tells("Mounted all of the jail a");
    assert!(pool.is_mounted("jails/a"));
    assert_eq!(time("a"), settled);
    assert_ne!(time("b"), settled, "what is mounted may have been in use since then");
    nothing_is_left(&pool);

    // Not renamed: what has the name is another's, who has unmounted it.
    let id = "remand-20260101T000000Z-00000002";
    unmount("c");
    zfs(["create", &format!("{}/.remand/staging/{id}", pool.name())]);
    record(&pool, id, &["c"]);
    remand(["cleanup", "--yes"]).on(&pool).ends(0);
    assert!(!pool.is_mounted("jails/c"));
    assert_ne!(time("c"), settled);
    nothing_is_left(&pool);
}

#[test]
fn killed_between_two_renames() {
    killed_between_renames(&Place::dir());
}

#[test]
fn killed_between_two_renames_on_btrfs() {
    if let Some(place) = Place::btrfs("many: kill") {
        killed_between_renames(&place);
    }
}

#[test]
fn killed_between_two_renames_on_zfs() {
    if let Some(place) = Place::zfs("many: kill") {
        killed_between_renames(&place);
    }
}
