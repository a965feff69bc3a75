//! Attributes that are written are there.

use super::*;
use crate::tree::testing::Namespace;

fn rich(kind: Kind) -> Entry {
    let mut entry = plain(kind);
    entry.uid = 4_294_967_294;
    entry.gid = 3_000_000_000;
    entry.mtime = Timestamp { seconds: -3, nanoseconds: 1 };
    entry.xattrs.insert(b"trusted.some".to_vec(), vec![0, 1, 255]);
    entry.xattrs.insert(b"security.other".to_vec(), b"x".to_vec());
    if kind != Kind::Symlink {
        entry.mode = 0o7751;
        entry.acl.access = Some("user::rwx,user:1000:rwx,group::r--,mask::r-x,other::--x".to_owned());
    }
    if matches!(kind, Kind::File | Kind::Directory) {
        entry.xattrs.insert(b"user.empty".to_vec(), Vec::new());
        entry.flags = "schg,nodump,noatime,sync,secdel,undel".parse().unwrap();
    }
    if kind == Kind::Directory {
        entry.acl.default = Some("user::rwx,group::---,group:77:rwx,mask::rwx,other::---".to_owned());
        entry.flags = entry.flags.union("topdir,dirsync".parse().unwrap());
    }
    if kind == Kind::File {
        // cap_net_raw+ep, revision 2. The kernel checks its form.
        let capability = data_encoding::HEXLOWER.decode(b"0100000200200000000000000000000000000000");
        entry.xattrs.insert(b"security.capability".to_vec(), capability.unwrap());
    }
    entry
}

#[test]
fn every_attribute_of_every_kind_is_kept() {
    let place = Place::new();
    let mut writer = place.writer();
    for kind in Kind::ALL {
        writer.put(&path(kind.name()), &rich(kind), None).unwrap();
    }
    let root = Entry { mode: 0o1751, flags: Flags::NODUMP, ..rich(Kind::Directory) };
    writer.put(&TreePath::root(), &root, None).unwrap();
    finish(writer);
    let found = place.read();
    for kind in Kind::ALL {
        assert_eq!(found[kind.name()], rich(kind));
    }
    assert_eq!(found[""], root);
    assert_eq!(found.len(), 8);
}

#[test]
fn attributes_that_an_entry_does_not_have_are_removed() {
    let place = Place::new();
    let mut writer = place.writer();
    for kind in Kind::ALL {
        writer.put(&path(kind.name()), &rich(kind), None).unwrap();
    }
    finish(writer);
    let mut writer = place.writer();
    for kind in Kind::ALL {
        writer.set_metadata(&path(kind.name()), &plain(kind)).unwrap();
    }
    writer.put(&path("directory"), &plain(Kind::Directory), None).unwrap();
    finish(writer);
    let found = place.read();
    for kind in Kind::ALL {
        assert_eq!(found[kind.name()], plain(kind));
    }
}

#[test]
fn attributes_are_set_on_entries_that_exist() {
    let place = Place::new();
    let mut writer = place.writer();
    for kind in Kind::ALL {
        writer.put(&path(kind.name()), &plain(kind), None).unwrap();
    }
    for kind in Kind::ALL {
        writer.set_metadata(&path(kind.name()), &rich(kind)).unwrap();
    }
    finish(writer);
    let found = place.read();
    for kind in Kind::ALL {
        assert_eq!(found[kind.name()], rich(kind));
    }
}

#[test]
fn nothing_is_inherited_from_the_directory() {
    let place = Place::new();
    run("setfacl", &["-d", "-m", "u:1000:rwx"], place.path());
    run("chattr", &["+dAS"], place.path());
    run("chmod", &["2777"], place.path());
    run("chgrp", &["55"], place.path());
    let mut writer = place.writer();
    for kind in Kind::ALL {
        writer.put(&path(kind.name()), &plain(kind), None).unwrap();
    }
    finish(writer);
    let found = place.read();
    for kind in Kind::ALL {
        assert_eq!(found[kind.name()], plain(kind));
    }
    assert!(found[""].acl.default.is_some());
}

