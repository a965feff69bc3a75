//! What this version cannot know it refuses, and says so.

use serde_json::{Value, json};

use super::support::Scratch;
use super::support::bundle::Bundle;
use super::support::pool::{Place, Pool, Size};
use super::support::run::{export, remand};

/// What every command that reads says of an archive with another manifest.
fn refused(change: &dyn Fn(&mut Value), words: &[&str]) {
    let scratch = Scratch::new();
    let pool = Pool::with_jail(&Place::dir(), Size::Small);
    export(&pool, "web01", &scratch.join("a.tar"), &[]);
    let mut bundle = Bundle::open(&scratch.join("a.tar"));
    let mut manifest = bundle.manifest();
    change(&mut manifest);
    bundle.set_manifest(&manifest);
    bundle.reseal();
    let path = scratch.join("newer.tar");
    bundle.save(&path);
    for command in [&["verify"][..], &["verify", "--repair-report"], &["info"], &["ls"]] {
        let ended = remand(command).arg(&path).ends(23);
        for word in words {
            ended.tells(word);
        }
    }
    for options in [&["--name", "x"][..], &["--name", "x", "--salvage"]] {
        let ended = remand(["restore"]).on(&pool).args(options).arg(&path).ends(23);
        for word in words {
            ended.tells(word);
        }
        assert_eq!((pool.jails(), pool.remains()), (vec!["web01".to_owned()], vec![]));
    }
}

#[test]
fn a_newer_major_version() {
    let change = |manifest: &mut Value| {
        *manifest = json!({
            "format": "remand-archive", "version": {"major": 2, "minor": 0}, "tool": {"name": "remand", "version": "7.5"},
            "everything": "is otherwise"
        });
    };
    refused(&change, &["format version 2.0", "remand 7.5", "up to 1"]);
}

#[test]
fn a_feature_that_is_not_known() {
    let change = |manifest: &mut Value| {
        manifest["version"]["minor"] = 99.into();
        manifest["tool"]["version"] = "7.5".into();
        manifest["requires"] = json!(["time-travel"]);
    };
    refused(&change, &["time-travel", "format version 1.99", "remand 7.5"]);
}

/// As a remand of before 1.4 sees one with templates: it has the feature's name to refuse it by, and never comes to the kind.
#[test]
fn templates_are_required_where_there_are_some() {
    let scratch = Scratch::new();
    let pool = Pool::iocage(&Place::dir());
    for (name, requires) in [
        ("web01", None),
        ("template:web", Some(json!(["templates"]))),
        ("blog", Some(json!(["templates"]))),
        ("release:base-1.0", None),
    ] {
        let path = scratch.join(&format!("{}.tar", name.replace(':', "-")));
        export(&pool, name, &path, &[]);
        assert_eq!(Bundle::open(&path).manifest().get("requires").cloned(), requires, "{name}");
    }
}

#[test]
fn an_encoding_that_is_not_known() {
    let change = |manifest: &mut Value| {
        manifest["version"]["minor"] = 99.into();
        manifest["resources"][0]["datasets"][0]["encoding"] = "hologram".into();
    };
    refused(&change, &["format version 1.99", "hologram"]);
}
