//! What libioc gets wrong, and remand must not: one test for each.

mod support;

use std::path::Path;

use serde_json::Value;
use support::at::At;
use support::bundle::Bundle;
use support::pool::{Place, Pool, Size, names, zfs};
use support::run::{export, remand, restore};
use support::tar::Member;
use support::trip::{assert_restored, assert_tree_restored};
use support::{Scratch, compare, root_for, while_disturbed, workload};

fn small_pool() -> Pool {
    Pool::with_jail(&Place::dir(), Size::Small)
}

fn small_target() -> Pool {
    Pool::with_release(&Place::dir(), Size::Small)
}

fn config(pool: &Pool, name: &str) -> Value {
    let text = std::fs::read(pool.path(&format!("jails/{name}/config.json"))).expect("a config");
    serde_json::from_slice(&text).expect("JSON")
}

/// Exports `web01` to an uncompressed TAR archive and takes it apart.
fn exported(pool: &Pool, scratch: &Scratch, options: &[&str]) -> Bundle {
    export(pool, "web01", &scratch.join("web01.tar"), options);
    Bundle::open(&scratch.join("web01.tar"))
}

fn member_names(bundle: &Bundle) -> Vec<String> {
    bundle.members.iter().map(|member| member.text().trim_end_matches('/').to_owned()).collect()
}

#[test]
fn row_01_restoring_onto_an_existing_name_leaves_it_untouched() {
    for place in [Some(Place::dir()), Place::zfs("libioc")].into_iter().flatten() {
        let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
        export(&source, "web01", &scratch.join("web01.tar.gz"), &[]);
        let target = Pool::with_jail(&place, Size::Small);
        At::open(&target.root("web01")).write("mine", "must stay\n");
        let before = Pool::with_jail(&Place::dir(), Size::Small);
        At::open(&before.root("web01")).write("mine", "must stay\n");
        let ended = remand(["restore"]).on(&target).arg(scratch.join("web01.tar.gz")).ends(12);
        ended.tells("web01");
        let ignored = [compare::What::Mtime, compare::What::Sparse];
        compare::assert_same_without(&before.root("web01"), &target.root("web01"), &ignored);
        assert_eq!(target.jails(), ["web01"]);
        assert_eq!(target.remains(), [""; 0]);
    }
}

#[test]
fn row_02_a_member_behind_a_symlink_is_refused_and_nothing_is_written() {
    let (scratch, source, target) = (Scratch::new(), small_pool(), small_target());
    let outside = scratch.join("outside");
    std::fs::create_dir(&outside).unwrap();
    let mut bundle = exported(&source, &scratch, &[]);
    let mut member = bundle.members[bundle.position("./root/srv/absolute")].named("./root/srv/way-out");
    member.target = outside.to_str().unwrap().into();
    let mut line = bundle.line("root/srv/absolute");
    line["path"] = "./root/srv/way-out".into();
    replace_text(&mut line, "/etc/passwd", outside.to_str().unwrap());
    bundle.add(member, line);
    bundle.add_copy("root/srv/new", "root/srv/way-out/evil");
    bundle.save(&scratch.join("evil.tar"));
    remand(["restore"]).on(&target).arg(scratch.join("evil.tar")).ends(23);
    assert_eq!(names(&outside), [""; 0]);
    assert_eq!(target.jails(), [""; 0]);
    assert_eq!(target.remains(), [""; 0]);
}

/// Replaces a text value wherever it lies in `json`.
fn replace_text(json: &mut Value, from: &str, to: &str) {
    match json {
        Value::String(text) if text == from => to.clone_into(text),
        Value::Array(list) => list.iter_mut().for_each(|inner| replace_text(inner, from, to)),
        Value::Object(map) => map.values_mut().for_each(|inner| replace_text(inner, from, to)),
        _ => {}
    }
}

