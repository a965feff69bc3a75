//! What a command says: progress, warnings and the summary on standard error, data on standard output.
//!
//! ```text
//! event ─▶ Console ─▶ tree (terminal) | text (no terminal) | JSON lines
//! ```
//!
//! Formatting is pure ([`text`], [`units`], [`table()`]) and apart from drawing ([`tree`]). Whatever is printed passes
//! [`escape`].

pub(crate) mod escape;
pub(crate) mod log;
pub(crate) mod table;
pub(crate) mod text;
mod tree;
pub(crate) mod units;

#[cfg(test)]
pub(crate) mod tests;

use std::collections::HashMap;
use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use remand::event::{Event, Observer, State, Step, Warning};
use serde_json::{Map, Value, json};

use super::args::Voice;
use super::failure::{FAILED, Failure, WARNINGS};
use tree::Tree;

/// How many warnings the summary names again.
const NAMED_WARNINGS: usize = 5;

/// A command that succeeded.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// For people, a line each.
    pub(crate) summary: Vec<String>,
    /// For programs.
    pub(crate) result: Map<String, Value>,
    /// Things that are not in the result, as the operation counted them.
    pub(crate) warnings: u64,
    /// Exit status, where it is another than the warnings make it.
    pub(crate) status: Option<u8>,
}

/// Where standard output's data goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stdout {
    /// It is the command's to write to.
    Free,
    /// The archive itself goes there, so JSON lines go to standard error.
    Taken,
}

/// A step, told apart from others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    step: Step,
    resource: String,
    subject: Option<String>,
    depth: u8,
}

impl Key {
    fn of(event: &Event) -> Self {
        let Event { step, resource, subject, depth, .. } = event.clone();
        Self { step, resource, subject, depth }
    }
}

#[derive(Debug)]
enum Surface {
    /// Lines, one a finished step.
    Plain,
    /// The tree.
    Terminal(Tree),
    /// JSON lines.
    Json,
}

type Stream = Box<dyn Write + Send>;

/// A stream and its first failure, after which it is left alone.
struct Guarded {
    stream: Stream,
    failed: Option<io::Error>,
}

impl Guarded {
    fn new(stream: Stream) -> Mutex<Self> {
        Mutex::new(Self { stream, failed: None })
    }

    fn write(&mut self, text: &str) {
        if self.failed.is_none() {
            self.failed = self.stream.write_all(text.as_bytes()).and_then(|()| self.stream.flush()).err();
        }
    }
}

#[derive(Debug, Default)]
struct Lost {
    total: u64,
    named: Vec<String>,
}

