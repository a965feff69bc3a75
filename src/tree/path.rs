//! Paths inside a tree.

use std::fmt::Write;

/// A path relative to a tree's root: any bytes but NUL, components separated by single slashes,
/// none of them empty, `.` or `..`. The empty path is the root itself. Length is unlimited.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct TreePath(Vec<u8>);

/// A name or path that cannot lie in a tree.
#[derive(Debug, thiserror::Error)]
#[error("Not a path inside a tree: {}", .0.escape_ascii())]
pub struct InvalidPath(pub Vec<u8>);

impl TreePath {
    /// The tree's root.
    pub fn root() -> Self {
        Self::default()
    }

    /// Checks a path that came from outside.
    pub fn new(path: &[u8]) -> Result<Self, InvalidPath> {
        let good = |part: &[u8]| !part.is_empty() && part != b"." && part != b".." && !part.contains(&0);
        if path.is_empty() || path.split(|&byte| byte == b'/').all(good) {
            Ok(Self(path.to_vec()))
        } else {
            Err(InvalidPath(path.to_vec()))
        }
    }

    /// The path of an entry in this directory. `name` is one component as the system gave it.
    #[must_use]
    pub fn join(&self, name: &[u8]) -> Self {
        debug_assert!(!name.is_empty() && !name.contains(&b'/'));
        let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
        path.extend_from_slice(&self.0);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Self(path)
    }

    /// Directory and name; `None` for the root.
    pub fn split(&self) -> Option<(Self, &[u8])> {
        if self.0.is_empty() {
            return None;
        }
        Some(match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(at) => (Self(self.0[..at].to_vec()), &self.0[at + 1..]),
            None => (Self::root(), &self.0[..]),
        })
    }

    /// The components from the root down.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|part| !part.is_empty())
    }

    /// Whether this is a directory on the way from the root to `other`, which is another entry.
    pub fn is_above(&self, other: &Self) -> bool {
        match other.0.strip_prefix(&self.0[..]) {
            Some(rest) => {
                if self.is_root() {
                    !rest.is_empty()
                } else {
                    rest.first() == Some(&b'/')
                }
            }
            None => false,
        }
    }

    /// The way to it from a directory above it, or from itself; `None` from elsewhere.
    pub fn way_from(&self, above: &Self) -> Option<Self> {
        if above.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(&above.0[..])? {
            [] => Some(Self::root()),
            [b'/', way @ ..] => Some(Self(way.to_vec())),
            _ => None,
        }
    }

    /// Whether this is the tree's root.
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path as bytes, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Display for TreePath {
    /// For people: UTF-8 as it is, everything that could upset a terminal escaped.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&printable(&self.0))
    }
}

/// Bytes for people: UTF-8 as it is; control characters and what is not UTF-8 escaped.
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '\\' {
                text.extend(c.escape_default());
            } else {
                text.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// As [`printable`], without the end of what is too long for people.
pub(crate) fn printable_start(bytes: &[u8]) -> String {
    const MOST_BYTES: usize = 1024;
    match bytes.get(..MOST_BYTES) {
        Some(start) if bytes.len() > MOST_BYTES => format!("{}…", printable(start)),
        _ => printable(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn only_clean_paths_are_taken() {
        for good in ["", "a", "a/b", "...", "a b/..c", "\u{1}\n"] {
            assert_eq!(path(good).as_bytes(), good.as_bytes());
        }
        for bad in ["/", "/a", "a/", "a//b", ".", "..", "a/.", "../a", "a/../b", "a\0b"] {
            assert!(TreePath::new(bad.as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn above_is_at_component_boundaries() {
        assert!(path("").is_above(&path("a")) && path("a").is_above(&path("a/b")));
        assert!(path("a").is_above(&path("a/b/c")));
        for (upper, lower) in [("a", "a"), ("", ""), ("a", "ab"), ("a/b", "a"), ("b", "a/b")] {
            assert!(!path(upper).is_above(&path(lower)), "{upper} {lower}");
        }
    }

    #[test]
    fn a_way_begins_at_a_component_boundary() {
        for (from, to, way) in
            [("", "", ""), ("", "a/b", "a/b"), ("a", "a", ""), ("a", "a/b/c", "b/c"), ("a/b", "a/b/c", "c")]
        {
            assert_eq!(path(to).way_from(&path(from)), Some(path(way)), "{from} {to}");
        }
        for (from, to) in [("a", "ab"), ("a", ""), ("a/b", "a"), ("b", "a/b")] {
            assert_eq!(path(to).way_from(&path(from)), None, "{from} {to}");
        }
    }

    #[test]
    fn components_come_from_the_root_down() {
        let of = |text: &str| path(text).components().map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(of("a/bc/d"), [&b"a"[..], b"bc", b"d"]);
        assert_eq!((of("a"), of("").len()), (vec![b"a".to_vec()], 0));
    }

    #[test]
    fn splitting_undoes_joining() {
        let (directory, name) = (path("a/b"), b"c");
        assert_eq!(directory.join(name).split(), Some((directory, &name[..])));
        assert_eq!(path("a").split(), Some((TreePath::root(), &b"a"[..])));
        assert_eq!(TreePath::root().split(), None);
        assert_eq!(path("a/b").components().collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(path("").components().count(), 0);
    }

    #[test]
    fn people_see_the_start_of_what_is_too_long() {
        let longest = "a".repeat(1024);
        assert_eq!(printable_start(b"a\n"), "a\\n");
        assert_eq!(printable_start(longest.as_bytes()), longest);
        assert_eq!(printable_start(format!("{longest}b").as_bytes()), format!("{longest}…"));
    }

    #[test]
    fn people_see_nothing_that_upsets_a_terminal() {
        assert_eq!(TreePath::new(b"\xc3\xa4\x1b[1m\\\xff\n").unwrap().to_string(), "ä\\u{1b}[1m\\\\\\xff\\n");
    }
}
