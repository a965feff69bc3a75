//! Finding the base of a differential archive in the pool that it is restored to.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use remand_backends::{DatasetName, Snapshot, SnapshotName};

use crate::archive::manifest::BaseRecord;
use crate::base::OpenBase;
use crate::change::Fingerprint;
use crate::error::{Error, Result};
use crate::event::Warning;
use crate::pool::{Pool, with_view};
use crate::resource::Base;
use crate::step::Steps;

/// The base that a restore clones.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    pub(crate) base: Base,
    /// Whether it holds what the archive was made against.
    pub(crate) exact: bool,
}

/// What the user said of the base.
pub(crate) struct Wish<'a> {
    /// `RELEASE` or `RELEASE@SNAPSHOT`.
    pub(crate) base: Option<&'a str>,
    pub(crate) allow_mismatch: bool,
    /// Whether the archive need not say what its base held: another tool wrote it.
    pub(crate) unproven: bool,
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
    let (release, snapshot) = match wish.base {
        Some(named) => {
            named.split_once('@').map_or((named, None), |(release, snapshot)| (release, Some(snapshot)))
        }
        None => (record.name.as_str(), None),
    };
    let missing = || Error::BaseMissing {
        base: snapshot.map_or_else(|| release.to_owned(), |snapshot| format!("{release}@{snapshot}")),
        pool: pool.label(),
    };
    let mut bases = pool.layout().bases(pool.backend(), release)?;
    if let Some(snapshot) = snapshot {
        bases.retain(|base| name_of(base).as_deref() == Some(snapshot));
    }
    if bases.is_empty() {
        return Err(missing());
    }
    choose_of(pool, bases, record, wish, (state, run), steps, interrupted)
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
            OpenBase::new(pool.backend(), state, base, &view.tree, interrupted)?
                .compute(interrupted, &|_, _| {})
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
        return Err(Error::BaseMissing { base: record.name.clone(), pool: pool.label() });
    };
    let difference = wanted.explain(&found);
    if wish.base.is_none() && !wish.allow_mismatch {
        return Err(Error::BaseDiffers { base: base.label(), pool: pool.label(), difference });
    }
    let message = format!("is not the base that the archive was made against: {difference}");
    steps.notice(&base.label(), message);
    Ok(Chosen { base, exact: false })
}

/// What can be cloned of the staged root of a release that has all its members: snapshots that came with it, and one of it as it is,
/// which gets the name `snapshot` where it has to have one.
pub(super) fn staged(
    pool: &Pool,
    dataset: DatasetName,
    release: &str,
    snapshot: Option<&str>,
) -> Result<Vec<Base>> {
    let backend = pool.backend();
    let base = |snapshot| Base { name: release.to_owned(), snapshot, parted_seconds: None };
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
