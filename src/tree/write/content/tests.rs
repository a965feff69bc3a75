//! What the kernel copies is what reading would have given, and what it refuses once it is asked again.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::*;
use crate::archive::testing::noise;
use crate::tree::Tree;
use crate::tree::testing::Namespace;

/// Files of one directory.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// Where files can share their data; none unless the environment says so.
    fn sharing() -> Vec<Self> {
        let mut places = Vec::new();
        for variable in ["REMAND_TEST_XFS", "REMAND_TEST_BTRFS"] {
            match std::env::var_os(variable).filter(|place| !place.is_empty()) {
                Some(place) => places.push(Self(tempfile::tempdir_in(place).unwrap())),
                None => eprintln!("SKIPPED clones: {variable} names no directory"),
            }
        }
        places
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn file(&self, name: &str) -> File {
        File::options().read(true).write(true).create(true).truncate(true).open(self.path(name)).unwrap()
    }

    /// A file of this size with noise in these places.
    fn source(&self, name: &str, size: u64, data: &[Extent]) -> File {
        let file = self.file(name);
        file.set_len(size).unwrap();
        for extent in data {
            file.write_all_at(&noise(usize::try_from(extent.length).unwrap()), extent.offset).unwrap();
        }
        file
    }

    fn target(&self) -> OwnedFd {
        self.file("target").into()
    }

    /// Whether the kernel copies from one to another.
    fn are_copied(&self) -> bool {
        let source = self.source("probe", 10, &extents(&[(0, 10)]));
        platform::copy_range(source.as_fd(), self.file("copy of probe").as_fd(), 0, 10) == Ok(10)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap()
    }
}

fn extents(runs: &[(u64, u64)]) -> Vec<Extent> {
    runs.iter().map(|&(offset, length)| Extent { offset, length }).collect()
}

#[test]
fn the_kernel_copies_data_and_leaves_holes() {
    let files = Files::new();
    if !files.are_copied() {
        return eprintln!("SKIPPED copies by the kernel: it refuses them here");
    }
    let most = 2 * COPY_BYTES as u64 + 100;
    for (size, runs) in [
        (1, vec![(0, 1)]),
        (5000, vec![(0, 5000)]),
        (most, vec![(0, most)]),
        (1 << 20, vec![]),
        (1 << 20, vec![(0, 4096)]),
        (1 << 20, vec![(65_536, 4096), (131_072, 100)]),
        ((1 << 20) + 5, vec![(1 << 20, 5)]),
    ] {
        let data = extents(&runs);
        let source = files.source("source", size, &data);
        let (mut shortcuts, target) = (Shortcuts::default(), files.target());
        assert!(shortcuts.copy(&target, source.as_fd(), &data, size).unwrap());
        assert!(files.read("target") == files.read("source"), "{size} {runs:?}");
        assert!(!shortcuts.no_copies);
    }
}

#[test]
fn no_more_is_copied_than_was_announced() {
    let files = Files::new();
    let source = files.source("source", 10_000, &extents(&[(0, 10_000)]));
    let target = files.target();
    let mut shortcuts = Shortcuts::default();
    if shortcuts.copy(&target, source.as_fd(), &extents(&[(0, 6000)]), 6000).unwrap() {
        assert!(files.read("target") == files.read("source")[..6000]);
    }
    // It has become shorter: reading finds out.
    let target = files.target();
    assert!(!shortcuts.copy(&target, source.as_fd(), &extents(&[(0, 11_000)]), 11_000).unwrap());
    assert_eq!(files.read("target"), b"");
}

