//! A send stream on its way: what it calls its snapshot, and what it builds on.
//!
//! A stream is a header and commands; a command is its length, kind and checksum, and attributes of a kind and length each. Every
//! stream makes one subvolume: its first command names it (with its identity, and that of the one that it builds on), and its
//! last one ends it. Several lie behind one another.
//!
//! What comes from outside gets the names that we choose, and refers to the subvolumes that came with it alone: not to
//! what else this host has, whose files it could copy otherwise.

use remand_sys::btrfs::Uuid;
use std::collections::BTreeMap;
use std::io::{self, Read};

const MAGIC: &[u8] = b"btrfs-stream\0";
const HEAD_BYTES: usize = MAGIC.len() + 4;
const COMMAND_HEAD_BYTES: usize = 10;
/// The kernel's own are of some 64 or 150 KiB.
const MOST_COMMAND_BYTES: usize = 4 << 20;
/// The newest version that is known.
const NEWEST: u32 = 3;

const SUBVOL: u16 = 1;
const SNAPSHOT: u16 = 2;
const CLONE: u16 = 16;
const END: u16 = 21;
const UUID: u16 = 1;
const PATH: u16 = 15;
const CLONE_UUID: u16 = 20;

/// What is wrong with a stream, or how reading it failed.
#[derive(Debug)]
pub(super) enum Wrong {
    /// It is none, or one that is refused.
    Stream(&'static str),
    /// It could not be read.
    Source(io::Error),
}

type Result<T> = std::result::Result<T, Wrong>;

const SHORT: Wrong = Wrong::Stream("it ends early");
const MALFORMED: Wrong = Wrong::Stream("it has a malformed command");

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Command {
    kind: u16,
    checksum: u32,
    body: Vec<u8>,
}

impl Command {
    fn read(source: &mut dyn Read) -> Result<Self> {
        let mut head = [0; COMMAND_HEAD_BYTES];
        fill(source, &mut head)?;
        let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|byte| head[at + byte]));
        let length = word(0) as usize;
        if length > MOST_COMMAND_BYTES {
            return Err(Wrong::Stream("it has a command of more than 4 MiB"));
        }
        let mut body = vec![0; length];
        fill(source, &mut body)?;
        Ok(Self { kind: u16::from_le_bytes([head[4], head[5]]), checksum: word(6), body })
    }

    fn write(&self, target: &mut Vec<u8>) {
        let length = u32::try_from(self.body.len()).expect("it was read so, or holds a name");
        target.extend(length.to_le_bytes());
        target.extend(self.kind.to_le_bytes());
        target.extend(self.checksum.to_le_bytes());
        target.extend(&self.body);
    }

    /// What its checksum must be.
    fn sum(&self) -> u32 {
        let mut bytes = Vec::with_capacity(COMMAND_HEAD_BYTES + self.body.len());
        Self { checksum: 0, ..self.clone() }.write(&mut bytes);
        crc32c(&bytes)
    }

    fn attributes(&self) -> Result<Vec<(u16, &[u8])>> {
        let mut found = Vec::new();
        let mut rest = &self.body[..];
        while !rest.is_empty() {
            let (head, behind) = rest.split_at_checked(4).ok_or(MALFORMED)?;
            let length = usize::from(u16::from_le_bytes([head[2], head[3]]));
            let (value, behind) = behind.split_at_checked(length).ok_or(MALFORMED)?;
            found.push((u16::from_le_bytes([head[0], head[1]]), value));
            rest = behind;
        }
        Ok(found)
    }

    fn attribute(&self, kind: u16) -> Result<Option<&[u8]>> {
        let mut found = self.attributes()?.into_iter().filter(|(found, _)| *found == kind);
        match (found.next(), found.next()) {
            (Some((_, value)), None) => Ok(Some(value)),
            (None, _) => Ok(None),
            _ => Err(MALFORMED),
        }
    }

    fn uuid(&self, kind: u16) -> Result<Option<Uuid>> {
        self.attribute(kind)?.map(|value| value.try_into().map_err(|_| MALFORMED)).transpose()
    }

    /// The same with another value of an attribute. What was damaged on its way must not get a good checksum by that.
    fn with(&self, kind: u16, value: &[u8]) -> Result<Self> {
        if self.sum() != self.checksum {
            return Err(Wrong::Stream("a command's checksum is wrong"));
        }
        let mut body = Vec::with_capacity(self.body.len() + value.len());
        for (found, old) in self.attributes()? {
            let value = if found == kind { value } else { old };
            body.extend(found.to_le_bytes());
            body.extend(u16::try_from(value.len()).map_err(|_| MALFORMED)?.to_le_bytes());
            body.extend(value);
        }
        let mut changed = Self { kind: self.kind, checksum: 0, body };
        changed.checksum = changed.sum();
        Ok(changed)
    }
}

/// The begin of one stream: what it will make.
#[derive(Clone, Debug)]
pub(super) struct Begin {
    head: [u8; HEAD_BYTES],
    command: Command,
    /// What the stream calls its subvolume.
    pub(super) name: Vec<u8>,
    /// The subvolume's identity where it was made.
    pub(super) uuid: Uuid,
}

