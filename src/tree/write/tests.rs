//! These need root: devices, owners, trusted attributes and flags cannot be had otherwise.

mod attributes;
mod hostile;
mod links;
mod refused;
mod replace;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::tree::{Acl, Device, MemoryContent, Timestamp, Tree};

/// A directory for a test, whose flags don't keep it from being removed.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "this test needs root");
        Self(tempfile::tempdir().unwrap())
    }

    /// Where thousands of directories are cheap, if the system has such a place.
    fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self(tempfile::tempdir_in(memory).unwrap()) } else { Self::new() }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.path().join(name)
    }

    fn writer(&self) -> TreeWriter {
        TreeWriter::new(fs::File::open(self.path()).unwrap().into()).unwrap()
    }

    /// Everything in the tree, the root as `""`.
    fn read(&self) -> BTreeMap<String, Entry> {
        let tree = Tree::open(self.path()).unwrap();
        let mut found = BTreeMap::from([(String::new(), tree.root_node().unwrap().entry)]);
        let mut open = vec![tree.root()];
        while let Some(dir) = open.pop() {
            for name in dir.names().unwrap() {
                let stat = dir.stat(&name.name).unwrap().unwrap();
                let node = dir.node(&name.name, &stat).unwrap().unwrap();
                found.insert(dir.path().join(&name.name).to_string(), node.entry);
                open.extend(dir.open_dir(&name.name).unwrap());
            }
        }
        found
    }

    fn entry(&self, path: &str) -> Entry {
        self.read().remove(path).unwrap_or_else(|| panic!("there is no {path}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = Command::new("chattr").args(["-R", "-f", "-i", "-a"]).arg(self.path()).status();
    }
}

fn path(text: &str) -> TreePath {
    TreePath::new(text.as_bytes()).unwrap()
}

fn run(program: &str, arguments: &[&str], path: &Path) {
    let done = Command::new(program).args(arguments).arg(path).output().unwrap();
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
}

/// An entry of a kind with plain attributes.
fn plain(kind: Kind) -> Entry {
    Entry {
        kind,
        mode: if kind == Kind::Symlink { 0o777 } else { 0o640 },
        uid: 0,
        gid: 0,
        mtime: Timestamp { seconds: 1_000_000_000, nanoseconds: 123_456_789 },
        size: 0,
        target: (kind == Kind::Symlink).then(|| b"no/where".to_vec()),
        device: kind.is_device().then_some(Device { major: 7, minor: 1234 }),
        xattrs: BTreeMap::new(),
        acl: Acl::default(),
        flags: Flags::empty(),
    }
}

fn file_of(bytes: &[u8]) -> (Entry, MemoryContent) {
    (Entry { size: bytes.len() as u64, ..plain(Kind::File) }, MemoryContent::new(bytes))
}

fn put_file(writer: &mut TreeWriter, at: &str, bytes: &[u8]) {
    let (entry, mut content) = file_of(bytes);
    writer.put(&path(at), &entry, Some(&mut content)).unwrap();
}

/// Finishes without a loss.
fn finish(writer: TreeWriter) {
    let losses = writer.finish().unwrap();
    assert!(losses.is_empty(), "{losses:?}");
}

/// The losses by path and name.
fn losses(writer: TreeWriter) -> Vec<(String, String)> {
    writer.finish().unwrap().into_iter().map(|loss| (loss.path.to_string(), loss.what)).collect()
}
