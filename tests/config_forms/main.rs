//! The forms of a config × what is done with it: read, kept byte for byte, given another identity, set, taken away, written as
//! another manager writes it. Files on plain directories, properties on ZFS and where directories remember them.

mod properties;
#[path = "../support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use support::Scratch;
use support::bundle::Bundle;
use support::pool::{Place, Pool, Size, zfs};
use support::run::{export, remand, restore};

const PREFIX: &str = "org.freebsd.iocage:";

const UCL: &str = "# of an older iocage\n\
release = \"base-1.0\";\n\
boot: on /* at once */\n\
hostid = 4c4c4544-0051-3310-8051-b4c04f4a3433\n\
host_hostuuid = web01;\n\
vnet0_mac = \"02ff60aabbcc,02ff60aabbcd\"\n\
ip4_addr = [ \"vnet0|192.0.2.7/24\", vnet0|192.0.2.8 ];\n\
user { comment = 'my own'; list = [1, 2k] }\n";

const PROPERTIES: [(&str, &str); 8] = [
    ("boot", "on"),
    ("host_hostuuid", "web01"),
    ("hostid", "4c4c4544-0051-3310-8051-b4c04f4a3433"),
    ("ip4_addr", "vnet0|192.0.2.7/24,vnet0|192.0.2.8"),
    ("release", "base-1.0"),
    ("type", "jail"),
    ("user.comment", "my own"),
    ("vnet0_mac", "02ff60aabbcc,02ff60aabbcd"),
];

fn properties_json() -> String {
    let all: std::collections::BTreeMap<_, _> =
        PROPERTIES.iter().map(|(key, value)| (format!("{PREFIX}{key}"), *value)).collect();
    format!("{}\n", serde_json::to_string_pretty(&all).unwrap())
}

/// What `list --json` says of a jail.
fn listed(pool: &Pool, name: &str) -> Value {
    let lines = remand(["list", "--json"]).on(pool).ends(0).json();
    let found = lines.into_iter().find(|line| line["resource"]["name"] == name);
    found.unwrap_or_else(|| panic!("no jail {name}"))["resource"].clone()
}

/// The member of an archive.
fn member(archive: &Path, name: &str) -> String {
    let bundle = Bundle::open(archive);
    String::from_utf8(bundle.members[bundle.position(name)].data.clone()).unwrap()
}

/// A pool whose jail `web01` has a config in UCL.
fn with_ucl() -> Pool {
    let pool = Pool::with_jail(&Place::dir(), Size::Small);
    std::fs::remove_file(pool.path("jails/web01/config.json")).unwrap();
    std::fs::write(pool.path("jails/web01/config"), UCL).unwrap();
    pool
}

/// The archive of that jail.
fn archive_of(pool: &Pool, scratch: &Scratch) -> PathBuf {
    let archive = scratch.join("web01.tar");
    export(pool, "web01", &archive, &[]);
    archive
}

/// Of an archive with a config in JSON one with another config.
fn with_config(archive: &Path, form: &str, text: &str, to: &Path) {
    let mut bundle = Bundle::open(archive);
    bundle.replace("config.json", text.as_bytes());
    let at = bundle.position("./config.json");
    bundle.members[at] = bundle.members[at].named(&format!("./{form}"));
    let mut manifest = bundle.manifest();
    manifest["resources"][0]["config"] = form.into();
    bundle.set_manifest(&manifest);
    let mut lines = bundle.index();
    lines.pop();
    let line = lines.iter_mut().find(|line| line["path"] == "./config.json").unwrap();
    line["path"] = format!("./{form}").into();
    bundle.seal(&lines);
    bundle.save(to);
}

fn sees_the_jail(found: &Value, form: &str) {
    assert_eq!(found["config"], form);
    let view = json!({
        "release": "base-1.0", "boot": true, "hostid": "4c4c4544-0051-3310-8051-b4c04f4a3433", "host_hostuuid": "web01",
        "ip4": [{"interface": "vnet0", "address": "192.0.2.7/24"}, {"interface": "vnet0", "address": "192.0.2.8"}],
        "macs": {"vnet0": ["02ff60aabbcc", "02ff60aabbcd"]},
    });
    assert_eq!(found["view"], view);
}

