//! Where an archive's bytes go.
//!
//! A file is written under a partial name beside its destination and renamed when it is complete and durable. A
//! crash leaves the partial file at most; a failure leaves nothing.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::{Error, Result};

mod platform;

/// A destination for the bytes of a TAR archive. Nothing is visible under the destination's name before
/// [`Sink::commit`]; a sink that is dropped without it leaves nothing behind.
pub trait Sink: Write + Send {
    /// What messages call it.
    fn name(&self) -> String;

    /// Whether [`Sink::patch`] works.
    fn can_patch(&self) -> bool;

    /// Whether what is written must not lie in plain text anywhere else.
    fn is_secret(&self) -> bool {
        false
    }

    /// Overwrites bytes that were written before, at `offset` from the beginning.
    fn patch(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes what was written durable and visible.
    fn commit(self: Box<Self>) -> Result<()>;
}

/// Longest name of a file that every file system takes, in bytes.
const NAME_MAX: usize = 255;

/// Name under which the archive at `dest` is written: `NAME.partial-SUFFIX` beside it, `NAME` cut where the whole would
/// be too long for a file system.
pub fn partial_path(dest: &Path, suffix: &str) -> PathBuf {
    let tail = format!(".partial-{suffix}");
    let name = dest.file_name().map_or(&b""[..], OsStrExt::as_bytes);
    let kept = name.len().min(NAME_MAX.saturating_sub(tail.len()));
    let mut partial = OsString::from(OsStr::from_bytes(&name[..kept]));
    partial.push(tail);
    dest.with_file_name(partial)
}

/// The directory that `path` lies in.
pub(super) fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Fails if something has the name `dest`, a dangling link included.
pub(super) fn must_be_free(dest: &Path) -> Result<()> {
    match dest.symlink_metadata() {
        Ok(_) => Err(Error::Exists(dest.display().to_string())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(io_error("look for", dest, source)),
    }
}

/// Exchanges two names in one step. False where the platform or the file system cannot.
pub(super) fn exchange(one: &Path, other: &Path) -> Result<bool> {
    platform::exchange(one, other).map_err(|source| io_error("replace", other, source))
}

/// Renames to a name that must be free.
pub(super) fn rename_to_free(from: &Path, to: &Path) -> Result<()> {
    platform::rename_to_free(from, to).map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => Error::Exists(to.display().to_string()),
        _ => io_error("rename the finished archive to", to, source),
    })
}

/// Makes a finished archive visible, durably. A name of which that is not certain is taken back: what failed is not there.
pub(super) fn publish(partial: &Path, dest: &Path) -> Result<()> {
    rename_to_free(partial, dest)?;
    sync_directory(parent(dest)).or_else(|error| rename_to_free(dest, partial).and(Err(error)))
}

/// Makes a change of names in a directory durable.
pub(super) fn sync_directory(directory: &Path) -> Result<()> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|source| io_error("make durable what is in", directory, source))
}

/// Makes everything below an open directory durable.
pub(super) fn sync_tree(directory: &std::os::fd::OwnedFd) -> io::Result<()> {
    platform::sync_tree(directory)
}

/// An error about a path.
pub(super) fn io_error(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { action, subject: path.display().to_string(), source }
}

/// So much is written to a file before the device is told to begin with it.
const WRITE_BACK_BYTES: u64 = 4 << 20;

/// A regular file.
#[derive(Debug)]
pub struct FileSink {
    file: File,
    /// Bytes written, and how many of them are on their way to the device.
    written: u64,
    begun: u64,
    partial: PathBuf,
    dest: PathBuf,
    force: bool,
    committed: bool,
}

impl FileSink {
    /// Creates the partial file of `dest` ([`partial_path`]), readable by its owner alone. Unless `force`, an existing
    /// `dest` is [`Error::Exists`], now and when the sink is committed.
    pub fn create(dest: &Path, force: bool, partial_suffix: &str) -> Result<Self> {
        if !force {
            must_be_free(dest)?;
        }
        if dest.file_name().is_none() || dest.is_dir() {
            return Err(Error::Exists(dest.display().to_string()));
        }
        let partial = partial_path(dest, partial_suffix);
        let file = File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&partial)
            .map_err(|source| io_error("create", &partial, source))?;
        Ok(Self { file, written: 0, begun: 0, partial, dest: dest.to_owned(), force, committed: false })
    }
}

impl Write for FileSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = self.file.write(bytes)?;
        self.written += length as u64;
        if self.written - self.begun >= WRITE_BACK_BYTES {
            // Not left to the fsync at the end, which nothing else can be done beside. Where it cannot be, that takes longer.
            let _ = remand_sys::writeback::begin(&self.file, self.begun, self.written - self.begun);
            self.begun = self.written;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for FileSink {
    fn name(&self) -> String {
        self.partial.display().to_string()
    }

    fn can_patch(&self) -> bool {
        true
    }

    fn patch(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn commit(mut self: Box<Self>) -> Result<()> {
        self.file.sync_all().map_err(|source| io_error("make durable", &self.partial, source))?;
        if !self.force {
            publish(&self.partial, &self.dest)?;
            self.committed = true;
            return Ok(());
        }
        if self.dest.symlink_metadata().is_ok() && exchange(&self.partial, &self.dest)? {
            // The old archive has the partial name now, and comes back if anything fails yet.
            if let Err(error) = sync_directory(parent(&self.dest)) {
                exchange(&self.partial, &self.dest)?;
                return Err(error);
            }
            // Now it is of no use; what cannot be removed is found by its name.
            self.committed = true;
            let _ = std::fs::remove_file(&self.partial);
            return Ok(());
        }
        std::fs::rename(&self.partial, &self.dest)
            .map_err(|source| io_error("rename the finished archive to", &self.dest, source))?;
        self.committed = true;
        sync_directory(parent(&self.dest))
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        if !self.committed {
            // The name was created by this sink alone. What cannot be removed is found by its name later.
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

/// Something that can only be written from front to back: standard output, a pipe, a socket.
#[derive(Debug)]
pub struct WriteSink<W> {
    inner: W,
    name: String,
}

impl<W: Write + Send> WriteSink<W> {
    /// Writes to `inner`, which messages call `name`.
    pub fn new(inner: W, name: &str) -> Self {
        Self { inner, name: name.to_owned() }
    }
}

impl<W: Write + Send> Write for WriteSink<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<W: Write + Send> Sink for WriteSink<W> {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn can_patch(&self) -> bool {
        false
    }

    fn patch(&mut self, _: u64, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::NotSeekable.into())
    }

    fn commit(mut self: Box<Self>) -> Result<()> {
        let Self { inner, name } = &mut *self;
        inner.flush().map_err(|source| Error::Io { action: "write", subject: name.clone(), source })
    }
}

#[cfg(test)]
mod tests;
