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
