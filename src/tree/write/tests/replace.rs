//! Entries in the place of others, and in directories that stay what they were.

use super::*;

fn put(writer: &mut TreeWriter, at: &str, kind: Kind) {
    if kind == Kind::File {
        put_file(writer, at, b"content");
    } else {
        writer.put(&path(at), &plain(kind), None).unwrap();
    }
}

#[test]
fn every_kind_replaces_every_kind() {
    for old in Kind::ALL {
        let place = Place::new();
        let mut writer = place.writer();
        for new in Kind::ALL {
            put(&mut writer, new.name(), old);
            if old == Kind::Directory {
                put_file(&mut writer, &format!("{}/inside", new.name()), b"x");
                put(&mut writer, &format!("{}/deep", new.name()), Kind::Directory);
                put(&mut writer, &format!("{}/deep/fifo", new.name()), Kind::Fifo);
            }
        }
        finish(writer);
        let mut writer = place.writer();
        for new in Kind::ALL {
            put(&mut writer, new.name(), new);
        }
        finish(writer);
        let mut found = place.read();
        if old == Kind::Directory {
            // A directory stays for a directory.
            assert!(found.remove("directory/inside").is_some() && found.remove("directory/deep").is_some());
            assert!(found.remove("directory/deep/fifo").is_some());
        }
        for new in Kind::ALL {
            let entry = found.remove(new.name()).unwrap();
            assert_eq!(Entry { size: 0, ..entry }, plain(new), "{old} -> {new}");
        }
        assert_eq!(found.into_keys().collect::<Vec<_>>(), [""]);
    }
}

#[test]
fn a_tree_that_was_just_written_gives_way_with_what_was_to_be_set() {
    let place = Place::new();
    let mut writer = place.writer();
    let fixed = Entry { flags: Flags::SCHG, ..plain(Kind::Directory) };
    for at in ["a", "a/b", "a/b/c"] {
        writer.put(&path(at), &fixed, None).unwrap();
    }
    writer.put(&path("a/b/file"), &Entry { flags: Flags::SCHG, ..plain(Kind::File) }, None).unwrap();
    put_file(&mut writer, "a", b"x");
    put(&mut writer, "b", Kind::Directory);
    put(&mut writer, "b/c", Kind::Directory);
    assert!(writer.remove(&path("b")).unwrap());
    put(&mut writer, "b", Kind::Directory);
    finish(writer);
    let found = place.read();
    assert_eq!(found.into_keys().collect::<Vec<_>>(), ["", "a", "b"]);
}

#[test]
fn directories_that_nobody_mentions_stay_as_they_were() {
    let place = Place::new();
    fs::create_dir_all(place.at("a/b")).unwrap();
    for name in ["a/b/replaced", "a/b/removed", "a/kept"] {
        fs::write(place.at(name), b"old").unwrap();
    }
    for name in ["a/b", "a", ""] {
        run("touch", &["-d", "2001-02-03 04:05:06.789 UTC"], &place.at(name));
        run("chattr", &["+i"], &place.at(name));
    }
    let before = place.read();
    let mut writer = place.writer();
    put_file(&mut writer, "a/b/replaced", b"new");
    assert!(writer.remove(&path("a/b/removed")).unwrap());
    put_file(&mut writer, "a/added", b"new");
    writer.link(&path("linked"), &path("a/kept")).unwrap();
    assert!(!writer.remove(&path("a/none")).unwrap() && !writer.remove(&path("none/none")).unwrap());
    finish(writer);
    let after = place.read();
    for name in ["", "a", "a/b"] {
        assert_eq!(after[name], before[name], "{name}");
    }
    assert!(after.contains_key("a/added") && after.contains_key("linked"));
    assert!(!after.contains_key("a/b/removed"));
    assert_eq!(after[""].flags, Flags::SCHG);
}

