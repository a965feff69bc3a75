//! What is encrypted: read by its identity alone, by age(1) too, and nowhere else in plain text.

use std::process::Command;

use super::support::pool::{Place, Pool, Size, names};
use super::support::run::{Run, export, remand, restore};
use super::support::trip::assert_restored;
use super::support::{Scratch, program_for};
use super::{AGE, Here, IDENTITY, OTHER_AGE, run, through};

#[test]
fn what_is_encrypted_is_restored_with_its_identity() {
    let place = Here::new();
    let (identity, other) = (place.text("age.key"), place.text("other.key"));
    for name in ["a.tar.gz.age", "a.tar.zst.age", "a.tar.age", "a.age"] {
        let archive = place.encrypted(name);
        let bytes = std::fs::read(&archive).unwrap();
        assert!(bytes.starts_with(b"age-encryption.org/v1\n"), "{name}");
        let target = Pool::with_release(&Place::dir(), Size::Small);
        restore(&target, &archive, &["--identity-file", &other, "--identity-file", &identity]);
        assert_restored(&place.source, "web01", &target, "web01");
        let target = Pool::with_release(&Place::dir(), Size::Small);
        let print = format!("cat {identity}");
        let run = remand(["restore", "--identity-command", &print, "-"]).on(&target);
        run.input(bytes.clone()).ends(0);
        assert_restored(&place.source, "web01", &target, "web01");
        for command in ["verify", "info", "ls", "diff"] {
            remand([command, "--identity-file", &identity]).arg(&archive).ends(0);
            remand([command]).arg(&archive).ends(24).tells("--identity-file");
            let ended = remand([command, "--identity-file", &other]).arg(&archive).ends(24);
            ended.tells("not for the identity that was given");
        }
        let cat = remand(["cat", "--identity-file", &identity]).arg(&archive).arg(":/srv/new").ends(0);
        let plain = std::fs::read(place.source.root("web01").join("srv/new")).unwrap();
        assert_eq!(cat.stdout, plain);
        let piped =
            remand(["cat", "--identity-file", &identity, "-", ":/srv/new"]).input(bytes.clone()).ends(0);
        assert_eq!(piped.stdout, plain);
        let head = bytes[..bytes.len().min(70_000)].to_vec();
        remand(["info", "--identity-file", &identity, "-"]).input(head).ends(0);
        remand(["restore"]).on(&place.target).arg(&archive).ends(24);
    }
    place.nothing_restored();
}

#[test]
fn age_decrypts_what_remand_encrypts_and_the_other_way_round() {
    let Some(age) = program_for("encryption", "age") else { return };
    let place = Here::new();
    let recipients = place.write("recipients", format!("# two\n{}\n{}\n", AGE, OTHER_AGE[0]).as_bytes());
    let archive = place.export("a.tar.gz.age", &["--recipients-file", recipients.to_str().unwrap()]);
    for key in ["age.key", "other.key"] {
        let plain = run(&age, &["-d", "-i", key, "a.tar.gz.age"], place.scratch.path());
        let plain = place.write("plain.tar.gz", &plain);
        remand(["verify"]).arg(plain).ends(0);
        remand(["verify", "--identity-file"]).arg(place.path(key)).arg(&archive).ends(0);
    }
    place.export("b.tar.gz", &[]);
    run(&age, &["-r", AGE, "-o", "b.age", "b.tar.gz"], place.scratch.path());
    restore(&place.target, &place.path("b.age"), &["--identity-file", &place.text("age.key")]);
    assert_restored(&place.source, "web01", &place.target, "web01");
    run(&age, &["-a", "-r", AGE, "-o", "c.age", "b.tar.gz"], place.scratch.path());
    let ended =
        remand(["verify", "--identity-file"]).arg(place.path("age.key")).arg(place.path("c.age")).ends(23);
    ended.tells("age --decrypt");
}

