//! From options and config file to keys.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use remand::archive::Signed;
use remand::archive::manifest::Manifest;
use remand::encrypt::{Identity, NoKey, Recipient};
use remand::keys::Keys;
use remand::sign::{self, PublicKey, SecretKey, Signer};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::args::{Encrypting, Opening, Signing};
use super::config::Config;
use super::failure::{FAILED, Failure};
use super::{path_name, secrets};

impl From<sign::Error> for Failure {
    fn from(error: sign::Error) -> Self {
        let hint = matches!(error, sign::Error::NoPassword(_)).then(|| {
            "--sign-password-file or --sign-password-command tell it where there is no terminal".into()
        });
        Self::new(&error, hint, FAILED)
    }
}

impl From<NoKey> for Failure {
    fn from(error: NoKey) -> Self {
        Self::new(&error, None, FAILED)
    }
}

impl Signing {
    /// The secret key, if one is named.
    fn secret_key(&self) -> Result<Option<SecretKey>, Failure> {
        let (text, subject) = match (&self.sign, &self.sign_command) {
            (Some(path), _) => (secrets::of_file(path)?, path_name(path)),
            (None, Some(command)) => {
                (secrets::of_command(command, "--sign-command")?, "what --sign-command printed".into())
            }
            (None, None) if self.sign_password_file.is_some() || self.sign_password_command.is_some() => {
                return Err(Failure::usage("There is a password but no key: --sign names it"));
            }
            (None, None) => return Ok(None),
        };
        Ok(Some(SecretKey::parse(&text, &subject)?))
    }

    /// Makes sure that the key is one, and asks for nothing.
    pub(super) fn check(&self) -> Result<bool, Failure> {
        Ok(self.secret_key()?.is_some())
    }

    /// Who signs.
    pub(super) fn signer(&self, interrupted: &AtomicBool) -> Result<Option<Arc<Signer>>, Failure> {
        let Some(key) = self.secret_key()? else { return Ok(None) };
        if !key.needs_password() {
            return Ok(Some(Arc::new(key.unlock(None)?)));
        }
        let password = match (&self.sign_password_file, &self.sign_password_command) {
            (Some(path), _) => Some(secrets::password(secrets::of_file(path)?)),
            (None, Some(command)) => {
                Some(secrets::password(secrets::of_command(command, "--sign-password-command")?))
            }
            (None, None) => secrets::of_terminal("Password of the secret key: ", interrupted)?,
        };
        Ok(Some(Arc::new(key.unlock(password.as_ref().map(|password| password.as_slice()))?)))
    }
}

impl Encrypting {
    /// For whom; nobody: it is not encrypted.
    pub(super) fn recipients(&self) -> Result<Vec<Recipient>, Failure> {
        let named = self.encrypt_to.iter().map(|text| Recipient::parse(text, &format!("{text:?}")));
        let mut all: Vec<_> = named.collect::<Result<_, _>>()?;
        for path in &self.recipients_file {
            all.extend(Recipient::parse_file(&text_of(path)?, &path_name(path))?);
        }
        Ok(all)
    }
}

impl Opening {
    /// Keys for reading. Those of the config file count where the command line names none.
    pub(super) fn keys(&self, config: &Config) -> Result<Keys, Failure> {
        let named = if self.verify_key.is_empty() { &config.verify_key } else { &self.verify_key };
        let signers: Vec<_> = named.iter().map(|key| public_key(key)).collect::<Result<_, _>>()?;
        let wished = self.require_signature || config.require_signature.unwrap_or(false);
        if wished && signers.is_empty() {
            return Err(Failure::Error {
                chain: vec!["A signature is required, and no key is named that could have made it".into()],
                hint: Some("name one with --verify-key, or with `verify-key` in the config file".into()),
                status: super::failure::USAGE,
            });
        }
        let required = wished || !self.verify_key.is_empty();
        let mut identities = Vec::new();
        let by_option = !self.identity_file.is_empty() || self.identity_command.is_some();
        let files = if by_option { &self.identity_file } else { &config.identity_file };
        for path in files {
            identities.extend(identities_of(&secrets::of_file(path)?, &path_name(path))?);
        }
        if let Some(command) = &self.identity_command {
            let printed = secrets::of_command(command, "--identity-command")?;
            identities.extend(identities_of(&printed, "what --identity-command printed")?);
        }
        Ok(Keys::default().signed_by(signers, required).decrypted_by(identities))
    }

    /// Whether any of its options is given.
    pub(super) fn is_used(&self) -> bool {
        !self.verify_key.is_empty()
            || self.require_signature
            || !self.identity_file.is_empty()
            || self.identity_command.is_some()
    }
}

fn identities_of(text: &Zeroizing<Vec<u8>>, subject: &str) -> Result<Vec<Identity>, Failure> {
    let text = std::str::from_utf8(text).map_err(|_| Failure::Error {
        chain: vec![format!("{subject} is no file of identities: it is no text")],
        hint: None,
        status: FAILED,
    })?;
    Ok(Identity::parse_file(text, subject)?)
}

/// A public key: base64 as it is, or the file that it is in.
fn public_key(key: &str) -> Result<PublicKey, Failure> {
    if let Ok(key) = PublicKey::parse(key, "the key") {
        return Ok(key);
    }
    let path = PathBuf::from(key);
    Ok(PublicKey::parse(&text_of(&path)?, &path_name(&path))?)
}

fn text_of(path: &Path) -> Result<String, Failure> {
    let read = std::fs::read_to_string(path);
    read.map_err(|error| Failure::Error {
        chain: vec![format!("Cannot read {}", path_name(path)), error.to_string()],
        hint: None,
        status: FAILED,
    })
}

/// A signature for programs; null where there is none.
pub(super) fn signature_record(signed: Option<&Signed>) -> Value {
    signed.map_or(Value::Null, |signed| {
        json!({
            "key_id": signed.key.id().to_string(),
            "key": signed.key.to_string(),
            "trusted": signed.trusted,
            "comment": signed.comment,
        })
    })
}

/// The same in words, as the end of a sentence.
pub(super) fn signature_text(signed: Option<&Signed>) -> String {
    match signed {
        None => "not signed".into(),
        Some(signed) if signed.trusted => {
            format!("signed by the trusted key {} ({})", signed.key.id(), comment(signed))
        }
        Some(signed) => {
            format!(
                "signed by the key {}, which no --verify-key names ({})",
                signed.key.id(),
                comment(signed)
            )
        }
    }
}

/// Its trusted comment on one line.
pub(super) fn comment(signed: &Signed) -> String {
    signed.comment.replace('\t', " ")
}

/// Who says to have signed an archive, of which no more than the manifest was read.
pub(super) fn claimed_signer(manifest: &Manifest) -> Option<String> {
    let key = manifest.signed_by.as_deref()?;
    Some(match PublicKey::parse(key, "the key") {
        Ok(key) => format!("{} (not checked): {key}", key.id()),
        Err(_) => format!("{key} (no key)"),
    })
}
