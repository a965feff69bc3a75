//! Damage, at every place of an archive, and what follows: it is always found, and nothing is left behind.

mod support;

use std::path::{Path, PathBuf};

use support::at::At;
use support::bundle::Bundle;
use support::pool::{Place, Pool, Size, names};
use support::run::{export, remand, restore};
use support::trip::assert_restored;
use support::{Scratch, workload};

/// A small jail, exported in each form.
struct Archives {
    scratch: Scratch,
    source: Pool,
    target: Pool,
}

impl Archives {
    fn new() -> Self {
        let scratch = Scratch::new();
        let source = Pool::with_jail(&Place::dir(), Size::Small);
        let target = Pool::with_release(&Place::dir(), Size::Small);
        Self { scratch, source, target }
    }

    fn export(&self, name: &str, options: &[&str]) -> PathBuf {
        let path = self.scratch.join(name);
        export(&self.source, "web01", &path, options);
        path
    }

    /// Verify finds the damage.
    #[track_caller]
    fn is_found(archive: &Path, what: &str) {
        let ended = remand(["verify"]).arg(archive).end();
        assert!([22, 23].contains(&ended.status), "{what}: {}", ended.describe());
    }

    /// Restore finds it, too, and undoes what it did.
    #[track_caller]
    fn is_undone(&self, archive: &Path, what: &str) {
        let ended = remand(["restore"]).on(&self.target).arg(archive).end();
        assert!([20, 21, 22, 23].contains(&ended.status), "{what}: {}", ended.describe());
        assert_eq!((self.target.jails(), self.target.remains()), (vec![], vec![]), "{what}");
    }
}

/// Flips a bit at every `step`th byte. Each flip is found; or it hit one of the few bytes that nothing depends on, such as the
/// mode of a pax header or the time in a gzip header, and then what is restored is what was exported.
fn flip_bits(name: &str, step: usize) {
    let archives = Archives::new();
    let bytes = std::fs::read(archives.export(name, &[])).unwrap();
    let damaged = archives.scratch.join(&format!("damaged-{name}"));
    let mut harmless = Vec::new();
    let positions: Vec<usize> = (0..bytes.len()).step_by(step).collect();
    for (number, position) in positions.iter().enumerate() {
        let mut copy = bytes.clone();
        copy[*position] ^= 1 << (number % 8);
        std::fs::write(&damaged, copy).unwrap();
        let what = format!("bit {} of byte {position} of {}", number % 8, bytes.len());
        let ended = remand(["verify"]).arg(&damaged).end();
        if ended.status == 0 {
            restore(&archives.target, &damaged, &[]);
            assert_restored(&archives.source, "web01", &archives.target, "web01");
            support::at::remove_tree(&archives.target.path("jails/web01"));
            harmless.push(what);
            continue;
        }
        assert!([22, 23].contains(&ended.status), "{what}: {}", ended.describe());
        if number % 7 == 0 {
            archives.is_undone(&damaged, &what);
        }
    }
    assert!(harmless.len() * 5 < positions.len(), "too many flips change nothing: {harmless:?}");
}

#[test]
fn a_flipped_bit_anywhere_in_a_tar() {
    flip_bits("web01.tar", 97);
}

#[test]
fn a_flipped_bit_anywhere_in_a_tar_gz() {
    flip_bits("web01.tar.gz", 41);
}

#[test]
fn a_flipped_bit_anywhere_in_a_tar_zst() {
    flip_bits("web01.tar.zst", 97);
}

#[test]
fn an_archive_that_ends_early() {
    let archives = Archives::new();
    for name in ["web01.tar", "web01.tar.gz", "web01.tar.zst"] {
        let bytes = std::fs::read(archives.export(name, &[])).unwrap();
        let short = archives.scratch.join(&format!("short-{name}"));
        // The two blocks of zeros that end a tar come after the seal and hold nothing.
        let end = if name == "web01.tar" { bytes.len() - 10240.min(bytes.len() / 2) } else { bytes.len() };
        for (number, length) in (0..end).step_by(512).chain([bytes.len() / 2 + 1]).enumerate() {
            std::fs::write(&short, &bytes[..length]).unwrap();
            let what = format!("the first {length} of {} bytes of {name}", bytes.len());
            Archives::is_found(&short, &what);
            if number % 5 == 0 {
                archives.is_undone(&short, &what);
            }
        }
    }
}

#[test]
fn an_archive_from_a_pipe_that_breaks() {
    let archives = Archives::new();
    let bytes = std::fs::read(archives.export("web01.tar.gz", &[])).unwrap();
    for tenth in 0..10 {
        let part = bytes[..bytes.len() * tenth / 10].to_vec();
        let ended = remand(["restore", "-"]).on(&archives.target).input(part).end();
        assert!([22, 23].contains(&ended.status), "{tenth}: {}", ended.describe());
        assert_eq!((archives.target.jails(), archives.target.remains()), (vec![], vec![]));
    }
}

