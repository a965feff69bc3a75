//! The forms that a config has.

use super::properties::PREFIX;

/// How a config is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Form {
    /// `config.json`: what libioc and iocage write today.
    Json,
    /// `config`, a UCL file of older versions of iocage.
    Ucl,
    /// User properties `org.freebsd.iocage:KEY` of the resource's own dataset, of the first versions of iocage.
    Properties,
}

impl Form {
    /// All, in the order in which libioc and iocage look for them.
    pub const ALL: [Self; 3] = [Self::Json, Self::Ucl, Self::Properties];

    /// Its member in an archive.
    pub fn member(self) -> &'static str {
        match self {
            Self::Json => "config.json",
            Self::Ucl => "config",
            Self::Properties => "properties.json",
        }
    }

    /// The form whose member has this name.
    pub fn of_member(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.member() == name)
    }

    /// Its file in the resource's directory, if it is one.
    pub fn file(self) -> Option<&'static str> {
        match self {
            Self::Json | Self::Ucl => Some(self.member()),
            Self::Properties => None,
        }
    }

    /// Its file for the pool's defaults, if it is one.
    pub(crate) fn defaults_file(self) -> Option<&'static str> {
        match self {
            Self::Json => Some("defaults.json"),
            Self::Ucl => Some("defaults"),
            Self::Properties => None,
        }
    }

    /// For people and machines: `json`, `ucl`, `properties`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ucl => "ucl",
            Self::Properties => "properties",
        }
    }

    /// Whether a config of this form can have a key; if not why.
    pub fn check_key(self, key: &str) -> Result<(), String> {
        check_key(key)?;
        let lower = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        if self == Self::Properties && !key.bytes().all(lower) {
            return Err("names of properties have no capital letters".into());
        }
        Ok(())
    }
}

/// Whether any config can have a key; if not why.
pub(super) fn check_key(key: &str) -> Result<(), String> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    // As a property it has a prefix, and all of it has to fit.
    if key.len() + PREFIX.len() > 255 {
        return Err("it is too long".into());
    }
    let starts = |part: &str| part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    if !key.bytes().all(good) || !key.split('.').all(starts) {
        return Err("a key has letters, digits, '_' and '-', and dots between its parts".into());
    }
    Ok(())
}

/// Whether any form can hold a value; if not why.
pub(super) fn check_value(value: &str) -> Result<(), String> {
    if value.len() > 8191 {
        return Err("the value is longer than 8191 bytes".into());
    }
    if value.chars().any(char::is_control) {
        return Err("the value has a control character".into());
    }
    Ok(())
}
