//! A stream on its way from an archive to zfs(8): which datasets it would make, and what it would bring along.
//!
//! A stream is a row of records from a BEGIN to an END, and makes one snapshot. `zfs send -I` puts a frame around several: a BEGIN
//! and an END before them, and an END behind. From each stream in a frame zfs(8) makes the dataset whose name, without that of the frame,
//! is appended to ours; and what the frame of `zfs send -R` or `-p` lists are properties, holds and renames, which it all carries out.
//!
//! So a frame must be empty and each stream in it of the frame's dataset, which leaves zfs(8) one dataset to make; one stream at
//! most is whole, and none is a clone of something else that this host has. All of them are looked at, not the first alone.
//!
//! The next BEGIN is found by the sizes of the records before it. What an older zfs(8) would take another size from than a newer one
//! is refused, so that it cannot see other records than were seen here. Checksums and contents are its own matter.
//!
//! Pure: bytes in, the same bytes out, none of a record before it was looked at; a buffer of fixed size.

use super::record::{MAX_PAYLOAD_BYTES, Order, RECORD_BYTES, feature, kind};
use crate::Error;
use std::io::{self, Read};

const BUFFER_BYTES: usize = 256 * 1024;
/// `DRR_FLAG_CLONE`: what it builds on is another dataset.
const CLONE: u32 = 1;
/// Where in a BEGIN record the name of its snapshot begins, which ends with a NUL.
const NAME_AT: usize = 56;

/// What begins otherwise is something else.
const NONE: &str = "it does not begin as ZFS streams do";

/// What is wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Wrong {
    /// It is none, or damaged.
    #[error("{0}")]
    Damaged(&'static str),
    /// It wants what no stream of ours does.
    #[error("{0}")]
    Refused(&'static str),
}

impl Wrong {
    /// As an error about the dataset that the stream was for.
    pub(super) fn of(self, subject: &str) -> Error {
        let subject = subject.to_owned();
        match self {
            Self::Damaged(reason) => Error::Stream { subject, reason: reason.to_owned() },
            Self::Refused(reason) => Error::Refused { subject, reason: reason.to_owned() },
        }
    }
}

type Result<T> = std::result::Result<T, Wrong>;

/// Which record can come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    /// The BEGIN of a stream or a frame, or nothing more.
    Begin,
    /// The END of a frame's head.
    FrameHead,
    /// The BEGIN of a stream in a frame, or the END of it.
    InFrame,
    /// Any other of a stream.
    InStream,
}

/// Follows the records.
struct Follower {
    expected: Expected,
    order: Order,
    /// The dataset of the frame that is open.
    frame: Option<Vec<u8>>,
    /// The version and features of the stream.
    version: u64,
    streams: u64,
}

impl Follower {
    /// Takes one record, and tells how many bytes follow it.
    fn record(&mut self, head: &[u8]) -> Result<u64> {
        match self.expected {
            Expected::InStream => self.content(head),
            // zfs(8) takes it in both orders.
            Expected::InFrame if [Order::Little, Order::Big].iter().any(|order| is_end(*order, head)) => {
                (self.expected, self.frame) = (Expected::Begin, None);
                Ok(0)
            }
            Expected::FrameHead if is_end(self.order, head) => {
                self.expected = Expected::InFrame;
                Ok(0)
            }
            Expected::FrameHead => Err(Wrong::Damaged("its frame holds records")),
            Expected::Begin | Expected::InFrame => self.begin(head),
        }
    }

    fn begin(&mut self, head: &[u8]) -> Result<u64> {
        let reason = if self.version == 0 { NONE } else { "what follows its end is no stream" };
        let order = Order::of(head).filter(|order| order.word(head, 0) == kind::BEGIN);
        self.order = order.ok_or(Wrong::Damaged(reason))?;
        self.version = self.order.long(head, 16);
        let dataset = dataset(&head[NAME_AT..]).ok_or(Wrong::Damaged("it names no snapshot"))?;
        let payload_bytes = u64::from(self.order.word(head, 4));
        match self.version & 3 {
            1 => self.stream(head, dataset, payload_bytes),
            2 if self.frame.is_some() => Err(Wrong::Refused("it is a frame in a frame")),
            2 if payload_bytes > 0 => Err(Wrong::Refused(
                "it brings datasets or properties with it, as those of `zfs send` with -R or -p do; remand's hold one dataset alone",
            )),
            2 => {
                (self.expected, self.frame) = (Expected::FrameHead, Some(dataset.to_vec()));
                Ok(0)
            }
            _ => Err(Wrong::Damaged(reason)),
        }
    }

    fn stream(&mut self, head: &[u8], dataset: &[u8], payload_bytes: u64) -> Result<u64> {
        if !matches!(self.order.word(head, 32), 2 | 3) {
            return Err(Wrong::Damaged("it holds neither a file system nor a volume"));
        }
        if self.frame.as_ref().is_some_and(|frame| frame != dataset) {
            return Err(Wrong::Refused("it holds more than one dataset"));
        }
        if self.order.word(head, 36) & CLONE != 0 {
            return Err(Wrong::Refused("it builds on a snapshot that does not come with it"));
        }
        if self.streams > 0 && self.order.long(head, 48) == 0 {
            return Err(Wrong::Refused("it holds more than one whole dataset"));
        }
        if payload_bytes > 0 && !self.has(feature::RESUMING | feature::REDACTED | feature::RAW) {
            return Err(Wrong::Refused("its begin carries values that no feature of it explains"));
        }
        self.expected = Expected::InStream;
        self.streams += 1;
        possible(payload_bytes)
    }

