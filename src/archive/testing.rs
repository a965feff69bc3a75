//! What the tests of this module share.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::index::{Replaced, Role};
use super::manifest::{
    DatasetRecord, Encoding, FORMAT, Host, MAJOR, MINOR, Mode, ResourceKind, ResourceRecord, Tool, Version,
};
use super::{
    Body, Compression, Digest, Error, Failure, Line, Manifest, MemberName, Result, Seal, Sink, Visitor,
    Writer,
};
use crate::tree::{Acl, Content, Device, Entry, Extent, Flags, Kind, Timestamp, TreePath};

/// A sink in memory. Its bytes stay when it is dropped, so that tests can look at them.
#[derive(Clone, Default)]
pub(super) struct MemorySink {
    pub(super) bytes: Arc<Mutex<Vec<u8>>>,
    pub(super) patchable: bool,
    /// Fails when it holds so many bytes.
    pub(super) limit: Option<usize>,
    pub(super) committed: Arc<Mutex<bool>>,
}

impl Write for MemorySink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut all = self.bytes.lock().unwrap();
        if self.limit.is_some_and(|limit| all.len() + bytes.len() > limit) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        all.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for MemorySink {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn can_patch(&self) -> bool {
        self.patchable
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(self.patchable);
        let offset = usize::try_from(offset).unwrap();
        self.bytes.lock().unwrap()[offset..offset + bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<()> {
        *self.committed.lock().unwrap() = true;
        Ok(())
    }
}

pub(super) fn name(text: impl AsRef<[u8]>) -> MemberName {
    MemberName::new(TreePath::new(text.as_ref()).unwrap())
}

pub(super) fn entry(kind: Kind) -> Entry {
    Entry {
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Timestamp { seconds: 1_600_000_000, nanoseconds: 123_456_789 },
        size: 0,
        target: (kind == Kind::Symlink).then(|| b"../some where".to_vec()),
        device: kind.is_device().then_some(Device { major: 1, minor: 3 }),
        xattrs: BTreeMap::new(),
        acl: Acl::default(),
        flags: Flags::default(),
    }
}

pub(super) fn line(path: impl AsRef<[u8]>, entry: Entry) -> Line {
    Line::member(name(path), entry)
}

/// Bytes that do not compress.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut bytes);
    bytes
}

pub(super) fn manifest() -> Manifest {
    let dataset = |name: &str, encoding, member: &str| DatasetRecord {
        name: name.to_owned(),
        encoding,
        member: member.to_owned(),
        base: None,
        volume: false,
        flags: Vec::new(),
        properties: BTreeMap::new(),
        snapshots: Vec::new(),
        bytes: None,
    };
    Manifest {
        format: FORMAT.to_owned(),
        version: Version { major: MAJOR, minor: MINOR },
        tool: Tool { name: "remand".to_owned(), version: "0.1.0".to_owned() },
        id: "0123456789abcdef0123456789abcdef".to_owned(),
        created: "2026-11-21T03:00:00Z".to_owned(),
        host: Host::default(),
        resources: vec![ResourceRecord {
            kind: ResourceKind::Jail,
            name: "web01".to_owned(),
            layout: "libioc".to_owned(),
            backend: "dir".to_owned(),
            mountpoint: "/pool/jails/web01".to_owned(),
            prefix: "./".to_owned(),
            mode: Mode::Differential,
            base: None,
            as_base: None,
            snapshot: None,
            taken: None,
            consistent: false,
            config: Some("config.json".to_owned()),
            view: None,
            fstab: Some("fstab".to_owned()),
            base_directories: Vec::new(),
            properties: BTreeMap::new(),
            datasets: vec![
                dataset("root", Encoding::Delta, "root"),
                dataset("data", Encoding::Zfs, "data.zfs"),
                dataset("data/db", Encoding::Tree, "data/db.tree"),
            ],
            revision: None,
            tags: Vec::new(),
            note: None,
            keep: false,
            records: Vec::new(),
        }],
        requires: Vec::new(),
        consistent: None,
        failed: Vec::new(),
        signed_by: None,
        options: BTreeMap::new(),
        foreign: None,
    }
}

/// What a sample member's body is.
#[derive(Clone)]
pub(super) enum SampleBody {
    None,
    Sparse(Vec<(u64, Vec<u8>)>),
    Stream(Vec<u8>),
}

#[derive(Clone)]
pub(super) struct Sample {
    pub(super) line: Line,
    pub(super) body: SampleBody,
}

/// Content with holes.
pub(super) struct SparseContent {
    size: u64,
    extents: Vec<Extent>,
    pub(super) data: Vec<(u64, Vec<u8>)>,
    next: usize,
    pub(super) stable: bool,
}

impl Content for SparseContent {
    fn size(&self) -> u64 {
        self.size
    }

    fn extents(&self) -> &[Extent] {
        &self.extents
    }

    fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        self.next += 1;
        Ok(self.data.get(self.next - 1).map(|(offset, bytes)| (*offset, &bytes[..])))
    }

    fn is_stable(&mut self) -> io::Result<bool> {
        Ok(self.stable)
    }
}

