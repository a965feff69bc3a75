//! Running zfs(8) and zpool(8), and what their failures mean.

use super::parse::{self, Failure, Features, Unclear};
use crate::process::{Finished, Program};
use crate::{Error, Result};
use std::time::Duration;

/// How often, and after which pauses, something busy is tried again: the kernel lets go of a file system that was just
/// read or unmounted with some delay.
const BUSY_PAUSES_MS: [u64; 7] = [50, 100, 200, 400, 800, 1600, 2000];

/// A zfs(8) command line.
pub(super) fn zfs<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Program {
    Program::new("zfs", arguments)
}

/// The error for a run that failed.
pub(super) fn error(program: &Program, finished: Finished) -> Error {
    match parse::failure(&finished.stderr) {
        Some(Failure::Absent(name)) => Error::NotFound(name),
        Some(Failure::NoParent(name)) => Error::NotFound(format!("dataset above {name}")),
        Some(Failure::Exists(name)) => Error::Exists(name),
        Some(Failure::Busy) => Error::Busy { subject: program.display(), detail: finished.stderr },
        Some(Failure::NoZfs) | None => program.failure(finished.status, finished.stderr),
    }
}

/// Runs it and returns what it printed.
pub(super) fn run<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Result<String> {
    let program = zfs(arguments);
    let finished = program.finish()?;
    if finished.success { Ok(finished.stdout) } else { Err(error(&program, finished)) }
}

/// The same, again and again for some seconds while something is busy.
pub(super) fn run_patiently<const N: usize>(arguments: [&str; N]) -> Result<String> {
    patiently(|| run(arguments))
}

/// Tries again and again for some seconds while something is busy.
pub(super) fn patiently<T>(attempt: impl Fn() -> Result<T>) -> Result<T> {
    for pause in BUSY_PAUSES_MS {
        match attempt() {
            Err(Error::Busy { .. }) => std::thread::sleep(Duration::from_millis(pause)),
            other => return other,
        }
    }
    attempt()
}

/// Runs a query about the object `full`; `None` if exactly that does not exist.
pub(super) fn ask<'a>(full: &str, arguments: impl IntoIterator<Item = &'a str>) -> Result<Option<String>> {
    ask_by(full, &zfs(arguments))
}

fn ask_by(full: &str, program: &Program) -> Result<Option<String>> {
    let finished = program.finish()?;
    if finished.success {
        return Ok(Some(finished.stdout));
    }
    match parse::failure(&finished.stderr) {
        Some(Failure::Absent(name)) if name == full => Ok(None),
        _ => Err(error(program, finished)),
    }
}

/// Runs a query that lists `full` and more; `None` if exactly that does not exist.
pub(super) fn list<'a>(full: &str, arguments: impl IntoIterator<Item = &'a str>) -> Result<Option<String>> {
    let program = zfs(arguments);
    let Some(text) = ask_by(full, &program)? else { return Ok(None) };
    if parse::is_listing_of(&text, full) { Ok(Some(text)) } else { Err(cut_off(&program, text)) }
}

/// Runs a query that always has an answer; `None` if `full` does not exist.
pub(super) fn get<'a>(full: &str, arguments: impl IntoIterator<Item = &'a str>) -> Result<Option<String>> {
    let program = zfs(arguments);
    let Some(text) = ask_by(full, &program)? else { return Ok(None) };
    if text.ends_with('\n') { Ok(Some(text)) } else { Err(cut_off(&program, text)) }
}

/// zfs(8) does not look at whether what it prints arrives, and ends with 0 all the same.
fn cut_off(program: &Program, text: String) -> Error {
    Error::CutOff { command: program.display(), text }
}

/// The error for output that cannot be understood.
pub(super) fn unclear(command: &'static str) -> impl Fn(Unclear) -> Error {
    move |Unclear(line)| Error::Output { command: command.to_owned(), line }
}

/// Whether zfs(8) is installed and has something to talk to.
pub(super) fn is_usable() -> Result<bool> {
    let program = zfs(["mount"]);
    match program.finish() {
        Ok(finished) if finished.success => Ok(true),
        Ok(finished) if parse::failure(&finished.stderr) == Some(Failure::NoZfs) => Ok(false),
        Ok(finished) => Err(error(&program, finished)),
        Err(Error::Start { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(other) => Err(other),
    }
}

/// What this host's zfs(8) can do.
pub(super) fn features() -> Result<Features> {
    // Its usage goes to standard error, and the status is 1 or 2.
    Ok(parse::features(&zfs([]).finish()?.stderr))
}

/// A word that no other run has.
pub(super) fn nonce() -> Result<String> {
    use std::io::Read;
    let mut bytes = [0; 8];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|source| Error::io("read", "/dev/urandom", source))?;
    Ok(format!("{:016x}", u64::from_ne_bytes(bytes)))
}
