//! What a run has handed to a receiver, as digests: a later run goes on with it if its own archive holds the same bytes.
//!
//! A file beside the run's record says for each dataset, at growing offsets of its member, the digest of all bytes up to there. A line
//! is written before the first byte that it covers is handed on, so that every byte that a receiver ever got is covered. A run
//! that goes on copies the lines before it moves the dataset, and adds only what lies beyond them: what an earlier run has handed
//! on stays covered by what that run saw, whoever dies where. The lines lie in the pool that receives, and were written first; where a
//! power cut loses one nonetheless, the receiver refuses to go beyond the last (`verified_bytes`).
//!
//! The first line is the digest of the manifest: names, properties and snapshots of what was received come from there.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::archive::digest::Digest;
use crate::error::{Error, Result};
use crate::run::private;
use crate::tree::Content;

/// From one line to the next: so much is held in memory.
const INTERVAL_BYTES: u64 = 4 << 20;

/// Offset and digest of all bytes before it, growing.
pub(super) type Marks = Vec<(u64, Digest)>;

/// The lines of a dead run, by dataset.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Received {
    manifest: Digest,
    datasets: BTreeMap<String, Marks>,
}

impl Received {
    /// Reads what a run has written. `None` if it has written nothing, or not what is written here.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let failed = |error| Error::io("read", path.display())(error);
        let mut text = Vec::new();
        match private().open(path) {
            Ok(mut file) => file.read_to_end(&mut text).map_err(failed)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        Ok(String::from_utf8(text).ok().and_then(|text| Self::parse(&text)))
    }

    /// A last line without its end was being written: what it covers was not handed on.
    fn parse(text: &str) -> Option<Self> {
        let whole = &text[..=text.rfind('\n')?];
        let mut lines = whole.lines();
        let manifest = lines.next()?.strip_prefix("manifest ")?.parse().ok()?;
        let mut datasets = BTreeMap::<String, Marks>::new();
        for line in lines {
            let mut fields = line.splitn(3, ' ');
            let (offset, digest, name) = (fields.next()?, fields.next()?, fields.next()?);
            let value: u64 = offset.parse().ok()?;
            let digest = digest.parse().ok()?;
            let marks = datasets.entry(name.to_owned()).or_default();
            if name.is_empty() || value.to_string() != offset {
                return None;
            }
            match marks.last() {
                // It is begun anew.
                _ if value == 0 => marks.clear(),
                Some((last, _)) if *last < value => {}
                _ => return None,
            }
            marks.push((value, digest));
        }
        Some(Self { manifest, datasets })
    }

    /// Whether it was written for this manifest.
    pub(super) fn is_of(&self, manifest: Digest) -> bool {
        self.manifest == manifest
    }

    /// Of a dataset, if any of its bytes were handed on.
    pub(super) fn marks(&self, name: &str) -> Option<&Marks> {
        self.datasets.get(name).filter(|marks| marks.last().is_some_and(|(offset, _)| *offset > 0))
    }
}

/// Where a run writes its lines.
#[derive(Debug)]
pub(super) struct Ledger {
    file: File,
    path: String,
    /// What was copied from earlier runs.
    inherited: BTreeMap<String, Marks>,
}

impl Ledger {
    pub(super) fn create(path: &Path, manifest: Digest) -> Result<Self> {
        let shown = path.display().to_string();
        let mut file = private().create_new(true).open(path).map_err(Error::io("create", &shown))?;
        file.write_all(format!("manifest {manifest}\n").as_bytes()).map_err(Error::io("write", &shown))?;
        Ok(Self { file, path: shown, inherited: BTreeMap::new() })
    }

    fn line(&mut self, name: &str, offset: u64, digest: Digest) -> io::Result<()> {
        if name.is_empty() || name.contains('\n') {
            return Err(io::Error::other("a dataset's name is no line"));
        }
        self.file.write_all(format!("{offset} {digest} {name}\n").as_bytes())
    }

    /// Before a dataset is received from its beginning.
    pub(super) fn begin(&mut self, name: &str) -> Result<()> {
        self.inherited.remove(name);
        let written = self.line(name, 0, Digest::of(b""));
        written.map_err(Error::io("write", &self.path))
    }

    /// Before a dataset of another run is moved to this one.
    pub(super) fn inherit(&mut self, name: &str, marks: &Marks) -> Result<()> {
        self.begin(name)?;
        for (offset, digest) in marks.iter().filter(|(offset, _)| *offset > 0) {
            self.line(name, *offset, *digest).map_err(Error::io("write", &self.path))?;
        }
        self.inherited.insert(name.to_owned(), marks.clone());
        Ok(())
    }

