//! Temporary files: without a name, so that a crash leaves nothing, and encrypted where what they hold is a secret.
//!
//! The key of such a file is in memory alone and gone with it; on the disk remains what nobody can read.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write};
use std::path::Path;

use age::stream::{StreamReader, StreamWriter};

use crate::encrypt::{Identity, Recipient};

/// A temporary file that is being written.
pub(crate) enum Scratch {
    /// Its bytes are those that were written.
    Plain(File),
    /// They are encrypted for this identity.
    Secret(Box<StreamWriter<File>>, Identity),
}

/// One that was written, from front to back, as often as needed.
pub(crate) enum Written {
    /// As it was written.
    Plain(File),
    /// Encrypted.
    Secret(Box<StreamReader<io::BufReader<File>>>),
}

impl Scratch {
    /// Makes one in `directory`.
    pub(crate) fn new(directory: &Path, secret: bool) -> io::Result<Self> {
        Self::over(tempfile::tempfile_in(directory)?, secret)
    }

    fn over(file: File, secret: bool) -> io::Result<Self> {
        if !secret {
            return Ok(Self::Plain(file));
        }
        let identity = Identity::generate();
        let recipient: Recipient = identity.recipient();
        Ok(Self::Secret(Box::new(crate::encrypt::to_writer(file, &[recipient])?), identity))
    }

    /// Passes over so many zeros without writing them. False where they must be written.
    pub(crate) fn pass(&mut self, bytes: u64) -> io::Result<bool> {
        let Self::Plain(file) = self else { return Ok(false) };
        let bytes = i64::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
        file.seek(SeekFrom::Current(bytes))?;
        Ok(true)
    }

    /// Ends the writing.
    pub(crate) fn finish(self) -> io::Result<Written> {
        match self {
            Self::Plain(mut file) => {
                // As long as it is with what was passed over at the end.
                let end = file.stream_position()?;
                file.set_len(end)?;
                file.seek(SeekFrom::Start(0))?;
                Ok(Written::Plain(file))
            }
            Self::Secret(stream, identity) => {
                let mut file = stream.finish()?;
                file.seek(SeekFrom::Start(0))?;
                let file = io::BufReader::with_capacity(128 << 10, file);
                Ok(Written::Secret(Box::new(crate::encrypt::from_reader(file, &identity)?)))
            }
        }
    }
}

impl Write for Scratch {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Secret(stream, _) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Written {
    /// Back to the front.
    pub(crate) fn rewind(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.seek(SeekFrom::Start(0)),
            Self::Secret(stream) => stream.seek(SeekFrom::Start(0)),
        }
        .map(drop)
    }
}

impl Read for Written {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(buffer),
            Self::Secret(stream) => stream.read(buffer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_come_back_and_secret_ones_are_not_on_the_disk() {
        let content: Vec<u8> = b"a secret that is long enough to be found. ".repeat(10_000);
        for secret in [false, true] {
            let mut file = tempfile::tempfile().unwrap();
            let mut scratch = Scratch::over(file.try_clone().unwrap(), secret).unwrap();
            scratch.write_all(&content).unwrap();
            assert_ne!(scratch.pass(0).unwrap(), secret);
            let mut written = scratch.finish().unwrap();
            for _ in 0..2 {
                let mut back = Vec::new();
                written.read_to_end(&mut back).unwrap();
                assert!(back == content);
                written.rewind().unwrap();
            }
            let mut raw = Vec::new();
            file.seek(SeekFrom::Start(0)).unwrap();
            file.read_to_end(&mut raw).unwrap();
            assert_eq!(raw == content, !secret);
            assert_eq!(raw.windows(8).any(|bytes| bytes == b"a secret"), !secret);
        }
    }

    #[test]
    fn zeros_that_are_passed_over_are_read() {
        let mut scratch = Scratch::new(&std::env::temp_dir(), false).unwrap();
        assert!(scratch.pass(5).unwrap());
        scratch.write_all(b"data").unwrap();
        assert!(scratch.pass(1 << 20).unwrap());
        assert!(scratch.pass(u64::MAX).is_err());
        let mut back = Vec::new();
        scratch.finish().unwrap().read_to_end(&mut back).unwrap();
        assert!(back == [&[0; 5][..], b"data", &vec![0; 1 << 20]].concat());
    }
}
