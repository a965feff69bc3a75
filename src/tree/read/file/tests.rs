//! Holes that a file system does not tell are found, and nothing else is taken for one.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use super::*;

const BLOCK: u64 = 64 << 10;

fn written(size: u64, data: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let file = tempfile::tempfile().unwrap();
    file.set_len(size).unwrap();
    for &(offset, length) in data {
        file.write_all_at(&vec![7; usize::try_from(length).unwrap()], offset).unwrap();
    }
    let extents = written_extents(&OwnedFd::from(file), size).unwrap();
    extents.iter().map(|extent| (extent.offset, extent.length)).collect()
}

#[test]
fn blocks_with_something_in_them_are_data() {
    assert_eq!(written(0, &[]), []);
    assert_eq!(written(10 * BLOCK, &[]), []);
    assert_eq!(written(1, &[(0, 1)]), [(0, 1)]);
    assert_eq!(written(BLOCK, &[(BLOCK - 1, 1)]), [(0, BLOCK)]);
    // A single byte, at the beginning and the end of a block; the last one is shorter.
    let size = 9 * BLOCK + 100;
    assert_eq!(written(size, &[(2 * BLOCK, 1)]), [(2 * BLOCK, BLOCK)]);
    assert_eq!(written(size, &[(3 * BLOCK - 1, 1)]), [(2 * BLOCK, BLOCK)]);
    assert_eq!(written(size, &[(3 * BLOCK - 1, 2)]), [(2 * BLOCK, 2 * BLOCK)]);
    assert_eq!(written(size, &[(9 * BLOCK, 1)]), [(9 * BLOCK, 100)]);
    assert_eq!(written(size, &[(size - 1, 1)]), [(9 * BLOCK, 100)]);
    assert_eq!(written(size, &[(0, size)]), [(0, size)]);
    let both = [(BLOCK, 1), (2 * BLOCK, 1), (4 * BLOCK, 1), (8 * BLOCK, BLOCK + 1)];
    assert_eq!(written(size, &both), [(BLOCK, 2 * BLOCK), (4 * BLOCK, BLOCK), (8 * BLOCK, BLOCK + 100)]);
}

#[test]
fn what_is_gone_meanwhile_is_no_data() {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&vec![7; usize::try_from(3 * BLOCK).unwrap()], 0).unwrap();
    let extents = written_extents(&OwnedFd::from(file), 10 * BLOCK).unwrap();
    assert_eq!(extents, [Extent { offset: 0, length: 3 * BLOCK }]);
}

#[test]
fn a_file_that_shrinks_gives_zeros_and_says_so() {
    let path = tempfile::NamedTempFile::new().unwrap();
    let size = 2 * PIECE_BYTES + 100;
    for (left, stable) in [(size, true), (size - 1, false), (PIECE_BYTES + 5, false), (0, false)] {
        std::fs::write(path.path(), vec![7; usize::try_from(size).unwrap()]).unwrap();
        let file = File::options().read(true).write(true).open(path.path()).unwrap();
        let stat = platform::stat(file.as_fd(), b"", None).unwrap().stat;
        let mut content = FileContent::new(OwnedFd::from(file.try_clone().unwrap()), stat).unwrap();
        file.set_len(left).unwrap();
        let mut read = Vec::new();
        while let Some((offset, data)) = content.next_data().unwrap() {
            assert_eq!(offset, read.len() as u64);
            read.extend_from_slice(data);
        }
        let left = usize::try_from(left).unwrap();
        assert!(read.len() as u64 == size && read[..left].iter().all(|byte| *byte == 7));
        assert!(read[left..].iter().all(|byte| *byte == 0));
        // It has its old size again, and even the times: what was read of it is still not what it was.
        file.set_len(size).unwrap();
        let now = platform::stat(file.as_fd(), b"", None).unwrap().stat;
        content.stat = now;
        assert_eq!(content.is_stable().unwrap(), stable);
    }
}