#[test]
fn content_and_holes_are_kept() {
    use std::os::unix::fs::{FileExt, MetadataExt};
    let from = Place::new();
    let sparse = fs::File::create(from.at("sparse")).unwrap();
    sparse.set_len(50 << 20).unwrap();
    sparse.write_all_at(&vec![1; 700_000], 1 << 20).unwrap();
    sparse.write_all_at(b"x", 30 << 20).unwrap();
    fs::File::create(from.at("hole")).unwrap().set_len(1 << 40).unwrap();
    fs::write(from.at("dense"), vec![5; 1_000_001]).unwrap();
    fs::write(from.at("empty"), b"").unwrap();
    let (to, dir) = (Place::new(), Tree::open(from.path()).unwrap().root());
    let mut writer = to.writer();
    for name in ["sparse", "hole", "dense", "empty"] {
        let stat = dir.stat(name.as_bytes()).unwrap().unwrap();
        let entry = dir.node(name.as_bytes(), &stat).unwrap().unwrap().entry;
        let mut content = dir.open_file(name.as_bytes()).unwrap().unwrap();
        writer.put(&path(name), &entry, Some(&mut content)).unwrap();
    }
    finish(writer);
    for name in ["sparse", "dense", "empty"] {
        assert!(fs::read(from.at(name)).unwrap() == fs::read(to.at(name)).unwrap(), "{name}");
    }
    let blocks = |place: &Place, name| fs::metadata(place.at(name)).unwrap().blocks();
    assert!(blocks(&to, "sparse") <= blocks(&from, "sparse") + 16);
    assert_eq!((fs::metadata(to.at("hole")).unwrap().len(), blocks(&to, "hole")), (1 << 40, 0));
}

#[test]
fn a_size_that_does_not_agree_is_told() {
    let place = Place::new();
    let mut writer = place.writer();
    let (mut entry, mut content) = file_of(b"four");
    entry.size = 5;
    writer.put(&path("file"), &entry, Some(&mut content)).unwrap();
    assert!(writer.put(&path("nothing"), &entry, None).is_err());
    assert_eq!(losses(writer), [("file".to_owned(), "size".to_owned())]);
}

#[test]
fn what_cannot_be_kept_is_told() {
    let place = Place::new();
    let mut writer = place.writer();
    let lost = |change: &dyn Fn(&mut Entry)| {
        let mut entry = plain(Kind::File);
        change(&mut entry);
        entry
    };
    let attribute = |name: &[u8]| {
        let name = name.to_vec();
        move |entry: &mut Entry| drop(entry.xattrs.insert(name.clone(), b"v".to_vec()))
    };
    let contradiction = |entry: &mut Entry| {
        entry.acl.access = Some("user::rwx,user:5:rwx,group::---,mask::rwx,other::---".to_owned());
    };
    let cases: [(&str, Entry); 10] = [
        ("owner", lost(&|entry| entry.uid = u32::MAX)),
        ("mtime", lost(&|entry| entry.mtime.seconds = i64::MAX)),
        ("xattr strange.name", lost(&attribute(b"strange.name"))),
        ("xattr system.posix_acl_access", lost(&attribute(b"system.posix_acl_access"))),
        ("xattr security.capability", lost(&attribute(b"security.capability"))),
        ("acl", lost(&|entry| entry.acl.access = Some("user::rwx".to_owned()))),
        ("acl", lost(&|entry| entry.acl.nfs4 = Some("owner@:r::allow".to_owned()))),
        ("flags uchg", lost(&|entry| entry.flags = Flags::UCHG.union(Flags::NODUMP))),
        ("mode", lost(&contradiction)),
        (
            "device node",
            Entry { device: Some(Device { major: 1 << 12, minor: 0 }), ..plain(Kind::CharDevice) },
        ),
    ];
    for (nth, (_, entry)) in cases.iter().enumerate() {
        writer.put(&path(&nth.to_string()), entry, None).unwrap();
    }
    let long = Entry { target: Some(vec![b'x'; 5000]), ..plain(Kind::Symlink) };
    writer.put(&path("long"), &long, None).unwrap();
    // What was lost can be lost again, and what hangs on it is lost too.
    writer.link(&path("another"), &path("long")).unwrap();
    writer.set_metadata(&path("long"), &long).unwrap();
    let mut wanted: Vec<_> =
        cases.iter().enumerate().map(|(nth, (what, _))| (nth.to_string(), (*what).to_owned())).collect();
    wanted.push(("long".to_owned(), "symlink".to_owned()));
    wanted.push(("another".to_owned(), "hard link".to_owned()));
    let mut found = losses(writer);
    found.sort();
    wanted.sort();
    assert_eq!(found, wanted);
    assert_eq!(place.entry("7").flags, Flags::NODUMP);
    assert_eq!(place.entry("0").mode, plain(Kind::File).mode);
}

#[test]
fn a_file_that_cannot_have_its_owner_is_not_setuid() {
    let place = Place::new();
    let mut writer = place.writer();
    let entry = Entry { uid: u32::MAX, mode: 0o6755, ..plain(Kind::File) };
    writer.put(&path("file"), &entry, None).unwrap();
    let lost = losses(writer);
    assert_eq!(lost.iter().map(|(_, what)| &what[..]).collect::<Vec<_>>(), ["owner", "mode"]);
    assert_eq!(place.entry("file").mode, 0o755);
}

