//! A config that is properties of the jail's dataset: on ZFS, and where directories remember them.

use serde_json::{Value, json};

use super::support::Scratch;
use super::support::bundle::Bundle;
use super::support::pool::{Place, Pool, Size, zfs};
use super::support::run::{export, remand, restore};
use super::{PREFIX, PROPERTIES, archive_of, listed, member, properties_json, sees_the_jail, with_config};

#[test]
fn properties_are_remembered_where_there_are_none() {
    for place in [Some(Place::dir()), Place::btrfs("config forms")].into_iter().flatten() {
        let (source, scratch) = (Pool::with_jail(&Place::dir(), Size::Small), Scratch::new());
        let pool = Pool::with_release(&place, Size::Small);
        let json = archive_of(&source, &scratch);
        let archive = scratch.join("properties.tar");
        with_config(&json, "properties.json", &properties_json(), &archive);
        let ended = remand(["restore"]).on(&pool).arg(&archive).ends(0);
        ended.tells("properties.json: it is properties, which this pool only remembers");
        let found = listed(&pool, "web01");
        assert_eq!(found["base"], "base-1.0");
        sees_the_jail(&found, "properties");
        for file in ["properties.json", "config.json", "config"] {
            assert!(!pool.path("jails/web01").join(file).exists(), "{file}");
        }
        let again = scratch.join("again.tar");
        export(&pool, "web01", &again, &[]);
        assert_eq!(member(&again, "./properties.json"), properties_json());
        let manifest = Bundle::open(&again).manifest();
        assert!(manifest["resources"][0].get("properties").is_none(), "they are there once: {manifest}");
        let options = ["--name", "web02", "--set", "boot=off", "--unset", "type", "--set", "user.new=1"];
        restore(&pool, &again, &options);
        let view = listed(&pool, "web02")["view"].clone();
        assert_eq!((&view["boot"], &view["host_hostuuid"]), (&false.into(), &"web02".into()));
        let third = scratch.join("third.tar");
        export(&pool, "web02", &third, &[]);
        let text = member(&third, "./properties.json");
        assert!(text.contains("user.new") && !text.contains("iocage:type"), "{text}");
        assert!(!text.contains("ip4_addr"), "{text}");
    }
}

