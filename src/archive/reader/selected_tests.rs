//! Reading only what is wanted.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::archive::check::is_member;
use crate::archive::testing::*;
use crate::archive::{Body, Compression, Writer, Written, gzip, table, zstd};
use crate::tree::Kind;

const COMPRESSIONS: [Compression; 3] = [Compression::None, Compression::Gzip(6), Compression::Zstd(3)];

/// An archive in memory that counts what is read of it.
struct Memory {
    bytes: Vec<u8>,
    read_bytes: AtomicU64,
}

impl ReadAt for Memory {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = &self.bytes[usize::try_from(offset).unwrap().min(self.bytes.len())..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.read_bytes.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }
}

fn memory(bytes: &[u8]) -> Arc<Memory> {
    Arc::new(Memory { bytes: bytes.to_vec(), read_bytes: AtomicU64::new(0) })
}

/// Wants what a function says.
struct Picky<'a> {
    wants: &'a dyn Fn(&Line) -> bool,
    inner: Collected,
}

impl Visitor for Picky<'_> {
    fn manifest(&mut self, manifest: &Manifest) -> Result<()> {
        self.inner.manifest(manifest)
    }

    fn wants(&mut self, line: &Line) -> bool {
        (self.wants)(line)
    }

    fn member(&mut self, line: &Line, content: Option<&mut dyn Content>) -> Result<()> {
        assert!((self.wants)(line));
        self.inner.member(line, content)
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        self.inner.line(line)
    }

    fn failure(&mut self, failure: &Failure) -> Result<()> {
        self.inner.failure(failure)
    }
}

fn pick(source: Source, wants: &dyn Fn(&Line) -> bool) -> Result<(Seal, Collected)> {
    let mut picky = Picky { wants, inner: Collected::default() };
    let seal = select(source, "test", &mut picky)?;
    Ok((seal, picky.inner))
}

/// Of a member that came several times the last one.
fn last_attempts(members: Vec<(Line, Option<ReadContent>)>) -> Vec<(Line, Option<ReadContent>)> {
    let mut last: Vec<(Line, Option<ReadContent>)> = Vec::new();
    for member in members {
        last.pop_if(|before| before.0.name == member.0.name);
        last.push(member);
    }
    last
}

/// What is wanted of `bytes` comes as a complete reading yields it.
#[track_caller]
fn check(bytes: &[u8], wants: &dyn Fn(&Line) -> bool) -> u64 {
    let (seal, all) = read_archive(bytes).unwrap();
    let memory = memory(bytes);
    let (again, collected) = pick(Source::File(Arc::clone(&memory) as Arc<dyn ReadAt>), wants).unwrap();
    assert_eq!(again, seal);
    assert_eq!(collected.lines, all.lines);
    assert_eq!(collected.failures, all.failures);
    assert_eq!(collected.manifest, all.manifest);
    let mut members = all.members;
    members.retain(|(line, _)| wants(line));
    assert!(last_attempts(collected.members) == last_attempts(members));
    memory.read_bytes.load(Ordering::Relaxed)
}

#[test]
fn every_single_member_of_every_kind_is_found() {
    for compression in COMPRESSIONS {
        for patchable in [true, false] {
            let bytes = archive(compression, patchable, &samples());
            for sample in samples() {
                check(&bytes, &|line| line.name == sample.line.name);
            }
            check(&bytes, &|_| true);
            check(&bytes, &|_| false);
            let (first, last) = (&samples()[0].line.name, &samples()[samples().len() - 1].line.name);
            check(&bytes, &|line| line.name == *first || line.name == *last);
        }
    }
}

/// Many members of all sizes, some of them over several chunks, some repeated.
fn many(compression: Compression, seed: u64, members: u64) -> Vec<u8> {
    let sink = MemorySink { patchable: true, ..MemorySink::default() };
    let mut writer = Writer::tar(Box::new(sink.clone()), compression, &std::env::temp_dir()).unwrap();
    writer.manifest(&manifest(), 0).unwrap();
    let mut random = seed;
    let mut next = |below: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % below
    };
    for number in 0..members {
        let size = if next(6) == 0 { 1_500_000 + next(2_000_000) } else { next(70_000) };
        let data = noise(usize::try_from(size).unwrap());
        let line = file(format!("root/{number}"), &data).line;
        let attempts = if next(4) == 0 { 1 + next(3) } else { 1 };
        for attempt in 1..=attempts {
            let runs = [(0, data.clone())];
            let mut content = content(size, if size == 0 { &[] } else { &runs });
            content.stable = attempt == attempts;
            let attempt = u32::try_from(attempt).unwrap();
            let written = writer.member(line.clone(), Body::Content(&mut content), attempt).unwrap();
            assert_eq!(matches!(written, Written::Done(_)), content.stable);
        }
    }
    writer.finish().unwrap();
    std::mem::take(&mut *sink.bytes.lock().unwrap())
}