pub(super) fn content(size: u64, data: &[(u64, Vec<u8>)]) -> SparseContent {
    let extents = data.iter().map(|(offset, bytes)| Extent { offset: *offset, length: bytes.len() as u64 });
    SparseContent { size, extents: extents.collect(), data: data.to_vec(), next: 0, stable: true }
}

/// A member that is a file.
pub(super) fn file(path: impl AsRef<[u8]>, bytes: &[u8]) -> Sample {
    let mut entry = entry(Kind::File);
    entry.size = bytes.len() as u64;
    let data = if bytes.is_empty() { vec![] } else { vec![(0, bytes.to_vec())] };
    Sample { line: line(path, entry), body: SampleBody::Sparse(data) }
}

fn plain(line: Line) -> Sample {
    Sample { line, body: SampleBody::None }
}

fn without_member(path: &str, role: Role, entry: Option<Entry>, replaced: Option<Replaced>) -> Sample {
    plain(Line { name: name(path), role, entry, group: None, replaced, unstable: false, shared: Vec::new() })
}

/// Members and lines of every kind.
pub(super) fn samples() -> Vec<Sample> {
    let mut rich = file("root/etc/rich", b"rich");
    let attributes = rich.line.entry.as_mut().unwrap();
    attributes.mode = 0o6751;
    attributes.uid = u32::MAX - 1;
    attributes.gid = 1 << 21;
    attributes.mtime = Timestamp { seconds: -2, nanoseconds: 999_999_999 };
    attributes.xattrs = [
        (b"user.text".to_vec(), b"value".to_vec()),
        (b"user.empty".to_vec(), vec![]),
        (b"user.bin=%25%".to_vec(), vec![0, 10, 255, b'=', b'\n']),
        (b"user.\xff".to_vec(), b"name is not UTF-8".to_vec()),
    ]
    .into();
    attributes.acl.access = Some("user::rwx,user:1000:rw-,group::r-x,mask::rwx,other::--x".to_owned());
    attributes.flags = "nodump".parse().unwrap();
    let mut sparse = file("root/sparse", b"");
    sparse.line.entry.as_mut().unwrap().size = 1 << 26;
    sparse.body = SampleBody::Sparse(vec![(4096, vec![1; 4096]), ((1 << 25) + 4096, vec![2; 100_000])]);
    let mut hole = file("root/hole", b"");
    hole.line.entry.as_mut().unwrap().size = 5_000_000;
    let mut directory = line("root/etc", entry(Kind::Directory));
    directory.entry.as_mut().unwrap().acl.default = Some("user::rwx,group::r-x,other::r-x".to_owned());
    directory.entry.as_mut().unwrap().mode = 0o1755;
    let link = |path: &str, to: &str, kind| {
        let mut line = line(path, entry(kind));
        line.role = Role::Link { to: name(to) };
        line.group = Some(1);
        plain(line)
    };
    let mut stream = file("data.zfs", b"");
    stream.body = SampleBody::Stream(noise(2_500_000));
    let mut long = entry(Kind::Symlink);
    long.target = Some(vec![b't'; 4000]);
    let digest = Some(Digest::of(b"old"));
    let mut changed = file("root/etc/changed", b"new");
    changed.line.replaced = Some(Replaced { kind: Kind::File, digest });
    vec![
        file("config.json", b"{}"),
        file("fstab", b""),
        file("files/notes.txt", b"notes"),
        plain(line("root", entry(Kind::Directory))),
        plain(directory),
        rich,
        changed,
        sparse,
        hole,
        file("root/big", &noise(3_000_000)),
        file("root/zeros", &vec![0; 2_000_000]),
        file(format!("root/{}", "n".repeat(255)), b"long name"),
        file(format!("root/{}/{}", "d".repeat(120), "n".repeat(90)), b"two fields"),
        file(format!("root/{}x", "deep/".repeat(2000)), b"long path"),
        file(b"root/\xff\xfe", b"not UTF-8"),
        file("root/line\nfeed ü\u{7}", b"odd"),
        plain(line("root/symlink", entry(Kind::Symlink))),
        plain(line("root/long-target", long)),
        plain(line("root/fifo", entry(Kind::Fifo))),
        plain(line("root/null", entry(Kind::CharDevice))),
        plain(line("root/disk", {
            Entry { device: Some(Device { major: u32::MAX, minor: 1 << 21 }), ..entry(Kind::BlockDevice) }
        })),
        link("root/link", "root/etc/rich", Kind::File),
        link("root/link2", "root/symlink", Kind::Symlink),
        link("root/link-to-base", "root/usr/base", Kind::File),
        without_member("root/socket", Role::Unarchived, Some(entry(Kind::Socket)), None),
        without_member(
            "root/etc/meta",
            Role::Metadata { digest },
            Some(Entry { size: 3, ..entry(Kind::File) }),
            Some(Replaced { kind: Kind::File, digest }),
        ),
        without_member(
            "root/gone",
            Role::Deleted,
            None,
            Some(Replaced { kind: Kind::Directory, digest: None }),
        ),
        stream,
        plain(line("data/db.tree", entry(Kind::Directory))),
        file("data/db.tree/x", b"x"),
    ]
}