#[test]
fn flags_that_forbid_changes_give_way() {
    let place = Place::new();
    fs::create_dir_all(place.at("tree/below/deeper")).unwrap();
    for name in ["tree/file", "tree/below/deeper/file", "replaced", "removed", "described"] {
        fs::write(place.at(name), b"old").unwrap();
    }
    for (flag, name) in [
        ("+i", "tree/below/deeper/file"),
        ("+a", "tree/below/deeper"),
        ("+i", "tree/below"),
        ("+a", "tree/file"),
        ("+i", "tree"),
        ("+i", "replaced"),
        ("+a", "removed"),
        ("+i", "described"),
        ("+i", ""),
    ] {
        run("chattr", &[flag], &place.at(name));
    }
    let mut writer = place.writer();
    assert!(writer.remove(&path("tree")).unwrap());
    put_file(&mut writer, "replaced", b"new");
    assert!(writer.remove(&path("removed")).unwrap());
    writer.set_metadata(&path("described"), &Entry { size: 3, ..plain(Kind::File) }).unwrap();
    finish(writer);
    let found = place.read();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["", "described", "replaced"]);
    assert_eq!((found["replaced"].flags, found["described"].flags), (Flags::empty(), Flags::empty()));
    assert_eq!(found[""].flags, Flags::SCHG);
    assert_eq!(fs::read(place.at("replaced")).unwrap(), b"new");
}

#[test]
fn an_immutable_directory_is_filled_and_finished() {
    let place = Place::new();
    let mut writer = place.writer();
    let fixed = |kind| Entry { flags: Flags::SCHG, mode: 0o500, ..plain(kind) };
    writer.put(&path("a"), &fixed(Kind::Directory), None).unwrap();
    writer.put(&path("a/b"), &fixed(Kind::Directory), None).unwrap();
    writer.put(&path("a/b/file"), &fixed(Kind::File), None).unwrap();
    finish(writer);
    // And once more over what is there now.
    let mut writer = place.writer();
    writer.put(&path("a"), &fixed(Kind::Directory), None).unwrap();
    writer.put(&path("a/b"), &fixed(Kind::Directory), None).unwrap();
    writer.put(&path("a/b/file"), &fixed(Kind::File), None).unwrap();
    writer.put(&path("a/b/more"), &plain(Kind::Fifo), None).unwrap();
    finish(writer);
    let found = place.read();
    for (name, kind) in [("a", Kind::Directory), ("a/b", Kind::Directory), ("a/b/file", Kind::File)] {
        assert_eq!(found[name], fixed(kind));
    }
    assert_eq!(found["a/b/more"], plain(Kind::Fifo));
}

#[test]
fn a_directory_is_emptied_and_stays() {
    let place = Place::new();
    let mut writer = place.writer();
    for at in ["d", "d/below", "d/below/more", "other"] {
        writer.put(&path(at), &plain(Kind::Directory), None).unwrap();
    }
    for at in ["d/file", "d/below/file", "d/below/more/file", "other/file"] {
        put_file(&mut writer, at, b"x");
    }
    finish(writer);
    run("chattr", &["+i"], &place.at("d/below/file"));
    run("chattr", &["+i"], &place.at("d"));
    let before = place.entry("d");
    let mut writer = place.writer();
    writer.empty(&path("d")).unwrap();
    // Where there is none, or something else.
    for at in ["missing", "missing/below", "other/file"] {
        writer.empty(&path(at)).unwrap();
    }
    finish(writer);
    assert_eq!(place.read().into_keys().collect::<Vec<_>>(), ["", "d", "other", "other/file"]);
    assert_eq!(place.entry("d"), before);
    // All of it.
    run("chattr", &["-i"], &place.at("d"));
    let mut writer = place.writer();
    writer.empty(&path("")).unwrap();
    put_file(&mut writer, "new", b"x");
    finish(writer);
    assert_eq!(place.read().into_keys().collect::<Vec<_>>(), ["", "new"]);
}

/// How else it can be written only the file system knows, so it is looked for among all names.
#[test]
fn an_entry_whose_name_is_not_ascii_gives_way() {
    for others in [&[][..], &["other"][..]] {
        let place = Place::new();
        for name in others {
            fs::write(place.at(name), b"x").unwrap();
        }
        fs::write(place.at("\u{e4}"), b"old").unwrap();
        let mut writer = place.writer();
        put_file(&mut writer, "\u{e4}", b"new");
        assert!(writer.remove(&path("\u{e4}")).unwrap());
        put_file(&mut writer, "\u{e4}", b"newer");
        finish(writer);
        assert_eq!(fs::read(place.at("\u{e4}")).unwrap(), b"newer");
        assert_eq!(place.read().len(), 2 + others.len());
    }
}
