//! Random members written by the writer and read back, in every form of archive.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use arbitrary::{Result, Unstructured};
use remand::archive::index::{Replaced, Role};
use remand::archive::{
    Body, Compression, Digest, Failure, Line, Manifest, MemberName, Seal, Sink, Source, Writer, Written,
};
use remand::tree::{Acl, Content, Device, Entry, Extent, Flags, Kind, Timestamp, TreePath};

use super::archives::{Collected, read, select};
use super::members::MANIFEST;

/// A sink in memory.
#[derive(Clone, Default)]
struct Memory {
    bytes: Arc<Mutex<Vec<u8>>>,
    patchable: bool,
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.lock().expect("nobody panics").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Memory {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn can_patch(&self) -> bool {
        self.patchable
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).expect("it was written");
        self.bytes.lock().expect("nobody panics")[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn commit(self: Box<Self>) -> remand::archive::Result<()> {
        Ok(())
    }
}

/// Content with holes, handed out in pieces.
struct Sparse {
    size: u64,
    extents: Vec<Extent>,
    pieces: std::collections::VecDeque<(u64, Vec<u8>)>,
    piece: Vec<u8>,
    stable: bool,
}

impl Content for Sparse {
    fn size(&self) -> u64 {
        self.size
    }

    fn extents(&self) -> &[Extent] {
        &self.extents
    }

    fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        let Some((at, piece)) = self.pieces.pop_front() else { return Ok(None) };
        self.piece = piece;
        Ok(Some((at, &self.piece)))
    }

    fn is_stable(&mut self) -> io::Result<bool> {
        Ok(self.stable)
    }
}

/// What a member's body is.
#[derive(Clone, Debug)]
enum Bytes {
    None,
    /// Size, pieces of data, whether pieces that abut are one extent.
    File(u64, Vec<(u64, Vec<u8>)>),
    Stream(Vec<u8>),
}

/// A member or a line, and how often it changes while it is read.
#[derive(Clone, Debug)]
struct Item {
    line: Line,
    bytes: Bytes,
    unstable: u32,
}

fn manifest() -> Manifest {
    remand::archive::fuzzing::manifest(MANIFEST).expect("it is one")
}

fn entry(kind: Kind) -> Entry {
    Entry {
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Timestamp::default(),
        size: 0,
        target: None,
        device: None,
        xattrs: BTreeMap::new(),
        acl: Acl::default(),
        flags: Flags::default(),
    }
}

fn bytes(u: &mut Unstructured<'_>, most: usize) -> Result<Vec<u8>> {
    let length = u.int_in_range(0..=most)?;
    if u.ratio(1, 4)? {
        // More than an input holds.
        return Ok(vec![u.arbitrary()?; length * 64]);
    }
    let mut bytes = vec![0; length.min(u.len())];
    u.fill_buffer(&mut bytes)?;
    Ok(bytes)
}

/// A name of one component that no other has.
fn component(u: &mut Unstructured<'_>, number: usize) -> Result<Vec<u8>> {
    let mut name = bytes(u, 12)?;
    name.retain(|byte| !matches!(byte, 0 | b'/'));
    // A file system takes no longer ones.
    name.truncate(200);
    name.extend_from_slice(format!("{number}").as_bytes());
    Ok(name)
}

fn text(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(String::from_utf8_lossy(&bytes(u, 20)?).into_owned())
}

/// Attributes that any entry can have.
fn attributes(u: &mut Unstructured<'_>, kind: Kind) -> Result<Entry> {
    let mut entry = entry(kind);
    entry.mode = u.int_in_range(0..=0o7777)?;
    (entry.uid, entry.gid) = (u.arbitrary()?, u.arbitrary()?);
    let seconds = if u.arbitrary()? { u.arbitrary()? } else { i64::from(u.arbitrary::<i32>()?) };
    entry.mtime = Timestamp { seconds, nanoseconds: u.int_in_range(0..=999_999_999)? };
    for _ in 0..u.int_in_range(0..=2)? {
        let mut name = bytes(u, 8)?;
        name.retain(|byte| *byte != 0);
        let name = [b"user.", &name[..]].concat();
        entry.xattrs.insert(name, bytes(u, 40)?);
    }
    if u.ratio(1, 4)? {
        entry.acl = Acl { access: Some(text(u)?), default: Some(text(u)?), nfs4: Some(text(u)?) };
    }
    if u.ratio(1, 4)? {
        let all: Vec<_> = "nodump,schg,uappnd,compress".split(',').collect();
        entry.flags = u.choose(&all)?.parse().expect("they are flags");
    }
    if kind == Kind::Symlink {
        let mut target = bytes(u, 60)?;
        target.retain(|byte| *byte != 0);
        target.push(b'.');
        entry.target = Some(target);
    }
    if kind.is_device() {
        entry.device = Some(Device { major: u.arbitrary()?, minor: u.arbitrary()? });
    }
    Ok(entry)
}

/// Data with holes between them.
fn file(u: &mut Unstructured<'_>) -> Result<Bytes> {
    let (mut at, mut pieces) = (0, Vec::new());
    for _ in 0..u.int_in_range(0..=3)? {
        at += if u.arbitrary()? { u.int_in_range(0..=20_000)? } else { 0 };
        let data = bytes(u, 2000)?;
        if data.is_empty() {
            continue;
        }
        let length = data.len() as u64;
        pieces.push((at, data));
        at += length;
    }
    let size = at + if u.ratio(1, 3)? { u.int_in_range(0..=40_000)? } else { 0 };
    Ok(Bytes::File(size, pieces))
}

fn named(path: &[u8], role: Role, entry: Option<Entry>) -> Line {
    let name = MemberName::new(TreePath::new(path).expect("it is clean"));
    Line { name, role, entry, group: None, replaced: None, unstable: false, shared: Vec::new() }
}

const MEMBER: Role = Role::Member { digest: None };

fn item(u: &mut Unstructured<'_>, before: &[Item], number: usize, directories: &[Vec<u8>]) -> Result<Item> {
    let directory = u.choose(directories)?;
    let path = [directory, &b"/"[..], &component(u, number)?].concat();
    let alone = |line| Item { line, bytes: Bytes::None, unstable: 0 };
    let in_delta = directory.starts_with(b"root");
    let others = Kind::ALL.map(|kind| (kind != Kind::File && kind != Kind::Socket).then_some(kind));
    let others: Vec<_> = others.into_iter().flatten().collect();
    let mut item = match u.int_in_range(0..=9)? {
        0..=4 => {
            let line = named(&path, MEMBER, Some(attributes(u, Kind::File)?));
            Item { line, bytes: file(u)?, unstable: if u.ratio(1, 8)? { u.int_in_range(1..=2)? } else { 0 } }
        }
        5 | 6 => {
            let kind = *u.choose(&others)?;
            alone(named(&path, MEMBER, Some(attributes(u, kind)?)))
        }
        7 => {
            let is_target = |item: &&Item| {
                let kind = item.line.entry.as_ref().map(|entry| entry.kind);
                let name = item.line.name.path();
                matches!(item.line.role, Role::Member { .. })
                    && !matches!(kind, None | Some(Kind::Directory))
                    && directories.iter().any(|above| {
                        above == directory && name.as_bytes().starts_with(&[&above[..], b"/"].concat())
                    })
            };
            let targets: Vec<_> = before.iter().filter(is_target).collect();
            let Some(target) = (!targets.is_empty()).then(|| u.choose(&targets)).transpose()? else {
                return Ok(alone(named(&path, Role::Unarchived, Some(attributes(u, Kind::Socket)?))));
            };
            let entry = target.line.entry.clone();
            alone(named(&path, Role::Link { to: target.line.name.clone() }, entry))
        }
        8 if in_delta => alone(named(&path, Role::Deleted, None)),
        9 if in_delta => {
            let digest = Some(Digest::of(b"old"));
            alone(named(&path, Role::Metadata { digest }, Some(attributes(u, Kind::File)?)))
        }
        _ => alone(named(&path, Role::Unarchived, Some(attributes(u, Kind::Socket)?))),
    };
    if u.ratio(1, 4)? {
        item.line.group = Some(u.arbitrary()?);
        item.line.shared = vec![u.arbitrary()?];
        item.line.replaced = Some(Replaced { kind: *u.choose(&Kind::ALL)?, digest: None });
    }
    Ok(item)
}

fn items(u: &mut Unstructured<'_>) -> Result<Vec<Item>> {
    let mut items: Vec<Item> = Vec::new();
    let mut directories: Vec<Vec<u8>> = Vec::new();
    for top in ["root", "data/db.tree", "files"] {
        let line = named(top.as_bytes(), MEMBER, Some(attributes(u, Kind::Directory)?));
        items.push(Item { line, bytes: Bytes::None, unstable: 0 });
        directories.push(top.into());
    }
    if u.arbitrary()? {
        let line = named(b"data.zfs", MEMBER, Some(entry(Kind::File)));
        items.push(Item { line, bytes: Bytes::Stream(bytes(u, 3000)?), unstable: 0 });
    }
    for number in 0..u.int_in_range(0..=10)? {
        let item = item(u, &items, number, &directories)?;
        let kind = item.line.entry.as_ref().map(|entry| entry.kind);
        if kind == Some(Kind::Directory) && matches!(item.line.role, Role::Member { .. }) {
            directories.push(item.line.name.path().as_bytes().to_vec());
        }
        items.push(item);
    }
    Ok(items)
}

fn content(size: u64, pieces: &[(u64, Vec<u8>)], stable: bool) -> Sparse {
    let mut extents: Vec<Extent> = Vec::new();
    for (offset, data) in pieces {
        match extents.last_mut() {
            Some(last) if last.offset + last.length == *offset => last.length += data.len() as u64,
            _ => extents.push(Extent { offset: *offset, length: data.len() as u64 }),
        }
    }
    let pieces = pieces.iter().cloned().collect::<std::collections::VecDeque<_>>();
    Sparse { size, extents, pieces, piece: Vec::new(), stable }
}

/// Writes one item; its line as the index has it.
fn write(writer: &mut Writer, item: &Item) -> Line {
    let Item { line, bytes, unstable } = item;
    if !matches!(line.role, Role::Member { .. } | Role::Link { .. }) {
        writer.line(line.clone()).expect("memory takes it");
        return line.clone();
    }
    for attempt in 1.. {
        let stable = attempt > *unstable;
        let line = line.clone();
        let written = match bytes {
            Bytes::None => writer.member(line, Body::Empty, attempt),
            Bytes::Stream(bytes) => writer.member(line, Body::Stream(&mut &bytes[..]), attempt),
            Bytes::File(size, pieces) => {
                writer.member(line, Body::Content(&mut content(*size, pieces, stable)), attempt)
            }
        };
        match written.expect("memory takes it") {
            Written::Done(line) => return line,
            // The last change is the second; a file that never rests is kept.
            Written::Unstable(mut line) if attempt == 2 => {
                line.unstable = true;
                writer.line(line.clone()).expect("memory takes it");
                return line;
            }
            Written::Unstable(_) => {}
        }
    }
    unreachable!("it ends with the second attempt")
}

fn fill(mut writer: Writer, items: &[Item], failure: Option<&Failure>) -> (Seal, Vec<Line>) {
    writer.manifest(&manifest(), 100).expect("memory takes it");
    let lines = items.iter().map(|item| write(&mut writer, item)).collect();
    if let Some(failure) = failure {
        writer.fail(failure).expect("memory takes it");
    }
    if writer.can_amend() {
        writer.amend_manifest(&manifest()).expect("it is no longer");
    }
    (writer.finish().expect("memory takes it"), lines)
}

/// Where files wait that have no name.
fn scratch() -> std::path::PathBuf {
    let memory = std::path::PathBuf::from("/dev/shm");
    if memory.is_dir() { memory } else { std::env::temp_dir() }
}

fn tar(
    compression: Compression,
    patchable: bool,
    items: &[Item],
    failure: Option<&Failure>,
) -> (Seal, Vec<Line>, Vec<u8>) {
    let sink = Memory { patchable, ..Memory::default() };
    let writer = Writer::tar(Box::new(sink.clone()), compression, &scratch()).expect("memory takes it");
    let (seal, lines) = fill(writer, items, failure);
    let bytes = std::mem::take(&mut *sink.bytes.lock().expect("nobody panics"));
    (seal, lines, bytes)
}

/// What was read is what was written.
fn same(items: &[Item], lines: &[Line], seen: &Collected<'_>, wanted: &dyn Fn(&MemberName) -> bool) {
    assert_eq!(seen.lines, lines);
    let members = lines.iter().zip(items).filter(|(line, _)| {
        matches!(line.role, Role::Member { .. } | Role::Link { .. }) && wanted(&line.name)
    });
    let mut seen = seen.members.iter().peekable();
    for (line, item) in members {
        let mut member = seen.next().expect("it was written");
        while seen.peek().is_some_and(|next| next.line.name == member.line.name) {
            member = seen.next().expect("it was there");
        }
        assert_eq!(member.line.name, line.name);
        if let Role::Member { digest } = &line.role {
            assert_eq!(member.digest, *digest, "{}", line.name);
            assert_eq!(member.line.entry, line.entry, "{}", line.name);
        }
        if let Bytes::File(size, pieces) = &item.bytes {
            let mut whole = vec![0; usize::try_from(*size).expect("it is small")];
            for (at, piece) in pieces {
                let at = usize::try_from(*at).expect("it is small");
                whole[at..at + piece.len()].copy_from_slice(piece);
            }
            assert_eq!(member.digest, Some(Digest::of(&whole)), "{}", line.name);
        }
    }
    assert!(seen.next().is_none());
}

fn check(u: &mut Unstructured<'_>) -> Result<()> {
    let items = items(u)?;
    let failure = u.ratio(1, 6)?.then(|| Failure { resource: 0, error: "it \u{7} failed".into() });
    let (level, patchable) = (u.int_in_range(1..=9)?, u.arbitrary()?);
    let mask: u64 = u.arbitrary()?;
    let wants = |name: &MemberName| mask >> (Digest::of(name.path().as_bytes()).as_bytes()[0] % 64) & 1 == 1;
    let mut seals = Vec::new();
    for compression in [Compression::None, Compression::Gzip(level), Compression::Zstd(level)] {
        let (seal, lines, bytes) = tar(compression, patchable, &items, failure.as_ref());
        let (read, seen) = read(&bytes);
        assert_eq!(read.expect("it was written"), seal);
        same(&items, &lines, &seen, &|_| true);
        assert_eq!(seen.failures.first(), failure.as_ref());
        for (member, item) in seen.members.iter().zip(&items) {
            // No hole is lost, and none is made.
            if let (Bytes::File(size, pieces), 0) = (&item.bytes, item.unstable)
                && member.line.name == item.line.name
            {
                assert_eq!(member.extents, content(*size, pieces, true).extents, "{}", member.line.name);
            }
        }
        let (selected, some) = select(&bytes, &wants);
        assert_eq!(selected.expect("it was written"), seal);
        same(&items, &lines, &some, &wants);
        seals.push(seal);
    }
    if u.ratio(1, 4)? {
        seals.push(directory(&items, failure.as_ref(), &wants));
    }
    // The digest is over the manifest too, which has room in it where it can be written again.
    let counts = |seal: &Seal| (seal.entries, seal.members, seal.bytes);
    assert!(seals.iter().all(|seal| counts(seal) == counts(&seals[0])), "{seals:?}");
    Ok(())
}

fn directory(items: &[Item], failure: Option<&Failure>, wants: &dyn Fn(&MemberName) -> bool) -> Seal {
    let place = tempfile::tempdir_in(scratch()).expect("a directory");
    let dest = place.path().join("archive");
    let writer = Writer::directory(&dest, false, "x").expect("memory takes it");
    let (seal, lines) = fill(writer, items, failure);
    for all in [true, false] {
        let wanted = |name: &MemberName| all || wants(name);
        let mut seen = Collected::wanting(&wanted);
        let read = if all { remand::archive::read } else { remand::archive::select };
        let found = read(Source::Path(dest.clone()), "it", &mut seen).expect("it was written");
        assert_eq!(found, seal);
        same(items, &lines, &seen, &wanted);
    }
    seal
}

/// What the writer writes comes back, in every form of archive.
pub(super) fn roundtrip(data: &[u8]) {
    // An input that is too short is nothing to check.
    let _ = check(&mut Unstructured::new(data));
}

/// A plain archive of a few members, without a stream.
pub(super) fn sample() -> Vec<u8> {
    let noise = |seed: u64| {
        let mut bytes = vec![0; 9000];
        blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
        bytes
    };
    let file = |path: &str, size, pieces| Item {
        line: named(path.as_bytes(), MEMBER, Some(entry(Kind::File))),
        bytes: Bytes::File(size, pieces),
        unstable: u32::from(path == "root/b"),
    };
    let of_kind = |path: &str, kind, target: Option<&str>| Item {
        line: named(
            path.as_bytes(),
            MEMBER,
            Some(Entry { target: target.map(|target| target.as_bytes().to_vec()), ..entry(kind) }),
        ),
        bytes: Bytes::None,
        unstable: 0,
    };
    let link = Item {
        line: named(
            b"root/d/link",
            Role::Link { to: named(b"root/a", MEMBER, None).name },
            Some(Entry { size: 9000, ..entry(Kind::File) }),
        ),
        bytes: Bytes::None,
        unstable: 0,
    };
    let long = format!("root/d/{}", "long".repeat(60));
    let items = [
        file("config.json", 2, vec![(0, b"{}".to_vec())]),
        of_kind("root", Kind::Directory, None),
        file("root/a", 9000, vec![(0, noise(1))]),
        file("root/b", 1000, vec![(0, noise(2)[..1000].to_vec())]),
        file("root/c", 40_000, vec![(4096, noise(3)), (30_000, noise(4)[..10].to_vec())]),
        of_kind("root/d", Kind::Directory, None),
        link,
        of_kind("root/d/symlink", Kind::Symlink, Some("../a")),
        file(&long, 0, vec![]),
        of_kind("data/db.tree", Kind::Directory, None),
        file("data/db.tree/x", 600, vec![(0, vec![b'x'; 600])]),
    ];
    tar(Compression::None, true, &items, None).2
}

/// The same, compressed.
pub(super) fn compressed_sample(compression: Compression) -> Vec<u8> {
    let items = [
        Item { line: named(b"root", MEMBER, Some(entry(Kind::Directory))), bytes: Bytes::None, unstable: 0 },
        Item {
            line: named(b"root/a", MEMBER, Some(entry(Kind::File))),
            bytes: Bytes::File(3, vec![(0, b"abc".to_vec())]),
            unstable: 0,
        },
        Item {
            line: named(b"data.zfs", MEMBER, Some(entry(Kind::File))),
            bytes: Bytes::Stream(b"a stream".to_vec()),
            unstable: 0,
        },
    ];
    tar(compression, true, &items, None).2
}
