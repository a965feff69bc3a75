//! The members of a zip file, read where its directory says that they are.
//!
//! A zip file says everything twice, and its members may share bytes. Here both must agree, and no byte belongs to two members, so
//! that none is longer than its own bytes can be.

use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use ::zip::ZipArchive;
use ::zip::result::ZipError;

use super::About;
use crate::archive::reader::members::Take;
use crate::archive::{Error, Line, MemberName, ReadAt, Result};
use crate::tree::{Acl, Content, Entry, Extent, Flags, Kind, Timestamp, TreePath};

/// More than any jail has datasets.
const MAX_MEMBERS: usize = 10_000;
const PIECE_BYTES: usize = 256 << 10;

/// See [`Place::each`](super::Place::each).
pub(super) fn each(
    file: &Arc<dyn ReadAt>,
    about: &About,
    wants: &mut dyn FnMut(&Line) -> bool,
    take: &mut Take<'_>,
) -> Result<()> {
    let name = &about.name;
    let seeking = Seeking { file: Arc::clone(file), at: 0 };
    let mut zip = ZipArchive::new(io::BufReader::new(seeking)).map_err(|error| failed(name, error))?;
    if zip.len() > MAX_MEMBERS {
        return Err(Error::Refused(format!("{name} has more than {MAX_MEMBERS} members")));
    }
    zip.validate_header_consistency().map_err(|error| match error {
        ZipError::Io(error) => failed(name, ZipError::Io(error)),
        error => Error::Refused(format!("{name}: {error}")),
    })?;
    for number in 0..zip.len() {
        about.go_on()?;
        let mut member = zip.by_index(number).map_err(|error| failed(name, error))?;
        if member.is_dir() {
            continue;
        }
        let refused = |why: &str| {
            let member = crate::tree::path::printable(member.name_raw());
            Err(Error::Refused(format!("\"{member}\" in {name} {why}")))
        };
        if !member.is_file() {
            return refused("is no regular file");
        }
        let path = TreePath::new(member.name_raw()).ok().filter(|path| !path.is_root());
        let Some(path) = path else { return refused("is no name of a member") };
        let size = member.size();
        let line = Line::member(MemberName::new(path), entry(size));
        if !wants(&line) {
            continue;
        }
        let mut content = Member::new(&mut member, size);
        let taken = take(&line, Some(&mut content));
        content.finish(taken, about.proves).map_err(|error| match error {
            Left::Taken(error) => error,
            Left::Broken(error) => Error::Damaged(format!("{} in {name} {error}", line.name)),
            Left::Io(source) => Error::Io { action: "read", subject: name.clone(), source },
        })?;
    }
    Ok(())
}

fn failed(name: &str, error: ZipError) -> Error {
    match error {
        ZipError::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
            Error::Damaged(format!("{name} ends in the middle"))
        }
        ZipError::Io(source) => Error::Io { action: "read", subject: name.to_owned(), source },
        ZipError::UnsupportedArchive(why) => Error::Refused(format!("{name}: {why}")),
        error => Error::Damaged(format!("{name}: {error}")),
    }
}

/// What a zip file says of a member: nothing that a stream would need.
fn entry(size: u64) -> Entry {
    Entry {
        kind: Kind::File,
        mode: 0o600,
        uid: 0,
        gid: 0,
        mtime: Timestamp::default(),
        size,
        target: None,
        device: None,
        xattrs: std::collections::BTreeMap::new(),
        acl: Acl::default(),
        flags: Flags::default(),
    }
}

/// A file that is read at any place, as who seeks in it wants it.
struct Seeking {
    file: Arc<dyn ReadAt>,
    at: u64,
}

impl Read for Seeking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Seek for Seeking {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.file.size()?.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// The bytes of a member: as many as its header says, with the right checksum.
struct Member<'a> {
    inner: &'a mut dyn Read,
    extents: Vec<Extent>,
    size: u64,
    at: u64,
    piece: Vec<u8>,
    failure: Option<io::Error>,
}

/// How the reading of a member ended.
enum Left {
    /// Who took it had an error.
    Taken(Error),
    Broken(String),
    Io(io::Error),
}

impl<'a> Member<'a> {
    fn new(inner: &'a mut dyn Read, size: u64) -> Self {
        let extents = (size > 0).then_some(Extent { offset: 0, length: size }).into_iter().collect();
        Self { inner, extents, size, at: 0, piece: vec![0; PIECE_BYTES], failure: None }
    }

    fn read(&mut self) -> io::Result<usize> {
        let left = usize::try_from(self.size - self.at).unwrap_or(usize::MAX).min(PIECE_BYTES);
        // Behind the last byte its checksum is compared.
        let most = left.max(1);
        let read = loop {
            match self.inner.read(&mut self.piece[..most]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if read > left {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "is longer than its header says"));
        }
        if read == 0 && left > 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "is shorter than its header says"));
        }
        self.at += read as u64;
        Ok(read)
    }

    /// Reads what was not asked for, if that has to be `proven`.
    fn finish(mut self, taken: Result<()>, proven: bool) -> std::result::Result<(), Left> {
        let told = |error: io::Error| match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof => {
                Left::Broken(error.to_string())
            }
            _ => Left::Io(error),
        };
        if let Some(failure) = self.failure.take() {
            return Err(told(failure));
        }
        taken.map_err(Left::Taken)?;
        while proven && self.read().map_err(told)? > 0 {}
        Ok(())
    }
}

impl Content for Member<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn extents(&self) -> &[Extent] {
        &self.extents
    }

    fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        let offset = self.at;
        match self.read() {
            Ok(0) => Ok(None),
            Ok(read) => Ok(Some((offset, &self.piece[..read]))),
            Err(error) => {
                let told = io::Error::new(error.kind(), error.to_string());
                self.failure.get_or_insert(error);
                Err(told)
            }
        }
    }
}
