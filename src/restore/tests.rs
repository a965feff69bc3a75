//! Restores in a pool of plain directories.

mod bases;
mod configs;
mod faults;
mod foreign;
mod links;
mod merge;
mod properties;
mod refused;
mod resume;
mod salvage;
mod steps;
mod streams;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use super::*;
use crate::archive::index::Role;
use crate::archive::manifest::Encoding;
use crate::archive::testing::two_jails;
use crate::archive::{Body, Compression, Failure, FileSink, Line, Manifest, MemberName, Writer};
use crate::event::Event;
use crate::export::{self, Destination};
use crate::pool::testing::Twist;
use crate::selector::Purpose;
use crate::tree::{Acl, Entry, Flags, Kind, MemoryContent, Timestamp, TreePath};

/// Remembers what is told.
#[derive(Default)]
struct Told {
    warnings: Mutex<Vec<String>>,
    notices: Mutex<Vec<String>>,
}

impl Observer for Told {
    fn event(&self, _: &Event) {}

    fn warning(&self, warning: &Warning) {
        self.warnings.lock().unwrap().push(format!("{}: {}", warning.subject, warning.message));
    }

    fn notice(&self, notice: &Warning) {
        self.notices.lock().unwrap().push(format!("{}: {}", notice.subject, notice.message));
    }
}

struct Host {
    directory: tempfile::TempDir,
    pool: Pool,
    told: Told,
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["jails", "releases"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let pool = Pool::open(directory.path().to_str().unwrap()).unwrap();
        Self { directory, pool, told: Told::default() }
    }

    /// One whose backend has a twist.
    fn twisted(twist: Twist) -> Self {
        let host = Self::new();
        Self { pool: Pool::twisted(host.directory.path(), twist), ..host }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.directory.path().join(below)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn names(&self, below: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(below)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn restore(&self, archive: &Path, options: &Options) -> Result<Report> {
        let interrupted = Arc::new(AtomicBool::new(false));
        restore(&self.pool, options, Input::Path(archive.to_owned()), &self.told, &interrupted)
    }

    fn warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.told.warnings.lock().unwrap())
    }

    fn notices(&self) -> Vec<String> {
        std::mem::take(&mut self.told.notices.lock().unwrap())
    }

    /// Nothing of a run is left.
    #[track_caller]
    fn is_clean(&self) {
        for state in [".remand/staging", ".remand/runs"] {
            assert!(!self.path(state).exists() || self.names(state).is_empty(), "{state}");
        }
    }
}

fn selected(words: &[&str]) -> Options {
    let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
    let now = jiff::Timestamp::UNIX_EPOCH;
    let selection = Selection::parse(Purpose::Restore, &words, false, &[], None, now).unwrap();
    Options { selection, ..Options::default() }
}

fn line(path: &str, kind: Kind, size: usize) -> Line {
    let entry = Entry {
        kind,
        mode: 0o750,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: Timestamp { seconds: 1_600_000_000, nanoseconds: 5 },
        size: size as u64,
        target: None,
        device: None,
        xattrs: std::collections::BTreeMap::new(),
        acl: Acl::default(),
        flags: Flags::default(),
    };
    Line::member(MemberName::new(TreePath::new(path.as_bytes()).unwrap()), entry)
}

/// Writes files, directories where the text is empty, and links where it begins with `->`.
fn archive(path: &Path, manifest: &Manifest, members: &[(&str, &str)], failed: Option<u32>) {
    let sink = Box::new(FileSink::create(path, false, "x").unwrap());
    let writer = Writer::tar(sink, Compression::None, &std::env::temp_dir()).unwrap();
    written(writer, manifest, members, failed);
}