/// Says everything that a command has to say.
pub(crate) struct Console {
    surface: Surface,
    quiet: bool,
    verbose: u8,
    stdout: Stdout,
    out: Mutex<Guarded>,
    err: Mutex<Guarded>,
    began: Instant,
    /// Whether durations are shown: not in golden tests.
    timed: bool,
    begun: Mutex<HashMap<Key, Instant>>,
    lost: Mutex<Lost>,
    interrupted: Arc<AtomicBool>,
    told_interruption: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Console {
    /// The process's own standard streams.
    pub(crate) fn standard(voice: &Voice, stdout: Stdout, interrupted: Arc<AtomicBool>) -> Self {
        let capable = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        let surface = if voice.json {
            Surface::Json
        } else if !voice.quiet && capable && io::stderr().is_terminal() {
            let height = console::Term::stderr().size_checked().map_or(24, |(rows, _)| usize::from(rows));
            Surface::Terminal(Tree::new(indicatif::ProgressDrawTarget::stderr(), height))
        } else {
            Surface::Plain
        };
        Self::new(surface, voice, stdout, (Box::new(io::stdout()), Box::new(io::stderr())), interrupted)
    }

    fn new(
        surface: Surface,
        voice: &Voice,
        stdout: Stdout,
        (out, err): (Stream, Stream),
        interrupted: Arc<AtomicBool>,
    ) -> Self {
        Self {
            surface,
            quiet: voice.quiet,
            verbose: voice.verbose,
            stdout,
            out: Guarded::new(out),
            err: Guarded::new(err),
            began: Instant::now(),
            timed: true,
            begun: Mutex::default(),
            lost: Mutex::default(),
            interrupted,
            told_interruption: AtomicBool::new(false),
        }
    }

    /// Whether data is wanted as JSON.
    pub(crate) fn is_json(&self) -> bool {
        matches!(self.surface, Surface::Json)
    }

    /// How often `-v` was given.
    pub(crate) fn verbosity(&self) -> u8 {
        self.verbose
    }

    /// Since the command began; zero where times are not shown.
    pub(crate) fn elapsed(&self) -> Duration {
        if self.timed { self.began.elapsed() } else { Duration::ZERO }
    }

    /// A line on standard error, above the tree while there is one. Must be safe for a terminal.
    pub(crate) fn note(&self, line: &str) {
        match &self.surface {
            Surface::Terminal(tree) if tree.is_open() => tree.println(line),
            _ => lock(&self.err).write(&format!("{line}\n")),
        }
    }

    /// Data for people on standard output. Must be safe for a terminal.
    pub(crate) fn data(&self, text: &str) -> Result<(), Failure> {
        let mut out = lock(&self.out);
        out.write(text);
        out.failed.as_ref().map_or(Ok(()), |error| Err(Failure::output(error)))
    }

    /// One JSON line: an object whose only key says what it is.
    pub(crate) fn record(&self, what: &str, value: &Value) -> Result<(), Failure> {
        self.json_line(json!({ what: value }).to_string())
    }

    fn json_line(&self, json: String) -> Result<(), Failure> {
        let text = escape::safe_json(json);
        let mut stream = lock(if self.stdout == Stdout::Taken { &self.err } else { &self.out });
        stream.write(&format!("{text}\n"));
        stream.failed.as_ref().map_or(Ok(()), |error| Err(Failure::output(error)))
    }

    /// What a dry run would do, a line each.
    pub(crate) fn plan(&self, lines: &[String]) -> Result<(), Failure> {
        for line in lines {
            if self.is_json() {
                self.record("plan", &json!(line))?;
            } else {
                self.data(&format!("{}\n", escape::safe(line)))?;
            }
        }
        Ok(())
    }

    /// Says how it ended, and returns the exit status.
    pub(crate) fn finish(&self, ended: Result<Outcome, Failure>) -> u8 {
        if let Surface::Terminal(tree) = &self.surface {
            tree.close();
        }
        match ended {
            Ok(outcome) => self.succeed(outcome),
            Err(Failure::ReaderGone) => 0,
            Err(Failure::Error { chain, hint, status }) => {
                if self.is_json() {
                    let result = json!({ "status": status, "error": chain, "hint": hint });
                    // The status and the text on standard error tell it in any case.
                    let _ = self.record("result", &result);
                }
                if !(self.is_json() && self.stdout == Stdout::Taken) {
                    self.note(text::error(&chain, hint.as_deref()).trim_end());
                }
                status
            }
        }
    }

    fn succeed(&self, outcome: Outcome) -> u8 {
        let lost = lock(&self.lost);
        let warnings = lost.total.max(outcome.warnings);
        let status = outcome.status.unwrap_or(if warnings > 0 { WARNINGS } else { 0 });
        if self.is_json() {
            let mut result = outcome.result;
            result.insert("status".into(), status.into());
            result.insert("warnings".into(), warnings.into());
            // A failed write is dealt with below, like that of any line before.
            let _ = self.record("result", &Value::Object(result));
        } else if !self.quiet {
            for line in &outcome.summary {
                self.note(&escape::safe(line));
            }
        }
        if let Some(line) = text::warnings(warnings, &lost.named)
            && !self.is_json()
        {
            self.note(&line);
        }
        drop(lost);
        self.check_output(status)
    }

    /// Data that did not arrive at its reader is a failure, unless the reader went away on its own accord.
    fn check_output(&self, status: u8) -> u8 {
        let failed = lock(&self.out).failed.take();
        match failed.as_ref().map(Failure::output) {
            Some(Failure::Error { chain, .. }) => {
                lock(&self.err).write(&text::error(&chain, None));
                if status == 0 { FAILED } else { status }
            }
            _ => status,
        }
    }

    fn tell_interruption(&self) {
        if self.interrupted.load(Ordering::Relaxed) && !self.told_interruption.swap(true, Ordering::Relaxed) {
            self.note(
                "Interrupted: undoing what was done (a second Ctrl-C ends at once and leaves it to cleanup)",
            );
        }
    }

    fn took(&self, key: &Key, event: &Event) -> Option<Duration> {
        match event.state {
            State::Begin { .. } => {
                lock(&self.begun).insert(key.clone(), Instant::now());
                None
            }
            State::Progress { .. } => None,
            _ => lock(&self.begun).remove(key).filter(|_| self.timed).map(|began| began.elapsed()),
        }
    }
}

impl Observer for Console {
    fn event(&self, event: &Event) {
        if !self.is_json() {
            self.tell_interruption();
        }
        if self.quiet {
            return;
        }
        let key = Key::of(event);
        let took = self.took(&key, event);
        match &self.surface {
            Surface::Json => {
                if let Ok(json) = serde_json::to_string(event) {
                    // A log that cannot be written must not stop the operation; `finish` reports it.
                    let _ = self.json_line(json);
                }
            }
            Surface::Terminal(tree) => tree.event(&key, event, took),
            Surface::Plain => {
                let begun = if self.verbose > 0 { text::begun(event) } else { None };
                if let Some(line) = begun.or_else(|| text::finished(event, took)) {
                    self.note(&line);
                }
            }
        }
    }

    fn warning(&self, warning: &Warning) {
        let mut lost = lock(&self.lost);
        lost.total += 1;
        if lost.named.len() < NAMED_WARNINGS {
            lost.named.push(warning.subject.clone());
        }
        drop(lost);
        if self.is_json() {
            let value = json!({ "subject": warning.subject, "message": warning.message });
            let _ = self.record("warning", &value);
        } else {
            self.note(&text::warning(warning));
        }
    }

    fn notice(&self, notice: &Warning) {
        if self.is_json() {
            let _ = self.record("notice", &json!({ "subject": notice.subject, "message": notice.message }));
        } else if !self.quiet {
            self.note(&text::notice(notice));
        }
    }
}
