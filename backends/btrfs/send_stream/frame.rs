//! What streams are made of: their begin, and commands whose attributes nobody has looked at. For those who read commands, and for
//! those who pass them on. A [`Frame`] has the right checksum: reading one with another is an error.

use super::attributes::{self as kind, Attributes};
use super::crc::crc32c;
use super::{Command, Malformed};
use std::io::{self, Read};

const MAGIC: &[u8; 13] = b"btrfs-stream\0";
pub(in crate::btrfs) const BEGIN_BYTES: usize = MAGIC.len() + 4;
pub(in crate::btrfs) const HEAD_BYTES: usize = 10;
const NEWEST_VERSION: u32 = 3;
/// No command of the kernel's comes near it: 64 KiB in version 1, 144 KiB later.
const LONGEST_BYTES: u32 = 4 << 20;

/// Why there is no frame.
#[derive(Debug)]
pub(in crate::btrfs) enum Failure {
    /// The source failed.
    Read(io::Error),
    /// It is none.
    Malformed(Malformed),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// Reads the begin of a stream, and tells its version; `None` where the source has ended.
pub(in crate::btrfs) fn read_begin(source: &mut (impl Read + ?Sized)) -> Result<Option<u32>, Failure> {
    let mut begin = [0; BEGIN_BYTES];
    let read = fill(source, &mut begin)?;
    if read == 0 {
        return Ok(None);
    }
    let (magic, version) = begin.split_at(MAGIC.len());
    let magic_read = read.min(MAGIC.len());
    if magic[..magic_read] != MAGIC[..magic_read] {
        return Err(Malformed::NoStream.into());
    }
    if read < begin.len() {
        return Err(Malformed::Truncated.into());
    }
    let version = version.iter().rev().fold(0, |version, &byte| version << 8 | u32::from(byte));
    if (1..=NEWEST_VERSION).contains(&version) {
        Ok(Some(version))
    } else {
        Err(Malformed::Version(version).into())
    }
}

/// The begin of a stream.
pub(in crate::btrfs) fn begin(version: u32) -> Vec<u8> {
    [&MAGIC[..], &version.to_le_bytes()].concat()
}

/// A command: its number and its attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::btrfs) struct Frame {
    pub(in crate::btrfs) number: u16,
    body: Vec<u8>,
    crc: u32,
}

impl Frame {
    /// A command of these attributes, in the form that they have in a stream.
    pub(in crate::btrfs) fn new(number: u16, body: Vec<u8>) -> Self {
        let mut frame = Self { number, body, crc: 0 };
        frame.crc = frame.sum();
        frame
    }

    fn length(&self) -> [u8; 4] {
        u32::try_from(self.body.len()).expect("it was read, or made of what was").to_le_bytes()
    }

    fn sum(&self) -> u32 {
        let mut head = [0; HEAD_BYTES];
        head[..4].copy_from_slice(&self.length());
        head[4..6].copy_from_slice(&self.number.to_le_bytes());
        crc32c(crc32c(0, &head), &self.body)
    }

    /// How much of a stream it is.
    pub(in crate::btrfs) fn bytes(&self) -> usize {
        HEAD_BYTES + self.body.len()
    }

    /// Becomes the next one of the source. After an error it is of no use.
    pub(in crate::btrfs) fn read(&mut self, source: &mut (impl Read + ?Sized)) -> Result<(), Failure> {
        let mut head = [0; HEAD_BYTES];
        if fill(source, &mut head)? < head.len() {
            return Err(Malformed::Truncated.into());
        }
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
        let length = word(0);
        if length > LONGEST_BYTES {
            return Err(Malformed::TooLong(length).into());
        }
        self.number = u16::from_le_bytes([head[4], head[5]]);
        self.crc = word(6);
        self.body.resize(length as usize, 0);
        if fill(source, &mut self.body)? < self.body.len() {
            return Err(Malformed::Truncated.into());
        }
        if self.sum() == self.crc { Ok(()) } else { Err(Malformed::Checksum.into()) }
    }

    /// Appends it as it is in a stream.
    pub(in crate::btrfs) fn write(&self, target: &mut Vec<u8>) {
        target.extend(self.length());
        target.extend(self.number.to_le_bytes());
        target.extend(self.crc.to_le_bytes());
        target.extend(&self.body);
    }

    /// What it says, in a stream of this version.
    pub(in crate::btrfs) fn command(&self, version: u32) -> Result<Command<'_>, Malformed> {
        Command::read(version, self.number, &Attributes::read(version, &self.body)?)
    }

    /// The same with another value of an attribute.
    pub(in crate::btrfs) fn with(&self, version: u32, kind: u16, value: &[u8]) -> Result<Self, Malformed> {
        let mut body = Vec::with_capacity(self.body.len() + value.len());
        for field in fields(version, &self.body) {
            let (found, old) = field?;
            put(version, (found, if found == kind { value } else { old }), &mut body)?;
        }
        Ok(Self::new(self.number, body))
    }
}

/// The attributes in a command's body, in their order.
pub(super) fn fields(version: u32, body: &[u8]) -> impl Iterator<Item = Result<(u16, &[u8]), Malformed>> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let next = (!rest.is_empty()).then(|| field(version, rest))?;
        rest = next.as_ref().map_or(&[], |(_, _, rest)| rest);
        Some(next.map(|(kind, value, _)| (kind, value)))
    })
}

fn field(version: u32, body: &[u8]) -> Result<(u16, &[u8], &[u8]), Malformed> {
    let (kind, rest) = number(body).ok_or(Malformed::Truncated)?;
    if takes_the_rest(version, kind) {
        return Ok((kind, rest, &[]));
    }
    let (bytes, rest) = number(rest).ok_or(Malformed::CutShort(kind))?;
    let (value, rest) = rest.split_at_checked(usize::from(bytes)).ok_or(Malformed::CutShort(kind))?;
    Ok((kind, value, rest))
}

/// Appends an attribute to a command's body.
pub(super) fn put(version: u32, (kind, value): (u16, &[u8]), body: &mut Vec<u8>) -> Result<(), Malformed> {
    body.extend(kind.to_le_bytes());
    if !takes_the_rest(version, kind) {
        body.extend(u16::try_from(value.len()).map_err(|_| Malformed::Value(kind))?.to_le_bytes());
    }
    body.extend(value);
    Ok(())
}

fn takes_the_rest(version: u32, kind: u16) -> bool {
    kind == kind::DATA && version >= 2
}

fn number(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u16::from_le_bytes(*number), rest))
}

/// Reads until `buffer` is full or the source ends; how much there was.
fn fill(source: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match source.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
