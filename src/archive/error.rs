//! What can go wrong with an archive.

use std::io;

/// Result of an archive operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed operation on an archive, by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The archive, or what should become one, cannot be read or written.
    #[error("Cannot {action} {subject}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        subject: String,
        /// Why it failed.
        source: io::Error,
    },
    /// There is no such archive.
    #[error("There is no archive at {0}")]
    NotFound(String),
    /// The destination exists.
    #[error("{0} exists already")]
    Exists(String),
    /// Bytes are missing or are not those that were written.
    #[error("The archive is damaged: {0}")]
    Damaged(String),
    /// It is whole maybe, but it does what no archive may do, or needs a newer version.
    #[error("The archive is refused: {0}")]
    Refused(String),
    /// Nobody who is trusted signed it, and somebody must.
    #[error("The archive is not trusted: {0}")]
    NotTrusted(String),
    /// It is encrypted, and cannot be decrypted with what was given.
    #[error("{name} is encrypted, {why}")]
    Locked {
        /// What messages call the archive.
        name: String,
        /// Why it cannot be decrypted, as the end of a sentence.
        why: String,
    },
    /// A tree that holds members could not be read or written.
    #[error("Cannot read or write the archive's directory")]
    Tree(#[source] crate::tree::Error),
    /// The source of a member failed.
    #[error("Cannot read the content of {member}")]
    Source {
        /// Which member.
        member: String,
        /// Why.
        source: io::Error,
    },
    /// A [`super::Visitor`] stopped the reading for a reason of its own.
    #[error("Reading was stopped")]
    Visitor(#[source] Box<dyn std::error::Error + Send + Sync>),
}
