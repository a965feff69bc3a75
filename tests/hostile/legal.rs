//! What looks like an attack and is legal: it must come back, and do no harm on the way.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;

use crate::support::at::At;
use crate::support::bundle::Bundle;
use crate::support::pool::{Place, Pool, Size, names};
use crate::support::run::{export, remand, restore};
use crate::support::tar;
use crate::support::{Scratch, is_root, skipped, turn, while_disturbed};
use crate::trap::{Trap, cost};

#[test]
fn setuid_files_come_back_and_staging_is_nobodys_way_to_them() {
    let scratch = Scratch::new();
    let (source, target) = (Pool::with_jail(&Place::dir(), Size::Small), Pool::empty(&Place::dir()));
    let at = At::open(&source.root("web01"));
    at.write("su", "#!/bin/sh\n");
    at.chmod("su", 0o4755);
    export(&source, "web01", &scratch.join("a.tar"), &["--standalone"]);
    restore(&target, &scratch.join("a.tar"), &[]);
    assert_eq!(At::open(&target.root("web01")).stat("su").st_mode & 0o7777, 0o4755);
    for directory in [".remand", ".remand/staging"] {
        let mode = target.path(directory).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{directory}");
    }
}

#[test]
fn links_that_leave_the_tree_are_kept_and_never_followed() {
    let scratch = Scratch::new();
    let (source, target) = (Pool::with_jail(&Place::dir(), Size::Small), Pool::empty(&Place::dir()));
    let at = At::open(&source.root("web01"));
    let outside = scratch.join("outside");
    std::fs::create_dir(&outside).unwrap();
    let targets = ["../../../../../../etc/passwd", "/etc/shadow", outside.to_str().unwrap(), ".", ".."];
    for (number, target) in targets.iter().enumerate() {
        at.symlink(format!("link{number}"), target);
    }
    let before = (names(&outside), outside.metadata().unwrap().ctime_nsec());
    export(&source, "web01", &scratch.join("a.tar"), &["--standalone"]);
    restore(&target, &scratch.join("a.tar"), &[]);
    let restored = At::open(&target.root("web01"));
    for (number, target) in targets.iter().enumerate() {
        assert_eq!(restored.target(format!("link{number}")), target.as_bytes());
    }
    assert_eq!((names(&outside), outside.metadata().unwrap().ctime_nsec()), before);
}

#[test]
fn mounts_that_lead_out_are_kept_and_told() {
    let (trap, mut bundle) = Trap::new();
    let lines = [
        "/etc backup:///root/etc nullfs rw 0 0",
        "/releases2 backup:///root/mnt nullfs ro 0 0",
        "backup:///root/evil backup:///../../../etc nullfs rw 0 0",
        "backup:///root/evil /usr nullfs rw 0 0",
        "proc backup:///root/proc procfs rw 0 0",
    ];
    let text = lines.join("\n") + "\n";
    bundle.replace("fstab", text.as_bytes());
    let archive = trap.scratch.join("a.tar");
    bundle.save(&archive);
    let ended = remand(["restore"]).on(&trap.target).arg(&archive).ends(3);
    for told in
        ["line 1", "/etc", "line 2", "/releases2", "line 3", "line 4", "/usr", "outside of the resource"]
    {
        ended.tells(told);
    }
    assert!(!ended.stderr.contains("line 5"), "{}", ended.describe());
    let own = trap.target.path("jails/web01");
    let expected = text.replace("backup:///", &format!("{}/", own.display()));
    assert_eq!(std::fs::read_to_string(own.join("fstab")).unwrap(), expected);
}

/// Deeper than any path that a system call takes.
#[test]
fn directories_in_thousands_of_others() {
    let (trap, mut bundle) = Trap::standalone();
    let (mut text, mut lines) = bundle.text();
    let at = bundle.position("./index.jsonl");
    let mut line = bundle.line("root.tree/srv");
    let own = bundle.members[bundle.position("./root.tree/srv")].clone();
    let mut path = "./root.tree/srv".to_owned();
    let mut members = Vec::new();
    for _ in 0..3000 {
        path.push_str("/d");
        members.push(own.named(&format!("{path}/")));
        line["path"] = path.clone().into();
        text.extend(serde_json::to_vec(&line).unwrap());
        text.push(b'\n');
        lines += 1;
    }
    bundle.members.splice(at..at, members);
    bundle.seal_text(text, lines);
    let archive = trap.scratch.join("deep.tar");
    bundle.save(&archive);
    trap.only_looks("deep", &archive);
    let cost = cost(remand(["restore"]).on(&trap.target).arg(&archive), None);
    trap.check("deep", "restore", &cost, &[0]);
    let mut at = At::open(&trap.target.root("web01")).dir("srv");
    for _ in 0..3000 {
        at = at.dir("d");
    }
    assert_eq!(at.names(), Vec::<Vec<u8>>::new());
}