#[test]
fn acls_do_not_come_as_extended_attributes() {
    let place = Place::new();
    let mut writer = place.writer();
    let names = [&b"system.posix_acl_access"[..], b"system.posix_acl_default"];
    let acl = crate::tree::Acl { access: Some("user::rwx,group::r-x,other::r-x".into()), ..Acl::default() };
    for (at, name) in ["access", "default"].into_iter().zip(names) {
        // Everybody may write: in the kernel's form, which nobody has looked at.
        let raw = [
            &[2, 0, 0, 0][..],
            &[1, 0, 7, 0],
            &[255; 4],
            &[4, 0, 7, 0],
            &[255; 4],
            &[32, 0, 7, 0],
            &[255; 4],
        ];
        let xattrs = BTreeMap::from([(name.to_vec(), raw.concat())]);
        let entry = Entry { mode: 0o755, xattrs, acl: acl.clone(), ..plain(Kind::Directory) };
        writer.put(&path(at), &entry, None).unwrap();
    }
    let lost: Vec<_> = losses(writer).into_iter().map(|(_, what)| what).collect();
    assert_eq!(lost, names.map(|name| format!("xattr {}", name.escape_ascii())));
    for at in ["access", "default"] {
        let entry = place.entry(at);
        assert_eq!((entry.mode, entry.acl.default), (0o755, None), "{at}");
    }
}

#[test]
fn labels_of_the_host_stay() {
    let place = Place::new();
    let file = place.at("file");
    fs::write(&file, "x").unwrap();
    let labels = [&b"security.selinux"[..], b"security.SMACK64", b"security.SMACK64EXEC"];
    for name in labels.into_iter().chain([&b"security.other"[..], b"user.x"]) {
        rustix::fs::setxattr(&file, name, b"label", rustix::fs::XattrFlags::empty()).unwrap();
    }
    let mut writer = place.writer();
    writer.set_metadata(&path("file"), &Entry { size: 1, ..plain(Kind::File) }).unwrap();
    assert_eq!(losses(writer), []);
    let mut left: Vec<_> = place.entry("file").xattrs.into_keys().collect();
    left.sort_unstable_by_key(|name| labels.iter().position(|label| label == name));
    assert_eq!(left, labels);
}

#[test]
fn nanoseconds_are_kept_or_told() {
    let place = Place::new();
    let mut writer = place.writer();
    let latest = Timestamp { seconds: 1, nanoseconds: 999_999_999 };
    writer.put(&path("last"), &Entry { mtime: latest, ..plain(Kind::Fifo) }, None).unwrap();
    // The system takes these two for "now" and "as it is".
    let special = [rustix::fs::UTIME_NOW, rustix::fs::UTIME_OMIT];
    for (name, nanoseconds) in ["now", "omit"].into_iter().zip(special) {
        let mtime = Timestamp { seconds: 1, nanoseconds: u32::try_from(nanoseconds).unwrap() };
        writer.put(&path(name), &Entry { mtime, ..plain(Kind::Fifo) }, None).unwrap();
    }
    let lost = ["now", "omit"].map(|name| (name.to_owned(), "mtime".to_owned()));
    assert_eq!(losses(writer), lost);
    assert_eq!(place.entry("last").mtime, latest);
}

#[test]
fn many_losses_do_not_wait_for_the_end() {
    let place = Place::new();
    let mut writer = place.writer();
    let lossy = Entry { uid: u32::MAX, ..plain(Kind::Fifo) };
    let mut told = 0;
    for number in 0..256 {
        assert_eq!(told, 0, "{number}");
        writer.put(&path(&format!("{number:03}")), &lossy, None).unwrap();
        told = writer.many_losses().len();
    }
    assert_eq!(told, 256);
    assert_eq!(losses(writer), []);
}

#[test]
fn times_that_the_file_system_cuts_off_are_told() {
    let place = Place::new();
    let image = place.at("image");
    fs::File::create(&image).unwrap().set_len(4 << 20).unwrap();
    // Inodes of 128 bytes have no room for nanoseconds, nor for times after 2038.
    run("mkfs.ext4", &["-q", "-I", "128", "-O", "^has_journal"], &image);
    fs::create_dir(place.at("mounted")).unwrap();
    let namespace = Namespace::new(place.path(), "mount -o loop image mounted");
    let mounted = fs::File::open(namespace.inside.join("mounted")).unwrap();
    let mut writer = TreeWriter::new(mounted.into()).unwrap();
    let with =
        |seconds, nanoseconds| Entry { mtime: Timestamp { seconds, nanoseconds }, ..plain(Kind::Directory) };
    writer.put(&path("fits"), &with(1_000_000_000, 0), None).unwrap();
    writer.put(&path("fine"), &with(1_000_000_000, 5), None).unwrap();
    writer.put(&path("late"), &with(1 << 32, 0), None).unwrap();
    let lost = losses(writer);
    assert_eq!(lost, [("fine".to_owned(), "mtime".to_owned()), ("late".to_owned(), "mtime".to_owned())]);
}

