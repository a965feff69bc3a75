//! What changed between two subvolumes: `btrfs send --no-data`, played through on the names of the base.

use super::send_stream::{self, Base, Decoder, Kind, Namespace};
use crate::process::Program;
use crate::{Error, Hint, Result};
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::io::{self, BufReader};
use std::os::fd::OwnedFd;
use std::path::Path;

/// Calls `hint` for everything that may differ between two read-only subvolumes of one lineage, until it returns false. Nothing is
/// told before all of it is known, so an error leaves no half of it.
pub fn changes(base: &Path, now: &Path, hint: &mut dyn FnMut(Hint) -> bool) -> Result<()> {
    let opened = Subvolume::open(base)?;
    Subvolume::open(now)?;
    let program = Program::new("btrfs", ["send", "-q", "--no-data", "-p", text(base)?, text(now)?]);
    let mut decoder = Decoder::new(BufReader::with_capacity(64 * 1024, program.stream()?));
    let mut namespace = Namespace::new(opened);
    let unclear = |error: Box<dyn std::error::Error + Send + Sync>| {
        Error::io("understand", program.display(), io::Error::new(io::ErrorKind::InvalidData, error))
    };
    while let Some(command) = decoder.next().map_err(|error| match error {
        send_stream::Error::Read(source) => match source.downcast::<Error>() {
            Ok(failed) => failed,
            Err(source) => Error::io("read the output of", program.display(), source),
        },
        malformed @ send_stream::Error::Malformed { .. } => unclear(malformed.into()),
    })? {
        namespace.apply(&command).map_err(|error| unclear(error.into()))?;
    }
    namespace.finish(hint).map_err(|error| unclear(error.into()))
}

fn text(path: &Path) -> Result<&str> {
    // It is an argument of a program, and the paths of a pool are names that were checked.
    path.to_str().ok_or_else(|| Error::Unsupported {
        subject: path.display().to_string(),
        what: "a path that is not UTF-8",
    })
}

/// A subvolume by its descriptor: paths in it can be as long as the system allows.
#[derive(Debug)]
struct Subvolume(OwnedFd);

impl Subvolume {
    /// Fails if it is no subvolume, or if it can be written: hints of what changes meanwhile would be of no moment at all.
    fn open(path: &Path) -> Result<Self> {
        let subject = || path.display().to_string();
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let opened = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|error| Error::io("open", subject(), error.into()))?;
        let known = remand_sys::btrfs::subvolume(&opened)
            .map_err(|source| Error::io("tell the subvolume of", subject(), source))?;
        let inode =
            rustix::fs::fstat(&opened).map_err(|error| Error::io("look at", subject(), error.into()))?.st_ino;
        if inode != remand_sys::btrfs::ROOT_INODE || !known.read_only {
            let what = "telling what changed in what is no read-only subvolume";
            return Err(Error::Unsupported { subject: subject(), what });
        }
        Ok(Self(opened))
    }
}

impl Base for Subvolume {
    fn kind(&self, path: &[u8]) -> io::Result<Option<Kind>> {
        match rustix::fs::statat(&self.0, path, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {
                Ok(Some(Kind::Directory))
            }
            Ok(_) => Ok(Some(Kind::Other)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// All names of an inode in the read-only subvolume that is open at `tree`.
pub fn names_of(tree: &Path, inode: u64) -> Result<Vec<Vec<u8>>> {
    let failed = |source| Error::io("find all names of an inode in", tree.display().to_string(), source);
    let opened = std::fs::File::open(tree).map_err(failed)?;
    remand_sys::btrfs::names_of_inode(&opened, inode).map_err(failed)
}