#[test]
fn row_03_absolute_symlinks_and_those_that_leave_the_tree_are_kept() {
    let (scratch, source, target) = (Scratch::new(), small_pool(), small_target());
    export(&source, "web01", &scratch.join("web01.tar.gz"), &[]);
    restore(&target, &scratch.join("web01.tar.gz"), &[]);
    let srv = At::open(&target.root("web01")).dir("srv");
    assert_eq!(srv.target("absolute"), b"/etc/passwd");
    assert_eq!(srv.target("out"), b"../../../../../etc/shadow");
}

#[test]
fn row_04_files_deleted_from_the_release_stay_deleted() {
    let (scratch, source, target) = (Scratch::new(), small_pool(), small_target());
    export(&source, "web01", &scratch.join("web01.tar.gz"), &[]);
    restore(&target, &scratch.join("web01.tar.gz"), &[]);
    assert!(!target.root("web01").join("old/gone").exists());
    assert!(target.path("releases/base-1.0/root/old/gone").exists(), "the release still has it");
}

#[test]
fn row_05_other_files_beside_the_config_travel_along() {
    let (scratch, source, target) = (Scratch::new(), small_pool(), small_target());
    let bundle = exported(&source, &scratch, &[]);
    assert!(member_names(&bundle).contains(&"./files/notes.txt".to_owned()));
    restore(&target, &scratch.join("web01.tar"), &[]);
    for name in ["notes.txt", "hooks/pre/start.sh"] {
        let file = |pool: &Pool| std::fs::read(pool.path(&format!("jails/web01/{name}"))).unwrap();
        assert_eq!(file(&source), file(&target), "{name}");
    }
}

#[test]
fn row_06_owners_acls_xattrs_flags_holes_and_nanoseconds_are_kept() {
    if !root_for("libioc: attributes") {
        return;
    }
    for place in Place::all("libioc: attributes") {
        let scratch = Scratch::new();
        let (source, target) = (Pool::with_jail(&place, Size::Full), Pool::with_release(&place, Size::Full));
        export(&source, "web01", &scratch.join("web01.tar.gz"), &[]);
        restore(&target, &scratch.join("web01.tar.gz"), &[]);
        assert_restored(&source, "web01", &target, "web01");
    }
}

#[test]
fn row_07_fstab_entries_below_the_jail_are_written_as_backup_urls() {
    let (scratch, source) = (Scratch::new(), small_pool());
    let mut bundle = exported(&source, &scratch, &[]);
    let fstab = String::from_utf8(bundle.member("./fstab").data.clone()).unwrap();
    assert!(fstab.contains("backup:///data\tbackup:///root/var/lib/data\tnullfs"), "{fstab}");
    assert!(fstab.contains("/usr/share\tbackup:///root/mnt/media\tnullfs"), "{fstab}");
    assert!(fstab.contains("backup:///root/mnt/my\\040files"), "{fstab}");
}

#[test]
fn row_08_backup_urls_become_the_new_mountpoint() {
    let (scratch, source, target) = (Scratch::new(), small_pool(), small_target());
    export(&source, "web01", &scratch.join("web01.tar"), &[]);
    restore(&target, &scratch.join("web01.tar"), &["--name", "web02"]);
    let fstab = std::fs::read_to_string(target.path("jails/web02/fstab")).unwrap();
    let jail = target.path("jails/web02");
    assert!(fstab.contains(&format!("{0}/data\t{0}/root/var/lib/data\t", jail.display())), "{fstab}");
    assert!(!fstab.contains("backup:"), "{fstab}");
}

#[test]
fn row_09_paths_are_matched_at_their_boundaries() {
    let (scratch, source) = (Scratch::new(), small_pool());
    let mut bundle = exported(&source, &scratch, &[]);
    let fstab = String::from_utf8(bundle.member("./fstab").data.clone()).unwrap();
    let beside = format!("{}/jails/web012/files", source.directory().display());
    assert!(fstab.contains(&beside), "{fstab}");
}

