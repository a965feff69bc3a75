//! Several names of one entry.

use std::os::unix::fs::MetadataExt;

use super::*;

fn inode(place: &Place, name: &str) -> (u64, u64) {
    let found = fs::symlink_metadata(place.at(name)).unwrap();
    (found.ino(), found.nlink())
}

#[test]
fn every_kind_but_directories_is_linked() {
    let place = Place::new();
    let mut writer = place.writer();
    writer.put(&path("d"), &plain(Kind::Directory), None).unwrap();
    for kind in Kind::ALL {
        writer.put(&path(kind.name()), &plain(kind), None).unwrap();
        let linked = writer.link(&path("d").join(kind.name().as_bytes()), &path(kind.name()));
        if kind == Kind::Directory {
            assert!(matches!(linked, Err(Error::WrongKind { .. })));
            continue;
        }
        linked.unwrap();
    }
    finish(writer);
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Directory) {
        assert_eq!(inode(&place, kind.name()), inode(&place, &format!("d/{kind}")));
        assert_eq!(inode(&place, kind.name()).1, 2);
        assert_eq!(place.entry(&format!("d/{kind}")), plain(kind));
    }
}

#[test]
fn a_linked_inode_is_never_written_through() {
    let place = Place::new();
    fs::write(place.at("a"), b"old").unwrap();
    fs::hard_link(place.at("a"), place.at("b")).unwrap();
    let before = inode(&place, "b").0;
    let mut writer = place.writer();
    put_file(&mut writer, "a", b"new");
    finish(writer);
    assert_eq!(fs::read(place.at("a")).unwrap(), b"new");
    assert_eq!((fs::read(place.at("b")).unwrap(), inode(&place, "b")), (b"old".to_vec(), (before, 1)));
}

#[test]
fn flags_stay_on_an_inode_that_keeps_another_name() {
    let place = Place::new();
    for name in ["a", "c"] {
        fs::write(place.at(name), b"old").unwrap();
    }
    for name in ["b", "in", "removed"] {
        fs::hard_link(place.at("a"), place.at(name)).unwrap();
    }
    run("chattr", &["+id"], &place.at("a"));
    let mut writer = place.writer();
    put_file(&mut writer, "a", b"new");
    assert!(writer.remove(&path("removed")).unwrap());
    writer.link(&path("c"), &path("in")).unwrap();
    finish(writer);
    let found = place.read();
    assert_eq!(found["a"].flags, Flags::empty());
    for name in ["b", "c", "in"] {
        assert_eq!(found[name].flags, Flags::SCHG.union(Flags::NODUMP), "{name}");
        assert_eq!(inode(&place, name), (inode(&place, "b").0, 3));
    }
}

#[test]
fn an_immutable_file_is_linked_before_it_is_fixed() {
    let place = Place::new();
    let mut writer = place.writer();
    let entry = Entry { flags: Flags::SCHG, ..plain(Kind::File) };
    writer.put(&path("a"), &entry, None).unwrap();
    writer.link(&path("b"), &path("a")).unwrap();
    writer.link(&path("c"), &path("b")).unwrap();
    // Whatever name goes, the flags are set.
    writer.remove(&path("a")).unwrap();
    finish(writer);
    assert_eq!(place.entry("b"), entry);
    assert_eq!(inode(&place, "b"), inode(&place, "c"));
}

#[test]
fn a_link_replaces_what_is_there() {
    let place = Place::new();
    let mut writer = place.writer();
    put_file(&mut writer, "file", b"x");
    for kind in Kind::ALL {
        writer.put(&path(kind.name()).join(b"x").split().unwrap().0, &plain(kind), None).unwrap();
    }
    put_file(&mut writer, "directory/inside", b"x");
    put_file(&mut writer, "source", b"source");
    for kind in Kind::ALL {
        writer.link(&path(kind.name()), &path("source")).unwrap();
    }
    // Once more changes nothing.
    writer.link(&path("fifo"), &path("source")).unwrap();
    writer.link(&path("source"), &path("source")).unwrap();
    finish(writer);
    for kind in Kind::ALL {
        assert_eq!(inode(&place, kind.name()), (inode(&place, "source").0, 8));
    }
}

