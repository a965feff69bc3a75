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

/// Whether this process sees what the kernel mounts of its own accord, as ZFS mounts a snapshot that is looked into. On Linux that comes
/// into the mount namespace that the system was booted with, and not into a container's or that of a service with directories
/// of its own. Where that cannot be found out, it is taken to be so.
pub fn automounts_are_seen() -> bool {
    platform::automounts_are_seen()
}

/// By the names of namespaces: the process's own of PIDs and of mounts, and that of mounts of the first process in it.
#[cfg(any(target_os = "linux", test))]
fn is_first(pids: Option<&Path>, mounts: Option<&Path>, mounts_of_first: Option<&Path>) -> bool {
    // `PROC_PID_INIT_INO` of linux/proc_ns.h. In another namespace of PIDs the first process is the container's.
    let booted = Path::new("pid:[4026531836]");
    pids.is_none_or(|pids| pids == booted) && (mounts_of_first.is_none() || mounts == mounts_of_first)
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
    use super::{PathBuf, io, is_first, point_of};

    pub(super) fn automounts_are_seen() -> bool {
        let name = |of: &str| std::fs::read_link(format!("/proc/{of}")).ok();
        let [pids, mounts, of_first] = ["self/ns/pid", "self/ns/mnt", "1/ns/mnt"].map(name);
        is_first(pids.as_deref(), mounts.as_deref(), of_first.as_deref())
    }

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

    pub(super) fn automounts_are_seen() -> bool {
        true
    }

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

    pub(super) fn automounts_are_seen() -> bool {
        true
    }

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
    fn a_namespace_that_the_system_was_not_booted_with_is_told() {
        let [booted, other] = ["pid:[4026531836]", "pid:[4026532201]"].map(Path::new);
        let [first, own] = ["mnt:[4026531841]", "mnt:[4026532199]"].map(Path::new);
        assert!(is_first(Some(booted), Some(first), Some(first)));
        assert!(!is_first(Some(booted), Some(own), Some(first)), "a service's");
        assert!(!is_first(Some(other), Some(own), Some(own)), "a container's");
        assert!(is_first(Some(booted), Some(own), None), "no right to look");
        assert!(is_first(None, None, None), "no /proc");
    }

    #[test]
    #[cfg(any(target_os = "linux", target_os = "freebsd"))]
    fn the_root_is_mounted() {
        assert!(points().unwrap().contains(&PathBuf::from("/")));
    }
}
