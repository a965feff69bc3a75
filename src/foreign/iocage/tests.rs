use super::*;
use crate::foreign::stream::tests::head;

fn name(name: &str) -> Option<(String, String, String)> {
    Name::parse(name.as_bytes()).map(|name| (name.jail, name.date, name.rest))
}

#[test]
fn names_of_members() {
    let of = |jail: &str, rest: &str| Some((jail.to_owned(), "2026-11-29".to_owned(), rest.to_owned()));
    assert_eq!(name("iocage/images/web01_2026-11-29"), of("web01", ""));
    assert_eq!(name("web01_2026-11-29_root"), of("web01", "root"));
    assert_eq!(name("web_01_2026-11-29_data_db"), of("web_01", "data_db"));
    // A jail that is called as an export is.
    assert_eq!(name("a_2026-01-01_2026-11-29_root"), of("a_2026-01-01", "root"));
    for other in [
        "web01",
        "web01_2026-11-29x",
        "web01_2026-11-29_",
        "_2026-11-29",
        "2026-11-29",
        "web01-2026-11-29",
        "web01_26-11-29",
        "ü_2026-11-2ü",
    ] {
        assert_eq!(name(other), None, "{other}");
    }
}

fn dataset(rest: &str, sent: &str) -> (String, Foreign) {
    let mut foreign =
        Foreign { tool: "iocage".into(), form: String::new(), limits: Vec::new(), notices: Vec::new() };
    let parsed = Name { jail: "web".into(), date: "2026-11-29".into(), rest: rest.into() };
    let of = |name: &str| Head::parse(&head(name, 1, 2, true)).unwrap();
    let source = MemberName::new(TreePath::new(b"x").unwrap());
    let found = Found { source, name: parsed, head: of(&format!("{sent}@s")) };
    let name = dataset_of(&found, &of("z/jails/web@s"), &mut foreign);
    (name, foreign)
}

#[test]
fn the_stream_says_which_dataset_it_is_of() {
    let (name, told) = dataset("data_db", "z/jails/web/data/db");
    assert_eq!((name.as_str(), told.limits.len(), told.notices.len()), ("data/db", 0, 0));
    let (name, told) = dataset("data_db", "z/jails/web/data_db");
    assert_eq!((name.as_str(), told.limits.len(), told.notices.len()), ("data_db", 0, 1));
    // It says something else: as iocage reads it, and two readings are told.
    let (name, told) = dataset("data_db", "z/jails/web/other");
    assert_eq!((name.as_str(), told.limits.len(), told.notices.len()), ("data/db", 1, 0));
    let (name, told) = dataset("root", "z/other/root");
    assert_eq!((name.as_str(), told.limits.len(), told.notices.len()), ("root", 0, 0));
}

#[test]
fn the_old_place_is_in_the_fstab() {
    let fstab = b"# /mnt/iocage/jails/web/root\n/rel/bin /mnt/iocage/jails/web/root/bin nullfs ro 0 0\n";
    assert_eq!(directory_in(fstab, "web").as_deref(), Some("/mnt/iocage/jails/web"));
    assert_eq!(directory_in(fstab, "we"), None);
    assert_eq!(directory_in(b"", "web"), None);
}

#[test]
fn a_template_becomes_a_jail_and_nothing_else_changes() {
    let jail = of_template(br#"{"type": "template", "template": 1, "a": "b"}"#).unwrap();
    let jail: serde_json::Value = serde_json::from_slice(&jail).unwrap();
    assert_eq!(jail, serde_json::json!({ "type": "jail", "template": 0, "a": "b" }));
    assert_eq!(of_template(br#"{"type": "jail"}"#), None);
    assert_eq!(of_template(b"no JSON"), None);
}

#[test]
fn checksums_beside_an_export() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let about = About { name: "it".into(), interrupted: std::sync::Arc::default(), proves: true };
    assert!(Sum::beside(&path("a_2026-11-29.zip")).unwrap().is_none());
    let right = HEXLOWER.encode(&Sha256::digest(b"bytes"));
    for text in [
        right.clone(),
        format!("{right}  a_2026-11-29.zip\n"),
        format!("SHA256 (a) = {}\n", right.to_uppercase()),
    ] {
        std::fs::write(path("a_2026-11-29.sha256"), text).unwrap();
        for name in ["a_2026-11-29.zip", "a_2026-11-29.tar.xz"] {
            let sum = Sum::beside(&path(name)).unwrap().unwrap();
            sum.check(&mut &b"bytes"[..], &about).unwrap();
            assert!(matches!(sum.check(&mut &b"other"[..], &about), Err(Error::Damaged(_))));
        }
    }
    std::fs::write(path("a_2026-11-29.sha256"), "none").unwrap();
    assert!(Sum::beside(&path("a_2026-11-29.zip")).is_err());
}
