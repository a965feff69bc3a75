//! Where an archive comes from that is made while it is read.

use std::sync::{Condvar, Mutex, PoisonError};

use crate::archive::manifest::Foreign;
use crate::archive::{Error, Manifest};

/// An archive of another tool on its way through an adapter, which works on a thread of its own.
#[derive(Debug)]
pub struct Origin {
    /// What it is, and what it cannot guarantee.
    pub(crate) foreign: Foreign,
    /// What the manifest will be.
    pub(crate) manifest: Manifest,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    works: bool,
    failure: Option<Error>,
}

/// The adapter at work. Gone with its thread.
pub(crate) struct AtWork(std::sync::Arc<Origin>);

impl Origin {
    pub(crate) fn new(foreign: Foreign, manifest: Manifest) -> Self {
        Self { foreign, manifest, state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The adapter begins.
    pub(crate) fn begin(self: &std::sync::Arc<Self>) -> AtWork {
        self.state().works = true;
        AtWork(std::sync::Arc::clone(self))
    }

    /// Waits until the adapter holds nothing open any more. The reader of what it makes must be gone, or at its end.
    pub(crate) fn wait(&self) {
        let waited = self.changed.wait_while(self.state(), |state| state.works);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Why reading failed: what went wrong in the adapter explains what the reader saw of it.
    pub(super) fn cause(&self, seen: Error) -> Error {
        self.state().failure.take().unwrap_or(seen)
    }
}

impl AtWork {
    /// The adapter cannot go on. Must be told before its reader comes to the end.
    pub(crate) fn fail(&self, error: Error) {
        self.0.state().failure.get_or_insert(error);
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.state().works = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use super::*;

    fn origin() -> Arc<Origin> {
        let (tool, form) = ("iocage".to_owned(), "an export".to_owned());
        let foreign = Foreign { tool, form, limits: Vec::new(), notices: Vec::new() };
        Arc::new(Origin::new(foreign, crate::archive::testing::one_tree()))
    }

    #[test]
    fn who_waits_goes_on_when_the_adapter_is_gone_and_not_before() {
        let origin = origin();
        // Nobody works yet.
        origin.wait();
        let at_work = origin.begin();
        let ends = Arc::new(AtomicBool::new(false));
        let (tell, told) = mpsc::channel();
        let (waiting, seen) = (Arc::clone(&origin), Arc::clone(&ends));
        std::thread::spawn(move || {
            waiting.wait();
            tell.send(seen.load(Ordering::SeqCst)).unwrap();
        });
        assert!(told.recv_timeout(Duration::from_millis(100)).is_err(), "it waits");
        ends.store(true, Ordering::SeqCst);
        drop(at_work);
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(true));
    }

    #[test]
    fn the_first_failure_of_the_adapter_explains_what_its_reader_sees() {
        let origin = origin();
        let error = |text: &str| Error::Damaged(text.to_owned());
        assert_eq!(origin.cause(error("seen")).to_string(), error("seen").to_string());
        let at_work = origin.begin();
        at_work.fail(error("first"));
        at_work.fail(error("second"));
        assert_eq!(origin.cause(error("seen")).to_string(), error("first").to_string());
    }
}
