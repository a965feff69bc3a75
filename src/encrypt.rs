//! Encryption: an archive within an age file (`age-encryption.org/v1`), by the age crate.
//!
//! ```text
//! Writer ─▶ compressed tar ─▶ EncryptedSink ─▶ Sink          Source ─▶ decrypted ─▶ decompressed ─▶ …
//! ```
//!
//! What is encrypted is authenticated in pieces of 64 KiB, so a piece is proven before any of it is seen, and a missing end is
//! noticed. That proves nothing of who wrote it: everybody can encrypt to a recipient. A file can be read at any place.

mod file;
mod sink;

use std::io::{self, BufRead, BufReader, Read};

use age::{DecryptError, Decryptor};

use crate::archive;

pub(crate) use file::open_file;
pub(crate) use sink::{EncryptedSink, encrypt as to_writer};

/// What every encrypted archive begins with; a version follows.
const MAGIC: &[u8] = b"age-encryption.org/";
/// The first line of all that is read.
const VERSION: &[u8] = b"age-encryption.org/v1\n";
/// What its form as text begins with.
const ARMOR: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
/// How much of a file must be seen to know whether it is encrypted.
pub(crate) const MAGIC_BYTES: usize = ARMOR.len();
/// Longest header, which has some hundred bytes for each recipient.
const MAX_HEADER_BYTES: usize = 1 << 20;
/// Bytes that are read at once.
const BUFFER_BYTES: usize = 128 << 10;

/// A line that is no key.
#[derive(Debug, thiserror::Error)]
#[error("{subject} is no {what}: {reason}")]
pub struct NoKey {
    /// Where it is from.
    pub subject: String,
    /// What was looked for.
    pub what: &'static str,
    /// Why it is none.
    pub reason: String,
}

/// To whom something is encrypted: `age1…`.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient(age::x25519::Recipient);

/// What decrypts it: `AGE-SECRET-KEY-1…`. Overwritten when it is dropped.
#[derive(Clone)]
pub struct Identity(age::x25519::Identity);

impl Recipient {
    /// Takes one apart. `subject` is where it is from.
    pub fn parse(text: &str, subject: &str) -> Result<Self, NoKey> {
        let no = |reason: &str| NoKey {
            subject: subject.to_owned(),
            what: "recipient",
            reason: reason.to_owned(),
        };
        if text.starts_with("ssh-") {
            return Err(no("keys of ssh are not supported; age-keygen makes others"));
        }
        text.parse().map(Self).map_err(no)
    }

    /// The recipients in a file: one each line, `#` before a comment.
    pub fn parse_file(text: &str, subject: &str) -> Result<Vec<Self>, NoKey> {
        let each =
            lines(text).map(|(number, line)| Self::parse(line, &format!("Line {number} of {subject}")));
        let all: Vec<_> = each.collect::<Result<_, _>>()?;
        not_empty(all, "file of recipients", subject)
    }
}

impl std::fmt::Display for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Identity {
    /// The identities in a file as age-keygen(1) makes it: one each line, `#` before a comment.
    pub fn parse_file(text: &str, subject: &str) -> Result<Vec<Self>, NoKey> {
        let each = lines(text).map(|(number, line)| {
            let no = |reason: &str| NoKey {
                subject: format!("Line {number} of {subject}"),
                what: "identity",
                reason: reason.to_owned(),
            };
            if line.starts_with("-----BEGIN ") {
                return Err(no("encrypted identities and keys of ssh are not supported"));
            }
            line.parse().map(Self).map_err(no)
        });
        let all: Vec<_> = each.collect::<Result<_, _>>()?;
        not_empty(all, "file of identities", subject)
    }

    /// A new one.
    pub(crate) fn generate() -> Self {
        Self(age::x25519::Identity::generate())
    }

    /// Whom it decrypts for.
    pub(crate) fn recipient(&self) -> Recipient {
        Recipient(self.0.to_public())
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Identity").field(&self.recipient()).finish()
    }
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    numbered.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
}

fn not_empty<T>(all: Vec<T>, what: &'static str, subject: &str) -> Result<Vec<T>, NoKey> {
    if all.is_empty() {
        return Err(NoKey { subject: subject.to_owned(), what, reason: "there is none in it".into() });
    }
    Ok(all)
}

