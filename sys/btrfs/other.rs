//! Where there is no btrfs.

use super::{Changed, Subvolume, Uuid};
use std::io;
use std::os::fd::BorrowedFd;

fn unsupported<T>() -> io::Result<T> {
    Err(io::ErrorKind::Unsupported.into())
}

#[allow(clippy::unnecessary_wraps)] // as on Linux
pub(super) fn is_btrfs(_: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(false)
}

pub(super) fn subvolume(_: BorrowedFd<'_>) -> io::Result<Subvolume> {
    unsupported()
}

pub(super) fn subvolumes_below(_: BorrowedFd<'_>) -> io::Result<Vec<(u64, Vec<u8>)>> {
    unsupported()
}

pub(super) fn path_of_inode(_: BorrowedFd<'_>, _: u64) -> io::Result<Vec<u8>> {
    unsupported()
}

pub(super) fn names_of_inode(_: BorrowedFd<'_>, _: u64) -> io::Result<Vec<Vec<u8>>> {
    unsupported()
}

pub(super) fn create(_: BorrowedFd<'_>, _: &[u8]) -> io::Result<()> {
    unsupported()
}

pub(super) fn snapshot(_: BorrowedFd<'_>, _: &[u8], _: BorrowedFd<'_>, _: bool) -> io::Result<()> {
    unsupported()
}

pub(super) fn delete(_: BorrowedFd<'_>, _: &[u8]) -> io::Result<()> {
    unsupported()
}

pub(super) fn set_read_only(_: BorrowedFd<'_>, _: bool) -> io::Result<()> {
    unsupported()
}

pub(super) fn send_without_data(_: BorrowedFd<'_>, _: u64, _: BorrowedFd<'_>) -> io::Result<()> {
    unsupported()
}

pub(super) fn find_subvolume(_: BorrowedFd<'_>, _: &Uuid) -> io::Result<Option<Subvolume>> {
    unsupported()
}

pub(super) fn changed_inodes(
    _: BorrowedFd<'_>,
    _: BorrowedFd<'_>,
    _: u64,
    _: &mut dyn FnMut(Changed) -> bool,
) -> io::Result<()> {
    unsupported()
}
