//! The one test suite that every backend must pass.
//!
//! It uses the crate's public face alone, and is compiled into the tests and into the example `contract`, which runs it on a host
//! of one's own choice. Each case gets an empty pool. What a backend cannot do by its capabilities is skipped by name.

use remand_backends::{Backend, Created, CreatedSnapshot, DatasetName, Error, Kept, Snapshot, SnapshotName};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

#[path = "contract/clones.rs"]
mod clones;
#[path = "contract/datasets.rs"]
mod datasets;
#[path = "contract/leftovers.rs"]
mod leftovers;
#[path = "contract/snapshots.rs"]
mod snapshots;
#[path = "contract/streams.rs"]
mod streams;
#[path = "contract/together.rs"]
mod together;

/// An empty pool for one case.
pub(crate) struct Fixture {
    pub(crate) backend: Box<dyn Backend>,
    /// Opens the same pool once more, as another process would.
    pub(crate) again: Box<dyn Fn() -> Box<dyn Backend>>,
    /// Removes the pool.
    pub(crate) remove: Box<dyn FnOnce()>,
}

/// What became of a case.
pub(crate) enum Outcome {
    Passed,
    /// With the reason.
    Skipped(&'static str),
}

type Case = (&'static str, fn(&Fixture) -> Outcome);

fn cases() -> Vec<Case> {
    [datasets::CASES, snapshots::CASES, clones::CASES, leftovers::CASES, streams::CASES, together::CASES]
        .concat()
}

/// Runs all cases whose name holds `filter`, prints a line each, and returns the names of those that failed.
pub(crate) fn run(label: &str, filter: &str, make: &dyn Fn(&str) -> Fixture) -> Vec<&'static str> {
    let mut failed = Vec::new();
    for (name, case) in cases() {
        if !name.contains(filter) {
            continue;
        }
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let fixture = make(name);
            let outcome = case(&fixture);
            (fixture.remove)();
            outcome
        }));
        match outcome {
            Ok(Outcome::Passed) => println!("{label}: {name}: ok"),
            Ok(Outcome::Skipped(why)) => println!("{label}: {name}: SKIPPED: {why}"),
            Err(_) => {
                println!("{label}: {name}: FAILED");
                failed.push(name);
            }
        }
    }
    failed
}

/// A fixture in a directory of its own below `above`, treated as a plain directory whatever it is on.
pub(crate) fn dir_fixture(above: &Path, case: &str) -> Fixture {
    directory_fixture("dir", above, case)
}

/// A fixture in a directory of its own below `above`, which is on btrfs.
pub(crate) fn btrfs_fixture(above: &Path, case: &str) -> Fixture {
    directory_fixture("btrfs", above, case)
}

fn directory_fixture(kind: &'static str, above: &Path, case: &str) -> Fixture {
    let path = above.join(case);
    std::fs::create_dir(&path).expect("an empty directory");
    let open = {
        let pool = format!("{kind}:{}", path.to_str().expect("UTF-8"));
        move || remand_backends::open(&pool).expect("a pool")
    };
    Fixture {
        backend: open(),
        again: Box::new(open),
        remove: Box::new(move || {
            remove_subvolumes(&path);
            std::fs::remove_dir_all(path).expect("the pool's directory goes");
        }),
    }
}

/// What a case has left: read-only subvolumes are in the way of everything else.
fn remove_subvolumes(directory: &Path) {
    let Ok(opened) = std::fs::File::open(directory) else { return };
    for (_, below) in remand_sys::btrfs::subvolumes_below(&opened).unwrap_or_default() {
        use std::os::unix::ffi::OsStrExt;
        let path = directory.join(std::ffi::OsStr::from_bytes(&below));
        if let Ok(inner) = std::fs::File::open(&path) {
            remand_sys::btrfs::set_read_only(&inner, false).expect("it is writable");
        }
        remove_subvolumes(&path);
    }
}

/// A fixture in a dataset of its own below the ZFS dataset `above`.
pub(crate) fn zfs_fixture(above: &str, case: &str) -> Fixture {
    let outer = remand_backends::open(above).expect("the pool for tests");
    let created = outer.create(&name(case)).expect("an empty dataset");
    let full = format!("{above}/{case}");
    let open = move || remand_backends::open(&full).expect("a pool");
    Fixture {
        backend: open(),
        again: Box::new(open),
        remove: Box::new(move || outer.destroy(created).map_err(|kept| kept.error).expect("the pool goes")),
    }
}

