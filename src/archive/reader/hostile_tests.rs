//! Archives that no writer would write.

use super::*;
use crate::archive::Digest;
use crate::archive::header::Layout;
use crate::archive::index::Role;
use crate::archive::manifest::{Manifest, Version};
use crate::archive::testing::*;
use crate::tree::Kind;

fn forge() -> Forge {
    Forge::new(&manifest())
}

fn directory(path: &str) -> Line {
    line(path, entry(Kind::Directory))
}

fn symlink(path: &str) -> Line {
    line(path, entry(Kind::Symlink))
}

fn link(path: &str, to: &str) -> Line {
    Line { role: Role::Link { to: name(to) }, ..line(path, entry(Kind::File)) }
}

#[track_caller]
fn refused(archive: &[u8], why: &str) {
    match read_archive(archive) {
        Err(Error::Refused(message)) if message.contains(why) => {}
        Err(error) => panic!("wrong error: {error}"),
        Ok(_) => panic!("read, but should be refused: {why}"),
    }
}

#[track_caller]
fn damaged(archive: &[u8], why: &str) {
    match read_archive(archive) {
        Err(Error::Damaged(message)) if message.contains(why) => {}
        Err(error) => panic!("wrong error: {error}"),
        Ok(_) => panic!("read, but is damaged: {why}"),
    }
}

#[test]
fn a_forged_archive_is_read_where_it_is_right() {
    let mut forge = forge();
    forge
        .file("config.json", b"{}")
        .empty(directory("root"))
        .file("root/a", b"x")
        .empty(link("root/b", "root/a"));
    read_archive(&forge.finish()).unwrap();
}

#[test]
fn an_archive_begins_with_a_plain_manifest() {
    let json = manifest().to_json();
    let begins_with = |line: &Line, attempt: u32, records: &[(&str, &str)]| {
        let mut header = crate::archive::header::encode(line, Layout::Plain, attempt).unwrap();
        if !records.is_empty() {
            let mut pax = Vec::new();
            for (key, value) in records {
                crate::archive::pax::push(&mut pax, key.as_bytes(), value.as_bytes());
            }
            let mut extended = tar_header("pax", b'x');
            extended.set_size(pax.len() as u64);
            extended.set_cksum();
            let mut forge = forge();
            forge.bytes.clear();
            forge.blocks(extended.as_bytes()).blocks(&pax).blocks(&header);
            header = std::mem::take(&mut forge.bytes);
        }
        let mut forge = forge();
        forge.bytes.clear();
        forge.blocks(&header).blocks(&json).finish()
    };
    let mut plain = file("manifest.json", &json).line;
    plain.entry.as_mut().unwrap().mtime.nanoseconds = 0;
    let sparse = [("GNU.sparse.major", "1"), ("GNU.sparse.minor", "0"), ("GNU.sparse.realsize", "1")];
    for archive in [
        begins_with(&symlink("manifest.json"), 1, &[]),
        begins_with(&plain, 2, &[]),
        begins_with(&plain, 1, &[("path", "./other")]),
        begins_with(&plain, 1, &[&sparse[..], &[("GNU.sparse.name", "./manifest.json")]].concat()),
    ] {
        refused(&archive, "its first member is not ./manifest.json");
    }
    read_archive(&begins_with(&plain, 1, &[("comment", "x")])).unwrap();
}

#[test]
fn names_that_leave_the_archive() {
    for bad in ["../x", "/etc/passwd", "./root/../../x", "./root//x", "./root/./x", "root/x", ".", "./"] {
        let mut header = tar_header(bad, b'0');
        header.set_cksum();
        refused(&forge().blocks(header.as_bytes()).finish(), "is no name of a member");
    }
    let mut header = tar_header("./root/x", b'1');
    header.as_old_mut().linkname[..9].copy_from_slice(b"/root/abc");
    header.set_cksum();
    refused(&forge().blocks(header.as_bytes()).finish(), "is no name of a member");
}

/// A header with a name as it is.
fn tar_header(name: &str, kind: u8) -> ::tar::Header {
    let mut header = ::tar::Header::new_ustar();
    let old = header.as_old_mut();
    old.name[..name.len()].copy_from_slice(name.as_bytes());
    old.linkflag = [kind];
    for field in [&mut old.mode[..], &mut old.uid, &mut old.gid, &mut old.mtime, &mut old.size] {
        let end = field.len() - 1;
        field[..end].fill(b'0');
    }
    header
}

