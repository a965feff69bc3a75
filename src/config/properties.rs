//! A config that is user properties of the resource's own dataset, as the first versions of iocage keep it.
//!
//! It has no file. In an archive it is `properties.json`, an object of names and values, sorted.

use std::collections::BTreeMap;

use serde_json::Value;

/// What the names of its properties begin with.
pub const PREFIX: &str = "org.freebsd.iocage:";

/// More than any config has. Each of them is set by a process of its own.
const MAX_PROPERTIES: usize = 1000;

/// A config in the form of properties.
#[derive(Clone, Debug)]
pub(super) struct Document {
    bytes: Vec<u8>,
    /// By full name.
    all: BTreeMap<String, String>,
    changed: bool,
}

impl Document {
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        let Value::Object(root) = serde_json::from_slice(&bytes).map_err(|error| error.to_string())? else {
            return Err("it is JSON, but no object".into());
        };
        if root.len() > MAX_PROPERTIES {
            return Err(format!("it has more than {MAX_PROPERTIES} properties"));
        }
        let mut all = BTreeMap::new();
        for (name, value) in root {
            let shown = crate::tree::path::printable(name.as_bytes());
            let Value::String(value) = value else { return Err(format!("the value of {shown} is no text")) };
            if !is_name(&name) {
                return Err(format!("{shown} is no name of a property that begins with {PREFIX}"));
            }
            if value.len() > 8191 || value.contains('\0') {
                return Err(format!("the value of {shown} is none that a property can have"));
            }
            all.insert(name, value);
        }
        Ok(Self { bytes, all, changed: false })
    }

    /// Those of a dataset's properties that are of a config.
    pub(super) fn of(all: &BTreeMap<String, String>) -> Self {
        let own = all.iter().filter(|(name, _)| is_name(name));
        let all = own.map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { bytes: Vec::new(), all, changed: true }
    }

    pub(super) fn all(&self) -> &BTreeMap<String, String> {
        &self.all
    }

    pub(super) fn get(&self, key: &str) -> Option<String> {
        self.all.get(&format!("{PREFIX}{key}")).cloned()
    }

    pub(super) fn set(&mut self, key: &str, value: &str) {
        self.changed = true;
        self.all.insert(format!("{PREFIX}{key}"), value.to_owned());
    }

    pub(super) fn remove(&mut self, key: &str) -> bool {
        let removed = self.all.remove(&format!("{PREFIX}{key}")).is_some();
        self.changed |= removed;
        removed
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.all.keys().filter_map(|name| name.strip_prefix(PREFIX)).map(str::to_owned).collect()
    }

    /// Those that were read if nothing was changed.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        if !self.changed {
            return self.bytes;
        }
        let mut json = serde_json::to_vec_pretty(&self.all).expect("text always has a JSON form");
        json.push(b'\n');
        json
    }
}

/// Whether a dataset can have a property of this name, and it is of a config.
fn is_name(name: &str) -> bool {
    let good = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b':' | b'.' | b'_' | b'-');
    let key = name.strip_prefix(PREFIX);
    key.is_some_and(|key| !key.is_empty() && name.len() < 256 && key.bytes().all(good))
}
