//! File flags of whole trees, for what keeps everything of a tree but them: a btrfs stream.

use std::os::fd::AsFd;

use super::platform::{self, Place};
use super::read::open_entry;
use super::{Dir, Error, Flags, Kind, Loss, Result, Stat, Tree, TreePath};

impl Dir {
    /// The flags of an entry; none of what cannot have any, or vanished.
    pub fn flags(&self, name: &[u8], stat: &Stat) -> Result<Flags> {
        let fail = |source| Error::Io {
            action: "read the flags of",
            path: self.path().join(name).to_string(),
            source,
        };
        if !matches!(stat.kind, Kind::File | Kind::Directory) {
            return Ok(Flags::empty());
        }
        let Some(own) = open_entry(self.as_fd(), name, stat.kind).map_err(fail)? else {
            return Ok(Flags::empty());
        };
        platform::flags(&Place { dir: self.as_fd(), name, own: Some(own.as_fd()) }).map_err(fail)
    }
}

/// Gives the entry at `path` these flags and no others; what cannot be is returned. Nothing in the tree may have to be changed
/// afterwards, since flags can forbid that.
pub fn set_flags(tree: &Tree, path: &TreePath, flags: Flags) -> Result<Option<Loss>> {
    let lost = |source| Some(Loss { path: path.clone(), what: format!("flags {flags}"), source });
    let gone = || std::io::Error::from(std::io::ErrorKind::NotFound);
    let set = |dir: &Dir, name: &[u8], kind| -> std::io::Result<()> {
        let own = open_entry(dir.as_fd(), name, kind)?.ok_or_else(gone)?;
        let place = Place { dir: dir.as_fd(), name, own: Some(own.as_fd()) };
        platform::set_flags(&place, flags.kept_here())?;
        let missing = flags.difference(platform::flags(&place)?);
        if missing.is_empty() {
            Ok(())
        } else {
            Err(std::io::Error::other(format!("{missing} did not stay")))
        }
    };
    let Some((parent, name)) = path.split() else {
        return Ok(set(&tree.root(), b".", Kind::Directory).err().and_then(lost));
    };
    let Some(dir) = tree.open_dir(&parent)? else { return Ok(lost(gone())) };
    Ok(match dir.stat(name)? {
        Some(stat) if matches!(stat.kind, Kind::File | Kind::Directory) && !stat.mount_point => {
            set(&dir, name, stat.kind).err().and_then(lost)
        }
        _ => lost(gone()),
    })
}

#[cfg(test)]
mod tests;
