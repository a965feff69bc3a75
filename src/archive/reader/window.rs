//! The bytes of an archive that may be damaged: ahead of what was taken, and past places where a device fails.

use std::io::{self, Read};
use std::sync::Arc;

use super::file::ReadAt;
use crate::encrypt::Broken;

/// Bytes that are read at once.
pub(super) const READ_BYTES: usize = 256 << 10;
/// What is read again in single parts where a device fails.
const SECTOR_BYTES: u64 = 4096;
/// The error number of a device that fails.
const EIO: i32 = 5;

/// Bytes of a file that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where they begin.
    pub offset: u64,
    /// How many there are.
    pub length: u64,
}

/// Bytes ahead of what was taken.
pub(super) struct Window {
    input: Box<dyn Read + Send>,
    buffer: Vec<u8>,
    used: usize,
    /// Where in the file the first byte is that was not taken.
    pub(super) at: u64,
    ended: bool,
}

impl Window {
    pub(super) fn new(input: Box<dyn Read + Send>) -> Self {
        Self { input, buffer: Vec::new(), used: 0, at: 0, ended: false }
    }

    /// The next bytes, `length` of them unless the file ends.
    pub(super) fn fill(&mut self, length: usize) -> io::Result<&[u8]> {
        while self.buffer.len() - self.used < length && !self.ended {
            if self.used > 0 {
                self.buffer.drain(..self.used);
                self.used = 0;
            }
            let want = length.saturating_sub(self.buffer.len()).max(READ_BYTES) as u64;
            let read = (&mut self.input).take(want).read_to_end(&mut self.buffer)?;
            self.ended = (read as u64) < want;
        }
        let ahead = &self.buffer[self.used..];
        Ok(&ahead[..ahead.len().min(length)])
    }

    pub(super) fn take(&mut self, length: usize) {
        self.used += length;
        self.at += length as u64;
    }
}

impl Read for Window {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ahead = self.fill(1)?.len();
        let ahead = if ahead == 0 { 0 } else { (self.buffer.len() - self.used).min(buffer.len()) };
        buffer[..ahead].copy_from_slice(&self.buffer[self.used..self.used + ahead]);
        self.take(ahead);
        Ok(ahead)
    }
}

/// A file of which single places may not be readable: those are zeros, and remembered.
pub(super) struct Patient {
    file: Arc<dyn ReadAt>,
    at: u64,
    lost: crossbeam_channel::Sender<Range>,
}

impl Patient {
    pub(super) fn new(file: Arc<dyn ReadAt>, lost: crossbeam_channel::Sender<Range>) -> Self {
        Self { file, at: 0, lost }
    }
}

