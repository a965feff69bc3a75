//! Reads UCL, as far as it is understood. What a file can make this do is bounded: size, depth, length of keys, number of values.

mod words;

use std::collections::HashMap;

use super::{Item, Known, Value};
use crate::tree::path::printable;

/// What some editors write at the begin of a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const MAX_BYTES: usize = 1 << 20;
const MAX_DEPTH: usize = 8;
const MAX_KEY_BYTES: usize = 255;
const MAX_ITEMS: usize = 10_000;

/// What a file holds.
pub(super) struct Parsed {
    pub(super) items: Vec<Item>,
    pub(super) known: HashMap<String, Known>,
    /// Where a new key goes.
    pub(super) end: usize,
}

type Result<T> = std::result::Result<T, String>;

struct Parser<'a> {
    text: &'a [u8],
    at: usize,
    items: Vec<Item>,
    known: HashMap<String, Known>,
}

/// A value that was read, and its place.
struct Read {
    value: Value,
    start: usize,
    end: usize,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Parsed> {
    if bytes.len() > MAX_BYTES {
        return Err(format!("it is larger than {MAX_BYTES} bytes"));
    }
    if let Err(error) = std::str::from_utf8(bytes) {
        let line = line_of(bytes, error.valid_up_to());
        return Err(format!("line {line}: it is no UTF-8 text; write it as such"));
    }
    let mut parser = Parser { text: bytes, at: 0, items: Vec::new(), known: HashMap::new() };
    if bytes.starts_with(BYTE_ORDER_MARK) {
        parser.at = 3;
    }
    parser.blanks()?;
    let braced = parser.eat(b'{');
    let mut end = parser.section("", 0, braced)?;
    if braced {
        parser.blanks()?;
        if parser.at < bytes.len() {
            return Err(parser.wrong("something comes after the last }; take it away"));
        }
    } else {
        end = bytes.len();
    }
    Ok(Parsed { items: parser.items, known: parser.known, end })
}

fn line_of(bytes: &[u8], at: usize) -> usize {
    bytes[..at.min(bytes.len())].split(|&byte| byte == b'\n').count()
}

fn is_key_start(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'/') || byte >= 0x80
}

