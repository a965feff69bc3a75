//! A resource's fstab: its own path prefix is written as `backup:///` in the archive and
//! becomes the new place on restore.
//!
//! Everything else stays as it is, byte for byte: comments, separators, escapes, order.

mod bases;
mod leads;

use std::path::Path;

pub(crate) use bases::encode_path;
pub use bases::{BaseMount, base_mounts};
pub(crate) use leads::{Leads, missing, outside};

/// What stands for the resource's own directory in an archive.
pub const PLACEHOLDER: &str = "backup:///";

/// Rewrites the resource's own prefix to [`PLACEHOLDER`] in the first two fields of every entry.
/// `directory` is matched at path boundaries only: `/jails/web` is not in `/jails/web2`.
pub fn to_archive(text: &[u8], directory: &Path) -> Vec<u8> {
    let own = path_bytes(directory);
    rewrite(text, 2, |field| {
        let (decoded, ends) = decode(field);
        let rest = decoded.strip_prefix(own)?;
        if !(rest.is_empty() || rest[0] == b'/') {
            return None;
        }
        let slash = usize::from(!rest.is_empty());
        let tail = ends.get(own.len() + slash).map_or(&field[field.len()..], |&at| &field[at..]);
        Some([PLACEHOLDER.as_bytes(), tail].concat())
    })
}

/// Rewrites [`PLACEHOLDER`] to `directory`, with blanks and backslashes escaped as fstab(5) wants it.
pub fn from_archive(text: &[u8], directory: &Path) -> Vec<u8> {
    let own = encode(path_bytes(directory));
    rewrite(text, 2, |field| {
        let rest = field.strip_prefix(PLACEHOLDER.as_bytes())?;
        // libioc writes one slash more
        let start = rest.iter().position(|&byte| byte != b'/').unwrap_or(rest.len());
        let rest = &rest[start..];
        Some(if rest.is_empty() { own.clone() } else { [&own[..], b"/", rest].concat() })
    })
}

/// Lets what is mounted from the pool `old` come from the pool `new`, from the same place in there or from another one: `moved` has the
/// places that are called otherwise now, each below none of the others. Sources alone, at path boundaries; a path that goes up is nobody's.
pub fn with_pool(text: &[u8], old: &Path, new: &Path, moved: &[(String, String)]) -> Vec<u8> {
    let (old, new) = (path_bytes(old), path_bytes(new));
    rewrite(text, 1, |field| {
        let (decoded, ends) = decode(field);
        let rest = below(&decoded, old)?;
        if rest.split(|&byte| byte == b'/').any(|part| part == b"..") {
            return None;
        }
        let skipped = decoded.len() - rest.len();
        let other = moved.iter().find_map(|(from, to)| {
            let tail = below(rest, from.as_bytes())?;
            Some((decoded.len() - tail.len(), [new, b"/", to.as_bytes()].concat()))
        });
        let (kept_from, place) = other.unwrap_or((skipped, new.to_vec()));
        // What stands behind it stays as it is written.
        let tail = ends.get(kept_from).map_or(&field[field.len()..], |&at| &field[at..]);
        let slash: &[u8] = if tail.is_empty() { b"" } else { b"/" };
        Some([&encode(&place)[..], slash, tail].concat())
    })
}

/// What of a path comes behind a directory and the slash after it; nothing where it is that directory.
fn below<'p>(path: &'p [u8], directory: &[u8]) -> Option<&'p [u8]> {
    let rest = path.strip_prefix(directory)?;
    if rest.is_empty() || directory == b"/" { Some(rest) } else { rest.strip_prefix(b"/") }
}

fn path_bytes(path: &Path) -> &[u8] {
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    match bytes.strip_suffix(b"/") {
        Some(shorter) if !shorter.is_empty() => shorter,
        _ => bytes,
    }
}

/// Applies `change` to the first `fields` fields of every line that is neither empty nor a comment.
fn rewrite(text: &[u8], fields: usize, change: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 64);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let mut at = 0;
        for _ in 0..fields {
            let start = at + line[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let end = field_end(line, start);
            if start == end || line[start] == b'#' {
                break;
            }
            out.extend_from_slice(&line[at..start]);
            let field = &line[start..end];
            out.extend_from_slice(&change(field).unwrap_or_else(|| field.to_vec()));
            at = end;
        }
        out.extend_from_slice(&line[at..]);
    }
    out
}

/// Where the field that begins at `start` ends. A blank after a backslash belongs to the field.
fn field_end(line: &[u8], start: usize) -> usize {
    let mut at = start;
    while at < line.len() && !line[at].is_ascii_whitespace() {
        let escaped = line[at] == b'\\' && matches!(line.get(at + 1), Some(b' ' | b'\t'));
        at += if escaped { 2 } else { 1 };
    }
    at
}

