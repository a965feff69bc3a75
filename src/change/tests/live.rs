//! Shapes that random trees do not take.

use std::fs;
use std::os::fd::OwnedFd;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, unlinkat};

use super::scratch::Scratch;
use super::{OPTIONS, SCOPE, brief, changes, content, engine, path};
use crate::archive::Digest;
use crate::change::{DirectoryPair, Error, OfBase, Options, What, stamp_of_tree, walk};

fn walked(scratch: &Scratch, base: &str, now: &str) -> Vec<DirectoryPair> {
    let mut pairs = Vec::new();
    walk::merged(Some(&scratch.tree(base)), Some(&scratch.tree(now)), SCOPE, &mut |mut pair| {
        (pair.base, pair.now) = (None, None);
        pairs.push(pair);
        true
    })
    .unwrap();
    pairs
}

#[test]
fn a_walk_takes_the_names_of_a_directory_before_what_is_below() {
    let scratch = Scratch::new();
    for name in
        ["base/b/x", "base/b/sub/y", "base/only/deep/z", "base/file", "now/b/x", "now/a/new", "now/file/in"]
    {
        scratch.write(name, b"");
    }
    let text = |pair: &DirectoryPair| {
        let names: Vec<_> =
            pair.names.iter().map(|candidate| String::from_utf8_lossy(&candidate.name)).collect();
        format!("{}: {}", pair.path, names.join(" "))
    };
    let pairs: Vec<String> = walked(&scratch, "base", "now").iter().map(text).collect();
    let expected =
        [": a b file only", "a: new", "b: sub x", "b/sub: y", "file: in", "only: deep", "only/deep: z"];
    assert_eq!(pairs, expected);
}

#[test]
fn everything_of_a_deleted_or_new_directory_is_listed() {
    let scratch = Scratch::new();
    scratch.write("base/gone/sub/f", b"1");
    scratch.write("base/turns/inner", b"1");
    scratch.write("now/turns", b"1");
    scratch.write("now/new/sub/f", b"1");
    let (found, _) = content(Some(&scratch.tree("base")), &scratch.tree("now"), OPTIONS);
    let expected = [
        "D gone",
        "A new",
        "M turns",
        "D gone/sub",
        "D gone/sub/f",
        "A new/sub",
        "A new/sub/f",
        "D turns/inner",
    ];
    assert_eq!(brief(&found), expected);
}

#[test]
fn what_is_excluded_is_neither_new_nor_deleted() {
    let scratch = Scratch::new();
    for name in ["base/a/old", "base/ab", "now/a/new", "now/x/a/f"] {
        scratch.write(name, b"");
    }
    let exclude = [path("a"), path("x/a")];
    for name in ["content", "rsync"] {
        let options = Options { exclude: &exclude, ..OPTIONS };
        let (base, now) = (scratch.tree("base"), scratch.tree("now"));
        let (found, _) =
            changes(&*engine(name, Some(i64::MAX)).unwrap(), Some(&base), &now, options).unwrap();
        assert_eq!(brief(&found), ["D ab", "A x"], "{name}");
    }
}

#[test]
fn the_root_is_compared_too() {
    let scratch = Scratch::new();
    scratch.write("base/f", b"");
    scratch.copy("base", "now");
    scratch.chmod("now", 0o700);
    let (found, _) = content(Some(&scratch.tree("base")), &scratch.tree("now"), OPTIONS);
    assert_eq!(brief(&found), ["M "]);
    assert!(found[0].differs.mode && !found[0].differs.mtime);
    assert_eq!(brief(&content(None, &scratch.tree("now"), OPTIONS).0), ["A ", "A f"]);
}

#[test]
fn holes_are_not_read() {
    let scratch = Scratch::new();
    for side in ["base", "now"] {
        scratch.write(&format!("{side}/sparse"), b"head");
        fs::File::options()
            .write(true)
            .open(scratch.path(&format!("{side}/sparse")))
            .unwrap()
            .set_len(1 << 30)
            .unwrap();
        super::scratch::set_mtime(&scratch.path(&format!("{side}/sparse")), 1);
    }
    let (found, summary) = content(Some(&scratch.tree("base")), &scratch.tree("now"), OPTIONS);
    assert_eq!(brief(&found), Vec::<String>::new());
    assert!(summary.compared_bytes < 4 << 20, "{}", summary.compared_bytes);
}

#[test]
fn an_entry_with_many_names_is_read_once() {
    let scratch = Scratch::new();
    scratch.write("base/rescue/n000", &vec![7; 1_000_000]);
    for number in 1..140 {
        fs::hard_link(scratch.path("base/rescue/n000"), scratch.path(&format!("base/rescue/n{number:03}")))
            .unwrap();
    }
    scratch.copy("base", "now");
    let (found, summary) = content(Some(&scratch.tree("base")), &scratch.tree("now"), OPTIONS);
    assert_eq!((brief(&found), summary.compared_bytes), (Vec::new(), 2_000_000));
}

/// A chain of directories, too deep for anything that goes by whole paths.
struct Chain(Scratch);

impl Chain {
    const LEVELS: usize = 1000;

