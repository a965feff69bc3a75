//! A program that knows the manual page alone proves the same archives, and finds their damage.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::at::At;
use super::support::pool::{Place, Pool, Size};
use super::support::run::{export, remand};
use super::support::{Scratch, program_for};
use super::{ENCRYPTED, archives, key, versions};

/// Runs it; its exit status and what it says.
fn prove(python: &Path, archives: &[PathBuf]) -> (i32, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/independent/read_archive.py");
    let output = Command::new(python).arg(script).args(archives).output().expect("python3");
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

fn python() -> Option<PathBuf> {
    program_for("independent reader", "zstd")?;
    program_for("independent reader", "python3")
}

/// What age(1) makes of an archive, where it is installed.
fn decrypted(archive: &Path, scratch: &Scratch) -> Option<PathBuf> {
    let age = program_for("independent reader of encrypted archives", "age")?;
    let plain = scratch.join("decrypted.tar.gz");
    let mut command = Command::new(age);
    command.args(["-d", "-i", &key("identity.txt"), "-o"]).arg(&plain).arg(archive);
    assert!(command.status().unwrap().success());
    Some(plain)
}

#[test]
fn golden_archives_are_whole_by_the_manual_page() {
    let Some(python) = python() else { return };
    for version in versions() {
        let scratch = Scratch::new();
        let mut paths = Vec::new();
        for (name, path) in archives(&version, &scratch) {
            paths.extend(if name == ENCRYPTED { decrypted(&path, &scratch) } else { Some(path) });
        }
        let (status, text) = prove(&python, &paths);
        assert_eq!(status, 0, "{text}");
        assert_eq!(text.matches(": whole, ").count(), paths.len(), "{text}");
    }
}

/// Every form of a fresh one: all kinds of entries, several resources, streams, and a table of several chunks.
#[test]
fn fresh_archives_are_whole_by_the_manual_page() {
    let Some(python) = python() else { return };
    let scratch = Scratch::new();
    let pool = Pool::with_jail(&Place::dir(), Size::Small);
    let big = super::support::workload::noise(5, 150_000);
    At::open(&pool.root("web01")).dir("srv").write("big", big);
    pool.jail("web02", "base-1.0", Size::Small);
    let mut paths = Vec::new();
    for name in ["a.tar", "a.tar.gz", "a.tar.zst", "a/"] {
        for (kind, options) in [("d", &[][..]), ("s", &["--standalone"])] {
            let path = scratch.join(&format!("{kind}-{name}"));
            export(&pool, "web01", &path, options);
            paths.push(path);
        }
    }
    let several = scratch.join("several.tar.gz");
    remand(["export"]).on(&pool).args(&["web01", "web02", "release:base-1.0"]).arg(&several).ends(0);
    paths.push(several);
    let piped = scratch.join("piped.tar.zst");
    let output = remand(["export", "-c", "zstd"]).on(&pool).args(&["web01", "-"]).ends(0);
    std::fs::write(&piped, output.stdout).unwrap();
    paths.push(piped);
    if let Some(place) = Place::btrfs("independent reader") {
        let pool = Pool::with_jail(&place, Size::Small);
        for (name, options) in [("n.tar.gz", &["--recursive"][..]), ("n.tar.zst", &["--standalone"])] {
            let path = scratch.join(name);
            export(&pool, "web01", &path, options);
            paths.push(path);
        }
    }
    let (status, text) = prove(&python, &paths);
    assert_eq!(status, 0, "{text}");
}

#[test]
fn everything_that_a_tree_can_have_is_whole_by_the_manual_page() {
    let Some(python) = python() else { return };
    let scratch = Scratch::new();
    let pool = Pool::with_jail(&Place::dir(), Size::Full);
    let path = scratch.join("full.tar.gz");
    export(&pool, "web01", &path, &[]);
    let (status, text) = prove(&python, &[path]);
    assert_eq!(status, 0, "{text}");
}

#[test]
fn damage_is_found_by_the_manual_page() {
    let Some(python) = python() else { return };
    let scratch = Scratch::new();
    let pool = Pool::with_jail(&Place::dir(), Size::Small);
    for name in ["a.tar", "a.tar.gz", "a.tar.zst"] {
        let path = scratch.join(name);
        export(&pool, "web01", &path, &[]);
        let whole = std::fs::read(&path).unwrap();
        let mut damaged = Vec::new();
        // In bits of every kind of place; those that nothing depends on are rare.
        let step = whole.len() / 40 + 1;
        for at in (0..whole.len() - 20).step_by(step).chain([whole.len() - 30]) {
            for (kind, bytes) in [
                ("flipped", {
                    let mut bytes = whole.clone();
                    bytes[at] ^= 4;
                    bytes
                }),
                ("cut", whole[..at].to_vec()),
            ] {
                let place = scratch.join(&format!("{kind}-{at}-{name}"));
                std::fs::write(&place, bytes).unwrap();
                // Where remand finds no damage there is none.
                if remand(["verify"]).arg(&place).end().status != 0 {
                    damaged.push(place);
                }
            }
        }
        let (status, text) = prove(&python, &damaged);
        assert_eq!((status, text.matches(": damaged: ").count()), (1, damaged.len()), "{text}");
    }
}
