//! Files of signatures.

use data_encoding::BASE64;

use super::{ALGORITHM, KeyId, PublicKey, UNTRUSTED};

/// What the third line begins with.
const TRUSTED: &str = "trusted comment: ";
/// Longest trusted comment in bytes; minisign(1) reads 8192.
const MAX_COMMENT_BYTES: usize = 4096;

/// A signature with its comment, which is signed too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    id: KeyId,
    of_message: [u8; 64],
    comment: String,
    of_comment: [u8; 64],
}

/// Why a signature cannot be used, as the end of a sentence about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// It is no signature, or not in the one form that is written.
    Form(&'static str),
    /// It is of another key.
    Key(KeyId),
    /// It is not one of these bytes.
    Message,
    /// The trusted comment is not the one that was signed.
    Comment,
}

impl Signature {
    /// Puts one together. What `sign` signs comes back from it.
    pub(super) fn new(id: KeyId, message: &[u8], comment: &str, sign: impl Fn(&[u8]) -> [u8; 64]) -> Self {
        let comment = printable(comment);
        let of_message = sign(message);
        let of_comment = sign(&[&of_message[..], comment.as_bytes()].concat());
        Self { id, of_message, comment, of_comment }
    }

    /// The file. It has one form only, so that no byte of it can change without being noticed.
    pub fn to_text(&self) -> String {
        let Self { id, of_message, comment, of_comment } = self;
        let own = BASE64.encode(&[&ALGORITHM[..], &id.0, of_message].concat());
        let global = BASE64.encode(of_comment);
        format!("{UNTRUSTED}signature by remand with the key {id}\n{own}\n{TRUSTED}{comment}\n{global}\n")
    }

    /// Takes a file apart.
    pub fn parse(file: &[u8]) -> Result<Self, Wrong> {
        let text = std::str::from_utf8(file).map_err(|_| Wrong::Form("it is no text"))?;
        let mut lines = text.lines();
        let mut line = || lines.next().ok_or(Wrong::Form("it has not four lines"));
        let (_, own, comment, global) = (line()?, line()?, line()?, line()?);
        let decode =
            |base64: &str| BASE64.decode(base64.as_bytes()).map_err(|_| Wrong::Form("it is not in base64"));
        let length = |_| Wrong::Form("it has another length");
        let own = <[u8; 74]>::try_from(decode(own)?).map_err(length)?;
        let of_comment = <[u8; 64]>::try_from(decode(global)?).map_err(length)?;
        let comment = comment.strip_prefix(TRUSTED).ok_or(Wrong::Form("it has no trusted comment"))?;
        if own[..2] != ALGORITHM {
            return Err(Wrong::Form("it is of another kind than Ed"));
        }
        let (mut id, mut of_message) = ([0; 8], [0; 64]);
        id.copy_from_slice(&own[2..10]);
        of_message.copy_from_slice(&own[10..]);
        let this = Self { id: KeyId(id), of_message, comment: comment.to_owned(), of_comment };
        // Bytes that nothing signs are to be those that are always written.
        if this.comment == printable(&this.comment) && this.to_text().as_bytes() == file {
            return Ok(this);
        }
        Err(Wrong::Form("it is not in the form in which remand writes it"))
    }

    /// Proves that the owner of `key` signed `message` and the comment.
    pub fn check(&self, message: &[u8], key: &PublicKey) -> Result<(), Wrong> {
        if self.id != key.id() {
            return Err(Wrong::Key(self.id));
        }
        if !key.accepts(message, &self.of_message) {
            return Err(Wrong::Message);
        }
        if !key.accepts(&[&self.of_message[..], self.comment.as_bytes()].concat(), &self.of_comment) {
            return Err(Wrong::Comment);
        }
        Ok(())
    }

    /// Identity of the key that it says it is of.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The trusted comment, which is to be trusted only after [`Signature::check`].
    pub fn comment(&self) -> &str {
        &self.comment
    }
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Form(why) => f.write_str(why),
            Self::Key(id) => write!(f, "it is of the key {id}"),
            Self::Message => f.write_str("it is not one of this seal"),
            Self::Comment => f.write_str("its trusted comment is not the one that was signed"),
        }
    }
}

/// As a comment can be: one line of ASCII, of which minisign(1) shows all. Tabs are its own separators.
fn printable(comment: &str) -> String {
    let shown = |c: char| if c == '\t' || c == ' ' || c.is_ascii_graphic() { c } else { '?' };
    comment.chars().take(MAX_COMMENT_BYTES).map(shown).collect()
}
