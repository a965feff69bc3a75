//! Archives of two resources that share a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde_json::json;

use super::*;
use crate::archive::index::Role;
use crate::archive::{Body, Compression, FileSink, Line, MemberName, Writer};
use crate::error::Error;
use crate::event::{Collector, Silent};
use crate::input::Input;
use crate::listing::list;
use crate::locator::Locator;
use crate::tree::{Acl, Entry, Flags, Kind, MemoryContent, Timestamp, TreePath};

fn name(path: &str) -> MemberName {
    MemberName::new(TreePath::new(path.as_bytes()).unwrap())
}

fn entry(kind: Kind, size: usize) -> Entry {
    Entry {
        kind,
        mode: 0o640,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: Timestamp { seconds: 1_600_000_000, nanoseconds: 0 },
        size: size as u64,
        target: (kind == Kind::Symlink).then(|| b"/etc".to_vec()),
        device: None,
        xattrs: std::collections::BTreeMap::new(),
        acl: Acl::default(),
        flags: Flags::default(),
    }
}

fn line(path: &str, role: Role, entry: Entry) -> Line {
    Line {
        name: name(path),
        role,
        entry: Some(entry),
        group: None,
        replaced: None,
        unstable: false,
        shared: Vec::new(),
    }
}

/// Jails `a` and `b`; `b` has other names of files that come with `a`. `failed` failed.
fn archive(path: &Path, failed: Option<u32>) {
    let jail = |name: &str| {
        json!({
            "kind": "jail", "name": name, "layout": "libioc", "backend": "dir", "mountpoint": "/x",
            "prefix": format!("./jails/{name}/"), "mode": "standalone", "consistent": false,
            "datasets": [
                { "name": "root", "encoding": "tree", "member": "root.tree" },
                { "name": "data", "encoding": "zfs", "member": "data.zfs" },
            ],
        })
    };
    let manifest = json!({
        "format": "remand-archive", "version": { "major": 1, "minor": 2 },
        "tool": { "name": "remand", "version": "0" }, "id": "0".repeat(32), "created": "2026-11-21T00:00:00Z",
        "host": {}, "resources": [jail("a"), jail("b")],
    });
    let sink = Box::new(FileSink::create(path, false, "x").unwrap());
    let mut writer = Writer::tar(sink, Compression::Gzip(6), &std::env::temp_dir()).unwrap();
    writer.manifest(&serde_json::from_value(manifest).unwrap(), 0).unwrap();
    let member = Role::Member { digest: None };
    for (path, text) in [
        ("jails/a/root.tree", ""),
        ("jails/a/root.tree/shared", "both have it"),
        ("jails/b/root.tree", ""),
        ("jails/b/root.tree/own", "its own"),
        ("jails/b/root.tree/sub", ""),
        ("jails/b/root.tree/sub/link", "->"),
    ] {
        let kind = match text {
            "" => Kind::Directory,
            "->" => Kind::Symlink,
            _ => Kind::File,
        };
        let size = if kind == Kind::File { text.len() } else { 0 };
        let mut content = MemoryContent::new(text);
        let body = if kind == Kind::File { Body::Content(&mut content) } else { Body::Empty };
        writer.member(line(path, member.clone(), entry(kind, size)), body, 1).unwrap();
    }
    for path in ["jails/b/root.tree/sub/shared", "jails/b/root.tree/sub/again"] {
        let role = Role::Link { to: name("jails/a/root.tree/shared") };
        writer.member(line(path, role, entry(Kind::File, 12)), Body::Empty, 1).unwrap();
    }
    if let Some(resource) = failed {
        writer.fail(&crate::archive::Failure { resource, error: "it broke".into() }).unwrap();
    }
    writer.finish().unwrap();
}

struct Test {
    dir: tempfile::TempDir,
    archive: PathBuf,
}

impl Test {
    fn new(failed: Option<u32>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("two.tar.gz");
        archive(&path, failed);
        Self { dir, archive: path }
    }

    fn input(&self, piped: bool) -> Input {
        if piped {
            Input::Stream(Box::new(std::fs::File::open(&self.archive).unwrap()))
        } else {
            Input::Path(self.archive.clone())
        }
    }

