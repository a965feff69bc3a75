//! The rest of a stream, for a dataset that has received a part of it.
//!
//! ZFS goes on with a stream that begins with the object it was at (`sys/zfs_ioctl.h`, `dmu_recv.c`): a BEGIN record with the
//! feature RESUMING and, in its list of values, the object and the offset; then the records from there on. A sender makes such a stream
//! from the snapshot. Here it is made from the whole stream itself, by leaving records out and computing the running checksum anew.
//!
//! Pure: bytes in, bytes out. Every checksum of the source is checked, also of what is left out; whatever is not understood is an
//! error (of kind `InvalidData`), never a guess.

use super::record::{MAX_PAYLOAD_BYTES, Order, RECORD_BYTES, feature, kind};
use record::{CHECKSUM_AT, Record, Sum, damaged, long, resuming};
use std::collections::BTreeSet;
use std::io::{self, Read};

mod record;

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

/// More was received than the caller can verify.
pub(super) fn unverified() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "more of it has been received than the interrupted restore had noted; run the restore again, it begins anew",
    )
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
    /// The BEGIN record, and the last `OBJECT_RANGE`: raw objects need the one that they lie in.
    begin: Option<Record>,
    range: Option<Record>,
    ready: Vec<u8>,
    taken: usize,
    ended: bool,
    /// Read of the source, and how much of it may be left out.
    read_bytes: u64,
    verified_bytes: u64,
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
            read_bytes: 0,
            verified_bytes: u64::MAX,
        }
    }

    /// The same, where only the first `verified_bytes` of the source may have been received. Beyond them nothing is left out.
    #[must_use]
    pub fn with_verified(mut self, verified_bytes: u64) -> Self {
        self.verified_bytes = verified_bytes;
        self
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
        let bytes = Order::Little
            .payload_bytes(&head)
            .ok_or_else(|| damaged("a record of a kind that plain streams do not have"))?;
        if bytes > MAX_PAYLOAD_BYTES || !bytes.is_multiple_of(4) {
            return Err(damaged("a record is longer than any can be"));
        }
        let mut payload = vec![0; usize::try_from(bytes).unwrap_or(usize::MAX)];
        self.source.read_exact(&mut payload).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => damaged("it ends within a record"),
            _ => error,
        })?;
        self.read_bytes += RECORD_BYTES as u64 + bytes;
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
        let leaves_out = matches!(self.mode, Some(Mode::Skip | Mode::Seek | Mode::Within));
        if leaves_out && self.read_bytes > self.verified_bytes {
            return Err(unverified());
        }
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
        if Order::of(&record.head) != Some(Order::Little) {
            return Err(damaged("it is of another byte order, or no stream"));
        }
        let version = long(&record.head, 16);
        if version & 3 == 2 {
            self.framed = true;
            self.mode = Some(Mode::Frame);
            return Ok(());
        }
        if version & feature::RESUMING != 0 {
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

#[cfg(test)]
mod tests;
