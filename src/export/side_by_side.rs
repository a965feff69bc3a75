//! Several resources read at the same time, written one after the other.
//!
//! Each resource is read by a thread of its own, some ahead of the one that is written; what they will write waits
//! ([`super::queue`]), and so does what they tell. So order and bytes of the archive, and the order of events, are as if nothing were parallel.

use std::collections::VecDeque;
use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::thread::ScopedJoinHandle;

use crossbeam_channel::{Receiver, bounded};

use super::datasets::Done;
use super::queue::{self, MESSAGES, Message, Queue};
use crate::archive::Writer;
use crate::error::Result;
use crate::event::{Event, Observer, State, Warning};

/// More resources than this are not read at once: each holds memory and descriptors.
const MAX_AT_ONCE: usize = 8;

/// Reads one of the resources: its number, where its members go, who watches. Returns how many warnings were given too.
pub(super) type Read<'a> = dyn Fn(usize, &mut Queue, &dyn Observer) -> (Result<Done>, u64) + Sync + 'a;

/// Hears how a resource ended, and how many warnings were given.
pub(super) type Finished<'a> = dyn FnMut(usize, &mut Writer, Result<Done>, u64) -> Result<()> + 'a;

/// Runs `read` for `count` resources and writes what they yield, in order. `finished` hears how each ended, and stops all by an error.
pub(super) fn run(
    count: usize,
    writer: &mut Writer,
    observer: &dyn Observer,
    read: &Read<'_>,
    finished: &mut Finished<'_>,
) -> Result<()> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let at_once = (cores + 1).min(MAX_AT_ONCE);
    let held: Vec<Held<'_>> = (0..count).map(|_| Held::new(observer)).collect();
    let takes_streams = writer.can_amend();
    std::thread::scope(|scope| {
        type Running<'scope> = (Receiver<Message>, ScopedJoinHandle<'scope, (Result<Done>, u64)>);
        let mut running: VecDeque<Running<'_>> = VecDeque::new();
        let mut next = 0;
        for (number, events) in held.iter().enumerate() {
            while next < count && next < number + at_once {
                let (messages, waiting) = bounded(MESSAGES);
                let (resource, events) = (next, &held[next]);
                let thread = scope.spawn(move || {
                    let mut queue = Queue { messages, takes_streams };
                    read(resource, &mut queue, events)
                });
                running.push_back((waiting, thread));
                next += 1;
            }
            let Some((messages, thread)) = running.pop_front() else { break };
            events.release();
            let written = queue::write_all(&messages, writer);
            drop(messages);
            let (done, warnings) = match thread.join() {
                Ok(ended) => ended,
                Err(panic) => std::panic::resume_unwind(panic),
            };
            // If writing failed, that is why reading did.
            written?;
            finished(number, writer, done, warnings)?;
        }
        Ok(())
    })
}

/// Keeps what a resource tells until its turn has come.
struct Held<'a> {
    observer: &'a dyn Observer,
    waiting: Mutex<Option<Vec<Told>>>,
}

enum Told {
    Event(Event),
    Warning(Warning),
    Notice(Warning),
}

impl<'a> Held<'a> {
    fn new(observer: &'a dyn Observer) -> Self {
        Self { observer, waiting: Mutex::new(Some(Vec::new())) }
    }

    fn release(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for told in waiting.take().into_iter().flatten() {
            self.pass(&told);
        }
    }

    fn pass(&self, told: &Told) {
        match told {
            Told::Event(event) => self.observer.event(event),
            Told::Warning(warning) => self.observer.warning(warning),
            Told::Notice(notice) => self.observer.notice(notice),
        }
    }

    fn tell(&self, told: Told) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *waiting {
            Some(waiting) => waiting.push(told),
            None => self.pass(&told),
        }
    }
}

impl Observer for Held<'_> {
    fn event(&self, event: &Event) {
        let progress = matches!(event.state, State::Progress { .. });
        let waits = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        // Nobody wants to see later how far it once was.
        if !(progress && waits) {
            self.tell(Told::Event(event.clone()));
        }
    }

    fn warning(&self, warning: &Warning) {
        self.tell(Told::Warning(warning.clone()));
    }

    fn notice(&self, notice: &Warning) {
        self.tell(Told::Notice(notice.clone()));
    }
}
