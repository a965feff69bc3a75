//! Exports of several resources into one archive.

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;
use support::Scratch;
use support::bundle::Bundle;
use support::pool::{Place, Pool, Size, zfs};
use support::run::{Ended, remand};

/// A pool with a release and these jails.
fn fleet(place: &Place, jails: &[&str]) -> Pool {
    let pool = Pool::with_release(place, Size::Small);
    for jail in jails {
        pool.jail(jail, "base-1.0", Size::Small);
    }
    pool
}

fn names(manifest: &Value) -> Vec<String> {
    let resources = manifest["resources"].as_array().expect("resources");
    let name = |resource: &Value| {
        format!(
            "{} {}",
            resource["kind"].as_str().expect("a kind"),
            resource["name"].as_str().expect("a name")
        )
    };
    resources.iter().map(name).collect()
}

#[test]
fn resources_are_selected_and_lie_below_their_own_prefix() {
    for place in Place::all("selected") {
        let scratch = Scratch::new();
        let pool = fleet(&place, &["web", "db1", "db2", "test"]);
        let archive = scratch.join("some.tar");
        remand(["export", "db*", "release:*", "web"]).arg(&archive).on(&pool).ends(0);
        remand(["verify"]).arg(&archive).ends(0);
        let bundle = Bundle::open(&archive);
        let manifest = bundle.manifest();
        assert_eq!(names(&manifest), ["release base-1.0", "jail db1", "jail db2", "jail web"]);
        assert!(manifest["consistent"].is_boolean());
        for resource in manifest["resources"].as_array().unwrap() {
            let kind = resource["kind"].as_str().unwrap();
            assert_eq!(resource["prefix"], format!("./{kind}s/{}/", resource["name"].as_str().unwrap()));
            assert!(resource["taken"].is_string() && resource["datasets"][0]["bytes"].is_u64(), "{resource}");
        }
        assert!(bundle.position("./jails/db1/config.json") < bundle.position("./jails/db2/config.json"));
        let jails = scratch.join("jails.tar");
        remand(["export", "db*"]).arg(&jails).on(&pool).ends(0);
        assert_eq!(Bundle::open(&jails).manifest()["consistent"], place.is_zfs(), "{place:?}");
        let all = scratch.join("all");
        remand(["export", "--all", "--exclude", "test"]).arg(&all).on(&pool).ends(0);
        remand(["verify"]).arg(&all).ends(0);
        assert!(all.join("jails/web").is_dir() && !all.join("jails/test").exists());
        assert_eq!(pool.remains(), [""; 0], "left behind");
    }
}

#[test]
fn what_is_unknown_fails_before_anything_is_made() {
    let (scratch, pool) = (Scratch::new(), fleet(&Place::dir(), &["web"]));
    let archive = scratch.join("a.tar");
    let ended = remand(["export", "web", "wbe", "db*"]).arg(&archive).on(&pool).ends(10);
    ended.tells("wbe");
    ended.tells("db*");
    remand(["export", "web@before"]).arg(&archive).on(&pool).ends(2).tells("plain directory");
    remand(["export"]).arg(&archive).on(&pool).ends(2).tells("--all");
    assert!(!archive.exists() && !pool.path(".remand").exists());
}

