//! What can go wrong with an operation, by what the caller can do about it.

use crate::resource::{ResourceKind, kind_name};
use crate::selector::{Place, Unmatched};
use crate::{archive, change, tree};

/// Result of an operation.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed operation. Whatever it is, what the operation had made is undone, unless it is
/// [`Error::Rollback`], which says what remains.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such pool, or none was named and none is marked.
    #[error("{0}")]
    NoPool(String),
    /// There is no such resource.
    #[error("There is no {what} in the pool {pool}")]
    NoResource {
        /// Which, as in `jail web01`.
        what: String,
        /// Where it was looked for.
        pool: String,
    },
    /// Another process works on the resource.
    #[error("{what} is locked by {holder}")]
    Locked {
        /// Which resource.
        what: String,
        /// Process id, host, operation and since when.
        holder: String,
    },
    /// The destination or the resource exists; it was not touched.
    #[error("{0} exists already and was not touched")]
    Exists(String),
    /// The release that a differential archive needs is not there.
    #[error("The base {base} is not in the pool {pool}")]
    BaseMissing {
        /// Name of the release, with its snapshot where there is one.
        base: String,
        /// The pool.
        pool: String,
    },
    /// The release is there and does not hold what the archive was made against.
    #[error(
        "The base {base} in the pool {pool} is not the one that the archive was made against: {difference}"
    )]
    BaseDiffers {
        /// Name of the release.
        base: String,
        /// The pool.
        pool: String,
        /// What differs, in summary.
        difference: String,
    },
    /// The archive changes what the other base has otherwise.
    #[error("{count} paths of the archive conflict with the base {base}: {examples}")]
    Conflicts {
        /// Name of the release.
        base: String,
        /// How many.
        count: u64,
        /// The first of them.
        examples: String,
    },
    /// The archive asks for what this pool cannot do.
    #[error("{0}")]
    Unsupported(String),
    /// Options that contradict each other or the resource.
    #[error("{0}")]
    Usage(String),
    /// The archive is missing, damaged, refused, or cannot be read or written.
    #[error(transparent)]
    Archive(archive::Error),
    /// The archive's content is refused by the operation that reads it.
    #[error("The archive is refused: {0}")]
    Refused(String),
    /// The backend failed.
    #[error("Cannot {action}")]
    Backend {
        /// What was tried.
        action: String,
        /// What the backend said.
        source: remand_backends::Error,
    },
    /// Comparing with the base failed.
    #[error(transparent)]
    Change(change::Error),
    /// A tree could not be read or written.
    #[error("Cannot {action}")]
    Tree {
        /// What was tried.
        action: String,
        /// Where it failed.
        source: tree::Error,
    },
    /// A system call failed.
    #[error("Cannot {action} {subject}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        subject: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A file system has not enough room for what is going to be written to it.
    #[error("{free_bytes} bytes are free in {place}, and {needed_bytes} bytes are needed for {what}")]
    NoRoom {
        /// A directory on the file system.
        place: String,
        /// What it is for.
        what: String,
        /// How much it would take.
        needed_bytes: u64,
        /// How much there is.
        free_bytes: u64,
    },
    /// A file system became full.
    #[error("There is not enough room in {place}: {free_bytes} bytes were free, and {needed}")]
    Full {
        /// A directory on the file system.
        place: String,
        /// How much there was when the operation began.
        free_bytes: u64,
        /// How much it takes, as far as that is known.
        needed: String,
        /// What failed for it.
        #[source]
        cause: Box<Error>,
    },
    /// A config or fstab cannot be understood.
    #[error("{subject} cannot be understood: {reason}")]
    Malformed {
        /// Which file.
        subject: String,
        /// Why.
        reason: String,
    },
    /// Patterns of a selection that match nothing.
    #[error("There is {} in {place}", listed(unmatched))]
    NoMatch {
        /// Where it was looked for.
        place: Place,
        /// All of them.
        unmatched: Vec<Unmatched>,
    },
    /// The pool's records are broken, or cannot be read or written.
    #[error("Cannot {action} the records in {path}")]
    Records {
        /// What was tried.
        action: &'static str,
        /// The database.
        path: String,
        /// What the database said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The user stopped it; everything was rolled back.
    #[error("Interrupted")]
    Interrupted,
    /// A restore was interrupted within a large stream, and what it has received is kept for the next one.
    #[error("{cause}; {received_bytes} bytes of a stream were received and are kept")]
    Kept {
        /// What interrupted it.
        #[source]
        cause: Box<Error>,
        /// How much of the stream.
        received_bytes: u64,
    },
    /// The archive does not hold what was asked for.
    #[error("There is no {what} in the archive")]
    NotThere {
        /// Which resource, dataset or path.
        what: String,
    },
    /// The operation failed, and so did undoing it.
    #[error("{cause}; and not everything could be undone: {}", remains.join("; "))]
    Rollback {
        /// Why the operation failed.
        #[source]
        cause: Box<Error>,
        /// What remains, and why.
        remains: Vec<String>,
    },
    /// The resource exists because an interrupted restore made it visible, which has not ended: it may not be mounted, or others are to
    /// follow.
    #[error("{what} exists already: the restore {run} was interrupted while it made it visible")]
    Unfinished {
        /// Which.
        what: String,
        /// The run.
        run: String,
    },
    /// The base is in the archive too, and cannot be built on.
    #[error("The base {base} is in the archive, but {reason}")]
    BaseUnready {
        /// A release or a template.
        kind: ResourceKind,
        /// Its name.
        base: String,
        /// Why.
        reason: &'static str,
    },
    /// A command that the user wants to be run around the snapshot failed.
    #[error("The {name} command of the {resource} {reason}: {command}")]
    Hook {
        /// `pre-snapshot`, `post-snapshot`.
        name: &'static str,
        /// Of which resource.
        resource: String,
        /// The command.
        command: String,
        /// What went wrong, as in `failed (exit status: 1)`.
        reason: String,
    },
    /// A resource of the archive is not whole.
    #[error("The {what} failed while it was exported, and is not whole: {reason}")]
    NotWhole {
        /// Which.
        what: String,
        /// What had happened.
        reason: String,
    },
}

