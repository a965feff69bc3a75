//! Whole archives: read from front to back, and read by selection.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Cursor};
use std::sync::Arc;

use remand::archive::index::Role;
use remand::archive::{
    Digest, Error, Failure, Line, Manifest, MemberName, ReadAt, Result, Seal, Source, Visitor,
};
use remand::tree::{Content, Extent, Kind};

use super::is_fit;
use super::members::is_clean;

/// Most bytes of content that a check looks at: holes are hashed as zeros, and need no room in an archive.
const MOST_BYTES: u64 = 1 << 28;

/// A member as it was handed over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) line: Line,
    pub(super) extents: Vec<Extent>,
    pub(super) digest: Option<Digest>,
}

/// Which members a visitor wants.
pub(super) type Wants<'a> = &'a dyn Fn(&MemberName) -> bool;

/// Remembers what it is given.
pub(super) struct Collected<'a> {
    pub(super) manifests: usize,
    pub(super) members: Vec<Seen>,
    pub(super) lines: Vec<Line>,
    pub(super) failures: Vec<Failure>,
    wants: Wants<'a>,
    /// Whether contents are left unread.
    lazy: bool,
}

impl<'a> Collected<'a> {
    pub(super) fn wanting(wants: Wants<'a>) -> Self {
        let (manifests, members, lines, failures) = (0, Vec::new(), Vec::new(), Vec::new());
        Self { manifests, members, lines, failures, wants, lazy: false }
    }

    /// Of several attempts at a member the last one counts.
    pub(super) fn keep_last_attempts(&mut self) {
        self.members.reverse();
        self.members.dedup_by(|next, last| next.line.name == last.line.name);
        self.members.reverse();
    }
}

impl Visitor for Collected<'_> {
    fn manifest(&mut self, _: &Manifest) -> Result<()> {
        self.manifests += 1;
        Ok(())
    }

    fn wants(&mut self, line: &Line) -> bool {
        (self.wants)(&line.name)
    }

    fn member(&mut self, line: &Line, content: Option<&mut dyn Content>) -> Result<()> {
        is_clean(&line.name);
        assert!(self.lines.is_empty(), "members come first");
        assert!((self.wants)(&line.name), "{} is not wanted", line.name);
        let mut seen = Seen { line: line.clone(), extents: Vec::new(), digest: None };
        if let Some(content) = content {
            let entry = line.entry.as_ref().expect("a member has an entry");
            assert!(entry.kind == Kind::File && matches!(line.role, Role::Member { .. }));
            assert_eq!(content.size(), entry.size);
            if content.size() > MOST_BYTES {
                return Err(too_big());
            }
            seen.extents = content.extents().to_vec();
            if !self.lazy {
                let digest = digest_of(content, &seen.extents);
                seen.digest =
                    Some(digest.map_err(|source| Error::Source { member: line.name.to_string(), source })?);
            }
        }
        self.members.push(seen);
        Ok(())
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        self.lines.push(line.clone());
        Ok(())
    }

    fn failure(&mut self, failure: &Failure) -> Result<()> {
        self.failures.push(failure.clone());
        Ok(())
    }
}

fn too_big() -> Error {
    Error::Visitor(Box::new(io::Error::from(io::ErrorKind::FileTooLarge)))
}

/// The digest of content whose bytes must lie in its extents, in order and all of them.
fn digest_of(content: &mut dyn Content, extents: &[Extent]) -> io::Result<Digest> {
    let mut hasher = remand::archive::digest::ContentHasher::new(content.size());
    let (mut extents, mut left) = (extents.iter(), Extent { offset: 0, length: 0 });
    while let Some((offset, data)) = content.next_data()? {
        assert!(!data.is_empty());
        if left.length == 0 {
            left = *extents.next().expect("no data beside the extents");
        }
        let length = data.len() as u64;
        assert!(offset == left.offset && length <= left.length, "{offset} {length} {left:?}");
        left = Extent { offset: offset + length, length: left.length - length };
        hasher.data(offset, data);
    }
    assert!(left.length == 0 && extents.next().is_none(), "all extents have data");
    Ok(hasher.finish())
}