#[test]
fn files_with_names_in_several_jails_are_written_once() {
    let (scratch, pool) = (Scratch::new(), fleet(&Place::dir(), &["a", "b", "c"]));
    let root = |jail: &str| pool.root(jail);
    std::fs::write(root("a").join("one"), "shared by all").unwrap();
    for (jail, name) in [("a", "two"), ("b", "one"), ("b", "two"), ("c", "hooked")] {
        std::fs::hard_link(root("a").join("one"), root(jail).join(name)).unwrap();
    }
    // A file that equals the base's in each jail is shared all the same.
    let (first, rest) =
        [("a", "same"), ("b", "same"), ("c", "same")].split_first().map(|(a, b)| (*a, b.to_vec())).unwrap();
    let release = pool.path("releases/base-1.0/root/same");
    std::fs::write(&release, "as in the release").unwrap();
    std::fs::write(root(first.0).join(first.1), "as in the release").unwrap();
    for (jail, name) in rest {
        std::fs::hard_link(root("a").join("same"), root(jail).join(name)).unwrap();
    }
    for archive in ["abc.tar", "abc"].map(|name| scratch.join(name)) {
        remand(["export", "a", "b", "c"]).arg(&archive).on(&pool).ends(0);
        remand(["verify"]).arg(&archive).ends(0);
    }
    let bundle = Bundle::open(&scratch.join("abc.tar"));
    let line = |path: &str| bundle.line(path.trim_start_matches("./"));
    for name in ["one", "same"] {
        assert_eq!(line(&format!("./jails/a/root/{name}"))["shared"], serde_json::json!([1, 2]), "{name}");
    }
    let first = "./jails/a/root/one";
    for other in ["./jails/b/root/one", "./jails/c/root/hooked"] {
        assert_eq!((&line(other)["role"], &line(other)["link"]), (&"link".into(), &first.into()), "{other}");
    }
    assert_eq!(line("./jails/a/root/two")["link"], first);
    assert_eq!(line("./jails/b/root/two")["link"], "./jails/b/root/one");
    assert_eq!(line("./jails/c/root/same")["link"], "./jails/a/root/same");
    // In the other order each jail alone carries its own.
    remand(["export", "b"]).arg(scratch.join("b.tar")).on(&pool).ends(0);
    assert!(Bundle::open(&scratch.join("b.tar")).line("root/one")["role"].is_null());
}

