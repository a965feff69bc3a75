//! Contents come in the order of their lines: one is never taken for a line that lies elsewhere.

use super::*;
use crate::archive::index::{Failure, seal_to_json};
use crate::archive::reader::lines::Collector;
use crate::archive::testing::{entry, line, manifest, name};

fn spare(members: &[(usize, &str)], agreed: &[(usize, usize)]) -> Spare {
    let mut by_digest: HashMap<Digest, Vec<usize>> = HashMap::new();
    for (member, content) in members {
        by_digest.entry(Digest::of(content.as_bytes())).or_default().push(*member);
    }
    Spare { by_digest, agreed: agreed.to_vec(), passed: 0, least: 0 }
}

fn take(spare: &mut Spare, content: &str, line: usize) -> Option<usize> {
    spare.take(Digest::of(content.as_bytes()), line)
}

#[test]
fn a_spare_content_lies_between_those_that_agree() {
    let mut spare = spare(&[(0, "a"), (1, "a"), (3, "a"), (4, "a"), (6, "a")], &[(2, 2), (5, 4)]);
    assert_eq!(take(&mut spare, "a", 0), Some(0));
    assert_eq!(take(&mut spare, "a", 1), Some(1));
    assert_eq!(take(&mut spare, "a", 1), None);
    spare.pass(2, 2);
    assert_eq!(take(&mut spare, "b", 3), None);
    assert_eq!(take(&mut spare, "a", 3), Some(3));
    assert_eq!(take(&mut spare, "a", 3), Some(4));
    assert_eq!(take(&mut spare, "a", 3), None);
    spare.pass(5, 4);
    assert_eq!(take(&mut spare, "a", 5), Some(6));
    assert_eq!(take(&mut spare, "a", 6), None);
}

#[test]
fn a_spare_content_lies_behind_those_that_were_taken() {
    let mut spare = spare(&[(1, "b"), (2, "a"), (3, "b")], &[]);
    assert_eq!(take(&mut spare, "a", 0), Some(2));
    assert_eq!(take(&mut spare, "b", 1), Some(3));
    assert_eq!(take(&mut spare, "b", 2), None);
    // Nor before one that agrees, whatever the order of those.
    let mut spare = self::spare(&[(0, "a"), (1, "a"), (8, "a")], &[(7, 0), (3, 1)]);
    spare.pass(7, 0);
    spare.pass(3, 1);
    assert_eq!(take(&mut spare, "a", 2), Some(8));
    // One of a hard link that several lines agree with is passed once.
    let mut spare = self::spare(&[(1, "a"), (5, "a")], &[(0, 0), (4, 2)]);
    spare.pass(3, 9);
    assert_eq!(take(&mut spare, "a", 1), Some(5));
}

fn file(path: &str, content: &str) -> Line {
    let mut line = line(path, entry(Kind::File));
    if let Some(entry) = &mut line.entry {
        entry.size = content.len() as u64;
    }
    Line { role: Role::Member { digest: Some(Digest::of(content.as_bytes())) }, ..line }
}

/// The judge of an index with these lines, and so many seals.
fn judge(manifest: Option<Manifest>, lines: &[Line], seals: usize) -> Judge {
    let mut collector = Collector::new().unwrap();
    collector.confirmed = true;
    let manifest = manifest.map(|manifest| (manifest, b"{}".to_vec(), false));
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"{}");
    let mut bytes = 0;
    for line in lines {
        let json = line_to_json(line);
        hasher.update(&json);
        bytes += line.entry.as_ref().map_or(0, |entry| entry.size);
        collector.feed(&json, false).unwrap();
    }
    let count = lines.len() as u64;
    let digest = Digest::from(hasher.finalize());
    for _ in 0..seals {
        let seal = Seal { entries: count, members: count, bytes, digest };
        collector.feed(&seal_to_json(&seal), false).unwrap();
    }
    Judge::new(manifest, collector.finish().unwrap(), Vec::new(), Vec::new()).unwrap()
}

fn found(line: &Line) -> Found {
    Found { line: Line { unstable: false, ..line.clone() }, complete: true, sought: false, superseded: false }
}

#[test]
fn an_index_has_one_seal_and_ends_with_it() {
    let lines = [file("root/a", "a"), file("root/b", "bb")];
    for (seals, is_proven) in [(0, false), (1, true), (2, false)] {
        let mut judge = judge(Some(manifest()), &lines, seals);
        judge.prove().unwrap();
        assert_eq!(judge.is_proven(), is_proven, "{seals}");
    }
}

/// A header cannot tell that a file changed while it was read.
#[test]
fn a_header_agrees_with_the_line_of_a_file_that_changed() {
    let line = Line { unstable: true, ..file("root/a", "a") };
    let mut judge = judge(Some(manifest()), std::slice::from_ref(&line), 0);
    judge.members(&[found(&line)]).unwrap();
    assert_eq!((judge.survey.findings.len(), judge.survey.intact_entries), (0, 1));
}

#[test]
fn members_agree_with_lines_in_their_order_and_once() {
    let lines = ["root/a", "root/b"].map(|path| file(path, path));
    let agreed = |lines: &[Line], members: &[&Line]| {
        let witnesses = members.iter().enumerate().map(|(number, line)| (hash(line), number)).collect();
        let mut judge = judge(Some(manifest()), lines, 0);
        judge.survey.claims = vec![None; members.len()];
        judge.agreed(&witnesses).unwrap()
    };
    let [a, b] = &lines;
    assert_eq!(agreed(&lines, &[a, b]), [Some(0), Some(1)]);
    assert_eq!(agreed(&lines, &[b, a]), [Some(1), None]);
    assert_eq!(agreed(&[a.clone(), a.clone()], &[a, b]), [Some(0), None]);
}

/// What follows on a search may be of a tar file within the archive, until a member comes that the index has.
#[test]
fn what_a_search_has_found_is_told_when_it_can_be_of_the_archive() {
    let [sought, known, unknown] = ["root/sought", "root/known", "root/unknown"].map(|path| file(path, path));
    let told = |found: &[Found], agreed: &[usize]| {
        let mut judge = judge(None, &[], 0);
        judge.survey.claims = vec![None; found.len()];
        for &number in agreed {
            judge.survey.claims[number] = Some(0);
        }
        judge.rest(found, &HashSet::new(), &agreed.iter().copied().collect());
        judge.survey.findings.into_iter().map(|finding| finding.name).collect::<Vec<_>>()
    };
    let one = || Found { sought: true, ..found(&sought) };
    assert_eq!(told(&[found(&unknown)], &[]), [name("root/unknown")]);
    assert_eq!(told(&[one()], &[]), []);
    assert_eq!(told(&[one(), found(&unknown)], &[]), []);
    assert_eq!(told(&[one(), found(&known), found(&unknown)], &[1]), [name("root/unknown")]);
}

#[test]
fn what_failed_in_the_export_is_told_by_its_line() {
    let failure = Failure { resource: 0, error: "it was gone".to_owned() };
    let mut collector = Collector::new().unwrap();
    collector.feed(&line_to_json(&file("root/a", "a")), true).unwrap();
    collector.feed(&crate::archive::index::failure_to_json(&failure), true).unwrap();
    let lines = collector.finish().unwrap();
    assert_eq!(crate::archive::reader::survey::failures(&lines).unwrap(), [failure]);
}
