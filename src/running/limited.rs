//! Running a program for a limited time.
//!
//! What it says, on both of its outputs, is told line by line. When its time is over, or the user wants to stop, it is asked to end, and its
//! whole process group is killed if it does not. What it leaves running in the background after it has ended by itself is left alone: a
//! process that keeps a database locked until the next command is such.

use std::io::{self, PipeReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, kill_process_group};

/// How long it may take to end when it is asked to.
const GRACE: Duration = Duration::from_secs(5);
/// How often it is looked at.
const TURN: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
/// Of a line this much is told, and so many lines.
const LINE_BYTES: usize = 4 << 10;
const LINES: usize = 1000;

/// What a program must not exceed.
pub(crate) struct Limits<'a> {
    pub(crate) timeout: Duration,
    /// The user's wish to stop; `None` where that must not matter.
    pub(crate) interrupted: Option<&'a AtomicBool>,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    With(ExitStatus),
    TimedOut,
    Interrupted,
}

/// Runs it, in a process group of its own.
pub(crate) fn run(
    mut command: Command,
    limits: &Limits<'_>,
    tell: &mut dyn FnMut(&str),
) -> io::Result<Ended> {
    let (reader, writer) = io::pipe()?;
    command.stdout(writer.try_clone()?).stderr(writer).process_group(0);
    let mut child = command.spawn()?;
    // It has the only writers now.
    drop(command);
    let flags = rustix::fs::fcntl_getfl(&reader)?;
    rustix::fs::fcntl_setfl(&reader, flags | rustix::fs::OFlags::NONBLOCK)?;
    let mut lines = Lines { reader: Some(reader), partial: Vec::new(), told: 0 };
    let ended = watch(&mut child, &mut lines, limits, tell);
    if ended.is_err() {
        kill(&child, Signal::KILL);
        child.wait()?;
    }
    lines.end(tell);
    ended
}

fn watch(
    child: &mut Child,
    lines: &mut Lines,
    limits: &Limits<'_>,
    tell: &mut dyn FnMut(&str),
) -> io::Result<Ended> {
    let end = Instant::now() + limits.timeout;
    let mut asked: Option<(Ended, Instant)> = None;
    loop {
        lines.wait()?;
        lines.read(tell)?;
        if let Some(status) = child.try_wait()? {
            lines.read(tell)?;
            if asked.is_some() {
                // Whoever was asked to end has ended; what it had started must not outlive that.
                kill(child, Signal::KILL);
            }
            return Ok(asked.map_or(Ended::With(status), |(why, _)| why));
        }
        match asked {
            Some((_, since)) if since.elapsed() > GRACE => kill(child, Signal::KILL),
            Some(_) => {}
            None => {
                let interrupted = limits.interrupted.is_some_and(|flag| flag.load(Ordering::Relaxed));
                let why = if interrupted { Some(Ended::Interrupted) } else { None };
                if let Some(why) = why.or((Instant::now() >= end).then_some(Ended::TimedOut)) {
                    kill(child, Signal::TERM);
                    // One that was stopped hears nothing.
                    kill(child, Signal::CONT);
                    asked = Some((why, Instant::now()));
                }
            }
        }
    }
}

fn kill(child: &Child, signal: Signal) {
    // It may have ended by itself.
    let _ = kill_process_group(Pid::from_child(child), signal);
}

/// What is said, taken apart.
struct Lines {
    /// None at its end.
    reader: Option<PipeReader>,
    partial: Vec<u8>,
    told: usize,
}

