//! The inner parts alone: the comparer, the writer of members, compressed chunks, and lines of the index.
//!
//! `cargo bench --bench inner` measures them, and with `-- chunk` at its end those whose names have that word. What whole commands take, and others
//! for the same work, is measured by `benches/commands`.

use std::io::{self, Write};
use std::sync::atomic::AtomicBool;

use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use remand::archive::fuzzing::{self, Kind as ChunkKind};
use remand::archive::index::Role;
use remand::archive::{Body, Compression, Line, Manifest, MemberName, Sink, Writer};
use remand::change::{self, Change, content, quick};
use remand::tree::{Entry, Flags, Kind, MemoryContent, Timestamp, Tree, TreePath};

/// A chunk of an archive in its full length.
const CHUNK_BYTES: usize = 1 << 20;
/// Members of a round, and bytes of each: what most files of a system are.
const MEMBERS: u32 = 1000;
const MEMBER_BYTES: usize = 4000;
/// Files of each of two trees that are compared.
const FILES: u32 = 2000;

/// Bytes that a compressor makes a third of, about as those of a system's files.
fn text(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let words: Vec<Vec<u8>> = (0..2000)
        .map(|_| (0..2 + next(7)).map(|_| b'a' + u8::try_from(next(26)).expect("a letter")).collect())
        .collect();
    let mut text = Vec::with_capacity(length + 16);
    while text.len() < length {
        let common = next(words.len() as u64) * next(words.len() as u64) / words.len() as u64;
        text.extend_from_slice(&words[usize::try_from(common).expect("an index")]);
        text.push(b' ');
    }
    text.truncate(length);
    text
}

/// A sink that keeps nothing.
struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for Nowhere {
    fn name(&self) -> String {
        "nowhere".to_owned()
    }

    fn can_patch(&self) -> bool {
        false
    }

    fn patch(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        unreachable!("it says that it cannot")
    }

    fn commit(self: Box<Self>) -> remand::archive::Result<()> {
        Ok(())
    }
}

fn manifest() -> Manifest {
    fuzzing::manifest(include_bytes!("../fuzz/seeds/manifest/jail")).expect("a seed that is a manifest")
}

fn line(number: u32) -> Line {
    let entry = Entry {
        kind: Kind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Timestamp { seconds: 1_700_000_000, nanoseconds: 123_456_789 },
        size: MEMBER_BYTES as u64,
        target: None,
        device: None,
        xattrs: [].into(),
        acl: remand::tree::Acl::default(),
        flags: Flags::empty(),
    };
    Line {
        name: MemberName::new(
            TreePath::new(format!("root/usr/share/doc/package-{number:05}/copyright").as_bytes())
                .expect("a path"),
        ),
        role: Role::Member { digest: None },
        entry: Some(entry),
        group: None,
        replaced: None,
        unstable: false,
        shared: Vec::new(),
    }
}

fn main() {
    divan::main();
}

/// Headers, digests and index lines of small members, without compression.
#[divan::bench]
fn writer_of_small_members(bencher: Bencher<'_, '_>) {
    let data = text(MEMBER_BYTES);
    let lines: Vec<Line> = (0..MEMBERS).map(line).collect();
    bencher.counter(ItemsCount::new(MEMBERS)).bench(|| {
        let mut writer =
            Writer::tar(Box::new(Nowhere), Compression::None, &std::env::temp_dir()).expect("a writer");
        writer.manifest(&manifest(), 0).expect("a manifest");
        for line in &lines {
            let mut content = MemoryContent::new(data.as_slice());
            writer.member(line.clone(), Body::Content(&mut content), 1).expect("a member");
        }
        writer.finish().expect("an archive")
    });
}

/// A chunk at the fastest level, on one core.
#[divan::bench(args = [ChunkKind::Gzip, ChunkKind::Zstd])]
fn chunk_compressed(bencher: Bencher<'_, '_>, kind: ChunkKind) {
    let data = text(CHUNK_BYTES);
    bencher
        .counter(BytesCount::new(data.len()))
        .bench(|| fuzzing::chunk(kind, divan::black_box(&data), None).expect("a chunk"));
}

/// The same back again.
#[divan::bench(args = [ChunkKind::Gzip, ChunkKind::Zstd])]
fn chunk_decompressed(bencher: Bencher<'_, '_>, kind: ChunkKind) {
    let data = text(CHUNK_BYTES);
    let packed = fuzzing::chunk(kind, &data, None).expect("a chunk");
    bencher.counter(BytesCount::new(data.len())).with_inputs(|| packed.clone()).bench_values(|packed| {
        fuzzing::decompress(packed, false, u64::MAX / 2).expect("what was compressed")
    });
}

/// What cannot become shorter.
#[divan::bench(args = [ChunkKind::Gzip, ChunkKind::Zstd])]
fn chunk_of_noise(bencher: Bencher<'_, '_>, kind: ChunkKind) {
    let mut noise = vec![0; CHUNK_BYTES];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    bencher
        .counter(BytesCount::new(noise.len()))
        .bench(|| fuzzing::chunk(kind, divan::black_box(&noise), None).expect("a chunk"));
}

/// A line of the index, parsed and printed.
#[divan::bench]
fn index_line_there_and_back(bencher: Bencher<'_, '_>) {
    let json = br#"{"path":"./root/usr/share/doc/package-00001/copyright","type":"file","mode":"0644","uid":0,"gid":0,"mtime":"1700000000.123456789","size":4000,"digest":"blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"}"#;
    assert!(fuzzing::index_line(json).is_some(), "a line");
    bencher.bench(|| fuzzing::index_line(divan::black_box(json)));
}

/// Two trees with the same bytes.
fn same_trees() -> tempfile::TempDir {
    let place = tempfile::tempdir().expect("a directory");
    let data = text(MEMBER_BYTES);
    for side in ["base", "now"] {
        for number in 0..FILES {
            let directory = place.path().join(side).join(format!("d{}", number / 25));
            std::fs::create_dir_all(&directory).expect("a directory");
            let file = std::fs::File::create(directory.join(format!("f{number}"))).expect("a file");
            (&file).write_all(&data).expect("room");
            file.set_modified(std::time::UNIX_EPOCH).expect("a time");
        }
    }
    place
}

/// Walks and compares two trees in which nothing differs, on all cores.
fn compare(bencher: Bencher<'_, '_>, engine: &(dyn change::Engine + Sync)) {
    let place = same_trees();
    let open = |side: &str| Tree::open(&place.path().join(side)).expect("a tree");
    let (base, now) = (open("base"), open("now"));
    let interrupted = AtomicBool::new(false);
    bencher.counter(ItemsCount::new(FILES)).bench_local(|| {
        let options = change::Options {
            threads: 0,
            of_base: change::OfBase::Nothing,
            exclude: &[],
            interrupted: &interrupted,
            whole: None,
        };
        let trees = change::Trees { base: Some(&base), now: &now };
        change::compare::<change::Error>(engine, trees, options, &mut |_: Change| Ok(()))
            .expect("a comparison")
    });
}

/// By bytes.
#[divan::bench]
fn comparer_by_content(bencher: Bencher<'_, '_>) {
    compare(bencher, &content::Content);
}

/// By size and time.
#[divan::bench]
fn comparer_by_time(bencher: Bencher<'_, '_>) {
    compare(bencher, &quick::Quick);
}
