//! The base of a differential archive, for what the archive does not hold.

use std::sync::atomic::AtomicBool;

use super::FindPool;
use crate::archive::manifest::ResourceRecord;
use crate::error::{Error, Result};
use crate::event::Warning;
use crate::locator::Part;
use crate::pool::View;
use crate::restore::base::{Wish, choose};
use crate::run::{self, Record, Run};
use crate::step::Steps;
use crate::tree::{Dir, Kind, Stat, Tree, TreePath};
use crate::undo::chain;

/// A base that is open for reading, and is the one that the archive was made against.
pub(super) struct Base {
    view: View,
    run: Option<Run>,
    pub(super) label: String,
    /// Directories whose content does not belong to the resource.
    left_out: Vec<TreePath>,
}

/// An entry of a base.
pub(super) struct Found {
    pub(super) dir: Dir,
    pub(super) name: Vec<u8>,
    pub(super) stat: Stat,
}

impl Base {
    /// Finds the base of a part, compares its fingerprint and opens it.
    pub(super) fn open(
        pool: FindPool<'_>,
        part: &Part,
        steps: &Steps<'_>,
        interrupted: &AtomicBool,
    ) -> Result<Self> {
        let record = &part.record;
        let wanted =
            record.base.as_ref().ok_or_else(|| Error::Refused("it does not say what its base is".into()))?;
        if part.is_foreign {
            return Err(Error::Unsupported(format!(
                "The archive does not say what of its base {} is unchanged; restore the {} to have that too",
                wanted.name,
                part.resource_label()
            )));
        }
        let pool = pool()?;
        let backend = pool.backend();
        let makes_views = backend.capabilities().consistent_while_running;
        let state = if makes_views {
            Some(backend.state_directory().map_err(Error::backend("make the pool's state directory"))?)
        } else {
            let known = backend.existing_state_directory();
            known.map_err(Error::backend("look for the pool's state directory"))?
        };
        let id = run::new_id();
        let run = match &state {
            // A crash would leave what is made to read it.
            Some(state) if makes_views => {
                Some(Run::begin(state, id.clone(), &Record::new("extract", part.resource_label()))?)
            }
            _ => None,
        };
        let opened = (|| {
            let wish = Wish { base: None, allow_mismatch: false, unproven: false };
            let chosen = choose(&pool, wanted, &wish, (state.as_deref(), &id), steps, interrupted)?;
            let view = View::open(backend, &chosen.base.snapshot, &format!("{id}-base"))?;
            Ok((view, chosen.base.label()))
        })();
        match opened {
            Ok((view, label)) => Ok(Self { view, run, label, left_out: left_out(record) }),
            Err(error) => {
                if let Some(run) = run {
                    crate::export::end_run(run, true, steps);
                }
                Err(error)
            }
        }
    }

    /// The tree.
    pub(super) fn tree(&self) -> &Tree {
        &self.view.tree
    }

    /// Whether a path is none of the resource's, though the base may have something there.
    pub(super) fn leaves_out(&self, path: &TreePath) -> bool {
        self.left_out.iter().any(|directory| directory.is_above(path))
    }

    /// Finds the entry at a path, through no link; the root has none.
    pub(super) fn find(&self, path: &TreePath) -> Result<Option<Found>> {
        let fail = || Error::tree(format!("read the base {}", self.label));
        let Some((parent, name)) = path.split() else { return Ok(None) };
        if self.leaves_out(path) {
            return Ok(None);
        }
        let Some(dir) = self.tree().open_dir(&parent).map_err(fail())? else {
            return self.explain(&parent, path).map(|()| None);
        };
        let stat = dir.stat(name).map_err(fail())?;
        Ok(stat.map(|stat| Found { dir, name: name.to_vec(), stat }))
    }

    /// Tells where a link would be followed on the way to `path`.
    fn explain(&self, parent: &TreePath, path: &TreePath) -> Result<()> {
        let fail = || Error::tree(format!("read the base {}", self.label));
        let mut dir = self.tree().root();
        for name in parent.components() {
            let Some(stat) = dir.stat(name).map_err(fail())? else { return Ok(()) };
            if stat.kind == Kind::Symlink {
                let node = dir.node(name, &stat).map_err(fail())?;
                let target = node.and_then(|node| node.entry.target).unwrap_or_default();
                return Err(leads_through(path, &dir.path().join(name), &target));
            }
            let Some(next) = dir.open_dir(name).map_err(fail())? else { return Ok(()) };
            dir = next;
        }
        Ok(())
    }

    /// Removes what was made for reading.
    pub(super) fn close(self, steps: &Steps<'_>) {
        let closed = self.view.close();
        let clean = closed.is_ok();
        if let Err(error) = closed {
            let message = format!("{}; `remand cleanup` removes it", chain(&error));
            steps.warn(&Warning { subject: self.label, message });
        }
        if let Some(run) = self.run {
            crate::export::end_run(run, clean, steps);
        }
    }
}

/// Base directories of a basejail that are restored empty.
fn left_out(record: &ResourceRecord) -> Vec<TreePath> {
    let empty = record.base_directories.iter().filter(|directory| directory.empty);
    empty.filter_map(|directory| TreePath::new(directory.path.as_bytes()).ok()).collect()
}

/// No link is followed.
pub(super) fn leads_through(path: &TreePath, link: &TreePath, target: &[u8]) -> Error {
    let target = crate::tree::path::printable(target);
    Error::Unsupported(format!(
        "/{path} leads through /{link}, which is a symbolic link to {target}; links are not followed"
    ))
}
