//! A send stream on its way: what it calls its snapshot, and what it builds on.
//!
//! Every stream makes one subvolume: its first command names it (with its identity, and that of the one that it builds on), and
//! its last one ends it. Several lie behind one another.
//!
//! What comes from outside gets the names that we choose, and refers to the subvolumes that came with it alone: not to
//! what else this host has, whose files it could copy otherwise. Every command is looked at before the receiver gets it: its
//! paths must lie in the subvolume, and what it writes to must be a plain file ([`super::specials`]).

use super::send_stream::attributes::{CLONE_UUID, PATH};
use super::send_stream::command::{SNAPSHOT, SUBVOL};
use super::send_stream::frame::{self, Failure, Frame};
use super::send_stream::{Command, Malformed};
use super::specials::{Specials, Trick};
use crate::Error;
use remand_sys::btrfs::Uuid;
use std::collections::BTreeMap;
use std::io::{self, Read};

/// What is wrong with a stream, or how reading it failed.
#[derive(Debug)]
pub(crate) enum Wrong {
    /// It is none, or damaged.
    Damaged(String),
    /// It is whole, and wants what no stream of ours does.
    Refused(String),
    /// It could not be read.
    Source(io::Error),
}

impl Wrong {
    /// As an error about the dataset that the stream was for.
    pub(super) fn of(self, subject: String) -> Error {
        match self {
            Self::Damaged(reason) => Error::Stream { subject, reason },
            Self::Refused(reason) => Error::Refused { subject, reason },
            Self::Source(source) => Error::io("read the stream for", subject, source),
        }
    }
}

impl From<Malformed> for Wrong {
    fn from(malformed: Malformed) -> Self {
        match malformed {
            Malformed::Version(1..) => Self::Refused(malformed.to_string()),
            _ => Self::Damaged(malformed.to_string()),
        }
    }
}

impl From<Failure> for Wrong {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Read(error) => Self::Source(error),
            Failure::Malformed(malformed) => malformed.into(),
        }
    }
}

type Result<T> = std::result::Result<T, Wrong>;

/// The begin of one stream: what it will make.
#[derive(Clone, Debug)]
pub(crate) struct Begin {
    version: u32,
    first: Frame,
    /// What the stream calls its subvolume.
    pub(super) name: Vec<u8>,
    /// The subvolume's identity where it was made.
    pub(crate) uuid: Uuid,
    /// That of the subvolume that it builds on.
    parent: Option<Uuid>,
}

impl Begin {
    /// Reads the begin of the next stream; `None` where there is no more.
    pub(crate) fn read(source: &mut dyn Read) -> Result<Option<Self>> {
        let Some(version) = frame::read_begin(source)? else { return Ok(None) };
        let mut first = Frame::default();
        first.read(source)?;
        let (name, uuid, parent) = match first.command(version)? {
            Command::Subvol { path, uuid, .. } => (path.to_vec(), uuid, None),
            Command::Snapshot { path, uuid, clone_uuid, .. } => (path.to_vec(), uuid, Some(clone_uuid)),
            _ => return Err(Wrong::Damaged("it does not begin with a subvolume".to_owned())),
        };
        Ok(Some(Self { version, first, name, uuid, parent }))
    }

    /// The bytes of this begin, with another name, and on another subvolume if it is on one.
    fn changed(&self, name: &[u8], parent: Option<&Uuid>) -> Result<Vec<u8>> {
        let mut bytes = frame::begin(self.version);
        let mut first = self.first.with(self.version, PATH, name)?;
        if let Some(parent) = parent {
            first = first.with(self.version, CLONE_UUID, parent)?;
        }
        first.write(&mut bytes);
        Ok(bytes)
    }
}

/// A stream as the kernel makes it, with a name of our choice.
pub(super) struct Renamed<R> {
    source: R,
    name: Vec<u8>,
    begun: bool,
    ready: io::Cursor<Vec<u8>>,
}

impl<R: Read> Renamed<R> {
    pub(super) fn new(source: R, name: &str) -> Self {
        Self { source, name: name.as_bytes().to_vec(), begun: false, ready: io::Cursor::default() }
    }

