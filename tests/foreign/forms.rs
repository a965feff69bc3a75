//! The forms that libioc's archives have, or may have.

use std::path::Path;
use std::process::Command;

use crate::made::{config, directory, file, stream, write};
use crate::support::at::At;
use crate::support::pool::{Place, Pool, Size};
use crate::support::run::remand;
use crate::support::tar::{self, Member};
use crate::support::{Scratch, is_root, program_for};

fn target() -> Pool {
    Pool::with_release(&Place::dir(), Size::Small)
}

fn small() -> Vec<Member> {
    vec![
        directory("./"),
        config(),
        file("./fstab", b"backup:////data\tbackup:////root/mnt\tnullfs\trw\t0\t0\n/usr/ports\tbackup:///root/x\tnullfs\tro\t0\t0\n"),
        directory("./root/"),
        directory("./root/new/"),
        file("./root/new/file", b"new\n"),
        Member::new(b'1', "./root/new/again", "./root/new/file", b""),
        Member::new(b'2', "./root/new/link", "file", b""),
    ]
}

fn assert_small(pool: &Pool, name: &str) {
    let root = At::open(&pool.root(name));
    let new = root.dir("new");
    assert_eq!(new.read("file"), b"new\n");
    assert_eq!(new.target("link"), b"file");
    assert_eq!(new.stat("file").st_ino, new.stat("again").st_ino);
    // What the release has is there too.
    assert!(root.names().len() > 1);
    assert_eq!(pool.remains(), [""; 0]);
}

#[test]
fn a_placeholder_with_four_slashes_is_the_new_place() {
    let (scratch, pool) = (Scratch::new(), target());
    write(&scratch.join("web01.tar"), &small());
    remand(["restore"]).on(&pool).arg(scratch.join("web01.tar")).ends(3);
    assert_small(&pool, "web01");
    let fstab = std::fs::read_to_string(pool.path("jails/web01/fstab")).unwrap();
    let own = pool.path("jails/web01").display().to_string();
    assert_eq!(
        fstab,
        format!("{own}/data\t{own}/root/mnt\tnullfs\trw\t0\t0\n/usr/ports\t{own}/root/x\tnullfs\tro\t0\t0\n")
    );
}

#[test]
fn names_without_dots_in_any_order_and_without_directories() {
    let (scratch, pool) = (Scratch::new(), target());
    let bare = |member: &Member| {
        let mut bare = member.named(member.text().trim_start_matches("./"));
        bare.target = String::from_utf8_lossy(&bare.target).trim_start_matches("./").into();
        bare
    };
    let members: Vec<Member> = small().iter().skip(1).map(bare).collect();
    // Config and fstab last, and no directory at all.
    let (own, root): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|member| !member.text().starts_with("root"));
    let root = root.into_iter().filter(|member| member.kind != b'5');
    let members: Vec<Member> = [directory("root/new/")].into_iter().chain(root).chain(own).collect();
    write(&scratch.join("web01.tar"), &members);
    remand(["restore"]).on(&pool).arg(scratch.join("web01.tar")).ends(3);
    assert_small(&pool, "web01");
}

#[test]
fn every_compression_and_a_pipe() {
    let scratch = Scratch::new();
    let plain = scratch.join("web01.tar");
    write(&plain, &small());
    for (program, end) in [("gzip", "gz"), ("xz", "xz"), ("zstd", "zst")] {
        if program_for("foreign archives", program).is_none() {
            continue;
        }
        let output = Command::new(program).arg("-c").arg(&plain).output().unwrap();
        let archive = scratch.join(&format!("web01.tar.{end}"));
        std::fs::write(&archive, &output.stdout).unwrap();
        let pool = target();
        remand(["restore"]).on(&pool).arg(&archive).ends(3);
        assert_small(&pool, "web01");
        let pool = target();
        remand(["restore", "--name", "piped"]).on(&pool).arg("-").input(output.stdout).ends(3);
        assert_small(&pool, "piped");
    }
}