#[test]
fn bytes_after_the_end() {
    let archives = Archives::new();
    let path = archives.export("web01.tar", &[]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend(workload::noise(1, 4096));
    std::fs::write(&path, bytes).unwrap();
    // tar(1) stops at the blocks of zeros; whatever we say, it must not be a failure without a name.
    let ended = remand(["verify"]).arg(&path).end();
    assert!([0, 22, 23].contains(&ended.status), "{}", ended.describe());
}

#[test]
fn members_that_are_missing_or_swapped() {
    let archives = Archives::new();
    archives.export("web01.tar", &[]);
    let damaged = archives.scratch.join("damaged.tar");
    let fresh = || Bundle::open(&archives.scratch.join("web01.tar"));
    for number in 0..fresh().members.len() {
        let mut bundle = fresh();
        let gone = bundle.members.remove(number);
        bundle.save(&damaged);
        Archives::is_found(&damaged, &format!("without {}", gone.text()));
        archives.is_undone(&damaged, &format!("without {}", gone.text()));
    }
    let mut bundle = fresh();
    let (a, b) = (bundle.position("./root/srv/new"), bundle.position("./root/etc/conf"));
    let data = bundle.members[a].data.clone();
    bundle.members[a].data = std::mem::replace(&mut bundle.members[b].data, data);
    bundle.save(&damaged);
    Archives::is_found(&damaged, "with two contents swapped");
    archives.is_undone(&damaged, "with two contents swapped");
}

#[test]
fn indexes_that_are_cut_reordered_or_not_sealed() {
    let archives = Archives::new();
    archives.export("web01.tar", &[]);
    let damaged = archives.scratch.join("damaged.tar");
    let index = Bundle::open(&archives.scratch.join("web01.tar")).member("./index.jsonl").data.clone();
    let lines: Vec<&[u8]> = index.split_inclusive(|byte| *byte == b'\n').collect();
    let last = lines.len() - 1;
    let cases: [(&str, Vec<u8>); 5] = [
        ("without a seal", lines[..last].concat()),
        ("with half a seal", index[..index.len() - 20].to_vec()),
        ("without its first line", lines[1..].concat()),
        ("with a line twice", [lines[0], &index].concat()),
        ("with a line after the seal", [&index[..], lines[0]].concat()),
    ];
    for (what, data) in cases {
        let mut bundle = Bundle::open(&archives.scratch.join("web01.tar"));
        bundle.member("./index.jsonl").data = data;
        bundle.save(&damaged);
        Archives::is_found(&damaged, what);
        archives.is_undone(&damaged, what);
    }
}

#[test]
fn a_header_that_disagrees_with_its_line() {
    let archives = Archives::new();
    archives.export("web01.tar", &[]);
    let damaged = archives.scratch.join("damaged.tar");
    for (record, value) in [
        ("mtime", "1.5"),
        ("uid", "77"),
        ("SCHILY.xattr.user.evil", "x"),
        ("SCHILY.fflags", "nodump"),
        ("SCHILY.acl.access", "user::rwx,group::r--,other::r--"),
    ] {
        let mut bundle = Bundle::open(&archives.scratch.join("web01.tar"));
        bundle.member("./root/srv/new").records.insert(record.into(), value.into());
        bundle.save(&damaged);
        Archives::is_found(&damaged, record);
        archives.is_undone(&damaged, record);
    }
}

#[test]
fn damaged_directories() {
    let archives = Archives::new();
    let whole = archives.export("web01", &["--format", "directory"]);
    remand(["verify"]).arg(&whole).ends(0);
    let change = |what: &str, change: &dyn Fn(&At)| {
        let copy = archives.scratch.join("copy");
        let done = std::process::Command::new("cp").arg("-a").arg(&whole).arg(&copy).status();
        assert!(done.is_ok_and(|status| status.success()));
        change(&At::open(&copy));
        Archives::is_found(&copy, what);
        archives.is_undone(&copy, what);
        support::at::remove_tree(&copy);
    };
    for name in names(&whole) {
        change(&format!("without {name}"), &|root| root.remove(&name));
    }
    change("without a file", &|root| root.dir("root/srv").unlink("new"));
    change("with another content", &|root| root.dir("root/srv").write("new", workload::text(99, 600)));
    change("with another config", &|root| root.write("config.json", "{}"));
    change("with a symlink in place of a directory", &|root| {
        root.dir("root").rename("srv", "srv-elsewhere");
        root.dir("root").symlink("srv", "srv-elsewhere");
    });
    change("with a file that is a symlink", &|root| {
        root.dir("root/srv").unlink("new");
        root.dir("root/srv").symlink("new", "/etc/passwd");
    });
}
