//! Archives that have the base of what is in them: it is restored where the target has none that is the same.

mod support;

use std::path::{Path, PathBuf};

use support::Scratch;
use support::at::At;
use support::compare::assert_same_without;
use support::pool::{Place, Pool, Size, names};
use support::run::{Ended, remand};

const GROUP: &str = "with-base";

struct Course {
    scratch: Scratch,
    source: Pool,
}

impl Course {
    fn new(place: &Place) -> Self {
        Self { scratch: Scratch::new(), source: Pool::with_jail(place, Size::Small) }
    }

    fn archive(&self) -> PathBuf {
        self.scratch.join("a.tar.gz")
    }

    fn export(&self, words: &[&str]) -> Ended {
        remand(["export", "--with-base"]).on(&self.source).args(words).arg(self.archive()).ends(0)
    }

    fn restore(&self, pool: &Pool, words: &[&str]) -> Ended {
        remand(["restore"]).on(pool).arg(self.archive()).args(words).ends(0)
    }

    /// Jail `name` of the target is what web01 is.
    #[track_caller]
    fn is_there(&self, pool: &Pool, name: &str) {
        assert_same_without(&self.source.root("web01"), &pool.root(name), &pool.unseen());
    }
}

fn releases(pool: &Pool) -> Vec<String> {
    names(&pool.path("releases"))
}

#[track_caller]
fn nothing_is_left(pool: &Pool) {
    assert_eq!((pool.remains(), names(&pool.path(".remand/runs"))), (Vec::new(), Vec::new()));
}

fn release_of(pool: &Pool, jail: &str) -> String {
    let text = std::fs::read_to_string(pool.path(&format!("jails/{jail}/config.json"))).unwrap();
    let config: serde_json::Value = serde_json::from_str(&text).unwrap();
    config["release"].as_str().unwrap().to_owned()
}

/// Writes another release of that name, on ZFS with its snapshot.
fn other_release(pool: &Pool) {
    pool.release("base-1.0", Size::Common);
}

fn everywhere(test: impl Fn(&Place)) {
    test(&Place::dir());
    for place in [Place::btrfs(GROUP), Place::zfs(GROUP)].into_iter().flatten() {
        test(&place);
    }
}

#[test]
fn a_jail_is_restored_in_an_empty_pool() {
    everywhere(|place| {
        let course = Course::new(place);
        course.export(&["web01"]);
        let pool = Pool::empty(place);
        let ended = course.restore(&pool, &[]);
        ended.tells("Restored jail web01");
        course.is_there(&pool, "web01");
        assert_eq!(
            (releases(&pool), release_of(&pool, "web01")),
            (vec!["base-1.0".into()], "base-1.0".into())
        );
        let root = "releases/base-1.0/root";
        assert_same_without(&course.source.path(root), &pool.path(root), &pool.unseen());
        nothing_is_left(&pool);
        nothing_is_left(&course.source);
        // What it is built on is known: the next archive of it is differential.
        let again = course.scratch.join("again.tar.gz");
        remand(["export", "web01"]).on(&pool).arg(&again).ends(0).tells("against base-1.0");
    });
}

#[test]
fn from_a_pipe_and_as_a_directory_too() {
    let course = Course::new(&Place::dir());
    course.export(&["web01"]);
    let pool = Pool::empty(&Place::dir());
    remand(["restore", "-"]).on(&pool).input(std::fs::read(course.archive()).unwrap()).ends(0);
    course.is_there(&pool, "web01");
    let directory = course.scratch.join("directory");
    remand(["export", "--with-base", "web01"]).on(&course.source).arg(&directory).ends(0);
    let pool = Pool::empty(&Place::dir());
    remand(["restore"]).on(&pool).arg(&directory).ends(0);
    course.is_there(&pool, "web01");
    remand(["verify"]).arg(&directory).ends(0);
}

#[test]
fn the_release_of_the_target_is_used_if_it_is_the_same() {
    everywhere(|place| {
        let course = Course::new(place);
        course.export(&["web01"]);
        let pool = Pool::with_release(place, Size::Small);
        course.restore(&pool, &[]).tells("release base-1.0: this pool has it");
        course.is_there(&pool, "web01");
        assert_eq!(releases(&pool), ["base-1.0"]);
        nothing_is_left(&pool);
    });
}

