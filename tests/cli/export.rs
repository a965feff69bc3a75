//! `remand export`.

use super::small;
use crate::support::bundle::Bundle;
use crate::support::pool::names;
use crate::support::run::{export, remand};
use crate::support::tar::Member;

#[test]
fn the_suffix_decides_on_the_compression() {
    let (scratch, pool) = small();
    for (name, magic, at) in [
        ("a.tar", &b"ustar"[..], 257),
        ("a.tar.gz", b"\x1f\x8b\x08", 0),
        ("a.tgz", b"\x1f\x8b\x08", 0),
        ("a.tar.zst", b"\x28\xb5\x2f\xfd", 0),
    ] {
        export(&pool, "web01", &scratch.join(name), &[]);
        let bytes = std::fs::read(scratch.join(name)).unwrap();
        assert_eq!(&bytes[at..at + magic.len()], magic, "{name}");
        remand(["verify"]).arg(scratch.join(name)).ends(0);
    }
}

#[test]
fn a_tar_begins_with_the_manifest_and_ends_with_the_index() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar"), &[]);
    let bundle = Bundle::open(&scratch.join("a.tar"));
    let names: Vec<String> = bundle.members.iter().map(Member::text).collect();
    assert!(names.iter().all(|name| name.starts_with("./")), "{names:?}");
    assert_eq!(names.first().map(String::as_str), Some("./manifest.json"));
    assert_eq!(names.last().map(String::as_str), Some("./index.jsonl"));
    for name in ["./config.json", "./fstab", "./files/notes.txt", "./root/srv/new"] {
        assert!(names.contains(&name.to_owned()), "{name} in {names:?}");
    }
    let config = std::fs::read(pool.path("jails/web01/config.json")).unwrap();
    assert_eq!(bundle.members[bundle.position("./config.json")].data, config, "byte for byte");
}

#[test]
fn a_directory_holds_the_same_members_and_the_same_seal() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a"), &["--format", "directory"]);
    export(&pool, "web01", &scratch.join("a.tar"), &[]);
    for member in &Bundle::open(&scratch.join("a.tar")).members {
        let path = scratch.join("a").join(member.text().trim_start_matches("./"));
        assert!(path.symlink_metadata().is_ok(), "{}", member.text());
        if member.kind == b'0' && !["./manifest.json", "./index.jsonl"].contains(&member.text().as_str()) {
            assert_eq!(std::fs::read(&path).unwrap(), member.data, "{}", member.text());
        }
    }
    remand(["verify"]).arg(scratch.join("a")).ends(0);
}

#[test]
fn standard_output_gets_the_archive_and_nothing_else() {
    let (scratch, pool) = small();
    let ended = remand(["export", "web01", "-"]).on(&pool).ends(0);
    std::fs::write(scratch.join("piped.tar.gz"), &ended.stdout).unwrap();
    remand(["verify"]).arg(scratch.join("piped.tar.gz")).ends(0);
    remand(["verify", "-"]).input(ended.stdout).ends(0);
}

#[test]
fn a_dry_run_changes_nothing() {
    let (scratch, pool) = small();
    let before = names(pool.directory());
    let ended = remand(["export", "--dry-run", "web01"]).on(&pool).arg(scratch.join("a.tar.gz")).ends(0);
    assert!(!ended.stdout.is_empty() || !ended.stderr.is_empty(), "it says what it would do");
    assert_eq!(names(scratch.path()), [""; 0]);
    assert_eq!(names(pool.directory()), before, "not even the state directory is made");
}

#[test]
fn force_replaces_what_exists_and_nothing_else_does() {
    let (scratch, pool) = small();
    for (name, options) in [("a.tar.gz", &[][..]), ("a", &["--format", "directory"])] {
        export(&pool, "web01", &scratch.join(name), options);
        let run = || remand(["export"]).on(&pool).args(options).arg("web01").arg(scratch.join(name));
        run().ends(12).tells(name);
        run().arg("--force").ends(0);
        remand(["verify"]).arg(scratch.join(name)).ends(0);
    }
    assert_eq!(names(scratch.path()), ["a", "a.tar.gz"], "nothing temporary is left");
}

#[test]
fn force_keeps_what_exists_until_the_new_one_is_whole() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    let before = std::fs::read(scratch.join("a.tar.gz")).unwrap();
    remand(["export", "--force", "nobody"]).on(&pool).arg(scratch.join("a.tar.gz")).ends(10);
    assert_eq!(std::fs::read(scratch.join("a.tar.gz")).unwrap(), before);
}

#[test]
fn a_directory_of_somebody_elses_is_not_replaced_by_force() {
    let (scratch, pool) = small();
    let precious = scratch.join("home");
    std::fs::create_dir(&precious).unwrap();
    std::fs::write(precious.join("thesis"), "the only copy").unwrap();
    let ended =
        remand(["export", "--force", "--format", "directory", "web01"]).on(&pool).arg(&precious).end();
    if ended.status != 0 {
        assert_eq!(std::fs::read(precious.join("thesis")).unwrap(), b"the only copy");
    }
}

#[test]
fn a_special_file_is_no_destination() {
    let (scratch, pool) = small();
    let link = scratch.join("link.tar.gz");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    remand(["export", "web01"]).on(&pool).arg(&link).ends(12);
    assert_eq!(std::fs::read_link(&link).unwrap().to_str(), Some("nowhere"));
}

#[test]
fn the_environment_and_a_config_file_name_the_pool() {
    let (scratch, pool) = small();
    remand(["export", "web01"]).env("REMAND_POOL", pool.name()).arg(scratch.join("a.tar")).ends(0);
    std::fs::write(scratch.join("remand.toml"), format!("pool = {:?}\n", pool.name())).unwrap();
    remand(["export", "web01"])
        .env("REMAND_CONFIG", scratch.join("remand.toml"))
        .arg(scratch.join("b.tar"))
        .ends(0);
    // The command line wins.
    remand(["export", "web01"])
        .env("REMAND_POOL", "/no/such/pool")
        .on(&pool)
        .arg(scratch.join("c.tar"))
        .ends(0);
}

#[test]
fn the_index_tells_what_became_of_every_entry() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar"), &[]);
    let bundle = Bundle::open(&scratch.join("a.tar"));
    bundle.line("root/old/gone");
    bundle.line("root/etc/mode");
    let names: Vec<String> = bundle.members.iter().map(Member::text).collect();
    assert!(!names.contains(&"./root/old/gone".to_owned()), "a deletion has no member");
    assert!(!names.contains(&"./root/etc/mode".to_owned()), "neither has a change of attributes");
    assert!(
        !bundle.index().iter().any(|line| line["path"] == "./root/etc/passwd"),
        "what is unchanged is not told"
    );
}
