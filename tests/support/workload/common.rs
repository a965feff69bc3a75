//! A release and a changed jail of which every file system keeps everything: what can be compared after it has been on all of
//! them. No flags, no ACLs, no times below a second, no numbers that some cannot hold.

use rustix::fs::FileType;

use super::super::at::{At, Time};
use super::{noise, text};

const RELEASE_TIME: Time = (1_700_000_000, 0);
const JAIL_TIME: Time = (1_755_000_000, 0);

/// Fills an empty directory with a release.
pub(crate) fn build_release(root: &At) {
    let etc = root.mkdir("etc");
    etc.write("passwd", "root:*:0:0:Charlie &:/root:/bin/sh\n");
    etc.write("conf", text(11, 900));
    etc.write("mode", "changes its mode alone\n");
    etc.write("owner", "changes its owner alone\n");
    etc.write("xattr", "changes an attribute alone\n");
    etc.try_set_xattr("xattr", "user.note", b"of the release").expect("an attribute");
    let bin = root.mkdir("bin");
    bin.write("tool", noise(12, 200_000));
    bin.chmod("tool", 0o4755);
    bin.link("tool-too", &bin, "tool");
    bin.write("becomes-a-link", noise(13, 3000));
    bin.symlink("becomes-a-file", "tool");
    root.mkdir("usr").mkdir("share").mkdir("doc").write("README", text(14, 40_000));
    let old = root.mkdir("old");
    old.write("gone", "the jail deletes this\n");
    old.mkdir("gone-too").write("and this", "with its directory\n");
    root.mkdir("moves").write("inside", noise(15, 9000));
    root.write("a name with spaces, a \t, a \n, \\ and ü", "odd\n");
    root.write(b"not \xff UTF-8", "odd too\n");
    root.write_sparse("holes", 3 << 20, &[(1 << 20, &noise(16, 5000))]);
    settle(root, RELEASE_TIME);
}

/// Changes a clone of the release.
pub(crate) fn change_jail(root: &At) {
    let etc = root.dir("etc");
    etc.write("conf", text(21, 1000));
    etc.chmod("mode", 0o600);
    etc.try_chown("owner", 1001, 1002).expect("an owner");
    etc.try_set_xattr("xattr", "user.note", b"of the jail").expect("an attribute");
    let bin = root.dir("bin");
    bin.unlink("becomes-a-link");
    bin.symlink("becomes-a-link", "/bin/tool");
    bin.unlink("becomes-a-file");
    bin.write("becomes-a-file", noise(22, 2000));
    bin.link("tool-three", &bin, "tool");
    root.remove("old");
    root.rename("moves", "moved");
    let srv = root.mkdir("srv");
    srv.write("new", text(23, 600));
    srv.link("new-link", &srv, "new");
    srv.symlink("absolute", "/etc/passwd");
    srv.symlink("out", "../../../../../etc/shadow");
    srv.write("empty", "");
    srv.write_sparse("holes", 2 << 20, &[(0, &noise(24, 4096)), (1 << 20, &noise(25, 100))]);
    srv.write("large", noise(26, 3 << 20));
    srv.try_mknod("fifo", FileType::Fifo, 0o620, (0, 0)).expect("a fifo");
    srv.try_mknod("null", FileType::CharacterDevice, 0o666, (1, 3)).expect("a device");
    srv.chmod("new", 0o2710);
    for (path, time) in [("etc", JAIL_TIME), ("bin", JAIL_TIME), ("srv", JAIL_TIME)] {
        let below = root.dir(path);
        touch_new(&below, time);
        root.set_mtime(path, time);
    }
    root.set_mtime(".", JAIL_TIME);
}

/// Files of another dataset.
pub(crate) fn fill_data(data: &At, seed: u64) {
    for index in 0..20 {
        data.write(format!("file{index}"), noise(seed + index, 3000));
    }
    data.symlink("link", "file0");
    data.link("file1-too", data, "file1");
    settle(data, JAIL_TIME);
}

/// Gives everything below and the directory itself one time.
fn settle(directory: &At, time: Time) {
    for name in directory.names() {
        if directory.kind(&name) == FileType::Directory {
            settle(&directory.dir(&name), time);
        }
        directory.set_mtime(&name, time);
    }
    directory.set_mtime(".", time);
}

/// Gives what was just written a time of whole seconds.
fn touch_new(directory: &At, time: Time) {
    for name in directory.names() {
        if directory.stat(&name).st_mtime > JAIL_TIME.0 {
            directory.set_mtime(&name, time);
        }
    }
}
