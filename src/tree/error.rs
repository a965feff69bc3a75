//! What can go wrong with a tree.

use std::io;

/// Result of a tree operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed operation on a tree. Every variant names the path.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("Cannot {action} {path}")]
    Io {
        /// What was tried, as in "read the attributes of".
        action: &'static str,
        /// On what, for people.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A directory on the way is a link, or something else that must not be passed.
    #[error("{path} leads through {through}, which is no directory of this tree")]
    Escapes {
        /// The path that was asked for.
        path: String,
        /// The component that is in the way.
        through: String,
    },
    /// A directory on the way does not exist.
    #[error("The directory of {path} does not exist")]
    NoParent {
        /// The path that was asked for.
        path: String,
    },
    /// The file system takes its name for that of another entry.
    #[error("{path} cannot be told from {with} by the file system")]
    Collides {
        /// The path that was asked for.
        path: String,
        /// The name of what is there.
        with: String,
    },
    /// An entry is not of the kind that an operation needs.
    #[error("{path} is {found}, not {wanted}")]
    WrongKind {
        /// The entry.
        path: String,
        /// What it is.
        found: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
}
