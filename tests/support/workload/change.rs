//! What the jail does to its clone of the release.

use rustix::fs::FileType;

use super::{JAIL_TIME, RELEASE_TIME, Refusals, capability, noise, posix_acl, text};
use crate::support::at::{At, flags};

pub(super) fn apply(root: &At, refusals: &mut Refusals) {
    contents(root);
    metadata(root, refusals);
    deletions(root);
    hard_links(root, refusals);
    kinds(&root.dir("old"), refusals);
    let odd = root.mkdir("odd");
    names(&odd.mkdir("names"));
    deep_path(&odd);
    sparse_files(&odd.mkdir("sparse"));
    symlinks(&odd.mkdir("links"), refusals);
    nodes(&odd.mkdir("nodes"), refusals);
    attributes(&odd.mkdir("attributes"), refusals);
    owners_and_modes(&odd.mkdir("modes"), refusals);
    settle(root);
    times(&odd.mkdir("times"), refusals);
    for path in ["odd", "."] {
        root.set_mtime(path, JAIL_TIME);
    }
    protect(&odd.dir("attributes"), refusals);
}

fn contents(root: &At) {
    let (etc, bin) = (root.dir("etc"), root.dir("bin"));
    for index in 0..12 {
        etc.write(format!("conf{index:02}"), text(100 + index, 900));
    }
    for index in 0..6 {
        // By a new file and a rename, as editors and package managers do.
        bin.write("new", noise(9000 + index, 2000));
        bin.chmod("new", 0o755);
        bin.rename("new", format!("tool{index:02}"));
    }
    for index in 12..18 {
        // Other content of the same size at the same time: what size and mtime cannot show.
        let name = format!("conf{index}");
        let mut content = etc.read(&name);
        content[0] ^= 1;
        etc.write(&name, content);
        etc.set_mtime(&name, RELEASE_TIME);
    }
    etc.write("empty", "no longer\n");
    etc.write("conf18", "");
    root.dir("home").mkdir("admin").write("notes", text(101, 3000));
    let log = root.dir("var/log");
    for index in 0..40 {
        log.write(format!("messages.{index}"), text(200 + index, 1200));
    }
    log.write("archive", noise(300, 700_000));
}

fn metadata(root: &At, refusals: &mut Refusals) {
    let etc = root.dir("etc");
    etc.set_mtime("conf20", JAIL_TIME);
    etc.set_mtime("conf21", (RELEASE_TIME.0, RELEASE_TIME.1 + 1));
    etc.chmod("conf22", 0o4640);
    etc.chmod("secret", if crate::support::is_root() { 0o000 } else { 0o400 });
    refusals.note("owner", etc.try_chown("conf23", 1000, 33));
    refusals.note("user xattr", etc.try_set_xattr("conf24", "user.tag", b"jail"));
    refusals.note("user xattr", etc.try_set_xattr("tagged0", "user.tag", b"jail"));
    if !refusals.has("user xattr") {
        rustix::fs::lremovexattr(etc.path_of("tagged1"), "user.tag").expect("an attribute to remove");
    }
    refusals.note(
        "acl",
        etc.try_set_xattr("conf25", "system.posix_acl_access", &posix_acl(&[(33, 4)], &[(33, 5)])),
    );
    refusals.note("acl", etc.try_set_xattr("acl0", "system.posix_acl_access", &posix_acl(&[(1001, 6)], &[])));
    if !refusals.has("acl") {
        rustix::fs::lremovexattr(etc.path_of("acl1"), "system.posix_acl_access").expect("an ACL to remove");
    }
    refusals.note("flags", etc.try_set_flags("conf26", flags::NODUMP));
    root.chmod("tmp", 0o755);
    refusals.note("owner", root.try_chown("empty", 1000, 1000));
    if !refusals.has("fifo") {
        root.dir("var/run").chmod("pipe", 0o640);
    }
}

fn deletions(root: &At) {
    let etc = root.dir("etc");
    for index in 30..40 {
        etc.unlink(format!("conf{index}"));
    }
    etc.unlink("localtime");
    root.dir("usr/lib").unlink("lib00.so");
    let doc = root.dir("usr/share/doc");
    doc.remove("tree");
    doc.remove("package03");
    doc.dir("package04").unlink("README");
    root.remove("media");
    if root.dir("dev").names().contains(&b"zero".to_vec()) {
        root.dir("dev").unlink("zero");
    }
}