#[test]
fn any_choice_of_many_is_found() {
    for compression in COMPRESSIONS {
        for seed in 0..2 {
            let bytes = many(compression, seed, 60);
            let memory = memory(&bytes);
            for step in [1, 2, 7, 29] {
                let number = |line: &Line| {
                    let name = line.name.path().as_bytes();
                    std::str::from_utf8(&name[5..]).unwrap().parse::<usize>().unwrap()
                };
                for offset in 0..step.min(3) {
                    let wants = |line: &Line| number(line) % step == offset;
                    let source = Source::File(Arc::clone(&memory) as Arc<dyn ReadAt>);
                    let (_, collected) = pick(source, &wants).unwrap();
                    // Of a repeated member at least the last attempt.
                    let mut found: Vec<_> = collected.members.iter().map(|(line, _)| number(line)).collect();
                    found.dedup();
                    let expected: Vec<_> = (0..60).filter(|number| number % step == offset).collect();
                    assert_eq!(found, expected, "{compression:?}, seed {seed}, step {step}");
                }
            }
        }
    }
}

#[test]
fn little_is_read_of_a_large_archive() {
    for compression in COMPRESSIONS {
        let bytes = many(compression, 1, 60);
        assert!(bytes.len() > 15_000_000);
        let picked = check(&bytes, &|line| line.name == name("root/30"));
        let (_, all) = read_archive(&bytes).unwrap();
        let own = all.members.iter().find(|(line, _)| line.name == name("root/30")).unwrap();
        let own_bytes = own.0.entry.as_ref().unwrap().size;
        // Chunks around it, the index (three times), and buffers.
        assert!(picked < own_bytes + 12_000_000, "{compression:?}: {picked} of {}", bytes.len());
        assert!(check(&bytes, &|_| false) < 8_000_000, "{compression:?}");
    }
}

/// The parts of an archive before, in and after its table.
fn split(bytes: &[u8], compression: Compression) -> (&[u8], Vec<u8>, table::End) {
    let end_at = bytes.len()
        - match compression {
            Compression::Gzip(_) => gzip::END_MEMBER_BYTES,
            _ => zstd::END_FRAME_BYTES,
        };
    let (kind, data) = match compression {
        Compression::Gzip(_) => (
            decompress::Chunked::Gzip,
            match gzip::sort(&bytes[end_at..]).unwrap() {
                gzip::Sort::End(data) => data.to_vec(),
                other => panic!("{other:?}"),
            },
        ),
        _ => (decompress::Chunked::Zstd, bytes[end_at + 12..].to_vec()),
    };
    let end = table::End::parse(&data).unwrap();
    let table_at = usize::try_from(end.table_at).unwrap();
    let table = selected::data_of_parts(kind, &bytes[table_at..end_at]).unwrap();
    (&bytes[..table_at], table, end)
}

/// An archive with another table, which has a right digest.
fn with_table(before: &[u8], compression: Compression, chunks: &[table::Chunk], index_at: u64) -> Vec<u8> {
    let mut builder = table::Builder::default();
    for chunk in chunks {
        builder.chunk(chunk.end - chunk.at, chunk.content);
    }
    let (table, end) = builder.finish(index_at);
    let mut bytes = before.to_vec();
    let gzip = matches!(compression, Compression::Gzip(_));
    // More parts than there would be.
    for part in table.chunks(40) {
        bytes.extend(if gzip { gzip::part(part) } else { zstd::part(part) }.unwrap());
    }
    bytes.extend(if gzip { gzip::end(&end) } else { zstd::end(&end) }.unwrap());
    bytes
}

