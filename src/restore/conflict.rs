//! Restoring onto a base that is not the one that the archive was made against.
//!
//! For an entry that the archive replaced or deleted, the index says what it was. Where the base at hand has something else there, both
//! sides have changed it: a conflict.

use crate::archive::index::{Replaced, Role};
use crate::archive::{Digest, Line};
use crate::error::{Error, Result};
use crate::pool::View;
use crate::tree::{Content, Kind, Node, TreePath};

/// Conflicts that are named one by one; the rest is counted.
const EXAMPLES: usize = 10;

/// The base at hand, as it was before anything was applied, and the conflicts found so far.
pub(super) struct Conflicts {
    view: View,
    count: u64,
    examples: Vec<String>,
}

/// An entry of the base at hand.
pub(super) struct Found {
    pub(super) node: Node,
    pub(super) digest: Option<Digest>,
}

impl Conflicts {
    pub(super) fn new(view: View) -> Self {
        Self { view, count: 0, examples: Vec::new() }
    }

    /// What the base at hand has at `path`.
    pub(super) fn look_up(&self, path: &TreePath) -> Result<Option<Found>> {
        let failed = || Error::tree(format!("read {path} in the base"));
        let Some((above, name)) = path.split() else {
            let node = self.view.tree.root_node().map_err(failed())?;
            return Ok(Some(Found { node, digest: None }));
        };
        let Some(directory) = self.view.tree.open_dir(&above).map_err(failed())? else { return Ok(None) };
        let Some(stat) = directory.stat(name).map_err(failed())? else { return Ok(None) };
        let Some(node) = directory.node(name, &stat).map_err(failed())? else { return Ok(None) };
        let digest = match directory.open_file(name).map_err(failed())? {
            Some(mut content) if node.entry.kind == Kind::File => Some(digest(&mut content, path)?),
            _ => None,
        };
        Ok(Some(Found { node, digest }))
    }

    /// Whether `line` conflicts with `found`.
    pub(super) fn is_conflict(line: &Line, found: Option<&Found>) -> bool {
        let same = |replaced: &Replaced, found: &Found| {
            replaced.kind == found.node.entry.kind && replaced.digest == found.digest
        };
        let brings = |found: &Found| match (&line.entry, &line.role) {
            (Some(entry), Role::Member { digest }) => {
                entry.kind == found.node.entry.kind
                    && *digest == found.digest
                    && entry.target == found.node.entry.target
            }
            _ => false,
        };
        match (&line.replaced, found) {
            (None, None) => false,
            (None, Some(found)) => !brings(found),
            (Some(_), None) => line.role != Role::Deleted,
            (Some(replaced), Some(found)) => !same(replaced, found) && !brings(found),
        }
    }

    /// Counts a conflict.
    pub(super) fn add(&mut self, what: String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES {
            self.examples.push(what);
        }
    }

    /// How many there are, and the first of them.
    pub(super) fn summary(&self) -> (u64, String) {
        let rest = self.count - self.examples.len() as u64;
        let mut text = self.examples.join(", ");
        if rest > 0 {
            text = format!("{text} and {rest} more");
        }
        (self.count, text)
    }

    /// Opens the base's content at `path`.
    pub(super) fn content(&self, path: &TreePath) -> Result<Option<crate::tree::FileContent>> {
        let failed = || Error::tree(format!("read {path} in the base"));
        let Some((above, name)) = path.split() else { return Ok(None) };
        match self.view.tree.open_dir(&above).map_err(failed())? {
            Some(directory) => directory.open_file(name).map_err(failed()),
            None => Ok(None),
        }
    }

    /// Closes the base.
    pub(super) fn close(self) -> Result<()> {
        self.view.close()
    }
}

fn digest(content: &mut dyn Content, path: &TreePath) -> Result<Digest> {
    crate::archive::digest::of_content(content).map_err(Error::io("read", path))
}
