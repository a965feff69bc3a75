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