fn hard_links(root: &At, refusals: &mut Refusals) {
    let (sbin, bin) = (root.dir("sbin"), root.dir("bin"));
    let content = sbin.read("split-b");
    sbin.unlink("split-b");
    sbin.write("split-b", content);
    sbin.set_mtime("split-b", RELEASE_TIME);
    sbin.unlink("single-b");
    sbin.link("single-b", &sbin, "single-a");
    sbin.unlink("joined-c");
    sbin.link("joined-c", &sbin, "kept-a");
    sbin.link("grown-d", &sbin, "grown-a");
    root.dir("home").link("grown-e", &sbin, "grown-b");
    sbin.unlink("shrunk-a");
    // A new name of a file that the release has and nobody changed, and of one that was changed.
    root.dir("home").link("tool20", &bin, "tool20");
    root.dir("home").link("conf00", &root.dir("etc"), "conf00");
    let linked = root.mkdir("linked");
    for index in 0..4 {
        linked.write(format!("group{index}-a"), text(400 + index, 800));
        for other in ["b", "c"] {
            linked.link(format!("group{index}-{other}"), &linked, format!("group{index}-a"));
        }
    }
    linked.symlink("symlink-a", "nowhere/in/particular");
    linked.link("symlink-b", &linked, "symlink-a");
    for (name, kind) in
        [("device", FileType::CharacterDevice), ("fifo", FileType::Fifo), ("socket", FileType::Socket)]
    {
        let made = linked.try_mknod(&format!("{name}-a"), kind, 0o640, (1, 7));
        if made.is_ok() {
            linked.link(format!("{name}-b"), &linked, format!("{name}-a"));
        }
        refusals.note(if name == "device" { "device" } else { "fifo" }, made);
    }
}

/// Every kind becomes another one.
fn kinds(old: &At, refusals: &mut Refusals) {
    old.unlink("file00");
    old.mkdir("file00").write("inner", "was a file\n");
    old.unlink("file01");
    old.symlink("file01", "was-a-file");
    old.unlink("file02");
    refusals.note("fifo", old.try_mknod("file02", FileType::Fifo, 0o600, (0, 0)));
    old.unlink("file03");
    refusals.note("fifo", old.try_mknod("file03", FileType::Socket, 0o600, (0, 0)));
    old.remove("dir00");
    old.write("dir00", "was a directory\n");
    old.remove("dir01");
    old.symlink("dir01", ".");
    old.remove("dir02");
    old.symlink("dir02", "/var");
    old.remove("dir03");
    refusals.note("fifo", old.try_mknod("dir03", FileType::Fifo, 0o600, (0, 0)));
    old.unlink("link00");
    old.write("link00", "was a link\n");
    old.unlink("link01");
    old.mkdir("link01").mkdir("inner").write("file", "was a link\n");
    old.unlink("link02");
    old.symlink("link02", "elsewhere");
    old.remove("dir04");
    old.remove("file05");
    old.dir("dir05").remove("two");
    old.dir("dir05").write("two", "was a directory, too\n");
}

fn names(names: &At) {
    let list: [&[u8]; 16] = [
        b"caf\xe9-\xff\xfe.txt",
        b"new\nline\ttab",
        b" lead and trail ",
        b"-rf",
        b"--checkpoint=1",
        b"back\\slash*?[x]",
        b"a..b",
        b"..a",
        b"...",
        b"=equals=",
        b"percent%20",
        "\u{fc}n\u{ef}code-e\u{301}".as_bytes(),
        b"\x01\x7f",
        b"quote'\"`$(x)",
        b"#hash",
        b"~tilde",
    ];
    for name in list {
        names.write(name, name);
    }
    names.write([b'n'; 255], "255 bytes\n");
    let odd = names.mkdir(b"dir\xff\n");
    odd.write("inside", "below a name that is no text\n");
    odd.symlink(b"link\xfe", b"\xfd");
    odd.link(b"hard\xfe", &odd, "inside");
}

