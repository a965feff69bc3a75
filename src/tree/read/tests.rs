//! These need root: device nodes, trusted attributes and flags cannot be had otherwise.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use super::*;
use crate::tree::testing::{Namespace, is_inside};
use crate::tree::{Content, Extent};

fn tree() -> (tempfile::TempDir, Tree) {
    assert!(rustix::process::geteuid().is_root(), "this test needs root");
    let dir = tempfile::tempdir().unwrap();
    let tree = Tree::open(dir.path()).unwrap();
    (dir, tree)
}

/// Runs one of the system's tools.
fn run(program: &str, arguments: &[&str], path: &Path) {
    let done = Command::new(program).args(arguments).arg(path).output().unwrap();
    assert!(done.status.success(), "{program}: {}", String::from_utf8_lossy(&done.stderr));
}

fn node(dir: &Dir, name: &str) -> Node {
    let stat = dir.stat(name.as_bytes()).unwrap().unwrap();
    dir.node(name.as_bytes(), &stat).unwrap().unwrap()
}

/// All data with its offsets, and the bytes a file of it would have.
fn read_all(content: &mut FileContent) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(content.size()).unwrap()];
    let extents = content.extents().to_vec();
    let mut covered = 0;
    while let Some((offset, data)) = content.next_data().unwrap() {
        let range = offset..offset + data.len() as u64;
        assert!(!data.is_empty());
        assert!(extents.iter().any(|e| e.offset <= range.start && range.end <= e.offset + e.length));
        covered += data.len() as u64;
        bytes[usize::try_from(offset).unwrap()..][..data.len()].copy_from_slice(data);
    }
    assert_eq!(covered, extents.iter().map(|extent| extent.length).sum::<u64>());
    bytes
}

#[test]
fn what_cannot_be_looked_at_is_not_absent() {
    let (_dir, tree) = tree();
    let root = tree.root();
    // Longer than a name may be: an error that does not say whether it is there.
    let long = [b'n'; 300];
    assert!(root.stat(&long).is_err() && root.open_file(&long).is_err() && root.open_dir(&long).is_err());
    assert!(tree.open_dir(&TreePath::root().join(&long)).is_err());
    assert!(root.stat(b"none").unwrap().is_none() && root.open_file(b"none").unwrap().is_none());
    assert!(root.open_dir(b"none").unwrap().is_none());
    assert!(root.look(b"none", true).unwrap().is_none() && root.look(&long, true).is_err());
    assert!(tree.open_dir(&TreePath::new(b"none/below").unwrap()).unwrap().is_none());
}

#[test]
fn every_attribute_is_read() {
    let (dir, tree) = tree();
    let file = dir.path().join("file");
    fs::write(&file, b"content").unwrap();
    std::os::unix::fs::chown(&file, Some(4_294_967_294), Some(77)).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o6751)).unwrap();
    run("setfattr", &["-n", "user.empty"], &file);
    run("setfattr", &["-n", "trusted.x", "-v", "0x00ff"], &file);
    run("setcap", &["cap_net_raw+ep"], &file);
    run("setfacl", &["-m", "u:1000:rw"], &file);
    run("touch", &["-d", "1969-12-31 23:59:58.5 UTC"], &file);
    run("chattr", &["+Ad"], &file);
    let Node { entry, identity } = node(&tree.root(), "file");
    assert_eq!((entry.kind, entry.uid, entry.gid, entry.size), (Kind::File, 4_294_967_294, 77, 7));
    assert_eq!(entry.mode & 0o7707, 0o6701);
    assert_eq!(entry.mtime.to_string(), "-1.5");
    let names: Vec<_> = entry.xattrs.keys().map(|name| name.escape_ascii().to_string()).collect();
    assert_eq!(names, ["security.capability", "trusted.x", "user.empty"]);
    assert_eq!(entry.xattrs[&b"trusted.x"[..]], [0, 255]);
    assert_eq!(entry.acl.access.unwrap(), "user::rwx,user:1000:rw-,group::r-x,mask::rwx,other::--x");
    assert_eq!(entry.flags.to_string(), "nodump,noatime");
    assert_eq!(identity.inode, fs::metadata(&file).unwrap().ino());
    assert_eq!(identity.links, 1);
}

