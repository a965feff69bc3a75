//! Which snapshot of a release is taken for the base of an archive.

use remand_backends::DatasetName;

use super::super::base::{Chosen, Wish, choose, staged};
use super::*;
use crate::archive::manifest::{BaseRecord, Encoding, Mode};
use crate::lock::Lock;
use crate::resource::{ResourceKind, Selector};
use crate::step::Steps;

const SNAPSHOTS: [(&str, &str); 3] = [("first", "1"), ("web", "2"), ("last", "3")];

/// A pool whose release has snapshots, and the base that an archive of its jail was made against.
fn with_snapshots() -> (Host, BaseRecord) {
    let mut host = Host::new();
    let record = manifest_of(&exported(&host)).resources[0].base.clone().unwrap();
    let twist = Twist { snapshots: Some(SNAPSHOTS.to_vec()), ..Twist::default() };
    host.pool = Pool::twisted(host.directory.path(), twist);
    (host, record)
}

fn chosen(host: &Host, record: &BaseRecord, base: Option<&str>, unproven: bool) -> Result<Chosen> {
    let wish = Wish { base, allow_mismatch: false, unproven };
    let steps = Steps::new(&host.told, "web");
    choose(&host.pool, record, &wish, (None, "run"), &steps, &AtomicBool::new(false))
}

fn name(chosen: &Chosen) -> &str {
    assert!(chosen.exact);
    chosen.base.snapshot.name.as_ref().map_or("itself", |name| name.as_str())
}

#[test]
fn of_equal_snapshots_that_of_the_name_is_taken_and_else_the_newest() {
    let (host, record) = with_snapshots();
    for (snapshot, wish, expected) in [
        (Some("web"), None, "web"),
        (Some("first"), None, "first"),
        (Some("none"), None, "last"),
        (None, None, "last"),
        (Some("web"), Some("base@first"), "first"),
        (None, Some("base@web"), "web"),
    ] {
        let record = BaseRecord { snapshot: snapshot.map(str::to_owned), ..record.clone() };
        let chosen = chosen(&host, &record, wish, false).unwrap();
        assert_eq!(name(&chosen), expected, "{snapshot:?} {wish:?}");
    }
    let missing = chosen(&host, &record, Some("base@none"), false).unwrap_err();
    assert!(matches!(missing, Error::BaseMissing { .. }), "{missing}");
}

#[test]
fn what_another_tool_wrote_need_not_say_what_its_base_held() {
    let (host, record) = with_snapshots();
    let record = BaseRecord { fingerprint: None, snapshot: Some("web".into()), ..record };
    assert_eq!(name(&chosen(&host, &record, None, true).unwrap()), "web");
    assert!(matches!(chosen(&host, &record, None, false), Err(Error::Refused(_))));
}

/// A staged release has the snapshots that came with it, and one more if what is built on it names another.
#[test]
fn a_staged_release_gets_the_snapshot_that_it_lacks() {
    let run: &str = &crate::run::new_id();
    for (has, wanted, expected) in [
        (vec![("web", "1")], Some("web"), 1),
        (vec![("web", "1")], Some("new"), 2),
        (vec![("web", "1")], Some(run), 1),
        (vec![("web", "1")], None, 1),
        (vec![], Some("web"), 1),
        (vec![], Some(run), 1),
        (vec![], None, 1),
    ] {
        let host = Host::twisted(Twist { snapshots: Some(has.clone()), ..Twist::default() });
        host.put("releases/base/root/file", "x");
        let dataset = DatasetName::new("releases/base/root").unwrap();
        let source = Selector { kind: ResourceKind::Release, name: "base".into() };
        let bases = staged(&host.pool, dataset.clone(), &source, wanted).unwrap();
        assert_eq!(bases.len(), expected, "{has:?} {wanted:?}");
        assert!(bases.iter().all(|base| base.name == "base" && base.snapshot.dataset == dataset));
    }
}