/// A file in memory.
struct Memory(Vec<u8>);

impl ReadAt for Memory {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let offset = usize::try_from(offset).map_or(self.0.len(), |offset| offset.min(self.0.len()));
        let length = buffer.len().min(self.0.len() - offset);
        buffer[..length].copy_from_slice(&self.0[offset..offset + length]);
        Ok(length)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

/// What [`Collected`] was given, with the seal or why there is none.
pub(super) type Outcome<'a> = (Result<Seal>, Collected<'a>);

/// Reads an archive as from a pipe.
pub(super) fn read(bytes: &[u8]) -> Outcome<'static> {
    let mut collected = Collected::wanting(&|_| true);
    let source = Source::Stream(Box::new(Cursor::new(bytes.to_vec())));
    (remand::archive::read(source, "it", &mut collected), collected)
}

/// The same, with contents left to the reader.
fn read_lazily(bytes: &[u8]) -> Outcome<'static> {
    let mut collected = Collected { lazy: true, ..Collected::wanting(&|_| true) };
    let source = Source::File(Arc::new(Memory(bytes.to_vec())));
    (remand::archive::read(source, "it", &mut collected), collected)
}

/// Reads of an archive in a file what is wanted.
pub(super) fn select<'a>(bytes: &[u8], wants: Wants<'a>) -> Outcome<'a> {
    let mut collected = Collected::wanting(wants);
    let source = Source::File(Arc::new(Memory(bytes.to_vec())));
    (remand::archive::select(source, "it", &mut collected), collected)
}

/// Whether reading ended because a check wanted no more.
pub(super) fn gave_up(outcome: &Result<Seal>) -> bool {
    matches!(outcome, Err(Error::Visitor(_)))
}

/// What must be true of the lines of every archive that is taken: each path is there once, what things lie in are directories, and links
/// lead to what is there.
pub(super) fn make_sense(lines: &[Line]) {
    let mut known: BTreeMap<&[u8], &Line> = BTreeMap::new();
    for line in lines {
        is_clean(&line.name);
        assert_eq!(line.entry.is_none(), line.role == Role::Deleted, "{}", line.name);
        if let Role::Link { to } = &line.role {
            is_clean(to);
            let delta = to.path().as_bytes().starts_with(b"root/");
            let target = known.get(to.path().as_bytes());
            let is_file = |line: &&Line| {
                line.entry.as_ref().is_some_and(|entry| {
                    entry.kind != Kind::Directory || matches!(line.role, Role::Link { .. })
                })
            };
            assert!(target.map_or(delta, is_file), "{} to {to}: {target:?}", line.name);
        }
        assert!(known.insert(line.name.path().as_bytes(), line).is_none(), "{} is there twice", line.name);
    }
    // Of what was deleted or replaced, all below may be told to be gone too.
    for (path, _) in known.iter().filter(|(_, line)| line.role != Role::Deleted) {
        for (at, _) in path.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let Some(above) = known.get(&path[..at]) else { continue };
            let kind = above.entry.as_ref().map(|entry| entry.kind);
            let is_link = matches!(above.role, Role::Link { .. });
            assert!(
                kind == Some(Kind::Directory) && !is_link,
                "{} lies in no directory",
                path.escape_ascii()
            );
        }
    }
}

