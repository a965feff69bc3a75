//! Standard input as an archive's source.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a wish to stop waits at most, while nothing comes out of the pipe.
const PATIENCE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// A pipe that is given up when the user wants to stop, even if its other end is stuck. Unbuffered.
pub(crate) struct Pipe {
    file: File,
    interrupted: Arc<AtomicBool>,
}

impl Pipe {
    /// Standard input.
    pub(crate) fn stdin(interrupted: &Arc<AtomicBool>) -> io::Result<Self> {
        let file = io::stdin().as_fd().try_clone_to_owned()?.into();
        Ok(Self { file, interrupted: Arc::clone(interrupted) })
    }
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.interrupted.load(Ordering::Relaxed) {
                // Not `Interrupted`: callers would try again.
                return Err(io::Error::other("interrupted"));
            }
            let mut watched = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut watched, Some(&PATIENCE)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return self.file.read(buffer),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_stuck_pipe_is_given_up() {
        let (reader, mut writer) = io::pipe().unwrap();
        let interrupted = Arc::new(AtomicBool::new(false));
        let file = std::os::fd::OwnedFd::from(reader).into();
        let mut pipe = Pipe { file, interrupted: Arc::clone(&interrupted) };
        writer.write_all(b"abc").unwrap();
        let mut buffer = [0; 8];
        assert_eq!(pipe.read(&mut buffer).unwrap(), 3);
        let stop = std::thread::spawn(move || {
            std::thread::sleep(std::time::Duration::from_millis(20));
            interrupted.store(true, Ordering::Relaxed);
        });
        assert!(pipe.read(&mut buffer).is_err(), "the writer still holds its end");
        stop.join().unwrap();
        drop(writer);
    }
}
