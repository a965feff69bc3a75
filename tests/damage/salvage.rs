//! `verify --repair-report` names what is damaged and what is not, and `restore --salvage` restores that.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::Archives;
use super::support::at::At;
use super::support::bundle::Bundle;
use super::support::pool::{Place, Pool, Size};
use super::support::run::{Ended, remand};
use super::support::tar;
use super::support::trip::assert_restored;
use super::support::workload;

/// Objects with this key.
fn records(ended: &Ended, key: &str) -> Vec<Value> {
    ended.json().into_iter().filter_map(|mut line| line.get_mut(key).map(Value::take)).collect()
}

/// What a report says of an archive: members with their status, and the result.
fn report(archive: &Path) -> (BTreeSet<(String, String)>, Value) {
    let ended = remand(["verify", "--repair-report", "--json"]).arg(archive).end();
    let result = records(&ended, "result").pop().expect("a result");
    assert_eq!(ended.status, if result["intact"] == true { 0 } else { 22 }, "{}", ended.describe());
    assert_eq!(result["status"], ended.status, "{}", ended.describe());
    // A pipe tells the same.
    if archive.is_file() {
        let piped =
            remand(["verify", "--repair-report", "--json", "-"]).input(std::fs::read(archive).unwrap()).end();
        assert_eq!(records(&piped, "affected"), records(&ended, "affected"), "from a pipe");
    }
    let affected = records(&ended, "affected").into_iter().map(|one| {
        let text = |field: &str| one[field].as_str().unwrap_or_default().to_owned();
        (text("member"), text("status"))
    });
    (affected.collect(), result)
}

fn set(expected: &[(&str, &str)]) -> BTreeSet<(String, String)> {
    expected.iter().map(|(member, status)| ((*member).to_owned(), (*status).to_owned())).collect()
}

/// Restores what is whole, as `copy`, with the status that follows.
fn salvage(archives: &Archives, archive: &Path, options: &[&str], status: i32) -> Ended {
    let ended = remand(["restore", "--salvage", "--name", "copy"])
        .on(&archives.target)
        .args(options)
        .arg(archive)
        .end();
    ended.expect(status);
    assert_eq!(archives.target.remains(), [""; 0], "{}", ended.describe());
    ended
}

fn annotations(pool: &Pool, name: &str) -> (String, String) {
    let tags = remand(["tag"]).on(pool).arg(name).ends(0).text();
    (tags, remand(["note"]).on(pool).arg(name).ends(0).text())
}

/// An archive in which one content is another.
fn with_other_content(archives: &Archives, member: &str) -> PathBuf {
    archives.export("web01.tar", &[]);
    let mut bundle = Bundle::open(&archives.scratch.join("web01.tar"));
    bundle.member(member).data[0] ^= 1;
    let path = archives.scratch.join("damaged.tar");
    bundle.save(&path);
    path
}

#[test]
fn a_whole_archive_has_nothing_to_report_and_is_restored_as_ever() {
    let archives = Archives::new();
    for name in ["web01.tar", "web01.tar.gz", "web01.tar.zst", "web01"] {
        let path = archives.export(name, &[]);
        let (affected, result) = report(&path);
        assert_eq!(
            (affected, &result["intact"], &result["index"]),
            (set(&[]), &true.into(), &"intact".into()),
            "{name}"
        );
        let ended = remand(["restore", "--salvage"]).on(&archives.target).arg(&path).ends(0);
        assert!(!ended.stderr.contains("Salvaged"), "{}", ended.describe());
        assert_restored(&archives.source, "web01", &archives.target, "web01");
        // A resource that is there is never touched.
        remand(["restore", "--salvage"]).on(&archives.target).arg(&path).ends(12);
        archives.target.delete("jails/web01");
    }
}

