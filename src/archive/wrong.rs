//! What can be wrong with one header or one line.

use super::Error;

/// Why a header or a line cannot be used, as the end of a sentence about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It says nothing that makes sense: bytes were changed.
    Malformed(String),
    /// It says what no archive may say.
    Forbidden(String),
}

impl Wrong {
    /// The error about `subject`.
    pub(super) fn about(self, subject: &str) -> Error {
        match self {
            Self::Malformed(why) => Error::Damaged(format!("{subject}: {why}")),
            Self::Forbidden(why) => Error::Refused(format!("{subject}: {why}")),
        }
    }
}

impl From<String> for Wrong {
    fn from(why: String) -> Self {
        Self::Malformed(why)
    }
}

impl From<&str> for Wrong {
    fn from(why: &str) -> Self {
        Self::Malformed(why.to_owned())
    }
}
