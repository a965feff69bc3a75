use super::*;
use crate::foreign::stream::tests::head;
use crate::tree::TreePath;

#[test]
fn names_of_releases_with_and_without_patch_level() {
    let of = |release: &str| base(release).map(|base| (base.name, base.snapshot));
    assert_eq!(of("12.1-RELEASE"), Some(("12.1-RELEASE".into(), None)));
    assert_eq!(of("12.1-RELEASE-p13"), Some(("12.1-RELEASE".into(), Some("p13".into()))));
    assert_eq!(of("my-p"), Some(("my-p".into(), None)));
    assert_eq!(of("my-p2"), Some(("my-p2".into(), None)));
    assert_eq!(of("../x"), None);
    assert_eq!(of(""), None);
}

#[test]
fn snapshots_of_an_export() {
    // As `%Y%m%d%H%I%S.%f` makes it, and with a character between.
    for name in ["backup20261129160455.123456", "backup_20261129040455"] {
        assert!(is_of_export(name), "{name}");
    }
    for name in
        ["backup", "backup-daily", "backup2026", "daily", "xbackup20261129160455", "backup20261129160455x"]
    {
        assert!(!is_of_export(name), "{name}");
    }
}

fn found(dataset: &str, sent: &str) -> Found {
    let head = Head::parse(&head(sent, 1, 2, true)).unwrap();
    let source = MemberName::new(TreePath::new(format!("{dataset}.zfs").as_bytes()).unwrap());
    Found { source, dataset: dataset.into(), head, number: 1 }
}

#[test]
fn the_root_comes_first_and_nothing_without_what_it_lies_in() {
    let mut names = ["data/db", "a", "root/x", "data", "data-old", "root"];
    names.sort_by(|a, b| order(a).cmp(&order(b)));
    assert_eq!(names, ["root", "a", "data", "data/db", "data-old", "root/x"]);
    check_nesting("x", ["root", "data", "data/db", "root/x"].into_iter()).unwrap();
    assert!(check_nesting("x", ["root", "data/db"].into_iter()).is_err());
    let deep: Vec<String> = (1..60).map(|depth| vec!["a"; depth].join("/")).collect();
    assert!(check_nesting("x", deep.iter().map(String::as_str)).is_err());
}

#[test]
fn where_a_name_comes_from() {
    let name = |streams: &[Found], config: serde_json::Value, stem| resource_name(streams, &config, stem);
    let sent = [found("data", "zroot/ioc/jails/sent/data@backup20261129160455")];
    let config = serde_json::json!({ "id": "written", "name": "other" });
    assert_eq!(name(&sent, config.clone(), Some("stem")), ("sent".into(), None));
    assert_eq!(name(&[], config, Some("stem")), ("written".into(), None));
    assert_eq!(name(&[], serde_json::json!({ "id": "../x" }), Some("stem")).0, "stem");
    let (last, told) = name(&[], serde_json::Value::Null, Some("../x"));
    assert_eq!(last, "jail");
    assert!(told.unwrap().contains("--name"));
}
