//! Work for a thread that nothing was taken away from.
//!
//! Archives are read on threads that may neither run programs nor write but in few places (the library's `confine`), and whatever such a
//! thread starts inherits that. So one thread is started before ([`open`]), and does for all others what those must not: it starts the
//! programs, and it renames what becomes visible. As long as there is none, everyone does it on their own.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::mpsc::{Sender, channel, sync_channel};

type Job = Box<dyn FnOnce() + Send>;

static OUTSIDE: OnceLock<Sender<Job>> = OnceLock::new();

/// Starts the thread, if there is none. To be called by one that may do everything itself.
pub fn open() -> io::Result<()> {
    if OUTSIDE.get().is_some() {
        return Ok(());
    }
    let (jobs, queue) = channel::<Job>();
    let work = move || {
        for job in queue {
            // Whoever waits for it hears that there is no answer; the next one still gets theirs.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    };
    std::thread::Builder::new().name("outside".to_owned()).spawn(work)?;
    // If somebody else was faster this one's queue ends here, and the thread with it.
    let _ = OUTSIDE.set(jobs);
    Ok(())
}

/// Has the thread do something short, and waits for it.
pub(crate) fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let Some(jobs) = OUTSIDE.get() else { return Ok(work()) };
    let gone = || io::Error::other("the thread that starts programs gave no answer");
    let (result, answer) = sync_channel(1);
    jobs.send(Box::new(move || drop(result.send(work())))).map_err(|_| gone())?;
    answer.recv().map_err(|_| gone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_elsewhere_and_a_panic_does_not_end_that() {
        let own = std::thread::current().id();
        open().unwrap();
        open().unwrap();
        assert_ne!(run(|| std::thread::current().id()).unwrap(), own);
        assert!(run(|| panic!("as a test")).is_err());
        assert_eq!(run(|| 7).unwrap(), 7);
    }
}
