//! These need root, and a file system with flags.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::*;

/// A directory whose flags do not keep it from being removed.
struct Place(tempfile::TempDir);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = Command::new("chattr").args(["-R", "-f", "-i", "-a"]).arg(self.0.path()).status();
    }
}

fn run(program: &str, arguments: &[&str], path: &Path) {
    let done = Command::new(program).args(arguments).arg(path).output().unwrap();
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
}

fn path(text: &str) -> TreePath {
    TreePath::new(text.as_bytes()).unwrap()
}

/// The flags of an entry of the directory `d`.
fn flags(tree: &Tree, name: &str) -> Flags {
    let dir = tree.open_dir(&path("d")).unwrap().unwrap();
    let stat = dir.stat(name.as_bytes()).unwrap().unwrap();
    dir.flags(name.as_bytes(), &stat).unwrap()
}

#[test]
fn flags_are_read_and_set_and_no_others_stay() {
    assert!(rustix::process::geteuid().is_root(), "this test needs root");
    let place = Place(tempfile::tempdir().unwrap());
    let at = |name: &str| place.0.path().join(name);
    fs::create_dir_all(at("d/dir")).unwrap();
    fs::write(at("d/file"), b"x").unwrap();
    run("mkfifo", &[], &at("d/fifo"));
    std::os::unix::fs::symlink("file", at("d/link")).unwrap();
    run("chattr", &["+d"], &at("d/file"));
    let tree = Tree::open(place.0.path()).unwrap();
    assert_eq!(flags(&tree, "file"), Flags::NODUMP);
    for name in ["dir", "fifo", "link"] {
        assert_eq!(flags(&tree, name), Flags::empty());
    }
    // What is fixed is set last: flags that are gone are gone.
    for name in ["file", "dir"] {
        let wanted = Flags::SCHG.union(Flags::NOATIME);
        assert!(set_flags(&tree, &path("d").join(name.as_bytes()), wanted).unwrap().is_none());
        assert_eq!(flags(&tree, name), wanted);
        assert!(set_flags(&tree, &path("d").join(name.as_bytes()), Flags::empty()).unwrap().is_none());
        assert_eq!(flags(&tree, name), Flags::empty());
    }
    // The root of the tree.
    assert!(set_flags(&tree, &path(""), Flags::NODUMP).unwrap().is_none());
    let listed = Command::new("lsattr").arg("-d").arg(place.0.path()).output().unwrap().stdout;
    assert!(String::from_utf8(listed).unwrap().split(' ').next().unwrap().contains('d'));
}

#[test]
fn flags_that_cannot_be_are_a_loss() {
    let place = Place(tempfile::tempdir().unwrap());
    let at = |name: &str| place.0.path().join(name);
    fs::create_dir(at("d")).unwrap();
    run("mkfifo", &[], &at("d/fifo"));
    fs::write(at("d/file"), b"x").unwrap();
    std::os::unix::fs::symlink("file", at("d/link")).unwrap();
    let tree = Tree::open(place.0.path()).unwrap();
    for name in ["d/fifo", "d/link", "d/missing", "missing/file", "d/file/below"] {
        let loss = set_flags(&tree, &path(name), Flags::NODUMP).unwrap().unwrap();
        assert_eq!((loss.path, loss.what), (path(name), "flags nodump".to_owned()), "{name}");
    }
    assert_eq!(flags(&tree, "file"), Flags::empty());
    // A flag that this system has not.
    let loss = set_flags(&tree, &path("d/file"), Flags::OFFLINE.union(Flags::NODUMP)).unwrap().unwrap();
    assert!(loss.what.contains("offline"), "{}", loss.what);
    // A vanished entry has none.
    let dir = tree.open_dir(&path("d")).unwrap().unwrap();
    let stat = dir.stat(b"file").unwrap().unwrap();
    fs::remove_file(at("d/file")).unwrap();
    assert_eq!(dir.flags(b"file", &stat).unwrap(), Flags::empty());
}

/// A directory mounted on another, until the end of the test.
struct Mount<'a>(&'a Path);

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn what_is_mounted_in_a_tree_keeps_its_flags() {
    let place = Place(tempfile::tempdir().unwrap());
    let at = |name: &str| place.0.path().join(name);
    fs::create_dir_all(at("d/here")).unwrap();
    fs::create_dir(at("other")).unwrap();
    let here = at("d/here");
    let mounted = Command::new("mount").arg("--bind").args([&at("other"), &here]).output();
    if !mounted.is_ok_and(|done| done.status.success()) {
        eprintln!("SKIPPED: flags of what is mounted: cannot mount");
        return;
    }
    let mount = Mount(&here);
    let tree = Tree::open(place.0.path()).unwrap();
    let loss = set_flags(&tree, &path("d/here"), Flags::NODUMP).unwrap().unwrap();
    assert_eq!(loss.path, path("d/here"));
    drop(mount);
    for (above, name) in [("", "other"), ("d", "here")] {
        let dir = tree.open_dir(&path(above)).unwrap().unwrap();
        let stat = dir.stat(name.as_bytes()).unwrap().unwrap();
        assert_eq!(dir.flags(name.as_bytes(), &stat).unwrap(), Flags::empty(), "{name}");
    }
}