/// As it is with a release that was only fetched, in a pool that has snapshots.
#[test]
fn a_release_without_a_snapshot_gets_one_for_what_is_restored() {
    let mut host = Host::new();
    let path = exported(&host);
    host.pool = Pool::twisted(host.directory.path(), Twist { snapshots: Some(vec![]), ..Twist::default() });
    let options = Options { name: Some("copy".to_owned()), ..Options::default() };
    let interrupted = Arc::new(AtomicBool::new(false));
    let foreseen =
        dry_run(&host.pool, &options, Input::Path(path.clone()), &host.told, &interrupted).unwrap();
    assert_eq!(foreseen.resources[0].base.as_deref(), Some("base"));
    let notices = host.notices();
    assert!(notices.iter().any(|notice| notice.contains("has no snapshot yet")), "{notices:?}");
    let root = DatasetName::new("releases/base/root").unwrap();
    assert_eq!(host.pool.backend().snapshots(&root).unwrap(), []);
    let report = host.restore(&path, &options).unwrap();
    assert_eq!(report.resources[0].base.as_deref(), Some("base@copy"));
    assert_eq!(host.pool.backend().snapshots(&root).unwrap().len(), 1);
    assert_eq!(std::fs::read(host.path("jails/copy/root/etc/other")).unwrap(), b"other\n");
    host.is_clean();
}

/// A copy of the base has to fit, of which each file is there once.
#[test]
fn of_a_base_that_is_copied_each_file_is_counted_once() {
    const NAME: &str = "restore::tests::bases::of_a_base_that_is_copied_each_file_is_counted_once";
    const SMALL: &str = "mount -t tmpfs -o size=24m none /dev/shm && export TMPDIR=/dev/shm";
    if !crate::tree::testing::is_inside(NAME, SMALL) {
        return;
    }
    let host = Host::new();
    let large = "large ".repeat(1 << 20);
    host.put("releases/base/root/large", &large);
    std::fs::hard_link(host.path("releases/base/root/large"), host.path("releases/base/root/again")).unwrap();
    host.put("jails/web/root/large", &large);
    let path = exported(&host);
    std::fs::remove_dir_all(host.path("jails/web")).unwrap();
    let full = std::fs::File::create(host.path("full")).unwrap();
    let twice = fs2::free_space(host.directory.path()).unwrap() - 7 * (1 << 20);
    rustix::fs::fallocate(&full, rustix::fs::FallocateFlags::empty(), 0, twice).unwrap();
    host.restore(&path, &Options::default()).unwrap();
    std::fs::remove_dir_all(host.path("jails/web")).unwrap();
    rustix::fs::fallocate(&full, rustix::fs::FallocateFlags::empty(), 0, twice + (2 << 20)).unwrap();
    let told = host.restore(&path, &Options::default()).unwrap_err().to_string();
    assert!(told.contains("on a copy of its base"), "{told}");
    host.is_clean();
}

/// Whoever looks at the base computes what it holds once for all.
#[test]
fn what_a_base_holds_is_kept() {
    let source = Host::new();
    let path = exported(&source);
    let host = Host::new();
    for (path, text) in [("etc/conf", "as released\n"), ("etc/other", "other\n")] {
        host.put(&format!("releases/base/root/{path}"), text);
    }
    let kept = || host.path(".remand/fingerprints").exists();
    let foresee = || {
        let interrupted = Arc::new(AtomicBool::new(false));
        let input = Input::Path(path.clone());
        dry_run(&host.pool, &Options::default(), input, &host.told, &interrupted).unwrap();
    };
    foresee();
    assert!(!host.path(".remand").exists(), "a dry run makes no state directory");
    host.pool.backend().state_directory().unwrap();
    foresee();
    assert!(kept());
    std::fs::remove_dir_all(host.path(".remand/fingerprints")).unwrap();
    host.restore(&path, &Options::default()).unwrap();
    assert!(kept());
}