#[test]
fn a_table_that_lies_is_never_believed() {
    for compression in [Compression::Gzip(6), Compression::Zstd(3)] {
        let bytes = many(compression, 2, 16);
        let (before, table, end) = split(&bytes, compression);
        let table = table::Table::new(table, end).unwrap();
        let chunks: Vec<_> = table.chunks().collect();
        let parted = with_table(before, compression, &chunks, end.index_at);
        assert!(parted.len() > bytes.len() && read_archive(&parted).is_ok());
        assert!(check(&parted, &|_| false) < bytes.len() as u64);
        let (_, good) = pick(Source::File(memory(&bytes)), &|_| true).unwrap();
        let mut lies: Vec<(Vec<table::Chunk>, u64)> =
            vec![(chunks.clone(), 0), (chunks.clone(), end.index_at - 512), (chunks.clone(), u64::MAX)];
        for at in 0..chunks.len() {
            for change in 0..5 {
                let mut lie = chunks.clone();
                let content = &mut lie[at].content;
                match (change, &mut content.header) {
                    (0, _) => content.plain_bytes += 512,
                    (1, Some((at, _))) => *at += 512,
                    (2, Some((at, _))) => *at = at.saturating_sub(512),
                    (3, header) => *header = None,
                    (_, Some(_)) => {
                        for later in &mut lie[at..] {
                            later.content.header = later.content.header.map(|(at, line)| (at, line + 1));
                        }
                    }
                    _ => continue,
                }
                lies.push((lie, end.index_at));
            }
        }
        for (lie, index_at) in lies {
            let bytes = with_table(before, compression, &lie, index_at);
            // Who reads all of it compares it with what is there.
            let is_lie = (&lie, index_at) != (&chunks, end.index_at);
            assert_eq!(matches!(read_archive(&bytes), Err(Error::Damaged(_))), is_lie);
            for wanted in [3, 11] {
                let wants = |line: &Line| line.name == name(format!("root/{wanted}"));
                match pick(Source::File(memory(&bytes)), &wants) {
                    Ok((_, found)) => {
                        let expected = good.members.iter().rfind(|(line, _)| wants(line));
                        assert!(found.members.last() == expected);
                        assert_eq!(found.lines, good.lines);
                    }
                    Err(Error::Damaged(_) | Error::Refused(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }
}

#[test]
fn a_damaged_or_missing_table_leads_to_a_complete_reading() {
    for compression in [Compression::Gzip(6), Compression::Zstd(3)] {
        let bytes = archive(compression, true, &samples());
        let (before, _, end) = split(&bytes, compression);
        let wants = |line: &Line| line.name == name("root/etc/rich");
        for place in [before.len() + 40, bytes.len() - 20] {
            let mut bad = bytes.clone();
            bad[place] ^= 1;
            // All of it was read then, and that finds the damage.
            assert!(matches!(pick(Source::File(memory(&bad)), &wants), Err(Error::Damaged(_))));
            assert!(matches!(read_archive(&bad), Err(Error::Damaged(_))));
        }
        assert!(matches!(pick(Source::File(memory(before)), &wants), Err(Error::Damaged(_))));
        let twice = [&bytes[..], &bytes[usize::try_from(end.table_at).unwrap()..]].concat();
        assert!(matches!(read_archive(&twice), Err(Error::Damaged(_))));
    }
    // Compressed by another program there is none.
    let plain = archive(Compression::None, true, &samples());
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut encoder, &plain).unwrap();
    check(&encoder.finish().unwrap(), &|line| line.name == name("root/etc/rich"));
    check(&::zstd::encode_all(&plain[..], 1).unwrap(), &|line| line.name == name("root/etc/rich"));
}

#[test]
fn damage_of_what_is_wanted_is_found() {
    for compression in COMPRESSIONS {
        let bytes = many(compression, 0, 30);
        let wants = |line: &Line| line.name == name("root/20");
        let good = pick(Source::File(memory(&bytes)), &wants).unwrap().1.members;
        for place in (0..bytes.len()).step_by(bytes.len() / 25) {
            let mut bad = bytes.clone();
            bad[place] ^= 1;
            match pick(Source::File(memory(&bad)), &wants) {
                // What is damaged was not needed.
                Ok((_, found)) => assert!(found.members == good),
                Err(Error::Damaged(_) | Error::Refused(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn of_a_directory_only_what_is_wanted_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let dest = dir.path().join("archive");
    let mut writer = Writer::directory(&dest, false, "x").unwrap();
    writer.manifest(&manifest(), 0).unwrap();
    let samples: Vec<_> = samples()
        .into_iter()
        .filter(|sample| {
            is_member(&sample.line)
                && sample.line.entry.as_ref().is_some_and(|entry| entry.kind == Kind::File)
                && sample.line.name.path().as_bytes().len() < 200
                && !matches!(sample.line.role, crate::archive::index::Role::Link { .. })
        })
        .collect();
    write_samples(&mut writer, &samples).unwrap();
    writer.finish().unwrap();
    std::fs::write(dest.join("root/etc/changed"), b"xyz").unwrap();
    std::fs::write(dest.join("root/unknown"), b"xyz").unwrap();
    let source = || Source::Path(dest.clone());
    let (_, found) = pick(source(), &|line| line.name == name("root/etc/rich")).unwrap();
    assert_eq!(found.members.len(), 1);
    assert!(matches!(pick(source(), &|line| line.name == name("root/etc/changed")), Err(Error::Damaged(_))));
    assert!(matches!(read(source(), "test", &mut Collected::default()), Err(Error::Damaged(_))));
}

#[test]
fn a_pipe_is_read_from_front_to_back() {
    for compression in COMPRESSIONS {
        let bytes = archive(compression, false, &samples());
        let stream = Source::Stream(Box::new(io::Cursor::new(bytes)));
        let (_, found) = pick(stream, &|line| line.name == name("root/etc/rich")).unwrap();
        assert_eq!(found.members.len(), 1);
    }
}

/// The archive of a forge, whose parts between these places are compressed by themselves; a header is at each but the first.
fn in_chunks(plain: &[u8], places: &[usize], index_at: u64) -> Vec<u8> {
    let mut encoder = gzip::Encoder::new(6);
    let (mut builder, mut bytes) = (table::Builder::default(), Vec::new());
    let ends = places.iter().skip(1).copied().chain([plain.len()]);
    for (number, (&begin, end)) in places.iter().zip(ends).enumerate() {
        let member = encoder.encode(&plain[begin..end]).unwrap();
        let header = number.checked_sub(1).map(|line| (0, line as u64));
        builder.chunk(member.len() as u64, table::Content { plain_bytes: (end - begin) as u64, header });
        bytes.extend(member);
    }
    let (table, end) = builder.finish(index_at);
    bytes.extend(gzip::part(&table).unwrap());
    bytes.extend(gzip::end(&end).unwrap());
    bytes
}

#[test]
fn what_is_wanted_must_be_what_its_line_says() {
    let line = file("root/a", b"content").line;
    let with = |header: &Line, content: &[u8]| {
        let mut forge = Forge::new(&manifest());
        let mut places = vec![0, forge.bytes.len()];
        let digest = Some(crate::archive::Digest::of(b"content"));
        forge.raw(header, content, 1);
        forge.line(Line { role: crate::archive::index::Role::Member { digest }, ..line.clone() });
        places.push(forge.bytes.len());
        forge.file("root/b", b"b");
        places.push(forge.bytes.len());
        let index_at = forge.bytes.len() as u64;
        let bytes = in_chunks(&forge.finish(), &places, index_at);
        pick(Source::File(memory(&bytes)), &|line| line.name == name("root/a"))
    };
    assert_eq!(with(&line, b"content").unwrap().1.members.len(), 1);
    let mut other = line.clone();
    other.entry.as_mut().unwrap().mode ^= 0o100;
    assert!(matches!(with(&other, b"content"), Err(Error::Damaged(_))));
    assert!(matches!(with(&line, b"CONTENT"), Err(Error::Damaged(_))));
}

/// Who writes a chunk for the index alone does a reader a favour.
#[test]
fn an_index_may_begin_anywhere_in_a_chunk() {
    let mut forge = Forge::new(&manifest());
    let mut places = vec![0, forge.bytes.len()];
    for number in 0..4 {
        forge.file(format!("root/{number}"), b"content");
        places.push(forge.bytes.len());
    }
    let index_at = forge.bytes.len() as u64;
    let plain = forge.finish();
    for chunks in 2..=places.len() {
        let bytes = in_chunks(&plain, &places[..chunks], index_at);
        check(&bytes, &|line| line.name == name("root/0"));
        check(&bytes, &|line| line.name == name("root/3"));
    }
}

#[test]
fn of_a_file_that_changed_the_last_attempt_is_found() {
    for compression in COMPRESSIONS {
        let sink = MemorySink { patchable: true, ..MemorySink::default() };
        let mut writer = Writer::tar(Box::new(sink.clone()), compression, &std::env::temp_dir()).unwrap();
        writer.manifest(&manifest(), 0).unwrap();
        let line = file("root/a", b"second").line;
        for (attempt, bytes) in [(1, b"first!"), (2, b"second")] {
            let mut content = content(6, &[(0, bytes.to_vec())]);
            content.stable = attempt == 2;
            writer.member(line.clone(), Body::Content(&mut content), attempt).unwrap();
        }
        writer.finish().unwrap();
        let bytes = std::mem::take(&mut *sink.bytes.lock().unwrap());
        let (_, found) = pick(Source::File(memory(&bytes)), &|_| true).unwrap();
        let digest = found.members.last().unwrap().1.as_ref().unwrap().1;
        assert_eq!(digest, crate::archive::Digest::of(b"second"), "{compression:?}");
    }
}
