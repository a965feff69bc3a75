//! What a backend itself knows of the difference between two snapshots.
//!
//! It is told as *hints*, whose cost follows the change and not the size of the trees. A hint too many costs time and nothing
//! else: whoever asks compares what is there. So an implementation names everything that may have changed, and fails rather than
//! leave something out; the caller then compares by walking.

use crate::{Result, Snapshot};
use std::path::Path;

/// Where something may differ. Paths are relative to the dataset, without a slash at either end; "" is its root. A hint can
/// be one too many in any way: what it names may be equal, may be there in neither tree, may lie below what is no directory, or
/// be no directory itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hint {
    /// The entry at this path in either tree: it is there in one alone, or has other content or attributes. Entries below it are not
    /// meant.
    Entry(Vec<u8>),
    /// The names in this directory: some came, went or are others, and everything below these is meant too. Told where the backend
    /// knows that a directory changed, but not what in it. Where it is itself in one tree alone, or another one, a
    /// [`Hint::Subtree`] says so, or the hint about the names in the directory that holds it.
    Names(Vec<u8>),
    /// The entry and everything below it in both trees: it is a directory in one alone, or another directory. Of what is no
    /// directory, the entry.
    Subtree(Vec<u8>),
}

impl Hint {
    /// Which path it is about.
    pub fn path(&self) -> &[u8] {
        match self {
            Self::Entry(path) | Self::Names(path) | Self::Subtree(path) => path,
        }
    }
}

/// The difference of two snapshots of which one was cloned from the other, or both from a third.
pub trait NativeDiff: Send + Sync {
    /// Calls `hint` for everything that may differ between `base` and `now`, in any order; some may come twice. Stops early
    /// when `hint` returns false. After an error what was told is not all of it. Of an entry with several names one name is
    /// enough: see [`NativeDiff::names_of`].
    fn changes(&self, base: &Snapshot, now: &Snapshot, hint: &mut dyn FnMut(Hint) -> bool) -> Result<()>;

    /// The kind of change, for people, that the backend's program is known to leave out without a word, and that no
    /// implementation can add; `None` where it tells everything. Who must be certain compares by walking where there is one.
    fn leaves_out(&self) -> Option<&'static str> {
        None
    }

    /// All names of the entry with this inode number in an open tree of one of the snapshots; `None` where the backend
    /// cannot tell without looking at the whole tree.
    fn names_of(&self, tree: &Path, inode: u64) -> Result<Option<Vec<Vec<u8>>>>;
}
