//! The tests' own tools: the comparer must see what it is trusted to see, and test pools must be what they claim.

mod support;

use rustix::fs::FileType;
use support::at::{At, flags};
use support::compare::{What, assert_same_without, trees};
use support::pool::{Place, Pool, Size};
use support::tar::{self, Member};
use support::{Scratch, program_for, root_for, workload};

/// Two equal trees, one change to the second, and what the comparer says.
fn differences(change: impl FnOnce(&At)) -> Vec<What> {
    let scratch = Scratch::new();
    for side in ["a", "b"] {
        let root = scratch.join(side);
        std::fs::create_dir(&root).unwrap();
        let root = At::open(&root);
        root.write("file", "content\n");
        root.write("other", "content\n");
        root.write("linked", "two names\n");
        root.link("linked-too", &root, "linked");
        root.mkdir("directory").write("inside", "below\n");
        root.symlink("symlink", "file");
        root.write_sparse("sparse", 8 << 20, &[(0, b"data")]);
        for name in ["file", "other", "linked", "directory/inside", "directory", "symlink", "sparse", "."] {
            root.set_mtime(name, workload::JAIL_TIME);
        }
    }
    let (a, b) = (scratch.join("a"), scratch.join("b"));
    assert_eq!(trees(&a, &b), [], "equal trees");
    let root = At::open(&b);
    change(&root);
    let sides = trees(&a, &b);
    if root.names().contains(&b"file".to_vec()) && root.kind("file") == FileType::RegularFile {
        // So that the scratch directory can be removed.
        let _ = root.try_set_flags("file", 0);
    }
    sides.into_iter().map(|difference| difference.what).collect()
}

fn keeping_time(root: &At, change: impl FnOnce(&At)) {
    change(root);
    root.set_mtime(".", workload::JAIL_TIME);
}

#[test]
fn sees_missing_and_extra_entries() {
    assert_eq!(differences(|root| keeping_time(root, |root| root.unlink("file"))), [What::Missing]);
    assert_eq!(differences(|root| keeping_time(root, |root| root.write("more", ""))), [What::Extra]);
    let both = differences(|root| keeping_time(root, |root| root.remove("directory")));
    assert_eq!(both, [What::Missing, What::Missing], "what is below counts, too");
}

#[test]
fn sees_another_type_target_or_device() {
    let change = |root: &At| {
        root.unlink("file");
        root.symlink("file", "other");
    };
    assert_eq!(differences(|root| keeping_time(root, change)), [What::Type]);
    let change = |root: &At| {
        root.unlink("symlink");
        root.symlink("symlink", "else");
        root.set_mtime("symlink", workload::JAIL_TIME);
    };
    assert_eq!(differences(|root| keeping_time(root, change)), [What::Target]);
}

#[test]
fn sees_modes_and_times() {
    assert_eq!(differences(|root| root.chmod("file", 0o4644)), [What::Mode]);
    assert_eq!(differences(|root| root.chmod(".", 0o700)), [What::Mode], "of the root, too");
    let (seconds, nanoseconds) = workload::JAIL_TIME;
    for name in ["file", "directory", "symlink", "."] {
        assert_eq!(
            differences(|root| root.set_mtime(name, (seconds, nanoseconds + 1))),
            [What::Mtime],
            "{name}"
        );
    }
}

#[test]
fn sees_content_size_and_holes() {
    let write = |name: &'static str, content: &'static str| {
        move |root: &At| {
            root.write(name, content);
            root.set_mtime(name, workload::JAIL_TIME);
        }
    };
    assert_eq!(differences(write("file", "CONTENT\n")), [What::Content]);
    assert_eq!(differences(write("directory/inside", "more below\n")), [What::Size]);
    let fill = |root: &At| {
        let mut content = root.read("sparse");
        content[4 << 20] = 0;
        root.write("sparse", content);
        root.chmod("sparse", root.stat("linked").st_mode & 0o777);
        root.set_mtime("sparse", workload::JAIL_TIME);
        std::fs::File::open(root.path_of("sparse")).unwrap().sync_all().unwrap();
    };
    assert_eq!(differences(fill), [What::Sparse]);
}

