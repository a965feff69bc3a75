//! From a change to a member and its index line.

use std::sync::atomic::{AtomicBool, Ordering};

use super::queue::MemberWriter;
use super::shared::SharedFiles;
use crate::archive::index::Role;
use crate::archive::{Body, Line, MemberName, Written};
use crate::change::{Change, What};
use crate::error::{Error, Result};
use crate::event::Warning;
use crate::step::{Meter, Steps};
use crate::tree::content::Interruptible;
use crate::tree::{Content, Dir, Entry, FileContent, Kind, Node, Tree, TreePath};

/// How often a file is read that changes while it is read.
const ATTEMPTS: u32 = 3;

/// How many entries were written as what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// New entries.
    pub added: u64,
    /// Entries that replace one of the base.
    pub modified: u64,
    /// Entries of which attributes alone differ.
    pub metadata: u64,
    /// Entries of the base that are gone.
    pub deleted: u64,
    /// Bytes of content.
    pub content_bytes: u64,
}

impl Counts {
    /// Adds what happened to one entry.
    pub(crate) fn count(&mut self, what: &What) {
        match what {
            What::Whole { replaced: None, .. } | What::Link { replaced: None, .. } => self.added += 1,
            What::Whole { .. } | What::Link { .. } => self.modified += 1,
            What::Metadata { .. } => self.metadata += 1,
            What::Deleted { .. } => self.deleted += 1,
        }
        if let What::Whole { node, .. } = what {
            self.content_bytes += node.entry.size;
        }
    }

    /// Sum with another count.
    pub(crate) fn add(&mut self, other: Self) {
        self.added += other.added;
        self.modified += other.modified;
        self.metadata += other.metadata;
        self.deleted += other.deleted;
        self.content_bytes += other.content_bytes;
    }
}

/// Writes the changes of one tree.
pub(crate) struct TreeMembers<'a> {
    pub(crate) writer: &'a mut dyn MemberWriter,
    pub(crate) tree: &'a Tree,
    /// Directory of the archive that the members are in.
    pub(crate) prefix: &'a TreePath,
    /// Whether the tree can change while it is read.
    pub(crate) live: bool,
    /// Which of the archive's resources it belongs to, and files that other ones have names of.
    pub(crate) resource: u32,
    pub(crate) shared: &'a SharedFiles,
    pub(crate) steps: &'a Steps<'a>,
    pub(crate) meter: &'a Meter<'a>,
    pub(crate) counts: Counts,
    pub(crate) interrupted: &'a AtomicBool,
}