impl Lines {
    /// Waits a moment, or until something is said.
    fn wait(&self) -> io::Result<()> {
        let Some(reader) = &self.reader else {
            std::thread::sleep(Duration::from_millis(2));
            return Ok(());
        };
        match poll(&mut [PollFd::new(reader, PollFlags::IN)], Some(&TURN)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn read(&mut self, tell: &mut dyn FnMut(&str)) -> io::Result<()> {
        let mut buffer = [0; 4096];
        while let Some(reader) = &mut self.reader {
            match reader.read(&mut buffer) {
                Ok(0) => self.reader = None,
                Ok(count) => self.take(&buffer[..count], tell),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take(&mut self, bytes: &[u8], tell: &mut dyn FnMut(&str)) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let room = LINE_BYTES.saturating_sub(self.partial.len());
            let text = piece.strip_suffix(b"\n").unwrap_or(piece);
            self.partial.extend_from_slice(&text[..text.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.line(tell);
            }
        }
    }

    fn line(&mut self, tell: &mut dyn FnMut(&str)) {
        let line = std::mem::take(&mut self.partial);
        self.told += 1;
        match self.told {
            1..=LINES => tell(&String::from_utf8_lossy(&line)),
            told if told == LINES + 1 => tell("(what it says from here on is not shown)"),
            _ => {}
        }
    }

    /// Tells the last line. What goes on in the background can go on speaking; nobody listens.
    fn end(mut self, tell: &mut dyn FnMut(&str)) {
        if !self.partial.is_empty() {
            self.line(tell);
        }
        if let Some(mut reader) = self.reader.take() {
            let blocking = rustix::fs::fcntl_getfl(&reader)
                .and_then(|flags| rustix::fs::fcntl_setfl(&reader, flags - rustix::fs::OFlags::NONBLOCK));
            if blocking.is_ok() {
                std::thread::spawn(move || drop(io::copy(&mut reader, &mut io::sink())));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, timeout: Duration, interrupted: Option<&AtomicBool>) -> (Ended, Vec<String>) {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        let mut told = Vec::new();
        let ended = run(command, &Limits { timeout, interrupted }, &mut |line| told.push(line.to_owned()));
        (ended.unwrap(), told)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn both_outputs_are_told_line_by_line_and_the_status_decides() {
        let _turn = crate::run::turn();
        let (ended, told) = sh("echo a; echo b >&2; printf c; exit 3", LONG, None);
        assert!(matches!(ended, Ended::With(status) if status.code() == Some(3)));
        assert_eq!(told, ["a", "b", "c"]);
        let (ended, told) = sh("i=0; while [ $i -lt 1100 ]; do echo $i; i=$((i+1)); done", LONG, None);
        assert!(matches!(ended, Ended::With(status) if status.success()));
        assert_eq!((told.len(), told[LINES - 1].as_str()), (LINES + 1, "999"));
        let (_, told) = sh("head -c 100000 /dev/zero | tr '\\0' x; echo; echo y", LONG, None);
        assert_eq!((told[0].len(), told[1].as_str()), (LINE_BYTES, "y"));
    }

    #[test]
    fn when_its_time_is_over_all_of_it_ends() {
        let _turn = crate::run::turn();
        let begin = Instant::now();
        let (ended, told) = sh("sleep 600 & echo $!; wait", Duration::from_millis(300), None);
        assert_eq!(ended, Ended::TimedOut);
        assert!(begin.elapsed() < Duration::from_secs(30));
        let pid = Pid::from_raw(told[0].parse().unwrap()).unwrap();
        // Its parent is gone, so somebody else reaps it; a moment later it is gone as well.
        let gone = || {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
            rustix::process::test_kill_process(pid).is_err() || state.is_ok_and(|text| text.contains(") Z "))
        };
        assert!((0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(20));
            gone()
        }));
    }

    #[test]
    fn one_that_does_not_want_to_end_is_killed() {
        let _turn = crate::run::turn();
        let begin = Instant::now();
        let (ended, _) = sh("trap '' TERM; while :; do sleep 1; done", Duration::from_millis(100), None);
        assert_eq!(ended, Ended::TimedOut);
        assert!((GRACE..GRACE * 4).contains(&begin.elapsed()));
    }

    #[test]
    fn an_interrupt_ends_it() {
        let _turn = crate::run::turn();
        let (ended, _) = sh("sleep 600", LONG, Some(&AtomicBool::new(true)));
        assert_eq!(ended, Ended::Interrupted);
    }

    #[test]
    fn what_goes_on_in_the_background_is_neither_waited_for_nor_ended() {
        let _turn = crate::run::turn();
        let begin = Instant::now();
        let (ended, told) = sh("sleep 30 & echo $!", LONG, None);
        assert!(matches!(ended, Ended::With(status) if status.success()));
        assert!(begin.elapsed() < Duration::from_secs(20));
        let pid = Pid::from_raw(told[0].parse().unwrap()).unwrap();
        rustix::process::test_kill_process(pid).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }
}