impl Begin {
    /// Reads the begin of the next stream; `None` where there is no more.
    pub(super) fn read(source: &mut dyn Read) -> Result<Option<Self>> {
        let mut head = [0; HEAD_BYTES];
        match read_most(source, &mut head).map_err(Wrong::Source)? {
            0 => return Ok(None),
            HEAD_BYTES if head.starts_with(MAGIC) => {}
            _ => return Err(Wrong::Stream("it does not begin as btrfs streams do")),
        }
        let version = u32::from_le_bytes(std::array::from_fn(|byte| head[MAGIC.len() + byte]));
        if !(1..=NEWEST).contains(&version) {
            return Err(Wrong::Stream("its version is not known"));
        }
        let command = Command::read(source)?;
        if !matches!(command.kind, SUBVOL | SNAPSHOT) {
            return Err(Wrong::Stream("it does not begin with a subvolume"));
        }
        let name = command.attribute(PATH)?.ok_or(MALFORMED)?.to_vec();
        let uuid = command.uuid(UUID)?.ok_or(MALFORMED)?;
        Ok(Some(Self { head, command, name, uuid }))
    }

    /// The bytes of this begin, with another name.
    fn renamed(&self, name: &[u8]) -> Result<Vec<u8>> {
        let mut bytes = self.head.to_vec();
        self.command.with(PATH, name)?.write(&mut bytes);
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
        Begin::read(&mut self.source)?.ok_or(SHORT)?.renamed(&self.name)
    }
}

impl<R: Read> Read for Renamed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !self.begun {
            let begin = self.begin().map_err(|wrong| match wrong {
                Wrong::Source(error) => error,
                Wrong::Stream(reason) => io::Error::other(format!("btrfs send made no stream: {reason}")),
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

/// One stream of those from outside, from its begin to its end and no further.
pub(super) struct Part<'a> {
    source: &'a mut dyn Read,
    /// What the subvolumes that came before are here, by what they were where they were made.
    known: &'a BTreeMap<Uuid, Uuid>,
    own: Uuid,
    ready: io::Cursor<Vec<u8>>,
    ended: bool,
    wrong: Option<Wrong>,
}

impl<'a> Part<'a> {
    pub(super) fn new(
        begin: &Begin,
        name: &str,
        known: &'a BTreeMap<Uuid, Uuid>,
        source: &'a mut dyn Read,
    ) -> Result<Self> {
        let mut begin = begin.clone();
        if begin.command.kind == SNAPSHOT {
            begin.command = on_known(&begin.command, known, None)?;
        }
        let ready = io::Cursor::new(begin.renamed(name.as_bytes())?);
        Ok(Self { source, known, own: begin.uuid, ready, ended: false, wrong: None })
    }

    fn next(&mut self) -> Result<Vec<u8>> {
        let command = Command::read(self.source)?;
        let command = match command.kind {
            SUBVOL | SNAPSHOT => return Err(Wrong::Stream("it has more than one subvolume")),
            CLONE => on_known(&command, self.known, Some(self.own))?,
            END => {
                self.ended = true;
                command
            }
            _ => command,
        };
        let mut bytes = Vec::with_capacity(COMMAND_HEAD_BYTES + command.body.len());
        command.write(&mut bytes);
        Ok(bytes)
    }

    /// What went wrong with the stream, after a read has failed.
    pub(super) fn wrong(self) -> Option<Wrong> {
        self.wrong
    }
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.ready.read(buffer)?;
            if count > 0 || buffer.is_empty() || (self.ended && self.wrong.is_none()) {
                return Ok(count);
            }
            match self.next() {
                Ok(bytes) => self.ready = io::Cursor::new(bytes),
                Err(wrong) => {
                    self.wrong = Some(wrong);
                    return Err(io::Error::other("the stream is no good"));
                }
            }
        }
    }
}

/// The command with the identity that the subvolume it builds on has here.
fn on_known(command: &Command, known: &BTreeMap<Uuid, Uuid>, own: Option<Uuid>) -> Result<Command> {
    let uuid = command.uuid(CLONE_UUID)?.ok_or(MALFORMED)?;
    if Some(uuid) == own {
        return Ok(command.clone());
    }
    match known.get(&uuid) {
        Some(here) => command.with(CLONE_UUID, here),
        None => Err(Wrong::Stream("it builds on a snapshot that does not come with it")),
    }
}

fn read_most(source: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match source.read(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}

fn fill(source: &mut dyn Read, buffer: &mut [u8]) -> Result<()> {
    match read_most(source, buffer) {
        Ok(count) if count == buffer.len() => Ok(()),
        Ok(_) => Err(SHORT),
        Err(error) => Err(Wrong::Source(error)),
    }
}

/// CRC-32C as btrfs has it: begun with 0, and not inverted at its end.
fn crc32c(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |sum, byte| {
        let mut sum = sum ^ u32::from(*byte);
        for _ in 0..8 {
            sum = if sum & 1 == 0 { sum >> 1 } else { sum >> 1 ^ 0x82F6_3B78 };
        }
        sum
    })
}

#[cfg(test)]
#[path = "relay/tests.rs"]
mod tests;
