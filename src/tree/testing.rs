//! What the tests of trees share.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A mount namespace of its own, so that nothing stays mounted when a test fails. It ends with its guard.
pub(crate) struct Namespace {
    child: Child,
    /// The directory as it is seen in there.
    pub(crate) inside: PathBuf,
}

impl Namespace {
    /// Runs `mounts`, a script, in the directory `at`.
    pub(crate) fn new(at: &Path, mounts: &str) -> Self {
        let script = format!("cd {} && {mounts} && echo ok && read wait", at.display());
        let mut child = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ok\n", "this test needs unshare(1), mounts and maybe loop devices");
        let inside = format!("/proc/{}/root{}", child.id(), at.display()).into();
        Self { child, inside }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Runs the test of this name once more, in a mount namespace of its own after `mounts`, a script; whether it is there that it asks.
pub(crate) fn is_inside(test: &str, mounts: &str) -> bool {
    const INSIDE: &str = "REMAND_TEST_INSIDE";
    if std::env::var(INSIDE).is_ok_and(|inside| inside == test) {
        return true;
    }
    let script = format!("{mounts} && exec \"$@\"");
    let done = Command::new("unshare")
        .args(["--mount", "sh", "-c", &script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test])
        .env(INSIDE, test)
        .output()
        .unwrap();
    let told = [done.stdout, done.stderr].map(|told| String::from_utf8_lossy(&told).into_owned()).concat();
    assert!(done.status.success() && told.contains("1 passed"), "{told}");
    false
}
