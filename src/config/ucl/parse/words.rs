//! Words, text in quotes, and comments.

use super::{Parser, Read, Result, Value, text};
use crate::tree::path::printable;

/// What ends a value without quotes.
fn ends_word(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r' | b'#' | b',' | b';' | b']' | b'}')
}

impl Parser<'_> {
    pub(super) fn begins_comment(&self) -> bool {
        matches!(self.text[self.at..], [b'#', ..] | [b'/', b'*', ..])
    }

    /// Skips a comment. In one of several lines quotes hide its marks, as libucl has it.
    pub(super) fn comment(&mut self) -> Result<()> {
        if self.eat(b'#') {
            while self.peek().is_some_and(|byte| byte != b'\n') {
                self.at += 1;
            }
            return Ok(());
        }
        let begin = self.at;
        let (mut depth, mut quoted) = (0_usize, false);
        while let Some(byte) = self.peek() {
            let pair = (byte, self.text.get(self.at + 1).copied());
            match pair {
                (b'"', _) if self.text[self.at - 1] != b'\\' => quoted = !quoted,
                _ if quoted => {}
                (b'/', Some(b'*')) => {
                    depth += 1;
                    self.at += 1;
                }
                (b'*', Some(b'/')) => {
                    depth -= 1;
                    self.at += 1;
                }
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
        self.at = begin;
        Err(self.wrong("the comment that begins here does not end; close it with */"))
    }

    /// A value without quotes, up to what ends it.
    pub(super) fn word(&mut self) -> Result<Read> {
        let start = self.at;
        while let Some(byte) = self.peek() {
            if ends_word(byte) || self.begins_comment() {
                break;
            }
            if matches!(byte, b'\\' | b'{' | b'[' | b'"' | b'\'') || byte < b' ' && byte != b'\t' {
                let shown = printable(&[byte]);
                return Err(self.wrong(&format!("a value has {shown} in it; put the value in quotes")));
            }
            self.at += 1;
        }
        let word = self.text[start..self.at].trim_ascii_end();
        if word.starts_with(b"<<") {
            return Err(self.wrong("text over several lines is not understood; put it in quotes, with \\n"));
        }
        if word.is_empty() {
            return Err(self.wrong("a key has no value; write \"\" for none"));
        }
        let end = start + word.len();
        let value =
            if word == b"null" { Value::Null } else { Value::Text { text: text(word), quoted: false } };
        Ok(Read { value, start, end })
    }

    /// Text behind a quote, up to the next.
    pub(super) fn quoted(&mut self) -> Result<String> {
        let mut out = Vec::new();
        loop {
            match self.peek() {
                None => return Err(self.wrong("text in quotes does not end")),
                Some(b'"') => {
                    self.at += 1;
                    return Ok(text(&out));
                }
                Some(b'\\') => {
                    self.at += 1;
                    out.extend(self.escape()?.to_string().into_bytes());
                }
                Some(byte) if byte < b' ' => {
                    return Err(self.wrong(
                        "text in quotes has a line break or control character in it; write it as \\n or \\u",
                    ));
                }
                Some(byte) => out.push(byte),
            }
            self.at += 1;
        }
    }

    /// What stands for a character, behind its backslash; leaves the place at its last byte.
    fn escape(&mut self) -> Result<char> {
        Ok(match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'u') => {
                let digits = self.text.get(self.at + 1..self.at + 5);
                let number = digits
                    .filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))
                    .and_then(|digits| u32::from_str_radix(&text(digits), 16).ok());
                let found = number.and_then(char::from_u32).filter(|found| *found != '\0');
                let found =
                    found.ok_or_else(|| self.wrong("\\u has no character of four digits behind it"))?;
                self.at += 4;
                found
            }
            _ => return Err(self.wrong("a backslash has no meaning before what follows it; write \\\\")),
        })
    }

    pub(super) fn single_quoted(&mut self) -> Result<String> {
        let start = self.at;
        while let Some(byte) = self.peek() {
            if byte == b'\'' {
                self.at += 1;
                return Ok(text(&self.text[start..self.at - 1]));
            }
            if byte == b'\\' || byte < b' ' && byte != b'\t' {
                return Err(self
                    .wrong("text in single quotes has a backslash or line break in it; use double quotes"));
            }
            self.at += 1;
        }
        Err(self.wrong("text in quotes does not end"))
    }
}
