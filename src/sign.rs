//! Signatures as minisign(1) and signify(1) make and check them: Ed25519 over the bytes themselves (`Ed`).
//!
//! Here are the forms of their files; the cryptography is that of ed25519-dalek and, for keys with a password, of scrypt and
//! bcrypt-pbkdf. What is secret is overwritten when it is dropped, and appears in no message.

mod public;
mod secret;
mod signature;

pub use public::{KeyId, PublicKey};
pub use secret::{SecretKey, Signer};
pub use signature::{Signature, Wrong};

/// What the first line of every file begins with.
const UNTRUSTED: &str = "untrusted comment: ";
/// The kind of all keys and signatures here.
const ALGORITHM: [u8; 2] = *b"Ed";

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is no key.
    #[error("{subject} is no {what}: {reason}")]
    NoKey {
        /// Where it is from.
        subject: String,
        /// What was looked for.
        what: &'static str,
        /// Why it is none.
        reason: &'static str,
    },
    /// The key has a password, and none was given.
    #[error("The secret key {0} is protected by a password, and none was given")]
    NoPassword(String),
    /// The password is another one.
    #[error("The password of the secret key {0} is wrong")]
    WrongPassword(String),
    /// Deriving a key from the password would take more memory than a key may ask for.
    #[error(
        "The secret key {subject} needs {needed_bytes} bytes of memory to be unlocked, which is too much"
    )]
    TooHard {
        /// Where it is from.
        subject: String,
        /// How much.
        needed_bytes: u64,
    },
}

/// The base64 in the second line of a file in minisign's form, or in the only one.
fn payload(text: &str) -> Result<&str, &'static str> {
    let mut lines = text.lines();
    let first = lines.next().unwrap_or_default();
    let line = if first.starts_with(UNTRUSTED) { lines.next().unwrap_or_default() } else { first };
    match line.trim_end_matches('\r') {
        "" => Err("it is empty"),
        line => Ok(line),
    }
}

#[cfg(test)]
mod tests;
