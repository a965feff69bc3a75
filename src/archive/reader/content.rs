//! A member's content while it is read from a tar stream.

use std::io::{self, BufRead, Read as _};

use super::Terms;
use crate::archive::digest::ContentHasher;
use crate::archive::table::Audit;
use crate::archive::{Digest, Error, Result};
use crate::tree::{Content, Extent};

/// A decompressed archive.
pub(super) trait TarStream: BufRead {
    /// Passes by so many bytes without reading them, beyond the end too; `None` if that is not possible.
    fn skip(&mut self, bytes: u64) -> Option<()>;

    /// How many bytes were read; 0 where nobody needs to know.
    fn position(&self) -> u64 {
        0
    }

    /// The header at `at` is that of the member with this number.
    fn begin_member(&mut self, at: u64, number: u64) {
        let _ = (at, number);
    }

    /// All was read, and the header of the index was at `index_at`: whether the table of offsets is right.
    fn finish(&mut self, index_at: u64) -> io::Result<()> {
        let _ = index_at;
        Ok(())
    }

    /// The stream itself where it goes on behind damage.
    fn tolerant(&mut self) -> Option<&mut super::tolerant::Tolerant> {
        None
    }
}

/// A tar stream that is read from front to back, and whose table of offsets is compared with what is there.
pub(super) struct Audited {
    inner: Box<dyn BufRead>,
    position: u64,
    audit: Audit,
}

impl Audited {
    pub(super) fn new(inner: Box<dyn BufRead>, audit: Audit) -> Self {
        Self { inner, position: 0, audit }
    }
}

impl io::Read for Audited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl BufRead for Audited {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, bytes: usize) {
        self.position += bytes as u64;
        self.inner.consume(bytes);
    }
}

impl TarStream for Audited {
    fn skip(&mut self, _: u64) -> Option<()> {
        None
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn begin_member(&mut self, at: u64, number: u64) {
        self.audit.header(at, number);
    }

    fn finish(&mut self, index_at: u64) -> io::Result<()> {
        self.audit.finish(index_at)
    }
}

impl TarStream for Box<dyn BufRead> {
    fn skip(&mut self, _: u64) -> Option<()> {
        None
    }
}

/// The bytes of the archive, decompressed.
pub(super) struct Input {
    inner: Box<dyn TarStream>,
    terms: Terms,
}

impl Input {
    pub(super) fn new(inner: Box<dyn TarStream>, terms: &Terms) -> Self {
        Self { inner, terms: terms.clone() }
    }

    /// Passes by so many bytes without reading them; `None` if that is not possible.
    pub(super) fn skip(&mut self, bytes: u64) -> Option<()> {
        self.inner.skip(bytes)
    }

    /// Where in the stream it is, as far as that is counted.
    pub(super) fn position(&self) -> u64 {
        self.inner.position()
    }

    /// The header at `at` is that of the member with this number.
    pub(super) fn begin_member(&mut self, at: u64, number: u64) {
        self.inner.begin_member(at, number);
    }

    /// Proves the table of offsets, where there is one. The header of the index was at `index_at`.
    pub(super) fn finish(&mut self, index_at: u64) -> Result<()> {
        let right = self.inner.finish(index_at);
        right.map_err(|error| self.failed(error))
    }

    /// The stream where it goes on behind damage.
    pub(super) fn tolerant(&mut self) -> Option<&mut super::tolerant::Tolerant> {
        self.inner.tolerant()
    }

