//! `--json`: lines that a program can read, all of them.

use serde_json::Value;

use super::{small, target};
use crate::support::run::{Ended, export, remand};

/// Events, in order.
fn events(ended: &Ended) -> Vec<Value> {
    ended.json().into_iter().filter(|line| line.get("step").is_some()).collect()
}

/// The objects below `key`, one a line, in order.
fn records(ended: &Ended, key: &str) -> Vec<Value> {
    ended.json().into_iter().filter_map(|mut line| line.get_mut(key).map(Value::take)).collect()
}

/// Begins and ends of steps must pair up like parentheses of each step's own.
#[track_caller]
fn check_events(events: &[Value], resource: &str, steps: &[&str]) {
    let mut open = Vec::new();
    for event in events {
        // A restore learns from the archive what it restores, so it begins under the archive's name.
        let known = event["resource"] == resource
            || event["resource"].as_str().is_some_and(|it| it.contains("a.tar.gz"));
        assert!(known, "{event}");
        assert!(event["depth"].is_u64(), "{event}");
        let key = (event["step"].clone(), event["subject"].clone(), event["depth"].clone());
        match event["state"].as_str().expect("a state") {
            "begin" => {
                assert!(!open.contains(&key), "begun twice: {event}");
                open.push(key);
            }
            "progress" => assert!(open.contains(&key), "progress of what is not open: {event}"),
            "end" | "skip" | "fail" => {
                let at = open.iter().position(|it| *it == key);
                open.remove(at.unwrap_or_else(|| panic!("ended without a begin: {event}")));
            }
            other => panic!("state {other}"),
        }
    }
    assert!(open.is_empty(), "never ended: {open:?}");
    let begun: Vec<&str> = events
        .iter()
        .filter(|event| event["state"] == "begin")
        .filter_map(|event| event["step"].as_str())
        .collect();
    for step in steps {
        assert!(begun.contains(step), "{step} in {begun:?}");
    }
}

#[test]
fn export_and_restore() {
    let (scratch, pool) = small();
    let ended = remand(["export", "--json", "web01"]).on(&pool).arg(scratch.join("a.tar.gz")).ends(0);
    let steps = [
        "ResourceBackup",
        "Lock",
        "ExportConfig",
        "ExportFstab",
        "ExportFiles",
        "ExportRootDataset",
        "BundleBackup",
    ];
    check_events(&events(&ended), "web01", &steps);
    let result = records(&ended, "result").pop().expect("a result");
    assert_eq!(result["status"], 0);
    assert!(result["written_bytes"].as_u64() > Some(500), "{result}");
    let target = target();
    let ended = remand(["restore", "--json"]).on(&target).arg(scratch.join("a.tar.gz")).ends(0);
    let steps = [
        "ResourceRestore",
        "ExtractBundle",
        "CheckBase",
        "ImportRootDataset",
        "ImportConfig",
        "ImportFstab",
        "CheckSeal",
        "Publish",
    ];
    check_events(&events(&ended), "web01", &steps);
}

#[test]
fn a_failure_is_told_in_the_last_line_too() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    let ended = remand(["restore", "--json"]).on(&pool).arg(scratch.join("a.tar.gz")).ends(12);
    let lines = ended.json();
    let result = &lines.last().expect("a line")["result"];
    assert_eq!(result["status"], 12);
    assert!(result["error"][0].is_string(), "{result}");
    check_events(&events(&ended), "web01", &[]);
}

#[test]
fn beside_an_archive_on_standard_output_they_go_to_standard_error() {
    let (_scratch, pool) = small();
    let ended = remand(["export", "--json", "web01", "-"]).on(&pool).ends(0);
    assert_eq!(&ended.stdout[..2], b"\x1f\x8b");
    for line in ended.stderr.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn commands_that_show_something() {
    let (scratch, pool) = small();
    export(&pool, "web01", &scratch.join("a.tar.gz"), &[]);
    let resources = records(&remand(["list", "--json"]).on(&pool).ends(0), "resource");
    let jail = resources.iter().find(|resource| resource["name"] == "web01").expect("the jail");
    assert_eq!(jail["kind"], "jail");
    let manifest = records(&remand(["info", "--json"]).arg(scratch.join("a.tar.gz")).ends(0), "manifest");
    assert_eq!(manifest[0]["resources"][0]["name"], "web01");
    let verified = records(&remand(["verify", "--json"]).arg(scratch.join("a.tar.gz")).ends(0), "result");
    assert!(verified[0]["seal"]["entries"].as_u64() > Some(5), "{verified:?}");
    let differences = records(&remand(["diff", "--json", "web01"]).on(&pool).ends(0), "difference");
    let paths: Vec<&str> = differences.iter().filter_map(|difference| difference["path"].as_str()).collect();
    for path in ["etc/conf", "etc/mode", "old/gone", "srv/new"] {
        assert!(paths.contains(&path), "{path} in {paths:?}");
    }
    remand(["cleanup", "--json"]).on(&pool).ends(0).json();
}
