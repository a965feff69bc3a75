//! What may be relied on of a file system, by what it is. What is not known is not relied on.

use std::path::Path;

/// A file system that something is known of.
#[allow(dead_code)] // no platform has all of them
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Btrfs,
    /// ext2 to ext4.
    Ext,
    Tmpfs,
    Ufs,
    Xfs,
    Zfs,
}

/// Whether it keeps every byte of a file's content for itself, as far as that is known.
pub(crate) fn stores_as_it_is(directory: &Path) -> bool {
    matches!(kind(directory), Some(Kind::Ext | Kind::Tmpfs | Kind::Ufs))
}

/// Whether all processes that have a file of it open share what they map of it: it is no other host's, and no program's.
pub(crate) fn shares_mappings(directory: &Path) -> bool {
    kind(directory).is_some()
}

/// See statfs(2).
#[cfg(any(target_os = "linux", target_os = "android"))]
fn kind(directory: &Path) -> Option<Kind> {
    let found = rustix::fs::statfs(directory).ok()?;
    match found.f_type.cast_unsigned() & 0xffff_ffff {
        0x9123_683e => Some(Kind::Btrfs),
        0xef53 => Some(Kind::Ext),
        0x0102_1994 => Some(Kind::Tmpfs),
        0x5846_5342 => Some(Kind::Xfs),
        0x2fc1_2fc1 => Some(Kind::Zfs),
        _ => None,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn kind(directory: &Path) -> Option<Kind> {
    let found = rustix::fs::statfs(directory).ok()?;
    let name: Vec<_> = found.f_fstypename.iter().map(|byte| byte.cast_unsigned()).collect();
    match name.split(|byte| *byte == 0).next()? {
        b"ext2fs" => Some(Kind::Ext),
        b"tmpfs" => Some(Kind::Tmpfs),
        b"ufs" => Some(Kind::Ufs),
        b"zfs" => Some(Kind::Zfs),
        _ => None,
    }
}
