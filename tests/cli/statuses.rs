//! Every exit status that a user can meet, and what is said then.

use std::io::Read as _;
use std::process::Stdio;

use super::{small, target};
use crate::support::Scratch;
use crate::support::pool::{Place, Pool, Size, names};
use crate::support::run::{export, remand};

#[test]
fn status_2_usage() {
    let (scratch, pool) = small();
    for arguments in [
        &[][..],
        &["nonsense"],
        &["export"],
        &["export", "web01"],
        &["export", "--format", "zip", "web01", "a"],
        &["export", "-c", "rot13", "web01", "a.tar"],
        &["export", "-l", "77", "web01", "a.tar.gz"],
        &["restore", "--identity", "stolen", "a.tar.gz"],
        &["restore"],
        &["diff"],
        &["completions", "cobol"],
    ] {
        let ended = remand(arguments).in_directory(scratch.path()).env("REMAND_POOL", pool.name()).ends(2);
        assert!(!ended.stderr.is_empty(), "{}", ended.describe());
    }
    assert_eq!(names(scratch.path()), [""; 0]);
}

#[test]
fn status_10_no_such_resource_pool_or_archive() {
    let (scratch, pool) = small();
    for name in ["nobody", "web0", "web011"] {
        let ended = remand(["export", name]).on(&pool).arg(scratch.join("a.tar.gz")).ends(10);
        ended.tells(name);
    }
    remand(["diff", "nobody"]).on(&pool).ends(10).tells("nobody");
    remand(["list", "--pool"]).arg(scratch.join("no-pool")).ends(10).tells("no-pool");
    for command in ["verify", "info", "restore"] {
        let run = remand([command]).arg(scratch.join("absent.tar.gz")).env("REMAND_POOL", pool.name());
        run.ends(10).tells("absent.tar.gz");
    }
    assert_eq!(names(scratch.path()), [""; 0]);
}

#[test]
fn names_that_are_paths_reach_nothing_outside_of_the_pool() {
    let (scratch, pool) = small();
    for name in ["../jails/web01", "web01/../web01", "/etc", "", ".", "..", "web01/root/../../../../etc"] {
        let ended = remand(["export", name]).on(&pool).arg(scratch.join("a.tar.gz")).end();
        assert!([2, 10].contains(&ended.status), "{}", ended.describe());
    }
    export(&pool, "web01", &scratch.join("good.tar.gz"), &[]);
    for name in ["../evil", "a/b", "", ".", "..", ".remand"] {
        let ended = remand(["restore", "--name", name]).on(&pool).arg(scratch.join("good.tar.gz")).end();
        assert!([1, 2].contains(&ended.status), "{}", ended.describe());
    }
    assert_eq!(pool.jails(), ["web01"]);
}

/// An export that cannot go on because nobody reads its output, and so holds its lock.
fn blocked_export(pool: &Pool) -> std::process::Child {
    let mut command = remand(["export", "-c", "none", "web01", "-"]).on(pool).into_command();
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    // The first byte comes when the lock is held.
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    child
}

#[test]
fn status_11_locked_names_the_holder() {
    let scratch = Scratch::new();
    let pool = Pool::with_jail(&Place::dir(), Size::Full);
    let mut holder = blocked_export(&pool);
    let second = remand(["export", "web01"]).on(&pool).arg(scratch.join("a.tar.gz")).end();
    let diff = remand(["diff", "web01"]).on(&pool).end();
    std::io::copy(holder.stdout.as_mut().unwrap(), &mut std::io::sink()).unwrap();
    assert!(holder.wait().unwrap().success());
    second.expect(11);
    second.tells(&holder.id().to_string());
    second.tells("web01");
    second.tells("--wait");
    assert!([0, 11].contains(&diff.status), "{}", diff.describe());
    assert_eq!(names(scratch.path()), [""; 0]);
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
}

#[test]
fn waiting_for_a_lock() {
    let scratch = Scratch::new();
    let pool = Pool::with_jail(&Place::dir(), Size::Full);
    let mut holder = blocked_export(&pool);
    std::thread::scope(|scope| {
        let waiting = scope
            .spawn(|| remand(["export", "--wait", "web01"]).on(&pool).arg(scratch.join("a.tar.gz")).end());
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(!scratch.join("a.tar.gz").exists() && !waiting.is_finished());
        std::io::copy(holder.stdout.as_mut().unwrap(), &mut std::io::sink()).unwrap();
        holder.wait().unwrap();
        waiting.join().unwrap().expect(0);
    });
}

#[test]
fn a_lock_is_gone_with_its_process() {
    let scratch = Scratch::new();
    let pool = Pool::with_jail(&Place::dir(), Size::Full);
    let mut holder = blocked_export(&pool);
    holder.kill().unwrap();
    holder.wait().unwrap();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
}

#[test]
fn status_12_exists() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    remand(["export", "web01"]).on(&pool).arg(scratch.join("a.tar.gz")).ends(12).tells("a.tar.gz");
    remand(["restore"]).on(&pool).arg(scratch.join("a.tar.gz")).ends(12).tells("web01");
    remand(["restore", "--dry-run"]).on(&pool).arg(scratch.join("a.tar.gz")).ends(12);
}

#[test]
fn status_20_the_base_is_missing() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    let target = Pool::empty(&Place::dir());
    for arguments in [&["restore"][..], &["restore", "--dry-run"], &["restore", "--allow-base-mismatch"]] {
        remand(arguments).on(&target).arg(scratch.join("a.tar.gz")).ends(20).tells("base-1.0");
    }
    assert_eq!((target.jails(), target.remains()), (vec![], vec![]));
}

#[test]
fn statuses_22_and_23_come_before_anything_is_visible() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar"), &[]);
    let mut bytes = std::fs::read(scratch.join("a.tar")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(scratch.join("damaged.tar"), bytes).unwrap();
    let target = target();
    remand(["verify"]).arg(scratch.join("damaged.tar")).ends(22).tells("damaged.tar");
    remand(["restore"]).on(&target).arg(scratch.join("damaged.tar")).ends(22);
    assert_eq!((target.jails(), target.remains()), (vec![], vec![]));
}

#[test]
fn errors_are_one_line_a_level_and_have_no_escape_codes() {
    let (scratch, pool) = small();
    for ended in [
        remand(["export", "nobody"]).on(&pool).arg(scratch.join("a.tar.gz")).end(),
        remand(["verify"]).arg(scratch.join("absent")).end(),
        remand(["export", "-v", "web01"])
            .on(&pool)
            .env("TERM", "xterm-256color")
            .arg(scratch.join("b.tar"))
            .end(),
        remand(["list"]).on(&pool).env("TERM", "xterm-256color").end(),
        remand(["export", "bad\u{1b}[31mname"]).on(&pool).arg(scratch.join("c.tar")).end(),
    ] {
        assert!(!ended.stderr.contains('\u{1b}') && !ended.stdout.contains(&0x1b), "{}", ended.describe());
        assert!(!ended.stderr.contains("panicked"), "{}", ended.describe());
    }
}

#[test]
fn a_reader_that_goes_away_is_no_crash() {
    let pool = Pool::with_jail(&Place::dir(), Size::Full);
    for arguments in [&["export", "web01", "-"][..], &["diff", "web01"], &["completions", "bash"]] {
        let mut command = remand(arguments).env("REMAND_POOL", pool.name()).into_command();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!stderr.contains("panicked"), "{arguments:?}: {stderr}");
    }
    assert_eq!(pool.remains(), [""; 0]);
}
