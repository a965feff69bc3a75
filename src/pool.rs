//! A storage pool: a backend and the layout of what lies in it.

#[cfg(test)]
pub(crate) mod testing;

use remand_backends::{Backend, Snapshot};

use crate::error::{Error, Result};
use crate::event::Warning;
use crate::layout::{self, Layout};
use crate::resource::{Resource, Selector, label};
use crate::step::Steps;
use crate::tree::Tree;
use crate::undo::chain;

/// An open storage pool.
#[derive(Debug)]
pub struct Pool {
    backend: Box<dyn Backend>,
    layout: Box<dyn Layout>,
}

impl Pool {
    /// Opens the pool that was named, or else the one that libioc or iocage mark as their own. With the layout that was named, or
    /// else the one that the pool's marks tell.
    pub fn find(explicit: Option<&str>, layout: Option<&str>) -> Result<Self> {
        if let Some(name) = explicit {
            return Self::open_as(name, layout);
        }
        let active =
            remand_backends::zfs::active_pool().map_err(Error::backend("look for an active pool"))?;
        match active {
            Some(name) => Self::open_as(&name, layout),
            None => Err(Error::NoPool(
                "No storage pool was named, and no ZFS pool is marked as libioc's or iocage's".into(),
            )),
        }
    }

    /// Opens the pool at `name`: a ZFS dataset or a directory. Its marks tell its layout.
    pub fn open(name: &str) -> Result<Self> {
        Self::open_as(name, None)
    }

    /// Opens it with this layout, one of [`layout::NAMES`], if one is named.
    pub fn open_as(name: &str, layout: Option<&str>) -> Result<Self> {
        let backend = remand_backends::open(name).map_err(Error::backend(format!("open the pool {name}")))?;
        let layout = layout::choose(backend.as_ref(), layout)?;
        Ok(Self { backend, layout })
    }

    /// Its name for people.
    pub fn label(&self) -> String {
        self.backend.label()
    }

    /// Tells what the user should know of how the pool was opened, if anything.
    pub(crate) fn remark(&self, steps: &Steps<'_>) {
        if let Some(remark) = self.backend.remark() {
            steps.notice(&self.label(), remark);
        }
    }

    /// What keeps its datasets.
    pub fn backend(&self) -> &dyn Backend {
        self.backend.as_ref()
    }

    /// How it is arranged.
    pub fn layout(&self) -> &dyn Layout {
        self.layout.as_ref()
    }

    /// All resources, jails first, by name.
    pub fn resources(&self) -> Result<Vec<Resource>> {
        self.layout.resources(self.backend())
    }

    /// One resource, which must exist.
    pub fn resource(&self, selector: &Selector) -> Result<Resource> {
        self.layout.resource(self.backend(), selector.kind, &selector.name)?.ok_or_else(|| {
            Error::NoResource { what: label(selector.kind, &selector.name), pool: self.label() }
        })
    }
}

/// A snapshot's files, open for reading as a tree.
#[derive(Debug)]
pub struct View {
    open: Box<dyn remand_backends::OpenTree>,
    /// The tree.
    pub tree: Tree,
}

impl View {
    /// Opens `snapshot`. `view` names what must be made to read it.
    pub fn open(backend: &dyn Backend, snapshot: &Snapshot, view: &str) -> Result<Self> {
        let what = format!("open {}", snapshot.dataset.as_str());
        let open = backend.open_tree(snapshot, view).map_err(Error::backend(what.clone()))?;
        let tree = Tree::open(open.path()).map_err(Error::tree(what))?;
        Ok(Self { open, tree })
    }

    /// Removes what was made for reading.
    pub fn close(self) -> Result<()> {
        drop(self.tree);
        self.open.close().map_err(Error::backend("close a snapshot"))
    }
}

/// Opens a view for `work`, and closes it whatever happens. A view that cannot be closed is a warning: `work`'s result stands.
pub(crate) fn with_view<T>(
    backend: &dyn Backend,
    snapshot: &Snapshot,
    name: &str,
    steps: &Steps<'_>,
    work: impl FnOnce(&View) -> Result<T>,
) -> Result<T> {
    let view = View::open(backend, snapshot, name)?;
    let outcome = work(&view);
    close(view, name, steps);
    outcome
}

/// Closes a view. One that cannot be closed is a warning.
pub(crate) fn close(view: View, name: &str, steps: &Steps<'_>) {
    if let Err(error) = view.close() {
        let message = format!("{}; `remand cleanup` removes it", chain(&error));
        steps.warn(&Warning { subject: name.to_owned(), message });
    }
}
