//! Whether a resource changed since a moment.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use jiff::Timestamp;
use remand_backends::DatasetKind;

use crate::archive::manifest::{Manifest, ResourceRecord};
use crate::change::{Candidate, Scope, walk};
use crate::error::{Error, Result};
use crate::resource::{Resource, label};
use crate::tree::{Dir, Tree};

/// Whether anything of a resource was written, renamed, removed, linked or given other attributes at or after `date`: the
/// ctime tells, which nobody can set by hand. Stops at the first such entry; reads no content. Properties of datasets are not looked at.
///
/// Errs on the side of "changed": a dataset whose files cannot be looked at (a volume, one that is not mounted or whose key is not
/// there) counts as changed, and so does what was touched up to two seconds before `date`, because file systems keep coarse times.
pub fn changed_since(resource: &Resource, date: Timestamp, interrupted: &AtomicBool) -> Result<bool> {
    let since = date.as_second().saturating_sub(1);
    if tree_changed_since(&resource.directory, resource, since, interrupted)? {
        return Ok(true);
    }
    for part in &resource.datasets {
        let changed = match (part.kind, &part.directory) {
            // A part of the tree of the dataset above it, which was walked.
            (DatasetKind::Directory, Some(_)) => false,
            (DatasetKind::Volume, _) | (_, None) => true,
            (_, Some(directory)) => tree_changed_since(directory, resource, since, interrupted)?,
        };
        if changed {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a resource of an archive is of `date` or later: by the moment that its record tells, or else by when the export began.
pub fn taken_since(manifest: &Manifest, record: &ResourceRecord, date: Timestamp) -> Result<bool> {
    let taken = record.taken.as_deref().unwrap_or(&manifest.created);
    let moment: Timestamp = taken.parse().map_err(|error: jiff::Error| Error::Malformed {
        subject: format!("The moment of the {} in the manifest", label(record.kind, &record.name)),
        reason: error.to_string(),
    })?;
    Ok(moment >= date)
}

fn tree_changed_since(
    path: &Path,
    resource: &Resource,
    since: i64,
    interrupted: &AtomicBool,
) -> Result<bool> {
    let failed = || Error::tree(format!("look for changes in the {}", resource.label()));
    let tree = Tree::open(path).map_err(failed())?;
    if tree.root().own_stat().map_err(failed())?.identity.ctime.seconds >= since {
        return Ok(true);
    }
    let mut outcome = Ok(false);
    walk::merged(Some(&tree), None, Scope { exclude: &[], interrupted }, &mut |pair| {
        let Some(dir) = &pair.base else { return true };
        outcome = any_touched(dir, &pair.names, since);
        matches!(outcome, Ok(false))
    })?;
    outcome.map_err(failed())
}

/// Whether an entry was touched. What is mounted is not the tree's: a dataset is walked by itself, and the rest belongs to nobody.
fn any_touched(dir: &Dir, names: &[Candidate], since: i64) -> std::result::Result<bool, crate::tree::Error> {
    for Candidate { name, .. } in names {
        if dir.stat(name)?.is_some_and(|stat| !stat.mount_point && stat.identity.ctime.seconds >= since) {
            return Ok(true);
        }
    }
    Ok(false)
}
