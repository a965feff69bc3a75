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

pub(super) mod attributes;
pub(super) mod command;
mod crc;
#[cfg(test)]
pub(super) mod encode;
pub(super) mod frame;
mod namespace;
#[cfg(test)]
mod tests;

pub use command::{Command, Time};
pub use namespace::{Base, Inconsistent, Kind, Namespace};

use frame::{Failure, Frame};
use std::io::{self, Read};

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
    /// Bytes of what was read whole.
    offset: u64,
    /// Of the stream that is being read; `None` before one and after its end.
    version: Option<u32>,
    streams: u64,
    /// The last command.
    frame: Frame,
}

impl<R: Read> Decoder<R> {
    /// Begins to read. A source that blocks or makes a system call for every few bytes should be buffered.
    pub fn new(source: R) -> Self {
        Self { source, offset: 0, version: None, streams: 0, frame: Frame::default() }
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
            None => match self.begin()? {
                Some(version) => version,
                None => return Ok(None),
            },
        };
        let offset = self.offset;
        self.frame.read(&mut self.source).map_err(|failure| at(offset, failure))?;
        self.offset += self.frame.bytes() as u64;
        let command = self.frame.command(version).map_err(|malformed| at(offset, malformed.into()))?;
        self.version = (command != Command::End).then_some(version);
        Ok(Some(command))
    }

    /// `None` where the input ends in its place, and there was a stream before.
    fn begin(&mut self) -> Result<Option<u32>, Error> {
        let begin = frame::read_begin(&mut self.source).map_err(|failure| at(self.offset, failure))?;
        if begin.is_none() && self.streams == 0 {
            return Err(at(self.offset, Malformed::NoStream.into()));
        }
        if begin.is_some() {
            self.offset += frame::BEGIN_BYTES as u64;
            self.streams += 1;
            self.version = begin;
        }
        Ok(begin)
    }
}

fn at(offset: u64, failure: Failure) -> Error {
    match failure {
        Failure::Read(error) => Error::Read(error),
        Failure::Malformed(reason) => Error::Malformed { offset, reason },
    }
}
