//! Removing an entry with all below it, whatever its depth, flags and number of names.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::AtFlags;
use rustix::io::Errno;

use super::super::platform::{self, Place};
use super::super::read::list;
use super::super::{Error, Kind, Result, TreePath};
use super::attributes::Loosened;
use super::descent::{Descent, Refused};
use super::failed;

/// Removes `name` from `dir`, which is ready for changes. `path` is for messages.
pub(super) fn remove(dir: &Arc<OwnedFd>, name: &[u8], path: &TreePath, device: u64) -> Result<()> {
    let mut removal = Removal { at: Descent::new(Arc::clone(dir), device), path, open: Vec::new() };
    removal.entry(name)?;
    loop {
        // The next directory of the deepest one that is open; it is empty when there is none left.
        let next = removal.open.last_mut().map(|(_, directories)| directories.pop());
        match next {
            None => return Ok(()),
            Some(Some(name)) => removal.enter(&name)?,
            Some(None) => removal.leave()?,
        }
    }
}

struct Removal<'a> {
    at: Descent,
    path: &'a TreePath,
    /// Names of the directories from the first to the deepest, and of the directories in each that
    /// remain.
    open: Vec<(Vec<u8>, Vec<Vec<u8>>)>,
}

impl Removal<'_> {
    /// Removes an entry of the deepest directory, or enters it if it is a directory.
    fn entry(&mut self, name: &[u8]) -> Result<()> {
        match unlink(&self.at.top(), name) {
            Ok(()) => Ok(()),
            Err(error) if is_directory(&error) => self.enter(name),
            Err(error) => Err(self.error(error)),
        }
    }

    fn enter(&mut self, name: &[u8]) -> Result<()> {
        self.at.push(name, 0).map_err(|refused| match refused {
            // Nobody may remove what is mounted, or what is mounted on.
            Refused::Foreign => self.error(Errno::BUSY.into()),
            Refused::Absent => self.error(Errno::NOENT.into()),
            Refused::Io(error) => self.error(error),
        })?;
        let dir = self.at.top();
        let place = Place { dir: dir.as_fd(), name: b".", own: Some(dir.as_fd()) };
        platform::loosen(&place).map_err(|error| self.error(error))?;
        let mut directories = Vec::new();
        for found in list(dir.as_fd()).map_err(|error| self.error(error.into()))? {
            if found.kind == Some(Kind::Directory) {
                directories.push(found.name);
                continue;
            }
            match unlink(&dir, &found.name) {
                Ok(()) => {}
                Err(error) if is_directory(&error) => directories.push(found.name),
                Err(error) => return Err(self.error(error)),
            }
        }
        self.open.push((name.to_vec(), directories));
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        let Some((name, _)) = self.open.pop() else { return Ok(()) };
        self.at.pop().map_err(|refused| self.at.error(refused, b"..", self.path))?;
        rustix::fs::unlinkat(&*self.at.top(), &name[..], AtFlags::REMOVEDIR)
            .map_err(|error| self.error(error.into()))
    }

    fn error(&self, source: io::Error) -> Error {
        failed("remove", self.path)(source)
    }
}

/// Unlinks what is no directory. Flags that forbid that are taken away, but stay on the inode where it
/// has other names.
fn unlink(dir: &OwnedFd, name: &[u8]) -> io::Result<()> {
    let unlink = || rustix::fs::unlinkat(dir, name, AtFlags::empty());
    match unlink() {
        Err(Errno::PERM) => {}
        done => return Ok(done?),
    }
    // POSIX has PERM for a directory, too.
    let stat = platform::stat(dir.as_fd(), name, None)?.stat;
    if stat.kind == Kind::Directory {
        return Err(Errno::ISDIR.into());
    }
    let loosened = Loosened::new(dir.as_fd(), name, stat.kind)?;
    unlink()?;
    if loosened.was_fixed() && stat.identity.links > 1 {
        loosened.restore()?;
    }
    Ok(())
}

fn is_directory(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::ISDIR)
}
