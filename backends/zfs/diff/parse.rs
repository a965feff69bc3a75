//! A line of `zfs diff -FH`.
//!
//! ```text
//! line   + TAB kind TAB path                  - TAB kind TAB path
//!        M TAB kind TAB path [TAB (+N)|(-N)]  R TAB kind TAB path TAB path
//! kind   B C / > | @ P = F
//! path   the mount point, then a slash and the path; or "(on_delete_queue)" for what has no name any more
//! ```
//!
//! In a path all but printable ASCII is `\` and four octal digits; a space and a backslash too. (With `-h` nothing is
//! escaped, and a name with a newline could pretend to be a line.) Extended attributes that lie in a hidden directory show
//! as `FILE/<xattrdir>/NAME`.

use crate::Hint;

/// What shows for a hidden directory of extended attributes. A name of that kind looks the same.
const XATTR_DIRECTORY: &[u8] = b"<xattrdir>";

/// What happened to an entry. A path is `None` where it has no name any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is in one of the trees alone; or in both, but with a path in one that zfs(8) cannot tell.
    AddedOrRemoved(Place),
    /// Its content, attributes or number of names.
    Modified(Place),
    /// It has another path.
    Renamed(Place, Place),
}

/// An entry in one of the trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Relative to the dataset, "" being its root.
    pub path: Option<Vec<u8>>,
    /// Whether it is a directory.
    pub directory: bool,
}

/// Reads a line without its newline. `mount` is where the dataset is mounted, without a slash at its end. `None` if it
/// cannot be understood.
pub fn line(line: &[u8], mount: &[u8]) -> Option<Change> {
    let mut columns = line.split(|&byte| byte == b'\t');
    let (what, kind, path) = (columns.next()?, columns.next()?, columns.next()?);
    let (more, end) = (columns.next(), columns.next());
    if end.is_some() {
        return None;
    }
    let directory = match kind {
        b"/" => true,
        b"B" | b"C" | b">" | b"|" | b"@" | b"P" | b"=" | b"F" => false,
        _ => return None,
    };
    let place = |path| Some(Place { path: self::path(path, mount)?, directory });
    match (what, more) {
        (b"+" | b"-", None) => Some(Change::AddedOrRemoved(place(path)?)),
        (b"M", None) => Some(Change::Modified(place(path)?)),
        (b"M", Some(links)) if is_link_change(links) => Some(Change::Modified(place(path)?)),
        (b"R", Some(to)) => Some(Change::Renamed(place(path)?, place(to)?)),
        _ => None,
    }
}

fn is_link_change(column: &[u8]) -> bool {
    let number = column.strip_prefix(b"(").and_then(|rest| rest.strip_suffix(b")"));
    let digits = number.and_then(|number| number.strip_prefix(b"+").or(number.strip_prefix(b"-")));
    digits.is_some_and(|digits| !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}

/// `Some(None)` for what has no name any more.
#[allow(clippy::option_option)] // the outer one is an error without a text
fn path(column: &[u8], mount: &[u8]) -> Option<Option<Vec<u8>>> {
    let path = unescape(column)?;
    let path = path.strip_prefix(mount)?;
    if path == b"(on_delete_queue)" {
        return Some(None);
    }
    let path = path.strip_prefix(b"/")?;
    let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..");
    (path.is_empty() || path.split(|&byte| byte == b'/').all(is_name)).then(|| Some(path.to_vec()))
}

fn unescape(mut column: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(column.len());
    while let Some((&first, rest)) = column.split_first() {
        if first == b'\\' {
            let (digits, rest) = rest.split_first_chunk::<4>()?;
            let is_octal = digits.iter().all(|digit| (b'0'..=b'7').contains(digit));
            let value = digits.iter().fold(0, |value, digit| value << 3 | u32::from(digit & 7));
            let byte = u8::try_from(value).ok().filter(|&byte| is_octal && byte != 0 && !is_plain(byte))?;
            bytes.push(byte);
            column = rest;
        } else if is_plain(first) {
            bytes.push(first);
            column = rest;
        } else {
            return None;
        }
    }
    Some(bytes)
}

/// What zfs(8) does not escape, and nothing else: so that no other escapes are taken for its.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'\\'
}

impl Change {
    /// Where to look for it.
    pub fn hints(&self) -> Vec<Hint> {
        let mut hints = Vec::new();
        match self {
            Self::AddedOrRemoved(place) => place.hint(Place::whole, &mut hints),
            Self::Modified(place) => {
                place.hint(|_, path| Hint::Entry(path), &mut hints);
                if place.directory {
                    place.hint(|_, path| Hint::Names(path), &mut hints);
                }
            }
            Self::Renamed(from, to) => {
                for place in [from, to] {
                    place.hint(Place::whole, &mut hints);
                    place.hint(|_, path| Hint::Names(parent(path)), &mut hints);
                }
            }
        }
        hints
    }
}

impl Place {
    fn whole(&self, path: Vec<u8>) -> Hint {
        if self.directory { Hint::Subtree(path) } else { Hint::Entry(path) }
    }

    /// Adds the hint that `make` makes of the path. Where the path may be an extended attribute's, the entry that has it is meant; or
    /// a name that only looks so, and then all below it is.
    fn hint(&self, make: impl Fn(&Self, Vec<u8>) -> Hint, hints: &mut Vec<Hint>) {
        let Some(path) = &self.path else { return };
        let names: Vec<_> = path.split(|&byte| byte == b'/').collect();
        match names.iter().position(|name| *name == XATTR_DIRECTORY) {
            None => hints.push(make(self, path.clone())),
            Some(hidden) => {
                hints.push(Hint::Entry(names[..hidden].join(&b'/')));
                hints.push(Hint::Subtree(names[..=hidden].join(&b'/')));
            }
        }
    }
}

/// The directory that a path is in; the root's is itself.
fn parent(mut path: Vec<u8>) -> Vec<u8> {
    path.truncate(path.iter().rposition(|&byte| byte == b'/').unwrap_or(0));
    path
}

#[cfg(test)]
mod tests;
