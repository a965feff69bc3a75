//! zstd as remand writes it: independent frames of about 1 MiB, with content size and checksum.
//!
//! The [table](super::table) of offsets is in skippable frames (RFC 8878, 3.1.2) whose data begins with four letters: `RMTP` before a
//! part of it, `RMTE` before its end. A frame with `RMTA` behind the first one announces it.

use std::io;

use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

use super::table::{END_BYTES, PART_BYTES};

/// What every zstd frame begins with.
pub(super) const MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// What the skippable frames written here begin with.
pub(super) const SKIPPABLE: [u8; 4] = [0x5d, 0x2a, 0x4d, 0x18];
/// Length of a skippable frame's header.
pub(super) const SKIPPABLE_HEADER_BYTES: usize = 8;
/// Longest data of a skippable frame that is written here.
pub(super) const MAX_SKIPPABLE_BYTES: usize = 4 + PART_BYTES;
/// Length of the frame with the table's end.
pub(super) const END_FRAME_BYTES: usize = SKIPPABLE_HEADER_BYTES + 4 + END_BYTES;
/// The bit of a frame's descriptor that means nothing, and is 0 wherever remand writes.
pub(super) const UNUSED_BIT: u8 = 0x10;
/// The bit of a frame's descriptor that says that a checksum is at its end.
pub(super) const CHECKSUM_BIT: u8 = 0x04;
/// Longest block of a frame.
const BLOCK_MAX: usize = 128 << 10;

/// What a skippable frame holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Skippable<'a> {
    /// A table will come.
    Announcement,
    /// A part of the table.
    Part(&'a [u8]),
    /// The table's end.
    End(&'a [u8]),
    /// Something of somebody else.
    Other,
}

/// Length of a skippable frame's data, if this is the header of one.
pub(super) fn skippable_length(header: [u8; SKIPPABLE_HEADER_BYTES]) -> Option<u32> {
    let [kind, magic @ .., a, b, c, d] = header;
    (magic == SKIPPABLE[1..] && kind & 0xf0 == 0x50).then_some(u32::from_le_bytes([a, b, c, d]))
}

/// What the data of a skippable frame is.
pub(super) fn skippable(header: [u8; SKIPPABLE_HEADER_BYTES], data: &[u8]) -> Skippable<'_> {
    match data.split_first_chunk::<4>() {
        _ if !header.starts_with(&SKIPPABLE) => Skippable::Other,
        Some((b"RMTA", [])) => Skippable::Announcement,
        Some((b"RMTP", data)) => Skippable::Part(data),
        Some((b"RMTE", data)) => Skippable::End(data),
        _ => Skippable::Other,
    }
}

/// A skippable frame with a part of the table.
pub(super) fn part(data: &[u8]) -> io::Result<Vec<u8>> {
    skippable_frame(*b"RMTP", data)
}

/// The skippable frame with the end of the table.
pub(super) fn end(data: &[u8; END_BYTES]) -> io::Result<Vec<u8>> {
    skippable_frame(*b"RMTE", data)
}

fn skippable_frame(id: [u8; 4], data: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(id.len() + data.len()).map_err(io::Error::other)?;
    Ok([&SKIPPABLE[..], &length.to_le_bytes(), &id, data].concat())
}

/// Compresses frames. Reused, because its tables are big.
pub(super) struct Encoder(Compressor<'static>);

impl Encoder {
    /// `level` is 1 to 19.
    pub(super) fn new(level: u32) -> io::Result<Self> {
        let mut compressor = Compressor::new(i32::try_from(level.clamp(1, 19)).map_err(io::Error::other)?)?;
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        compressor.set_parameter(CParameter::ContentSizeFlag(true))?;
        Ok(Self(compressor))
    }

    /// One frame with `input`.
    pub(super) fn encode(&mut self, input: &[u8]) -> io::Result<Vec<u8>> {
        self.0.compress(input)
    }
}

/// One frame with `input` in raw blocks and no checksum: its length depends on the length of `input` alone, so it can
/// be overwritten in place (RFC 8878, 3.1.1). A second one behind it may announce a table.
pub(super) fn stored(input: &[u8], announces: bool) -> io::Result<Vec<u8>> {
    let size = u32::try_from(input.len()).map_err(io::Error::other)?;
    let mut output = Vec::with_capacity(input.len() + input.len() / BLOCK_MAX * 3 + 32);
    output.extend_from_slice(MAGIC);
    // Content size in four bytes, one segment, no checksum, no dictionary.
    output.push(0b1010_0000);
    output.extend_from_slice(&size.to_le_bytes());
    let mut rest = input;
    loop {
        let (block, after) = rest.split_at(rest.len().min(BLOCK_MAX));
        rest = after;
        let length = u32::try_from(block.len()).map_err(io::Error::other)?;
        // Bit 0 is set in the last block; type 0 (raw) in the next two.
        let header = length << 3 | u32::from(rest.is_empty());
        output.extend_from_slice(&header.to_le_bytes()[..3]);
        output.extend_from_slice(block);
        if rest.is_empty() {
            break;
        }
    }
    if announces {
        output.extend(skippable_frame(*b"RMTA", b"")?);
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_magics_of_skippable_frames_are_such() {
        for kind in 0..=u8::MAX {
            let header = [kind, 0x2a, 0x4d, 0x18, 7, 0, 0, 1];
            let known = (0x50..=0x5f).contains(&kind);
            assert_eq!(skippable_length(header), known.then_some(7 | 1 << 24), "{kind:#x}");
        }
        assert_eq!(skippable_length([0x50, 0x2a, 0x4d, 0x19, 7, 0, 0, 0]), None);
    }

    #[test]
    fn frames_and_back() {
        let mut encoder = Encoder::new(3).unwrap();
        let noise = crate::archive::testing::noise(1_000_000);
        for sample in [vec![], vec![1], vec![0; 1 << 20], noise, vec![5; BLOCK_MAX], vec![5; BLOCK_MAX + 1]] {
            let frame = encoder.encode(&sample).unwrap();
            assert!(zstd::decode_all(&frame[..]).unwrap() == sample);
            for announces in [false, true] {
                assert!(zstd::decode_all(&stored(&sample, announces).unwrap()[..]).unwrap() == sample);
            }
        }
        let length = |byte| stored(&vec![byte; 300_000], true).unwrap().len();
        assert_eq!(length(0), length(9));
    }

    #[test]
    fn skippable_frames_and_back() {
        let (part, end) = (part(b"some").unwrap(), end(&[7; END_BYTES]).unwrap());
        assert_eq!(end.len(), END_FRAME_BYTES);
        let found = |frame: &[u8]| -> String {
            let (header, data) = frame.split_first_chunk().unwrap();
            assert_eq!(skippable_length(*header).unwrap() as usize, data.len());
            format!("{:?}", skippable(*header, data))
        };
        assert_eq!(found(&part), format!("{:?}", Skippable::Part(b"some")));
        assert_eq!(found(&end), format!("{:?}", Skippable::End(&[7; END_BYTES])));
        let mut other = part;
        other[0] = 0x50;
        assert_eq!(found(&other), "Other");
        assert_eq!(skippable_length(*b"\x28\xb5\x2f\xfd\0\0\0\0"), None);
    }
}
