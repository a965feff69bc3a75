//! What a file system has no room for, or knows nothing of.

use super::*;
use crate::tree::platform::{self, Place as Entity};
use crate::tree::testing::Namespace;

/// A file system that a test alone sees, in the directory `mounted`.
struct Mounted {
    inside: std::path::PathBuf,
    _namespace: Namespace,
    at: Place,
}

impl Mounted {
    /// `mount` gets these arguments, and the file `image` and the directory `mounted` are in its working directory.
    fn new(at: Place, arguments: &str) -> Self {
        fs::create_dir(at.at("mounted")).unwrap();
        let namespace = Namespace::new(at.path(), &format!("mount {arguments}"));
        Self { inside: namespace.inside.clone(), _namespace: namespace, at }
    }

    fn writer(&self) -> TreeWriter {
        TreeWriter::new(fs::File::open(self.inside.join("mounted")).unwrap().into()).unwrap()
    }
}

#[test]
fn a_file_that_has_all_the_names_it_can_have_gets_no_more() {
    const MOST: u32 = 65_000;
    if !std::path::Path::new("/dev/loop-control").exists() {
        return eprintln!("SKIPPED more names than a file can have: there are no loop devices");
    }
    let place = Place::in_memory();
    fs::File::create(place.at("image")).unwrap().set_len(16 << 20).unwrap();
    run("mkfs.ext4", &["-q", "-O", "^has_journal"], &place.at("image"));
    let mounted = Mounted::new(place, "-o loop image mounted");
    let mut writer = mounted.writer();
    put_file(&mut writer, "file", b"x");
    let root = mounted.inside.join("mounted");
    for number in 1..MOST {
        fs::hard_link(root.join("file"), root.join(number.to_string())).unwrap();
    }
    writer.link(&path("one-more"), &path("file")).unwrap();
    let tree = Tree::open(&root).unwrap();
    assert!(!writer.link_from(&path("another"), &tree.root(), b"file", Flags::empty()).unwrap());
    assert_eq!(losses(writer), [("one-more".to_owned(), "hard link".to_owned())]);
    assert!(!root.join("one-more").exists() && !root.join("another").exists());
}

#[test]
fn a_name_that_there_is_no_room_for_is_a_failure() {
    let mounted = Mounted::new(Place::new(), "-t tmpfs -o nr_inodes=8 tmpfs mounted");
    let root = mounted.inside.join("mounted");
    let mut writer = mounted.writer();
    put_file(&mut writer, "file", b"x");
    while fs::write(root.join(fs::read_dir(&root).unwrap().count().to_string()), b"").is_ok() {}
    let tree = Tree::open(&root).unwrap();
    assert!(writer.link_from(&path("another"), &tree.root(), b"file", Flags::empty()).is_err());
    assert!(writer.link(&path("another"), &path("file")).is_err());
}

#[test]
fn what_is_reached_by_another_mount_cannot_have_another_name() {
    let mounted = Mounted::new(Place::new(), "-t tmpfs tmpfs mounted");
    fs::write(mounted.at.at("file"), b"x").unwrap();
    // The same directory, seen from another mount namespace: the same device.
    let tree = Tree::open(&mounted.inside).unwrap();
    let mut writer = mounted.at.writer();
    assert!(!writer.link_from(&path("another"), &tree.root(), b"file", Flags::empty()).unwrap());
    finish(writer);
    assert!(!mounted.at.at("another").exists());
}

#[test]
fn a_flag_that_is_not_known_costs_no_other() {
    let place = Place::new();
    let both = Flags::NOCOW.union(Flags::NODUMP);
    let mut writer = place.writer();
    writer.put(&path("file"), &Entry { flags: both, ..plain(Kind::File) }, None).unwrap();
    let lost = losses(writer);
    if place.entry("file").flags == both {
        return eprintln!("SKIPPED flags that are not known: all are known here");
    }
    assert_eq!(lost, [("file".to_owned(), "flags nocow".to_owned())]);
    assert_eq!(place.entry("file").flags, Flags::NODUMP);
}

