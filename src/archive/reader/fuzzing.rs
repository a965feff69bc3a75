//! Doors for the fuzz targets in `fuzz/`: the parsers of an archive's parts, which nobody else reaches alone.
//!
//! Most give back what was understood, printed again: as long as printing and parsing are each other's inverse, what was
//! printed is printed the same when it is read once more.

use std::io::{self, Cursor, Read as _};

use super::decompress::{self, Ahead, Chunked};
use super::index::{Item, read_lines};
use super::tar::Tar;
use super::{Terms, selected, tar};
use crate::archive::check::Checker;
use crate::archive::header::{self, Layout};
use crate::archive::index::{Parsed, failure_to_json, line_to_json, parse, seal_to_json};
use crate::archive::sparse::{self, BLOCK, MapParser};
use crate::archive::table::{self, Audit, Builder, END_BYTES, PART_BYTES};
use crate::archive::{Error, Line, Manifest, Result, Seal, gzip, pax, zstd};
use crate::tree::Extent;

/// A manifest, as a reader takes it apart.
pub fn manifest(json: &[u8]) -> Result<Manifest> {
    Manifest::from_json(json).map_err(|error| tar::unusable("it", &error))
}

/// A manifest, as a writer prints it.
pub fn print_manifest(manifest: &Manifest) -> Vec<u8> {
    manifest.to_json()
}

/// Records of a pax header, printed again in the order of their keys.
pub fn pax(records: &[u8]) -> Option<Vec<u8>> {
    let mut printed = Vec::new();
    for (key, value) in pax::parse(records).ok()? {
        pax::push(&mut printed, key, value);
    }
    Some(printed)
}

/// A member as its header tells.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    /// Name and entry.
    pub line: Line,
    /// Bytes that follow.
    pub stored_bytes: u64,
    /// Whether they begin with a sparse map.
    pub sparse: bool,
    /// Which attempt at the same member it is.
    pub attempt: u32,
    /// The header, printed again.
    pub printed: Option<Vec<u8>>,
}

/// The first header of a tar stream, with all that comes before it; `None` at the end.
pub fn header(stream: &[u8]) -> Result<Option<Header>> {
    let stream: Box<dyn io::BufRead> = Box::new(Cursor::new(stream.to_vec()));
    let Some(found) = Tar::new(Box::new(stream), &Terms::new("it")).next()? else { return Ok(None) };
    let layout = if found.sparse { Layout::Sparse(found.stored_bytes) } else { Layout::Plain };
    let printed = header::encode(&found.line, layout, found.attempt);
    let (stored_bytes, sparse, attempt) = (found.stored_bytes, found.sparse, found.attempt);
    Ok(Some(Header { line: found.line, stored_bytes, sparse, attempt, printed }))
}

/// The sparse map at the head of a member of a file with so many bytes, and how many blocks it has.
pub fn sparse_map(data: &[u8], size: u64) -> Option<(Vec<Extent>, usize)> {
    let mut parser = MapParser::new(size);
    for (number, block) in data.chunks_exact(BLOCK).enumerate() {
        if let Some(map) = parser.block(block).ok()? {
            assert_eq!(map.data_bytes, map.runs.iter().map(|run| run.length).sum::<u64>());
            return Some((map.runs, number + 1));
        }
    }
    None
}

/// A sparse map, as a writer prints it.
pub fn print_sparse_map(runs: &[Extent], size: u64) -> Vec<u8> {
    sparse::encode(runs, size)
}

/// At most `limit` runs in place of more, as a writer joins them.
pub fn join_runs(runs: &[Extent], limit: usize) -> Vec<Extent> {
    sparse::join_runs(runs, limit)
}

/// A line of an index, printed again.
pub fn index_line(json: &[u8]) -> Option<Vec<u8>> {
    Some(match parse(json).ok()? {
        Parsed::Line(line) => line_to_json(&line),
        Parsed::Failure(failure) => failure_to_json(&failure),
        Parsed::Seal(seal) => seal_to_json(&seal),
    })
}

