//! What FreeBSD's file systems keep of an entry that others do not have, or have otherwise.
//!
//! Everything goes through a descriptor of the entry, or of its directory with the entry's name, and follows no link. The numbers are
//! those of `sys/acl.h`, `sys/extattr.h`, `sys/stat.h` and `sys/un.h`; the functions are those of libc.

pub mod acl;
pub mod copy;
pub mod extattr;
pub mod flags;
pub mod socket;

use std::io;

/// What a call says that gives a length, or -1 and the reason in `errno`.
fn length(answer: isize) -> io::Result<usize> {
    usize::try_from(answer).map_err(|_| io::Error::last_os_error())
}

/// What a call says that gives 0, or -1 and the reason in `errno`.
fn done(answer: std::ffi::c_int) -> io::Result<()> {
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
