//! Attributes as text: times, flags, kinds, ACLs, digests, paths.

use std::fmt::Display;
use std::str::FromStr;

use remand::archive::Digest;
use remand::tree::{Flags, Kind, Timestamp, TreePath};

/// What was read from a text is the same when it is printed.
fn prints<T: FromStr + Display + PartialEq + std::fmt::Debug>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    assert_eq!(value.to_string().parse().ok().as_ref(), Some(&value), "{text:?}");
    Some(value)
}

/// Each text is no attribute, or means the same when it is printed; and printing is the same each time.
pub(super) fn attributes(data: &[u8]) {
    acl(data);
    if let Ok(path) = TreePath::new(data) {
        let joined = path.components().fold(TreePath::root(), |path, part| path.join(part));
        assert_eq!(joined, path);
        let shown = path.to_string();
        assert!(!shown.chars().any(char::is_control), "{shown:?}");
        if let Some((above, name)) = path.split() {
            assert!(above.is_above(&path) && !path.is_above(&above) && above.join(name) == path);
        }
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(acl) = remand::fuzzing::nfs4_acl(text) {
        assert_eq!(remand::fuzzing::nfs4_acl(&acl).as_ref(), Some(&acl), "{text:?}");
    }
    if let Some(time) = prints::<Timestamp>(text) {
        assert!(time.nanoseconds < 1_000_000_000);
    }
    prints::<Flags>(text);
    prints::<Kind>(text);
    prints::<Digest>(text);
}

#[cfg(target_os = "linux")]
fn acl(data: &[u8]) {
    use remand::fuzzing::{acl_from_text, acl_to_text};
    if let Some(text) = acl_to_text(data) {
        let raw = acl_from_text(&text).expect("it was printed");
        assert_eq!(acl_to_text(&raw), Some(text));
    }
    if let Some(raw) = std::str::from_utf8(data).ok().and_then(acl_from_text) {
        let text = acl_to_text(&raw).expect("it was made");
        assert_eq!(acl_from_text(&text), Some(raw));
    }
}

#[cfg(not(target_os = "linux"))]
fn acl(_: &[u8]) {}
