//! Where the members of a foreign archive lie, and how they are read: as often as needed, each time in the same order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::archive::index::Role;
use crate::archive::reader::members::{Take, members};
use crate::archive::{Error, Line, MemberName, ReadAt, Result};
use crate::tree::content::Interruptible;
use crate::tree::{Content, Dir, Kind, Name, Stat, Tree, TreePath};

mod zip;

/// What holds the members.
pub(super) enum Place {
    /// A tar file, compressed or not.
    Tar(Arc<dyn ReadAt>),
    /// A zip file.
    Zip(Arc<dyn ReadAt>),
    /// A directory.
    Directory(Tree),
}

/// What messages call an archive, and whether to go on.
#[derive(Clone)]
pub(super) struct About {
    pub(super) name: String,
    pub(super) interrupted: Arc<AtomicBool>,
    /// Whether what is left unread of a member that was handed over is read and proven.
    pub(super) proves: bool,
}

impl About {
    /// Fails when the user wants no more.
    pub(super) fn go_on(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(crate::error::Error::Interrupted.into());
        }
        Ok(())
    }
}

impl Place {
    /// Hands over those members that are wanted; the others are passed by, in the cheapest way that there is. The role of each is
    /// `Member` without a digest, `Link`, or in a directory `Unarchived`.
    pub(super) fn each(
        &self,
        about: &About,
        wants: &mut dyn FnMut(&Line) -> bool,
        take: &mut Take<'_>,
    ) -> Result<()> {
        match self {
            Self::Tar(file) => members(file, (&about.name, &about.interrupted), wants, take),
            Self::Zip(file) => zip::each(file, about, wants, take),
            Self::Directory(tree) => Walk { about, wants, take, names: HashMap::new() }.run(tree),
        }
    }
}

/// A walk through a directory: each entry after the directory that it is in, in the order of their names.
struct Walk<'a, 'b> {
    about: &'a About,
    wants: &'a mut dyn FnMut(&Line) -> bool,
    take: &'a mut Take<'b>,
    /// The first names of files that have several, by device and number.
    names: HashMap<(u64, u64), MemberName>,
}

/// A directory of a walk, and what of it is to come, the next last.
struct Level {
    dir: Dir,
    names: Vec<Name>,
}

impl Walk<'_, '_> {
    fn run(mut self, tree: &Tree) -> Result<()> {
        let mut levels = vec![level(tree.root())?];
        while let Some(above) = levels.last_mut() {
            self.about.go_on()?;
            let Some(name) = above.names.pop() else {
                levels.pop();
                continue;
            };
            let dir = above.dir.clone();
            let Some(stat) = dir.stat(&name.name).map_err(Error::Tree)? else { continue };
            if stat.mount_point {
                let path = dir.path().join(&name.name);
                return Err(Error::Refused(format!(
                    "{}: another file system is mounted at ./{path}",
                    self.about.name
                )));
            }
            self.entry(&dir, &name.name, &stat)?;
            if stat.kind == Kind::Directory
                && let Some(below) = dir.open_dir(&name.name).map_err(Error::Tree)?
            {
                levels.push(level(below)?);
                if levels.len() > MAX_DEPTH {
                    return Err(Error::Refused(format!(
                        "{}: its directories lie more than {MAX_DEPTH} deep",
                        self.about.name
                    )));
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, dir: &Dir, name: &[u8], stat: &Stat) -> Result<()> {
        let Some(node) = dir.node(name, stat).map_err(Error::Tree)? else { return Ok(()) };
        let mut line = Line::member(MemberName::new(dir.path().join(name)), node.entry);
        let identity = &node.identity;
        if stat.kind != Kind::Directory && identity.links > 1 {
            match self.names.get(&(identity.device, identity.inode)) {
                Some(first) => line.role = Role::Link { to: first.clone() },
                None => {
                    self.names.insert((identity.device, identity.inode), line.name.clone());
                }
            }
        }
        if stat.kind == Kind::Socket {
            line.role = Role::Unarchived;
        }
        if !(self.wants)(&line) {
            return Ok(());
        }
        if stat.kind != Kind::File || matches!(line.role, Role::Link { .. }) {
            return (self.take)(&line, None);
        }
        let Some(mut file) = dir.open_file(name).map_err(Error::Tree)? else { return Ok(()) };
        if let Some(entry) = &mut line.entry {
            entry.size = file.size();
        }
        let mut content = Interruptible::new(&mut file, &self.about.interrupted);
        (self.take)(&line, Some(&mut content))
    }
}

/// Each level holds a descriptor.
const MAX_DEPTH: usize = 512;

fn level(dir: Dir) -> Result<Level> {
    let mut names = dir.names().map_err(Error::Tree)?;
    names.reverse();
    Ok(Level { dir, names })
}

/// Below `above`, or that itself.
pub(super) fn is_in(path: &TreePath, above: &str) -> bool {
    let rest = path.as_bytes().strip_prefix(above.as_bytes());
    rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}
