//! `config`, a UCL file.
//!
//! Understood is what libioc and iocage write and people edit: `key = value;`, `key: value`, `key value`, quoted text, words and numbers
//! (kept as they are written, suffixes too), lists, sections, named sections, keys that are there twice (a list), and comments `#` and
//! `/* /* nested */ */`. Everything else that UCL has, such as macros, text over several lines and escapes without quotes, is an error that says
//! where: to read it otherwise than libucl does would be worse.
//!
//! A change touches the bytes of its value alone, or those of its line.

mod parse;

use std::collections::HashMap;
use std::ops::Range;

/// Keys with their values.
pub(super) type Values = Vec<(String, Option<String>)>;

/// A config in UCL form.
#[derive(Clone, Debug)]
pub(super) struct Document {
    bytes: Vec<u8>,
    items: Vec<Item>,
    /// The items of a key.
    known: HashMap<String, Known>,
    /// Where new keys go.
    end: usize,
    /// New keys.
    added: Vec<(String, String)>,
    /// Sections that a value has taken the place of.
    cut: Vec<Range<usize>>,
    changed: bool,
}

/// What a key is.
#[derive(Clone, Debug)]
enum Known {
    /// All of it, from its first name to its brace.
    Section(Range<usize>),
    Values(Vec<usize>),
}

/// A key with its value.
#[derive(Clone, Debug)]
struct Item {
    /// Dotted, with the sections that it is in.
    key: String,
    value: Value,
    /// The bytes of the value.
    at: Range<usize>,
    /// The bytes of all of it, from the key to what ends it.
    whole: Range<usize>,
    /// The bytes in place of the value, if it was changed.
    new: Option<String>,
    removed: bool,
}

#[derive(Clone, Debug)]
enum Value {
    Text {
        text: String,
        quoted: bool,
    },
    Null,
    List(Vec<String>),
    /// A list that has something else in it than text.
    Opaque,
}

