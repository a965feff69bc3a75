//! Sockets in the file system: bindat(2).

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use super::done;

/// Longest name that an address has room for, in bytes: no NUL needs to follow.
pub const MAX_NAME_BYTES: usize = 104;

unsafe extern "C" {
    fn bindat(
        directory: c_int,
        socket: c_int,
        address: *const libc::sockaddr,
        length: libc::socklen_t,
    ) -> c_int;
}

/// Binds a local socket to `name` in `directory`, which makes an entry. `AddrInUse` if there is anything.
///
/// # Errors
///
/// [`io::ErrorKind::InvalidInput`] for a name that is empty, or longer than [`MAX_NAME_BYTES`].
pub fn bind(directory: impl AsFd, socket: impl AsFd, name: &[u8]) -> io::Result<()> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES || name.contains(&0) {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let head = size_of::<libc::sockaddr_un>() - MAX_NAME_BYTES;
    let length = head + name.len();
    let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
    let mut address = libc::sockaddr_un {
        sun_len: u8::try_from(length).map_err(too_long)?,
        sun_family: libc::sa_family_t::try_from(libc::AF_UNIX).map_err(too_long)?,
        sun_path: [0; MAX_NAME_BYTES],
    };
    for (place, byte) in address.sun_path.iter_mut().zip(name) {
        *place = byte.cast_signed();
    }
    let (directory, socket) = (directory.as_fd().as_raw_fd(), socket.as_fd().as_raw_fd());
    let length = libc::socklen_t::try_from(length).map_err(too_long)?;
    // SAFETY: the address has at least `length` bytes.
    done(unsafe { bindat(directory, socket, (&raw const address).cast(), length) })
}
