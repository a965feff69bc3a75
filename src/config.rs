//! A resource's config: kept byte for byte, read through a small typed view, whatever form it has.
//!
//! ```text
//! config.json ──▶ json ──────┐
//! config      ──▶ ucl ───────┼─▶ Config: get, set, remove ─▶ View: release, basejail, identity, addresses, boot
//! properties  ──▶ properties ┘         │
//!                                      └─▶ the same form, or JSON as another manager writes it (dialect)
//! ```
//!
//! Managers write keys dotted (`"user.comment"`), nested, or both, and values as strings or native types. All forms have one name
//! for each: `user.comment`. What nobody changes stays byte for byte; a form that cannot be understood is an error, and no guess.

mod assignment;
mod dialect;
mod form;
mod identity;
mod json;
mod place;
mod properties;
mod ucl;
mod view;

use std::collections::BTreeMap;

pub use assignment::Assignment;
pub use dialect::Dialect;
pub(crate) use dialect::{Names, is_true};
pub use form::Form;
pub use identity::Renewed;
pub(crate) use place::{Defaults, Place, find};
pub use properties::PREFIX;
pub use view::{Address, View};

use crate::error::{Error, Result};

/// Longest key that is looked at, in bytes; real ones have a tenth of it.
const MAX_KEY_BYTES: usize = 1024;

/// Largest config, in bytes; it is held in memory.
pub(crate) const MAX_BYTES: u64 = 16 << 20;

/// A config in one of its forms.
#[derive(Clone, Debug)]
pub struct Config {
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    Json(json::Document),
    Ucl(ucl::Document),
    Properties(properties::Document),
}

impl Config {
    /// Reads a config. `subject` is what messages call it.
    pub fn parse(form: Form, bytes: Vec<u8>, subject: &str) -> Result<Self> {
        let body = match form {
            Form::Json => json::Document::parse(bytes).map(Body::Json),
            Form::Ucl => ucl::Document::parse(bytes).map(Body::Ucl),
            Form::Properties => properties::Document::parse(bytes).map(Body::Properties),
        };
        let malformed = |reason| Error::Malformed { subject: subject.to_owned(), reason };
        Ok(Self { body: body.map_err(malformed)? })
    }

    /// The config that these properties of a dataset are; what else is among them is not of it.
    pub fn of_properties(all: &BTreeMap<String, String>) -> Self {
        Self { body: Body::Properties(properties::Document::of(all)) }
    }

    /// Its form.
    pub fn form(&self) -> Form {
        match self.body {
            Body::Json(_) => Form::Json,
            Body::Ucl(_) => Form::Ucl,
            Body::Properties(_) => Form::Properties,
        }
    }

    /// The value at `key` as text; native values as libioc would write them (`yes` and `no` for booleans), lists with commas.
    /// `None` where there is none, or null, or a section.
    pub fn get(&self, key: &str) -> Option<String> {
        match &self.body {
            Body::Json(document) => document.get(key),
            Body::Ucl(document) => document.get(key),
            Body::Properties(document) => document.get(key),
        }
    }

    /// Sets `key` where it stands, or as a new key, to text. One that has this value already is not touched.
    pub fn set(&mut self, key: &str, value: &str) {
        if self.get(key).as_deref() == Some(value) {
            return;
        }
        match &mut self.body {
            Body::Json(document) => document.set(key, value.into()),
            Body::Ucl(document) => document.set(key, value),
            Body::Properties(document) => document.set(key, value),
        }
    }

    /// Takes `key` away; whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        match &mut self.body {
            Body::Json(document) => document.remove(key),
            Body::Ucl(document) => document.remove(key),
            Body::Properties(document) => document.remove(key),
        }
    }

    /// All keys that have values, in the order of the config. Those that are absurdly long are left out.
    pub fn keys(&self) -> Vec<String> {
        match &self.body {
            Body::Json(document) => document.keys(),
            Body::Ucl(document) => document.keys(),
            Body::Properties(document) => document.keys(),
        }
    }

    /// Sets `key` to what somebody has typed, as `dialect` writes it, keeping the type that it has. Says why where that cannot be.
    pub fn assign(&mut self, key: &str, value: &str, dialect: Dialect) -> std::result::Result<(), String> {
        self.form().check_key(key)?;
        form::check_value(value)?;
        if self.is_section(key) {
            return Err(format!("{key} is a section of the config; name a key in it, {key}.KEY"));
        }
        for (at, _) in key.match_indices('.') {
            let above = &key[..at];
            if self.has_value(above) {
                return Err(format!("{above} is a value of the config, and no section"));
            }
        }
        match &mut self.body {
            Body::Json(document) => document.assign(key, value, dialect),
            Body::Ucl(_) | Body::Properties(_) => self.set(key, value),
        }
        Ok(())
    }

    /// Takes away what somebody has named; whether it was there. Says why where that cannot be.
    pub fn unassign(&mut self, key: &str) -> std::result::Result<bool, String> {
        form::check_key(key)?;
        if self.is_section(key) {
            return Err(format!("{key} is a section of the config; name a key in it, {key}.KEY"));
        }
        Ok(self.remove(key))
    }

    fn is_section(&self, key: &str) -> bool {
        match &self.body {
            Body::Json(document) => document.is_section(key),
            Body::Ucl(document) => document.is_section(key),
            Body::Properties(_) => false,
        }
    }

    fn has_value(&self, key: &str) -> bool {
        match &self.body {
            Body::Json(document) => document.has_value(key),
            Body::Ucl(document) => document.get(key).is_some(),
            // Nothing is nested there.
            Body::Properties(_) => false,
        }
    }

    /// The same as JSON, with all values as text, and what JSON could not say of it: key and why.
    pub(crate) fn to_json(&self) -> (Self, Vec<(String, String)>) {
        let (document, lost) = match &self.body {
            Body::Json(document) => (document.clone(), Vec::new()),
            Body::Ucl(document) => {
                let (values, lost) = document.values();
                (json::Document::of(values), lost)
            }
            Body::Properties(document) => {
                let values = document.keys().into_iter().filter_map(|key| Some((document.get(&key)?, key)));
                (json::Document::of(values.map(|(value, key)| (key, Some(value))).collect()), Vec::new())
            }
        };
        (Self { body: Body::Json(document) }, lost)
    }

    /// As JSON, a switch as the number that iocage keeps it as.
    fn set_number(&mut self, key: &str, value: u8) {
        match &mut self.body {
            Body::Json(document) => document.set(key, value.into()),
            Body::Ucl(_) | Body::Properties(_) => self.set(key, &value.to_string()),
        }
    }

    /// Whether `key` has a number, and no text that looks like one.
    fn is_number(&self, key: &str) -> bool {
        matches!(&self.body, Body::Json(document) if document.is_number(key))
    }

    /// The properties of a dataset that it is, where it has that form.
    pub fn properties(&self) -> Option<&BTreeMap<String, String>> {
        match &self.body {
            Body::Properties(document) => Some(document.all()),
            Body::Json(_) | Body::Ucl(_) => None,
        }
    }

    /// The config's bytes: those that were read if nothing was changed, otherwise with as little changed as its form allows.
    pub fn into_bytes(self) -> Vec<u8> {
        match self.body {
            Body::Json(document) => document.into_bytes(),
            Body::Ucl(document) => document.into_bytes(),
            Body::Properties(document) => document.into_bytes(),
        }
    }
}

#[cfg(test)]
mod tests;
