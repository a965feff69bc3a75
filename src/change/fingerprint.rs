//! What a base holds, in a few hashes.
//!
//! A fingerprint is made of streams, one an aspect, to which every entry adds its part in the order of a walk
//! (multiply linked entries too, each name where the walk finds it); the digest is the hash over the streams'
//! hashes. Nothing of the file system is in it: no inode numbers, no link counts, no sizes of directories, no
//! allocation. So a faithful copy has the fingerprint of its original. Which names share an entry is a stream of its
//! own: for each entry with several names in the tree, the names sorted, the entries by their first names.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use super::{Result, Scope, comparer};
use crate::archive::Digest;
use crate::tree::path::printable;
use crate::tree::{Flags, Kind, Node, Tree, TreePath};

/// Hashes over all entries of a base in the order of [`crate::change`]. Two bases with equal [`Fingerprint::digest`]
/// hold the same entries with the same content and attributes, times of modification aside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Over path, kind, mode, owner, size, xattrs, ACLs, flags, target, device number, content and hard links, of
    /// the root too.
    pub digest: Digest,
    /// The same with times of modification.
    pub digest_with_mtimes: Digest,
    /// Entries, the root included.
    pub entries: u64,
    /// One hash each for `paths`, `mode`, `owner`, `content`, `xattrs`, `flags`, `links`, so that a mismatch can say what
    /// differs.
    pub aspects: BTreeMap<String, Digest>,
    /// One hash for each entry of the root (with all below it; times of modification aside), so that a mismatch can
    /// say where. Names that are not UTF-8 are escaped; the root itself is `.`.
    pub places: BTreeMap<String, Digest>,
}

/// The streams, in the order in which the digest takes them.
const ASPECTS: [&str; 7] = ["paths", "mode", "owner", "content", "xattrs", "flags", "links"];
const LINKS: usize = 6;

/// Flags that file systems set themselves when a file is written: not the same in a copy.
const SET_BY_SYSTEM: Flags = Flags::UARCH.union(Flags::ARCH);

impl Fingerprint {
    /// For people, as the end of a sentence: what of `other` is not as here. Empty where both are equal, times of modification included.
    pub fn explain(&self, other: &Self) -> String {
        if self == other {
            return String::new();
        }
        if self.digest == other.digest {
            return "only times of modification differ".to_owned();
        }
        let aspects = if self.aspects.get("paths") == other.aspects.get("paths") {
            unequal(&self.aspects, &other.aspects)
        } else {
            // With other paths every stream is another; to name them all would say nothing.
            vec!["paths"]
        };
        // A fingerprint can travel without its places.
        let known = !self.places.is_empty() && !other.places.is_empty();
        let places = if known { unequal(&self.places, &other.places) } else { Vec::new() };
        let mut text = format!("{} differ", listed(&aspects));
        if !places.is_empty() {
            text = text + " in " + &listed(&places);
        }
        if self.entries != other.entries {
            text = format!("{text} ({} entries, not {})", other.entries, self.entries);
        }
        text
    }
}

/// Keys whose values are not the same on both sides.
fn unequal<'a>(a: &'a BTreeMap<String, Digest>, b: &'a BTreeMap<String, Digest>) -> Vec<&'a str> {
    let mut keys: Vec<&str> = a.keys().filter(|key| a.get(*key) != b.get(*key)).map(String::as_str).collect();
    keys.extend(b.keys().filter(|key| !a.contains_key(*key)).map(String::as_str));
    keys.sort_unstable();
    keys
}

/// `a, b and c`; long lists are cut.
fn listed(items: &[&str]) -> String {
    const SHOWN: usize = 8;
    match items {
        [] => "other things".to_owned(),
        [one] => (*one).to_owned(),
        many if many.len() > SHOWN => {
            format!("{} and {} more", many[..SHOWN].join(", "), many.len() - SHOWN)
        }
        [init @ .., last] => format!("{} and {last}", init.join(", ")),
    }
}

