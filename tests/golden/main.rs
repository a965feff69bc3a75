//! Golden archives: those of every version of the format are read for ever, by this program and by one that knows the manual page alone.
//!
//! `tests/data/VERSION/` has the archives and, beside each, a listing of all that a restore of it makes. Those of the version that is written
//! now are made by
//!
//! ```text
//! cargo test --test golden -- --ignored write_golden_archives
//! ```
//!
//! which must be run when the version of the format is raised, or when an archive is added here: it makes those that are missing. One that
//! was made once never changes. `tests/data/keys` has the keys of those that are signed or encrypted.

#[path = "../support/mod.rs"]
mod support;

mod independent;
mod listing;
mod newer;

use std::path::{Path, PathBuf};
use std::process::Command;

use listing::listing;
use remand::archive::manifest::{MAJOR, MINOR};
use support::Scratch;
use support::pool::{Place, Pool, Size, names};
use support::run::{export, remand, restore};

/// Release that the differential ones are based on.
const BASE: &str = "base.tar.gz";
/// A DIRECTORY, in a tar, since git keeps no empty directories.
const DIRECTORY: &str = "directory.tar.gz";
/// Signed; and signed and encrypted.
const SIGNED: &str = "signed.tar.gz";
const ENCRYPTED: &str = "encrypted.tar.gz.age";
/// Most bytes of each.
const MAX_BYTES: u64 = 64 << 10;

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

/// Directories of all versions, the oldest first.
fn versions() -> Vec<String> {
    let mut versions = names(&data());
    versions.retain(|name| !matches!(name.as_str(), "foreign" | "keys"));
    let number = |version: &str| -> Vec<u32> {
        version.split('.').map(|part| part.parse().expect("tests/data holds versions")).collect()
    };
    versions.sort_by_key(|version| number(version));
    versions
}

/// The archives of a version, ready to be read.
fn archives(version: &str, scratch: &Scratch) -> Vec<(String, PathBuf)> {
    let directory = data().join(version);
    let all = names(&directory).into_iter().filter(|name| !name.ends_with(".listing"));
    all.map(|name| {
        let path = directory.join(&name);
        if name != DIRECTORY {
            return (name, path);
        }
        let unpacked = scratch.join(&format!("{version}-directory"));
        std::fs::create_dir(&unpacked).unwrap();
        let done = Command::new("tar").arg("-xzf").arg(&path).arg("-C").arg(&unpacked).status().unwrap();
        assert!(done.success());
        (name, unpacked)
    })
    .collect()
}

fn key(name: &str) -> String {
    data().join("keys").join(name).into_os_string().into_string().expect("a readable path")
}

/// What a command needs to read an archive, and to prove that it is signed.
fn keys(name: &str) -> Vec<String> {
    let mut options = Vec::new();
    if [SIGNED, ENCRYPTED].contains(&name) {
        options.extend(["--verify-key".to_owned(), key("signer.pub"), "--require-signature".to_owned()]);
    }
    if name == ENCRYPTED {
        options.extend(["--identity-file".to_owned(), key("identity.txt")]);
    }
    options
}

/// Runs a command that reads an archive.
fn read(command: &[&str], name: &str, archive: &Path) -> support::run::Ended {
    let keys = keys(name);
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    remand(command).args(&keys).arg(archive).ends(0)
}

/// What a restore of an archive makes, all of it.
fn restored(version: &str, name: &str, archive: &Path) -> String {
    let pool = Pool::empty(&Place::dir());
    if name != BASE {
        restore(&pool, &data().join(version).join(BASE), &[]);
    }
    let keys = keys(name);
    let keys: Vec<_> = keys.iter().map(String::as_str).collect();
    let ended = remand(["restore"]).on(&pool).args(&keys).arg(archive).end();
    // Their fstabs mount what this host need not have, which is all that may be said of them.
    let warned = ended.stderr.lines().filter(|line| line.starts_with("warning: "));
    let expected =
        warned.clone().all(|line| line.contains("fstab, line") && line.ends_with("not on this host"));
    assert!(matches!(ended.status, 0 | 3) && expected, "{}", ended.describe());
    let mut text = String::new();
    for kind in ["jails", "releases"] {
        // What the base brings is told by its own listing.
        if kind == "jails" || name == BASE {
            text += &listing(pool.directory(), kind);
        }
    }
    text.replace(pool.directory().to_str().unwrap(), "POOL")
}

