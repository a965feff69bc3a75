//! The release.

use rustix::fs::FileType;

use super::{RELEASE_TIME, Refusals, capability, noise, posix_acl, text};
use crate::support::at::At;

pub(super) fn build(root: &At, refusals: &mut Refusals) {
    for name in ["bin", "sbin", "etc", "usr", "var", "dev", "home", "media", "mnt", "old"] {
        root.mkdir(name);
    }
    for (name, mode) in [("tmp", 0o1777), ("root", 0o700), ("empty", 0o555)] {
        root.mkdir(name);
        root.chmod(name, mode);
    }
    etc(&root.dir("etc"), refusals);
    programs(root, refusals);
    documents(&root.dir("usr").mkdir("share").mkdir("doc"));
    state(&root.dir("var"), refusals);
    devices(&root.dir("dev"), refusals);
    old(&root.dir("old"));
    settle(root);
    root.set_mtime(".", RELEASE_TIME);
}

fn etc(etc: &At, refusals: &mut Refusals) {
    for index in 0..60 {
        etc.write(format!("conf{index:02}"), text(index, 40 + 97 * index as usize));
    }
    etc.write("passwd", "root:*:0:0:Charlie &:/root:/bin/sh\n");
    etc.write("secret", "root only\n");
    etc.chmod("secret", 0o600);
    etc.write("empty", "");
    etc.symlink("localtime", "/usr/share/zoneinfo/UTC");
    etc.symlink("mail", "../var/mail");
    for index in 0..6 {
        let name = format!("acl{index}");
        etc.write(&name, "a file with an ACL\n");
        refusals
            .note("acl", etc.try_set_xattr(&name, "system.posix_acl_access", &posix_acl(&[(1000, 7)], &[])));
    }
    for index in 0..6 {
        let name = format!("tagged{index}");
        etc.write(&name, "a file with an attribute\n");
        refusals.note("user xattr", etc.try_set_xattr(&name, "user.tag", b"release"));
    }
}

fn programs(root: &At, refusals: &mut Refusals) {
    let (bin, sbin) = (root.dir("bin"), root.dir("sbin"));
    for index in 0..30 {
        let name = format!("tool{index:02}");
        bin.write(&name, noise(1000 + index, 1500 + 311 * index as usize));
        bin.chmod(&name, 0o755);
    }
    bin.write("su", noise(2000, 3000));
    bin.chmod("su", 0o4755);
    bin.write("ping", noise(2001, 3000));
    bin.chmod("ping", 0o755);
    refusals.note("capability", bin.try_set_xattr("ping", "security.capability", &capability(1 << 13)));
    bin.write("test", noise(2002, 2500));
    bin.link("[", &bin, "test");
    // Groups that the jail leaves alone, splits, joins, adds to and takes from.
    for group in ["kept", "split", "joined", "grown", "shrunk"] {
        sbin.write(format!("{group}-a"), noise(2100, 4000));
        for other in ["b", "c"] {
            sbin.link(format!("{group}-{other}"), &sbin, format!("{group}-a"));
        }
    }
    sbin.write("single-a", noise(2101, 4000));
    sbin.write("single-b", noise(2101, 4000));
    let lib = root.dir("usr").mkdir("lib");
    for index in 0..12 {
        lib.write(format!("lib{index:02}.so.1"), noise(2200 + index, 5000));
        lib.symlink(format!("lib{index:02}.so"), format!("lib{index:02}.so.1"));
    }
}

fn documents(doc: &At) {
    for index in 0..20 {
        let package = doc.mkdir(format!("package{index:02}"));
        for name in ["README", "copyright", "changes"] {
            package.write(name, text(3000 + index, 700 + 50 * index as usize));
        }
    }
    let deep = doc.mkdir("tree");
    for index in 0..4 {
        let below = deep.mkdir(format!("level{index}")).mkdir("below");
        below.write("leaf", text(3100 + index, 300));
        below.symlink("up", "../..");
    }
}

fn state(var: &At, refusals: &mut Refusals) {
    for name in ["log", "db", "run", "mail"] {
        var.mkdir(name);
    }
    let db = var.dir("db");
    db.write_sparse("sparse", 4 << 20, &[(1 << 20, &noise(4000, 4096))]);
    db.chmod("sparse", 0o600);
    db.write("owned", "not root's\n");
    refusals.note("owner", db.try_chown("owned", 65534, 65534));
    refusals.note("fifo", var.dir("run").try_mknod("pipe", FileType::Fifo, 0o600, (0, 0)));
    refusals.note("fifo", var.dir("run").try_mknod("pipe2", FileType::Fifo, 0o600, (0, 0)));
}

fn devices(dev: &At, refusals: &mut Refusals) {
    refusals.note("device", dev.try_mknod("null", FileType::CharacterDevice, 0o666, (1, 3)));
    refusals.note("device", dev.try_mknod("zero", FileType::CharacterDevice, 0o666, (1, 5)));
    refusals.note("device", dev.try_mknod("disk", FileType::BlockDevice, 0o640, (7, 9)));
}

/// What the jail deletes or turns into something else.
fn old(old: &At) {
    for index in 0..12 {
        old.write(format!("file{index:02}"), text(5000 + index, 500));
        old.symlink(format!("link{index:02}"), format!("file{index:02}"));
        let directory = old.mkdir(format!("dir{index:02}"));
        directory.write("one", text(5100 + index, 200));
        directory.mkdir("two").write("three", text(5200 + index, 200));
    }
}

/// Gives everything below `directory` the release's time, the deepest first.
fn settle(directory: &At) {
    for name in directory.names() {
        if directory.kind(&name) == FileType::Directory {
            settle(&directory.dir(&name));
        }
        directory.set_mtime(&name, RELEASE_TIME);
    }
}
