//! The subtree that is being built.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};

use super::base::{Base, leads_through};
use super::staged::Staged;
use crate::archive::index::Role;
use crate::archive::{self, Line, MemberName};
use crate::error::{Error, Result};
use crate::event::Warning;
use crate::locator::Part;
use crate::step::Steps;
use crate::tree::{Acl, Content, Entry, Flags, Kind, Timestamp, Tree, TreePath, TreeWriter, copy};

/// What is known after the manifest.
pub(super) struct Work<'d> {
    pub(super) part: Part,
    /// Name in the user's directory.
    pub(super) name: Vec<u8>,
    pub(super) writer: TreeWriter,
    pub(super) staged: Staged<'d>,
    pub(super) base: Option<Base>,
    /// Why there is none.
    pub(super) without_base: Option<Error>,
    pub(super) entries: u64,
    /// Directories that were made, where there is no base that has them.
    pub(super) directories: HashSet<TreePath>,
    /// Members outside of the subtree whose content came.
    pub(super) arrived: HashSet<MemberName>,
    /// Names whose content came from the base for the sake of a link, and whose attributes come with their line.
    pub(super) from_base: HashSet<TreePath>,
    /// The first path of each hard-linked socket.
    pub(super) sockets: HashMap<u64, TreePath>,
    /// Entries that are not in the result for want of the base.
    pub(super) missing: u64,
    /// Whether there is anything at the path.
    pub(super) exists: bool,
}

