//! What rsync prints with `--itemize-changes --out-format=%i|%n`, in the C locale and without `--8-bit-output`.
//!
//! A line is eleven characters (`>fcst......`, or `*deleting  `), the separator and the path; directories end in a
//! slash, the root is `./`. Bytes that are not printable ASCII, and a backslash before `#` and digits, are written as
//! `\#ooo` in octal.

/// A line's meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// Something of the entry differs, or the base does not have it.
    Differs(Vec<u8>),
    /// The base alone has it.
    Deleted(Vec<u8>),
    /// Words for people that say nothing about an entry's state.
    Remark,
}

const CODE_LENGTH: usize = 11;

/// Understands one line; `None` where it is nothing that rsync is known to print.
pub(crate) fn line(line: &[u8]) -> Option<Line> {
    let remark = |start: &&[u8]| line.starts_with(start);
    if line.is_empty() || [&b"cannot delete "[..], b"IO error encountered"].iter().any(remark) {
        return Some(Line::Remark);
    }
    let (code, rest) = line.split_at_checked(CODE_LENGTH)?;
    let path = path(rest.strip_prefix(b"|")?)?;
    if code == b"*deleting  " {
        return Some(Line::Deleted(path));
    }
    let understood = matches!(code[0], b'<' | b'>' | b'c' | b'h' | b'.')
        && matches!(code[1], b'f' | b'd' | b'L' | b'D' | b'S')
        && code[2..].iter().all(|byte| b".+? cstTpoguanbx".contains(byte));
    understood.then_some(Line::Differs(path))
}

/// A path as it is in the tree.
fn path(printed: &[u8]) -> Option<Vec<u8>> {
    if printed == b"./" {
        return Some(Vec::new());
    }
    let printed = printed.strip_suffix(b"/").unwrap_or(printed);
    (!printed.is_empty()).then(|| unescape(printed))
}

/// Undoes `\#ooo`.
fn unescape(printed: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(printed.len());
    let mut rest = printed;
    while let Some((&first, after)) = rest.split_first() {
        if let [b'\\', b'#', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] = rest {
            path.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = after;
        } else {
            path.push(first);
            rest = after;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::{Line, line};

    fn differs(path: &[u8]) -> Line {
        Line::Differs(path.to_vec())
    }

    #[test]
    fn changes_of_all_kinds() {
        for text in [
            ">f+++++++++|etc/passwd",
            ">fcst......|etc/passwd",
            ".f...po.ax.|etc/passwd",
            "hf+++++++++|etc/passwd",
            "cL+++++++++|etc/passwd",
            "cLc.t......|etc/passwd",
            "cD+++++++++|etc/passwd",
            "cS+++++++++|etc/passwd",
            ".d..t......|etc/passwd/",
            "cd+++++++++|etc/passwd/",
            ".f..T......|etc/passwd",
        ] {
            assert_eq!(line(text.as_bytes()), Some(differs(b"etc/passwd")), "{text}");
        }
    }

    #[test]
    fn deletions_and_the_root() {
        assert_eq!(line(b"*deleting  |gone/sub/"), Some(Line::Deleted(b"gone/sub".to_vec())));
        assert_eq!(line(b"*deleting  |gone/f"), Some(Line::Deleted(b"gone/f".to_vec())));
        assert_eq!(line(b".d..t......|./"), Some(differs(b"")));
    }

    #[test]
    fn names_come_back_byte_for_byte() {
        for (printed, name) in [
            (&b"new\\#012line"[..], &b"new\nline"[..]),
            (b"caf\\#351-\\#377\\#376", b"caf\xe9-\xff\xfe"),
            (b"x\\#134#012y", b"x\\#012y"),
            (b"back\\slash*?[x]", b"back\\slash*?[x]"),
            (b" a|b ", b" a|b "),
            (b"\\#9", b"\\#9"),
            (b"-rf", b"-rf"),
        ] {
            let text = [b">f+++++++++|", printed].concat();
            assert_eq!(line(&text), Some(differs(name)), "{}", printed.escape_ascii());
        }
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        for text in
            ["sent 5 bytes", ">f+++++++++", ">f+++++++++|", "Zf+++++++++|x", ">q+++++++++|x", ">f+++++++++ x"]
        {
            assert_eq!(line(text.as_bytes()), None, "{text}");
        }
        assert_eq!(line(b"cannot delete mount point: proc"), Some(Line::Remark));
    }
}
