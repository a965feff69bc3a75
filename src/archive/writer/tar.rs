//! TAR: headers, content and padding into an [`Output`].

use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use super::Body;
use super::copy::{copy_content, copy_stream};
use crate::archive::format::{INDEX, MANIFEST, SIGNATURE};
use crate::archive::header::{self, Layout};
use crate::archive::index::{Role, Sealed};
use crate::archive::parallel::{Mark, Output};
use crate::archive::sparse::{self, BLOCK};
use crate::archive::{Compression, Error, Line, MemberName, Result, Seal, Sink};
use crate::scratch::Scratch;
use crate::tree::{Acl, Content, Entry, Flags, Kind, Timestamp, TreePath};

/// Writes the members of a TAR archive.
pub(super) struct TarWriter {
    output: Output,
    name: String,
    can_patch: bool,
    /// Whether what waits in a file must not be read there.
    secret: bool,
    spool_dir: PathBuf,
    manifest: Option<Mark>,
    manifest_seconds: i64,
    /// Lines that the members so far have in the index.
    lines: u64,
}

impl TarWriter {
    pub(super) fn new(sink: Box<dyn Sink>, compression: Compression, spool_dir: &Path) -> Result<Self> {
        let (name, can_patch, secret) = (sink.name(), sink.can_patch(), sink.is_secret());
        let output = Output::new(sink, compression).map_err(|source| io_error("write", &name, source))?;
        let spool_dir = spool_dir.to_owned();
        Ok(Self { output, name, can_patch, secret, spool_dir, manifest: None, manifest_seconds: 0, lines: 0 })
    }

    pub(super) fn can_patch(&self) -> bool {
        self.can_patch
    }

    /// Writes the manifest as a chunk of its own, so that it can be overwritten and read without the rest.
    pub(super) fn manifest(&mut self, bytes: &[u8], seconds: i64) -> Result<()> {
        self.manifest_seconds = seconds;
        let member = manifest_member(bytes, seconds)?;
        self.manifest = Some(self.output.write_fixed(&member, None).map_err(|source| self.failed(source))?);
        Ok(())
    }

    pub(super) fn amend_manifest(&mut self, bytes: &[u8], seconds: i64) -> Result<()> {
        let mark = self.manifest.expect("the manifest is written first");
        let member = manifest_member(bytes, seconds)?;
        self.output.patch(mark, &member).map_err(|source| self.failed(source))
    }

    /// Writes a member and completes its line. False if its source changed meanwhile.
    pub(super) fn member(&mut self, line: &mut Line, body: Body<'_>, attempt: u32) -> Result<bool> {
        // All attempts at a member share a line.
        self.lines += u64::from(attempt == 1);
        match body {
            Body::Empty => {
                let header = encode(line, Layout::Plain, attempt)?;
                self.begin_member(&header)?;
                Ok(true)
            }
            Body::Content(content) => self.file(line, content, attempt),
            Body::Stream(stream) if self.can_patch => self.patched_stream(line, stream, attempt),
            Body::Stream(stream) => self.spooled_stream(line, stream, attempt),
        }
    }

    fn file(&mut self, line: &mut Line, content: &mut dyn Content, attempt: u32) -> Result<bool> {
        let size = content.size();
        set_size(line, size);
        let joined;
        let mut runs = content.extents();
        let mut map = Vec::new();
        let mut layout = Layout::Plain;
        let mut stored_bytes = size;
        if sparse::has_holes(runs, size) {
            joined = sparse::join_runs(runs, sparse::MAX_RUNS);
            runs = &joined;
            map = sparse::encode(runs, size);
            stored_bytes = runs.iter().map(|run| run.length).sum::<u64>() + map.len() as u64;
            layout = Layout::Sparse(stored_bytes);
        }
        let runs = runs.to_vec();
        let header = encode(line, layout, attempt)?;
        self.begin_member(&header)?;
        self.write(&map)?;
        let digest = copy_content(&line.name, content, &runs, &mut |bytes| self.write(bytes))?;
        self.pad(stored_bytes)?;
        line.role = Role::Member { digest: Some(digest) };
        content.is_stable().map_err(|source| Error::Source { member: line.name.to_string(), source })
    }

    /// A stream whose header is written again when its length is known.
    fn patched_stream(&mut self, line: &mut Line, stream: &mut dyn Read, attempt: u32) -> Result<bool> {
        set_size(line, 0);
        let header = encode(line, Layout::FixedSize, attempt)?;
        let mark =
            self.output.write_fixed(&header, Some(self.lines - 1)).map_err(|source| self.failed(source))?;
        let (size, digest) = copy_stream(&line.name, stream, &mut |bytes| self.write(bytes))?;
        self.pad(size)?;
        set_size(line, size);
        line.role = Role::Member { digest: Some(digest) };
        let header = encode(line, Layout::FixedSize, attempt)?;
        self.output.patch(mark, &header).map_err(|source| self.failed(source))?;
        Ok(true)
    }

