//! Finding the base of a differential archive in the pool that it is restored to.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use remand_backends::{DatasetName, Snapshot, SnapshotName};

use super::plan::Plan;
use crate::archive::manifest::{BaseRecord, Mode};
use crate::base::OpenBase;
use crate::change::Fingerprint;
use crate::error::{Error, Result};
use crate::event::Warning;
use crate::pool::{Pool, with_view};
use crate::resource::{Base, ResourceKind, Selector};
use crate::step::Steps;
use crate::undo::Undo;

/// The base that a restore clones.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) base: Base,
    /// Whether it holds what the archive was made against.
    pub(crate) exact: bool,
}

/// What the user said of the base.
pub(crate) struct Wish<'a> {
    /// `RELEASE` or `RELEASE@SNAPSHOT`; `template:NAME` too.
    pub(crate) base: Option<&'a str>,
    pub(crate) allow_mismatch: bool,
    /// Whether the archive need not say what its base held: another tool wrote it.
    pub(crate) unproven: bool,
}

/// What the user calls a base: a release where no kind is said. And the snapshot, if one is named.
pub(super) fn named(wish: &str) -> Result<(Selector, Option<&str>)> {
    let (source, snapshot) = match wish.split_once('@') {
        Some((source, snapshot)) => (source, Some(snapshot)),
        None => (wish, None),
    };
    let source: Selector =
        if source.contains(':') { source.parse()? } else { format!("release:{source}").parse()? };
    if source.kind == ResourceKind::Jail {
        return Err(Error::Usage(format!(
            "{} is no base; name a release, or template:NAME",
            source.base_label()
        )));
    }
    Ok((source, snapshot))
}

/// Chooses: the snapshot that holds what `record` says, whatever its name; otherwise the one that the user named.
pub(crate) fn choose(
    pool: &Pool,
    record: &BaseRecord,
    wish: &Wish<'_>,
    (state, run): (Option<&Path>, &str),
    steps: &Steps<'_>,
    interrupted: &AtomicBool,
) -> Result<Chosen> {
    let (source, snapshot) = match wish.base {
        Some(wish) => named(wish)?,
        None => (record.source(), None),
    };
    let label = source.base_label();
    let missing = || Error::BaseMissing {
        base: snapshot.map_or_else(|| label.clone(), |snapshot| format!("{label}@{snapshot}")),
        pool: pool.label(),
    };
    let mut bases = pool.layout().bases(pool.backend(), &source)?;
    if let Some(snapshot) = snapshot {
        bases.retain(|base| name_of(base).as_deref() == Some(snapshot));
    }
    if bases.is_empty() {
        return Err(missing());
    }
    choose_of(pool, bases, record, wish, (state, run), steps, interrupted)
}

/// The root of the base that a resource needs, where it has no snapshot yet.
pub(super) fn bare(pool: &Pool, plan: &Plan, wish: Option<&str>) -> Result<Option<(Selector, DatasetName)>> {
    let Some(record) = plan.record.base.as_ref().filter(|_| plan.record.mode == Mode::Differential) else {
        return Ok(None);
    };
    let (source, snapshot) = match wish {
        Some(wish) => named(wish)?,
        None => (record.source(), None),
    };
    if snapshot.is_some() {
        return Ok(None);
    }
    Ok(pool.layout().bare_base(pool.backend(), &source)?.map(|root| (source, root)))
}

/// Makes a snapshot that is called after a resource, as the managers call theirs. Undone when the restore fails; whoever clones it must be
/// undone first.
pub(super) fn make_snapshot<'a>(
    pool: &'a Pool,
    dataset: &DatasetName,
    resource: &str,
    undo: &mut Undo<'a>,
) -> Result<Snapshot> {
    let backend = pool.backend();
    let name = SnapshotName::new(resource).map_err(|error| Error::Refused(error.to_string()))?;
    let created = backend
        .snapshot(dataset, &name, false)
        .map_err(Error::backend(format!("make a snapshot of {}", dataset.as_str())))?;
    let snapshot = created.snapshot().clone();
    undo.on_failure(format!("snapshot {resource} of {}", dataset.as_str()), move || {
        backend.destroy_snapshot(created).map_err(|kept| Error::backend("destroy the snapshot")(kept.error))
    });
    Ok(snapshot)
}