#[test]
fn types_that_have_no_place() {
    for kind in *b"7SDVMNX" {
        let mut header = tar_header("./root/x", kind);
        header.set_cksum();
        refused(&forge().blocks(header.as_bytes()).finish(), "type");
    }
    let mut records = Vec::new();
    super::super::pax::push(&mut records, b"path", b"./root/evil");
    let mut header = tar_header("./global", b'g');
    header.set_size(records.len() as u64);
    header.set_cksum();
    refused(&forge().blocks(header.as_bytes()).blocks(&records).finish(), "do not go together");
}

#[test]
fn a_directory_with_content() {
    let mut line = directory("root");
    line.entry.as_mut().unwrap().size = 5;
    refused(&forge().raw(&line, b"12345", 1).finish(), "has content");
}

#[test]
fn what_the_manifest_does_not_announce() {
    for bad in ["elsewhere", "rootless/x", "data.tree/x", "config.json/x", "jails/web01/root/x", "data.zfs/x"]
    {
        refused(&forge().file(bad, b"x").finish(), "does not announce");
    }
    refused(&forge().empty(symlink("config.json")).finish(), "no regular file");
    refused(&forge().empty(symlink("data.zfs")).finish(), "no regular file");
    refused(&forge().empty(symlink("root")).finish(), "no directory");
    refused(&forge().empty(symlink("files")).finish(), "no directory");
}

#[test]
fn manifests_that_make_no_sense() {
    type Change = fn(&mut crate::archive::manifest::ResourceRecord);
    let cases: [(Change, &str); 7] = [
        (|resource| resource.prefix = "/".to_owned(), "no name"),
        (|resource| resource.prefix = "./../x/".to_owned(), "no name"),
        (|resource| resource.config = Some("../config".to_owned()), "no name"),
        (|resource| resource.config = Some("index.jsonl".to_owned()), "within"),
        (|resource| resource.datasets[1].member = "root/data.zfs".to_owned(), "within"),
        (|resource| resource.datasets[1].member = String::new(), "no name"),
        (|resource| resource.fstab = resource.config.clone(), "within"),
    ];
    for (change, why) in cases {
        let mut manifest = manifest();
        change(&mut manifest.resources[0]);
        refused(&Forge::new(&manifest).finish(), why);
    }
}

#[test]
fn newer_and_foreign_manifests() {
    let mut newer = manifest();
    newer.version = Version { major: 2, minor: 0 };
    newer.tool.version = "9.1".to_owned();
    refused(
        &Forge::new(&newer).finish(),
        "format version 2.0, written by remand 9.1, and this remand reads versions up to 1",
    );
    let mut minor = manifest();
    minor.version.minor = 7;
    read_archive(&Forge::new(&minor).finish()).unwrap();
    for (minor, why) in [(7, "does not know"), (0, "cannot be understood")] {
        let mut json = serde_json::to_value(manifest()).unwrap();
        json["version"]["minor"] = minor.into();
        json["resources"][0]["datasets"][1]["encoding"] = "unheard-of".into();
        let error = Manifest::from_json(json.to_string().as_bytes()).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("unheard-of"), "{error}");
    }
    let mut foreign = manifest();
    foreign.format = "something".to_owned();
    refused(&Forge::new(&foreign).finish(), "something");

    let mut libioc = Forge::new(&manifest());
    libioc.bytes.clear();
    refused(&libioc.file("config.json", b"{}").end(), "has no manifest");
    refused(&[0; 1024], "has no manifest");
    damaged(b"", "ends in the middle");
    damaged(&[b'x'; 4096], "checksum");
}

#[test]
fn duplicates() {
    refused(&forge().file("root/a", b"x").file("root/a", b"x").finish(), "there twice");
    refused(&forge().file("root/a", b"x").file("manifest.json", b"x").finish(), "there twice");
    let deleted = Line { role: Role::Deleted, entry: None, ..directory("root/a") };
    refused(&forge().file("root/a", b"x").line(deleted).finish(), "there twice");
}

