use serde_json::{Value, json};

use super::*;
use crate::archive::testing::{entry, line};

fn file() -> Value {
    json!({"path": "./a", "type": "file", "mode": "0644", "uid": 0, "gid": 0, "mtime": "1.000000000", "size": 3})
}

/// The line of a file with other fields, of which null is none.
fn with(fields: &Value) -> Result<Line, Wrong> {
    let mut json = file();
    for (name, value) in fields.as_object().unwrap() {
        json[name] = value.clone();
    }
    match parse(&serde_json::to_vec(&json).unwrap())? {
        Parsed::Line(line) => Ok(*line),
        Parsed::Failure(_) | Parsed::Seal(_) => panic!("it is a line"),
    }
}

#[test]
fn fields_that_contradict_each_other_are_refused() {
    let digest = Digest::of(b"abc").to_string();
    for good in [
        json!({}),
        json!({"digest": digest}),
        json!({"role": "link", "link": "./b"}),
        json!({"role": "metadata", "digest": digest}),
        json!({"role": "unarchived"}),
        json!({"role": "deleted"}),
        json!({"type": "symlink", "size": null, "target": "b"}),
        json!({"type": "char", "size": null, "device": {"major": 1, "minor": 3}}),
    ] {
        assert!(with(&good).is_ok(), "{good}");
    }
    for bad in [
        json!({"link": "./b"}),
        json!({"role": "link"}),
        json!({"role": "link", "link": "./b", "digest": digest}),
        json!({"role": "metadata", "link": "./b"}),
        json!({"role": "unarchived", "digest": digest}),
        json!({"role": "unarchived", "link": "./b"}),
        json!({"role": "deleted", "digest": digest}),
        json!({"role": "deleted", "link": "./b"}),
        json!({"path_b64": "Li9h"}),
        json!({"size": null}),
        json!({"target": "b"}),
        json!({"device": {"major": 1, "minor": 3}}),
        json!({"type": "directory"}),
        json!({"type": "symlink", "size": null}),
        json!({"type": "char", "size": null}),
    ] {
        assert!(with(&bad).is_err(), "{bad}");
    }
}

#[test]
fn a_mode_is_four_octal_digits() {
    assert_eq!(with(&json!({"mode": "7755"})).unwrap().entry.unwrap().mode, 0o7755);
    for bad in ["644", "00644", "+644", "0648", "0o44", ""] {
        assert!(with(&json!({"mode": bad})).is_err(), "{bad:?}");
    }
}

#[test]
fn a_path_is_below_the_archive_and_not_too_long() {
    let longest = "a".repeat(MAX_NAME_BYTES - 1);
    assert!(with(&json!({"path": format!("./{longest}")})).is_ok());
    for bad in ["", ".", "./", "a", "/a", "../a", "./../a", &format!("./{longest}a")] {
        assert!(with(&json!({"path": bad})).is_err(), "{} bytes", bad.len());
    }
}

#[test]
fn each_list_of_an_acl_comes_back_alone() {
    let list = || Some("user::rw-".to_owned());
    for acl in [
        Acl { access: list(), ..Acl::default() },
        Acl { default: list(), ..Acl::default() },
        Acl { nfs4: list(), ..Acl::default() },
    ] {
        let line = line("a", Entry { acl, ..entry(Kind::File) });
        let Ok(Parsed::Line(back)) = parse(&line_to_json(&line)) else { panic!("it is a line") };
        assert_eq!(*back, line);
    }
}
