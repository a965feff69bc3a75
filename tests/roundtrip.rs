//! Export, restore, compare: every attribute, every form of archive, every backend.

mod support;

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use support::at::At;
use support::bundle::Bundle;
use support::compare::{assert_same, assert_same_without};
use support::pool::{Place, Pool, Size, names, subvolume, zfs};
use support::run::{export, remand, restore};
use support::trip::{assert_restored, assert_tree_restored};
use support::{Scratch, program_for, workload};

/// Exports the whole workload, restores it in a second pool that has the release, and compares.
fn differential(place: &Place, archive: &str, options: &[&str]) {
    let scratch = Scratch::new();
    let source = Pool::with_jail(place, Size::Full);
    export(&source, "web01", &scratch.join(archive), options);
    let target = Pool::with_release(place, Size::Full);
    restore(&target, &scratch.join(archive), &[]);
    assert_restored(&source, "web01", &target, "web01");
}

#[test]
fn tar_gz() {
    for place in Place::all("roundtrip") {
        differential(&place, "web01.tar.gz", &[]);
    }
}

#[test]
fn directory() {
    for place in Place::all("roundtrip") {
        differential(&place, "web01", &["--format", "directory"]);
    }
}

#[test]
fn tar_zst() {
    differential(&Place::dir(), "web01.tar.zst", &["-l", "5"]);
}

#[test]
fn uncompressed_tar() {
    differential(&Place::dir(), "web01.tar", &[]);
}

#[test]
fn compression_by_option() {
    differential(&Place::dir(), "web01.bin", &["-c", "gzip", "-l", "1"]);
}

#[test]
fn engine_content() {
    differential(&Place::dir(), "web01.tar.gz", &["--engine", "content"]);
    if let Some(place) = Place::zfs("roundtrip: engine content") {
        differential(&place, "web01.tar.gz", &["--engine", "content"]);
    }
}

#[test]
fn engine_rsync() {
    if program_for("roundtrip: engine rsync", "rsync").is_none() {
        return;
    }
    let (scratch, place) = (Scratch::new(), Place::dir());
    let (source, target) = (Pool::with_jail(&place, Size::Full), Pool::with_release(&place, Size::Full));
    // rsync(1) reaches no path that is longer than the system's calls take, and remand says so instead of leaving it out.
    let archive = scratch.join("web01.tar.gz");
    let ended = remand(["export", "--engine", "rsync", "web01"]).on(&source).arg(&archive).ends(1);
    ended.tells("rsync");
    At::open(&source.root("web01")).dir("odd").remove("deep");
    export(&source, "web01", &archive, &["--engine", "rsync"]);
    restore(&target, &archive, &[]);
    assert_restored(&source, "web01", &target, "web01");
}

#[test]
fn pipe() {
    for place in [Some(Place::dir()), Place::zfs("roundtrip: pipe")].into_iter().flatten() {
        let source = Pool::with_jail(&place, Size::Full);
        let target = Pool::with_release(&place, Size::Full);
        let archive = remand(["export", "web01", "-"]).on(&source).ends(0).stdout;
        remand(["restore", "-"]).on(&target).input(archive).ends(0);
        assert_restored(&source, "web01", &target, "web01");
    }
}

#[test]
fn standalone_onto_a_pool_without_the_release() {
    for place in Place::all("roundtrip: standalone") {
        for (archive, options) in [("web01.tar.gz", &[][..]), ("web01", &["--format", "directory"])] {
            let scratch = Scratch::new();
            let source = Pool::with_jail(&place, Size::Full);
            let options = [&["--standalone"], options].concat();
            if place.is_btrfs() {
                // btrfs-send(8) reaches no path that is longer than the system's calls take, and the export says so.
                let run = remand(["export", "web01"]).on(&source).args(&options).arg(scratch.join(archive));
                run.ends(1).tells("--portable");
                assert_eq!((names(scratch.path()), source.remains()), (vec![], vec![]));
                At::open(&source.root("web01")).dir("odd").remove("deep");
            }
            export(&source, "web01", &scratch.join(archive), &options);
            let target = Pool::empty(&place);
            restore(&target, &scratch.join(archive), &[]);
            assert_restored(&source, "web01", &target, "web01");
        }
    }
}

