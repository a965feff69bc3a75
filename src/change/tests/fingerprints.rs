use std::fs;
use std::sync::atomic::AtomicBool;

use super::scratch::{Scratch, set_mtime};
use super::{OPTIONS, SCOPE, changes, content, engine, path};
use crate::change::{Fingerprint, OfBase, Options, Stamp, fingerprint_of_tree, stamp_of_tree};
use crate::tree::{Timestamp, Tree};

fn print(tree: &Tree) -> Fingerprint {
    fingerprint_of_tree(tree, 2, &[], &AtomicBool::new(false), &|_, _| {}).unwrap()
}

/// A tree with links, holes, an xattr and many names.
fn base() -> Scratch {
    let scratch = Scratch::new();
    for number in 0..200 {
        scratch.write(&format!("base/etc/f{number}"), format!("{number}").as_bytes());
    }
    scratch.write("base/usr/bin/tool", &vec![7; 300_000]);
    fs::hard_link(scratch.path("base/usr/bin/tool"), scratch.path("base/etc/tool")).unwrap();
    fs::File::create(scratch.path("base/sparse")).unwrap().set_len(5 << 20).unwrap();
    std::os::unix::fs::symlink("../x", scratch.path("base/usr/link")).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(scratch.path("base/etc/f1"), "user.test", b"1", flags).unwrap();
    scratch.copy("base", "copy");
    scratch
}

#[test]
fn a_copy_has_the_fingerprint_of_its_original() {
    let scratch = base();
    let original = print(&scratch.tree("base"));
    assert_eq!(original, print(&scratch.tree("copy")));
    assert_eq!(original.explain(&print(&scratch.tree("copy"))), "");
    assert_eq!(original.entries, 208);
    assert_eq!(original.places.keys().collect::<Vec<_>>(), [".", "etc", "sparse", "usr"]);
}

#[test]
fn a_name_outside_the_tree_is_no_difference() {
    let scratch = base();
    fs::hard_link(scratch.path("copy/etc/f7"), scratch.path("outside")).unwrap();
    assert_eq!(print(&scratch.tree("base")), print(&scratch.tree("copy")));
}

#[test]
fn every_engine_gives_the_same_on_the_way() {
    let scratch = base();
    scratch.write("copy/etc/new", b"new");
    fs::remove_file(scratch.path("copy/etc/tool")).unwrap();
    let (base, now) = (scratch.tree("base"), scratch.tree("copy"));
    let expected = print(&base);
    let stamp = stamp_of_tree(&base, SCOPE).unwrap().digest;
    let options = Options { of_base: OfBase::Fingerprint, ..OPTIONS };
    for name in ["content", "lineage", "quick", "rsync"] {
        let (_, summary) =
            changes(&*engine(name, Some(i64::MAX)).unwrap(), Some(&base), &now, options).unwrap();
        assert_eq!(summary.fingerprint.as_ref(), Some(&expected), "{name}");
        assert_eq!(summary.stamp.map(|stamp| stamp.digest), Some(stamp), "{name}");
        let options = Options { of_base: OfBase::Stamp, ..options };
        let (_, summary) =
            changes(&*engine(name, Some(i64::MAX)).unwrap(), Some(&base), &now, options).unwrap();
        assert_eq!(summary.fingerprint, None, "{name}");
        assert_eq!(summary.stamp.map(|stamp| stamp.digest), Some(stamp), "{name}");
    }
    let exclude = [path("etc")];
    let (_, summary) = content(Some(&base), &now, Options { exclude: &exclude, ..options });
    assert_eq!(summary.fingerprint, Some(expected));
    assert_eq!(summary.stamp.map(|stamp| stamp.digest), Some(stamp));
    let (_, summary) = content(None, &now, options);
    assert_eq!((summary.fingerprint, summary.stamp), (None, None));
    let (_, summary) = content(Some(&base), &now, OPTIONS);
    assert_eq!((summary.fingerprint, summary.stamp), (None, None));
}

