//! Random changes to a tree. What the file system refuses is no change.

use super::at;
use super::random::Random;
use rustix::fs::{self, AtFlags, CWD, FallocateFlags, Mode, RenameFlags, Timespec, Timestamps, XattrFlags};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

const NAMES: [&[u8]; 14] = [
    b"a",
    b"b",
    b"c",
    b"d",
    b"e",
    b"with space",
    b"tab\tand\nnewline",
    b"back\\slash\\0040",
    b"\xc3\xbcmlaut",
    b"\xff\xfe",
    b"<xattrdir>",
    b"o257-7-0",
    b"-rf",
    b"a long name a long name a long name a long name a long name a long name a long name a long name a long name",
];

const OPERATIONS: [(&str, Operation); 27] = [
    ("create", create),
    ("create", create),
    ("mkdir", mkdir),
    ("mkdir", mkdir),
    ("write", write),
    ("rewrite equal", rewrite_equal),
    ("truncate", truncate),
    ("append", append),
    ("rename", rename),
    ("rename", rename),
    ("rename directory", rename_directory),
    ("rename over", rename_over),
    ("swap", swap),
    ("link", link),
    ("link", link),
    ("link and unlink", link_and_unlink),
    ("unlink", unlink),
    ("remove directory", remove_directory),
    ("symlink", symlink),
    ("special", special),
    ("chmod", chmod),
    ("chown", chown),
    ("utimes", utimes),
    ("set xattr", set_xattr),
    ("remove xattr", remove_xattr),
    ("replace type", replace_type),
    ("copy and punch", copy_and_punch),
];

type Operation = fn(&mut Site<'_>) -> io::Result<String>;

/// Performs `count` changes, and tells of each.
pub(super) fn perform(
    root: &Path,
    count: u32,
    unlinking: bool,
    random: &mut Random,
    log: &mut dyn FnMut(String),
) {
    for _ in 0..count {
        let (name, operation) = *random.of(&OPERATIONS);
        let mut site = Site { root, unlinking, random };
        match operation(&mut site) {
            Ok(what) => log(format!("{name}: {what}")),
            Err(error) => log(format!("{name}: not done: {error}")),
        }
    }
}

struct Site<'a> {
    root: &'a Path,
    unlinking: bool,
    random: &'a mut Random,
}

impl Site<'_> {
    /// All paths but the root, of directories or others.
    fn paths(&self, wanted: impl Fn(&std::fs::Metadata) -> bool) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut pending = vec![self.root.to_owned()];
        while let Some(directory) = pending.pop() {
            for entry in std::fs::read_dir(&directory).expect("a directory") {
                let path = entry.expect("an entry").path();
                let data = path.symlink_metadata().expect("it is there");
                if data.is_dir() {
                    pending.push(path.clone());
                }
                if wanted(&data) {
                    found.push(path);
                }
            }
        }
        found.sort();
        found
    }

    fn any(&mut self, wanted: impl Fn(&std::fs::Metadata) -> bool) -> io::Result<PathBuf> {
        let paths = self.paths(wanted);
        if paths.is_empty() {
            Err(io::ErrorKind::NotFound.into())
        } else {
            Ok(self.random.of(&paths).clone())
        }
    }

    fn file(&mut self) -> io::Result<PathBuf> {
        self.any(std::fs::Metadata::is_file)
    }

    fn directory(&mut self) -> PathBuf {
        let root = self.root.to_owned();
        let mut all = self.paths(std::fs::Metadata::is_dir);
        all.push(root);
        self.random.of(&all).clone()
    }

    fn new_path(&mut self) -> io::Result<PathBuf> {
        let name: &&[u8] = self.random.of(&NAMES);
        let path = at(&self.directory(), name);
        if path.symlink_metadata().is_ok() { Err(io::ErrorKind::AlreadyExists.into()) } else { Ok(path) }
    }

    fn show(&self, path: &Path) -> String {
        path.strip_prefix(self.root).unwrap_or(path).display().to_string()
    }

    /// Fails if removing it would leave other names of an entry, and that is not wanted.
    fn may_remove(&self, path: &Path) -> io::Result<()> {
        if self.unlinking {
            return Ok(());
        }
        let data = path.symlink_metadata()?;
        if data.is_dir() {
            return std::fs::read_dir(path)?.try_for_each(|entry| self.may_remove(&entry?.path()));
        }
        if data.nlink() > 1 { Err(io::ErrorKind::ResourceBusy.into()) } else { Ok(()) }
    }
}

fn create(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.new_path()?;
    std::fs::write(&path, site.random.bytes(9000))?;
    Ok(site.show(&path))
}

fn mkdir(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.new_path()?;
    std::fs::create_dir(&path)?;
    Ok(site.show(&path))
}

fn write(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.file()?;
    let offset = site.random.below(10_000) as u64;
    let bytes = site.random.bytes(5000);
    std::fs::OpenOptions::new().write(true).open(&path)?.write_all_at(&bytes, offset)?;
    Ok(site.show(&path))
}

fn rewrite_equal(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.file()?;
    let bytes = std::fs::read(&path)?;
    std::fs::OpenOptions::new().write(true).open(&path)?.write_all(&bytes)?;
    Ok(site.show(&path))
}

fn truncate(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.file()?;
    std::fs::OpenOptions::new().write(true).open(&path)?.set_len(site.random.below(20_000) as u64)?;
    Ok(site.show(&path))
}

fn append(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.file()?;
    std::fs::OpenOptions::new().append(true).open(&path)?.write_all(&site.random.bytes(2000))?;
    Ok(site.show(&path))
}

fn rename(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.any(|_| true)?;
    let to = site.new_path()?;
    std::fs::rename(&path, &to)?;
    Ok(format!("{} to {}", site.show(&path), site.show(&to)))
}

