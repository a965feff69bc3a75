//! Where file systems are mounted.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The absolute paths where file systems are mounted, as this process sees them: on Linux out of `/proc`, on FreeBSD by getfsstat(2),
/// which names no more than 1023 bytes of each. No order is promised.
pub fn points() -> io::Result<Vec<PathBuf>> {
    platform::points()
}

/// The first of the mount points that lies below `path` or is it.
pub fn inside<'a>(points: &'a [PathBuf], path: &Path) -> Option<&'a Path> {
    points.iter().map(PathBuf::as_path).find(|point| point.starts_with(path))
}

/// The mount point in a line of `/proc/self/mountinfo`; `None` where it is none.
#[cfg(any(target_os = "linux", test))]
fn point_of(line: &[u8]) -> Option<PathBuf> {
    let escaped = line.split(|byte| *byte == b' ').nth(4)?;
    let mut point = Vec::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        // What would part fields or lines is written as three octal digits.
        match (byte, after) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..]) => {
                point.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => point.push(byte),
        }
    }
    absolute(point)
}

fn absolute(point: Vec<u8>) -> Option<PathBuf> {
    let point = PathBuf::from(OsString::from_vec(point));
    point.is_absolute().then_some(point)
}

#[cfg(target_os = "linux")]
mod platform {
    use super::{PathBuf, io, point_of};

    pub(super) fn points() -> io::Result<Vec<PathBuf>> {
        let table = std::fs::read("/proc/self/mountinfo")?;
        Ok(table.split(|byte| *byte == b'\n').filter_map(point_of).collect())
    }
}

#[cfg(target_os = "freebsd")]
mod platform {
    use super::{PathBuf, absolute, io};

    /// Mounts that may come between two calls.
    const SPARE: usize = 16;

    pub(super) fn points() -> io::Result<Vec<PathBuf>> {
        loop {
            // SAFETY: without a buffer it only counts.
            let count = unsafe { libc::getfsstat(std::ptr::null_mut(), 0, libc::MNT_NOWAIT) };
            let room = usize::try_from(count).map_err(|_| io::Error::last_os_error())? + SPARE;
            let mut found: Vec<libc::statfs> = Vec::with_capacity(room);
            let bytes = room * size_of::<libc::statfs>();
            let bytes = libc::c_long::try_from(bytes).map_err(|_| io::ErrorKind::OutOfMemory)?;
            // SAFETY: the buffer has so many bytes.
            let count = unsafe { libc::getfsstat(found.as_mut_ptr(), bytes, libc::MNT_NOWAIT) };
            let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
            if count >= room {
                continue; // there may be more
            }
            // SAFETY: the kernel has written so many.
            unsafe { found.set_len(count) };
            return Ok(found.iter().filter_map(|mount| absolute(name(&mount.f_mntonname))).collect());
        }
    }

    /// The bytes before the first NUL.
    fn name(field: &[libc::c_char]) -> Vec<u8> {
        field.iter().take_while(|&&byte| byte != 0).map(|byte| byte.cast_unsigned()).collect()
    }
}

#[cfg(not(any(target_os = "linux", target_os = "freebsd")))]
mod platform {
    use super::{PathBuf, io};

    pub(super) fn points() -> io::Result<Vec<PathBuf>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_mount_point_comes_out_of_its_line() {
        let line = b"36 35 98:0 /mnt1 /mnt\\0402\\134\\011x rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(point_of(line), Some(PathBuf::from("/mnt 2\\\tx")));
        assert_eq!(point_of(b"36 35 98:0 /mnt1 /a\\9 rw"), Some(PathBuf::from("/a\\9")));
        let odd = point_of(b"1 2 0:1 / /\xff\\377 rw").unwrap();
        assert_eq!(odd.as_os_str(), OsStr::from_bytes(b"/\xff\xff"));
        for none in [&b""[..], b"1 2 3 4", b"1 2 0:1 / relative rw"] {
            assert_eq!(point_of(none), None);
        }
    }

    #[test]
    fn only_what_lies_in_a_path_is_inside_of_it() {
        let points = ["/", "/a/bc", "/a/b/c", "/proc"].map(PathBuf::from);
        for (path, point) in [
            ("/a/b", Some("/a/b/c")),
            ("/a/b/c", Some("/a/b/c")),
            ("/a/b/c/d", None),
            ("/a/b/cc", None),
            ("/pro", None),
        ] {
            assert_eq!(inside(&points, Path::new(path)), point.map(Path::new), "{path}");
        }
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    fn the_root_is_mounted() {
        assert!(points().unwrap().contains(&PathBuf::from("/")));
    }
}
