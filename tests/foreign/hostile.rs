//! A foreign archive is as hostile as any other.

use std::path::{Path, PathBuf};

use crate::made::{config, directory, file, iocage_pack, stream, write};
use crate::support::pool::{Place, Pool, Size, names};
use crate::support::run::remand;
use crate::support::tar::{self, Member};
use crate::support::{Scratch, program_for};

/// Restoring `members` ends with `status`, and leaves nothing.
#[track_caller]
fn refused(members: &[Member], status: i32) {
    let (scratch, pool) = (Scratch::new(), Pool::with_release(&Place::dir(), Size::Small));
    let path = scratch.join("web01.tar");
    write(&path, members);
    refused_file(&path, &pool, status);
}

#[track_caller]
fn refused_file(path: &Path, pool: &Pool, status: i32) {
    remand(["restore"]).on(pool).arg(path).ends(status);
    assert_eq!((pool.jails(), pool.remains()), (Vec::new(), Vec::new()));
    remand(["verify"]).arg(path).ends(status);
}

fn with(more: &[Member]) -> Vec<Member> {
    let mut members = vec![config(), directory("./root/"), directory("./root/etc/")];
    members.extend_from_slice(more);
    members
}

#[test]
fn names_that_lead_out() {
    for name in ["./root/../../etc/x", "/root/x", "./root//x", "../x", "./root/./x", "./root/etc/.."] {
        refused(&with(&[file(name, b"evil")]), 23);
    }
}

#[test]
fn members_behind_links_and_links_that_lead_out() {
    let scratch = Scratch::new();
    let outside = scratch.join("outside");
    std::fs::create_dir(&outside).unwrap();
    let link = Member::new(b'2', "./root/way-out", outside.to_str().unwrap(), b"");
    refused(&with(&[link, file("./root/way-out/evil", b"evil")]), 23);
    assert_eq!(names(&outside), [""; 0]);
    refused(&with(&[Member::new(b'1', "./root/hard", "./config.json", b"")]), 23);
    refused(&with(&[Member::new(b'1', "./root/hard", "../../etc/passwd", b"")]), 23);
}

#[test]
fn what_is_there_twice_or_of_another_type() {
    refused(&with(&[file("./root/a", b"1"), file("./root/a", b"2")]), 23);
    refused(&with(&[file("./config.json", b"{}")]), 23);
    refused(&with(&[file("./root/a", b"1"), file("./root/a/b", b"2")]), 23);
    refused(&[Member::new(b'2', "./config.json", "/etc/passwd", b""), directory("./root/")], 23);
    refused(&[config(), Member::new(b'2', "./fstab", "/etc/fstab", b""), directory("./root/")], 23);
    refused(&[config(), Member::new(b'2', "./root", "/etc", b"")], 23);
    let data = stream("zroot/ioc/jails/web01/data@backup20261129160455.1");
    let root = stream("zroot/ioc/jails/web01/root@backup20261129160455.1");
    refused(&[config(), file("./root.zfs", &root), file("./data.zfs", &data), file("./data.zfs", &data)], 23);
    refused(&[config(), file("./root.zfs", b"no stream at all")], 22);
    refused(&[config()], 23);
    // Several snapshots or datasets in one stream.
    let mut package = root;
    package[16] = 2;
    refused(&[config(), file("./root.zfs", &package)], 23);
}

#[test]
fn part_of_an_archive_of_remand() {
    refused(&with(&[file("./index.jsonl", b"{}\n")]), 23);
    refused(&with(&[file("./manifest.json", b"{}\n")]), 23);
}

#[test]
fn what_is_cut_or_changed() {
    let (scratch, pool) = (Scratch::new(), Pool::with_release(&Place::dir(), Size::Small));
    let whole = tar::write(&with(&[file("./root/etc/a", &[7; 5000])]));
    let path = scratch.join("web01.tar");
    for length in [700, 2048, 3000, whole.len() - 1100, whole.len() - 512] {
        std::fs::write(&path, &whole[..length]).unwrap();
        let status = remand(["restore"]).on(&pool).arg(&path).end().status;
        // Of the first member alone nobody can tell whose it is.
        assert!(status == 22 || length == 700 && status == 23, "{length}: {status}");
        assert_eq!((pool.jails(), pool.remains()), (Vec::new(), Vec::new()));
    }
    let mut changed = whole;
    changed[1024 + 20] ^= 1;
    std::fs::write(&path, &changed).unwrap();
    refused_file(&path, &pool, 22);
}

