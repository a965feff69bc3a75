//! From every backend to every backend, in every form: equal, or an error that says what to do.

mod support;

use support::compare::{What, trees_without};
use support::pool::{Place, Pool, Size, subvolumes, zfs};
use support::run::{Ended, remand};
use support::{Scratch, announce, at::At};

/// What is exported and how: its jail, the options, and whether native streams can be in it.
const FORMS: [(&str, &str, &[&str], bool); 5] = [
    ("differential, root alone", "plain", &[], false),
    ("differential", "web01", &[], true),
    ("differential portable", "web01", &["--portable"], false),
    ("standalone native", "web01", &["--standalone"], true),
    ("standalone portable", "web01", &["--standalone", "--portable"], false),
];
const FORMATS: [(&str, &[&str]); 2] = [("tar.gz", &[]), ("directory", &["--format", "directory"])];

/// A backend, with what its native streams are called.
struct Column {
    name: &'static str,
    pool: Pool,
    native: Option<&'static str>,
}

fn columns(make: impl Fn(&Place) -> Pool) -> Vec<Column> {
    let group = "matrix";
    let places = [
        ("dir", Some(Place::dir()), None),
        ("dir on XFS", Place::xfs(group), None),
        ("btrfs", Place::btrfs(group), Some("btrfs")),
        ("ZFS", Place::zfs(group), Some("zfs")),
    ];
    let there = places.into_iter().filter_map(|(name, place, native)| Some((name, place?, native)));
    there.map(|(name, place, native)| Column { name, pool: make(&place), native }).collect()
}

/// A pool with jail `web01`, which has `data` and `data/db`, as datasets or as directories, and jail `plain`, which has its
/// root alone.
fn source(place: &Place) -> Pool {
    let pool = Pool::with_release(place, Size::Common);
    for jail in ["plain", "web01"] {
        pool.bare_jail(jail, "base-1.0", Size::Common);
        if jail == "web01" {
            pool.datasets(jail);
        }
        let own = At::open(&pool.path(&format!("jails/{jail}")));
        for name in own.names() {
            own.set_mtime(&name, TIME);
        }
        settle(&own.dir("hooks"));
        own.set_mtime(".", TIME);
    }
    pool
}

/// A time that every file system keeps.
const TIME: (i64, i64) = (1_755_000_000, 0);

fn settle(directory: &At) {
    for name in directory.names() {
        if directory.kind(&name) == rustix::fs::FileType::Directory {
            settle(&directory.dir(&name));
        }
        directory.set_mtime(&name, TIME);
    }
    directory.set_mtime(".", TIME);
}

