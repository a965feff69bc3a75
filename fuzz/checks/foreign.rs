//! Archives of other tools: what is made of them is an archive that passes every check, or an error.

use std::collections::BTreeSet;

use remand::archive::index::Role;
use remand::fuzzing;
use remand::tree::Kind;

use super::archives::Collected;
use super::is_fit;

/// A file as an archive of libioc's, or an export of iocage's.
pub(super) fn foreign(data: &[u8]) {
    let everything = |_: &remand::archive::MemberName| true;
    let mut seen = Collected::wanting(&everything);
    match fuzzing::foreign(data, &mut seen) {
        None => {}
        Some(Err(error)) => is_fit(&error),
        Some(Ok(seal)) => {
            assert_eq!((seal.entries, seen.manifests), (seen.lines.len() as u64, 1));
            let names: BTreeSet<_> = seen.lines.iter().map(|line| line.name.path().as_bytes()).collect();
            assert_eq!(names.len(), seen.lines.len(), "each is there once");
            for line in &seen.lines {
                let path = line.name.path().as_bytes();
                let is_stream = path.ends_with(b".zfs");
                let is_known = path == b"config.json" || path == b"fstab" || path.starts_with(b"root");
                assert!(is_known || is_stream, "{}", line.name);
                assert!(!matches!(line.role, Role::Deleted | Role::Metadata { .. }), "nobody knows of such");
                let kind = line.entry.as_ref().map(|entry| entry.kind);
                assert!(is_known || kind == Some(Kind::File), "{}", line.name);
            }
        }
    }
}