#[test]
fn ucl_is_read_and_kept_byte_for_byte() {
    let (pool, scratch) = (with_ucl(), Scratch::new());
    let found = listed(&pool, "web01");
    sees_the_jail(&found, "ucl");
    assert_eq!(found["base"], "base-1.0", "it is differential: the config was read");
    let archive = archive_of(&pool, &scratch);
    assert_eq!(member(&archive, "./config"), UCL);
    let manifest = Bundle::open(&archive).manifest();
    assert_eq!(
        (&manifest["resources"][0]["config"], &manifest["resources"][0]["view"]),
        (&"config".into(), &found["view"])
    );
    let info = remand(["info"]).arg(&archive).ends(0).text();
    assert!(info.contains("config        config, fstab") && info.contains("boot        yes"), "{info}");
    pool.delete("jails/web01");
    restore(&pool, &archive, &[]);
    assert_eq!(std::fs::read_to_string(pool.path("jails/web01/config")).unwrap(), UCL);
    assert!(!pool.path("jails/web01/config.json").exists());
    sees_the_jail(&listed(&pool, "web01"), "ucl");
}

#[test]
fn ucl_is_changed_where_it_must_be_and_nowhere_else() {
    let (pool, scratch) = (with_ucl(), Scratch::new());
    let archive = archive_of(&pool, &scratch);
    let options = ["--name", "web02", "--identity", "keep", "--set", "boot=no", "--set", "user.comment=it's"];
    let ended =
        remand(["restore"]).on(&pool).args(&options).args(&["--unset", "hostid"]).arg(&archive).ends(0);
    for words in ["config: boot is now no", "user.comment is now it's", "hostid was taken away"] {
        ended.tells(words);
    }
    let expected = UCL
        .replace("boot: on", "boot: no")
        .replace("'my own'", "\"it's\"")
        .replace("hostid = 4c4c4544-0051-3310-8051-b4c04f4a3433\n", "");
    assert_eq!(std::fs::read_to_string(pool.path("jails/web02/config")).unwrap(), expected);
    // Another identity.
    restore(&pool, &archive, &["--name", "web03"]);
    let text = std::fs::read_to_string(pool.path("jails/web03/config")).unwrap();
    let view = listed(&pool, "web03")["view"].clone();
    assert_eq!(view["host_hostuuid"], "web03");
    assert!(view.get("ip4").is_none() && view["hostid"] != "4c4c4544-0051-3310-8051-b4c04f4a3433");
    assert_ne!(view["macs"]["vnet0"][0], "02ff60aabbcc");
    assert!(
        text.contains("boot: on /* at once */\n")
            && text.contains("user { comment = 'my own'; list = [1, 2k] }")
    );
}

#[test]
fn ucl_that_is_not_understood_travels_and_is_changed_by_nobody() {
    let (pool, scratch) = (with_ucl(), Scratch::new());
    let archive = scratch.join("plain.tar");
    // A standalone pool of its own: on directories the config alone tells the base.
    let broken = format!("{UCL}.include \"/etc/x\"\n");
    std::fs::write(pool.path("jails/web01/config"), &broken).unwrap();
    let ended = remand(["list"]).on(&pool).ends(1);
    ended.tells("config of the jail web01 cannot be understood: line 9: macros of UCL are not understood");
    std::fs::write(pool.path("jails/web01/config"), UCL).unwrap();
    let good = archive_of(&pool, &scratch);
    let mut bundle = Bundle::open(&good);
    bundle.replace("config", broken.as_bytes());
    bundle.save(&archive);
    pool.delete("jails/web01");
    restore(&pool, &archive, &[]);
    assert_eq!(std::fs::read_to_string(pool.path("jails/web01/config")).unwrap(), broken);
    let ended = remand(["restore", "--name", "web02"]).on(&pool).arg(&archive).ends(1);
    ended.tells("config in the archive cannot be understood: line 9");
    assert_eq!((pool.jails(), pool.remains()), (vec!["web01".to_owned()], vec![]));
}

