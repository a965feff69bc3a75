//! The own dataset of a jail, where it travels as a stream: it is received first, because config and fstab are in it.
//!
//! It lies in staging under a run of its own, is read, and destroyed when the restore has ended, well or not. A crash leaves
//! it and the run's record, which `cleanup` removes.

use std::io::Read;
use std::sync::atomic::AtomicBool;

use super::resume::staging;
use super::stage::directory_of;
use crate::error::{Error, Result};
use crate::foreign::Receiver;
use crate::pool::Pool;
use crate::run::{self, Record, Run};
use crate::step::Steps;
use crate::tree::Tree;
use crate::undo::Undo;

/// Receives it if that is needed.
pub(super) struct Own<'a> {
    pool: &'a Pool,
    steps: &'a Steps<'a>,
    interrupted: &'a AtomicBool,
    run: Option<Run>,
    undo: Undo<'a>,
}

impl<'a> Own<'a> {
    pub(super) fn new(pool: &'a Pool, steps: &'a Steps<'a>, interrupted: &'a AtomicBool) -> Self {
        Self { pool, steps, interrupted, run: None, undo: Undo::new(steps) }
    }

    /// Destroys what was received. Nobody may have it open any more.
    pub(super) fn conclude<T>(self, outcome: Result<T>) -> Result<T> {
        let (outcome, clean) = self.undo.conclude(outcome);
        if let Some(run) = self.run {
            crate::export::end_run(run, clean, self.steps);
        }
        outcome
    }
}

impl Receiver for Own<'_> {
    fn receive(&mut self, stream: &mut dyn Read) -> Result<Tree> {
        let backend = self.pool.backend();
        let streams = backend.streams().filter(|_| backend.kind() == remand_backends::BackendKind::Zfs);
        let streams = streams.ok_or_else(|| {
            Error::Unsupported(format!(
                "What iocage exports is made of ZFS streams, which the pool {} ({}) cannot receive; restore it to a pool of ZFS",
                self.pool.label(),
                backend.kind().name()
            ))
        })?;
        let state = backend.state_directory().map_err(Error::backend("make the pool's state directory"))?;
        let record = Record::new("restore", "what an export of iocage says of its jail".to_owned());
        let run = self.run.insert(Run::begin(&state, run::new_id(), &record)?);
        let dataset = staging(run.id(), None)?;
        let mut stream = Interrupted { stream, interrupted: self.interrupted };
        let created = streams
            .receive(&dataset, &mut stream)
            .map_err(Error::backend("receive the jail's own dataset"))?;
        self.undo.always(format!("staging dataset {}", dataset.as_str()), move || {
            backend.destroy(created).map_err(|kept| Error::backend("destroy the staging dataset")(kept.error))
        });
        backend.mount(&dataset).map_err(Error::backend("mount the jail's own dataset"))?;
        let directory = directory_of(self.pool, &dataset)?;
        Tree::open(&directory).map_err(Error::tree("read the jail's own dataset"))
    }
}

/// A stream that ends with an error when the user wants it to.
struct Interrupted<'a> {
    stream: &'a mut dyn Read,
    interrupted: &'a AtomicBool,
}

impl Read for Interrupted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.interrupted.load(std::sync::atomic::Ordering::Relaxed) {
            return Err(std::io::Error::other("interrupted"));
        }
        self.stream.read(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;
    use crate::pool::testing::Twist;

    #[test]
    fn streams_of_another_kind_of_pool_are_none_for_it() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("jails")).unwrap();
        let pool = Pool::twisted(directory.path(), Twist { receives: true, ..Twist::default() });
        let (steps, interrupted) = (Steps::new(&Silent, "web"), AtomicBool::new(false));
        let mut own = Own::new(&pool, &steps, &interrupted);
        let error = own.receive(&mut &b"a stream"[..]).map(drop).unwrap_err().to_string();
        assert!(error.contains("made of ZFS streams") && error.contains("(btrfs) cannot receive"), "{error}");
        assert_eq!(pool.backend().existing_state_directory().unwrap(), None);
        own.conclude(Ok(())).unwrap();
    }

    #[test]
    fn a_stream_passes_until_it_is_interrupted() {
        let interrupted = AtomicBool::new(false);
        let mut bytes = &b"abcdef"[..];
        let mut stream = Interrupted { stream: &mut bytes, interrupted: &interrupted };
        let mut buffer = [0; 4];
        assert_eq!((stream.read(&mut buffer).unwrap(), &buffer), (4, b"abcd"));
        interrupted.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(stream.read(&mut buffer).unwrap_err().to_string(), "interrupted");
        assert_eq!(bytes, b"ef");
    }
}