#[test]
fn row_10_the_command_line_makes_a_tar() {
    let (scratch, source) = (Scratch::new(), small_pool());
    for (name, magic) in [
        ("a.tar", &b"./manifest.json"[..]),
        ("a.tar.gz", b"\x1f\x8b"),
        ("a.tgz", b"\x1f\x8b"),
        ("a.tar.zst", b"\x28\xb5\x2f\xfd"),
    ] {
        export(&source, "web01", &scratch.join(name), &[]);
        let bytes = std::fs::read(scratch.join(name)).unwrap();
        let head = if name == "a.tar" { &bytes[..] } else { &bytes[..magic.len()] };
        assert!(head.windows(magic.len()).any(|window| window == magic), "{name}");
    }
}

#[test]
fn row_11_differential_is_the_default_where_there_is_a_base() {
    let (scratch, source) = (Scratch::new(), small_pool());
    let bundle = exported(&source, &scratch, &[]);
    assert_eq!(bundle.manifest()["resources"][0]["mode"], "differential");
    assert!(member_names(&bundle).contains(&"./root/srv/new".to_owned()));
    assert!(!member_names(&bundle).contains(&"./root/etc/passwd".to_owned()), "the release has it");
    let bundle = exported(&source, &scratch, &["--force", "--standalone"]);
    assert_eq!(bundle.manifest()["resources"][0]["mode"], "standalone");
    assert!(member_names(&bundle).contains(&"./root.tree/etc/passwd".to_owned()));
    // Without a base: standalone, without being told.
    let path = source.path("jails/web01/config.json");
    let mut config = config(&source, "web01");
    config.as_object_mut().unwrap().remove("release");
    std::fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
    let bundle = exported(&source, &scratch, &["--force"]);
    assert_eq!(bundle.manifest()["resources"][0]["mode"], "standalone");
}

#[test]
fn row_12_a_differential_archive_without_its_release_is_a_clear_error() {
    let (scratch, source, target) = (Scratch::new(), small_pool(), Pool::empty(&Place::dir()));
    export(&source, "web01", &scratch.join("web01.tar.gz"), &[]);
    let ended = remand(["restore"]).on(&target).arg(scratch.join("web01.tar.gz")).ends(20);
    ended.tells("base-1.0");
    assert_eq!(target.jails(), [""; 0]);
    // Such an archive is not written: a named base that is not there is no reason for less than everything.
    std::fs::rename(source.path("releases/base-1.0"), source.path("releases/base-2.0")).unwrap();
    let ended = remand(["export"]).on(&source).arg("web01").arg(scratch.join("second.tar.gz")).end();
    if ended.status == 0 {
        restore(&target, &scratch.join("second.tar.gz"), &[]);
    } else {
        ended.expect(20);
        ended.tells("base-1.0");
        assert!(!scratch.join("second.tar.gz").exists());
    }
}

