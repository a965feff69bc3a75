//! What differs between operating systems, one module a platform with the same functions.
//!
//! Everything here acts on one entry and says with the system's own error what was refused.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;

use rustix::fs::FileType;

use super::{Acl, Kind, Stat, Timestamp};

pub(crate) mod nfs4_acl;
pub(crate) mod posix_acl;

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
pub(super) use linux::*;

#[cfg(target_os = "freebsd")]
mod freebsd;
// Pure, and so tested everywhere.
#[cfg(any(target_os = "freebsd", test))]
mod forms;
#[cfg(target_os = "freebsd")]
pub(super) use freebsd::*;

/// Where an entry is.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    /// Its directory.
    pub dir: BorrowedFd<'a>,
    /// Its name there; `.` for the directory itself.
    pub name: &'a [u8],
    /// The entry itself, open. Regular files and directories are given this way: it is faster, and
    /// file flags can't be had otherwise. Others cannot be opened without side effects.
    pub own: Option<BorrowedFd<'a>>,
}

/// What was seen with one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// What everybody may know.
    pub stat: Stat,
    /// Whether flags forbid changes of the entry, where the call tells.
    pub fixed: Option<bool>,
}

/// Attributes that are kept apart from the inode.
#[derive(Debug, Default)]
pub(super) struct Attributes {
    /// As in [`super::Entry::xattrs`].
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// As in [`super::Entry::acl`].
    pub acl: Acl,
    /// What may be there and could not be asked for.
    pub unread: Option<&'static str>,
}

/// Kind by the system's name for it.
pub(super) fn kind_of(found: FileType) -> Option<Kind> {
    Some(match found {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Symlink,
        FileType::Fifo => Kind::Fifo,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Socket => Kind::Socket,
        FileType::Unknown => return None,
    })
}

/// The error for a kind that no platform of ours has (a whiteout, a door).
fn unknown_kind(mode: u32) -> std::io::Error {
    std::io::Error::other(format!("unknown type of entry, mode {mode:o}"))
}

/// A time from the system's numbers. File systems only give nanoseconds below a second.
fn timestamp(seconds: i64, nanoseconds: i64) -> Timestamp {
    Timestamp { seconds, nanoseconds: u32::try_from(nanoseconds.clamp(0, 999_999_999)).unwrap_or(0) }
}
