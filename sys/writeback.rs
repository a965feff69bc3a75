//! Dirty pages of a file on their way to the device before somebody waits for them: `sync_file_range(2)`.

use std::io;
use std::os::fd::AsFd;

/// Begins to write out what was written to the `length` bytes at `from`, and does not wait for it, so that an fsync that comes later has
/// less to wait for. A hint: nothing is durable by it, and an error says nothing of the data.
pub fn begin(file: impl AsFd, from: u64, length: u64) -> io::Result<()> {
    platform::begin(file.as_fd(), from, length)
}

#[cfg(target_os = "linux")]
mod platform {
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd};

    pub(super) fn begin(file: BorrowedFd<'_>, from: u64, length: u64) -> io::Result<()> {
        let signed = |number: u64| i64::try_from(number).map_err(|_| io::ErrorKind::InvalidInput);
        let (from, length) = (signed(from)?, signed(length)?);
        // SAFETY: the call takes numbers alone, and the descriptor is open as long as it is borrowed.
        match unsafe { libc::sync_file_range(file.as_raw_fd(), from, length, libc::SYNC_FILE_RANGE_WRITE) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::io;
    use std::os::fd::BorrowedFd;

    pub(super) fn begin(_: BorrowedFd<'_>, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::io::Write as _;

    #[test]
    fn files_take_it_and_pipes_do_not() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![7; 100_000]).unwrap();
        super::begin(&file, 0, 100_000).unwrap();
        super::begin(&file, 1 << 40, 1).unwrap();
        assert!(super::begin(&file, u64::MAX, 1).is_err());
        assert!(super::begin(std::io::pipe().unwrap().1, 0, 1).is_err());
    }
}
