//! Who reads whose archives, and what is equal.

use std::path::Path;

use crate::made::{Libioc, iocage_export};
use crate::support::Scratch;
use crate::support::at::At;
use crate::support::compare::{What, assert_same_without, trees_without};
use crate::support::pool::{Place, Pool, Size};
use crate::support::run::{Ended, export, remand};

/// A line of the table.
struct Row {
    what: String,
    recognised: String,
    restored: &'static str,
    equal: &'static str,
    warnings: usize,
}

fn print(rows: &[Row]) {
    println!("{:<58} {:<26} {:<9} {:<28} warnings", "archive", "recognised", "restored", "equal");
    for row in rows {
        println!(
            "{:<58} {:<26} {:<9} {:<28} {}",
            row.what, row.recognised, row.restored, row.equal, row.warnings
        );
    }
}

#[test]
fn the_table() {
    let mut rows = Vec::new();
    libioc_differential(&mut rows);
    libioc_standalone(&mut rows);
    libioc_differential_with_streams(&mut rows);
    iocage_exports(&mut rows);
    libioc_reads_what_remand_writes(&mut rows);
    libioc_reads_standalone_archives_of_remand(&mut rows);
    print(&rows);
}

/// What `info` says of an archive.
fn recognised(archive: &Path) -> String {
    let ended = remand(["info", "--json"]).arg(archive).ends(0);
    let manifest = ended.json().into_iter().find(|line| line.get("manifest").is_some()).expect("a manifest");
    manifest["manifest"]["foreign"]["form"].as_str().unwrap_or("remand's").to_owned()
}

fn warnings(ended: &Ended) -> usize {
    ended.stderr.lines().filter(|line| line.starts_with("warning: ")).count()
}

/// Whether every mount has its new place; a comment stays as it is.
fn has_no_placeholder(fstab: &str) -> bool {
    !fstab.lines().any(|line| !line.starts_with('#') && line.contains("backup:"))
}

/// Makes the jail different from its release in ways that libioc keeps.
fn jail(place: &Place) -> Pool {
    let pool = Pool::with_jail(place, Size::Small);
    let root = At::open(&pool.root("web01"));
    root.write("bin.zfs", "a file that is only called so\n");
    root.write("hard", "two names\n");
    root.link("hard-too", &root, "hard");
    root.symlink("absolute", "/etc/passwd");
    pool
}

/// remand restores what libioc wrote, and what it makes of it is what libioc makes of it.
fn libioc_differential(rows: &mut Vec<Row>) {
    for libioc in Libioc::all() {
        for (name, options) in [
            ("web01.tar.gz", &[][..]),
            ("web01", &["directory"][..]),
            ("named.tar.gz", &["command-line"][..]),
        ] {
            let (scratch, source) = (Scratch::new(), jail(&Place::dir()));
            let archive = scratch.join(name);
            libioc.export(&source, &archive, options);
            let ours = Pool::with_release(&Place::dir(), Size::Small);
            // Nothing else tells the jail's name here.
            let ended = remand(["restore", "--name", "web01"]).on(&ours).arg(&archive).ends(3);
            ended.tells("deleted from the release");
            let theirs = Pool::with_release(&Place::dir(), Size::Small);
            libioc.restore(&theirs, &archive, "web01");
            // Python rounds times.
            let ignored = [What::Mtime, What::Sparse];
            assert_same_without(&theirs.root("web01"), &ours.root("web01"), &ignored);
            let fstab = std::fs::read_to_string(ours.path("jails/web01/fstab")).expect("an fstab");
            assert!(has_no_placeholder(&fstab), "{fstab}");
            assert!(fstab.contains(ours.path("jails/web01").to_str().unwrap()), "{fstab}");
            assert_eq!(ours.remains(), [""; 0]);
            let recognised = recognised(&archive);
            assert_eq!(recognised, "libioc's, differential");
            rows.push(Row {
                what: format!("libioc differential, {name} ({}) {}", libioc.name(), options.join(" ")),
                recognised,
                restored: "yes",
                equal: "as libioc restores it",
                warnings: warnings(&ended),
            });
        }
    }
}

