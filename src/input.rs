//! Where an archive is read from, and how far the reading is.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::archive::reader::Origin;
use crate::archive::{ReadAt, Source};
use crate::confine::{self, Allowed};
use crate::error::{Error, Result};
use crate::foreign::{self, Receiver, Sort, Where};
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
    /// Where it comes from, if another tool wrote it.
    pub(crate) origin: Option<Arc<Origin>>,
}

impl Opened {
    /// Refuses what another tool wrote: of that what is damaged cannot be told from what is not.
    pub(crate) fn must_be_ours(&self) -> Result<()> {
        let Some(origin) = &self.origin else { return Ok(()) };
        Err(Error::Unsupported(format!(
            "{} was written by {}, whose archives have no index: what of one is whole cannot be told. Restore it as it is",
            self.name, origin.foreign.tool
        )))
    }
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

    /// Whether another tool wrote it, so that reading it takes temporary files. No more of a pipe is read than that takes.
    pub(crate) fn is_foreign(&mut self) -> Result<bool> {
        match self {
            Self::Keyed(input, _) => input.is_foreign(),
            Self::Path(path) if path.metadata().is_ok_and(|found| !found.is_file() && !found.is_dir()) => {
                let file = File::open(&*path).map_err(Error::io("open", path.display()))?;
                *self = Self::Stream(Box::new(file));
                self.is_foreign()
            }
            Self::Path(path) => {
                confine::run(&Allowed::nothing(), || Ok(foreign::sort_of_path(path).is_some()))
            }
            Self::Stream(stream) => {
                let inner: Box<dyn Read + Send> = std::mem::replace(stream, Box::new(io::empty()));
                confine::run(&Allowed::nothing(), || {
                    let (sort, whole) = foreign::sort_of_stream(inner, "standard input");
                    *stream = whole;
                    Ok(sort.is_some())
                })
            }
        }
    }

    /// Opens it; reading stops when the user wants to.
    pub(crate) fn open(self, interrupted: &Arc<AtomicBool>) -> Result<Opened> {
        self.open_with(interrupted, None)
    }

    /// The same, with somebody who can receive a stream that has to be looked into.
    pub(crate) fn open_with(
        self,
        interrupted: &Arc<AtomicBool>,
        receiver: Option<&mut dyn Receiver>,
    ) -> Result<Opened> {
        let name = self.name();
        let (plain, keys) = self.split();
        let read_bytes = Arc::new(AtomicU64::new(0));
        let counting = Counting { counter: Arc::clone(&read_bytes), interrupted: Arc::clone(interrupted) };
        let (source, total_bytes, origin) = match counting.found(plain, &name)? {
            Found::Ours(source, total_bytes) => (source, total_bytes, None),
            Found::Foreign(sort, _) if keys.requires_signature() => {
                let message = format!("{name} was written by {}, which signs nothing", sort.tool());
                return Err(Error::Archive(crate::archive::Error::NotTrusted(message)));
            }
            Found::Foreign(sort, found) => {
                let (source, origin) = foreign::adapt(sort, found, (&name, interrupted), receiver)?;
                (source, None, Some(origin))
            }
        };
        let must_be_signed = keys.requires_signature();
        let source = Source::Interruptible(Box::new(source), Arc::clone(interrupted));
        let source = Source::Keyed(Box::new(source), keys);
        Ok(Opened { source, name, total_bytes, read_bytes, must_be_signed, origin })
    }
}

/// What an input turned out to be.
enum Found {
    /// An archive of remand's, or of nobody who is known, and the length of its file.
    Ours(Source, Option<u64>),
    Foreign(Sort, Where),
}

/// Counts what is read, until the user wants no more.
struct Counting {
    counter: Arc<AtomicU64>,
    interrupted: Arc<AtomicBool>,
}

impl Counting {
    fn counted<R>(&self, inner: R) -> Counted<R> {
        Counted { inner, counter: Arc::clone(&self.counter), interrupted: Arc::clone(&self.interrupted) }
    }

    fn found(&self, plain: Plain, name: &str) -> Result<Found> {
        let path = match plain {
            Plain::Stream(stream) => return Ok(self.stream(stream, name)),
            Plain::Path(path) => path,
        };
        let sort = foreign::sort_of_path(&path);
        if path.is_dir() {
            return Ok(match sort {
                Some(sort) => Found::Foreign(sort, Where::Directory(path)),
                None => Found::Ours(Source::Path(path), None),
            });
        }
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Error::Archive(crate::archive::Error::NotFound(name.to_owned())),
            _ => Error::io("open", name)(error),
        };
        let file = File::open(&path).map_err(failed)?;
        let metadata = file.metadata().map_err(Error::io("open", name))?;
        if !metadata.is_file() {
            return Ok(self.stream(Box::new(file), name));
        }
        let file: Arc<dyn ReadAt> = Arc::new(self.counted(file));
        Ok(match sort {
            Some(sort) => Found::Foreign(sort, Where::File(file, path)),
            None => Found::Ours(Source::File(file), Some(metadata.len())),
        })
    }

    fn stream(&self, stream: Box<dyn Read + Send>, name: &str) -> Found {
        let (sort, stream) = foreign::sort_of_stream(stream, name);
        let stream = Box::new(self.counted(stream));
        match sort {
            Some(sort) => Found::Foreign(sort, Where::Stream(stream)),
            None => Found::Ours(Source::Stream(stream), None),
        }
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
