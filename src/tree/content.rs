//! The bytes of a regular file as runs of data with holes between them.

use std::io;
use std::os::fd::BorrowedFd;

/// A run of data in a file; what lies between two runs is a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Where the run begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes; never 0.
    pub length: u64,
}

/// Content of one regular file, read once from front to back.
pub trait Content {
    /// Logical length in bytes, holes included.
    fn size(&self) -> u64;

    /// The runs of data, ascending and apart from each other. A file without holes has one (none
    /// when it is empty); a file that is all hole has none.
    fn extents(&self) -> &[Extent];

    /// The next bytes of data and where they lie, or `None` after the last. Never an empty slice,
    /// never a byte outside of [`Content::extents`].
    fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>>;

    /// The open file whose content this is, for who can share or copy its data without reading it. `None` where there is
    /// none, or who hands the bytes on must see them.
    fn file(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Whether the source is still what it was when reading began. Only a live tree can say no.
    fn is_stable(&mut self) -> io::Result<bool> {
        Ok(true)
    }
}

/// Content that lies in memory, without holes.
#[derive(Clone, Debug)]
pub struct MemoryContent {
    bytes: Vec<u8>,
    extents: Vec<Extent>,
    taken: bool,
}

impl MemoryContent {
    /// Content of these bytes.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        let extents = (!bytes.is_empty()).then_some(Extent { offset: 0, length: bytes.len() as u64 });
        Self { bytes, extents: extents.into_iter().collect(), taken: false }
    }
}

impl Content for MemoryContent {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn extents(&self) -> &[Extent] {
        &self.extents
    }

    fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        let first = !std::mem::replace(&mut self.taken, true);
        Ok((first && !self.bytes.is_empty()).then_some((0, &self.bytes[..])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_in_memory_come_once_and_never_empty() {
        let mut content = MemoryContent::new(*b"abc");
        assert_eq!((content.size(), content.extents()), (3, &[Extent { offset: 0, length: 3 }][..]));
        assert_eq!(content.next_data().unwrap(), Some((0, &b"abc"[..])));
        assert_eq!(content.next_data().unwrap(), None);
        let mut empty = MemoryContent::new(Vec::new());
        assert_eq!((empty.size(), empty.extents().len()), (0, 0));
        assert_eq!(empty.next_data().unwrap(), None);
    }
}