    fn new() -> Self {
        let scratch = Scratch::new();
        let mut below = Self::open(CWD, scratch.path("."));
        for side in ["base", "now"] {
            fs::create_dir(scratch.path(side)).unwrap();
            below = Self::open(CWD, scratch.path(side));
            for _ in 0..Self::LEVELS {
                mkdirat(&below, "deep", Mode::RWXU).unwrap();
                mkdirat(&below, "side", Mode::RWXU).unwrap();
                below = Self::open(&below, "deep");
            }
        }
        mkdirat(&below, "bottom", Mode::RWXU).unwrap();
        Self(scratch)
    }

    fn open(at: impl std::os::fd::AsFd, name: impl rustix::path::Arg) -> OwnedFd {
        openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        for side in ["base", "now"] {
            let mut below = Self::open(CWD, self.0.path(side));
            for _ in 0..Self::LEVELS {
                below = Self::open(&below, "deep");
            }
            let _ = unlinkat(&below, "bottom", AtFlags::REMOVEDIR);
            for _ in 0..Self::LEVELS {
                below = Self::open(&below, "..");
                unlinkat(&below, "deep", AtFlags::REMOVEDIR).unwrap();
                unlinkat(&below, "side", AtFlags::REMOVEDIR).unwrap();
            }
        }
    }
}

#[test]
fn depth_has_no_limit() {
    let chain = Chain::new();
    let (base, now) = (chain.0.tree("base"), chain.0.tree("now"));
    let (found, summary) = content(Some(&base), &now, Options { threads: 1, ..OPTIONS });
    assert_eq!(summary.seen_entries, 2 * Chain::LEVELS as u64 + 2);
    let new: Vec<String> = brief(&found).into_iter().filter(|text| text.starts_with('A')).collect();
    assert_eq!(new.len(), 1);
    assert!(new[0].ends_with("deep/bottom"));
    let refused = changes(&*engine("rsync", Some(i64::MAX)).unwrap(), Some(&base), &now, OPTIONS);
    assert!(
        matches!(&refused, Err(Error::TooLong { path, .. }) if path.ends_with("deep")),
        "{:?}",
        refused.err()
    );
}

/// A file system that is mounted as long as this lives.
struct Mounted(std::path::PathBuf);

impl Mounted {
    fn tmpfs(at: std::path::PathBuf) -> Option<Self> {
        let done = std::process::Command::new("mount").args(["-t", "tmpfs", "none"]).arg(&at).output();
        done.is_ok_and(|output| output.status.success()).then(|| Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

#[test]
fn what_is_mounted_is_not_entered_and_what_it_hides_not_deleted() {
    let scratch = Scratch::new();
    for name in ["base/bin/tool", "base/etc/f", "now/bin/tool", "now/etc/f", "now/mnt/new/under"] {
        scratch.write(name, b"");
    }
    let mounts = [scratch.path("now/bin"), scratch.path("now/mnt/new")].map(Mounted::tmpfs);
    if mounts.iter().any(Option::is_none) {
        eprintln!("SKIPPED what_is_mounted_is_not_entered_and_what_it_hides_not_deleted: needs root");
        return;
    }
    fs::write(scratch.path("now/bin/foreign"), b"").unwrap();
    let (base, now) = (scratch.tree("base"), scratch.tree("now"));
    let options = Options { of_base: OfBase::Fingerprint, ..OPTIONS };
    let stamp = stamp_of_tree(&base, SCOPE).unwrap().digest;
    for name in ["content", "rsync"] {
        let (found, summary) =
            changes(&*engine(name, Some(i64::MAX)).unwrap(), Some(&base), &now, options).unwrap();
        assert_eq!(brief(&found), ["A mnt", "A mnt/new"], "{name}");
        assert_eq!(summary.mount_points, [path("bin"), path("mnt/new")], "{name}");
        assert_eq!(summary.fingerprint.unwrap().entries, 5, "{name}");
        assert_eq!(summary.stamp.unwrap().digest, stamp, "{name}");
    }
}

#[test]
fn names_that_no_longer_share_an_entry_are_told_apart() {
    let scratch = Scratch::new();
    scratch.write("base/a", b"same");
    fs::hard_link(scratch.path("base/a"), scratch.path("base/b")).unwrap();
    super::scratch::set_mtime(&scratch.path("base"), 1_000_000);
    scratch.write("now/a", b"same");
    scratch.write("now/b", b"same");
    let (found, _) = content(Some(&scratch.tree("base")), &scratch.tree("now"), OPTIONS);
    assert_eq!(brief(&found), ["M b"]);
    assert!(found[0].differs.links && !found[0].differs.content && found[0].group.is_none());
    let What::Whole { replaced: Some(replaced), .. } = &found[0].what else { panic!("not whole") };
    assert_eq!(replaced.digest, Some(Digest::of(b"same")));
    scratch.chmod("now/a", 0o600);
    let (found, _) = content(Some(&scratch.tree("base")), &scratch.tree("now"), OPTIONS);
    assert_eq!(brief(&found), ["m a", "M b"]);
}
