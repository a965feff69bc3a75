//! What the integration tests share: awkward trees, a comparer that knows nothing of the library, test pools on
//! every backend that this machine has, and the program under test.
//!
//! Nothing in here uses the library: what it finds out about a tree or an archive is a second opinion.
// Every test binary includes all of it and uses a part. Casts: numbers here are small and chosen.
#![allow(dead_code, clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

pub(crate) mod at;
pub(crate) mod bundle;
pub(crate) mod compare;
pub(crate) mod host;
pub(crate) mod iocage;
pub(crate) mod pool;
pub(crate) mod run;
pub(crate) mod tar;
pub(crate) mod trip;
pub(crate) mod turn;
pub(crate) mod workload;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Says on the real standard error, which the test harness does not capture, that something is not tested here.
/// Each message appears once a test binary.
pub(crate) fn announce(message: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if said.insert(message.to_owned()) {
        // A closed standard error must not fail the tests.
        let _ = writeln!(std::io::stderr(), "{message}");
    }
}

/// Names a group of tests that cannot run on this machine, and why.
pub(crate) fn skipped(group: &str, why: &str) {
    announce(&format!("SKIPPED {}: {why}", group.replace(": ", ", ")));
}

/// Does `disturb` over and over, at least once, on another thread for as long as `work` runs. Also when `work` panics: the
/// test fails then, and does not wait for ever.
pub(crate) fn while_disturbed<T>(disturb: impl FnMut() + Send, work: impl FnOnce() -> T) -> T {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let (stop, mut disturb) = (AtomicBool::new(false), disturb);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                disturb();
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        let _stop = Stop(&stop);
        work()
    })
}

/// Whether the tests run as root; if not, `group` is announced as skipped.
pub(crate) fn root_for(group: &str) -> bool {
    let root = is_root();
    if !root {
        skipped(group, "needs root");
    }
    root
}

/// Whether the tests run as root.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A program in the search path, or an announcement that `group` goes without it.
pub(crate) fn program_for(group: &str, program: &str) -> Option<PathBuf> {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|directory| directory.join(program))
        .find(|path| path.is_file());
    if found.is_none() {
        skipped(group, &format!("{program} is not installed"));
    }
    found
}

/// A directory that is removed at the end of the test, immutable files and very deep paths included.
pub(crate) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    /// Makes one on the file system of the build directory: /tmp is often too small, and too forgetful.
    pub(crate) fn new() -> Self {
        Self::below(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    /// Makes one in `parent`.
    pub(crate) fn below(parent: &Path) -> Self {
        let path = tempfile::Builder::new()
            .prefix("remand-test-")
            .tempdir_in(parent)
            .unwrap_or_else(|error| panic!("cannot make a directory in {}: {error}", parent.display()))
            .keep();
        Self { path }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::env::var_os("REMAND_TEST_KEEP").is_some() {
            announce(&format!("KEPT {}", self.path.display()));
            return;
        }
        at::remove_tree(&self.path);
    }
}
