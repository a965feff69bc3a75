//! zstd as remand writes it: independent frames of about 1 MiB, with content size and checksum.

use std::io;

use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// What every zstd frame begins with.
pub(super) const MAGIC: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Longest block of a frame.
const BLOCK_MAX: usize = 128 << 10;

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

    /// Writes one frame with `input` to `output`, which is empty.
    pub(super) fn encode(&mut self, input: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
        output.reserve(zstd::zstd_safe::compress_bound(input.len()));
        self.0.compress_to_buffer(input, output)?;
        Ok(())
    }
}

/// One frame with `input` in raw blocks and no checksum: its length depends on the length of `input` alone, so it can
/// be overwritten in place (RFC 8878, 3.1.1).
pub(super) fn stored(input: &[u8]) -> io::Result<Vec<u8>> {
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
            return Ok(output);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_and_back() {
        let mut encoder = Encoder::new(3).unwrap();
        let noise = crate::archive::testing::noise(1_000_000);
        for sample in [vec![], vec![1], vec![0; 1 << 20], noise, vec![5; BLOCK_MAX], vec![5; BLOCK_MAX + 1]] {
            let mut frame = Vec::new();
            encoder.encode(&sample, &mut frame).unwrap();
            assert!(zstd::decode_all(&frame[..]).unwrap() == sample);
            assert!(zstd::decode_all(&stored(&sample).unwrap()[..]).unwrap() == sample);
        }
        assert_eq!(stored(&vec![0; 300_000]).unwrap().len(), stored(&vec![9; 300_000]).unwrap().len());
    }
}
