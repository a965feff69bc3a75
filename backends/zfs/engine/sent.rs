//! What a call writes to a descriptor, as a reader: the call runs in a thread, at the other end of a pipe.
//!
//! The thread never outlives its reader: the writes of a call that nobody reads from any more fail, which ends it.

use crate::{Error, Result};
use std::io::{self, PipeReader, PipeWriter, Read};
use std::thread::JoinHandle;

/// The reader. It fails at its end if the call failed, so that a short output is never taken for a whole one.
pub(super) struct Sent {
    state: State,
}

enum State {
    Running(PipeReader, JoinHandle<Result<()>>),
    Ended,
    Failed,
}

impl Sent {
    /// Starts the call. It must not keep the pipe after its return.
    pub(super) fn start(send: impl FnOnce(PipeWriter) -> Result<()> + Send + 'static) -> Result<Self> {
        let (reader, writer) = io::pipe().map_err(|source| Error::io("make", "a pipe", source))?;
        let thread = std::thread::Builder::new()
            .name("zfs send".to_owned())
            .spawn(move || send(writer))
            .map_err(|source| Error::io("start", "a thread", source))?;
        Ok(Self { state: State::Running(reader, thread) })
    }

    fn end(&mut self) -> io::Result<()> {
        let State::Running(_, thread) = std::mem::replace(&mut self.state, State::Failed) else {
            return Ok(());
        };
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).map_err(io::Error::other)?;
        self.state = State::Ended;
        Ok(())
    }
}

impl Read for Sent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match &mut self.state {
            State::Ended => Ok(0),
            State::Failed => Err(io::Error::other("sending has failed")),
            State::Running(pipe, _) => match pipe.read(buffer) {
                Ok(0) => self.end().map(|()| 0),
                other => other,
            },
        }
    }
}

impl Drop for Sent {
    fn drop(&mut self) {
        if let State::Running(pipe, thread) = std::mem::replace(&mut self.state, State::Failed) {
            drop(pipe);
            // It fails, because nobody reads. Until it has ended the snapshot is in use.
            thread.join().ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::mpsc;

    #[test]
    fn all_of_it_arrives() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let expected = bytes.clone();
        let mut sent = Sent::start(move |mut pipe| {
            pipe.write_all(&bytes).map_err(|source| Error::io("write", "a pipe", source))
        })
        .unwrap();
        let mut read = Vec::new();
        sent.read_to_end(&mut read).unwrap();
        assert_eq!(read, expected);
        assert_eq!(sent.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_failure_shows_at_the_end_and_stays() {
        let mut sent = Sent::start(|mut pipe| {
            pipe.write_all(b"part").unwrap();
            Err(Error::NotFound("t@s".to_owned()))
        })
        .unwrap();
        let mut read = Vec::new();
        let error = sent.read_to_end(&mut read).unwrap_err();
        assert_eq!((read.as_slice(), error.to_string().as_str()), (&b"part"[..], "There is no t@s"));
        assert!(sent.read(&mut [0]).is_err());
    }

    #[test]
    fn dropped_early_it_ends_the_call() {
        let (ended, end) = mpsc::channel();
        let mut sent = Sent::start(move |mut pipe| {
            loop {
                if let Err(source) = pipe.write_all(&[0; 4096]) {
                    ended.send(source.kind()).unwrap();
                    return Err(Error::io("write", "a pipe", source));
                }
            }
        })
        .unwrap();
        sent.read_exact(&mut [0; 10_000]).unwrap();
        drop(sent);
        assert_eq!(end.try_recv().unwrap(), io::ErrorKind::BrokenPipe);
    }
}