const DAMAGED: &str = "get another copy; `remand verify` tells whether it is whole";

impl Error {
    /// The exit status that stands for this error, see remand(8).
    pub fn exit_status(&self) -> u8 {
        use archive::Error as A;
        use remand_backends::Error as B;
        match self {
            Self::Usage(_) => 2,
            Self::NoPool(_)
            | Self::NoResource { .. }
            | Self::NoMatch { .. }
            | Self::NotThere { .. }
            | Self::Archive(A::NotFound(_)) => 10,
            Self::Locked { .. } => 11,
            Self::Exists(_) | Self::Unfinished { .. } | Self::Archive(A::Exists(_)) => 12,
            Self::BaseMissing { .. } | Self::BaseUnready { .. } => 20,
            Self::BaseDiffers { .. } | Self::Conflicts { .. } => 21,
            Self::Archive(A::Damaged(_)) => 22,
            Self::Refused(_) | Self::Archive(A::Refused(_) | A::NotTrusted(_)) => 23,
            Self::Archive(A::Locked { .. }) => 24,
            Self::Interrupted | Self::Change(change::Error::Interrupted) => 130,
            Self::Backend { source, .. } => match source.first() {
                B::Stream { .. } => 22,
                B::Refused { .. } => 23,
                _ => 1,
            },
            Self::Rollback { cause, .. } | Self::Kept { cause, .. } | Self::Full { cause, .. } => {
                cause.exit_status()
            }
            _ => 1,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        use archive::Error as A;
        use remand_backends::Error as B;
        Some(match self {
            Self::NoPool(_) => {
                "name the pool with --pool, REMAND_POOL or `pool` in the config file: a ZFS dataset or a directory".into()
            }
            Self::NoResource { pool, .. } => format!("`remand list --pool {pool}` shows what is there"),
            Self::NoMatch { place, unmatched } => {
                let near: Vec<&str> =
                    unmatched.iter().flat_map(|one| &one.near).map(String::as_str).collect();
                match place {
                    _ if !near.is_empty() => format!("did you mean {}?", near.join(" or ")),
                    Place::Pool(pool) => format!("`remand list --pool {pool}` shows what is there"),
                    Place::Archive(_) => "`remand info` shows what is in it".into(),
                }
            }
            Self::NotThere { .. } => "`remand ls` shows what is there".into(),
            Self::Locked { .. } => "wait for it with --wait".into(),
            Self::Exists(_) => "restore under another name with --name".into(),
            Self::Archive(A::Exists(_)) => "overwrite it with --force, or choose another destination".into(),
            Self::BaseMissing { .. } => {
                "fetch the release, name another with --base, or export with --standalone".into()
            }
            Self::BaseDiffers { .. } => {
                "go on with --allow-base-mismatch, name another release with --base, or export with --standalone".into()
            }
            Self::Conflicts { .. } => {
                "decide with --on-conflict: `keep` takes the base's version, `theirs` the archive's".into()
            }
            Self::NoRoom { place, .. } | Self::Full { place, .. } => {
                if std::path::Path::new(place) == std::env::temp_dir() {
                    "set TMPDIR to a directory with more room, or export to a file that is not encrypted".into()
                } else {
                    "make room there, or choose another place".into()
                }
            }
            Self::Archive(A::Damaged(_)) => DAMAGED.into(),
            Self::Archive(A::NotTrusted(_)) => {
                "`remand info` shows who says to have signed it; --verify-key or `verify-key` in the config file name who is trusted".into()
            }
            Self::Archive(A::Locked { .. }) => {
                "give the identity (AGE-SECRET-KEY-1…) with --identity-file or --identity-command".into()
            }
            Self::Backend { source, .. } if matches!(source.first(), B::Unsendable { .. }) => {
                "export with --portable, which writes the files themselves".into()
            }
            Self::Backend { source, .. } if matches!(source.first(), B::Stream { .. }) => DAMAGED.into(),
            Self::Kept { .. } => {
                "run the same restore again to go on from there; `remand cleanup --yes` drops what is kept".into()
            }
            Self::Records { path, .. } => {
                format!("it is an SQLite database; if it is damaged move {path} away, and new records are begun")
            }
            Self::Unfinished { .. } => "`remand cleanup --yes` finishes that restore".into(),
            Self::BaseUnready { kind, base, .. } => {
                let kind = kind_name(*kind);
                format!("restore the {kind} by itself first: {kind}:{base}")
            }
            Self::NotWhole { .. } => "--keep-going restores the others".into(),
            Self::Rollback { .. } => "`remand cleanup` lists what is left and removes it".into(),
            _ => return None,
        })
    }

    /// Whether the user stopped the operation.
    pub fn is_interrupt(&self) -> bool {
        self.exit_status() == 130
    }

    pub(crate) fn backend(action: impl Into<String>) -> impl FnOnce(remand_backends::Error) -> Self {
        let action = action.into();
        move |source| match source {
            remand_backends::Error::NoPool(pool) => Self::NoPool(format!("There is no storage pool {pool}")),
            source => Self::Backend { action, source },
        }
    }

    pub(crate) fn tree(action: impl Into<String>) -> impl FnOnce(tree::Error) -> Self {
        let action = action.into();
        move |source| Self::Tree { action, source }
    }

    pub(crate) fn io(
        action: &'static str,
        subject: impl std::fmt::Display,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let subject = subject.to_string();
        move |source| Self::Io { action, subject, source }
    }
}

fn listed(unmatched: &[Unmatched]) -> String {
    unmatched.iter().map(|one| one.what.as_str()).collect::<Vec<_>>().join(", ")
}

impl From<change::Error> for Error {
    fn from(error: change::Error) -> Self {
        match error {
            change::Error::Interrupted => Self::Interrupted,
            error => Self::Change(error),
        }
    }
}

impl From<archive::Error> for Error {
    /// A visitor's own error comes back as it was.
    fn from(error: archive::Error) -> Self {
        match error {
            archive::Error::Visitor(inner) => match inner.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => Self::Archive(archive::Error::Visitor(other)),
            },
            error => Self::Archive(error),
        }
    }
}

impl From<Error> for archive::Error {
    /// For visitors: what goes wrong in an operation passes through the reader.
    fn from(error: Error) -> Self {
        match error {
            Error::Archive(error) => error,
            error => Self::Visitor(Box::new(error)),
        }
    }
}