/// Exports these jails of a host with the releases that they are built on.
fn with_base(host: &Host, jails: &[&str]) -> PathBuf {
    let words: Vec<_> = jails.iter().map(|jail| (*jail).to_owned()).collect();
    let now = jiff::Timestamp::UNIX_EPOCH;
    let selection = Selection::parse(Purpose::Export, &words, false, &[], None, now).unwrap();
    let options = export::Options { with_base: true, ..export::Options::new(selection) };
    let path = host.path("all.tar");
    let destination = Destination::Path { path: path.clone(), force: false };
    export::export(&host.pool, &options, destination, &host.told, &AtomicBool::new(false)).unwrap();
    path
}

/// One of the jails has the name of a release that it has nothing to do with.
#[test]
fn each_jail_is_built_on_its_own_release_of_those_that_come_along() {
    let source = Host::new();
    for (release, jail) in [("one", "web"), ("two", "one"), ("three", "mail")] {
        source.put(&format!("releases/{release}/root/etc/name"), release);
        source.put(&format!("jails/{jail}/root/etc/name"), release);
        source.put(&format!("jails/{jail}/root/etc/own"), jail);
        let config = format!(r#"{{"id": "{jail}", "release": "{release}"}}"#);
        source.put(&format!("jails/{jail}/config.json"), &config);
    }
    let path = with_base(&source, &["web", "one", "mail"]);
    let host = Host::new();
    let report = host.restore(&path, &Options::default()).unwrap();
    assert_eq!(host.names("releases"), ["one", "three", "two"]);
    assert_eq!(report.resources.len(), 6);
    for (release, jail) in [("one", "web"), ("two", "one"), ("three", "mail")] {
        let file = |name: &str| std::fs::read_to_string(host.path(&format!("jails/{jail}/root/etc/{name}")));
        assert_eq!((file("name").unwrap(), file("own").unwrap()), (release.to_owned(), jail.to_owned()));
        let base = report.resources.iter().find(|one| one.resource == format!("jail {jail}")).unwrap();
        assert_eq!(base.base.as_deref(), Some(release));
    }
    host.is_clean();
    // Who names another base gets that, also where the archive's own one is restored.
    let host = Host::new();
    host.put("releases/other/root/etc/name", "other");
    let options = Options {
        base: Some("other".to_owned()),
        on_conflict: Some(OnConflict::Theirs),
        ..selected(&["release:one", "jail:web"])
    };
    let report = host.restore(&path, &options).unwrap();
    let base = report.resources.iter().find(|one| one.resource == "jail web").unwrap();
    assert_eq!(base.base.as_deref(), Some("other"));
}

/// The first member of a jail may be its root.
#[test]
fn a_jail_without_a_config_is_built_on_the_release_that_comes_along() {
    let source = Host::new();
    exported(&source);
    let mut manifest = manifest_of(&with_base(&source, &["web"]));
    let [release, jail] = &mut manifest.resources[..] else { panic!("two") };
    assert!(release.as_base.is_some());
    jail.config = None;
    let root = |record: &crate::archive::manifest::ResourceRecord| {
        format!("{}{}", record.prefix.trim_start_matches("./"), record.datasets[0].member)
    };
    let (release, jail) = (root(release), root(jail));
    let places = ["/etc", "/etc/conf", "/etc/other"].map(|below| format!("{release}{below}"));
    let own = ["/etc", "/etc/conf"].map(|below| format!("{jail}{below}"));
    let members = [
        (&release[..], ""),
        (&places[0], ""),
        (&places[1], "as released\n"),
        (&places[2], "other\n"),
        (&jail, ""),
        (&own[0], ""),
        (&own[1], "by the jail\n"),
    ];
    let path = source.path("by-hand.tar");
    archive(&path, &manifest, &members, None);
    let host = Host::new();
    // Its files are not those that the release had.
    host.restore(&path, &Options { allow_base_mismatch: true, ..Options::default() }).unwrap();
    assert_eq!((host.names("releases"), host.names("jails")), (vec!["base".into()], vec!["web".into()]));
    assert_eq!(host.names("jails/web/root/etc"), ["conf", "other"]);
    assert_eq!(std::fs::read(host.path("jails/web/root/etc/conf")).unwrap(), b"by the jail\n");
    host.is_clean();
}

#[test]
fn a_dry_run_finds_a_base_that_was_restored_under_a_name_of_its_own() {
    let source = Host::new();
    exported(&source);
    let path = with_base(&source, &["web"]);
    let host = Host::new();
    host.put("releases/base/root/etc/conf", "of another release\n");
    host.restore(&path, &selected(&["web"])).unwrap();
    let releases = host.names("releases");
    assert!(releases.len() == 2 && releases[1].starts_with("base-remand-"), "{releases:?}");
    let options = Options { name: Some("copy".to_owned()), ..selected(&["web"]) };
    let interrupted = Arc::new(AtomicBool::new(false));
    let foreseen = dry_run(&host.pool, &options, Input::Path(path), &host.told, &interrupted).unwrap();
    assert_eq!(foreseen.resources[0].base.as_ref(), Some(&releases[1]));
}

#[test]
fn each_part_of_a_basejail_is_that_of_its_own_place() {
    let host = Host::new();
    let mut manifest = two_jails();
    for part in ["root/bin", "root/lib"] {
        host.put(&format!("base/base-1.0/{part}/tool"), part);
        let mut dataset = manifest.resources[0].datasets[0].clone();
        (dataset.name, dataset.encoding) = (part.to_owned(), Encoding::Base);
        dataset.member = crate::export::plan::member(part, Encoding::Base);
        let (kind, name) = (ResourceKind::Release, "base-1.0".to_owned());
        dataset.base = Some(BaseRecord { kind, name, snapshot: None, guid: None, fingerprint: None });
        manifest.resources[0].datasets.push(dataset);
    }
    let path = host.path("two.tar");
    archive(&path, &manifest, &TWO, None);
    host.restore(&path, &Options::default()).unwrap();
    assert_eq!(host.names("jails/a/root"), ["bin", "file", "lib"]);
    for part in ["root/bin", "root/lib"] {
        let tool = host.path("jails/a").join(part).join("tool");
        assert_eq!(std::fs::read_to_string(tool).unwrap(), part);
    }
    host.is_clean();
}

/// A jail cannot be restored while its base is; another one can.
#[test]
fn a_base_that_is_locked_keeps_what_is_built_on_it_back_and_nothing_else() {
    let source = Host::new();
    exported(&source);
    source.put("jails/other/root/file", "other");
    source.put("jails/other/config.json", r#"{"id": "other"}"#);
    let words = ["web".to_owned(), "other".to_owned()];
    let now = jiff::Timestamp::UNIX_EPOCH;
    let selection = Selection::parse(Purpose::Export, &words, false, &[], None, now).unwrap();
    let options = export::Options { with_base: true, ..export::Options::new(selection) };
    let path = source.path("both.tar");
    let destination = Destination::Path { path: path.clone(), force: false };
    export::export(&source.pool, &options, destination, &source.told, &AtomicBool::new(false)).unwrap();
    let host = Host::new();
    let state = host.pool.backend().state_directory().unwrap();
    let record = crate::run::Record::new("restore", "release base".into());
    let lock = Lock::acquire(&state, "release-base", &record, false, &AtomicBool::new(false)).unwrap();
    assert_eq!(host.restore(&path, &Options::default()).unwrap_err().exit_status(), 11);
    assert_eq!(host.names("jails"), [""; 0]);
    let keep_going = Options { keep_going: true, ..Options::default() };
    let report = host.restore(&path, &keep_going).unwrap();
    let left_out = report.resources.iter().filter(|one| one.failed.is_some());
    assert_eq!(left_out.map(|one| one.name.as_str()).collect::<Vec<_>>(), ["web"]);
    assert_eq!((host.names("jails"), host.names("releases")), (vec!["other".to_owned()], vec![]));
    // Who restores jails alone may wait for it.
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_millis(300));
            drop(lock);
        });
        host.restore(&path, &Options { wait: true, ..selected(&["web"]) }).unwrap();
    });
    assert_eq!(
        (host.names("jails"), host.names("releases")),
        (vec!["other".into(), "web".into()], vec!["base".into()])
    );
    host.is_clean();
}