#[test]
fn beside_another_release_of_that_name_it_gets_a_name_of_its_own_which_is_found_again() {
    everywhere(|place| {
        let course = Course::new(place);
        course.export(&["web01"]);
        let pool = Pool::empty(place);
        other_release(&pool);
        let before = names(&pool.path("releases/base-1.0/root"));
        course.restore(&pool, &[]).tells("this pool has another one");
        course.is_there(&pool, "web01");
        let found = releases(&pool);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[1].starts_with("base-1.0-remand-") && found[1].len() == 28, "{found:?}");
        assert_eq!(release_of(&pool, "web01"), found[1]);
        assert_eq!(names(&pool.path("releases/base-1.0/root")), before);
        course.restore(&pool, &["--name", "web02"]).tells("which is the one in the archive, is used");
        course.is_there(&pool, "web02");
        assert_eq!((releases(&pool), release_of(&pool, "web02")), (found.clone(), found[1].clone()));
        nothing_is_left(&pool);
    });
}

#[test]
fn a_dry_run_says_where_the_base_comes_from_and_makes_nothing() {
    let course = Course::new(&Place::dir());
    let planned =
        remand(["export", "--with-base", "-n", "web01"]).on(&course.source).arg(course.archive()).ends(0);
    assert!(planned.text().contains("release base-1.0: as the base of others"), "{}", planned.text());
    assert!(!course.archive().exists());
    course.export(&["web01"]);
    let pool = Pool::empty(&Place::dir());
    let ended = course.restore(&pool, &["-n"]);
    let said = format!("{}{}", ended.text(), ended.stderr);
    assert!(said.contains("base-1.0 of the archive"), "{said}");
    other_release(&pool);
    let ended = course.restore(&pool, &["-n"]);
    let said = format!("{}{}", ended.text(), ended.stderr);
    assert!(said.contains("is restored as base-1.0-remand-"), "{said}");
    assert_eq!((releases(&pool), pool.jails()), (vec!["base-1.0".to_owned()], Vec::new()));
}

#[test]
fn who_names_another_base_gets_that() {
    let course = Course::new(&Place::dir());
    course.export(&["web01"]);
    let pool = Pool::empty(&Place::dir());
    pool.release("other-1.0", Size::Small);
    course.restore(&pool, &["--base", "other-1.0"]).tells("--base names other-1.0");
    course.is_there(&pool, "web01");
    assert_eq!((releases(&pool), release_of(&pool, "web01")), (vec!["other-1.0".into()], "other-1.0".into()));
}

