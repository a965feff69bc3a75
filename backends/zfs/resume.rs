//! The rest of a stream, for a dataset that has received a part of it.
//!
//! ZFS goes on with a stream that begins with the object it was at (`sys/zfs_ioctl.h`, `dmu_recv.c`): a BEGIN record with the
//! feature RESUMING and, in its list of values, the object and the offset; then the records from there on. A sender makes such a stream
//! from the snapshot. Here it is made from the whole stream itself, by leaving records out and computing the running checksum anew.
//!
//! Pure: bytes in, bytes out. Every checksum of the source is checked, also of what is left out; whatever is not understood is an
//! error (of kind `InvalidData`), never a guess.

use std::collections::BTreeSet;
use std::io::{self, Read};

/// Size of a `dmu_replay_record`.
const RECORD_BYTES: usize = 312;
/// Where in a record its checksum lies: four words, at its end.
const CHECKSUM_AT: usize = RECORD_BYTES - 32;
const MAGIC: u64 = 0x2_f5ba_cbac;
/// `DMU_BACKUP_FEATURE_RESUMING`; the features are bits 2 and up of the version word.
const RESUMING: u64 = 1 << 20 << 2;
/// More than any record carries: the largest block has 16 MiB.
const MAX_PAYLOAD_BYTES: u64 = 64 << 20;

/// Where a receive was interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The snapshot that was being received.
    pub guid: u64,
    /// The object that was last written to.
    pub object: u64,
    /// The offset in it of what was last written.
    pub offset: u64,
    /// How much of the stream had been read.
    pub read_bytes: u64,
}

/// Reads what `zfs send -nv -t TOKEN` prints of a token's contents.
pub fn point(text: &str) -> Option<Point> {
    let value = |name: &str| {
        let line =
            text.lines().find_map(|line| line.trim_start().strip_prefix(name)?.strip_prefix(" = 0x"))?;
        u64::from_str_radix(line.trim_end(), 16).ok()
    };
    Some(Point {
        guid: value("toguid")?,
        object: value("object")?,
        offset: value("offset")?,
        read_bytes: value("bytes")?,
    })
}

/// The kinds of records.
mod kind {
    pub(super) const BEGIN: u32 = 0;
    pub(super) const OBJECT: u32 = 1;
    pub(super) const FREE_OBJECTS: u32 = 2;
    pub(super) const WRITE: u32 = 3;
    pub(super) const FREE: u32 = 4;
    pub(super) const END: u32 = 5;
    pub(super) const SPILL: u32 = 7;
    pub(super) const WRITE_EMBEDDED: u32 = 8;
    pub(super) const OBJECT_RANGE: u32 = 9;
}

/// Fletcher-4 as streams use it: over 32-bit words, running over all of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum([u64; 4]);

impl Sum {
    /// `bytes` is a multiple of 4 long, as all parts of a stream are.
    fn add(&mut self, bytes: &[u8]) {
        let [mut a, mut b, mut c, mut d] = self.0;
        for word in bytes.chunks_exact(4) {
            a = a.wrapping_add(u64::from(u32::from_le_bytes([word[0], word[1], word[2], word[3]])));
            b = b.wrapping_add(a);
            c = c.wrapping_add(b);
            d = d.wrapping_add(c);
        }
        self.0 = [a, b, c, d];
    }

    fn at(bytes: &[u8], at: usize) -> Self {
        Self([0, 8, 16, 24].map(|word| long(bytes, at + word)))
    }

    fn put(self, bytes: &mut [u8], at: usize) {
        for (word, value) in self.0.into_iter().enumerate() {
            bytes[at + word * 8..at + word * 8 + 8].copy_from_slice(&value.to_le_bytes());
        }
    }
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].try_into().map_or(0, u64::from_le_bytes)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes)
}

/// A record and what follows it.
#[derive(Clone, Debug)]
struct Record {
    head: Vec<u8>,
    payload: Vec<u8>,
}

impl Record {
    fn kind(&self) -> u32 {
        word(&self.head, 0)
    }

    /// The object that the record is about.
    fn object(&self) -> u64 {
        long(&self.head, 8)
    }

    /// Where in the object, of one that writes or frees.
    fn offset(&self) -> u64 {
        long(&self.head, if self.kind() == kind::WRITE { 24 } else { 16 })
    }

    /// How many bytes follow, each a multiple of 8.
    fn payload_bytes(head: &[u8]) -> io::Result<u64> {
        Ok(match word(head, 0) {
            kind::BEGIN => u64::from(word(head, 4)),
            kind::OBJECT => match (word(head, 36), word(head, 28)) {
                (0, bonus) => u64::from(bonus).next_multiple_of(8),
                (raw, _) => u64::from(raw),
            },
            // Stored as it is, or compressed with a size of its own.
            kind::WRITE if head[50] == 0 => long(head, 32),
            kind::WRITE => long(head, 96),
            kind::SPILL => match long(head, 40) {
                0 => long(head, 16),
                compressed => compressed,
            },
            kind::WRITE_EMBEDDED => u64::from(word(head, 52)).next_multiple_of(8),
            kind::FREE | kind::FREE_OBJECTS | kind::OBJECT_RANGE | kind::END => 0,
            _ => return Err(damaged("a record of a kind that plain streams do not have")),
        })
    }
}

