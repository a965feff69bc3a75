//! A restore onto a base that is not the archive's.

use super::*;

/// Another release, in which a file has this content.
fn release(host: &Host, name: &str, conf: &str) {
    for (path, text) in [("etc/conf", conf), ("etc/other", "other\n"), ("etc/new", "new\n")] {
        host.put(&format!("releases/{name}/root/{path}"), text);
    }
}

fn onto(base: &str, rule: OnConflict) -> Options {
    let (name, base) = (Some(format!("on-{base}")), Some(base.to_owned()));
    Options { name, base, on_conflict: Some(rule), ..Options::default() }
}

#[test]
fn a_merge_without_conflicts_succeeds_and_tells_none() {
    for rule in [OnConflict::Fail, OnConflict::Keep, OnConflict::Theirs] {
        let host = Host::new();
        let path = exported(&host);
        release(&host, "next", "as released\n");
        host.restore(&path, &onto("next", rule)).unwrap();
        let read = |name: &str| std::fs::read(host.path("jails/on-next/root/etc").join(name)).unwrap();
        assert_eq!((read("conf"), read("new")), (b"by the jail\n".to_vec(), b"new\n".to_vec()));
        assert!(!host.notices().iter().any(|notice| notice.contains("conflicts")));
        host.is_clean();
    }
}

#[test]
fn a_conflict_is_told_and_decided_by_the_rule() {
    let host = Host::new();
    let path = exported(&host);
    release(&host, "next", "by the release\n");
    let error = host.restore(&path, &onto("next", OnConflict::Fail)).unwrap_err();
    assert!(matches!(error, Error::Conflicts { count: 1, .. }), "{error}");
    assert_eq!(host.names("jails"), ["web"]);
    host.is_clean();
    for (rule, conf) in [(OnConflict::Keep, "by the release\n"), (OnConflict::Theirs, "by the jail\n")] {
        host.restore(&path, &onto("next", rule)).unwrap();
        let found = std::fs::read_to_string(host.path("jails/on-next/root/etc/conf")).unwrap();
        assert_eq!(found, conf);
        assert!(host.notices().iter().any(|notice| notice.contains("1 conflicts: ")));
        std::fs::remove_dir_all(host.path("jails/on-next")).unwrap();
    }
}
