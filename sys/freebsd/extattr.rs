//! Extended attributes: extattr(2). Descriptors may be of `O_PATH`, where the kernel is new enough to take them.

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::{done, length};

/// Who may see an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// Whoever may see the content.
    User,
    /// The superuser.
    System,
}

impl Namespace {
    /// `EXTATTR_NAMESPACE_USER`, `EXTATTR_NAMESPACE_SYSTEM`
    fn number(self) -> c_int {
        match self {
            Self::User => 1,
            Self::System => 2,
        }
    }
}

/// The names of all attributes of a namespace, each behind one byte with its length.
pub fn list(file: impl AsFd, namespace: Namespace) -> io::Result<Vec<u8>> {
    let (file, namespace) = (file.as_fd().as_raw_fd(), namespace.number());
    // SAFETY: the buffer, if there is one, has so many bytes.
    read_all(|buffer, room| length(unsafe { libc::extattr_list_fd(file, namespace, buffer, room) }))
}

/// The value of an attribute.
pub fn get(file: impl AsFd, namespace: Namespace, name: &CStr) -> io::Result<Vec<u8>> {
    let (file, namespace) = (file.as_fd().as_raw_fd(), namespace.number());
    read_all(|buffer, room| {
        // SAFETY: the name ends with a NUL, and the buffer, if there is one, has so many bytes.
        length(unsafe { libc::extattr_get_fd(file, namespace, name.as_ptr(), buffer, room) })
    })
}

/// Sets an attribute to `value`, also where it was there.
pub fn set(file: impl AsFd, namespace: Namespace, name: &CStr, value: &[u8]) -> io::Result<()> {
    let (file, namespace) = (file.as_fd().as_raw_fd(), namespace.number());
    let data = value.as_ptr().cast::<c_void>();
    // SAFETY: the name ends with a NUL, and the value has so many bytes.
    let written = length(unsafe { libc::extattr_set_fd(file, namespace, name.as_ptr(), data, value.len()) })?;
    if written == value.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Removes an attribute.
pub fn remove(file: impl AsFd, namespace: Namespace, name: &CStr) -> io::Result<()> {
    let (file, namespace) = (file.as_fd().as_raw_fd(), namespace.number());
    // SAFETY: the name ends with a NUL.
    done(unsafe { libc::extattr_delete_fd(file, namespace, name.as_ptr()) })
}

/// Reads with as much room as it takes. The kernel cuts what has no room, without a word: only what leaves some is whole.
fn read_all(read: impl Fn(*mut c_void, usize) -> io::Result<usize>) -> io::Result<Vec<u8>> {
    const CHANGES: usize = 16;
    for _ in 0..CHANGES {
        let size = read(std::ptr::null_mut(), 0)?;
        if size == 0 {
            return Ok(Vec::new());
        }
        let mut buffer = vec![0_u8; size + 1];
        let count = read(buffer.as_mut_ptr().cast(), buffer.len())?;
        if count < buffer.len() {
            buffer.truncate(count);
            return Ok(buffer);
        }
    }
    Err(io::Error::other("an extended attribute grows while it is read"))
}