#[test]
fn every_kind_is_read() {
    let (dir, tree) = tree();
    let at = |name: &str| dir.path().join(name);
    fs::create_dir(at("directory")).unwrap();
    run("setfacl", &["-d", "-m", "g:5:rx"], &at("directory"));
    let target = "x".repeat(4000);
    symlink(&target, at("symlink")).unwrap();
    run("setfattr", &["-h", "-n", "trusted.link", "-v", "1"], &at("symlink"));
    run("mkfifo", &[], &at("fifo"));
    for (name, kind) in [("char", "c"), ("block", "b")] {
        let done = Command::new("mknod").arg(at(name)).args([kind, "259", "1048575"]).status().unwrap();
        assert!(done.success());
    }
    run("setfattr", &["-n", "trusted.device", "-v", "2"], &at("char"));
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    fs::write(at("file"), b"").unwrap();
    let root = tree.root();
    for found in root.names().unwrap() {
        let name = String::from_utf8(found.name).unwrap();
        let node = node(&root, &name);
        assert_eq!(node.entry.kind.name(), name);
        assert!(found.kind.is_none_or(|kind| kind.name() == name));
        // Whatever the directory was taken to say, it is told as it is, and nothing but a file is open.
        for listed in [false, true] {
            let look = root.look(name.as_bytes(), listed).unwrap().unwrap();
            assert_eq!(Some(look.stat), root.stat(name.as_bytes()).unwrap());
            assert_eq!(look.file.is_some(), listed && name == "file", "{name}");
        }
        let device = matches!(&*name, "char" | "block").then_some(Device { major: 259, minor: 1_048_575 });
        assert_eq!(node.entry.device, device);
        assert_eq!(node.entry.target, (name == "symlink").then(|| target.clone().into_bytes()));
        assert_eq!(node.entry.size, 0);
    }
    assert_eq!(root.names().unwrap().len(), Kind::ALL.len());
    assert_eq!(node(&root, "symlink").entry.xattrs[&b"trusted.link"[..]], b"1");
    assert_eq!(node(&root, "char").entry.xattrs[&b"trusted.device"[..]], b"2");
    let acl = node(&root, "directory").entry.acl;
    assert_eq!(acl.access, None);
    assert_eq!(acl.default.unwrap(), "user::rwx,group::r-x,group:5:r-x,mask::r-x,other::r-x");
}

#[test]
fn a_large_attribute_is_read_whole() {
    let (dir, tree) = tree();
    fs::write(dir.path().join("file"), b"").unwrap();
    let value = vec![7; 3000];
    rustix::fs::setxattr(dir.path().join("file"), "user.big", &value, rustix::fs::XattrFlags::empty())
        .unwrap();
    for nth in 0..40 {
        let name = format!("user.{nth:0200}");
        // ext4 has room for one block of attributes; what does not fit is not asked for below.
        let _ = rustix::fs::setxattr(dir.path().join("file"), name, b"", rustix::fs::XattrFlags::empty());
    }
    let xattrs = node(&tree.root(), "file").entry.xattrs;
    assert_eq!(xattrs[&b"user.big"[..]], value);
    assert!(xattrs.len() > 2);
}

#[test]
fn names_are_sorted_and_any_bytes() {
    let (dir, tree) = tree();
    for name in [&b"b"[..], b"a\nb", b"\xff\xfe", b"...", b"Z", b"a"] {
        fs::write(dir.path().join(std::ffi::OsStr::from_bytes(name)), b"").unwrap();
    }
    let names: Vec<_> = tree.root().names().unwrap().into_iter().map(|name| name.name).collect();
    assert_eq!(names, [&b"..."[..], b"Z", b"a", b"a\nb", b"b", b"\xff\xfe"]);
}

