//! Making entries where nothing is.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::super::platform::{self, Place};
use super::super::{Content, Entry, Flags, Kind, Result, TreePath};
use super::records::Record;
use super::{TreeWriter, failed};

impl TreeWriter {
    /// Makes a directory that is nobody else's until it gets its attributes.
    pub(super) fn create_directory(&mut self, directory: Record, name: &[u8], path: &TreePath) -> Result<()> {
        rustix::fs::mkdirat(&*self.at.top(), name, Mode::RWXU)
            .map_err(|error| failed("make the directory", path)(error.into()))?;
        let record = self.records.child(directory, name);
        self.records.get(record).open = true;
        Ok(())
    }

    /// Makes an entry of another kind, with its content and attributes.
    pub(super) fn create(
        &mut self,
        directory: Record,
        name: &[u8],
        path: &TreePath,
        entry: &Entry,
        content: Option<&mut dyn Content>,
    ) -> Result<()> {
        if entry.kind == Kind::File {
            let file = self.create_file(name, path, entry)?;
            self.shortcuts.write(&file, path, entry, content)?;
            return self.set_attributes(directory, name, path, entry, Some(&file));
        }
        match self.create_node(name, entry) {
            Ok(()) => self.set_attributes(directory, name, path, entry, None),
            Err(error) if is_unsupported(error) => {
                let what = if entry.kind.is_device() { "device node" } else { entry.kind.name() };
                self.miss(path, what, error.into())
            }
            Err(error) => Err(failed("make", path)(error.into())),
        }
    }

    fn create_file(&self, name: &[u8], path: &TreePath, entry: &Entry) -> Result<OwnedFd> {
        let new = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let dir = self.at.top();
        let new = new | platform::beneath(name);
        let file = rustix::fs::openat(&dir, name, new, Mode::RUSR | Mode::WUSR)
            .map_err(|error| failed("make", path)(error.into()))?;
        if entry.flags.contains(Flags::NOCOW) && !self.losses.without_flags {
            // Has no effect on a file that has content. If it is refused, that shows at the end.
            let place = Place { dir: dir.as_fd(), name, own: Some(file.as_fd()) };
            let _ = platform::set_flags(&place, Flags::NOCOW);
        }
        Ok(file)
    }

    fn create_node(&self, name: &[u8], entry: &Entry) -> rustix::io::Result<()> {
        let dir = self.at.top();
        let (file_type, device) = match (entry.kind, entry.device) {
            (Kind::Symlink, _) => {
                let target = entry.target.as_deref().ok_or(Errno::INVAL)?;
                return rustix::fs::symlinkat(target, &dir, name);
            }
            (Kind::CharDevice, Some(device)) => (FileType::CharacterDevice, device),
            (Kind::BlockDevice, Some(device)) => (FileType::BlockDevice, device),
            (Kind::Socket, _) => return platform::make_socket(dir.as_fd(), name),
            (Kind::Fifo, _) => {
                return rustix::fs::mkfifoat(&dir, name, Mode::RUSR | Mode::WUSR);
            }
            _ => return Err(Errno::INVAL),
        };
        if !platform::has_device(device) {
            return Err(Errno::INVAL);
        }
        let number = rustix::fs::makedev(device.major, device.minor);
        rustix::fs::mknodat(&dir, name, file_type, Mode::RUSR | Mode::WUSR, number)
    }
}

/// Whether the system will not have an entry of a kind, rather than failed to make one.
fn is_unsupported(error: Errno) -> bool {
    matches!(
        error,
        Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::NAMETOOLONG | Errno::OVERFLOW
    )
}

#[cfg(test)]
mod tests {
    use rustix::io::FdFlags;

    use super::*;
    use crate::tree::Tree;

    #[test]
    fn a_new_file_is_what_was_made_and_of_nobody_else() {
        let place = tempfile::tempdir().unwrap();
        let entry = Tree::open(place.path()).unwrap().root_node().unwrap().entry;
        let writer = TreeWriter::new(std::fs::File::open(place.path()).unwrap().into()).unwrap();
        let create = |name: &str| writer.create_file(name.as_bytes(), &TreePath::root(), &entry);
        let file = create("file").unwrap();
        assert!(rustix::io::fcntl_getfd(&file).unwrap().contains(FdFlags::CLOEXEC));
        // Somebody has made another in between, or a link to it.
        std::os::unix::fs::symlink("file", place.path().join("link")).unwrap();
        std::os::unix::fs::symlink("nothing", place.path().join("dangling")).unwrap();
        for name in ["file", "link", "dangling"] {
            assert!(create(name).is_err(), "{name}");
        }
        assert!(!place.path().join("nothing").exists());
    }
}
