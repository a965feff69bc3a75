//! The state directory, and what interrupted runs left.

use super::{Btrfs, snapshots};
use crate::dir::STATE;
use crate::{DatasetName, Error, Leftover, Result, Snapshot};
use std::os::fd::AsFd;

/// Beside `staging` and `views`: remand's own snapshots.
pub(super) const SNAPSHOTS: &str = "snapshots";

/// Makes what a directory's state does not have; that is there already.
pub(super) fn make(pool: &Btrfs) -> Result<()> {
    let state = DatasetName::new(STATE)?;
    let directory = pool.existing(&state)?;
    pool.dir.make_private(directory.as_fd(), SNAPSHOTS, &state.join(SNAPSHOTS)?).map(drop)
}

/// The staging or view that a name is or lies in.
pub(super) fn staged_in(name: &DatasetName) -> Option<&str> {
    let mut parts = name.components();
    match (parts.next(), parts.next()) {
        (Some(STATE), Some("staging" | "views")) => parts.next(),
        _ => None,
    }
}

pub(super) fn leftovers(pool: &Btrfs) -> Result<Vec<Leftover>> {
    let mut found = pool.dir.leftovers_in("views")?;
    found.extend(pool.dir.leftovers_in("staging")?);
    let mut last: Option<Snapshot> = None;
    for snapshot in snapshots::remands(pool)? {
        let below_last = last.as_ref().is_some_and(|last| {
            last.name == snapshot.name && snapshot.dataset.below(&last.dataset).is_some()
        });
        if !below_last {
            last = Some(snapshot.clone());
            found.push(Leftover::Snapshot(snapshot));
        }
    }
    Ok(found)
}

pub(super) fn destroy_leftover(pool: &Btrfs, leftover: &Leftover) -> Result<()> {
    match leftover {
        Leftover::Dataset(name) => match name.components().collect::<Vec<_>>()[..] {
            [STATE, "staging" | "views", _] => pool.destroy_dataset(name),
            _ => Err(Error::NotLeftover(pool.label_of(name))),
        },
        Leftover::Snapshot(snapshot) => match &snapshot.name {
            Some(name) if name.is_remand() => {
                pool.destroy_own(snapshot, true)?;
                pool.destroy_empty_set(name)
            }
            _ => Err(Error::NotLeftover(format!("a snapshot of {}", pool.label_of(&snapshot.dataset)))),
        },
    }
}