#[test]
fn from_every_backend_to_every_backend() {
    let scratch = Scratch::new();
    let sources = columns(source);
    let targets = columns(|place| Pool::with_release(place, Size::Common));
    let mut table = vec![heading(&targets)];
    let mut wrong = Vec::new();
    for from in &sources {
        for (form, jail, options, streams) in FORMS {
            for (format, how) in FORMATS {
                let archive = scratch.join("archive");
                remand(["export", jail]).on(&from.pool).args(options).args(how).arg(&archive).ends(0);
                let mut row = format!("| {} | {form} | {format} |", from.name);
                for to in &targets {
                    let ended = remand(["restore"]).on(&to.pool).arg(&archive).end();
                    let native = streams && from.native.is_some_and(|_| from.native != to.native);
                    let (cell, right) =
                        if native { refusal(&ended, to) } else { comparison(&ended, jail, from, to) };
                    if !right {
                        wrong.push(format!(
                            "{} → {}, {form}, {format}: {cell}\n{}",
                            from.name,
                            to.name,
                            ended.describe()
                        ));
                    }
                    row.extend([" ", &cell, " |"]);
                    forget(&to.pool, jail);
                }
                table.push(row);
                remove(&archive);
            }
        }
    }
    announce(&format!("MATRIX, rows from, columns to:\n{}", table.join("\n")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn heading(targets: &[Column]) -> String {
    let names: Vec<&str> = targets.iter().map(|column| column.name).collect();
    format!("| from | form | format | {} |\n|{}", names.join(" | "), "---|".repeat(names.len() + 3))
}

/// A stream of another backend: nothing happened, and the way out is named.
fn refusal(ended: &Ended, to: &Column) -> (String, bool) {
    let told = ended.status == 1 && ended.stderr.contains("export it with --portable");
    let untouched = to.pool.jails().is_empty() && to.pool.remains().is_empty();
    (format!("exit {}: --portable", ended.status), told && untouched)
}

fn comparison(ended: &Ended, jail: &str, from: &Column, to: &Column) -> (String, bool) {
    if ended.status != 0 {
        return (format!("exit {}", ended.status), false);
    }
    let ignored = [from.pool.unseen(), to.pool.unseen()].concat();
    let mut differences = 0;
    let mut first = String::new();
    let parts = ["root", "hooks", "data"];
    for part in &parts[..if jail == "web01" { 3 } else { 2 }] {
        let [wanted, got] = [&from.pool, &to.pool].map(|pool| pool.path(&format!("jails/{jail}/{part}")));
        let found = trees_without(&wanted, &got, &ignored);
        differences += found.len();
        if let Some(difference) = found.first().filter(|_| first.is_empty()) {
            first = format!(" ({part}: {difference})");
        }
    }
    if !to.pool.remains().is_empty() {
        return (format!("left behind: {}", to.pool.remains().join(", ")), false);
    }
    match differences {
        0 => ("equal".to_owned(), true),
        count => (format!("{count} differences{first}"), false),
    }
}

/// Removes the restored jail.
fn forget(pool: &Pool, jail: &str) {
    let name = format!("jails/{jail}");
    if !pool.is_zfs() {
        pool.delete(&name);
    } else if pool.path(&name).exists() {
        assert!(support::pool::destroy(&format!("{}/{name}", pool.name())));
    }
}

fn remove(archive: &std::path::Path) {
    if archive.is_dir() { std::fs::remove_dir_all(archive) } else { std::fs::remove_file(archive) }
        .expect("the archive is removed");
}

/// Names of the datasets of jail web01, as the file system has them.
fn datasets(pool: &Pool) -> Vec<String> {
    let jail = pool.path("jails/web01");
    let mut found: Vec<String> = if pool.is_zfs() {
        let name = format!("{}/jails/web01", pool.name());
        let list = zfs(["list", "-H", "-r", "-o", "name", &name]);
        list.lines().filter_map(|line| line.strip_prefix(&format!("{name}/"))).map(str::to_owned).collect()
    } else {
        let below = subvolumes(&jail);
        below
            .iter()
            .filter_map(|path| path.strip_prefix(&jail).ok()?.to_str())
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect()
    };
    found.sort();
    found
}

#[test]
fn datasets_come_back_from_a_journey_over_all_backends() {
    let group = "matrix: journey";
    let (Some(zfs_place), btrfs) = (Place::zfs(group), Place::btrfs(group)) else { return };
    let scratch = Scratch::new();
    let home = source(&zfs_place);
    let data = format!("{}/jails/web01/data", home.name());
    for property in ["quota=64M", "recordsize=8192", "org.example:note=with a\ttab"] {
        zfs(["set", property, &data]);
    }
    let stations: Vec<Place> = [Some(Place::dir()), btrfs, Some(Place::dir()), Some(zfs_place.clone())]
        .into_iter()
        .flatten()
        .collect();
    let mut last = home;
    let wanted = datasets(&last);
    assert_eq!(wanted, ["data", "data/db", "root"]);
    let original = trees_of(&last);
    for place in &stations {
        let archive = scratch.join("archive.tar");
        remand(["export", "web01", "--portable"]).on(&last).arg(&archive).ends(0);
        let next = Pool::with_release(place, Size::Common);
        remand(["restore"]).on(&next).arg(&archive).ends(0);
        remove(&archive);
        if place.has_datasets() {
            assert_eq!(datasets(&next), wanted, "{place:?}");
        }
        assert_eq!(trees_of(&next), original, "{place:?}");
        let found =
            trees_without(&last.path("jails/web01/root"), &next.path("jails/web01/root"), &[What::Sparse]);
        assert!(found.is_empty(), "{place:?}: {found:?}");
        last = next;
    }
    let data = format!("{}/jails/web01/data", last.name());
    let get = |property: &str| zfs(["get", "-H", "-p", "-o", "value", property, &data]);
    assert_eq!(get("quota"), (64 << 20).to_string());
    assert_eq!(get("recordsize"), "8192");
    assert_eq!(get("org.example:note"), "with a\ttab");
}

/// Names and contents of the other datasets.
fn trees_of(pool: &Pool) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for part in ["data", "data/db"] {
        let here = At::open(&pool.path(&format!("jails/web01/{part}")));
        for name in here.names() {
            if here.kind(&name) == rustix::fs::FileType::RegularFile {
                found.push((format!("{part}/{}", name.escape_ascii()), here.read(&name)));
            }
        }
    }
    found.sort();
    found
}
