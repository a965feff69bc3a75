//! Reading a snapshot's files: where it lies.

use super::Btrfs;
use crate::dir::DIRECTORY;
use crate::{Error, OpenTree, Result, Snapshot};
use rustix::fs::{self, CWD, Mode};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

pub(super) fn open(pool: &Btrfs, snapshot: &Snapshot) -> Result<Box<dyn OpenTree>> {
    let path = pool.directory_of(snapshot)?;
    let held = fs::openat(CWD, &path, DIRECTORY, Mode::empty()).map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR | Errno::LOOP => Error::NotFound(format!("{} in it", path.display())),
        errno => Error::io("open", path.display().to_string(), errno.into()),
    })?;
    Ok(Box::new(View { path, _held: held }))
}

/// A directory that is there anyway.
#[derive(Debug)]
struct View {
    path: PathBuf,
    _held: OwnedFd,
}

impl OpenTree for View {
    fn path(&self) -> &Path {
        &self.path
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
