//! gzip as remand writes it: independent members of about 1 MiB, each with its own length in its header.
//!
//! The header's extra field (RFC 1952, 2.3.1.1) begins with a subfield `R` `M` of four bytes: the length of the whole
//! member, header and trailer included, little-endian. So a reader finds the next member without inflating this one.
//! Empty members have a second subfield with the [table](super::table) of offsets: `R` `T` with a part of it, `R` `E` with its end. In
//! the first member of all, an `R` `T` without data announces it.

use std::io;

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::{CompressionLvl, Compressor, Crc};

use super::table::END_BYTES;

/// Length of a header as written here, up to where another subfield may follow.
pub(super) const HEADER_BYTES: usize = 20;
/// Length of the extra field's first subfield.
const OWN_SUBFIELD_BYTES: usize = 8;
/// A subfield with a part of the table.
const PART: [u8; 2] = *b"RT";
/// A subfield with the table's end.
const END: [u8; 2] = *b"RE";
/// Nothing, deflated.
const EMPTY: [u8; 2] = [3, 0];
/// Length of the member with the table's end.
pub(super) const END_MEMBER_BYTES: usize = HEADER_BYTES + 4 + END_BYTES + EMPTY.len() + TRAILER_BYTES;
/// CRC and length at a member's end.
const TRAILER_BYTES: usize = 8;
/// Most bytes of a member, compressed or not: a manifest, which is the biggest thing that is never cut, with room.
pub(super) const MAX_MEMBER_BYTES: usize = 32 << 20;
/// Longest stored block of deflate.
const STORED_MAX: usize = 0xffff;

/// What every gzip file begins with.
pub(super) const MAGIC: &[u8] = &[0x1f, 0x8b];

/// Compresses members. Reused, because its tables are big.
pub(super) struct Encoder {
    deflate: Compressor,
    /// Room for the longest output so far.
    room: Vec<u8>,
}

impl Encoder {
    /// `level` is 1 to 9.
    pub(super) fn new(level: u32) -> Self {
        let level = i32::try_from(level.clamp(1, 9)).ok().and_then(|level| CompressionLvl::new(level).ok());
        Self { deflate: Compressor::new(level.unwrap_or_default()), room: Vec::new() }
    }

    /// One member with `input`.
    pub(super) fn encode(&mut self, input: &[u8]) -> io::Result<Vec<u8>> {
        if is_noise(input) && !self.shrinks(sample(input))? {
            return stored(input, false);
        }
        let (length, room) = self.deflate(input)?;
        let mut output = Vec::with_capacity(HEADER_BYTES + length + TRAILER_BYTES);
        output.extend_from_slice(&header(0, OWN_SUBFIELD_BYTES));
        output.extend_from_slice(&room[..length]);
        finish(input, &mut output)?;
        Ok(output)
    }

    /// Whether deflating makes it shorter by more than is worth a reader's time.
    fn shrinks(&mut self, input: &[u8]) -> io::Result<bool> {
        Ok(self.deflate(input)?.0 < input.len() - input.len() / 64)
    }

    /// So many bytes of the room are the deflated input.
    fn deflate(&mut self, input: &[u8]) -> io::Result<(usize, &[u8])> {
        let bound = self.deflate.deflate_compress_bound(input.len());
        if self.room.len() < bound {
            self.room.resize(bound, 0);
        }
        let length = self.deflate.deflate_compress(input, &mut self.room).map_err(io::Error::other)?;
        Ok((length, &self.room))
    }
}

/// Whether bytes look as if nothing could make them shorter: encrypted, compressed, random. Repetitions are not looked for.
fn is_noise(input: &[u8]) -> bool {
    /// Shorter ones are compressed in no time.
    const LEAST: usize = 8 << 10;
    /// More bytes than this need not be counted.
    const COUNTED: usize = 64 << 10;
    const PIECE: usize = 64;
    if input.len() < LEAST {
        return false;
    }
    let step = PIECE * (input.len() / COUNTED).max(1);
    let mut counts = [0_u64; 256];
    for piece in input.chunks(step) {
        for &byte in &piece[..piece.len().min(PIECE)] {
            counts[usize::from(byte)] += 1;
        }
    }
    // How likely two of the bytes are the same: 1 in 256 if all values are equally frequent, and the sample's size adds to that. Up to
    // 1 in 64 more of it, which is 0.02 bits a byte, are noise.
    let all: u64 = counts.iter().sum();
    let same: u64 = counts.iter().map(|count| count * count).sum();
    let even = all * all / 256 + all;
    same <= even + even / 64
}

/// Whether as much as a member says to hold can have become as long as this one: deflate makes a byte of 1032 at most, and takes less than
/// one byte more for each thousand that it cannot make shorter.
pub(super) fn can_hold_what_it_says(member: &[u8]) -> bool {
    let body = (member.len().saturating_sub(body_at(member) + TRAILER_BYTES)) as u64;
    let plain = plain_length(member);
    plain <= (MAX_MEMBER_BYTES as u64).min(body.saturating_mul(1032)) && body <= plain + plain / 1000 + 64
}

/// A part of a chunk from its middle, by which repetitions are found.
fn sample(input: &[u8]) -> &[u8] {
    const BYTES: usize = 32 << 10;
    let from = (input.len() / 2).saturating_sub(BYTES / 2);
    &input[from..input.len().min(from + BYTES)]
}