    /// A stream that waits in a file until its length is known.
    fn spooled_stream(&mut self, line: &mut Line, stream: &mut dyn Read, attempt: u32) -> Result<bool> {
        let place = format!("a temporary file in {}", self.spool_dir.display());
        let failed = |source| io_error("write", &place, source);
        let mut spool = Scratch::new(&self.spool_dir, self.secret).map_err(failed)?;
        let (size, digest) =
            copy_stream(&line.name, stream, &mut |bytes| spool.write_all(bytes).map_err(failed))?;
        let mut spool = spool.finish().map_err(failed)?;
        set_size(line, size);
        line.role = Role::Member { digest: Some(digest) };
        let header = encode(line, Layout::Plain, attempt)?;
        self.begin_member(&header)?;
        let (again, _) = copy_stream(&line.name, &mut spool, &mut |bytes| self.write(bytes))?;
        if again != size {
            return Err(io_error("read back", &place, io::ErrorKind::UnexpectedEof.into()));
        }
        self.pad(size)?;
        Ok(true)
    }

    /// Writes the index, its signature and the end, and makes the archive visible.
    pub(super) fn finish(mut self, index: Sealed, signature: Option<&[u8]>) -> Result<Seal> {
        let size = index.size();
        let header = encode(&own_member(INDEX, size, self.manifest_seconds), Layout::Plain, 1)?;
        let index_at = self.output.position();
        // So damage of what is before it leaves it whole, and with it the proof of all the rest.
        self.output.end_chunk().map_err(|source| self.failed(source))?;
        self.lines += 1;
        self.begin_member(&header)?;
        let seal = index.copy(&mut |bytes| self.write(bytes))?;
        self.pad(size)?;
        if let Some(signature) = signature {
            self.signature(signature)?;
        }
        self.write(&[0; 2 * BLOCK])?;
        let sink = self.output.finish(index_at).map_err(|source| io_error("write", &self.name, source))?;
        sink.commit()?;
        Ok(seal)
    }

    /// The last member, which as the first one has no line, and which no table tells of.
    fn signature(&mut self, signature: &[u8]) -> Result<()> {
        let size = signature.len() as u64;
        let header = encode(&own_member(SIGNATURE, size, self.manifest_seconds), Layout::Plain, 1)?;
        self.write(&header)?;
        self.write(signature)?;
        self.pad(size)
    }

    /// Writes the header of the member whose line was counted last.
    fn begin_member(&mut self, header: &[u8]) -> Result<()> {
        self.output.begin_member(self.lines - 1);
        self.write(header)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.output.write(bytes).map_err(|source| self.failed(source))
    }

    /// Fills the last block of a member with so many bytes.
    fn pad(&mut self, written_bytes: u64) -> Result<()> {
        self.write(&[0; BLOCK][..padding(written_bytes)])
    }

    fn failed(&self, source: io::Error) -> Error {
        io_error("write", &self.name, source)
    }
}

fn io_error(action: &'static str, subject: &str, source: io::Error) -> Error {
    Error::Io { action, subject: subject.to_owned(), source }
}

/// Bytes between the end of a member and the next block.
pub(in crate::archive) fn padding(bytes: u64) -> usize {
    const MASK: u64 = BLOCK as u64 - 1;
    usize::try_from(bytes.wrapping_neg() & MASK).unwrap_or(0)
}

fn set_size(line: &mut Line, size: u64) {
    if let Some(entry) = &mut line.entry {
        entry.size = size;
    }
}

fn encode(line: &Line, layout: Layout, attempt: u32) -> Result<Vec<u8>> {
    header::encode(line, layout, attempt).ok_or_else(|| Error::Source {
        member: line.name.to_string(),
        source: io::Error::new(io::ErrorKind::InvalidInput, "tar has no member for its kind"),
    })
}

fn manifest_member(bytes: &[u8], seconds: i64) -> Result<Vec<u8>> {
    let mut member = encode(&own_member(MANIFEST, bytes.len() as u64, seconds), Layout::Plain, 1)?;
    member.extend_from_slice(bytes);
    member.resize(member.len() + padding(bytes.len() as u64), 0);
    Ok(member)
}

/// The line (which no index has) of a member that the archive itself needs.
fn own_member(name: &str, size: u64, seconds: i64) -> Line {
    let entry = Entry {
        kind: Kind::File,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: Timestamp { seconds, nanoseconds: 0 },
        size,
        target: None,
        device: None,
        xattrs: std::collections::BTreeMap::new(),
        acl: Acl::default(),
        flags: Flags::default(),
    };
    Line::member(MemberName::new(TreePath::root().join(name.as_bytes())), entry)
}
