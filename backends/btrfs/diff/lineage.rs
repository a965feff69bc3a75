//! When two subvolumes parted: the transaction since which what differs between them was changed.
//!
//! Every subvolume names the one that it is a snapshot of. Where the ways up from both meet, both began as what that one was
//! then; so nothing that differs is older than the oldest snapshot on the ways.

use super::Subvolume;
use remand_sys::btrfs::{self, Uuid};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

/// Snapshots of snapshots that are looked at.
const MAX_DEPTH: usize = 64;

/// The first transaction of which a change of one, and not of the other, can be. `None` where they have nobody in common as far as the
/// file system still knows.
pub(super) fn parted(base: &Subvolume, now: &Subvolume) -> io::Result<Option<u64>> {
    let way = way_up(&now.directory, &now.known, Some(base.known.uuid))?;
    if let Some(since) = way.get(&base.known.uuid) {
        return Ok(Some(*since));
    }
    let other = way_up(&base.directory, &base.known, None)?;
    // The meeting that is nearest to both is the latest.
    Ok(way.iter().filter_map(|(uuid, since)| other.get(uuid).map(|other| *since.min(other))).max())
}

/// A subvolume and those that it comes from, as far up as `end`, each with the transaction of the oldest snapshot on the way there.
fn way_up(
    directory: &OwnedFd,
    from: &btrfs::Subvolume,
    end: Option<Uuid>,
) -> io::Result<BTreeMap<Uuid, u64>> {
    let mut way = BTreeMap::from([(from.uuid, u64::MAX)]);
    let (mut at, mut since) = (from.clone(), u64::MAX);
    while let Some(above) = at.parent_uuid.filter(|_| way.len() <= MAX_DEPTH) {
        since = since.min(at.created_transaction);
        way.insert(above, since);
        if Some(above) == end {
            break;
        }
        match btrfs::find_subvolume(directory, &above)? {
            Some(found) => at = found,
            None => break,
        }
    }
    Ok(way)
}