/// One member with `input` in stored blocks: its length depends on the length of `input` alone, so it can be
/// overwritten in place. It may announce a table.
pub(super) fn stored(input: &[u8], announces: bool) -> io::Result<Vec<u8>> {
    let mut output = Vec::with_capacity(input.len() + input.len() / STORED_MAX * 5 + 64);
    let announcement: &[u8] = if announces { b"RT\0\0" } else { b"" };
    output.extend_from_slice(&header(0, OWN_SUBFIELD_BYTES + announcement.len()));
    output.extend_from_slice(announcement);
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

/// An empty member with a part of the table.
pub(super) fn part(data: &[u8]) -> io::Result<Vec<u8>> {
    empty(PART, data)
}

/// The empty member with the end of the table.
pub(super) fn end(data: &[u8; END_BYTES]) -> io::Result<Vec<u8>> {
    empty(END, data)
}

fn empty(id: [u8; 2], data: &[u8]) -> io::Result<Vec<u8>> {
    let length = u16::try_from(data.len()).map_err(io::Error::other)?;
    let mut output = header(0, OWN_SUBFIELD_BYTES + 4 + data.len()).to_vec();
    output.extend_from_slice(&id);
    output.extend_from_slice(&length.to_le_bytes());
    output.extend_from_slice(data);
    output.extend_from_slice(&EMPTY);
    finish(b"", &mut output)?;
    Ok(output)
}

/// What a member holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sort<'a> {
    /// Data; whether it announces a table.
    Data(bool),
    /// A part of the table.
    Part(&'a [u8]),
    /// The table's end.
    End(&'a [u8]),
}

/// What a whole member holds whose header [`member_length`] knows.
pub(super) fn sort(member: &[u8]) -> io::Result<Sort<'_>> {
    let unknown = || damaged("the header of a gzip member has something unknown");
    let extra = member.get(HEADER_BYTES..body_at(member)).ok_or_else(unknown)?;
    let (Some((id, rest)), Some(length)) = (extra.split_first_chunk::<2>(), extra.get(2..4)) else {
        return if extra.is_empty() { Ok(Sort::Data(false)) } else { Err(unknown()) };
    };
    let data = &rest[2..];
    if data.len() != usize::from(u16::from_le_bytes([length[0], length[1]])) {
        return Err(unknown());
    }
    match *id {
        PART if data.is_empty() => Ok(Sort::Data(true)),
        PART | END if empty(*id, data)? != member => {
            Err(damaged("a table of offsets has other data behind it"))
        }
        PART => Ok(Sort::Part(data)),
        END => Ok(Sort::End(data)),
        _ => Err(unknown()),
    }
}

/// Where the header of a member ends.
fn body_at(member: &[u8]) -> usize {
    12 + usize::from(u16::from_le_bytes([member[10], member[11]]))
}

/// `extra` is the length of the extra field.
fn header(length: u32, extra: usize) -> [u8; HEADER_BYTES] {
    // Deflate, extra field; no time; system Unix; the first subfield is 4 bytes.
    let mut header = *b"\x1f\x8b\x08\x04\0\0\0\0\0\x03..RM\x04\0....";
    header[10..12].copy_from_slice(&extra.to_le_bytes()[..2]);
    header[16..].copy_from_slice(&length.to_le_bytes());
    header
}

fn damaged(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Appends the trailer and fills the length in.
fn finish(input: &[u8], output: &mut Vec<u8>) -> io::Result<()> {
    let mut crc = Crc::new();
    crc.update(input);
    output.extend_from_slice(&crc.sum().to_le_bytes());
    output.extend_from_slice(&u32::try_from(input.len()).map_err(io::Error::other)?.to_le_bytes());
    let length = u32::try_from(output.len()).map_err(io::Error::other)?;
    output[16..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Length of the member that begins with `header`, if it was written by remand.
pub(super) fn member_length(header: &[u8; HEADER_BYTES]) -> Option<usize> {
    let length = u32::from_le_bytes(header[16..].try_into().ok()?);
    let extra = usize::from(u16::from_le_bytes([header[10], header[11]]));
    let expected = self::header(length, extra);
    let length = usize::try_from(length).ok()?;
    let least = body_at(header).max(HEADER_BYTES) + TRAILER_BYTES;
    let known = *header == expected && extra >= OWN_SUBFIELD_BYTES;
    (known && (least..=MAX_MEMBER_BYTES).contains(&length)).then_some(length)
}

/// How many bytes a whole member and what is in it take, as it says itself; [`decode`] keeps to that.
pub(super) fn memory(member: &[u8]) -> usize {
    let plain = member.last_chunk().map_or(0, |length| u32::from_le_bytes(*length));
    member.len() + usize::try_from(plain).map_or(MAX_MEMBER_BYTES, |plain| plain.min(MAX_MEMBER_BYTES))
}

/// Whether a header that [`member_length`] does not know is one of remand's, of which hardly anything was changed. Other programs' differ
/// in more: they have no such subfield.
pub(super) fn is_nearly_ours(header: &[u8]) -> bool {
    let ours = self::header(0, 0);
    let fixed = (0..10).chain(12..16);
    let other = fixed.filter(|&at| header.get(at) != ours.get(at)).count();
    header.len() == HEADER_BYTES && other <= 2
}

/// How many bytes a whole member says that it inflates to.
pub(super) fn plain_length(member: &[u8]) -> u64 {
    member.last_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length).into())
}

/// The bytes in a whole member with data, whose header [`member_length`] knows. Not by libdeflate, which is faster: it takes streams that
/// gunzip(1) refuses, in which a code without meaning stands for the only distance there is.
pub(super) fn decode(member: &[u8]) -> io::Result<Vec<u8>> {
    let (body, trailer) = member[body_at(member)..]
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
mod tests;
