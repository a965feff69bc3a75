//! What interrupted runs left in a pool, and removing it.
//!
//! Everything that a run makes carries its id, and its record is locked as long as it lives ([`crate::run`]). What carries
//! the id of a run that goes on is left alone.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use remand_backends::Leftover;

use crate::archive::sink::partial_path;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::run::{self, Record};
use crate::tree::{TreePath, TreeWriter};

/// Something that an interrupted run left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// What it is, as in `staging dataset .remand/staging/remand-…`.
    pub what: String,
    /// The run that left it, as far as that is known.
    pub run: String,
    item: Item,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Backend(Leftover),
    Partial(PathBuf),
    /// An archive in DIRECTORY format that was moved aside to be replaced, and its name.
    Aside(PathBuf, PathBuf),
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
    for leftover in left {
        let (mut what, id) = describe(&leftover);
        if !alive.contains(&id) {
            let record = dead.iter().find(|(dead, _)| *dead == id).map(|(_, record)| record);
            what.push_str(&resumable(pool, &state, &id, &leftover, record)?);
            let run = dead
                .iter()
                .find(|(dead, _)| *dead == id)
                .map_or_else(|| id.clone(), |(_, record)| holder(&id, record));
            found.push(Found { what, run, item: Item::Backend(leftover) });
        }
    }
    // Views stand on snapshots, so they go first.
    found.sort_by_key(|found| matches!(found.item, Item::Backend(Leftover::Snapshot(_))));
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
    for (id, record) in dead {
        let run = holder(&id, &record);
        found.push(Found { what: format!("run record {id}"), run, item: Item::Record(id) });
    }
    Ok(found)
}

/// Removes what [`list`] found.
pub fn remove(pool: &Pool, found: &Found) -> Result<()> {
    match &found.item {
        Item::Backend(leftover) => pool
            .backend()
            .destroy_leftover(leftover)
            .map_err(Error::backend(format!("remove the {}", found.what))),
        Item::Partial(path) => remove_partial(path),
        Item::Aside(aside, dest) => match dest.symlink_metadata() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                // The run died before the new one took its place: it comes back.
                std::fs::rename(aside, dest).map_err(Error::io("rename", aside.display()))
            }
            _ => remove_partial(aside),
        },
        Item::Record(id) => {
            let state = pool
                .backend()
                .state_directory()
                .map_err(Error::backend("open the pool's state directory"))?;
            run::forget(&state, id)
        }
    }
}

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
            let id = last.get(..RUN_ID_BYTES).unwrap_or(last).to_owned();
            (format!("dataset {}", name.as_str()), id)
        }
        Leftover::Snapshot(snapshot) => {
            let name = snapshot.name.as_ref().map_or("", |name| name.as_str());
            (format!("snapshot {}@{name}", snapshot.dataset.as_str()), name.to_owned())
        }
    }
}

/// Length of `remand-YYYYMMDDTHHMMSSZ-xxxxxxxx`.
const RUN_ID_BYTES: usize = 32;

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
        assert_eq!(id.len(), RUN_ID_BYTES);
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