#[test]
fn row_13_nested_datasets_are_found_from_any_working_directory() {
    let Some(place) = Place::zfs("libioc: nested datasets") else { return };
    let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
    for (number, directory) in
        [Path::new("/"), &source.path("jails"), &source.path("jails/web01")].into_iter().enumerate()
    {
        let archive = scratch.join(&format!("{number}.tar"));
        remand(["export"]).on(&source).arg("web01").arg(&archive).in_directory(directory).ends(0);
        let manifest = Bundle::open(&archive).manifest();
        let datasets = manifest["resources"][0]["datasets"].as_array().unwrap();
        let names: Vec<&str> = datasets.iter().map(|dataset| dataset["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["root", "data", "data/db"]);
    }
}

#[test]
fn row_14_datasets_below_root_are_not_members_of_the_delta() {
    let Some(place) = Place::zfs("libioc: datasets below root") else { return };
    let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
    source.make("jails/web01/root/nested");
    std::fs::write(source.root("web01").join("nested/file"), "in a dataset of its own\n").unwrap();
    let bundle = exported(&source, &scratch, &[]);
    let names = member_names(&bundle);
    assert!(names.iter().any(|name| name.starts_with("./root.datasets/nested")), "{names:?}");
    assert!(
        !names.iter().any(|name| name.starts_with("./root/nested/") || name == "./root/nested.zfs"),
        "{names:?}"
    );
    let target = Pool::with_release(&place, Size::Small);
    restore(&target, &scratch.join("web01.tar"), &[]);
    assert_tree_restored(&source, "web01", &target, "web01");
    zfs(["list", &format!("{}/jails/web01/root/nested", target.name())]);
}

#[test]
fn row_15_what_is_mounted_in_the_root_is_not_walked() {
    if !root_for("libioc: mounts in the root") {
        return;
    }
    let (scratch, source, target) = (Scratch::new(), small_pool(), small_target());
    let mounted = source.root("web01").join("srv/mounted");
    std::fs::create_dir(&mounted).unwrap();
    let mount =
        |arguments: &[&str]| std::process::Command::new("mount").args(arguments).arg(&mounted).status();
    if !mount(&["-t", "tmpfs", "remand-test"]).is_ok_and(|status| status.success()) {
        return support::skipped("libioc: mounts in the root", "cannot mount a tmpfs");
    }
    std::fs::write(mounted.join("secret"), "of another file system\n").unwrap();
    let ended = remand(["export"]).on(&source).arg("web01").arg(scratch.join("web01.tar")).end();
    let unmounted = std::process::Command::new("umount").arg(&mounted).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    assert!([0, 3].contains(&ended.status), "{}", ended.describe());
    let bundle = Bundle::open(&scratch.join("web01.tar"));
    assert!(!member_names(&bundle).iter().any(|name| name.contains("secret")));
    restore(&target, &scratch.join("web01.tar"), &[]);
    let restored = target.root("web01").join("srv/mounted");
    assert!(restored.is_dir(), "the mount point itself is there");
    assert_eq!(names(&restored), [""; 0]);
}

#[test]
fn row_16_everything_is_read_from_the_snapshot() {
    let Some(place) = Place::zfs("libioc: reading a snapshot") else { return };
    let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
    let busy = source.root("web01").join("busy");
    std::fs::create_dir(&busy).unwrap();
    for index in 0..20 {
        std::fs::write(busy.join(format!("bulk{index}")), workload::noise(index, 200_000)).unwrap();
    }
    let counters = 12;
    let mut round = 0_u32;
    // Counters that go up one after the other: at any moment they hold at most two values, in order.
    let count = || {
        round += 1;
        for index in 0..counters {
            std::fs::write(busy.join("new"), round.to_string()).unwrap();
            std::fs::rename(busy.join("new"), busy.join(format!("counter{index:02}"))).unwrap();
        }
    };
    let exported = while_disturbed(count, || {
        while !busy.join(format!("counter{:02}", counters - 1)).exists() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        remand(["export"]).on(&source).arg("web01").arg(scratch.join("web01.tar")).end()
    });
    exported.expect(0);
    let bundle = Bundle::open(&scratch.join("web01.tar"));
    let values: Vec<u32> = (0..counters)
        .map(|index| bundle.position(&format!("./root/busy/counter{index:02}")))
        .map(|position| String::from_utf8_lossy(&bundle.members[position].data).parse().unwrap())
        .collect();
    assert!(values.is_sorted_by(|a, b| a >= b) && values[0] - values[values.len() - 1] <= 1, "{values:?}");
    assert_eq!(source.remains(), [""; 0]);
}

#[test]
fn row_17_the_delta_is_against_the_clones_origin_which_is_recorded_and_checked() {
    let Some(place) = Place::zfs("libioc: the clone's origin") else { return };
    let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
    // The release goes on, in a later snapshot than the one that the jail was cloned from.
    std::fs::write(source.path("releases/base-1.0/root/etc/passwd"), "changed by an update\n").unwrap();
    zfs(["snapshot", &format!("{}/releases/base-1.0/root@p1", source.name())]);
    let bundle = exported(&source, &scratch, &[]);
    let base = &bundle.manifest()["resources"][0]["base"];
    assert_eq!((base["name"].as_str(), base["snapshot"].as_str()), (Some("base-1.0"), Some("p0")), "{base}");
    assert!(!base["fingerprint"].is_null(), "{base}");
    let guid = zfs([
        "get",
        "-H",
        "-p",
        "-o",
        "value",
        "guid",
        &format!("{}/releases/base-1.0/root@p0", source.name()),
    ]);
    assert_eq!(base["guid"].as_str(), Some(guid.as_str()));
    assert!(!member_names(&bundle).contains(&"./root/etc/passwd".to_owned()), "the jail never changed it");
    // Another release under the same name.
    let target = Pool::empty(&place);
    target.make("releases/base-1.0");
    target.make("releases/base-1.0/root");
    std::fs::write(target.path("releases/base-1.0/root/other"), "another release\n").unwrap();
    zfs(["snapshot", &format!("{}/releases/base-1.0/root@p0", target.name())]);
    remand(["restore"]).on(&target).arg(scratch.join("web01.tar")).ends(21);
    assert_eq!(target.jails(), [""; 0]);
}

#[test]
fn row_18_a_resource_can_be_used_again_at_once() {
    let (scratch, source) = (Scratch::new(), small_pool());
    for name in ["first.tar", "second.tar"] {
        export(&source, "web01", &scratch.join(name), &[]);
    }
    remand(["diff"]).on(&source).arg("web01").ends(0);
}

#[test]
fn row_19_a_failure_leaves_neither_snapshot_nor_temporary_files() {
    for place in [Some(Place::dir()), Place::zfs("libioc: undo")].into_iter().flatten() {
        let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
        let nowhere = scratch.join("no/such/directory/web01.tar.gz");
        let ended = remand(["export"]).on(&source).arg("web01").arg(&nowhere).end();
        assert!([1, 10].contains(&ended.status), "{}", ended.describe());
        assert_eq!(source.remains(), [""; 0]);
        assert_eq!(names(scratch.path()), [""; 0]);
        // Half an archive: fails when much is done already.
        export(&source, "web01", &scratch.join("whole.tar"), &[]);
        let mut bytes = std::fs::read(scratch.join("whole.tar")).unwrap();
        bytes.truncate(bytes.len() / 2);
        std::fs::write(scratch.join("half.tar"), bytes).unwrap();
        let target = Pool::with_release(&place, Size::Small);
        remand(["restore"]).on(&target).arg(scratch.join("half.tar")).ends(22);
        assert_eq!((target.jails(), target.remains()), (vec![], vec![]));
    }
}

#[test]
fn row_20_exports_are_streamed_and_never_overwrite() {
    let (scratch, source) = (Scratch::new(), small_pool());
    let existing = scratch.join("web01.tar.gz");
    std::fs::write(&existing, "somebody's only copy").unwrap();
    remand(["export"]).on(&source).arg("web01").arg(&existing).ends(12);
    assert_eq!(std::fs::read(&existing).unwrap(), b"somebody's only copy");
    // No file that it makes on the way may be larger than 1 MiB, and the jail is.
    let bulk = workload::noise(20, 6 << 20);
    std::fs::write(source.root("web01").join("srv/bulk"), &bulk).unwrap();
    let mut command = std::process::Command::new("sh");
    command.args([
        "-c",
        "ulimit -f 2048; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_remand"),
        "export",
        "-c",
        "none",
    ]);
    let streamed = command.args(["--pool", source.name(), "web01", "-"]).output().unwrap();
    assert!(streamed.status.success(), "{}", String::from_utf8_lossy(&streamed.stderr));
    let members = support::tar::read(&streamed.stdout);
    assert_eq!(members[0].text(), "./manifest.json");
    assert_eq!(members.last().map(Member::text).as_deref(), Some("./index.jsonl"));
    assert!(members.iter().any(|member| member.data == bulk));
}

#[test]
fn row_21_local_properties_and_volumes_travel() {
    let Some(place) = Place::zfs("libioc: properties") else { return };
    let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
    let of = |pool: &Pool, dataset: &str| format!("{}/jails/web01/{dataset}", pool.name());
    for property in ["compression=gzip-3", "org.example:note=kept, with a space"] {
        zfs(["set", property, &of(&source, "data")]);
    }
    let volume =
        std::process::Command::new("zfs").args(["create", "-V", "8M", &of(&source, "volume")]).output();
    let volumes = volume.is_ok_and(|output| output.status.success());
    if !volumes {
        support::skipped("libioc: volumes", "zfs(8) makes none here");
    }
    export(&source, "web01", &scratch.join("web01.tar.gz"), &[]);
    let target = Pool::with_release(&place, Size::Small);
    restore(&target, &scratch.join("web01.tar.gz"), &[]);
    let get = |property: &str, dataset: &str| {
        zfs(["get", "-H", "-p", "-o", "value", property, &of(&target, dataset)])
    };
    assert_eq!(get("compression", "data"), "gzip-3");
    assert_eq!(get("org.example:note", "data"), "kept, with a space");
    if volumes {
        assert_eq!(
            (get("type", "volume"), get("volsize", "volume")),
            ("volume".into(), (8 << 20).to_string())
        );
    }
}

#[test]
fn row_22_a_second_jail_gets_an_identity_of_its_own() {
    let (scratch, source) = (Scratch::new(), small_pool());
    export(&source, "web01", &scratch.join("web01.tar"), &[]);
    let identity = ["hostid", "host_hostuuid", "vnet0_mac"];
    let original = config(&source, "web01");
    restore(&source, &scratch.join("web01.tar"), &["--name", "web02"]);
    let second = config(&source, "web02");
    for key in identity {
        assert_ne!(original[key], second[key], "{key}");
        assert!(second[key].is_string(), "{key}");
    }
    assert_eq!((&second["user"], &second["securelevel"]), (&original["user"], &original["securelevel"]));
    restore(&source, &scratch.join("web01.tar"), &["--name", "web03", "--identity", "keep"]);
    let kept = config(&source, "web03");
    assert_eq!((&kept["vnet0_mac"], &kept["hostid"]), (&original["vnet0_mac"], &original["hostid"]));
}

#[test]
fn row_23_events_name_what_they_are_about() {
    for place in [Some(Place::dir()), Place::zfs("libioc: events")].into_iter().flatten() {
        let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
        let archive = scratch.join("web01.tar");
        let ended = remand(["export", "--json"]).on(&source).arg("web01").arg(&archive).ends(0);
        let events: Vec<Value> = ended.json().into_iter().filter(|line| line.get("step").is_some()).collect();
        assert!(events.iter().all(|event| event["resource"] == "web01"), "{events:?}");
        let subjects: Vec<&str> = events
            .iter()
            .filter(|event| event["step"] == "ExportOtherDataset" && event["state"] == "end")
            .filter_map(|event| event["subject"].as_str())
            .collect();
        assert_eq!(subjects, if place.is_zfs() { vec!["data", "data/db"] } else { vec![] });
        let count = |step: &str, states: &[&str]| {
            let matches =
                |event: &&Value| event["step"] == step && states.contains(&event["state"].as_str().unwrap());
            events.iter().filter(matches).count()
        };
        for step in ["ResourceBackup", "ExportConfig", "ExportFstab", "ExportRootDataset", "BundleBackup"] {
            assert_eq!((count(step, &["begin"]), count(step, &["end", "skip", "fail"])), (1, 1), "{step}");
        }
    }
}