impl Document {
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        let parse::Parsed { items, known, end } = parse::parse(&bytes)?;
        Ok(Self { bytes, items, known, end, added: Vec::new(), cut: Vec::new(), changed: false })
    }

    fn items(&self, key: &str) -> impl Iterator<Item = &Item> {
        let of = match self.known.get(key) {
            Some(Known::Values(of)) => of.as_slice(),
            _ => &[],
        };
        of.iter().map(|&at| &self.items[at]).filter(|item| !item.removed)
    }

    fn added(&self, key: &str) -> Option<usize> {
        self.added.iter().position(|(added, _)| added == key)
    }

    pub(super) fn get(&self, key: &str) -> Option<String> {
        if let Some(at) = self.added(key) {
            return Some(self.added[at].1.clone());
        }
        let mut all = Vec::new();
        for item in self.items(key) {
            match &item.value {
                Value::Text { text, .. } => all.push(text.clone()),
                Value::List(items) => all.extend(items.iter().cloned()),
                Value::Null => {}
                Value::Opaque => return None,
            }
        }
        let empty_list =
            self.items(key).any(|item| matches!(&item.value, Value::List(items) if items.is_empty()));
        (!all.is_empty() || empty_list).then(|| all.join(","))
    }

    pub(super) fn is_section(&self, key: &str) -> bool {
        matches!(self.known.get(key), Some(Known::Section(_)))
            || self.items(key).any(|item| matches!(item.value, Value::Opaque))
    }

    pub(super) fn set(&mut self, key: &str, value: &str) {
        self.changed = true;
        if let Some(at) = self.added(key) {
            value.clone_into(&mut self.added[at].1);
            return;
        }
        let all: Vec<usize> = match self.known.get(key) {
            Some(Known::Values(of)) => of.iter().copied().filter(|&at| !self.items[at].removed).collect(),
            Some(Known::Section(whole)) => {
                self.cut.push(whole.clone());
                let inside = self.items.iter_mut().filter(|item| whole.contains(&item.whole.start));
                inside.for_each(|item| item.removed = true);
                Vec::new()
            }
            None => Vec::new(),
        };
        let Some((&first, others)) = all.split_first() else {
            self.added.push((key.to_owned(), value.to_owned()));
            return;
        };
        let item = &mut self.items[first];
        let quoted = !matches!(item.value, Value::Text { quoted: false, .. }) || !is_word(value);
        item.new = Some(if quoted { quote(value) } else { value.to_owned() });
        item.value = Value::Text { text: value.to_owned(), quoted };
        for &other in others {
            self.items[other].removed = true;
        }
    }

    pub(super) fn remove(&mut self, key: &str) -> bool {
        let mut removed = false;
        if let Some(at) = self.added(key) {
            self.added.remove(at);
            removed = true;
        }
        if let Some(Known::Values(of)) = self.known.get(key) {
            for &at in of {
                removed |= !std::mem::replace(&mut self.items[at].removed, true);
            }
        }
        self.changed |= removed;
        removed
    }

    pub(super) fn keys(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut seen = std::collections::HashSet::new();
        for item in self.items.iter().filter(|item| !item.removed) {
            if seen.insert(item.key.as_str()) {
                found.push(item.key.clone());
            }
        }
        found.extend(self.added.iter().map(|(key, _)| key.clone()));
        found
    }

    /// Every key with its value, and what is not of the kind that a value can be: key and why.
    pub(super) fn values(&self) -> (Values, Vec<(String, String)>) {
        let opaque = |key: &String| self.items(key).any(|item| matches!(item.value, Value::Opaque));
        let (lost, good): (Vec<_>, Vec<_>) = self.keys().into_iter().partition(opaque);
        let why = |key| (key, "a list of sections, or of lists, is not taken over".to_owned());
        let values = good.into_iter().map(|key| (key.clone(), self.get(&key)));
        (values.collect(), lost.into_iter().map(why).collect())
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        if !self.changed {
            return self.bytes;
        }
        let mut out = Vec::with_capacity(self.bytes.len() + 64);
        let mut from = 0;
        let mut edits: Vec<(Range<usize>, &str)> =
            self.cut.iter().map(|whole| (self.line_of(whole), "")).collect();
        edits.extend(self.items.iter().filter_map(|item| match (&item.new, item.removed) {
            (_, true) => Some((self.line_of(&item.whole), "")),
            (Some(new), false) => Some((item.at.clone(), new.as_str())),
            (None, false) => None,
        }));
        // Of two that begin alike the longer one has the other in it.
        edits.sort_by_key(|(range, _)| (range.start, std::cmp::Reverse(range.end)));
        for (range, new) in edits {
            if range.start >= from {
                out.extend_from_slice(&self.bytes[from..range.start]);
                out.extend_from_slice(new.as_bytes());
                from = range.end;
            }
        }
        // Nothing before the end of the section is ever taken away beyond it.
        let end = self.end.max(from);
        out.extend_from_slice(&self.bytes[from..end]);
        if !self.added.is_empty() && out.last().is_some_and(|&byte| byte != b'\n') {
            out.push(b'\n');
        }
        for (key, value) in &self.added {
            let key = if is_key(key) { key.clone() } else { quote(key) };
            out.extend_from_slice(format!("{key} = {};\n", quote(value)).as_bytes());
        }
        out.extend_from_slice(&self.bytes[end..]);
        out
    }

    /// All of an item, with its line if nothing else is on it.
    fn line_of(&self, whole: &Range<usize>) -> Range<usize> {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
        let before = self.bytes[..whole.start].iter().rev().take_while(|byte| blank(byte)).count();
        let after = self.bytes[whole.end..].iter().take_while(|byte| blank(byte)).count();
        let (start, end) = (whole.start - before, whole.end + after);
        let begins = start == 0 || self.bytes[start - 1] == b'\n';
        match (begins, self.bytes.get(end)) {
            (true, Some(b'\n')) => start..end + 1,
            (true, None) => start..end,
            _ => whole.clone(),
        }
    }
}

/// Whether text can stand without quotes, and is read as it stands.
fn is_word(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b':');
    text != "null" && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.bytes().all(good)
}

/// Whether a key can stand without quotes.
fn is_key(key: &str) -> bool {
    key.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => out.extend(format!("\\u{:04x}", u32::from(c)).chars()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests;
