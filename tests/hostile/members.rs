//! Members that are not what, or not where, they may be.

use serde_json::{Value, json};

use crate::support::pool::{Pool, names};
use crate::support::run::{remand, restore};
use crate::support::tar::Member;
use crate::trap::Trap;

#[test]
fn an_honest_archive_that_was_taken_apart_and_put_together_is_accepted() {
    let (trap, mut bundle) = Trap::new();
    bundle.add_copy("root/srv/new", "root/srv/copy");
    bundle.save(&trap.scratch.join("copy.tar"));
    remand(["verify"]).arg(trap.scratch.join("copy.tar")).ends(0);
    restore(&trap.target, &trap.scratch.join("copy.tar"), &[]);
    let file = |pool: &Pool, name: &str| std::fs::read(pool.root("web01").join(name)).unwrap();
    assert_eq!(file(&trap.target, "srv/copy"), file(&trap.source, "srv/new"));
}

#[test]
fn names_that_leave_the_archive() {
    for name in [
        "../evil",
        "root/../../evil",
        "root/srv/../../../../../../evil",
        "root/srv/..",
        "root/./srv/evil",
        "root//srv/evil",
        "/etc/evil",
        "root/\0evil",
    ] {
        let (trap, mut bundle) = Trap::new();
        bundle.add_copy("root/srv/new", name);
        if let Some(absolute) = name.strip_prefix('/') {
            let position = bundle.position(&format!("./{name}"));
            bundle.members[position].name = format!("/{absolute}").into_bytes();
        }
        trap.is_refused_with(&bundle, &[22, 23]);
    }
}

#[test]
fn names_that_leave_the_archive_in_the_index_alone() {
    for name in ["root/../../evil", "root/srv/..", "../evil", "/evil"] {
        let (trap, mut bundle) = Trap::new();
        let mut lines = bundle.index();
        lines.pop();
        let mut line = bundle.line("root/old/gone");
        line["path"] = format!("./{name}").into();
        lines.push(line);
        bundle.seal(&lines);
        trap.is_refused_with(&bundle, &[22, 23]);
    }
}

#[test]
fn members_behind_a_symlink_of_the_archive() {
    let (trap, mut bundle) = Trap::new();
    bundle.add_copy("root/srv/absolute", "root/srv/door");
    bundle.add_copy("root/srv/new", "root/srv/door/evil");
    trap.is_refused(&bundle);
}

#[test]
fn members_behind_a_symlink_of_the_base() {
    let (trap, mut bundle) = Trap::new();
    // The release has bin/link, which points to a file; here it points out of the tree.
    for pool in [&trap.source, &trap.target] {
        let link = pool.path("releases/base-1.0/root/bin/link");
        std::fs::remove_file(&link).unwrap();
        std::os::unix::fs::symlink(trap.scratch.path(), link).unwrap();
    }
    bundle.add_copy("root/srv/new", "root/bin/link/evil");
    bundle.save(&trap.scratch.join("hostile.tar"));
    let before = names(trap.scratch.path());
    let ended = remand(["restore", "--allow-base-mismatch"])
        .on(&trap.target)
        .arg(trap.scratch.join("hostile.tar"))
        .end();
    // With another base than the archive's own it may be an honest mistake.
    assert!([1, 21, 22, 23].contains(&ended.status), "{}", ended.describe());
    assert_eq!(names(trap.scratch.path()), before);
    assert_eq!((trap.target.jails(), trap.target.remains()), (vec![], vec![]));
}

#[test]
fn duplicates() {
    let (trap, mut bundle) = Trap::new();
    bundle.add_copy("root/srv/new", "root/srv/new");
    trap.is_refused_with(&bundle, &[22, 23]);
    for twice in ["./config.json", "./fstab", "./manifest.json"] {
        let (trap, mut bundle) = Trap::new();
        let position = bundle.position(twice);
        let copy = bundle.members[position].clone();
        let index = bundle.position("./index.jsonl");
        bundle.members.insert(index, copy);
        bundle.reseal();
        trap.is_refused_with(&bundle, &[22, 23]);
    }
}

