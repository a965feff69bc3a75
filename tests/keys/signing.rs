//! Signatures: who signed, who is trusted, and what others' programs say to it.

use std::path::Path;
use std::process::Command;

use super::support::pool::{Place, Pool, Size};
use super::support::program_for;
use super::support::run::{remand, restore};
use super::support::trip::assert_restored;
use super::{Here, MINISIGN, run};

/// Index and signature of a plain tar archive as files, as the manual page shows it.
fn take_apart(archive: &Path, directory: &Path) {
    let bytes = std::fs::read(archive).unwrap();
    let members = super::support::tar::read(&bytes);
    let find = |name: &str| {
        let found = members.iter().find(|member| member.name == name.as_bytes());
        found.unwrap_or_else(|| panic!("there is no {name}")).data.clone()
    };
    let index = find("./index.jsonl");
    let seal = index[..index.len() - 1].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    std::fs::write(directory.join("seal"), &index[seal..]).unwrap();
    std::fs::write(directory.join("seal.minisig"), find("./seal.minisig")).unwrap();
    assert_eq!(members.last().unwrap().name, b"./seal.minisig", "it is the last one");
}

#[test]
fn minisign_and_signify_verify_what_is_signed_with_keys_of_either() {
    let place = Here::new();
    for key in ["mini", "signify"] {
        let archive = place.export(&format!("{key}.tar"), &["--sign", &place.text(&format!("{key}.key"))]);
        take_apart(&archive, place.scratch.path());
        let public = format!("{key}.pub");
        if let Some(minisign) = program_for("signatures", "minisign") {
            let told =
                run(&minisign, &["-Vm", "seal", "-x", "seal.minisig", "-p", &public], place.scratch.path());
            let told = String::from_utf8(told).unwrap();
            assert!(told.contains(&format!("file:{key}.tar")), "{told}");
            assert!(told.contains("resources:jail web01"), "{told}");
            std::fs::write(place.path("seal"), b"{}\n").unwrap();
            let wrong = Command::new(minisign)
                .args(["-Vm", "seal", "-x", "seal.minisig", "-p", &public])
                .current_dir(place.scratch.path())
                .output();
            assert!(!wrong.unwrap().status.success());
            take_apart(&archive, place.scratch.path());
        }
        let signify = ["signify-openbsd", "signify"].iter().find_map(|name| {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path).map(|path| path.join(name)).find(|path| path.is_file())
        });
        match signify {
            Some(signify) => {
                let arguments = ["-V", "-m", "seal", "-x", "seal.minisig", "-p", &public];
                run(&signify, &arguments, place.scratch.path());
            }
            None => super::support::skipped("signatures", "signify is not installed"),
        }
        remand(["verify", "--verify-key"]).arg(place.path(&public)).arg(&archive).ends(0);
        remand(["verify", "--verify-key"])
            .arg(MINISIGN[0].lines().nth(1).unwrap())
            .arg(&archive)
            .ends(if key == "mini" { 0 } else { 23 });
    }
}

#[test]
fn keys_that_minisign_makes_sign_and_verify() {
    let Some(minisign) = program_for("signatures", "minisign") else { return };
    let place = Here::new();
    run(&minisign, &["-GW", "-p", "new.pub", "-s", "new.key"], place.scratch.path());
    let archive = place.export("a.tar.gz", &["--sign", &place.text("new.key")]);
    let ended = remand(["verify", "--json", "--verify-key"]).arg(place.path("new.pub")).arg(&archive).ends(0);
    let result = ended.json().pop().unwrap()["result"].clone();
    assert_eq!(result["signature"]["trusted"], true);
    let public = std::fs::read_to_string(place.path("new.pub")).unwrap();
    let id = result["signature"]["key_id"].as_str().unwrap();
    // It leaves out leading zeros, which one key in sixteen has.
    let told = format!("key {}\n", id.trim_start_matches('0'));
    assert!(public.contains(&told), "{id} as minisign tells it: {public}");
    assert!(public.contains(result["signature"]["key"].as_str().unwrap()));
}