#[test]
fn the_order_does_not_depend_on_threads() {
    let (scratch, pool) = (Scratch::new(), fleet(&Place::dir(), &["a", "b", "c", "d", "e", "f", "g"]));
    let mut seen = Vec::new();
    for number in 0..4 {
        let archive = scratch.join(&format!("{number}.tar"));
        remand(["export", "--all"]).arg(&archive).on(&pool).ends(0);
        let lines = Bundle::open(&archive).index();
        let lines: Vec<_> = lines.into_iter().filter(|line| line["seal"].is_null()).collect();
        seen.push(lines);
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn one_failure_fails_all_unless_the_rest_is_wanted() {
    let (scratch, pool) = (Scratch::new(), fleet(&Place::dir(), &["a", "b", "c"]));
    let archive = scratch.join("abc.tar");
    // A directory where a file has to be: it fails after the manifest is written.
    let fstab = pool.path("jails/b/fstab");
    std::fs::write(&fstab, vec![b'#'; (16 << 20) + 1]).unwrap();
    remand(["export", "a", "b", "c"]).arg(&archive).on(&pool).ends(1).tells("fstab of the jail b");
    assert!(!archive.exists());
    let ended = remand(["export", "--keep-going", "a", "b", "c"]).arg(&archive).on(&pool).ends(3);
    ended.tells("jail b");
    let index = Bundle::open(&archive).index();
    let failed: Vec<_> = index.iter().filter(|line| !line["failed"].is_null()).collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["failed"]["resource"], 1);
    // One that fails before the manifest is written is not among its resources.
    let config = pool.path("jails/c/config.json");
    std::fs::write(&config, "no JSON").unwrap();
    remand(["export", "a", "c"]).arg(scratch.join("ac.tar")).on(&pool).ends(1);
    let archive = scratch.join("a.tar");
    remand(["export", "--keep-going", "a", "c"]).arg(&archive).on(&pool).ends(3).tells("jail c");
    let manifest = Bundle::open(&archive).manifest();
    assert_eq!(names(&manifest), ["jail a"]);
    assert_eq!(manifest["failed"][0]["name"], "c");
    remand(["verify"]).arg(&archive).ends(3).tells("jail c");
    assert_eq!(pool.remains(), [""; 0], "left behind");
}

#[test]
fn a_snapshot_that_exists_is_taken_instead_of_a_new_one() {
    for place in [Place::zfs("selected: snapshot"), Place::btrfs("selected: snapshot")].into_iter().flatten()
    {
        let (scratch, pool) = (Scratch::new(), fleet(&place, &["a"]));
        let file = pool.root("a").join("moment");
        std::fs::write(&file, "before").unwrap();
        snapshot(&pool, "a", "before");
        std::fs::write(&file, "after").unwrap();
        std::fs::remove_file(pool.path("jails/a/fstab")).unwrap();
        let archive = scratch.join("a.tar");
        remand(["export", "--portable", "a@before"]).arg(&archive).on(&pool).ends(0);
        let bundle = Bundle::open(&archive);
        assert_eq!(bundle.manifest()["resources"][0]["snapshot"], "before");
        assert_eq!(bundle.manifest()["resources"][0]["fstab"], "fstab");
        assert_eq!(content(&bundle, "./root/moment"), "before");
        remand(["export", "a@never"]).arg(scratch.join("b.tar")).on(&pool).ends(10).tells("never");
    }
}

#[test]
fn a_dry_run_counts_what_an_export_takes() {
    let places = [Some(Place::dir()), Place::zfs("selected: dry run"), Place::btrfs("selected: dry run")];
    for place in places.into_iter().flatten() {
        let (scratch, pool) = (Scratch::new(), fleet(&place, &["a"]));
        let archive = scratch.join("a.tar");
        let same = |selector: &str, fields: &[&str]| {
            let run = |options: &[&str]| {
                let run = remand(["export", "--portable", "--json", selector]).args(options).arg(&archive);
                result(&run.on(&pool).ends(0))["resources"][0].take()
            };
            let planned = run(&["--dry-run"]);
            assert_eq!((archive.exists(), pool.remains()), (false, vec![]), "left behind by a dry run");
            let done = run(&[]);
            for field in fields {
                assert_eq!(planned[field], done[field], "{field} of {selector}");
            }
            std::fs::remove_file(&archive).unwrap();
        };
        same("a", &["counts", "bytes", "sizes"]);
        if !matches!(place, Place::Dir(_)) {
            snapshot(&pool, "a", "before");
            for part in ["root", "data"] {
                std::fs::write(pool.path("jails/a").join(part).join("later"), vec![7; 100_000]).unwrap();
            }
            std::fs::remove_file(pool.path("jails/a/fstab")).unwrap();
            same("a", &["counts", "bytes", "sizes"]);
            same("a@before", &["snapshot", "engine", "counts", "bytes", "sizes"]);
        }
    }
}

/// Whatever an archive is made of, in a form: names of its files, and what is in them.
fn files(archive: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    if archive.is_file() {
        return BTreeMap::from([(PathBuf::new(), std::fs::read(archive).unwrap())]);
    }
    let mut found = BTreeMap::new();
    let mut open = vec![archive.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let kind = path.symlink_metadata().unwrap().file_type();
            let content = match () {
                () if kind.is_dir() => {
                    open.push(path);
                    continue;
                }
                () if kind.is_file() => std::fs::read(&path).unwrap(),
                () if kind.is_symlink() => {
                    std::fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
                }
                () => Vec::new(),
            };
            found.insert(path.strip_prefix(archive).unwrap().to_owned(), content);
        }
    }
    found
}

/// Exports in all forms twice, the second time beside threads that take the cores, and compares.
fn exports_alike(pool: &Pool, selectors: &[&str], options: &[&str]) {
    let scratch = Scratch::new();
    let export = |name: &Path| {
        let run = remand(["export", "--reproducible"]).on(pool).args(options).args(selectors);
        run.arg(name).ends(0);
    };
    for form in ["a.tar.gz", "a.tar.zst", "a.tar", "a"] {
        let (first, second) = (scratch.join(form), scratch.join("other").join(form));
        std::fs::create_dir_all(scratch.join("other")).unwrap();
        export(&first);
        let stop = AtomicBool::new(false);
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                });
            }
            export(&second);
            stop.store(true, Ordering::Relaxed);
        });
        assert!(files(&first) == files(&second), "{form} of {selectors:?} differs");
        remand(["verify"]).arg(&second).ends(0);
    }
}

