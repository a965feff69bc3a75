//! Random trees and random changes, through every engine.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::model::Model;
use super::scratch::{Btrfs, Scratch, run, set_mtime};
use super::{OPTIONS, brief, changes, engine};
use crate::change::{Change, Engine, Summary, What};
use crate::tree::Tree;

/// Paths that operations work on: a few, so that they meet.
pub(super) const PATHS: [&[u8]; 14] = [
    b"a",
    b"b",
    b"c\xff\n",
    b"d",
    b"d/a",
    b"d/b \\#012",
    b"d/e",
    b"d/e/a",
    b"d/e/f",
    b"d/e/f/g",
    b"h",
    b"h/a",
    b"h/d",
    b"h/d/a",
];

#[derive(Clone, Debug)]
pub(super) enum Op {
    Write(usize, u8, usize),
    /// Other content at the same size and mtime.
    Sly(usize),
    /// The same content again.
    Rewrite(usize),
    Mkdir(usize),
    Symlink(usize, u8),
    Fifo(usize),
    Link(usize, usize),
    Rename(usize, usize),
    /// Each takes the other's name.
    Swap(usize, usize),
    Remove(usize),
    Chmod(usize, u32),
    Chown(usize, u32),
    Xattr(usize, u8),
    Mtime(usize, i64),
    /// Another inode with the same content and attributes.
    Replace(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let path = || 0..PATHS.len();
    prop_oneof![
        4 => (path(), 0..3_u8, prop_oneof![0..3_usize, Just(200_000), Just(262_144), Just(400_001)])
            .prop_map(|(path, fill, size)| Op::Write(path, fill, size)),
        1 => path().prop_map(Op::Sly),
        1 => path().prop_map(Op::Rewrite),
        4 => path().prop_map(Op::Mkdir),
        1 => (path(), 0..2_u8).prop_map(|(path, target)| Op::Symlink(path, target)),
        1 => path().prop_map(Op::Fifo),
        4 => (path(), path()).prop_map(|(from, to)| Op::Link(from, to)),
        2 => (path(), path()).prop_map(|(from, to)| Op::Rename(from, to)),
        1 => (path(), path()).prop_map(|(one, other)| Op::Swap(one, other)),
        2 => path().prop_map(Op::Remove),
        1 => (path(), 0..2_u32).prop_map(|(path, bit)| Op::Chmod(path, 0o640 | bit)),
        1 => (path(), 0..3_u32).prop_map(|(path, uid)| Op::Chown(path, uid)),
        1 => (path(), 0..3_u8).prop_map(|(path, value)| Op::Xattr(path, value)),
        1 => (path(), 0..3_i64).prop_map(|(path, seconds)| Op::Mtime(path, seconds)),
        4 => path().prop_map(Op::Replace),
    ]
}

fn at(root: &Path, index: usize) -> PathBuf {
    root.join(OsStr::from_bytes(PATHS[index]))
}

/// Does what can be done; the rest has no effect, which is as good a case as any.
fn apply(root: &Path, op: &Op) -> Option<()> {
    match *op {
        Op::Write(path, fill, size) => {
            let mut content = vec![fill; size];
            if let Some(last) = content.last_mut() {
                *last = b'z';
            }
            // Through the inode, so that all its names see it. Opening a FIFO would wait.
            let path = at(root, path);
            let free = fs::symlink_metadata(&path).map_or(true, |found| found.is_file());
            free.then(|| fs::write(path, content).ok()).flatten()
        }
        Op::Sly(path) => {
            let path = at(root, path);
            let before = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?.modified().ok()?;
            let mut content = fs::read(&path).ok()?;
            *content.last_mut()? ^= 1;
            fs::write(&path, content).ok()?;
            fs::File::options().write(true).open(&path).ok()?.set_modified(before).ok()
        }
        Op::Rewrite(path) => {
            let path = at(root, path);
            let before = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?.modified().ok()?;
            fs::write(&path, fs::read(&path).ok()?).ok()?;
            fs::File::options().write(true).open(&path).ok()?.set_modified(before).ok()
        }
        Op::Mkdir(path) => fs::create_dir(at(root, path)).ok(),
        Op::Symlink(path, target) => symlink(format!("to{target}"), at(root, path)).ok(),
        Op::Fifo(path) => {
            let mode = rustix::fs::Mode::from_raw_mode(0o600);
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, at(root, path), kind, mode, 0).ok()
        }
        Op::Link(from, to) => fs::hard_link(at(root, from), at(root, to)).ok(),
        Op::Rename(from, to) => fs::rename(at(root, from), at(root, to)).ok(),
        Op::Swap(one, other) => {
            let (one, other) = (at(root, one), at(root, other));
            rustix::fs::renameat_with(
                rustix::fs::CWD,
                one,
                rustix::fs::CWD,
                other,
                rustix::fs::RenameFlags::EXCHANGE,
            )
            .ok()
        }
        Op::Remove(path) => {
            let path = at(root, path);
            fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path)).ok()
        }
        Op::Chmod(path, mode) => {
            let path = at(root, path);
            let found = fs::symlink_metadata(&path).ok()?;
            let mode = if found.is_dir() { mode | 0o100 } else { mode };
            (!found.is_symlink()).then(|| fs::set_permissions(path, fs::Permissions::from_mode(mode)).ok())?
        }
        Op::Chown(path, uid) => lchown(at(root, path), Some(uid), None).ok(),
        Op::Xattr(path, value) => {
            let flags = rustix::fs::XattrFlags::empty();
            rustix::fs::lsetxattr(at(root, path), "user.test", &[value], flags).ok()
        }
        Op::Mtime(path, seconds) => {
            let path = at(root, path);
            path.symlink_metadata().ok().map(|_| set_mtime(&path, seconds))
        }
        Op::Replace(path) => {
            let (path, copy) = (at(root, path), root.join("copy"));
            fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
            run(Command::new("cp").arg("-a").arg(&path).arg(&copy));
            fs::rename(copy, path).ok()
        }
    }
}