#[test]
fn recursive_with_history() {
    let Some(place) = Place::zfs("roundtrip: recursive") else { return };
    for options in [&["--recursive"][..], &["--recursive", "--standalone"]] {
        let scratch = Scratch::new();
        let source = Pool::with_jail(&place, Size::Small);
        let data = |pool: &Pool| pool.path("jails/web01/data");
        let jail = format!("{}/jails/web01", source.name());
        zfs(["snapshot", "-r", &format!("{jail}@monday")]);
        std::fs::write(data(&source).join("file0"), "on tuesday").unwrap();
        zfs(["snapshot", "-r", &format!("{jail}@tuesday")]);
        std::fs::write(data(&source).join("file0"), "today").unwrap();
        let run = remand(["export"]).on(&source).args(options).arg("web01").arg(scratch.join("web01.tar.gz"));
        // A delta has no history: that of the root is named in a warning.
        run.ends(if options.contains(&"--standalone") { 0 } else { 3 });
        let target = Pool::with_release(&place, Size::Small);
        restore(&target, &scratch.join("web01.tar.gz"), &[]);
        assert_tree_restored(&source, "web01", &target, "web01");
        for dataset in ["data", "data/db"] {
            let name = format!("{}/jails/web01/{dataset}", target.name());
            let snapshots =
                zfs(["list", "-H", "-d", "1", "-t", "snapshot", "-o", "name", "-s", "creation", &name]);
            let wanted = ["monday", "tuesday"].map(|snapshot| format!("{name}@{snapshot}"));
            assert_eq!(snapshots.lines().collect::<Vec<_>>(), wanted);
        }
        let history = data(&target).join(".zfs/snapshot/tuesday/file0");
        if history.exists() {
            assert_eq!(std::fs::read(history).unwrap(), b"on tuesday");
        }
    }
}

#[test]
fn recursive_with_history_on_btrfs() {
    let Some(place) = Place::btrfs("roundtrip: recursive") else { return };
    let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
    let archive = scratch.join("web01.tar.gz");
    let (jail, parts) = (source.path("jails/web01"), ["data", "data/db"]);
    std::fs::create_dir(jail.join(".snapshots")).unwrap();
    std::fs::create_dir(jail.join("data/.snapshots")).unwrap();
    let days = [("monday", "on monday"), ("tuesday", "on tuesday")];
    for (day, text) in days {
        for part in parts {
            std::fs::write(jail.join(part).join("file0"), text).unwrap();
            let (snapshot, live) = (history(&jail, part, day), jail.join(part));
            subvolume(["snapshot".as_ref(), "-r".as_ref(), live.as_os_str(), snapshot.as_os_str()]);
        }
    }
    for part in parts {
        std::fs::write(jail.join(part).join("file0"), "today").unwrap();
    }
    for above in [&jail, &jail.join("data")] {
        At::open(above).set_mtime(".snapshots", workload::JAIL_TIME);
    }
    export(&source, "web01", &archive, &["--recursive", "--standalone"]);
    let target = Pool::with_release(&place, Size::Small);
    restore(&target, &archive, &[]);
    assert_tree_restored(&source, "web01", &target, "web01");
    let restored = target.path("jails/web01");
    for part in parts {
        assert_eq!(std::fs::read(restored.join(part).join("file0")).unwrap(), b"today", "{part}");
        for (day, text) in days {
            let old = std::fs::read(history(&restored, part, day).join("file0"));
            assert_eq!(old.unwrap(), text.as_bytes(), "{part}@{day}");
        }
    }
}