/// A path of about 9,000 bytes, with something of every kind at its end.
fn deep_path(odd: &At) {
    let mut here = odd.mkdir("deep");
    for level in 0..45 {
        here = here.mkdir(format!("level-{level:02}-{}", "d".repeat(190)));
    }
    here.write("leaf", "deep down\n");
    here.link("leaf-link", &here, "leaf");
    here.symlink("leaf-symlink", "leaf");
    here.mkdir("leaf-directory");
    // Longer than the 100 and 255 bytes that old tar headers have room for.
    odd.mkdir("long").mkdir("m".repeat(120)).mkdir("n".repeat(150)).write("o".repeat(200), "long\n");
}

fn sparse_files(sparse: &At) {
    let data = noise(500, 8192);
    sparse.write_sparse("all", 6 << 20, &[]);
    sparse.write_sparse("start", 3 << 20, &[((3 << 20) - 8192, &data)]);
    sparse.write_sparse("middle", 4 << 20, &[(0, &data), ((4 << 20) - 8192, &data)]);
    sparse.write_sparse("end", 5 << 20, &[(0, &data)]);
    sparse.write_sparse("odd", (2 << 20) + 1, &[(700_001, &data[..77]), (1_400_003, &data[..1])]);
    let parts: Vec<(u64, &[u8])> = (0..200).map(|index| (index * 131_072, &data[..4096])).collect();
    sparse.write_sparse("many", 200 * 131_072, &parts);
    sparse.write("zeros", vec![0; 300_000]);
}

fn symlinks(links: &At, refusals: &mut Refusals) {
    let long = b"x/".repeat(500);
    let list: [(&str, &[u8]); 11] = [
        ("absolute", b"/etc/passwd"),
        ("up-and-in", b"../../etc/conf00"),
        ("out", b"../../../../../../etc/shadow"),
        ("dangling", b"nowhere"),
        ("self", b"self"),
        ("newline", b"a\nb"),
        ("not-utf-8", b"\xff\xfe"),
        ("long", &long),
        ("dot", b"."),
        ("slashes", b"//etc///passwd/"),
        ("parent", b".."),
    ];
    for (name, target) in list {
        links.symlink(name, target);
    }
    refusals.note("long symlink", links.try_symlink("longer", b"y/".repeat(1500)));
    links.symlink("owned", "whatever");
    refusals.note("owner", links.try_chown("owned", 1000, 1000));
}

fn nodes(nodes: &At, refusals: &mut Refusals) {
    refusals.note("fifo", nodes.try_mknod("fifo", FileType::Fifo, 0o622, (0, 0)));
    refusals.note("fifo", nodes.try_mknod("socket", FileType::Socket, 0o755, (0, 0)));
    for (name, kind, device) in [
        ("null", FileType::CharacterDevice, (1, 3)),
        ("loop", FileType::BlockDevice, (7, 200)),
        ("minor-18-bit", FileType::CharacterDevice, (510, 200_000)),
        ("minor-19-bit", FileType::CharacterDevice, (510, 300_000)),
        ("minor-20-bit", FileType::BlockDevice, (4000, 1_048_575)),
    ] {
        let what = if device.1 < 1 << 18 { "device" } else { "large device" };
        refusals.note(what, nodes.try_mknod(name, kind, 0o640, device));
    }
}

fn attributes(here: &At, refusals: &mut Refusals) {
    for name in ["xattrs", "acl", "capability", "append", "immutable", "nodump", "everything"] {
        here.write(name, name);
    }
    let mut binary = b"\0\xff\n=".to_vec();
    binary.extend(noise(600, 60));
    for (name, value) in
        [("user.binary", &binary[..]), ("user.empty", b""), ("user.with=sign", b"="), ("user.n\nl", b"\n")]
    {
        refusals.note("user xattr", here.try_set_xattr("xattrs", name, value));
    }
    refusals.note("big xattr", here.try_set_xattr("xattrs", "user.big", &noise(601, 2500)));
    refusals.note("trusted xattr", here.try_set_xattr("xattrs", "trusted.opaque", b"y"));
    let acl = posix_acl(&[(1000, 7), (3_000_000, 5)], &[(33, 4)]);
    refusals.note("acl", here.try_set_xattr("acl", "system.posix_acl_access", &acl));
    here.mkdir("directory");
    refusals.note("acl", here.try_set_xattr("directory", "system.posix_acl_access", &acl));
    refusals.note("default acl", here.try_set_xattr("directory", "system.posix_acl_default", &acl));
    refusals.note("user xattr", here.try_set_xattr("directory", "user.tag", b"on a directory"));
    if refusals.has("default acl") || refusals.has("acl") {
        here.dir("directory").write("inherits", "what the directory has not\n");
    } else {
        // Inherits from the directory's default ACL, and must not do so twice.
        here.dir("directory").write("inherits", "an ACL\n");
        here.dir("directory").mkdir("inherits-too");
    }
    here.symlink("symlink", "nowhere");
    refusals.note("trusted xattr", here.try_set_xattr("symlink", "trusted.tag", b"on a symbolic link"));
    here.chmod("capability", 0o755);
    // After the owner: a change of owner clears it.
    refusals.note("owner", here.try_chown("capability", 33, 33));
    refusals.note("capability", here.try_set_xattr("capability", "security.capability", &capability(0x2400)));
    refusals.note("user xattr", here.try_set_xattr("everything", "user.tag", b"and an ACL"));
    refusals.note("acl", here.try_set_xattr("everything", "system.posix_acl_access", &acl));
    for name in ["protected", "append-directory"] {
        here.mkdir(name).write("inside", "a directory that nobody may change\n");
    }
}

