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
    let (base_text, now_text) = (text(base)?, text(now)?);
    must_be_read_only(base_text)?;
    must_be_read_only(now_text)?;
    let program = Program::new("btrfs", ["send", "-q", "--no-data", "-p", base_text, now_text]);
    let mut decoder = Decoder::new(BufReader::with_capacity(64 * 1024, program.stream()?));
    let mut namespace = Namespace::new(Subvolume::open(base)?);
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

/// A subvolume that changes while it is compared would give hints of no moment at all.
fn must_be_read_only(subvolume: &str) -> Result<()> {
    let program = Program::new("btrfs", ["property", "get", "-ts", subvolume, "ro"]);
    let printed = program.output()?;
    match printed.trim_end() {
        "ro=true" => Ok(()),
        "ro=false" => Err(Error::Unsupported {
            subject: subvolume.to_owned(),
            what: "telling what changed in a writable subvolume",
        }),
        _ => Err(Error::Output { command: program.display(), line: printed }),
    }
}

/// The base, by its descriptor: paths in it can be as long as the system allows.
#[derive(Debug)]
struct Subvolume(OwnedFd);

impl Subvolume {
    fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        opened.map(Self).map_err(|error| Error::io("open", path.display().to_string(), error.into()))
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
