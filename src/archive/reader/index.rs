//! Reading the index, from a member or from a file.

use std::io::{self, BufRead, Read as _};

use super::Visitor;
use crate::archive::bounds::{MAX_LINE_BYTES, is_line_too_big};
use crate::archive::check::Checker;
use crate::archive::index::{Failure, Parsed, parse};
use crate::archive::{Digest, Error, Line, Result, Seal};
use crate::tree::Content;

/// The end of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sealed {
    pub(super) seal: Seal,
    /// The digest that the seal should have.
    pub(super) digest: Digest,
    /// The bytes of its line, which a signature is of.
    pub(super) line: Vec<u8>,
}

/// What the index has before its seal.
pub(super) enum Item {
    Line(Box<Line>),
    Failure(Failure),
}

/// The index of an archive with `manifest`: hands each item to `take`, and returns its end.
pub(super) fn read_lines(
    lines: &mut dyn BufRead,
    manifest: &[u8],
    take: &mut dyn FnMut(Item) -> Result<()>,
    failed: &dyn Fn(io::Error) -> Error,
) -> Result<Sealed> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(manifest);
    let mut json = Vec::new();
    let mut number = 0_u64;
    loop {
        json.clear();
        number += 1;
        (&mut *lines).take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut json).map_err(failed)?;
        if json.is_empty() {
            return Err(Error::Damaged("it has no seal".to_owned()));
        }
        if json.last() != Some(&b'\n') {
            return Err(Error::Damaged(format!("line {number} of its index has no end")));
        }
        if is_line_too_big(&json) {
            return Err(Error::Refused(format!("line {number} of its index has too many values")));
        }
        let parsed =
            parse(&json).map_err(|wrong| wrong.about(&format!("line {number} of its index is wrong")));
        match parsed? {
            Parsed::Line(line) => {
                hasher.update(&json);
                take(Item::Line(line))?;
            }
            Parsed::Failure(failure) => {
                hasher.update(&json);
                take(Item::Failure(failure))?;
            }
            Parsed::Seal(seal) => {
                if !lines.fill_buf().map_err(failed)?.is_empty() {
                    return Err(Error::Damaged("its index goes on after the seal".to_owned()));
                }
                return Ok(Sealed { seal, digest: hasher.finalize().into(), line: json });
            }
        }
    }
}

/// As [`read_lines`], with the checks of lines that follow their members.
pub(super) fn check_lines(
    lines: &mut dyn BufRead,
    manifest: &[u8],
    checker: &mut Checker,
    take: &mut dyn FnMut(Item) -> Result<()>,
) -> Result<Sealed> {
    let failed = |source| Error::Io { action: "read", subject: "the index".to_owned(), source };
    let mut check = |item: Item| {
        match &item {
            Item::Line(line) => checker.line(line)?,
            Item::Failure(failure) => checker.failure(failure)?,
        }
        take(item)
    };
    let sealed = read_lines(lines, manifest, &mut check, &failed)?;
    checker.seal(&sealed.seal, sealed.digest)?;
    Ok(sealed)
}

impl Item {
    /// Hands it over.
    pub(super) fn give(&self, visitor: &mut dyn Visitor) -> Result<()> {
        match self {
            Self::Line(line) => visitor.line(line),
            Self::Failure(failure) => visitor.failure(failure),
        }
    }
}

/// Content without holes as a reader.
pub(super) struct ContentReader<'a> {
    content: &'a mut dyn Content,
    piece: Vec<u8>,
    used: usize,
}

impl<'a> ContentReader<'a> {
    pub(super) fn new(content: &'a mut dyn Content) -> Self {
        Self { content, piece: Vec::new(), used: 0 }
    }
}

impl io::Read for ContentReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for ContentReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.piece.len() {
            self.piece.clear();
            self.used = 0;
            if let Some((_, data)) = self.content.next_data()? {
                self.piece.extend_from_slice(data);
            }
        }
        Ok(&self.piece[self.used..])
    }

    fn consume(&mut self, bytes: usize) {
        self.used += bytes;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn a_line_that_is_wrong_is_told_by_its_number() {
        let line =
            crate::archive::testing::line("root/a", crate::archive::testing::entry(crate::tree::Kind::File));
        let lines = [&crate::archive::index::line_to_json(&line)[..], b"no line\n"].concat();
        let failed = |source| Error::Io { action: "read", subject: "the index".to_owned(), source };
        let error = read_lines(&mut &lines[..], b"", &mut |_| Ok(()), &failed).err().unwrap();
        assert!(error.to_string().contains("line 2 of its index is wrong"), "{error}");
    }

    #[test]
    fn a_content_reads_as_its_bytes() {
        let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let mut content = crate::tree::MemoryContent::new(bytes.clone());
        let mut read = Vec::new();
        assert_eq!(ContentReader::new(&mut content).read_to_end(&mut read).unwrap(), bytes.len());
        assert!(read == bytes);
    }
}
