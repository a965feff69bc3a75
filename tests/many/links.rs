//! Hard links between resources.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::support::Scratch;
use super::support::at::At;
use super::support::compare::assert_same_without;
use super::support::pool::{Place, Pool};
use super::support::run::remand;
use super::{archive_of, nothing_is_left, target, three};

/// Three jails of which one file is the same inode.
fn linked(scratch: &Scratch, form: &str, options: &[&str]) -> PathBuf {
    let source = three(&Place::dir());
    let srv = |name: &str| At::open(&source.root(name)).dir("srv");
    let first = srv("a");
    first.write("shared", "shared content");
    for (jail, name) in [("b", "shared"), ("c", "second"), ("c", "shared")] {
        srv(jail).link(name, &first, "shared");
    }
    let archive = scratch.join(form);
    archive_of(&source, &["a", "b", "c"], options, &archive);
    archive
}

fn inode(pool: &Pool, jail: &str, path: &str) -> (u64, u64) {
    let found = pool.root(jail).join(path).symlink_metadata().unwrap();
    assert_eq!(std::fs::read(pool.root(jail).join(path)).unwrap(), b"shared content");
    (found.ino(), found.nlink())
}

#[test]
fn hard_links_between_jails_are_kept() {
    let scratch = Scratch::new();
    for (form, options) in [("all.tar.gz", &["--standalone"][..]), ("all", &[]), ("all.tar", &[])] {
        let archive = linked(&scratch, form, options);
        let pool = target(&Place::dir());
        remand(["restore"]).on(&pool).arg(&archive).ends(0);
        let (first, links) = inode(&pool, "a", "srv/shared");
        assert_eq!(links, 4);
        for (jail, path) in [("b", "srv/shared"), ("c", "srv/shared"), ("c", "srv/second")] {
            assert_eq!(inode(&pool, jail, path), (first, 4), "{jail} {path}");
        }
        // Without the one that has the content.
        let some = target(&Place::dir());
        remand(["restore"]).on(&some).arg(&archive).args(&["b", "c"]).ends(0);
        let (first, links) = inode(&some, "b", "srv/shared");
        assert_eq!((links, inode(&some, "c", "srv/shared").0), (3, first));
        nothing_is_left(&some);
        // One after the other: what was restored before is not touched, nor linked to.
        let before = inode(&some, "c", "srv/shared");
        remand(["restore"]).on(&some).arg(&archive).arg("a").ends(0);
        assert_eq!(inode(&some, "a", "srv/shared").1, 1);
        assert_eq!(inode(&some, "c", "srv/shared"), before);
        // One that is left out: its content is needed nonetheless.
        let left = target(&Place::dir());
        left.make("jails/a");
        remand(["restore", "--keep-going"]).on(&left).arg(&archive).ends(3);
        assert_eq!(inode(&left, "b", "srv/shared").1, 3);
        nothing_is_left(&left);
    }
}

#[test]
fn hard_links_across_file_systems_become_copies() {
    let scratch = Scratch::new();
    let archive = linked(&scratch, "all.tar.gz", &["--standalone"]);
    let others = [Place::btrfs("many: links"), Place::zfs("many: links")];
    for place in others.into_iter().flatten() {
        for (selected, told) in [(&["a", "b", "c"][..], 3), (&["b", "c"], 3), (&["c"], 2)] {
            let pool = Pool::empty(&place);
            let ended = remand(["restore"]).on(&pool).arg(&archive).args(selected).ends(3);
            let warnings = ended.stderr.lines().filter(|line| line.starts_with("warning:"));
            assert!(
                warnings.filter(|line| line.contains("hard links")).count() <= told,
                "{}",
                ended.describe()
            );
            ended.tells("copies in place of hard links");
            let (first, links) = inode(&pool, "c", "srv/shared");
            assert_eq!((links, inode(&pool, "c", "srv/second").0), (2, first));
            nothing_is_left(&pool);
        }
    }
}

/// What tells that a file was touched.
fn state(path: &Path) -> (u64, u64, i64, i64, u32, Vec<u8>) {
    let found = path.symlink_metadata().unwrap();
    (
        found.ino(),
        found.nlink(),
        found.ctime(),
        found.ctime_nsec(),
        found.mode(),
        std::fs::read(path).unwrap(),
    )
}

#[test]
fn a_restore_next_to_an_existing_tree_never_changes_it() {
    // As people save room by hand: jails and release share inodes.
    let place = Place::dir();
    let (scratch, source) = (Scratch::new(), three(&place));
    let etc = At::open(&source.root("a")).dir("etc");
    etc.chmod("passwd", 0o600); // only attributes differ
    etc.write("hosts", "of a");
    let archive = scratch.join("all.tar.gz");
    archive_of(&source, &["a", "b"], &[], &archive);
    let pool = target(&place);
    pool.make("jails/old");
    pool.make("jails/old/root");
    let release = At::open(&pool.path("releases/base-1.0/root")).dir("etc");
    let old = At::open(&pool.path("jails/old/root"));
    let paths: Vec<_> = release
        .names()
        .into_iter()
        .map(|name| String::from_utf8(name).unwrap())
        .filter(|name| {
            pool.path(&format!("releases/base-1.0/root/etc/{name}")).symlink_metadata().unwrap().is_file()
        })
        .collect();
    assert!(paths.contains(&"passwd".to_owned()), "{paths:?}");
    for name in &paths {
        old.link(name, &release, name);
    }
    let all = |pool: &Pool| {
        let places = ["jails/old/root", "releases/base-1.0/root/etc"];
        let files = places.iter().flat_map(|place| paths.iter().map(move |name| format!("{place}/{name}")));
        files.map(|path| state(&pool.path(&path))).collect::<Vec<_>>()
    };
    let before = all(&pool);
    remand(["restore"]).on(&pool).arg(&archive).ends(0);
    assert_eq!(all(&pool), before);
    assert_same_without(&source.root("a"), &pool.root("a"), &pool.unseen());
    assert_eq!(pool.root("a").join("etc/passwd").symlink_metadata().unwrap().nlink(), 1);
}
