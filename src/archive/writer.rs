//! Writing an archive.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::index::{Failure, Role, Spool};
use super::{Compression, Error, Line, Manifest, MemberName, Result, Seal, Sink};
use crate::sign::Signer;
use crate::tree::Content;

mod copy;
mod directory;
mod tar;

pub(super) use copy::Hashing;
#[cfg(test)]
pub(super) use copy::copy_content;
use directory::DirectoryWriter;
use tar::TarWriter;
pub(super) use tar::padding;

/// The bytes of a member.
pub enum Body<'a> {
    /// None: directories, links, devices.
    Empty,
    /// A regular file's.
    Content(&'a mut dyn Content),
    /// A stream whose length is not known in advance; the line's entry gets its length as size.
    Stream(&'a mut dyn Read),
}

/// What became of a member.
#[derive(Debug)]
pub enum Written {
    /// It is in the archive and in the index.
    Done(Line),
    /// Its source changed while it was read.
    Unstable(Line),
}

/// Writes one archive. Dropped before [`Writer::finish`] succeeded it leaves nothing behind.
pub struct Writer {
    form: Form,
    index: Spool,
    manifest: Option<ManifestBytes>,
    /// A member that was written but changed meanwhile, and which attempt it was.
    unstable: Option<(MemberName, u32)>,
    /// Who signs the seal, and what the signature says besides.
    signer: Option<(Arc<Signer>, String)>,
}

enum Form {
    Tar(TarWriter),
    Directory(DirectoryWriter),
}

/// A manifest as it is in the archive.
struct ManifestBytes {
    bytes: Vec<u8>,
}

impl Writer {
    /// Writes in TAR format to `sink`. `spool_dir` is where files without a name hold what must wait: the index, and
    /// where the sink cannot be patched also streams, one at a time.
    pub fn tar(sink: Box<dyn Sink>, compression: Compression, spool_dir: &Path) -> Result<Self> {
        let index = Spool::new(spool_dir, sink.is_secret())?;
        Ok(Self {
            form: Form::Tar(TarWriter::new(sink, compression, spool_dir)?),
            index,
            manifest: None,
            unstable: None,
            signer: None,
        })
    }

    /// Writes in DIRECTORY format, in [`partial_path`](super::sink::partial_path)`(dest, partial_suffix)` until it is
    /// finished. Unless `force`, an existing `dest` is [`Error::Exists`], now and at the end; with `force` too
    /// if it is anything else than an archive in DIRECTORY format.
    pub fn directory(dest: &Path, force: bool, partial_suffix: &str) -> Result<Self> {
        let directory = DirectoryWriter::create(dest, force, partial_suffix)?;
        let index = Spool::new(super::sink::parent(dest), false)?;
        let form = Form::Directory(directory);
        Ok(Self { form, index, manifest: None, unstable: None, signer: None })
    }

    /// Whether the manifest can be written again after the members, see [`Writer::amend_manifest`].
    pub fn can_amend(&self) -> bool {
        match &self.form {
            Form::Tar(tar) => tar.can_patch(),
            Form::Directory(_) => true,
        }
    }

    /// Lets the seal be signed, with a comment on it. The manifest must say so ([`Manifest::signed_by`]).
    pub fn sign_with(&mut self, signer: Arc<Signer>, comment: String) {
        self.signer = Some((signer, comment));
    }

    /// Writes the manifest; before everything else. `spare_bytes` more than it needs are kept for an amendment
    /// (JSON white space at its end).
    pub fn manifest(&mut self, manifest: &Manifest, spare_bytes: usize) -> Result<()> {
        assert!(self.manifest.is_none(), "the manifest is written once");
        let spare_bytes = if self.can_amend() { spare_bytes } else { 0 };
        let mut bytes = manifest.to_json();
        let length = bytes.len() + spare_bytes;
        pad(&mut bytes, length);
        if super::bounds::is_manifest_too_big(&bytes) {
            return Err(too_big_manifest());
        }
        match &mut self.form {
            Form::Tar(tar) => tar.manifest(&bytes, manifest.created_seconds())?,
            Form::Directory(directory) => directory.manifest(&bytes)?,
        }
        self.manifest = Some(ManifestBytes { bytes });
        Ok(())
    }

    /// Replaces the manifest by one that is at most `spare_bytes` longer. Only where [`Writer::can_amend`].
    pub fn amend_manifest(&mut self, manifest: &Manifest) -> Result<()> {
        assert!(self.can_amend(), "whether the manifest can be amended is known before");
        let written = self.manifest.as_mut().expect("the manifest is written first");
        let mut bytes = manifest.to_json();
        if bytes.len() > written.bytes.len() || super::bounds::is_manifest_too_big(&bytes) {
            return Err(too_big_manifest());
        }
        pad(&mut bytes, written.bytes.len());
        match &mut self.form {
            Form::Tar(tar) => tar.amend_manifest(&bytes, manifest.created_seconds())?,
            Form::Directory(directory) => directory.manifest(&bytes)?,
        }
        written.bytes = bytes;
        Ok(())
    }

    /// Writes a member. `line.role` is `Member` or `Link`. The result has digest (and, of a stream, size) filled in.
    ///
    /// [`Written::Done`]: its index line is added too. [`Written::Unstable`]: the source changed while it was read
    /// ([`Content::is_stable`]); no index line was added, and the next call must be `member` with the same name and
    /// `attempt` one higher, which replaces what was written, or `line` to keep it (with `unstable` set). `attempt` begins at 1;
    /// later ones carry the pax record `REMAND.attempt`, by which a reader knows that a member takes
    /// the place of the one directly before it.
    ///
    /// A source that yields other bytes than it promised is [`Error::Source`]; the archive cannot be finished then.
    pub fn member(&mut self, mut line: Line, body: Body<'_>, attempt: u32) -> Result<Written> {
        assert!(self.manifest.is_some(), "the manifest is written first");
        match self.unstable.take() {
            Some((name, before)) => {
                assert!(name == line.name && attempt == before + 1, "a member is repeated");
            }
            None => assert_eq!(attempt, 1, "the first attempt is 1"),
        }
        let stable = match &mut self.form {
            Form::Tar(tar) => tar.member(&mut line, body, attempt)?,
            Form::Directory(directory) => directory.member(&mut line, body)?,
        };
        if stable {
            self.index.push(&line)?;
            return Ok(Written::Done(line));
        }
        self.unstable = Some((line.name.clone(), attempt));
        Ok(Written::Unstable(line))
    }

    /// Adds an index line that has no member (or keeps an unstable one).
    #[allow(clippy::needless_pass_by_value)] // handed over, as a member's is
    pub fn line(&mut self, line: Line) -> Result<()> {
        match self.unstable.take() {
            Some((name, _)) => {
                assert!(name == line.name && line.unstable, "an unstable member is kept or repeated");
            }
            None => assert!(
                !matches!(line.role, Role::Member { .. } | Role::Link { .. }),
                "a member's line is added with it"
            ),
        }
        self.index.push(&line)
    }

    /// Says that a resource is not whole: what was written of it is not to be used.
    pub fn fail(&mut self, failure: &Failure) -> Result<()> {
        assert!(self.unstable.is_none(), "an unstable member is kept or repeated");
        self.index.fail(failure)
    }

    /// Writes the index with its seal, and the signature of that; then makes the archive durable and visible.
    pub fn finish(self) -> Result<Seal> {
        assert!(self.unstable.is_none(), "an unstable member is kept or repeated");
        let manifest = self.manifest.expect("the manifest is written first");
        let sealed = self.index.seal(&manifest.bytes)?;
        let signature = self.signer.map(|(signer, comment)| signer.sign(&sealed.last, &comment).to_text());
        let signature = signature.as_ref().map(String::as_bytes);
        match self.form {
            Form::Tar(tar) => tar.finish(sealed, signature),
            Form::Directory(directory) => directory.finish(sealed, signature),
        }
    }
}

/// Fills a manifest up with white space; a line feed ends it.
fn pad(bytes: &mut Vec<u8>, length: usize) {
    bytes.pop_if(|last| *last == b'\n');
    bytes.resize(length - 1, b' ');
    bytes.push(b'\n');
}

fn too_big_manifest() -> Error {
    Error::Io {
        action: "write",
        subject: "./manifest.json".to_owned(),
        source: io::Error::new(io::ErrorKind::FileTooLarge, "it has become too long"),
    }
}

#[cfg(test)]
mod tests;