#[test]
fn what_lies_in_something_that_is_no_directory() {
    refused(&forge().empty(symlink("root/a")).file("root/a/b/c", b"x").finish(), "no directory");
    refused(&forge().file("root/a/b/c", b"x").empty(symlink("root/a")).finish(), "something lies in it");
    forge().file("root/a/b", b"x").empty(directory("root/a"));
    let deleted = Line { role: Role::Deleted, entry: None, ..directory("root/a") };
    refused(&forge().file("root/a/b", b"x").line(deleted).finish(), "something lies in it");
}

#[test]
fn hard_links() {
    refused(&forge().file("config.json", b"").empty(link("root/a", "config.json")).finish(), "elsewhere");
    refused(&forge().empty(link("root/a", "data/db.tree/x")).finish(), "elsewhere");
    refused(&forge().empty(directory("root/d")).empty(link("root/a", "root/d")).finish(), "no content");
    refused(&forge().empty(link("data/db.tree/a", "data/db.tree/b")).finish(), "not before it");
    refused(&forge().empty(link("config.json", "config.json")).finish(), "no regular file");
    // In a delta it can be a name that only the base has.
    read_archive(&forge().empty(link("root/a", "root/b")).finish()).unwrap();
}

#[test]
fn lines_that_do_not_fit_their_members() {
    let file_line = |path: &str, bytes: &[u8]| {
        let mut line = file(path, bytes).line;
        line.role = Role::Member { digest: Some(Digest::of(bytes)) };
        line
    };
    let good = file_line("root/a", b"x");
    let member = file("root/a", b"x").line;
    let change = |change: fn(&mut Line)| {
        let mut line = good.clone();
        change(&mut line);
        line
    };
    for wrong in [
        change(|line| line.role = Role::Member { digest: None }),
        change(|line| line.role = Role::Member { digest: Some(Digest::of(b"y")) }),
        change(|line| line.entry.as_mut().unwrap().mode = 0o4755),
        change(|line| line.entry.as_mut().unwrap().uid = 1),
        change(|line| line.entry.as_mut().unwrap().mtime.nanoseconds = 1),
        change(|line| line.entry.as_mut().unwrap().size = 2),
        change(|line| drop(line.entry.as_mut().unwrap().xattrs.insert(b"user.a".to_vec(), vec![]))),
    ] {
        damaged(&forge().raw(&member, b"x", 1).line(wrong).finish(), "./root/a is not what the index says");
    }
    damaged(&forge().raw(&member, b"x", 1).finish(), "members that its index does not know");
    damaged(&forge().line(good.clone()).finish(), "./root/a is missing");
    let other = file_line("root/b", b"x");
    damaged(&forge().file("root/b", b"x").line(good).line(other).finish(), "");
    // Two members in another order than their lines.
    let mut swapped = forge();
    swapped.raw(&file("root/b", b"b").line, b"b", 1).raw(&file("root/a", b"a").line, b"a", 1);
    damaged(
        &swapped.line(file_line("root/a", b"a")).line(file_line("root/b", b"b")).finish(),
        "or not where",
    );
}

#[test]
fn seals_that_lie() {
    let index = forge().file("root/a", b"x").index();
    let text = String::from_utf8(index).unwrap();
    for (from, to) in [
        ("\"entries\":1", "\"entries\":2"),
        ("\"members\":1", "\"members\":0"),
        ("\"bytes\":1", "\"bytes\":7"),
    ] {
        let index = text.replace(from, to);
        assert_ne!(index, text);
        let mut forge = forge();
        forge.file("root/a", b"x");
        damaged(&forge.raw(&file("index.jsonl", index.as_bytes()).line, index.as_bytes(), 1).end(), "seal");
    }
    let cases = [
        (text.lines().next().unwrap().to_owned() + "\n", "no seal"),
        (text.clone() + "{}\n", "goes on after the seal"),
        (text.trim_end().to_owned(), "has no end"),
        (text.replace("\"type\":\"file\"", "\"type\":\"door\""), "Not a kind"),
        ("[".repeat(100_000) + "\n", "line 1"),
        ("x".repeat(17 << 20) + "\n", "has no end"),
    ];
    for (index, why) in cases {
        let mut forge = forge();
        forge.file("root/a", b"x");
        damaged(&forge.raw(&file("index.jsonl", index.as_bytes()).line, index.as_bytes(), 1).end(), why);
    }
    damaged(&forge().file("root/a", b"x").end(), "has no index");
    let mut late = forge();
    let index = late.index();
    late.raw(&file("index.jsonl", &index).line, &index, 1);
    damaged(&late.file("root/a", b"x").end(), "members after its index");
}

