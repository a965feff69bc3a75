//! Datasets of a basejail that are cloned again, from the release that the target has.

use remand_backends::{Backend, DatasetKind, DatasetName, Snapshot};

use super::base::make_snapshot;
use super::plan::{Plan, Target};
use crate::archive::manifest::{BaseRecord, Encoding};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::resource::{Base, ResourceKind};
use crate::step::Steps;
use crate::undo::Undo;

/// Where a dataset is cloned from.
pub(super) struct Source {
    target: String,
    release: String,
    dataset: DatasetName,
    /// None where the release's dataset is there and has no snapshot yet.
    snapshot: Option<Snapshot>,
}

/// Finds what each is cloned from, in the release that the archive says or that the user named. Makes nothing.
pub(super) fn find(pool: &Pool, plan: &Plan, named: Option<&str>, steps: &Steps<'_>) -> Result<Vec<Source>> {
    let backend = pool.backend();
    // What is cloned from the base is a release's in any case.
    let named = named.map(super::base::named).transpose()?.map(|(source, _)| source);
    let named = named.filter(|source| source.kind == ResourceKind::Release).map(|source| source.name);
    let mut others = Vec::new();
    let mut sources = Vec::new();
    for target in plan.datasets.iter().filter(|target| target.encoding == Encoding::Base) {
        let Some(record) = &target.base else { continue };
        let source = source(pool, target, record, named.as_deref().unwrap_or(&record.name))?;
        if !source.snapshot.as_ref().map_or(Ok(false), |snapshot| is_same(backend, snapshot, record))? {
            others.push(target.name.as_str());
        }
        sources.push(source);
    }
    if let (false, Some(source)) = (others.is_empty(), sources.first()) {
        let message = format!(
            "cloned from another snapshot than in the archive, as this pool's release has it now: {}",
            others.join(", ")
        );
        steps.notice(&source.release, message);
    }
    Ok(sources)
}

fn failed(dataset: &DatasetName) -> impl FnOnce(remand_backends::Error) -> Error {
    Error::backend(format!("look {} up", dataset.as_str()))
}

fn is_same(backend: &dyn Backend, snapshot: &Snapshot, record: &BaseRecord) -> Result<bool> {
    let info = backend.snapshot_info(snapshot).map_err(failed(&snapshot.dataset))?;
    Ok(record.guid.is_some() && info.and_then(|info| info.guid) == record.guid)
}

/// The snapshot of the same GUID, else of the same name, else the newest; the dataset itself where it has none and needs none.
fn source(pool: &Pool, target: &Target, record: &BaseRecord, release: &str) -> Result<Source> {
    let backend = pool.backend();
    let dataset = pool.layout().base_part(release, &target.name)?;
    let found = backend
        .dataset(&dataset)
        .map_err(failed(&dataset))?
        .ok_or_else(|| Error::BaseMissing { base: dataset.as_str().to_owned(), pool: pool.label() })?;
    let itself = Some(Snapshot { dataset: dataset.clone(), name: None })
        .filter(|_| backend.capabilities().datasets_are_bases);
    let snapshots = match found.kind {
        DatasetKind::Directory => Vec::new(),
        _ => backend.snapshots(&dataset).map_err(failed(&dataset))?,
    };
    let name_of = |snapshot: &Snapshot| snapshot.name.as_ref().map(|name| name.as_str().to_owned());
    let best = snapshots
        .into_iter()
        .filter(|info| !name_of(&info.snapshot).is_some_and(|name| crate::run::is_run_id(&name)))
        .enumerate()
        .max_by_key(|(age, info)| {
            let same_guid = record.guid.is_some() && info.guid == record.guid;
            (same_guid, name_of(&info.snapshot) == record.snapshot, *age)
        })
        .map(|(_, info)| info.snapshot);
    let snapshot = best.or(itself);
    Ok(Source { target: target.name.clone(), release: release.to_owned(), dataset, snapshot })
}

/// Makes the snapshots that are missing, called after the resource, as the managers call theirs. Undone when the restore fails; this must
/// come before the staging dataset is made, which goes first then.
pub(super) fn complete<'a>(
    pool: &'a Pool,
    resource: &str,
    sources: Vec<Source>,
    undo: &mut Undo<'a>,
) -> Result<Vec<(String, Base)>> {
    let mut bases = Vec::new();
    for Source { target, release, dataset, snapshot } in sources {
        let snapshot = if let Some(snapshot) = snapshot {
            snapshot
        } else {
            make_snapshot(pool, &dataset, resource, undo)?
        };
        let kind = ResourceKind::Release;
        bases.push((target, Base { kind, name: release, snapshot, parted_seconds: None }));
    }
    Ok(bases)
}
