//! The lock of a resource: an advisory file lock in the pool, seen by every process, gone with its process.
//!
//! Lock files stay when they are released: removing one could race with a process that has just opened it.

use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::run::{self, Record};

/// A held lock.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock of the resource that `record` names. `wait` waits until it is free or `interrupted`.
    pub fn acquire(
        state: &Path,
        key: &str,
        record: &Record,
        wait: bool,
        interrupted: &AtomicBool,
    ) -> Result<Self> {
        let directory = state.join("locks");
        run::make_private_directory(&directory)?;
        let path = directory.join(key);
        let failed = |error| Error::io("lock", path.display())(error);
        let mut file = run::private().create(true).truncate(false).open(&path).map_err(failed)?;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if wait => {
                    if interrupted.load(Ordering::Relaxed) {
                        return Err(Error::Interrupted);
                    }
                    std::thread::sleep(Duration::from_millis(100));
                }
                Err(TryLockError::WouldBlock) => {
                    let holder = run::read_record(&mut file);
                    let holder = if holder.pid == 0 { "another process".to_owned() } else { holder.holder() };
                    return Err(Error::Locked { what: record.resource.clone(), holder });
                }
            }
        }
        run::write_record(&mut file, record).map_err(failed)?;
        Ok(Self { file })
    }
}

impl Drop for Lock {
    /// Forgets the holder first, so that nobody reads a stale one. The lock itself goes with the descriptor.
    fn drop(&mut self) {
        let _ = self.file.set_len(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_is_told_who_the_first_is_and_gets_it_afterwards() {
        let state = tempfile::tempdir().unwrap();
        let no = AtomicBool::new(false);
        let record = Record::new("export", "jail web01".into());
        let first = Lock::acquire(state.path(), "jail-web01", &record, false, &no).unwrap();
        let error = Lock::acquire(state.path(), "jail-web01", &record, false, &no).unwrap_err();
        assert_eq!(error.exit_status(), 11);
        let text = error.to_string();
        assert!(
            text.contains(&format!("process {}", std::process::id())) && text.contains(&record.since),
            "{text}"
        );
        let other = Lock::acquire(state.path(), "jail-web2", &record, false, &no).unwrap();
        drop((first, other));
        drop(Lock::acquire(state.path(), "jail-web01", &record, false, &no).unwrap());
    }

    #[test]
    fn waiting_ends_with_an_interrupt() {
        let state = tempfile::tempdir().unwrap();
        let record = Record::new("export", "jail web01".into());
        let _first = Lock::acquire(state.path(), "k", &record, false, &AtomicBool::new(false)).unwrap();
        let error = Lock::acquire(state.path(), "k", &record, true, &AtomicBool::new(true)).unwrap_err();
        assert_eq!(error.exit_status(), 130);
    }
}
