//! Trees and paths that mean harm, or are just very deep.

use std::os::unix::fs::symlink;

use super::*;
use crate::tree::testing::Namespace;

/// A place with something outside of the tree that a link points to.
fn trap() -> (Place, Place) {
    let (outside, place) = (Place::new(), Place::new());
    fs::write(outside.at("victim"), b"safe").unwrap();
    symlink(outside.path(), place.at("link")).unwrap();
    fs::write(place.at("file"), b"x").unwrap();
    (outside, place)
}

#[test]
fn nothing_is_done_through_a_link() {
    let (outside, place) = trap();
    let mut writer = place.writer();
    let file = plain(Kind::File);
    for (at, through) in [("link/victim", "link"), ("link/new", "link"), ("file/new", "file")] {
        let results = [
            writer.put(&path(at), &file, None),
            writer.put(&path(at), &plain(Kind::Directory), None),
            writer.link(&path(at), &path("file")),
            writer.link(&path("new"), &path(at)),
            writer.set_metadata(&path(at), &file),
            writer.remove(&path(at)).map(drop),
        ];
        for result in results {
            match result {
                Err(Error::Escapes { path, through: found }) => {
                    assert_eq!((&path[..], &found[..]), (at, through));
                }
                other => panic!("{at}: {other:?}"),
            }
        }
    }
    // A link that was written is no way either, at any depth.
    let link = Entry { target: Some(outside.path().to_str().unwrap().into()), ..plain(Kind::Symlink) };
    writer.put(&path("d"), &plain(Kind::Directory), None).unwrap();
    put_file(&mut writer, "d/first", b"x");
    writer.put(&path("d"), &link, None).unwrap();
    assert!(matches!(writer.put(&path("d/victim"), &file, None), Err(Error::Escapes { .. })));
    finish(writer);
    assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);
    assert_eq!(fs::read(outside.at("victim")).unwrap(), b"safe");
}

#[test]
fn a_link_itself_is_replaced_described_linked_and_removed() {
    let (outside, place) = trap();
    let before = outside.read();
    let mut writer = place.writer();
    writer.set_metadata(&path("link"), &Entry { uid: 5, ..plain(Kind::Symlink) }).unwrap();
    writer.link(&path("second"), &path("link")).unwrap();
    put_file(&mut writer, "link", b"mine");
    assert!(writer.remove(&path("second")).unwrap());
    finish(writer);
    assert_eq!(place.read().into_keys().collect::<Vec<_>>(), ["", "file", "link"]);
    assert_eq!(outside.read(), before);
}

#[test]
fn a_tree_with_links_is_removed_without_what_they_point_to() {
    let (outside, place) = trap();
    fs::create_dir_all(place.at("tree/sub")).unwrap();
    symlink(outside.path(), place.at("tree/sub/link")).unwrap();
    let mut writer = place.writer();
    assert!(writer.remove(&path("tree")).unwrap());
    finish(writer);
    assert!(outside.at("victim").exists());
}

#[test]
fn a_missing_directory_is_told() {
    let place = Place::new();
    let mut writer = place.writer();
    for at in ["none/file", "none/none/file"] {
        let result = writer.put(&path(at), &plain(Kind::File), None);
        assert!(matches!(result, Err(Error::NoParent { path }) if path == at));
    }
    assert!(writer.set_metadata(&path("none"), &plain(Kind::File)).is_err());
    assert!(matches!(writer.put(&TreePath::root(), &plain(Kind::File), None), Err(Error::WrongKind { .. })));
    assert!(writer.remove(&TreePath::root()).is_err());
    put_file(&mut writer, "file", b"x");
    let wrong = writer.set_metadata(&path("file"), &plain(Kind::Fifo));
    assert_eq!(wrong.unwrap_err().to_string(), "file is a regular file, not a FIFO");
    finish(writer);
}

/// That is neither a missing directory nor a way out of the tree.
#[test]
fn a_directory_that_cannot_be_opened_is_an_error_of_the_system() {
    let place = Place::new();
    let too_long = path(&format!("{}/file", "a".repeat(300)));
    let result = place.writer().put(&too_long, &plain(Kind::File), None);
    assert!(matches!(result, Err(Error::Io { .. })), "{result:?}");
}