#[test]
fn a_place_of_snapshots_stays_without_them_on_btrfs() {
    let Some(place) = Place::btrfs("roundtrip: place of snapshots") else { return };
    let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
    let (archive, jail) = (scratch.join("web01.tar.gz"), source.path("jails/web01"));
    for above in [&jail, &jail.join("data")] {
        At::open(above).mkdir(".snapshots");
        At::open(above).set_mtime(".snapshots", workload::JAIL_TIME);
    }
    export(&source, "web01", &archive, &["--standalone"]);
    let target = Pool::with_release(&place, Size::Small);
    restore(&target, &archive, &[]);
    assert_tree_restored(&source, "web01", &target, "web01");
    assert!(target.path("jails/web01/data/.snapshots").is_dir());
}

#[test]
fn flags_in_the_history_are_named_on_btrfs() {
    let Some(place) = Place::btrfs("roundtrip: flags in the history") else { return };
    let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
    let (archive, jail) = (scratch.join("web01.tar"), source.path("jails/web01"));
    At::open(&jail).mkdir(".snapshots");
    let data = At::open(&jail.join("data"));
    for (day, flags) in [("monday", support::at::flags::NODUMP), ("tuesday", 0)] {
        data.try_set_flags("file0", flags).unwrap();
        let (snapshot, live) = (history(&jail, "data", day), jail.join("data"));
        subvolume(["snapshot".as_ref(), "-r".as_ref(), live.as_os_str(), snapshot.as_os_str()]);
    }
    let arguments = ["export", "--recursive", "--standalone"];
    let ended = remand(arguments).on(&source).arg("web01").arg(&archive).ends(3);
    for words in ["data@monday", "/file0: nodump"] {
        ended.tells(words);
    }
    assert!(!ended.describe().contains("data@tuesday"), "{}", ended.describe());
    let target = Pool::with_release(&place, Size::Small);
    restore(&target, &archive, &[]);
    assert_tree_restored(&source, "web01", &target, "web01");
    // Without the history nothing is lost.
    export(&source, "web01", &scratch.join("newest.tar"), &["--standalone"]);
}

#[test]
fn what_btrfs_cannot_send_is_named_and_can_be_exported_portably() {
    let Some(place) = Place::btrfs("roundtrip: long paths") else { return };
    let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
    let archive = scratch.join("web01.tar");
    let mut deep = At::open(&source.path("jails/web01/data"));
    for _ in 0..20 {
        deep = deep.mkdir("d".repeat(250));
    }
    deep.write("file", "deep");
    let arguments = ["export", "--standalone"];
    let ended = remand(arguments).on(&source).arg("web01").arg(&archive).ends(1);
    for words in ["the dataset data", "jails/web01/data@", "--portable"] {
        ended.tells(words);
    }
    assert!(!archive.exists());
    export(&source, "web01", &archive, &["--standalone", "--portable"]);
    let target = Pool::with_release(&place, Size::Small);
    restore(&target, &archive, &[]);
    assert_tree_restored(&source, "web01", &target, "web01");
}

/// Where a snapshot of a jail's dataset lies on btrfs: beside it, under its last name.
fn history(jail: &Path, part: &str, snapshot: &str) -> PathBuf {
    let (dataset, snapshots) =
        (jail.join(part), format!(".snapshots/{}", Path::new(part).file_name().unwrap().display()));
    dataset.parent().unwrap().join(format!("{snapshots}@{snapshot}"))
}

#[test]
fn portable_between_backends() {
    let Some(zfs) = Place::zfs("roundtrip: between backends") else { return };
    for (from, to) in [(&zfs, &Place::dir()), (&Place::dir(), &zfs)] {
        let scratch = Scratch::new();
        let source = Pool::with_jail(from, Size::Small);
        export(&source, "web01", &scratch.join("web01.tar.gz"), &["--portable"]);
        let target = Pool::with_release(to, Size::Small);
        // The releases' times may differ by what one of the file systems cannot hold.
        let ended = remand(["restore"]).on(&target).arg(scratch.join("web01.tar.gz")).end();
        assert!([0, 3].contains(&ended.status), "{}", ended.describe());
        let ignored = [vec![support::compare::What::Mtime], source.unseen(), target.unseen()].concat();
        assert_same_without(&source.root("web01"), &target.root("web01"), &ignored);
    }
}

