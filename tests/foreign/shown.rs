//! What is told of foreign archives, and what is not claimed.

use crate::made::{config, directory, file, iocage_pack, stream, write};
use crate::support::pool::{Place, Pool, Size};
use crate::support::run::remand;
use crate::support::{Scratch, program_for};

fn archive(scratch: &Scratch) -> std::path::PathBuf {
    let path = scratch.join("web01.tar");
    let members =
        [config(), directory("./root/"), directory("./root/etc/"), file("./root/etc/new", b"new\n")];
    write(&path, &members);
    path
}

#[test]
fn info_says_the_form_and_the_limits() {
    let scratch = Scratch::new();
    let path = archive(&scratch);
    let page = remand(["info"]).arg(&path).ends(0).text();
    for words in [
        "libioc's, differential",
        "base-1.0",
        "deleted from the release",
        "jail          web01",
        "made by       libioc",
    ] {
        assert!(page.contains(words), "{words}: {page}");
    }
    let lines = remand(["info", "--json"]).arg(&path).ends(0).json();
    let foreign = &lines.iter().find(|line| line.get("manifest").is_some()).unwrap()["manifest"]["foreign"];
    assert_eq!(
        (foreign["tool"].as_str(), foreign["limits"].as_array().map(|all| all.len() > 3)),
        (Some("libioc"), Some(true))
    );
}

#[test]
fn verify_claims_no_more_than_it_proves() {
    let scratch = Scratch::new();
    let path = archive(&scratch);
    let ended = remand(["verify"]).arg(&path).ends(3);
    let told = format!("{}{}", ended.text(), ended.stderr);
    assert!(told.contains("can be read to its end") && !told.contains("is whole"), "{told}");
    let lines = remand(["verify", "--json"]).arg(&path).ends(3).json();
    let result =
        lines.iter().find(|line| line.get("command").is_some() || line.get("result").is_some()).unwrap();
    assert!(result.to_string().contains("\"seal\":null"), "{result}");
    remand(["verify", "--repair-report"]).arg(&path).ends(1).tells("libioc");
}

#[test]
fn single_files_are_listed_and_taken() {
    let (scratch, pool) = (Scratch::new(), Pool::with_release(&Place::dir(), Size::Small));
    let path = archive(&scratch);
    assert!(remand(["ls"]).arg(&path).arg("web01:/etc").ends(0).text().contains("new"));
    assert_eq!(remand(["cat"]).on(&pool).arg(&path).arg("web01:/etc/new").ends(0).stdout, b"new\n");
    // What is unchanged it does not have, and does not tell of.
    let to = scratch.join("to");
    std::fs::create_dir(&to).unwrap();
    let taken = remand(["restore", "--to"]).arg(&to).on(&pool).arg(&path).arg("web01:/etc").ends(3);
    taken.tells("what it left to its base is not extracted");
    assert_eq!(std::fs::read(to.join("etc/new")).unwrap(), b"new\n");
    let changed = remand(["diff"]).arg(&path).ends(3);
    assert!(changed.text().contains("etc/new"), "{}", changed.describe());
    changed.tells("deleted from the release");
    // A dry run makes nothing, and warns of the same.
    remand(["restore", "--dry-run"]).on(&pool).arg(&path).ends(3).tells("deleted from the release");
    assert_eq!((pool.jails(), pool.remains()), (Vec::new(), Vec::new()));
}

#[test]
fn who_wants_a_signature_is_not_satisfied() {
    let (scratch, pool) = (Scratch::new(), Pool::with_release(&Place::dir(), Size::Small));
    let path = archive(&scratch);
    let key = scratch.join("key");
    std::fs::write(
        &key,
        "untrusted comment: a key\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\n",
    )
    .unwrap();
    for command in ["verify", "info"] {
        remand([command, "--verify-key"]).arg(&key).arg(&path).ends(23).tells("libioc, which signs nothing");
    }
    remand(["restore", "--verify-key"]).arg(&key).on(&pool).arg(&path).ends(23);
    assert_eq!(pool.jails(), [""; 0]);
    remand(["restore", "--salvage"]).on(&pool).arg(&path).ends(1).tells("libioc");
}

#[test]
fn an_export_of_iocage_is_told_without_a_pool_of_zfs() {
    if program_for("iocage's exports", "python3").is_none() {
        return;
    }
    for form in ["zip", "tar.xz"] {
        let (scratch, pool) = (Scratch::new(), Pool::with_release(&Place::dir(), Size::Small));
        let path = scratch.join(&format!("web01_2026-11-29.{form}"));
        let of = |dataset: &str| stream(&format!("zroot/iocage/jails/web01{dataset}@ioc-export-2026-11-29"));
        let streams = [
            ("web01_2026-11-29", of("")),
            ("web01_2026-11-29_a_b", of("/a_b")),
            ("web01_2026-11-29_root", of("/root")),
        ];
        iocage_pack(&path, &streams);
        let page = remand(["info"]).arg(&path).ends(0).text();
        for words in ["iocage's export", "./root.zfs", "./a_b.zfs", "it would be a/b"] {
            assert!(page.contains(words), "{words}: {page}");
        }
        let ended = remand(["verify"]).arg(&path).ends(3);
        ended.tells("the .sha256 beside it proves its bytes");
        remand(["restore"]).on(&pool).arg(&path).ends(1).tells("restore it to a pool of ZFS");
        assert_eq!((pool.jails(), pool.remains()), (Vec::new(), Vec::new()));
        // From a pipe, without the checksum.
        let bytes = std::fs::read(&path).unwrap();
        remand(["verify", "-"]).input(bytes).ends(3).tells("there is no .sha256 beside it");
        std::fs::write(scratch.join("web01_2026-11-29.sha256"), "0".repeat(64)).unwrap();
        remand(["verify"]).arg(&path).ends(22).tells("SHA-256");
    }
}
