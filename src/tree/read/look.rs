//! Looking at the entries of a directory, with as few system calls as there can be.

use std::os::fd::{AsFd, OwnedFd};

use super::super::platform::{self, Place};
use super::super::{Kind, Node, Result};
use super::{Dir, FileContent, OPEN_FILE, Stat, open_entry};

/// What a look at a name found.
#[derive(Debug)]
pub struct Look {
    /// What is there.
    pub stat: Stat,
    /// The same, where it was opened to be looked at.
    pub file: Option<OpenFile>,
}

/// A regular file, or what has come in its place, that is open.
#[derive(Debug)]
pub struct OpenFile {
    fd: OwnedFd,
    /// What it was when it was opened, where that is known.
    stat: Option<Stat>,
}

impl Dir {
    /// Looks an entry up; `None` where there is none (any more). A name that the directory calls a regular file (`listed`) is opened first,
    /// which spares those who read it two ways to it by its name.
    pub fn look(&self, name: &[u8], listed: bool) -> Result<Option<Look>> {
        if let Some(file) = listed.then(|| self.open_listed(name)).flatten()
            && let Some(stat) = file.stat.filter(|stat| stat.kind == Kind::File)
        {
            return Ok(Some(Look { stat, file: Some(file) }));
        }
        Ok(self.stat(name)?.map(|stat| Look { stat, file: None }))
    }

    /// What cannot be opened, or not without a doubt that nothing is mounted there (a device may be, which opening does something to), is
    /// looked up by name. So an error is found again where it matters.
    fn open_listed(&self, name: &[u8]) -> Option<OpenFile> {
        let fd = platform::open_here(self.as_fd(), name, OPEN_FILE).ok()?;
        let stat = platform::stat(fd.as_fd(), b"", Some(self.0.device)).ok()?.stat;
        Some(OpenFile { fd, stat: Some(stat) })
    }

    /// Completes `stat` with what costs further calls: link target, xattrs, ACLs, flags.
    /// `None` where the entry vanished, or is of another kind by now.
    pub fn node(&self, name: &[u8], stat: &Stat) -> Result<Option<Node>> {
        Ok(self.node_and_file(name, Look { stat: *stat, file: None })?.map(|(node, _)| node))
    }

    /// The same; of a regular file it comes with what was opened for that, which [`Dir::content`] takes.
    pub fn node_and_file(&self, name: &[u8], look: Look) -> Result<Option<(Node, Option<OpenFile>)>> {
        let (dir, stat) = (self.as_fd(), &look.stat);
        let fail = |source| self.error("read the attributes of", name, source);
        let own = match (look.file, stat.kind) {
            (Some(file), _) => Some(file),
            (None, Kind::File | Kind::Directory) => match open_entry(dir, name, stat.kind) {
                Ok(Some(fd)) => Some(OpenFile { fd, stat: None }),
                Ok(None) => return Ok(None),
                Err(source) => return Err(fail(source)),
            },
            (None, _) => None,
        };
        match self.complete(&Place { dir, name, own: own.as_ref().map(|own| own.fd.as_fd()) }, stat) {
            Ok(node) => Ok(Some((node, own.filter(|_| stat.kind == Kind::File)))),
            // Whatever error comes of it; without /proc even of one that is there it is "no such file".
            Err(_) if self.stat(name)?.is_none_or(|now| now.kind != stat.kind) => Ok(None),
            Err(source) => Err(fail(source)),
        }
    }

    /// Opens a regular file for reading; `None` where it vanished, is no regular file any more, or
    /// another file system's file is mounted there.
    pub fn open_file(&self, name: &[u8]) -> Result<Option<FileContent>> {
        let opened = open_entry(self.as_fd(), name, Kind::File);
        match opened.map_err(|source| self.error("open", name, source))? {
            Some(fd) => self.content(name, OpenFile { fd, stat: None }),
            None => Ok(None),
        }
    }

    /// The content of what was opened; `None` as for [`Dir::open_file`].
    pub fn content(&self, name: &[u8], OpenFile { fd, stat }: OpenFile) -> Result<Option<FileContent>> {
        let stat = match stat {
            Some(stat) => stat,
            None => {
                platform::stat(fd.as_fd(), b"", Some(self.0.device))
                    .map_err(|source| self.error("open", name, source))?
                    .stat
            }
        };
        if stat.kind != Kind::File || stat.mount_point {
            return Ok(None);
        }
        FileContent::new(fd, stat).map(Some).map_err(|source| self.error("find the holes of", name, source))
    }
}
