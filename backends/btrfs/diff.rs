//! What changed between two subvolumes: a stream without content, as of `btrfs send --no-data`, played through on the names of the
//! base. It comes from the kernel straight: the start of a program would cost as much as a small stream.

use super::Btrfs;
use super::send_stream::{self, Base, Decoder, Kind, Namespace};
use crate::{Error, Hint, NativeDiff, Result, Snapshot};
use remand_sys::btrfs::{self, ROOT_INODE};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::io::{self, BufReader, PipeReader};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

impl NativeDiff for Btrfs {
    fn changes(&self, base: &Snapshot, now: &Snapshot, hint: &mut dyn FnMut(Hint) -> bool) -> Result<()> {
        changes(&self.directory_of(base)?, &self.directory_of(now)?, hint)
    }

    fn names_of(&self, tree: &Path, inode: u64) -> Result<Option<Vec<Vec<u8>>>> {
        names_of(tree, inode)
    }
}

/// Calls `hint` for everything that may differ between two read-only subvolumes of one lineage, until it returns false. Nothing is
/// told before all of it is known, so an error leaves no half of it.
pub fn changes(base: &Path, now: &Path, hint: &mut dyn FnMut(Hint) -> bool) -> Result<()> {
    let (base, subject) = (Subvolume::open(base)?, now.display().to_string());
    let (now, parent) = (Subvolume::open(now)?, base.id);
    let (reader, writer) = io::pipe().map_err(|source| Error::io("make a pipe for", &subject, source))?;
    let namespace = std::thread::scope(|scope| {
        // The pipe's end belongs to the thread alone: when the kernel has written all, or fails, the reader sees an end.
        let sending = scope.spawn(move || btrfs::send_without_data(&now.directory, parent, &writer));
        // The reader is gone when it fails, and then the kernel stops too.
        let played = play(reader, base, &subject);
        let sent = sending.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (sent, played) {
            // The kernel's own failure is why a stream was not to be understood, unless its reader left it first.
            (Err(source), Ok(_)) => Err(source),
            (Err(source), Err(_)) if source.kind() != io::ErrorKind::BrokenPipe => Err(source),
            (_, played) => return played,
        }
        .map_err(|source| Error::io("list what changed in", &subject, source))
    })?;
    namespace.finish(hint).map_err(|error| unclear(&subject, error.into()))
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

/// A subvolume by its descriptor: paths in it can be as long as the system allows.
#[derive(Debug)]
struct Subvolume {
    directory: OwnedFd,
    id: u64,
}

impl Subvolume {
    /// Fails if it is no subvolume, or if it can be written: hints of what changes meanwhile would be of no moment at all.
    fn open(path: &Path) -> Result<Self> {
        let subject = || path.display().to_string();
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let opened = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| Error::io("open", subject(), error.into()))?;
        let known = btrfs::subvolume(&opened)
            .map_err(|source| Error::io("tell the subvolume of", subject(), source))?;
        let inode =
            rustix::fs::fstat(&opened).map_err(|error| Error::io("look at", subject(), error.into()))?.st_ino;
        if inode != ROOT_INODE || !known.read_only {
            let what = "telling what changed in what is no read-only subvolume";
            return Err(Error::Unsupported { subject: subject(), what });
        }
        Ok(Self { directory: opened, id: known.id })
    }
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

/// All names of an inode in the read-only subvolume at `tree`; `None` if that is no subvolume's own directory, so that names
/// could lie outside of it.
pub fn names_of(tree: &Path, inode: u64) -> Result<Option<Vec<Vec<u8>>>> {
    let failed = |source| Error::io("find all names of an inode in", tree.display().to_string(), source);
    let opened = std::fs::File::open(tree).map_err(failed)?;
    if opened.metadata().map_err(failed)?.ino() != ROOT_INODE {
        return Ok(None);
    }
    btrfs::names_of_inode(&opened, inode).map(Some).map_err(failed)
}
