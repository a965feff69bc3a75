//! The table of offsets at the end of a compressed archive: where each chunk (gzip member, zstd frame) lies, and which
//! member of the archive begins in it.
//!
//! ```text
//! chunk, chunk, …  part, part, …  end
//! ```
//!
//! Parts and end inflate to nothing, so whoever does not know the table sees none. It is a hint from outside: what is found by it is
//! proven by index and seal. A digest tells whether it is whole, so a sequential reader notices its damage too.

mod audit;

use std::io;

pub(super) use audit::Audit;

/// What the end begins with; its last byte is the version.
const MAGIC: [u8; 8] = *b"remandT\x01";
/// Length of the end's data.
pub(super) const END_BYTES: usize = 64;
/// Most bytes of a part's data: what fits into an extra field of gzip, with room.
pub(super) const PART_BYTES: usize = 65_000;
/// A longer table is not read into memory; it would be that of an archive of some 30 TB.
pub(super) const MAX_BYTES: u64 = 256 << 20;

/// What lies in a chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    /// Bytes of the tar stream.
    pub(super) plain_bytes: u64,
    /// Where in it the first header of a member begins, and how many lines members before that one have in the index. The index
    /// counts as such a member. An attempt has the line of the first one.
    pub(super) header: Option<(u64, u64)>,
}

/// A chunk as the table tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Its place among all.
    pub(super) number: u64,
    /// Where it begins in the file.
    pub(super) at: u64,
    /// Where the next one begins.
    pub(super) end: u64,
    /// Where it begins in the tar stream.
    pub(super) plain_at: u64,
    /// What is in it.
    pub(super) content: Content,
}

/// The end of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Where the first part begins in the file.
    pub(super) table_at: u64,
    /// Where the header of the index begins in the tar stream.
    pub(super) index_at: u64,
    /// How many chunks there are.
    pub(super) chunks: u64,
    digest: [u8; 32],
}

impl End {
    /// Takes the end's data apart; `None` if it is of another version, or no end.
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let data: &[u8; END_BYTES] = data.try_into().ok()?;
        let number = |at: usize| data[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let digest = data[32..].try_into().ok()?;
        let end = Self { table_at: number(8)?, index_at: number(16)?, chunks: number(24)?, digest };
        data.starts_with(&MAGIC).then_some(end)
    }

    fn head(&self) -> [u8; 32] {
        let mut head = [0; 32];
        head[..8].copy_from_slice(&MAGIC);
        head[8..16].copy_from_slice(&self.table_at.to_le_bytes());
        head[16..24].copy_from_slice(&self.index_at.to_le_bytes());
        head[24..].copy_from_slice(&self.chunks.to_le_bytes());
        head
    }

    fn fits(&self, mut hasher: blake3::Hasher) -> bool {
        *hasher.update(&self.head()).finalize().as_bytes() == self.digest
    }
}

/// What the next entry of a table follows on.
#[derive(Debug, Default)]
struct Entries {
    at: u64,
    chunks: u64,
    line: u64,
}

impl Entries {
    /// Appends a chunk of so many bytes in the file: its length, the length of what is in it, the place of the first header and one more
    /// (0 if there is none), and how many lines more are before that than before the last one.
    fn push(&mut self, entries: &mut Vec<u8>, bytes: u64, content: Content) {
        self.at = self.at.saturating_add(bytes);
        self.chunks += 1;
        put(entries, bytes);
        put(entries, content.plain_bytes);
        match content.header {
            None => put(entries, 0),
            Some((at, line)) => {
                put(entries, at + 1);
                put(entries, line.saturating_sub(self.line));
                self.line = line;
            }
        }
    }
}

/// Collects a table while chunks are written.
#[derive(Default)]
pub(super) struct Builder {
    bytes: Vec<u8>,
    entries: Entries,
}

impl Builder {
    /// The next chunk, of so many bytes in the file.
    pub(super) fn chunk(&mut self, bytes: u64, content: Content) {
        self.entries.push(&mut self.bytes, bytes, content);
    }

    /// Data of the parts, one after the other, and of the end.
    pub(super) fn finish(self, index_at: u64) -> (Vec<u8>, [u8; END_BYTES]) {
        let Entries { at, chunks, .. } = self.entries;
        let mut end = End { table_at: at, index_at, chunks, digest: [0; 32] };
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.bytes).update(&end.head());
        end.digest = *hasher.finalize().as_bytes();
        let mut data = [0; END_BYTES];
        data[..32].copy_from_slice(&end.head());
        data[32..].copy_from_slice(&end.digest);
        (self.bytes, data)
    }
}

/// A table that was read.
#[derive(Debug)]
pub(super) struct Table {
    /// Its end.
    pub(super) end: End,
    bytes: Vec<u8>,
}