    fn begin(&mut self) -> Result<Vec<u8>> {
        Begin::read(&mut self.source)?.ok_or(Malformed::Truncated)?.changed(&self.name, None)
    }
}

impl<R: Read> Read for Renamed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.begun {
            let begin = self.begin().map_err(|wrong| match wrong {
                Wrong::Source(error) => error,
                Wrong::Damaged(reason) | Wrong::Refused(reason) => {
                    io::Error::other(format!("btrfs send made no stream: {reason}"))
                }
            })?;
            self.ready = io::Cursor::new(begin);
            self.begun = true;
        }
        match self.ready.read(buffer)? {
            0 => self.source.read(buffer),
            count => Ok(count),
        }
    }
}

/// What is known of a subvolume that came.
#[derive(Debug)]
pub(crate) struct Came {
    /// What it is here.
    pub(crate) here: Uuid,
    pub(crate) specials: Specials,
}

/// Subvolumes that came, by what they were where they were made.
pub(crate) type Known = BTreeMap<Uuid, Came>;

/// One stream of those from outside, from its begin to its end and no further.
pub(crate) struct Part<'a> {
    source: &'a mut dyn Read,
    known: &'a Known,
    specials: Specials,
    own: Uuid,
    version: u32,
    frame: Frame,
    ready: Vec<u8>,
    taken: usize,
    ended: bool,
    wrong: Option<Wrong>,
}

impl<'a> Part<'a> {
    pub(crate) fn new(begin: &Begin, name: &str, known: &'a Known, source: &'a mut dyn Read) -> Result<Self> {
        let parent = begin.parent.map(|uuid| known.get(&uuid).ok_or_else(foreign)).transpose()?;
        let ready = begin.changed(name.as_bytes(), parent.map(|parent| &parent.here))?;
        let specials = parent.map_or_else(Specials::new, |parent| parent.specials.clone());
        let (own, version) = (begin.uuid, begin.version);
        let (frame, taken, ended, wrong) = (Frame::default(), 0, false, None);
        Ok(Self { source, known, specials, own, version, frame, ready, taken, ended, wrong })
    }

    /// Has the next command ready.
    fn next(&mut self) -> Result<()> {
        self.frame.read(self.source)?;
        if matches!(self.frame.number, SUBVOL | SNAPSHOT) {
            return Err(Wrong::Refused("it has more than one subvolume".to_owned()));
        }
        let command = self.frame.command(self.version)?;
        self.specials.apply(&command)?;
        self.ended = command == Command::End;
        if let Command::Clone { source_uuid, source_path, .. } = command {
            let other = (source_uuid != self.own).then(|| self.known.get(&source_uuid).ok_or_else(foreign));
            let other = other.transpose()?;
            other.map_or(&self.specials, |other| &other.specials).plain(source_path, "copies from")?;
            if let Some(other) = other {
                self.frame = self.frame.with(self.version, CLONE_UUID, &other.here)?;
            }
        }
        self.ready.clear();
        self.taken = 0;
        self.frame.write(&mut self.ready);
        Ok(())
    }

    /// After the stream's end: what was made that is no plain file.
    pub(crate) fn specials(self) -> Specials {
        self.specials
    }

    /// What went wrong with the stream, after a read has failed.
    pub(crate) fn wrong(self) -> Option<Wrong> {
        self.wrong
    }
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.ready.len() && !self.ended && self.wrong.is_none() {
            self.wrong = self.next().err();
        }
        if self.wrong.is_some() {
            return Err(io::Error::other("the stream is no good"));
        }
        let count = (&self.ready[self.taken..]).read(buffer)?;
        self.taken += count;
        Ok(count)
    }
}

impl From<Trick> for Wrong {
    fn from(Trick(reason): Trick) -> Self {
        Self::Refused(reason)
    }
}

fn foreign() -> Wrong {
    Wrong::Refused("it builds on a snapshot that does not come with it".to_owned())
}

#[cfg(test)]
#[path = "relay/tests.rs"]
mod tests;
