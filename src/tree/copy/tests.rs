//! These need root, for owners and devices.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use super::*;
use crate::tree::testing::Namespace;

fn tempdir() -> tempfile::TempDir {
    assert!(rustix::process::geteuid().is_root(), "this test needs root");
    tempfile::tempdir().unwrap()
}

fn open(path: &Path) -> OwnedFd {
    fs::File::open(path).unwrap().into()
}

fn inode(dir: &Path, name: &str) -> u64 {
    fs::symlink_metadata(dir.join(name)).unwrap().ino()
}

#[test]
fn hard_links_of_every_kind_are_kept() {
    let (from, to) = (tempdir(), tempdir());
    fs::create_dir(from.path().join("d")).unwrap();
    fs::write(from.path().join("file"), b"x").unwrap();
    symlink("nowhere", from.path().join("symlink")).unwrap();
    for (name, arguments) in [("fifo", &["p"][..]), ("device", &["c", "1", "3"][..])] {
        let done = Command::new("mknod").arg(from.path().join(name)).args(arguments).status().unwrap();
        assert!(done.success());
    }
    for name in ["file", "symlink", "fifo", "device"] {
        for other in [name.to_owned(), format!("{name}-once-more")] {
            fs::hard_link(from.path().join(name), from.path().join("d").join(other)).unwrap();
        }
    }
    let tree = Tree::open(from.path()).unwrap();
    let lost = copy(&tree, open(to.path()), &|_| false, &mut |_| ()).unwrap();
    assert!(lost.is_empty(), "{lost:?}");
    for name in ["file", "symlink", "fifo", "device"] {
        for other in [format!("d/{name}"), format!("d/{name}-once-more")] {
            assert_eq!(inode(to.path(), name), inode(to.path(), &other), "{other}");
        }
    }
    assert_eq!(fs::read_link(to.path().join("d/symlink")).unwrap(), Path::new("nowhere"));
}

#[test]
fn what_is_excluded_is_not_copied_and_progress_is_told() {
    let (from, to) = (tempdir(), tempdir());
    for name in ["a/in", "b/in"] {
        fs::create_dir_all(from.path().join(name)).unwrap();
    }
    fs::write(from.path().join("b/file"), b"1234").unwrap();
    let tree = Tree::open(from.path()).unwrap();
    let mut told = Vec::new();
    let exclude = |path: &TreePath| path.as_bytes() == b"a";
    copy(&tree, open(to.path()), &exclude, &mut |copied| told.push(copied)).unwrap();
    assert!(!to.path().join("a").exists() && to.path().join("b/in").exists());
    let entries: Vec<_> = told.iter().map(|copied| copied.entries).collect();
    assert_eq!(entries, [1, 2, 3, 4]);
    assert_eq!(told.last().map(|copied| copied.data_bytes), Some(4));
}

#[test]
fn what_is_mounted_is_left_out() {
    let (from, to) = (tempdir(), tempdir());
    for name in ["mounted", "d"] {
        fs::create_dir(from.path().join(name)).unwrap();
    }
    for name in ["file", "bound", "d/bound"] {
        fs::write(from.path().join(name), name).unwrap();
    }
    let namespace = Namespace::new(
        from.path(),
        "mount -t tmpfs t mounted && touch mounted/inside && mount --bind file bound && mount --bind file d/bound",
    );
    let tree = Tree::open(&namespace.inside).unwrap();
    let mut told = Vec::new();
    let lost = copy(&tree, open(to.path()), &|_| false, &mut |copied| told.push(copied.entries));
    let lost: Vec<_> = lost.unwrap().into_iter().map(|loss| (loss.path.to_string(), loss.what)).collect();
    assert_eq!(lost, ["bound", "d/bound"].map(|path| (path.to_owned(), "file".to_owned())));
    assert_eq!(fs::read_dir(to.path().join("mounted")).unwrap().count(), 0);
    assert!(!to.path().join("bound").exists() && to.path().join("file").exists());
    // Of names that came to nothing there is no progress.
    assert_eq!(told, [1, 2, 3, 4]);
}

/// Directories on file systems that can share data.
fn sharing_places(group: &str) -> Vec<std::path::PathBuf> {
    let mut places = Vec::new();
    for variable in ["REMAND_TEST_XFS", "REMAND_TEST_BTRFS"] {
        match std::env::var_os(variable).filter(|value| !value.is_empty()) {
            Some(path) => places.push(path.into()),
            None => eprintln!("SKIPPED {group}: {variable} names no directory"),
        }
    }
    places
}

/// Whether all data of the file at `path` is shared with others.
fn is_shared(path: &Path) -> bool {
    let runs = remand_sys::extents::extents(fs::File::open(path).unwrap(), 0, u64::MAX).unwrap();
    !runs.is_empty() && runs.iter().all(|run| run.flags & remand_sys::extents::Mapped::SHARED != 0)
}