#[test]
fn each_base_travels_once_and_with_what_is_built_on_it() {
    let course = Course::new(&Place::dir());
    course.source.jail("web02", "base-1.0", Size::Small);
    course.source.release("base-2.0", Size::Common);
    course.source.bare_jail("db01", "base-2.0", Size::Common);
    course.export(&["web*", "db01"]);
    let info = remand(["info", "--json"]).arg(course.archive()).ends(0).json();
    let manifest = info.iter().find_map(|line| line.get("manifest")).unwrap();
    let resources: Vec<_> = manifest["resources"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["as_base"]["name"].as_str()))
        .collect();
    let bases = [("base-1.0", Some("base-1.0")), ("base-2.0", Some("base-2.0"))];
    assert_eq!(resources, [bases[0], bases[1], ("db01", None), ("web01", None), ("web02", None)]);
    let page = remand(["info"]).arg(course.archive()).ends(0).text();
    assert_eq!(page.matches("the base of others here").count(), 2, "{page}");
    // One jail takes the base along that it needs, and no other.
    let pool = Pool::empty(&Place::dir());
    course.restore(&pool, &["web02"]);
    assert_eq!((releases(&pool), pool.jails()), (vec!["base-1.0".to_owned()], vec!["web02".to_owned()]));
    // All of them: each jail gets its own base, under its own name.
    let pool = Pool::empty(&Place::dir());
    course.restore(&pool, &[]);
    assert_eq!(
        (releases(&pool), pool.jails()),
        (
            vec!["base-1.0".to_owned(), "base-2.0".to_owned()],
            vec!["db01".to_owned(), "web01".to_owned(), "web02".to_owned()]
        )
    );
    course.is_there(&pool, "web01");
    assert_same_without(&course.source.root("db01"), &pool.root("db01"), &pool.unseen());
    nothing_is_left(&pool);
    // One whose name is taken by another that is restored at the same time gets a name of its own.
    let pool = Pool::empty(&Place::dir());
    course.restore(&pool, &["release:base-2.0=base-1.0", "web01"]);
    let found = releases(&pool);
    assert!(
        found.len() == 2 && found[0] == "base-1.0" && found[1].starts_with("base-1.0-remand-"),
        "{found:?}"
    );
    assert_eq!(release_of(&pool, "web01"), found[1]);
    course.is_there(&pool, "web01");
    nothing_is_left(&pool);
    // A pattern does not mean bases, their name does.
    let pool = Pool::empty(&Place::dir());
    remand(["restore"]).on(&pool).arg(course.archive()).arg("release:*").ends(10);
    course.restore(&pool, &["release:base-2.0"]);
    assert_eq!((releases(&pool), pool.jails()), (vec!["base-2.0".to_owned()], Vec::new()));
    course.restore(&pool, &[]).tells("release base-2.0: this pool has it");
    assert_eq!(pool.jails(), ["db01", "web01", "web02"]);
    course.is_there(&pool, "web01");
    nothing_is_left(&pool);
}

#[test]
fn a_release_that_is_asked_for_is_no_base_alone() {
    let course = Course::new(&Place::dir());
    course.export(&["web01", "release:base-1.0"]);
    let page = remand(["info"]).arg(course.archive()).ends(0).text();
    assert_eq!(page.matches("the base of others here").count(), 0, "{page}");
    let standalone = ["export", "--with-base", "--standalone", "web01", "x.tar"];
    remand(standalone).on(&course.source).in_directory(course.scratch.path()).ends(2);
}

#[test]
fn if_it_cannot_be_restored_nothing_is() {
    let course = Course::new(&Place::dir());
    course.export(&["web01"]);
    let pool = Pool::empty(&Place::dir());
    // Half an archive.
    let bytes = std::fs::read(course.archive()).unwrap();
    let half: &Path = &course.scratch.join("half.tar.gz");
    std::fs::write(half, &bytes[..bytes.len() / 2]).unwrap();
    remand(["restore"]).on(&pool).arg(half).ends(22);
    assert_eq!((releases(&pool), pool.jails()), (Vec::<String>::new(), Vec::new()));
    nothing_is_left(&pool);
}

/// The base is the release as it was when the jail was made of it, whatever has become of it.
#[test]
fn the_base_travels_as_it_was_on_zfs() {
    let Some(place) = Place::zfs(GROUP) else { return };
    let course = Course::new(&place);
    let source = &course.source;
    let base = At::open(&source.path("releases/base-1.0/root"));
    let before = names(&source.path("releases/base-1.0/root"));
    base.write("patched", "after the jail was made\n");
    source.snapshot("releases/base-1.0/root", "p1");
    source.clone_of("releases/base-1.0/root@p1", "web02");
    for options in [&[][..], &["--portable"]] {
        let words: Vec<_> = options.iter().chain(&["--force", "web01", "web02"]).copied().collect();
        course.export(&words);
        let pool = Pool::empty(&place);
        course.restore(&pool, &["web01"]);
        course.is_there(&pool, "web01");
        assert_eq!(releases(&pool), ["base-1.0"]);
        assert_eq!(names(&pool.path("releases/base-1.0/root")), before);
        // Another snapshot of the same release is another base.
        course.restore(&pool, &["web02"]);
        assert_eq!(releases(&pool).len(), 2);
        assert_same_without(&source.root("web02"), &pool.root("web02"), &pool.unseen());
        nothing_is_left(&pool);
    }
    nothing_is_left(source);
}
