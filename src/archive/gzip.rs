//! gzip as remand writes it: independent members of about 1 MiB, each with its own length in its header.
//!
//! The header's extra field (RFC 1952, 2.3.1.1) has one subfield, `R` `M`, of four bytes: the length of the whole
//! member, header and trailer included, little-endian. So a reader finds the next member without inflating this one.

use std::io;

use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

/// Length of a header as written here.
pub(super) const HEADER_BYTES: usize = 20;
/// CRC and length at a member's end.
const TRAILER_BYTES: usize = 8;
/// Most bytes of a member, compressed or not: a manifest, which is the biggest thing that is never cut, with room.
pub(super) const MAX_MEMBER_BYTES: usize = 32 << 20;
/// Longest stored block of deflate.
const STORED_MAX: usize = 0xffff;

/// What every gzip file begins with.
pub(super) const MAGIC: &[u8] = &[0x1f, 0x8b];

/// Compresses members. Reused, because its tables are big.
pub(super) struct Encoder(Compress);

impl Encoder {
    /// `level` is 1 to 9.
    pub(super) fn new(level: u32) -> Self {
        Self(Compress::new(Compression::new(level.clamp(1, 9)), false))
    }

    /// Appends one member with `input` to `output`, which is empty.
    pub(super) fn encode(&mut self, input: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
        self.0.reset();
        output.extend_from_slice(&header(0));
        output.reserve(input.len() / 2 + 1024);
        loop {
            let done = usize::try_from(self.0.total_in()).map_err(io::Error::other)?;
            match self
                .0
                .compress_vec(&input[done..], output, FlushCompress::Finish)
                .map_err(io::Error::other)?
            {
                Status::StreamEnd => break,
                Status::Ok | Status::BufError => output.reserve(output.len() / 2 + 1024),
            }
        }
        finish(input, output)
    }
}

/// One member with `input` in stored blocks: its length depends on the length of `input` alone, so it can be
/// overwritten in place.
pub(super) fn stored(input: &[u8]) -> io::Result<Vec<u8>> {
    let mut output = Vec::with_capacity(input.len() + input.len() / STORED_MAX * 5 + 64);
    output.extend_from_slice(&header(0));
    let mut rest = input;
    loop {
        let (block, after) = rest.split_at(rest.len().min(STORED_MAX));
        rest = after;
        let length = u16::try_from(block.len()).map_err(io::Error::other)?;
        output.push(u8::from(rest.is_empty()));
        output.extend_from_slice(&length.to_le_bytes());
        output.extend_from_slice(&(!length).to_le_bytes());
        output.extend_from_slice(block);
        if rest.is_empty() {
            break;
        }
    }
    finish(input, &mut output)?;
    Ok(output)
}

fn header(length: u32) -> [u8; HEADER_BYTES] {
    // Deflate, extra field; no time; system Unix; the extra field is 8 bytes, its only subfield 4.
    let mut header = *b"\x1f\x8b\x08\x04\0\0\0\0\0\x03\x08\0RM\x04\0....";
    header[16..].copy_from_slice(&length.to_le_bytes());
    header
}

/// Appends the trailer and fills the length in.
fn finish(input: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    let mut crc = Crc::new();
    crc.update(input);
    output.extend_from_slice(&crc.sum().to_le_bytes());
    output.extend_from_slice(&crc.amount().to_le_bytes());
    let length = u32::try_from(output.len()).map_err(io::Error::other)?;
    output[16..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Length of the member that begins with `header`, if it was written by remand.
pub(super) fn member_length(header: &[u8; HEADER_BYTES]) -> Option<usize> {
    let mut expected = self::header(0);
    let length = u32::from_le_bytes(header[16..].try_into().ok()?);
    expected[16..].copy_from_slice(&header[16..]);
    let length = usize::try_from(length).ok()?;
    (*header == expected && (HEADER_BYTES + TRAILER_BYTES..=MAX_MEMBER_BYTES).contains(&length))
        .then_some(length)
}

/// The bytes in a whole member whose header [`member_length`] knows.
pub(super) fn decode(member: &[u8]) -> io::Result<Vec<u8>> {
    let damaged = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let (body, trailer) = member[HEADER_BYTES..]
        .split_last_chunk::<TRAILER_BYTES>()
        .ok_or_else(|| damaged("a gzip member is too short"))?;
    let (crc, length) = trailer.split_at(4);
    let length = u32::from_le_bytes(length.try_into().map_err(io::Error::other)?);
    let length = usize::try_from(length).map_err(io::Error::other)?;
    if length > MAX_MEMBER_BYTES {
        return Err(damaged("a gzip member is too big"));
    }
    // One byte more than it should have, so that too many are noticed.
    let mut output = Vec::with_capacity(length + 1);
    let mut inflate = Decompress::new(false);
    let status = inflate
        .decompress_vec(body, &mut output, FlushDecompress::Finish)
        .map_err(|_| damaged("a gzip member is not deflated data"))?;
    if status != Status::StreamEnd || inflate.total_in() != body.len() as u64 || output.len() != length {
        return Err(damaged("a gzip member has the wrong length"));
    }
    let mut sum = Crc::new();
    sum.update(&output);
    if sum.sum().to_le_bytes() != crc {
        return Err(damaged("a gzip member's checksum is wrong"));
    }
    Ok(output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn samples() -> Vec<Vec<u8>> {
        let noise = crate::archive::testing::noise(1_000_000);
        vec![vec![], vec![1], vec![0; 1 << 20], noise, vec![7; STORED_MAX], vec![7; STORED_MAX + 1]]
    }

    #[test]
    fn members_and_back() {
        let mut encoder = Encoder::new(6);
        for sample in samples() {
            let mut compressed = Vec::new();
            encoder.encode(&sample, &mut compressed).unwrap();
            for member in [compressed, stored(&sample).unwrap()] {
                assert_eq!(member_length(member[..HEADER_BYTES].try_into().unwrap()), Some(member.len()));
                assert!(decode(&member).unwrap() == sample);
                let mut inflated = Vec::new();
                flate2::read::GzDecoder::new(&member[..]).read_to_end(&mut inflated).unwrap();
                assert!(inflated == sample);
            }
        }
    }

    #[test]
    fn stored_length_depends_on_the_input_length_alone() {
        assert_eq!(stored(&vec![0; 100_000]).unwrap().len(), stored(&vec![9; 100_000]).unwrap().len());
    }

    #[test]
    fn each_flipped_bit_is_noticed() {
        let mut member = Vec::new();
        Encoder::new(6).encode(b"some text, some text", &mut member).unwrap();
        for bit in 0..member.len() * 8 {
            let mut bad = member.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let length = member_length(bad[..HEADER_BYTES].try_into().unwrap());
            assert!(length != Some(bad.len()) || decode(&bad).is_err(), "bit {bit}");
        }
    }
}
