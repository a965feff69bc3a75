//! What is in the pools, and what they look like.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::FileType;

use super::super::support::at::{At, flags, remove_tree};
use super::super::support::pool::{Pool, Size, fill_release, read_only, zfs};
use super::super::support::{is_root, workload};
use super::copy;

/// Something of every kind, beside what a small jail has.
pub(super) fn every_kind(root: &At) {
    let kinds = root.mkdir("kinds");
    kinds.write_sparse("sparse", 1 << 20, &[(0, b"begin"), (1 << 19, b"middle")]);
    kinds.write("setuid", "#!/bin/sh\n");
    kinds.chmod("setuid", 0o4755);
    kinds.write("noise", workload::noise(9, 70_000));
    kinds.mkdir("empty");
    kinds.try_set_xattr("noise", "user.kind", b"of a kind").expect("extended attributes");
    kinds.try_mknod("fifo", FileType::Fifo, 0o620, (0, 0)).expect("a fifo");
    kinds.try_mknod("socket", FileType::Socket, 0o700, (0, 0)).expect("a socket");
    if is_root() {
        kinds.try_chown("noise", 1234, 4321).expect("chown");
        kinds.try_mknod("device", FileType::CharacterDevice, 0o600, (1, 3)).expect("a device");
        // Not every file system has flags.
        let _ = kinds.try_set_flags("setuid", flags::NODUMP);
    }
    for name in ["sparse", "setuid", "noise", "empty", "fifo", "socket"] {
        kinds.set_mtime(name, workload::JAIL_TIME);
    }
    root.set_mtime("kinds", workload::JAIL_TIME);
}

/// Makes release `base-2.0`, which no other pool has.
pub(super) fn other_release(pool: &Pool) {
    pool.make("releases/base-2.0");
    pool.make("releases/base-2.0/root");
    let root = pool.path("releases/base-2.0/root");
    fill_release(&root, Size::Small);
    At::open(&root).write("etc/other", "no other release has this\n");
    if pool.is_zfs() {
        zfs(["snapshot", &format!("{}/releases/base-2.0/root@p0", pool.name())]);
    }
    if pool.place().is_btrfs() {
        read_only(&root, true);
    }
}

/// Makes jail `old01` and an archive of it in libioc's form, which knows nothing of files that were deleted or that are beside the root.
pub(super) fn foreign(pool: &Pool, archive: &Path) {
    pool.bare_jail("old01", "base-1.0", Size::Small);
    let jail = pool.path("jails/old01");
    remove_tree(&jail.join("hooks"));
    std::fs::remove_file(jail.join("notes.txt")).unwrap();
    copy(&pool.path("releases/base-1.0/root/old/gone"), &jail.join("root/old/gone"));
    At::open(&jail.join("root")).set_mtime("old", workload::JAIL_TIME);
    let fstab = std::fs::read_to_string(jail.join("fstab")).unwrap();
    let placeholder = fstab.replace(&format!("{}/", jail.display()), "backup:////");
    std::fs::write(jail.join("fstab"), placeholder).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("--format=posix").arg("-C").arg(&jail).arg("-czf").arg(archive).args([
        "./config.json",
        "./fstab",
        "./root",
    ]);
    assert!(tar.status().expect("tar").success(), "no archive");
}

/// What a user sees of a pool, but for these: a line for each entry.
pub(super) fn fingerprint(pool: &Pool, except: &[&str]) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut rest = vec![pool.directory().to_owned()];
    let (jails, state) = (pool.path("jails"), pool.path(".remand"));
    let excepted = |path: &Path| path == state || except.iter().any(|one| path == pool.path(one));
    while let Some(directory) = rest.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if excepted(&path) {
                continue;
            }
            let meta = path.symlink_metadata().expect("an entry");
            let content = if meta.is_file() {
                std::fs::read(&path).expect("a file")
            } else {
                std::fs::read_link(&path).map_or(Vec::new(), |to| to.into_os_string().into_encoded_bytes())
            };
            // What is made in it and goes again changes that.
            let volatile = path == jails || path == pool.path("releases");
            let time = if volatile {
                (0, 0, 0, 0)
            } else {
                (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec())
            };
            let links = if meta.is_dir() { 0 } else { meta.nlink() };
            let digest = blake3::hash(&content);
            let line = (
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.size() * u64::from(!meta.is_dir()),
                meta.ino(),
                links,
                time,
            );
            found.insert(path.clone(), format!("{line:?} {}", &digest.to_hex()[..16]));
            if meta.is_dir() {
                rest.push(path);
            }
        }
    }
    found
}
