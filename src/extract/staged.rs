//! A hidden directory in which a subtree is built.
//!
//! The directory that it is in may be somebody else's, who can rename and replace what is in there at any time. So nothing is found again
//! by its path: the hidden directory is used only if it is the one that was made, and by its descriptor.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::tree::{TreePath, TreeWriter};

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The user's directory.
pub(super) struct Destination {
    path: PathBuf,
    directory: OwnedFd,
    /// Whether it was made for this.
    made: bool,
}

impl Destination {
    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the directory, which is made if it is missing. Links on the way are the user's own.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let made = match std::fs::create_dir(path) {
            Ok(()) => true,
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => false,
            Err(error) => return Err(Error::io("make the directory", path.display())(error)),
        };
        let directory = fs::open(path, DIRECTORY, Mode::empty());
        let directory = directory.map_err(|error| Error::io("open", path.display())(error.into()))?;
        Ok(Self { path: path.to_owned(), directory, made })
    }

    /// It has something in it now.
    pub(super) fn keep(&mut self) {
        self.made = false;
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if self.made {
            // What is not empty stays.
            let _ = std::fs::remove_dir(&self.path);
        }
    }
}

/// Made by [`Staged::create`], removed when it is dropped; what is published stays.
pub(super) struct Staged<'d> {
    destination: &'d Destination,
    /// Name of the hidden directory.
    hidden: String,
    directory: OwnedFd,
}

impl<'d> Staged<'d> {
    /// Makes a hidden directory. Nothing may have the name `name` beside it.
    pub(super) fn create(destination: &'d Destination, name: &[u8], id: &str) -> Result<Self> {
        let dest = destination.path.join(std::ffi::OsStr::from_bytes(name));
        match fs::statat(&destination.directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => return Err(Error::Exists(dest.display().to_string())),
            Err(Errno::NOENT) => {}
            Err(error) => return Err(Error::io("look for", dest.display())(error.into())),
        }
        let hidden = format!(".{id}");
        let path = destination.path.join(&hidden);
        let failed = |error: Errno| Error::io("make the directory", path.display())(error.into());
        fs::mkdirat(&destination.directory, hidden.as_str(), Mode::RWXU).map_err(failed)?;
        let flags = DIRECTORY | OFlags::NOFOLLOW;
        let directory = fs::openat(&destination.directory, hidden.as_str(), flags, Mode::empty());
        let this = Self { destination, hidden, directory: directory.map_err(failed)? };
        let found = fs::fstat(&this.directory).map_err(failed)?;
        let own = found.st_uid == rustix::process::geteuid().as_raw();
        // Whatever took its place meanwhile was not made by us, or is not private.
        if !own || Mode::from_raw_mode(found.st_mode).intersects(Mode::RWXG | Mode::RWXO) {
            return Err(Error::Unsupported(format!("Somebody changes {} meanwhile", path.display())));
        }
        Ok(this)
    }

    /// Where it is, for messages.
    fn path(&self) -> PathBuf {
        self.destination.path.join(&self.hidden)
    }

    /// Makes a directory in the hidden one.
    pub(super) fn make(&self, name: &[u8]) -> Result<OwnedFd> {
        let failed = |error: Errno| {
            let path = self.path().join(std::ffi::OsStr::from_bytes(name));
            Error::io("make the directory", path.display())(error.into())
        };
        fs::mkdirat(&self.directory, name, Mode::RWXU).map_err(failed)?;
        fs::openat(&self.directory, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty()).map_err(failed)
    }

    /// Writes below the hidden directory.
    pub(super) fn writer(&self) -> Result<TreeWriter> {
        let path = self.path();
        let directory = self.directory.try_clone().map_err(Error::io("open", path.display()))?;
        TreeWriter::new(directory).map_err(Error::tree(format!("write to {}", path.display())))
    }

    /// Makes what was built visible.
    pub(super) fn publish(self, name: &[u8]) -> Result<PathBuf> {
        let to = self.destination.path.join(std::ffi::OsStr::from_bytes(name));
        match rename_to_free(&self.directory, &self.destination.directory, name) {
            Ok(()) => {}
            Err(Errno::EXIST | Errno::NOTEMPTY) => return Err(Error::Exists(to.display().to_string())),
            Err(error) => return Err(Error::io("rename what was extracted to", to.display())(error.into())),
        }
        match fs::fsync(&self.destination.directory) {
            // A file system whose directories need no such thing.
            Ok(()) | Err(Errno::INVAL) => Ok(to),
            Err(error) => {
                let path = self.destination.path.display();
                Err(Error::io("make durable what is in", path)(error.into()))
            }
        }
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        // Its name is one that nobody else has; what cannot be removed is seen there.
        let Ok(directory) = self.destination.directory.try_clone() else { return };
        let Ok(mut writer) = TreeWriter::lenient(directory) else { return };
        let _ = writer.remove(&TreePath::root().join(self.hidden.as_bytes()));
    }
}

/// Renames to another directory, where nothing may have the name.
fn rename_to_free(from: &OwnedFd, to: &OwnedFd, name: &[u8]) -> rustix::io::Result<()> {
    #[cfg(target_os = "linux")]
    match fs::renameat_with(from, name, to, name, fs::RenameFlags::NOREPLACE) {
        // Some file systems do not know the flag.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {}
        other => return other,
    }
    // A hard link replaces nothing. A directory has none, but never replaces anything that is not empty.
    let stat = fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    if fs::FileType::from_raw_mode(stat.st_mode) != fs::FileType::Directory {
        fs::linkat(from, name, to, name, AtFlags::empty())?;
        return fs::unlinkat(from, name, AtFlags::empty());
    }
    match fs::statat(to, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(Errno::EXIST),
        Err(Errno::NOENT) => fs::renameat(from, name, to, name),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_takes_the_place_of_the_hidden_directory_is_not_written_to() {
        let (place, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("name"), "safe").unwrap();
        let destination = Destination::open(place.path()).unwrap();
        let staged = Staged::create(&destination, b"name", "id").unwrap();
        std::fs::write(place.path().join(".id/name"), "restored").unwrap();
        // What an owner of the directory can do between any two steps.
        std::fs::rename(place.path().join(".id"), place.path().join("aside")).unwrap();
        symlink(outside.path(), place.path().join(".id")).unwrap();
        drop(staged.writer().unwrap());
        staged.publish(b"name").unwrap();
        assert_eq!(std::fs::read_to_string(place.path().join("name")).unwrap(), "restored");
        assert_eq!(std::fs::read_to_string(outside.path().join("name")).unwrap(), "safe");
        assert!(place.path().join(".id").symlink_metadata().is_err());
    }

    #[test]
    fn nothing_is_replaced_and_nothing_stays() {
        let place = tempfile::tempdir().unwrap();
        let new = place.path().join("new");
        for kind in ["file", "directory"] {
            let destination = Destination::open(&new).unwrap();
            let staged = Staged::create(&destination, b"name", "id").unwrap();
            if kind == "file" {
                std::fs::write(new.join(".id/name"), "restored").unwrap();
            } else {
                std::fs::create_dir(new.join(".id/name")).unwrap();
            }
            std::fs::write(new.join("name"), "there").unwrap();
            assert!(matches!(staged.publish(b"name"), Err(Error::Exists(_))));
            assert!(matches!(Staged::create(&destination, b"name", "id"), Err(Error::Exists(_))));
            assert_eq!(std::fs::read_to_string(new.join("name")).unwrap(), "there");
            std::fs::remove_file(new.join("name")).unwrap();
            drop(destination);
            assert!(!new.exists());
        }
    }
}