/// The lines of a whole index, which belongs to a manifest.
pub fn index(lines: &[u8], manifest: &[u8]) -> Result<(Seal, Vec<Line>)> {
    let mut checker = Checker::new(&self::manifest(manifest)?)?;
    let failed = |source| Error::Io { action: "read", subject: "it".to_owned(), source };
    let mut found = Vec::new();
    let mut take = |item: Item| match item {
        Item::Failure(failure) => checker.failure(&failure),
        Item::Line(line) => {
            checker.line_alone(&line)?;
            found.push(*line);
            Ok(())
        }
    };
    let sealed = read_lines(&mut Cursor::new(lines), manifest, &mut take, &failed)?;
    checker.seal(&sealed.seal, sealed.digest)?;
    Ok((sealed.seal, found))
}

/// What is in a file that may be compressed; an error if it is more than `limit` bytes.
pub fn decompress(file: Vec<u8>, ahead: bool, limit: u64) -> io::Result<Vec<u8>> {
    let ahead = if ahead { Ahead::Yes } else { Ahead::No };
    let mut plain = Vec::new();
    decompress::open(Box::new(Cursor::new(file)), ahead, &Audit::default())?
        .take(limit + 1)
        .read_to_end(&mut plain)?;
    if plain.len() as u64 > limit { Err(io::ErrorKind::FileTooLarge.into()) } else { Ok(plain) }
}

/// Which compression chunks have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Members of gzip.
    Gzip,
    /// Frames of zstd.
    Zstd,
}

/// One chunk of a compressed archive. `stored` ones are not compressed, and may announce a table of offsets.
pub fn chunk(kind: Kind, data: &[u8], stored: Option<bool>) -> io::Result<Vec<u8>> {
    match (kind, stored) {
        (Kind::Gzip, Some(announces)) => gzip::stored(data, announces),
        (Kind::Zstd, Some(announces)) => zstd::stored(data, announces),
        (Kind::Gzip, None) => gzip::Encoder::new(1).encode(data),
        (Kind::Zstd, None) => zstd::Encoder::new(1)?.encode(data),
    }
}

/// What a table of offsets says of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its length in the file.
    pub bytes: u64,
    /// Bytes of the tar stream in it.
    pub plain_bytes: u64,
    /// Where in these the first header of a member begins, and how many members there are before.
    pub header: Option<(u64, u64)>,
}

/// A whole table of offsets with a right digest, whatever it says. Numbers of members must not descend.
pub fn table(kind: Kind, chunks: &[Chunk], index_at: u64) -> io::Result<Vec<u8>> {
    let mut builder = Builder::default();
    for &Chunk { bytes, plain_bytes, header } in chunks {
        builder.chunk(bytes, table::Content { plain_bytes, header });
    }
    let (data, end) = builder.finish(index_at);
    framed(kind, &data, &end)
}

fn framed(kind: Kind, data: &[u8], end: &[u8; END_BYTES]) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    for part in data.chunks(PART_BYTES) {
        all.extend(match kind {
            Kind::Gzip => gzip::part(part)?,
            Kind::Zstd => zstd::part(part)?,
        });
    }
    all.extend(match kind {
        Kind::Gzip => gzip::end(end)?,
        Kind::Zstd => zstd::end(end)?,
    });
    Ok(all)
}

/// The parts of a table of offsets, without its end: their data, framed again.
pub fn table_parts(kind: Kind, parts: &[u8]) -> Option<Vec<u8>> {
    let chunked = match kind {
        Kind::Gzip => Chunked::Gzip,
        Kind::Zstd => Chunked::Zstd,
    };
    let data = selected::data_of_parts(chunked, parts)?;
    let whole = framed(kind, &data, &[0; END_BYTES]).ok()?;
    let end = if kind == Kind::Gzip { gzip::END_MEMBER_BYTES } else { zstd::END_FRAME_BYTES };
    Some(whole[..whole.len() - end].to_vec())
}

/// The chunks that the data of a table tell, if they go together; the digest is put right before.
pub fn table_chunks(data: &[u8]) -> Option<Vec<Chunk>> {
    let chunks = table::Table::mended(data.to_vec())?;
    let chunk = |chunk: table::Chunk| Chunk {
        bytes: chunk.end - chunk.at,
        plain_bytes: chunk.content.plain_bytes,
        header: chunk.content.header,
    };
    Some(chunks.chunks().map(chunk).collect())
}

/// The data of a table that tells these chunks.
pub fn table_data(chunks: &[Chunk]) -> Vec<u8> {
    let mut builder = Builder::default();
    for &Chunk { bytes, plain_bytes, header } in chunks {
        builder.chunk(bytes, table::Content { plain_bytes, header });
    }
    builder.finish(0).0
}