    /// Reads so many bytes for nothing.
    pub(super) fn pass(&mut self, mut bytes: u64) -> Result<()> {
        while bytes > 0 {
            let length = match self.inner.fill_buf() {
                Ok([]) => return Err(self.failed(io::ErrorKind::UnexpectedEof.into())),
                Ok(buffer) => usize::try_from(bytes).map_or(buffer.len(), |bytes| bytes.min(buffer.len())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(error) => return Err(self.failed(error)),
            };
            self.inner.consume(length);
            bytes -= length as u64;
        }
        Ok(())
    }

    /// Fills `buffer`.
    pub(super) fn read_exact(&mut self, buffer: &mut [u8]) -> Result<()> {
        self.inner.read_exact(buffer).map_err(|error| self.failed(error))
    }

    /// Reads so many bytes; memory grows with what is really there.
    pub(super) fn read_vec(&mut self, bytes: u64) -> Result<Vec<u8>> {
        let mut buffer = Vec::new();
        let read = (&mut self.inner).take(bytes).read_to_end(&mut buffer);
        read.map_err(|error| self.failed(error))?;
        if (buffer.len() as u64) < bytes {
            return Err(self.failed(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(buffer)
    }

    /// Proves that only zeros follow.
    pub(super) fn expect_end(&mut self) -> Result<()> {
        loop {
            let buffer = match self.inner.fill_buf() {
                Ok(buffer) => buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.failed(error)),
            };
            if buffer.is_empty() {
                return Ok(());
            }
            if buffer.iter().any(|&byte| byte != 0) {
                return Err(Error::Damaged(format!("{} goes on after its end", self.terms.name)));
            }
            let length = buffer.len();
            self.inner.consume(length);
        }
    }

    fn failed(&self, error: io::Error) -> Error {
        super::input_error(&self.terms.name, error)
    }
}

/// One member's bytes.
pub(super) struct MemberContent<'a> {
    input: &'a mut Input,
    extents: Vec<Extent>,
    size: u64,
    hasher: ContentHasher,
    /// Which extent comes next, and how much of it was read.
    current: usize,
    within: u64,
    /// Bytes of the input's buffer that were handed out.
    pending: usize,
    failure: Option<Error>,
}

impl<'a> MemberContent<'a> {
    /// The content of a file of `size` bytes whose `extents` follow in the input.
    pub(super) fn new(input: &'a mut Input, extents: Vec<Extent>, size: u64) -> Self {
        let hasher = ContentHasher::new(size);
        Self { input, extents, size, hasher, current: 0, within: 0, pending: 0, failure: None }
    }

    /// Reads what is left; the digest of the logical content.
    pub(super) fn finish(mut self, visited: Result<()>) -> Result<Digest> {
        // What went wrong with the archive explains what went wrong with its visitor.
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        visited?;
        while self.step()?.is_some() {}
        self.hole(self.size)?;
        Ok(self.hasher.finish())
    }

    fn hole(&mut self, end: u64) -> Result<()> {
        let (input, hasher) = (&*self.input, &mut self.hasher);
        hasher.hole(end, &|| input.terms.go_on()).map_err(|error| input.failed(error))
    }

    /// Makes the next piece the input's buffer; where it lies and how long it is.
    fn step(&mut self) -> Result<Option<(u64, usize)>> {
        self.input.inner.consume(std::mem::take(&mut self.pending));
        let Some(extent) = self.extents.get(self.current).copied() else { return Ok(None) };
        self.hole(extent.offset + self.within)?;
        let name = &self.input.terms.name;
        let buffer = loop {
            match self.input.inner.fill_buf() {
                Ok([]) => return Err(super::input_error(name, io::ErrorKind::UnexpectedEof.into())),
                Ok(buffer) => break buffer,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(super::input_error(name, error)),
            }
        };
        let left = extent.length - self.within;
        let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let offset = extent.offset + self.within;
        self.hasher.data(offset, &buffer[..length]);
        self.pending = length;
        self.within += length as u64;
        if self.within == extent.length {
            self.current += 1;
            self.within = 0;
        }
        Ok(Some((offset, length)))
    }
}

impl Content for MemberContent<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn extents(&self) -> &[Extent] {
        &self.extents
    }

    fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        match self.step() {
            Ok(None) => Ok(None),
            Ok(Some((offset, length))) => {
                // Already there, so this reads nothing.
                let buffer = self.input.inner.fill_buf()?;
                Ok(Some((offset, &buffer[..length])))
            }
            Err(error) => {
                let source = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
                self.failure.get_or_insert(error);
                Err(source)
            }
        }
    }

    fn go_on(&self) -> io::Result<()> {
        self.input.terms.go_on()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;
    use std::time::Duration;

    use super::*;

    /// Reads a file of so many bytes that is all hole but for what `extents` say, of which the input has nothing.
    fn interrupted_over(extents: Vec<Extent>) -> Error {
        let terms = Terms::new("it");
        let stream: Box<dyn BufRead> = Box::new(io::empty());
        let mut input = Input::new(Box::new(stream), &terms);
        let content = MemberContent::new(&mut input, extents, i64::MAX.cast_unsigned());
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(50));
                terms.interrupted.store(true, Ordering::Relaxed);
            });
            content.finish(Ok(())).unwrap_err()
        })
    }

    #[test]
    fn who_writes_a_content_is_told_when_nobody_wants_it_any_more() {
        let terms = Terms::new("it");
        let stream: Box<dyn BufRead> = Box::new(io::empty());
        let mut input = Input::new(Box::new(stream), &terms);
        let content = MemberContent::new(&mut input, Vec::new(), 0);
        assert!(content.go_on().is_ok());
        terms.interrupted.store(true, Ordering::Relaxed);
        assert!(content.go_on().is_err());
    }

    #[test]
    fn less_than_was_asked_for_is_an_error() {
        let stream: Box<dyn BufRead> = Box::new(io::Cursor::new(vec![7; 10]));
        let mut input = Input::new(Box::new(stream), &Terms::new("it"));
        assert_eq!(input.read_vec(4).unwrap(), [7; 4]);
        assert!(matches!(input.read_vec(7), Err(Error::Damaged(_))));
    }

    /// The digest counts the zeros of a hole: exbibytes of them take centuries.
    #[test]
    fn a_hole_is_not_read_to_its_end_when_nobody_wants_it_any_more() {
        for extents in [vec![], vec![Extent { offset: 1 << 60, length: 1 }]] {
            let error = interrupted_over(extents);
            assert!(matches!(error, Error::Io { .. }), "{error}");
            assert!(error.to_string().contains("it"), "{error}");
        }
    }
}
