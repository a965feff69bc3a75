//! The signature behind the seal: who vouches for an archive.
//!
//! The manifest names the signer's public key, so everybody can tell whether signature and seal go together, and a signature that is
//! missing is damage. Whether that key is to be trusted only the reader's own keys ([`Keys`]) say.

use super::{Error, Manifest, Result};
use crate::keys::Keys;
use crate::sign::{PublicKey, Signature};

/// A signature that was checked with the key that the manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Whose it is.
    pub key: PublicKey,
    /// Its trusted comment: when it was made, of what.
    pub comment: String,
    /// Whether the reader knows the key.
    pub trusted: bool,
}

/// What is expected of the end of an archive.
pub(super) struct Expected<'a> {
    signer: Option<PublicKey>,
    keys: &'a Keys,
    name: &'a str,
}

impl<'a> Expected<'a> {
    /// Begins with the manifest. Where a signature is required, an archive that says that it has none, or one of somebody else, is
    /// refused at once.
    pub(super) fn new(manifest: &Manifest, keys: &'a Keys, name: &'a str) -> Result<Self> {
        let signer = manifest.signed_by.as_deref().map(|key| PublicKey::parse(key, "the signer's key"));
        let signer = signer.transpose().map_err(|error| {
            Error::Damaged(format!("the manifest of {name} cannot be understood: {error}"))
        })?;
        match &signer {
            None if keys.requires_signature() => Err(Error::NotTrusted(format!("{name} is not signed"))),
            Some(key) if keys.requires_signature() && !keys.trusts(key) => Err(Error::NotTrusted(format!(
                "{name} is signed by the key {}, which is none of those that are trusted",
                key.id()
            ))),
            _ => Ok(Self { signer, keys, name }),
        }
    }

    /// Whether nothing may be seen before the signature is proven.
    pub(super) fn is_required(&self) -> bool {
        self.keys.requires_signature()
    }

    /// Whether what waits in a file must not be read there.
    pub(super) fn is_secret(&self) -> bool {
        !self.keys.identities().is_empty()
    }

    /// Proves the signature that was found, of the bytes of the seal's line.
    pub(super) fn check(&self, seal: &[u8], found: Option<&[u8]>) -> Result<Option<Signed>> {
        let wrong = |why: String| {
            if self.keys.requires_signature() { Error::NotTrusted(why) } else { Error::Damaged(why) }
        };
        match (self.signer, found) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(Error::Damaged(format!(
                "{} has a signature, and its manifest names no signer",
                self.name
            ))),
            (Some(key), None) => {
                Err(wrong(format!("the signature of {} by the key {} is missing", self.name, key.id())))
            }
            (Some(key), Some(found)) => {
                let signature = Signature::parse(found).and_then(|found| {
                    found.check(seal, &key)?;
                    Ok(found)
                });
                let signature = signature
                    .map_err(|why| wrong(format!("the signature of {} is wrong: {why}", self.name)))?;
                let trusted = self.keys.trusts(&key);
                Ok(Some(Signed { key, comment: signature.comment().to_owned(), trusted }))
            }
        }
    }
}
