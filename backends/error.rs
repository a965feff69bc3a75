//! What can go wrong with a backend, by what the caller can do about it.

/// Result of a backend call.
pub type Result<T> = std::result::Result<T, Error>;

/// A failed call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is no such pool.
    #[error("There is no storage pool {0}")]
    NoPool(String),
    /// A dataset or snapshot that is needed does not exist.
    #[error("There is no {0}")]
    NotFound(String),
    /// The name is taken.
    #[error("{0} exists already")]
    Exists(String),
    /// It is in use.
    #[error("{subject} is busy: {detail}")]
    Busy {
        /// What.
        subject: String,
        /// What the program said.
        detail: String,
    },
    /// A name that this backend cannot take.
    #[error(transparent)]
    Name(#[from] crate::name::InvalidName),
    /// A program failed.
    #[error("{command} failed ({status}): {stderr}")]
    Program {
        /// The command line, for people.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it said.
        stderr: String,
    },
    /// A program could not be started.
    #[error("Cannot run {command}")]
    Start {
        /// The command line, for people.
        command: String,
        /// Why.
        source: std::io::Error,
    },
    /// A program printed what cannot be understood.
    #[error("{command} printed what cannot be understood: {line:?}")]
    Output {
        /// The command line.
        command: String,
        /// The line.
        line: String,
    },
    /// A part of what a program printed is missing, though it ended well.
    #[error("Not all that {command} printed has arrived: {text:?}")]
    CutOff {
        /// The command line.
        command: String,
        /// What has arrived.
        text: String,
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
    /// A dataset has no directory because it is not mounted.
    #[error("{0} is not mounted")]
    NotMounted(String),
    /// An encrypted dataset cannot be read without its key.
    #[error("The key of the encrypted dataset {0} is not loaded; load it with `zfs load-key {0}`")]
    Locked(String),
    /// This kind of backend, or this version of its program, has no such thing. Who asks [`crate::Capabilities`] first does
    /// not meet it.
    #[error("{subject}: {what} is not possible here")]
    Unsupported {
        /// On what.
        subject: String,
        /// What was asked for.
        what: &'static str,
    },
    /// A mounted file system is in the way: nothing is removed through it.
    #[error("Another file system is mounted at {0}")]
    MountedOver(String),
    /// What was to be removed is not (or no longer) something that remand left behind.
    #[error("{0} was not left behind by remand")]
    NotLeftover(String),
    /// The backend makes no stream of what is in there.
    #[error("{subject} cannot be sent as a stream: {reason}")]
    Unsendable {
        /// Of what.
        subject: String,
        /// Why.
        reason: String,
    },
    /// A stream is none of this backend, or damaged.
    #[error("The stream for {subject} is damaged, or none: {reason}")]
    Stream {
        /// What it was for.
        subject: String,
        /// Why.
        reason: String,
    },
    /// A stream is of a newer version, or forged: it names what did not come with it.
    #[error("The stream for {subject} is refused: {reason}")]
    Refused {
        /// What it was for.
        subject: String,
        /// Why.
        reason: String,
    },
    /// Receiving a stream was interrupted, and what came is kept: [`crate::Streams::take_over`] finds it.
    #[error("{cause}; {received_bytes} bytes that {subject} has received are kept")]
    Kept {
        /// What was being received.
        subject: String,
        /// How much of the stream.
        received_bytes: u64,
        /// What interrupted it.
        #[source]
        cause: Box<Error>,
    },
    /// Something failed, and so did undoing what was done before.
    #[error("{cause}; and {remains} remains, because it could not be removed")]
    Remains {
        /// What is still there.
        remains: String,
        /// What failed first.
        cause: Box<Error>,
        /// Why it could not be removed.
        #[source]
        undo: Box<Error>,
    },
}

impl Error {
    /// A failed system call.
    pub(crate) fn io(action: &'static str, subject: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { action, subject: subject.into(), source }
    }

    /// What failed first, of several.
    pub fn first(&self) -> &Self {
        match self {
            Self::Kept { cause, .. } | Self::Remains { cause, .. } => cause.first(),
            error => error,
        }
    }

    /// Adds what could not be undone, if anything.
    pub(crate) fn with_undo(self, remains: impl Into<String>, undo: Result<()>) -> Self {
        match undo {
            Ok(()) => self,
            Err(undo) => {
                Self::Remains { remains: remains.into(), cause: Box::new(self), undo: Box::new(undo) }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Error;
    use std::error::Error as _;

    #[test]
    fn messages_name_their_subject_and_keep_to_their_own_level() {
        let cause = Error::io("create", "/p/x", std::io::ErrorKind::StorageFull.into());
        assert_eq!(cause.to_string(), "Cannot create /p/x");
        assert!(cause.source().is_some());
        let failed = cause.with_undo("/p/y", Err(Error::Exists("z".into())));
        assert_eq!(
            failed.to_string(),
            "Cannot create /p/x; and /p/y remains, because it could not be removed"
        );
        assert_eq!(failed.source().unwrap().to_string(), "z exists already");
        assert_eq!(
            Error::NoPool("a".into()).with_undo("b", Ok(())).to_string(),
            "There is no storage pool a"
        );
    }
}