fn owners_and_modes(modes: &At, refusals: &mut Refusals) {
    let readable = |mode: &u32| crate::support::is_root() || mode & 0o400 != 0;
    for (index, mode) in
        [0o4755, 0o2755, 0o6711, 0o1644, 0o0000, 0o0777, 0o7777].into_iter().filter(readable).enumerate()
    {
        let name = format!("file{index}");
        modes.write(&name, "mode\n");
        refusals.note("owner", modes.try_chown(&name, 33, 33));
        modes.chmod(&name, mode);
    }
    for (index, mode) in [0o2770, 0o1777, 0o0700, 0o0000, 0o0500].into_iter().filter(readable).enumerate() {
        let name = format!("directory{index}");
        modes.mkdir(&name).write("inside", "mode\n");
        modes.chmod(&name, mode);
    }
    for (name, uid, gid) in
        [("ids-24-bit", 3_000_000, 2_500_000), ("ids-31-bit", 2_147_483_647, 2_147_483_646)]
    {
        modes.write(name, "owner\n");
        refusals.note("owner", modes.try_chown(name, uid, gid));
    }
    for (name, uid, gid) in
        [("ids-32-bit", 3_000_000_000, 4_000_000_000), ("ids-largest", u32::MAX - 1, u32::MAX - 1)]
    {
        modes.write(name, "owner\n");
        refusals.note("large owner", modes.try_chown(name, uid, gid));
    }
}

fn times(times: &At, refusals: &mut Refusals) {
    for (name, time) in [
        ("before-1970", (-86_400 * 365, 500_000_001)),
        ("just-before-1970", (-1, 999_999_999)),
        ("epoch", (0, 0)),
        ("nanosecond", (1_600_000_000, 1)),
        ("before-2038", (2_147_483_647, 999_999_999)),
    ] {
        times.write(name, name);
        times.set_mtime(name, time);
    }
    for (name, seconds) in [("after-2038", 2_147_483_648), ("after-2106", 4_400_000_000)] {
        times.write(name, name);
        times.symlink(format!("{name}-link"), name);
        for path in [name.to_owned(), format!("{name}-link")] {
            times.set_mtime(&path, JAIL_TIME);
            refusals.note("far time", times.try_set_mtime(&path, (seconds, 7)));
        }
    }
    times.set_mtime(".", (1_500_000_000, 3));
}

/// Flags come last: nothing can be done to these entries any more.
fn protect(here: &At, refusals: &mut Refusals) {
    for (name, value) in [
        ("append", flags::APPEND),
        ("immutable", flags::IMMUTABLE),
        ("nodump", flags::NODUMP),
        ("everything", flags::ALL),
        ("protected", flags::IMMUTABLE),
        ("append-directory", flags::APPEND),
    ] {
        refusals.note("flags", here.try_set_flags(name, value));
    }
}

/// Fixes every time that is not the release's, the deepest first.
fn settle(directory: &At) {
    for name in directory.names() {
        if directory.kind(&name) == FileType::Directory {
            settle(&directory.dir(&name));
        }
        // Whole seconds: some file systems keep no more.
        if ![RELEASE_TIME.0, JAIL_TIME.0].contains(&directory.stat(&name).st_mtime) {
            directory.set_mtime(&name, JAIL_TIME);
        }
    }
}
