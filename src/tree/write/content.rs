//! Giving a new file its content.
//!
//! Content that is a file of the same file system need not pass through this process: the file system makes the new file
//! share its data (a clone, which costs neither time nor space), or else copies it itself.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::super::platform;
use super::super::{Content, Entry, Extent, Result, TreePath};
use super::failed;

/// Bytes that the kernel is asked to copy at a time.
const COPY_BYTES: usize = 16 << 20;

/// What the file systems of source and target were seen to refuse whatever the file. It is not tried for each file again.
#[derive(Clone, Copy, Default)]
pub(super) struct Shortcuts {
    no_clones: bool,
    no_copies: bool,
}

impl Shortcuts {
    /// Takes over what another was refused.
    pub(super) fn learn(&mut self, other: Self) {
        self.no_clones |= other.no_clones;
        self.no_copies |= other.no_copies;
    }

    /// Writes the data where it belongs and leaves the rest to be holes.
    pub(super) fn write(
        &mut self,
        file: &OwnedFd,
        path: &TreePath,
        entry: &Entry,
        content: Option<&mut dyn Content>,
    ) -> Result<()> {
        let Some(content) = content else {
            return if entry.size == 0 { Ok(()) } else { Err(failed("write", path)(Errno::INVAL.into())) };
        };
        let size = content.size();
        if let Some(source) = content.file().filter(|_| size > 0)
            && (self.clone(file, source, size).map_err(failed("write", path))?
                || self.copy(file, source, content.extents(), size).map_err(failed("write", path))?)
        {
            return Ok(());
        }
        write_data(file, path, content)
    }

    /// Makes `file` share the data of `source`. False where it cannot be; `file` is empty then.
    fn clone(&mut self, file: &OwnedFd, source: BorrowedFd<'_>, size: u64) -> io::Result<bool> {
        if self.no_clones {
            return Ok(false);
        }
        match platform::clone_data(source, file.as_fd()) {
            Ok(()) => {
                settle_size(file, size)?;
                Ok(true)
            }
            Err(error) if is_never(error) => {
                self.no_clones = true;
                Ok(false)
            }
            // This file's flags forbid it, or there is no room for more references to its blocks. If more is wrong,
            // copying shows it.
            Err(_) => {
                rustix::fs::ftruncate(file, 0)?;
                Ok(false)
            }
        }
    }

    /// Lets the kernel copy the runs of data. False where it cannot; `file` is empty then.
    fn copy(
        &mut self,
        file: &OwnedFd,
        source: BorrowedFd<'_>,
        extents: &[Extent],
        size: u64,
    ) -> io::Result<bool> {
        if self.no_copies {
            return Ok(false);
        }
        if !is_dense(extents, size) {
            rustix::fs::ftruncate(file, size)?;
        }
        for extent in extents {
            match copy_extent(file, source, *extent) {
                Ok(()) => {}
                Err(error) => {
                    self.no_copies |= is_never(error);
                    // Reading finds out what is wrong.
                    rustix::fs::ftruncate(file, 0)?;
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

/// Whether an error says that the file systems cannot do it, rather than that they cannot with this file.
fn is_never(error: Errno) -> bool {
    matches!(error, Errno::XDEV | Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS)
}

/// A source that grew or shrank since its size was announced: it is told by [`Content::is_stable`], but here counts what was
/// announced.
fn settle_size(file: &OwnedFd, size: u64) -> io::Result<()> {
    if platform::stat(file.as_fd(), b"", None)?.stat.size != size {
        rustix::fs::ftruncate(file, size)?;
    }
    Ok(())
}

/// A source that ends early is an error: some file systems answer so where there is more.
fn copy_extent(file: &OwnedFd, source: BorrowedFd<'_>, extent: Extent) -> rustix::io::Result<()> {
    let end = extent.offset + extent.length;
    let mut at = extent.offset;
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(COPY_BYTES).min(COPY_BYTES);
        match platform::copy_range(source, file.as_fd(), at, wanted) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => at += count as u64,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_dense(extents: &[Extent], size: u64) -> bool {
    extents.iter().map(|extent| extent.length).sum::<u64>() == size
}

fn write_data(file: &OwnedFd, path: &TreePath, content: &mut dyn Content) -> Result<()> {
    let size = content.size();
    if !is_dense(content.extents(), size) {
        // First, because XFS allocates ahead where a file grows, and holes between the runs would fill up.
        rustix::fs::ftruncate(file, size).map_err(|error| failed("write", path)(error.into()))?;
    }
    while let Some((offset, data)) = content.next_data().map_err(failed("read the content of", path))? {
        if offset.saturating_add(data.len() as u64) > size {
            let error = io::Error::new(io::ErrorKind::InvalidData, "more content than announced");
            return Err(failed("read the content of", path)(error));
        }
        write_at(file, data, offset).map_err(failed("write", path))?;
    }
    Ok(())
}

fn write_at(file: &OwnedFd, mut data: &[u8], mut offset: u64) -> io::Result<()> {
    while !data.is_empty() {
        match rustix::io::pwrite(file, data, offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                data = &data[count..];
                offset += count as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