#[test]
fn a_directory_whatever_its_name() {
    let scratch = Scratch::new();
    let place = scratch.join("web01.tar.gz");
    std::fs::create_dir_all(place.join("root/new")).unwrap();
    std::fs::write(place.join("config.json"), &config().data).unwrap();
    let new = At::open(&place.join("root/new"));
    new.write("file", "new\n");
    new.link("again", &new, "file");
    new.symlink("link", "file");
    let pool = target();
    remand(["restore"]).on(&pool).arg(&place).ends(3);
    assert_small(&pool, "web01");
}

/// A file is a stream only if it says itself that it is of the dataset whose place it has, as of the snapshot of an export.
#[test]
fn a_file_that_is_only_called_as_a_stream_is_a_file() {
    let (scratch, pool) = (Scratch::new(), target());
    let elsewhere = stream("zroot/other/jails/web01/root/backup@backup202611290411.1");
    let other_snapshot = stream("zroot/ioc/jails/web01/root/kept@daily");
    let mut members = small();
    members.push(file("./root/text.zfs", b"a text\n"));
    members.push(file("./root/bin.zfs", &elsewhere));
    members.push(file("./root/kept.zfs", &other_snapshot));
    write(&scratch.join("web01.tar"), &members);
    remand(["restore"]).on(&pool).arg(scratch.join("web01.tar")).ends(3);
    let root = At::open(&pool.root("web01"));
    assert_eq!(root.read("text.zfs"), b"a text\n");
    assert!(root.read("bin.zfs") == elsewhere && root.read("kept.zfs") == other_snapshot);
}

#[test]
fn a_stream_among_the_differences_is_a_dataset() {
    let (scratch, pool) = (Scratch::new(), target());
    let mut members = small();
    members
        .push(file("./root/bin.zfs", &stream("zroot/ioc/jails/web01/root/bin@backup20261129160455.123456")));
    members.push(directory("./root/bin/"));
    members.push(file("./root/bin/covered", b"the stream has it\n"));
    write(&scratch.join("web01.tar"), &members);
    let info = remand(["info"]).arg(scratch.join("web01.tar")).ends(0).text();
    assert!(info.contains("./root/bin.zfs is the stream of the dataset root/bin"), "{info}");
    assert!(info.contains("root/bin") && info.contains("zfs stream"), "{info}");
    let listed = remand(["ls", "--recursive"]).arg(scratch.join("web01.tar")).end();
    assert!(!listed.text().contains("covered"), "{}", listed.describe());
    remand(["restore"]).on(&pool).arg(scratch.join("web01.tar")).ends(1).tells("restore it to a pool of ZFS");
    assert_eq!((pool.jails(), pool.remains()), (Vec::new(), Vec::new()));
}

/// A stream before that which it lies in is taken in a later walk.
#[test]
fn what_a_dataset_lies_in_must_be_there() {
    let scratch = Scratch::new();
    let of = |dataset: &str| stream(&format!("zroot/ioc/jails/web01/{dataset}@backup20261129160455.123456"));
    let nested = [config(), directory("./data/"), file("./data/db.zfs", &of("data/db"))];
    let whole = [file("./data.zfs", &of("data")), file("./root.zfs", &of("root"))];
    write(&scratch.join("whole.tar"), &[&nested[..], &whole[..]].concat());
    let ended = remand(["verify"]).arg(scratch.join("whole.tar")).ends(3);
    ended.tells("seal");
    let info = remand(["info"]).arg(scratch.join("whole.tar")).ends(0).text();
    let at = |what: &str| info.find(what).unwrap_or_else(|| panic!("{what}: {info}"));
    assert!(at("./root.zfs") < at("./data.zfs") && at("./data.zfs") < at("./data/db.zfs"));
    write(&scratch.join("orphan.tar"), &[&nested[..], &whole[1..]].concat());
    remand(["info"]).arg(scratch.join("orphan.tar")).ends(23).tells("data/db");
}