fn written(mut writer: Writer, manifest: &Manifest, members: &[(&str, &str)], failed: Option<u32>) {
    writer.manifest(manifest, 0).unwrap();
    for (path, text) in members {
        if let Some(to) = text.strip_prefix("->") {
            let mut line = line(path, Kind::File, 0);
            line.role = Role::Link { to: MemberName::new(TreePath::new(to.as_bytes()).unwrap()) };
            line.group = Some(1);
            writer.member(line, Body::Empty, 1).unwrap();
        } else if text.is_empty() {
            writer.member(line(path, Kind::Directory, 0), Body::Empty, 1).unwrap();
        } else {
            let mut content = MemoryContent::new(text.as_bytes().to_vec());
            writer.member(line(path, Kind::File, text.len()), Body::Content(&mut content), 1).unwrap();
        }
    }
    if let Some(resource) = failed {
        writer.fail(&Failure { resource, error: "the disk is broken".into() }).unwrap();
    }
    writer.finish().unwrap();
}

const TWO: [(&str, &str); 4] = [
    ("jails/a/root.tree", ""),
    ("jails/a/root.tree/file", "of a"),
    ("jails/b/root.tree", ""),
    ("jails/b/root.tree/file", "of b"),
];

#[test]
fn a_report_says_where_each_resource_is() {
    let host = Host::new();
    let path = host.path("two.tar");
    archive(&path, &two_jails(), &TWO, None);
    let report = host.restore(&path, &Options::default()).unwrap();
    let told: Vec<_> = report
        .resources
        .iter()
        .map(|one| (one.resource.as_str(), one.name.as_str(), one.directory.clone(), one.failed.clone()))
        .collect();
    let place = |name: &str| Some(host.path("jails").join(name));
    assert_eq!(told, [("jail a", "a", place("a"), None), ("jail b", "b", place("b"), None)]);
    assert!(report.seal.is_some() && report.signed.is_none());
    assert_eq!((report.warnings, host.warnings()), (0, vec![]));
    assert_eq!(std::fs::read(host.path("jails/b/root/file")).unwrap(), b"of b");
    host.is_clean();
    // What is there is never touched, whatever else is restored.
    let error = host.restore(&path, &selected(&["a=c", "b"])).unwrap_err();
    assert_eq!(error.exit_status(), 12);
    assert_eq!(host.names("jails"), ["a", "b"]);
    let report = host.restore(&path, &Options { keep_going: true, ..selected(&["a=c", "b"]) }).unwrap();
    let [failed, done] = &report.resources[..] else { panic!("two") };
    assert!(failed.failed.is_some() && failed.directory.is_none() && failed.name == "b");
    assert_eq!((done.directory.clone(), report.warnings), (place("c"), 1));
    host.is_clean();
}

#[test]
fn a_resource_that_failed_in_its_export_is_not_restored() {
    let host = Host::new();
    let path = host.path("two.tar");
    archive(&path, &two_jails(), &TWO, Some(1));
    assert!(host.restore(&path, &Options::default()).is_err());
    assert!(host.restore(&path, &Options { keep_going: true, ..selected(&["b"]) }).is_err());
    assert_eq!(host.names("jails"), [""; 0]);
    host.is_clean();
    let report = host.restore(&path, &Options { keep_going: true, ..Options::default() }).unwrap();
    let mut told: Vec<_> = report.resources.iter().map(|one| (&one.name[..], one.failed.is_some())).collect();
    told.sort_unstable();
    assert_eq!(told, [("a", false), ("b", true)]);
    assert_eq!(host.names("jails"), ["a"]);
    host.is_clean();
}

#[test]
fn a_dry_run_leaves_out_what_a_restore_would() {
    let host = Host::new();
    let path = host.path("two.tar");
    archive(&path, &two_jails(), &TWO, None);
    host.put("jails/b/root/file", "another");
    let interrupted = Arc::new(AtomicBool::new(false));
    let foresee =
        |options: &Options| dry_run(&host.pool, options, Input::Path(path.clone()), &host.told, &interrupted);
    assert_eq!(foresee(&Options::default()).unwrap_err().exit_status(), 12);
    let report = foresee(&Options { keep_going: true, ..Options::default() }).unwrap();
    let told: Vec<_> = report.resources.iter().map(|one| (&one.name[..], one.failed.is_some())).collect();
    assert_eq!((told, report.warnings), (vec![("a", false), ("b", true)], 1));
    let [warning] = &host.warnings()[..] else { panic!("one warning") };
    assert!(warning.starts_with("jail b: is left out: "), "{warning}");
    // Of one there is nothing to go on with.
    assert_eq!(foresee(&Options { keep_going: true, ..selected(&["b"]) }).unwrap_err().exit_status(), 12);
    assert_eq!(host.names("jails"), ["b"]);
}