#[test]
fn golden_archives_of_all_versions_are_restored() {
    if !support::root_for("golden archives") {
        return;
    }
    for version in versions() {
        let scratch = Scratch::new();
        let archives = archives(&version, &scratch);
        assert!(archives.len() >= 6, "{version} has {} archives", archives.len());
        for (name, archive) in archives {
            read(&["verify"], &name, &archive);
            let kept =
                std::fs::read_to_string(data().join(&version).join(format!("{name}.listing"))).unwrap();
            let found = restored(&version, &name, &archive);
            assert!(kept == found, "{version}/{name} is restored as\n{found}\nand should be\n{kept}");
        }
    }
}

#[test]
fn the_version_that_is_written_has_golden_archives() {
    let current = format!("{MAJOR}.{MINOR}");
    let last = versions().pop();
    assert_eq!(
        last.as_deref(),
        Some(current.as_str()),
        "see the head of tests/golden/main.rs for how to make them"
    );
    for name in names(&data().join(&current)) {
        let bytes = data().join(&current).join(&name).metadata().unwrap().len();
        assert!(bytes <= MAX_BYTES, "{name} has {bytes} bytes");
        let scratch = Scratch::new();
        for (name, archive) in archives(&current, &scratch) {
            let ended = read(&["info", "--json"], &name, &archive);
            let manifest = ended
                .json()
                .into_iter()
                .find_map(|mut line| line.get_mut("manifest").map(serde_json::Value::take));
            let version = &manifest.expect("a manifest")["version"];
            assert_eq!((&version["major"], &version["minor"]), (&MAJOR.into(), &MINOR.into()), "{name}");
        }
    }
}

/// Writes those of the current version that are missing.
#[test]
#[ignore = "makes the golden archives of a new version of the format"]
fn write_golden_archives() {
    assert!(support::is_root(), "as root: an archive keeps owners");
    let version = format!("{MAJOR}.{MINOR}");
    let directory = data().join(&version);
    std::fs::create_dir_all(data()).unwrap();
    std::fs::create_dir_all(&directory).unwrap();
    let pool = Pool::with_jail(&Place::dir(), Size::Small);
    let root = support::at::At::open(&pool.root("web01"));
    let srv = root.dir("srv");
    srv.write_sparse("sparse", 300_000, &[(100_000, b"in the middle of holes")]);
    srv.write(b"not-utf8-\xff", "a name that is no text\n");
    srv.write("empty", "");
    let long = "n".repeat(120);
    srv.write(&long, "a name for a pax record\n");
    srv.try_set_xattr("empty", "user.golden=%", b"\0value\xff").expect("extended attributes");
    srv.try_chown("empty", 12_345_678, 4_000_000_000).expect("root");
    for name in [&b"sparse"[..], b"not-utf8-\xff", b"empty", long.as_bytes(), b"."] {
        srv.set_mtime(name, support::workload::JAIL_TIME);
    }
    pool.jail("web02", "base-1.0", Size::Small);
    let missing = |name: &str| Some(directory.join(name)).filter(|path| !path.exists());
    if let Some(to) = missing(BASE) {
        remand(["export", "--standalone"]).on(&pool).arg("release:base-1.0").arg(to).ends(0);
    }
    let signer = key("signer.key");
    let identity = std::fs::read_to_string(key("identity.txt")).unwrap();
    let recipient = identity.lines().next().and_then(|line| line.strip_prefix("# public key: ")).unwrap();
    let sign = ["--sign", &signer];
    let encrypt = ["--sign", &signer, "--encrypt-to", recipient];
    for (name, options) in [
        ("differential.tar.gz", &[][..]),
        ("differential.tar.zst", &[]),
        ("differential.tar", &[]),
        ("standalone.tar.gz", &["--standalone"]),
        ("standalone.tar.zst", &["--standalone"]),
        (SIGNED, &sign),
        (ENCRYPTED, &encrypt),
    ] {
        if let Some(to) = missing(name) {
            export(&pool, "web01", &to, options);
        }
    }
    if let Some(to) = missing("several.tar.zst") {
        remand(["export"]).on(&pool).args(&["web01", "web02"]).arg(to).ends(0);
    }
    if let Some(to) = missing("template.tar.zst") {
        remand(["export"]).on(&Pool::iocage(&Place::dir())).args(&["blog", "template:web"]).arg(to).ends(0);
    }
    let scratch = Scratch::new();
    if let Some(to) = missing(DIRECTORY) {
        export(&pool, "web01", &scratch.join("directory"), &["--format", "directory"]);
        let mut tar = Command::new("tar");
        tar.arg("-czf").arg(to).arg("-C").arg(scratch.join("directory")).args(["--sparse", "."]);
        assert!(tar.status().unwrap().success());
    }
    for (name, archive) in archives(&version, &scratch) {
        if let Some(to) = missing(&format!("{name}.listing")) {
            std::fs::write(to, restored(&version, &name, &archive)).unwrap();
        }
    }
}
