//! What hints hand-written command lists give.

use crate::Hint;
use crate::btrfs::send_stream::{Base, Command, Inconsistent, Kind, Namespace, Time};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

const START: Command<'static> =
    Command::Snapshot { path: b"now", uuid: [1; 16], ctransid: 7, clone_uuid: [2; 16], clone_ctransid: 6 };

/// Directories are written with a slash at the end.
struct Fake(BTreeMap<Vec<u8>, Kind>);

impl Fake {
    fn new(paths: &[&[u8]]) -> Self {
        let entry = |path: &&[u8]| match path.strip_suffix(b"/") {
            Some(directory) => (directory.to_vec(), Kind::Directory),
            None => (path.to_vec(), Kind::Other),
        };
        Self(paths.iter().map(entry).collect())
    }
}

impl Base for Fake {
    fn kind(&self, path: &[u8]) -> io::Result<Option<Kind>> {
        Ok(self.0.get(path).copied())
    }
}

fn run(base: &[&[u8]], commands: &[Command<'_>]) -> Result<Vec<Hint>, Inconsistent> {
    let mut namespace = Namespace::new(Fake::new(base));
    namespace.apply(&START)?;
    commands.iter().try_for_each(|command| namespace.apply(command))?;
    namespace.apply(&Command::End)?;
    let mut hints = BTreeSet::new();
    namespace.finish(&mut |hint| {
        hints.insert(hint);
        true
    })?;
    Ok(hints.into_iter().collect())
}

fn hints(base: &[&str], commands: &[Command<'_>]) -> Vec<String> {
    let base: Vec<_> = base.iter().map(|path| path.as_bytes()).collect();
    let shown = |hint: &Hint| {
        let path = String::from_utf8_lossy(hint.path()).into_owned();
        match hint {
            Hint::Entry(_) => path,
            Hint::Names(_) => format!("{path}/*"),
            Hint::Subtree(_) => format!("{path}/**"),
        }
    };
    run(&base, commands).expect("it adds up").iter().map(shown).collect()
}

fn error(base: &[&str], commands: &[Command<'_>]) -> String {
    let base: Vec<_> = base.iter().map(|path| path.as_bytes()).collect();
    run(&base, commands).expect_err("it does not add up").to_string()
}

fn rename<'a>(path: &'a str, to: &'a str) -> Command<'a> {
    Command::Rename { path: path.as_bytes(), to: to.as_bytes() }
}

fn utimes(path: &str) -> Command<'_> {
    let time = Time { seconds: 1, nanoseconds: 2 };
    Command::Utimes { path: path.as_bytes(), atime: time, mtime: time, ctime: time }
}

fn mkfile(path: &str) -> Command<'_> {
    Command::Mkfile { path: path.as_bytes(), inode: 300 }
}

fn mkdir(path: &str) -> Command<'_> {
    Command::Mkdir { path: path.as_bytes(), inode: 300 }
}

fn unlink(path: &str) -> Command<'_> {
    Command::Unlink { path: path.as_bytes() }
}

fn rmdir(path: &str) -> Command<'_> {
    Command::Rmdir { path: path.as_bytes() }
}

fn link<'a>(path: &'a str, existing: &'a str) -> Command<'a> {
    Command::Link { path: path.as_bytes(), existing: existing.as_bytes() }
}

fn extent(path: &str) -> Command<'_> {
    Command::UpdateExtent { path: path.as_bytes(), offset: 0, bytes: 4096 }
}

#[test]
fn nothing_and_attributes_of_the_root() {
    assert_eq!(hints(&["a"], &[]), [""; 0]);
    assert_eq!(hints(&["a"], &[utimes("")]), ["", "/*"]);
}

#[test]
fn an_entry_that_only_changed_is_one_hint_and_directories_on_the_way_are_none() {
    let set = Command::SetXattr { path: b"a/b/f", name: b"user.x", value: b"1" };
    let base = ["a/", "a/b/", "a/b/f"];
    assert_eq!(hints(&base, &[set]), ["a/b/f"]);
    let remove = Command::RemoveXattr { path: b"a/b", name: b"user.x" };
    assert_eq!(hints(&base, &[remove, extent("a/b/f")]), ["a/b", "a/b/f", "a/b/*"]);
}