fn is_key(byte: u8) -> bool {
    is_key_start(byte) || matches!(byte, b'-' | b'.')
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let is_it = self.peek() == Some(byte);
        self.at += usize::from(is_it);
        is_it
    }

    fn wrong(&self, what: &str) -> String {
        format!("line {}: {what}", line_of(self.text, self.at))
    }

    /// Skips blanks of a line.
    fn spaces(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t')) {
            self.at += 1;
        }
    }

    /// Skips blanks, lines and comments; whether there was anything that ends a value.
    fn blanks(&mut self) -> Result<bool> {
        let mut ended = false;
        while let Some(byte) = self.peek() {
            match byte {
                b' ' | b'\t' => self.at += 1,
                b'\n' | b'\r' => {
                    ended = true;
                    self.at += 1;
                }
                _ if self.begins_comment() => {
                    ended = true;
                    self.comment()?;
                }
                _ => break,
            }
        }
        Ok(ended)
    }

    /// Skips blanks, and what stands between values; whether there was anything that ends one.
    fn separators(&mut self) -> Result<bool> {
        let mut ended = self.blanks()?;
        while matches!(self.peek(), Some(b';' | b',')) {
            ended = true;
            self.at += 1;
            self.blanks()?;
        }
        Ok(ended)
    }

    /// Reads keys and values until the section ends, with its brace; where that is.
    fn section(&mut self, above: &str, depth: usize, braced: bool) -> Result<usize> {
        if depth > MAX_DEPTH {
            return Err(self.wrong("more sections lie in one another than a config has"));
        }
        let mut ended = true;
        loop {
            ended |= self.separators()?;
            match self.peek() {
                None if braced => return Err(self.wrong("a section does not end; close it with }")),
                None => return Ok(self.at),
                Some(b'}') if braced => {
                    self.at += 1;
                    return Ok(self.at - 1);
                }
                Some(b'}') => return Err(self.wrong("a } closes no section")),
                Some(_) if !ended => {
                    return Err(self.wrong(
                        "a value does not end; write ; behind it, or the next key on a line of its own",
                    ));
                }
                Some(_) => self.entry(above, depth)?,
            }
            ended = self.text[self.at - 1] == b'}';
        }
    }

    /// Reads a key and what it has.
    fn entry(&mut self, above: &str, depth: usize) -> Result<()> {
        let start = self.at;
        let mut key = join(above, &self.key()?);
        let mut levels = depth;
        let mut sections = Vec::new();
        loop {
            self.spaces();
            while self.begins_comment() && self.text[self.at] == b'/' {
                self.comment()?;
                self.spaces();
            }
            if matches!(self.peek(), Some(b'=' | b':')) {
                self.at += 1;
                self.blanks()?;
                if matches!(self.peek(), Some(b'=' | b':')) {
                    return Err(self.wrong("a key has = or : behind it once; put the value in quotes"));
                }
                break;
            }
            if matches!(self.peek(), Some(b'{' | b'[')) || !self.names_a_section() {
                break;
            }
            levels += 1;
            if levels > MAX_DEPTH {
                return Err(self.wrong("a section has more names than one can have"));
            }
            sections.push(key.clone());
            let name = self.key()?;
            key = join(&key, &name);
        }
        if self.eat(b'{') {
            sections.push(key.clone());
            for section in &sections {
                self.enter(section, start)?;
            }
            self.section(&key, levels + 1, true)?;
            for section in sections {
                self.known.insert(section, Known::Section(start..self.at));
            }
            return Ok(());
        }
        if !sections.is_empty() {
            return Err(self.wrong("a list has several names; put it into a section"));
        }
        let Read { value, start: from, end } = self.value()?;
        self.spaces();
        let separated = matches!(self.peek(), Some(b';' | b','));
        let whole = start..if separated { self.at + 1 } else { end };
        self.at = if separated { self.at } else { end };
        self.add(key, value, from..end, whole)
    }

    /// Whether what follows is the name of a section, and no value: libucl looks for what comes first on the line.
    fn names_a_section(&self) -> bool {
        let ahead = self.text[self.at..].iter().take(MAX_DEPTH * (MAX_KEY_BYTES + 2));
        let first = ahead.copied().find(|byte| matches!(byte, b',' | b';' | b'\n' | b'\r' | b'{' | b'['));
        matches!(first, Some(b'{' | b'['))
    }

    fn enter(&mut self, key: &str, start: usize) -> Result<()> {
        if self.known.contains_key(key) {
            let key = printable(key.as_bytes());
            return Err(self.wrong(&format!("the section {key} is there twice; join both")));
        }
        self.count()?;
        self.known.insert(key.to_owned(), Known::Section(start..start));
        Ok(())
    }

    fn add(
        &mut self,
        key: String,
        value: Value,
        at: std::ops::Range<usize>,
        whole: std::ops::Range<usize>,
    ) -> Result<()> {
        self.count()?;
        let number = self.items.len();
        match self.known.entry(key.clone()).or_insert_with(|| Known::Values(Vec::new())) {
            Known::Values(all) => all.push(number),
            Known::Section(_) => {
                let key = printable(key.as_bytes());
                return Err(self.wrong(&format!("{key} is a section and a value; take one away")));
            }
        }
        self.items.push(Item { key, value, at, whole, new: None, removed: false });
        Ok(())
    }

    fn count(&self) -> Result<()> {
        if self.known.len() + self.items.len() > 2 * MAX_ITEMS {
            return Err(self.wrong("it has more values than a config has"));
        }
        Ok(())
    }

    fn key(&mut self) -> Result<String> {
        let start = self.at;
        let key = if self.eat(b'"') {
            self.quoted()?
        } else {
            match self.peek() {
                Some(b'.') => {
                    return Err(self.wrong("macros of UCL are not understood; write out what it includes"));
                }
                // At the begin of the text it would be none of the key's, and what stands before it can be taken away.
                Some(byte) if is_key_start(byte) && !self.text[self.at..].starts_with(BYTE_ORDER_MARK) => {}
                _ => return Err(self.wrong("a key begins with a letter or a digit; put it in quotes")),
            }
            while self.peek().is_some_and(is_key) && !self.begins_comment() {
                self.at += 1;
            }
            if !matches!(self.peek(), Some(b' ' | b'\t' | b'=' | b':')) {
                return Err(self.wrong("behind a key comes a blank, = or :"));
            }
            text(&self.text[start..self.at])
        };
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(self.wrong("a key is empty, or longer than one can be"));
        }
        Ok(key)
    }

    fn value(&mut self) -> Result<Read> {
        let start = self.at;
        let value = match self.peek() {
            None => return Err(self.wrong("a key has no value")),
            Some(b'"') => {
                self.at += 1;
                Value::Text { text: self.quoted()?, quoted: true }
            }
            Some(b'\'') => {
                self.at += 1;
                Value::Text { text: self.single_quoted()?, quoted: true }
            }
            Some(b'[') => {
                self.at += 1;
                self.list(1)?
            }
            Some(_) => return self.word(),
        };
        Ok(Read { value, start, end: self.at })
    }

    /// A list, behind its bracket.
    fn list(&mut self, depth: usize) -> Result<Value> {
        if depth > MAX_DEPTH {
            return Err(self.wrong("more lists lie in one another than a config has"));
        }
        let mut all = Some(Vec::new());
        let mut items = 0;
        let mut ended = true;
        loop {
            ended |= self.separators()?;
            items += 1;
            if items > MAX_ITEMS {
                return Err(self.wrong("a list has more items than one of a config has"));
            }
            match self.peek() {
                None => return Err(self.wrong("a list does not end; close it with ]")),
                Some(b']') => {
                    self.at += 1;
                    return Ok(all.map_or(Value::Opaque, Value::List));
                }
                Some(_) if !ended => return Err(self.wrong("items of a list have a comma between them")),
                Some(b'{') => return Err(self.wrong("sections in a list are not understood")),
                Some(b'[') => {
                    self.at += 1;
                    self.list(depth + 1)?;
                    all = None;
                }
                Some(_) => match self.value()? {
                    Read { value: Value::Text { text, .. }, end, .. } => {
                        self.at = end;
                        if let Some(all) = &mut all {
                            all.push(text);
                        }
                    }
                    _ => all = None,
                },
            }
            ended = self.text[self.at - 1] == b']';
        }
    }
}

fn join(above: &str, key: &str) -> String {
    if above.is_empty() { key.to_owned() } else { format!("{above}.{key}") }
}

/// Bytes between places that are never inside a character.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
