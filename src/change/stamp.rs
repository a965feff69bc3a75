//! Whether a tree was touched, without reading it.

use crossbeam_channel::{Sender, bounded};

use super::comparer::thread_count;
use super::fingerprint::code;
use super::{Candidate, DirectoryPair, Error, Result, Scope, walk};
use crate::archive::Digest;
use crate::tree::{Identity, Kind, Timestamp, Tree, TreePath};

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

/// Directories that are looked at or wait for their turn; each holds a descriptor.
const QUEUE: usize = 32;

/// Entries of a directory that are looked at in one go.
const NAMES: usize = 1024;

/// What [`Stamping::add`] takes of an entry.
type Seen = (TreePath, Kind, u64, Identity);

/// Looks at every entry of `tree` once: one thread lists directories, and all cores look at what is in them.
pub fn stamp_of_tree(tree: &Tree, scope: Scope<'_>) -> Result<Stamp> {
    let root = tree.root_node().map_err(Error::Tree)?;
    let mut stamping = Stamping { hasher: blake3::Hasher::new(), newest_ctime: root.identity.ctime };
    stamping.add(b"", root.entry.kind, 0, &root.identity);
    std::thread::scope(|threads| {
        let (jobs, queue) = bounded::<(DirectoryPair, Sender<Result<Vec<Seen>>>)>(QUEUE);
        let (replies, ordered) = bounded(QUEUE);
        for _ in 0..thread_count(0) {
            let queue = queue.clone();
            threads.spawn(move || {
                for (pair, reply) in queue {
                    // Nobody waits for it when the walk has failed before it.
                    let _ = reply.send(look(&pair));
                }
            });
        }
        drop(queue);
        let walk = threads.spawn(move || {
            walk::merged(Some(tree), None, scope, &mut |mut pair| {
                let mut names = std::mem::take(&mut pair.names).into_iter().peekable();
                while names.peek().is_some() {
                    let (reply, seen) = bounded(1);
                    let some = pair.with(names.by_ref().take(NAMES).collect());
                    if replies.send(seen).is_err() || jobs.send((some, reply)).is_err() {
                        return false;
                    }
                }
                true
            })
        });
        let added = ordered.iter().try_for_each(|seen| {
            // It is not sent where the thread panicked, which the scope passes on.
            for (path, kind, size, identity) in seen.recv().unwrap_or_else(|_| Ok(Vec::new()))? {
                stamping.add(path.as_bytes(), kind, size, &identity);
            }
            Ok(())
        });
        drop(ordered);
        let walked = walk.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        added.and(walked)
    })?;
    Ok(Stamp { digest: stamping.hasher.finalize().into(), newest_ctime: stamping.newest_ctime })
}

fn look(pair: &DirectoryPair) -> Result<Vec<Seen>> {
    let Some(directory) = &pair.base else { return Ok(Vec::new()) };
    let look = |Candidate { name, .. }: &Candidate| {
        let stat = directory.stat(name).map_err(Error::Tree).transpose()?;
        Some(stat.map(|stat| (pair.path.join(name), stat.kind, stat.size, stat.identity)))
    };
    pair.names.iter().filter_map(look).collect()
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