#[test]
fn what_had_to_wait_is_set_before_all_is_on_stable_storage() {
    let place = Place::new();
    let mut writer = place.writer();
    let directory = plain(Kind::Directory);
    writer.put(&path("d"), &directory, None).unwrap();
    put_file(&mut writer, "d/file", b"x");
    assert_eq!(writer.finish_durably().unwrap().len(), 0);
    assert_eq!(place.entry("d"), directory);
}

#[test]
fn a_lenient_writer_leaves_flags_alone() {
    let place = Place::new();
    let mut writer = TreeWriter::lenient(fs::File::open(place.path()).unwrap().into()).unwrap();
    writer.put(&path("directory"), &rich(Kind::Directory), None).unwrap();
    writer.put(&path("directory/file"), &rich(Kind::File), None).unwrap();
    finish(writer);
    let found = place.read();
    assert_eq!(found["directory"], Entry { flags: Flags::empty(), ..rich(Kind::Directory) });
    assert_eq!(found["directory/file"], Entry { flags: Flags::empty(), ..rich(Kind::File) });
}

#[test]
fn acls_that_xfs_shows_twice_are_read_once_and_stay() {
    let Some(xfs) = std::env::var_os("REMAND_TEST_XFS").filter(|value| !value.is_empty()) else {
        return eprintln!("SKIPPED ACLs of XFS: REMAND_TEST_XFS names no directory");
    };
    let place = Place(tempfile::tempdir_in(xfs).unwrap());
    let mut wanted = rich(Kind::Directory);
    // Flags that XFS does not have.
    wanted.flags = Flags::NODUMP;
    let mut writer = place.writer();
    writer.put(&path("directory"), &wanted, None).unwrap();
    finish(writer);
    let twice = |name: &str| rustix::fs::getxattr(place.at("directory"), name, &mut [0; 1000]);
    assert!(twice("trusted.SGI_ACL_FILE").is_ok() && twice("trusted.SGI_ACL_DEFAULT").is_ok());
    assert_eq!(place.entry("directory"), wanted);
    // Written again, what is not among the attributes is not removed.
    let mut writer = place.writer();
    writer.set_metadata(&path("directory"), &wanted).unwrap();
    finish(writer);
    assert_eq!(place.entry("directory"), wanted);
    // It would set an ACL that nobody has checked.
    let mut forged = wanted.clone();
    forged.xattrs.insert(b"trusted.SGI_ACL_FILE".to_vec(), b"x".to_vec());
    let mut writer = place.writer();
    writer.set_metadata(&path("directory"), &forged).unwrap();
    let losses = writer.finish().unwrap();
    assert_eq!(losses.len(), 1);
    assert_eq!(losses[0].what, "xattr trusted.SGI_ACL_FILE");
    assert_eq!(place.entry("directory"), wanted);
}

#[test]
fn names_of_acls_of_xfs_are_names_elsewhere() {
    let place = Place::in_memory();
    let mut wanted = plain(Kind::File);
    wanted.xattrs.insert(b"trusted.SGI_ACL_FILE".to_vec(), b"x".to_vec());
    let mut writer = place.writer();
    writer.put(&path("file"), &wanted, None).unwrap();
    finish(writer);
    assert_eq!(place.entry("file"), wanted);
}

#[test]
fn what_fails_is_no_loss() {
    let add = |what: &str, error: Errno| {
        let mut losses = Losses { list: Vec::new(), without_flags: false };
        let added = losses.add(path("a"), what.to_owned(), error.into());
        assert_eq!(added.is_ok(), losses.list.len() == 1);
        added.is_ok()
    };
    for what in ["owner", "acl", "xattr user.a"] {
        for error in [Errno::IO, Errno::ROFS, Errno::NODEV, Errno::NOMEM, Errno::INTR] {
            assert!(!add(what, error), "{what}: {error}");
        }
        for error in [Errno::PERM, Errno::OPNOTSUPP, Errno::INVAL, Errno::TOOBIG] {
            assert!(add(what, error), "{what}: {error}");
        }
    }
    // No room for attributes is none on the device, or only in the place that a file system has for them.
    for error in [Errno::NOSPC, Errno::DQUOT] {
        assert!(add("acl", error) && add("xattr user.a", error));
        assert!(!add("owner", error) && !add("hard link", error) && !add("flags uchg", error));
    }
}