#[test]
fn properties_that_are_none_of_a_config_are_refused() {
    let (pool, scratch) = (Pool::with_jail(&Place::dir(), Size::Small), Scratch::new());
    let json = archive_of(&pool, &scratch);
    let archive = scratch.join("properties.tar");
    for bad in
        [r#"{"mountpoint": "/etc"}"#, r#"{"org.freebsd.iocage:x": 1}"#, "[]", r#"{"org.remand:run": "x"}"#]
    {
        with_config(&json, "properties.json", bad, &archive);
        let ended = remand(["restore", "--name", "web02"]).on(&pool).arg(&archive).ends(1);
        ended.tells("properties.json in the archive cannot be understood");
        assert_eq!((pool.jails(), pool.remains()), (vec!["web01".to_owned()], vec![]));
    }
}

/// A pool whose jail `web01` has its config in properties.
fn with_properties(place: &Place) -> Pool {
    let pool = Pool::with_jail(place, Size::Small);
    std::fs::remove_file(pool.path("jails/web01/config.json")).unwrap();
    for (key, value) in PROPERTIES {
        zfs(["set", &format!("{PREFIX}{key}={value}"), &format!("{}/jails/web01", pool.name())]);
    }
    pool
}

#[test]
fn properties_of_zfs_are_read_kept_and_changed_once() {
    let Some(place) = Place::zfs("config forms") else { return };
    let (pool, scratch) = (with_properties(&place), Scratch::new());
    let dataset = |name: &str| format!("{}/jails/{name}", pool.name());
    zfs(["set", "com.example:owner=ops", &dataset("web01")]);
    sees_the_jail(&listed(&pool, "web01"), "properties");
    let archive = scratch.join("web01.tar");
    export(&pool, "web01", &archive, &[]);
    assert_eq!(member(&archive, "./properties.json"), properties_json());
    let own = Bundle::open(&archive).manifest()["resources"][0]["properties"].clone();
    assert_eq!(own, json!({"com.example:owner": "ops"}));
    let get = |name: &str, key: &str| zfs(["get", "-H", "-o", "value,source", key, &dataset(name)]);
    restore(&pool, &archive, &["--name", "web02", "--identity", "keep"]);
    for (key, value) in PROPERTIES.iter().filter(|(key, _)| *key != "host_hostuuid") {
        assert_eq!(get("web02", &format!("{PREFIX}{key}")), format!("{value}\tlocal"), "{key}");
    }
    assert_eq!(get("web02", "com.example:owner"), "ops\tlocal");
    // Renamed, and with another identity.
    let options = ["--name", "web03", "--set", "boot=off", "--unset", "user.comment"];
    let ended = remand(["restore"]).on(&pool).args(&options).arg(&archive).ends(0);
    ended.tells("new identity: host_hostuuid is now web03");
    assert_eq!(get("web03", &format!("{PREFIX}host_hostuuid")), "web03\tlocal");
    assert_eq!(get("web03", &format!("{PREFIX}boot")), "off\tlocal");
    for gone in ["user.comment", "ip4_addr"] {
        assert_eq!(get("web03", &format!("{PREFIX}{gone}")), "-\t-", "{gone}");
    }
    assert_ne!(get("web03", &format!("{PREFIX}hostid")), get("web01", &format!("{PREFIX}hostid")));
    // Through a pool of directories and back it is the same.
    let other = Pool::with_release(&Place::dir(), Size::Small);
    let (portable, back) = (scratch.join("portable.tar"), scratch.join("back.tar"));
    export(&pool, "web01", &portable, &["--standalone", "--portable"]);
    restore(&other, &portable, &[]);
    export(&other, "web01", &back, &["--standalone"]);
    restore(&pool, &back, &["--name", "web04", "--identity", "keep"]);
    for (key, value) in PROPERTIES.iter().filter(|(key, _)| *key != "host_hostuuid") {
        assert_eq!(get("web04", &format!("{PREFIX}{key}")), format!("{value}\tlocal"), "{key}");
    }
    // A snapshot holds the files of then, and no properties.
    let snapshot = format!("{}@then", dataset("web01"));
    zfs(["snapshot", "-r", &snapshot]);
    let then = scratch.join("then.tar");
    let ended = remand(["export"]).on(&pool).arg("web01@then").arg(&then).ends(0);
    ended.tells("config: it is properties, and as they are now");
    assert_eq!(member(&then, "./properties.json"), properties_json());
}

#[test]
fn properties_that_were_received_are_the_config_too() {
    let Some(place) = Place::zfs("config forms") else { return };
    let (pool, scratch) = (with_properties(&place), Scratch::new());
    let dataset = |name: &str| format!("{}/jails/{name}", pool.name());
    for own in ["com.example:owner=ops", "compression=gzip-3"] {
        zfs(["set", own, &dataset("web01")]);
    }
    zfs(["set", "quota=1G", &dataset("web01/data")]);
    // As administrators move jails; what was set on the way is of both sources, and what was taken back is of none.
    zfs(["snapshot", "-r", &format!("{}@moved", dataset("web01"))]);
    for part in ["", "/data"] {
        let (from, to) = (dataset("web01") + part + "@moved", dataset("web02") + part);
        let moved = std::process::Command::new("sh")
            .args(["-c", "zfs send -p \"$0\" | zfs receive -u \"$1\" && zfs mount \"$1\"", &from, &to])
            .status();
        assert!(moved.unwrap().success(), "{to}");
    }
    let root = format!("{}/root", dataset("web02"));
    zfs(["clone", &format!("{}/root@moved", dataset("web01")), &root]);
    let get = |name: &str, key: &str| zfs(["get", "-H", "-o", "value,source", key, &dataset(name)]);
    assert_eq!(get("web02", &format!("{PREFIX}boot")), "on\treceived");
    std::fs::remove_file(pool.path("jails/web02/fstab")).unwrap();
    zfs(["set", &format!("{PREFIX}type=template"), &dataset("web02")]);
    zfs(["inherit", &format!("{PREFIX}user.comment"), &dataset("web02")]);
    assert_eq!(listed(&pool, "web02")["config"], "properties");
    let archive = scratch.join("web02.tar");
    export(&pool, "web02", &archive, &[]);
    let config: Value = serde_json::from_str(&member(&archive, "./properties.json")).unwrap();
    let mut wanted: Value = serde_json::from_str(&properties_json()).unwrap();
    wanted[format!("{PREFIX}type")] = "template".into();
    wanted.as_object_mut().unwrap().remove(&format!("{PREFIX}user.comment"));
    assert_eq!(config, wanted);
    let record = Bundle::open(&archive).manifest()["resources"][0].clone();
    assert_eq!(record["properties"]["com.example:owner"], "ops");
    restore(&pool, &archive, &["--name", "web03"]);
    assert_eq!(get("web03", "com.example:owner"), "ops\tlocal");
    assert_eq!(get("web03", "compression"), "gzip-3\tlocal");
    assert_eq!(get("web03/data", "quota"), "1G\tlocal");
    assert_eq!(get("web03", &format!("{PREFIX}boot")), "on\tlocal");
}
