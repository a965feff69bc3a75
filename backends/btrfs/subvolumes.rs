//! The subvolumes of a pool, and which of them are snapshots.
//!
//! A read-only subvolume S is a snapshot of the dataset D, made by its user, if
//!
//! - it lies at `.snapshots/LAST@NAME` beside D, whose last component is LAST; or
//! - it was made from D; and the subvolume that holds S is D itself or holds D too; and S is not called like D in another
//!   place. The last two leave alone what is somebody else's dataset: a release made from the one before
//!   (`releases/B/root` of `releases/A/root`), a jail's data made from another jail's.

use super::{Btrfs, names, place, snapshots};
use crate::{Backend, Dataset, DatasetName, Error, Result, Snapshot, SnapshotInfo, SnapshotName};
use remand_sys::btrfs::{self, Subvolume, Uuid};
use rustix::io::Errno;
use std::fmt::Write as _;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::PoisonError;

/// Where a restore puts history, beside its dataset.
pub(super) const HISTORY: &str = ".snapshots";

/// A subvolume below a directory.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Relative to that directory.
    pub(super) path: Vec<u8>,
    /// `None` where it cannot be reached, because something is mounted over it.
    pub(super) subvolume: Option<Subvolume>,
}

/// A snapshot of a dataset.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub(super) snapshot: Snapshot,
    /// Relative to the pool.
    pub(super) path: Vec<u8>,
    pub(super) subvolume: Subvolume,
}

impl Named {
    pub(super) fn info(&self) -> SnapshotInfo {
        info(self.snapshot.clone(), &self.subvolume)
    }
}

pub(super) fn info(snapshot: Snapshot, subvolume: &Subvolume) -> SnapshotInfo {
    let uuid = text(&subvolume.uuid);
    SnapshotInfo {
        snapshot,
        content_id: subvolume.read_only.then(|| format!("{uuid}:{}", subvolume.changed_transaction)),
        guid: Some(text(&subvolume.received_uuid.unwrap_or(subvolume.uuid))),
        created_seconds: Some(subvolume.created_seconds),
    }
}

fn text(uuid: &Uuid) -> String {
    let mut text = String::new();
    for (at, byte) in uuid.iter().enumerate() {
        let hyphen = if matches!(at, 4 | 6 | 8 | 10) { "-" } else { "" };
        // It cannot fail on a string.
        let _ = write!(text, "{hyphen}{byte:02x}");
    }
    text
}

/// All subvolumes below a directory, however deep, those that hold others before them, by path.
pub(super) fn walk(directory: &OwnedFd) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut open: Vec<Vec<u8>> = vec![Vec::new()];
    while let Some(path) = open.pop() {
        let above = match place::open_below(directory, &path) {
            Ok(above) => above,
            Err(errno) if is_gone(errno) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let inside = match btrfs::subvolumes_below(&above) {
            Err(error) if !path.is_empty() && is_gone(place::errno_of(&error)) => continue,
            inside => inside?,
        };
        for (id, below) in inside {
            let path = if path.is_empty() { below.clone() } else { [&path, &b"/"[..], &below].concat() };
            let top = place::open_below(&above, &below)
                .and_then(|inner| place::top(&inner).map_err(|error| place::errno_of(&error)));
            let subvolume = match top {
                Ok(Some(subvolume)) if subvolume.id == id => Some(subvolume),
                Ok(_) => continue,
                Err(Errno::XDEV) => None,
                Err(errno) if is_gone(errno) => continue,
                Err(errno) => return Err(errno.into()),
            };
            if subvolume.is_some() {
                open.push(path.clone());
            }
            found.push(Found { path, subvolume });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// What the kernel says of a subvolume that was deleted or moved after it was found.
fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::STALE)
}

/// The rest of `path` below `above`, which is not the same; all of it where `above` is "".
fn below<'a>(path: &'a [u8], above: &[u8]) -> Option<&'a [u8]> {
    if above.is_empty() {
        return (!path.is_empty()).then_some(path);
    }
    path.strip_prefix(above)?.strip_prefix(b"/")
}