#[test]
fn differences_are_explained() {
    type Change = fn(&Scratch);
    let cases: [(Change, &str); 7] = [
        (|s| s.chmod("copy/etc/f1", 0o600), "mode differ in etc"),
        (|s| s.write("copy/etc/f1", b"9"), "content differ in etc"),
        (|s| s.chmod("copy", 0o700), "mode differ in ."),
        (|s| set_mtime(&s.path("copy/etc/f1"), 1), "only times of modification differ"),
        (|s| s.write("copy/usr/new", b""), "paths differ in usr (209 entries, not 208)"),
        (|s| s.write("copy/new", b""), "paths differ in new (209 entries, not 208)"),
        (
            |s| {
                let names = ["copy/etc/tool", "copy/etc/tool2"].map(|name| s.path(name));
                fs::copy(&names[0], &names[1]).unwrap();
                fs::rename(&names[1], &names[0]).unwrap();
            },
            "links differ in etc and usr",
        ),
    ];
    for (change, expected) in cases {
        let scratch = base();
        let original = print(&scratch.tree("base"));
        change(&scratch);
        assert_eq!(original.explain(&print(&scratch.tree("copy"))), expected);
    }
}

#[test]
fn without_places_only_aspects_are_named() {
    let scratch = base();
    let mut wanted = print(&scratch.tree("base"));
    wanted.places.clear();
    scratch.chmod("copy/etc/f1", 0o600);
    assert_eq!(wanted.explain(&print(&scratch.tree("copy"))), "mode differ");
}

#[test]
fn a_stamp_holds_until_the_tree_is_touched() {
    let scratch = base();
    let tree = scratch.tree("base");
    let stamp = stamp_of_tree(&tree, SCOPE).unwrap();
    assert_eq!(stamp.digest, stamp_of_tree(&tree, SCOPE).unwrap().digest);
    let file = scratch.path("base/usr/bin/tool");
    let before = fs::metadata(&file).unwrap().modified().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    fs::write(&file, vec![8; 300_000]).unwrap();
    fs::File::options().write(true).open(&file).unwrap().set_modified(before).unwrap();
    let touched = stamp_of_tree(&tree, SCOPE).unwrap();
    assert_ne!(stamp.digest, touched.digest);
    assert!(touched.newest_ctime > stamp.newest_ctime);
}

#[test]
fn a_stamp_is_settled_once_two_seconds_have_passed() {
    let scratch = base();
    let at = |seconds| Timestamp { seconds, nanoseconds: 999_999_999 };
    let fresh = stamp_of_tree(&scratch.tree("base"), SCOPE).unwrap();
    assert!(!fresh.is_settled(), "{fresh:?}");
    let old = |before| Stamp { newest_ctime: at(fresh.begun_seconds - before), ..fresh.clone() };
    assert!(old(2).is_settled() && !old(1).is_settled() && !old(-5).is_settled());
    assert!(!Stamp { newest_ctime: at(i64::MAX), ..fresh.clone() }.is_settled());
}

#[test]
fn a_stamp_sees_every_name_of_a_long_directory_and_of_many_short_ones() {
    let scratch = Scratch::new();
    let long = (0..3000).map(|number| format!("base/long/f{number}"));
    let short = (0..300).map(|number| format!("base/d{number}/f"));
    let files: Vec<String> = long.chain(short).collect();
    for path in &files {
        let path = scratch.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "x").unwrap();
    }
    let tree = scratch.tree("base");
    let mut last = stamp_of_tree(&tree, SCOPE).unwrap();
    for touched in [0, 1023, 1024, 2999, 3000, 3299] {
        fs::write(scratch.path(&files[touched]), "longer").unwrap();
        let stamp = stamp_of_tree(&tree, SCOPE).unwrap();
        assert_ne!(stamp.digest, last.digest, "{}", files[touched]);
        assert_eq!(stamp.digest, stamp_of_tree(&tree, SCOPE).unwrap().digest);
        last = stamp;
    }
    let interrupted = AtomicBool::new(true);
    let stopped = stamp_of_tree(&tree, crate::change::Scope { exclude: &[], interrupted: &interrupted });
    assert!(matches!(stopped, Err(crate::change::Error::Interrupted)), "{stopped:?}");
}
