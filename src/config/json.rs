//! `config.json`.

use serde_json::{Map, Value};

use super::MAX_KEY_BYTES;
use super::dialect::{Dialect, is_switch, is_true, truth};

/// A config in JSON form. Depth is limited by the parser.
#[derive(Clone, Debug)]
pub(super) struct Document {
    bytes: Vec<u8>,
    root: Map<String, Value>,
    changed: bool,
}

impl Document {
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(root)) => Ok(Self { bytes, root, changed: false }),
            Ok(_) => Err("it is JSON, but no object".into()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// A new one, of text and nulls.
    pub(super) fn of(values: Vec<(String, Option<String>)>) -> Self {
        let values = values.into_iter().map(|(key, value)| (key, value.map_or(Value::Null, Value::String)));
        Self { bytes: b"{\n    \n}".to_vec(), root: values.collect(), changed: true }
    }

    pub(super) fn get(&self, key: &str) -> Option<String> {
        text(find(&self.root, key)?)
    }

    pub(super) fn set(&mut self, key: &str, value: Value) {
        self.changed = true;
        match find_mut(&mut self.root, key) {
            Some(slot) => *slot = value,
            None => {
                self.root.insert(key.to_owned(), value);
            }
        }
    }

    /// Sets what somebody has typed: a number stays one, a boolean too, and a list; a switch is written as the manager writes it.
    pub(super) fn assign(&mut self, key: &str, typed: &str, dialect: Dialect) {
        let value = typed_value(key, typed, find(&self.root, key), dialect);
        if find(&self.root, key) == Some(&value) {
            return;
        }
        if find(&self.root, key).is_none()
            && let Some((section, rest)) = deepest_section(&mut self.root, key)
        {
            section.insert(rest.to_owned(), value);
            self.changed = true;
            return;
        }
        self.set(key, value);
    }

    pub(super) fn remove(&mut self, key: &str) -> bool {
        let mut removed = false;
        // It can be there dotted and nested.
        while remove(&mut self.root, key) {
            removed = true;
        }
        self.changed |= removed;
        removed
    }

    pub(super) fn keys(&self) -> Vec<String> {
        let mut found = Vec::new();
        keys(&self.root, "", &mut found);
        found
    }

    pub(super) fn is_section(&self, key: &str) -> bool {
        matches!(find(&self.root, key), Some(Value::Object(_)))
    }

    pub(super) fn has_value(&self, key: &str) -> bool {
        find(&self.root, key).is_some_and(|value| !value.is_object())
    }

    pub(super) fn is_number(&self, key: &str) -> bool {
        matches!(find(&self.root, key), Some(Value::Number(_)))
    }

    /// Those that were read if nothing was changed, else JSON with the same indentation.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        if !self.changed {
            return self.bytes;
        }
        let indent: Vec<u8> = self
            .bytes
            .split(|&byte| byte == b'\n')
            .skip(1)
            .map(|line| {
                line.iter().copied().take_while(|byte| matches!(byte, b' ' | b'\t')).collect::<Vec<u8>>()
            })
            .find(|blanks| !blanks.is_empty())
            .unwrap_or_else(|| b"    ".to_vec());
        let mut out = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(&indent);
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
        serde::Serialize::serialize(&self.root, &mut serializer)
            .expect("JSON values can be written to memory");
        if self.bytes.ends_with(b"\n") {
            out.push(b'\n');
        }
        out
    }
}

/// What was typed for `key`, in the type of what is there.
fn typed_value(key: &str, typed: &str, now: Option<&Value>, dialect: Dialect) -> Value {
    // A leading zero or sign is not how a number would be printed again.
    let number = || {
        let number = typed.parse::<serde_json::Number>().ok().filter(|number| number.to_string() == typed);
        number.map(Value::Number)
    };
    let string = || Value::String(typed.to_owned());
    match now {
        Some(Value::Number(_)) if number().is_some() => number().unwrap_or_else(string),
        Some(Value::Bool(_)) if truth(typed).is_some() => Value::Bool(is_true(typed)),
        Some(Value::Array(_)) => {
            let items = typed.split(',').filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        _ if dialect == Dialect::Iocage && is_switch(key) => {
            truth(typed).map_or_else(string, |truth| Value::from(u8::from(truth)))
        }
        _ => string(),
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(true) => Some("yes".into()),
        Value::Bool(false) => Some("no".into()),
        Value::Number(number) => Some(number.to_string()),
        Value::Array(items) => {
            items.iter().map(text).collect::<Option<Vec<_>>>().map(|items| items.join(","))
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// The value at a dotted key, whichever way its parts are nested.
fn find<'a>(map: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    if let Some(value) = map.get(key) {
        return Some(value);
    }
    key.match_indices('.').find_map(|(at, _)| match map.get(&key[..at]) {
        Some(Value::Object(inner)) => find(inner, &key[at + 1..]),
        _ => None,
    })
}

fn find_mut<'a>(map: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Value> {
    if map.contains_key(key) {
        return map.get_mut(key);
    }
    let at = key.match_indices('.').map(|(at, _)| at).find(|&at| {
        matches!(map.get(&key[..at]), Some(Value::Object(inner)) if find(inner, &key[at + 1..]).is_some())
    })?;
    match map.get_mut(&key[..at]) {
        Some(Value::Object(inner)) => find_mut(inner, &key[at + 1..]),
        _ => None,
    }
}

/// The section that a new key belongs into, and what it is called there.
fn deepest_section<'a, 'k>(
    map: &'a mut Map<String, Value>,
    key: &'k str,
) -> Option<(&'a mut Map<String, Value>, &'k str)> {
    let at = key
        .match_indices('.')
        .map(|(at, _)| at)
        .find(|&at| matches!(map.get(&key[..at]), Some(Value::Object(_))))?;
    let Some(Value::Object(inner)) = map.get_mut(&key[..at]) else { return None };
    let rest = &key[at + 1..];
    let nested =
        rest.match_indices('.').any(|(at, _)| matches!(inner.get(&rest[..at]), Some(Value::Object(_))));
    if nested { deepest_section(inner, rest) } else { Some((inner, rest)) }
}

fn remove(map: &mut Map<String, Value>, key: &str) -> bool {
    if map.shift_remove(key).is_some() {
        return true;
    }
    let at: Vec<usize> = key.match_indices('.').map(|(at, _)| at).collect();
    at.into_iter().any(|at| match map.get_mut(&key[..at]) {
        Some(Value::Object(inner)) => remove(inner, &key[at + 1..]),
        _ => false,
    })
}

/// Long names of sections before many short keys would take more memory than there is.
fn keys(map: &Map<String, Value>, above: &str, found: &mut Vec<String>) {
    for (key, value) in map {
        if above.len() + key.len() > MAX_KEY_BYTES {
            continue;
        }
        match value {
            Value::Object(inner) => keys(inner, &format!("{above}{key}."), found),
            _ => found.push(format!("{above}{key}")),
        }
    }
}