/// Computes the fingerprint of `tree`, which is read whole, on `threads` threads (0: one a core). `exclude` and
/// `interrupted` as in [`Options`](super::Options); `progress` hears now and then how many entries and bytes are done.
pub fn fingerprint_of_tree(
    tree: &Tree,
    threads: usize,
    exclude: &[TreePath],
    interrupted: &AtomicBool,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Fingerprint> {
    comparer::fingerprint_of(tree, threads, Scope { exclude, interrupted }, progress)
}

/// Computes a [`Fingerprint`] from entries in the order of a walk: the root, then as the module
/// [`crate::change`] says, but multiply linked entries where the walk finds them.
#[derive(Default)]
pub struct FingerprintBuilder {
    streams: [blake3::Hasher; ASPECTS.len()],
    mtimes: blake3::Hasher,
    places: BTreeMap<Vec<u8>, [u8; 32]>,
    entries: u64,
    /// Names of entries with several names, by device and inode.
    names: HashMap<(u64, u64), Vec<TreePath>>,
}

impl FingerprintBuilder {
    /// Begins.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the next entry; `digest` is its content's if it is a regular file.
    pub fn add(&mut self, path: &TreePath, node: &Node, digest: Option<&Digest>) {
        let (record, ends) = record(path, node, digest);
        let mut start = 0;
        for (stream, end) in self.streams.iter_mut().zip(ends) {
            stream.update(&record[start..end]);
            start = end;
        }
        self.mtimes.update(&node.entry.mtime.seconds.to_le_bytes());
        self.mtimes.update(&node.entry.mtime.nanoseconds.to_le_bytes());
        self.extend_place(path, blake3::hash(&record));
        self.entries += 1;
        if node.identity.links > 1 && node.entry.kind != Kind::Directory {
            let inode = (node.identity.device, node.identity.inode);
            self.names.entry(inode).or_default().push(path.clone());
        }
    }

    fn extend_place(&mut self, path: &TreePath, hash: blake3::Hash) {
        let place = path.components().next().unwrap_or(b".");
        let mut chain = [0; 64];
        if let Some(state) = self.places.get(place) {
            chain[..32].copy_from_slice(state);
        }
        chain[32..].copy_from_slice(hash.as_bytes());
        let state = *blake3::hash(&chain).as_bytes();
        match self.places.get_mut(place) {
            Some(known) => *known = state,
            None => drop(self.places.insert(place.to_vec(), state)),
        }
    }

    /// The result.
    pub fn finish(mut self) -> Fingerprint {
        self.add_links();
        let streams = self.streams.each_ref().map(blake3::Hasher::finalize);
        let mut all = blake3::Hasher::new();
        for stream in &streams {
            all.update(stream.as_bytes());
        }
        let digest = all.finalize();
        all.update(self.mtimes.finalize().as_bytes());
        Fingerprint {
            digest: digest.into(),
            digest_with_mtimes: all.finalize().into(),
            entries: self.entries,
            aspects: ASPECTS
                .iter()
                .zip(streams)
                .map(|(name, hash)| ((*name).to_owned(), hash.into()))
                .collect(),
            places: self.places.iter().map(|(name, hash)| (printable(name), Digest::new(*hash))).collect(),
        }
    }

    fn add_links(&mut self) {
        let mut groups: Vec<Vec<TreePath>> =
            std::mem::take(&mut self.names).into_values().filter(|names| names.len() > 1).collect();
        for names in &mut groups {
            names.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        }
        groups.sort_unstable_by(|a, b| a[0].as_bytes().cmp(b[0].as_bytes()));
        let mut record = Vec::new();
        for names in &groups {
            record.clear();
            record.extend((names.len() as u64).to_le_bytes());
            for name in names {
                put_bytes(&mut record, name.as_bytes());
            }
            self.streams[LINKS].update(&record);
            let hash = blake3::hash(&record);
            for name in names {
                self.extend_place(name, hash);
            }
        }
    }
}

/// What an entry adds to the streams, one after the other, and where each stream's part ends.
fn record(path: &TreePath, node: &Node, digest: Option<&Digest>) -> (Vec<u8>, [usize; LINKS]) {
    let entry = &node.entry;
    let mut out = Vec::with_capacity(192 + path.as_bytes().len());
    put_bytes(&mut out, path.as_bytes());
    out.push(code(entry.kind));
    let paths = out.len();
    out.extend(entry.mode.to_le_bytes());
    let mode = out.len();
    out.extend(entry.uid.to_le_bytes());
    out.extend(entry.gid.to_le_bytes());
    let owner = out.len();
    out.extend(entry.size.to_le_bytes());
    put_option(&mut out, digest.map(|digest| &digest.as_bytes()[..]));
    put_option(&mut out, entry.target.as_deref());
    let device =
        entry.device.map(|device| (u64::from(device.major) << 32 | u64::from(device.minor)).to_le_bytes());
    put_option(&mut out, device.as_ref().map(|bytes| &bytes[..]));
    let content = out.len();
    out.extend((entry.xattrs.len() as u64).to_le_bytes());
    for (name, value) in &entry.xattrs {
        put_bytes(&mut out, name);
        put_bytes(&mut out, value);
    }
    for list in [&entry.acl.access, &entry.acl.default, &entry.acl.nfs4] {
        put_option(&mut out, list.as_deref().map(str::as_bytes));
    }
    let xattrs = out.len();
    put_bytes(&mut out, entry.flags.difference(SET_BY_SYSTEM).to_string().as_bytes());
    let flags = out.len();
    (out, [paths, mode, owner, content, xattrs, flags])
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

fn put_option(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.push(u8::from(bytes.is_some()));
    if let Some(bytes) = bytes {
        put_bytes(out, bytes);
    }
}

/// A number for each kind that no later version may change.
pub(super) fn code(kind: Kind) -> u8 {
    match kind {
        Kind::File => 1,
        Kind::Directory => 2,
        Kind::Symlink => 3,
        Kind::Fifo => 4,
        Kind::CharDevice => 5,
        Kind::BlockDevice => 6,
        Kind::Socket => 7,
    }
}
