//! Names that are two in an archive and one on a file system which knows no case, or takes two ways to write a letter for one.
//!
//! What was written under the one name would silently give way to the other.

use std::os::fd::AsFd;

use super::super::platform::{self, Seen};
use super::super::read::{is_absent, list};
use super::super::{Error, Result, TreePath};
use super::{TreeWriter, failed};

impl TreeWriter {
    /// Looks at an entry of the directory that was entered. An entry that is there under another name only is an error.
    pub(super) fn look(&self, name: &[u8], path: &TreePath) -> Result<Option<Seen>> {
        let seen = match platform::stat(self.at.top().as_fd(), name, Some(self.at.device())) {
            Ok(seen) => seen,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(failed("look at", path)(error)),
        };
        if !self.may_be_folded(name, seen) {
            return Ok(Some(seen));
        }
        let names = list(self.at.top().as_fd()).map_err(|error| failed("list", path)(error.into()))?;
        if names.iter().any(|found| found.name == name) {
            return Ok(Some(seen));
        }
        let found = names.iter().find(|found| found.inode == seen.stat.identity.inode);
        let found = found.map_or_else(TreePath::root, |found| TreePath::root().join(&found.name));
        Err(Error::Collides { path: path.to_string(), with: found.to_string() })
    }

    /// Whether an entry might have another name than the one that it was found by.
    fn may_be_folded(&self, name: &[u8], seen: Seen) -> bool {
        // How else it can be written, only the file system knows.
        if !name.is_ascii() {
            return true;
        }
        let Some(letter) = name.iter().position(u8::is_ascii_alphabetic) else { return false };
        let mut other = name.to_vec();
        other[letter] ^= 0x20;
        let other = platform::stat(self.at.top().as_fd(), &other, None);
        other.is_ok_and(|other| other.stat.identity.inode == seen.stat.identity.inode)
    }
}