/// Files of every shape in `dir`: name, and whether a copy shares its data with it.
fn shapes(dir: &Path) -> Vec<(&'static str, bool)> {
    use std::os::unix::fs::FileExt;
    let write = |name: &str, content: &[u8]| fs::write(dir.join(name), content).unwrap();
    write("empty", b"");
    write("inline", b"few bytes");
    write("small", &[1; 5000]);
    write("large", &vec![7; 5_000_001]);
    write("linked", &[3; 10_000]);
    fs::hard_link(dir.join("linked"), dir.join("linked2")).unwrap();
    let sparse = fs::File::create(dir.join("sparse")).unwrap();
    sparse.write_all_at(&[5; 8192], 1 << 20).unwrap();
    sparse.set_len(8 << 20).unwrap();
    let unwritten = fs::File::create(dir.join("unwritten")).unwrap();
    rustix::fs::fallocate(&unwritten, rustix::fs::FallocateFlags::empty(), 0, 1 << 20).unwrap();
    unwritten.write_all_at(&[6; 4096], 65536).unwrap();
    let path = dir.join("small");
    rustix::fs::setxattr(&path, "user.kept", b"value", rustix::fs::XattrFlags::empty()).unwrap();
    vec![
        ("small", true),
        ("large", true),
        ("linked", true),
        ("sparse", true),
        ("empty", false),
        ("inline", false),
        ("unwritten", false),
    ]
}

#[test]
fn a_copy_shares_its_data_and_is_independent() {
    use std::os::unix::fs::FileExt;
    for place in sharing_places("a_copy_shares_its_data_and_is_independent") {
        let dir = tempfile::tempdir_in(&place).unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        let shapes = shapes(&from);
        let lost = copy(&Tree::open(&from).unwrap(), open(&to), &|_| false, &mut |_| ()).unwrap();
        assert!(lost.is_empty(), "{lost:?}");
        for (name, shares) in &shapes {
            let (old, new) = (from.join(name), to.join(name));
            assert!(fs::read(&old).unwrap() == fs::read(&new).unwrap(), "{name} at {}", place.display());
            let (old, new) = (fs::metadata(old).unwrap(), fs::metadata(new).unwrap());
            assert_eq!(
                (old.mtime(), old.mtime_nsec(), old.mode()),
                (new.mtime(), new.mtime_nsec(), new.mode())
            );
            assert!(new.blocks() <= old.blocks() + 8, "{name}: {} {}", old.blocks(), new.blocks());
            assert!(!shares || is_shared(&to.join(name)), "{name} at {}", place.display());
        }
        assert_eq!(inode(&to, "linked"), inode(&to, "linked2"));
        let mut value = [0; 16];
        assert_eq!(rustix::fs::getxattr(to.join("small"), "user.kept", &mut value).unwrap(), 5);
        let copied = fs::File::options().write(true).open(to.join("large")).unwrap();
        copied.write_all_at(b"changed", 1000).unwrap();
        copied.sync_all().unwrap();
        assert!(fs::read(from.join("large")).unwrap().iter().all(|&byte| byte == 7));
    }
}

/// A file system of a megabyte, mounted on a directory.
fn small_file_system(at: &Path) -> Namespace {
    Namespace::new(at, &format!("mount -t tmpfs -o size=1m t {}", at.display()))
}

