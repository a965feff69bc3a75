//! Everything there is to see of a tree.

use super::at;
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) inode: u64,
    mode: u32,
    owner: (u32, u32),
    mtime: (i64, i64),
    device: u64,
    content: Vec<u8>,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Seen {
    pub(super) fn show(seen: Option<&Self>) -> String {
        let Some(seen) = seen else { return "absent".to_owned() };
        format!(
            "inode {} mode {:o} owner {:?} mtime {:?} {} bytes, xattrs {:?}",
            seen.inode,
            seen.mode,
            seen.owner,
            seen.mtime,
            seen.content.len(),
            seen.xattrs.keys().map(|name| String::from_utf8_lossy(name)).collect::<Vec<_>>()
        )
    }
}

/// Entries by path, and the names of each.
pub(super) struct Tree {
    entries: BTreeMap<Vec<u8>, Seen>,
    names: BTreeMap<u64, BTreeSet<Vec<u8>>>,
}

impl Tree {
    pub(super) fn read(root: &Path) -> Self {
        let mut tree = Self { entries: BTreeMap::new(), names: BTreeMap::new() };
        let mut pending = vec![Vec::new()];
        while let Some(path) = pending.pop() {
            let seen = see(&at(root, &path));
            tree.names.entry(seen.inode).or_default().insert(path.clone());
            if seen.mode & 0o170_000 == 0o040_000 {
                for entry in std::fs::read_dir(at(root, &path)).expect("a directory") {
                    let name = entry.expect("an entry").file_name().into_vec();
                    pending.push(if path.is_empty() { name } else { [&path[..], &name].join(&b'/') });
                }
            }
            tree.entries.insert(path, seen);
        }
        tree
    }

    pub(super) fn get(&self, path: &[u8]) -> Option<&Seen> {
        self.entries.get(path)
    }

    /// All names of the entry at a path.
    pub(super) fn names_like(&self, path: &[u8]) -> impl Iterator<Item = &Vec<u8>> {
        self.get(path).and_then(|seen| self.names.get(&seen.inode)).into_iter().flatten()
    }

    /// Entries with several names, by inode number.
    pub(super) fn linked(&self) -> impl Iterator<Item = (u64, &BTreeSet<Vec<u8>>)> {
        self.names.iter().filter(|(_, names)| names.len() > 1).map(|(inode, names)| (*inode, names))
    }

    /// Paths at which the trees differ: also those of which another name came or went.
    pub(super) fn differing(&self, now: &Self) -> BTreeSet<Vec<u8>> {
        let paths = self.entries.keys().chain(now.entries.keys());
        let same = |path: &&Vec<u8>| {
            self.get(path).map(|seen| Seen { inode: 0, ..seen.clone() })
                == now.get(path).map(|seen| Seen { inode: 0, ..seen.clone() })
                && self.names_like(path).eq(now.names_like(path))
        };
        paths.filter(|path| !same(path)).cloned().collect()
    }
}

fn see(path: &Path) -> Seen {
    let data = path.symlink_metadata().expect("an entry");
    let content = if data.is_file() {
        std::fs::read(path).expect("a readable file")
    } else if data.is_symlink() {
        std::fs::read_link(path).expect("a link").into_os_string().into_vec()
    } else {
        Vec::new()
    };
    Seen {
        inode: data.ino(),
        mode: data.mode(),
        owner: (data.uid(), data.gid()),
        mtime: (data.mtime(), data.mtime_nsec()),
        device: data.rdev(),
        content,
        xattrs: xattrs(path),
    }
}

fn xattrs(path: &Path) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut names = vec![0; 8192];
    let Ok(count) = rustix::fs::llistxattr(path, &mut names[..]) else { return BTreeMap::new() };
    let value = |name: &[u8]| {
        let mut value = vec![0; 8192];
        let name = std::ffi::OsStr::from_bytes(name);
        let count = rustix::fs::lgetxattr(path, name, &mut value[..]).expect("an extended attribute");
        value.truncate(count);
        value
    };
    names[..count]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| (name.to_vec(), value(name)))
        .collect()
}

/// The directory that a path is in; the root is in none.
pub(super) fn parent(path: &[u8]) -> Option<Vec<u8>> {
    (!path.is_empty()).then(|| path[..path.iter().rposition(|&byte| byte == b'/').unwrap_or(0)].to_vec())
}