#[test]
fn hard_links_that_leave_the_tree() {
    for target in ["../../../etc/passwd", "/etc/passwd", "./config.json", "./root/../../evil", "etc/passwd"] {
        let (trap, mut bundle) = Trap::new();
        let name = "root/srv/new-link";
        let mut lines = bundle.index();
        lines.pop();
        let (link, first) = if bundle.members[bundle.position(&format!("./{name}"))].kind == b'1' {
            (name, "root/srv/new")
        } else {
            ("root/srv/new", name)
        };
        bundle.member(&format!("./{link}")).target = target.into();
        for line in lines.iter_mut().filter(|line| line["path"] == format!("./{link}")) {
            replace(line, first, target.trim_start_matches("./"));
        }
        bundle.seal(&lines);
        trap.is_refused_with(&bundle, &[22, 23]);
    }
}

/// Replaces a text wherever it is a value, with or without `./` before it.
fn replace(json: &mut Value, from: &str, to: &str) {
    match json {
        Value::String(text) if text.trim_start_matches("./") == from => to.clone_into(text),
        Value::Array(list) => list.iter_mut().for_each(|inner| replace(inner, from, to)),
        Value::Object(map) => {
            for (_, inner) in map.iter_mut().filter(|(key, _)| *key != "path") {
                replace(inner, from, to);
            }
        }
        _ => {}
    }
}

#[test]
fn members_that_the_manifest_does_not_announce() {
    for name in ["evil", "jails/web02/config.json", "data.tree/file", "root.tree/etc/passwd", ".remand/evil"]
    {
        let (trap, mut bundle) = Trap::new();
        bundle.add_copy("root/srv/new", name);
        trap.is_refused_with(&bundle, &[22, 23]);
    }
}

#[test]
fn members_that_the_index_does_not_know() {
    let (trap, mut bundle) = Trap::new();
    let position = bundle.position("./index.jsonl");
    bundle.members.insert(position, Member::new(b'0', "./root/srv/unknown", "", b"evil"));
    trap.is_refused_with(&bundle, &[22, 23]);
}

#[test]
fn manifests_that_name_what_lies_elsewhere() {
    let change: [fn(&mut Value); 7] = [
        |resource| resource["name"] = "../../evil".into(),
        |resource| resource["name"] = "".into(),
        |resource| resource["name"] = "a/b".into(),
        |resource| resource["prefix"] = "../".into(),
        |resource| resource["datasets"][0]["name"] = "../../../evil".into(),
        |resource| resource["datasets"][0]["member"] = "/etc".into(),
        |resource| resource["base"]["name"] = "../../jails/web01".into(),
    ];
    for (number, change) in change.into_iter().enumerate() {
        let (trap, mut bundle) = Trap::new();
        let mut manifest = bundle.manifest();
        change(&mut manifest["resources"][0]);
        bundle.set_manifest(&manifest);
        bundle.reseal();
        let archive = trap.scratch.join("hostile.tar");
        bundle.save(&archive);
        let ended = remand(["restore"]).on(&trap.target).arg(&archive).end();
        assert!([20, 22, 23].contains(&ended.status), "{number}: {}", ended.describe());
        assert_eq!((trap.target.jails(), trap.target.remains()), (vec![], vec![]), "{number}");
    }
}

#[test]
fn a_newer_version_is_refused_and_a_newer_minor_one_is_not() {
    let (trap, mut bundle) = Trap::new();
    let mut manifest = bundle.manifest();
    manifest["version"]["major"] = 2.into();
    bundle.set_manifest(&manifest);
    bundle.reseal();
    trap.is_refused(&bundle);
    bundle.save(&trap.scratch.join("newer.tar"));
    remand(["verify"]).arg(trap.scratch.join("newer.tar")).ends(23).tells("2");
    manifest["version"] = json!({"major": 1, "minor": 9000});
    manifest["something-new"] = json!([1, 2]);
    bundle.set_manifest(&manifest);
    bundle.reseal();
    bundle.save(&trap.scratch.join("minor.tar"));
    remand(["verify"]).arg(trap.scratch.join("minor.tar")).ends(0);
    restore(&trap.target, &trap.scratch.join("minor.tar"), &[]);
}

#[test]
fn what_is_no_archive_at_all() {
    let (trap, _) = Trap::new();
    for (name, content) in [
        ("text.tar.gz", &b"not an archive\n"[..]),
        ("empty.tar", b""),
        ("zeros.tar", &[0; 10240]),
        ("json", b"{}"),
    ] {
        let path = trap.scratch.join(name);
        std::fs::write(&path, content).unwrap();
        for command in ["verify", "info"] {
            let ended = remand([command]).arg(&path).end();
            assert!([22, 23].contains(&ended.status), "{}", ended.describe());
        }
    }
    remand(["verify"]).arg(trap.scratch.join("absent.tar.gz")).ends(10);
}
