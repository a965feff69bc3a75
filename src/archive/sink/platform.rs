//! Renaming without replacing, and making a tree durable, as each platform can.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

/// Renames `from` to `to`, which must be free: [`io::ErrorKind::AlreadyExists`] if it is not.
#[cfg(target_os = "linux")]
pub(super) fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Some file systems do not know the flag.
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => rename_by_link(from, to),
        other => Ok(other?),
    }
}

/// Renames `from` to `to`, which must be free: [`io::ErrorKind::AlreadyExists`] if it is not.
#[cfg(not(target_os = "linux"))]
pub(super) fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    rename_by_link(from, to)
}

/// Exchanges two names in one step. False where the platform or the file system cannot.
#[cfg(target_os = "linux")]
pub(super) fn exchange(one: &Path, other: &Path) -> io::Result<bool> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => Ok(false),
        other => Ok(other.map(|()| true)?),
    }
}

/// Exchanges two names in one step. False where the platform or the file system cannot.
#[cfg(not(target_os = "linux"))]
pub(super) fn exchange(_: &Path, _: &Path) -> io::Result<bool> {
    Ok(false)
}

/// Makes everything below an open directory durable.
#[cfg(target_os = "linux")]
pub(super) fn sync_tree(directory: &OwnedFd) -> io::Result<()> {
    Ok(rustix::fs::syncfs(directory)?)
}

/// Makes everything below an open directory durable.
#[cfg(not(target_os = "linux"))]
pub(super) fn sync_tree(directory: &OwnedFd) -> io::Result<()> {
    sync_each(directory)
}

/// Where one call cannot do it: each file, then the directory.
#[cfg(any(test, not(target_os = "linux")))]
fn sync_each(directory: &OwnedFd) -> io::Result<()> {
    use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, openat, statat};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    for found in Dir::read_from(directory)? {
        let found = found?;
        let name = found.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        match FileType::from_raw_mode(statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode) {
            FileType::Directory => sync_each(&openat(directory, name, flags, Mode::empty())?)?,
            FileType::RegularFile => rustix::fs::fsync(openat(directory, name, flags, Mode::empty())?)?,
            _ => {}
        }
    }
    Ok(rustix::fs::fsync(directory)?)
}

/// A hard link never replaces anything. A directory has no hard links, but is never renamed onto one that holds
/// something; so it is enough to look first.
fn rename_by_link(from: &Path, to: &Path) -> io::Result<()> {
    if from.symlink_metadata()?.is_dir() {
        return match to.symlink_metadata() {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::rename(from, to),
            Err(error) => Err(error),
        };
    }
    std::fs::hard_link(from, to)?;
    std::fs::remove_file(from)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    #[test]
    fn both_ways_of_making_a_tree_durable_pass_over_everything() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::write(dir.path().join("a/b/file"), "x").unwrap();
        symlink("nowhere", dir.path().join("a/link")).unwrap();
        let directory = std::fs::File::open(dir.path()).unwrap().into();
        super::sync_tree(&directory).unwrap();
        super::sync_each(&directory).unwrap();
    }

    #[test]
    fn neither_way_replaces_anything() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| dir.path().join(name));
        for rename in [super::rename_to_free, super::rename_by_link] {
            std::fs::write(&a, "a").unwrap();
            std::fs::write(&b, "b").unwrap();
            assert_eq!(rename(&a, &b).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
            rename(&a, &c).unwrap();
            assert!(!a.exists());
            assert_eq!(std::fs::read_to_string(&b).unwrap(), "b");
            std::fs::remove_file(&c).unwrap();
            std::fs::create_dir(&a).unwrap();
            assert_eq!(rename(&a, &b).unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
            rename(&a, &c).unwrap();
            std::fs::remove_dir(&c).unwrap();
        }
    }
}
