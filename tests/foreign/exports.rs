//! iocage's exports on ZFS: what is received to be looked into goes again.

use crate::made::iocage_export;
use crate::support::Scratch;
use crate::support::pool::{Place, Pool, Size, zfs};
use crate::support::run::remand;

#[test]
fn another_name_and_nothing_left_of_what_fails() {
    let Some(place) = Place::zfs("iocage's exports under another name") else { return };
    let (scratch, source) = (Scratch::new(), Pool::with_jail(&place, Size::Small));
    let config = source.path("jails/web01/config.json");
    let text =
        std::fs::read_to_string(&config).expect("a config").replacen('{', "{\"type\": \"template\",", 1);
    std::fs::write(&config, text).expect("a config");
    let archive = iocage_export(&source, scratch.path(), "zip");
    // It exists: what was received to be looked into is gone.
    remand(["restore"]).on(&source).arg(&archive).ends(12);
    assert_eq!(source.remains(), [""; 0]);
    remand(["restore", "--dry-run", "--name", "web02"]).on(&source).arg(&archive).ends(3);
    remand(["restore", "--name", "web02"]).on(&source).arg(&archive).ends(3).tells("of a template");
    assert_eq!(
        (source.jails(), source.remains()),
        (vec!["web01".to_owned(), "web02".to_owned()], Vec::new())
    );
    let config = std::fs::read_to_string(source.path("jails/web02/config.json")).expect("a config");
    assert!(config.contains("\"jail\"") && !config.contains("template\""), "{config}");
    // The snapshot of the export is not kept.
    let snapshots =
        zfs(["list", "-H", "-r", "-t", "snapshot", "-o", "name", &format!("{}/jails/web02", source.name())]);
    assert!(!snapshots.contains("ioc-export"), "{snapshots}");
}
