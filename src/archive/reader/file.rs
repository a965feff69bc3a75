//! An archive in a file that can be read at any place.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::content::TarStream;

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// Bytes that can be read at any place, from several threads.
pub trait ReadAt: Send + Sync {
    /// Reads from `offset` on; 0 bytes at the end alone.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// How many bytes there are.
    fn size(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// So many bytes at a place; fewer where the file ends before.
pub(super) fn read_vec(file: &dyn ReadAt, at: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; length];
    let mut done = 0;
    while done < length {
        match file.read_at(&mut buffer[done..], at + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.truncate(done);
    Ok(buffer)
}

/// A part of a file, from front to back.
pub(super) struct Range {
    file: Arc<dyn ReadAt>,
    at: u64,
    end: u64,
}

impl Range {
    pub(super) fn new(file: &Arc<dyn ReadAt>, at: u64, end: u64) -> Self {
        Self { file: Arc::clone(file), at, end }
    }

    /// All of a file.
    pub(super) fn whole(file: &Arc<dyn ReadAt>) -> Self {
        Self::new(file, 0, u64::MAX)
    }
}

impl Read for Range {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.file.read_at(&mut buffer[..left], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A file without compression: what is not wanted is not read.
pub(super) struct Plain {
    range: Range,
    buffer: Vec<u8>,
    used: usize,
}

impl Plain {
    pub(super) fn new(file: &Arc<dyn ReadAt>) -> Self {
        Self { range: Range::whole(file), buffer: Vec::new(), used: 0 }
    }
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Plain {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.used == self.buffer.len() {
            self.used = 0;
            self.buffer.resize(BUFFER_BYTES, 0);
            let read = self.range.read(&mut self.buffer);
            self.buffer.truncate(read.as_ref().map_or(0, |read| *read));
            read?;
        }
        Ok(&self.buffer[self.used..])
    }

    fn consume(&mut self, bytes: usize) {
        self.used += bytes;
    }
}

impl TarStream for Plain {
    fn skip(&mut self, bytes: u64) -> Option<()> {
        let buffered = (self.buffer.len() - self.used) as u64;
        if bytes <= buffered {
            self.used += usize::try_from(bytes).ok()?;
        } else {
            self.range.at = self.range.at.checked_add(bytes - buffered)?;
            self.used = self.buffer.len();
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::noise;

    #[test]
    fn a_file_is_read_at_any_place() {
        let file = tempfile::tempfile().unwrap();
        let content = noise(10_000);
        file.write_all_at(&content, 0).unwrap();
        assert_eq!(ReadAt::size(&file).unwrap(), 10_000);
        assert!(read_vec(&file, 0, 10_000).unwrap() == content);
        assert!(read_vec(&file, 9_000, 10_000).unwrap() == content[9_000..]);
        assert_eq!(read_vec(&file, 10_000, 1).unwrap(), b"");
        assert_eq!(read_vec(&file, 0, 0).unwrap(), b"");
    }

    #[test]
    fn few_bytes_at_a_time_are_all_bytes_and_an_error_is_one() {
        /// Gives few bytes at a time, now and then none yet, and fails from a place on.
        struct Slow(Vec<u8>, std::sync::atomic::AtomicU64, u64);

        impl ReadAt for Slow {
            fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
                let calls = self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                assert!(calls < 1000 && !buffer.is_empty());
                match calls % 3 {
                    0 => return Err(io::ErrorKind::Interrupted.into()),
                    _ if offset >= self.2 => return Err(io::Error::other("the disk")),
                    _ => {}
                }
                let rest = &self.0[usize::try_from(offset).unwrap().min(self.0.len())..];
                let length = rest.len().min(buffer.len()).min(7);
                buffer[..length].copy_from_slice(&rest[..length]);
                Ok(length)
            }

            fn size(&self) -> io::Result<u64> {
                Ok(self.0.len() as u64)
            }
        }

        let content = noise(500);
        let slow = |fails| Slow(content.clone(), std::sync::atomic::AtomicU64::new(0), fails);
        assert!(read_vec(&slow(u64::MAX), 100, 300).unwrap() == content[100..400]);
        assert!(read_vec(&slow(u64::MAX), 100, 600).unwrap() == content[100..]);
        assert_eq!(read_vec(&slow(200), 100, 300).unwrap_err().to_string(), "the disk");
    }
}