/// Writes samples; the lines as the index has them.
pub(super) fn write_samples(writer: &mut Writer, samples: &[Sample]) -> Result<Vec<Line>> {
    let mut lines = Vec::new();
    for sample in samples {
        let line = sample.line.clone();
        if !super::check::is_member(&line) {
            writer.line(line.clone())?;
            lines.push(line);
            continue;
        }
        let size = line.entry.as_ref().unwrap().size;
        let written = match &sample.body {
            SampleBody::None => writer.member(line, Body::Empty, 1)?,
            SampleBody::Sparse(data) => writer.member(line, Body::Content(&mut content(size, data)), 1)?,
            SampleBody::Stream(bytes) => writer.member(line, Body::Stream(&mut &bytes[..]), 1)?,
        };
        match written {
            super::Written::Done(line) => lines.push(line),
            super::Written::Unstable(_) => panic!("samples are stable"),
        }
    }
    Ok(lines)
}

/// An archive of samples.
pub(super) fn archive(compression: Compression, patchable: bool, samples: &[Sample]) -> Vec<u8> {
    let sink = MemorySink { patchable, ..MemorySink::default() };
    let mut writer = Writer::tar(Box::new(sink.clone()), compression, &std::env::temp_dir()).unwrap();
    writer.manifest(&manifest(), 100).unwrap();
    write_samples(&mut writer, samples).unwrap();
    writer.finish().unwrap();
    assert!(*sink.committed.lock().unwrap());
    std::mem::take(&mut *sink.bytes.lock().unwrap())
}

/// A manifest of one jail, which is a tree.
pub(crate) fn one_tree() -> Manifest {
    let mut manifest = two_jails();
    manifest.resources.truncate(1);
    manifest.resources[0].prefix = "./".to_owned();
    manifest
}

/// A manifest of two jails, each a tree.
pub(crate) fn two_jails() -> Manifest {
    let mut manifest = manifest();
    let jail = |name: &str| {
        let mut record = manifest.resources[0].clone();
        record.name = name.to_owned();
        record.prefix = format!("./jails/{name}/");
        record.mode = Mode::Standalone;
        record.datasets.truncate(1);
        record.datasets[0].encoding = Encoding::Tree;
        record.datasets[0].member = "root.tree".to_owned();
        record
    };
    manifest.resources = vec![jail("a"), jail("b")];
    manifest
}

/// What was read of a content.
pub(super) type ReadContent = (Vec<Extent>, Digest);