impl TreeMembers<'_> {
    /// Writes one change.
    pub(crate) fn write(&mut self, change: Change) -> Result<()> {
        self.counts.count(&change.what);
        self.meter.add(0, 1);
        let Change { path, what, group, directory, .. } = change;
        let name = self.name(&path);
        let line = |role, entry, replaced| Line {
            name,
            role,
            entry,
            group,
            replaced,
            unstable: false,
            shared: Vec::new(),
        };
        match what {
            What::Deleted { replaced } => self.index(line(Role::Deleted, None, Some(replaced))),
            What::Metadata { node, replaced } => {
                let role = Role::Metadata { digest: replaced.digest };
                self.index(line(role, Some(node.entry), Some(replaced)))
            }
            What::Whole { node, replaced } | What::Link { node, replaced, .. }
                if node.entry.kind == Kind::Socket =>
            {
                self.index(line(Role::Unarchived, Some(node.entry), replaced))
            }
            What::Link { node, to, replaced } => {
                let role = Role::Link { to: self.name(&to) };
                self.member(line(role, Some(node.entry), replaced), Body::Empty)
            }
            What::Whole { node, replaced } => {
                let entry = Some(node.entry.clone());
                let identity = node.identity;
                if let Some(to) = self.shared.written_before(self.resource, &identity) {
                    return self.member(line(Role::Link { to }, entry, replaced), Body::Empty);
                }
                let mut line = line(Role::Member { digest: None }, entry, replaced);
                line.shared = self.shared.after(self.resource, &identity);
                let name = line.name.clone();
                let written = if node.entry.kind == Kind::File {
                    self.file(&path, &node, line, directory)?
                } else {
                    self.member(line, Body::Empty)?;
                    true
                };
                if written {
                    self.shared.written(self.resource, &identity, &name);
                }
                Ok(())
            }
        }
    }

    fn name(&self, path: &TreePath) -> MemberName {
        let mut whole = self.prefix.clone();
        for part in path.components() {
            whole = whole.join(part);
        }
        MemberName::new(whole)
    }

    fn index(&mut self, line: Line) -> Result<()> {
        Ok(self.writer.line(line)?)
    }

    fn member(&mut self, line: Line, body: Body<'_>) -> Result<()> {
        match self.writer.member(line, body, 1)? {
            Written::Done(_) => Ok(()),
            Written::Unstable(line) => self.index(line),
        }
    }

    /// A regular file, read again as long as it changes while it is read, and reported if it always does. False if it is gone.
    fn file(&mut self, path: &TreePath, node: &Node, mut line: Line, directory: Option<Dir>) -> Result<bool> {
        let (above, name) = path.split().unwrap_or((TreePath::root(), b""));
        let directory = match directory {
            Some(directory) => Some(directory),
            None => self.tree.open_dir(&above).map_err(failed(path))?,
        };
        for attempt in 1..=ATTEMPTS {
            let Some((entry, mut content)) = self.open(path, node, directory.as_ref(), name, attempt)? else {
                if attempt > 1 {
                    self.keep_unstable(path, line)?;
                    return Ok(true);
                }
                self.vanished(line)?;
                return Ok(false);
            };
            let size = content.size();
            line.entry = Some(entry);
            let mut content = Interruptible::new(&mut content, self.interrupted);
            let written = self.writer.member(line, Body::Content(&mut content), attempt);
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            match written? {
                Written::Done(_) => {
                    self.meter.add(size, 0);
                    return Ok(true);
                }
                Written::Unstable(kept) => line = kept,
            }
        }
        self.keep_unstable(path, line)?;
        Ok(true)
    }

    /// Keeps what the last attempt wrote of a file that changed each time, and says so.
    fn keep_unstable(&mut self, path: &TreePath, line: Line) -> Result<()> {
        self.steps.warn(&Warning {
            subject: path.to_string(),
            message: "changed each time it was read; what is archived may be a mixture".into(),
        });
        self.index(Line { unstable: true, ..line })
    }

    /// The file as it is now, and its attributes as of the same moment: those that the comparer saw, unless they are
    /// outdated.
    fn open(
        &self,
        path: &TreePath,
        seen: &Node,
        directory: Option<&Dir>,
        name: &[u8],
        attempt: u32,
    ) -> Result<Option<(Entry, FileContent)>> {
        let Some(directory) = directory else { return self.gone(path) };
        let Some(content) = directory.open_file(name).map_err(failed(path))? else { return self.gone(path) };
        let stat = content.stat();
        if attempt == 1 && stat.identity == seen.identity && stat.size == seen.entry.size {
            return Ok(Some((seen.entry.clone(), content)));
        }
        if !self.live {
            return Err(Error::Unsupported(format!(
                "{path} changed in a snapshot; the file system is not to be trusted"
            )));
        }
        let Some(node) = directory.node(name, stat).map_err(failed(path))? else { return self.gone(path) };
        let mut entry = node.entry;
        entry.size = content.size();
        Ok(Some((entry, content)))
    }

    fn gone<T>(&self, path: &TreePath) -> Result<Option<T>> {
        if self.live {
            return Ok(None);
        }
        Err(Error::Unsupported(format!(
            "{path} vanished from a snapshot; the file system is not to be trusted"
        )))
    }

    /// The file was removed from a live tree after it was seen: as if it had been removed before.
    fn vanished(&mut self, line: Line) -> Result<()> {
        if line.replaced.is_none() {
            return Ok(());
        }
        self.index(Line { role: Role::Deleted, entry: None, group: None, shared: Vec::new(), ..line })
    }
}

fn failed(path: &TreePath) -> impl FnOnce(crate::tree::Error) -> Error {
    Error::tree(format!("read {path}"))
}
