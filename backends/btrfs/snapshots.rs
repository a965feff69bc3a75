//! remand's own snapshots: `.remand/snapshots/NAME/DATASET/@`.
//!
//! Those of a recursive one are made at the same time: each waits for the file system to commit, and so they share a commit and are
//! nearly of one moment. What a crash leaves is a set that lacks some, or directories without any; both are found by their name.

use super::state::SNAPSHOTS;
use super::subvolumes::walk;
use super::{Btrfs, create, place};
use crate::dir::{DIRECTORY, STATE};
use crate::{Backend, DatasetName, Error, Result, Snapshot, SnapshotName};
use remand_sys::btrfs::{self, Subvolume};
use rustix::fs::{self, AtFlags, Mode};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Barrier;

/// The subvolume in the directory that is called like the dataset. No dataset can have this name.
const LAST: &str = "@";
/// How often a path is made again that somebody removes meanwhile, because it was empty.
const TRIES: u32 = 20;
/// How many snapshots are made at the same time.
const AT_ONCE: usize = 16;

/// Which snapshot lies at a path in the pool.
pub(super) fn parse(path: &[u8]) -> Option<Snapshot> {
    let mut parts = std::str::from_utf8(path).ok()?.split('/');
    if parts.next() != Some(STATE) || parts.next() != Some(SNAPSHOTS) {
        return None;
    }
    let name = SnapshotName::new(parts.next()?).ok()?;
    let mut parts: Vec<_> = parts.collect();
    if parts.pop() != Some(LAST) {
        return None;
    }
    Some(Snapshot { dataset: DatasetName::new(&parts.join("/")).ok()?, name: Some(name) })
}

/// Where a snapshot lies, relative to the pool.
fn place_of(dataset: &DatasetName, name: &SnapshotName) -> PathBuf {
    let above = PathBuf::from(STATE).join(SNAPSHOTS).join(name.as_str());
    dataset.components().fold(above, |path, part| path.join(part)).join(LAST)
}

fn missing(pool: &Btrfs, snapshot: &Snapshot) -> Error {
    let name = snapshot.name.as_ref().map_or("", |name| name.as_str());
    Error::NotFound(format!("snapshot {}@{name}", pool.label_of(&snapshot.dataset)))
}

/// All that have remand's name, those of one run together, parents first. Directories without any are told as one of the pool.
pub(super) fn remands(pool: &Btrfs) -> Result<Vec<Snapshot>> {
    let mut all = Vec::new();
    for (name, directory) in sets(pool)? {
        if !name.is_remand() {
            continue;
        }
        let fail = |source| Error::io("look into", pool.label_of(&DatasetName::pool()), source);
        let prefix = format!("{STATE}/{SNAPSHOTS}/{name}/");
        let found = walk(&directory).map_err(fail)?;
        let found = found.iter().filter_map(|found| parse(&[prefix.as_bytes(), &found.path].concat()));
        let before = all.len();
        all.extend(found);
        if all.len() == before {
            all.push(Snapshot { dataset: DatasetName::pool(), name: Some(name) });
        }
    }
    all.sort_by(|a, b| (&a.name, &a.dataset).cmp(&(&b.name, &b.dataset)));
    Ok(all)
}

/// The directories in `.remand/snapshots`.
fn sets(pool: &Btrfs) -> Result<Vec<(SnapshotName, OwnedFd)>> {
    let place = DatasetName::new(STATE)?.join(SNAPSHOTS)?;
    let Some(above) = pool.dir.find(&place)? else { return Ok(Vec::new()) };
    let fail = |errno| pool.dir.fail("list", &place, errno);
    let mut sets = Vec::new();
    for entry in fs::Dir::read_from(&above).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let Some(name) = entry.file_name().to_str().ok().and_then(|name| SnapshotName::new(name).ok()) else {
            continue;
        };
        match fs::openat(&above, entry.file_name(), DIRECTORY, Mode::empty()) {
            Ok(directory) => sets.push((name, directory)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(fail(errno)),
        }
    }
    Ok(sets)
}

/// Removes everything in a directory of a set. Where its snapshots lie is known, so that nobody asks for all subvolumes there are.
fn empty_set(directory: &OwnedFd, path: &Path) -> Result<()> {
    let fail = |errno: Errno| Error::io("empty", path.display().to_string(), errno.into());
    for entry in fs::Dir::read_from(directory).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let path = path.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
        if name.to_bytes() != LAST.as_bytes()
            && let Ok(inner) = fs::openat(directory, name, DIRECTORY, Mode::empty())
        {
            empty_set(&inner, &path)?;
        }
        create::delete_tree(directory, name.to_bytes(), &path)?;
    }
    Ok(())
}

