//! The bytes of a regular file as runs of data with holes between them.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};

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

    /// Whether to go on. Who works for long without asking for bytes, as over a hole, asks now and then.
    fn go_on(&self) -> io::Result<()> {
        Ok(())
    }

    /// Whether the source is still what it was when reading began. Only a live tree can say no.
    fn is_stable(&mut self) -> io::Result<bool> {
        Ok(true)
    }
}

/// Content that ends with an error when somebody wants it to.
pub(crate) struct Interruptible<'a> {
    content: &'a mut dyn Content,
    interrupted: &'a AtomicBool,
}

impl<'a> Interruptible<'a> {
    pub(crate) fn new(content: &'a mut dyn Content, interrupted: &'a AtomicBool) -> Self {
        Self { content, interrupted }
    }
}

impl Content for Interruptible<'_> {
    fn size(&self) -> u64 {
        self.content.size()
    }

    fn extents(&self) -> &[Extent] {
        self.content.extents()
    }

    fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        self.go_on()?;
        self.content.next_data()
    }

    fn file(&self) -> Option<BorrowedFd<'_>> {
        self.content.file()
    }

    fn go_on(&self) -> io::Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(io::Error::other("interrupted"));
        }
        self.content.go_on()
    }

    fn is_stable(&mut self) -> io::Result<bool> {
        self.content.is_stable()
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
    use std::os::fd::{AsFd, AsRawFd};

    use super::*;

    #[test]
    fn an_interrupt_ends_it_within_a_hole_too() {
        let interrupted = AtomicBool::new(false);
        let mut content = MemoryContent::new("abc");
        let mut content = Interruptible::new(&mut content, &interrupted);
        assert_eq!(content.next_data().unwrap(), Some((0, &b"abc"[..])));
        content.go_on().unwrap();
        interrupted.store(true, Ordering::Relaxed);
        assert!(content.go_on().is_err() && content.next_data().is_err());
    }

    #[test]
    fn whether_it_was_stable_and_which_file_it_is_the_source_says() {
        /// A file that changes all the time.
        struct Restless(MemoryContent, std::fs::File);

        impl Content for Restless {
            fn size(&self) -> u64 {
                self.0.size()
            }

            fn extents(&self) -> &[Extent] {
                self.0.extents()
            }

            fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>> {
                self.0.next_data()
            }

            fn file(&self) -> Option<BorrowedFd<'_>> {
                Some(self.1.as_fd())
            }

            fn is_stable(&mut self) -> io::Result<bool> {
                Ok(false)
            }
        }

        let interrupted = AtomicBool::new(false);
        let mut restless = Restless(MemoryContent::new("abc"), tempfile::tempfile().unwrap());
        let number = restless.1.as_raw_fd();
        let mut content = Interruptible::new(&mut restless, &interrupted);
        assert_eq!(content.file().map(|file| file.as_raw_fd()), Some(number));
        assert!(!content.is_stable().unwrap());
        let mut content = Interruptible::new(&mut restless.0, &interrupted);
        assert!(content.file().is_none() && content.is_stable().unwrap());
    }

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
