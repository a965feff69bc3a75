//! What differs between two snapshots, asked as soon as both are there: the backend answers while the export still looks at the base
//! and writes what comes before the root.
//!
//! The answer waits in a bounded queue until an engine asks for it, and is told once; whoever asks again, or for others, asks the
//! backend. The thread ends before the scope that it was started in, and a snapshot is destroyed after it, or once the answer is told: nothing reads
//! one that is being destroyed.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::{Scope, ScopedJoinHandle};

use remand_backends::{Hint, NativeDiff, Result, Snapshot};

use crate::change::snapshot::Asked;

/// Hints that wait to be asked for.
const QUEUE: usize = 1024;

/// See the module.
pub(super) struct Ahead<'scope, 'a> {
    asked: Asked<'a>,
    answer: Mutex<Option<Answer<'scope>>>,
}

struct Answer<'scope> {
    hints: Receiver<Hint>,
    end: ScopedJoinHandle<'scope, Result<()>>,
}

impl<'scope, 'a: 'scope> Ahead<'scope, 'a> {
    /// Asks.
    pub(super) fn ask(scope: &'scope Scope<'scope, '_>, asked: Asked<'a>) -> Self {
        let (sender, hints) = sync_channel(QUEUE);
        let end = scope.spawn(move || {
            // It cannot be sent when nobody wants to know any more.
            asked.native.changes(asked.base, asked.now, &mut |hint| sender.send(hint).is_ok())
        });
        Self { asked, answer: Mutex::new(Some(Answer { hints, end })) }
    }

    /// Whether somebody has asked for the answer, who has heard all of it by the time that the engine has nothing more to do.
    pub(super) fn is_told(&self) -> bool {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

impl NativeDiff for Ahead<'_, '_> {
    fn changes(&self, base: &Snapshot, now: &Snapshot, hint: &mut dyn FnMut(Hint) -> bool) -> Result<()> {
        let known = base == self.asked.base && now == self.asked.now;
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner).take_if(|_| known);
        let Some(Answer { hints, end }) = answer else {
            return self.asked.native.changes(base, now, hint);
        };
        for told in &hints {
            if !hint(told) {
                break;
            }
        }
        drop(hints);
        end.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    fn leaves_out(&self) -> Option<&'static str> {
        self.asked.native.leaves_out()
    }

    fn names_of(&self, tree: &Path, inode: u64) -> Result<Option<Vec<Vec<u8>>>> {
        self.asked.native.names_of(tree, inode)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use remand_backends::{DatasetName, Error};

    use super::*;

    /// Tells numbers, and fails behind the last.
    struct Native {
        count: usize,
        fails: bool,
        asked: AtomicUsize,
        told: AtomicUsize,
    }

    impl Native {
        fn new(count: usize, fails: bool) -> Self {
            Self { count, fails, asked: AtomicUsize::new(0), told: AtomicUsize::new(0) }
        }
    }

    impl NativeDiff for Native {
        fn changes(&self, _: &Snapshot, _: &Snapshot, hint: &mut dyn FnMut(Hint) -> bool) -> Result<()> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            for number in 0..self.count {
                self.told.fetch_add(1, Ordering::Relaxed);
                if !hint(Hint::Entry(number.to_string().into_bytes())) {
                    return Ok(());
                }
            }
            if self.fails { Err(Error::NotFound("the end".into())) } else { Ok(()) }
        }

        fn names_of(&self, _: &Path, inode: u64) -> Result<Option<Vec<Vec<u8>>>> {
            Ok(Some(vec![inode.to_string().into_bytes()]))
        }
    }

    fn snapshot(name: &str) -> Snapshot {
        Snapshot { dataset: DatasetName::new(name).unwrap(), name: None }
    }

    /// Calls `work` with what is ahead of `native`.
    fn with<T>(native: &Native, work: impl FnOnce(&Ahead<'_, '_>) -> T) -> T {
        let (base, now) = (snapshot("base"), snapshot("now"));
        std::thread::scope(|scope| work(&Ahead::ask(scope, Asked { native, base: &base, now: &now })))
    }

    fn told(ahead: &Ahead<'_, '_>, now: &str, most: usize) -> (usize, bool) {
        let mut count = 0;
        let result = ahead.changes(&snapshot("base"), &snapshot(now), &mut |hint| {
            assert!(matches!(hint, Hint::Entry(path) if path == count.to_string().as_bytes()));
            count += 1;
            count < most
        });
        (count, result.is_ok())
    }

    #[test]
    fn the_answer_is_the_backends_and_is_told_once() {
        for count in [0, 1, 3 * QUEUE] {
            let native = Native::new(count, false);
            with(&native, |ahead| {
                assert_eq!(told(ahead, "now", usize::MAX), (count, true));
                assert_eq!(native.asked.load(Ordering::Relaxed), 1);
                assert_eq!(told(ahead, "now", usize::MAX), (count, true));
                assert_eq!(ahead.names_of(Path::new("/"), 7).unwrap().unwrap(), [b"7"]);
            });
            assert_eq!(native.asked.load(Ordering::Relaxed), 2);
        }
    }

    #[test]
    fn about_other_snapshots_the_backend_is_asked() {
        let native = Native::new(2, false);
        with(&native, |ahead| {
            assert_eq!(told(ahead, "other", usize::MAX), (2, true));
            assert_eq!(told(ahead, "now", usize::MAX), (2, true));
        });
        assert_eq!(native.asked.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_failure_comes_behind_what_was_told() {
        assert_eq!(with(&Native::new(5, true), |ahead| told(ahead, "now", usize::MAX)), (5, false));
    }

    #[test]
    fn the_backend_stops_when_nobody_listens() {
        let native = Native::new(100 * QUEUE, true);
        assert_eq!(with(&native, |ahead| told(ahead, "now", 2)), (2, true));
        assert!(native.told.load(Ordering::Relaxed) <= QUEUE + 3);
        let native = Native::new(100 * QUEUE, true);
        with(&native, |_| ());
        assert!(native.told.load(Ordering::Relaxed) <= QUEUE + 1);
    }
}