/// What becomes of the records of the stream that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The frame around several streams: it is taken away, so that each can be received alone.
    Frame,
    /// It has been received.
    Skip,
    /// It was being received: the object is looked for.
    Seek,
    /// The object was found: the offset is looked for.
    Within,
    /// The rest of it.
    Rest,
    /// All of it.
    Whole,
}

/// What is left of a sequence of streams, as streams that can be received one after another.
pub struct Remainder<R> {
    source: R,
    received: BTreeSet<u64>,
    /// Until it has been reached.
    point: Option<Point>,
    mode: Option<Mode>,
    framed: bool,
    /// Of the source.
    sum: Sum,
    /// Of what is yielded.
    new_sum: Sum,
    /// The BEGIN record, and the last OBJECT_RANGE: raw objects need the one that they lie in.
    begin: Option<Record>,
    range: Option<Record>,
    ready: Vec<u8>,
    taken: usize,
    ended: bool,
}

impl<R: Read> Remainder<R> {
    /// What is left of `source` for a dataset that has `received` these snapshots (by GUID), and was interrupted at `point`.
    pub fn new(source: R, received: BTreeSet<u64>, point: Option<Point>) -> Self {
        Self {
            source,
            received,
            point,
            mode: None,
            framed: false,
            sum: Sum::default(),
            new_sum: Sum::default(),
            begin: None,
            range: None,
            ready: Vec::new(),
            taken: 0,
            ended: false,
        }
    }

    /// One record. `None` at the end of the source, where no stream is open.
    fn next(&mut self) -> io::Result<Option<Record>> {
        let mut head = vec![0; RECORD_BYTES];
        let mut have = 0;
        while have < RECORD_BYTES {
            match self.source.read(&mut head[have..]) {
                Ok(0) if have == 0 && self.mode.is_none() => return Ok(None),
                Ok(0) => return Err(damaged("it ends within a stream")),
                Ok(count) => have += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let bytes = Record::payload_bytes(&head)?;
        if bytes > MAX_PAYLOAD_BYTES || !bytes.is_multiple_of(4) {
            return Err(damaged("a record is longer than any can be"));
        }
        let mut payload = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        self.source.read_exact(&mut payload).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it ends within a record"),
            _ => error,
        })?;
        Ok(Some(Record { head, payload }))
    }

    /// Checks the checksums of a record within a stream. Senders of old leave those of single records out.
    fn check(&mut self, record: &Record) -> io::Result<()> {
        if record.kind() == kind::BEGIN {
            self.sum = Sum::default();
            self.sum.add(&record.head);
        } else {
            let end = record.kind() == kind::END;
            if end && Sum::at(&record.head, 8) != self.sum {
                return Err(damaged("its checksum is wrong"));
            }
            self.sum.add(&record.head[..CHECKSUM_AT]);
            let stored = Sum::at(&record.head, CHECKSUM_AT);
            if stored != Sum::default() && stored != self.sum {
                return Err(damaged("the checksum of a record is wrong"));
            }
            self.sum.add(&record.head[CHECKSUM_AT..]);
        }
        self.sum.add(&record.payload);
        Ok(())
    }

    /// Reads one record and yields what becomes of it.
    fn step(&mut self) -> io::Result<()> {
        let Some(record) = self.next()? else {
            if self.point.is_some() {
                return Err(damaged("it does not hold the snapshot that was being received"));
            }
            self.ended = true;
            return Ok(());
        };
        match (self.mode, record.kind()) {
            (None, kind::BEGIN) => return self.begin(record),
            (None, kind::END) if self.framed => return Ok(()), // of the frame
            (None, _) | (Some(_), kind::BEGIN) => return Err(damaged("its records have no order")),
            (Some(Mode::Frame), kind::END) => {
                self.mode = None;
                return Ok(());
            }
            (Some(Mode::Frame), _) => return Err(damaged("its frame holds records")),
            _ => {}
        }
        self.check(&record)?;
        let end = record.kind() == kind::END;
        match self.mode {
            Some(Mode::Seek | Mode::Within) if end => {
                return Err(damaged("it does not hold what was received last"));
            }
            Some(Mode::Seek) => self.seek(record)?,
            Some(Mode::Within) => self.within(record)?,
            Some(Mode::Rest) => self.emit(record),
            Some(Mode::Whole) => self.pass(&record),
            _ => {}
        }
        if end {
            self.mode = None;
        }
        Ok(())
    }

