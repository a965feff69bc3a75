//! The one place that runs a program.
//!
//! No shell; a fixed search path and locale and nothing else of the environment; the exit status decides and standard error
//! does not (but see [`Program::and_silent`]); its end is kept for people. A child is always reaped. It runs in a process group
//! of its own, so that Ctrl-C in a terminal reaches remand alone, which then ends its children in order.

use crate::{Error, Result};
use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const SEARCH_PATH: [&str; 6] =
    ["/sbin", "/usr/sbin", "/bin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
/// How much of a program's standard error is kept.
const STDERR_BYTES: usize = 32 * 1024;
/// How long a child whose input ended early may take to clean up before it is killed.
const GRACE: Duration = Duration::from_secs(10);

/// A program and its arguments, to be run as root on a host with live data.
#[derive(Clone, Debug)]
pub struct Program {
    name: &'static str,
    arguments: Vec<String>,
    silent: bool,
}

/// How a program ended, and what it printed.
#[derive(Debug)]
pub struct Finished {
    /// Whether the exit status was 0.
    pub success: bool,
    /// The exit status or signal, for people.
    pub status: String,
    /// What it printed; bytes that are not UTF-8 are replaced.
    pub stdout: String,
    /// The end of its standard error.
    pub stderr: String,
}

/// What went wrong while a program was fed.
#[derive(Debug)]
pub enum FeedError {
    /// The source of its input failed. The program was ended.
    Source(io::Error),
    /// The program failed, or could not be started.
    Program(Error),
}

impl Program {
    /// A program, by its name in the fixed search path.
    pub fn new<I, S>(name: &'static str, arguments: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: Into<String>,
    {
        Self { name, arguments: arguments.into_iter().map(Into::into).collect(), silent: false }
    }

    /// For programs that leave out what they cannot read, say so, and end with 0: their [`Program::stream`] fails at its end if
    /// they said anything on standard error.
    #[must_use]
    pub fn and_silent(self) -> Self {
        Self { silent: true, ..self }
    }

    /// The command line, for people: arguments that a shell would take apart are quoted.
    pub fn display(&self) -> String {
        let mut line = self.name.to_owned();
        for argument in &self.arguments {
            line.push(' ');
            let plain = |c: char| c.is_alphanumeric() || "-_./:@=,+".contains(c);
            if !argument.is_empty() && argument.chars().all(plain) {
                line.push_str(argument);
            } else {
                line.push('\'');
                line.push_str(&argument.replace('\'', r"'\''"));
                line.push('\'');
            }
        }
        line
    }

    /// Runs it to its end, whatever that is.
    pub fn finish(&self) -> Result<Finished> {
        let mut running = self.start(Stdio::null())?;
        let mut stdout = Vec::new();
        let read = running.stdout().read_to_end(&mut stdout);
        if read.is_err() {
            running.kill();
        }
        let (status, stderr) = running.wait().map_err(|source| self.wait_error(source))?;
        read.map_err(|source| Error::io("read the output of", self.display(), source))?;
        let stdout = String::from_utf8(stdout)
            .unwrap_or_else(|invalid| String::from_utf8_lossy(invalid.as_bytes()).into_owned());
        Ok(Finished { success: status.success(), status: status.to_string(), stdout, stderr })
    }

    /// Runs it and returns what it printed; any exit status but 0 is [`Error::Program`].
    pub fn output(&self) -> Result<String> {
        let finished = self.finish()?;
        if finished.success {
            Ok(finished.stdout)
        } else {
            Err(self.failure(finished.status, finished.stderr))
        }
    }

    /// The error for a run that ended badly.
    pub fn failure(&self, status: String, stderr: String) -> Error {
        Error::Program { command: self.display(), status, stderr }
    }

    /// Starts it and returns what it prints as it comes. A failure surfaces as an error where the output ends, so that a
    /// short output is never taken for a whole one. Dropped before, it is killed.
    pub fn stream(&self) -> Result<Stream> {
        let running = self.start(Stdio::null())?;
        Ok(Stream { program: self.clone(), state: State::Running(running) })
    }

    /// Runs it with `source` as its input, which is read to its end even if the program reads less. When `source` fails,
    /// the program is ended, and what it did until then is for the caller to undo.
    pub fn feed(&self, source: &mut dyn Read) -> std::result::Result<(), FeedError> {
        feed_in_turn(&|nth| (nth == 0).then(|| self.clone()), source)
    }

    fn wait_error(&self, source: io::Error) -> Error {
        Error::io("wait for", self.display(), source)
    }

    /// It as a command for a caller that starts it by itself: found in the fixed search path, with nothing but that and the locale in
    /// its environment.
    pub fn command(&self) -> Result<Command> {
        let not_found = || Error::Start { command: self.display(), source: io::ErrorKind::NotFound.into() };
        let mut command = Command::new(find(self.name).ok_or_else(not_found)?);
        command
            .args(&self.arguments)
            .env_clear()
            .env("PATH", SEARCH_PATH.join(":"))
            .env("LC_ALL", "C")
            .current_dir("/");
        Ok(command)
    }

    fn start(&self, stdin: Stdio) -> Result<Running> {
        tracing::debug!(command = %self.display(), "run");
        let start_error = |source| Error::Start { command: self.display(), source };
        let mut command = self.command()?;
        command.process_group(0).stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
        let spawned = crate::outside::run(move || command.spawn()).and_then(|spawned| spawned);
        let mut child = spawned.map_err(start_error)?;
        let stdout = child.stdout.take();
        let stderr = child.stderr.take().map(|pipe| std::thread::spawn(move || keep_end(pipe)));
        Ok(Running { child, stdout, stderr, reaped: false })
    }
}

/// Runs programs one after another on one input, until it ends: each reads its part of it and no more. `program` gives the next
/// one, or `None` if what is left is of no use. When `source` or a program fails, what was done until then is for the caller
/// to undo.
pub fn feed_in_turn(
    program: &(dyn Fn(usize) -> Option<Program> + Sync),
    source: &mut dyn Read,
) -> std::result::Result<(), FeedError> {
    let pipe_error = |source| FeedError::Program(Error::io("make", "a pipe", source));
    let (reader, writer) = io::pipe().map_err(pipe_error)?;
    let broken = AtomicBool::new(false);
    let (fed, ended) = std::thread::scope(|scope| {
        let broken = &broken;
        let readers = scope.spawn(move || {
            let outcome = run_in_turn(program, &reader, broken);
            // Whoever still writes must hear that nobody reads any more.
            drop(reader);
            outcome
        });
        let fed = pump(source, writer);
        broken.store(fed.is_err(), Ordering::Relaxed);
        (fed, readers.join())
    });
    let closed_early = fed.map_err(FeedError::Source)?;
    ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(FeedError::Program)?;
    if closed_early {
        io::copy(source, &mut io::sink()).map_err(FeedError::Source)?;
    }
    Ok(())
}

fn run_in_turn(
    program: &(dyn Fn(usize) -> Option<Program> + Sync),
    reader: &PipeReader,
    broken: &AtomicBool,
) -> Result<()> {
    let mut nth = 0;
    while nth == 0 || has_more(reader)? {
        let Some(program) = program(nth) else { return Ok(()) };
        let input = reader.try_clone().map_err(|source| Error::io("share", "a pipe", source))?;
        let mut running = program.start(input.into())?;
        // Its output is of no use, but a full pipe would stop it.
        let stdout = running.stdout.take();
        let drain = std::thread::spawn(move || {
            if let Some(mut stdout) = stdout {
                io::copy(&mut stdout, &mut io::sink()).ok();
            }
        });
        running.wait_while(broken);
        let ended = running.wait();
        // It ended with the program, whose failure (if any) is what is told.
        drain.join().ok();
        let (status, stderr) = ended.map_err(|source| program.wait_error(source))?;
        if !status.success() {
            return Err(program.failure(status.to_string(), stderr));
        }
        nth += 1;
    }
    Ok(())
}

/// Waits until there is something in the pipe, or it has ended.
fn has_more(reader: &PipeReader) -> Result<bool> {
    use rustix::event::{PollFd, PollFlags, poll};
    loop {
        let mut polled = [PollFd::new(reader, PollFlags::IN)];
        match poll(&mut polled, None) {
            Ok(_) => return Ok(polled[0].revents().contains(PollFlags::IN) && bytes_in(reader)? > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Error::io("wait for", "a pipe", error.into())),
        }
    }
}

/// Some systems call a pipe readable that has ended.
fn bytes_in(reader: &PipeReader) -> Result<u64> {
    rustix::io::ioctl_fionread(reader).map_err(|error| Error::io("look into", "a pipe", error.into()))
}

/// The fixed search path, as `PATH` has it.
pub fn search_path() -> String {
    SEARCH_PATH.join(":")
}

/// Whether a program is installed.
pub fn installed(name: &'static str) -> bool {
    find(name).is_some()
}

fn find(name: &str) -> Option<PathBuf> {
    SEARCH_PATH
        .iter()
        .map(|directory| Path::new(directory).join(OsStr::new(name)))
        .find(|path| path.is_file())
}

/// Copies until the source ends; true if the program stopped reading before.
fn pump(source: &mut dyn Read, mut input: PipeWriter) -> io::Result<bool> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = match source.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        match input.write_all(&buffer[..count]) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(true),
            Err(error) => return Err(error),
        }
    }
}

