//! What interrupted runs left in a pool, and removing it.
//!
//! Everything that a run makes carries its id, and its record is locked as long as it lives ([`crate::run`]). What carries
//! the id of a run that goes on is left alone.
//!
//! A restore of several resources that died while it made them visible is finished, not undone: its record says that all of them are
//! whole. One of a single resource has made it visible or has not; if so, what is not mounted is. Who dies here leaves the record, and the
//! next one goes on.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use remand_backends::{Dataset, DatasetKind, DatasetName, Leftover};

use crate::archive::sink::partial_path;
use crate::draft;
use crate::error::{Error, Result};
use crate::event::Observer;
use crate::pool::Pool;
use crate::restore::times::put_times_back;
use crate::run::{self, Publish, Record};
use crate::running::Held;
use crate::step::Steps;
use crate::tree::{TreePath, TreeWriter};
use crate::undo::chain;

/// Something that an interrupted run left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is, as in `staging dataset .remand/staging/remand-…`.
    pub what: String,
    /// The run that left it, as far as that is known.
    pub run: String,
    item: Item,
}

/// What became of something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It is gone.
    Removed,
    /// It is whole, and visible now: which resource.
    Published(String),
    /// All of it is mounted now: which resource.
    Mounted(String),
    /// It goes on, which was stopped or frozen: which resource.
    Released(String),
    /// It is still there, and why.
    Kept(String),
}

impl Found {
    /// Whether it is a whole resource, which is made visible and not removed.
    pub fn is_whole(&self) -> bool {
        matches!(self.item, Item::Whole(_))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Backend(Leftover),
    Partial(PathBuf),
    /// An archive in DIRECTORY format that was moved aside to be replaced, and its name.
    Aside(PathBuf, PathBuf),
    /// A file of the state directory that has not got its name.
    Draft(PathBuf),
    /// A resource that the run has stopped or frozen.
    Held(String, Held),
    /// A whole resource that was to become visible.
    Whole(Publish),
    /// One that is visible, and not all of it is mounted.
    Unmounted(Publish),
    Record(String),
}

/// All leftovers of dead runs, in the order in which they can be removed.
pub fn list(pool: &Pool) -> Result<Vec<Found>> {
    let backend = pool.backend();
    let Some(state) =
        backend.existing_state_directory().map_err(Error::backend("open the pool's state directory"))?
    else {
        return Ok(Vec::new());
    };
    // The backend is asked first: a run that begins in between has a record by the time that records are read.
    let left = backend.leftovers().map_err(Error::backend("look for leftovers"))?;
    let alive: BTreeSet<String> = run::alive(&state)?.into_iter().collect();
    let dead = run::dead(&state)?;
    let mut found = Vec::new();
    for (id, record) in &dead {
        for held in run::held(&state, id)? {
            let what =
                format!("{} that is {} by {}: it goes on", held.resource, held.hold.state(), held.supervisor);
            found.push(Found { what, run: holder(id, record), item: Item::Held(id.clone(), held) });
        }
    }
    for (id, record) in &dead {
        for entry in unmounted(pool, record, &left)? {
            let what = format!("{}, visible and not all mounted: it is mounted", entry.resource);
            found.push(Found { what, run: holder(id, record), item: Item::Unmounted(entry) });
        }
    }
    for leftover in left {
        let (mut what, id) = describe(&leftover);
        if !alive.contains(&id) {
            let record = dead.iter().find(|(dead, _)| *dead == id).map(|(_, record)| record);
            if let Some(entry) = record.and_then(|record| to_publish(record, &leftover)) {
                let what = format!("{}, whole: it becomes visible", entry.resource);
                let run = record.map_or_else(|| id.clone(), |record| holder(&id, record));
                found.push(Found { what, run, item: Item::Whole(entry.clone()) });
                continue;
            }
            what.push_str(&resumable(pool, &state, &id, &leftover, record)?);
            let run = dead
                .iter()
                .find(|(dead, _)| *dead == id)
                .map_or_else(|| id.clone(), |(_, record)| holder(&id, record));
            found.push(Found { what, run, item: Item::Backend(leftover) });
        }
    }
    // Views stand on snapshots, so they go first. Of several stages of a run those with higher numbers may be clones of others. What
    // is whole comes in the order of the archive.
    found.sort_by(|a, b| order(&a.item).cmp(&order(&b.item)));
    for (id, record) in &dead {
        if let Some(path) = partial_of(id, record) {
            let what = format!("partial archive {}", path.display());
            found.push(Found { what, run: holder(id, record), item: Item::Partial(path) });
        }
    }
    for (id, record) in &dead {
        if let Some((aside, dest)) = aside_of(id, record) {
            let what = format!("archive {} that was moved aside", aside.display());
            found.push(Found { what, run: holder(id, record), item: Item::Aside(aside, dest) });
        }
    }
    for path in draft::abandoned(&state)? {
        let what = format!("unfinished file {}", path.display());
        found.push(Found { what, run: String::new(), item: Item::Draft(path) });
    }
    for (id, record) in dead {
        let run = holder(&id, &record);
        found.push(Found { what: format!("run record {id}"), run, item: Item::Record(id) });
    }
    Ok(found)
}

fn order(item: &Item) -> (u8, Reverse<Option<&str>>, Option<&str>) {
    match item {
        // Nothing is more urgent.
        Item::Held(..) => (0, Reverse(None), None),
        Item::Backend(Leftover::Dataset(name)) if !name.as_str().starts_with(STAGING) => {
            (1, Reverse(None), None)
        }
        Item::Backend(Leftover::Dataset(name)) => (2, Reverse(Some(name.as_str())), None),
        Item::Backend(Leftover::Snapshot(_)) => (3, Reverse(None), None),
        Item::Whole(entry) => (4, Reverse(None), Some(&entry.from)),
        Item::Unmounted(entry) => (5, Reverse(None), Some(&entry.from)),
        _ => (6, Reverse(None), None),
    }
}

/// Removes what [`list`] found, in its order; makes visible what is whole, unless that is to be discarded too.
pub fn remove(pool: &Pool, found: &Found, discard: bool, observer: &dyn Observer) -> Result<Done> {
    let failed = || Error::backend(format!("remove the {}", found.what));
    match &found.item {
        Item::Backend(leftover) => pool.backend().destroy_leftover(leftover).map_err(failed())?,
        Item::Whole(entry) if discard => {
            let name = DatasetName::new(&entry.from).map_err(|error| Error::Refused(error.to_string()))?;
            pool.backend().destroy_leftover(&Leftover::Dataset(name)).map_err(failed())?;
        }
        Item::Held(id, held) => return release(pool, id, held),
        Item::Whole(entry) => return publish(pool, entry, observer),
        Item::Unmounted(entry) => return mount(pool, entry, observer),
        Item::Partial(path) | Item::Draft(path) => remove_partial(path)?,
        Item::Aside(aside, dest) => match dest.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // The run died before the new one took its place: it comes back.
                std::fs::rename(aside, dest).map_err(Error::io("rename", aside.display()))?;
            }
            _ => remove_partial(aside)?,
        },
        Item::Record(id) => {
            let state = pool
                .backend()
                .state_directory()
                .map_err(Error::backend("open the pool's state directory"))?;
            return forget(pool, &state, id);
        }
    }
    Ok(Done::Removed)
}

