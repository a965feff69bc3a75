//! Writing in one directory of a tree beside others.

use super::super::{Flags, Result, TreePath};
use super::descent::Descent;
use super::records::{ROOT, Records};
use super::{Loss, Losses, TreeWriter};
use std::collections::HashSet;

impl TreeWriter {
    /// A writer for entries of the directory at `path` that are no directories, for another thread. It takes paths of the whole tree. As
    /// long as it is there nobody else writes what it writes, and afterwards [`TreeWriter::join_part`] takes what it leaves for the end.
    pub(in crate::tree) fn part(&mut self, path: &TreePath) -> Result<Self> {
        let directory = self.enter(path, &path.join(b"."))?;
        self.open(directory, path)?;
        let mut records = Records::new();
        records.get(ROOT).open = true;
        Ok(Self {
            at: Descent::at(self.at.top(), self.at.device(), path, ROOT),
            records,
            losses: Losses { list: Vec::new(), without_flags: self.losses.without_flags },
            shortcuts: self.shortcuts,
            missing: HashSet::new(),
        })
    }

    /// Takes over what a part has left for the end, and returns what it could not keep.
    pub(in crate::tree) fn join_part(&mut self, path: &TreePath, mut part: Self) -> Vec<Loss> {
        for (name, record) in std::mem::take(&mut part.records.get(ROOT).children) {
            let flags = part.records.take(record).flags;
            if flags != Flags::empty() {
                let directory = path.components().fold(ROOT, |at, name| self.records.child(at, name));
                let record = self.records.child(directory, &name);
                self.records.get(record).flags = flags;
            }
        }
        self.missing.extend(part.missing);
        self.shortcuts.learn(part.shortcuts);
        part.losses.list
    }
}