impl Table {
    /// Data of all parts, with their end. `None` if they do not go together.
    pub(super) fn new(bytes: Vec<u8>, end: End) -> Option<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&bytes);
        let table = Self { end, bytes };
        let mut chunks = table.chunks();
        let mut last = None;
        for chunk in &mut chunks {
            last = Some(chunk);
        }
        let whole = chunks.rest.is_empty()
            && last.is_some_and(|last| (last.number + 1, last.end) == (end.chunks, end.table_at));
        (whole && end.fits(hasher)).then_some(table)
    }

    /// The table that `bytes` tell, with an end that goes with them; `None` if they tell none.
    pub(super) fn mended(bytes: Vec<u8>) -> Option<Self> {
        let last = Chunks { rest: &bytes, number: 0, at: 0, plain_at: 0, line: 0 }.last()?;
        let mut end = End { table_at: last.end, index_at: 0, chunks: last.number + 1, digest: [0; 32] };
        end.digest = *blake3::Hasher::new().update(&bytes).update(&end.head()).finalize().as_bytes();
        Self::new(bytes, end)
    }

    /// All chunks in order.
    pub(super) fn chunks(&self) -> Chunks<'_> {
        Chunks { rest: &self.bytes, number: 0, at: 0, plain_at: 0, line: 0 }
    }
}

/// Iterates over the chunks of a table; ends early where its bytes make no sense.
pub(super) struct Chunks<'a> {
    rest: &'a [u8],
    number: u64,
    at: u64,
    plain_at: u64,
    line: u64,
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let mut rest = self.rest;
        let end = self.at.checked_add(take(&mut rest)?)?;
        let plain_bytes = take(&mut rest)?;
        let plain_end = self.plain_at.checked_add(plain_bytes)?;
        let header = match take(&mut rest)? {
            0 => None,
            place => {
                self.line = self.line.checked_add(take(&mut rest)?)?;
                Some((place - 1, self.line))
            }
        };
        let content = Content { plain_bytes, header };
        let chunk = Chunk { number: self.number, at: self.at, end, plain_at: self.plain_at, content };
        (self.rest, self.number, self.at, self.plain_at) = (rest, self.number + 1, end, plain_end);
        Some(chunk)
    }
}

/// Appends a number: seven bits a byte, the lowest first; the highest bit says that more follow.
fn put(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn take(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..63).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Watches an archive that is read from front to back: its table must be whole if the first chunk announces one, and be the last.
#[derive(Default)]
pub(super) struct Watch {
    announced: bool,
    begun_at: Option<u64>,
    hasher: blake3::Hasher,
    ended: bool,
    odd: bool,
    /// Who finds out whether the table is right.
    audit: Audit,
}

impl Watch {
    /// Tells `audit` what it sees.
    pub(super) fn new(audit: &Audit) -> Self {
        Self { audit: audit.clone(), ..Self::default() }
    }

    /// The first chunk says that there will be a table, with so many bytes behind it.
    pub(super) fn announce(&mut self, bytes: u64) {
        self.announced = true;
        self.audit.lengthen(bytes);
    }

    /// Something is as no writer of tables writes it, though it changes nothing.
    pub(super) fn odd(&mut self) {
        self.odd = true;
    }

    /// A chunk with data begins.
    pub(super) fn data(&self) -> io::Result<()> {
        if self.begun_at.is_some() {
            return Err(damaged("there is data after its table of offsets"));
        }
        Ok(())
    }

    /// A chunk ends, of so many bytes in the file and in the tar stream.
    pub(super) fn chunk(&self, bytes: u64, plain_bytes: u64) {
        self.audit.chunk(bytes, plain_bytes);
    }

    /// Data of a part that begins at `at`.
    pub(super) fn part(&mut self, data: &[u8], at: u64) -> io::Result<()> {
        if self.ended {
            return Err(damaged("its table of offsets is there twice"));
        }
        self.begun_at.get_or_insert(at);
        self.hasher.update(data);
        Ok(())
    }

    /// Data of the end.
    pub(super) fn end(&mut self, data: &[u8]) -> io::Result<()> {
        let end = End::parse(data).filter(|end| Some(end.table_at) == self.begun_at);
        let Some(end) = end.filter(|end| !self.ended && end.fits(self.hasher.clone())) else {
            return Err(damaged("its table of offsets is damaged"));
        };
        self.ended = true;
        self.audit.end(end);
        Ok(())
    }

    /// Nothing follows.
    pub(super) fn finish(&self) -> io::Result<()> {
        if (self.announced || self.begun_at.is_some()) && !self.ended {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if self.ended && self.odd {
            return Err(damaged("a bit is set that nobody uses"));
        }
        Ok(())
    }
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests;
