//! An index that says something else than what was written.

use serde_json::{Value, json};

use super::Archives;
use super::sight::{found, see};
use super::support::announce;
use super::support::bundle::Bundle;

/// The same field with something else in it.
fn other(value: &Value) -> Value {
    match value {
        Value::String(text) if text.is_empty() => json!("x"),
        Value::String(text) => {
            // Another digit or letter of the same kind, at the end.
            let mut text = text.clone();
            let last = text.pop().unwrap_or('x');
            text.push(if last == '1' || last == 'a' { '2' } else { '1' });
            json!(text)
        }
        Value::Number(number) => json!(number.as_u64().unwrap_or(0) + 1),
        Value::Bool(value) => json!(!value),
        Value::Array(list) => Value::Array([&list[..], &[json!(7)]].concat()),
        Value::Object(object) => {
            let mut object = object.clone();
            if let Some(first) = object.values_mut().next() {
                *first = other(first);
            }
            Value::Object(object)
        }
        Value::Null => json!(1),
    }
}

/// Each field of each line removed, changed, and one added that a reader knows.
fn edits(lines: &[Value]) -> Vec<(String, Vec<Value>)> {
    let mut edits = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        for (field, value) in line.as_object().expect("an object") {
            let mut removed = lines.to_vec();
            removed[number].as_object_mut().expect("an object").remove(field);
            edits.push((format!("line {number} without {field}"), removed));
            let mut changed = lines.to_vec();
            changed[number][field] = other(value);
            edits.push((format!("line {number} with another {field}"), changed));
        }
        for (field, value) in [
            ("role", json!("deleted")),
            ("unstable", json!(true)),
            ("group", json!(99)),
            ("flags", json!("nodump")),
            ("shared", json!([0])),
            ("xattrs", json!({"user.x": "eA=="})),
            ("acl", json!({"access": "user::rwx,group::r--,other::r--"})),
            ("replaced", json!({"type": "file"})),
        ] {
            let mut added = lines.to_vec();
            added[number][field] = value;
            edits.push((format!("line {number} with {field}"), added));
        }
        let mut gone = lines.to_vec();
        gone.remove(number);
        edits.push((format!("without line {number}"), gone));
        let mut twice = lines.to_vec();
        twice.insert(number, line.clone());
        edits.push((format!("with line {number} twice"), twice));
        if number > 0 {
            let mut swapped = lines.to_vec();
            swapped.swap(number - 1, number);
            edits.push((format!("with lines {} and {number} swapped", number - 1), swapped));
        }
    }
    edits.retain(|(_, edited)| edited != lines);
    edits
}

fn text(lines: &[Value]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.to_string().into_bytes(), b"\n".to_vec()].concat()).collect()
}

#[test]
fn each_field_of_each_line() {
    let archives = Archives::new();
    let path = archives.export("web01.tar", &[]);
    let mut bundle = Bundle::open(&path);
    let whole = see(&std::fs::read(&path).unwrap()).unwrap();
    let lines = bundle.index();
    let all = edits(&lines);
    let mut ignored = 0;
    for (number, (what, edited)) in all.iter().enumerate() {
        bundle.member("./index.jsonl").data = text(edited);
        let bytes = super::support::tar::write(&bundle.members);
        if found(&bytes, what).is_none() {
            // The seal covers the lines before it; what a reader does not know of in its own line is ignored.
            let more =
                what.starts_with(&format!("line {} with ", lines.len() - 1)) && !what.contains("another");
            assert!(more, "MISSED: {what}");
            assert!(see(&bytes).unwrap() == whole, "{what} changes what a reader sees");
            ignored += 1;
            continue;
        }
        if number % 60 == 0 {
            archives.bytes_are_undone(&bytes, what);
        }
    }
    announce(&format!(
        "DAMAGE index: {} edits, 0 missed, {ignored} more fields in the seal ignored",
        all.len()
    ));
    assert!(ignored <= 8);
}

/// What a member's header says too cannot be changed even with a seal that fits.
#[test]
fn each_field_that_a_header_repeats_under_a_new_seal() {
    let archives = Archives::new();
    let path = archives.export("web01.tar", &[]);
    let whole = Bundle::open(&path).index();
    let own = [
        "path", "role", "type", "mode", "uid", "gid", "mtime", "size", "target", "link", "digest", "flags",
        "xattrs", "acl", "shared",
    ];
    let mut tried = 0;
    for (what, mut edited) in edits(&whole[..whole.len() - 1]) {
        let field = what.rsplit(' ').next().unwrap_or_default();
        let number = what.split(' ').find_map(|word| word.parse::<usize>().ok()).unwrap_or_default();
        // What has no member may change: that is another archive then, and whole.
        let is_member =
            !matches!(whole[number]["role"].as_str(), Some("deleted" | "metadata" | "unarchived"));
        // Of a hard link the header repeats less.
        let is_link = whole[number]["role"] == "link"
            && ["size", "type", "target", "flags", "xattrs", "acl"].contains(&field);
        if !is_member || is_link || !own.contains(&field) || !what.starts_with("line ") {
            continue;
        }
        tried += 1;
        let mut bundle = Bundle::open(&path);
        bundle.seal(&std::mem::take(&mut edited));
        assert!(found(&super::support::tar::write(&bundle.members), &what).is_some(), "MISSED: {what}");
    }
    announce(&format!("DAMAGE index under a new seal: {tried} edits, 0 missed"));
    assert!(tried > 100);
}

#[test]
fn bytes_of_the_index() {
    let archives = Archives::new();
    let path = archives.export("web01.tar", &[]);
    let mut bundle = Bundle::open(&path);
    let index = bundle.member("./index.jsonl").data.clone();
    let cases: [(&str, Vec<u8>); 6] = [
        ("empty", Vec::new()),
        ("with half a seal", index[..index.len() - 20].to_vec()),
        ("without the last line feed", index[..index.len() - 1].to_vec()),
        ("with an empty line", [b"\n", &index[..]].concat()),
        ("with something behind the seal", [&index[..], b"{}\n"].concat()),
        ("with spaces", String::from_utf8(index.clone()).unwrap().replace(':', ": ").into_bytes()),
    ];
    for (what, data) in cases {
        bundle.member("./index.jsonl").data = data;
        let bytes = super::support::tar::write(&bundle.members);
        assert!(found(&bytes, what).is_some(), "MISSED: {what}");
        archives.bytes_are_undone(&bytes, what);
    }
}

#[test]
fn a_header_that_disagrees_with_its_line() {
    let archives = Archives::new();
    let path = archives.export("web01.tar", &[]);
    for (record, value) in [
        ("mtime", "1.5"),
        ("uid", "77"),
        ("gid", "77"),
        ("SCHILY.xattr.user.evil", "x"),
        ("SCHILY.fflags", "nodump"),
        ("SCHILY.acl.access", "user::rwx,group::r--,other::r--"),
        ("SCHILY.acl.default", "user::rwx,group::r--,other::r--"),
        ("REMAND.attempt", "2"),
        ("comment", "REMAND.shared=1"),
    ] {
        let mut bundle = Bundle::open(&path);
        bundle.member("./root/srv/new").records.insert(record.into(), value.into());
        let bytes = super::support::tar::write(&bundle.members);
        assert!(found(&bytes, record).is_some(), "MISSED: {record}");
        archives.bytes_are_undone(&bytes, record);
    }
}