/// Decodes `\040` and `\ `; for each decoded byte where its source begins.
fn decode(field: &[u8]) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut starts) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < field.len() {
        starts.push(at);
        // Higher numbers are no bytes.
        let octal = field
            .get(at + 1..at + 4)
            .filter(|digits| digits[0] <= b'3' && digits.iter().all(|d| (b'0'..=b'7').contains(d)));
        match (field[at], octal, field.get(at + 1)) {
            (b'\\', Some(digits), _) => {
                let value = digits.iter().fold(0u32, |value, digit| value * 8 + u32::from(digit - b'0'));
                bytes.push(u8::try_from(value).unwrap_or(b'?'));
                at += 4;
            }
            (b'\\', None, Some(&next @ (b' ' | b'\t' | b'\\'))) => {
                bytes.push(next);
                at += 2;
            }
            (byte, ..) => {
                bytes.push(byte);
                at += 1;
            }
        }
    }
    (bytes, starts)
}

fn encode(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    for &byte in path {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => out.extend_from_slice(format!("\\{byte:03o}").as_bytes()),
            byte => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    fn to(text: &str) -> String {
        String::from_utf8(to_archive(text.as_bytes(), Path::new("/pool/jails/web"))).unwrap()
    }

    #[test]
    fn own_paths_become_the_placeholder_and_come_back_elsewhere() {
        let text = "# a comment /pool/jails/web\n\n/srv\t/pool/jails/web/root/mnt  nullfs ro 0 0 # /pool/jails/web\n  /pool/jails/web/data /pool/jails/web nullfs rw 0 0";
        let kept = to(text);
        assert_eq!(
            kept,
            "# a comment /pool/jails/web\n\n/srv\tbackup:///root/mnt  nullfs ro 0 0 # /pool/jails/web\n  backup:///data backup:/// nullfs rw 0 0"
        );
        let back = from_archive(kept.as_bytes(), Path::new("/new place/jails/x"));
        assert_eq!(
            String::from_utf8(back).unwrap(),
            "# a comment /pool/jails/web\n\n/srv\t/new\\040place/jails/x/root/mnt  nullfs ro 0 0 # /pool/jails/web\n  /new\\040place/jails/x/data /new\\040place/jails/x nullfs rw 0 0"
        );
    }

    #[test]
    fn only_whole_components_match() {
        let text = "/pool/jails/web2/x /pool/jails/website nullfs ro 0 0\n";
        assert_eq!(to(text), text);
    }

    #[test]
    fn both_escapes_are_understood_and_kept() {
        assert_eq!(
            to("/a /pool/jails/web/root/my\\ files/\\040x none\n"),
            "/a backup:///root/my\\ files/\\040x none\n"
        );
        let spaced = to_archive(b"/po\\040ol/web/a /po\\ ol/web/b none\n", Path::new("/po ol/web"));
        assert_eq!(String::from_utf8(spaced).unwrap(), "backup:///a backup:///b none\n");
    }

    #[test]
    fn libiocs_four_slashes_are_read() {
        let back = from_archive(b"backup:////data backup:////root/x none\n", Path::new("/p/jails/w"));
        assert_eq!(String::from_utf8(back).unwrap(), "/p/jails/w/data /p/jails/w/root/x none\n");
    }

    #[test]
    fn what_is_mounted_from_the_pool_comes_from_the_pool_that_it_is_in_now() {
        let text = "/old\\040pool/releases/1.0/root/bin backup:///root/bin nullfs ro 0 0 # /old\\040pool/x\n\
                    /old\\ pool/releases/1.0\tbackup:////root/usr\tnullfs\tro\t0 0\n\
                    /old\\040pool/base/1.0/root/a\\040b backup:///root/mnt nullfs ro 0 0\n\
                    /old\\040pool/releases/1.01/root /old\\040pool/elsewhere nullfs ro 0 0\n\
                    /old\\040pool /old\\040pool2/x nullfs\n\
                    /old\\040pool2/releases/1.0 /x nullfs\n\
                    /old\\040pool/../etc /x nullfs\n\
                    # /old\\040pool/releases/1.0/root/bin backup:///root/bin nullfs ro 0 0\n";
        let moved = [
            ("releases/1.0".to_owned(), "releases/2".to_owned()),
            ("base/1.0".to_owned(), "base/2".to_owned()),
        ];
        let got = with_pool(text.as_bytes(), Path::new("/old pool"), Path::new("/n w"), &moved);
        let got = String::from_utf8(got).unwrap();
        let got: Vec<_> = got.lines().collect();
        let wanted = [
            "/n\\040w/releases/2/root/bin backup:///root/bin nullfs ro 0 0 # /old\\040pool/x",
            "/n\\040w/releases/2\tbackup:////root/usr\tnullfs\tro\t0 0",
            "/n\\040w/base/2/root/a\\040b backup:///root/mnt nullfs ro 0 0",
            "/n\\040w/releases/1.01/root /old\\040pool/elsewhere nullfs ro 0 0",
            "/n\\040w /old\\040pool2/x nullfs",
        ];
        assert_eq!(got[..5], wanted);
        assert_eq!(got[5..], text.lines().collect::<Vec<_>>()[5..]);
    }

    #[test]
    fn numbers_that_are_no_bytes_are_no_escapes() {
        assert_eq!(decode(b"/a\\477b\\101").0, b"/a\\477bA");
    }

    #[test]
    fn bytes_that_are_no_text_survive() {
        let odd = b"/\xff\xfe /pool/jails/web/\xff none\n";
        assert_eq!(to_archive(odd, Path::new("/pool/jails/web")), b"/\xff\xfe backup:///\xff none\n");
    }
}
