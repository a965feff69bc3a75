//! Reading an archive: every digest, name and header is checked on the way.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::index::Failure;
use super::{Error, Line, Manifest, Result, Seal};
use crate::tree::{Content, Tree};

mod content;
mod decompress;
mod directory;
mod file;
mod frames;
#[doc(hidden)]
pub mod fuzzing;
mod index;
mod runs;
mod selected;
mod tar;

pub use file::ReadAt;

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
}

/// Where an archive is read from.
pub enum Source {
    /// A file or a directory.
    Path(std::path::PathBuf),
    /// An open file.
    File(Arc<dyn ReadAt>),
    /// A pipe.
    Stream(Box<dyn io::Read + Send>),
}

/// Reads a whole archive. `name` is what messages call it.
///
/// After a failure a thread may still wait for a stream's next bytes, until they come or the stream ends.
pub fn read(source: Source, name: &str, visitor: &mut dyn Visitor) -> Result<Seal> {
    match open(source, name)? {
        Opened::Stream(stream) => read_stream(stream, name, None, visitor),
        Opened::File(file) => read_stream(Box::new(file::Range::whole(&file)), name, None, visitor),
        Opened::Directory(tree) => directory::read(&tree, name, true, visitor),
    }
}

/// Reads of an archive what the visitor wants, and no more of its other members than it must: a file's table of offsets leads to
/// those that are wanted, of a tar file without compression the headers alone are read, and of a directory only files that
/// are wanted are opened. Where there is no such way, the whole archive is read.
///
/// The index is read completely, and proven by its seal; every member that is handed over is compared with its line and digest.
/// Of the others it is not known whether they are whole.
pub fn select(source: Source, name: &str, visitor: &mut dyn Visitor) -> Result<Seal> {
    match open(source, name)? {
        Opened::Stream(stream) => read_stream(stream, name, None, visitor),
        Opened::File(file) => selected::read(&file, name, visitor),
        Opened::Directory(tree) => directory::read(&tree, name, false, visitor),
    }
}

/// Reads the manifest alone, and no more of the source than it must.
pub fn read_manifest(source: Source, name: &str) -> Result<Manifest> {
    let stream: Box<dyn io::Read + Send> = match open(source, name)? {
        Opened::Stream(stream) => stream,
        Opened::File(file) => Box::new(file::Range::whole(&file)),
        Opened::Directory(tree) => return directory::read_manifest(&tree, name),
    };
    let stream = decompress::open(stream, decompress::Ahead::No);
    tar::read_manifest(Box::new(stream.map_err(|error| input_error(name, error))?), name)
}

/// Reads a whole TAR archive from front to back. `known` is its manifest where the visitor has been given it.
fn read_stream(
    stream: Box<dyn io::Read + Send>,
    name: &str,
    known: Option<&[u8]>,
    visitor: &mut dyn Visitor,
) -> Result<Seal> {
    let stream = decompress::open(stream, decompress::Ahead::Yes);
    tar::read(Box::new(stream.map_err(|error| input_error(name, error))?), name, known, visitor)
}

enum Opened {
    Stream(Box<dyn io::Read + Send>),
    File(Arc<dyn ReadAt>),
    Directory(Tree),
}

fn open(source: Source, name: &str) -> Result<Opened> {
    let path = match source {
        Source::Stream(stream) => return Ok(Opened::Stream(stream)),
        Source::File(file) => return Ok(Opened::File(file)),
        Source::Path(path) => path,
    };
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => Error::NotFound(name.to_owned()),
        _ => Error::Io { action: "open", subject: name.to_owned(), source },
    };
    let file = File::open(&path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if metadata.is_dir() {
        return Tree::open(&path).map(Opened::Directory).map_err(Error::Tree);
    }
    Ok(if metadata.is_file() { Opened::File(Arc::new(file)) } else { Opened::Stream(Box::new(file)) })
}

/// What a failed read of the archive's bytes means: missing and wrong bytes are damage.
fn input_error(name: &str, source: io::Error) -> Error {
    match source.kind() {
        io::ErrorKind::UnexpectedEof => Error::Damaged(format!("{name} ends in the middle")),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            Error::Damaged(format!("{name} cannot be decompressed: {source}"))
        }
        _ => Error::Io { action: "read", subject: name.to_owned(), source },
    }
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod selected_tests;
#[cfg(test)]
mod tests;
