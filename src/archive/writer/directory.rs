//! DIRECTORY: the members as files. The index has the truth about their attributes; the files get what their file system
//! can keep, for those who have only cp(1).
//!
//! Everything is written in a partial directory beside the destination, which a rename makes visible. A crash leaves
//! that directory. A forced replacement exchanges both names in one step; where the platform cannot do that, a crash between two
//! renames leaves the old archive as `NAME.replaced-…`.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags};

use super::Body;
use super::copy::{Hashing, copy_stream};
use crate::archive::format::{INDEX, MANIFEST, SIGNATURE};
use crate::archive::index::{Role, Sealed};
use crate::archive::sink::{self, io_error, partial_path};
use crate::archive::{Error, Line, Result, Seal};
use crate::tree::{TreePath, TreeWriter};

/// Writes the members of an archive in DIRECTORY format.
pub(super) struct DirectoryWriter {
    partial: Partial,
    root: OwnedFd,
    /// `None` once it is finished.
    tree: Option<TreeWriter>,
    dest: PathBuf,
    force: bool,
    suffix: String,
    /// The directory that was made sure of last.
    parent: TreePath,
}

/// A directory that goes away unless it is kept.
struct Partial {
    path: PathBuf,
    kept: bool,
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.kept {
            // It was created by this writer alone. What cannot be removed is found by its name later.
            let _ = remove(&self.path);
        }
    }
}

impl DirectoryWriter {
    pub(super) fn create(dest: &Path, force: bool, suffix: &str) -> Result<Self> {
        if let Err(error) = sink::must_be_free(dest) {
            if !force || !matches!(error, Error::Exists(_)) {
                return Err(error);
            }
            must_be_archive(dest)?;
        }
        if dest.file_name().is_none() {
            return Err(Error::Exists(dest.display().to_string()));
        }
        let path = partial_path(dest, suffix);
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.map_err(|source| io_error("create", &path, source))?;
        let partial = Partial { path, kept: false };
        let open = || {
            rustix::fs::open(
                &partial.path,
                OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
                Mode::empty(),
            )
        };
        let failed = |error: rustix::io::Errno| io_error("open", &partial.path, error.into());
        let root = open().map_err(failed)?;
        let tree = TreeWriter::lenient(open().map_err(failed)?).map_err(Error::Tree)?;
        Ok(Self {
            root,
            tree: Some(tree),
            dest: dest.to_owned(),
            force,
            suffix: suffix.to_owned(),
            parent: TreePath::root(),
            partial,
        })
    }

    /// Writes the manifest, or writes it again.
    pub(super) fn manifest(&mut self, bytes: &[u8]) -> Result<()> {
        let mut file = self.create_file(&TreePath::root().join(MANIFEST.as_bytes()))?;
        file.write_all(bytes).map_err(|source| self.failed("write", MANIFEST, source))
    }

    /// Writes a member and completes its line. False if its source changed meanwhile.
    pub(super) fn member(&mut self, line: &mut Line, body: Body<'_>) -> Result<bool> {
        let path = line.name.path().clone();
        self.make_parents(&path)?;
        match body {
            Body::Stream(stream) => self.stream(line, &path, stream)?,
            Body::Content(content) => {
                let entry = line.entry.as_mut().expect("a member has an entry");
                entry.size = content.size();
                let mut content = Hashing::new(content);
                let put = self.tree().put(&path, entry, Some(&mut content));
                let digest = content.finish(&line.name, put.map_err(Error::Tree))?;
                line.role = Role::Member { digest: Some(digest.0) };
                return Ok(digest.1);
            }
            Body::Empty => match &line.role {
                // What only the base has cannot be linked to; the index knows.
                Role::Link { to } if !self.exists(to.path())? => {}
                Role::Link { to } => {
                    let to = to.path().clone();
                    self.tree().link(&path, &to).map_err(Error::Tree)?;
                }
                _ => {
                    let entry = line.entry.as_ref().expect("a member has an entry");
                    self.tree().put(&path, entry, None).map_err(Error::Tree)?;
                }
            },
        }
        Ok(true)
    }

    fn stream(&mut self, line: &mut Line, path: &TreePath, stream: &mut dyn io::Read) -> Result<()> {
        let mut file = self.create_file(path)?;
        let (size, digest) = copy_stream(&line.name, stream, &mut |bytes| {
            file.write_all(bytes).map_err(|source| self.failed("write", &path.to_string(), source))
        })?;
        let entry = line.entry.as_mut().expect("a member has an entry");
        entry.size = size;
        line.role = Role::Member { digest: Some(digest) };
        let entry = entry.clone();
        self.tree().set_metadata(path, &entry).map_err(Error::Tree)
    }

