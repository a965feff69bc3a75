//! Options for keys. A secret is never an argument: it is in a file, or a command prints it.

use std::path::PathBuf;

use clap::Args;

/// Who signs what is written.
#[derive(Debug, Args)]
pub(crate) struct Signing {
    /// Sign the archive with this secret key of minisign or signify
    #[arg(long, value_name = "FILE")]
    pub(crate) sign: Option<PathBuf>,
    /// Sign it with the secret key that this command prints
    #[arg(long, value_name = "COMMAND", conflicts_with = "sign")]
    pub(crate) sign_command: Option<String>,
    /// Read the password of the secret key from this file [default: ask for it, if there is a terminal]
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_password_file: Option<PathBuf>,
    /// Take the password of the secret key from what this command prints
    #[arg(long, value_name = "COMMAND", conflicts_with = "sign_password_file")]
    pub(crate) sign_password_command: Option<String>,
}

/// For whom what is written is encrypted.
#[derive(Debug, Args)]
pub(crate) struct Encrypting {
    /// Encrypt the archive with age for this recipient (age1...); can be given several times
    #[arg(long, value_name = "RECIPIENT")]
    pub(crate) encrypt_to: Vec<String>,
    /// Encrypt it for the recipients in this file, one each line
    #[arg(long, value_name = "FILE")]
    pub(crate) recipients_file: Vec<PathBuf>,
}

/// What opens an archive that is read.
#[derive(Debug, Args)]
pub(crate) struct Opening {
    /// Refuse the archive unless this public key of minisign or signify (a file, or its base64) has signed it; can be given
    /// several times: one of them
    #[arg(long, value_name = "KEY")]
    pub(crate) verify_key: Vec<String>,
    /// Refuse the archive unless a key of the config file has signed it, where --verify-key names none
    #[arg(long)]
    pub(crate) require_signature: bool,
    /// Decrypt the archive with the identities of age in this file; can be given several times
    #[arg(long, value_name = "FILE")]
    pub(crate) identity_file: Vec<PathBuf>,
    /// Decrypt it with the identities that this command prints
    #[arg(long, value_name = "COMMAND")]
    pub(crate) identity_command: Option<String>,
}
