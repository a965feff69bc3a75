//! Basejails: what their release provides is not in an archive, and comes from the target's release.

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::at::At;
use support::bundle::Bundle;
use support::compare::{self, What};
use support::pool::{Place, Pool, Size, names, zfs};
use support::run::{export, remand, restore};
use support::{Scratch, root_for, skipped, workload};

/// A mount, taken away at the end of the test.
struct Mount(PathBuf);

impl Mount {
    /// `None`, and the reason on standard error, where nothing can be mounted.
    fn new(group: &str, arguments: &[&str], at: &Path) -> Option<Self> {
        let done = Command::new("mount").args(arguments).arg(at).output();
        if done.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        skipped(group, "cannot mount");
        None
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // zfs-fuse is busy for a moment after it was used.
        for _ in 0..50 {
            if Command::new("umount").arg(&self.0).output().is_ok_and(|output| output.status.success()) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
    }
}

/// Sets keys of a jail's config.
fn configure(pool: &Pool, name: &str, keys: &[(&str, &str)]) {
    let path = pool.path(&format!("jails/{name}/config.json"));
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    for (key, value) in keys {
        config[key] = (*value).into();
    }
    std::fs::write(&path, config.to_string()).unwrap();
}

/// A nullfs basejail; beneath its mounts it has what `beneath` leaves.
fn nullfs(place: &Place, beneath: impl FnOnce(&At)) -> Pool {
    let pool = Pool::with_jail(place, Size::Small);
    configure(&pool, "web01", &[("basejail", "yes")]);
    let root = At::open(&pool.root("web01"));
    beneath(&root);
    root.set_mtime(".", workload::JAIL_TIME);
    pool
}

fn emptied(root: &At) {
    let bin = root.dir("bin");
    bin.unlink("tool");
    bin.unlink("link");
    root.set_mtime("bin", workload::JAIL_TIME);
}

fn exported(pool: &Pool, scratch: &Scratch, options: &[&str]) -> Bundle {
    export(pool, "web01", &scratch.join("web01.tar"), options);
    Bundle::open(&scratch.join("web01.tar"))
}

/// Names of members and of all that the index speaks of.
fn mentioned(bundle: &Bundle) -> Vec<String> {
    let members = bundle.members.iter().map(support::tar::Member::text);
    let mut all: Vec<String> = members.collect();
    all.extend(bundle.index().iter().filter_map(|line| Some(line["path"].as_str()?.to_owned())));
    all
}

fn assert_nothing_in_bin(bundle: &Bundle) {
    let all = mentioned(bundle);
    let below = |name: &String| name.trim_end_matches('/').contains("/bin/");
    assert!(!all.iter().any(below), "{all:?}");
}

fn resource(bundle: &Bundle) -> Value {
    bundle.manifest()["resources"][0].clone()
}

#[track_caller]
fn assert_same_root(source: &Pool, target: &Pool, restored: &str) {
    let ignored = [source.unseen(), target.unseen()].concat();
    compare::assert_same_without(&source.root("web01"), &target.root(restored), &ignored);
    assert_eq!(source.remains(), [""; 0]);
    assert_eq!(target.remains(), [""; 0]);
}

#[test]
fn a_mounted_base_directory_is_not_entered_and_comes_from_the_targets_release() {
    let group = "basejail: mounts in the root";
    if !root_for(group) {
        return;
    }
    for place in [Some(Place::dir()), Place::zfs(group)].into_iter().flatten() {
        let (scratch, source) = (Scratch::new(), nullfs(&place, |_| {}));
        let target = Pool::with_release(&place, Size::Small);
        // As a manager does it: the release's directory, with something that would show if it was read.
        let provided = scratch.join("provided");
        std::fs::create_dir(&provided).unwrap();
        std::fs::write(provided.join("marker"), "of the release\n").unwrap();
        let arguments = ["--bind", provided.to_str().unwrap()];
        let Some(mount) = Mount::new(group, &arguments, &source.root("web01").join("bin")) else { return };
        let bundle = exported(&source, &scratch, &[]);
        let listed = remand(["diff", "--json"]).on(&source).arg("web01").ends(0).text();
        drop(mount);
        assert_nothing_in_bin(&bundle);
        assert!(!listed.contains("marker") && !listed.contains("bin/tool"), "{listed}");
        let recorded = resource(&bundle)["base_directories"].clone();
        assert_eq!(recorded, serde_json::json!([{ "path": "bin", "empty": false }]));
        restore(&target, &scratch.join("web01.tar"), &[]);
        assert_same_root(&source, &target, "web01");
        assert_eq!(names(&target.root("web01").join("bin")), ["link", "tool"]);
    }
}

#[test]
fn a_file_system_that_is_mounted_is_not_entered_either() {
    let group = "basejail: mounts in the root";
    if !root_for(group) {
        return;
    }
    let (scratch, source) = (Scratch::new(), nullfs(&Place::dir(), |_| {}));
    let bin = source.root("web01").join("bin");
    let Some(mount) = Mount::new(group, &["-t", "tmpfs", "remand-test"], &bin) else { return };
    std::fs::write(bin.join("marker"), "of the release\n").unwrap();
    for options in [&[][..], &["--standalone"]] {
        let bundle = exported(&source, &scratch, options);
        assert_nothing_in_bin(&bundle);
        std::fs::remove_file(scratch.join("web01.tar")).unwrap();
    }
    drop(mount);
}

#[test]
fn empty_base_directories_are_no_deletions_and_restored_empty() {
    for place in Place::all("basejail: empty base directories") {
        let (scratch, source) = (Scratch::new(), nullfs(&place, emptied));
        let target = Pool::with_release(&place, Size::Small);
        let bundle = exported(&source, &scratch, &[]);
        assert_nothing_in_bin(&bundle);
        let recorded = resource(&bundle)["base_directories"].clone();
        assert_eq!(recorded, serde_json::json!([{ "path": "bin", "empty": true }]));
        restore(&target, &scratch.join("web01.tar"), &[]);
        assert_same_root(&source, &target, "web01");
        assert_eq!(names(&target.root("web01").join("bin")), [""; 0]);
        assert_eq!(names(&target.path("releases/base-1.0/root/bin")), ["link", "tool"]);
    }
}

#[test]
fn what_lies_in_a_base_directory_is_left_out_unless_everything_is_asked_for() {
    let scratch = Scratch::new();
    let source = nullfs(&Place::dir(), |root| root.dir("bin").write("hidden", "beneath the mount\n"));
    let bundle = exported(&source, &scratch, &[]);
    assert_nothing_in_bin(&bundle);
    let planned = remand(["export", "--dry-run"]).on(&source).arg("web01").arg(scratch.join("x")).ends(0);
    planned.tells("left out: bin");
    let target = Pool::with_release(&Place::dir(), Size::Small);
    restore(&target, &scratch.join("web01.tar"), &[]);
    assert_eq!(names(&target.root("web01").join("bin")), ["link", "tool"]);
    let whole = scratch.join("whole.tar");
    export(&source, "web01", &whole, &["--standalone"]);
    let all = mentioned(&Bundle::open(&whole));
    assert!(all.iter().any(|name| name.ends_with("/bin/hidden")), "{all:?}");
    restore(&target, &whole, &["--name", "web02"]);
    assert_same_root(&source, &target, "web02");
}

#[test]
fn without_a_base_they_are_mount_points() {
    let (scratch, source) = (Scratch::new(), nullfs(&Place::dir(), |_| {}));
    configure(&source, "web01", &[("release", "gone-1.0")]);
    let bundle = exported(&source, &scratch, &[]);
    assert_eq!(resource(&bundle)["mode"], "standalone");
    assert_nothing_in_bin(&bundle);
    restore(&source, &scratch.join("web01.tar"), &["--name", "web02"]);
    assert_eq!(names(&source.root("web02").join("bin")), [""; 0]);
}

#[test]
fn other_directories_and_other_jails_are_compared_as_ever() {
    let scratch = Scratch::new();
    // A base directory that became something else is the jail's own doing.
    let source = nullfs(&Place::dir(), |root| {
        emptied(root);
        root.remove("bin");
        root.symlink("bin", "usr/bin");
    });
    let bundle = exported(&source, &scratch, &[]);
    assert!(mentioned(&bundle).iter().any(|name| name == "./root/bin/tool"), "it is deleted");
    assert!(resource(&bundle).get("base_directories").is_none());
    let target = Pool::with_release(&Place::dir(), Size::Small);
    restore(&target, &scratch.join("web01.tar"), &[]);
    assert_same_root(&source, &target, "web01");
}

#[test]
fn fstab_lines_mount_the_release_of_the_target() {
    let (scratch, source) = (Scratch::new(), nullfs(&Place::dir(), emptied));
    let line = |pool: &Pool, release: &str, name: &str| {
        let root = pool.directory().display();
        format!(
            "{root}/releases/{release}/root/bin\t{root}/jails/{name}/root/bin\tnullfs\tro\t0\t0 # Added\n"
        )
    };
    std::fs::write(source.path("jails/web01/fstab"), line(&source, "base-1.0", "web01")).unwrap();
    export(&source, "web01", &scratch.join("web01.tar"), &[]);
    let target = Pool::with_release(&Place::dir(), Size::Small);
    target.release("base-2.0", Size::Small);
    restore(&target, &scratch.join("web01.tar"), &[]);
    restore(&target, &scratch.join("web01.tar"), &["--name", "web02", "--base", "base-2.0"]);
    let fstab = |name: &str| std::fs::read_to_string(target.path(&format!("jails/{name}/fstab"))).unwrap();
    assert_eq!(fstab("web01"), line(&target, "base-1.0", "web01"));
    assert_eq!(fstab("web02"), line(&target, "base-2.0", "web02"));
}

/// The release's datasets that zfs basejails are cloned from.
fn base(pool: &Pool, release: &str, content: &str, snapshot: Option<&str>) {
    for dataset in ["", "/root", "/root/bin", "/root/usr", "/root/usr/lib"] {
        pool.make(&format!("base/{release}{dataset}"));
    }
    for dataset in ["root/bin", "root/usr/lib"] {
        let here = At::open(&pool.path(&format!("base/{release}/{dataset}")));
        here.write("tool", format!("{content} {dataset}\n"));
        here.set_mtime("tool", workload::RELEASE_TIME);
        here.set_mtime(".", workload::RELEASE_TIME);
        if let Some(snapshot) = snapshot {
            zfs(["snapshot", &format!("{}/base/{release}/{dataset}@{snapshot}", pool.name())]);
        }
    }
}

/// A zfs basejail: `root/bin` and `root/usr/lib` are clones, `root/usr` is a dataset of its own.
fn cloned(place: &Place) -> Pool {
    let pool = Pool::with_jail(place, Size::Small);
    configure(&pool, "web01", &[("basejail", "yes"), ("basejail_type", "zfs")]);
    pool.make("base");
    base(&pool, "base-1.0", "first", Some("web01"));
    // On FreeBSD it would be mounted over what the clone of the release has there.
    emptied(&At::open(&pool.root("web01")));
    pool.make("jails/web01/root/usr");
    std::fs::write(pool.root("web01").join("usr/own"), "the jail's\n").unwrap();
    for dataset in ["root/bin", "root/usr/lib"] {
        let origin = format!("{}/base/base-1.0/{dataset}@web01", pool.name());
        zfs(["clone", &origin, &format!("{}/jails/web01/{dataset}", pool.name())]);
    }
    pool
}

fn origin(pool: &Pool, dataset: &str) -> String {
    let value = zfs(["get", "-H", "-o", "value", "origin", &format!("{}/{dataset}", pool.name())]);
    value.strip_prefix(&format!("{}/", pool.name())).unwrap_or(&value).to_owned()
}

#[test]
fn clones_of_the_base_are_not_in_the_archive_and_cloned_again() {
    let Some(place) = Place::zfs("basejail: clones of the base") else { return };
    let (scratch, source) = (Scratch::new(), cloned(&place));
    let bundle = exported(&source, &scratch, &[]);
    let all = mentioned(&bundle);
    assert!(!all.iter().any(|name| name.contains("bin") || name.contains("usr/lib")), "{all:?}");
    assert!(all.iter().any(|name| name == "./root.datasets/usr.zfs"), "{all:?}");
    let datasets = resource(&bundle)["datasets"].clone();
    let bin = datasets.as_array().unwrap().iter().find(|dataset| dataset["name"] == "root/bin").unwrap();
    assert_eq!((&bin["encoding"], bin.get("member")), (&Value::from("base"), None));
    assert_eq!(
        (&bin["base"]["name"], &bin["base"]["snapshot"]),
        (&Value::from("base-1.0"), &Value::from("web01"))
    );

    // Another host, whose release is of another patch level and has no snapshot yet.
    let target = Pool::with_release(&place, Size::Small);
    target.make("base");
    base(&target, "base-1.0", "patched", None);
    base(&target, "base-2.0", "second", Some("older"));
    zfs(["snapshot", &format!("{}/base/base-2.0/root/bin@newer", target.name())]);
    target.release("base-2.0", Size::Small);
    restore(&target, &scratch.join("web01.tar"), &[]).tells("root/bin, root/usr/lib");
    assert_eq!(origin(&target, "jails/web01/root/bin"), "base/base-1.0/root/bin@web01");
    assert_eq!(origin(&target, "jails/web01/root/usr/lib"), "base/base-1.0/root/usr/lib@web01");
    assert_eq!(origin(&target, "jails/web01/root/usr"), "-");
    let differences =
        compare::trees_without(&source.root("web01"), &target.root("web01"), &[What::Sparse, What::Mtime]);
    let paths: Vec<_> = differences.iter().map(|found| String::from_utf8_lossy(&found.path)).collect();
    assert!(paths.iter().all(|path| ["bin/tool", "usr/lib/tool"].contains(&path.as_ref())), "{paths:?}");
    let tool = std::fs::read_to_string(target.root("web01").join("usr/lib/tool")).unwrap();
    assert_eq!(tool, "patched root/usr/lib\n");
    assert_eq!(target.remains(), [""; 0]);
    remand(["cleanup"]).on(&target).ends(0);

    // The same again, from the snapshot of the same name; and onto another release, from its newest.
    restore(&target, &scratch.join("web01.tar"), &["--name", "web02"]);
    assert_eq!(origin(&target, "jails/web02/root/bin"), "base/base-1.0/root/bin@web01");
    restore(&target, &scratch.join("web01.tar"), &["--name", "web03", "--base", "base-2.0"]);
    assert_eq!(origin(&target, "jails/web03/root/bin"), "base/base-2.0/root/bin@newer");

    // In its own pool it is what it was.
    restore(&source, &scratch.join("web01.tar"), &["--name", "web04"]);
    assert_eq!(origin(&source, "jails/web04/root/bin"), "base/base-1.0/root/bin@web01");
    assert_same_root(&source, &source, "web04");
}

#[test]
fn a_missing_base_dataset_is_named_and_nothing_remains() {
    let Some(place) = Place::zfs("basejail: a missing base dataset") else { return };
    let (scratch, source) = (Scratch::new(), cloned(&place));
    export(&source, "web01", &scratch.join("web01.tar"), &[]);
    let target = Pool::with_release(&place, Size::Small);
    let before = zfs(["list", "-H", "-r", "-t", "all", "-o", "name", target.name()]);
    for options in [&["restore"][..], &["restore", "--dry-run"]] {
        let ended = remand(options).on(&target).arg(scratch.join("web01.tar")).ends(20);
        ended.tells("base/base-1.0/root/bin");
    }
    let after = zfs(["list", "-H", "-r", "-t", "all", "-o", "name", target.name()]);
    let seen = |text: &str| text.lines().filter(|line| !line.contains("/.remand")).count();
    assert_eq!(seen(&before), seen(&after), "{after}");
}

#[test]
fn a_failed_restore_takes_the_snapshots_away_that_it_made() {
    let Some(place) = Place::zfs("basejail: a failed restore") else { return };
    let (scratch, source) = (Scratch::new(), cloned(&place));
    let mut bundle = exported(&source, &scratch, &[]);
    let at = bundle.position("./root/srv/new");
    bundle.members[at].data[0] ^= 1;
    bundle.save(&scratch.join("damaged.tar"));
    let target = Pool::with_release(&place, Size::Small);
    target.make("base");
    base(&target, "base-1.0", "first", None);
    remand(["restore"]).on(&target).arg(scratch.join("damaged.tar")).ends(22);
    let snapshots = zfs(["list", "-H", "-r", "-t", "snapshot", "-o", "name", target.name()]);
    assert!(!snapshots.contains("/base/"), "{snapshots}");
    assert_eq!(target.remains(), [""; 0]);
    assert_eq!(target.jails(), [""; 0]);
}

#[test]
fn a_clone_that_changed_travels_whole() {
    let Some(place) = Place::zfs("basejail: a changed clone") else { return };
    let (scratch, source) = (Scratch::new(), cloned(&place));
    std::fs::write(source.root("web01").join("bin/added"), "by hand\n").unwrap();
    export(&source, "web01", &scratch.join("web01.tar"), &[]).tells("travels whole");
    let bundle = Bundle::open(&scratch.join("web01.tar"));
    let all = mentioned(&bundle);
    assert!(all.iter().any(|name| name == "./root.datasets/bin.zfs"), "{all:?}");
    assert!(!all.iter().any(|name| name.contains("usr/lib")), "{all:?}");
    let planned = remand(["export", "--dry-run"]).on(&source).arg("web01").arg(scratch.join("x")).ends(0);
    planned.tells("root/bin");
    restore(&source, &scratch.join("web01.tar"), &["--name", "web02"]);
    assert_same_root(&source, &source, "web02");
    assert_eq!(origin(&source, "jails/web02/root/bin"), "-");
}

#[test]
fn a_standalone_archive_of_clones_over_files_is_mounted_over_them() {
    let Some(place) = Place::zfs("basejail: clones over files") else { return };
    let (scratch, source) = (Scratch::new(), cloned(&place));
    let below = |jail: &str, work: &dyn Fn(&At)| -> bool {
        let dataset = format!("{}/jails/{jail}/root/bin", source.name());
        zfs(["unmount", &dataset]);
        work(&At::open(&source.root(jail).join("bin")));
        Command::new("zfs").args(["mount", &dataset]).status().unwrap().success()
    };
    if !below("web01", &|bin| bin.write("below", "of the root\n")) {
        return skipped("basejail: clones over files", "this zfs mounts nothing over files");
    }
    let archive = scratch.join("web01.tar");
    export(&source, "web01", &archive, &["--standalone"]);
    restore(&source, &archive, &["--name", "web02"]);
    assert_same_root(&source, &source, "web02");
    assert!(source.root("web02").join("bin/tool").exists());
    assert!(below("web02", &|bin| assert_eq!(bin.read("below"), b"of the root\n")));
}

#[test]
fn a_portable_archive_of_clones_takes_the_base_of_a_plain_directory() {
    let Some(place) = Place::zfs("basejail: clones to a directory") else { return };
    let (scratch, source) = (Scratch::new(), cloned(&place));
    export(&source, "web01", &scratch.join("web01.tar"), &["--portable"]);
    let target = Pool::with_release(&Place::dir(), Size::Small);
    remand(["restore"]).on(&target).arg(scratch.join("web01.tar")).ends(20);
    target.make("base");
    base(&target, "base-1.0", "first", None);
    // zfs-fuse keeps whole seconds, which is worth a warning about the base.
    let ended = remand(["restore"]).on(&target).arg(scratch.join("web01.tar")).end();
    assert!([0, 3].contains(&ended.status), "{}", ended.describe());
    let ignored = [What::Sparse, What::Mtime];
    compare::assert_same_without(&source.root("web01"), &target.root("web01"), &ignored);
    assert_eq!(target.remains(), [""; 0]);
}

#[test]
fn list_and_info_tell_of_basejails() {
    let (scratch, source) = (Scratch::new(), nullfs(&Place::dir(), |_| {}));
    source.jail("thick", "base-1.0", Size::Small);
    let listed = remand(["list", "--json"]).on(&source).ends(0).json();
    let kind = |name: &str| {
        let found = listed.iter().find(|line| line["name"] == name || line["resource"]["name"] == name);
        found.unwrap_or_else(|| panic!("{listed:?}")).clone()
    };
    assert!(kind("web01").to_string().contains(r#""basejail":"nullfs""#), "{}", kind("web01"));
    assert!(kind("thick").to_string().contains(r#""basejail":null"#), "{}", kind("thick"));
    let table = remand(["list"]).on(&source).ends(0).text();
    assert!(table.contains("root (nullfs basejail)"), "{table}");
    export(&source, "web01", &scratch.join("web01.tar"), &[]);
    let page = remand(["info"]).arg(scratch.join("web01.tar")).ends(0).text();
    assert!(page.contains("basejail      without what the release has in bin"), "{page}");
}
