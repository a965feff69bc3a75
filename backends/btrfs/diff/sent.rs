//! What changed, by a stream without content, as of `btrfs send --no-data`, played through on the names of the base. It comes from
//! the kernel straight: the start of a program would cost as much as a small stream.

use super::Subvolume;
use crate::btrfs::send_stream::{self, Base, Decoder, Kind, Namespace};
use crate::{Error, Hint, Result};
use remand_sys::btrfs;
use rustix::fs::{AtFlags, FileType};
use rustix::io::Errno;
use std::io::{self, BufReader, PipeReader};
use std::path::Path;

/// As [`changes`](super::changes), always by a stream.
pub fn changes(base: &Path, now: &Path, hint: &mut dyn FnMut(Hint) -> bool) -> Result<()> {
    between(Subvolume::open(base)?, &Subvolume::open(now)?, &now.display().to_string(), hint)
}

/// Calls `hint` for everything that may differ, until it returns false. Nothing is told before all of it is known, so an error
/// leaves no half of it.
pub(super) fn between(
    base: Subvolume,
    now: &Subvolume,
    subject: &str,
    hint: &mut dyn FnMut(Hint) -> bool,
) -> Result<()> {
    let parent = base.known.id;
    let (reader, writer) = io::pipe().map_err(|source| Error::io("make a pipe for", subject, source))?;
    let namespace = std::thread::scope(|scope| {
        // The pipe's end belongs to the thread alone: when the kernel has written all, or fails, the reader sees an end.
        let sending = scope.spawn(move || btrfs::send_without_data(&now.directory, parent, &writer));
        // The reader is gone when it fails, and then the kernel stops too.
        let played = play(reader, base, subject);
        let sent = sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (sent, played) {
            // The kernel's own failure is why a stream was not to be understood, unless its reader left it first.
            (Err(source), Ok(_)) => Err(source),
            (Err(source), Err(_)) if source.kind() != io::ErrorKind::BrokenPipe => Err(source),
            (_, played) => return played,
        }
        .map_err(|source| Error::io("list what changed in", subject, source))
    })?;
    namespace.finish(hint).map_err(|error| unclear(subject, error.into()))
}

fn play(stream: PipeReader, base: Subvolume, subject: &str) -> Result<Namespace<Subvolume>> {
    let mut decoder = Decoder::new(BufReader::with_capacity(64 * 1024, stream));
    let mut namespace = Namespace::new(base);
    while let Some(command) = decoder.next().map_err(|error| match error {
        send_stream::Error::Read(source) => Error::io("read what changed in", subject, source),
        malformed @ send_stream::Error::Malformed { .. } => unclear(subject, malformed.into()),
    })? {
        namespace.apply(&command).map_err(|error| unclear(subject, error.into()))?;
    }
    Ok(namespace)
}

fn unclear(subject: &str, error: Box<dyn std::error::Error + Send + Sync>) -> Error {
    Error::io("understand what changed in", subject, io::Error::new(io::ErrorKind::InvalidData, error))
}

impl Base for Subvolume {
    fn kind(&self, path: &[u8]) -> io::Result<Option<Kind>> {
        match rustix::fs::statat(&self.directory, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {
                Ok(Some(Kind::Directory))
            }
            Ok(_) => Ok(Some(Kind::Other)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