/// Of which dataset a subvolume is a snapshot that its user has made, and how it is called.
fn snapshot_of<'a>(all: &'a [Found], found: &'a Found) -> Option<(&'a Found, &'a [u8])> {
    let subvolume = found.subvolume.as_ref().filter(|subvolume| subvolume.read_only)?;
    if snapshots::parse(&found.path).is_some() {
        return None;
    }
    let (above, last) = place::split(&found.path);
    let (beside, holder) = place::split(above);
    if holder == HISTORY.as_bytes()
        && let Some(at) = last.iter().position(|byte| *byte == b'@')
    {
        let path = if beside.is_empty() { last[..at].to_vec() } else { [beside, b"/", &last[..at]].concat() };
        if let Some(dataset) = all.iter().find(|other| other.path == path && other.subvolume.is_some()) {
            return Some((dataset, &last[at + 1..]));
        }
    }
    let dataset = all.iter().find(|other| {
        other.subvolume.as_ref().is_some_and(|other| Some(other.uuid) == subvolume.parent_uuid)
            && snapshots::parse(&other.path).is_none()
    })?;
    let holder = all.iter().filter(|other| below(&found.path, &other.path).is_some());
    let holder = holder.max_by_key(|other| other.path.len()).map_or(&[][..], |holder| &holder.path);
    let held_alike = holder == dataset.path || below(&dataset.path, holder).is_some();
    let (dataset_above, dataset_last) = place::split(&dataset.path);
    let called_alike = last == dataset_last && below(&found.path, dataset_above).is_none();
    (held_alike && !called_alike).then(|| {
        let prefix = [dataset_last, b"@"].concat();
        (dataset, last.strip_prefix(&prefix[..]).filter(|name| !name.is_empty()).unwrap_or(last))
    })
}

fn dataset_name(path: &[u8]) -> Option<DatasetName> {
    DatasetName::new(std::str::from_utf8(path).ok()?).ok()
}

impl Btrfs {
    /// All subvolumes of the pool.
    fn all(&self) -> Result<Vec<Found>> {
        walk(self.dir.root()).map_err(|source| Error::io("list the subvolumes of", self.label(), source))
    }

    /// The snapshots of a dataset, oldest first.
    pub(super) fn snapshots_of(&self, name: &DatasetName) -> Result<Vec<Named>> {
        Ok(snapshots_in(&self.all()?, name))
    }

    /// The subvolumes below a dataset; those of the whole pool where some of them might be snapshots.
    fn around(&self, name: &DatasetName) -> Result<Vec<Found>> {
        let directory = self.existing(name)?;
        let mut inside = walk(&directory)
            .map_err(|source| Error::io("list the subvolumes of", self.label_of(name), source))?;
        let read_only = |found: &Found| found.subvolume.as_ref().is_some_and(|subvolume| subvolume.read_only);
        if name.parent().is_none() || inside.iter().any(read_only) {
            return self.all();
        }
        for found in &mut inside {
            found.path = [name.as_str().as_bytes(), b"/", &found.path].concat();
        }
        Ok(inside)
    }

    /// The snapshot in the pool, or the dataset, that has this identity. Where a dataset was found once it is looked for
    /// again; what was in the pool nowhere does not come into it later.
    pub(super) fn origin(&self, uuid: Uuid) -> Result<Option<Snapshot>> {
        let known = self.origins.lock().unwrap_or_else(PoisonError::into_inner).get(&uuid).cloned();
        match known {
            Some(None) => return Ok(None),
            Some(Some(dataset)) => {
                let subvolume = self.look_up(&dataset)?.and_then(|(_, subvolume)| subvolume);
                if subvolume.is_some_and(|subvolume| subvolume.uuid == uuid) {
                    return Ok(Some(Snapshot { dataset, name: None }));
                }
            }
            None => {}
        }
        let found = self.find_origin(uuid)?;
        let known = match &found {
            Some(Snapshot { dataset, name: None }) => Some(Some(dataset.clone())),
            Some(_) => None,
            None => Some(None),
        };
        let mut origins = self.origins.lock().unwrap_or_else(PoisonError::into_inner);
        match known {
            Some(known) => origins.insert(uuid, known),
            None => origins.remove(&uuid),
        };
        Ok(found)
    }

    fn find_origin(&self, uuid: Uuid) -> Result<Option<Snapshot>> {
        let all = self.all()?;
        let has = |found: &&Found| found.subvolume.as_ref().is_some_and(|subvolume| subvolume.uuid == uuid);
        let Some(found) = all.iter().find(has) else { return Ok(None) };
        let dataset = match snapshots::parse(&found.path) {
            Some(own) => Some(own.dataset),
            None => snapshot_of(&all, found).and_then(|(dataset, _)| dataset_name(&dataset.path)),
        };
        if let Some(dataset) = dataset {
            let mut named = snapshots_in(&all, &dataset).into_iter();
            return Ok(named.find(|named| named.path == found.path).map(|named| named.snapshot));
        }
        Ok(dataset_name(&found.path).map(|dataset| Snapshot { dataset, name: None }))
    }