/// An error of reading that means: these bytes are not those that were encrypted.
#[derive(Debug, thiserror::Error)]
#[error("cannot be decrypted: {0}")]
pub(crate) struct Broken(String);

/// The same error; what comes from broken pieces is told apart from what broken compression says.
fn broken(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::InvalidData => io::Error::new(error.kind(), Broken(error.to_string())),
        _ => error,
    }
}

/// Whether what begins so is encrypted. Its form as text is an error, because nobody can read in it at any place.
pub(crate) fn is_encrypted(head: &[u8], name: &str) -> archive::Result<bool> {
    if head.starts_with(ARMOR) {
        return Err(archive::Error::Refused(format!(
            "{name} is an age file as text (armored), which is not read; `age --decrypt` makes an archive of it"
        )));
    }
    Ok(head.starts_with(MAGIC))
}

/// Decrypts from front to back.
pub(crate) fn open_stream(
    stream: impl Read + Send + 'static,
    name: &str,
    identities: &[Identity],
) -> archive::Result<Box<dyn Read + Send>> {
    let mut stream = BufReader::with_capacity(BUFFER_BYTES, stream);
    let header = read_header(&mut stream, name)?;
    let decrypted = decrypt(io::Cursor::new(header).chain(stream), name, identities)?;
    Ok(Box::new(Told(decrypted)))
}

/// The header, up to the line with its code. It is looked at first, because the parser has no bound for its length.
fn read_header(stream: &mut impl BufRead, name: &str) -> archive::Result<Vec<u8>> {
    let mut header = Vec::new();
    loop {
        let begin = header.len();
        let room = (MAX_HEADER_BYTES - begin) as u64;
        let read = stream.take(room).read_until(b'\n', &mut header);
        read.map_err(|source| archive::Error::Io { action: "read", subject: name.to_owned(), source })?;
        let line = &header[begin..];
        if begin == 0 && line.ends_with(b"\n") && line != VERSION {
            return Err(archive::Error::Refused(format!(
                "{name} is encrypted in another version of age's format"
            )));
        }
        if line.starts_with(b"---") && line.ends_with(b"\n") {
            return Ok(header);
        }
        if header.len() == MAX_HEADER_BYTES {
            return Err(archive::Error::Refused(format!("{name} has too long a header of age")));
        }
        if !line.ends_with(b"\n") {
            return Err(archive::Error::Damaged(format!("{name} ends in the middle")));
        }
    }
}

fn decrypt<R: BufRead>(
    input: R,
    name: &str,
    identities: &[Identity],
) -> archive::Result<age::stream::StreamReader<R>> {
    let decryptor = Decryptor::new_buffered(input).map_err(|error| decrypt_error(name, identities, error))?;
    if decryptor.is_scrypt() {
        let why = "with a passphrase, which is not supported".to_owned();
        return Err(archive::Error::Locked { name: name.to_owned(), why });
    }
    let all = identities.iter().map(|identity| &identity.0 as &dyn age::Identity);
    decryptor.decrypt(all).map_err(|error| decrypt_error(name, identities, error))
}

fn decrypt_error(name: &str, identities: &[Identity], error: DecryptError) -> archive::Error {
    use archive::Error as E;
    let damaged = |why: &str| E::Damaged(format!("{name} cannot be decrypted: {why}"));
    match error {
        DecryptError::NoMatchingKeys => {
            let why = match identities.len() {
                0 => "and no identity was given".to_owned(),
                1 => "and not for the identity that was given".to_owned(),
                several => format!("and for none of the {several} identities that were given"),
            };
            E::Locked { name: name.to_owned(), why }
        }
        DecryptError::InvalidMac => damaged("its header was changed"),
        DecryptError::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
            E::Damaged(format!("{name} ends in the middle"))
        }
        DecryptError::Io(source) => E::Io { action: "read", subject: name.to_owned(), source },
        _ => damaged("its header is wrong"),
    }
}

/// What was written by [`to_writer`] for one identity.
pub(crate) fn from_reader<R: BufRead>(
    input: R,
    identity: &Identity,
) -> io::Result<age::stream::StreamReader<R>> {
    let identities = std::slice::from_ref(identity);
    decrypt(input, "a temporary file", identities).map_err(io::Error::other)
}

/// Tells broken pieces apart.
struct Told<R>(R);

impl<R: Read> Read for Told<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(broken)
    }
}

#[cfg(test)]
mod tests;
