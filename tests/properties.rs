//! Properties of datasets come back as they were, whatever way the content takes.

mod support;

use std::collections::BTreeMap;

use support::Scratch;
use support::pool::{Place, Pool, Size, zfs};
use support::run::{export, remand};

/// What is set on which dataset of the jail: the own directory first.
const SET: [(&str, &[&str]); 6] = [
    ("", &["quota=1073741824", "compression=gzip-2", "com.example:owner=ops team"]),
    ("/root", &["recordsize=8192", "atime=off", "setuid=off"]),
    ("/data", &["quota=104857600", "reservation=1048576", "compression=off", "exec=off", "snapdir=visible"]),
    ("/data/off", &["canmount=off"]),
    ("/data/off/in", &["refquota=10485760", "readonly=on"]),
    ("/data/later", &["canmount=noauto", "copies=2"]),
];

fn local(dataset: &str) -> BTreeMap<String, String> {
    let text = zfs(["get", "-H", "-p", "-s", "local", "-o", "property,value", "all", dataset]);
    let pairs = text.lines().map(|line| line.split_once('\t').expect("two columns"));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn prepare(pool: &Pool) -> String {
    let jail = format!("{}/jails/web01", pool.name());
    // It has `data` already.
    for (below, _) in &SET[3..] {
        zfs(["create", &format!("{jail}{below}")]);
    }
    std::fs::write(pool.path("jails/web01/data/file"), vec![b'x'; 300_000]).unwrap();
    std::fs::write(pool.path("jails/web01/data/off/in/file"), "in").unwrap();
    std::fs::write(pool.path("jails/web01/data/later/file"), "later").unwrap();
    for (below, set) in SET.iter().rev() {
        if set.contains(&"canmount=off") {
            zfs(["unmount", &format!("{jail}{below}")]);
        }
        for property in *set {
            zfs(["set", property, &format!("{jail}{below}")]);
        }
    }
    zfs(["mount", &format!("{jail}/data/off/in")]);
    zfs(["set", "exec=on", &format!("{jail}/root")]);
    jail
}

#[test]
fn properties_come_back_and_those_that_do_not_are_named() {
    let Some(place) = Place::zfs("properties") else { return };
    for options in [&[] as &[&str], &["--standalone"], &["--standalone", "--portable"]] {
        let pool = Pool::with_jail(&place, Size::Small);
        let jail = prepare(&pool);
        let scratch = Scratch::new();
        let archive = scratch.join("web01.tar");
        export(&pool, "web01", &archive, options);
        let ended = remand(["restore", "--name", "web02"]).on(&pool).arg(&archive).ends(0);
        ended.tells("not taken over, since it reaches beyond the dataset: exec");
        let copy = jail.replace("web01", "web02");
        for (below, _) in SET {
            let mut wanted = local(&format!("{jail}{below}"));
            wanted.retain(|name, value| (name.as_str(), value.as_str()) != ("exec", "on"));
            let mut found = local(&format!("{copy}{below}"));
            // How a received dataset is kept from leading out of the pool.
            if !options.contains(&"--portable") && !wanted.contains_key("canmount") {
                found.retain(|name, value| name != "canmount" || value != "on");
            }
            assert_eq!(found, wanted, "{below} with {options:?}");
        }
        let read = |file: &str| std::fs::read(pool.path(&format!("jails/web02/{file}"))).unwrap();
        assert_eq!(read("data/file"), vec![b'x'; 300_000]);
        assert_eq!(read("data/off/in/file"), b"in");
        if !options.contains(&"--portable") {
            zfs(["mount", &format!("{copy}/data/later")]); // a tree was written there, and it is mounted yet
        }
        assert_eq!(read("data/later/file"), b"later");
    }
}