#[test]
fn a_renamed_directory_is_a_subtree_in_both_places() {
    let base = ["old/", "old/f", "old/deep/", "old/deep/g"];
    assert_eq!(
        hints(&base, &[rename("old", "new"), utimes("new"), utimes("")]),
        ["", "/*", "new/**", "old/**"]
    );
    // What changed below it keeps its origin.
    let commands = [rename("old", "new"), extent("new/deep/g")];
    assert_eq!(
        hints(&base, &commands),
        ["new/deep/g", "old/deep/g", "new/**", "new/deep/**", "old/**", "old/deep/**"]
    );
}

#[test]
fn two_directories_that_swapped_are_both_told() {
    let base = ["a/", "a/f", "b/", "b/g"];
    let swap = [rename("b", "o258-7-0"), rename("a", "b"), rename("o258-7-0", "a"), extent("a/g")];
    assert_eq!(hints(&base, &swap), ["a/g", "b/g", "a/**", "b/**"]);
}

#[test]
fn a_chain_of_renames_over_orphans_leaves_no_temporary_name() {
    let base = ["a", "b", "c"];
    let chain = [
        rename("b", "o258-7-0"),
        rename("a", "b"),
        rename("c", "o259-7-0"),
        rename("o258-7-0", "c"),
        rename("o259-7-0", "a"),
    ];
    assert_eq!(hints(&base, &chain), ["a", "b", "c"]);
    assert_eq!(hints(&base, &[mkfile("o300-7-0"), rename("o300-7-0", "d")]), ["d"]);
    assert_eq!(hints(&base, &[rename("a", "x"), rename("x", "a")]), ["a"]);
}

#[test]
fn an_entry_of_another_type_in_the_same_place_is_told_of_both() {
    let base = ["a", "d/", "d/f"];
    assert_eq!(hints(&base, &[unlink("a"), mkdir("o300-7-0"), rename("o300-7-0", "a")]), ["a", "a/**"]);
    let commands = [rename("d", "o257-6-0"), unlink("o257-6-0/f"), mkfile("d"), rmdir("o257-6-0")];
    assert_eq!(hints(&base, &commands), ["d", "d/f", "d/**"]);
}

#[test]
fn one_more_name_tells_the_entry_too() {
    let base = ["a/", "a/f", "b/"];
    assert_eq!(hints(&base, &[link("b/g", "a/f"), utimes("a/f"), utimes("b")]), ["a/f", "b", "b/g", "b/*"]);
}

#[test]
fn a_name_less_tells_that_name() {
    // The base has a second name of it, b, that no command mentions.
    assert_eq!(hints(&["a", "b"], &[unlink("a")]), ["a"]);
    // The other name is mentioned first.
    assert_eq!(hints(&["a", "b"], &[link("c", "b"), unlink("b"), unlink("a")]), ["a", "b", "c"]);
}

#[test]
fn a_new_directory_in_a_moved_one() {
    let base = ["d/", "d/f"];
    let commands = [rename("d", "e"), mkdir("o300-7-0"), rename("o300-7-0", "e/new"), mkfile("e/new/g")];
    assert_eq!(hints(&base, &commands), ["e/new/g", "d/**", "e/**", "e/new/**"]);
}

#[test]
fn a_directory_moved_out_of_one_that_is_removed() {
    let base = ["p/", "p/c/", "p/c/f"];
    let commands = [rename("p", "o257-6-0"), rename("o257-6-0/c", "c"), rmdir("o257-6-0")];
    assert_eq!(hints(&base, &commands), ["c/**", "p/**", "p/c/**"]);
    // The old place of the parent is taken by something new meanwhile.
    let commands = [rename("p", "o257-6-0"), mkdir("p"), rename("o257-6-0/c", "p/c"), rmdir("o257-6-0")];
    assert_eq!(hints(&base, &commands), ["p/c", "p/c/*", "p/**"]);
}

#[test]
fn names_are_bytes() {
    let base: [&[u8]; 3] = [b"a\n\xff/", b"a\n\xff/ \\", b"\xfe"];
    let commands = [
        Command::Rename { path: b"\xfe", to: b"a\n\xff/\t" },
        Command::Truncate { path: b"a\n\xff/ \\", size: 0 },
    ];
    let expected = [&b"a\n\xff/\t"[..], b"a\n\xff/ \\", b"\xfe"].map(|path| Hint::Entry(path.to_vec()));
    assert_eq!(run(&base, &commands).expect("it adds up"), expected);
}

