//! Secret keys.

use data_encoding::BASE64;
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha512};
use zeroize::Zeroizing;

use super::{ALGORITHM, Error, KeyId, PublicKey, Signature, payload};

/// Most memory that unlocking a key may take: twice what minisign(1) asks for by default.
const MAX_MEMORY_BYTES: u64 = 2 << 30;
/// Bytes of a secret key of minisign(1).
const MINISIGN_BYTES: usize = 158;
/// Bytes of one of signify(1).
const SIGNIFY_BYTES: usize = 104;

/// A secret key as it is in its file, possibly protected by a password.
///
/// ```text
/// minisign: Ed, kdf, B2, salt 32, opslimit 8, memlimit 8, (id 8, key 64, BLAKE2b-256 of Ed, id and key 32)
/// signify:  Ed, BK, rounds 4, salt 16, SHA-512 of the key 8, id 8, (key 64)
/// ```
///
/// What is in parentheses is combined, by exclusive or, with what the password yields.
pub struct SecretKey {
    form: Form,
    bytes: Zeroizing<Vec<u8>>,
    subject: String,
}

/// Whose form a file has, and how it is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Minisign { log_n: u8, p: u32 },
    MinisignPlain,
    Signify { rounds: u32 },
    SignifyPlain,
}

/// A secret key that is ready to sign.
pub struct Signer {
    id: KeyId,
    key: SigningKey,
}

impl SecretKey {
    /// Takes the file of a secret key of either program. `subject` is where it is from.
    pub fn parse(file: &[u8], subject: &str) -> Result<Self, Error> {
        let no = |reason| Error::NoKey { subject: subject.to_owned(), what: "secret key", reason };
        let text = std::str::from_utf8(file).map_err(|_| no("it is no text"))?;
        let base64 = payload(text).map_err(no)?;
        let bytes = Zeroizing::new(BASE64.decode(base64.as_bytes()).map_err(|_| no("it is not in base64"))?);
        if !bytes.starts_with(&ALGORITHM) {
            return Err(no("it is of another kind"));
        }
        let form = match (bytes.len(), bytes.get(2..4)) {
            (MINISIGN_BYTES, Some(b"Sc")) => scrypt_cost(&bytes, subject)?,
            (MINISIGN_BYTES, Some(b"\0\0")) => Form::MinisignPlain,
            (SIGNIFY_BYTES, Some(b"BK")) => match be32(&bytes[4..8]) {
                0 => Form::SignifyPlain,
                rounds => Form::Signify { rounds },
            },
            (MINISIGN_BYTES | SIGNIFY_BYTES, _) => return Err(no("it is protected in an unknown way")),
            // A public key is the usual mistake.
            (42, _) => return Err(no("it is a public key")),
            _ => return Err(no("it has another length")),
        };
        Ok(Self { form, bytes, subject: subject.to_owned() })
    }

    /// Whether it is protected by one.
    pub fn needs_password(&self) -> bool {
        matches!(self.form, Form::Minisign { .. } | Form::Signify { .. })
    }

    /// Makes it ready to sign. A password for a key that needs none is not looked at.
    pub fn unlock(mut self, password: Option<&[u8]>) -> Result<Signer, Error> {
        let password = match password {
            Some(password) => password,
            None if self.needs_password() => return Err(Error::NoPassword(self.subject)),
            None => b"",
        };
        let damaged = |subject: &str| Error::NoKey {
            subject: subject.to_owned(),
            what: "secret key",
            reason: "its checksum is wrong",
        };
        match self.form {
            Form::Minisign { log_n, p } => {
                let mut stream = Zeroizing::new([0; 104]);
                scrypt::Params::new(log_n, 8, p, 32)
                    .ok()
                    .and_then(|cost| scrypt::scrypt(password, &self.bytes[6..38], &cost, &mut *stream).ok())
                    .ok_or_else(|| damaged(&self.subject))?;
                xor(&mut self.bytes[54..], &*stream);
            }
            Form::Signify { rounds } => {
                let mut stream = Zeroizing::new([0; 64]);
                bcrypt_pbkdf::bcrypt_pbkdf(password, &self.bytes[8..24], rounds, &mut *stream)
                    .map_err(|_| Error::WrongPassword(self.subject.clone()))?;
                xor(&mut self.bytes[40..], &*stream);
            }
            Form::MinisignPlain | Form::SignifyPlain => {}
        }
        let (id, key, sound) = match self.form {
            Form::Minisign { .. } | Form::MinisignPlain => {
                let (id, key) = (&self.bytes[54..62], &self.bytes[62..126]);
                let check = blake2_256(&[&ALGORITHM[..], id, key]) == self.bytes[126..];
                // minisign(1) leaves it empty where there is no password.
                let none = self.form == Form::MinisignPlain && self.bytes[126..] == [0; 32];
                (id, key, check || none)
            }
            Form::Signify { .. } | Form::SignifyPlain => {
                let (id, key) = (&self.bytes[32..40], &self.bytes[40..104]);
                (id, key, Sha512::digest(key)[..8] == self.bytes[24..32])
            }
        };
        let signer = || {
            let id = KeyId(id.try_into().ok()?);
            let key = SigningKey::from_keypair_bytes(key.try_into().ok()?).ok()?;
            Some(Signer { id, key })
        };
        match signer().filter(|_| sound) {
            Some(signer) => Ok(signer),
            None if self.needs_password() => Err(Error::WrongPassword(self.subject)),
            None => Err(damaged(&self.subject)),
        }
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretKey").field("subject", &self.subject).finish_non_exhaustive()
    }
}

impl Signer {
    /// Signs `message`, and `comment` with it.
    pub fn sign(&self, message: &[u8], comment: &str) -> Signature {
        Signature::new(self.id, message, comment, |bytes| self.key.sign(bytes).to_bytes())
    }

    /// The other half of the pair.
    pub fn public(&self) -> PublicKey {
        PublicKey::new(self.id, self.key.verifying_key())
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Signer").field(&self.id).finish()
    }
}

/// The parameters of scrypt that libsodium derives from its limits (`crypto_pwhash_scryptsalsa208sha256`), with r = 8.
fn scrypt_cost(bytes: &[u8], subject: &str) -> Result<Form, Error> {
    let (operations, memory) = (le64(&bytes[38..46]).max(32768), le64(&bytes[46..54]));
    let log_n = |largest: u64| (1..63_u8).find(|log_n| 1_u64 << log_n > largest / 2).unwrap_or(63);
    let (log_n, p) = if operations < memory / 32 {
        (log_n(operations / 32), 1)
    } else {
        let log_n = log_n(memory / 1024);
        let most = ((operations / 4) >> log_n).min(0x3fff_ffff);
        (log_n, u32::try_from(most / 8).unwrap_or(0))
    };
    let needed_bytes = 1024_u64.checked_shl(log_n.into()).filter(|bytes| bytes >> log_n == 1024);
    let needed_bytes = needed_bytes.and_then(|n| n.checked_add(1024 * u64::from(p))).unwrap_or(u64::MAX);
    if needed_bytes > MAX_MEMORY_BYTES + (1 << 20) {
        return Err(Error::TooHard { subject: subject.to_owned(), needed_bytes });
    }
    Ok(Form::Minisign { log_n, p })
}

fn blake2_256(parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = blake2::Blake2b::<blake2::digest::consts::U32>::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn xor(bytes: &mut [u8], stream: &[u8]) {
    bytes.iter_mut().zip(stream).for_each(|(byte, with)| *byte ^= with);
}

fn le64(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn be32(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}