pub(super) fn apply_all(root: &Path, ops: &[Op]) {
    for op in ops {
        apply(root, op);
    }
    // Otherwise every directory differs in every case, by its time.
    for dir in PATHS.iter().rev().map(|path| root.join(OsStr::from_bytes(path))).chain([root.to_owned()]) {
        if fs::symlink_metadata(&dir).is_ok_and(|found| found.is_dir()) {
            let old = fs::symlink_metadata(&dir).unwrap().modified().unwrap();
            if old.elapsed().is_ok_and(|age| age.as_secs() < 10_000_000) {
                set_mtime(&dir, 7);
            }
        }
    }
}

fn check(name: &str, base: &Tree, now: &Tree) -> (Vec<Change>, Summary) {
    check_engine(&*engine(name, Some(i64::MAX)).unwrap(), base, now)
}

pub(super) fn check_engine(engine: &dyn Engine, base: &Tree, now: &Tree) -> (Vec<Change>, Summary) {
    let (before, after) = (Model::of(base), Model::of(now));
    let (found, summary) = changes(engine, Some(base), now, OPTIONS).unwrap();
    let name = engine.name();
    assert_eq!(before.apply(&found, &after).seen(), after.seen(), "{name}: {:?}", brief(&found));
    check_order(&found, &before, &after);
    (found, summary)
}

/// Changes that need one name come in the order of the walks, those that need all names after them and sorted.
fn check_order(found: &[Change], before: &Model, after: &Model) {
    let late = |change: &Change| {
        !(change.path.is_root() || change.directory.is_some() || matches!(change.what, What::Deleted { .. }))
    };
    let (early, late) = found.split_at(found.iter().position(late).unwrap_or(found.len()));
    assert!(late.iter().all(|change| change.directory.is_none()), "{:?}", brief(found));
    assert!(late.is_sorted_by(|a, b| a.path.as_bytes() < b.path.as_bytes()), "{:?}", brief(found));
    for model in [before, after] {
        let place = |change: &Change| model.order.iter().position(|path| path == change.path.as_bytes());
        let places: Vec<usize> = early.iter().filter_map(place).collect();
        assert!(places.is_sorted(), "{:?}", brief(found));
    }
}

/// A tree to begin with, so that most operations find something to work on: three directories, files in them, and two
/// entries with several names.
fn populated(mut ops: Vec<Op>) -> Vec<Op> {
    let mut all: Vec<Op> = [3, 6, 10].map(Op::Mkdir).into();
    all.extend([0, 1, 4, 7].map(|path| Op::Write(path, 1, 200_000)));
    all.extend([(0, 2), (0, 11), (4, 5)].map(|(from, to)| Op::Link(from, to)));
    all.append(&mut ops);
    all
}

pub(super) fn random(cases: u32, test: impl Fn(&[Op], &[Op])) {
    let ops = || proptest::collection::vec(op(), 0..16);
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&(ops().prop_map(populated), ops()), |(base, now)| {
            test(&base, &now);
            Ok(())
        })
        .unwrap();
}

fn random_copies(cases: u32, engines: &[&str]) {
    random(cases, |base_ops, now_ops| {
        let scratch = Scratch::new();
        let (base, now) = (scratch.path("base"), scratch.path("now"));
        fs::create_dir(&base).unwrap();
        apply_all(&base, base_ops);
        scratch.copy("base", "now");
        apply_all(&now, now_ops);
        let (base, now) = (scratch.tree("base"), scratch.tree("now"));
        let all: Vec<_> = engines.iter().map(|name| brief(&check(name, &base, &now).0)).collect();
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:?}");
    });
}

#[test]
fn content_finds_every_change() {
    random_copies(256, &["content"]);
}

#[test]
fn rsync_finds_what_content_finds() {
    random_copies(16, &["content", "rsync"]);
}

#[test]
fn quick_believes_size_and_mtime() {
    let scratch = Scratch::new();
    for side in ["base", "now"] {
        scratch.write(&format!("{side}/sly"), side.as_bytes().get(..2).unwrap());
        scratch.write(&format!("{side}/mode"), b"x");
    }
    scratch.chmod("now/mode", 0o600);
    let (base, now) = (scratch.tree("base"), scratch.tree("now"));
    let quick = changes(&*engine("quick", Some(i64::MAX)).unwrap(), Some(&base), &now, OPTIONS).unwrap();
    assert_eq!(brief(&quick.0), ["m mode"]);
    assert_eq!(brief(&check("content", &base, &now).0), ["m mode", "M sly"]);
}

#[test]
fn lineage_finds_every_change_of_a_clone() {
    let Some(btrfs) = Btrfs::mount() else {
        eprintln!("SKIPPED lineage_finds_every_change_of_a_clone: needs root, loop devices and mkfs.btrfs");
        return;
    };
    let scratch = Scratch::at(&btrfs.path());
    random(48, |base_ops, now_ops| {
        btrfs.subvolume(&["create", "base"]);
        apply_all(&scratch.path("base"), base_ops);
        btrfs.subvolume(&["snapshot", "base", "now"]);
        let (base, now) = (scratch.tree("base"), scratch.tree("now"));
        let (found, summary) = check("lineage", &base, &now);
        assert_eq!((brief(&found), summary.compared_bytes), (Vec::new(), 0));
        apply_all(&scratch.path("now"), now_ops);
        check("lineage", &base, &now);
        check("content", &base, &now);
        btrfs.subvolume(&["delete", "base", "now"]);
    });
}