#[test]
fn differences_without_a_release_cannot_be_restored() {
    let (scratch, pool) = (Scratch::new(), target());
    let mut members = small();
    members[1] = file("./config.json", b"{\"id\": \"web01\"}");
    write(&scratch.join("web01.tar"), &members);
    remand(["restore"]).on(&pool).arg(scratch.join("web01.tar")).ends(23).tells("base");
    assert_eq!(pool.jails(), [""; 0]);
    // Neither can those whose release is not there.
    members[1] = file("./config.json", b"{\"id\": \"web01\", \"release\": \"12.1-RELEASE-p3\"}");
    write(&scratch.join("web01.tar"), &members);
    remand(["restore"]).on(&pool).arg(scratch.join("web01.tar")).ends(20).tells("12.1-RELEASE");
    remand(["restore", "--base", "base-1.0"]).on(&pool).arg(scratch.join("web01.tar")).ends(3);
    assert_small(&pool, "web01");
}

#[test]
fn attributes_that_a_tar_file_has_are_taken() {
    if !is_root() {
        return;
    }
    let (scratch, pool) = (Scratch::new(), target());
    let mut members = small();
    members[5].records.insert(b"SCHILY.xattr.user.note".to_vec(), b"kept".to_vec());
    members[5].records.insert(b"mtime".to_vec(), b"1700000000.1234567".to_vec());
    write(&scratch.join("web01.tar"), &members);
    remand(["restore"]).on(&pool).arg(scratch.join("web01.tar")).ends(3);
    let new = At::open(&pool.root("web01").join("new"));
    assert_eq!(new.xattrs(b"file").unwrap(), [("user.note".into(), b"kept".to_vec())]);
    let modified = new.path_of("file").symlink_metadata().unwrap().modified().unwrap();
    let since = modified.duration_since(std::time::UNIX_EPOCH).unwrap();
    assert_eq!((since.as_secs(), since.subsec_nanos()), (1_700_000_000, 123_456_700));
}

#[test]
fn a_directory_of_the_release_becomes_a_file_and_a_file_a_directory() {
    let (scratch, pool) = (Scratch::new(), target());
    let release = At::open(&pool.path("releases/base-1.0/root"));
    release.mkdir("was-directory").write("in", "gone\n");
    release.write("was-file", "gone\n");
    let mut members = small();
    members.push(file("./root/was-directory", b"a file now\n"));
    members.push(directory("./root/was-file/"));
    members.push(file("./root/was-file/in", b"new\n"));
    write(&scratch.join("web01.tar"), &members);
    remand(["restore"]).on(&pool).arg(scratch.join("web01.tar")).ends(3);
    let root = At::open(&pool.root("web01"));
    assert_eq!(root.read("was-directory"), b"a file now\n");
    assert_eq!(root.dir("was-file").read("in"), b"new\n");
}

#[test]
fn what_libioc_does_not_write_is_left_out_and_told() {
    let (scratch, pool) = (Scratch::new(), target());
    let mut members = small();
    members.push(file("./README", b"by somebody\n"));
    write(&scratch.join("web01.tar"), &members);
    remand(["restore"])
        .on(&pool)
        .arg(scratch.join("web01.tar"))
        .ends(3)
        .tells("left out, since libioc does not write such: ./README");
    assert!(!pool.path("jails/web01/README").exists());
}

#[test]
fn the_jail_has_the_name_of_its_archive_where_nothing_else_tells() {
    let (scratch, pool) = (Scratch::new(), target());
    let mut members = small();
    members[1] = file("./config.json", b"{\"release\": \"base-1.0\"}");
    write(&scratch.join("mail.tar"), &members);
    remand(["restore"]).on(&pool).arg(scratch.join("mail.tar")).ends(3).tells("mail");
    assert_small(&pool, "mail");
}

#[test]
fn small_archives_that_are_kept() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/foreign");
    for name in ["libioc.tar.gz", "libioc-directory"] {
        let pool = target();
        remand(["restore", "--name", "kept"]).on(&pool).arg(data.join(name)).ends(3);
        let root = At::open(&pool.root("kept"));
        assert_eq!(root.dir("etc").read("changed"), b"changed in the jail\n", "{name}");
    }
    let info = remand(["info"]).arg(data.join("web01_2026-11-29.zip")).ends(0).text();
    assert!(info.contains("iocage's export") && info.contains("./root.zfs"), "{info}");
    remand(["verify"]).arg(data.join("web01_2026-11-29.zip")).ends(3);
    drop(tar::read(&[]));
}