fn rename_directory(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.any(std::fs::Metadata::is_dir)?;
    let to = site.new_path()?;
    std::fs::rename(&path, &to)?;
    Ok(format!("{} to {}", site.show(&path), site.show(&to)))
}

fn rename_over(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.any(|data| !data.is_dir())?;
    let to = site.any(|data| !data.is_dir())?;
    site.may_remove(&to)?;
    std::fs::rename(&path, &to)?;
    Ok(format!("{} to {}", site.show(&path), site.show(&to)))
}

fn swap(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.any(|_| true)?;
    let to = site.any(|_| true)?;
    if fs::renameat_with(CWD, &path, CWD, &to, RenameFlags::EXCHANGE).is_err() {
        if path.starts_with(&to) || to.starts_with(&path) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let aside = site.new_path()?;
        if aside.starts_with(&path) || aside.starts_with(&to) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        std::fs::rename(&path, &aside)?;
        std::fs::rename(&to, &path)?;
        std::fs::rename(&aside, &to)?;
    }
    Ok(format!("{} and {}", site.show(&path), site.show(&to)))
}

fn link(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.any(|data| !data.is_dir())?;
    let to = site.new_path()?;
    std::fs::hard_link(&path, &to)?;
    Ok(format!("{} as {}", site.show(&path), site.show(&to)))
}

/// A new name, and the old one goes; and a new name that goes itself.
fn link_and_unlink(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.any(|data| !data.is_dir())?;
    let to = site.new_path()?;
    if !site.unlinking {
        return Err(io::ErrorKind::Unsupported.into());
    }
    std::fs::hard_link(&path, &to)?;
    std::fs::remove_file(if site.random.below(2) == 0 { &path } else { &to })?;
    Ok(format!("{} as {}", site.show(&path), site.show(&to)))
}

fn unlink(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.any(|data| !data.is_dir())?;
    site.may_remove(&path)?;
    std::fs::remove_file(&path)?;
    Ok(site.show(&path))
}

fn remove_directory(site: &mut Site<'_>) -> io::Result<String> {
    if site.random.below(2) == 0 {
        return Err(io::ErrorKind::Interrupted.into()); // else little would be left
    }
    let path = site.any(std::fs::Metadata::is_dir)?;
    site.may_remove(&path)?;
    std::fs::remove_dir_all(&path)?;
    Ok(site.show(&path))
}

fn symlink(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.new_path()?;
    std::os::unix::fs::symlink(site.show(&path), &path)?;
    Ok(site.show(&path))
}

fn special(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.new_path()?;
    let kinds =
        [fs::FileType::Fifo, fs::FileType::CharacterDevice, fs::FileType::BlockDevice, fs::FileType::Socket];
    fs::mknodat(CWD, &path, *site.random.of(&kinds), Mode::from(0o640), 0x103)?;
    Ok(site.show(&path))
}

fn chmod(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.any(|data| !data.is_symlink())?;
    let mode = *site.random.of(&[0o700, 0o755, 0o644, 0o600, 0o4755, 0o1777]);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
    Ok(site.show(&path))
}

fn chown(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.any(|_| true)?;
    let owner = u32::try_from(site.random.below(70_000)).expect("small");
    std::os::unix::fs::lchown(&path, Some(owner), Some(7))?;
    Ok(site.show(&path))
}

fn utimes(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.any(|_| true)?;
    let time =
        Timespec { tv_sec: i64::try_from(site.random.below(1 << 30)).expect("small"), tv_nsec: 123_456_789 };
    let times = Timestamps { last_access: time, last_modification: time };
    fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(site.show(&path))
}

fn set_xattr(site: &mut Site<'_>) -> io::Result<String> {
    // A list of five entries: user, a named user, group, mask, others.
    const ACL: [u8; 44] = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 5, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255,
        16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255,
    ];
    let path = site.any(|data| data.is_file() || data.is_dir())?;
    if site.random.below(4) == 0 {
        fs::lsetxattr(&path, "system.posix_acl_access", &ACL, XattrFlags::empty())?;
        return Ok(format!("ACL of {}", site.show(&path)));
    }
    let name = *site.random.of(&["user.a", "user.b", "trusted.c", "user.with space"]);
    fs::lsetxattr(&path, name, &site.random.bytes(900), XattrFlags::empty())?;
    Ok(format!("{name} of {}", site.show(&path)))
}

fn remove_xattr(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.any(|data| data.is_file() || data.is_dir())?;
    for name in ["user.a", "user.b", "trusted.c", "user.with space", "system.posix_acl_access"] {
        if fs::lremovexattr(&path, name).is_ok() {
            return Ok(format!("{name} of {}", site.show(&path)));
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn replace_type(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.any(|_| true)?;
    site.may_remove(&path)?;
    let was_directory = path.symlink_metadata()?.is_dir();
    if was_directory {
        std::fs::remove_dir_all(&path)?;
        std::fs::write(&path, "was a directory")?;
    } else {
        std::fs::remove_file(&path)?;
        std::fs::create_dir(&path)?;
    }
    Ok(site.show(&path))
}

fn copy_and_punch(site: &mut Site<'_>) -> io::Result<String> {
    let path = site.file()?;
    let to = site.new_path()?;
    let (from, copy) = (std::fs::File::open(&path)?, std::fs::File::create_new(&to)?);
    if fs::ioctl_ficlone(&copy, &from).is_err() {
        std::fs::copy(&path, &to)?;
    }
    let file = std::fs::OpenOptions::new().write(true).open(&path)?;
    fs::fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, 4096)?;
    Ok(format!("{} as {}", site.show(&path), site.show(&to)))
}
