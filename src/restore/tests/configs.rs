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
    // What is said, or was taken away, is no matter of defaults.
    assert!(!notices.iter().any(|notice| notice.contains("by the defaults")), "{notices:?}");
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

/// Each of what changes a config is reason enough to have to understand it.
#[test]
fn a_config_that_has_to_be_changed_has_to_be_understood() {
    let keep = Some(Identity::Keep);
    let base = Some("next".to_owned());
    let assignments = vec![Assignment::set("boot=yes").unwrap()];
    for (changes, options) in [
        (false, Options { identity: keep, ..Options::default() }),
        (true, Options { name: Some("copy".to_owned()), identity: keep, ..Options::default() }),
        (true, Options { identity: Some(Identity::New), ..Options::default() }),
        (true, Options { identity: keep, assignments, ..Options::default() }),
        (true, Options { identity: keep, base, allow_base_mismatch: true, ..Options::default() }),
    ] {
        let host = Host::new();
        let whole = exported(&host);
        host.put("releases/next/root/etc/other", "other\n");
        std::fs::remove_dir_all(host.path("jails/web")).unwrap();
        let path = host.path("unclear.tar");
        archive(&path, &manifest_of(&whole), &[("config.json", "no { json"), ("root", "")], None);
        let restored = host.restore(&path, &options);
        assert_eq!(restored.is_err(), changes, "{options:?}: {:?}", restored.err());
        host.is_clean();
    }
}

/// What no archive has content of, in the jail's own directory.
#[test]
fn a_socket_beside_the_root_comes_back() {
    use std::os::unix::fs::FileTypeExt;
    let host = Host::new();
    host.put("jails/web/files.d/note", "x");
    std::os::unix::net::UnixListener::bind(host.path("jails/web/files.d/socket")).unwrap();
    let path = exported(&host);
    let options = Options { name: Some("copy".to_owned()), ..Options::default() };
    host.restore(&path, &options).unwrap();
    let found = std::fs::symlink_metadata(host.path("jails/copy/files.d/socket")).unwrap();
    assert!(found.file_type().is_socket());
}

/// Two jails of which the first was in a pool of this layout, restored into one of that; the fstab that it has then.
fn fstab_of(from: &str, to: &str, config: &str, fstab: &str) -> (Host, String) {
    let mut host = Host::new();
    host.put("releases/base/root/bin/sh", "a shell");
    host.pool = Pool::open_as(host.directory.path().to_str().unwrap(), Some(to)).unwrap();
    let path = host.path("two.tar");
    let mut manifest = two_jails();
    let record = &mut manifest.resources[0];
    (record.layout, record.mountpoint) = (from.to_owned(), "/old/pool/jails/a".to_owned());
    let own = [("jails/a/config.json", config), ("jails/a/fstab", fstab)];
    archive(&path, &manifest, &[&own[..], &TWO].concat(), None);
    host.restore(&path, &selected(&["a"])).unwrap();
    let fstab = std::fs::read_to_string(host.path("jails/a/fstab")).unwrap();
    (host, fstab)
}

/// iocage keeps templates apart, libioc among its jails.
#[test]
fn what_is_mounted_from_a_template_comes_from_where_templates_are() {
    let lines =
        "/old/pool/templates/x/root/a /mnt/a nullfs ro 0 0\n/old/pool/jails/y/root/b /mnt/b nullfs ro 0 0\n";
    for (from, to, template) in [
        ("iocage", "libioc", "jails"),
        ("libioc", "iocage", "templates"),
        ("iocage", "iocage", "templates"),
        ("libioc", "libioc", "templates"),
    ] {
        let (host, fstab) = fstab_of(from, to, "{\"id\": \"a\"}", lines);
        let sources: Vec<_> = fstab.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect();
        let place = |below: &str| host.path(below).to_str().unwrap().to_owned();
        let expected = [place(&format!("{template}/x/root/a")), place("jails/y/root/b")];
        assert_eq!(sources, expected, "{from} {to}");
    }
}

#[test]
fn a_basejail_gets_the_mounts_that_the_manager_of_this_pool_needs() {
    let config = r#"{"id": "a", "basejail": "yes", "release": "base"}"#;
    for (to, mounts) in [("iocage", 1), ("libioc", 0)] {
        let (host, fstab) = fstab_of("libioc", to, config, "# own\n");
        let source = format!("{}\t", host.path("releases/base/root/bin").display());
        assert_eq!(fstab.lines().filter(|line| line.starts_with(&source)).count(), mounts, "{to}: {fstab}");
        assert!(fstab.starts_with("# own\n"), "{fstab}");
    }
}
