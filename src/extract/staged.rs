//! A hidden directory in which a subtree is built.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::archive::sink::{rename_to_free, sync_directory};
use crate::error::{Error, Result};
use crate::tree::{TreePath, TreeWriter};

/// Made by [`Staged::create`], removed when it is dropped; what is published stays.
pub(super) struct Staged {
    /// The user's directory.
    directory: PathBuf,
    /// Whether it was made for this.
    made: bool,
    /// Name of the hidden directory in it.
    hidden: String,
    published: bool,
}

impl Staged {
    /// Makes a hidden directory in `directory`, which is made too if it is missing. Nothing may have the name `name` there.
    pub(super) fn create(directory: &Path, name: &[u8], id: &str) -> Result<Self> {
        let failed = || Error::io("make the directory", directory.display());
        let made = match std::fs::create_dir(directory) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(failed()(error)),
        };
        let this = Self { directory: directory.to_owned(), made, hidden: format!(".{id}"), published: false };
        let dest = this.place(name);
        match dest.symlink_metadata() {
            Ok(_) => return Err(Error::Exists(dest.display().to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("look for", dest.display())(error)),
        }
        use std::os::unix::fs::DirBuilderExt as _;
        let hidden = this.path();
        let created = std::fs::DirBuilder::new().mode(0o700).create(&hidden);
        created.map_err(Error::io("make the directory", hidden.display()))?;
        Ok(this)
    }

    /// The hidden directory.
    pub(super) fn path(&self) -> PathBuf {
        self.directory.join(&self.hidden)
    }

    /// Where what is called `name` will be.
    pub(super) fn place(&self, name: &[u8]) -> PathBuf {
        use std::os::unix::ffi::OsStrExt as _;
        self.directory.join(std::ffi::OsStr::from_bytes(name))
    }

    /// Writes below the hidden directory.
    pub(super) fn writer(&self) -> Result<TreeWriter> {
        let path = self.path();
        TreeWriter::new(open(&path)?).map_err(Error::tree(format!("write to {}", path.display())))
    }

    /// Makes what was built visible.
    pub(super) fn publish(mut self, name: &[u8]) -> Result<PathBuf> {
        use std::os::unix::ffi::OsStrExt as _;
        let (from, to) = (self.path().join(std::ffi::OsStr::from_bytes(name)), self.place(name));
        rename_to_free(&from, &to).map_err(|error| match error {
            crate::archive::Error::Exists(path) => Error::Exists(path),
            error => Error::Archive(error),
        })?;
        self.published = true;
        sync_directory(&self.directory)?;
        Ok(to)
    }

    fn remove(&self) -> Result<()> {
        let failed = || Error::tree(format!("remove {}", self.path().display()));
        let mut writer = TreeWriter::lenient(open(&self.directory)?).map_err(failed())?;
        let hidden = TreePath::root().join(self.hidden.as_bytes());
        writer.remove(&hidden).map_err(failed())?;
        drop(writer);
        if self.made && !self.published {
            std::fs::remove_dir(&self.directory)
                .map_err(Error::io("remove the directory", self.directory.display()))?;
        }
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Its name is one that nobody else has; what cannot be removed is seen there.
        let _ = self.remove();
    }
}

pub(super) fn open(path: &Path) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).map_err(|error| Error::io("open", path.display())(error.into()))
}