#[test]
fn content_that_goes_on_is_refused() {
    struct Liar;
    impl Content for Liar {
        fn size(&self) -> u64 {
            3
        }
        fn extents(&self) -> &[crate::tree::Extent] {
            &[]
        }
        fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>> {
            Ok(Some((u64::MAX, b"more")))
        }
    }
    let place = Place::new();
    let entry = Entry { size: 3, ..plain(Kind::File) };
    assert!(place.writer().put(&path("file"), &entry, Some(&mut Liar)).is_err());
}

#[test]
fn mount_points_are_left_alone() {
    let place = Place::new();
    for name in ["tree/mounted", "mounted"] {
        fs::create_dir_all(place.at(name)).unwrap();
    }
    let mounts =
        "mount -t tmpfs t mounted && mount -t tmpfs t tree/mounted && touch mounted/file tree/mounted/file";
    let namespace = Namespace::new(place.path(), mounts);
    let mut writer = TreeWriter::new(fs::File::open(&namespace.inside).unwrap().into()).unwrap();
    let results = [
        writer.put(&path("mounted/new"), &plain(Kind::File), None),
        writer.put(&path("mounted"), &plain(Kind::Directory), None),
        writer.put(&path("mounted"), &plain(Kind::File), None),
        writer.set_metadata(&path("mounted"), &plain(Kind::Directory)),
        writer.remove(&path("mounted")).map(drop),
        writer.remove(&path("mounted/file")).map(drop),
        writer.remove(&path("tree")).map(drop),
    ];
    finish(writer);
    assert!(results.iter().all(Result::is_err), "{results:?}");
    for file in ["mounted/file", "tree/mounted/file"] {
        assert!(namespace.inside.join(file).exists(), "{file}");
    }
}

#[test]
fn depth_costs_neither_stack_nor_descriptors() {
    // More than the system's limit on paths, and than descriptors that a process may have.
    let levels = 2000;
    let place = Place::in_memory();
    let mut writer = place.writer();
    let entry = Entry { mode: 0o700, ..plain(Kind::Directory) };
    let mut at = TreePath::root();
    for _ in 0..levels {
        at = at.join(b"directory");
        writer.put(&at, &entry, None).unwrap();
    }
    assert!((1..100).contains(&writer.at.open_levels()));
    // From the bottom back to levels that were closed, near the bottom and near the root.
    let upper = |count: usize| TreePath::new(&at.as_bytes()[..count * 10 - 1]).unwrap();
    for count in [levels, levels - 1, levels - 200, 70, 1, levels] {
        let (entry, mut content) = file_of(b"x");
        writer.put(&upper(count).join(b"file"), &entry, Some(&mut content)).unwrap();
    }
    finish(writer);
    let tree = Tree::open(place.path()).unwrap();
    for count in [levels, levels - 1, levels - 200, 70, 1] {
        let dir = tree.open_dir(&upper(count)).unwrap().unwrap();
        assert!(dir.stat(b"file").unwrap().is_some());
        assert_eq!(dir.own_stat().unwrap().mtime, entry.mtime);
    }
    let copied = Place::in_memory();
    let mut last = crate::tree::Copied::default();
    let to = fs::File::open(copied.path()).unwrap().into();
    let none = crate::tree::copy(&tree, to, &|_| false, &mut |now| last = now).unwrap();
    assert!(none.is_empty());
    assert_eq!((last.entries, last.data_bytes), (levels as u64 + 1 + 5, 5));
    let bottom = Tree::open(copied.path()).unwrap().open_dir(&at).unwrap().unwrap();
    assert_eq!(bottom.own_stat().unwrap().mtime, entry.mtime);
    for place in [&place, &copied] {
        let mut writer = place.writer();
        assert!(writer.remove(&path("directory")).unwrap());
        finish(writer);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}

#[test]
fn permission_bits_are_not_set_through_a_link() {
    use crate::tree::platform::{self, Place as Entity};
    let place = Place::new();
    put_file(&mut place.writer(), "file", b"x");
    std::os::unix::fs::symlink("file", place.at("link")).unwrap();
    let before = place.entry("file").mode;
    let dir = fs::File::open(place.path()).unwrap();
    let link = Entity { dir: dir.as_fd(), name: b"link", own: None };
    // Some kernels refuse this, and others have modes of links.
    let _ = platform::set_mode(&link, 0o777);
    assert_eq!(place.entry("file").mode, before);
}
