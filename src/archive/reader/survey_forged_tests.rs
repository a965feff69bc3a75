//! Archives whose members and lines disagree: what each is worth then.

use super::survey_tests::{Told, look, salvaged, told};
use super::*;
use crate::archive::index::{Replaced, Role};
use crate::archive::testing::*;
use crate::archive::{Digest, Writer, gzip};
use crate::tree::Kind;
use Fault::{Corrupt, Mismatch, Missing, Unexpected, Unverified};
use Rescue::{Lost, Unproven, Whole};

fn forge() -> Forge {
    let mut forge = Forge::new(&manifest());
    forge.empty(line("root", entry(Kind::Directory))).file("root/a", b"content of a").file("root/b", b"b");
    forge
}

fn of(expected: &[(&str, Fault, Rescue)]) -> Vec<Told> {
    expected.iter().map(|(name, fault, rescue)| ((*name).to_owned(), *fault, *rescue)).collect()
}

fn taken(bytes: &[u8], found: &Survey, unproven: bool) -> (Vec<String>, Vec<String>) {
    let got = salvaged(bytes, found, unproven);
    let names = |line: &Line| line.name.to_string();
    (got.members.iter().map(|(line, _)| names(line)).collect(), got.lines.iter().map(names).collect())
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// A line like `line`, with a digest.
fn with_digest(mut line: Line, content: &[u8]) -> Line {
    line.role = Role::Member { digest: Some(Digest::of(content)) };
    line
}

/// Of these the index has lines alone.
fn lines_alone(forge: &mut Forge) {
    let replaced = Some(Replaced { kind: Kind::File, digest: Some(Digest::of(b"old")) });
    let digest = Some(Digest::of(b"old"));
    for (path, role, kind) in [
        ("root/meta", Role::Metadata { digest }, Some(Kind::File)),
        ("root/socket", Role::Unarchived, Some(Kind::Socket)),
        ("root/gone", Role::Deleted, None),
    ] {
        let mut line = line(path, entry(kind.unwrap_or(Kind::File)));
        line.role = role;
        if kind.is_none() {
            line.entry = None;
        }
        if kind != Some(Kind::Socket) {
            line.replaced = replaced.clone();
        }
        forge.line(line);
    }
}

/// Changes one byte behind the last place of `near`.
fn spoil(bytes: &mut [u8], near: &[u8]) {
    let at = bytes.windows(near.len()).rposition(|window| window == near).unwrap();
    bytes[at + near.len()] = 0xff;
}

#[test]
fn lines_are_proven_by_the_seal_or_by_members_that_agree() {
    let mut forge = forge();
    lines_alone(&mut forge);
    let whole = forge.finish();
    let found = look(&whole);
    assert!(found.is_whole(), "{:?} {:?}", found.findings, found.others);
    assert_eq!(found.intact_entries, 6);
    let all = ["./root", "./root/a", "./root/b", "./root/meta", "./root/socket", "./root/gone"];
    assert_eq!(taken(&whole, &found, false), (strings(&all[..3]), strings(&all)));

    // The seal does not fit, and all lines can be read.
    for (near, broken) in [(&b"\"seal\":{\"entries\":"[..], false), (b"\"./root/gone\",\"", true)] {
        let mut bytes = whole.clone();
        match bytes.windows(near.len()).rposition(|window| window == near) {
            Some(at) if !broken => bytes[at + near.len()] = b'9',
            Some(at) => bytes[at + near.len()] = 0xff,
            None => panic!("{}", String::from_utf8_lossy(&bytes[bytes.len() - 3000..])),
        }
        let found = look(&bytes);
        assert_eq!((found.index, found.seal.is_none()), (IndexState::Partial, true));
        let count = if broken { 2 } else { 3 };
        let expected: Vec<_> = all[3..3 + count].iter().map(|name| (*name, Unverified, Unproven)).collect();
        assert_eq!(told(&found), of(&expected));
        let why = ["has its attributes", "tells of it", "says that it was deleted"];
        let why: Vec<_> = why.map(|end| format!("only a line that is not proven {end}")).into();
        assert!(found.findings.iter().map(|finding| &finding.detail).eq(&why[..count]));
        assert_eq!(found.others.len(), usize::from(broken));
        assert_eq!(found.intact_entries, 3);
        assert_eq!(taken(&bytes, &found, false), (strings(&all[..3]), strings(&all[..3])));
        assert_eq!(taken(&bytes, &found, true), (strings(&all[..3]), strings(&all[..3 + count])));
    }
}

/// A header says another mode than the line.
#[test]
fn what_header_and_line_disagree_about_is_as_a_proven_line_says() {
    let mut forge = forge();
    for (path, kind) in [("root/dir", Kind::Directory), ("root/file", Kind::File)] {
        let content: &[u8] = if kind == Kind::File { b"its own content" } else { b"" };
        let mut header = line(path, entry(kind));
        header.entry.as_mut().unwrap().size = content.len() as u64;
        forge.raw(&header, content, 1);
        header.entry.as_mut().unwrap().mode = 0o600;
        forge.line(if kind == Kind::File { with_digest(header, content) } else { header });
    }
    let bytes = forge.finish();
    let found = look(&bytes);
    assert_eq!(told(&found), of(&[("./root/dir", Mismatch, Whole), ("./root/file", Mismatch, Whole)]));
    let got = salvaged(&bytes, &found, false);
    let modes: Vec<_> = got.members.iter().map(|(line, _)| line.entry.as_ref().unwrap().mode).collect();
    assert_eq!(modes, [0o644, 0o644, 0o644, 0o600, 0o600]);
    assert!(got.members[4].1.is_some());

    let mut unproven = bytes;
    spoil(&mut unproven, b"\"seal\":{");
    let found = look(&unproven);
    assert_eq!(told(&found), of(&[("./root/dir", Mismatch, Unproven), ("./root/file", Corrupt, Lost)]));
    assert_eq!(taken(&unproven, &found, false).0, strings(&["./root", "./root/a", "./root/b"]));
    assert_eq!(taken(&unproven, &found, true).0, strings(&["./root", "./root/a", "./root/b", "./root/dir"]));
}

#[test]
fn a_member_without_a_line_is_left_out_where_the_index_is_proven() {
    let mut forge = forge();
    forge.raw(&file("root/stray", b"stray").line, b"stray", 1);
    forge.file("root/c", b"c");
    let mut bytes = forge.finish();
    let found = look(&bytes);
    assert_eq!(told(&found), of(&[("./root/stray", Unexpected, Lost)]));
    assert!(!taken(&bytes, &found, true).0.contains(&"./root/stray".to_owned()));
    // And unproven where it is not.
    spoil(&mut bytes, b"\"seal\":{");
    let found = look(&bytes);
    assert_eq!(told(&found), of(&[("./root/stray", Unverified, Unproven)]));
    assert!(!taken(&bytes, &found, false).0.contains(&"./root/stray".to_owned()));
    assert!(taken(&bytes, &found, true).0.contains(&"./root/stray".to_owned()));
}

#[test]
fn of_several_attempts_the_last_counts() {
    let mut forge = forge();
    let mut sample = file("root/again", b"second").line;
    forge.raw(&sample, b"first.", 1).raw(&sample, b"second", 2);
    sample = with_digest(sample, b"second");
    forge.line(sample).file("root/c", b"c");
    let bytes = forge.finish();
    let found = look(&bytes);
    assert!(told(&found).is_empty());
    let got = salvaged(&bytes, &found, false);
    let again: Vec<_> = got.members.iter().filter(|(line, _)| line.name == name("root/again")).collect();
    assert_eq!(again.len(), 1);
    assert_eq!(again[0].1.as_ref().unwrap().1, Digest::of(b"second"));
    // Without a line the last one counts, too.
    let index = bytes.windows(12).rposition(|window| window == b"./index.json").unwrap();
    let cut = &bytes[..index];
    let unknown = look(cut);
    let expected = ["./root", "./root/a", "./root/b", "./root/again", "./root/c"];
    assert_eq!(told(&unknown), of(&expected.map(|name| (name, Unverified, Unproven))));
    assert_eq!(taken(cut, &unknown, true).0, strings(&expected));
    let got = salvaged(cut, &unknown, true);
    let again = got.members.iter().find(|(line, _)| line.name == name("root/again")).unwrap();
    assert_eq!(again.1.as_ref().unwrap().1, Digest::of(b"second"));
    // The last one is damaged: the first is another state of it, and not what its line says.
    let mut damaged = bytes;
    let at = damaged.windows(6).rposition(|window| window == b"second").unwrap();
    damaged[at] = b'X';
    let found = look(&damaged);
    assert_eq!(told(&found), of(&[("./root/again", Corrupt, Lost)]));
}

/// Two files of one content, of which one has lost its header: each line gets its own.
#[test]
fn equal_contents_stay_with_their_own_lines() {
    for lost in [0, 1, 2] {
        let mut forge = Forge::new(&manifest());
        forge.empty(line("root", entry(Kind::Directory)));
        for number in 0..3 {
            let path = format!("root/{number}");
            let sample = file(&path, b"the same").line;
            let mut header = sample.clone();
            if number == lost {
                header.name = name("root/else");
            }
            forge.raw(&header, b"the same", 1).line(with_digest(sample, b"the same"));
        }
        let bytes = forge.finish();
        let found = look(&bytes);
        let path = format!("./root/{lost}");
        assert_eq!(told(&found), of(&[(&path, Mismatch, Whole)]));
        assert_eq!(taken(&bytes, &found, false).0, strings(&["./root", "./root/0", "./root/1", "./root/2"]));
    }
}

#[test]
fn a_line_that_no_archive_may_have_is_left_out() {
    let mut forge = forge();
    forge.file("elsewhere", b"x");
    let bytes = forge.finish();
    let found = look(&bytes);
    assert_eq!(told(&found), of(&[("./elsewhere", Corrupt, Lost)]));
    assert_eq!(taken(&bytes, &found, true).0, strings(&["./root", "./root/a", "./root/b"]));
    // Nor is a member of that name taken where there is no index.
    let cut = bytes.windows(11).position(|window| window == b"index.jsonl").unwrap() / 512 * 512;
    let found = look(&bytes[..cut]);
    let expected: Vec<_> =
        ["./root", "./root/a", "./root/b"].iter().map(|name| (*name, Unverified, Unproven)).collect();
    assert_eq!(told(&found), of(&expected));
}

#[test]
fn links_to_what_is_lost_are_lost_and_others_are_not() {
    let mut forge = forge();
    for (path, to) in [("root/to-a", "root/a"), ("root/to-b", "root/b"), ("root/to-base", "root/base")] {
        let mut link = line(path, entry(Kind::File));
        (link.role, link.group) = (Role::Link { to: name(to) }, Some(1));
        forge.empty(link);
    }
    let mut bytes = forge.finish();
    let at = bytes.windows(12).position(|window| window == b"content of a").unwrap();
    bytes[at] = b'X';
    let found = look(&bytes);
    assert_eq!(told(&found), of(&[("./root/a", Corrupt, Lost), ("./root/to-a", Corrupt, Lost)]));
}

/// Checksums of the compression vouch for lines, where the seal does not.
#[test]
fn a_line_in_a_whole_chunk_is_trusted() {
    let mut forge = forge();
    lines_alone(&mut forge);
    let mut plain = forge.finish();
    let at = plain.windows(9).rposition(|window| window == b"\"entries\"").unwrap();
    plain[at + 10] = b'9';
    let mut compressed = Vec::new();
    for part in plain.chunks(4096) {
        compressed.extend(gzip::Encoder::new(6).encode(part).unwrap());
    }
    let found = look(&compressed);
    assert_eq!((found.index, found.seal.is_none(), told(&found)), (IndexState::Partial, true, vec![]));
    assert!(found.manifest_proven);
    assert_eq!(found.intact_entries, 6);
    assert!(!found.is_whole());
}

#[test]
fn what_is_missing_is_missing() {
    let mut forge = forge();
    forge.line(with_digest(file("root/lost", b"lost").line, b"lost"));
    forge.line(line("root/dir", entry(Kind::Directory)));
    let mut bytes = forge.finish();
    let found = look(&bytes);
    assert_eq!(told(&found), of(&[("./root/lost", Missing, Lost), ("./root/dir", Missing, Whole)]));
    assert!(taken(&bytes, &found, false).0.contains(&"./root/dir".to_owned()));
    spoil(&mut bytes, b"\"seal\":{");
    let found = look(&bytes);
    assert_eq!(told(&found), of(&[("./root/lost", Missing, Lost), ("./root/dir", Missing, Unproven)]));
    assert!(!taken(&bytes, &found, false).0.contains(&"./root/dir".to_owned()));
}

/// What fills the last block of a content up is of no entry, and not as it was written all the same.
#[test]
fn what_lies_between_members_is_zeros() {
    let mut bytes = forge().finish();
    let at = bytes.windows(12).position(|window| window == b"content of a").unwrap();
    bytes[at + 100] = 1;
    let found = look(&bytes);
    assert_eq!((told(&found), found.index, found.others.len()), (vec![], IndexState::Whole, 1));
    assert!(!found.is_whole());
    // In what is compressed a whole chunk is lost, nothing is told of what would have followed, and it goes on behind it.
    let mut forge = forge();
    for number in 0..4 {
        forge.file(format!("root/later{number}"), &[b'x'; 700]);
    }
    let found = look(&in_parts(&forge.finish(), 1024, b"content of a"));
    assert_eq!(found.others, [""; 0]);
    let told = told(&found);
    assert!(told.iter().any(|one| one.0 == "./root/a") && !told.iter().any(|one| one.0 == "./root/later3"));
}

/// One of them agrees with the line, and the other is told by nobody.
#[test]
fn a_name_that_comes_twice_is_no_second_attempt() {
    let mut forge = forge();
    forge.file("root/twice", b"first").raw(&file("root/twice", b"other").line, b"other", 1);
    let bytes = forge.finish();
    let found = look(&bytes);
    assert!(told(&found).is_empty());
    let got = salvaged(&bytes, &found, false);
    let twice: Vec<_> = got.members.iter().filter(|(line, _)| line.name == name("root/twice")).collect();
    assert_eq!(twice.len(), 1);
    assert_eq!(twice[0].1.as_ref().unwrap().1, Digest::of(b"first"));
}

/// Of an archive within an archive, which is no index of this one.
#[test]
fn members_behind_an_index_are_members() {
    let mut forge = forge();
    forge.raw(&file("index.jsonl", b"").line, b"", 1).file("root/behind", b"behind");
    let bytes = forge.finish();
    let found = look(&bytes);
    assert!(told(&found).is_empty(), "{:?}", told(&found));
    assert!(taken(&bytes, &found, false).0.contains(&"./root/behind".to_owned()));
}

/// The manifest is what comes first and is called so: not what comes first, nor what is called so.
#[test]
fn only_the_first_member_is_the_manifest() {
    let manifest_bytes = Forge::new(&manifest()).bytes.len();
    let mut forge = Forge::new(&manifest());
    let other = b"{\"of\":\"another archive\"}";
    forge.raw(&file("root/a", b"content of a").line, b"content of a", 1);
    forge.raw(&file("manifest.json", other).line, other, 1).file("root/b", b"b");
    let bytes = forge.finish();
    assert!(look(&bytes).manifest.is_some_and(|found| found == manifest()));
    let without = look(&bytes[manifest_bytes..]);
    assert!(without.manifest.is_none());
    assert!(told(&without).iter().any(|(name, ..)| name == "./root/a"), "{:?}", told(&without));
}

#[test]
fn a_manifest_has_a_bound() {
    let most = usize::try_from(crate::archive::bounds::MAX_MANIFEST_BYTES).unwrap();
    let with = |length: usize| {
        let mut json = manifest().to_json();
        json.resize(length, b' ');
        let mut forge = forge();
        let rest = forge.bytes.split_off(512 + manifest().to_json().len().next_multiple_of(512));
        forge.bytes.clear();
        forge.raw(&file("manifest.json", &json).line, &json, 1).blocks(&rest);
        look(&forge.finish()).manifest.is_some()
    };
    assert!(with(most) && !with(most + 1));
}

/// Where nothing follows that could be a member, it is told why the reading ended there, unless the loss itself is told.
#[test]
fn what_ends_in_nonsense_is_told() {
    let mut forge = forge();
    let at = forge.bytes.len();
    let plain = forge.file("root/c", b"c").finish();
    let packed = |bytes: &[u8]| gzip::Encoder::new(6).encode(bytes).unwrap();
    let nonsense = [packed(&plain[..at]), packed(&[b'x'; 2048])].concat();
    let found = look(&nonsense);
    assert_eq!((found.others.len(), found.unreadable.len()), (1, 0), "{:?}", found.others);
    let good = packed(&plain[..at]);
    let mut lost = [&good[..], &packed(&plain[at..])].concat();
    lost[good.len() + gzip::HEADER_BYTES + 4] ^= 0xff;
    let found = look(&lost);
    assert_eq!((found.others.len(), found.unreadable.len()), (0, 1), "{:?}", found.others);
}

/// The plain archive in parts of so many bytes, compressed each by itself, of which those that hold `broken` are damaged: nothing of
/// them tells how long they were.
fn in_parts(plain: &[u8], length: usize, broken: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in plain.chunks(length) {
        let begin = bytes.len();
        bytes.extend(gzip::Encoder::new(6).encode(part).unwrap());
        if part.windows(broken.len()).any(|window| window == broken) {
            bytes[begin + gzip::HEADER_BYTES..].fill(0xff);
        }
    }
    bytes
}

/// Where it broke is known to the decoder alone.
#[test]
fn of_what_another_program_compressed_no_part_is_told_as_lost() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut encoder, &forge().finish()).unwrap();
    let mut bytes = encoder.finish().unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 8].fill(0xff);
    let found = look(&bytes);
    assert_eq!((found.is_whole(), found.unreadable.len()), (false, 0));
}

