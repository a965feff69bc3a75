//! Basejails: what in a jail's root belongs to a release.
//!
//! Of a *base directory*, over which a release's is mounted while the jail runs, the content is left out on both sides of a
//! comparison, whatever lies or is mounted there; it is not even listed where something is mounted. The directory
//! itself is the jail's: its attributes are compared and kept.

use crate::archive::index::Replaced;
use crate::archive::manifest::BaseDirectory;
use crate::change::{self, Change, Trees, What};
use crate::error::{Error, Result};
use crate::tree::{Kind, Stat, Tree, TreePath};

/// Those of `paths` whose content is left out: directories now, and in the base if it has them. Anything else that is
/// there is the jail's own doing, and compared like everything.
pub(crate) fn left_out(paths: &[TreePath], trees: Trees<'_>) -> Result<Vec<BaseDirectory>> {
    let mut found = Vec::new();
    for path in paths {
        let Some(now) = look_at(trees.now, path)?.filter(|stat| stat.kind == Kind::Directory) else {
            continue;
        };
        let base = trees.base.map_or(Ok(None), |base| look_at(base, path))?;
        if base.is_some_and(|stat| stat.kind != Kind::Directory) {
            continue;
        }
        found.push(BaseDirectory {
            path: path.to_string(),
            empty: !now.mount_point && is_empty(trees.now, path)?,
        });
    }
    Ok(found)
}

fn failed() -> impl FnOnce(crate::tree::Error) -> Error {
    Error::tree("look at the base directories")
}

fn look_at(tree: &Tree, path: &TreePath) -> Result<Option<Stat>> {
    let Some((above, name)) = path.split() else { return Ok(None) };
    match tree.open_dir(&above).map_err(failed())? {
        Some(directory) => directory.stat(name).map_err(failed()),
        None => Ok(None),
    }
}

fn is_empty(tree: &Tree, path: &TreePath) -> Result<bool> {
    match tree.open_dir(path).map_err(failed())? {
        Some(directory) => Ok(directory.names().map_err(failed())?.is_empty()),
        None => Ok(false),
    }
}

/// Tells of each base directory that is new or has other attributes than the base's. Of one that is mounted over the base's are
/// the best guess.
pub(crate) fn own_changes(
    paths: &[TreePath],
    trees: Trees<'_>,
    consume: &mut dyn FnMut(Change) -> Result<()>,
) -> Result<()> {
    for path in paths {
        let (Some(stat), Some((above, name))) = (look_at(trees.now, path)?, path.split()) else { continue };
        let base = match trees.base {
            Some(base) => node(base, &above, name)?,
            None => None,
        };
        if stat.mount_point && base.is_some() {
            continue;
        }
        let Some(node) = node(trees.now, &above, name)? else { continue };
        let differs =
            base.as_ref().map_or_else(Default::default, |base| change::differences(&base.entry, &node.entry));
        if base.is_some() && !differs.any() {
            continue;
        }
        let replaced = base.map(|base| Replaced { kind: base.entry.kind, digest: None });
        let what = What::Whole { node, replaced };
        consume(Change { path: path.clone(), what, differs, group: None, directory: None })?;
    }
    Ok(())
}

fn node(tree: &Tree, above: &TreePath, name: &[u8]) -> Result<Option<crate::tree::Node>> {
    let Some(directory) = tree.open_dir(above).map_err(failed())? else { return Ok(None) };
    let Some(stat) = directory.stat(name).map_err(failed())? else { return Ok(None) };
    directory.node(name, &stat).map_err(failed())
}
