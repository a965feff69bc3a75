//! The last gate before a terminal: nothing that a file name, an archive or a program said can move the cursor,
//! change colours or reorder the line.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a terminal would act on it, or show it where it isn't.
fn dangerous(c: char) -> bool {
    // Marks, overrides and isolates of bidirectional text, and the separators that some terminals take for a new line.
    let reorders =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    c.is_control() || reorders
}

/// One line of text for people. Backslashes stay, because what comes from the library is escaped once already.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if !text.contains(dangerous) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if dangerous(c) { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// JSON text in which such characters are escaped too; they can only be inside of strings.
pub(crate) fn safe_json(json: String) -> String {
    if !json.contains(dangerous) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 16);
    for c in json.chars() {
        if dangerous(c) {
            // All of them are in the basic plane.
            // Writing to a string does not fail.
            let _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_reaches_the_terminal() {
        assert_eq!(safe("\x1b[31mred\x07\r\n"), "\\u{1b}[31mred\\u{7}\\r\\n");
        assert_eq!(safe("a\u{9b}2Jb\u{202e}c\u{2066}d"), "a\\u{9b}2Jb\\u{202e}c\\u{2066}d");
        assert!(matches!(safe("grün \\x1b"), Cow::Borrowed("grün \\x1b")), "once escaped stays so");
    }

    #[test]
    fn json_keeps_its_meaning() {
        let original = "a\u{9b}\u{7f}\u{202e}\x1b\"ü";
        let json = safe_json(serde_json::to_string(original).unwrap());
        assert!(!json.contains(dangerous), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), original);
    }
}
