//! `list`, `info`, `verify`, `diff`, `cleanup`, `completions`, `man`.

use super::{small, target};
use crate::support::pool::{Place, Pool, Size, names, subvolumes};
use crate::support::run::{export, remand};

#[test]
fn list_shows_resources_and_their_bases() {
    let (_scratch, pool) = small();
    let text = remand(["list"]).on(&pool).ends(0).text();
    let jail = text.lines().find(|line| line.contains("web01")).expect("the jail");
    assert!(jail.contains("base-1.0"), "{text}");
    assert!(text.lines().any(|line| line.contains("base-1.0") && line.contains("release")), "{text}");
}

#[test]
fn list_of_an_empty_pool_is_no_error() {
    let pool = crate::support::pool::Pool::empty(&crate::support::pool::Place::dir());
    remand(["list"]).on(&pool).ends(0);
}

#[test]
fn info_shows_what_an_archive_holds_and_needs_no_whole_one() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    export(&pool, "web01", &scratch.join("a"), &["--format", "directory"]);
    for name in ["a.tar.gz", "a"] {
        let text = remand(["info"]).arg(scratch.join(name)).ends(0).text();
        for word in ["web01", "base-1.0", "differential"] {
            assert!(text.to_lowercase().contains(word), "{word} in {text}");
        }
    }
    let bytes = std::fs::read(scratch.join("a.tar.gz")).unwrap();
    remand(["info", "-"]).input(bytes).ends(0);
}

#[test]
fn verify_needs_neither_pool_nor_base() {
    let (scratch, pool) = small();
    for (name, options) in
        [("a.tar.gz", &[][..]), ("a", &["--format", "directory"]), ("b.tar", &["--standalone"])]
    {
        export(&pool, "web01", &scratch.join(name), options);
        remand(["verify"]).arg(scratch.join(name)).ends(0);
    }
    let bytes = std::fs::read(scratch.join("a.tar.gz")).unwrap();
    remand(["verify", "-"]).input(bytes).ends(0);
}

#[test]
fn diff_of_a_resource_and_of_its_archive_agree() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    let live = remand(["diff", "web01"]).on(&pool).ends(0).text();
    let archived = remand(["diff"]).arg(scratch.join("a.tar.gz")).ends(0).text();
    let letters = |text: &str| {
        let mut lines: Vec<(char, String)> = text
            .lines()
            .filter_map(|line| {
                let (letter, path) = line.split_once("  ")?;
                Some((letter.chars().next()?, path.split_whitespace().next()?.to_owned()))
            })
            .collect();
        lines.sort();
        lines
    };
    let found = letters(&live);
    for (letter, path) in
        [('M', "etc/conf"), ('m', "etc/mode"), ('D', "old/gone"), ('A', "srv/new"), ('A', "srv/")]
    {
        assert!(found.contains(&(letter, path.to_owned())), "{letter} {path} in {live}");
    }
    assert!(!live.contains("passwd"), "{live}");
    assert_eq!(found, letters(&archived), "\n{live}\n{archived}");
}

#[test]
fn a_live_diff_makes_a_snapshot_where_that_tells_what_changed_and_leaves_none() {
    let Some(place) = Place::btrfs("diff by snapshots") else { return };
    let pool = Pool::with_jail(&place, Size::Small);
    let before = subvolumes(pool.directory());
    let diff = |options: &[&str]| remand(["diff", "-v", "web01"]).args(options).on(&pool).ends(0);
    let found = diff(&[]);
    assert!(found.text().contains("etc/conf"), "{}", found.describe());
    assert_eq!(found.text(), diff(&["--engine", "snapshot"]).text());
    for engine in ["lineage", "content"] {
        let mut lines: Vec<_> = found.text().lines().map(str::to_owned).collect();
        let mut others: Vec<_> = diff(&["--engine", engine]).text().lines().map(str::to_owned).collect();
        lines.sort();
        others.sort();
        assert_eq!(lines, others, "{engine}");
    }
    assert_eq!(subvolumes(pool.directory()), before);
    assert_eq!(pool.remains(), [""; 0]);
}

#[test]
fn diff_stat_counts() {
    let (_scratch, pool) = small();
    let text = remand(["diff", "--stat", "web01"]).on(&pool).ends(0).text();
    assert!(text.contains("etc") && text.contains("srv"), "{text}");
}

#[test]
fn cleanup_of_a_clean_pool_has_nothing_to_do() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    for arguments in [&["cleanup"][..], &["cleanup", "--yes"]] {
        remand(arguments).on(&pool).ends(0);
    }
    assert_eq!(pool.jails(), ["web01"]);
    remand(["cleanup"]).on(&target()).ends(0);
}

#[test]
fn completions_for_every_shell() {
    for shell in ["bash", "zsh", "fish"] {
        let text = remand(["completions", shell]).ends(0).text();
        assert!(text.contains("remand") && text.contains("standalone"), "{shell}");
    }
}

#[test]
fn man_writes_its_pages() {
    let (scratch, _pool) = small();
    remand(["man"]).arg(scratch.path()).ends(0);
    let pages = names(scratch.path());
    assert!(pages.contains(&"remand.8".to_owned()), "{pages:?}");
    for page in pages {
        let text = std::fs::read_to_string(scratch.join(&page)).unwrap();
        assert!(text.contains(".Dd") && text.contains(".Sh NAME"), "{page}");
    }
}

const COMMANDS: [&str; 13] = [
    "export",
    "restore",
    "list",
    "info",
    "verify",
    "diff",
    "cleanup",
    "log",
    "tag",
    "note",
    "keep",
    "completions",
    "man",
];

#[test]
fn help_and_version() {
    let help = remand(["--help"]).ends(0).text();
    for command in COMMANDS {
        assert!(help.contains(command), "{command}");
        remand([command, "--help"]).ends(0);
    }
    assert!(remand(["--version"]).ends(0).text().starts_with("remand "));
}

#[test]
fn quiet_says_nothing() {
    let (scratch, pool) = small();
    let ended = remand(["export", "-q", "web01"]).on(&pool).arg(scratch.join("a.tar.gz")).ends(0);
    assert_eq!((ended.text().as_str(), ended.stderr.as_str()), ("", ""));
}