#[test]
fn no_link_is_passed() {
    let (dir, tree) = tree();
    fs::create_dir_all(dir.path().join("real/sub")).unwrap();
    fs::write(dir.path().join("real/file"), b"x").unwrap();
    symlink("real", dir.path().join("link")).unwrap();
    symlink("real/file", dir.path().join("filelink")).unwrap();
    let path = |text: &str| TreePath::new(text.as_bytes()).unwrap();
    assert_eq!(tree.open_dir(&path("real/sub")).unwrap().unwrap().path(), &path("real/sub"));
    let real = tree.open_dir(&path("real")).unwrap().unwrap();
    assert_eq!(real.open_below(&path("sub")).unwrap().unwrap().path(), &path("real/sub"));
    assert_eq!(real.open_below(&TreePath::root()).unwrap().unwrap().path(), &path("real"));
    for absent in ["link", "link/sub", "real/file", "real/file/x", "missing", "missing/x"] {
        assert!(tree.open_dir(&path(absent)).unwrap().is_none(), "{absent}");
    }
    assert!(tree.open_dir(&TreePath::root()).unwrap().unwrap().path().is_root());
    let root = tree.root();
    assert!(root.open_dir(b"link").unwrap().is_none());
    assert!(root.open_file(b"filelink").unwrap().is_none());
    assert!(root.open_file(b"real").unwrap().is_none());
    assert!(root.open_file(b"missing").unwrap().is_none());
    assert!(root.stat(b"missing").unwrap().is_none());
}

