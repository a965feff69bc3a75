//! Why a command did not succeed: what is printed, and the exit status.

use std::error::Error as StdError;
use std::io;

use super::config;

/// Exit status: failed, nothing changed.
pub(crate) const FAILED: u8 = 1;
/// Exit status: wrong usage.
pub(crate) const USAGE: u8 = 2;
/// Exit status: done, but something is not in the result.
pub(crate) const WARNINGS: u8 = 3;
/// Exit status: interrupted.
pub(crate) const INTERRUPTED: u8 = 130;

/// A command that did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error.
    Error {
        /// The error and its causes, outermost first.
        chain: Vec<String>,
        /// What the user can do.
        hint: Option<String>,
        /// Exit status.
        status: u8,
    },
    /// Whoever read standard output has seen enough; nothing is wrong.
    ReaderGone,
}

impl Failure {
    /// An error with its causes.
    pub(crate) fn new(error: &dyn StdError, hint: Option<String>, status: u8) -> Self {
        Self::Error { chain: chain(error), hint, status }
    }

    /// Arguments that contradict each other.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Error { chain: vec![message.into()], hint: None, status: USAGE }
    }

    /// Standard output cannot be written.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::ReaderGone;
        }
        let chain = vec!["Cannot write to standard output".into(), error.to_string()];
        Self::Error { chain, hint: None, status: FAILED }
    }
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        let hint = matches!(error, config::Error::Wrong { .. })
            .then(|| "remand(8) lists the keys under FILES".to_owned());
        Self::new(&error, hint, USAGE)
    }
}

/// The messages of an error and its causes. A level that only repeats what the one above it ends with is left out.
pub(crate) fn chain(error: &dyn StdError) -> Vec<String> {
    let mut levels = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        let message = error.to_string();
        if levels.last().is_none_or(|last| !last.ends_with(&message)) {
            levels.push(message);
        }
        next = error.source();
    }
    levels
}