#[test]
fn what_is_not_copied_on_write_is_so_from_its_first_byte_on() {
    let Some(btrfs) = std::env::var_os("REMAND_TEST_BTRFS").filter(|value| !value.is_empty()) else {
        return eprintln!("SKIPPED files without copies on write: REMAND_TEST_BTRFS names no directory");
    };
    let place = Place(tempfile::tempdir_in(btrfs).unwrap());
    let (mut entry, mut content) = file_of(&[7; 10_000]);
    entry.flags = Flags::NOCOW;
    let mut writer = place.writer();
    writer.put(&path("file"), &entry, Some(&mut content)).unwrap();
    finish(writer);
    assert_eq!(place.entry("file"), entry);
    let mut writer = TreeWriter::lenient(fs::File::open(place.path()).unwrap().into()).unwrap();
    let (_, mut content) = file_of(&[7; 10_000]);
    writer.put(&path("lenient"), &entry, Some(&mut content)).unwrap();
    finish(writer);
    assert_eq!(place.entry("lenient"), Entry { flags: Flags::empty(), ..entry });
}

#[test]
fn where_there_are_no_acls_there_is_none_to_remove() {
    let own = fs::File::options().write(true).open("/proc/self/comm").unwrap();
    let dir = fs::File::open("/proc/self").unwrap();
    let without = Entity { dir: dir.as_fd(), name: b"comm", own: Some(own.as_fd()) };
    platform::set_acl(&without, Kind::File, &Acl::default()).unwrap();
    let some = Acl { access: Some("user::rw-,group::r--,other::r--".to_owned()), ..Acl::default() };
    assert!(platform::set_acl(&without, Kind::File, &some).is_err());
    // Of what is not there nothing is known.
    let absent = Entity { dir: dir.as_fd(), name: b"absent", own: None };
    assert!(platform::set_acl(&absent, Kind::Fifo, &Acl::default()).is_err());
    assert_eq!(platform::set_xattrs(&absent, &BTreeMap::new()).len(), 1);
    assert!(platform::attributes(&absent).is_err());
}

#[test]
fn attributes_that_the_kernel_keeps_are_noticed_and_read() {
    let place = Place::new();
    let tree = Tree::open(place.path()).unwrap();
    assert!(tree.ctime_tells_of_xattrs());
    tree.root_node().unwrap();
    assert_eq!(tree.unread(), None);
}

#[test]
fn what_could_not_be_made_and_then_was_is_missing_no_more() {
    let place = Place::new();
    // No kernel has such a device.
    let none = Entry { device: Some(Device { major: u32::MAX, minor: 0 }), ..plain(Kind::CharDevice) };
    let mut writer = place.writer();
    for at in ["missing", "made"] {
        writer.put(&path(at), &none, None).unwrap();
    }
    put_file(&mut writer, "made", b"x");
    fs::remove_file(place.at("made")).unwrap();
    writer.set_metadata(&path("missing"), &none).unwrap();
    writer.link(&path("another"), &path("missing")).unwrap();
    assert!(writer.set_metadata(&path("made"), &plain(Kind::File)).is_err());
    assert!(writer.link(&path("another"), &path("made")).is_err());
    let names = ["missing", "made", "another"];
    let what = ["device node", "device node", "hard link"];
    let expected: Vec<_> = names.iter().zip(what).map(|(name, what)| ((*name).into(), what.into())).collect();
    assert_eq!(losses(writer), expected);
}

#[test]
fn a_kind_that_the_system_will_not_have_is_told_from_a_failure() {
    let place = Place::new();
    fs::create_dir(place.at("d")).unwrap();
    let mut writer = TreeWriter::new(fs::File::open(place.at("d")).unwrap().into()).unwrap();
    fs::remove_dir(place.at("d")).unwrap();
    for kind in [Kind::Fifo, Kind::Socket, Kind::Symlink, Kind::CharDevice] {
        let error = writer.put(&path("entry"), &plain(kind), None).unwrap_err();
        assert!(matches!(error, Error::Io { action: "make", .. }), "{kind:?}: {error}");
    }
}

#[test]
fn what_cannot_be_removed_is_no_directory_for_that() {
    let place = Place::new();
    fs::create_dir(place.at("mounted")).unwrap();
    let mounts = "mount -t tmpfs t mounted && touch mounted/file && mount -o remount,ro mounted";
    let namespace = Namespace::new(place.path(), mounts);
    let mounted = fs::File::open(namespace.inside.join("mounted")).unwrap();
    let mut writer = TreeWriter::new(mounted.into()).unwrap();
    match writer.remove(&path("file")) {
        Err(Error::Io { source, .. }) => assert_eq!(Errno::from_io_error(&source), Some(Errno::ROFS)),
        other => panic!("{other:?}"),
    }
}