#[test]
fn what_vanishes_or_changes_its_kind_is_none() {
    let (dir, tree) = tree();
    let root = tree.root();
    for name in ["file", "link", "fifo"] {
        fs::write(dir.path().join(name), b"x").unwrap();
    }
    let stat = root.stat(b"file").unwrap().unwrap();
    for name in ["file", "link", "fifo"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    symlink("/etc/passwd", dir.path().join("link")).unwrap();
    run("mkfifo", &[], &dir.path().join("fifo"));
    assert_eq!(root.node(b"file", &stat).unwrap(), None);
    assert_eq!(root.node(b"link", &stat).unwrap(), None);
    // Must not wait for a writer.
    assert!(root.open_file(b"fifo").unwrap().is_none());
    let link = root.stat(b"link").unwrap().unwrap();
    fs::remove_file(dir.path().join("link")).unwrap();
    assert_eq!(root.node(b"link", &link).unwrap(), None);
    run("mkfifo", &[], &dir.path().join("link"));
    assert_eq!(root.node(b"link", &link).unwrap(), None);
    fs::create_dir(dir.path().join("dir")).unwrap();
    let gone = root.open_dir(b"dir").unwrap().unwrap();
    fs::remove_dir(dir.path().join("dir")).unwrap();
    assert_eq!(gone.names().unwrap(), []);
}

/// FIFOs and links cannot be opened to ask for their attributes: the way to these is by `/proc`, and where there is none the answer is
/// "no such file".
#[test]
fn without_proc_what_is_there_is_not_absent() {
    const NAME: &str = "tree::read::tests::without_proc_what_is_there_is_not_absent";
    if !is_inside(NAME, "mount -t tmpfs none /proc") {
        return;
    }
    assert!(!Path::new("/proc/self").exists());
    let (dir, tree) = tree();
    symlink("nowhere", dir.path().join("link")).unwrap();
    run("mkfifo", &[], &dir.path().join("fifo"));
    let root = tree.root();
    for name in [&b"link"[..], b"fifo"] {
        let stat = root.stat(name).unwrap().unwrap();
        let error = root.node(name, &stat).unwrap_err().to_string();
        assert!(error.starts_with("Cannot read the attributes of "), "{error}");
        fs::remove_file(dir.path().join(std::str::from_utf8(name).unwrap())).unwrap();
        assert_eq!(root.node(name, &stat).unwrap(), None);
    }
}

#[test]
fn what_was_opened_for_the_attributes_is_handed_on_of_files_alone() {
    let (dir, tree) = tree();
    fs::write(dir.path().join("file"), b"x").unwrap();
    fs::create_dir(dir.path().join("dir")).unwrap();
    for (name, listed) in [("file", true), ("file", false), ("dir", false)] {
        let look = tree.root().look(name.as_bytes(), listed).unwrap().unwrap();
        let (_, file) = tree.root().node_and_file(name.as_bytes(), look).unwrap().unwrap();
        assert_eq!(file.is_some(), name == "file", "{name} {listed}");
    }
}

#[test]
fn the_directory_above_is_the_one_that_it_was() {
    let (dir, tree) = tree();
    fs::create_dir_all(dir.path().join("a/b")).unwrap();
    fs::create_dir(dir.path().join("c")).unwrap();
    let root = tree.root();
    let a = root.open_dir(b"a").unwrap().unwrap();
    let b = a.open_dir(b"b").unwrap().unwrap();
    let identity = a.own_stat().unwrap().identity;
    let above = b.open_parent(&identity).unwrap().unwrap();
    assert_eq!((above.path(), above.own_stat().unwrap().identity.inode), (a.path(), identity.inode));
    // The root has none in the tree, and what was moved has another.
    assert!(root.open_parent(&identity).unwrap().is_none());
    fs::rename(dir.path().join("a/b"), dir.path().join("c/b")).unwrap();
    assert!(b.open_parent(&identity).unwrap().is_none());
}

#[test]
fn an_error_names_the_whole_path() {
    let (dir, tree) = tree();
    fs::create_dir(dir.path().join("a")).unwrap();
    let a = tree.root().open_dir(b"a").unwrap().unwrap();
    let (above, long) = (dir.path().display(), "x".repeat(300));
    let told = |error: Error| match error {
        Error::Io { path, .. } => path,
        other => panic!("{other}"),
    };
    assert_eq!(told(a.stat(long.as_bytes()).unwrap_err()), format!("{above}/a/{long}"));
    assert_eq!(told(tree.root().stat(long.as_bytes()).unwrap_err()), format!("{above}/{long}"));
    assert!(told(a.error("open", b"", std::io::Error::other("x"))) == format!("{above}/a"));
}

#[test]
fn another_file_system_is_not_entered() {
    let (dir, tree) = tree();
    for name in ["mounted", "bound"] {
        fs::create_dir_all(dir.path().join(name).join("sub")).unwrap();
    }
    fs::write(dir.path().join("file"), b"x").unwrap();
    fs::write(dir.path().join("boundfile"), b"y").unwrap();
    let namespace = Namespace::new(
        dir.path(),
        "mount -t tmpfs t mounted && mkdir mounted/sub && mkdir -p bound/sub/sub && mount --bind bound/sub bound && mount --bind file boundfile",
    );
    let root = Tree::open(&namespace.inside).unwrap().root();
    for name in [&b"mounted"[..], b"bound"] {
        assert!(root.stat(name).unwrap().unwrap().mount_point);
        assert!(root.open_dir(name).unwrap().is_none());
        for below in [&b"sub"[..], b"missing"] {
            let way = TreePath::root().join(name).join(below);
            assert!(root.open_below(&way).unwrap().is_none(), "{way}");
        }
    }
    assert!(root.stat(b"boundfile").unwrap().unwrap().mount_point);
    assert!(root.open_file(b"boundfile").unwrap().is_none());
    let look = root.look(b"boundfile", true).unwrap().unwrap();
    assert!(look.stat.mount_point && look.file.is_none());
    assert!(!root.stat(b"file").unwrap().unwrap().mount_point);
    drop(namespace);
    assert!(tree.root().open_dir(b"bound").unwrap().is_some());
}

/// As a file of an overlay has the device of its layer, and a directory of a Btrfs subvolume its own.
#[test]
fn the_device_tells_of_directories_alone_whether_they_are_mounted() {
    let (dir, tree) = tree();
    fs::write(dir.path().join("file"), b"x").unwrap();
    fs::create_dir(dir.path().join("dir")).unwrap();
    let root = tree.root();
    let own = root.own_stat().unwrap().identity.device;
    let mounted =
        |name: &[u8], device| platform::stat(root.as_fd(), name, Some(device)).unwrap().stat.mount_point;
    assert!(!mounted(b"file", own) && !mounted(b"dir", own));
    assert!(!mounted(b"file", own + 1) && mounted(b"dir", own + 1));
}

#[test]
fn holes_are_found() {
    let (dir, tree) = tree();
    let file = fs::File::create(dir.path().join("sparse")).unwrap();
    file.set_len(10 << 20).unwrap();
    file.write_all_at(&[1; 5000], 1 << 20).unwrap();
    file.write_all_at(&vec![2; 600_000], 5 << 20).unwrap();
    fs::File::create(dir.path().join("hole")).unwrap().set_len(1 << 40).unwrap();
    fs::write(dir.path().join("dense"), vec![3; 300_000]).unwrap();
    fs::write(dir.path().join("empty"), b"").unwrap();
    let root = tree.root();
    let mut content = root.open_file(b"sparse").unwrap().unwrap();
    assert_eq!(content.extents().len(), 2);
    assert!(content.extents().iter().all(|extent| extent.length < 700_000));
    assert_eq!(read_all(&mut content), fs::read(dir.path().join("sparse")).unwrap());
    assert!(content.is_stable().unwrap());
    let mut hole = root.open_file(b"hole").unwrap().unwrap();
    assert_eq!((hole.size(), hole.extents().len()), (1 << 40, 0));
    assert_eq!(hole.next_data().unwrap(), None);
    let mut dense = root.open_file(b"dense").unwrap().unwrap();
    assert_eq!(dense.extents(), [Extent { offset: 0, length: 300_000 }]);
    assert_eq!(read_all(&mut dense), vec![3; 300_000]);
    let mut empty = root.open_file(b"empty").unwrap().unwrap();
    assert_eq!((empty.extents().len(), empty.next_data().unwrap()), (0, None));
}

#[test]
fn a_file_that_shrinks_keeps_its_announced_size() {
    let (dir, tree) = tree();
    let path = dir.path().join("file");
    fs::write(&path, vec![9; 600_000]).unwrap();
    let mut content = tree.root().open_file(b"file").unwrap().unwrap();
    assert_eq!(content.next_data().unwrap().unwrap().1.len(), 256 * 1024);
    fs::File::options().write(true).open(&path).unwrap().set_len(300_000).unwrap();
    assert!(!content.is_stable().unwrap());
    let mut rest = Vec::new();
    while let Some((_, data)) = content.next_data().unwrap() {
        rest.extend_from_slice(data);
    }
    assert_eq!(rest.len(), 600_000 - 256 * 1024);
    let kept = 300_000 - 256 * 1024;
    assert!(rest[..kept].iter().all(|&byte| byte == 9) && rest[kept..].iter().all(|&byte| byte == 0));
    let mut buffer = [0; 20];
    assert_eq!(content.read_at(&mut buffer, 299_990).unwrap(), 10);
}

#[test]
fn reading_leaves_no_trace() {
    let (dir, tree) = tree();
    let path = dir.path().join("file");
    fs::write(&path, b"x").unwrap();
    run("touch", &["-a", "-d", "2001-01-01"], &path);
    let before = fs::metadata(&path).unwrap().atime();
    read_all(&mut tree.root().open_file(b"file").unwrap().unwrap());
    assert_eq!(fs::metadata(&path).unwrap().atime(), before);
}

#[test]
fn paths_may_be_longer_than_the_systems_limit() {
    let (_dir, tree) = tree();
    let name = [b'd'; 250];
    let mut fd = rustix::io::dup(&tree.root().0.fd).unwrap();
    let mut path = TreePath::root();
    for _ in 0..40 {
        rustix::fs::mkdirat(&fd, &name[..], Mode::from_raw_mode(0o755)).unwrap();
        fd = rustix::fs::openat(&fd, &name[..], OPEN_DIR, Mode::empty()).unwrap();
        path = path.join(&name);
    }
    rustix::fs::symlinkat("target", &fd, "link").unwrap();
    let dir = tree.open_dir(&path).unwrap().unwrap();
    assert_eq!(dir.path().as_bytes().len(), 40 * 251 - 1);
    assert_eq!(node(&dir, "link").entry.target.unwrap(), b"target");
}
