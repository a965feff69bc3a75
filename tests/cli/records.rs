//! `log`, `tag`, `note`, `keep`, and what the records are for `list`.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use super::{small, target};
use crate::support::pool::Pool;
use crate::support::run::{Ended, remand};

/// The last line of a JSON transcript.
fn result(ended: &Ended) -> Value {
    ended.json().pop().expect("a result")["result"].take()
}

fn database(pool: &Pool) -> std::path::PathBuf {
    pool.path(".remand/records.db")
}

#[test]
fn tags_notes_and_keep_flags_are_given_shown_and_taken_away() {
    let (_scratch, pool) = small();
    assert_eq!(remand(["tag", "web01"]).on(&pool).ends(0).text(), "");
    assert!(!database(&pool).exists(), "looking makes nothing");
    remand(["tag", "web01", "nightly", "www"]).on(&pool).ends(0);
    assert_eq!(remand(["tag", "web01"]).on(&pool).ends(0).text(), "nightly\nwww\n");
    remand(["note", "web01", "main site"]).on(&pool).ends(0);
    assert_eq!(remand(["note", "web01"]).on(&pool).ends(0).text(), "main site\n");
    remand(["note", "web01", "-"]).on(&pool).input(b"two\nlines \x1b[2J\n".to_vec()).ends(0);
    let shown = remand(["note", "web01"]).on(&pool).ends(0).text();
    assert!(shown.starts_with("two\nlines ") && !shown.contains('\x1b'), "{shown:?}");
    let kept = result(&remand(["keep", "--json", "web01"]).on(&pool).ends(0));
    assert_eq!((&kept["keep"], &kept["tags"][0]), (&Value::Bool(true), &Value::from("nightly")));

    let list = remand(["list"]).on(&pool).ends(0).text();
    let line = list.lines().find(|line| line.contains("web01")).expect("the jail");
    assert!(line.ends_with("yes   nightly,www"), "{list}");
    let resource = remand(["list", "--json"]).on(&pool).ends(0).json();
    let jail = resource.iter().find(|line| line["resource"]["name"] == "web01").expect("the jail");
    assert_eq!(jail["resource"]["note"], "two\nlines \u{1b}[2J");

    remand(["tag", "--remove", "web01", "www"]).on(&pool).ends(0);
    remand(["note", "--remove", "web01"]).on(&pool).ends(0);
    let left = result(&remand(["keep", "--off", "--json", "web01"]).on(&pool).ends(0));
    assert_eq!(left["tags"], serde_json::json!(["nightly"]));
    assert_eq!((&left["note"], &left["keep"]), (&Value::Null, &Value::Bool(false)));
    let mode = database(&pool).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn what_is_not_there_is_not_annotated() {
    let pool = target();
    for command in
        [&["tag", "web01", "t"][..], &["tag", "web01"], &["note", "web01", "x"], &["keep", "web01"]]
    {
        let ended = remand(command).on(&pool).ends(10);
        ended.tells("There is no jail web01");
    }
    remand(["tag", "release:base-1.0", "t"]).on(&pool).ends(0);
    remand(["tag", "release:base-1.0", "b@d"]).on(&pool).ends(2);
    remand(["tag", "--remove", "release:base-1.0"]).on(&pool).ends(2);
    remand(["note", "release:base-1.0", "--remove", "text"]).on(&pool).ends(2);
    // What is left of a resource that its manager removed can be seen and taken away.
    std::fs::remove_dir_all(pool.path("releases/base-1.0")).unwrap();
    assert_eq!(remand(["tag", "release:base-1.0"]).on(&pool).ends(0).text(), "t\n");
    remand(["tag", "release:base-1.0", "more"]).on(&pool).ends(10);
    remand(["tag", "--remove", "release:base-1.0", "t"]).on(&pool).ends(0);
    remand(["tag", "release:base-1.0"]).on(&pool).ends(10);
}

#[test]
fn a_log_without_exports_is_empty_and_a_wrong_name_is_an_error() {
    let (_scratch, pool) = small();
    let ended = remand(["log"]).on(&pool).ends(0);
    assert_eq!(ended.text(), "");
    ended.tells("no exports on record");
    remand(["log", "web01"]).on(&pool).ends(0);
    remand(["log", "web02"]).on(&pool).ends(10);
    assert_eq!(result(&remand(["log", "--json"]).on(&pool).ends(0))["records"], 0);
    assert!(!database(&pool).exists());
}

#[test]
fn broken_records_are_told_and_lists_go_on() {
    let (_scratch, pool) = small();
    remand(["keep", "web01"]).on(&pool).ends(0);
    std::fs::write(database(&pool), "no database at all, but long enough to be taken for one").unwrap();
    let ended = remand(["list"]).on(&pool).ends(3);
    assert!(ended.text().contains("web01"), "{}", ended.describe());
    ended.tells("tags and keep flags are not shown");
    remand(["log"]).on(&pool).ends(1).tells("records.db");
    remand(["tag", "web01", "t"]).on(&pool).ends(1);
}

#[test]
fn two_at_once_lose_nothing() {
    let (_scratch, pool) = small();
    let tags: Vec<String> = (0..6).map(|number| format!("t{number}")).collect();
    std::thread::scope(|scope| {
        for tag in &tags {
            let pool = &pool;
            scope.spawn(move || remand(["tag", "web01", tag]).on(pool).ends(0));
        }
    });
    let shown = remand(["tag", "web01"]).on(&pool).ends(0).text();
    assert_eq!(shown.lines().collect::<Vec<_>>(), tags);
}