#[test]
fn a_damaged_content_is_named_and_left_out_with_its_links() {
    let archives = Archives::new();
    let path = with_other_content(&archives, "./root/srv/new");
    let (affected, result) = report(&path);
    assert_eq!(affected, set(&[("./root/srv/new", "corrupt"), ("./root/srv/new-link", "corrupt")]));
    assert_eq!((&result["index"], &result["lost_entries"]), (&"intact".into(), &2.into()));
    let ended = salvage(&archives, &path, &[], 3);
    ended.tells("./root/srv/new: is lost");
    ended.tells("NOT WHOLE: 2 lost");
    let root = At::open(&archives.target.root("copy"));
    assert_eq!(root.dir("srv").names(), [b"absolute".to_vec(), b"out".to_vec()]);
    // Everything else is as it was; what the jail had deleted is gone.
    let original = At::open(&archives.source.root("web01"));
    assert_eq!(root.dir("etc").read("conf"), original.dir("etc").read("conf"));
    assert_eq!(root.stat("etc/mode").st_mode, original.stat("etc/mode").st_mode);
    assert!(root.dir("old").names().is_empty());
    let (tags, note) = annotations(&archives.target, "copy");
    assert!(tags.contains("salvaged") && note.contains("NOT WHOLE"), "{tags} {note}");
    // Once more under a name that is taken.
    salvage(&archives, &path, &[], 12);
    // Without --salvage nothing of it is restored.
    archives.is_undone_beside(&path);
}

impl Archives {
    fn is_undone_beside(&self, archive: &Path) {
        let before = self.target.jails();
        remand(["restore", "--name", "other"]).on(&self.target).arg(archive).ends(22);
        assert_eq!((self.target.jails(), self.target.remains()), (before, vec![]));
    }
}

#[test]
fn a_missing_member_is_named() {
    let archives = Archives::new();
    archives.export("web01.tar", &[]);
    let whole = Bundle::open(&archives.scratch.join("web01.tar")).members;
    let path = archives.scratch.join("damaged.tar");
    for number in 1..whole.len() - 1 {
        let mut members = whole.clone();
        let gone = members.remove(number);
        std::fs::write(&path, tar::write(&members)).unwrap();
        let name = gone.text().trim_end_matches('/').to_owned();
        let (affected, _) = report(&path);
        assert!(affected.contains(&(name.clone(), "missing".into())), "{name}: {affected:?}");
        let dependent = affected.iter().all(|(other, _)| *other == name || other == "./root/srv/new-link");
        assert!(dependent, "{name}: {affected:?}");
        // The index, which is proven, has all but the content of files.
        let is_lost = gone.kind == b'0';
        salvage(&archives, &path, &[], if is_lost { 3 } else { 0 });
        if !is_lost {
            super::support::trip::assert_tree_restored(&archives.source, "web01", &archives.target, "copy");
        }
        archives.target.delete("jails/copy");
    }
}

/// A sector of an uncompressed archive is zeros: only what lies in it is lost.
#[test]
fn a_lost_sector_costs_what_lies_in_it() {
    let archives = Archives::of(&Place::dir(), Size::Full);
    let whole = archives.bytes("web01.tar", &[]);
    let path = archives.scratch.join("damaged.tar");
    let entries = report(&archives.scratch.join("web01.tar")).1["intact_entries"].as_u64().unwrap();
    let step = super::share(whole.len() / 4096 / 12 + 1) * 4096;
    for at in (4096 * 3..whole.len() - 4096 * 3).step_by(step) {
        let mut bytes = whole.clone();
        bytes[at..at + 4096].fill(0);
        if bytes == whole {
            continue;
        }
        std::fs::write(&path, &bytes).unwrap();
        let (affected, result) = report(&path);
        let intact = result["intact_entries"].as_u64().unwrap();
        if result["index"] == "intact" {
            assert!(affected.len() <= 60 && intact + 60 >= entries, "at {at}: {affected:?}");
        } else {
            assert_eq!(result["index"], "partial", "at {at}");
            assert!(intact > entries / 3, "at {at}: {intact} of {entries}, {result}");
        }
    }
}