impl Btrfs {
    pub(super) fn make_snapshots(
        &self,
        name: &DatasetName,
        snapshot: &SnapshotName,
        recursive: bool,
    ) -> Result<()> {
        self.look_up(name)?.ok_or_else(|| self.dir.missing(name))?;
        self.state_directory()?;
        let below = if recursive { self.list_descendants(name)? } else { Vec::new() };
        let below = below.into_iter().map(|dataset| dataset.name);
        let datasets: Vec<_> = std::iter::once(name.clone()).chain(below).collect();
        let (mut begun, mut failure) = (Vec::new(), None);
        for some in datasets.chunks(AT_ONCE) {
            for (dataset, outcome) in self.make_some(some, snapshot) {
                match outcome {
                    Ok(()) => {}
                    // Somebody has removed it since it was listed.
                    Err(Error::NotFound(_)) if dataset != name => {}
                    Err(error) => {
                        let is_anothers = matches!(error, Error::Exists(_));
                        failure = failure.or(Some(error));
                        if is_anothers {
                            continue;
                        }
                    }
                }
                begun.push(dataset);
            }
            if failure.is_some() {
                break;
            }
        }
        let Some(mut error) = failure else { return Ok(()) };
        // One that failed left its directory at least.
        for dataset in begun.into_iter().rev() {
            let one = Snapshot { dataset: dataset.clone(), name: Some(snapshot.clone()) };
            error = error.with_undo(format!("{dataset}@{snapshot}"), self.destroy_own(&one, false));
        }
        Err(error)
    }