#[test]
fn what_is_refused_for_good_is_not_asked_again() {
    for error in [Errno::XDEV, Errno::OPNOTSUPP, Errno::NOTTY, Errno::NOSYS] {
        assert!(is_never(error));
    }
    for error in [Errno::IO, Errno::INVAL, Errno::NOSPC, Errno::PERM, Errno::DQUOT, Errno::TXTBSY] {
        assert!(!is_never(error));
    }
    // A pipe is no file to clone or copy, which says nothing of others.
    let files = Files::new();
    let (reader, _writer) = std::io::pipe().unwrap();
    let (mut shortcuts, target) = (Shortcuts::default(), files.target());
    assert!(!shortcuts.copy(&target, reader.as_fd(), &extents(&[(0, 10)]), 10).unwrap());
    assert!(!shortcuts.no_copies);
    // Another file system's file, where the kernel does not copy from one to the other.
    let elsewhere = tempfile::tempfile_in("/dev/shm").unwrap();
    elsewhere.write_all_at(&[7; 10], 0).unwrap();
    if !shortcuts.copy(&target, elsewhere.as_fd(), &extents(&[(0, 10)]), 10).unwrap() {
        assert!(shortcuts.no_copies);
    }
    // What was learned is kept.
    let mut learned = Shortcuts { no_clones: false, no_copies: true };
    learned.learn(Shortcuts { no_clones: true, no_copies: false });
    assert!(learned.no_clones && learned.no_copies);
    let source = files.source("source", 100, &extents(&[(0, 100)]));
    assert!(!Shortcuts::clone(&mut learned, &target, source.as_fd(), 100).unwrap());
    assert!(!learned.copy(&target, source.as_fd(), &extents(&[(0, 100)]), 100).unwrap());
    assert_eq!(files.read("target"), b"");
}

#[test]
fn a_clone_has_the_size_that_was_announced() {
    for files in Files::sharing() {
        let data = extents(&[(0, 300_000)]);
        let source = files.source("source", 400_000, &data);
        let mut shortcuts = Shortcuts::default();
        for size in [400_000, 250_000, 500_000] {
            let target = files.target();
            assert!(Shortcuts::clone(&mut shortcuts, &target, source.as_fd(), size).unwrap());
            let mut expected = files.read("source");
            expected.resize(usize::try_from(size).unwrap(), 0);
            assert!(files.read("target") == expected, "{size}");
        }
        // Another file system has no clones of it, and never will.
        let elsewhere = Files::new();
        let target = elsewhere.target();
        assert!(!Shortcuts::clone(&mut shortcuts, &target, source.as_fd(), 400_000).unwrap());
        assert!(shortcuts.no_clones);
    }
}

#[test]
fn a_file_that_cannot_be_cloned_says_nothing_of_others() {
    for files in Files::sharing() {
        // On btrfs what is not copied on write does not go with what is.
        let source = files.source("source", 100_000, &extents(&[(0, 100_000)]));
        let target = files.target();
        drop(std::process::Command::new("chattr").arg("+C").arg(files.path("target")).output());
        let mut shortcuts = Shortcuts::default();
        let cloned = Shortcuts::clone(&mut shortcuts, &target, source.as_fd(), 100_000).unwrap();
        assert_eq!(files.read("target").len(), if cloned { 100_000 } else { 0 });
        assert!(!shortcuts.no_clones);
        std::fs::remove_file(files.path("target")).unwrap();
        assert!(Shortcuts::clone(&mut shortcuts, &files.target(), source.as_fd(), 100_000).unwrap());
        assert!(files.read("target") == files.read("source"));
    }
}

/// Content of a file that nobody may read.
struct Unreadable(File, Vec<Extent>);

impl Content for Unreadable {
    fn size(&self) -> u64 {
        self.1.iter().map(|extent| extent.length).sum()
    }

    fn extents(&self) -> &[Extent] {
        &self.1
    }

    fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        Err(io::Error::other("it was read"))
    }

    fn file(&self) -> Option<BorrowedFd<'_>> {
        Some(self.0.as_fd())
    }
}

#[test]
fn what_can_be_copied_by_the_kernel_is_not_read() {
    let files = Files::new();
    if !files.are_copied() {
        return eprintln!("SKIPPED copies by the kernel: it refuses them here");
    }
    let data = extents(&[(0, 5000)]);
    let mut content = Unreadable(files.source("source", 5000, &data), data);
    let entry = Tree::open(files.0.path()).unwrap().root_node().unwrap().entry;
    let target = files.target();
    Shortcuts::default().write(&target, &TreePath::root(), &entry, Some(&mut content)).unwrap();
    assert!(files.read("target") == files.read("source"));
}

#[test]
fn a_disk_that_is_full_amid_a_piece_is_told() {
    let place = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=1m t {}", place.path().display());
    let small = Namespace::new(place.path(), &mount);
    let file = OwnedFd::from(File::create(small.inside.join("file")).unwrap());
    let error = write_at(&file, &noise(3 << 19), 0).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
}