/// A file that the manager would read before the config is no file of an honest archive.
#[test]
fn a_file_cannot_hide_the_config() {
    let (pool, scratch) = (with_ucl(), Scratch::new());
    let archive = archive_of(&pool, &scratch);
    let mut bundle = Bundle::open(&archive);
    bundle.add_copy("files/notes.txt", "files/config.json");
    let hostile = scratch.join("hostile.tar");
    bundle.save(&hostile);
    remand(["restore", "--name", "web02"]).on(&pool).arg(&hostile).ends(23);
    assert_eq!((pool.jails(), pool.remains()), (vec!["web01".to_owned()], vec![]));
    // Beside config.json it is a file like any other.
    let other = Pool::with_jail(&Place::dir(), Size::Small);
    std::fs::write(other.path("jails/web01/config"), "notes").unwrap();
    std::fs::write(other.path("jails/web01/properties.json"), "notes").unwrap();
    let archive = scratch.join("json.tar");
    export(&other, "web01", &archive, &[]);
    restore(&other, &archive, &["--name", "web02"]);
    assert_eq!(listed(&other, "web02")["config"], "json");
    assert_eq!(std::fs::read_to_string(other.path("jails/web02/config")).unwrap(), "notes");
    assert_eq!(std::fs::read_to_string(other.path("jails/web02/properties.json")).unwrap(), "notes");
}

/// What is no file hides the forms after it, as from a manager, and travels.
#[test]
fn a_link_in_the_place_of_a_config_is_no_config() {
    let (pool, scratch) = (with_ucl(), Scratch::new());
    std::os::unix::fs::symlink("config", pool.path("jails/web01/config.json")).unwrap();
    assert_eq!(listed(&pool, "web01")["config"], Value::Null);
    let archive = scratch.join("web01.tar");
    export(&pool, "web01", &archive, &["--standalone"]);
    restore(&pool, &archive, &["--name", "web02"]);
    assert_eq!(std::fs::read_link(pool.path("jails/web02/config.json")).unwrap(), Path::new("config"));
    assert_eq!(std::fs::read_to_string(pool.path("jails/web02/config")).unwrap(), UCL);
}

#[test]
fn a_snapshot_has_the_config_of_then() {
    let Some(place) = Place::zfs("config forms") else { return };
    let (pool, scratch) = (Pool::with_jail(&place, Size::Small), Scratch::new());
    zfs(["snapshot", "-r", &format!("{}/jails/web01@then", pool.name())]);
    let config = pool.path("jails/web01/config.json");
    let before = std::fs::read_to_string(&config).unwrap();
    std::fs::remove_file(&config).unwrap();
    std::fs::write(pool.path("jails/web01/config"), "release = base-1.0; boot = off\n").unwrap();
    let archive = scratch.join("then.tar");
    remand(["export"]).on(&pool).arg("web01@then").arg(&archive).ends(0);
    assert_eq!(member(&archive, "./config.json"), before);
    assert_eq!(Bundle::open(&archive).manifest()["resources"][0]["view"]["boot"], true);
    assert_eq!(listed(&pool, "web01")["view"]["boot"], false);
}

fn config_json(pool: &Pool, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(pool.path(&format!("jails/{name}/config.json"))).unwrap()).unwrap()
}

/// As if it had been made in a pool of iocage's.
fn of_iocage(archive: &Path, config: &str, to: &Path) {
    let mut bundle = Bundle::open(archive);
    let mut manifest = bundle.manifest();
    manifest["resources"][0]["layout"] = "iocage".into();
    bundle.set_manifest(&manifest);
    let form = manifest["resources"][0]["config"].as_str().unwrap().to_owned();
    bundle.replace(&form, config.as_bytes());
    bundle.save(to);
}

#[test]
fn what_iocage_wrote_is_written_as_libioc_does() {
    let (pool, scratch) = (Pool::with_jail(&Place::dir(), Size::Small), Scratch::new());
    let json = archive_of(&pool, &scratch);
    let archive = scratch.join("iocage.tar");
    let text = r#"{"CONFIG_VERSION": "29", "boot": 1, "vnet": 0, "priority": 7, "host_hostuuid": "web01", "depends": "a b",
        "release": "base-1.0"}"#;
    of_iocage(&json, text, &archive);
    let ended = remand(["restore", "--name", "web02"])
        .on(&pool)
        .args(&["--set", "template=yes"])
        .arg(&archive)
        .ends(0);
    ended.tells("config.json: as libioc writes it now: boot, vnet, depends, host_hostuuid, CONFIG_VERSION");
    let expected = json!({"boot": "yes", "vnet": "no", "priority": 7, "depends": "a,b", "release": "base-1.0", "template": "yes"});
    assert_eq!(config_json(&pool, "web02"), expected);
    // What both write alike stays byte for byte.
    let text = "{\"boot\":\"yes\",   \"release\":\"base-1.0\"}";
    of_iocage(&json, text, &archive);
    restore(&pool, &archive, &["--name", "web03", "--identity", "keep"]);
    assert_eq!(std::fs::read_to_string(pool.path("jails/web03/config.json")).unwrap(), text);
}

