//! What opens an archive besides the archive: who may have signed it, and what decrypts it.

use std::sync::Arc;

use crate::encrypt::Identity;
use crate::sign::PublicKey;

/// Keys for reading. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    signers: Arc<[PublicKey]>,
    required: bool,
    identities: Arc<[Identity]>,
}

impl Keys {
    /// Those who are trusted; if `required`, an archive that none of them signed is refused.
    #[must_use]
    pub fn signed_by(self, signers: Vec<PublicKey>, required: bool) -> Self {
        Self { signers: signers.into(), required, ..self }
    }

    /// What decrypts archives.
    #[must_use]
    pub fn decrypted_by(self, identities: Vec<Identity>) -> Self {
        Self { identities: identities.into(), ..self }
    }

    /// Whether an archive must be signed by one who is trusted.
    pub fn requires_signature(&self) -> bool {
        self.required
    }

    /// Whether this one is trusted.
    pub fn trusts(&self, key: &PublicKey) -> bool {
        self.signers.contains(key)
    }

    /// What decrypts archives.
    pub(crate) fn identities(&self) -> &[Identity] {
        &self.identities
    }
}