/// Remembers everything.
#[derive(Default)]
pub(crate) struct Collected {
    pub(super) manifest: Option<Manifest>,
    pub(super) members: Vec<(Line, Option<ReadContent>)>,
    pub(crate) lines: Vec<Line>,
    pub(super) failures: Vec<Failure>,
    /// Whether contents are left unread.
    pub(super) lazy: bool,
}

impl Visitor for Collected {
    fn manifest(&mut self, manifest: &Manifest) -> Result<()> {
        assert!(self.manifest.replace(manifest.clone()).is_none());
        Ok(())
    }

    fn member(&mut self, line: &Line, content: Option<&mut dyn Content>) -> Result<()> {
        let read = match content {
            Some(content) if !self.lazy => {
                let source = |source| Error::Source { member: line.name.to_string(), source };
                let extents = content.extents().to_vec();
                let digest = super::writer::copy_content(&line.name, content, &extents, &mut |_| Ok(()))
                    .map_err(|error| source(io::Error::other(error)))?;
                Some((extents, digest))
            }
            _ => None,
        };
        self.members.push((line.clone(), read));
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

/// Reads an archive in memory.
pub(super) fn read_archive(bytes: &[u8]) -> Result<(Seal, Collected)> {
    let mut collected = Collected::default();
    let stream = io::Cursor::new(bytes.to_vec());
    let seal = super::read(super::Source::Stream(Box::new(stream)), "test", &mut collected)?;
    Ok((seal, collected))
}

/// Builds archives that no writer would write, as plain tar.
pub(super) struct Forge {
    pub(super) bytes: Vec<u8>,
    manifest: Vec<u8>,
    lines: Vec<Line>,
}

impl Forge {
    pub(super) fn new(manifest: &Manifest) -> Self {
        let json = manifest.to_json();
        let mut forge = Self { bytes: Vec::new(), manifest: json.clone(), lines: Vec::new() };
        forge.raw(&file("manifest.json", &json).line, &json, 1);
        forge
    }

    /// A member without a line.
    pub(super) fn raw(&mut self, line: &Line, bytes: &[u8], attempt: u32) -> &mut Self {
        let header = super::header::encode(line, super::header::Layout::Plain, attempt).unwrap();
        self.blocks(&header).blocks(bytes)
    }

    /// Bytes, filled up to whole blocks.
    pub(super) fn blocks(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(512), 0);
        self
    }

    /// A line without a member.
    pub(super) fn line(&mut self, line: Line) -> &mut Self {
        self.lines.push(line);
        self
    }

    /// A regular file as it should be.
    pub(super) fn file(&mut self, path: impl AsRef<[u8]>, bytes: &[u8]) -> &mut Self {
        let Sample { mut line, .. } = file(path, bytes);
        self.raw(&line, bytes, 1);
        line.role = Role::Member { digest: Some(Digest::of(bytes)) };
        self.line(line)
    }

    /// A member without content as it should be.
    pub(super) fn empty(&mut self, line: Line) -> &mut Self {
        self.raw(&line, b"", 1).line(line)
    }

    /// The index's bytes with a seal that fits.
    pub(super) fn index(&self) -> Vec<u8> {
        let mut index: Vec<u8> = self.lines.iter().flat_map(super::index::line_to_json).collect();
        let members = self.lines.iter().filter(|line| super::check::is_member(line));
        let bytes = self
            .lines
            .iter()
            .filter_map(|line| Some((line, line.entry.as_ref()?)))
            .filter(|(line, _)| super::check::is_member(line))
            .fold(0_u64, |sum, (line, entry)| {
                sum.wrapping_add(super::index::member_bytes(&line.role, entry.kind, entry.size))
            });
        let digest = Digest::of(&[&self.manifest[..], &index].concat());
        let (entries, members) = (self.lines.len() as u64, members.count() as u64);
        index.extend(super::index::seal_to_json(&Seal { entries, members, bytes, digest }));
        index
    }

    /// Adds the index and the end.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let index = self.index();
        self.raw(&file("index.jsonl", &index).line, &index, 1);
        self.end()
    }

    /// Adds the end alone.
    pub(super) fn end(&mut self) -> Vec<u8> {
        self.bytes.extend_from_slice(&[0; 1024]);
        std::mem::take(&mut self.bytes)
    }
}
