use super::*;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

/// A directory of its own on btrfs, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Option<Self> {
        let Some(above) = std::env::var_os("REMAND_TEST_BTRFS").filter(|value| !value.is_empty()) else {
            eprintln!("SKIPPED btrfs ioctls: REMAND_TEST_BTRFS names no directory");
            return None;
        };
        let path = Path::new(&above).join(format!("sys-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Some(Self(path))
    }

    fn open(&self, path: &str) -> File {
        File::open(self.0.join(path)).unwrap()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[test]
fn subvolumes_are_made_told_and_deleted() {
    let Some(place) = Place::new("subvolumes") else { return };
    let top = place.open("");
    assert!(is_btrfs(&top).unwrap());
    create(&top, b"a\nb").unwrap();
    assert_eq!(create(&top, b"a\nb").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    let made = place.open("a\nb");
    fs::create_dir_all(place.0.join("a\nb/x/y")).unwrap();
    create(place.open("a\nb/x/y"), b"inner").unwrap();
    let info = subvolume(&made).unwrap();
    assert!(!info.read_only && info.parent_uuid.is_none() && info.received_uuid.is_none());
    assert!(info.created_seconds > 1_600_000_000, "{info:?}");
    assert_eq!(subvolume(place.open("a\nb/x")).unwrap(), info);

    assert_eq!(subvolumes_below(&top).unwrap(), [(info.id, b"a\nb".to_vec())]);
    let inner = subvolume(place.open("a\nb/x/y/inner")).unwrap();
    assert_eq!(subvolumes_below(&made).unwrap(), [(inner.id, b"x/y/inner".to_vec())]);
    assert_eq!(subvolumes_below(place.open("a\nb/x")).unwrap(), [(inner.id, b"y/inner".to_vec())]);
    assert!(subvolumes_below(place.open("a\nb/x/y/inner")).unwrap().is_empty());

    snapshot(&top, b"copy", &made, true).unwrap();
    let copy = subvolume(place.open("copy")).unwrap();
    assert!(copy.read_only);
    assert_eq!(copy.parent_uuid, Some(info.uuid));
    assert!(copy.id > info.id);
    fs::write(place.0.join("copy/file"), "").unwrap_err();
    set_read_only(place.open("copy"), false).unwrap();
    fs::write(place.0.join("copy/file"), "").unwrap();
    set_read_only(place.open("copy"), true).unwrap();
    let changed = subvolume(place.open("copy")).unwrap();
    assert!(changed.read_only && changed.changed_transaction > copy.changed_transaction);

    assert!(delete(&top, b"a\nb").is_err(), "it holds another");
    delete(place.open("a\nb/x/y"), b"inner").unwrap();
    delete(&top, b"a\nb").unwrap();
    delete(&top, b"copy").unwrap();
    assert_eq!(delete(&top, b"copy").unwrap_err().kind(), io::ErrorKind::NotFound);
    assert!(subvolumes_below(&top).unwrap().is_empty());
}

#[test]
fn more_subvolumes_than_one_answer_holds() {
    let Some(place) = Place::new("many") else { return };
    let top = place.open("");
    let names: Vec<_> = (0..600).map(|number| format!("{number:03}").into_bytes()).collect();
    for name in &names {
        create(&top, name).unwrap();
    }
    let mut found: Vec<_> = subvolumes_below(&top).unwrap().into_iter().map(|(_, path)| path).collect();
    found.sort();
    assert_eq!(found, names);
    for name in &names {
        delete(&top, name).unwrap();
    }
}

#[test]
fn an_inode_has_all_its_names() {
    let Some(place) = Place::new("names") else { return };
    create(place.open(""), b"s").unwrap();
    let root = place.0.join("s");
    fs::create_dir_all(root.join("d/e")).unwrap();
    fs::write(root.join("d/file"), "").unwrap();
    let mut names = vec!["d/file".to_owned()];
    // More in one directory than one item holds.
    for number in 0..3000 {
        let name = format!("d/e/{number:0100}");
        fs::hard_link(root.join("d/file"), root.join(&name)).unwrap();
        names.push(name);
    }
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::symlink_metadata(path).unwrap());
    snapshot(place.open(""), b"r", place.open("s"), true).unwrap();
    let tree = place.open("r");
    let mut found = names_of_inode(&tree, inode(&root.join("d/file"))).unwrap();
    found.sort();
    names.sort();
    assert_eq!(found.len(), names.len());
    assert!(found.iter().zip(&names).all(|(found, name)| found == name.as_bytes()));
    assert_eq!(names_of_inode(&tree, inode(&root.join("d/e"))).unwrap(), [b"d/e"]);
    assert_eq!(names_of_inode(&tree, ROOT_INODE).unwrap(), [b""]);
    assert!(names_of_inode(&tree, 1 << 40).unwrap().is_empty());
    assert_eq!(path_of_inode(&tree, inode(&root.join("d/e"))).unwrap(), b"d/e");
    assert_eq!(path_of_inode(&tree, ROOT_INODE).unwrap(), b"");
    for name in [b"s", b"r"] {
        delete(place.open(""), name).unwrap();
    }
}

#[test]
fn names_stay_names() {
    let top = File::open("/").unwrap();
    for name in [&b""[..], b"a/b", b"/", b"a\0b"] {
        assert_eq!(create(&top, name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert_eq!(delete(&top, name).unwrap_err().kind(), io::ErrorKind::InvalidInput);
    }
}

#[test]
fn elsewhere_nothing_is_answered() {
    let proc = File::open("/proc").unwrap();
    assert!(!is_btrfs(&proc).unwrap());
    assert!(subvolume(&proc).is_err());
    assert!(subvolumes_below(&proc).is_err());
    assert!(names_of_inode(&proc, 300).is_err());
}

#[test]
fn what_changed_is_sent_without_content() {
    let Some(place) = Place::new("send") else { return };
    let top = place.open("");
    create(&top, b"live").unwrap();
    fs::write(place.0.join("live/file"), "before").unwrap();
    snapshot(&top, b"old", place.open("live"), true).unwrap();
    fs::write(place.0.join("live/new"), "secret content").unwrap();
    snapshot(&top, b"now", place.open("live"), true).unwrap();
    let stream = |of: &str, parent: u64| {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let of = place.open(of);
        let sending = std::thread::spawn(move || send_without_data(of, parent, &writer));
        let mut stream = Vec::new();
        io::Read::read_to_end(&mut reader, &mut stream).unwrap();
        (sending.join().unwrap(), stream)
    };
    let old = subvolume(place.open("old")).unwrap().id;
    let (sent, bytes) = stream("now", old);
    sent.unwrap();
    let holds = |text: &[u8]| bytes.windows(text.len()).any(|at| at == text);
    assert!(bytes.starts_with(b"btrfs-stream\0") && holds(b"new") && !holds(b"secret content"));
    // Not of what can be written, and not against it.
    stream("live", old).0.unwrap_err();
    stream("now", subvolume(place.open("live")).unwrap().id).0.unwrap_err();

    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let error = send_without_data(place.open("now"), old, &writer).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    for name in [&b"now"[..], b"old", b"live"] {
        delete(&top, name).unwrap();
    }
}

#[test]
fn a_subvolume_is_found_by_its_identity() {
    let Some(place) = Place::new("identity") else { return };
    let top = place.open("");
    create(&top, b"live").unwrap();
    snapshot(&top, b"old", place.open("live"), true).unwrap();
    for name in ["live", "old"] {
        let known = subvolume(place.open(name)).unwrap();
        assert_eq!(find_subvolume(&top, &known.uuid).unwrap(), Some(known));
    }
    let gone = subvolume(place.open("old")).unwrap().uuid;
    assert_eq!(
        Some(subvolume(place.open("live")).unwrap().uuid),
        subvolume(place.open("old")).unwrap().parent_uuid
    );
    for name in [&b"old"[..], b"live"] {
        delete(&top, name).unwrap();
    }
    assert_eq!(find_subvolume(&top, &gone).unwrap(), None);
    assert_eq!(find_subvolume(&top, &[7; 16]).unwrap(), None);
}

#[test]
fn changed_inodes_are_those_since_a_transaction() {
    let Some(place) = Place::new("stamps") else { return };
    let top = place.open("");
    create(&top, b"live").unwrap();
    create(&top, b"empty").unwrap();
    fs::create_dir_all(place.0.join("live/dir/untouched")).unwrap();
    for name in ["same", "content", "mode", "gone", "open"] {
        fs::write(place.0.join("live/dir").join(name), name).unwrap();
    }
    for number in 0..2000 {
        // So that its inode and its names are in several parts of the tree.
        fs::write(place.0.join(format!("live/dir/untouched/{number}")), vec![0; 500]).unwrap();
    }
    snapshot(&top, b"old", place.open("live"), true).unwrap();
    let at = |name: &str| place.0.join("live/dir").join(name);
    fs::write(at("content"), "other").unwrap();
    fs::set_permissions(at("mode"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    fs::remove_file(at("gone")).unwrap();
    let held = fs::File::open(at("open")).unwrap();
    fs::remove_file(at("open")).unwrap();
    fs::hard_link(at("mode"), place.0.join("live/second")).unwrap();
    // Writes the time of the last access, where the file system is not mounted with noatime.
    assert_eq!(fs::read(at("same")).unwrap(), b"same");
    assert_eq!(fs::read_dir(at("untouched")).unwrap().count(), 2000);
    snapshot(&top, b"now", place.open("live"), true).unwrap();
    drop(held);
    let since = subvolume(place.open("old")).unwrap().created_transaction;
    let told = |of: &str, other: &str, since: u64, most: usize| {
        let (of, mut told) = (place.open(of), Vec::new());
        changed_inodes(&of, place.open(other), since, &mut |changed| {
            told.push(changed);
            told.len() < most
        })
        .unwrap();
        let mut names: Vec<_> = told
            .iter()
            .map(|changed| {
                let names = names_of_inode(&of, changed.inode).unwrap();
                let last = |name: &Vec<u8>| name.rsplit(|byte| *byte == b'/').next().map(<[u8]>::to_vec);
                if let Some((_, name)) = changed.name.as_ref().filter(|_| changed.inode != ROOT_INODE) {
                    assert!(names.iter().any(|known| last(known).as_ref() == Some(name)));
                }
                (String::from_utf8(names[0].clone()).unwrap(), changed.is_directory)
            })
            .collect();
        names.sort();
        names
    };
    let of = |name: &str, is_directory| (name.to_owned(), is_directory);
    // What was made in the transaction of the first snapshot may come too; nothing was changed in it since.
    let next = since + 1;
    let all = told("now", "old", next, usize::MAX);
    assert_eq!(
        all.iter().filter(|(name, _)| name.ends_with("second")).count()
            + all.iter().filter(|(name, _)| name == "dir/mode").count(),
        1
    );
    let others: Vec<_> =
        all.iter().filter(|(name, _)| name != "second" && name != "dir/mode").cloned().collect();
    assert_eq!(others, [of("", true), of("dir", true), of("dir/content", false)]);
    assert_eq!(told("now", "old", next, 2).len(), 2);
    assert_eq!(told("old", "now", next, usize::MAX), []);
    assert_eq!(told("old", "empty", 0, usize::MAX).len(), 1 + 1 + 1 + 5 + 2000);
    // Of one that is the same there nothing is told, whenever it was written.
    assert_eq!(told("old", "old", 0, usize::MAX), []);
    let accessed =
        |of: &str| fs::metadata(place.0.join(of).join("dir/untouched")).unwrap().accessed().unwrap();
    if accessed("now") == accessed("old") {
        println!("SKIPPED directories that were only read: this btrfs keeps no times of access");
    }
    for name in [&b"now"[..], b"old", b"live", b"empty"] {
        delete(&top, name).unwrap();
    }
}
