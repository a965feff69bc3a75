//! A file of the state directory that is whole, or not there: it gets its name when all is in it.
//!
//! Until then it is a *draft*, whose name says so and which is locked: one that is not locked belongs to a dead process, and `cleanup`
//! removes it ([`abandoned`]). Whoever removes one in the moment before it is locked does no harm: it is written anew.

use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::run::{fill_random, private};

/// What the name of a draft begins with.
const PREFIX: &str = ".draft-";
/// What those end with that the backends write, in [`DATASETS`].
const NEW: &str = ".new";
const DATASETS: &str = "datasets";
/// The parts of the state directory that have drafts; "" is itself.
const PARTS: [&str; 4] = ["", "runs", "fingerprints", DATASETS];
/// How often a draft is begun that somebody removes.
const TRIES: u32 = 10;

/// Writes a file of mode 0600 by `content`, and gives it the name `path` by `name`, which gets the locked file and its name so far.
pub(crate) fn write<T>(
    path: &Path,
    mut content: impl FnMut(&mut File) -> io::Result<()>,
    mut name: impl FnMut(File, &Path) -> io::Result<T>,
) -> io::Result<T> {
    let mut tries = 0;
    loop {
        tries += 1;
        let mut random = [0; 4];
        fill_random(&mut random);
        let draft = path.with_file_name(format!("{PREFIX}{}", data_encoding::HEXLOWER.encode(&random)));
        let mut file = private().create_new(true).open(&draft)?;
        let written = file.lock().and_then(|()| content(&mut file));
        match written.and_then(|()| name(file, &draft)) {
            Err(error) if error.kind() == ErrorKind::NotFound && tries < TRIES => {}
            Err(error) => {
                // What cannot be removed is found by `cleanup`.
                let _ = fs::remove_file(&draft);
                return Err(error);
            }
            done => return done,
        }
    }
}

/// The drafts of dead processes.
pub(crate) fn abandoned(state: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for part in PARTS {
        let directory = state.join(part);
        let failed = || Error::io("read", directory.display());
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            entries => entries.map_err(failed())?,
        };
        for entry in entries {
            let path = entry.map_err(failed())?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let draft = name.starts_with(PREFIX) || part == DATASETS && name.ends_with(NEW);
            if draft && is_abandoned(&path)? {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn is_abandoned(path: &Path) -> Result<bool> {
    let file = match private().open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(Error::io("open", path.display())(error)),
    };
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(Error::io("lock", path.display())(error)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn rename(file: File, draft: &Path, to: &Path) -> io::Result<File> {
        fs::rename(draft, to)?;
        Ok(file)
    }

    #[test]
    fn it_has_its_name_when_it_is_whole_and_a_failure_leaves_nothing() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("file");
        let fill = |file: &mut File| {
            assert!(!path.exists());
            assert!(abandoned(state.path()).unwrap().is_empty(), "it is locked");
            file.write_all(b"whole")
        };
        write(&path, fill, |file, draft| rename(file, draft, &path)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        let other = state.path().join("other");
        let fails = |_: &mut File| Err(ErrorKind::StorageFull.into());
        assert!(write(&other, fails, |file, draft| rename(file, draft, &other)).is_err());
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1);
    }

    #[test]
    fn one_that_somebody_removes_is_written_anew() {
        let state = tempfile::tempdir().unwrap();
        let path = state.path().join("file");
        let mut times = 0;
        let fill = |file: &mut File| {
            times += 1;
            if times < 3 {
                for entry in fs::read_dir(state.path()).unwrap() {
                    fs::remove_file(entry.unwrap().path()).unwrap();
                }
            }
            file.write_all(b"whole")
        };
        write(&path, fill, |file, draft| rename(file, draft, &path)).unwrap();
        assert_eq!((times, fs::read(&path).unwrap()), (3, b"whole".to_vec()));
    }

    #[test]
    fn those_of_the_dead_are_found() {
        let state = tempfile::tempdir().unwrap();
        assert!(abandoned(state.path()).unwrap().is_empty());
        fs::create_dir(state.path().join(DATASETS)).unwrap();
        let drafts = [".draft-01234567", "datasets/12-34.new"].map(|name| state.path().join(name));
        for path in &drafts {
            fs::write(path, "").unwrap();
        }
        fs::write(state.path().join("datasets/12-34"), "").unwrap();
        assert_eq!(abandoned(state.path()).unwrap(), drafts);
    }
}
