//! Compression: what we undo is what others undo.

use std::io::Read as _;

use arbitrary::{Result, Unstructured};
use flate2::bufread::GzDecoder;
use remand::archive::fuzzing::{self, Chunk, Kind};

/// A check looks at no more than that.
const LIMIT: u64 = 8 << 20;

/// Builds a compressed file of pieces as a writer makes them, changes a few bytes, or takes the bytes as they are.
fn file(u: &mut Unstructured<'_>, kind: Kind) -> Result<Vec<u8>> {
    if u.ratio(1, 3)? {
        let rest = u.len();
        return Ok(u.bytes(rest)?.to_vec());
    }
    let (mut file, mut chunks) = (Vec::new(), Vec::new());
    for number in 0..u.int_in_range(1..=5)? {
        let data: &[u8] = u.arbitrary()?;
        let stored = u.arbitrary::<bool>()?.then_some(number == 0);
        let chunk = fuzzing::chunk(kind, data, stored).expect("memory takes it");
        chunks.push(Chunk { bytes: chunk.len() as u64, plain_bytes: data.len() as u64, header: None });
        file.extend(chunk);
    }
    for _ in 0..u.int_in_range(0..=2)? {
        file.extend(fuzzing::table(kind, &chunks, u.arbitrary()?).expect("memory takes it"));
    }
    for _ in 0..u.int_in_range(0..=3)? {
        let at = u.choose_index(file.len())?;
        match u.int_in_range(0..=3)? {
            0 => file[at] = u.arbitrary()?,
            1 => file.truncate(at.max(1)),
            2 => drop(file.splice(at..at, u.arbitrary::<&[u8]>()?.iter().copied())),
            _ => {
                let end = u.int_in_range(at..=file.len() - 1)?;
                let piece = file[at..=end].to_vec();
                file.extend(piece);
            }
        }
    }
    Ok(file)
}

/// If we take a file, then another decompressor finds the same in it. Ours is strict where a file was written by remand.
fn same(kind: Kind, file: &[u8], theirs: impl Fn(&[u8]) -> Option<Vec<u8>>) {
    for ahead in [true, false] {
        if let Ok(ours) = fuzzing::decompress(file.to_vec(), ahead, LIMIT) {
            let magic: &[u8] = if kind == Kind::Gzip { &[0x1f, 0x8b] } else { &[0x28, 0xb5, 0x2f, 0xfd] };
            if file.starts_with(magic) {
                let theirs = theirs(file);
                let lengths = (ours.len(), theirs.as_ref().map(Vec::len));
                assert!(Some(ours) == theirs, "{kind:?}, ahead: {ahead}: {lengths:?} bytes");
            }
        }
    }
}

/// Members of gzip, inflated side by side and one by one.
pub(super) fn gzip(data: &[u8]) {
    let Ok(file) = file(&mut Unstructured::new(data), Kind::Gzip) else { return };
    same(Kind::Gzip, &file, |file| {
        let (mut plain, mut rest) = (Vec::new(), file);
        // As gzip(1) does it: zeros may follow the last member.
        while rest.iter().any(|byte| *byte != 0) {
            let mut member = GzDecoder::new(rest);
            member.by_ref().take(LIMIT + 1).read_to_end(&mut plain).ok()?;
            rest = member.into_inner();
        }
        Some(plain)
    });
}

/// Frames of zstd.
pub(super) fn zstd(data: &[u8]) {
    let Ok(file) = file(&mut Unstructured::new(data), Kind::Zstd) else { return };
    same(Kind::Zstd, &file, |file| {
        let mut plain = Vec::new();
        let mut decoder = ::zstd::Decoder::new(file).ok()?;
        decoder.by_ref().take(LIMIT + 1).read_to_end(&mut plain).ok().map(|_| plain)
    });
}

/// A table of offsets is none, or its chunks follow one another, and are the same when they are printed.
pub(super) fn table(data: &[u8]) {
    for kind in [Kind::Gzip, Kind::Zstd] {
        super::prints_the_same("parts of a table", data, |parts| fuzzing::table_parts(kind, parts));
    }
    let Some(chunks) = fuzzing::table_chunks(data) else { return };
    let lines = chunks.iter().filter_map(|chunk| chunk.header).map(|(_, line)| line);
    assert!(lines.is_sorted());
    assert_eq!(fuzzing::table_chunks(&fuzzing::table_data(&chunks)), Some(chunks));
}
