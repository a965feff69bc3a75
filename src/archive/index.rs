//! The index: one line an entry, then the seal.

mod json;
mod spool;

pub(super) use json::{Parsed, failure_to_json, line_to_json, parse, seal_to_json};
pub(super) use spool::{Sealed, Spool, member_bytes};

use super::{Digest, MemberName};
use crate::tree::Entry;

/// What a line says of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The entry is a member of the archive.
    Member {
        /// Digest of the content of a regular file or of a stream; for others `None`.
        digest: Option<Digest>,
    },
    /// The entry is a member: another name of the one at `to`.
    Link {
        /// The other name. May be one that only the base has.
        to: MemberName,
    },
    /// The entry has no member because its content equals the base's: attributes only.
    Metadata {
        /// Digest of the content that the base is expected to have.
        digest: Option<Digest>,
    },
    /// The entry has no member because tar knows none for its kind (a socket).
    Unarchived,
    /// What the base has here is gone.
    Deleted,
}

/// What the base has at the path of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaced {
    /// Kind.
    pub kind: crate::tree::Kind,
    /// Digest of a regular file's content.
    pub digest: Option<Digest>,
}

/// One line of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Which entry.
    pub name: MemberName,
    /// How it is in the archive.
    pub role: Role,
    /// What it is; `None` exactly where it was deleted.
    pub entry: Option<Entry>,
    /// Number of the hard-link group, where it has several names.
    pub group: Option<u64>,
    /// What the base has at this path.
    pub replaced: Option<Replaced>,
    /// The file changed while it was read, every time; what is archived may be a mixture.
    pub unstable: bool,
    /// Other resources, by their place in the manifest, that have names of the same file later in the archive: hard links to this
    /// member. Ascending. Who restores one of them without this one must keep the content from here.
    pub shared: Vec<u32>,
}

impl Line {
    /// The line of a member with content of its own, before that is known.
    pub(crate) fn member(name: MemberName, entry: Entry) -> Self {
        Self {
            name,
            role: Role::Member { digest: None },
            entry: Some(entry),
            group: None,
            replaced: None,
            unstable: false,
            shared: Vec::new(),
        }
    }
}

/// A resource that could not be archived to its end, though the export went on. Its members are not to be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Its place among the manifest's resources.
    pub resource: u32,
    /// What went wrong.
    pub error: String,
}

/// The index's last line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Lines before the seal.
    pub entries: u64,
    /// Lines with a member.
    pub members: u64,
    /// Bytes of content in all members.
    pub bytes: u64,
    /// BLAKE3 over the manifest's bytes and every index line before the seal, line feeds included.
    pub digest: Digest,
}
