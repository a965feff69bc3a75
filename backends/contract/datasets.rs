//! Create, find, rename, destroy.

use super::{Case, Fixture, Outcome, kept, name};
use remand_backends::{BackendKind, DatasetKind, DatasetName, Error};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

pub(super) const CASES: &[Case] = &[
    ("create-find-destroy", create_find_destroy),
    ("create-refuses-what-exists", create_refuses_what_exists),
    ("create-needs-its-parent", create_needs_its_parent),
    ("absent-is-an-answer", absent_is_an_answer),
    ("names", names),
    ("rename", rename),
    ("rename-takes-what-is-below", rename_takes_what_is_below),
    ("rename-never-replaces", rename_never_replaces),
    ("rename-needs-its-parent", rename_needs_its_parent),
    ("destroy-removes-everything", destroy_removes_everything),
    ("destroy-follows-no-link", destroy_follows_no_link),
    ("destroy-of-absent-is-success", destroy_of_absent_is_success),
    ("destroy-of-busy", destroy_of_busy),
    ("tokens-belong-to-their-pool", tokens_belong_to_their_pool),
    ("properties", properties),
];

fn create_find_destroy(pool: &Fixture) -> Outcome {
    let before = pool.everything();
    let created = pool.create("a");
    assert_eq!(created.dataset(), &name("a"));
    let found = pool.backend.dataset(&name("a")).unwrap().unwrap();
    assert_eq!(found.name, name("a"));
    assert_ne!(found.kind, DatasetKind::Volume);
    assert_eq!(found.origin, None);
    let directory = found.directory.unwrap();
    assert_eq!(directory, pool.backend.directory().join("a"));
    assert_eq!(directory.metadata().unwrap().permissions().mode() & 0o7777, 0o755);
    pool.write("a", "file", "text");
    let itself = pool.backend.dataset(&DatasetName::pool()).unwrap().unwrap();
    assert_eq!(itself.directory.unwrap(), pool.backend.directory());
    assert!((pool.again)().dataset(&name("a")).unwrap().is_some());
    pool.destroy(created);
    assert!(!pool.exists("a"));
    assert_eq!(pool.everything(), before);
    Outcome::Passed
}

fn create_refuses_what_exists(pool: &Fixture) -> Outcome {
    let created = pool.create("a");
    pool.write("a", "file", "text");
    let directory = pool.backend.directory().join("plain");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("file"), "text").unwrap();
    std::fs::write(pool.backend.directory().join("plain-file"), "text").unwrap();
    symlink("/etc", pool.backend.directory().join("link")).unwrap();
    let before = pool.everything();
    // Nor over a directory with files in it, a file, or a link.
    for taken in ["a", "plain", "plain-file", "link", ""] {
        let error = pool.backend.create(&name(taken)).unwrap_err();
        assert!(matches!(error, Error::Exists(_)), "{taken}: {error:?}");
    }
    assert_eq!(pool.everything(), before);
    pool.destroy(created);
    Outcome::Passed
}

fn create_needs_its_parent(pool: &Fixture) -> Outcome {
    let before = pool.everything();
    let error = pool.backend.create(&name("no/a")).unwrap_err();
    assert!(matches!(&error, Error::NotFound(subject) if subject.ends_with("no")), "{error:?}");
    assert_eq!(pool.everything(), before);
    Outcome::Passed
}

fn absent_is_an_answer(pool: &Fixture) -> Outcome {
    assert!(!pool.exists("a"));
    assert!(!pool.exists("a/b"));
    assert!(matches!(pool.backend.descendants(&name("a")), Err(Error::NotFound(_))));
    assert!(matches!(pool.backend.snapshots(&name("a")), Err(Error::NotFound(_))));
    assert!(matches!(pool.backend.local_properties(&name("a")), Err(Error::NotFound(_))));
    assert!(matches!(pool.backend.mount(&name("a")), Err(Error::NotFound(_))));
    let snapshot = pool.backend.snapshot(&name("a"), &super::run_name(1), true);
    assert!(matches!(snapshot, Err(Error::NotFound(_))));
    assert_eq!(pool.backend.existing_state_directory().unwrap(), None);
    assert_eq!(pool.backend.leftovers().unwrap(), []);
    Outcome::Passed
}

