//! Copies that the kernel makes: copy_file_range(2).

use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::length;

/// Copies up to `length_bytes` at `offset` of `from` to the same place in `to`, and says how many: 0 at the end of the file. ZFS shares
/// the blocks where it can.
pub fn range(from: impl AsFd, to: impl AsFd, offset: u64, length_bytes: usize) -> io::Result<usize> {
    let start = libc::off_t::try_from(offset).map_err(|_| io::ErrorKind::InvalidInput)?;
    let (mut from_at, mut to_at) = (start, start);
    // SAFETY: both offsets are numbers that the call may write.
    length(unsafe {
        libc::copy_file_range(
            from.as_fd().as_raw_fd(),
            &raw mut from_at,
            to.as_fd().as_raw_fd(),
            &raw mut to_at,
            length_bytes,
            0,
        )
    })
}