    fn begin(&mut self, record: Record) -> io::Result<()> {
        if long(&record.head, 8) != MAGIC {
            return Err(damaged("it is of another byte order, or no stream"));
        }
        let version = long(&record.head, 16);
        if version & 3 == 2 {
            self.framed = true;
            self.mode = Some(Mode::Frame);
            return Ok(());
        }
        if version & RESUMING != 0 {
            return Err(damaged("it is itself the rest of another"));
        }
        let guid = long(&record.head, 40);
        self.check(&record)?;
        self.range = None;
        if self.received.contains(&guid) {
            self.mode = Some(Mode::Skip);
        } else if self.point.is_some_and(|point| point.guid == guid) {
            self.mode = Some(Mode::Seek);
            self.begin = Some(record);
        } else if self.point.is_some() {
            return Err(damaged("it holds something else before what was being received"));
        } else {
            self.mode = Some(Mode::Whole);
            self.pass(&record);
        }
        Ok(())
    }

    fn seek(&mut self, record: Record) -> io::Result<()> {
        let Some(point) = self.point else { return Err(damaged("nothing is looked for")) };
        match record.kind() {
            kind::OBJECT_RANGE => self.range = Some(record),
            kind::OBJECT if record.object() > point.object => {
                return Err(damaged("it does not hold the object that was received last"));
            }
            kind::OBJECT if record.object() == point.object => {
                let begin = self.begin.take().ok_or_else(|| damaged("it has no begin"))?;
                self.emit(resuming(begin, point)?);
                if let Some(range) = self.range.take() {
                    self.emit(range);
                }
                self.emit(record);
                self.mode = Some(if point.offset == 0 { Mode::Rest } else { Mode::Within });
                self.point = (point.offset != 0).then_some(point);
            }
            _ => {}
        }
        Ok(())
    }

    /// Records of the object before the offset: what was written there was received, and what the object has beyond its end is
    /// freed again, as a sender does it.
    fn within(&mut self, record: Record) -> io::Result<()> {
        let Some(point) = self.point else { return Err(damaged("nothing is looked for")) };
        let missing = || damaged("it does not hold the block that was received last");
        match record.kind() {
            kind::WRITE | kind::WRITE_EMBEDDED if record.object() == point.object => {
                if record.offset() > point.offset {
                    return Err(missing());
                }
                if record.offset() == point.offset {
                    self.emit(record);
                    self.mode = Some(Mode::Rest);
                    self.point = None;
                }
            }
            kind::FREE if record.object() == point.object => {
                if long(&record.head, 24) == u64::MAX {
                    self.emit(record);
                }
            }
            kind::SPILL if record.object() == point.object => self.emit(record),
            _ => return Err(missing()),
        }
        Ok(())
    }

    /// Yields a record with new checksums.
    fn emit(&mut self, mut record: Record) {
        if record.kind() == kind::BEGIN {
            self.new_sum = Sum::default();
            self.new_sum.add(&record.head);
        } else {
            if record.kind() == kind::END {
                self.new_sum.put(&mut record.head, 8);
            }
            self.new_sum.add(&record.head[..CHECKSUM_AT]);
            self.new_sum.put(&mut record.head, CHECKSUM_AT);
            self.new_sum.add(&record.head[CHECKSUM_AT..]);
        }
        self.new_sum.add(&record.payload);
        self.pass(&record);
    }

    fn pass(&mut self, record: &Record) {
        self.ready.extend_from_slice(&record.head);
        self.ready.extend_from_slice(&record.payload);
    }
}

/// A BEGIN record that says where to go on.
fn resuming(mut begin: Record, point: Point) -> io::Result<Record> {
    // A packed list of values (`sys/nvpair.h`): encoding and byte order, version, flags (names are unique), then the values, then
    // an empty one.
    const EMPTY: [u8; 16] = [0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];
    const HEAD_BYTES: usize = 12;
    if begin.payload.is_empty() {
        begin.payload = EMPTY.to_vec();
    }
    if begin.payload.get(..HEAD_BYTES) != Some(&EMPTY[..HEAD_BYTES]) {
        return Err(damaged("the values at its begin have another form"));
    }
    let mut values = Vec::new();
    for (name, value) in [(b"resume_object\0\0\0", point.object), (b"resume_offset\0\0\0", point.offset)] {
        // Size of all, size of the name (with its NUL) and reserved, number of values, their type (uint64).
        for part in [40_u32, 14, 1, 8] {
            values.extend_from_slice(&part.to_le_bytes());
        }
        values.extend_from_slice(name);
        values.extend_from_slice(&value.to_le_bytes());
    }
    begin.payload.splice(HEAD_BYTES..HEAD_BYTES, values);
    let bytes = u32::try_from(begin.payload.len()).map_err(|_| damaged("its begin is too long"))?;
    begin.head[4..8].copy_from_slice(&bytes.to_le_bytes());
    let version = long(&begin.head, 16) | RESUMING;
    begin.head[16..24].copy_from_slice(&version.to_le_bytes());
    Ok(begin)
}

impl<R: Read> Read for Remainder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.ready.len() {
            if self.ended || buffer.is_empty() {
                return Ok(0);
            }
            self.ready.clear();
            self.taken = 0;
            self.step()?;
        }
        let count = buffer.len().min(self.ready.len() - self.taken);
        buffer[..count].copy_from_slice(&self.ready[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

fn damaged(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the stream cannot be continued: {reason}"))
}

#[cfg(test)]
mod tests;
