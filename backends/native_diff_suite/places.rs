//! Where cases happen.

use super::Place;
use remand_backends::btrfs::diff;
use remand_backends::{
    Backend, Created, CreatedSnapshot, DatasetName, Hint, OpenTree, Result, Snapshot, SnapshotName,
};
use std::path::{Path, PathBuf};
use std::process::Command;

/// In a directory of a btrfs file system.
pub(crate) struct BtrfsPlace {
    directory: PathBuf,
    /// Whether a stream is asked, and not the stamps of inodes.
    sent: bool,
}

impl BtrfsPlace {
    pub(crate) fn new(above: &str, seed: u64) -> Self {
        let directory = PathBuf::from(above).join(format!("diff-{}-{seed}", std::process::id()));
        std::fs::create_dir(&directory).expect("an empty directory");
        Self { directory, sent: false }
    }

    pub(crate) fn sent(above: &str, seed: u64) -> Self {
        Self { sent: true, ..Self::new(above, seed) }
    }

    fn btrfs(&self, arguments: &[&str], names: &[&str]) {
        let paths = names.iter().map(|name| self.directory.join(name));
        let status = Command::new("btrfs").arg("-q").args(arguments).args(paths).status();
        assert!(status.expect("btrfs runs").success(), "btrfs {arguments:?} {names:?}");
    }
}

impl Place for BtrfsPlace {
    fn base(&mut self) -> PathBuf {
        self.btrfs(&["subvolume", "create"], &["base"]);
        self.directory.join("base")
    }

    fn now(&mut self) -> PathBuf {
        self.btrfs(&["subvolume", "snapshot", "-r"], &["base", "frozen"]);
        self.btrfs(&["subvolume", "snapshot"], &["frozen", "copy"]);
        self.directory.join("copy")
    }

    fn freeze(&mut self) -> (PathBuf, PathBuf) {
        self.btrfs(&["subvolume", "snapshot", "-r"], &["copy", "now"]);
        (self.directory.join("frozen"), self.directory.join("now"))
    }

    fn changes(&self, hint: &mut dyn FnMut(Hint) -> bool) -> Result<()> {
        let (base, now) = (self.directory.join("frozen"), self.directory.join("now"));
        if self.sent { diff::sent_changes(&base, &now, hint) } else { diff::changes(&base, &now, hint) }
    }

    fn names_of(&self, tree: &Path, inode: u64) -> Result<Option<Vec<Vec<u8>>>> {
        diff::names_of(tree, inode)
    }

    fn remove(self: Box<Self>) {
        self.btrfs(&["subvolume", "delete"], &["base", "frozen", "copy", "now"]);
        std::fs::remove_dir(self.directory).expect("nothing is left");
    }
}

/// In a pool: a base, its snapshot and a clone.
pub(crate) struct PoolPlace {
    pool: Box<dyn Backend>,
    names: [DatasetName; 2],
    snapshot: SnapshotName,
    seed: u64,
    created: Vec<Created>,
    snapshots: Vec<CreatedSnapshot>,
    trees: Vec<Box<dyn OpenTree>>,
}

impl PoolPlace {
    pub(crate) fn new(pool: &str, seed: u64) -> Self {
        let name = |what| DatasetName::new(&format!("{what}-{seed}")).expect("a name");
        Self {
            pool: remand_backends::open(pool).expect("a pool"),
            names: [name("base"), name("now")],
            snapshot: SnapshotName::new(&format!("remand-20260102T030405Z-{seed:08x}")).expect("a name"),
            seed,
            created: Vec::new(),
            snapshots: Vec::new(),
            trees: Vec::new(),
        }
    }

    fn last(&self) -> PathBuf {
        let name = &self.names[self.created.len() - 1];
        let dataset = self.pool.dataset(name).expect("an answer").expect("a dataset");
        dataset.directory.expect("a mounted dataset")
    }

    fn of(&self, which: usize) -> Snapshot {
        Snapshot { dataset: self.names[which].clone(), name: Some(self.snapshot.clone()) }
    }

    fn snapshot(&mut self, which: usize) {
        let made = self.pool.snapshot(&self.names[which], &self.snapshot, false);
        self.snapshots.push(made.expect("a snapshot"));
    }
}

impl Place for PoolPlace {
    fn base(&mut self) -> PathBuf {
        self.created.push(self.pool.create(&self.names[0]).expect("a dataset"));
        self.last()
    }

    fn now(&mut self) -> PathBuf {
        self.snapshot(0);
        self.created.push(self.pool.clone_snapshot(&self.of(0), &self.names[1]).expect("a clone"));
        self.last()
    }

    fn freeze(&mut self) -> (PathBuf, PathBuf) {
        self.snapshot(1);
        for which in 0..2 {
            let view = format!("view-{}-{which}", self.seed);
            self.trees.push(self.pool.open_tree(&self.of(which), &view).expect("an open tree"));
        }
        (self.trees[0].path().to_owned(), self.trees[1].path().to_owned())
    }

    fn changes(&self, hint: &mut dyn FnMut(Hint) -> bool) -> Result<()> {
        let diff = self.pool.native_diff().expect("a native diff");
        diff.changes(&self.of(0), &self.of(1), hint)
    }

    fn names_of(&self, tree: &Path, inode: u64) -> Result<Option<Vec<Vec<u8>>>> {
        self.pool.native_diff().expect("a native diff").names_of(tree, inode)
    }

    fn remove(mut self: Box<Self>) {
        for tree in self.trees.drain(..) {
            tree.close().expect("a tree is closed");
        }
        while let (Some(created), Some(snapshot)) = (self.created.pop(), self.snapshots.pop()) {
            let destroyed = self.pool.destroy_snapshot(snapshot);
            destroyed.map_err(|kept| kept.error).expect("a snapshot goes");
            self.pool.destroy(created).map_err(|kept| kept.error).expect("a dataset goes");
        }
    }
}