#[test]
fn what_is_damaged_behind_the_end_is_seen() {
    let plain = forge().finish();
    let whole = in_parts(&plain, 1024, b"nowhere");
    assert!(look(&whole).is_whole());
    let more = [&whole[..], &in_parts(b"more", 1024, b"more")].concat();
    let found = look(&more);
    assert_eq!((told(&found), found.unreadable.len(), found.is_whole()), (vec![], 1, false));
}

/// What is damaged far behind the end, too, and behind it there is no member.
#[test]
fn all_that_is_behind_the_end_is_read() {
    let plain = forge().finish();
    let padded = [&plain[..], &vec![0; 1 << 20]].concat();
    let behind = [&in_parts(&padded, 1024, b"nowhere")[..], &in_parts(b"more", 1024, b"more")].concat();
    let found = look(&behind);
    assert_eq!((told(&found), found.unreadable.len(), found.is_whole()), (vec![], 1, false));
}

/// Where a content goes on behind what is lost is not known, so the next member is looked for.
#[test]
fn a_content_of_which_a_part_is_lost_costs_no_other() {
    let mut forge = forge();
    let content = [&[b'x'; 2048][..], b"lost here", &[b'y'; 2048]].concat();
    forge.file("root/long", &content).file("root/c", b"c").file("root/d", b"d");
    let bytes = in_parts(&forge.finish(), 1024, b"lost here");
    let found = look(&bytes);
    assert_eq!(told(&found), of(&[("./root/long", Corrupt, Lost)]));
    let expected = ["./root", "./root/a", "./root/b", "./root/c", "./root/d"];
    assert_eq!(taken(&bytes, &found, false).0, strings(&expected));
}