fn name_of(base: &Base) -> Option<String> {
    base.snapshot.name.as_ref().map(|name| name.as_str().to_owned())
}

/// Chooses among `bases`, the newest last, of which there is at least one.
pub(crate) fn choose_of(
    pool: &Pool,
    mut bases: Vec<Base>,
    record: &BaseRecord,
    wish: &Wish<'_>,
    (state, run): (Option<&Path>, &str),
    steps: &Steps<'_>,
    interrupted: &AtomicBool,
) -> Result<Chosen> {
    // The newest first, but before all others the one of the same name: most often it is the one.
    bases.reverse();
    bases.sort_by_key(|base| name_of(base) != record.snapshot);
    let Some(wanted) = &record.fingerprint else {
        return match bases.into_iter().next() {
            Some(base) if wish.unproven => Ok(Chosen { base, exact: true }),
            _ => Err(Error::Refused("its base has no fingerprint".into())),
        };
    };
    let mut nearest: Option<(Base, Fingerprint)> = None;
    let mut nearest_but_mtimes = None;
    for (at, base) in bases.iter().enumerate() {
        let found = with_view(pool.backend(), &base.snapshot, &format!("{run}-base{at}"), steps, |view| {
            OpenBase::new(pool.backend(), state, base, &view.tree)?.compute(interrupted, &|_, _| {})
        })?;
        if found.digest_with_mtimes == wanted.digest_with_mtimes {
            return Ok(Chosen { base: base.clone(), exact: true });
        }
        if found.digest == wanted.digest {
            nearest_but_mtimes.get_or_insert_with(|| base.clone());
        }
        nearest.get_or_insert_with(|| (base.clone(), found));
    }
    if let Some(base) = nearest_but_mtimes {
        let message = "holds what the archive was made against, but with other times of modification; \
                       unchanged files get those of this base";
        steps.warn(&Warning { subject: base.label(), message: message.into() });
        return Ok(Chosen { base, exact: true });
    }
    let Some((base, found)) = nearest else {
        return Err(Error::BaseMissing { base: record.source().base_label(), pool: pool.label() });
    };
    let difference = wanted.explain(&found);
    if wish.base.is_none() && !wish.allow_mismatch {
        return Err(Error::BaseDiffers { base: base.label(), pool: pool.label(), difference });
    }
    let message = format!("is not the base that the archive was made against: {difference}");
    steps.notice(&base.label(), message);
    Ok(Chosen { base, exact: false })
}

/// What can be cloned of the staged root of a release or template that has all its members: snapshots that came with it, and one of it as it is,
/// which gets the name `snapshot` where it has to have one.
pub(super) fn staged(
    pool: &Pool,
    dataset: DatasetName,
    source: &Selector,
    snapshot: Option<&str>,
) -> Result<Vec<Base>> {
    let backend = pool.backend();
    let base =
        |snapshot| Base { kind: source.kind, name: source.name.clone(), snapshot, parted_seconds: None };
    if backend.capabilities().datasets_are_bases {
        return Ok(vec![base(Snapshot { dataset, name: None })]);
    }
    let failed = || Error::backend(format!("make a snapshot of {}", dataset.as_str()));
    let found = backend.snapshots(&dataset).map_err(failed())?;
    let mut found: Vec<Snapshot> = found.into_iter().map(|info| info.snapshot).collect();
    let known = snapshot.filter(|name| !crate::run::is_run_id(name));
    let wanted = SnapshotName::new(known.unwrap_or("p0"));
    let wanted = wanted.map_err(|error| Error::Refused(error.to_string()))?;
    let there = found.iter().any(|snapshot| snapshot.name.as_ref() == Some(&wanted));
    if found.is_empty() || known.is_some() && !there {
        // It goes with the stage, if that goes.
        let created = backend.snapshot(&dataset, &wanted, false).map_err(failed())?;
        found.push(created.snapshot().clone());
    }
    Ok(found.into_iter().map(base).collect())
}