impl Read for Patient {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let is_undone = |error: &io::Error| {
            error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Broken>)
        };
        let is_broken = |error: &io::Error| error.raw_os_error() == Some(EIO) || is_undone(error);
        let read = match self.file.read_at(buffer, self.at) {
            Err(error) if is_broken(&error) => {
                let left = self.file.size()?.saturating_sub(self.at);
                let sector = (SECTOR_BYTES - self.at % SECTOR_BYTES).min(left);
                let sector = buffer.len().min(usize::try_from(sector).unwrap_or(0));
                match self.file.read_at(&mut buffer[..sector], self.at) {
                    Err(error) if is_broken(&error) => {
                        buffer[..sector].fill(0);
                        // Whoever listened may have all that he wanted.
                        let _ = self.lost.send(Range { offset: self.at, length: sector as u64 });
                        sector
                    }
                    read => read?,
                }
            }
            read => read?,
        };
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails wherever a read touches the third sector.
    struct Broken(Vec<u8>);

    impl ReadAt for Broken {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let bad = 2 * SECTOR_BYTES..3 * SECTOR_BYTES;
            let end = (offset + buffer.len() as u64).min(self.0.len() as u64);
            if offset < bad.end && end > bad.start {
                return Err(io::Error::from_raw_os_error(EIO));
            }
            buffer[..usize::try_from(end - offset).unwrap()]
                .copy_from_slice(&self.0[usize::try_from(offset).unwrap()..usize::try_from(end).unwrap()]);
            Ok(usize::try_from(end - offset).unwrap())
        }

        fn size(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }
    }

    #[test]
    fn a_sector_that_a_device_does_not_give_back_is_passed_by() {
        let content = vec![7; 20_000];
        let (lost, told) = crossbeam_channel::unbounded();
        let mut read = Vec::new();
        Patient::new(Arc::new(Broken(content.clone())), lost).read_to_end(&mut read).unwrap();
        let ranges: Vec<Range> = told.try_iter().collect();
        let lost: u64 = ranges.iter().map(|range| range.length).sum();
        assert_eq!((ranges[0].offset, lost), (2 * SECTOR_BYTES, SECTOR_BYTES));
        let at = |sector: u64| usize::try_from(sector * SECTOR_BYTES).unwrap();
        assert!(read[..at(2)] == content[..at(2)] && read[at(3)..] == content[at(3)..]);
        assert!(read[at(2)..at(3)].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn no_more_is_passed_by_than_the_sector() {
        let (lost, told) = crossbeam_channel::unbounded();
        let mut patient = Patient::new(Arc::new(Broken(vec![7; 20_000])), lost);
        // So many bytes at a time that no read but the first begins where a sector does.
        while patient.read(&mut [0; 5000]).unwrap() > 0 {}
        let range = Range { offset: 2 * SECTOR_BYTES, length: SECTOR_BYTES };
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [range]);
    }

    #[test]
    fn only_what_a_device_does_not_give_back_is_passed_by() {
        /// Fails where a read is longer than so many bytes, and where it is not, by these error numbers.
        struct Refused(usize, i32, i32);

        impl ReadAt for Refused {
            fn read_at(&self, buffer: &mut [u8], _: u64) -> io::Result<usize> {
                let number = if buffer.len() > self.0 { self.1 } else { self.2 };
                Err(io::Error::from_raw_os_error(number))
            }

            fn size(&self) -> io::Result<u64> {
                Ok(20_000)
            }
        }

        let (lost, told) = crossbeam_channel::unbounded();
        let access = rustix::io::Errno::ACCESS.raw_os_error();
        for file in [Refused(0, access, access), Refused(4096, EIO, access)] {
            let mut patient = Patient::new(Arc::new(file), lost.clone());
            let error = patient.read(&mut [0; 10_000]).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(access));
        }
        assert_eq!(told.try_iter().count(), 0);
    }

    #[test]
    fn bytes_ahead_are_read_once_and_in_order() {
        let content: Vec<u8> = (0..=250).cycle().take(3 * READ_BYTES + 77).collect();
        let mut window = Window::new(Box::new(io::Cursor::new(content.clone())));
        let mut read = Vec::new();
        for (ahead, taken) in [(10, 3), (1, 1), (READ_BYTES + 5, READ_BYTES), (1, 0)] {
            let filled = window.fill(ahead).unwrap();
            assert!(filled == &content[read.len()..read.len() + ahead]);
            read.extend_from_slice(&filled[..taken]);
            Window::take(&mut window, taken);
            assert_eq!(window.at, read.len() as u64);
            // The same by reading, which gives what is there.
            let mut buffer = [0; 1000];
            let count = window.read(&mut buffer).unwrap();
            assert!(count > 0 && buffer[count..].iter().all(|byte| *byte == 0));
            read.extend_from_slice(&buffer[..count]);
            assert!(content.starts_with(&read) && window.at == read.len() as u64);
            assert_eq!(window.read(&mut []).unwrap(), 0);
        }
        window.read_to_end(&mut read).unwrap();
        assert!(read == content);
        assert_eq!((window.read(&mut [0; 10]).unwrap(), window.fill(10).unwrap().len()), (0, 0));
        // What was taken is not kept.
        assert!(window.buffer.capacity() < 3 * READ_BYTES, "{}", window.buffer.capacity());
    }
}
