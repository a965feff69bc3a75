//! What of two entries differs, content of files aside.

use crate::change::Differs;
use crate::tree::{Entry, Kind};

/// Compares all but the bytes of two regular files; their content counts as different here where the sizes are.
pub(crate) fn differences(base: &Entry, now: &Entry) -> Differs {
    let kind = base.kind != now.kind;
    let content = !kind
        && match now.kind {
            Kind::File => base.size != now.size,
            Kind::Symlink => base.target != now.target,
            Kind::CharDevice | Kind::BlockDevice => base.device != now.device,
            Kind::Directory | Kind::Fifo | Kind::Socket => false,
        };
    Differs {
        kind,
        content,
        mode: base.mode != now.mode,
        owner: (base.uid, base.gid) != (now.uid, now.gid),
        mtime: base.mtime != now.mtime,
        xattrs: base.xattrs != now.xattrs,
        acl: base.acl != now.acl,
        flags: base.flags != now.flags,
        links: false,
    }
}