/// Lets a resource go on that a dead run has stopped or frozen.
fn release(pool: &Pool, id: &str, held: &Held) -> Result<Done> {
    let Some(state) = pool
        .backend()
        .existing_state_directory()
        .map_err(Error::backend("open the pool's state directory"))?
    else {
        return Ok(Done::Removed);
    };
    if let Err(error) = held.undo(pool.layout()) {
        return Ok(Done::Kept(format!("could not be undone: {}", chain(&error))));
    }
    run::release(&state, id, held)?;
    Ok(Done::Released(held.resource.clone()))
}

/// The rename that a restore did not come to, and what follows it.
fn publish(pool: &Pool, entry: &Publish, observer: &dyn Observer) -> Result<Done> {
    let refused = |error: remand_backends::name::InvalidName| Error::Refused(error.to_string());
    let (from, to) = (DatasetName::new(&entry.from), DatasetName::new(&entry.to));
    let (from, to) = (from.map_err(refused)?, to.map_err(refused)?);
    let backend = pool.backend();
    let what = &entry.resource;
    let failed = || Error::backend(format!("make the {what} visible"));
    let Some(created) = backend.adopt(&Leftover::Dataset(from)).map_err(failed())? else {
        return Ok(Done::Published(what.clone())); // somebody else was faster
    };
    match backend.rename(created, &to) {
        Ok(_visible) => {}
        Err(kept) if matches!(kept.error, remand_backends::Error::Exists(_)) => {
            return Ok(Done::Kept(format!(
                "the {what} is whole, but there is another one by now: rename or remove that and run it again, or drop this one with --discard"
            )));
        }
        Err(kept) => return Err(failed()(kept.error)),
    }
    backend.mount(&to).map_err(failed())?;
    put_times_back(pool, &to, &entry.times, &Steps::new(observer, what));
    Ok(Done::Published(what.clone()))
}