/// Reads to the end, keeps the last part.
fn keep_end(mut pipe: impl Read) -> String {
    let mut end: VecDeque<u8> = VecDeque::new();
    let mut buffer = [0; 4096];
    loop {
        match pipe.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(0) | Err(_) => break, // it is only for people
            Ok(count) => {
                end.extend(&buffer[..count]);
                let excess = end.len().saturating_sub(STDERR_BYTES);
                end.drain(..excess);
            }
        }
    }
    String::from_utf8_lossy(end.make_contiguous()).trim().to_owned()
}

/// A child and the thread that empties its standard error. Killed and reaped when dropped.
#[derive(Debug)]
struct Running {
    child: Child,
    stdout: Option<ChildStdout>,
    stderr: Option<JoinHandle<String>>,
    reaped: bool,
}

impl Running {
    fn stdout(&mut self) -> &mut dyn Read {
        // `start` has made a pipe of it; `feed` alone takes it, and does not come here.
        self.stdout.as_mut().expect("standard output is a pipe")
    }

    fn kill(&mut self) {
        // It may have ended by itself; what counts is that it is reaped.
        self.child.kill().ok();
    }

    /// Waits for its end; when its input is `broken` it gets some time to clean up and is killed then.
    fn wait_while(&mut self, broken: &AtomicBool) {
        let mut since: Option<Instant> = None;
        while matches!(self.child.try_wait(), Ok(None)) {
            if broken.load(Ordering::Relaxed) && since.get_or_insert_with(Instant::now).elapsed() > GRACE {
                return self.kill();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn wait(&mut self) -> io::Result<(ExitStatus, String)> {
        self.stdout = None;
        let status = self.child.wait()?;
        self.reaped = true;
        let stderr = self.stderr.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        Ok((status, stderr))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            self.kill();
            self.wait().ok();
        }
    }
}

#[derive(Debug)]
enum State {
    Running(Running),
    Ended,
    Failed,
}

/// The output of a running program; see [`Program::stream`].
#[derive(Debug)]
pub struct Stream {
    program: Program,
    state: State,
}

impl Stream {
    fn end(&mut self) -> io::Result<()> {
        let State::Running(mut running) = std::mem::replace(&mut self.state, State::Failed) else {
            return Ok(());
        };
        let (status, stderr) = running.wait()?;
        if status.success() && (!self.program.silent || stderr.is_empty()) {
            self.state = State::Ended;
            return Ok(());
        }
        Err(io::Error::other(self.program.failure(status.to_string(), stderr)))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match &mut self.state {
            State::Ended => Ok(0),
            State::Failed => Err(io::Error::other(format!("{} has failed", self.program.display()))),
            State::Running(running) => match running.stdout().read(buffer) {
                Ok(0) => self.end().map(|()| 0),
                other => other,
            },
        }
    }
}

#[cfg(test)]
mod tests;
