//! What changed between two subvolumes of one lineage.
//!
//! Where the kernel knows how they come from each other, the inodes that were changed since they parted tell it (`stamped`);
//! else a stream without content, as of `btrfs send --no-data`, played through on the names of the base (`sent`).

mod lineage;
mod sent;
mod stamped;

pub use sent::changes as sent_changes;

use super::Btrfs;
use crate::{Error, Hint, NativeDiff, Result, Snapshot};
use remand_sys::btrfs::{self, ROOT_INODE};
use rustix::fs::{Mode, OFlags};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

impl NativeDiff for Btrfs {
    fn changes(&self, base: &Snapshot, now: &Snapshot, hint: &mut dyn FnMut(Hint) -> bool) -> Result<()> {
        changes(&self.directory_of(base)?, &self.directory_of(now)?, hint)
    }

    fn names_of(&self, tree: &Path, inode: u64) -> Result<Option<Vec<Vec<u8>>>> {
        names_of(tree, inode)
    }
}

/// Calls `hint` for everything that may differ between two read-only subvolumes of one lineage, until it returns false.
pub fn changes(base: &Path, now: &Path, hint: &mut dyn FnMut(Hint) -> bool) -> Result<()> {
    let subject = now.display().to_string();
    let (base, now) = (Subvolume::open(base)?, Subvolume::open(now)?);
    let failed = |source| Error::io("find the lineage of", &subject, source);
    match lineage::parted(&base, &now).map_err(failed)? {
        Some(since) => stamped::changes([&base, &now], since, &subject, hint),
        None => sent::between(base, &now, &subject, hint),
    }
}

/// A subvolume by its descriptor: paths in it can be as long as the system allows.
#[derive(Debug)]
struct Subvolume {
    directory: OwnedFd,
    known: btrfs::Subvolume,
}

impl Subvolume {
    /// Fails if it is no subvolume, or if it can be written: hints of what changes meanwhile would be of no moment at all.
    fn open(path: &Path) -> Result<Self> {
        let subject = || path.display().to_string();
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let directory = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| Error::io("open", subject(), error.into()))?;
        let known = btrfs::subvolume(&directory)
            .map_err(|source| Error::io("tell the subvolume of", subject(), source))?;
        let stat = rustix::fs::fstat(&directory);
        let inode = stat.map_err(|error| Error::io("look at", subject(), error.into()))?.st_ino;
        if inode != ROOT_INODE || !known.read_only {
            let what = "telling what changed in what is no read-only subvolume";
            return Err(Error::Unsupported { subject: subject(), what });
        }
        Ok(Self { directory, known })
    }
}

/// All names of an inode in the read-only subvolume at `tree`; `None` if that is no subvolume's own directory, so that names
/// could lie outside of it.
pub fn names_of(tree: &Path, inode: u64) -> Result<Option<Vec<Vec<u8>>>> {
    let failed = |source| Error::io("find all names of an inode in", tree.display().to_string(), source);
    let opened = std::fs::File::open(tree).map_err(failed)?;
    if opened.metadata().map_err(failed)?.ino() != ROOT_INODE {
        return Ok(None);
    }
    btrfs::names_of_inode(&opened, inode).map(Some).map_err(failed)
}
