//! Properties that travel along are set, remembered or named.

use super::*;

/// Two jails, of which the first has these properties, and another dataset with others.
fn with_properties(path: &Path, own: &[(&str, &str)], other: &[(&str, &str)]) {
    let mut manifest = two_jails();
    let map = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let record = &mut manifest.resources[0];
    record.properties = map(own);
    record.datasets[0].properties = map(other);
    archive(path, &manifest, &TWO, None);
}

fn remembered(host: &Host, dataset: &str) -> Vec<(String, String)> {
    let name = remand_backends::DatasetName::new(dataset).unwrap();
    host.pool.backend().own_properties(&name).unwrap().into_iter().collect()
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn properties_are_remembered_or_named() {
    let host = Host::new();
    let path = host.path("two.tar");
    let own = [("compression", "lz4"), ("mountpoint", "/etc"), ("org.remand:run", "x"), ("quota", "1G")];
    let other = [("a:b", "c"), ("setuid", "off"), ("setuid2", "on")];
    with_properties(&path, &own, &other);
    host.restore(&path, &Options::default()).unwrap();
    assert_eq!(remembered(&host, "jails/a"), owned(&[("compression", "lz4"), ("quota", "1G")]));
    assert_eq!(remembered(&host, "jails/a/root"), owned(&[("a:b", "c"), ("setuid", "off")]));
    assert_eq!(remembered(&host, "jails/b"), []);
    let effect = "this pool only remembers properties; without effect here";
    let never = "not taken over, since it reaches beyond the dataset";
    let mut notices = host.notices();
    notices.sort();
    assert_eq!(
        notices,
        [
            format!("a/root: {never}: setuid2"),
            format!("a/root: {effect}: a:b, setuid, setuid2"),
            format!("a: {never}: mountpoint, org.remand:run"),
            format!("a: {effect}: compression, mountpoint, org.remand:run, quota"),
        ]
    );
    assert_eq!(host.warnings(), [""; 0]);
    host.is_clean();
}

/// Those that are the config come from its member alone, and so as they are for this pool.
#[test]
fn a_config_of_properties_is_that_of_its_member() {
    let config = r#"{"org.freebsd.iocage:boot": "on", "org.freebsd.iocage:host_hostuuid": "a"}"#;
    let all =
        [("com.example:owner", "ops"), ("org.freebsd.iocage:boot", "off"), ("org.freebsd.iocage:old", "1")];
    for (member, text) in [("properties.json", config), ("config.json", r#"{"id": "a"}"#)] {
        let host = Host::new();
        let path = host.path("two.tar");
        let mut manifest = two_jails();
        manifest.resources[0].config = Some(member.to_owned());
        manifest.resources[0].properties = owned(&all).into_iter().collect();
        let member = format!("jails/a/{member}");
        archive(&path, &manifest, &[&[(&member[..], text)][..], &TWO].concat(), None);
        host.restore(&path, &Options::default()).unwrap();
        let remembered = remembered(&host, "jails/a");
        let told = host.notices().iter().any(|notice| notice.contains("which this pool only remembers"));
        if text == config {
            let boot = ("org.freebsd.iocage:boot".to_owned(), "on".to_owned());
            assert!(
                told && remembered.contains(&boot) && remembered.contains(&owned(&all)[0]),
                "{remembered:?}"
            );
            assert!(!remembered.iter().any(|(name, _)| name.ends_with(":old")), "{remembered:?}");
        } else {
            assert_eq!((told, remembered), (false, owned(&all)));
        }
        host.is_clean();
    }
}

#[test]
fn where_there_are_no_properties_nothing_is_told() {
    let host = Host::new();
    let path = host.path("two.tar");
    with_properties(&path, &[("a:b", "c")], &[]);
    host.restore(&path, &Options::default()).unwrap();
    assert_eq!(host.notices().len(), 1);
    let host = Host::new();
    let path = host.path("two.tar");
    with_properties(&path, &[], &[]);
    host.restore(&path, &Options::default()).unwrap();
    assert_eq!(host.notices(), [""; 0]);
}
