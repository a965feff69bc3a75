//! What is received as a stream, and what lies in it or beside it.

use super::*;
use crate::archive::manifest::EntryFlags;

fn receiving(twist: Twist) -> Host {
    Host::twisted(Twist { receives: true, ..twist })
}

/// A dataset is mounted over what its place holds: that is not seen any more, and would be in the dataset's.
#[test]
fn what_lies_in_the_place_of_a_dataset_goes_and_nothing_else() {
    let host = receiving(Twist { holds: Some("db/below"), ..Twist::default() });
    let datasets = [
        ("data", Encoding::Btrfs),
        ("more", Encoding::Btrfs),
        ("data/db", Encoding::Tree),
        ("logs", Encoding::Tree),
        ("logs/db", Encoding::Tree),
    ];
    let members = [
        ("jails/a/root.tree", ""),
        ("jails/a/data.btrfs", "of data"),
        ("jails/a/more.btrfs", "of more"),
        ("jails/a/data/db.tree", ""),
        ("jails/a/data/db.tree/file", "of db"),
        ("jails/a/logs.tree", ""),
        ("jails/a/logs/db.tree", ""),
        ("jails/b/root.tree", ""),
    ];
    let path = with_datasets(&host, &datasets, &members);
    host.restore(&path, &Options::default()).unwrap();
    assert_eq!(
        (host.names("jails/a/data"), host.names("jails/a/more")),
        (names(["db", "stream"]), names(["db", "stream"]))
    );
    assert_eq!(host.names("jails/a/data/db"), ["file"]);
    assert_eq!(host.names("jails/a/more/db"), ["below"]);
    host.is_clean();
}

fn names<const N: usize>(all: [&str; N]) -> Vec<String> {
    all.map(str::to_owned).to_vec()
}

#[test]
fn flags_that_a_stream_does_not_hold_are_set_and_those_that_nobody_knows_are_told() {
    let host = receiving(Twist::default());
    let path = host.path("two.tar");
    let mut manifest = two_jails();
    for (name, encoding, flags) in [
        ("data", Encoding::Btrfs, "nobody"),
        ("more", Encoding::Btrfs, ""),
        ("tree", Encoding::Tree, "nothing"),
    ] {
        let mut dataset = manifest.resources[0].datasets[0].clone();
        (dataset.name, dataset.encoding) = (name.to_owned(), encoding);
        dataset.member = crate::export::plan::member(name, encoding);
        let all = Some(flags).filter(|flags| !flags.is_empty());
        dataset.flags = all.map(|flags| EntryFlags::new(b"stream", flags.to_owned())).into_iter().collect();
        manifest.resources[0].datasets.push(dataset);
    }
    let members = [
        ("jails/a/root.tree", ""),
        ("jails/a/data.btrfs", "of data"),
        ("jails/a/more.btrfs", "of more"),
        ("jails/a/tree.tree", ""),
        ("jails/b/root.tree", ""),
    ];
    archive(&path, &manifest, &members, None);
    host.restore(&path, &Options::default()).unwrap();
    let warnings = host.warnings();
    assert!(
        matches!(&warnings[..], [one] if one.contains("data/stream") && one.contains("nobody")),
        "{warnings:?}"
    );
    host.is_clean();
}

#[test]
fn who_restores_what_is_encrypted_is_told_to_load_its_key() {
    let host = receiving(Twist { locked: Some("secret"), ..Twist::default() });
    let datasets = [("secret", Encoding::Btrfs), ("open", Encoding::Btrfs)];
    let members = [
        ("jails/a/root.tree", ""),
        ("jails/a/secret.btrfs", "of both"),
        ("jails/a/open.btrfs", "of both"),
        ("jails/b/root.tree", ""),
    ];
    let path = with_datasets(&host, &datasets, &members);
    host.restore(&path, &Options::default()).unwrap();
    let notices = host.notices();
    let told: Vec<_> = notices.iter().filter(|notice| notice.contains("zfs load-key")).collect();
    assert!(matches!(&told[..], [one] if one.contains("jails/a/secret`")), "{notices:?}");
    host.is_clean();
}

/// A rename unmounts and mounts, which touches what datasets are mounted in.
#[test]
fn directories_that_datasets_are_mounted_in_keep_their_times() {
    use std::os::unix::fs::MetadataExt;
    let host = Host::twisted(Twist { touches: &["", "root/usr", "root/other", "data"], ..Twist::default() });
    let datasets = [("data", Encoding::Tree), ("root/usr/lib", Encoding::Tree), ("data/db", Encoding::Tree)];
    let members = [
        ("jails/a/root.tree", ""),
        ("jails/a/root.tree/usr", ""),
        ("jails/a/root.tree/other", ""),
        ("jails/a/data.tree", ""),
        ("jails/a/root.datasets/usr/lib.tree", ""),
        ("jails/a/data/db.tree", ""),
        ("jails/b/root.tree", ""),
    ];
    let path = with_datasets(&host, &datasets, &members);
    host.restore(&path, &selected(&["a"])).unwrap();
    let time = |name: &str| {
        let found = host.path("jails/a").join(name).metadata().unwrap();
        (found.mtime(), found.mtime_nsec())
    };
    assert_eq!((time("root/usr"), time("data")), ((1_600_000_000, 5), (1_600_000_000, 5)));
    assert_ne!(time("").0, 0);
    // Nothing is mounted in there.
    assert_eq!(time("root/other"), (0, 0));
    assert_eq!(host.warnings(), [""; 0]);
    host.is_clean();
}