/// A manager that keeps both kinds apart by their config alone would take one for the other.
#[test]
fn a_jail_and_a_template_of_one_name_are_not_restored_together() {
    let host = Host::new();
    let path = host.path("two.tar");
    let mut manifest = two_jails();
    (manifest.resources[1].kind, manifest.resources[1].name) = (ResourceKind::Template, "a".to_owned());
    archive(&path, &manifest, &TWO, None);
    let error = host.restore(&path, &Options::default()).unwrap_err();
    assert_eq!(error.exit_status(), 2, "{error}");
    assert!(error.to_string().contains("cannot both be called a in this pool"), "{error}");
    host.restore(&path, &selected(&["jail:a", "template:a=b"])).unwrap();
    assert_eq!(host.names("jails"), ["a", "b"]);
    host.is_clean();
}

/// A file system need not be one that can be cloned.
#[test]
fn what_cannot_be_cloned_is_copied() {
    let mut host = Host::new();
    let path = exported(&host);
    let snapshots = Some(vec![("web", "1")]);
    host.pool = Pool::twisted(host.directory.path(), Twist { snapshots, ..Twist::default() });
    host.restore(&path, &Options { name: Some("copy".into()), ..Options::default() }).unwrap();
    for (name, text) in [("conf", "by the jail\n"), ("other", "other\n")] {
        assert_eq!(std::fs::read_to_string(host.path("jails/copy/root/etc").join(name)).unwrap(), text);
    }
    host.is_clean();
}

