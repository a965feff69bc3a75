//! Whose archive something is, by its first bytes.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use super::iocage;
use super::stream::HEAD_BYTES;
use crate::archive::format::{INDEX, MANIFEST};
use crate::archive::reader::members::first_member;
use crate::archive::{Line, Result};
use crate::encrypt;
use crate::tree::Kind;

const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// Whose it may be. Only a look at all members proves it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// A tar file or directory of libioc's.
    Libioc,
    /// An export of iocage's.
    IocageZip,
    /// The same as a tar file.
    IocageTar,
}

impl Sort {
    /// Whose it is.
    pub(crate) fn tool(self) -> &'static str {
        match self {
            Self::Libioc => "libioc",
            Self::IocageZip | Self::IocageTar => "iocage",
        }
    }
}

/// What lies at a path. `None` if it is remand's, or nobody's that is known, or cannot be read: then whoever reads it tells why.
pub(crate) fn sort_of_path(path: &Path) -> Option<Sort> {
    if path.is_dir() {
        let is_file = |name: &str| path.join(name).symlink_metadata().is_ok_and(|found| found.is_file());
        let is_ours = is_file(MANIFEST) || is_file(INDEX);
        return (!is_ours && is_file("config.json")).then_some(Sort::Libioc);
    }
    if !path.metadata().is_ok_and(|found| found.is_file()) {
        return None;
    }
    sort_of(Box::new(File::open(path).ok()?), &path.display().to_string())
}

/// What a stream is, and the same stream from its begin. No more of it is read than that takes.
pub(crate) fn sort_of_stream(
    stream: Box<dyn Read + Send>,
    name: &str,
) -> (Option<Sort>, Box<dyn Read + Send>) {
    let kept = Arc::new(Mutex::new(Kept { stream, head: Vec::new(), failure: None }));
    let sort = sort_of(Box::new(Keeping(Arc::clone(&kept))), name);
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    let stream = std::mem::replace(&mut kept.stream, Box::new(io::empty()));
    let rest = Failing { failure: kept.failure.take(), stream };
    (sort, Box::new(io::Cursor::new(std::mem::take(&mut kept.head)).chain(rest)))
}

fn sort_of(mut stream: Box<dyn Read + Send>, name: &str) -> Option<Sort> {
    let mut head = Vec::new();
    (&mut stream).take(encrypt::MAGIC_BYTES.max(ZIP_MAGIC.len()) as u64).read_to_end(&mut head).ok()?;
    if head.starts_with(ZIP_MAGIC) {
        return Some(Sort::IocageZip);
    }
    if encrypt::is_encrypted(&head, name).ok()? {
        return None;
    }
    let whole = io::Cursor::new(head).chain(stream);
    let (line, head) = first(first_member(Box::new(whole), name, HEAD_BYTES))?;
    let path = line.name.path().as_bytes();
    if path == MANIFEST.as_bytes() {
        return None;
    }
    if iocage::is_member(&line.name, &head) {
        return Some(Sort::IocageTar);
    }
    let kind = line.entry.as_ref().map(|entry| entry.kind);
    let is_libioc = match path {
        b"" | b"config.json" | b"fstab" | b"root" => true,
        _ if path.starts_with(b"root/") => true,
        _ if kind == Some(Kind::File) => path.ends_with(b".zfs"),
        // The place of streams of nested datasets.
        _ => kind == Some(Kind::Directory) && !path.contains(&b'/'),
    };
    is_libioc.then_some(Sort::Libioc)
}

fn first(member: Result<Option<(Line, Vec<u8>)>>) -> Option<(Line, Vec<u8>)> {
    member.ok().flatten()
}

/// A stream, and what was read of it.
struct Kept {
    stream: Box<dyn Read + Send>,
    head: Vec<u8>,
    failure: Option<io::Error>,
}

struct Keeping(Arc<Mutex<Kept>>);

impl Read for Keeping {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match kept.stream.read(buffer) {
            Ok(read) => {
                kept.head.extend_from_slice(&buffer[..read]);
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                kept.failure = Some(error);
                Err(told)
            }
        }
    }
}

/// A stream that fails first if it has failed.
struct Failing {
    failure: Option<io::Error>,
    stream: Box<dyn Read + Send>,
}

impl Read for Failing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.failure.take() {
            Some(failure) => Err(failure),
            None => self.stream.read(buffer),
        }
    }
}
