//! Create, find, rename, destroy.

use super::{Case, Fixture, Mounted, Outcome, kept, name, run_name};
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
    ("destroy-of-mounted", destroy_of_mounted),
    ("kinds", kinds),
    ("tokens-belong-to-their-pool", tokens_belong_to_their_pool),
    ("properties", properties),
    ("properties-of-subvolumes", properties_of_subvolumes),
    ("several-at-once", several_at_once),
    ("one-name-at-once", one_name_at_once),
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
    assert!(matches!(pool.backend.own_properties(&name("a")), Err(Error::NotFound(_))));
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
    if pool.backend.kind() != BackendKind::Zfs {
        return Outcome::Skipped("it can be removed while files in it are open");
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

fn destroy_of_mounted(pool: &Fixture) -> Outcome {
    let created = pool.create("a");
    let inside = pool.directory("a").join("mounted here");
    std::fs::create_dir(&inside).unwrap();
    let Some(mounted) = Mounted::make(&["-t", "tmpfs", "remand-contract"], &inside) else {
        return Outcome::Skipped("nothing can be mounted here");
    };
    std::fs::write(inside.join("theirs"), "text").unwrap();
    let (created, error) = kept(pool.backend.destroy(created));
    let told = matches!(&error, Error::MountedOver(path) if path.ends_with("mounted here"));
    assert!(told || matches!(error, Error::Busy { .. }), "{error:?}");
    assert_eq!(std::fs::read_to_string(inside.join("theirs")).unwrap(), "text");
    drop(mounted);
    let created = if pool.backend.kind() == BackendKind::Btrfs {
        let other = pool.backend.directory().join("elsewhere");
        std::fs::create_dir(&other).unwrap();
        let mounted = Mounted::make(&["--bind", pool.directory("a").to_str().unwrap()], &other).unwrap();
        let (created, error) = kept(pool.backend.destroy(created));
        assert!(matches!(&error, Error::Busy { detail, .. } if detail.ends_with("elsewhere")), "{error:?}");
        drop(mounted);
        created
    } else {
        created
    };
    pool.destroy(created);
    assert!(!pool.exists("a"));
    Outcome::Passed
}

fn kinds(pool: &Fixture) -> Outcome {
    let created = pool.create("a");
    let directory = pool.directory("a");
    std::fs::create_dir(directory.join("plain")).unwrap();
    std::fs::write(directory.join("file"), "").unwrap();
    symlink("plain", directory.join("link")).unwrap();
    let kind = |dataset| pool.backend.dataset(&name(dataset)).unwrap().map(|found| found.kind);
    let (made, plain) = match pool.backend.kind() {
        BackendKind::Dir => (DatasetKind::Directory, Some(DatasetKind::Directory)),
        BackendKind::Btrfs => (DatasetKind::FileSystem, Some(DatasetKind::Directory)),
        BackendKind::Zfs => (DatasetKind::FileSystem, None),
    };
    assert_eq!(kind("a"), Some(made));
    assert_eq!(kind("a/plain"), plain);
    for none in ["a/file", "a/link", "a/file/x", "a/link/x"] {
        assert_eq!(kind(none), None, "{none}");
    }
    pool.destroy(created);
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
    // Where a backend has no properties of its own it remembers them there.
    pool.backend.state_directory().unwrap();
    let created = pool.create("a");
    assert!(pool.backend.own_properties(&name("a")).unwrap().is_empty());
    let wanted = [
        ("recordsize", "65536"),
        ("org.example:tab", "a\tb  c: d=e"),
        ("org.example:empty-ish", " "),
        ("org.example:minus", "-"),
    ];
    for (property, value) in wanted {
        pool.backend.set_property(&created, property, value).unwrap();
    }
    let found = pool.backend.own_properties(&name("a")).unwrap();
    let found: Vec<_> = found.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(found, [wanted[2], wanted[3], wanted[1], wanted[0]]);
    // Several lines, of which one looks like another property.
    pool.backend.set_property(&created, "org.example:lines", "one\nrecordsize\t7\n").unwrap();
    let found = pool.backend.own_properties(&name("a")).unwrap();
    assert_eq!(found["org.example:lines"], "one\nrecordsize\t7\n");
    assert_eq!(found["recordsize"], "65536");
    for bad in ["a=b", "", "-o", "a b", "x\ny"] {
        assert!(pool.backend.set_property(&created, bad, "1").is_err(), "{bad:?}");
    }
    pool.destroy(created);
    Outcome::Passed
}

fn properties_of_subvolumes(pool: &Fixture) -> Outcome {
    if pool.backend.kind() != BackendKind::Btrfs {
        return Outcome::Skipped("it has no subvolumes");
    }
    let created = pool.create("a");
    let properties = || pool.backend.own_properties(&name("a")).unwrap();
    assert!(properties().is_empty());
    pool.backend.set_property(&created, "btrfs:compression", "zstd").unwrap();
    pool.backend.set_property(&created, "btrfs:ro", "true").unwrap();
    let wanted = [("btrfs:compression", "zstd"), ("btrfs:ro", "true")];
    assert!(properties().iter().map(|(name, value)| (name.as_str(), value.as_str())).eq(wanted));
    assert!(std::fs::write(pool.directory("a").join("file"), "").is_err());
    for (property, value) in
        [("btrfs:ro", "yes"), ("btrfs:compression", "magic"), ("btrfs:recordsize", "1"), ("", "")]
    {
        assert!(pool.backend.set_property(&created, property, value).is_err(), "{property}");
    }
    // Into another directory, which takes more than a rename, and stays what it is.
    let above = pool.create("to");
    let created = pool.rename(created, "to/b");
    assert_eq!(pool.backend.own_properties(&name("to/b")).unwrap()["btrfs:ro"], "true");
    pool.destroy(created);
    pool.destroy(above);
    Outcome::Passed
}

/// Threads that all go through a dataset's life, each with its own.
fn several_at_once(pool: &Fixture) -> Outcome {
    let before = pool.everything();
    let others: Vec<_> = (0..4).map(|_| (pool.again)()).collect();
    std::thread::scope(|scope| {
        for (number, other) in (0..).zip(&others) {
            scope.spawn(move || {
                for round in 0..3 {
                    let own = name(&format!("own {number}"));
                    let created = other.create(&own).unwrap();
                    let below = other.create(&own.join("below").unwrap()).unwrap();
                    let snapshot = other.snapshot(&own, &run_name(number * 10 + round), true).unwrap();
                    let tree = other.open_tree(snapshot.snapshot(), &format!("view {number}")).unwrap();
                    assert_eq!(other.snapshots(&own).unwrap().len(), {
                        usize::from(other.capabilities().consistent_while_running)
                    });
                    tree.close().unwrap();
                    other.destroy_snapshot(snapshot).map_err(|kept| kept.error).unwrap();
                    let moved = name(&format!("moved {number}"));
                    let created = other.rename(created, &moved).map_err(|kept| kept.error).unwrap();
                    drop(below);
                    other.destroy(created).map_err(|kept| kept.error).unwrap();
                }
            });
        }
    });
    let after: Vec<_> = pool.everything().into_iter().filter(|path| !path.contains("/.remand/")).collect();
    assert_eq!(after, before);
    assert_eq!(pool.backend.leftovers().unwrap(), []);
    Outcome::Passed
}

fn one_name_at_once(pool: &Fixture) -> Outcome {
    let others: Vec<_> = (0..4).map(|_| (pool.again)()).collect();
    // Waits for the others, then tries; all but one must find the name taken.
    let race = |what: &(dyn Fn(usize) -> Result<(), Error> + Sync)| {
        let barrier = std::sync::Barrier::new(others.len());
        let run = |number| {
            barrier.wait();
            what(number)
        };
        let run = &run;
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..others.len()).map(|number| scope.spawn(move || run(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
        let taken = |outcome: &Result<(), Error>| matches!(outcome, Ok(()) | Err(Error::Exists(_)));
        assert!(outcomes.iter().all(taken), "{outcomes:?}");
    };
    race(&|number| others[number].create(&name("same")).map(drop));
    if pool.backend.capabilities().consistent_while_running {
        race(&|number| others[number].snapshot(&name("same"), &run_name(1), true).map(drop));
        assert_eq!(pool.backend.snapshots(&name("same")).unwrap().len(), 1);
    }
    let created: Vec<_> = (0..others.len())
        .map(|number| std::sync::Mutex::new(Some(pool.create(&format!("from {number}")))))
        .collect();
    race(&|number| {
        let token = created[number].lock().unwrap().take().unwrap();
        others[number].rename(token, &name("to")).map(drop).map_err(|kept| kept.error)
    });
    Outcome::Passed
}
