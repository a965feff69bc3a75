//! Reading an archive: every digest, name and header is checked on the way.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::index::Failure;
use super::table::Audit;
use super::{Error, Line, Manifest, Result, Seal, Signed};
use crate::encrypt;
use crate::keys::Keys;
use crate::tree::{Content, Tree};

mod budget;
mod content;
mod decompress;
mod directory;
mod file;
mod frames;
#[doc(hidden)]
pub mod fuzzing;
mod gzip_members;
mod held;
mod index;
mod judge;
mod lines;
pub(crate) mod members;
mod origin;
mod pieces;
mod runs;
mod salvage;
mod selected;
mod survey;
mod survey_directory;
mod tar;
mod tolerant;
mod walk;
mod window;

pub use file::ReadAt;
pub use origin::Origin;
pub use pieces::Range;
pub use salvage::salvage;
pub use survey::{Fault, Finding, IndexState, Rescue, Survey, survey};

/// Receives an archive's parts in the order in which they lie.
///
/// What a visitor is given has passed all checks that can be made at that point; only when [`read`] returns
/// its seal is the archive proven whole.
pub trait Visitor {
    /// The manifest, before everything else.
    fn manifest(&mut self, manifest: &Manifest) -> Result<()>;

    /// Whether a member is of interest; asked before it is handed over. What is not wanted is skipped in the cheapest way that the
    /// source has: it need not have been read, or compared with its digest. [`select`] may ask for all members before it hands
    /// the first one over, and more than once.
    fn wants(&mut self, line: &Line) -> bool {
        let _ = line;
        true
    }

    /// A member that is wanted. `line` is made from the member's own header, so it has no `replaced`, `group` or digest, and
    /// the entry of a hard link has kind `File`, no size, and of its attributes only mode, owner and mtime. What
    /// the visitor leaves unread of `content` is read and checked after it returns. A file that changed while it was
    /// archived can come several times in succession; the last one counts.
    fn member(&mut self, line: &Line, content: Option<&mut dyn Content>) -> Result<()>;

    /// A line of the index, in order, after all members. Of a member it has been compared with what was read.
    fn line(&mut self, line: &Line) -> Result<()>;

    /// A resource that is not whole in the archive, after all members: nothing of it may be used.
    fn failure(&mut self, failure: &Failure) -> Result<()>;

    /// Whether lines are shown as they come. Then, where a signature is required, they come only when it is proven.
    fn shows_lines(&self) -> bool {
        false
    }

    /// The signature, once the seal is proven and it is one of that. Not called where there is none.
    fn signature(&mut self, signed: &Signed) -> Result<()> {
        let _ = signed;
        Ok(())
    }
}

/// Who only wants to know whether an archive is whole.
impl Visitor for () {
    fn manifest(&mut self, _: &Manifest) -> Result<()> {
        Ok(())
    }

    fn member(&mut self, _: &Line, _: Option<&mut dyn Content>) -> Result<()> {
        Ok(())
    }

    fn line(&mut self, _: &Line) -> Result<()> {
        Ok(())
    }

    fn failure(&mut self, _: &Failure) -> Result<()> {
        Ok(())
    }
}

/// Where an archive is read from.
pub enum Source {
    /// A file or a directory.
    Path(std::path::PathBuf),
    /// An open file.
    File(Arc<dyn ReadAt>),
    /// A pipe.
    Stream(Box<dyn io::Read + Send>),
    /// Any of these, with keys for it.
    Keyed(Box<Source>, Keys),
    /// Any of these, as long as the flag is not set; then reading fails, also over a hole that takes hours.
    Interruptible(Box<Source>, Arc<AtomicBool>),
    /// Any of these, made while it is read of what another tool wrote.
    Adapted(Box<Source>, Arc<Origin>),
}

impl Source {
    /// The same once more; `None` for a pipe, which can be read once.
    pub fn again(&self) -> Option<Self> {
        match self {
            Self::Path(path) => Some(Self::Path(path.clone())),
            Self::File(file) => Some(Self::File(Arc::clone(file))),
            Self::Stream(_) => None,
            Self::Keyed(source, keys) => Some(Self::Keyed(Box::new(source.again()?), keys.clone())),
            Self::Interruptible(source, flag) => {
                Some(Self::Interruptible(Box::new(source.again()?), Arc::clone(flag)))
            }
            Self::Adapted(source, origin) => {
                Some(Self::Adapted(Box::new(source.again()?), Arc::clone(origin)))
            }
        }
    }
}