    /// Writes the index and its signature, and makes the archive visible.
    pub(super) fn finish(mut self, index: Sealed, signature: Option<&[u8]>) -> Result<Seal> {
        let file = self.create_file(&TreePath::root().join(INDEX.as_bytes()))?;
        let mut file = BufWriter::new(file);
        let seal = index
            .copy(&mut |bytes| file.write_all(bytes).map_err(|source| self.failed("write", INDEX, source)))?;
        file.into_inner().map_err(|error| self.failed("write", INDEX, error.into_error()))?;
        if let Some(signature) = signature {
            let mut file = self.create_file(&TreePath::root().join(SIGNATURE.as_bytes()))?;
            file.write_all(signature).map_err(|source| self.failed("write", SIGNATURE, source))?;
        }
        if let Some(tree) = self.tree.take() {
            // What is lost here is kept in the index.
            tree.finish().map_err(Error::Tree)?;
        }
        sink::sync_tree(&self.root).map_err(|source| io_error("make durable", &self.partial.path, source))?;
        self.publish()?;
        Ok(seal)
    }

    fn publish(&mut self) -> Result<()> {
        let there = match sink::must_be_free(&self.dest) {
            Ok(()) => false,
            Err(Error::Exists(_)) if self.force => true,
            Err(error) => return Err(error),
        };
        if !there {
            sink::publish(&self.partial.path, &self.dest)?;
            self.partial.kept = true;
            return Ok(());
        }
        must_be_archive(&self.dest)?;
        if sink::exchange(&self.partial.path, &self.dest)? {
            // The old archive has the partial one's name now, and comes back if the new one may not last.
            if let Err(error) = sink::sync_directory(sink::parent(&self.dest)) {
                sink::exchange(&self.partial.path, &self.dest)?;
                return Err(error);
            }
            self.partial.kept = true;
            // Whoever made the writer looks whether the name is free.
            let _ = remove(&self.partial.path);
            return Ok(());
        }
        let mut aside = self.dest.file_name().map(OsString::from).unwrap_or_default();
        aside.push(format!(".replaced-{}", self.suffix));
        let aside = self.dest.with_file_name(aside);
        sink::rename_to_free(&self.dest, &aside)?;
        if let Err(error) = sink::rename_to_free(&self.partial.path, &self.dest) {
            // The old one comes back, unless something else took its place meanwhile.
            sink::rename_to_free(&aside, &self.dest)?;
            return Err(error);
        }
        self.partial.kept = true;
        sink::sync_directory(sink::parent(&self.dest))?;
        remove(&aside)
    }

    fn tree(&mut self) -> &mut TreeWriter {
        self.tree.as_mut().expect("only finish takes it")
    }

    fn failed(&self, action: &'static str, below: &str, source: io::Error) -> Error {
        io_error(action, &self.partial.path.join(below), source)
    }

    /// Makes the directories on the way to `path` that no member made: in a delta they are those that did not change.
    fn make_parents(&mut self, path: &TreePath) -> Result<()> {
        let parent = path.split().map_or_else(TreePath::root, |(parent, _)| parent);
        if parent == self.parent {
            return Ok(());
        }
        let made = self.open_directory(&parent, true);
        made.map_err(|source| self.failed("create", &parent.to_string(), source))?;
        self.parent = parent;
        Ok(())
    }

    /// Opens a directory, component by component and through no link.
    fn open_directory(&self, path: &TreePath, make: bool) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut directory = self.root.try_clone()?;
        for component in path.components() {
            if make {
                match rustix::fs::mkdirat(&directory, component, Mode::RWXU) {
                    Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            directory = rustix::fs::openat(&directory, component, flags, Mode::empty())?;
        }
        Ok(directory)
    }

    /// Creates an empty file, or empties the one that this writer made.
    fn create_file(&self, path: &TreePath) -> Result<File> {
        let (parent, name) = path.split().expect("a file has a name");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.open_directory(&parent, false)
            .and_then(|parent| Ok(rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR)?))
            .map(File::from)
            .map_err(|source| self.failed("create", &path.to_string(), source))
    }

    fn exists(&self, path: &TreePath) -> Result<bool> {
        let Some((parent, name)) = path.split() else { return Ok(true) };
        let found = self
            .open_directory(&parent, false)
            .and_then(|parent| Ok(rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?));
        match found {
            Ok(_) => Ok(true),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(false)
            }
            Err(source) => Err(self.failed("look for", &path.to_string(), source)),
        }
    }
}

/// Only an archive may be replaced by one.
fn must_be_archive(dest: &Path) -> Result<()> {
    let is_file = |name: &str| dest.join(name).symlink_metadata().is_ok_and(|found| found.is_file());
    let is_directory = dest.symlink_metadata().is_ok_and(|found| found.is_dir());
    if is_directory && is_file(MANIFEST) && is_file(INDEX) {
        return Ok(());
    }
    Err(Error::Exists(format!("{}, which is no archive in DIRECTORY format,", dest.display())))
}

/// Removes a directory with all that is in it, however deep.
fn remove(path: &Path) -> Result<()> {
    let parent = sink::parent(path);
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = rustix::fs::open(parent, flags, Mode::empty());
    let open = open.map_err(|error| io_error("open", parent, error.into()))?;
    let name = path.file_name().map(|name| TreePath::root().join(name.as_bytes())).unwrap_or_default();
    let mut tree = TreeWriter::lenient(open).map_err(Error::Tree)?;
    tree.remove(&name).map_err(Error::Tree)?;
    tree.finish().map_err(Error::Tree)?;
    Ok(())
}

#[cfg(test)]
mod tests;
