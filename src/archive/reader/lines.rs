//! Lines of an index that may be damaged: those that can be understood wait in a file without a name.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};

use crate::archive::bounds::MAX_LINE_BYTES;
use crate::archive::index::{Parsed, parse};
use crate::archive::{Error, Result};

/// Takes an index apart.
pub(super) struct Collector {
    file: BufWriter<File>,
    /// The beginning of a line, and whether a checksum vouches for it.
    partial: Vec<u8>,
    sure: bool,
    /// Lines that were understood, and those that were not.
    pub(super) known: u64,
    pub(super) broken: u64,
    /// Whether it is an index, and not something that looks like one.
    pub(super) confirmed: bool,
}

impl Collector {
    pub(super) fn new() -> io::Result<Self> {
        let file = BufWriter::new(tempfile::tempfile_in(std::env::temp_dir())?);
        Ok(Self { file, partial: Vec::new(), sure: true, known: 0, broken: 0, confirmed: false })
    }

    /// The next bytes. `sure`: a checksum vouches for them.
    pub(super) fn feed(&mut self, mut bytes: &[u8], sure: bool) -> io::Result<()> {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            self.sure &= sure;
            if self.partial.is_empty() {
                self.line(line)?;
            } else {
                self.partial.extend_from_slice(line);
                let line = std::mem::take(&mut self.partial);
                self.line(&line)?;
            }
            self.sure = true;
        }
        self.sure &= sure || bytes.is_empty();
        // What is longer than any line is none.
        if self.partial.len() as u64 <= MAX_LINE_BYTES {
            self.partial.extend_from_slice(bytes);
        }
        Ok(())
    }

    /// Something is missing here.
    pub(super) fn gap(&mut self) {
        self.broken += u64::from(self.confirmed);
        self.partial.clear();
        self.sure = true;
    }

    /// What was fed since the last time was no index, unless that is known.
    pub(super) fn discard(&mut self) -> io::Result<()> {
        if self.confirmed {
            return Ok(());
        }
        self.partial.clear();
        (self.broken, self.sure) = (0, true);
        if self.known == 0 {
            return Ok(());
        }
        self.file.flush()?;
        let file = self.file.get_mut();
        file.set_len(0)?;
        file.seek(SeekFrom::Start(0))?;
        self.known = 0;
        Ok(())
    }

    fn line(&mut self, line: &[u8]) -> io::Result<()> {
        // What fills the last block up comes before what follows it.
        let begin = line.iter().position(|byte| *byte != 0).unwrap_or(line.len());
        let line = &line[begin..];
        if !line.starts_with(b"{\"") || parse(line).is_err() {
            self.broken += u64::from(self.confirmed);
            return Ok(());
        }
        self.known += 1;
        self.file.write_all(&[u8::from(self.sure)])?;
        self.file.write_all(line)
    }

    /// All lines that were understood.
    pub(super) fn finish(mut self) -> Result<Lines> {
        if self.confirmed && self.partial.iter().any(|byte| *byte != 0) {
            self.broken += 1;
        }
        let file = self.file.into_inner().map_err(|error| failed(error.into_error()))?;
        Ok(Lines { file, known: self.known, broken: self.broken })
    }
}

/// Lines of an index.
pub(super) struct Lines {
    file: File,
    pub(super) known: u64,
    pub(super) broken: u64,
}

/// One line.
pub(super) struct Raw {
    pub(super) parsed: Parsed,
    pub(super) json: Vec<u8>,
    /// Whether a checksum of the compression vouches for it.
    pub(super) sure: bool,
}

impl Lines {
    /// Begins with the first one.
    pub(super) fn read(&self) -> Result<LinesReader> {
        let mut file = self.file.try_clone().map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        Ok(LinesReader(BufReader::new(file)))
    }
}

/// Reads lines; one at a time, since all of them share a place in the file.
pub(super) struct LinesReader(BufReader<File>);

impl LinesReader {
    /// The next line; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Raw>> {
        let mut sure = [0];
        if self.0.read(&mut sure).map_err(failed)? == 0 {
            return Ok(None);
        }
        let mut json = Vec::new();
        self.0.read_until(b'\n', &mut json).map_err(failed)?;
        let parsed = parse(&json).map_err(|wrong| wrong.about("a line of its index"))?;
        Ok(Some(Raw { parsed, json, sure: sure == [1] }))
    }
}

pub(super) fn failed(source: io::Error) -> Error {
    let subject = format!("a temporary file in {}", std::env::temp_dir().display());
    Error::Io { action: "use", subject, source }
}

#[cfg(test)]
mod tests;
