//! Setting what had to wait, from the deepest directories up.

use std::collections::btree_map;
use std::os::fd::{AsFd, OwnedFd};

use super::super::platform::{self, Place};
use super::super::read::open_entry;
use super::super::{Flags, Result, TreePath};
use super::attributes::Setter;
use super::records::{Pending, ROOT, Record};
use super::{Loss, TreeWriter, failed};

/// A directory, and what is to be done below it and then with it.
struct Step {
    children: btree_map::IntoIter<Box<[u8]>, Record>,
    pending: Pending,
}

impl Step {
    fn new(mut pending: Pending) -> Self {
        Self { children: std::mem::take(&mut pending.children).into_iter(), pending }
    }
}

impl TreeWriter {
    /// Sets what had to wait, and returns all that could not be kept.
    pub fn finish(mut self) -> Result<Vec<Loss>> {
        self.settle()?;
        Ok(self.losses.list)
    }

    /// As [`TreeWriter::finish`], and returns only when all is on stable storage.
    pub fn finish_durably(mut self) -> Result<Vec<Loss>> {
        self.settle()?;
        platform::sync(self.at.top().as_fd())
            .map_err(failed("write to stable storage", &TreePath::root()))?;
        Ok(self.losses.list)
    }

    fn settle(&mut self) -> Result<()> {
        let root = TreePath::root();
        self.enter(&root, &root)?;
        let mut steps = vec![Step::new(self.records.take(ROOT))];
        while let Some(step) = steps.last_mut() {
            let Some((name, record)) = step.children.next() else {
                let dir = self.at.top();
                let pending = steps.pop().map(|step| step.pending).unwrap_or_default();
                self.settle_directory(&dir, pending)?;
                self.at.pop().map_err(|refused| self.at.error(refused, b"..", &root))?;
                continue;
            };
            let pending = self.records.take(record);
            if !pending.flags.is_empty() {
                self.settle_flags(&name, pending.flags)?;
            } else if !pending.is_empty() {
                let entered = self.at.push(&name, record);
                entered.map_err(|refused| self.at.error(refused, &name, &self.at.path().join(&name)))?;
                steps.push(Step::new(pending));
            }
        }
        Ok(())
    }

    /// Makes the deepest directory what it shall be, or was.
    fn settle_directory(&mut self, dir: &OwnedFd, pending: Pending) -> Result<()> {
        let place = Place { dir: dir.as_fd(), name: b".", own: Some(dir.as_fd()) };
        let at = &self.at;
        let path = || at.path();
        let mut setter = Setter { losses: &mut self.losses, place, path: &path };
        if let Some(entry) = pending.wanted {
            platform::loosen(&place).map_err(|error| failed("clear the flags of", &path())(error))?;
            return setter.set(&entry, Flags::empty());
        }
        let Some((mtime, flags)) = pending.found else { return Ok(()) };
        if let Err(error) = setter.set_mtime(mtime) {
            setter.lose("mtime".to_owned(), error)?;
        }
        if !flags.is_empty() {
            let now = platform::flags(&place).map_err(|error| failed("read the flags of", &path())(error))?;
            setter.set_flags(now.union(flags))?;
        }
        Ok(())
    }

    /// Sets the flags that kept an entry of the deepest directory from being linked so far.
    fn settle_flags(&mut self, name: &[u8], flags: Flags) -> Result<()> {
        let dir = self.at.top();
        let path = || self.at.path().join(name);
        let fail = |error| failed("set the flags of", &path())(error);
        let kind = platform::stat(dir.as_fd(), name, None).map_err(fail)?.stat.kind;
        let own =
            if platform::opens(kind) { open_entry(dir.as_fd(), name, kind).map_err(fail)? } else { None };
        let place = Place { dir: dir.as_fd(), name, own: own.as_ref().map(AsFd::as_fd) };
        let now = platform::flags(&place).map_err(fail)?;
        Setter { losses: &mut self.losses, place, path: &path }.set_flags(now.union(flags))
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.wanted.is_none() && self.found.is_none()
    }
}
