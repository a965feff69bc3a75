//! File flags: chflags(2).

use std::ffi::{CStr, c_int};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::done;

/// Sets the flags of a file that is open for more than its path.
pub fn set(file: impl AsFd, bits: u32) -> io::Result<()> {
    // SAFETY: a plain system call on a descriptor that is open.
    done(unsafe { libc::fchflags(file.as_fd().as_raw_fd(), bits.into()) })
}

/// Sets the flags of `name` in `directory`, of a symbolic link itself.
pub fn set_at(directory: impl AsFd, name: &CStr, bits: u32) -> io::Result<()> {
    at(directory, name, bits, libc::AT_SYMLINK_NOFOLLOW | libc::AT_RESOLVE_BENEATH)
}

/// Sets the flags of the entry that a descriptor of `O_PATH` stands for.
pub fn set_of_path(entry: impl AsFd, bits: u32) -> io::Result<()> {
    at(entry, c"", bits, libc::AT_EMPTY_PATH)
}

fn at(directory: impl AsFd, name: &CStr, bits: u32, how: c_int) -> io::Result<()> {
    let directory = directory.as_fd().as_raw_fd();
    // SAFETY: the name ends with a NUL.
    done(unsafe { libc::chflagsat(directory, name.as_ptr(), bits.into(), how) })
}
