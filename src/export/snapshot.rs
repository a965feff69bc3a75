//! The snapshots that an export reads from: of all its resources in one operation, where the backend can.

use remand_backends::{Snapshot, SnapshotName};

use super::selected::Selected;
use crate::error::{Error, Result};
use crate::event::Step;
use crate::pool::Pool;
use crate::run::{self, Run};
use crate::step::Steps;
use crate::undo::Undo;

/// What a resource is read from.
pub(super) struct Moment {
    /// The snapshot of its own dataset.
    pub(super) snapshot: Snapshot,
    /// When it was made, RFC 3339.
    pub(super) taken: String,
    /// Whether its datasets are of one moment.
    pub(super) consistent: bool,
}

/// The snapshots of all resources; those that the run makes are destroyed when it ends. Tells whether all are of one moment.
pub(super) fn take<'a>(
    pool: &'a Pool,
    selected: &[Selected],
    run: &Run,
    steps: &Steps<'_>,
    undo: &mut Undo<'a>,
) -> Result<(Vec<Moment>, bool)> {
    let backend = pool.backend();
    let dataset = |one: &Selected| one.resource.dataset.clone();
    let mut one_moment = false;
    let mut name = None;
    let mut wanted = Vec::new();
    for dataset in selected.iter().filter(|one| one.given.is_none()).map(dataset) {
        // Several snapshots of a release can travel as bases.
        if !wanted.contains(&dataset) {
            wanted.push(dataset);
        }
    }
    let taken = run::now();
    if !backend.capabilities().consistent_while_running {
        steps.skip(Step::Snapshot, None, "a plain directory has no snapshots; the live tree is read");
    } else if wanted.is_empty() {
        steps.skip(Step::Snapshot, None, "there are the ones that were named");
    } else {
        let own = SnapshotName::new(run.id()).map_err(|error| Error::Usage(error.to_string()))?;
        steps.run(Step::Snapshot, Some(run.id()), None, |_| {
            let what = match selected {
                [one] => format!("make a snapshot of the {}", one.resource.label()),
                all => format!("make a snapshot of {} resources", all.len()),
            };
            let together = backend.snapshot_together(&wanted, &own).map_err(Error::backend(what))?;
            one_moment = together.one_moment;
            for created in together.created {
                undo.always(format!("snapshot {}", run.id()), move || {
                    backend
                        .destroy_snapshot(created)
                        .map_err(|kept| Error::backend("destroy the snapshot")(kept.error))
                });
            }
            Ok(())
        })?;
        name = Some(own);
    }
    let moments = selected.iter().map(|one| match &one.given {
        Some(info) => Moment {
            snapshot: info.snapshot.clone(),
            taken: info.created_seconds.and_then(moment).unwrap_or_else(|| taken.clone()),
            consistent: false,
        },
        None => Moment {
            snapshot: Snapshot { dataset: dataset(one), name: name.clone() },
            taken: taken.clone(),
            consistent: one_moment || backend.capabilities().atomic_recursive,
        },
    });
    let is_new = |one: &Selected| one.given.is_none();
    Ok((moments.collect(), one_moment && selected.iter().all(is_new)))
}

fn moment(seconds: i64) -> Option<String> {
    Some(jiff::Timestamp::from_second(seconds).ok()?.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
