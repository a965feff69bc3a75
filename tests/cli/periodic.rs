//! The script for periodic(8): it is sh(1) alone, and what FreeBSD's own files would set comes from the environment.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::Scratch;
use crate::support::pool::{Place, Pool, Size, names};
use crate::support::run::remand;

/// Runs the script with these settings; its status and output.
fn periodic(settings: &[(&str, &str)]) -> (i32, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("share/periodic/daily/500.remand");
    let mut command = Command::new("sh");
    command
        .arg(script)
        .env("daily_remand_enable", "YES")
        .env("daily_remand_program", env!("CARGO_BIN_EXE_remand"));
    for (name, value) in settings {
        command.env(format!("daily_remand_{name}"), value);
    }
    let output = command.output().expect("sh");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What the archives hold that were written meanwhile, and makes no more of them there.
fn taken(directory: &Path) -> Vec<Vec<String>> {
    let archives = names(directory).into_iter().filter(|name| !name.starts_with('.'));
    let held = archives.map(|name| {
        assert!(name.starts_with("remand-20") && name.ends_with(".tar.gz"), "{name}");
        let archive = directory.join(name);
        let manifest = remand(["info", "--json"]).arg(&archive).ends(0).json();
        std::fs::remove_file(archive).unwrap();
        let resources = manifest[0]["manifest"]["resources"].as_array().expect("resources");
        let name = |resource: &Value| resource["name"].as_str().expect("a name").to_owned();
        resources.iter().map(name).collect()
    });
    held.collect()
}

#[test]
fn periodic_writes_what_has_changed_and_now_and_then_all() {
    let scratch = Scratch::new();
    let pool = Pool::with_release(&Place::dir(), Size::Small);
    for jail in ["web01", "db01"] {
        pool.jail(jail, "base-1.0", Size::Small);
    }
    let settings = [
        ("pool", pool.name()),
        ("directory", scratch.path().to_str().unwrap()),
        ("select", "web* db01"),
        ("flags", "--standalone -l 1"),
    ];
    // What was changed up to two seconds before a run counts as changed since.
    let wait = || std::thread::sleep(Duration::from_millis(3100));
    wait();
    let (status, output) = periodic(&settings);
    assert!(status == 1 && output.contains("Written: "), "{status}: {output}");
    assert_eq!(taken(scratch.path()), [["db01", "web01"]]);
    let (status, output) = periodic(&settings);
    assert_eq!(status, 0, "{output}");
    assert_eq!(taken(scratch.path()), Vec::<Vec<String>>::new());
    std::fs::write(pool.root("web01").join("srv/later"), "text").unwrap();
    assert_eq!(periodic(&settings).0, 1);
    assert_eq!(taken(scratch.path()), [["web01"]]);
    wait();
    assert_eq!(periodic(&[&settings[..], &[("newer", "NO")]].concat()).0, 1);
    assert_eq!(taken(scratch.path()), [["db01", "web01"]]);
    assert_eq!(periodic(&settings).0, 0);
    // As if a week had passed.
    std::fs::write(scratch.join(".remand-last-whole"), "1000000000 2001-09-09T01:46:40Z\n").unwrap();
    assert_eq!(periodic(&settings).0, 1);
    assert_eq!(taken(scratch.path()), [["db01", "web01"]]);
}

#[test]
fn periodic_tells_warnings_and_failures_and_looks_again() {
    let scratch = Scratch::new();
    let program = scratch.join("remand");
    for (told, status, stamped) in [
        ("remand: a warning", 3, false),
        ("remand: No resource in which anything changed since then in here", 10, false),
        ("remand: locked", 11, false),
        ("", 1, false),
        ("remand: fine", 0, true),
    ] {
        std::fs::write(&program, format!("#!/bin/sh\necho '{told}' >&2\nexit {status}\n")).unwrap();
        std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755)).unwrap();
        let (ended, output) = periodic(&[
            ("program", program.to_str().unwrap()),
            ("directory", scratch.path().to_str().unwrap()),
        ]);
        assert_eq!(ended, if status == 0 { 1 } else { 3 }, "{status}: {output}");
        assert!(output.contains(told), "{output}");
        assert_eq!(scratch.join(".remand-last-run").exists(), stamped, "{status}");
        assert_eq!(scratch.join(".remand-last-whole").exists(), stamped, "{status}");
    }
}

#[test]
fn periodic_does_nothing_unless_it_is_told_how() {
    let scratch = Scratch::new();
    let path = scratch.path().to_str().unwrap();
    assert_eq!(periodic(&[("enable", "NO")]), (0, String::new()));
    for (settings, why) in [
        (&[][..], "must be an absolute path"),
        (&[("directory", "backup")], "must be an absolute path"),
        (&[("directory", "/nonexistent/backup")], "there is no directory /nonexistent/backup"),
        (&[("directory", path), ("program", "/nonexistent/remand")], "there is no program"),
        (&[("directory", path), ("whole_days", "often")], "daily_remand_whole_days must be a number"),
        (&[("directory", path), ("flags", "--no-such-flag")], "--no-such-flag"),
    ] {
        let (status, output) = periodic(settings);
        assert!(status == 2 && output.contains(why), "{settings:?}: {status}: {output}");
    }
    let (status, output) = periodic(&[("directory", path), ("pool", "/nonexistent")]);
    assert!(status == 3 && output.contains("/nonexistent"), "{status}: {output}");
    assert!(names(scratch.path()).is_empty());
}
