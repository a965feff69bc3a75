//! Reading a snapshot's files: by `.zfs/snapshot` where that can be entered, by a read-only temporary clone elsewhere.

use super::{Zfs, mounted_directory, state, tool};
use crate::{Backend, Created, DatasetName, Error, OpenTree, Result, Snapshot};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub(super) fn open(pool: &Zfs, snapshot: &Snapshot, view: &str) -> Result<Box<dyn OpenTree>> {
    let full = pool.full_snapshot(snapshot)?;
    if tool::ask(&full, ["list", "-H", "-o", "name", &full])?.is_none() {
        return Err(Error::NotFound(format!("snapshot {full}")));
    }
    let dataset = pool.full(&snapshot.dataset)?;
    let listed = pool.find(&snapshot.dataset)?.ok_or_else(|| Zfs::missing(&dataset))?;
    if listed.volume {
        return Err(Error::Unsupported { subject: full, what: "reading the files of a volume" });
    }
    if let Some(directory) = mounted_directory(&listed)?
        && let Some(name) = &snapshot.name
        && let Some(tree) = SnapshotDirectory::enter(&directory, name.as_str())
    {
        return Ok(Box::new(tree));
    }
    View::make(pool, &full, view).map(|view| Box::new(view) as Box<dyn OpenTree>)
}

/// A snapshot below `.zfs/snapshot`. The open directory keeps the kernel from unmounting it.
#[derive(Debug)]
struct SnapshotDirectory {
    path: PathBuf,
    _held: File,
}

impl SnapshotDirectory {
    /// `None` where there is no such directory, or it is not the snapshot's: a mount that failed leaves an empty one, of the same
    /// device as `.zfs`.
    fn enter(directory: &Path, name: &str) -> Option<Self> {
        if !remand_sys::mounts::automounts_are_seen() {
            // Each look would mount it where it is not seen, and there it keeps the snapshot from being destroyed.
            return None;
        }
        let outer = std::fs::metadata(directory.join(".zfs/snapshot")).ok()?;
        let path = directory.join(".zfs/snapshot").join(name);
        let held = File::open(&path).ok()?;
        // Enter it: an automount is done by a look at what is inside, not by opening.
        std::fs::read_dir(&path).ok()?.next().transpose().ok()?;
        let held = if held.metadata().ok()?.dev() == outer.dev() { File::open(&path).ok()? } else { held };
        let inner = held.metadata().ok()?;
        (inner.is_dir() && inner.dev() != outer.dev()).then_some(Self { path, _held: held })
    }
}

impl OpenTree for SnapshotDirectory {
    fn path(&self) -> &Path {
        &self.path
    }

    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// A clone below `.remand/views`, read-only where that does no harm.
#[derive(Debug)]
struct View {
    pool: Zfs,
    path: PathBuf,
    created: Option<Created>,
}

impl View {
    fn make(pool: &Zfs, origin: &str, view: &str) -> Result<Self> {
        pool.state_directory()?;
        let name = DatasetName::new(state::STATE)?.join("views")?.join(view)?;
        let mut command = vec!["clone", "-o", "atime=off"];
        if pool.features.diff {
            // zfs-fuse, which has no `zfs diff`, answers ENOSYS when it is asked for the extended attributes of an entry that
            // has none on a read-only mount, and from then on the kernel lists none at all there. Nothing is ever
            // written to a view anyway.
            command.extend(["-o", "readonly=on"]);
        }
        let created = pool.create_by(&name, &command, Some(origin))?;
        match pool.mounted(&name) {
            Ok(path) => Ok(Self { pool: pool.clone(), path, created: Some(created) }),
            Err(error) => {
                let undo = pool.destroy(created).map_err(|kept| kept.error);
                Err(error.with_undo(pool.full(&name)?, undo))
            }
        }
    }

    fn remove(&mut self) -> Result<()> {
        match self.created.take() {
            Some(created) => self.pool.destroy(created).map_err(|kept| kept.error),
            None => Ok(()),
        }
    }
}

impl OpenTree for View {
    fn path(&self) -> &Path {
        &self.path
    }

    fn close(mut self: Box<Self>) -> Result<()> {
        self.remove()
    }
}

impl Drop for View {
    fn drop(&mut self) {
        if let Err(error) = self.remove() {
            // It is one of the leftovers, and found as such.
            tracing::warn!(%error, path = %self.path.display(), "A view could not be removed");
        }
    }
}
