//! The entries that had to wait until all names were known.

use super::cache::lock;
use super::decide::{Decider, Linked};
use crate::archive::Digest;
use crate::change::links::{self, Fate, Planned};
use crate::change::{Change, Differs, Error, Replaced, Result, What};
use crate::tree::{Kind, Tree, TreePath};

/// Names of multiply linked entries, as they were found.
#[derive(Default)]
pub(super) struct LinkedNames(Vec<(TreePath, Linked)>);

impl LinkedNames {
    pub(super) fn push(&mut self, path: TreePath, linked: Linked) {
        self.0.push((path, linked));
    }

    /// Decides on all of them; changes come sorted by path.
    pub(super) fn finish<E: From<Error>>(
        mut self,
        base: Option<&Tree>,
        decider: &mut Decider<'_>,
        consume: &mut dyn FnMut(Change) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        self.0.sort_unstable_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
        let names: Vec<links::Name<'_>> = self
            .0
            .iter()
            .map(|(path, linked)| links::Name {
                path: path.as_bytes(),
                base: linked.base_inode,
                now: linked.inode,
                same: linked.same,
            })
            .collect();
        let planned = links::plan(&names, &*lock(&decider.shared.gone));
        let paths: Vec<Option<TreePath>> = self.carriers(&planned);
        for (((path, linked), planned), to) in self.0.into_iter().zip(planned).zip(paths) {
            if planned.fate != Fate::Stays {
                consume(change(path, linked, planned, to, base, decider)?)?;
            }
        }
        Ok(())
    }

    /// For each name that becomes a link, the path that it links to.
    fn carriers(&self, planned: &[Planned]) -> Vec<Option<TreePath>> {
        let path = |planned: &Planned| match planned.fate {
            Fate::Link(to) => Some(self.0[to].0.clone()),
            _ => None,
        };
        planned.iter().map(path).collect()
    }
}

fn change(
    path: TreePath,
    linked: Linked,
    planned: Planned,
    to: Option<TreePath>,
    base: Option<&Tree>,
    decider: &mut Decider<'_>,
) -> Result<Change> {
    let node = linked.node.expect("a name that was proven unchanged stays");
    let replaced = match linked.base {
        Some(replaced) => Some(with_digest(&replaced, &path, base, decider)?),
        None => None,
    };
    let differs = match replaced {
        Some(_) => Differs { links: planned.links_differ, ..linked.differs },
        None => Differs::default(),
    };
    let what = match (planned.fate, to, replaced) {
        (Fate::Link(_), Some(to), replaced) => What::Link { node, to, replaced },
        (Fate::Metadata, _, Some(replaced)) => What::Metadata { node, replaced },
        (_, _, replaced) => What::Whole { node, replaced },
    };
    Ok(Change { path, what, differs, group: planned.group, directory: None })
}

/// Nothing of an equal entry was digested when it was compared. If it gives way all the same, because other names share
/// it now, its digest is made up for.
fn with_digest(
    replaced: &Replaced,
    path: &TreePath,
    base: Option<&Tree>,
    decider: &mut Decider<'_>,
) -> Result<Replaced> {
    let digest: Option<Digest> = match (replaced.kind, replaced.digest, base) {
        (Kind::File, None, Some(base)) => decider.digest_of(base, path)?,
        (_, digest, _) => digest,
    };
    Ok(Replaced { kind: replaced.kind, digest })
}
