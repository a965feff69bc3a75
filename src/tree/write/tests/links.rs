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
