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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::MemberName;
    use crate::tree::{Acl, Entry, Flags, Identity, Timestamp};

    fn entry(kind: Kind, target: Option<&[u8]>) -> Entry {
        Entry {
            kind,
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: Timestamp { seconds: 0, nanoseconds: 0 },
            size: 0,
            target: target.map(<[u8]>::to_vec),
            device: None,
            xattrs: std::collections::BTreeMap::new(),
            acl: Acl::default(),
            flags: Flags::default(),
        }
    }

    fn found(kind: Kind, content: Option<&str>, target: Option<&[u8]>) -> Found {
        let ctime = Timestamp { seconds: 0, nanoseconds: 0 };
        let identity = Identity { device: 0, inode: 0, links: 1, ctime };
        let digest = content.map(|content| Digest::of(content.as_bytes()));
        Found { node: Node { entry: entry(kind, target), identity }, digest }
    }

    /// What the archive has now, and what it replaced; none where it deleted, and where there was nothing.
    fn line(now: Option<&Found>, replaced: Option<&Found>) -> Line {
        let name = MemberName::new(TreePath::new(b"root/x").unwrap());
        let mut line = Line::member(name, entry(Kind::File, None));
        line.role = match now {
            Some(now) => Role::Member { digest: now.digest },
            None => Role::Deleted,
        };
        line.entry = now.map(|now| now.node.entry.clone());
        line.replaced = replaced.map(|was| Replaced { kind: was.node.entry.kind, digest: was.digest });
        line
    }

    #[test]
    fn what_both_sides_changed_otherwise_is_a_conflict_and_nothing_else() {
        let file = |content| found(Kind::File, Some(content), None);
        let link = |target| found(Kind::Symlink, None, Some(target));
        let directory = || found(Kind::Directory, None, None);
        let (old, new, other) = (file("old"), file("new"), file("other"));
        let is = |now: Option<&Found>, was: Option<&Found>, here: Option<&Found>| {
            Conflicts::is_conflict(&line(now, was), here)
        };
        // As it was, or as the archive has it: the archive's version stands.
        assert!(!is(Some(&new), Some(&old), Some(&old)));
        assert!(!is(Some(&new), Some(&old), Some(&new)));
        assert!(is(Some(&new), Some(&old), Some(&other)));
        // New in the archive.
        assert!(!is(Some(&new), None, None));
        assert!(!is(Some(&new), None, Some(&new)));
        assert!(is(Some(&new), None, Some(&other)));
        // Gone from this base: deleted on both sides, or changed in the archive alone.
        assert!(!is(None, Some(&old), None));
        assert!(is(Some(&new), Some(&old), None));
        // Deleted in the archive.
        assert!(!is(None, Some(&old), Some(&old)));
        assert!(is(None, Some(&old), Some(&other)));
        // Another kind, and another target of a link, are other content.
        assert!(is(Some(&new), Some(&directory()), Some(&link(b"a"))));
        assert!(!is(Some(&link(b"a")), None, Some(&link(b"a"))));
        assert!(is(Some(&link(b"a")), None, Some(&link(b"b"))));
        assert!(is(Some(&link(b"a")), None, Some(&directory())));
    }

    #[test]
    fn conflicts_beyond_the_examples_are_counted() {
        let directory = tempfile::tempdir().unwrap();
        let backend = remand_backends::open(directory.path().to_str().unwrap()).unwrap();
        let dataset = remand_backends::DatasetName::new("base").unwrap();
        let _created = backend.create(&dataset).unwrap();
        let base = directory.path().join("base");
        std::fs::create_dir_all(base.join("sub")).unwrap();
        std::fs::write(base.join("sub/file"), "content").unwrap();
        std::fs::write(base.join("file"), "content").unwrap();
        let snapshot = remand_backends::Snapshot { dataset, name: None };
        let mut conflicts = Conflicts::new(View::open(&*backend, &snapshot, "view").unwrap());
        let look = |conflicts: &Conflicts, path: &[u8]| {
            let found = conflicts.look_up(&TreePath::new(path).unwrap()).unwrap();
            found.map(|found| (found.node.entry.kind, found.digest))
        };
        let file = Some((Kind::File, Some(Digest::of(b"content"))));
        assert_eq!(look(&conflicts, b"file"), file);
        assert_eq!(look(&conflicts, b"sub/file"), file);
        assert_eq!(look(&conflicts, b"sub"), Some((Kind::Directory, None)));
        assert_eq!(look(&conflicts, b"sub/none"), None);
        assert_eq!(look(&conflicts, b"none/file"), None);
        let root = conflicts.look_up(&TreePath::root()).unwrap().unwrap();
        assert_eq!(root.node.entry.kind, Kind::Directory);
        assert_eq!(conflicts.summary(), (0, String::new()));
        for number in 0..EXAMPLES {
            conflicts.add(number.to_string());
        }
        assert_eq!(conflicts.summary(), (10, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9".into()));
        conflicts.add("another".into());
        conflicts.add("one more".into());
        assert_eq!(conflicts.summary(), (12, "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more".into()));
        conflicts.close().unwrap();
    }
}