/// What a reader says of an archive that it took.
pub(super) fn holds((seal, seen): (&Seal, &Collected<'_>)) {
    assert_eq!(seen.manifests, 1);
    assert_eq!(seal.entries, seen.lines.len() as u64);
    make_sense(&seen.lines);
    // What was handed over is what the index says, and in its order. Of several attempts the last one counts.
    let mut lines =
        seen.lines.iter().filter(|line| matches!(line.role, Role::Member { .. } | Role::Link { .. }));
    for (number, member) in seen.members.iter().enumerate() {
        if seen.members.get(number + 1).is_some_and(|next| next.line.name == member.line.name) {
            continue;
        }
        let line = lines.find(|line| line.name == member.line.name).expect("the index has it, and there");
        if let (Role::Member { digest }, Some(found)) = (&line.role, &member.digest) {
            assert_eq!(digest.as_ref(), Some(found), "{}", line.name);
        }
        let (said, told) = (line.entry.as_ref(), member.line.entry.as_ref());
        let of =
            |entry: Option<&remand::tree::Entry>| entry.map(|entry| (entry.mode, entry.uid, entry.mtime));
        assert_eq!(of(said), of(told), "{}", line.name);
    }
}

/// An archive as it is, and with its checksums put right, is refused, or makes sense, however it is read. Selection never hands over
/// what reading refuses.
pub(super) fn archive(bytes: &[u8]) {
    let mut mended = bytes.to_vec();
    super::tar::mend(&mut mended);
    for bytes in [bytes, &mended] {
        same_for_all(bytes);
        let _ = remand::archive::read_manifest(Source::Stream(Box::new(Cursor::new(bytes.to_vec()))), "it")
            .inspect_err(is_fit);
    }
}

/// Reads an archive in every way, and compares.
pub(super) fn same_for_all(bytes: &[u8]) {
    let (read, seen) = read(bytes);
    if gave_up(&read) {
        return;
    }
    let (lazily, _) = read_lazily(bytes);
    if gave_up(&lazily) {
        return;
    }
    assert_eq!(kind(&read), kind(&lazily));
    let (selected, all) = select(bytes, &|_| true);
    if gave_up(&selected) {
        return;
    }
    match (&read, &selected) {
        (Ok(seal), selected) => {
            holds((seal, &seen));
            assert_eq!(selected.as_ref().ok(), Some(seal), "{selected:?}");
            let last = |members: &[Seen]| -> BTreeSet<Vec<u8>> {
                members.iter().map(|seen| seen.line.name.path().as_bytes().to_vec()).collect()
            };
            assert_eq!((last(&all.members), &all.lines), (last(&seen.members), &seen.lines));
            assert_eq!(all.failures, seen.failures);
            some(bytes, seal, &seen);
        }
        (Err(error), Ok(seal)) => {
            is_fit(error);
            // It may hold damage that nobody asked for, but nothing is believed that the index does not prove.
            assert!(!matches!(error, Error::Refused(_)), "selected is what is refused: {error}");
            holds((seal, &all));
        }
        (Err(error), Err(other)) => {
            is_fit(error);
            is_fit(other);
        }
    }
}

/// Selects every second member.
fn some(bytes: &[u8], seal: &Seal, seen: &Collected<'_>) {
    for odd in [false, true] {
        let wants =
            |name: &MemberName| name.path().as_bytes().last().is_some_and(|byte| (byte % 2 == 1) == odd);
        let (selected, some) = select(bytes, &wants);
        assert_eq!(selected.as_ref().ok(), Some(seal), "{selected:?}");
        let wanted: BTreeSet<&[u8]> = seen
            .members
            .iter()
            .map(|seen| &seen.line.name)
            .filter(|name| wants(name))
            .map(|name| name.path().as_bytes())
            .collect();
        let got = some.members.iter().map(|seen| seen.line.name.path().as_bytes()).collect::<BTreeSet<_>>();
        assert_eq!(got, wanted);
        assert_eq!(some.lines, seen.lines);
        holds((seal, &some));
    }
}

/// What a caller can do about the outcome.
fn kind(outcome: &Result<Seal>) -> &'static str {
    match outcome {
        Ok(_) => "whole",
        Err(Error::Damaged(_)) => "damaged",
        Err(Error::Refused(_)) => "refused",
        Err(_) => "other",
    }
}