    fn cat(&self, file: &str, dataset: &str, piped: bool) -> Result<String> {
        let files = [file.parse::<Locator>()?];
        let mut output = Vec::new();
        let interrupted = Arc::new(AtomicBool::new(false));
        let what = Cat { files: &files, dataset };
        cat(&no_pool, self.input(piped), &what, &Silent, &interrupted, &mut output)?;
        Ok(String::from_utf8(output).unwrap())
    }

    fn extract(&self, part: &str, to: &str, piped: bool) -> Result<PathBuf> {
        let locator = part.parse::<Locator>()?;
        let interrupted = Arc::new(AtomicBool::new(false));
        let collector = Collector::default();
        let to = self.dir.path().join(to);
        let report = extract(&no_pool, self.input(piped), (&locator, "root"), &to, &collector, &interrupted)?;
        assert_eq!((report.warnings, collector.warnings().len()), (0, 0));
        Ok(report.place)
    }
}

fn no_pool() -> Result<Pool> {
    Err(Error::NoPool("no base is needed".into()))
}

#[test]
fn a_file_that_came_with_another_resource_has_its_content() {
    let test = Test::new(None);
    assert_eq!(test.cat("b:/sub/again", "root", false).unwrap(), "both have it");
    assert_eq!(test.cat("b:/own", "root", true).unwrap(), "its own");
    let error = test.cat("b:/sub/again", "root", true).unwrap_err().to_string();
    assert!(error.contains("another name of ./jails/a/root.tree/shared"), "{error}");
    let place = test.extract("b:/sub", "to", false).unwrap();
    let inode = |name: &str| std::os::unix::fs::MetadataExt::ino(&place.join(name).metadata().unwrap());
    assert_eq!(std::fs::read(place.join("again")).unwrap(), b"both have it");
    assert_eq!(inode("again"), inode("shared"));
    assert_eq!(std::fs::read_link(place.join("link")).unwrap(), Path::new("/etc"));
    assert!(test.extract("b:/sub", "piped", true).unwrap_err().to_string().contains("came before it"));
    assert!(!test.dir.path().join("piped").exists());
    // A path of a pipe can be opened once, too.
    let fifo = test.dir.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let bytes = std::fs::read(&test.archive).unwrap();
    let writer = std::thread::spawn({
        let fifo = fifo.clone();
        move || std::fs::write(fifo, bytes)
    });
    let test_fifo = Test { archive: fifo, ..test };
    assert_eq!(test_fifo.cat("b:/own", "root", false).unwrap(), "its own");
    writer.join().unwrap().unwrap();
    let test = Test { archive: test_fifo.dir.path().join("two.tar.gz"), ..test_fifo };
    let place = test.extract("b:/own", "piped", true).unwrap();
    assert_eq!(std::fs::read(place).unwrap(), b"its own");
}

#[test]
fn what_cannot_be_had_is_told() {
    let test = Test::new(Some(1));
    let status = |result: Result<String>| result.unwrap_err().exit_status();
    assert_eq!(status(test.cat(":/own", "root", false)), 2);
    assert_eq!(status(test.cat("c:/own", "root", false)), 10);
    assert_eq!(status(test.cat("a:/x", "none", false)), 10);
    assert_eq!(test.cat("a:/shared", "root", false).unwrap(), "both have it");
    for piped in [false, true] {
        let error = test.cat("a:/x", "data", piped).unwrap_err().to_string();
        assert!(error.contains("native stream of zfs"), "{error}");
        let error = test.cat("b:/own", "root", piped).unwrap_err().to_string();
        assert!(error.contains("failed while it was exported, and is not whole: it broke"), "{error}");
        assert!(test.extract("b:/own", "to", piped).is_err());
        assert!(!test.dir.path().join("to").exists());
    }
    let interrupted = Arc::new(AtomicBool::new(true));
    let all = list(test.input(false), &"a".parse().unwrap(), "root", &interrupted, &mut |_| Ok(()));
    assert!(matches!(all, Err(Error::Interrupted)));
}
