//! Recovery without remand: GNU tar and bsdtar read what it writes.

use std::path::Path;
use std::process::Command;

use super::{small, target};
use crate::support::at::At;
use crate::support::bundle::Bundle;
use crate::support::compare::{What, trees};
use crate::support::pool::{Place, Pool, Size};
use crate::support::run::{export, remand};
use crate::support::{Scratch, program_for, root_for, tar};

/// Runs a program to its end and returns its output; fails the test if it fails.
#[track_caller]
fn run(program: &Path, arguments: &[&str], directory: &Path) -> Vec<u8> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env("LC_ALL", "C.UTF-8")
        .output()
        .unwrap();
    let stderr: String = String::from_utf8_lossy(&output.stderr).chars().take(2000).collect();
    assert!(output.status.success(), "{} {arguments:?}: {stderr}", program.display());
    output.stdout
}

#[test]
fn the_manifest_is_in_the_first_64_kib() {
    let Some(tar) = program_for("recovery with tar", "tar") else { return };
    let (scratch, _small) = small();
    let pool = Pool::with_jail(&Place::dir(), Size::Full);
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    let bytes = std::fs::read(scratch.join("a.tar.gz")).unwrap();
    std::fs::write(scratch.join("head.tar.gz"), &bytes[..65536.min(bytes.len())]).unwrap();
    // tar(1) complains about the missing rest after it has printed the member.
    let output = Command::new(tar)
        .args(["-xOf", "head.tar.gz", "./manifest.json"])
        .current_dir(scratch.path())
        .output();
    let manifest: serde_json::Value = serde_json::from_slice(&output.unwrap().stdout).expect("a manifest");
    assert_eq!(manifest["resources"][0]["name"], "web01");
}

#[test]
fn gzip_and_zstd_read_the_whole_stream() {
    let (scratch, pool) = small();
    for (name, program) in [("a.tar.gz", "gzip"), ("a.tar.zst", "zstd")] {
        let Some(program) = program_for("recovery with compressors", program) else { continue };
        export(&pool, "web01", &scratch.join(name), &[]);
        run(&program, &["-t", name], scratch.path());
    }
}

/// What other programs have compressed again, and in which pieces, makes no difference.
#[test]
fn what_others_compressed_is_read() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar"), &[]);
    let tar = std::fs::read(scratch.join("a.tar")).unwrap();
    let foreign = scratch.join("foreign.tar.gz");
    let reads = |bytes: &[u8], status: i32, what: &str| {
        std::fs::write(&foreign, bytes).unwrap();
        for run in [remand(["verify"]).arg(&foreign), remand(["verify", "-"]).input(bytes.to_vec())] {
            let ended = run.end();
            assert_eq!(ended.status, status, "{what}: {}", ended.describe());
        }
        if status == 0 {
            let text = remand(["ls"]).arg(&foreign).arg("web01:/srv").ends(0).text();
            assert!(text.contains("new"), "{what}: {text}");
        }
    };
    for (program, options) in
        [("gzip", &["-9"][..]), ("gzip", &["-1n"]), ("pigz", &["-b", "128", "-p", "3"]), ("pigz", &["-i"])]
    {
        let Some(path) = program_for("compressed by others", program) else { continue };
        let whole = run(&path, &[options, &["-c", "a.tar"]].concat(), scratch.path());
        reads(&whole, 0, program);
        reads(&[&whole[..], &[0; 10_000]].concat(), 0, "zeros behind it");
        reads(&[&whole[..], b"garbage"].concat(), 22, "garbage behind it");
        reads(&whole[..whole.len() - 5], 22, "cut");
        // Cut somewhere, each part compressed by itself.
        let (first, second) = tar.split_at(tar.len() / 3);
        let part = |bytes: &[u8]| {
            std::fs::write(scratch.join("part"), bytes).unwrap();
            run(&path, &["-c", "part"], scratch.path())
        };
        let parts = [part(first), part(b""), part(second)].concat();
        reads(&parts, 0, "three members");
        let name = std::ffi::CString::new("part").unwrap();
        assert!(
            parts.windows(5).any(|window| window == name.as_bytes_with_nul()),
            "with names in their headers"
        );
    }
}

#[test]
fn every_member_is_listed() {
    let pool = Pool::with_jail(&Place::dir(), Size::Full);
    let scratch = Scratch::new();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    export(&pool, "web01", &scratch.join("a.tar"), &[]);
    let members = crate::support::tar::read(&std::fs::read(scratch.join("a.tar")).unwrap()).len();
    for program in ["tar", "bsdtar"] {
        let Some(program) = program_for("recovery with tar", program) else { continue };
        let list = run(&program, &["-tzf", "a.tar.gz"], scratch.path());
        assert_eq!(String::from_utf8_lossy(&list).lines().count(), members, "{}", program.display());
    }
}

