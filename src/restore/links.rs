//! Hard links between the trees of an archive, of one resource or of several.
//!
//! The first name of a file carries its content. Where that is a name of a resource that is not restored, the content waits on a
//! *shelf*, a hidden dataset of the staging area that is gone before anything becomes visible. Where two trees come to lie on different file
//! systems there is no link: the first name in each tree gets a copy, and further ones are links to that.

use std::collections::HashMap;

use remand_backends::Created;

use super::resume::staging;
use super::route::{Place, Section};
use super::stage::{directory_of, writer};
use super::work::{Work, misplaced};
use crate::archive::{self, Line, MemberName};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::tree::{Content, Dir, Entry, Flags, Identity, Kind, Tree, TreePath, TreeWriter};

/// Copies in place of links, of one resource.
#[derive(Default)]
pub(super) struct Copies {
    /// Where the content of an inode of another tree is, in each section.
    first: HashMap<(Section, u64, u64), TreePath>,
    /// Names that have a copy.
    pub(super) count: u64,
}

/// Contents of files whose first names are not restored.
pub(super) struct Shelf {
    pub(super) created: Created,
    tree: Tree,
    writer: TreeWriter,
    kept: HashMap<MemberName, (TreePath, Flags)>,
}

impl Shelf {
    /// Makes one in the staging of `run`.
    pub(super) fn create(pool: &Pool, run: &str) -> Result<Self> {
        let dataset = staging(&format!("{run}-shelf"), None)?;
        let backend = pool.backend();
        let created = backend.create(&dataset).map_err(Error::backend("make a staging dataset"))?;
        let open = || {
            let directory = directory_of(pool, &dataset)?;
            let tree = Tree::open(&directory).map_err(Error::tree("read the staging dataset"))?;
            Ok((tree, writer(&directory)?))
        };
        match open() {
            Ok((tree, writer)) => Ok(Self { created, tree, writer, kept: HashMap::new() }),
            Err(cause) => match backend.destroy(created) {
                Ok(()) => Err(cause),
                Err(kept) => {
                    let remains = vec![crate::undo::chain(&kept.error)];
                    Err(Error::Rollback { cause: Box::new(cause), remains })
                }
            },
        }
    }

    /// Puts a member there.
    pub(super) fn put(
        &mut self,
        line: &Line,
        entry: &Entry,
        content: Option<&mut dyn Content>,
    ) -> Result<()> {
        let next = self.kept.len().to_string(); // only grows
        let known = self.kept.get(&line.name).map(|(path, _)| path.clone());
        let path = known.unwrap_or_else(|| TreePath::root().join(next.as_bytes()));
        self.writer.put(&path, entry, content).map_err(misplaced(line))?;
        self.kept.insert(line.name.clone(), (path, entry.flags));
        Ok(())
    }

    /// Notes another name of what is there, if it is.
    pub(super) fn name(&mut self, line: &Line, to: &MemberName) {
        if let Some(known) = self.kept.get(to).cloned() {
            self.kept.insert(line.name.clone(), known);
        }
    }

    fn find(&self, name: &MemberName) -> Option<(Dir, Vec<u8>, Flags)> {
        let (path, flags) = self.kept.get(name)?;
        Some((self.tree.root(), path.as_bytes().to_vec(), *flags))
    }
}

/// Finds what links lead to. The tree that was looked into last stays open.
#[derive(Default)]
pub(super) struct Sources {
    last: Option<(usize, Section, Tree)>,
}

/// What a link leads to, in another tree.
pub(super) struct Source {
    dir: Dir,
    name: Vec<u8>,
    /// Flags that it has not got yet.
    flags: Flags,
}

impl Sources {
    /// The entry at `place`, or on the shelf; `None` where it is in neither.
    pub(super) fn find(
        &mut self,
        works: &mut [Work<'_>],
        place: Option<&Place>,
        (hidden, to): (Option<&Shelf>, &MemberName),
        steps: &crate::step::Steps<'_>,
    ) -> Result<Option<Source>> {
        let staged = match place {
            Some(place) => self.staged(works, place, steps)?,
            None => None,
        };
        let kept = || {
            let (dir, name, flags) = hidden?.find(to)?;
            Some(Source { dir, name, flags })
        };
        Ok(staged.or_else(kept))
    }

    fn staged(
        &mut self,
        works: &mut [Work<'_>],
        place: &Place,
        steps: &crate::step::Steps<'_>,
    ) -> Result<Option<Source>> {
        let work = &mut works[place.work];
        let dataset = work.dataset(place.section).to_owned();
        if !dataset.is_empty() && !work.stage.has(&dataset) {
            return Ok(None);
        }
        let open = self.last.take().filter(|(of, section, _)| (*of, *section) == (place.work, place.section));
        let tree = if let Some((.., tree)) = open {
            tree
        } else {
            // So that everything has the flags that it shall have.
            work.stage.rest(steps)?;
            work.stage.built(&dataset)?
        };
        let Some((above, name)) = place.path.split() else { return Ok(None) };
        let failed = || Error::tree(format!("read {dataset}/{}", place.path));
        let found = match tree.open_dir(&above).map_err(failed())? {
            Some(dir) if dir.stat(name).map_err(failed())?.is_some() => {
                Some(Source { dir, name: name.to_vec(), flags: Flags::empty() })
            }
            _ => None,
        };
        self.last = Some((place.work, place.section, tree));
        Ok(found)
    }

    /// Closes what is open: nothing may be in the way of a rename.
    pub(super) fn close(&mut self) {
        self.last = None;
    }
}

impl Source {
    /// Makes the entry at `place` of `work` another name of this one, or else a copy.
    pub(super) fn link(&self, work: &mut Work<'_>, place: &Place, line: &Line) -> Result<()> {
        let failed = || misplaced(line);
        let writer = work.writer(place.section)?;
        if writer.link_from(&place.path, &self.dir, &self.name, self.flags).map_err(failed())? {
            return Ok(());
        }
        let Some(stat) = self.dir.stat(&self.name).map_err(failed())? else { return Err(missing(line)) };
        let Identity { device, inode, .. } = stat.identity;
        let key = (place.section, device, inode);
        work.copies.count += 1;
        if let Some(first) = work.copies.first.get(&key).cloned() {
            return work.writer(place.section)?.link(&place.path, &first).map_err(failed());
        }
        let Some(node) = self.dir.node(&self.name, &stat).map_err(failed())? else {
            return Err(missing(line));
        };
        let mut entry = node.entry;
        entry.flags = entry.flags.union(self.flags);
        let mut content = match entry.kind {
            Kind::File => self.dir.open_file(&self.name).map_err(failed())?,
            _ => None,
        };
        let content = content.as_mut().map(|content| content as &mut dyn Content);
        let writer = work.writer(place.section)?;
        writer.put(&place.path, &entry, content).map_err(failed())?;
        work.copies.first.insert(key, place.path.clone());
        Ok(())
    }
}

/// What a link leads to is nowhere.
pub(super) fn missing(line: &Line) -> Error {
    let to = match &line.role {
        archive::index::Role::Link { to } => to.to_string(),
        _ => String::new(),
    };
    Error::Archive(archive::Error::Damaged(format!("{} is a link to {to}, which is missing", line.name)))
}
