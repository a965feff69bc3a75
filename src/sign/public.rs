//! Public keys.

use std::fmt;

use data_encoding::{BASE64, HEXUPPER};
use ed25519_dalek::{Signature as Raw, VerifyingKey};

use super::{ALGORITHM, Error, payload};

/// Bytes of a public key: algorithm, identity, key.
const KEY_BYTES: usize = 42;

/// Random identity of a pair of keys. As text: 16 hexadecimal digits, as minisign(1) shows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId(pub(super) [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // minisign takes it for a little-endian number.
        let mut bytes = self.0;
        bytes.reverse();
        f.write_str(&HEXUPPER.encode(&bytes))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who signs. As text: the base64 that minisign(1) and signify(1) have in the second line of the file of a public key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey {
    id: KeyId,
    key: VerifyingKey,
}

impl PublicKey {
    /// Takes the file of a public key of either program, or its base64 alone. `subject` is where it is from.
    pub fn parse(text: &str, subject: &str) -> Result<Self, Error> {
        let no = |reason| Error::NoKey { subject: subject.to_owned(), what: "public key", reason };
        let base64 = payload(text).map_err(no)?;
        let bytes = BASE64.decode(base64.as_bytes()).map_err(|_| no("it is not in base64"))?;
        let bytes = <[u8; KEY_BYTES]>::try_from(bytes).map_err(|_| no("it has another length"))?;
        let (algorithm, rest) = bytes.split_at(2);
        if algorithm != ALGORITHM {
            return Err(no("it is of another kind"));
        }
        let (id, key) = rest.split_first_chunk().ok_or_else(|| no("it has another length"))?;
        let key = VerifyingKey::try_from(key).map_err(|_| no("it is no point of the curve"))?;
        Ok(Self { id: KeyId(*id), key })
    }

    /// The key with this identity.
    pub(super) fn new(id: KeyId, key: VerifyingKey) -> Self {
        Self { id, key }
    }

    /// Its identity.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether its owner signed `message`.
    pub(super) fn accepts(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        self.key.verify_strict(message, &Raw::from_bytes(signature)).is_ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(&[&ALGORITHM[..], &self.id.0, self.key.as_bytes()].concat()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