#[test]
fn a_form_that_has_to_be_changed_becomes_that_of_the_target() {
    let (pool, scratch) = (with_ucl(), Scratch::new());
    let ucl = archive_of(&pool, &scratch);
    let archive = scratch.join("iocage.tar");
    of_iocage(&ucl, &format!("{UCL}odd = [[1], 2]\n"), &archive);
    let ended =
        remand(["restore", "--name", "web02"]).on(&pool).args(&["--identity", "keep"]).arg(&archive).ends(3);
    ended.tells("config: it is config.json now, since it had to be changed");
    ended.tells("config: odd cannot be said here, a list of sections, or of lists, is not taken over");
    assert!(!pool.path("jails/web02/config").exists());
    let expected = json!({
        "release": "base-1.0", "boot": "on", "hostid": "4c4c4544-0051-3310-8051-b4c04f4a3433",
        "vnet0_mac": "02ff60aabbcc,02ff60aabbcd", "ip4_addr": "vnet0|192.0.2.7/24,vnet0|192.0.2.8",
        "user.comment": "my own", "user.list": "1,2k",
    });
    assert_eq!(config_json(&pool, "web02"), expected);
}

#[test]
fn types_are_kept_in_json() {
    let (pool, scratch) = (Pool::with_jail(&Place::dir(), Size::Small), Scratch::new());
    let archive = archive_of(&pool, &scratch);
    let mut words = vec!["--name", "web02", "--identity", "keep"];
    for word in [
        "securelevel=3",
        "boot=no",
        "basejail=0",
        "user.list=a,b",
        "user.comment=",
        "new=1",
        "resource_limits.memoryuse=4G",
    ] {
        words.extend(["--set", word]);
    }
    words.extend(["--unset", "vnet", "--unset", "nothing"]);
    let ended = remand(["restore"]).on(&pool).args(&words).arg(&archive).ends(0);
    ended.tells("config.json: nothing was not set");
    let mut expected = config_json(&pool, "web01");
    expected.as_object_mut().unwrap().remove("vnet");
    expected["securelevel"] = 3.into();
    expected["boot"] = false.into();
    expected["basejail"] = "0".into();
    expected["user"]["list"] = json!(["a", "b"]);
    expected["user"]["comment"] = "".into();
    expected["new"] = "1".into();
    expected["resource_limits.memoryuse"] = "4G".into();
    assert_eq!(config_json(&pool, "web02"), expected);
}

#[test]
fn what_cannot_be_set_is_said_before_anything_is_made() {
    let (pool, scratch) = (Pool::with_jail(&Place::dir(), Size::Small), Scratch::new());
    let archive = archive_of(&pool, &scratch);
    let release = scratch.join("release.tar");
    remand(["export", "--standalone"]).on(&pool).arg("release:base-1.0").arg(&release).ends(0);
    let refused = |archive: &Path, name: &str, options: &[&str], words: &str| {
        let name = format!("{name}=other");
        for dry in [&[][..], &["--dry-run"]] {
            let ended = remand(["restore"]).on(&pool).args(options).args(dry).arg(archive).arg(&name).ends(2);
            ended.tells(words);
        }
        assert_eq!((pool.jails(), pool.remains()), (vec!["web01".to_owned()], vec![]));
    };
    refused(&archive, "web01", &["--set", "id=x"], "use --name");
    refused(&archive, "web01", &["--set", "name=x"], "use --name");
    refused(&archive, "web01", &["--unset", "release"], "use --base");
    refused(&archive, "web01", &["--set", "cloned_release=x"], "use --base");
    refused(&archive, "web01", &["--set", "db:boot=x"], "the jail db, which is not restored");
    refused(&archive, "web01", &["--set", "boot=1", "--unset", "boot"], "set or unset twice");
    refused(&archive, "web01", &["--set", "boot"], "write KEY=VALUE");
    refused(&archive, "web01", &["--set", "a b=1"], "a key has letters");
    refused(&release, "release:base-1.0", &["--set", "boot=1"], "has no config to set something in");
    // What only the config itself tells is undone.
    let ended = remand(["restore", "--name", "web02", "--set", "user=1"]).on(&pool).arg(&archive).ends(2);
    ended.tells("user of the jail web02 cannot be set: user is a section of the config");
    assert_eq!((pool.jails(), pool.remains()), (vec!["web01".to_owned()], vec![]));
    remand(["restore", "--set", "a=1", "--to", "/x"]).on(&pool).arg(&archive).arg("web01:/etc").ends(2);
}