fn names(pool: &Fixture) -> Outcome {
    for text in ["with space", "with:colon", "a.b_c-d", "web", "web2", "UPPER", "grüße/日本"] {
        let mut created = Vec::new();
        let mut made = DatasetName::pool();
        for part in text.split('/') {
            made = made.join(part).unwrap();
            match pool.backend.create(&made) {
                Ok(token) => created.push(token),
                Err(Error::Name(_)) if !text.is_ascii() => break,
                Err(error) => panic!("{text}: {error:?}"),
            }
        }
        if let Some(last) = created.last() {
            assert_eq!(last.dataset(), &made);
            pool.write(made.as_str(), "file", text);
            assert_eq!(pool.read(made.as_str(), "file"), text);
        }
        for token in created.into_iter().rev() {
            pool.destroy(token);
        }
        assert!(pool.backend.descendants(&DatasetName::pool()).unwrap().is_empty());
    }
    Outcome::Passed
}

fn rename(pool: &Fixture) -> Outcome {
    let parent = pool.create("to");
    let created = pool.create("a");
    pool.write("a", "file", "text");
    let renamed = pool.rename(created, "to/b c");
    assert_eq!(renamed.dataset(), &name("to/b c"));
    assert!(!pool.exists("a"));
    assert!(!pool.backend.directory().join("a").exists());
    assert_eq!(pool.read("to/b c", "file"), "text");
    pool.destroy(renamed);
    assert!(!pool.exists("to/b c"));
    pool.destroy(parent);
    Outcome::Passed
}

fn rename_takes_what_is_below(pool: &Fixture) -> Outcome {
    let created = pool.create("a");
    let below = [pool.create("a/b"), pool.create("a/b/c")];
    pool.write("a/b/c", "file", "text");
    let renamed = pool.rename(created, "z");
    assert_eq!(pool.read("z/b/c", "file"), "text");
    assert!(!pool.exists("a/b/c"));
    drop(below); // their names are gone; they go with the whole
    pool.destroy(renamed);
    assert!(!pool.exists("z"));
    Outcome::Passed
}

fn rename_never_replaces(pool: &Fixture) -> Outcome {
    let empty = pool.create("empty");
    let full = pool.create("full");
    pool.write("full", "file", "theirs");
    let plain = pool.backend.directory().join("plain");
    std::fs::create_dir(&plain).unwrap();
    std::fs::write(plain.join("file"), "theirs").unwrap();
    std::fs::write(pool.backend.directory().join("plain-file"), "theirs").unwrap();
    let mut created = pool.create("a");
    pool.write("a", "file", "ours");
    let before = pool.everything();
    let inode = pool.directory("empty").metadata().unwrap().ino();
    for taken in ["empty", "full", "plain", "plain-file", ""] {
        let (token, error) = kept(pool.backend.rename(created, &name(taken)));
        assert!(matches!(error, Error::Exists(_)), "{taken}: {error:?}");
        assert_eq!(token.dataset(), &name("a"));
        created = token;
    }
    assert_eq!(pool.everything(), before);
    assert_eq!(pool.directory("empty").metadata().unwrap().ino(), inode);
    for token in [created, empty, full] {
        pool.destroy(token);
    }
    Outcome::Passed
}

fn rename_needs_its_parent(pool: &Fixture) -> Outcome {
    let created = pool.create("a");
    let (created, error) = kept(pool.backend.rename(created, &name("no/a")));
    assert!(matches!(error, Error::NotFound(_)), "{error:?}");
    assert!(pool.exists("a"));
    pool.destroy(created);
    Outcome::Passed
}