/// Of a compressed archive a chunk is broken: what begins behind it is found again.
#[test]
fn a_broken_chunk_costs_what_lies_in_it() {
    let archives = Archives::of(&Place::dir(), Size::Full);
    for name in ["web01.tar.gz", "web01.tar.zst"] {
        let whole = archives.bytes(name, &["--standalone"]);
        let entries = report(&archives.scratch.join(name)).1["intact_entries"].as_u64().unwrap();
        let path = archives.scratch.join(&format!("damaged-{name}"));
        // Behind the manifest's chunk, and before the last one, which has the index.
        let (from, to) = (whole.len() / 4, whole.len() / 2);
        for at in [from, usize::midpoint(from, to), to] {
            for kind in ["flipped", "zeros", "cut out"] {
                let mut bytes = whole.clone();
                match kind {
                    "flipped" => bytes[at] ^= 0x10,
                    "zeros" => bytes[at..at + 3000].fill(0),
                    _ => drop(bytes.drain(at..at + 3000)),
                }
                std::fs::write(&path, &bytes).unwrap();
                let ended = remand(["verify", "--repair-report", "--json"]).arg(&path).end();
                let unreadable = records(&ended, "unreadable");
                let covers = unreadable.iter().any(|range| {
                    let offset = range["offset"].as_u64().unwrap();
                    (offset..offset + range["length"].as_u64().unwrap()).contains(&(at as u64))
                });
                assert!(covers, "{kind} at {at} of {name}: {}", ended.describe());
                let (affected, result) = report(&path);
                let intact = result["intact_entries"].as_u64().unwrap();
                assert!(intact + affected.len() as u64 >= entries, "{kind} at {at} of {name}: {result}");
                assert!(!affected.is_empty() && intact > entries / 4, "{kind} at {at} of {name}: {result}");
                assert_eq!(result["index"], "intact", "{kind} at {at} of {name}");
            }
        }
        let ended = salvage(&archives, &path, &[], 3);
        ended.tells("NOT WHOLE");
        archives.target.delete("jails/copy");
    }
}

/// A file within the archive is itself an archive, and what leads into it is lost: its members are not taken for those of the outer one.
#[test]
fn an_archive_within_an_archive_is_no_part_of_it() {
    let archives = Archives::new();
    let inner = archives.bytes("inner.tar", &["--standalone"]);
    At::open(&archives.source.root("web01")).dir("srv").write("inner.tar", &inner);
    for name in ["web01.tar", "web01.tar.gz"] {
        let whole = archives.bytes(name, &[]);
        let path = archives.scratch.join(&format!("damaged-{name}"));
        let mut bytes = whole.clone();
        if name.ends_with(".tar") {
            let at = whole
                .windows(22)
                .position(|window| window == b"./root/srv/inner.tar\0\0")
                .expect("the header");
            bytes[at] ^= 1;
        } else {
            // Within the second chunk: the first holds the manifest, and without that no seal proves the index.
            let length = |at: usize| u32::from_le_bytes(bytes[at + 16..at + 20].try_into().unwrap()) as usize;
            let second = length(0);
            let within = second + length(second) / 2;
            bytes[within] ^= 1;
        }
        std::fs::write(&path, &bytes).unwrap();
        let (affected, result) = report(&path);
        assert_eq!(result["index"], "intact", "{name}: {result} {affected:?}");
        assert!(affected.iter().all(|(_, status)| status != "unexpected"), "{name}: {affected:?}");
    }
}

#[test]
fn an_archive_that_was_cut_off() {
    let archives = Archives::new();
    for name in ["web01.tar", "web01.tar.gz", "web01.tar.zst"] {
        let whole = archives.bytes(name, &[]);
        let path = archives.scratch.join(&format!("cut-{name}"));
        // All members are there, and half of the index.
        let cut = if name.ends_with(".tar") { whole.len() - 4096 } else { whole.len() - 700 };
        std::fs::write(&path, &whole[..cut]).unwrap();
        let (affected, result) = report(&path);
        assert_ne!(result["index"], "intact", "{name}");
        assert!(
            affected
                .iter()
                .all(|(_, status)| ["unverified", "corrupt", "missing"].contains(&status.as_str())),
            "{affected:?}"
        );
        // What nothing proves is left out, unless it is asked for.
        let ended = salvage(&archives, &path, &["--unproven"], 3);
        ended.tells("NOT WHOLE");
        let (root, original) =
            (At::open(&archives.target.root("copy")), At::open(&archives.source.root("web01")));
        if name.ends_with(".tar") {
            assert_eq!(root.dir("etc").read("conf"), original.dir("etc").read("conf"), "{name}");
        }
        archives.target.delete("jails/copy");
        let ended = remand(["restore", "--salvage", "--name", "copy", "-"])
            .on(&archives.target)
            .input(whole[..cut].to_vec())
            .end();
        ended.expect(2);
    }
}

