//! Runs rsync.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::PROGRAM;
use crate::change::{Error, Result, Scope};
use crate::tree::path::printable;

const SEARCH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How often a running rsync is asked to stop, at most that late.
const POLL: Duration = Duration::from_millis(50);

/// Exit status when files vanished while rsync ran; the comparer looks at each name again anyway.
const VANISHED: i32 = 24;

/// Of what rsync complains, this much is kept.
const MAX_STDERR: usize = 4096;

/// Lists what would make `to` like `from`, a line at a time. Changes neither.
pub(super) fn rsync(
    from: &Path,
    to: &Path,
    scope: Scope<'_>,
    each: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    let mut child = Command::new(PROGRAM)
        .env_clear()
        .env("PATH", SEARCH)
        .env("LC_ALL", "C")
        .args(["--dry-run", "--itemize-changes", "--checksum", "--delete", "-aHAXSx", "--numeric-ids"])
        .args(["--modify-window=-1", "--no-8-bit-output", "--out-format=%i|%n"])
        .args(scope.exclude.iter().map(|path| exclusion(path.as_bytes())))
        .arg("--")
        .args([with_slash(from), with_slash(to)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| Error::Start { program: PROGRAM, source })?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        unreachable!("both were asked for");
    };
    let child = Mutex::new(child);
    let done = AtomicBool::new(false);
    let (read, complaint) = std::thread::scope(|threads| {
        let complaint = threads.spawn(|| tail(stderr));
        threads.spawn(|| stop_on_request(&child, scope, &done));
        let read = lines(stdout, each);
        if read.is_err() {
            kill(&child);
        }
        done.store(true, Ordering::Relaxed);
        (read, complaint.join().unwrap_or_default())
    });
    let status = child.into_inner().unwrap_or_else(PoisonError::into_inner).wait();
    scope.check()?;
    read?;
    let status = status.map_err(|source| Error::Start { program: PROGRAM, source })?;
    if status.success() || status.code() == Some(VANISHED) {
        return Ok(());
    }
    Err(Error::Program {
        program: PROGRAM,
        status: status.to_string(),
        stderr: printable(complaint.trim_ascii()),
    })
}

fn lines(stdout: impl Read, each: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = stdout.read_until(b'\n', &mut line);
        match read.map_err(|source| Error::Start { program: PROGRAM, source })? {
            0 => return Ok(()),
            _ => each(line.strip_suffix(b"\n").unwrap_or(&line))?,
        }
    }
}

/// Reads to the end and keeps the last part.
fn tail(mut stderr: impl Read) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut buffer = [0; MAX_STDERR];
    // What cannot be read of a complaint is no reason to fail: the status decides.
    while let Ok(read @ 1..) = stderr.read(&mut buffer) {
        kept.extend_from_slice(&buffer[..read]);
        kept.drain(..kept.len().saturating_sub(MAX_STDERR));
    }
    kept
}

fn stop_on_request(child: &Mutex<Child>, scope: Scope<'_>, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        if scope.check().is_err() {
            kill(child);
            return;
        }
        std::thread::sleep(POLL);
    }
}

fn kill(child: &Mutex<Child>) {
    // It fails where the process has ended, which is what is wanted.
    _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
}

/// With the slash rsync means what is in the directory.
fn with_slash(path: &Path) -> OsString {
    let mut path = path.as_os_str().to_owned();
    path.push("/");
    path
}

/// Option that leaves out one path. Backslashes are literal unless the pattern has a wildcard.
fn exclusion(path: &[u8]) -> OsString {
    let mut option = OsStr::from_bytes(b"--exclude=/").to_owned();
    let wild = path.iter().any(|byte| b"*?[".contains(byte));
    let pattern: Vec<u8> = path
        .iter()
        .flat_map(|&byte| {
            let escape = wild && b"*?[\\".contains(&byte);
            escape.then_some(b'\\').into_iter().chain([byte])
        })
        .collect();
    option.push(OsString::from_vec(pattern));
    option
}

#[cfg(test)]
mod tests {
    use super::exclusion;

    #[test]
    fn excluded_paths_are_no_patterns() {
        assert_eq!(exclusion(b"var/tmp"), "--exclude=/var/tmp");
        assert_eq!(exclusion(b"a\\b"), "--exclude=/a\\b");
        assert_eq!(exclusion(b"a\\[b]*"), "--exclude=/a\\\\\\[b]\\*");
    }
}