    /// A record within a stream.
    fn content(&mut self, head: &[u8]) -> Result<u64> {
        let order = self.order;
        let explained = match order.word(head, 0) {
            kind::BEGIN => return Err(Wrong::Damaged("its records have no order")),
            kind::WRITE_BY_REFERENCE => {
                return Err(Wrong::Refused("it copies from other snapshots, as `zfs send -D` does"));
            }
            kind::OBJECT => order.word(head, 36) == 0 || self.has(feature::RAW),
            kind::WRITE => head[50] == 0 || self.has(feature::RAW | feature::COMPRESSED),
            kind::SPILL => order.long(head, 40) == 0 || self.has(feature::RAW),
            _ => true,
        };
        if !explained {
            return Err(Wrong::Refused("a record of it has a size that no feature of it explains"));
        }
        if is_end(order, head) {
            self.expected = if self.frame.is_some() { Expected::InFrame } else { Expected::Begin };
        }
        let bytes = order.payload_bytes(head).ok_or(Wrong::Damaged("it has a record of no known kind"))?;
        possible(bytes)
    }

    fn has(&self, features: u64) -> bool {
        self.version & features != 0
    }
}

fn is_end(order: Order, head: &[u8]) -> bool {
    order.word(head, 0) == kind::END
}

fn possible(payload_bytes: u64) -> Result<u64> {
    match payload_bytes {
        ..=MAX_PAYLOAD_BYTES => Ok(payload_bytes),
        _ => Err(Wrong::Damaged("a record is longer than any can be")),
    }
}

/// The dataset of a snapshot's full name; `None` where that is none.
fn dataset(name: &[u8]) -> Option<&[u8]> {
    let name = &name[..name.iter().position(|byte| *byte == 0)?];
    let at = name.iter().position(|byte| *byte == b'@')?;
    let (dataset, snapshot) = (&name[..at], &name[at + 1..]);
    let fits =
        !dataset.is_empty() && !snapshot.is_empty() && !snapshot.iter().any(|byte| b"@/".contains(byte));
    fits.then_some(dataset)
}

/// Streams that lie behind one another, on their way. What is wrong with one fails a read, with an error of kind `InvalidData` that
/// holds the [`Wrong`]; a read that failed fails again.
pub(crate) struct Relay<'a> {
    source: &'a mut dyn Read,
    follower: Follower,
    buffer: Vec<u8>,
    /// Of the buffer: what was handed on, what was looked at, and what was read.
    given: usize,
    checked: usize,
    filled: usize,
    /// Of the last record's payload: what is still to come.
    payload_bytes: u64,
    wrong: Option<Wrong>,
}

impl<'a> Relay<'a> {
    pub(crate) fn new(source: &'a mut dyn Read) -> Self {
        let (expected, order, frame) = (Expected::Begin, Order::Little, None);
        let follower = Follower { expected, order, frame, version: 0, streams: 0 };
        let (given, checked, filled) = (0, 0, 0);
        let (buffer, payload_bytes) = (vec![0; BUFFER_BYTES], 0);
        Self { source, follower, buffer, given, checked, filled, payload_bytes, wrong: None }
    }

    /// Reads more, behind the part of a record that is still there. False at the end.
    fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.checked..self.filled, 0);
        self.filled -= self.checked;
        (self.given, self.checked) = (0, 0);
        let count = self.source.read(&mut self.buffer[self.filled..])?;
        self.filled += count;
        if count == 0 {
            let between = self.follower.expected == Expected::Begin && self.payload_bytes == 0;
            if !between || self.filled > 0 {
                let begun = self.follower.version != 0;
                self.wrong = Some(Wrong::Damaged(if begun { "it ends within a stream" } else { NONE }));
            }
        }
        Ok(count > 0)
    }

    /// Looks at the records that were read whole.
    fn check(&mut self) {
        loop {
            let have = self.filled - self.checked;
            let skipped = usize::try_from(self.payload_bytes).unwrap_or(usize::MAX).min(have);
            self.payload_bytes -= skipped as u64;
            self.checked += skipped;
            let Some(head) = self.buffer[self.checked..self.filled].get(..RECORD_BYTES) else { return };
            match self.follower.record(head) {
                Ok(payload_bytes) => self.payload_bytes = payload_bytes,
                Err(wrong) => {
                    self.wrong = Some(wrong);
                    return;
                }
            }
            self.checked += RECORD_BYTES;
        }
    }
}

impl Read for Relay<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.checked && !buffer.is_empty() {
            if let Some(wrong) = self.wrong {
                return Err(io::Error::new(io::ErrorKind::InvalidData, wrong));
            }
            match self.fill()? {
                true => self.check(),
                false if self.wrong.is_none() => return Ok(0),
                false => {}
            }
        }
        let count = (&self.buffer[self.given..self.checked]).read(buffer)?;
        self.given += count;
        Ok(count)
    }
}

#[cfg(test)]
#[path = "relay/tests.rs"]
mod tests;
