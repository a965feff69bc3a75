//! Where an archive is read from, and how far the reading is.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::archive::{ReadAt, Source};
use crate::error::{Error, Result};

/// An archive to read.
pub enum Input {
    /// A file or directory.
    Path(PathBuf),
    /// A pipe, such as standard input.
    Stream(Box<dyn Read + Send>),
}

/// An archive that is being read.
pub(crate) struct Opened {
    pub(crate) source: Source,
    /// What messages call it.
    pub(crate) name: String,
    /// Length of the file, where it is one.
    pub(crate) total_bytes: Option<u64>,
    /// Bytes of the file read so far.
    pub(crate) read_bytes: Arc<AtomicU64>,
}

impl Input {
    /// What messages call it.
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Stream(_) => "standard input".into(),
        }
    }

    /// The same, as a stream where its path is that of a pipe, which can be opened once.
    pub(crate) fn or_stream(self) -> Result<Self> {
        let Self::Path(path) = self else { return Ok(self) };
        let piped = path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir());
        if !piped {
            return Ok(Self::Path(path));
        }
        let file = File::open(&path).map_err(Error::io("open", path.display()))?;
        Ok(Self::Stream(Box::new(file)))
    }

    /// Opens it; reading stops when the user wants to.
    pub(crate) fn open(self, interrupted: &Arc<AtomicBool>) -> Result<Opened> {
        let name = self.name();
        let read_bytes = Arc::new(AtomicU64::new(0));
        let counted = |inner| {
            let counter = Arc::clone(&read_bytes);
            Source::Stream(Box::new(Counted { inner, counter, interrupted: Arc::clone(interrupted) }))
        };
        let (source, total_bytes) = match self {
            Self::Stream(stream) => (counted(stream), None),
            Self::Path(path) if path.is_dir() => (Source::Path(path), None),
            Self::Path(path) => {
                let failed = |error: io::Error| match error.kind() {
                    io::ErrorKind::NotFound => Error::Archive(crate::archive::Error::NotFound(name.clone())),
                    _ => Error::io("open", &name)(error),
                };
                let file = File::open(&path).map_err(failed)?;
                let metadata = file.metadata().map_err(Error::io("open", &name))?;
                if metadata.is_file() {
                    let (read, interrupted) = (Arc::clone(&read_bytes), Arc::clone(interrupted));
                    let file = Counted { inner: file, counter: read, interrupted };
                    (Source::File(Arc::new(file)), Some(metadata.len()))
                } else {
                    (counted(Box::new(file)), None)
                }
            }
        };
        Ok(Opened { source, name, total_bytes, read_bytes })
    }
}

struct Counted<R> {
    inner: R,
    counter: Arc<AtomicU64>,
    interrupted: Arc<AtomicBool>,
}

impl<R> Counted<R> {
    fn check(&self) -> io::Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(io::Error::other("interrupted"));
        }
        Ok(())
    }

    fn add(&self, read: usize) -> usize {
        self.counter.fetch_add(read as u64, Ordering::Relaxed);
        read
    }
}

impl Read for Counted<Box<dyn Read + Send>> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.check()?;
        let read = self.inner.read(buffer)?;
        Ok(self.add(read))
    }
}

impl ReadAt for Counted<File> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.check()?;
        let read = ReadAt::read_at(&self.inner, buffer, offset)?;
        Ok(self.add(read))
    }

    fn size(&self) -> io::Result<u64> {
        ReadAt::size(&self.inner)
    }
}
