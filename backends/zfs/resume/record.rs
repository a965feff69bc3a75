//! One record of a stream and its checksum, in the byte order of most hosts.

use super::Point;
use crate::zfs::record::{Order, RECORD_BYTES, feature, kind};
use std::io;

/// Where in a record its checksum lies: four words, at its end.
pub(super) const CHECKSUM_AT: usize = RECORD_BYTES - 32;

/// Fletcher-4 as streams use it: over 32-bit words, running over all of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum([u64; 4]);

impl Sum {
    /// `bytes` is a multiple of 4 long, as all parts of a stream are.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let [mut a, mut b, mut c, mut d] = self.0;
        for word in bytes.chunks_exact(4) {
            a = a.wrapping_add(u64::from(u32::from_le_bytes([word[0], word[1], word[2], word[3]])));
            b = b.wrapping_add(a);
            c = c.wrapping_add(b);
            d = d.wrapping_add(c);
        }
        self.0 = [a, b, c, d];
    }

    pub(super) fn at(bytes: &[u8], at: usize) -> Self {
        Self([0, 8, 16, 24].map(|word| long(bytes, at + word)))
    }

    pub(super) fn put(self, bytes: &mut [u8], at: usize) {
        for (word, value) in self.0.into_iter().enumerate() {
            bytes[at + word * 8..at + word * 8 + 8].copy_from_slice(&value.to_le_bytes());
        }
    }
}

pub(super) fn long(bytes: &[u8], at: usize) -> u64 {
    Order::Little.long(bytes, at)
}

/// A record and what follows it.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) head: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

impl Record {
    pub(super) fn kind(&self) -> u32 {
        Order::Little.word(&self.head, 0)
    }

    /// The object that the record is about.
    pub(super) fn object(&self) -> u64 {
        long(&self.head, 8)
    }

    /// Where in the object, of one that writes or frees.
    pub(super) fn offset(&self) -> u64 {
        long(&self.head, if self.kind() == kind::WRITE { 24 } else { 16 })
    }
}

/// A BEGIN record that says where to go on.
pub(super) fn resuming(mut begin: Record, point: Point) -> io::Result<Record> {
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
    let version = long(&begin.head, 16) | feature::RESUMING;
    begin.head[16..24].copy_from_slice(&version.to_le_bytes());
    Ok(begin)
}

pub(super) fn damaged(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the stream cannot be continued: {reason}"))
}
