//! A release and what a jail makes of its clone of it: small, deterministic, and with everything in it that
//! is awkward to archive.

mod base;
mod change;
pub(crate) mod common;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::at::{At, Time};

/// Time of last modification of everything in the release.
pub(crate) const RELEASE_TIME: Time = (1_700_000_000, 123_456_789);
/// Time of last modification of what the jail changed, unless it is about times.
pub(crate) const JAIL_TIME: Time = (1_755_000_000, 987_654_321);

/// Fills an empty directory with a release.
pub(crate) fn build_release(root: &Path) -> Refusals {
    let mut refusals = Refusals::of(root);
    base::build(&At::open(root), &mut refusals);
    refusals
}

/// Changes a clone of the release as a jail would.
pub(crate) fn change_jail(root: &Path) -> Refusals {
    let mut refusals = Refusals::of(root);
    change::apply(&At::open(root), &mut refusals);
    refusals
}

/// What the file system, or a user who is not root, cannot have. Only what is known to be refused may be: anything
/// else is a broken test machine, and panics.
pub(crate) struct Refusals {
    file_system: FileSystem,
    found: BTreeMap<&'static str, String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileSystem {
    /// zfs-fuse, or another one in user space.
    Fuse,
    Zfs,
    Tmpfs,
    Xfs,
    /// Keeps everything.
    Complete,
}

impl FileSystem {
    /// Attributes that it is known to refuse.
    fn refuses(self) -> &'static [&'static str] {
        match self {
            Self::Fuse => &["flags", "large owner", "far time"],
            Self::Zfs => &["flags", "acl", "default acl"],
            Self::Tmpfs => &["flags", "user xattr", "big xattr"],
            // It has room for 1,023 bytes, and for minors of 18 bits.
            Self::Xfs => &["long symlink", "large device"],
            Self::Complete => &[],
        }
    }
}

impl Refusals {
    #[cfg(target_os = "linux")]
    fn of(root: &Path) -> Self {
        let file_system = match At::open(root).file_system() & 0xffff_ffff {
            0x6573_5546 => FileSystem::Fuse,
            0x2fc1_2fc1 => FileSystem::Zfs,
            0x5846_5342 => FileSystem::Xfs,
            0x0102_1994 => FileSystem::Tmpfs,
            _ => FileSystem::Complete,
        };
        Self { file_system, found: BTreeMap::new() }
    }

    #[cfg(not(target_os = "linux"))]
    fn of(_: &Path) -> Self {
        Self { file_system: FileSystem::Zfs, found: BTreeMap::new() }
    }

    /// Takes note of a refusal.
    fn note(&mut self, what: &'static str, result: io::Result<()>) {
        let Err(error) = result else { return };
        let not_root = !super::is_root() && error.kind() == io::ErrorKind::PermissionDenied;
        assert!(
            not_root || self.file_system.refuses().contains(&what),
            "{:?} refuses {what}, which it is not known to: {error}",
            self.file_system
        );
        super::announce(&format!("LEFT OUT on {:?}: {what} ({error})", self.file_system));
        self.found.insert(what, error.to_string());
    }

    /// Whether something of this kind was refused.
    pub(crate) fn has(&self, what: &str) -> bool {
        self.found.contains_key(what)
    }
}

/// Deterministic bytes that no compressor makes smaller.
pub(crate) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Deterministic text that a compressor likes.
pub(crate) fn text(seed: u64, length: usize) -> Vec<u8> {
    const WORDS: [&str; 12] = [
        "jail", "release", "dataset", "mount", "fstab", "nullfs", "bridge0", "vnet", "devfs", "rc.d",
        "syslog", "pkg",
    ];
    let mut bytes = Vec::with_capacity(length + 16);
    for (index, pick) in noise(seed, length).into_iter().enumerate() {
        bytes.extend_from_slice(WORDS[usize::from(pick) % WORDS.len()].as_bytes());
        bytes.push(if index % 9 == 8 { b'\n' } else { b' ' });
        if bytes.len() >= length {
            break;
        }
    }
    bytes.truncate(length);
    bytes
}

/// A POSIX.1e ACL as Linux stores it: user and group entries besides the owners'.
fn posix_acl(users: &[(u32, u16)], groups: &[(u32, u16)]) -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let mut entries = vec![(0x01, 7, NOBODY)];
    entries.extend(users.iter().map(|(id, bits)| (0x02, *bits, *id)));
    entries.push((0x04, 4, NOBODY));
    entries.extend(groups.iter().map(|(id, bits)| (0x08, *bits, *id)));
    entries.extend([(0x10, 7, NOBODY), (0x20, 4, NOBODY)]);
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in entries {
        bytes.extend_from_slice(&u16::to_le_bytes(tag));
        bytes.extend_from_slice(&u16::to_le_bytes(bits));
        bytes.extend_from_slice(&id.to_le_bytes());
    }
    bytes
}

/// `security.capability`, version 2: the effective bit and a mask of permitted capabilities.
fn capability(permitted: u32) -> Vec<u8> {
    let words = [0x0200_0001_u32, permitted, 0, 0, 0];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