    /// Snapshots of several datasets at the same time.
    fn make_some<'name>(
        &self,
        datasets: &'name [DatasetName],
        snapshot: &SnapshotName,
    ) -> Vec<(&'name DatasetName, Result<()>)> {
        // First everything but the snapshots themselves: one that is begun later than the others waits for a commit of its own, and
        // the first locks its directory.
        let ready: Vec<_> = datasets
            .iter()
            .map(|dataset| (dataset, self.source_of(dataset), self.make_place(dataset, snapshot).ok()))
            .collect();
        let together = Barrier::new(ready.len());
        let make = |(dataset, source, place): (_, Result<OwnedFd>, _)| {
            together.wait();
            (dataset, source.and_then(|source| self.make_snapshot(dataset, snapshot, &source, place)))
        };
        let mut ready = ready.into_iter();
        let mine = ready.next();
        std::thread::scope(|scope| {
            let others: Vec<_> = ready.map(|one| scope.spawn(|| make(one))).collect();
            let others = others
                .into_iter()
                .map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            mine.map(make).into_iter().chain(others).collect()
        })
    }

    /// The subvolume that a dataset is, or is in.
    fn source_of(&self, name: &DatasetName) -> Result<OwnedFd> {
        let directory = self.existing(name)?;
        place::top_above(&directory).map_err(|errno| match errno {
            Errno::XDEV => Error::Unsupported {
                subject: self.label_of(name),
                what: "a snapshot of a directory whose subvolume is not mounted from its top",
            },
            errno => self.dir.fail("look above", name, errno),
        })
    }

    /// Makes a snapshot, in `place` if that is still there.
    fn make_snapshot(
        &self,
        name: &DatasetName,
        snapshot: &SnapshotName,
        source: &OwnedFd,
        mut place: Option<OwnedFd>,
    ) -> Result<()> {
        let mut tries = 0;
        loop {
            tries += 1;
            let made = place
                .take()
                .map_or_else(|| self.make_place(name, snapshot), Ok)
                .map_err(std::io::Error::from)
                .and_then(|above| btrfs::snapshot(&above, LAST.as_bytes(), source, true));
            match made {
                Ok(()) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    return Err(Error::Exists(format!("snapshot {}@{snapshot}", self.label_of(name))));
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && tries < TRIES => {}
                Err(error) => return Err(Error::io("make a snapshot of", self.label_of(name), error)),
            }
        }
    }

    fn make_place(&self, name: &DatasetName, snapshot: &SnapshotName) -> std::result::Result<OwnedFd, Errno> {
        let mut current = place::open_below(self.dir.root(), format!("{STATE}/{SNAPSHOTS}").as_bytes())?;
        for part in std::iter::once(snapshot.as_str()).chain(name.components()) {
            // First a look: a directory is locked as long as a snapshot is made in it.
            let there = match fs::openat(&current, part, DIRECTORY, Mode::empty()) {
                Err(Errno::NOENT) => None,
                found => Some(found?),
            };
            current = match there {
                Some(there) => there,
                None => match fs::mkdirat(&current, part, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => fs::openat(&current, part, DIRECTORY, Mode::empty())?,
                    Err(errno) => return Err(errno),
                },
            };
        }
        Ok(current)
    }

    /// Destroys own snapshots of one name: of a dataset, and of all below it where `recursive`. Absent is success.
    pub(super) fn destroy_own(&self, snapshot: &Snapshot, recursive: bool) -> Result<()> {
        let Some(name) = &snapshot.name else { return Ok(()) };
        let place = place_of(&snapshot.dataset, name);
        let path = self.directory().join(&place);
        let fail =
            |errno: Errno| Error::io("destroy the snapshot at", path.display().to_string(), errno.into());
        let above = place.parent().unwrap_or(&place).as_os_str().as_bytes();
        match place::open_below(self.dir.root(), above) {
            Ok(above) if recursive => empty_set(&above, path.parent().unwrap_or(&path))?,
            Ok(above) => create::delete_tree(&above, LAST.as_bytes(), &path)?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(fail(errno)),
        }
        // The directories above, as far as nobody else uses them.
        let mut next = above;
        let all = format!("{STATE}/{SNAPSHOTS}");
        while next != all.as_bytes() {
            let (outer, last) = place::split(next);
            let removed = place::open_below(self.dir.root(), outer)
                .and_then(|outer| fs::unlinkat(&outer, last, AtFlags::REMOVEDIR));
            match removed {
                Ok(()) | Err(Errno::NOENT) => next = outer,
                Err(Errno::NOTEMPTY | Errno::EXIST) => break,
                Err(errno) => return Err(fail(errno)),
            }
        }
        Ok(())
    }

    /// Removes the directories of a set whose snapshots are gone: a crash leaves some in which none was made yet.
    pub(super) fn destroy_empty_set(&self, name: &SnapshotName) -> Result<()> {
        let set = format!("{STATE}/{SNAPSHOTS}/{name}");
        let fail = |source| Error::io("look into", self.directory().join(&set).display().to_string(), source);
        match place::open_below(self.dir.root(), set.as_bytes()) {
            Ok(directory) if !walk(&directory).map_err(fail)?.is_empty() => Ok(()),
            Ok(_) => {
                self.destroy_own(&Snapshot { dataset: DatasetName::pool(), name: Some(name.clone()) }, true)
            }
            Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(fail(errno.into())),
        }
    }

    /// Destroys all own snapshots of a dataset and of those below it.
    pub(super) fn destroy_all_own(&self, dataset: &DatasetName) -> Result<()> {
        for (name, _) in sets(self)? {
            self.destroy_own(&Snapshot { dataset: dataset.clone(), name: Some(name) }, true)?;
        }
        Ok(())
    }

    /// One that remand has made, by its place: nothing else of the dataset can have its name.
    pub(super) fn own_snapshot(&self, snapshot: &Snapshot) -> Result<Option<Subvolume>> {
        let Some(name) = &snapshot.name else { return Ok(None) };
        let place = place_of(&snapshot.dataset, name);
        let fail = |errno| self.dir.fail("look for a snapshot of", &snapshot.dataset, errno);
        match place::open_below(self.dir.root(), place.as_os_str().as_bytes()) {
            Ok(found) => place::top(&found).map_err(|error| fail(place::errno_of(&error))),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
            Err(errno) => Err(fail(errno)),
        }
    }

    /// The directory that shows a snapshot's files.
    pub(super) fn directory_of(&self, snapshot: &Snapshot) -> Result<PathBuf> {
        let dataset = &snapshot.dataset;
        let Some(name) = &snapshot.name else {
            self.look_up(dataset)?.ok_or_else(|| self.dir.missing(dataset))?;
            return Ok(self.dir.path_of(dataset));
        };
        let own = place_of(dataset, name);
        match place::open_below(self.dir.root(), own.as_os_str().as_bytes()) {
            Ok(_) => Ok(self.directory().join(own).join(self.place_in_subvolume(dataset)?)),
            Err(Errno::NOENT) => {
                self.dir.find(dataset)?.ok_or_else(|| missing(self, snapshot))?;
                let named = self.snapshots_of(dataset)?.into_iter().find(|named| named.snapshot == *snapshot);
                let named = named.ok_or_else(|| missing(self, snapshot))?;
                Ok(self.directory().join(std::ffi::OsStr::from_bytes(&named.path)))
            }
            Err(errno) => Err(self.dir.fail("look for a snapshot of", dataset, errno)),
        }
    }

    /// Where in its subvolume a dataset lies that is a directory of it; "" for a subvolume, and for what is gone.
    fn place_in_subvolume(&self, name: &DatasetName) -> Result<PathBuf> {
        let Some(directory) = self.dir.find(name)? else { return Ok(PathBuf::new()) };
        let fail = |source| Error::io("look at", self.label_of(name), source);
        if self.top_of(name, &directory)?.is_some() {
            return Ok(PathBuf::new());
        }
        let inode = fs::fstat(&directory).map_err(|errno| fail(errno.into()))?.st_ino;
        let path = btrfs::path_of_inode(&directory, inode).map_err(fail)?;
        Ok(PathBuf::from(std::ffi::OsString::from(std::ffi::OsStr::from_bytes(&path))))
    }
}