/// Sizes that nothing stands behind, and texts that become gigabytes.
#[test]
fn bombs() {
    let (scratch, pool) = (Scratch::new(), Pool::with_release(&Place::dir(), Size::Small));
    let mut bytes = tar::write(&[config(), directory("./root/")]);
    bytes.truncate(bytes.len() - 1024);
    for (kind, name) in [(b'0', "./root/a"), (b'x', "pax"), (b'L', "long")] {
        let mut evil = bytes.clone();
        evil.extend(tar::header(kind, name, b"77777777777"));
        evil.extend([0; 2048]);
        let path = scratch.join("web01.tar");
        std::fs::write(&path, &evil).unwrap();
        let status = remand(["restore"]).on(&pool).arg(&path).end().status;
        assert!(matches!(status, 22 | 23), "{}: {status}", kind as char);
    }
    let long = format!("{{\"id\": \"{}\"}}", "a".repeat(20 << 20));
    refused(&[file("./config.json", long.as_bytes()), directory("./root/")], 23);
}

fn exports(scratch: &Scratch, form: &str, streams: &[(&str, Vec<u8>)]) -> PathBuf {
    let path = scratch.join(&format!("web01_2026-11-29.{form}"));
    iocage_pack(&path, streams);
    path
}

#[test]
fn exports_of_iocage() {
    if program_for("hostile exports of iocage", "python3").is_none() {
        return;
    }
    let (scratch, pool) = (Scratch::new(), Pool::with_release(&Place::dir(), Size::Small));
    let of = |dataset: &str| stream(&format!("zroot/iocage/jails/web01{dataset}@ioc-export-2026-11-29"));
    for form in ["zip", "tar.xz"] {
        // Not the own dataset, not the root, no stream, another jail's, what lies in nothing.
        for streams in [
            vec![("web01_2026-11-29_root", of("/root"))],
            vec![("web01_2026-11-29", of(""))],
            vec![("web01_2026-11-29", of("")), ("web02_2026-11-29_root", of("/root"))],
            vec![
                ("web01_2026-11-29", of("")),
                ("web01_2026-11-29_root", of("/root")),
                ("web01_2026-11-29_a_b", of("/a/b")),
            ],
        ] {
            refused_file(&exports(&scratch, form, &streams), &pool, 23);
        }
        let streams = [("web01_2026-11-29", of("")), ("web01_2026-11-29_root", b"none".to_vec())];
        refused_file(&exports(&scratch, form, &streams), &pool, 22);
    }
}

#[test]
fn zip_files_that_contradict_themselves() {
    if program_for("hostile zip files", "python3").is_none() {
        return;
    }
    let (scratch, pool) = (Scratch::new(), Pool::with_release(&Place::dir(), Size::Small));
    let of = |dataset: &str| stream(&format!("zroot/iocage/jails/web01{dataset}@ioc-export-2026-11-29"));
    let path =
        exports(&scratch, "zip", &[("web01_2026-11-29", of("")), ("web01_2026-11-29_root", of("/root"))]);
    std::fs::remove_file(scratch.join("web01_2026-11-29.sha256")).unwrap();
    let whole = std::fs::read(&path).unwrap();
    remand(["verify"]).arg(&path).ends(3);
    let directory = whole.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    let second =
        directory + 4 + whole[directory + 4..].windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        changed
    };
    let cases = [
        // The checksum, the size and the offset of the second member; its local header; the end of the file.
        changed(second + 16, &[0; 4]),
        changed(second + 24, &[1, 0, 0, 0]),
        changed(second + 24, &[0, 0, 0, 0x40]),
        changed(second + 42, &[0; 4]),
        changed(second + 10, &[99, 0]),
        whole[..whole.len() - 30].to_vec(),
        whole[..directory].to_vec(),
    ];
    for (number, bytes) in cases.iter().enumerate() {
        std::fs::write(&path, bytes).unwrap();
        let ended = remand(["verify"]).arg(&path).end();
        assert!(matches!(ended.status, 22 | 23), "{number}: {}", ended.describe());
        let status = remand(["restore"]).on(&pool).arg(&path).end().status;
        assert!(matches!(status, 1 | 22 | 23), "{number}: {status}");
        assert_eq!((pool.jails(), pool.remains()), (Vec::new(), Vec::new()));
    }
}