#[test]
fn deletions_and_metadata_only_where_there_is_a_base() {
    let deleted = Line { role: Role::Deleted, entry: None, ..directory("data/db.tree/x") };
    refused(&forge().line(deleted).finish(), "differs from a base");
    let metadata = Line { role: Role::Metadata { digest: None }, ..file("data/db.tree/x", b"").line };
    refused(&forge().line(metadata).finish(), "differs from a base");
}

#[test]
fn attempts() {
    let old = file("root/a", b"old").line;
    let mut again = forge();
    again.raw(&old, b"old", 1).raw(&file("root/a", b"newer").line, b"newer", 2);
    let mut line = file("root/a", b"newer").line;
    line.role = Role::Member { digest: Some(Digest::of(b"newer")) };
    let (seal, collected) = read_archive(&again.line(line).finish()).unwrap();
    assert_eq!((seal.members, seal.bytes, collected.members.len()), (1, 5, 2));

    refused(&forge().raw(&old, b"old", 2).finish(), "not before it");
    refused(&forge().raw(&old, b"old", 1).raw(&old, b"old", 3).finish(), "not before it");
    refused(
        &forge().raw(&old, b"old", 1).raw(&link("root/a", "config.json"), b"", 2).finish(),
        "not before it",
    );
    let mut between = forge();
    between.raw(&old, b"old", 1).file("root/b", b"").raw(&old, b"old", 2);
    refused(&between.finish(), "not before it");
}

#[test]
fn sizes_that_lie() {
    // So long that the sum of all would overflow.
    let mut huge = file("root/a", b"").line;
    huge.entry.as_mut().unwrap().size = u64::MAX;
    damaged(&forge().raw(&huge, b"", 1).finish(), "ends in the middle");
    let mut long = forge();
    let mut header = tar_header("./x", b'x');
    header.as_old_mut().size[..11].copy_from_slice(b"77777777777");
    header.set_cksum();
    refused(&long.blocks(header.as_bytes()).finish(), "too long");
    let mut manifest = forge();
    manifest.bytes.clear();
    let mut line = file("manifest.json", b"").line;
    line.entry.as_mut().unwrap().size = 1 << 40;
    refused(&manifest.raw(&line, b"", 1).end(), "too long");
}

#[test]
fn sparse_maps_that_lie() {
    let sparse = |size: u64, stored: usize, map: &str, data: &[u8]| {
        let mut line = file("root/a", b"").line;
        line.entry.as_mut().unwrap().size = size;
        let layout = crate::archive::header::Layout::Sparse(stored as u64);
        let header = crate::archive::header::encode(&line, layout, 1).unwrap();
        forge().blocks(&header).blocks(map.as_bytes()).blocks(data).finish()
    };
    refused(&sparse(100, 512 + 10, "1\n0\n20\n", &[1; 10]), "does not go with its size");
    refused(&sparse(100, 512 + 200, "1\n0\n200\n", &[1; 200]), "outside");
    refused(&sparse(100, 512 + 20, "2\n0\n10\n5\n10\n", &[1; 20]), "overlap");
    refused(&sparse(100, 512, "3\n0\n10\n", &[]), "no number");
    refused(&sparse(100, 512, &format!("1\n{}", "0".repeat(510)), &[]), "no end");
    refused(&sparse(100, 0, "", &[]), "no end");
    refused(&sparse(100, 512, "what\n", &[]), "no number");
    refused(&sparse(100, 512, "2000000\n", &[]), "too many");
}

/// It tells of all members that follow, so all but comments would change them.
#[test]
fn a_global_header_may_only_comment() {
    let with = |key: &str| {
        let mut records = Vec::new();
        crate::archive::pax::push(&mut records, key.as_bytes(), b"x");
        let mut block = ::tar::Header::new_ustar();
        block.set_entry_type(::tar::EntryType::XGlobalHeader);
        block.set_size(records.len() as u64);
        block.set_cksum();
        let mut archive = [block.as_bytes(), &records[..]].concat();
        archive.resize(1024, 0);
        archive.extend(forge().finish());
        archive
    };
    read_archive(&with("comment")).unwrap();
    refused(&with("path"), "headers that do not go together");
}
