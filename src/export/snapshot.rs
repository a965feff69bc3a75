//! The snapshots that an export reads from: of all its resources in one operation, where the backend can.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Scope;

use remand_backends::{Backend, CreatedSnapshot, Snapshot, SnapshotName};

use super::ahead::Ahead;
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

/// What was made for the only resource of a run to be read from, until it is destroyed. Several can be read from the same, and are not here.
#[derive(Clone, Default)]
pub(super) struct Made(Option<Arc<Mutex<Option<CreatedSnapshot>>>>);

impl Made {
    /// What is to be told of a snapshot from which nothing more is read. It goes then, which takes a while, as the kernel forgets all that was
    /// looked at in there, and meanwhile the rest of the archive is written. `early` may still ask how it differs from the base.
    pub(super) fn going_early<'scope, 'env>(
        self,
        scope: &'scope Scope<'scope, 'env>,
        backend: &'env dyn Backend,
        early: Option<&Ahead<'scope, 'scope>>,
    ) -> impl Fn(&Snapshot) + Sync {
        move |snapshot| {
            if early.is_none_or(Ahead::is_told) {
                let (made, snapshot) = (self.clone(), snapshot.clone());
                scope.spawn(move || made.destroy_early(backend, &snapshot));
            }
        }
    }

    /// What is left goes at the end with all others, which tells of failures.
    fn destroy_early(&self, backend: &dyn Backend, snapshot: &Snapshot) {
        let Some(made) = &self.0 else { return };
        let made = lock(made);
        let Some(created) = made.as_ref().filter(|made| made.snapshot().name == snapshot.name) else {
            return;
        };
        if let Err(error) = backend.destroy_early(created, &snapshot.dataset) {
            tracing::debug!(%error, "a snapshot is not destroyed early");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The snapshots of all resources.
pub(super) struct Taken {
    /// What each is read from.
    pub(super) moments: Vec<Moment>,
    /// Whether all are of one moment.
    pub(super) one_moment: bool,
    pub(super) made: Made,
}

/// Takes the snapshots of all resources; those that the run makes are destroyed when it ends.
pub(super) fn take<'a>(
    pool: &'a Pool,
    selected: &[Selected],
    run: &Run,
    steps: &Steps<'_>,
    undo: &mut Undo<'a>,
) -> Result<Taken> {
    let backend = pool.backend();
    let dataset = |one: &Selected| one.resource.dataset.clone();
    let mut one_moment = false;
    let mut made = Made::default();
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
                let created = Arc::new(Mutex::new(Some(created)));
                if selected.len() == 1 {
                    made = Made(Some(Arc::clone(&created)));
                }
                undo.always(format!("snapshot {}", run.id()), move || {
                    let Some(created) = lock(&created).take() else { return Ok(()) };
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
    let one_moment = one_moment && selected.iter().all(is_new);
    Ok(Taken { moments: moments.collect(), one_moment, made })
}

fn moment(seconds: i64) -> Option<String> {
    Some(jiff::Timestamp::from_second(seconds).ok()?.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