    /// It was not moved after all.
    pub(super) fn forget(&mut self, name: &str) {
        let below = format!("{name}/");
        self.inherited.retain(|other, _| other != name && !other.starts_with(&below));
    }

    /// How much of what was moved here is covered.
    pub(super) fn inherited_bytes(&self, name: &str) -> Option<u64> {
        self.inherited.get(name)?.last().map(|(offset, _)| *offset)
    }
}

/// A member's content as a stream, noted and compared before it is handed on. Streams have no holes.
pub(super) struct Guarded<'a> {
    content: &'a mut dyn Content,
    interrupted: &'a AtomicBool,
    ledger: &'a mut Ledger,
    name: &'a str,
    /// What the earlier run has noted, and was not reached yet.
    marks: VecDeque<(u64, Digest)>,
    hasher: blake3::Hasher,
    /// Read of the content.
    offset: u64,
    /// Of the content, beyond `offset`.
    rest: Vec<u8>,
    rest_taken: usize,
    /// Noted, to be handed on.
    ready: Vec<u8>,
    taken: usize,
    ended: bool,
    /// The earlier run has handed on something else.
    pub(super) foreign: bool,
}

impl<'a> Guarded<'a> {
    pub(super) fn new(
        content: &'a mut dyn Content,
        interrupted: &'a AtomicBool,
        ledger: &'a mut Ledger,
        name: &'a str,
    ) -> Self {
        let marks = ledger.inherited.remove(name).unwrap_or_default();
        let marks = marks.into_iter().filter(|(offset, _)| *offset > 0).collect();
        Self {
            content,
            interrupted,
            ledger,
            name,
            marks,
            hasher: blake3::Hasher::new(),
            offset: 0,
            rest: Vec::new(),
            rest_taken: 0,
            ready: Vec::new(),
            taken: 0,
            ended: false,
            foreign: false,
        }
    }

    /// The dataset is received from its beginning.
    pub(super) fn begin(&mut self) -> Result<()> {
        self.marks.clear();
        self.ledger.begin(self.name)
    }

    fn check_interrupt(&self) -> io::Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(io::Error::other("interrupted"));
        }
        Ok(())
    }

    /// Reads up to the next line, compares or writes it, and has it ready.
    fn fill(&mut self) -> io::Result<()> {
        self.ready.clear();
        self.taken = 0;
        let grid = (self.offset / INTERVAL_BYTES + 1) * INTERVAL_BYTES;
        let to = self.marks.front().map_or(grid, |(offset, _)| grid.min(*offset));
        let wanted = usize::try_from(to - self.offset).unwrap_or(usize::MAX);
        while self.ready.len() < wanted {
            self.check_interrupt()?;
            if self.rest_taken == self.rest.len() {
                self.rest.clear();
                self.rest_taken = 0;
                match self.content.next_data()? {
                    Some((_, data)) => self.rest.extend_from_slice(data),
                    None => break,
                }
            }
            let count = (self.rest.len() - self.rest_taken).min(wanted - self.ready.len());
            self.ready.extend_from_slice(&self.rest[self.rest_taken..self.rest_taken + count]);
            self.rest_taken += count;
        }
        self.ended = self.ready.len() < wanted;
        self.hasher.update(&self.ready);
        self.offset += self.ready.len() as u64;
        let noted = self.note();
        if noted.is_err() {
            self.ready.clear();
        }
        noted
    }

    fn note(&mut self) -> io::Result<()> {
        let digest = || Digest::from(self.hasher.finalize());
        match self.marks.front() {
            None if self.ready.is_empty() => Ok(()),
            None => self.ledger.line(self.name, self.offset, digest()),
            Some((offset, _)) if *offset > self.offset && !self.ended => Ok(()),
            Some((offset, noted)) if *offset == self.offset && *noted == digest() => {
                self.marks.pop_front();
                Ok(())
            }
            Some(_) => {
                self.foreign = true;
                // Of a kind for which no receiver keeps anything.
                Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "an interrupted restore of an archive with the same identity has received other content",
                ))
            }
        }
    }
}

impl Read for Guarded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check_interrupt()?;
        if self.foreign {
            return Err(io::ErrorKind::InvalidData.into());
        }
        if self.taken == self.ready.len() && !self.ended {
            self.fill()?;
        }
        let count = buffer.len().min(self.ready.len() - self.taken);
        buffer[..count].copy_from_slice(&self.ready[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