#[test]
fn a_reproducible_archive_depends_on_what_is_in_it_alone() {
    let pool = fleet(&Place::dir(), &["a", "b", "c"]);
    // The first one has no fingerprint of the base yet.
    exports_alike(&pool, &["a"], &[]);
    remand(["note", "a", "seen"]).on(&pool).ends(0);
    exports_alike(&pool, &["release:*", "a", "b", "c"], &["--engine", "content"]);
    exports_alike(&pool, &["b"], &["--standalone"]);

    let scratch = Scratch::new();
    let export = |name: &str, selector: &str| {
        remand(["export", "--reproducible", selector]).on(&pool).arg(scratch.join(name)).ends(0);
        Bundle::open(&scratch.join(name)).manifest()
    };
    let manifest = export("a.tar", "a");
    assert_eq!(manifest["created"], "1970-01-01T00:00:00Z");
    assert_eq!(manifest["host"]["name"], "");
    for left_out in ["taken", "revision", "records", "note", "snapshot"] {
        let value = &manifest["resources"][0][left_out];
        assert!(value.is_null(), "{left_out} is {value}");
    }
    let info = remand(["info"]).arg(scratch.join("a.tar")).ends(0).text();
    assert!(!info.lines().any(|line| line.starts_with("on ")), "{info}");
    // What is in it makes the identity.
    assert_ne!(export("b.tar", "b")["id"], manifest["id"]);
    std::fs::write(pool.root("a").join("new"), "new").unwrap();
    let piped = || remand(["export", "--reproducible", "a", "-"]).on(&pool).ends(0).stdout;
    assert!(piped() == piped(), "to a pipe");
}

#[test]
fn a_reproducible_archive_of_streams_needs_a_snapshot_that_is_there() {
    for place in
        [Place::zfs("selected: reproducible"), Place::btrfs("selected: reproducible")].into_iter().flatten()
    {
        let (scratch, pool) = (Scratch::new(), fleet(&place, &["a", "b"]));
        for jail in ["a", "b"] {
            snapshot(&pool, jail, "before");
        }
        exports_alike(&pool, &["a"], &["--portable"]);
        exports_alike(&pool, &["a@before"], &[]);
        exports_alike(&pool, &["a@before", "b@before"], &["--standalone"]);
        for options in [&[][..], &["--dry-run"]] {
            let run = remand(["export", "--reproducible", "a"]).on(&pool).args(options);
            run.arg(scratch.join("a.tar")).ends(2).tells("--portable");
        }
        assert!(!scratch.join("a.tar").exists() && pool.remains().is_empty(), "left behind");
    }
}

#[test]
fn an_encrypted_archive_is_not_reproducible() {
    let (scratch, pool) = (Scratch::new(), fleet(&Place::dir(), &["a"]));
    let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";
    for options in [&[][..], &["--dry-run"]] {
        let run =
            remand(["export", "--reproducible", "--encrypt-to", recipient, "a"]).on(&pool).args(options);
        run.arg(scratch.join("a.tar.gz.age")).ends(2).tells("random");
    }
}

/// Makes a snapshot of a jail and all its datasets as a user would.
fn snapshot(pool: &Pool, jail: &str, name: &str) {
    if pool.is_zfs() {
        zfs(["snapshot", "-r", &format!("{}/jails/{jail}@{name}", pool.name())]);
        return;
    }
    let place = pool.path(&format!("jails/{jail}"));
    for dataset in ["", "root", "data", "data/db"] {
        let dataset = place.join(dataset);
        let (parent, last) = (dataset.parent().unwrap(), dataset.file_name().unwrap().to_str().unwrap());
        std::fs::create_dir_all(parent.join(".snapshots")).unwrap();
        let to = parent.join(".snapshots").join(format!("{last}@{name}"));
        support::pool::subvolume(["snapshot".as_ref(), "-r".as_ref(), dataset.as_os_str(), to.as_os_str()]);
    }
}

/// The last line of a command's JSON.
fn result(ended: &Ended) -> Value {
    let text = ended.text();
    serde_json::from_str::<Value>(text.lines().last().unwrap()).unwrap()["result"].take()
}

fn content(bundle: &Bundle, name: &str) -> String {
    let members: BTreeMap<_, _> = bundle.members.iter().map(|member| (member.text(), &member.data)).collect();
    String::from_utf8_lossy(members[name]).into_owned()
}
