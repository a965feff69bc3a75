//! Telling an [`Observer`] of the steps of an operation: each begins and ends exactly once.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::event::{Event, Observer, State, Step, Warning};
use crate::undo::chain;

/// How often progress is told at most.
const INTERVAL: Duration = Duration::from_millis(100);

/// The steps of one operation on one resource.
pub(crate) struct Steps<'a> {
    observer: &'a dyn Observer,
    resource: RefCell<String>,
    /// Put before the subject of warnings, where there are several resources.
    about: RefCell<Option<String>>,
    depth: Cell<u8>,
    warnings: AtomicU64,
}

/// Counts what a step does.
pub(crate) struct Meter<'a> {
    steps: &'a Steps<'a>,
    step: Step,
    resource: String,
    subject: Option<String>,
    depth: u8,
    total_bytes: Cell<Option<u64>>,
    bytes: Cell<u64>,
    entries: Cell<u64>,
    held_milliseconds: Cell<Option<u64>>,
    told: Cell<Instant>,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(observer: &'a dyn Observer, resource: &str) -> Self {
        Self {
            observer,
            resource: RefCell::new(resource.to_owned()),
            about: RefCell::new(None),
            depth: Cell::new(0),
            warnings: AtomicU64::new(0),
        }
    }

    /// From now on steps that begin are those of `resource`, one of several: warnings name it too. `None`: of all of them, which are
    /// called `whole`.
    pub(crate) fn turn_to(&self, resource: Option<&str>, whole: &str) {
        resource.unwrap_or(whole).clone_into(&mut self.resource.borrow_mut());
        *self.about.borrow_mut() = resource.map(str::to_owned);
    }

    /// Steps of a resource that are part of a larger operation, `depth` steps deep in it.
    pub(crate) fn nested(observer: &'a dyn Observer, resource: &str, depth: u8) -> Self {
        let steps = Self::new(observer, resource);
        steps.depth.set(depth);
        steps
    }

    /// How many steps enclose the next one.
    pub(crate) fn depth(&self) -> u8 {
        self.depth.get()
    }

    /// Counts warnings that nested steps passed on.
    pub(crate) fn count_warnings(&self, warnings: u64) {
        self.warnings.fetch_add(warnings, Ordering::Relaxed);
    }

    /// Who watches.
    pub(crate) fn observer(&self) -> &'a dyn Observer {
        self.observer
    }

    /// Runs `work` as a step below the one that runs now.
    pub(crate) fn run<T>(
        &self,
        step: Step,
        subject: Option<&str>,
        total_bytes: Option<u64>,
        work: impl FnOnce(&Meter<'_>) -> Result<T>,
    ) -> Result<T> {
        let meter = self.open(step, subject, total_bytes);
        let outcome = work(&meter);
        meter.close(outcome.as_ref().err());
        outcome
    }

    /// Begins a step below the one that runs now; it must be closed.
    pub(crate) fn open(&self, step: Step, subject: Option<&str>, total_bytes: Option<u64>) -> Meter<'_> {
        let depth = self.depth.get();
        let meter = Meter {
            steps: self,
            step,
            resource: self.resource.borrow().clone(),
            subject: subject.map(str::to_owned),
            depth,
            total_bytes: Cell::new(total_bytes),
            bytes: Cell::new(0),
            entries: Cell::new(0),
            held_milliseconds: Cell::new(None),
            told: Cell::new(Instant::now()),
        };
        meter.tell(State::Begin { total_bytes });
        self.depth.set(depth.saturating_add(1));
        meter
    }

    /// A step that had nothing to do.
    pub(crate) fn skip(&self, step: Step, subject: Option<&str>, reason: &str) {
        let event = |state| Event {
            step,
            resource: self.resource.borrow().clone(),
            subject: subject.map(str::to_owned),
            depth: self.depth.get(),
            state,
        };
        self.observer.event(&event(State::Begin { total_bytes: None }));
        self.observer.event(&event(State::Skip { reason: reason.to_owned() }));
    }

    /// Passes a warning on, and counts it.
    pub(crate) fn warn(&self, warning: &Warning) {
        self.warnings.fetch_add(1, Ordering::Relaxed);
        let subject = self.subject(&warning.subject);
        self.observer.warning(&Warning { subject, message: warning.message.clone() });
    }

    /// Something that the user should know, though nothing is lost.
    pub(crate) fn notice(&self, subject: &str, message: String) {
        self.observer.notice(&Warning { subject: self.subject(subject), message });
    }

    fn subject(&self, subject: &str) -> String {
        match &*self.about.borrow() {
            Some(resource) if subject.is_empty() || subject == resource => resource.clone(),
            Some(resource) => format!("{resource}/{subject}"),
            None => subject.to_owned(),
        }
    }

    /// Warnings so far.
    pub(crate) fn warnings(&self) -> u64 {
        self.warnings.load(Ordering::Relaxed)
    }
}

impl Meter<'_> {
    /// Ends the step: well, or with `failure`.
    pub(crate) fn close(self, failure: Option<&Error>) {
        self.steps.depth.set(self.depth);
        self.tell(match failure {
            None => State::End {
                done_bytes: self.bytes.get(),
                done_entries: self.entries.get(),
                held_milliseconds: self.held_milliseconds.get(),
            },
            Some(error) => State::Fail { error: chain(error) },
        });
    }

    /// Says how long a resource was stopped or frozen that goes on again by this step.
    pub(crate) fn held(&self, time: Duration) {
        self.held_milliseconds.set(Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)));
    }

    /// Says how many bytes it will be, as soon as that is known.
    pub(crate) fn expect(&self, total_bytes: Option<u64>) {
        self.total_bytes.set(total_bytes);
    }

    /// Counts, and tells now and then.
    pub(crate) fn add(&self, bytes: u64, entries: u64) {
        // What an archive announces can be more than a number holds.
        self.set(self.bytes.get().saturating_add(bytes), self.entries.get().saturating_add(entries));
    }

    /// Sets the bytes, counts entries, and tells now and then.
    pub(crate) fn advance(&self, bytes: u64, more_entries: u64) {
        self.set(bytes, self.entries.get().saturating_add(more_entries));
    }

    /// Sets the counts, and tells now and then.
    pub(crate) fn set(&self, bytes: u64, entries: u64) {
        self.bytes.set(bytes);
        self.entries.set(entries);
        if self.told.get().elapsed() >= INTERVAL {
            self.told.set(Instant::now());
            self.tell(State::Progress {
                done_bytes: bytes,
                done_entries: entries,
                total_bytes: self.total_bytes.get(),
            });
        }
    }

    fn tell(&self, state: State) {
        self.steps.observer.event(&Event {
            step: self.step,
            resource: self.resource.clone(),
            subject: self.subject.clone(),
            depth: self.depth,
            state,
        });
    }
}