impl Work<'_> {
    /// A path of the dataset in the hidden directory.
    fn staged_path(&self, path: &TreePath) -> TreePath {
        let below = self.part.below(path).unwrap_or_default();
        below.components().fold(TreePath::root().join(&self.name), |path, name| path.join(name))
    }

    /// Begins with what the base has at the path.
    pub(super) fn copy_base(&mut self, steps: &Steps<'_>, interrupted: &AtomicBool) -> Result<()> {
        let Some(base) = &self.base else { return Ok(()) };
        let fail = || Error::tree(format!("copy from the base {}", base.label));
        let root = self.part.path.is_root();
        let directory = if root {
            Some(base.tree().root())
        } else {
            match base.find(&self.part.path)? {
                None => return Ok(()),
                Some(found) if found.stat.kind == Kind::Directory => {
                    found.dir.open_dir(&found.name).map_err(fail())?
                }
                Some(found) => {
                    let Some(node) = found.dir.node(&found.name, &found.stat).map_err(fail())? else {
                        return Ok(());
                    };
                    let mut file = match found.stat.kind {
                        Kind::File => found.dir.open_file(&found.name).map_err(fail())?,
                        _ => None,
                    };
                    let content = file.as_mut().map(|file| file as &mut dyn Content);
                    let place = TreePath::root().join(&self.name);
                    self.writer.put(&place, &node.entry, content).map_err(fail())?;
                    self.exists = true;
                    return Ok(());
                }
            }
        };
        let Some(directory) = directory else { return Ok(()) };
        let fd =
            directory.as_fd().try_clone_to_owned().map_err(Error::io("open", "a directory of the base"))?;
        let tree = Tree::from_fd(fd, &base.label).map_err(fail())?;
        let exclude = |below: &TreePath| {
            let path = below.components().fold(self.part.path.clone(), |path, name| path.join(name));
            interrupted.load(Ordering::Relaxed) || base.leaves_out(&path)
        };
        let losses = copy(&tree, self.staged.make(&self.name)?, &exclude, &mut |_| {}).map_err(fail())?;
        for loss in losses {
            let subject = self.part.label(&loss.path);
            let message = format!("{} could not be kept: {}", loss.what, loss.source);
            steps.warn(&Warning { subject, message });
        }
        self.exists = true;
        Ok(())
    }

    pub(super) fn put(
        &mut self,
        path: &TreePath,
        entry: &Entry,
        content: Option<&mut dyn Content>,
    ) -> Result<()> {
        let place = self.staged_path(path);
        self.parents(&place)?;
        self.writer.put(&place, entry, content).map_err(|error| self.failed(path)(error))?;
        if entry.kind == Kind::Directory {
            self.directories.insert(place);
        }
        self.entries += 1;
        self.exists = true;
        Ok(())
    }

    /// Without the base nobody has made the directories that did not change.
    fn parents(&mut self, place: &TreePath) -> Result<()> {
        if self.base.is_some() {
            return Ok(());
        }
        let mut missing = Vec::new();
        let mut path = place.clone();
        while let Some((parent, _)) = path.split().filter(|(parent, _)| !parent.is_root()) {
            if self.directories.contains(&parent) {
                break;
            }
            missing.push(parent.clone());
            path = parent;
        }
        for parent in missing.into_iter().rev() {
            let fail = Error::tree(format!("make the directory {parent}"));
            self.writer.put(&parent, &plain_directory(), None).map_err(fail)?;
            self.directories.insert(parent);
        }
        Ok(())
    }

    pub(super) fn link(&mut self, path: &TreePath, to: &TreePath, line: &Line) -> Result<()> {
        let (place, target) = (self.staged_path(path), self.staged_path(to));
        self.parents(&place)?;
        if let Err(error) = self.writer.link(&place, &target) {
            use crate::tree::Error as E;
            let absent = match &error {
                E::NoParent { .. } => true,
                E::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
                _ => false,
            };
            // A name that only the base has.
            if absent && self.base.is_none() && self.part.is_delta {
                self.missing += 1;
                return Ok(());
            }
            return Err(self.failed(line.name.path())(error));
        }
        self.entries += 1;
        self.exists = true;
        Ok(())
    }

    /// A name of something that lies outside of the subtree and did not come: the base alone has it, or a pipe has passed it.
    pub(super) fn link_outside(
        &mut self,
        path: &TreePath,
        to: &MemberName,
        surveyed: bool,
        line: &Line,
    ) -> Result<()> {
        if !surveyed {
            return Err(Error::Unsupported(format!(
                "{} is a hard link to {to}, which lies elsewhere and came before it: read the archive from a file",
                self.part.label(path)
            )));
        }
        let target = self.part.in_dataset(to).filter(|_| self.part.is_delta);
        let missing =
            || archive::Error::Damaged(format!("{} is a link to {to}, which is missing", line.name));
        let target = target.ok_or_else(missing)?;
        let Some(base) = &self.base else {
            self.missing += 1;
            return Ok(());
        };
        let fail = || Error::tree(format!("copy from the base {}", base.label));
        let found = base.find(&target)?.ok_or_else(missing)?;
        let node = found.dir.node(&found.name, &found.stat).map_err(fail())?.ok_or_else(missing)?;
        let mut file = match found.stat.kind {
            Kind::File => Some(found.dir.open_file(&found.name).map_err(fail())?.ok_or_else(missing)?),
            _ => None,
        };
        let content = file.as_mut().map(|file| file as &mut dyn Content);
        self.put(path, &node.entry, content)?;
        self.from_base.insert(path.clone());
        Ok(())
    }

    pub(super) fn apply_line(&mut self, line: &Line) -> Result<()> {
        let Some(path) = self.part.in_dataset(&line.name) else { return Ok(()) };
        if self.part.below(&path).is_none() {
            return self.above(&path, line);
        }
        let place = self.staged_path(&path);
        match (&line.role, &line.entry) {
            (Role::Metadata { .. }, Some(_)) if self.base.is_none() => {
                self.missing += 1;
                Ok(())
            }
            (Role::Metadata { .. }, Some(entry)) => {
                self.entries += 1;
                self.writer.set_metadata(&place, entry).map_err(|error| self.failed(&path)(error))
            }
            (Role::Link { .. }, Some(entry)) if self.from_base.contains(&path) => {
                self.writer.set_metadata(&place, entry).map_err(|error| self.failed(&path)(error))
            }
            (Role::Unarchived, Some(entry)) => {
                if let Some(first) = line.group.and_then(|group| self.sockets.get(&group)).cloned() {
                    return self.link(&path, &first, line);
                }
                if let Some(group) = line.group {
                    self.sockets.insert(group, path.clone());
                }
                self.put(&path, entry, None)
            }
            (Role::Deleted, _) => self.remove(&place, &path),
            _ => Ok(()),
        }
    }

    fn remove(&mut self, place: &TreePath, path: &TreePath) -> Result<()> {
        match self.writer.remove(place) {
            // What lay below something that was replaced is gone already.
            Ok(_) | Err(crate::tree::Error::NoParent { .. } | crate::tree::Error::Escapes { .. }) => {}
            Err(error) => return Err(self.failed(path)(error)),
        }
        self.exists &= *path != self.part.path;
        Ok(())
    }

    /// A line of what the subtree lies in.
    fn above(&mut self, path: &TreePath, line: &Line) -> Result<()> {
        if !path.is_above(&self.part.path) {
            return Ok(());
        }
        match &line.entry {
            Some(entry) if entry.kind == Kind::Symlink => {
                let target = entry.target.as_deref().unwrap_or_default();
                Err(leads_through(&self.part.path, path, target))
            }
            Some(entry) if entry.kind == Kind::Directory => Ok(()),
            _ => Err(self.part.not_there()),
        }
    }

    fn failed(&self, path: &TreePath) -> impl FnOnce(crate::tree::Error) -> Error + use<> {
        Error::tree(format!("extract {}", self.part.label(path)))
    }
}

/// A directory of which nothing is known.
fn plain_directory() -> Entry {
    Entry {
        kind: Kind::Directory,
        mode: 0o755,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: Timestamp { seconds: jiff::Timestamp::now().as_second(), nanoseconds: 0 },
        size: 0,
        target: None,
        device: None,
        xattrs: BTreeMap::new(),
        acl: Acl::default(),
        flags: Flags::default(),
    }
}