fn libioc_standalone(rows: &mut Vec<Row>) {
    let Some(place) = Place::zfs("libioc standalone") else { return };
    for libioc in Libioc::all() {
        for (name, options) in
            [("web01.tar.gz", &["standalone"][..]), ("web01", &["standalone", "directory"][..])]
        {
            let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
            let archive = scratch.join(name);
            libioc.export(&source, &archive, options);
            let target = Pool::empty(&place);
            let ended = remand(["restore"]).on(&target).arg(&archive).ends(3);
            same_datasets(&source, &target, &["root", "data", "data/db"]);
            // It is no archive for a pool without ZFS.
            let other = Pool::empty(&Place::dir());
            remand(["restore"]).on(&other).arg(&archive).ends(1).tells("restore it to a pool of ZFS");
            assert_eq!(other.jails(), [""; 0]);
            let recognised = recognised(&archive);
            assert_eq!(recognised, "libioc's, standalone");
            rows.push(Row {
                what: format!("libioc standalone, {name} ({})", libioc.name()),
                recognised,
                restored: "yes",
                equal: "root, data, data/db",
                warnings: warnings(&ended),
            });
        }
    }
}

/// On ZFS the differences come with streams, of which one lies among them.
fn libioc_differential_with_streams(rows: &mut Vec<Row>) {
    let Some(place) = Place::zfs("libioc differential with streams") else { return };
    for libioc in Libioc::all() {
        let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
        source.make("jails/web01/root/nested");
        At::open(&source.root("web01").join("nested")).write("in", "a dataset in the root\n");
        let archive = scratch.join("web01.tar.gz");
        libioc.export(&source, &archive, &[]);
        let target = Pool::with_release(&place, Size::Small);
        let ended = remand(["restore"]).on(&target).arg(&archive).ends(3);
        ended.tells("./root/nested.zfs is the stream of the dataset root/nested");
        same_datasets(&source, &target, &["root/nested", "data", "data/db"]);
        assert!(!target.root("web01").join("nested.zfs").exists());
        rows.push(Row {
            what: format!("libioc differential with streams ({})", libioc.name()),
            recognised: recognised(&archive),
            restored: "yes",
            equal: "root/nested, data, data/db",
            warnings: warnings(&ended),
        });
    }
}

fn same_datasets(source: &Pool, target: &Pool, datasets: &[&str]) {
    for dataset in datasets {
        let path = format!("jails/web01/{dataset}");
        assert_same_without(&source.path(&path), &target.path(&path), &source.unseen());
    }
    assert_eq!(target.remains(), [""; 0]);
}

fn iocage_exports(rows: &mut Vec<Row>) {
    let Some(place) = Place::zfs("iocage's exports") else { return };
    for form in ["zip", "tar.xz"] {
        let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
        source.make("jails/web01/under_score");
        At::open(&source.path("jails/web01/under_score")).write("in", "its name has the character\n");
        let archive = iocage_export(&source, scratch.path(), form);
        let target = Pool::empty(&place);
        let ended = remand(["restore"]).on(&target).arg(&archive).ends(3);
        ended.tells("dataset under_score, as its stream says");
        same_datasets(&source, &target, &["root", "data", "data/db", "under_score"]);
        let read = |pool: &Pool, name: &str| {
            std::fs::read(pool.path(&format!("jails/web01/{name}"))).expect("a file")
        };
        for name in ["notes.txt", "hooks/pre/start.sh"] {
            assert_eq!(read(&source, name), read(&target, name), "{name}");
        }
        // As libioc writes it: for that the name of a jail is no UUID.
        let config = |pool| -> serde_json::Value {
            serde_json::from_slice(&read(pool, "config.json")).expect("a config")
        };
        let mut wanted = config(&source);
        let uuid = wanted.as_object_mut().expect("an object").remove("host_hostuuid");
        assert_eq!((uuid, wanted), (Some("web01".into()), config(&target)));
        let fstab = std::fs::read_to_string(target.path("jails/web01/fstab")).expect("an fstab");
        assert!(has_no_placeholder(&fstab), "{fstab}");
        // A checksum that is of something else: nothing is restored.
        std::fs::write(scratch.join("web01_2026-11-29.sha256"), "0".repeat(64)).expect("a checksum");
        let other = Pool::empty(&place);
        remand(["restore"]).on(&other).arg(&archive).ends(22).tells("SHA-256");
        assert_eq!((other.jails(), other.remains()), (Vec::new(), Vec::new()));
        rows.push(Row {
            what: format!("iocage export, .{form}"),
            recognised: recognised(&archive),
            restored: "yes",
            equal: "all datasets, config, files",
            warnings: warnings(&ended),
        });
    }
}