/// Forgets a run, unless something of it waits to become visible.
fn forget(pool: &Pool, state: &Path, id: &str) -> Result<Done> {
    let backend = pool.backend();
    if !run::held(state, id)?.is_empty() {
        return Ok(Done::Kept(format!("the record of {id} stays as long as something is stopped or frozen")));
    }
    let dead = run::dead(state)?;
    let entries = dead.iter().find(|(dead, _)| dead == id).map_or(&[][..], |(_, record)| &record.publish);
    for entry in entries {
        let exists = |name: &str| {
            let name = DatasetName::new(name).map_err(|error| Error::Refused(error.to_string()))?;
            let found =
                backend.dataset(&name).map_err(Error::backend(format!("look {} up", name.as_str())))?;
            Ok::<_, Error>(found.map(|found| found.name))
        };
        if exists(&entry.from)?.is_some() {
            return Ok(Done::Kept(format!(
                "the record of {id} stays as long as the {} waits",
                entry.resource
            )));
        }
    }
    run::forget(state, id)?;
    Ok(Done::Removed)
}

/// The resources that a dead run has made visible and not all mounted. What waits in staging was not renamed: whatever has its name is
/// another's.
fn unmounted(pool: &Pool, record: &Record, left: &[Leftover]) -> Result<Vec<Publish>> {
    let backend = pool.backend();
    let waits = |entry: &Publish| {
        left.iter().any(|one| matches!(one, Leftover::Dataset(name) if name.as_str() == entry.from))
    };
    let mut found = Vec::new();
    for entry in record.publish.iter().filter(|entry| !waits(entry)) {
        let to = DatasetName::new(&entry.to).map_err(|error| Error::Refused(error.to_string()))?;
        let failed = || Error::backend(format!("look {} up", to.as_str()));
        let Some(own) = backend.dataset(&to).map_err(failed())? else { continue };
        let below = backend.descendants(&to).map_err(failed())?;
        let is_unmounted =
            |dataset: &Dataset| dataset.kind == DatasetKind::FileSystem && dataset.directory.is_none();
        if is_unmounted(&own) || below.iter().any(is_unmounted) {
            found.push(entry.clone());
        }
    }
    Ok(found)
}

/// What follows the rename.
fn mount(pool: &Pool, entry: &Publish, observer: &dyn Observer) -> Result<Done> {
    let to = DatasetName::new(&entry.to).map_err(|error| Error::Refused(error.to_string()))?;
    if let Err(error) = pool.backend().mount(&to) {
        return Ok(Done::Kept(format!("could not be mounted: {}", chain(&error))));
    }
    put_times_back(pool, &to, &entry.times, &Steps::new(observer, &entry.resource));
    Ok(Done::Mounted(entry.resource.clone()))
}

/// What the run was about to do with it. A record is trusted with its own staging only.
fn to_publish<'r>(record: &'r Record, leftover: &Leftover) -> Option<&'r Publish> {
    let (Leftover::Dataset(name), true) = (leftover, record.rolls_forward()) else { return None };
    record.publish.iter().find(|entry| {
        let to = DatasetName::new(&entry.to);
        entry.from == name.as_str()
            && entry.from.starts_with(STAGING)
            && to.is_ok_and(|to| to.components().next().is_some_and(|first| !first.starts_with('.')))
    })
}

const STAGING: &str = ".remand/staging/";

/// What a restore could go on with.
fn resumable(
    pool: &Pool,
    state: &Path,
    id: &str,
    leftover: &Leftover,
    record: Option<&Record>,
) -> Result<String> {
    let (Some(streams), Leftover::Dataset(name)) = (pool.backend().streams(), leftover) else {
        return Ok(String::new());
    };
    let Some(source) =
        record.filter(|record| record.archive.is_some()).and_then(|record| record.source.as_ref())
    else {
        return Ok(String::new());
    };
    let partials = streams.partials(name).map_err(Error::backend("look for what was received"))?;
    let bytes = crate::restore::resumable_bytes(&run::received_path_of(state, id), name, &partials)?;
    Ok(if bytes == 0 {
        String::new()
    } else {
        format!(" (resumable: {bytes} bytes received; restore {source} again to go on)")
    })
}