/// An archive of jail `web`, which differs from release `base` in one file.
fn exported(host: &Host) -> PathBuf {
    for (path, text) in [("etc/conf", "as released\n"), ("etc/other", "other\n")] {
        host.put(&format!("releases/base/root/{path}"), text);
        host.put(&format!("jails/web/root/{path}"), text);
    }
    host.put("jails/web/root/etc/conf", "by the jail\n");
    let config = r#"{"id": "web", "release": "base", "host_hostuuid": "web", "hostid": "x"}"#;
    host.put("jails/web/config.json", config);
    let words = ["web".to_owned()];
    let now = jiff::Timestamp::UNIX_EPOCH;
    let selection = Selection::parse(Purpose::Export, &words, false, &[], None, now).unwrap();
    let path = host.path("web.tar");
    let destination = Destination::Path { path: path.clone(), force: false };
    export::export(
        &host.pool,
        &export::Options::new(selection),
        destination,
        &host.told,
        &AtomicBool::new(false),
    )
    .unwrap();
    path
}

/// An archive of two jails of which the first has these datasets too, each with its encoding.
fn with_datasets(host: &Host, datasets: &[(&str, Encoding)], members: &[(&str, &str)]) -> PathBuf {
    let path = host.path("two.tar");
    let mut manifest = two_jails();
    for (name, encoding) in datasets {
        let mut dataset = manifest.resources[0].datasets[0].clone();
        (dataset.name, dataset.encoding) = ((*name).to_owned(), *encoding);
        dataset.member = crate::export::plan::member(name, *encoding);
        manifest.resources[0].datasets.push(dataset);
    }
    archive(&path, &manifest, members, None);
    path
}

/// What an archive says of itself.
fn manifest_of(path: &Path) -> Manifest {
    let interrupted = Arc::new(AtomicBool::new(false));
    let opened = Input::Path(path.to_owned()).open(&interrupted).unwrap();
    archive::read_manifest(opened.source, &opened.name).unwrap()
}

#[test]
fn a_dry_run_tells_the_base_and_makes_nothing() {
    let host = Host::new();
    let path = exported(&host);
    let options = Options { name: Some("copy".into()), ..Options::default() };
    let interrupted = Arc::new(AtomicBool::new(false));
    let foreseen =
        dry_run(&host.pool, &options, Input::Path(path.clone()), &host.told, &interrupted).unwrap();
    let [one] = &foreseen.resources[..] else { panic!("one") };
    assert_eq!((one.resource.as_str(), one.base.as_deref()), ("jail copy", Some("base")));
    assert!(foreseen.seal.is_none() && one.directory.is_none() && one.failed.is_none());
    assert_eq!(host.names("jails"), ["web"]);
    let done = host.restore(&path, &options).unwrap();
    assert_eq!(done.resources[0].base.as_deref(), Some("base"));
    assert_eq!(std::fs::read(host.path("jails/copy/root/etc/conf")).unwrap(), b"by the jail\n");
    assert_eq!(std::fs::read(host.path("jails/copy/root/etc/other")).unwrap(), b"other\n");
    assert!(host.notices().iter().any(|notice| notice.contains("new identity")));
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(host.path("jails/copy/config.json")).unwrap()).unwrap();
    assert_eq!((&config["id"], &config["release"]), (&"copy".into(), &"base".into()));
    let error = dry_run(&host.pool, &options, Input::Path(path), &host.told, &interrupted).unwrap_err();
    assert_eq!(error.exit_status(), 12);
}
