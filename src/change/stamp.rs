//! Whether a tree was touched, without reading it.

use super::fingerprint::code;
use super::{Error, Result, Scope, walk};
use crate::archive::Digest;
use crate::tree::{Identity, Kind, Timestamp, Tree};

/// What a tree's entries were in their file system at one moment. As long as the digest is the same, no entry was
/// written, renamed, linked, or given other attributes: each of these sets the ctime, which nobody can set by hand.
///
/// Times have a resolution: an entry that is touched in the same instant in which the stamp is taken can keep its
/// ctime. So a stamp proves something only once [`Stamp::newest_ctime`] is some seconds in the past.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Over path, kind, inode, ctime and size of every entry.
    pub digest: Digest,
    /// The latest ctime of all entries.
    pub newest_ctime: Timestamp,
}

/// Looks at every entry of `tree` once.
pub fn stamp_of_tree(tree: &Tree, scope: Scope<'_>) -> Result<Stamp> {
    let root = tree.root_node().map_err(Error::Tree)?;
    let mut stamping = Stamping { hasher: blake3::Hasher::new(), newest_ctime: root.identity.ctime };
    stamping.add(b"", root.entry.kind, 0, &root.identity);
    let mut failure = None;
    walk::merged(Some(tree), None, scope, &mut |pair| {
        let Some(dir) = &pair.base else { return true };
        for name in &pair.names {
            match dir.stat(name) {
                Ok(Some(stat)) => {
                    let path = pair.path.join(name);
                    stamping.add(path.as_bytes(), stat.kind, stat.size, &stat.identity);
                }
                Ok(None) => {}
                Err(error) => {
                    failure = Some(Error::Tree(error));
                    return false;
                }
            }
        }
        true
    })?;
    match failure {
        Some(error) => Err(error),
        None => Ok(Stamp { digest: stamping.hasher.finalize().into(), newest_ctime: stamping.newest_ctime }),
    }
}

struct Stamping {
    hasher: blake3::Hasher,
    newest_ctime: Timestamp,
}

impl Stamping {
    fn add(&mut self, path: &[u8], kind: Kind, size: u64, identity: &Identity) {
        self.newest_ctime = self.newest_ctime.max(identity.ctime);
        self.hasher.update(&(path.len() as u64).to_le_bytes());
        self.hasher.update(path);
        self.hasher.update(&[code(kind)]);
        // Not the device: its number can be another after each mount.
        for number in [identity.inode, size] {
            self.hasher.update(&number.to_le_bytes());
        }
        self.hasher.update(&identity.ctime.seconds.to_le_bytes());
        self.hasher.update(&identity.ctime.nanoseconds.to_le_bytes());
    }
}