/// It is known only at the archive's end that the release is not whole.
#[test]
fn a_clone_of_a_release_that_is_left_out_is_left_out_too() {
    let mut manifest = two_jails();
    let mut release = manifest.resources[1].clone();
    (release.kind, release.name, release.prefix) =
        (ResourceKind::Release, "base".into(), "./releases/base/".into());
    (release.config, release.fstab) = (None, None);
    let clone = &mut manifest.resources[0];
    clone.mode = Mode::Differential;
    (clone.datasets[0].encoding, clone.datasets[0].member) = (Encoding::Delta, "root".into());
    let fingerprint = Some(crate::change::FingerprintBuilder::new().finish());
    let (kind, name) = (ResourceKind::Release, "base".into());
    clone.base = Some(BaseRecord { kind, name, snapshot: None, guid: None, fingerprint });
    manifest.resources.insert(0, release);
    let members = [("releases/base/root.tree", ""), ("jails/a/root/file", "of a"), ("jails/b/root.tree", "")];
    let options = Options { keep_going: true, allow_base_mismatch: true, ..Options::default() };
    for (failed, left_out, jails) in
        [(None, &[][..], &["a", "b"][..]), (Some(0), &["a", "base"][..], &["b"][..])]
    {
        let host = Host::new();
        let path = host.path("three.tar");
        archive(&path, &manifest, &members, failed);
        let report = host.restore(&path, &options).unwrap();
        let found = report.resources.iter().filter(|one| one.failed.is_some());
        let mut found: Vec<_> = found.map(|one| &one.name[..]).collect();
        found.sort_unstable();
        assert_eq!(
            (&found[..], host.names("jails")),
            (left_out, jails.iter().map(ToString::to_string).collect())
        );
        host.is_clean();
    }
}
