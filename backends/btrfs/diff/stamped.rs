//! What changed, by the stamps of the inodes: each holds the transaction that changed it last.
//!
//! Whatever is done to a file or directory, to its content, its attributes or the names in it, the kernel writes its inode anew
//! with the number of the transaction. So what differs between two subvolumes has an inode in one of them that is no older than their
//! parting: the entry's own, or that of the directory where it came or went. The kernel finds these without reading
//! what is older, for far less than a stream costs, which leads to the same places.
//!
//! Reading a directory writes its inode too, for the time of the last access: one run of find(1) stamps all of them. Those that differ
//! in nothing else are left out.

use super::Subvolume;
use crate::{Error, Hint, Result};
use remand_sys::btrfs::{self, Changed, ROOT_INODE};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

/// Paths of directories that are remembered.
const MAX_PATHS: usize = 4096;

/// Calls `hint` for everything that was changed on a side since the transaction, until it returns false.
pub(super) fn changes(
    sides: [&Subvolume; 2],
    since: u64,
    subject: &str,
    hint: &mut dyn FnMut(Hint) -> bool,
) -> Result<()> {
    for (side, other) in [(sides[0], sides[1]), (sides[1], sides[0])] {
        let mut paths = Paths { directory: &side.directory, known: HashMap::new() };
        let mut failure = None;
        let mut goes_on = true;
        let mut told = |changed: Changed| {
            match paths.of(&changed) {
                Ok(Some(path)) => {
                    goes_on =
                        hint(Hint::Entry(path.clone())) && (!changed.is_directory || hint(Hint::Names(path)));
                }
                Ok(None) => {}
                Err(error) => failure = Some(error),
            }
            goes_on && failure.is_none()
        };
        let searched = btrfs::changed_inodes(&side.directory, &other.directory, since, &mut told);
        searched
            .and(failure.map_or(Ok(()), Err))
            .map_err(|source| Error::io("list what changed in", subject, source))?;
        if !goes_on {
            break;
        }
    }
    Ok(())
}

/// Paths of inodes in a subvolume.
struct Paths<'a> {
    directory: &'a OwnedFd,
    /// Those of directories, by number.
    known: HashMap<u64, Vec<u8>>,
}

impl Paths<'_> {
    /// One path of an inode; `None` where it has none.
    fn of(&mut self, changed: &Changed) -> io::Result<Option<Vec<u8>>> {
        if changed.inode == ROOT_INODE {
            return Ok(Some(Vec::new()));
        }
        let Some((parent, name)) = &changed.name else {
            return Ok(btrfs::names_of_inode(self.directory, changed.inode)?.into_iter().next());
        };
        let above = self.of_directory(*parent)?;
        Ok(Some(if above.is_empty() { name.clone() } else { [above, b"/", name].concat() }))
    }

    fn of_directory(&mut self, inode: u64) -> io::Result<&[u8]> {
        if self.known.len() >= MAX_PATHS && !self.known.contains_key(&inode) {
            self.known.clear();
        }
        Ok(match self.known.entry(inode) {
            std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
            std::collections::hash_map::Entry::Vacant(place) if inode == ROOT_INODE => {
                place.insert(Vec::new())
            }
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(btrfs::path_of_inode(self.directory, inode)?)
            }
        })
    }
}
