//! What is found of damaged archives, and handed over: neither less nor more than is whole.

use std::collections::BTreeSet;

use super::tar::Tar;
use super::*;
use crate::archive::Compression;
use crate::archive::index::Role;
use crate::archive::testing::*;

pub(super) type Told = (String, Fault, Rescue);

pub(super) struct Memory(pub(super) Vec<u8>);

impl ReadAt for Memory {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = &self.0[usize::try_from(offset).unwrap().min(self.0.len())..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        Ok(length)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

fn source(bytes: &[u8]) -> Source {
    Source::File(Arc::new(Memory(bytes.to_vec())))
}

pub(super) fn told(survey: &Survey) -> Vec<Told> {
    survey.findings.iter().map(|one| (one.name.to_string(), one.fault, one.rescue)).collect()
}

/// What is found in a file; in a pipe it is the same.
pub(super) fn look(bytes: &[u8]) -> Survey {
    let stream = Source::Stream(Box::new(io::Cursor::new(bytes.to_vec())));
    let piped = survey(stream, "test", &mut |_| Ok(())).unwrap();
    let mut seen = 0;
    let found = survey(source(bytes), "test", &mut |_| {
        seen += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(told(&found), told(&piped));
    assert_eq!(found.index, piped.index);
    assert_eq!((found.intact_entries, &found.others), (piped.intact_entries, &piped.others));
    found
}

/// What is handed over.
pub(super) fn salvaged(bytes: &[u8], found: &Survey, unproven: bool) -> Collected {
    let mut collected = Collected::default();
    salvage(source(bytes), "test", found, unproven, &mut collected).unwrap();
    collected
}

/// All that a whole archive has, but for some members, is handed over just as of a whole one.
#[track_caller]
fn all_but(whole: &[u8], damaged: &[u8], found: &Survey, lost: &BTreeSet<String>) {
    let (_, all) = read_archive(whole).unwrap();
    for unproven in [false, true] {
        let got = salvaged(damaged, found, unproven);
        let kept = |line: &Line| !lost.contains(&line.name.to_string());
        let members: Vec<_> = all.members.iter().filter(|(line, _)| kept(line)).cloned().collect();
        assert!(got.members == members, "{lost:?}: {:?}", names(&got));
        assert_eq!(got.lines, all.lines.iter().filter(|line| kept(line)).cloned().collect::<Vec<_>>());
        assert_eq!(got.manifest, all.manifest);
    }
    assert_eq!(found.intact_entries, (all.lines.len() - lost.len()) as u64);
}

fn names(collected: &Collected) -> Vec<String> {
    collected.members.iter().map(|(line, _)| line.name.to_string()).collect()
}

/// A member's place in a tar stream.
struct Placed {
    line: Line,
    begin: usize,
    content: usize,
    end: usize,
}

impl Placed {
    fn name(&self) -> String {
        self.line.name.to_string()
    }

    /// Whether only its member has what it is.
    fn has_content(&self) -> bool {
        tar::has_content(&self.line)
    }
}

/// All members after the manifest; the index is the last.
fn places(plain: &[u8]) -> Vec<Placed> {
    let stream: Box<dyn io::BufRead> = Box::new(io::Cursor::new(plain.to_vec()));
    let stream = content::Audited::new(stream, Audit::default());
    let mut tar = Tar::new(Box::new(stream), &Terms::new("test"));
    tar.manifest().unwrap();
    let mut places = Vec::new();
    let place = |at: u64| usize::try_from(at).unwrap();
    while let Some(member) = tar.next().unwrap() {
        let (line, begin, content) = (member.line.clone(), tar.began_at, tar.input.position());
        tar.hand_over(member, None).unwrap();
        let (begin, content, end) = (place(begin), place(content), place(tar.input.position()));
        places.push(Placed { line, begin, content, end });
    }
    assert_eq!(places.last().unwrap().name(), "./index.jsonl");
    places
}

/// The small samples without compression, and where each is.
fn plain() -> (Vec<u8>, Vec<Placed>) {
    let is_small = |sample: &Sample| match &sample.body {
        SampleBody::None => true,
        SampleBody::Stream(bytes) => bytes.len() < 1 << 20,
        SampleBody::Sparse(data) => data.iter().all(|(_, bytes)| bytes.len() < 1 << 20),
    };
    let samples: Vec<_> = samples().into_iter().filter(is_small).collect();
    let bytes = archive(Compression::None, false, &samples);
    let mut places = places(&bytes);
    places.pop();
    (bytes, places)
}

/// Hard links to one of these, in the archive itself.
fn with_links(places: &[Placed], lost: &str) -> Vec<String> {
    let is_link = |line: &Line| matches!(&line.role, Role::Link { to } if to.to_string() == lost);
    places.iter().filter(|place| is_link(&place.line)).map(Placed::name).collect()
}

fn ranges(found: &Survey) -> Vec<(u64, u64)> {
    found.unreadable.iter().map(|(_, range)| (range.offset, range.length)).collect()
}

#[test]
fn a_whole_archive_is_whole() {
    for compression in [Compression::None, Compression::Gzip(6), Compression::Zstd(3)] {
        for patchable in [true, false] {
            let bytes = archive(compression, patchable, &samples());
            let found = look(&bytes);
            assert!(found.is_whole() && found.manifest_proven && found.index == IndexState::Whole);
            assert_eq!(found.seal, Some(read_archive(&bytes).unwrap().0));
            all_but(&bytes, &bytes, &found, &BTreeSet::new());
        }
    }
}

#[test]
fn a_changed_content_is_lost_with_its_links_and_nothing_else() {
    let (whole, places) = plain();
    for place in places.iter().filter(|place| place.has_content() && place.content < place.end) {
        // Behind a map, if there is one.
        for at in [place.content + 512, place.content].into_iter().filter(|at| *at < place.end) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            let found = look(&bytes);
            let links = with_links(&places, &place.name());
            let names = [vec![place.name()], links].concat();
            let expected: Vec<_> =
                names.iter().map(|name| (name.clone(), Fault::Corrupt, Rescue::Lost)).collect();
            assert_eq!(told(&found), expected);
            assert_eq!((found.index, found.manifest_proven), (IndexState::Whole, true));
            all_but(&whole, &bytes, &found, &names.into_iter().collect());
        }
    }
}

/// Of what has no content the index knows all, and it is proven.
#[test]
fn a_header_that_is_lost_costs_a_content_alone() {
    let (whole, places) = plain();
    for place in &places {
        let mut bytes = whole.clone();
        bytes[place.content - 512 + 20] ^= 0x80;
        let found = look(&bytes);
        let mut lost = BTreeSet::new();
        if place.has_content() {
            lost.extend([vec![place.name()], with_links(&places, &place.name())].concat());
        }
        let rescue = if lost.is_empty() { Rescue::Whole } else { Rescue::Lost };
        assert_eq!(told(&found)[0], (place.name(), Fault::Missing, rescue));
        assert_eq!(told(&found).len(), lost.len().max(1));
        assert_eq!(ranges(&found), [(place.begin as u64, (place.end - place.begin) as u64)]);
        all_but(&whole, &bytes, &found, &lost);
    }
}

#[test]
fn a_member_that_is_cut_out_is_missing() {
    let (whole, places) = plain();
    for place in &places {
        let mut bytes = whole.clone();
        bytes.drain(place.begin..place.end);
        let found = look(&bytes);
        let rescue = if place.has_content() { Rescue::Lost } else { Rescue::Whole };
        assert_eq!(told(&found)[0], (place.name(), Fault::Missing, rescue));
        assert_eq!((ranges(&found), found.others.len()), (vec![], 0));
        let mut lost: BTreeSet<_> = BTreeSet::new();
        if place.has_content() {
            lost.extend([vec![place.name()], with_links(&places, &place.name())].concat());
        }
        assert_eq!(told(&found).len(), lost.len().max(1));
        all_but(&whole, &bytes, &found, &lost);
    }
}

/// Between the two readings a content became shorter: nothing would prove what is handed over of it.
#[test]
fn what_is_not_proven_must_be_all_there_at_the_second_reading_too() {
    let (whole, places) = plain();
    let last = places.iter().rfind(|place| place.has_content() && place.end > place.content).unwrap();
    let bytes = whole[..places.last().unwrap().end].to_vec();
    let found = look(&bytes);
    assert_eq!(found.index, IndexState::Missing);
    for lazy in [false, true] {
        let mut collected = Collected { lazy, ..Collected::default() };
        salvage(source(&bytes), "test", &found, true, &mut collected).unwrap();
        assert!(names(&collected).contains(&last.name()));
        let mut collected = Collected { lazy, ..Collected::default() };
        let shorter = &bytes[..last.content];
        let error = salvage(source(shorter), "test", &found, true, &mut collected).unwrap_err();
        assert!(matches!(error, Error::Damaged(_)), "{error}");
    }
}

/// Without manifest and index all that is certain is that the members are there.
#[test]
fn without_a_manifest_members_are_not_proven() {
    let (whole, places) = plain();
    let mut bytes = whole[..places.last().unwrap().end].to_vec();
    let json = bytes.iter().position(|byte| *byte == b'{').unwrap();
    bytes[json] = b'x';
    let found = look(&bytes);
    assert!(found.manifest.is_none() && found.index == IndexState::Missing);
    let all: Vec<_> =
        places.iter().map(|place| (place.name(), Fault::Unverified, Rescue::Unproven)).collect();
    assert_eq!(told(&found), all);
}
