//! What is to be set when everything else is written.

use std::collections::BTreeMap;

use super::super::{Entry, Flags, Timestamp};

/// A directory's place in [`Records`]. The root has 0.
pub(super) type Record = usize;

/// What the root has.
pub(super) const ROOT: Record = 0;

/// A tree of names with what is to be done at some of them. One allocation holds all, so that its
/// depth costs no stack, and a name is kept once however many are below it.
pub(super) struct Records(Vec<Pending>);

/// What is to be done with an entry.
#[derive(Default)]
pub(super) struct Pending {
    pub children: BTreeMap<Box<[u8]>, Record>,
    /// What a directory shall be.
    pub wanted: Option<Box<Entry>>,
    /// What a directory was before something in it changed, where nobody says what it shall be: its
    /// time of modification, which then changed too, and the flags that had to give way.
    pub found: Option<(Timestamp, Flags)>,
    /// Whether entries of the directory may be changed by now.
    pub open: bool,
    /// Flags of another entry that forbid changes of it.
    pub flags: Flags,
}

impl Records {
    pub(super) fn new() -> Self {
        Self(vec![Pending::default()])
    }

    pub(super) fn get(&mut self, record: Record) -> &mut Pending {
        &mut self.0[record]
    }

    /// The record of an entry in a directory, where there is one.
    pub(super) fn find(&self, directory: Record, name: &[u8]) -> Option<Record> {
        self.0[directory].children.get(name).copied()
    }

    /// The record of an entry in a directory.
    pub(super) fn child(&mut self, directory: Record, name: &[u8]) -> Record {
        if let Some(record) = self.find(directory, name) {
            return record;
        }
        self.0.push(Pending::default());
        let record = self.0.len() - 1;
        self.0[directory].children.insert(name.into(), record);
        record
    }

    /// Forgets an entry and all below it: it is no more.
    pub(super) fn forget(&mut self, directory: Record, name: &[u8]) {
        let mut gone: Vec<_> = self.0[directory].children.remove(name).into_iter().collect();
        while let Some(record) = gone.pop() {
            gone.extend(std::mem::take(&mut self.0[record]).children.into_values());
        }
    }

    /// What is to be done with an entry, to be done now.
    pub(super) fn take(&mut self, record: Record) -> Pending {
        std::mem::take(&mut self.0[record])
    }
}