/// Each comes once, with what its line says, in whatever order the headers are.
#[test]
fn directories_come_in_the_order_of_the_index() {
    let mut forge = forge();
    let [one, two] = ["root/1", "root/2"].map(|path| line(path, entry(Kind::Directory)));
    forge.raw(&two, b"", 1).raw(&one, b"", 1).line(one).line(two);
    let bytes = forge.finish();
    let found = look(&bytes);
    assert_eq!(told(&found), of(&[("./root/2", Mismatch, Whole)]));
    let expected = ["./root", "./root/a", "./root/b", "./root/1", "./root/2"];
    assert_eq!(taken(&bytes, &found, false), (strings(&expected), strings(&expected)));
}

#[test]
fn of_a_directory_each_file_is_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("archive");
    let mut writer = Writer::directory(&dest, false, "x").unwrap();
    writer.manifest(&manifest(), 0).unwrap();
    let mut samples = vec![file("root/a", b"content of a"), file("root/b", b"b")];
    for (path, to) in [("root/to-a", "root/a"), ("root/to-b", "root/b")] {
        let mut link = file(path, b"");
        (link.line.role, link.line.group, link.body) =
            (Role::Link { to: name(to) }, Some(1), SampleBody::None);
        samples.push(link);
    }
    write_samples(&mut writer, &samples).unwrap();
    writer.finish().unwrap();
    let look = || survey(Source::Path(dest.clone()), "test", &mut |_| Ok(())).unwrap();
    let found = look();
    assert_eq!((told(&found), found.intact_entries, found.is_whole()), (vec![], 4, true));
    std::fs::write(dest.join("root/a"), b"CONTENT OF A").unwrap();
    let found = look();
    assert_eq!(told(&found), of(&[("./root/a", Corrupt, Lost), ("./root/to-a", Corrupt, Lost)]));
    assert_eq!(found.intact_entries, 2);
    assert_eq!(found.states, [Lost, Whole, Lost, Whole]);
}

