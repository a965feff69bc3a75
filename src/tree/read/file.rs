//! The content of a regular file of a live tree.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::super::platform;
use super::super::{Content, Extent, Stat};

/// Bytes at most that [`Content::next_data`] gives at once.
const PIECE_BYTES: u64 = 256 * 1024;

/// An open regular file of a tree, as [`Content`]; also readable at any offset.
///
/// It always gives as many bytes as the file had when it was opened, because that number may have
/// been announced already: what a shrinking file lost meanwhile reads as zeros, and
/// [`Content::is_stable`] says no.
pub struct FileContent {
    fd: OwnedFd,
    stat: Stat,
    extents: Vec<Extent>,
    /// Where reading goes on: which extent, and how far into it.
    next: (usize, u64),
    buffer: Vec<u8>,
    shrunk: bool,
}

impl FileContent {
    pub(super) fn new(fd: OwnedFd, stat: Stat) -> io::Result<Self> {
        // A file that has room for all its bytes on disk has no holes worth looking for.
        let extents = if stat.allocated_bytes >= stat.size {
            whole(stat.size)
        } else if platform::hides_holes(fd.as_fd()) {
            written_extents(&fd, stat.size)?
        } else {
            data_extents(&fd, stat.size)?
        };
        if stat.size > PIECE_BYTES {
            // Only advice: a file system that knows none reads as well.
            let _ = rustix::fs::fadvise(&fd, 0, None, rustix::fs::Advice::Sequential);
        }
        Ok(Self { fd, stat, extents, next: (0, 0), buffer: Vec::new(), shrunk: false })
    }

    /// What the file was when it was opened.
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// Reads at `offset` until `buffer` is full or the file ends; bytes read.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        read_full(&self.fd, buffer, offset)
    }
}

fn read_full(fd: &OwnedFd, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match rustix::io::pread(fd, &mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(done)
}

impl Content for FileContent {
    fn size(&self) -> u64 {
        self.stat.size
    }

    fn extents(&self) -> &[Extent] {
        &self.extents
    }

    fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        let (nth, done) = self.next;
        let Some(extent) = self.extents.get(nth) else { return Ok(None) };
        let offset = extent.offset + done;
        let left = extent.length - done;
        let wanted = left.min(PIECE_BYTES);
        self.next = if wanted == left { (nth + 1, 0) } else { (nth, done + wanted) };
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        let count = self.read_at(&mut buffer[..wanted], offset)?;
        buffer[count..wanted].fill(0);
        self.shrunk |= count < wanted;
        self.buffer = buffer;
        Ok(Some((offset, &self.buffer[..wanted])))
    }

    fn file(&self) -> Option<BorrowedFd<'_>> {
        Some(self.fd.as_fd())
    }

    fn is_stable(&mut self) -> io::Result<bool> {
        let now = platform::stat(self.fd.as_fd(), b"", None)?.stat;
        let key = |stat: &Stat| (stat.size, stat.mtime, stat.identity.ctime);
        Ok(!self.shrunk && key(&now) == key(&self.stat))
    }
}

fn whole(size: u64) -> Vec<Extent> {
    (size > 0).then_some(Extent { offset: 0, length: size }).into_iter().collect()
}

/// The runs of blocks below `size` that are not all zeros, for file systems that do not tell their holes. Costs one more reading of
/// a file that has fewer bytes on disk than it has content.
fn written_extents(fd: &OwnedFd, size: u64) -> io::Result<Vec<Extent>> {
    const BLOCK_BYTES: usize = 64 * 1024;
    let mut extents: Vec<Extent> = Vec::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut offset = 0;
    while offset < size {
        let wanted = usize::try_from(size - offset).unwrap_or(BLOCK_BYTES).min(BLOCK_BYTES);
        let count = read_full(fd, &mut block[..wanted], offset)?;
        if block[..count].iter().any(|&byte| byte != 0) {
            match extents.last_mut() {
                Some(last) if last.offset + last.length == offset => last.length += wanted as u64,
                _ => extents.push(Extent { offset, length: wanted as u64 }),
            }
        }
        offset += wanted as u64;
    }
    Ok(extents)
}

/// The runs of data below `size`, as the file system tells them.
fn data_extents(fd: &OwnedFd, size: u64) -> io::Result<Vec<Extent>> {
    let mut extents = Vec::new();
    let mut from = 0;
    while from < size {
        let start = match rustix::fs::seek(fd, SeekFrom::Data(from)) {
            Ok(start) => start,
            // No data from here on.
            Err(Errno::NXIO) => break,
            // The file system does not know its holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOTTY | Errno::NOSYS) => return Ok(whole(size)),
            Err(error) => return Err(error.into()),
        };
        if start >= size {
            break;
        }
        let end = match rustix::fs::seek(fd, SeekFrom::Hole(start)) {
            Ok(end) => end.min(size),
            // Shrunk since: what was announced is data to its end.
            Err(Errno::NXIO) => size,
            Err(error) => return Err(error.into()),
        };
        if end <= start {
            return Err(io::Error::other("the file system contradicts itself on where data is"));
        }
        extents.push(Extent { offset: start, length: end - start });
        from = end;
    }
    Ok(extents)
}

#[cfg(test)]
mod tests;