#[test]
fn what_cannot_be_is_an_error() {
    let base = ["d/", "d/e/", "f"];
    assert_eq!(error(&base, &[rename("x", "y")]), "there is no \"x\" at that moment");
    assert_eq!(error(&base, &[unlink("f"), extent("f")]), "there is no \"f\" at that moment");
    assert_eq!(error(&base, &[mkfile("f")]), "there is a \"f\" already at that moment");
    assert_eq!(error(&base, &[link("d/e", "f")]), "there is a \"d/e\" already at that moment");
    assert_eq!(error(&base, &[link("g", "d")]), "\"d\" is a directory at that moment");
    assert_eq!(error(&base, &[unlink("d")]), "\"d\" is a directory at that moment");
    assert_eq!(error(&base, &[rmdir("f")]), "\"f\" is no directory at that moment");
    assert_eq!(error(&base, &[mkfile("f/x")]), "\"f\" is no directory at that moment");
    assert_eq!(error(&base, &[extent("f/x")]), "\"f/x\" is no directory at that moment");
    assert_eq!(error(&base, &[mkfile("")]), "\"\" is no directory at that moment");
    assert_eq!(error(&base, &[mkfile("d/x"), rmdir("d")]), "the directory \"d\" is not empty at that moment");
    assert_eq!(error(&base, &[rename("d", "d/e/x")]), "the directory \"d\" would come to lie in itself");
    assert_eq!(error(&base, &[rename("f", "d")]), "there is a \"d\" already at that moment");
    assert_eq!(error(&base, &[mkdir("n"), extent("n/x")]), "there is no \"n/x\" at that moment");
    // A directory that was moved away and removed takes what was below it along.
    assert_eq!(error(&base, &[rename("d/e", "e"), extent("d/e")]), "there is no \"d/e\" at that moment");
}

#[test]
fn a_stream_has_one_begin_and_one_end() {
    let begin = "it does not begin with the subvolume that it is a difference from, or tells more than one";
    let end = "it ends too early, or goes on after its end";
    assert_eq!(error(&[], &[START]), begin);
    assert_eq!(error(&[], &[Command::End, mkfile("a")]), end);
    assert_eq!(error(&[], &[Command::End]), end, "two ends");
    let whole = Command::Subvol { path: b"s", uuid: [0; 16], ctransid: 1 };
    assert_eq!(error(&[], &[whole]), "it is no difference from another subvolume");
    let mut namespace = Namespace::new(Fake::new(&[]));
    assert_eq!(namespace.apply(&mkfile("a")).expect_err("no begin").to_string(), begin);
    let mut namespace = Namespace::new(Fake::new(&[]));
    namespace.apply(&START).expect("a begin");
    assert_eq!(namespace.finish(&mut |_| true).expect_err("no end").to_string(), end);
}

#[test]
fn paths_without_end_are_an_error_and_not_a_flood() {
    // Directories are put into one another from the bottom, so that no command names a long path.
    let name = |depth: usize| format!("{depth:0200}");
    let mut namespace = Namespace::new(Fake::new(&[]));
    namespace.apply(&START).expect("a begin");
    namespace.apply(&mkdir(&name(0))).expect("a directory");
    for depth in 1..30 {
        let (inner, outer) = (name(depth - 1), name(depth));
        namespace.apply(&mkdir(&outer)).expect("a directory");
        namespace.apply(&rename(&inner, &format!("{outer}/{inner}"))).expect("a move");
    }
    namespace.apply(&Command::End).expect("an end");
    let error = namespace.finish(&mut |_| true).expect_err("too deep");
    assert!(matches!(error, Inconsistent::TooLong(_)), "{error}");
}

#[test]
fn whoever_has_enough_is_not_asked_again() {
    let mut namespace = Namespace::new(Fake::new(&[b"a", b"b", b"c"]));
    let commands = [START, unlink("a"), unlink("b"), extent("c"), Command::End];
    commands.iter().try_for_each(|command| namespace.apply(command)).expect("it adds up");
    let mut calls = 0;
    let stop = &mut |_| {
        calls += 1;
        calls < 2
    };
    namespace.finish(stop).expect("an early end");
    assert_eq!(calls, 2);
}
