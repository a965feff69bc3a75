//! Trees in a temporary directory.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::tree::Tree;

pub(super) struct Scratch {
    dir: PathBuf,
    _own: Option<tempfile::TempDir>,
}

impl Scratch {
    pub(super) fn new() -> Self {
        let own = tempfile::tempdir().unwrap();
        Self { dir: own.path().to_owned(), _own: Some(own) }
    }

    pub(super) fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), _own: None }
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    pub(super) fn tree(&self, path: &str) -> Tree {
        Tree::open(&self.path(path)).unwrap()
    }

    /// Writes a file and the directories above it, all with fixed times.
    pub(super) fn write(&self, path: &str, content: &[u8]) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        set_mtime(&path, 1_000_000);
        for dir in path.ancestors().skip(1).take_while(|dir| *dir != self.dir) {
            set_mtime(dir, 1_000_000);
        }
    }

    pub(super) fn chmod(&self, path: &str, mode: u32) {
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Copies a tree with everything in it.
    pub(super) fn copy(&self, from: &str, to: &str) {
        run(Command::new("cp").arg("-a").arg(self.path(from)).arg(self.path(to)));
    }
}

/// A btrfs in a file, mounted as long as this lives.
pub(super) struct Btrfs {
    dir: tempfile::TempDir,
}

impl Btrfs {
    /// `None` where this machine cannot mount one.
    pub(super) fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        fs::File::create(&image).unwrap().set_len(200 << 20).unwrap();
        fs::create_dir(dir.path().join("mnt")).unwrap();
        let done = |command: &mut Command| command.output().is_ok_and(|output| output.status.success());
        (done(Command::new("mkfs.btrfs").arg("-q").arg(&image))
            && done(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(dir.path().join("mnt"))))
        .then_some(Self { dir })
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }

    pub(super) fn subvolume(&self, words: &[&str]) {
        run(Command::new("btrfs").arg("-q").arg("subvolume").args(words).current_dir(self.path()));
    }
}

impl Drop for Btrfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

pub(super) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Sets the time of last modification, of a link itself too.
pub(super) fn set_mtime(path: &Path, seconds: i64) {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: 5 };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}