fn name(text: &str) -> DatasetName {
    DatasetName::new(text).expect("a valid name")
}

fn snapshot_name(text: &str) -> SnapshotName {
    SnapshotName::new(text).expect("a valid name")
}

/// A snapshot's name as remand gives it, the `number`th.
fn run_name(number: u32) -> SnapshotName {
    snapshot_name(&format!("remand-20260102T030405Z-{number:08x}"))
}

impl Fixture {
    fn create(&self, dataset: &str) -> Created {
        self.backend.create(&name(dataset)).unwrap_or_else(|error| panic!("create {dataset}: {error}"))
    }

    fn directory(&self, dataset: &str) -> PathBuf {
        self.backend
            .dataset(&name(dataset))
            .expect("an answer")
            .unwrap_or_else(|| panic!("{dataset} exists"))
            .directory
            .unwrap_or_else(|| panic!("{dataset} is mounted"))
    }

    fn exists(&self, dataset: &str) -> bool {
        self.backend.dataset(&name(dataset)).expect("an answer").is_some()
    }

    fn write(&self, dataset: &str, file: &str, text: &str) {
        std::fs::write(self.directory(dataset).join(file), text).expect("a file is written");
    }

    fn read(&self, dataset: &str, file: &str) -> String {
        std::fs::read_to_string(self.directory(dataset).join(file)).expect("a file is read")
    }

    fn snapshot(&self, dataset: &str, snapshot: &SnapshotName, recursive: bool) -> CreatedSnapshot {
        self.backend.snapshot(&name(dataset), snapshot, recursive).expect("a snapshot")
    }

    fn destroy(&self, created: Created) {
        self.backend.destroy(created).map_err(|kept| kept.error).expect("it is destroyed");
    }

    fn rename(&self, created: Created, to: &str) -> Created {
        self.backend.rename(created, &name(to)).map_err(|kept| kept.error).expect("it is renamed")
    }

    /// Makes a snapshot as a user would: a read-only subvolume at a path in the pool.
    fn user_snapshot(&self, dataset: &str, path: &str) {
        let path = self.backend.directory().join(path);
        let above = path.parent().expect("it is in the pool");
        std::fs::create_dir_all(above).expect("a directory");
        let open = |path: &Path| std::fs::File::open(path).expect("it is opened");
        let last = path.file_name().expect("a name").as_encoded_bytes();
        remand_sys::btrfs::snapshot(open(above), last, open(&self.directory(dataset)), true)
            .expect("a snapshot");
    }

    /// Everything there is in the pool, with the files' content: to tell that nothing changed.
    fn everything(&self) -> Vec<String> {
        let mut found = Vec::new();
        walk(self.backend.directory(), &mut found);
        for dataset in self.backend.descendants(&DatasetName::pool()).expect("a list") {
            found.push(format!("dataset {}", dataset.name));
            for info in self.backend.snapshots(&dataset.name).expect("a list") {
                found.push(format!("snapshot {info:?}"));
            }
        }
        found.sort();
        found
    }
}

fn walk(directory: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let data = path.symlink_metadata().expect("it is there");
        if data.is_dir() {
            found.push(format!("{}/", path.display()));
            walk(&path, found);
        } else if data.is_file() {
            found.push(format!("{} {:?}", path.display(), std::fs::read(&path).expect("it is read")));
        } else {
            found.push(path.display().to_string());
        }
    }
}

/// Something mounted, until this is dropped.
struct Mounted(PathBuf);

impl Mounted {
    /// `None` where that is not possible.
    fn make(arguments: &[&str], at: &Path) -> Option<Self> {
        let mut mount = std::process::Command::new("mount");
        let made = mount.args(arguments).arg(at).stderr(std::process::Stdio::null()).status();
        made.is_ok_and(|status| status.success()).then(|| Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let status = std::process::Command::new("umount").arg(&self.0).status();
        if !status.is_ok_and(|status| status.success()) {
            eprintln!("left: the mount {}", self.0.display());
        }
    }
}

fn kept<T>(result: Result<T, Kept<Created>>) -> (Created, Error) {
    match result {
        Ok(_) => panic!("it must not succeed"),
        Err(Kept { token, error }) => (token, error),
    }
}

fn of(dataset: &str, snapshot: &SnapshotName) -> Snapshot {
    Snapshot { dataset: name(dataset), name: Some(snapshot.clone()) }
}
