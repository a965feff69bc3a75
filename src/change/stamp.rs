//! Whether a tree was touched, without reading it.

use crossbeam_channel::{Sender, bounded};

use super::comparer::thread_count;
use super::fingerprint::code;
use super::{Candidate, DirectoryPair, Error, Result, Scope, walk};
use crate::archive::Digest;
use crate::tree::{Identity, Kind, Node, Stat, Timestamp, Tree, TreePath};

/// What a tree's entries were in their file system at one moment. As long as the digest is the same, no entry was
/// written, renamed, linked, or given other attributes: each of these sets the ctime, which nobody can set by hand.
///
/// Times have a resolution: an entry that is touched in the same instant in which the stamp is taken can keep its
/// ctime. So a stamp proves something only if it [is settled](Stamp::is_settled).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Over path, kind, inode, ctime and size of every entry.
    pub digest: Digest,
    /// The latest ctime of all entries.
    pub newest_ctime: Timestamp,
    /// When the first entry was looked at, in seconds since 1970.
    pub begun_seconds: i64,
}

impl Stamp {
    /// Whether the newest change was at least two seconds before the first look. Otherwise another one, in the same tick of the clock, could
    /// hide behind it.
    pub fn is_settled(&self) -> bool {
        self.newest_ctime.seconds.saturating_add(2) <= self.begun_seconds
    }
}

/// Directories that are looked at or wait for their turn; each holds a descriptor.
const QUEUE: usize = 32;

/// Entries of a directory that are looked at in one go.
const NAMES: usize = 1024;

/// Looks at every entry of `tree` once: one thread lists directories, and all cores look at what is in them.
pub fn stamp_of_tree(tree: &Tree, scope: Scope<'_>) -> Result<Stamp> {
    let mut stamping = Stamping::begin();
    stamping.root(&tree.root_node().map_err(Error::Tree)?);
    std::thread::scope(|threads| {
        let (jobs, queue) = bounded::<(DirectoryPair, Sender<Result<Stamped>>)>(QUEUE);
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
            stamping.extend(&seen.recv().unwrap_or_else(|_| Ok(Stamped::default()))?);
            Ok(())
        });
        drop(ordered);
        let walked = walk.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        added.and(walked)
    })?;
    Ok(stamping.finish())
}

fn look(pair: &DirectoryPair) -> Result<Stamped> {
    let mut stamped = Stamped::default();
    let Some(directory) = &pair.base else { return Ok(stamped) };
    for Candidate { name, .. } in &pair.names {
        if let Some(stat) = directory.stat(name).map_err(Error::Tree)? {
            stamped.add(&pair.path, name, &stat);
        }
    }
    Ok(stamped)
}

/// What some entries add to a stamp, in the order of the walk.
#[derive(Debug, Default)]
pub(super) struct Stamped {
    bytes: Vec<u8>,
    newest_ctime: Option<Timestamp>,
}

impl Stamped {
    /// Adds the entry `name` of the directory `above`.
    pub(super) fn add(&mut self, above: &TreePath, name: &[u8], stat: &Stat) {
        let above = above.as_bytes();
        let slash: &[u8] = if above.is_empty() { b"" } else { b"/" };
        self.put([above, slash, name], stat.kind, stat.size, &stat.identity);
    }

    fn put(&mut self, path: [&[u8]; 3], kind: Kind, size: u64, identity: &Identity) {
        self.newest_ctime = self.newest_ctime.max(Some(identity.ctime));
        let length: usize = path.iter().map(|part| part.len()).sum();
        self.bytes.extend((length as u64).to_le_bytes());
        for part in path {
            self.bytes.extend(part);
        }
        self.bytes.push(code(kind));
        // Not the device: its number can be another after each mount.
        for number in [identity.inode, size] {
            self.bytes.extend(number.to_le_bytes());
        }
        self.bytes.extend(identity.ctime.seconds.to_le_bytes());
        self.bytes.extend(identity.ctime.nanoseconds.to_le_bytes());
    }
}

/// A stamp in the making.
pub(super) struct Stamping {
    hasher: blake3::Hasher,
    newest_ctime: Option<Timestamp>,
    begun_seconds: i64,
}

impl Stamping {
    /// Begins, before anything is looked at.
    pub(super) fn begin() -> Self {
        let begun_seconds = jiff::Timestamp::now().as_second();
        Self { hasher: blake3::Hasher::new(), newest_ctime: None, begun_seconds }
    }

    /// Adds the tree's root, which comes first.
    pub(super) fn root(&mut self, root: &Node) {
        let mut stamped = Stamped::default();
        stamped.put([b""; 3], root.entry.kind, 0, &root.identity);
        self.extend(&stamped);
    }

    /// Adds what comes next in the walk.
    pub(super) fn extend(&mut self, stamped: &Stamped) {
        self.hasher.update(&stamped.bytes);
        self.newest_ctime = self.newest_ctime.max(stamped.newest_ctime);
    }

    /// The stamp of all that was added.
    pub(super) fn finish(self) -> Stamp {
        let Self { hasher, newest_ctime, begun_seconds } = self;
        Stamp {
            digest: hasher.finalize().into(),
            newest_ctime: newest_ctime.unwrap_or_default(),
            begun_seconds,
        }
    }
}