#[test]
fn sees_hard_links() {
    let split = |root: &At| {
        root.unlink("linked-too");
        root.write("linked-too", "two names\n");
        root.set_mtime("linked-too", workload::JAIL_TIME);
    };
    assert_eq!(differences(|root| keeping_time(root, split)), [What::Links, What::Links]);
    let join = |root: &At| {
        root.unlink("other");
        root.link("other", root, "file");
    };
    assert_eq!(differences(|root| keeping_time(root, join)), [What::Links, What::Links]);
}

#[test]
fn sees_owners_attributes_acls_and_flags() {
    if !root_for("comparer: owners and flags") {
        return;
    }
    assert_eq!(differences(|root| root.try_chown("symlink", 1, 0).unwrap()), [What::Owner]);
    assert_eq!(differences(|root| root.try_chown("file", 0, u32::MAX - 1).unwrap()), [What::Owner]);
    assert_eq!(differences(|root| root.try_set_xattr("file", "trusted.x", b"").unwrap()), [What::Xattr]);
    assert_eq!(differences(|root| root.try_set_flags("file", flags::IMMUTABLE).unwrap()), [What::Flags]);
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, bits, id) in
        [(1_u16, 6_u16, u32::MAX), (2, 4, 1000), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 4, u32::MAX)]
    {
        acl.extend([tag.to_le_bytes(), bits.to_le_bytes()].concat());
        acl.extend(id.to_le_bytes());
    }
    let set = differences(|root| root.try_set_xattr("file", "system.posix_acl_access", &acl).unwrap());
    assert_eq!(set, [What::Acl]);
}

#[test]
fn sees_every_change_of_the_workload_at_any_depth() {
    for place in Place::all("comparer") {
        let Place::Dir(parent) = place else { continue };
        let scratch = Scratch::below(&parent);
        for name in ["release", "same", "jail"] {
            std::fs::create_dir(scratch.join(name)).unwrap();
            workload::build_release(&scratch.join(name));
        }
        assert_eq!(trees(&scratch.join("release"), &scratch.join("same")), [], "building is deterministic");
        workload::change_jail(&scratch.join("jail"));
        let found = trees(&scratch.join("release"), &scratch.join("jail"));
        let count = |what| found.iter().filter(|difference| difference.what == what).count();
        assert!(count(What::Extra) > 200, "{}", count(What::Extra));
        assert!(found.iter().any(|difference| difference.path.len() > 8000), "the deep path");
        for (what, at_least) in [
            (What::Missing, 40),
            (What::Type, 10),
            (What::Content, 6),
            (What::Size, 10),
            (What::Mode, 3),
            (What::Links, 10),
        ] {
            assert!(count(what) >= at_least, "{what:?}: {}", count(what));
        }
    }
}

#[test]
fn test_pools_are_deterministic_on_every_backend() {
    for place in Place::all("test pools") {
        let pools = [0, 1].map(|_| Pool::with_jail(&place, Size::Full));
        assert_eq!(pools[0].jails(), ["web01"]);
        assert_eq!(pools[0].remains(), [""; 0]);
        assert_same_without(&pools[0].root("web01"), &pools[1].root("web01"), &pools[0].unseen());
        let data = |pool: &Pool| pool.path("jails/web01/data");
        assert!(!place.has_datasets() || data(&pools[0]).join("db/file19").is_file());
        let release = trees(&pools[0].path("releases/base-1.0/root"), &pools[1].root("web01"));
        assert!(release.len() > 300, "{}", release.len());
    }
}

#[test]
fn the_tests_own_tar_is_understood_by_tar() {
    let Some(program) = program_for("comparer: tar", "tar") else { return };
    let scratch = Scratch::new();
    let long = format!("./{}/{}", "d".repeat(120), "f".repeat(90));
    let members = [
        Member::new(b'0', &long, "", b"content\n"),
        Member::new(b'2', "./link", "/somewhere", b""),
        Member::new(b'1', "./hard", &long, b""),
    ];
    std::fs::write(scratch.join("a.tar"), tar::write(&members)).unwrap();
    let output = std::process::Command::new(program).arg("-tf").arg(scratch.join("a.tar")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{long}\n./link\n./hard\n"));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let read = tar::read(&std::fs::read(scratch.join("a.tar")).unwrap());
    assert_eq!(tar::write(&read), tar::write(&members));
    assert_eq!((read[0].text(), &read[0].data[..]), (long, &b"content\n"[..]));
}
