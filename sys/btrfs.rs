//! btrfs: what its ioctls tell of subvolumes and inodes, and what they do to subvolumes.
//!
//! Everything goes relative to descriptors: no name is resolved further than one component, so nobody who moves directories about
//! meanwhile leads a call elsewhere. The numbers and structures are those of `linux/btrfs.h`.

use std::io;
use std::os::fd::AsFd;

#[cfg(target_os = "linux")]
#[path = "btrfs/linux.rs"]
mod platform;
#[cfg(not(target_os = "linux"))]
#[path = "btrfs/other.rs"]
mod platform;

/// Identity of a subvolume.
pub type Uuid = [u8; 16];

/// The inode number that every subvolume's own directory has.
pub const ROOT_INODE: u64 = 256;
/// The inode number of the empty directory that a snapshot shows where the original holds another subvolume.
pub const PLACEHOLDER_INODE: u64 = 2;

/// What is known of a subvolume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subvolume {
    /// Its number in the file system. Later ones have higher numbers, and none is given twice.
    pub id: u64,
    /// Identity.
    pub uuid: Uuid,
    /// Of which subvolume it is a snapshot.
    pub parent_uuid: Option<Uuid>,
    /// From which subvolume it was received.
    pub received_uuid: Option<Uuid>,
    /// Whether nothing in it can be changed.
    pub read_only: bool,
    /// Which transaction changed something in it last.
    pub changed_transaction: u64,
    /// Which transaction made it.
    pub created_transaction: u64,
    /// When it was made, in seconds since 1970.
    pub created_seconds: i64,
}

/// Whether a descriptor is of a file on btrfs.
pub fn is_btrfs(file: impl AsFd) -> io::Result<bool> {
    platform::is_btrfs(file.as_fd())
}

/// The subvolume that a file or directory is in.
pub fn subvolume(file: impl AsFd) -> io::Result<Subvolume> {
    platform::subvolume(file.as_fd())
}

/// The subvolumes directly inside the subvolume of `directory` that lie below `directory`: the number of each, and its path
/// relative to `directory`. No order is promised.
pub fn subvolumes_below(directory: impl AsFd) -> io::Result<Vec<(u64, Vec<u8>)>> {
    platform::subvolumes_below(directory.as_fd())
}

/// A path of an inode in the subvolume that `file` is in, relative to that subvolume's root; "" is the root itself.
pub fn path_of_inode(file: impl AsFd, inode: u64) -> io::Result<Vec<u8>> {
    platform::path_of_inode(file.as_fd(), inode)
}

/// All paths of an inode in the subvolume that `file` is in, relative to that subvolume's root. Reliable only where nothing
/// changes meanwhile, as in a read-only subvolume. Needs root.
pub fn names_of_inode(file: impl AsFd, inode: u64) -> io::Result<Vec<Vec<u8>>> {
    platform::names_of_inode(file.as_fd(), inode)
}

/// The subvolume with this identity in the file system that `file` is in; `None` if it is gone, or the file system does not know
/// identities. Needs root.
pub fn find_subvolume(file: impl AsFd, uuid: &Uuid) -> io::Result<Option<Subvolume>> {
    platform::find_subvolume(file.as_fd(), uuid)
}

/// An inode that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Its number.
    pub inode: u64,
    /// Whether it is a directory.
    pub is_directory: bool,
    /// One of its names, and the number of the directory that it is in, where it lay near: others are to be had by
    /// [`names_of_inode`].
    pub name: Option<(u64, Vec<u8>)>,
}

/// Calls `told` for every inode of the subvolume that `file` is in that was changed in the transaction `since` or later, until it
/// returns false; for its content, its attributes, and where it is a directory for the names in it. One that has no name any more
/// is left out, and so is one that differs from the same of the subvolume `other` in nothing but when it was last read. Reliable
/// only where nothing changes meanwhile. The cost follows the change. Needs root.
pub fn changed_inodes(
    file: impl AsFd,
    other: impl AsFd,
    since: u64,
    told: &mut dyn FnMut(Changed) -> bool,
) -> io::Result<()> {
    platform::changed_inodes(file.as_fd(), other.as_fd(), since, told)
}

/// Makes an empty subvolume `name` in `directory`. `AlreadyExists` if there is anything.
pub fn create(directory: impl AsFd, name: &[u8]) -> io::Result<()> {
    platform::create(directory.as_fd(), name)
}

/// Makes a snapshot `name` in `directory` of the subvolume whose own directory is `source`. `AlreadyExists` if there is anything.
pub fn snapshot(directory: impl AsFd, name: &[u8], source: impl AsFd, read_only: bool) -> io::Result<()> {
    platform::snapshot(directory.as_fd(), name, source.as_fd(), read_only)
}

/// Deletes the subvolume `name` in `directory`, also a read-only one, but not one that holds others. No link is followed.
pub fn delete(directory: impl AsFd, name: &[u8]) -> io::Result<()> {
    platform::delete(directory.as_fd(), name)
}

/// Makes a subvolume read-only or writable. `directory` is the subvolume's own.
pub fn set_read_only(directory: impl AsFd, read_only: bool) -> io::Result<()> {
    platform::set_read_only(directory.as_fd(), read_only)
}

/// Writes the stream to `target`, mostly a pipe, that makes the read-only subvolume number `parent` into the read-only one whose
/// own directory is `directory`, without the content of files. Returns when all of it is written. Needs root.
pub fn send_without_data(directory: impl AsFd, parent: u64, target: impl AsFd) -> io::Result<()> {
    platform::send_without_data(directory.as_fd(), parent, target.as_fd())
}

#[cfg(test)]
#[path = "btrfs/tests.rs"]
mod tests;