#[test]
fn exports_of_one_tree_are_equal_but_for_their_identity() {
    let scratch = Scratch::new();
    let source = Pool::with_jail(&Place::dir(), Size::Full);
    let members = ["a.tar", "b.tar"].map(|name| {
        export(&source, "web01", &scratch.join(name), &[]);
        let mut members = support::bundle::Bundle::open(&scratch.join(name)).members;
        members.retain(|member| !["./manifest.json", "./index.jsonl"].contains(&member.text().as_str()));
        members
    });
    assert!(members[0] == members[1], "the order or the form of members differs");
}

/// One step of a random history.
#[derive(Clone, Debug)]
enum Step {
    Write(u8, u16),
    Mkdir(u8),
    Remove(u8),
    Link(u8, u8),
    Symlink(u8, u8),
    Chmod(u8, u16),
    Touch(u8, i32),
    Move(u8, u8),
    Hole(u8, u8),
}

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (any::<u8>(), any::<u16>()).prop_map(|(at, seed)| Step::Write(at, seed)),
        2 => any::<u8>().prop_map(Step::Mkdir),
        2 => any::<u8>().prop_map(Step::Remove),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(at, to)| Step::Link(at, to)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(at, to)| Step::Symlink(at, to)),
        1 => (any::<u8>(), any::<u16>()).prop_map(|(at, mode)| Step::Chmod(at, mode)),
        1 => (any::<u8>(), any::<i32>()).prop_map(|(at, time)| Step::Touch(at, time)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(at, to)| Step::Move(at, to)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(at, at_block)| Step::Hole(at, at_block)),
    ];
    proptest::collection::vec(step, 0..most)
}

/// Few names on three levels, so that steps meet.
fn place_of(at: u8) -> (String, String) {
    let (a, b, c) = (at & 3, (at >> 2) & 3, (at >> 4) & 3);
    match at >> 6 {
        0 => (String::new(), format!("n{a}")),
        1 | 2 => (format!("n{a}"), format!("n{b}")),
        _ => (format!("n{a}/n{b}"), format!("n{c}")),
    }
}

fn directory_of(root: &Path, at: u8) -> Option<(At, String)> {
    let (directory, name) = place_of(at);
    let mut path = root.to_owned();
    for component in directory.split('/') {
        path.push(component);
        if !path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir()) {
            return None;
        }
    }
    Some((At::open(&path), name))
}

/// Does what can be done of a step, and leaves the rest: the same on two equal trees.
fn step(root: &Path, step: &Step) {
    let (Step::Write(at, _)
    | Step::Mkdir(at)
    | Step::Remove(at)
    | Step::Link(at, _)
    | Step::Symlink(at, _)
    | Step::Chmod(at, _)
    | Step::Touch(at, _)
    | Step::Move(at, _)
    | Step::Hole(at, _)) = *step;
    let Some((here, name)) = directory_of(root, at) else { return };
    let kind = here.names().contains(&name.clone().into_bytes()).then(|| here.kind(&name));
    let file = kind == Some(rustix::fs::FileType::RegularFile);
    let free = kind.is_none();
    match *step {
        Step::Write(_, seed) if free || file => {
            here.write(&name, workload::noise(seed.into(), usize::from(seed) % 9000));
        }
        Step::Mkdir(_) if free => drop(here.mkdir(&name)),
        Step::Remove(_) if !free => here.remove(&name),
        Step::Symlink(_, to) if free => here.symlink(&name, place_of(to).1),
        Step::Chmod(_, mode) if file => here.chmod(&name, u32::from(mode) & 0o7777 | 0o400),
        Step::Touch(_, time) if !free => {
            here.set_mtime(&name, (i64::from(time) % LATEST, i64::from(at) * 1000));
        }
        Step::Hole(_, block) if free => {
            here.write_sparse(
                &name,
                1 << 20,
                &[(u64::from(block) * 4096, &workload::noise(block.into(), 4096))],
            );
        }
        Step::Link(_, to) | Step::Move(_, to) if file => {
            let Some((there, other)) = directory_of(root, to) else { return };
            if !there.names().contains(&other.clone().into_bytes()) {
                there.link(&other, &here, &name);
                if matches!(step, Step::Move(..)) {
                    here.unlink(&name);
                }
            }
        }
        _ => {}
    }
}