#[test]
fn a_signed_archive_is_restored_and_one_that_nobody_trusted_signed_is_not() {
    let place = Here::new();
    let (trusted, other) = (place.text("mini.pub"), place.text("signify.pub"));
    for name in ["a.tar.gz", "a.tar", "a.tar.zst", "a"] {
        let unsigned = place.export(&format!("unsigned-{name}"), &[]);
        let archive = place.signed(&format!("signed-{name}"));
        for (archive, key, why) in [
            (&unsigned, &trusted, "is not signed"),
            (
                &archive,
                &other,
                "is signed by the key 29DF762E056A7A52, which is none of those that are trusted",
            ),
        ] {
            for command in ["restore", "verify", "info", "diff"] {
                let run = remand([command, "--verify-key", key]);
                let run = if command == "restore" { run.on(&place.target) } else { run };
                let path = if command == "diff" { archive.join("") } else { archive.clone() };
                let path = if archive.is_dir() { path } else { archive.clone() };
                let ended = run.arg(path).ends(23);
                ended.tells(why);
                assert_eq!(ended.text(), "", "{command} shows nothing");
            }
            let ended = remand(["ls", "--verify-key", key]).arg(archive).arg("web01").ends(23);
            assert_eq!(ended.text(), "");
            let ended = remand(["cat", "--verify-key", key]).arg(archive).arg(":/srv/new").ends(23);
            assert_eq!(ended.text(), "");
            let to = place.text("out");
            remand(["restore", "--verify-key", key, "--to", &to]).arg(archive).arg(":/srv").ends(23);
            assert!(!Path::new(&to).exists());
            if !archive.is_dir() {
                let bytes = std::fs::read(archive).unwrap();
                for command in ["restore", "verify", "info"] {
                    let run = remand([command, "--verify-key", key, "-"]).input(bytes.clone());
                    let run = if command == "restore" { run.on(&place.target) } else { run };
                    assert_eq!(run.ends(23).text(), "", "{command} from a pipe");
                }
            }
            place.nothing_restored();
        }
        let target = Pool::with_release(&Place::dir(), Size::Small);
        let ended = restore(&target, &archive, &["--verify-key", &trusted, "--verify-key", &other]);
        ended.tells("signed by the trusted key 29DF762E056A7A52");
        assert_restored(&place.source, "web01", &target, "web01");
        for command in ["ls", "cat"] {
            let part = if command == "ls" { "web01" } else { ":/srv/new" };
            let ended = remand([command, "--verify-key", &trusted]).arg(&archive).arg(part).ends(0);
            assert_ne!(ended.text(), "");
        }
    }
}

#[test]
fn without_a_key_it_is_told_that_somebody_signed() {
    let place = Here::new();
    let archive = place.signed("a.tar.gz");
    let ended = remand(["verify"]).arg(&archive).ends(0);
    ended.tells("signed by the key 29DF762E056A7A52, which no --verify-key names");
    remand(["verify"]).arg(place.export("b.tar.gz", &[])).ends(0).tells("It is not signed");
    let bytes = std::fs::read(&archive).unwrap();
    let head = bytes[..bytes.len().min(64 << 10)].to_vec();
    let page = remand(["info", "-"]).input(head).ends(0).text();
    assert!(page.contains("signed by     29DF762E056A7A52 (not checked)"), "{page}");
    let page = remand(["info", "--verify-key"]).arg(place.path("mini.pub")).arg(&archive).ends(0).text();
    assert!(page.contains("signed by     29DF762E056A7A52 (trusted)"), "{page}");
    assert!(page.contains("saying      timestamp:"), "{page}");
    restore(&place.target, &archive, &[]).tells("which no --verify-key names");
}

#[test]
fn the_config_file_names_who_is_trusted() {
    let place = Here::new();
    let (signed, unsigned) = (place.signed("a.tar.gz"), place.export("b.tar.gz", &[]));
    let key = MINISIGN[0].lines().nth(1).unwrap();
    let knows = place.write("knows.toml", format!("verify-key = [\"{key}\"]\n").as_bytes());
    let both = format!("verify-key = [\"{}\"]\nrequire-signature = true\n", place.text("mini.pub"));
    let requires = place.write("requires.toml", both.as_bytes());
    let verify = |archive: &Path, config: &Path, options: &[&str]| {
        remand(["verify"]).args(options).env("REMAND_CONFIG", config).arg(archive).end()
    };
    verify(&signed, &knows, &[]).tells("signed by the trusted key");
    assert_eq!(verify(&unsigned, &knows, &[]).status, 0, "known is not required");
    assert_eq!(verify(&unsigned, &knows, &["--require-signature"]).status, 23);
    assert_eq!(verify(&unsigned, &requires, &[]).status, 23);
    assert_eq!(verify(&signed, &requires, &[]).status, 0);
    let other = place.text("signify.pub");
    assert_eq!(verify(&signed, &requires, &["--verify-key", &other]).status, 23, "the command line wins");
    let ended = remand(["restore", "--require-signature"]).on(&place.target).arg(&signed).ends(2);
    ended.tells("no key is named");
    remand(["restore"]).on(&place.target).env("REMAND_CONFIG", &requires).arg(&unsigned).ends(23);
    place.nothing_restored();
    remand(["restore"]).on(&place.target).env("REMAND_CONFIG", &requires).arg(&signed).ends(0);
    assert_restored(&place.source, "web01", &place.target, "web01");
}

#[test]
fn a_signature_of_another_archive_is_refused() {
    let place = Here::new();
    let (one, two) = (place.signed("one"), place.signed("two"));
    std::fs::copy(two.join("seal.minisig"), one.join("seal.minisig")).unwrap();
    let key = place.text("mini.pub");
    remand(["restore", "--verify-key", &key])
        .on(&place.target)
        .arg(&one)
        .ends(23)
        .tells("not one of this seal");
    remand(["verify"]).arg(&one).ends(22).tells("not one of this seal");
    let text = std::fs::read_to_string(two.join("seal.minisig")).unwrap();
    std::fs::write(two.join("seal.minisig"), text.replacen("file:two", "file:one", 1)).unwrap();
    remand(["verify", "--verify-key", &key]).arg(&two).ends(23).tells("trusted comment");
    std::fs::remove_file(two.join("seal.minisig")).unwrap();
    remand(["restore", "--verify-key", &key]).on(&place.target).arg(&two).ends(23).tells("is missing");
    remand(["restore"]).on(&place.target).arg(&two).ends(22).tells("is missing");
    place.nothing_restored();
}