/// The archive with so many more empty files in one directory.
fn crowded(trap: &Trap, mut bundle: Bundle, count: usize, flags: Option<&str>) -> PathBuf {
    let (mut text, lines) = bundle.text();
    let mut own = bundle.members[bundle.position("./root.tree/srv/new")].clone();
    own.data.clear();
    let mut line = bundle.line("root.tree/srv/new");
    line.as_object_mut().unwrap().remove("group");
    line["size"] = 0.into();
    line["digest"] = format!("blake3:{}", blake3::hash(b"").to_hex()).into();
    line["path"] = "HERE".into();
    if let Some(flags) = flags {
        line["flags"] = flags.into();
        own.records.insert(b"SCHILY.fflags".to_vec(), flags.into());
    }
    let line = line.to_string();
    let name = |number: usize| format!("./root.tree/srv/n{number:07}");
    for number in 0..count {
        text.extend(line.replace("HERE", &name(number)).bytes());
        text.push(b'\n');
    }
    bundle.expect(count, 0);
    bundle.seal_text(text, lines + count);
    let archive = trap.scratch.join("many.tar");
    let mut file = BufWriter::new(File::create(&archive).unwrap());
    for member in &bundle.members {
        if member.text() == "./index.jsonl" {
            for number in 0..count {
                file.write_all(&tar::headers(&own.named(&name(number)), 0)).unwrap();
            }
        }
        let bytes = tar::write(std::slice::from_ref(member));
        file.write_all(&bytes[..bytes.len() - 1024]).unwrap();
    }
    file.write_all(&[0; 1024]).unwrap();
    file.flush().unwrap();
    archive
}

#[test]
fn a_million_entries_in_one_directory() {
    let (trap, bundle) = Trap::standalone();
    let archive = crowded(&trap, bundle, 1_000_000, None);
    for (what, run) in [
        ("verify", remand(["verify"]).arg(&archive)),
        ("ls", remand(["ls"]).arg(&archive).arg(":/")),
        ("cat", remand(["cat"]).arg(&archive).arg(":/srv/new")),
    ] {
        let cost = cost(run, None);
        trap.check("a million", what, &cost, &[0]);
        eprintln!("a million entries, {what}: {} MiB, {:?}", cost.bytes >> 20, cost.time);
    }
}

/// What cannot be kept is told while it comes, and does not wait in memory.
#[test]
fn many_losses() {
    let (trap, bundle) = Trap::standalone();
    // A flag of FreeBSD's that no file system of Linux has.
    let archive = crowded(&trap, bundle, 60_000, Some("uarch"));
    let cost = cost(remand(["restore", "-q"]).on(&trap.target).arg(&archive), None);
    trap.check("losses", "restore", &cost, &[3]);
    eprintln!("60000 losses: {} MiB, {:?}", cost.bytes >> 20, cost.time);
    assert!(cost.bytes < 28 << 20, "{} MiB", cost.bytes >> 20);
}

/// Two names that are one where the file system knows no case, or takes two ways to write a letter for one.
#[test]
fn names_that_the_file_system_takes_for_one() {
    let group = "hostile: folding";
    let Some(Place::Zfs(parent)) = Place::zfs(group) else { return };
    turn::take();
    let folding = format!("{parent}/folding-{}", std::process::id());
    let made = std::process::Command::new("zfs")
        .args(["create", "-o", "casesensitivity=insensitive", "-o", "normalization=formD", &folding])
        .output();
    if !made.is_ok_and(|output| output.status.success()) {
        return skipped(group, "no file system can be made that folds case");
    }
    let (trap, honest) = Trap::standalone();
    {
        let target = Pool::empty(&Place::Zfs(folding.clone()));
        for (one, other) in [("Foo", "foo"), ("\u{e9}", "e\u{301}"), ("stra\u{df}e", "STRA\u{df}E")] {
            let mut bundle = honest.clone();
            bundle.add_copy("root.tree/srv/new", &format!("root.tree/srv/{one}"));
            bundle.add_copy("root.tree/srv/new", &format!("root.tree/srv/{other}"));
            let archive = trap.scratch.join("folding.tar");
            bundle.save(&archive);
            let ended = remand(["restore"]).on(&target).arg(&archive).end();
            assert_eq!(ended.status, 23, "{one}: {}", ended.describe());
            ended.tells("cannot be told from");
            assert_eq!((target.jails(), target.remains()), (vec![], vec![]));
            // Where the file system tells them apart both are restored.
            restore(&trap.target, &archive, &[]);
            assert_eq!(
                names(&trap.target.root("web01").join("srv")).len()
                    - names(&trap.source.root("web01").join("srv")).len(),
                2
            );
            trap.target.delete("jails/web01");
        }
    }
    crate::support::pool::destroy(&folding);
}

/// A directory of somebody else's, who puts a link where the hidden directory is that is extracted into.
#[test]
fn extraction_into_somebody_elses_directory() {
    if !is_root() {
        return skipped("hostile: another's directory", "needs root");
    }
    let (trap, bundle) = Trap::standalone();
    let archive = trap.scratch.join("a.tar");
    bundle.save(&archive);
    let (to, victim) = (trap.scratch.join("to"), trap.scratch.join("victim"));
    std::fs::create_dir(&victim).unwrap();
    std::fs::write(victim.join("srv"), "safe").unwrap();
    let swap = || {
        for name in names(&to).into_iter().filter(|name| name.starts_with(".remand")) {
            let _ = std::fs::rename(to.join(&name), to.join("aside"));
            let _ = symlink(&victim, to.join(&name));
        }
    };
    for _ in 0..30 {
        std::fs::create_dir(&to).unwrap();
        let run = remand(["restore", "--to"]).arg(&to).on(&trap.target).arg(&archive).arg(":/srv");
        let cost = while_disturbed(swap, || cost(run, None));
        trap.check("swapped", "to", &cost, &[0, 1, 3, 12, 22, 23]);
        assert_eq!(std::fs::read_to_string(victim.join("srv")).unwrap(), "safe");
        assert_eq!(names(&victim), ["srv"]);
        crate::support::at::remove_tree(&to);
    }
}