/// libioc's own code, or its double, restores what remand writes; what it then lacks is what libioc cannot do.
fn libioc_reads_what_remand_writes(rows: &mut Vec<Row>) {
    for libioc in Libioc::all() {
        for (name, options) in [("web01.tar.gz", &[][..]), ("web01", &["--format", "directory"][..])] {
            let (scratch, source) = (Scratch::new(), jail(&Place::dir()));
            let archive = scratch.join(name);
            export(&source, "web01", &archive, options);
            let target = Pool::with_release(&Place::dir(), Size::Small);
            libioc.restore(&target, &archive, "web01");
            let found =
                trees_without(&source.root("web01"), &target.root("web01"), &[What::Mtime, What::Sparse]);
            // Deletions come back, links that lead out are dropped, and so are attributes, and what is a change of these alone: the
            // index has it, and no member.
            let known = |what| {
                matches!(what, What::Extra | What::Xattr | What::Acl | What::Flags | What::Mode | What::Owner)
            };
            let others: Vec<_> = found
                .iter()
                .filter(|one| !known(one.what))
                .filter(|one| !(one.what == What::Missing && is_link_out(&source, &one.path)))
                .collect();
            assert!(others.is_empty(), "{others:?}");
            assert!(
                target.path("jails/web01/config.json").is_file()
                    && target.path("jails/web01/fstab").is_file()
            );
            rows.push(Row {
                what: format!("remand differential, {name}, read by {}", libioc.name()),
                recognised: "by libioc".into(),
                restored: "yes",
                equal: "but for what libioc cannot do",
                warnings: 0,
            });
        }
    }
}

fn is_link_out(source: &Pool, path: &[u8]) -> bool {
    use std::os::unix::ffi::OsStrExt;
    let path = source.root("web01").join(std::ffi::OsStr::from_bytes(path));
    path.is_symlink()
}

fn libioc_reads_standalone_archives_of_remand(rows: &mut Vec<Row>) {
    let Some(place) = Place::zfs("libioc reads standalone archives") else { return };
    for libioc in Libioc::all() {
        for (name, options) in [
            ("web01.tar.gz", &["--standalone"][..]),
            ("web01", &["--standalone", "--format", "directory"][..]),
        ] {
            let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
            let archive = scratch.join(name);
            export(&source, "web01", &archive, options);
            let target = Pool::with_release(&place, Size::Small);
            libioc.restore(&target, &archive, "web01");
            // Nested datasets it does not find, whoever wrote them.
            for dataset in ["root", "data"] {
                let path = format!("jails/web01/{dataset}");
                let found = trees_without(&source.path(&path), &target.path(&path), &[What::Sparse]);
                let found: Vec<_> = found.iter().filter(|one| !one.path.starts_with(b"db")).collect();
                assert!(found.is_empty(), "{dataset}: {found:?}");
            }
            rows.push(Row {
                what: format!("remand standalone, {name}, read by {}", libioc.name()),
                recognised: "by libioc".into(),
                restored: "yes",
                equal: "root, data",
                warnings: 0,
            });
        }
    }
}