    pub(super) fn list_descendants(&self, name: &DatasetName) -> Result<Vec<Dataset>> {
        let all = self.around(name)?;
        let mut datasets = Vec::new();
        for found in &all {
            let inside = below(&found.path, name.as_str().as_bytes()).is_some();
            let hidden =
                name.parent().is_none() && below(&found.path, crate::dir::STATE.as_bytes()).is_some();
            let own = snapshots::parse(&found.path).is_some();
            if !inside || hidden || own || snapshot_of(&all, found).is_some() {
                continue;
            }
            let path = String::from_utf8_lossy(&found.path);
            let Some(subvolume) = &found.subvolume else {
                let path = self.directory().join(path.as_ref());
                return Err(Error::MountedOver(path.display().to_string()));
            };
            if std::str::from_utf8(&found.path).is_err() {
                return Err(crate::name::invalid(&path, "dataset", "it is not UTF-8").into());
            }
            let dataset = DatasetName::new(&path)?;
            datasets.push((dataset, subvolume));
        }
        datasets.into_iter().map(|(name, subvolume)| self.describe(&name, Some(subvolume))).collect()
    }

    /// Where in a dataset snapshots lie: each, or the directory that holds nothing else.
    pub(super) fn list_enclosed(&self, name: &DatasetName) -> Result<Vec<String>> {
        let all = self.around(name)?;
        let mut enclosed = Vec::new();
        for found in all.iter().filter(|found| snapshot_of(&all, found).is_some()) {
            let Some(path) = below(&found.path, name.as_str().as_bytes()) else { continue };
            let text = std::str::from_utf8(path).map_err(|_| {
                crate::name::invalid(&String::from_utf8_lossy(path), "snapshot", "it is not UTF-8")
            })?;
            let (above, _) = place::split(&found.path);
            let history = place::split(above).1 == HISTORY.as_bytes();
            if history && self.holds_only_snapshots(&all, above)? {
                let above = text.rsplit_once('/').map_or(HISTORY, |(above, _)| above);
                if enclosed.last().is_none_or(|last| last != above) {
                    enclosed.push(above.to_owned());
                }
            } else {
                enclosed.push(text.to_owned());
            }
        }
        if name.parent().is_none() {
            enclosed.push(crate::dir::STATE.to_owned());
        }
        Ok(enclosed)
    }

    fn holds_only_snapshots(&self, all: &[Found], directory: &[u8]) -> Result<bool> {
        let fail =
            |errno: Errno| Error::io("list", String::from_utf8_lossy(directory).into_owned(), errno.into());
        let opened = place::open_below(self.dir.root(), directory).map_err(fail)?;
        for entry in rustix::fs::Dir::read_from(&opened).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let entry = entry.file_name().to_bytes();
            let path = [directory, b"/", entry].concat();
            let known = all.iter().find(|found| found.path == path);
            if !matches!(entry, b"." | b"..") && known.and_then(|found| snapshot_of(all, found)).is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn snapshots_in(all: &[Found], name: &DatasetName) -> Vec<Named> {
    let mut found: Vec<(Option<SnapshotName>, &[u8], &Found)> = Vec::new();
    for candidate in all {
        if let Some(own) = snapshots::parse(&candidate.path) {
            if own.dataset == *name {
                found.push((own.name, b"", candidate));
            }
        } else if let Some((dataset, called)) = snapshot_of(all, candidate)
            && dataset.path == name.as_str().as_bytes()
        {
            found.push((None, called, candidate));
        }
    }
    let id = |found: &Found| found.subvolume.as_ref().map_or(0, |subvolume| subvolume.id);
    // In the order of their making, which their numbers are in.
    found.sort_by_key(|(_, _, found)| id(found));
    let raw: Vec<_> = found
        .iter()
        .map(|(own, called, found)| names::Raw {
            name: own.as_ref().map_or(called, |own| own.as_str().as_bytes()),
            parent: place::split(place::split(&found.path).0).1,
            id: id(found),
            fixed: own.is_some(),
        })
        .collect();
    let names = names::distinct(&raw);
    let with_names = found.iter().zip(names).filter_map(|((_, _, found), given)| {
        let snapshot = Snapshot { dataset: name.clone(), name: Some(given) };
        let subvolume = found.subvolume.clone()?;
        Some(Named { snapshot, path: found.path.clone(), subvolume })
    });
    with_names.collect()
}