#[test]
fn a_damaged_index_proves_what_agrees_with_it() {
    let archives = Archives::new();
    archives.export("web01.tar", &[]);
    let path = archives.scratch.join("damaged.tar");
    let mut bundle = Bundle::open(&archives.scratch.join("web01.tar"));
    let index = bundle.member("./index.jsonl").data.clone();
    let at = index.windows(16).position(|window| window == b"./root/srv/new\",").unwrap_or(0);
    let mut damaged = index.clone();
    damaged[at + 8] = 0xff;
    bundle.member("./index.jsonl").data = damaged;
    bundle.save(&path);
    let (affected, result) = report(&path);
    assert_eq!(result["index"], "partial");
    // Lines without a member have one witness alone.
    assert!(affected.contains(&("./root/old/gone".into(), "unverified".into())), "{affected:?}");
    assert!(affected.contains(&("./root/etc/mode".into(), "unverified".into())), "{affected:?}");
    assert!(!affected.iter().any(|(member, _)| member == "./root/etc/conf"), "{affected:?}");
    let ended = salvage(&archives, &path, &[], 3);
    ended.tells("NOT WHOLE");
    let root = At::open(&archives.target.root("copy"));
    // A deletion that nothing proves does not happen.
    assert_eq!(root.dir("old").names(), [b"gone".to_vec()]);
    let conf = At::open(&archives.source.root("web01")).dir("etc").read("conf");
    assert_eq!(root.dir("etc").read("conf"), conf);
    archives.target.delete("jails/copy");
    salvage(&archives, &path, &["--unproven"], 3);
    assert!(At::open(&archives.target.root("copy")).dir("old").names().is_empty());
}

#[test]
fn directories_lose_single_files() {
    let archives = Archives::new();
    let path = archives.export("web01", &["--format", "directory"]);
    At::open(&path).dir("root/srv").write("new", workload::text(99, 600));
    At::open(&path).dir("root/etc").unlink("conf");
    At::open(&path).dir("root").write("stray", "x");
    let (affected, result) = report(&path);
    let expected = set(&[
        ("./root/etc/conf", "missing"),
        ("./root/srv/new", "corrupt"),
        ("./root/srv/new-link", "corrupt"),
        ("./root/stray", "unexpected"),
    ]);
    assert_eq!((affected, &result["index"]), (expected, &"intact".into()));
    // What nobody put there is lost as well.
    salvage(&archives, &path, &[], 3).tells("NOT WHOLE: 4 lost");
    let root = At::open(&archives.target.root("copy"));
    assert_eq!(root.dir("srv").names(), [b"absolute".to_vec(), b"out".to_vec()]);
}

#[test]
fn without_a_manifest_nothing_is_restored() {
    let archives = Archives::new();
    let mut bytes = archives.bytes("web01.tar.gz", &[]);
    bytes[200] ^= 1;
    let path = archives.scratch.join("damaged.tar.gz");
    std::fs::write(&path, &bytes).unwrap();
    let (affected, result) = report(&path);
    assert_eq!(result["manifest"], "corrupt", "{affected:?}");
    let ended = remand(["restore", "--salvage", "--name", "copy"]).on(&archives.target).arg(&path).end();
    ended.expect(22);
    assert_eq!((archives.target.jails(), archives.target.remains()), (vec![], vec![]));
}

#[test]
fn a_native_stream_is_restored_whole_or_not_at_all() {
    let Some(place) = Place::btrfs("salvage of native streams") else { return };
    let archives = Archives::of(&place, Size::Small);
    archives.export("web01.tar", &["--standalone"]);
    let path = archives.scratch.join("damaged.tar");
    for (member, lost) in [("./data.btrfs", true), ("./root.btrfs", false)] {
        let mut bundle = Bundle::open(&archives.scratch.join("web01.tar"));
        let data = &mut bundle.member(member).data;
        let middle = data.len() / 2;
        data[middle] ^= 1;
        bundle.save(&path);
        let (affected, _) = report(&path);
        assert_eq!(affected, set(&[(member, "corrupt")]));
        let ended = remand(["restore", "--salvage", "--name", "copy"]).on(&archives.target).arg(&path).end();
        assert_eq!(archives.target.remains(), [""; 0], "{}", ended.describe());
        if lost {
            ended.expect(3);
            ended.tells("dataset data");
            assert!(!archives.target.path("jails/copy/data").exists());
            assert!(archives.target.path("jails/copy/root/etc/conf").exists());
            archives.target.delete("jails/copy");
        } else {
            ended.expect(22);
            assert_eq!(archives.target.jails(), [""; 0]);
        }
    }
}
