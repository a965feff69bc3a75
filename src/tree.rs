//! Reading and writing file trees with everything that the platform keeps of an entry.
//!
//! A tree is always reached through the descriptor of a directory: names are looked up one
//! component at a time, links are never followed, and paths may be longer than the system's
//! limit. [`Tree`] and [`Dir`] read; [`TreeWriter`] writes. What a platform cannot keep is never
//! dropped in silence: the writer returns each [`Loss`].

pub mod content;
mod copy;
pub mod entry;
pub mod error;
mod flagged;
pub mod flags;
pub mod path;
pub(crate) mod platform;
pub mod read;
#[cfg(test)]
pub(crate) mod testing;
pub mod write;

pub use content::{Content, Extent, MemoryContent};
pub use copy::{Copied, Exclude, copy, copy_into};
pub use entry::{Acl, Device, Entry, Identity, Kind, Node, Timestamp};
pub use error::{Error, Result};
pub use flagged::set_flags;
pub use flags::Flags;
pub use path::TreePath;
pub use read::{Dir, FileContent, Look, Name, OpenFile, Stat, Tree};
pub use write::{Loss, TreeWriter};