/// Reads a whole archive. `name` is what messages call it.
///
/// After a failure a thread may still wait for a stream's next bytes, until they come or the stream ends.
pub fn read(source: Source, name: &str, visitor: &mut dyn Visitor) -> Result<Seal> {
    let (opened, terms) = open(source, name)?;
    let read = match opened {
        Opened::Stream(stream) => {
            decrypted(stream, &terms).and_then(|stream| read_whole(stream, &terms, visitor))
        }
        Opened::File(file) => {
            let stream = decrypted(Box::new(file::Range::whole(&file)), &terms)?;
            read_whole(stream, &terms, visitor)
        }
        Opened::Directory(tree) => directory::read(&tree, &terms, true, visitor),
    };
    read.map_err(|error| terms.cause(error))
}

/// Reads of an archive what the visitor wants, and no more of its other members than it must: a file's table of offsets leads to
/// those that are wanted, of a tar file without compression the headers alone are read, and of a directory only files that
/// are wanted are opened. Where there is no such way, the whole archive is read.
///
/// The index is read completely, and proven by its seal; every member that is handed over is compared with its line and digest.
/// Of the others it is not known whether they are whole.
pub fn select(source: Source, name: &str, visitor: &mut dyn Visitor) -> Result<Seal> {
    let (opened, terms) = open_decrypted(source, name)?;
    let read = match opened {
        Opened::Stream(stream) => read_stream(stream, &terms, None, visitor),
        Opened::File(file) => selected::read(&file, &terms, visitor),
        Opened::Directory(tree) => directory::read(&tree, &terms, false, visitor),
    };
    read.map_err(|error| terms.cause(error))
}

/// Reads the manifest alone, and no more of the source than it must.
pub fn read_manifest(source: Source, name: &str) -> Result<Manifest> {
    let (opened, terms) = open(source, name)?;
    let stream: Box<dyn io::Read + Send> = match opened {
        Opened::Stream(stream) => stream,
        Opened::File(file) => Box::new(file::Range::whole(&file)),
        Opened::Directory(tree) => return directory::read_manifest(&tree, name),
    };
    let stream = decompress::open(decrypted(stream, &terms)?, decompress::Ahead::No, &Audit::default());
    let stream = stream.map_err(|error| input_error(name, error))?;
    tar::read_manifest(Box::new(stream), &terms).map_err(|error| terms.cause(error))
}

/// The same without its encryption, if it has one.
fn decrypted(mut stream: Box<dyn io::Read + Send>, terms: &Terms) -> Result<Box<dyn io::Read + Send>> {
    let name = &terms.name;
    let mut head = Vec::new();
    let read = (&mut stream).take(encrypt::MAGIC_BYTES as u64).read_to_end(&mut head);
    read.map_err(|error| input_error(name, error))?;
    let is_encrypted = encrypt::is_encrypted(&head, name)?;
    let whole = io::Cursor::new(head).chain(stream);
    if is_encrypted {
        return encrypt::open_stream(whole, name, terms.keys.identities());
    }
    Ok(Box::new(whole))
}

/// Reads a whole TAR archive from front to back, its table of offsets too.
fn read_whole(stream: Box<dyn io::Read + Send>, terms: &Terms, visitor: &mut dyn Visitor) -> Result<Seal> {
    let audit = Audit::default();
    let stream = decompress::open(stream, decompress::Ahead::Yes, &audit);
    let stream = stream.map_err(|error| input_error(&terms.name, error))?;
    tar::read(Box::new(content::Audited::new(stream, audit)), terms, None, visitor)
}

/// Reads a TAR archive from front to back for what the visitor wants of it. `known` is its manifest where the visitor has been given it.
fn read_stream(
    stream: Box<dyn io::Read + Send>,
    terms: &Terms,
    known: Option<&[u8]>,
    visitor: &mut dyn Visitor,
) -> Result<Seal> {
    let stream = decompress::open(stream, decompress::Ahead::Yes, &Audit::default());
    let stream = stream.map_err(|error| input_error(&terms.name, error))?;
    tar::read(Box::new(stream), terms, known, visitor)
}