#[test]
fn damage_of_what_is_encrypted_is_found_and_undone() {
    let place = Here::new();
    let identity = place.text("age.key");
    let bytes = std::fs::read(place.encrypted("a.tar.gz.age")).unwrap();
    let check = |bytes: Vec<u8>, statuses: &[i32], what: &str| {
        let damaged = place.write("damaged.age", &bytes);
        for command in ["verify", "restore"] {
            let run = remand([command, "--identity-file", &identity]);
            let run = if command == "restore" { run.on(&place.target) } else { run };
            let ended = run.arg(&damaged).end();
            assert!(statuses.contains(&ended.status), "{what}: {}", ended.describe());
        }
        place.nothing_restored();
        let ended = remand(["ls", "--identity-file", &identity]).arg(&damaged).arg("web01").end();
        assert!(statuses.contains(&ended.status), "{what}: {}", ended.describe());
    };
    for end in [50, 150, 250, bytes.len() / 2, bytes.len() - 1] {
        check(bytes[..end].to_vec(), &[22], &format!("cut at {end}"));
    }
    // A header that was changed may not be for this identity any more.
    for at in [30, 60, 100, 150] {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        check(bad, &[22, 24], &format!("byte {at} of the header"));
    }
    for at in [250, 5000, bytes.len() / 2, bytes.len() - 1] {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        check(bad, &[22], &format!("byte {at}"));
    }
    check([&bytes[..], b"x"].concat(), &[22], "a byte more");
}

/// Under strace no call of the export writes anything in plain text: not to the archive, and not to a file beside it.
#[test]
fn nothing_of_what_is_encrypted_is_on_a_disk_in_plain_text() {
    let Some(strace) = program_for("plain text on disks", "strace") else { return };
    let place = Here::new();
    let marker = "marker-that-is-looked-for";
    let root = place.source.root("web01");
    std::fs::write(root.join(format!("srv/{marker}")), marker.repeat(10)).unwrap();
    let archive = place.path("a.tar.age");
    let identity = place.text("age.key");
    let traced = |run: Run| {
        let trace = place.text("trace");
        let mut strace = Command::new(&strace);
        strace.args([
            "-f",
            "-qq",
            "-s",
            "1000000",
            "-e",
            "trace=write,pwrite64,writev,sendfile,copy_file_range",
            "-o",
            &trace,
        ]);
        let output = through(run, &mut strace).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        if stderr.contains("ptrace") {
            super::support::skipped("plain text on disks", "strace may not trace here");
            return None;
        }
        assert!(output.status.success(), "{stderr}");
        Some(String::from_utf8_lossy(&std::fs::read(trace).unwrap()).into_owned())
    };
    let run = remand(["export", "--encrypt-to", AGE, "-q"]).on(&place.source).arg("web01").arg(&archive);
    let Some(trace) = traced(run) else { return };
    assert!(trace.contains("age-encryption.org"), "the archive itself was seen");
    assert!(!trace.contains(marker), "the export wrote in plain text");
    // The same in plain text shows that it would have been seen.
    let run = remand(["export", "-q"]).on(&place.source).arg("web01").arg(place.path("b.tar"));
    assert!(traced(run).unwrap().contains(marker));
    let run = remand(["verify", "--identity-file", &identity, "-q"]).arg(&archive);
    assert!(!traced(run).unwrap().contains(marker));
    let file = format!(":/srv/{marker}");
    let run = remand(["cat", "--identity-file", &identity, "-q"]).arg(&archive).arg(&file);
    let trace = traced(run).unwrap();
    let beside: Vec<_> =
        trace.lines().filter(|line| line.contains(marker) && !line.contains("write(1,")).collect();
    assert!(beside.is_empty(), "cat wrote it elsewhere than to standard output: {beside:?}");
}

#[test]
fn native_streams_are_encrypted_too() {
    let Some(btrfs) = Place::btrfs("encryption") else { return };
    let scratch = Scratch::new();
    let identity = scratch.join("age.key");
    std::fs::write(&identity, IDENTITY).unwrap();
    let source = Pool::with_jail(&btrfs, Size::Small);
    let archive = scratch.join("a.tar.zst.age");
    export(&source, "web01", &archive, &["--standalone", "--recursive", "--encrypt-to", AGE]);
    let target = Pool::empty(&btrfs);
    restore(&target, &archive, &["--identity-file", identity.to_str().unwrap()]);
    assert_restored(&source, "web01", &target, "web01");
    assert_eq!(names(scratch.path()), ["a.tar.zst.age", "age.key"]);
}