#[test]
fn reports_and_several_resources() {
    let (pool, scratch) = (Pool::with_jail(&Place::dir(), Size::Small), Scratch::new());
    pool.jail("db", "base-1.0", Size::Small);
    let archive = scratch.join("all.tar");
    remand(["export", "--all"]).on(&pool).arg(&archive).ends(0);
    let options = ["--set", "boot=no", "--set", "web01:boot=maybe", "--unset", "db:user.comment"];
    let names = ["web01=web02", "db=db2", "release:base-1.0=base-2.0"];
    let run =
        |more: &[&str]| remand(["restore"]).on(&pool).args(&options).args(more).arg(&archive).args(&names);
    let ended = run(&["--dry-run"]).ends(0);
    let text = format!("{}{}", ended.text(), ended.stderr);
    assert!(text.contains("jail web02 onto base-1.0, with boot=maybe"), "{text}");
    assert!(text.contains("jail db2 onto base-1.0, without user.comment, with boot=no"), "{text}");
    ended.tells("it has no config, so nothing is set in it");
    let result = run(&["--json"]).ends(0).json().pop().unwrap()["result"].clone();
    let of = |name: &str| {
        let all = result["resources"].as_array().unwrap();
        let one = all.iter().find(|one| one["name"] == name).unwrap();
        (one["set"].clone(), one["unset"].clone())
    };
    assert_eq!(of("web02"), (json!({"boot": "maybe"}), json!([])));
    assert_eq!(of("db2"), (json!({"boot": "no"}), json!(["user.comment"])));
    assert_eq!(of("base-2.0"), (json!({}), json!([])));
    assert_eq!(config_json(&pool, "web02")["boot"], "maybe");
    let db = config_json(&pool, "db2");
    assert_eq!((&db["boot"], db["user"].get("comment")), (&false.into(), None));
}

#[test]
fn the_pools_defaults_hold_where_a_config_says_nothing_and_do_not_travel() {
    let (source, scratch) = (Pool::with_jail(&Place::dir(), Size::Small), Scratch::new());
    let config = r#"{"release": "base-1.0", "hostid": "x"}"#;
    std::fs::write(source.path("jails/web01/config.json"), config).unwrap();
    std::fs::write(source.path("defaults"), "boot = on; basejail = yes; vnet0_mac = 02ff60aabbcc\n").unwrap();
    let found = listed(&source, "web01");
    assert_eq!((&found["view"]["boot"], &found["basejail"]), (&true.into(), &"nullfs".into()));
    let archive = archive_of(&source, &scratch);
    let target = Pool::with_release(&Place::dir(), Size::Small);
    let ended = remand(["restore"]).on(&target).arg(&archive).ends(0);
    for words in [
        "config.json: basejail is no by the defaults of this pool; where it was exported it was nullfs",
        "config.json: boot is no by the defaults of this pool; where it was exported it was yes",
        "config.json: vnet0_mac is none by the defaults of this pool; where it was exported it was 02ff60aabbcc",
    ] {
        ended.tells(words);
    }
    assert!(!ended.stderr.contains("hostid is") && !target.path("defaults").exists());
    assert_eq!(std::fs::read_to_string(target.path("jails/web01/config.json")).unwrap(), config);
    // The same defaults, or a config that says it: nothing to tell.
    std::fs::write(
        target.path("defaults.json"),
        r#"{"boot": 1, "basejail": "on", "vnet0_mac": "02ff60aabbcc"}"#,
    )
    .unwrap();
    let ended = remand(["restore", "--name", "web02"]).on(&target).arg(&archive).ends(0);
    assert!(!ended.stderr.contains("by the defaults"), "{}", ended.stderr);
}