fn destroy_removes_everything(pool: &Fixture) -> Outcome {
    let before = pool.everything();
    let created = pool.create("a");
    let _below = [pool.create("a/b"), pool.create("a/b/c d")];
    let directory = pool.directory("a");
    std::fs::create_dir_all(directory.join("x/y/z")).unwrap();
    std::fs::write(directory.join("x/y/z/file"), "text").unwrap();
    std::fs::set_permissions(directory.join("x/y"), PermissionsExt::from_mode(0o000)).unwrap();
    symlink("nowhere", directory.join("x/link")).unwrap();
    pool.write("a/b/c d", "file", "text");
    pool.destroy(created);
    assert_eq!(pool.everything(), before);
    Outcome::Passed
}

fn destroy_follows_no_link(pool: &Fixture) -> Outcome {
    let theirs = pool.create("theirs");
    pool.write("theirs", "file", "text");
    let created = pool.create("a");
    let directory = pool.directory("a");
    symlink(pool.directory("theirs"), directory.join("link")).unwrap();
    symlink("../theirs", directory.join("relative")).unwrap();
    pool.destroy(created);
    assert_eq!(pool.read("theirs", "file"), "text");
    pool.destroy(theirs);
    Outcome::Passed
}

fn destroy_of_absent_is_success(pool: &Fixture) -> Outcome {
    let above = pool.create("a");
    let created = pool.create("a/b");
    pool.destroy(above);
    pool.destroy(created);
    Outcome::Passed
}

fn destroy_of_busy(pool: &Fixture) -> Outcome {
    if pool.backend.kind() == BackendKind::Dir {
        return Outcome::Skipped("a directory can be removed while files in it are open");
    }
    let created = pool.create("a");
    pool.write("a", "file", "text");
    let open = std::fs::File::open(pool.directory("a").join("file")).unwrap();
    let (created, error) = kept(pool.backend.destroy(created));
    assert!(matches!(error, Error::Busy { .. }), "{error:?}");
    drop(open);
    assert_eq!(pool.read("a", "file"), "text");
    pool.destroy(created);
    assert!(!pool.exists("a"));
    Outcome::Passed
}

fn tokens_belong_to_their_pool(pool: &Fixture) -> Outcome {
    let inner = pool.create("inner");
    let same_name = pool.create("a");
    let other = remand_backends::open(&match pool.backend.kind() {
        BackendKind::Zfs => format!("{}/inner", pool.backend.label()),
        BackendKind::Dir | BackendKind::Btrfs => pool.directory("inner").display().to_string(),
    })
    .unwrap();
    let foreign = other.create(&name("a")).unwrap();
    let (foreign, error) = kept(pool.backend.destroy(foreign));
    assert!(matches!(error, Error::NotFound(_)), "{error:?}");
    let (foreign, _) = kept(pool.backend.rename(foreign, &name("b")));
    assert!(pool.exists("a"));
    other.destroy(foreign).map_err(|kept| kept.error).unwrap();
    for token in [same_name, inner] {
        pool.destroy(token);
    }
    Outcome::Passed
}

fn properties(pool: &Fixture) -> Outcome {
    if pool.backend.kind() == BackendKind::Dir {
        return Outcome::Skipped("directories have no properties");
    }
    let created = pool.create("a");
    assert!(pool.backend.local_properties(&name("a")).unwrap().is_empty());
    let wanted = [
        ("recordsize", "65536"),
        ("org.example:tab", "a\tb  c: d=e"),
        ("org.example:empty-ish", " "),
        ("org.example:minus", "-"),
    ];
    for (property, value) in wanted {
        pool.backend.set_property(&created, property, value).unwrap();
    }
    let found = pool.backend.local_properties(&name("a")).unwrap();
    let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(found, [wanted[2], wanted[3], wanted[1], wanted[0]]);
    // Several lines, of which one looks like another property.
    pool.backend.set_property(&created, "org.example:lines", "one\nrecordsize\t7\n").unwrap();
    let found = pool.backend.local_properties(&name("a")).unwrap();
    assert_eq!(found["org.example:lines"], "one\nrecordsize\t7\n");
    assert_eq!(found["recordsize"], "65536");
    for bad in ["a=b", "", "-o", "a b", "x\ny"] {
        assert!(pool.backend.set_property(&created, bad, "1").is_err(), "{bad:?}");
    }
    pool.destroy(created);
    Outcome::Passed
}