#[test]
fn an_index_of_which_a_part_is_lost_ends_the_archive() {
    let mut forge = forge();
    for number in 0..40 {
        forge.file(format!("root/file{number}"), b"x");
    }
    let plain = forge.finish();
    let found = look(&in_parts(&plain, 1024, b"./root/file30\","));
    assert_eq!(found.index, IndexState::Partial);
    assert!(matches!(&found.others[..], [one] if one.ends_with("lines of its index cannot be understood")));
    assert!(told(&found).iter().all(|(_, fault, rescue)| (*fault, *rescue) == (Unverified, Unproven)));
}

/// What a damaged chunk says of its length is no reason to miss what follows it.
#[test]
fn a_chunk_that_lies_about_its_length_costs_what_lies_in_it() {
    let mut forge = forge();
    let begin = forge.bytes.len();
    let plain = forge.file("root/long", &[b'x'; 3000]).file("root/c", b"c").file("root/d", b"d").finish();
    let packed = |bytes: &[u8]| gzip::Encoder::new(6).encode(bytes).unwrap();
    // In the middle of the long one.
    let (from, to) = (begin + 2000, begin + 3000);
    let lost = packed(&plain[from..to]);
    for said in [0, 1, 999, 1001, 1512, 5000, 1 << 20, u32::MAX] {
        let mut lost = lost.clone();
        let end = lost.len();
        lost[end - 4..].copy_from_slice(&said.to_le_bytes());
        let found = look(&[packed(&plain[..from]), lost, packed(&plain[to..])].concat());
        let lost = told(&found).into_iter().filter(|(_, _, rescue)| *rescue == Lost).collect::<Vec<_>>();
        assert_eq!(lost, of(&[("./root/long", Corrupt, Lost)]), "{said}");
    }
}
