//! What a run has stopped or frozen: a file beside its record, which is there as long as anything is held.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::Run;
use crate::draft;
use crate::error::{Error, Result};
use crate::running::Held;

fn path_of(record: &Path) -> PathBuf {
    record.with_extension("held")
}

impl Run {
    /// Says what the run holds, or is about to hold, and returns when that is on stable storage.
    pub(crate) fn hold(&self, held: &[Held]) -> Result<()> {
        set(&self.path, held)
    }

    /// Has `work` start programs that are no part of the run: they do not hold its record, so they can outlive it.
    pub(crate) fn apart<T>(&self, work: impl FnOnce() -> T) -> T {
        let files = || self.replaced.iter().chain([&self.file]);
        let set = |flags| {
            for file in files() {
                // It cannot fail for a descriptor that is open. If it did the run would seem to live too long, which does no harm.
                let _ = rustix::io::fcntl_setfd(file, flags);
            }
        };
        set(rustix::io::FdFlags::CLOEXEC);
        let outcome = work();
        set(rustix::io::FdFlags::empty());
        outcome
    }

    /// The record, for a process that holds it locked too.
    pub(crate) fn lock(&self) -> Result<std::os::fd::OwnedFd> {
        self.file.try_clone().map(Into::into).map_err(Error::io("share", self.path.display()))
    }
}

fn set(record: &Path, held: &[Held]) -> Result<()> {
    let path = path_of(record);
    let failed = |error: std::io::Error| Error::io("write", path.display())(error);
    if held.is_empty() {
        return remove(record);
    }
    let fill = |file: &mut File| {
        serde_json::to_writer(&mut *file, held)?;
        file.sync_all()
    };
    draft::write(&path, fill, |_, draft| fs::rename(draft, &path)).map_err(failed)?;
    let directory = path.parent().unwrap_or(&path);
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

/// Nothing is held any more.
pub(super) fn remove(record: &Path) -> Result<()> {
    let path = path_of(record);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path.display())(error)),
        _ => Ok(()),
    }
}

/// What a run held when it died.
pub(crate) fn held(state: &Path, id: &str) -> Result<Vec<Held>> {
    let path = path_of(&state.join("runs").join(id));
    match fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text).map_err(|error| Error::Malformed {
            subject: path.display().to_string(),
            reason: error.to_string(),
        }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(Error::io("read", path.display())(error)),
    }
}

/// One of these is held no more.
pub(crate) fn release(state: &Path, id: &str, one: &Held) -> Result<()> {
    let mut held = held(state, id)?;
    held.retain(|other| other != one);
    set(&state.join("runs").join(id), &held)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Record, new_id};
    use crate::running::Hold;

    #[test]
    fn what_is_held_is_known_until_the_last_is_released() {
        let _turn = crate::run::turn();
        let state = tempfile::tempdir().unwrap();
        let run = Run::begin(state.path(), new_id(), &Record::new("export", "jail a".into())).unwrap();
        let one = |name: &str| Held {
            resource: format!("jail {name}"),
            root: "/a".into(),
            hold: Hold::Stop,
            supervisor: "lxc".into(),
            subject: name.into(),
        };
        let id = run.id().to_owned();
        assert_eq!(held(state.path(), &id).unwrap(), []);
        run.hold(&[one("a"), one("b")]).unwrap();
        drop(run);
        // It is no run of its own.
        assert_eq!(crate::run::dead(state.path()).unwrap().len(), 1);
        assert_eq!(held(state.path(), &id).unwrap(), [one("a"), one("b")]);
        release(state.path(), &id, &one("a")).unwrap();
        assert_eq!(held(state.path(), &id).unwrap(), [one("b")]);
        release(state.path(), &id, &one("b")).unwrap();
        let names = fs::read_dir(state.path().join("runs")).unwrap();
        assert_eq!(names.map(|entry| entry.unwrap().file_name()).collect::<Vec<_>>(), [id.as_str()]);
    }

    #[test]
    fn programs_that_are_apart_do_not_hold_the_record() {
        let _turn = crate::run::turn();
        let state = tempfile::tempdir().unwrap();
        let run = Run::begin(state.path(), new_id(), &Record::new("export", "jail a".into())).unwrap();
        let start = || {
            let mut command = std::process::Command::new("sleep");
            command.arg("600").stdout(std::process::Stdio::null()).spawn().unwrap()
        };
        let mut apart = run.apart(start);
        let mut part = start();
        drop(run);
        assert_eq!(crate::run::dead(state.path()).unwrap().len(), 0);
        part.kill().unwrap();
        part.wait().unwrap();
        assert_eq!(crate::run::dead(state.path()).unwrap().len(), 1);
        apart.kill().unwrap();
        apart.wait().unwrap();
    }
}
