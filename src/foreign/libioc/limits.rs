//! What an archive of libioc's cannot guarantee.

use super::Scan;
use crate::archive::manifest::{BaseRecord, Foreign};

/// Adds what is true of this one.
pub(super) fn add(foreign: &mut Foreign, scan: &Scan, standalone: bool, release: Option<&BaseRecord>) {
    let mut limit = |text: String| foreign.limits.push(text);
    limit("it has no digests and no seal: damage that its compression does not show is not seen".into());
    if standalone {
        limit("properties of its datasets are not in it".into());
    } else {
        limit("what was deleted from the release is not in it, and comes back".into());
        limit(
            "access control lists, extended attributes, file flags, holes and sockets are not in it, unless its tar file has them; times may be rounded"
                .into(),
        );
        limit("absolute symbolic links, and those that lead out of the root, are not in it".into());
        limit("it was made of the live files, which may have changed meanwhile".into());
        limit(match release {
            Some(BaseRecord { name, snapshot: Some(level), .. }) => format!(
                "it says that it was made against {name} at patch level {level}, but not what that held"
            ),
            Some(BaseRecord { name, .. }) => format!(
                "it says that it was made against {name}, but not at which patch level; the newest is taken"
            ),
            None => "it does not say which release it was made against, so it cannot be restored".into(),
        });
    }
    limit("files beside config.json and fstab are not in it".into());
    if standalone && scan.files_in_root > 0 {
        limit(format!(
            "{} files in ./root are left out, because ./root.zfs has the root",
            scan.files_in_root
        ));
    }
    if scan.left_out > 0 {
        let more = scan.left_out - scan.told.len() as u64;
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        limit(format!("left out, since libioc does not write such: {}{more}", scan.told.join(", ")));
    }
}