/// No step sets a later time.
const LATEST: i64 = 1_600_000_000;

/// Gives everything one time that no step uses, so that two trees built one after the other are equal.
fn settle(directory: &At) {
    for name in directory.names() {
        if directory.kind(&name) == rustix::fs::FileType::Directory {
            settle(&directory.dir(&name));
        }
        if directory.stat(&name).st_mtime > LATEST {
            directory.set_mtime(&name, (1_700_000_000, 5000));
        }
    }
    directory.set_mtime(".", (1_700_000_000, 5000));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_histories(before in steps(40), after in steps(40), standalone in any::<bool>()) {
        let (scratch, source, target) = (Scratch::new(), Pool::empty(&Place::dir()), Pool::empty(&Place::dir()));
        let jail = source.path("jails/web01");
        let roots = [
            source.path("releases/base-1.0/root"), target.path("releases/base-1.0/root"), jail.join("root"),
        ];
        for root in &roots {
            std::fs::create_dir_all(root).unwrap();
            for it in &before {
                step(root, it);
            }
            settle(&At::open(root));
        }
        for it in &after {
            step(&roots[2], it);
        }
        std::fs::write(jail.join("config.json"), support::pool::config("web01", "base-1.0")).unwrap();
        let options: &[&str] = if standalone { &["--standalone"] } else { &[] };
        export(&source, "web01", &scratch.join("web01.tar"), options);
        restore(&target, &scratch.join("web01.tar"), &[]);
        assert_same(&roots[2], &target.root("web01"));
        assert_same(&roots[0], &roots[1]);
    }
}

#[test]
fn a_base_that_was_touched_is_known_by_what_it_is_now() {
    let (scratch, pool) = (Scratch::new(), Pool::with_jail(&Place::dir(), Size::Small));
    // What was changed a moment ago is not remembered.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let fingerprint = |archive: &str| {
        let ended = export(&pool, "web01", &scratch.join(archive), &["--json"]);
        let looked = ended.text().contains("CheckBase");
        (
            Bundle::open(&scratch.join(archive)).manifest()["resources"][0]["base"]["fingerprint"].clone(),
            looked,
        )
    };
    let (first, looked) = fingerprint("first.tar");
    assert!(first["digest"].is_string() && !looked, "{first}");
    assert_eq!(fingerprint("again.tar"), (first.clone(), false));
    let kept = pool.path(".remand/fingerprints");
    assert_eq!(names(&kept).len(), 1, "{kept:?}");

    let conf = pool.path("releases/base-1.0/root/etc/conf");
    let mtime = std::fs::metadata(&conf).unwrap().modified().unwrap();
    std::fs::write(&conf, "touched").unwrap();
    std::fs::File::options().write(true).open(&conf).unwrap().set_modified(mtime).unwrap();
    let (touched, looked) = fingerprint("touched.tar");
    assert!(looked, "nothing tells that the base was read again");
    assert_ne!(touched["digest"], first["digest"]);
    // Into a pipe the manifest goes before anything is compared.
    let piped = remand(["export", "-c", "none", "web01", "-"]).on(&pool).ends(0).stdout;
    std::fs::write(scratch.join("piped.tar"), piped).unwrap();
    let piped = Bundle::open(&scratch.join("piped.tar")).manifest();
    assert_eq!(piped["resources"][0]["base"]["fingerprint"], touched);
}
