use super::*;
use crate::archive::testing::manifest;

fn read(change: impl FnOnce(&mut serde_json::Value)) -> Result<Manifest, Unusable> {
    let mut json = serde_json::to_value(manifest()).unwrap();
    change(&mut json);
    Manifest::from_json(&serde_json::to_vec(&json).unwrap())
}

#[test]
fn newer_archives_are_read_as_far_as_that_is_right() {
    assert_eq!(read(|_| {}).unwrap(), manifest());
    // Newer by a field that may be ignored.
    read(|json| {
        json["version"]["minor"] = (MINOR + 1).into();
        json["color"] = "red".into();
    })
    .unwrap();
    let refused = |change: fn(&mut serde_json::Value)| match read(change) {
        Err(Unusable::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    let why = refused(|json| json["version"]["major"] = (MAJOR + 1).into());
    assert!(why.contains("written by remand 0.1.0") && why.contains("up to 1"), "{why}");
    let why = refused(|json| {
        json["tool"]["version"] = "9.8".into();
        json["requires"] = serde_json::json!(["deduplication", "parity\u{1b}"]);
    });
    assert!(why.contains("written by remand 9.8") && why.contains("deduplication, parity"), "{why}");
    assert!(!why.contains('\u{1b}'), "{why}");
    let why = refused(|json| {
        json["version"]["minor"] = (MINOR + 1).into();
        json["resources"][0]["datasets"][0]["encoding"] = "clone".into();
    });
    assert!(why.contains("does not know"), "{why}");
}

#[test]
fn the_time_of_an_export_is_that_of_its_manifest() {
    let at = |created: &str| Manifest { created: created.to_owned(), ..manifest() }.created_seconds();
    assert_eq!(at("1970-01-01T00:01:40Z"), 100);
    assert_eq!(at("some day"), 0);
}

#[test]
fn no_more_options_than_the_bound() {
    let with = |count: usize| {
        // Half of them in a list, which is a value too, and half in objects.
        let list = vec![serde_json::Value::from(0); count / 2 - 1];
        let object: serde_json::Map<_, _> =
            (0..count.div_ceil(2) - 1).map(|number| (number.to_string(), 0.into())).collect();
        read(|json| json["options"] = serde_json::json!({ "list": list, "object": object }))
    };
    with(MAX_OPTION_VALUES).unwrap();
    assert!(matches!(with(MAX_OPTION_VALUES + 1), Err(Unusable::Refused(_))));
}

#[test]
fn the_path_of_flags_is_told_once() {
    for path in [&b"etc/motd"[..], b"\xff\xfe"] {
        assert_eq!(EntryFlags::new(path, String::new()).path().as_deref(), Some(path));
    }
    let told = |path: Option<&str>, base64: Option<&str>| {
        let (path, path_b64) = (path.map(str::to_owned), base64.map(str::to_owned));
        EntryFlags { path, path_b64, flags: String::new() }.path()
    };
    assert_eq!(told(None, None), None);
    assert_eq!(told(Some("a"), Some("YQ==")), None);
    assert_eq!(told(None, Some("no base64")), None);
}

#[test]
fn who_knows_no_templates_must_not_read_what_has_to_do_with_one() {
    use ResourceKind::{Jail, Release, Template};

    let record = |kind: ResourceKind, base: Option<ResourceKind>| {
        let mut record = manifest().resources.remove(0);
        record.kind = kind;
        record.base = base.map(|kind| BaseRecord {
            kind,
            name: "base".to_owned(),
            snapshot: None,
            guid: None,
            fingerprint: None,
        });
        record
    };
    for (kind, base, wanted) in [
        (Jail, None, None),
        (Jail, Some(Release), None),
        (Jail, Some(Template), Some(TEMPLATES)),
        (Template, None, Some(TEMPLATES)),
        (Template, Some(Release), Some(TEMPLATES)),
    ] {
        assert_eq!(record(kind, base).requires(), wanted, "{kind:?} {base:?}");
    }
}

#[test]
fn the_kind_of_a_base_is_said_where_it_is_no_release() {
    for (kind, said) in [(ResourceKind::Release, None), (ResourceKind::Template, Some("template"))] {
        let base =
            BaseRecord { kind, name: "base".to_owned(), snapshot: None, guid: None, fingerprint: None };
        let json = serde_json::to_value(&base).unwrap();
        assert_eq!(json.get("kind").and_then(|kind| kind.as_str()), said);
        assert_eq!(serde_json::from_value::<BaseRecord>(json).unwrap(), base);
    }
}
