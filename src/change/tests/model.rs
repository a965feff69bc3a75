//! What a tree is, found out without the walk, and what changes make of it.

use std::collections::BTreeMap;

use crate::archive::Digest;
use crate::change::{Change, What};
use crate::tree::{Dir, Entry, FileContent, Identity, Kind, Tree};

/// An entry and its content.
type Data = (Entry, Option<Digest>);

/// Names, and what they name: a number that names of one entry share.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    names: BTreeMap<Vec<u8>, usize>,
    entries: Vec<Data>,
    /// The names in the module's order.
    pub(super) order: Vec<Vec<u8>>,
}

impl Model {
    pub(super) fn of(tree: &Tree) -> Self {
        let mut model = Self::default();
        model.insert(b"", (tree.root_node().unwrap().entry, None));
        let mut inodes = BTreeMap::new();
        model.add(&tree.root(), &mut inodes);
        model
    }

    fn insert(&mut self, path: &[u8], data: Data) {
        self.names.insert(path.to_vec(), self.entries.len());
        self.entries.push(data);
    }

    fn add(&mut self, dir: &Dir, inodes: &mut BTreeMap<u64, usize>) {
        let mut below = Vec::new();
        for name in dir.names().unwrap() {
            let path = dir.path().join(&name.name).as_bytes().to_vec();
            let stat = dir.stat(&name.name).unwrap().unwrap();
            let node = dir.node(&name.name, &stat).unwrap().unwrap();
            let Identity { inode, .. } = node.identity;
            self.order.push(path.clone());
            if let Some(&known) = inodes.get(&inode) {
                self.names.insert(path, known);
            } else {
                let digest = dir.open_file(&name.name).unwrap().map(|file| digest(&file, stat.size));
                inodes.insert(inode, self.entries.len());
                self.insert(&path, (node.entry, digest));
            }
            if stat.kind == Kind::Directory {
                below.push(dir.open_dir(&name.name).unwrap().unwrap());
            }
        }
        for dir in below {
            self.add(&dir, inodes);
        }
    }

    /// Name → data and the first name that shares the entry.
    pub(super) fn seen(&self) -> BTreeMap<String, (Data, String)> {
        let text = |name: &[u8]| name.escape_ascii().to_string();
        let mut first = BTreeMap::new();
        for (name, number) in &self.names {
            first.entry(*number).or_insert_with(|| text(name));
        }
        let data = |number: &usize| (self.entries[*number].clone(), first[number].clone());
        self.names.iter().map(|(name, number)| (text(name), data(number))).collect()
    }

    fn data(&self, path: &[u8]) -> Option<&Data> {
        self.names.get(path).map(|number| &self.entries[*number])
    }

    /// Applies changes as a restore would that has only the changes and, of `now`, the content of whole files. Checks on
    /// the way what each change says of the base.
    pub(super) fn apply(&self, changes: &[Change], now: &Self) -> Self {
        let mut result = self.clone();
        for change in changes {
            let path = change.path.as_bytes();
            let (What::Whole { replaced, .. } | What::Link { replaced, .. }) = &change.what else {
                result.apply_to_present(change, self);
                continue;
            };
            let replaced = replaced.as_ref().map(|replaced| (replaced.kind, replaced.digest));
            assert_eq!(
                replaced,
                self.data(path).map(|(entry, digest)| (entry.kind, *digest)),
                "{}",
                change.path
            );
            match &change.what {
                What::Whole { node, .. } => {
                    result.insert(path, (node.entry.clone(), now.data(path).unwrap().1));
                }
                What::Link { node, to, .. } => {
                    let number = result.names[to.as_bytes()];
                    assert_eq!(node.entry.kind, result.entries[number].0.kind);
                    result.names.insert(path.to_vec(), number);
                }
                _ => unreachable!(),
            }
        }
        result
    }

    fn apply_to_present(&mut self, change: &Change, base: &Self) {
        let path = change.path.as_bytes();
        let number = self.names[path];
        let (entry, digest) = base.data(path).unwrap();
        let (What::Metadata { replaced, .. } | What::Deleted { replaced }) = &change.what else {
            unreachable!()
        };
        assert_eq!((replaced.kind, replaced.digest), (entry.kind, *digest), "{}", change.path);
        match &change.what {
            What::Metadata { node, .. } => {
                assert_eq!(node.entry.kind, Kind::File, "{}", change.path);
                assert!(change.differs.any() && !change.differs.content, "{}", change.path);
                self.entries[number].0 = node.entry.clone();
            }
            _ => drop(self.names.remove(path)),
        }
    }
}

fn digest(file: &FileContent, size: u64) -> Digest {
    let mut content = vec![0; usize::try_from(size).unwrap()];
    assert_eq!(file.read_at(&mut content, 0).unwrap(), content.len());
    Digest::of(&content)
}