#[test]
fn links_that_cannot_be_are_refused_and_change_nothing() {
    let place = Place::new();
    let mut writer = place.writer();
    writer.put(&path("d"), &plain(Kind::Directory), None).unwrap();
    put_file(&mut writer, "d/file", b"x");
    for (name, to) in [("d", "d/file"), ("new", "missing"), ("new", "d"), ("", "d/file"), ("new", "")] {
        assert!(writer.link(&path(name), &path(to)).is_err(), "{name} -> {to}");
    }
    finish(writer);
    assert_eq!(place.read().into_keys().collect::<Vec<_>>(), ["", "d", "d/file"]);
}

/// The directory of another tree.
fn root(place: &Place) -> Dir {
    Tree::open(place.path()).unwrap().root()
}

#[test]
fn an_entry_of_another_tree_is_linked_whatever_is_there() {
    let (place, shelf) = (Place::new(), Place::new());
    let kinds = || Kind::ALL.into_iter().filter(|kind| *kind != Kind::Directory);
    let mut writer = shelf.writer();
    for kind in kinds() {
        writer.put(&path(kind.name()), &plain(kind), None).unwrap();
    }
    finish(writer);
    run("chattr", &["+i"], &shelf.at("file"));
    let mut writer = place.writer();
    writer.put(&path("d"), &plain(Kind::Directory), None).unwrap();
    put_file(&mut writer, "d/file", b"gives way");
    writer.put(&path("d/fifo"), &plain(Kind::Directory), None).unwrap();
    put_file(&mut writer, "d/fifo/inside", b"gives way");
    for kind in kinds() {
        let name = kind.name().as_bytes();
        // Once more changes nothing.
        for _ in 0..2 {
            assert!(writer.link_from(&path("d").join(name), &root(&shelf), name, Flags::empty()).unwrap());
        }
    }
    assert!(writer.link_from(&path("fixed"), &root(&shelf), b"socket", Flags::NODUMP).unwrap());
    finish(writer);
    for kind in kinds() {
        assert_eq!(inode(&place, &format!("d/{kind}")).0, inode(&shelf, kind.name()).0);
    }
    assert_eq!(fs::read_dir(place.at("d")).unwrap().count(), kinds().count());
    // It was linked all the same.
    assert_eq!(place.entry("d/file").flags, Flags::SCHG);
}

#[test]
fn an_entry_of_another_tree_is_fixed_when_all_is_done() {
    let (place, shelf) = (Place::new(), Place::new());
    fs::write(shelf.at("file"), b"x").unwrap();
    let mut writer = place.writer();
    assert!(writer.link_from(&path("a"), &root(&shelf), b"file", Flags::SCHG.union(Flags::NODUMP)).unwrap());
    assert!(writer.link_from(&path("b"), &root(&shelf), b"file", Flags::empty()).unwrap());
    assert_eq!(place.entry("a").flags, Flags::empty());
    finish(writer);
    assert_eq!(place.entry("b").flags, Flags::SCHG);
}

#[test]
fn an_entry_of_another_tree_that_cannot_be_linked_changes_nothing() {
    let (place, shelf, memory) = (Place::new(), Place::new(), Place::in_memory());
    fs::create_dir(shelf.at("d")).unwrap();
    fs::write(memory.at("file"), b"x").unwrap();
    let mut writer = place.writer();
    put_file(&mut writer, "a", b"stays");
    let to_directory = writer.link_from(&path("a"), &root(&shelf), b"d", Flags::empty());
    assert!(matches!(to_directory, Err(Error::WrongKind { .. })), "{to_directory:?}");
    assert!(writer.link_from(&path("a"), &root(&shelf), b"missing", Flags::empty()).is_err());
    assert!(writer.link_from(&path(""), &root(&shelf), b"d", Flags::empty()).is_err());
    // On another file system.
    assert!(!writer.link_from(&path("a"), &root(&memory), b"file", Flags::empty()).unwrap());
    assert!(!writer.link_from(&path("b"), &root(&memory), b"file", Flags::empty()).unwrap());
    finish(writer);
    assert_eq!(place.read().into_keys().collect::<Vec<_>>(), ["", "a"]);
    assert_eq!(fs::read(place.at("a")).unwrap(), b"stays");
}

#[test]
fn what_cannot_have_another_name_is_told_from_what_fails() {
    for error in [Errno::PERM, Errno::OPNOTSUPP, Errno::MLINK, Errno::XDEV] {
        assert!(is_unlinkable(&error.into()));
    }
    for error in [Errno::IO, Errno::NOSPC, Errno::ROFS, Errno::ACCESS, Errno::DQUOT] {
        assert!(!is_unlinkable(&error.into()));
    }
    assert!(!is_unlinkable(&io::Error::other("something")));
}
