//! The index while the archive is written: lines wait in a temporary file ([`Scratch`]), so memory stays flat and a crash
//! leaves nothing.

use std::io::{self, BufWriter, Read, Write as _};
use std::path::Path;

use super::{Failure, Line, Role, Seal, failure_to_json, line_to_json, seal_to_json};
use crate::archive::bounds::{MAX_NAME_BYTES, is_line_too_big};
use crate::archive::{Error, Result};
use crate::scratch::{Scratch, Written};
use crate::tree::Kind;

/// Lines that were written so far.
pub(in crate::archive) struct Spool {
    file: BufWriter<Scratch>,
    directory: String,
    length: u64,
    entries: u64,
    members: u64,
    bytes: u64,
}

impl Spool {
    /// An empty index, spooled in `directory`; if `secret`, not in plain text.
    pub(in crate::archive) fn new(directory: &Path, secret: bool) -> Result<Self> {
        let name = directory.display().to_string();
        let file = Scratch::new(directory, secret).map_err(|source| io_error("create", &name, source))?;
        let file = BufWriter::with_capacity(64 << 10, file);
        Ok(Self { file, directory: name, length: 0, entries: 0, members: 0, bytes: 0 })
    }

    /// Appends a line.
    pub(in crate::archive) fn push(&mut self, line: &Line) -> Result<()> {
        let json = line_to_json(line);
        let too_big = |what: &str| Error::Source {
            member: line.name.to_string(),
            source: io::Error::new(io::ErrorKind::FileTooLarge, what),
        };
        if line.name.path().as_bytes().len() + 2 > MAX_NAME_BYTES {
            return Err(too_big("its path is too long for an archive"));
        }
        if is_line_too_big(&json) {
            return Err(too_big("its attributes are too big for the index"));
        }
        self.file.write_all(&json).map_err(|source| io_error("write", &self.directory, source))?;
        self.length += json.len() as u64;
        self.entries += 1;
        if let (Role::Member { .. } | Role::Link { .. }, Some(entry)) = (&line.role, &line.entry) {
            self.members += 1;
            self.bytes += member_bytes(&line.role, entry.kind, entry.size);
        }
        Ok(())
    }

    /// Appends that a resource is not whole.
    pub(in crate::archive) fn fail(&mut self, failure: &Failure) -> Result<()> {
        let json = failure_to_json(failure);
        self.file.write_all(&json).map_err(|source| io_error("write", &self.directory, source))?;
        self.length += json.len() as u64;
        Ok(())
    }

    /// Ends the index of an archive with these bytes as its manifest.
    pub(in crate::archive) fn seal(self, manifest: &[u8]) -> Result<Sealed> {
        let Self { file, directory, length, entries, members, bytes } = self;
        let failed = |source| io_error("read back", &directory, source);
        let file = file.into_inner().map_err(|error| failed(error.into_error()))?;
        let mut file = file.finish().map_err(failed)?;
        let mut hasher = blake3::Hasher::new();
        hasher.update(manifest);
        hasher.update_reader(&mut file).map_err(failed)?;
        file.rewind().map_err(failed)?;
        let seal = Seal { entries, members, bytes, digest: hasher.finalize().into() };
        Ok(Sealed { lines: file, lines_bytes: length, last: seal_to_json(&seal), seal, directory })
    }
}

/// Bytes that a member counts in the seal.
pub(in crate::archive) fn member_bytes(role: &Role, kind: Kind, size: u64) -> u64 {
    if kind == Kind::File && matches!(role, Role::Member { .. }) { size } else { 0 }
}

/// A complete index.
pub(in crate::archive) struct Sealed {
    lines: Written,
    lines_bytes: u64,
    pub(in crate::archive) last: Vec<u8>,
    directory: String,
    /// Its last line.
    pub(in crate::archive) seal: Seal,
}

impl Sealed {
    /// Length in bytes.
    pub(in crate::archive) fn size(&self) -> u64 {
        self.lines_bytes + self.last.len() as u64
    }

    /// Hands all of it to `write`, piece by piece.
    pub(in crate::archive) fn copy(mut self, write: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<Seal> {
        let mut buffer = vec![0; 64 << 10];
        let mut left = self.lines_bytes;
        while left > 0 {
            let read = self
                .lines
                .read(&mut buffer)
                .and_then(|read| if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read) })
                .map_err(|source| io_error("read back", &self.directory, source))?;
            write(&buffer[..read])?;
            left -= read as u64;
        }
        write(&self.last)?;
        Ok(self.seal)
    }
}

fn io_error(action: &'static str, directory: &str, source: io::Error) -> Error {
    Error::Io { action, subject: format!("a temporary file in {directory}"), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::{entry, line, name};

    #[test]
    fn a_path_is_as_long_as_a_reader_takes_it_and_no_longer() {
        let mut spool = Spool::new(&std::env::temp_dir(), false).unwrap();
        let path = |length: usize| line("x".repeat(length), entry(Kind::Fifo));
        // A reader's bound is for the name in the archive, which begins with `./`.
        spool.push(&path(MAX_NAME_BYTES - 2)).unwrap();
        let error = spool.push(&path(MAX_NAME_BYTES - 1)).unwrap_err();
        assert!(matches!(error, Error::Source { .. }), "{error}");
    }

    #[test]
    fn only_content_counts_as_bytes() {
        let member = Role::Member { digest: None };
        let link = Role::Link { to: name("root/a") };
        assert_eq!(member_bytes(&member, Kind::File, 5), 5);
        assert_eq!(member_bytes(&link, Kind::File, 5), 0);
        assert_eq!(member_bytes(&member, Kind::Directory, 5), 0);
    }
}