#[test]
fn a_failure_of_one_thread_ends_all() {
    let (from, to) = (tempdir(), tempdir());
    for number in 0..200 {
        let dir = from.path().join(format!("d{number:03}"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("file"), vec![7; 50_000]).unwrap();
    }
    let small = small_file_system(to.path());
    let copied = copy(&Tree::open(from.path()).unwrap(), open(&small.inside), &|_| false, &mut |_| ());
    let error = copied.unwrap_err().to_string();
    assert!(error.contains("/file"), "it names the file by its whole path: {error}");
}

/// An entry: path, kind and mode, owner, time, size, and the first path of the same inode.
type Seen = (String, u32, u32, (i64, i64), u64, String);

/// Entries of a tree by path.
fn entries(root: &Path) -> Vec<Seen> {
    let mut firsts = std::collections::HashMap::new();
    let (mut found, mut open) = (Vec::new(), vec![String::new()]);
    while let Some(path) = open.pop() {
        let seen = fs::symlink_metadata(root.join(&path)).unwrap();
        let first = firsts.entry(seen.ino()).or_insert_with(|| path.clone()).clone();
        if seen.is_dir() {
            let names = fs::read_dir(root.join(&path)).unwrap();
            let mut names: Vec<_> =
                names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            open.extend(names.iter().map(|name| format!("{path}/{name}").trim_start_matches('/').to_owned()));
        }
        let size = if seen.is_dir() { 0 } else { seen.size() };
        found.push((path, seen.mode(), seen.uid(), (seen.mtime(), seen.mtime_nsec()), size, first));
    }
    found.sort();
    found
}

/// Flags that forbid changes of a file, and names of it elsewhere, which come later.
#[test]
fn a_copy_is_the_same_whichever_thread_has_made_what() {
    let (from, to) = (tempdir(), tempdir());
    let dirs: Vec<_> = (0..30).map(|number| format!("a{}/b{}/c{number}", number % 3, number % 5)).collect();
    for (number, dir) in dirs.iter().enumerate() {
        let dir = from.path().join(dir);
        fs::create_dir_all(&dir).unwrap();
        for file in 0..if number == 7 { 3 * BATCH_NAMES + 1 } else { 9 } {
            let path = dir.join(format!("f{file}"));
            fs::write(&path, vec![u8::try_from(number).unwrap(); number * 100 + file]).unwrap();
            if file % 4 == 0 {
                let other = from.path().join(&dirs[(number * 7 + file) % dirs.len()]);
                fs::create_dir_all(&other).unwrap();
                fs::hard_link(&path, other.join(format!("link-{number}-{file}"))).unwrap();
            }
        }
    }
    let fixed = from.path().join(&dirs[3]).join("f0");
    fs::set_permissions(&fixed, std::os::unix::fs::PermissionsExt::from_mode(0o4751)).unwrap();
    std::os::unix::fs::lchown(&fixed, Some(1000), Some(33)).unwrap();
    for (path, ..) in entries(from.path()).into_iter().rev() {
        let times = std::fs::FileTimes::new()
            .set_modified(std::time::UNIX_EPOCH + std::time::Duration::new(1_600_000_000, 7));
        fs::File::open(from.path().join(path)).unwrap().set_times(times).unwrap();
    }
    let chattr =
        |flag: &str, path: &Path| Command::new("chattr").arg(flag).arg(path).status().unwrap().success();
    let can_fix = chattr("+i", &fixed);
    let mut told = Copied::default();
    let lost = copy(&Tree::open(from.path()).unwrap(), open(to.path()), &|_| false, &mut |now| told = now);
    let copy_is_fixed = fs::remove_file(to.path().join(&dirs[3]).join("f0")).is_err();
    chattr("-i", &fixed);
    chattr("-i", &to.path().join(&dirs[3]).join("f0"));
    assert!(lost.unwrap().is_empty());
    assert_eq!(copy_is_fixed, can_fix);
    let (was, is) = (entries(from.path()), entries(to.path()));
    assert_eq!(told.entries, was.len() as u64);
    assert!(was == is, "{:#?}", was.iter().zip(&is).find(|(was, is)| was != is));
    for (path, mode, ..) in was.iter().filter(|entry| entry.1 & 0o170_000 == 0o100_000) {
        let content = |root: &Path| fs::read(root.join(path)).unwrap();
        assert!(content(from.path()) == content(to.path()), "{path} ({mode:o})");
    }
}

#[test]
fn what_has_become_a_directory_meanwhile_is_told() {
    let (from, to) = (tempdir(), tempdir());
    fs::create_dir(from.path().join("d")).unwrap();
    fs::write(from.path().join("file"), b"x").unwrap();
    let tree = Tree::open(from.path()).unwrap();
    let mut writer = TreeWriter::new(open(to.path())).unwrap();
    let part = writer.part(&TreePath::root()).unwrap();
    let names = [&b"d"[..], b"file", b"gone"].map(<[u8]>::to_vec).to_vec();
    let done = Files::default().copy(Batch { from: tree.root(), names, part }).unwrap();
    let losses: Vec<_> =
        done.losses.iter().map(|loss| format!("{}: {}: {}", loss.path, loss.what, loss.source)).collect();
    assert_eq!(losses, ["d: directory: it became a directory while it was read"]);
    assert_eq!(done.copied.entries, 1);
    assert!(writer.join_part(&done.directory, done.part).is_empty());
    assert!(!to.path().join("d").exists() && to.path().join("file").exists());
}

#[test]
fn after_a_failure_a_thread_takes_no_more() {
    let (from, to) = (tempdir(), tempdir());
    fs::create_dir(from.path().join("d")).unwrap();
    for name in ["file", "d/file"] {
        fs::write(from.path().join(name), b"x").unwrap();
    }
    let tree = Tree::open(from.path()).unwrap();
    let mut writer = TreeWriter::new(open(to.path())).unwrap();
    let (jobs, queue) = unbounded();
    let (tell, told) = unbounded();
    // There is no `d` in the copy.
    for dir in [tree.root().open_dir(b"d").unwrap().unwrap(), tree.root()] {
        let part = writer.part(&TreePath::root()).unwrap();
        jobs.send(Batch { from: dir, names: vec![b"file".to_vec()], part }).unwrap();
    }
    drop(jobs);
    work(&Files::default(), &queue, &tell);
    drop(tell);
    assert_eq!(told.iter().map(|done| done.is_ok()).collect::<Vec<_>>(), [false]);
    assert_eq!(queue.len(), 1);
    // And where nobody wants to know what came of one.
    let (tell, told) = unbounded();
    drop(told);
    let (jobs, queue) = unbounded();
    for _ in 0..2 {
        let part = writer.part(&TreePath::root()).unwrap();
        jobs.send(Batch { from: tree.root(), names: Vec::new(), part }).unwrap();
    }
    drop(jobs);
    work(&Files::default(), &queue, &tell);
    assert_eq!(queue.len(), 1);
}
