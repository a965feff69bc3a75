//! Where an archive is read from, and how far the reading is.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::archive::{ReadAt, Source};
use crate::error::{Error, Result};
use crate::keys::Keys;

/// An archive to read.
pub enum Input {
    /// A file or directory.
    Path(PathBuf),
    /// A pipe, such as standard input.
    Stream(Box<dyn Read + Send>),
    /// Any of these, with keys for it.
    Keyed(Box<Input>, Keys),
}

/// An input without its keys.
pub(crate) enum Plain {
    /// What can be read as often as needed.
    Path(PathBuf),
    /// What can be read once.
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
    /// Whether somebody who is trusted must have signed it.
    pub(crate) must_be_signed: bool,
}

impl Input {
    /// What messages call it.
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Stream(_) => "standard input".into(),
            Self::Keyed(input, _) => input.name(),
        }
    }

    /// Whether somebody who is trusted must have signed it.
    pub fn must_be_signed(&self) -> bool {
        matches!(self, Self::Keyed(_, keys) if keys.requires_signature())
    }

    /// The same, with keys for it.
    #[must_use]
    pub fn with(self, keys: Keys) -> Self {
        Self::Keyed(Box::new(self), keys)
    }

    /// Without its keys, and these.
    fn split(self) -> (Plain, Keys) {
        match self {
            // The keys around all others count.
            Self::Keyed(input, keys) => (input.split().0, keys),
            Self::Path(path) => (Plain::Path(path), Keys::default()),
            Self::Stream(stream) => (Plain::Stream(stream), Keys::default()),
        }
    }

    /// The same without its keys, as a stream where its path is that of a pipe, which can be opened once; and the keys.
    pub(crate) fn or_stream(self) -> Result<(Plain, Keys)> {
        let (path, keys) = match self.split() {
            (Plain::Path(path), keys) => (path, keys),
            stream @ (Plain::Stream(_), _) => return Ok(stream),
        };
        let piped = path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir());
        if !piped {
            return Ok((Plain::Path(path), keys));
        }
        let file = File::open(&path).map_err(Error::io("open", path.display()))?;
        Ok((Plain::Stream(Box::new(file)), keys))
    }

    /// Opens it; reading stops when the user wants to.
    pub(crate) fn open(self, interrupted: &Arc<AtomicBool>) -> Result<Opened> {
        let name = self.name();
        let (plain, keys) = self.split();
        let read_bytes = Arc::new(AtomicU64::new(0));
        let counted = |inner| {
            let counter = Arc::clone(&read_bytes);
            Source::Stream(Box::new(Counted { inner, counter, interrupted: Arc::clone(interrupted) }))
        };
        let (source, total_bytes) = match plain {
            Plain::Stream(stream) => (counted(stream), None),
            Plain::Path(path) if path.is_dir() => (Source::Path(path), None),
            Plain::Path(path) => {
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
        let must_be_signed = keys.requires_signature();
        let source = Source::Interruptible(Box::new(source), Arc::clone(interrupted));
        let source = Source::Keyed(Box::new(source), keys);
        Ok(Opened { source, name, total_bytes, read_bytes, must_be_signed })
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
