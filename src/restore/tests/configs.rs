//! Configs on their way back.

use super::*;
use crate::config::Assignment;

fn config_of(host: &Host, jail: &str) -> String {
    std::fs::read_to_string(host.path("jails").join(jail).join("config.json")).unwrap()
}

#[test]
fn what_is_set_and_taken_away_is_told() {
    let host = Host::new();
    let path = exported(&host);
    let assignments = vec![
        Assignment::set("boot=yes").unwrap(),
        Assignment::unset("hostid").unwrap(),
        Assignment::unset("priority").unwrap(),
    ];
    let name = Some("copy".to_owned());
    let options = Options { name, identity: Some(Identity::Keep), assignments, ..Options::default() };
    host.restore(&path, &options).unwrap();
    let notices = host.notices();
    for told in ["boot is now yes", "hostid was taken away", "priority was not set"] {
        assert_eq!(notices.iter().filter(|notice| notice.ends_with(told)).count(), 1, "{told}: {notices:?}");
    }
    let config: serde_json::Value = serde_json::from_str(&config_of(&host, "copy")).unwrap();
    assert!(config["boot"].is_string() || config["boot"] == true, "{config}");
    assert!(config.get("hostid").is_none() && config.get("priority").is_none(), "{config}");
}

/// What cannot be understood is put back as it is, where nothing has to be changed in it.
#[test]
fn a_config_that_is_none_is_put_back_or_refused() {
    for (layout, options, warnings) in [
        ("libioc", Options::default(), Some(0)),
        ("iocage", Options::default(), Some(1)),
        ("libioc", selected(&["a=c", "b"]), None),
    ] {
        let host = Host::new();
        let path = host.path("two.tar");
        let mut manifest = two_jails();
        manifest.resources[0].layout = layout.to_owned();
        let members = [&[("jails/a/config.json", "no { json")][..], &TWO].concat();
        archive(&path, &manifest, &members, None);
        let restored = host.restore(&path, &options);
        assert_eq!(restored.is_ok(), warnings.is_some(), "{layout}");
        let told = host.warnings();
        let as_it_is = told.iter().filter(|warning| warning.contains("it is restored as it is")).count();
        if let Some(warnings) = warnings {
            assert_eq!((as_it_is, config_of(&host, "a")), (warnings, "no { json".to_owned()), "{told:?}");
        }
        host.is_clean();
    }
}

#[test]
fn what_of_its_records_cannot_be_taken_over_is_told() {
    for tags in [&["fine"][..], &["fine", "no tag, since it has spaces"]] {
        let host = Host::new();
        let path = host.path("two.tar");
        let mut manifest = two_jails();
        manifest.resources[0].tags = tags.iter().map(ToString::to_string).collect();
        archive(&path, &manifest, &TWO, None);
        let report = host.restore(&path, &Options::default()).unwrap();
        let warnings = host.warnings();
        let told =
            warnings.iter().filter(|one| one.contains("jail a: of its records this was not taken over"));
        assert_eq!((told.count(), report.warnings), (tags.len() - 1, tags.len() as u64 - 1), "{warnings:?}");
    }
}