fn holder(id: &str, record: &Record) -> String {
    if record.pid == 0 { id.to_owned() } else { format!("{id}, {}", record.holder()) }
}

fn describe(leftover: &Leftover) -> (String, String) {
    match leftover {
        Leftover::Dataset(name) => {
            let last = name.as_str().rsplit('/').next().unwrap_or_default();
            // A view's name is its run's with a suffix.
            let id = last.get(..run::ID_BYTES).unwrap_or(last).to_owned();
            (format!("dataset {}", name.as_str()), id)
        }
        Leftover::Snapshot(snapshot) => {
            let name = snapshot.name.as_ref().map_or("", |name| name.as_str());
            (format!("snapshot {}@{name}", snapshot.dataset.as_str()), name.to_owned())
        }
    }
}

/// The partial archive of a run, if it is there. The name must be the one that this run would have given: a record is not trusted
/// with anything else.
fn partial_of(id: &str, record: &Record) -> Option<PathBuf> {
    let path = record.partial_path()?;
    let suffix = partial_path(Path::new("x"), id);
    let suffix = suffix.to_str()?.strip_prefix('x')?;
    let ours = path.is_absolute() && path.file_name()?.to_string_lossy().ends_with(suffix);
    (ours && path.symlink_metadata().is_ok()).then_some(path)
}

/// An archive that a dead run had moved aside to replace it, and its name.
fn aside_of(id: &str, record: &Record) -> Option<(PathBuf, PathBuf)> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let partial = record.partial_path()?;
    let suffix = partial_path(Path::new("x"), id);
    let suffix = suffix.as_os_str().as_bytes().strip_prefix(b"x")?;
    let name = partial.file_name()?.as_bytes().strip_suffix(suffix)?.to_vec();
    let dest = partial.with_file_name(std::ffi::OsString::from_vec(name.clone()));
    let mut aside = name;
    aside.extend_from_slice(format!(".replaced-{id}").as_bytes());
    let aside = partial.with_file_name(std::ffi::OsString::from_vec(aside));
    (partial.is_absolute() && aside.symlink_metadata().is_ok()).then_some((aside, dest))
}

fn remove_partial(path: &Path) -> Result<()> {
    let failed = |error| Error::io("remove", path.display())(error);
    let found = match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        found => found.map_err(failed)?,
    };
    if !found.is_dir() {
        return std::fs::remove_file(path).map_err(failed);
    }
    // An archive in DIRECTORY format can be deeper than a path can be long.
    let (above, name) = (path.parent().unwrap_or(path), path.file_name().unwrap_or_default());
    let unremovable = || Error::tree(format!("remove {}", path.display()));
    let above = std::fs::File::open(above).map_err(failed)?;
    let name = TreePath::root().join(std::os::unix::ffi::OsStrExt::as_bytes(name));
    TreeWriter::new(above.into()).and_then(|mut writer| writer.remove(&name)).map(drop).map_err(unremovable())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_trusted_with_its_own_partial_archive_only() {
        let directory = tempfile::tempdir().unwrap();
        let id = run::new_id();
        assert_eq!(id.len(), run::ID_BYTES);
        let own = partial_path(&directory.path().join("a.tar.gz"), &id);
        let other = directory.path().join("precious");
        for path in [&own, &other] {
            std::fs::write(path, "").unwrap();
        }
        let record = |path: &Path| Record::new("export", "jail a".into()).with_partial(Some(path));
        assert_eq!(partial_of(&id, &record(&own)), Some(own));
        assert_eq!(partial_of(&id, &record(&other)), None);
    }

    #[test]
    fn an_archive_that_was_moved_aside_is_found_by_its_run() {
        let directory = tempfile::tempdir().unwrap();
        let (id, dest) = (run::new_id(), directory.path().join("backup"));
        let record = Record::new("export", "jail a".into()).with_partial(Some(&partial_path(&dest, &id)));
        assert_eq!(aside_of(&id, &record), None);
        let aside = directory.path().join(format!("backup.replaced-{id}"));
        std::fs::create_dir(&aside).unwrap();
        assert_eq!(aside_of(&id, &record), Some((aside, dest)));
    }
}
