//! The stream that `btrfs send` writes, as commands.
//!
//! ```text
//! stream    "btrfs-stream\0"  version: u32  command…          until the command `end`; another stream may follow
//! command   bytes: u32  command: u16  crc: u32  attribute…    bytes: of the attributes
//! attribute type: u16  bytes: u16  value                      from version 2 on DATA is last and has no bytes: it takes the rest
//! ```
//!
//! All numbers are little-endian. The CRC is over the whole command with zeros in its place. Read are versions 1 to 3. Nothing is
//! believed: a command too many, too long, cut short or damaged is an error that tells where. One command is held in
//! memory at a time.

mod attributes;
mod command;
mod crc;
#[cfg(test)]
mod encode;
mod namespace;
#[cfg(test)]
mod tests;

pub use command::{Command, Time};
pub use namespace::{Base, Inconsistent, Kind, Namespace};

use attributes::Attributes;
use std::io::{self, Read};

const MAGIC: &[u8; 13] = b"btrfs-stream\0";
const NEWEST_VERSION: u32 = 3;
/// No command of the kernel's comes near it: 64 KiB in version 1, 144 KiB later.
const LONGEST_COMMAND_BYTES: u32 = 1 << 20;

/// Why a stream could not be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source failed.
    #[error("Cannot read the send stream")]
    Read(#[source] io::Error),
    /// It is no send stream, or damaged, or of a kind that is not known.
    #[error("The send stream is damaged at byte {offset}: {reason}")]
    Malformed {
        /// Where the header or command begins that is meant.
        offset: u64,
        /// What is wrong there.
        reason: Malformed,
    },
}

/// What is wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It ends where something must follow.
    #[error("it ends in the middle")]
    Truncated,
    /// It does not begin like one.
    #[error("no stream begins so")]
    NoStream,
    /// Of a version that is not known.
    #[error("version {0} is not known")]
    Version(u32),
    /// Longer than any command is.
    #[error("a command of {0} bytes")]
    TooLong(u32),
    /// The CRC is another one.
    #[error("the checksum does not match")]
    Checksum,
    /// Not known in this version.
    #[error("command {0} is not known")]
    Command(u16),
    /// Not known in this version.
    #[error("attribute {0} is not known")]
    Attribute(u16),
    /// An attribute that ends after its command.
    #[error("attribute {0} is cut short")]
    CutShort(u16),
    /// An attribute that a command has twice.
    #[error("attribute {0} comes twice")]
    Twice(u16),
    /// An attribute that the command must have.
    #[error("attribute {0} is missing")]
    Missing(u16),
    /// A value that is no number of that size, or no path.
    #[error("attribute {0} has a value that it cannot have")]
    Value(u16),
}

/// Reads the commands of one stream, or of several behind one another. After an error it is of no more use.
#[derive(Debug)]
pub struct Decoder<R> {
    source: R,
    /// Bytes read.
    offset: u64,
    /// Of the stream that is being read; `None` before one and after its end.
    version: Option<u32>,
    streams: u64,
    /// The command's attributes.
    body: Vec<u8>,
}

impl<R: Read> Decoder<R> {
    /// Begins to read. A source that blocks or makes a system call for every few bytes should be buffered.
    pub fn new(source: R) -> Self {
        Self { source, offset: 0, version: None, streams: 0, body: Vec::new() }
    }

    /// The version of the stream that is being read; `None` before it and after its end.
    pub fn version(&self) -> Option<u32> {
        self.version
    }

    /// The next command; `None` where the input ends after the end of a stream. An input without any stream is an error.
    #[allow(clippy::should_implement_trait)] // what it yields borrows from the decoder
    pub fn next(&mut self) -> Result<Option<Command<'_>>, Error> {
        let version = match self.version {
            Some(version) => version,
            None => match self.stream_header()? {
                Some(version) => version,
                None => return Ok(None),
            },
        };
        let offset = self.offset;
        let at = |reason| Error::Malformed { offset, reason };
        let (mut bytes, mut number, mut crc) = ([0; 4], [0; 2], [0; 4]);
        for field in [&mut bytes[..], &mut number, &mut crc] {
            if self.fill(field)? < field.len() {
                return Err(at(Malformed::Truncated));
            }
        }
        let sums = crc::crc32c(crc::crc32c(crc::crc32c(0, &bytes), &number), &[0; 4]);
        let bytes = u32::from_le_bytes(bytes);
        if bytes > LONGEST_COMMAND_BYTES {
            return Err(at(Malformed::TooLong(bytes)));
        }
        let mut body = std::mem::take(&mut self.body);
        body.resize(bytes as usize, 0);
        let read = self.fill(&mut body);
        self.body = body;
        if read? < self.body.len() {
            return Err(at(Malformed::Truncated));
        }
        if crc::crc32c(sums, &self.body) != u32::from_le_bytes(crc) {
            return Err(at(Malformed::Checksum));
        }
        let attributes = Attributes::read(version, &self.body).map_err(at)?;
        let command = Command::read(version, u16::from_le_bytes(number), &attributes).map_err(at)?;
        self.version = (command != Command::End).then_some(version);
        Ok(Some(command))
    }

    /// `None` where the input ends in its place, and there was a stream before.
    fn stream_header(&mut self) -> Result<Option<u32>, Error> {
        let offset = self.offset;
        let at = |reason| Error::Malformed { offset, reason };
        let mut header = [0; MAGIC.len() + 4];
        let read = self.fill(&mut header)?;
        if read == 0 && self.streams > 0 {
            return Ok(None);
        }
        let (magic, version) = header.split_at(MAGIC.len());
        let magic_read = read.min(MAGIC.len());
        if magic[..magic_read] != MAGIC[..magic_read] || read == 0 {
            return Err(at(Malformed::NoStream));
        }
        if read < header.len() {
            return Err(at(Malformed::Truncated));
        }
        let version = version.iter().rev().fold(0, |version, &byte| version << 8 | u32::from(byte));
        if !(1..=NEWEST_VERSION).contains(&version) {
            return Err(at(Malformed::Version(version)));
        }
        self.streams += 1;
        self.version = Some(version);
        Ok(self.version)
    }

    /// Reads until `buffer` is full or the input ends; how much there was.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.source.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
        self.offset += filled as u64;
        Ok(filled)
    }
}