/// A standalone archive extracted by another program is the jail's root, with what that program keeps.
fn extract(program: &str, arguments: &[&str], ignored: &[What], unkept: &[&str]) {
    if !root_for("recovery with tar: attributes") {
        return;
    }
    let Some(program) = program_for("recovery with tar", program) else { return };
    let (scratch, pool) = (Scratch::new(), Pool::with_jail(&Place::dir(), Size::Full));
    // Neither program can make paths that are longer than the system's calls take.
    At::open(&pool.root("web01")).dir("odd").remove("deep");
    export(&pool, "web01", &scratch.join("a.tar.gz"), &["--standalone"]);
    std::fs::create_dir(scratch.join("out")).unwrap();
    run(&program, &[arguments, &["-xzf", "../a.tar.gz"]].concat(), &scratch.join("out"));
    let mut found = trees(&pool.root("web01"), &scratch.join("out/root.tree"));
    // Sockets have no member.
    found.retain(|difference| {
        let path = String::from_utf8_lossy(&difference.path);
        let socket = difference.what == What::Missing && difference.detail.contains("Socket");
        let known =
            socket || ignored.contains(&difference.what) || unkept.iter().any(|part| path.contains(part));
        !known
    });
    let list: Vec<String> = found.iter().take(20).map(ToString::to_string).collect();
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), list.join("\n"));
}

#[test]
fn gnu_tar_extracts_with_attributes() {
    // Names of a directory come before those of its subdirectories, so its time must be set last. GNU tar knows no flags.
    let arguments =
        ["--numeric-owner", "--xattrs", "--xattrs-include=*", "--acls", "-p", "--delay-directory-restore"];
    extract("tar", &arguments, &[What::Flags], &["linked/socket"]);
}

#[test]
fn bsdtar_extracts_with_attributes() {
    // It reads fractions of times before 1970 the wrong way round, composes accents, and doesn't decode `%3D` in
    // names of attributes.
    let unkept = ["linked/socket", "before-1970", "code-", "attributes/xattrs"];
    extract("bsdtar", &["--numeric-owner", "--xattrs", "--acls", "--fflags", "-p"], &[], &unkept);
}

#[test]
fn a_differential_archive_is_taken_apart_by_tar() {
    let Some(tar) = program_for("recovery with tar", "tar") else { return };
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    run(&tar, &["-xzf", "a.tar.gz", "./root/srv/new", "./config.json"], scratch.path());
    let file = std::fs::read(pool.root("web01").join("srv/new")).unwrap();
    assert_eq!(std::fs::read(scratch.join("root/srv/new")).unwrap(), file);
}

/// As FreeBSD's ZFS has them.
const NFS4: &str =
    "owner@:rwxpaARWcCos::allow,user:1000:rwx:fd:allow,group:80:w:fdI:deny,everyone@:aRcs::allow";

/// An archive in which one file has an ACL of a sort that this system does not have.
fn with_nfs4(scratch: &Scratch) -> Bundle {
    let (_, pool) = small();
    export(&pool, "web01", &scratch.join("plain.tar"), &["--standalone"]);
    let mut bundle = Bundle::open(&scratch.join("plain.tar"));
    let mut lines = bundle.index();
    lines.pop();
    let line = lines.iter_mut().find(|line| line["path"] == "./root.tree/srv/new").expect("a line");
    line["acl"] = serde_json::json!({ "nfs4": NFS4 });
    bundle.member("./root.tree/srv/new").records.insert(b"SCHILY.acl.ace".to_vec(), NFS4.into());
    bundle.seal(&lines);
    bundle.save(&scratch.join("nfs4.tar"));
    bundle
}

#[test]
#[cfg(target_os = "linux")]
fn an_nfs4_acl_that_cannot_be_kept_is_told_with_its_path() {
    let (scratch, pool) = (Scratch::new(), target());
    with_nfs4(&scratch);
    remand(["verify"]).arg(scratch.join("nfs4.tar")).ends(0);
    let ended = remand(["restore"]).on(&pool).arg(scratch.join("nfs4.tar")).ends(3);
    for told in ["srv/new", "acl", "this system keeps no NFSv4 ACLs"] {
        ended.tells(told);
    }
}

#[test]
fn bsdtar_reads_nfs4_acls_as_they_are_meant() {
    let Some(bsdtar) = program_for("recovery with tar", "bsdtar") else { return };
    let scratch = Scratch::new();
    with_nfs4(&scratch);
    // It takes the entries apart and writes them anew, those of users and groups with the number once more.
    let archive = run(&bsdtar, &["-c", "--format", "pax", "-f", "-", "@nfs4.tar"], scratch.path());
    let members = tar::read(&archive);
    let file = members.iter().find(|member| member.text() == "./root.tree/srv/new").expect("the file");
    let again = String::from_utf8(file.records[&b"SCHILY.acl.ace"[..]].clone()).unwrap();
    assert_eq!(again.replace(":allow:1000", ":allow").replace(":deny:80", ":deny"), NFS4);
}