enum Opened {
    Stream(Box<dyn io::Read + Send>),
    File(Arc<dyn ReadAt>),
    Directory(Tree),
}

/// What is known of an archive beside its bytes.
#[derive(Clone, Default)]
struct Terms {
    name: String,
    keys: Keys,
    interrupted: Arc<AtomicBool>,
    /// Of what another tool wrote.
    origin: Option<Arc<Origin>>,
}

impl Terms {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), ..Self::default() }
    }

    /// Why reading failed.
    fn cause(&self, seen: Error) -> Error {
        match &self.origin {
            Some(origin) => origin.cause(seen),
            None => seen,
        }
    }

    /// Asked where bytes are not read for long.
    fn go_on(&self) -> io::Result<()> {
        if self.interrupted.load(Ordering::Relaxed) { Err(io::Error::other("interrupted")) } else { Ok(()) }
    }
}

fn open(source: Source, name: &str) -> Result<(Opened, Terms)> {
    let opened = match source {
        // What is around all others counts.
        Source::Keyed(source, keys) => {
            return open(*source, name).map(|(opened, terms)| (opened, Terms { keys, ..terms }));
        }
        Source::Interruptible(source, interrupted) => {
            return open(*source, name).map(|(opened, terms)| (opened, Terms { interrupted, ..terms }));
        }
        Source::Adapted(source, origin) => {
            return open(*source, name)
                .map(|(opened, terms)| (opened, Terms { origin: Some(origin), ..terms }));
        }
        Source::Stream(stream) => Opened::Stream(stream),
        Source::File(file) => Opened::File(file),
        Source::Path(path) => open_path(&path, name)?,
    };
    Ok((opened, Terms::new(name)))
}

/// The same without its encryption, if it has one; a file can be read at any place all the same.
fn open_decrypted(source: Source, name: &str) -> Result<(Opened, Terms)> {
    let (opened, terms) = open(source, name)?;
    let opened = match opened {
        Opened::Stream(stream) => Opened::Stream(decrypted(stream, &terms)?),
        Opened::File(file) => {
            let head = file::read_vec(&*file, 0, encrypt::MAGIC_BYTES);
            let head = head.map_err(|error| input_error(name, error))?;
            if encrypt::is_encrypted(&head, name)? {
                Opened::File(encrypt::open_file(&file, name, terms.keys.identities())?)
            } else {
                Opened::File(file)
            }
        }
        Opened::Directory(tree) => Opened::Directory(tree),
    };
    Ok((opened, terms))
}

fn open_path(path: &std::path::Path, name: &str) -> Result<Opened> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::NotFound(name.to_owned()),
        _ => Error::Io { action: "open", subject: name.to_owned(), source },
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Tree::open(path).map(Opened::Directory).map_err(Error::Tree);
    }
    Ok(if metadata.is_file() { Opened::File(Arc::new(file)) } else { Opened::Stream(Box::new(file)) })
}

/// What a failed read of the archive's bytes means: missing and wrong bytes are damage.
fn input_error(name: &str, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => Error::Damaged(format!("{name} ends in the middle")),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            match source.get_ref().and_then(|error| error.downcast_ref::<encrypt::Broken>()) {
                Some(broken) => Error::Damaged(format!("{name} {broken}")),
                None => Error::Damaged(format!("{name} cannot be decompressed: {source}")),
            }
        }
        // The limit is ours, and the system's memory is not exhausted.
        io::ErrorKind::OutOfMemory => Error::Refused(format!(
            "{name} takes more memory to decompress than any archive of remand: {source}"
        )),
        _ => Error::Io { action: "read", subject: name.to_owned(), source },
    }
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod own_tests;
#[cfg(test)]
mod selected_tests;
#[cfg(test)]
mod signature_tests;
#[cfg(test)]
mod survey_forged_tests;
#[cfg(test)]
mod survey_tests;
#[cfg(test)]
mod tests;
