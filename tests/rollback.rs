//! Runs that are killed or interrupted: nothing half-made is ever visible, what was there stays, and the next
//! run works.

mod support;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use support::at::At;
use support::compare::assert_same_without;
use support::pool::{Place, Pool, Size, names};
use support::run::{Run, export, remand, restore};
use support::{Scratch, workload};

const MOMENTS: usize = 10;

/// A jail that takes a moment to export and restore.
struct Course {
    scratch: Scratch,
    source: Pool,
    /// What the source must still be at the end.
    twin: Pool,
    /// Has the release, and a jail of its own.
    target: Pool,
}

impl Course {
    fn new(place: &Place) -> Self {
        let pool = || {
            let pool = Pool::with_jail(place, Size::Full);
            let bulk = At::open(&pool.root("web01")).mkdir("bulk");
            for number in 0..16 {
                bulk.write(format!("file{number}"), workload::noise(number, 2_500_000));
                bulk.set_mtime(format!("file{number}"), workload::JAIL_TIME);
            }
            for path in ["bulk", "."] {
                At::open(&pool.root("web01")).set_mtime(path, workload::JAIL_TIME);
            }
            pool
        };
        let target = Pool::with_release(place, Size::Full);
        target.release("small-1.0", Size::Small);
        target.jail("other", "small-1.0", Size::Small);
        Self { scratch: Scratch::new(), source: pool(), twin: pool(), target }
    }

    fn export(&self) -> Run {
        remand(["export", "web01"]).on(&self.source).arg(self.archive())
    }

    fn restore(&self) -> Run {
        remand(["restore"]).on(&self.target).arg(self.archive())
    }

    fn archive(&self) -> PathBuf {
        self.scratch.join("web01.tar.gz")
    }

    #[track_caller]
    fn source_is_untouched(&self) {
        same(&self.twin.root("web01"), &self.source.root("web01"), &self.source);
    }

    #[track_caller]
    fn is_restored(&self) {
        assert_eq!(self.target.jails(), ["other", "web01"]);
        same(&self.source.root("web01"), &self.target.root("web01"), &self.target);
    }
}

#[track_caller]
fn same(wanted: &Path, got: &Path, pool: &Pool) {
    assert_same_without(wanted, got, &pool.unseen());
}

fn start(run: Run) -> Child {
    run.into_command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("remand")
}

/// Starts it, and sends a signal after `delay`, unless it is over by then. Returns how it ended.
fn disturb(run: Run, delay: Duration, signal: Signal) -> ExitStatus {
    let mut child = start(run);
    let end = Instant::now() + delay;
    while Instant::now() < end && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    if child.try_wait().unwrap().is_none() {
        // It can only be gone since if it ended by itself.
        let _ = kill_process(Pid::from_child(&child), signal);
    }
    child.wait().unwrap()
}

/// Moments within a run, as parts of its time: at random but the same in every run of the tests. Four times as many as are
/// wanted: some runs are over before their moment.
fn moments(seed: u64) -> Vec<f64> {
    workload::noise(seed, MOMENTS * 8)
        .chunks(2)
        .map(|pair| f64::from(u16::from_le_bytes([pair[0], pair[1]])) / 65536.0)
        .collect()
}

/// How long `run` takes when nobody disturbs it.
fn time(run: Run) -> Duration {
    let begin = Instant::now();
    run.ends(0);
    begin.elapsed()
}

/// `cleanup` lists what is left, and removes it.
#[track_caller]
fn cleanup(pool: &Pool) {
    let remains = pool.remains();
    let listed = remand(["cleanup"]).on(pool).ends(0).text();
    assert_eq!(pool.remains(), remains, "listing removes nothing");
    if !remains.is_empty() {
        assert!(!listed.is_empty(), "{remains:?} is not listed");
    }
    remand(["cleanup", "--yes"]).on(pool).ends(0);
    assert_eq!(pool.remains(), [""; 0]);
    assert_eq!(remand(["cleanup"]).on(pool).ends(0).text(), "");
}

fn killed_exports(place: &Place) {
    let course = Course::new(place);
    let mut whole = time(course.export());
    std::fs::remove_file(course.archive()).unwrap();
    let mut killed = 0;
    for moment in moments(1) {
        if killed == MOMENTS {
            break;
        }
        let begin = Instant::now();
        if disturb(course.export(), whole.mul_f64(moment), Signal::KILL).success() {
            // The first may have been slow because the machine was busy.
            whole = whole.min(begin.elapsed());
            remand(["verify"]).arg(course.archive()).ends(0);
            std::fs::remove_file(course.archive()).unwrap();
        } else {
            killed += 1;
            // Between the rename and the exit it may be there; then it is there as a whole.
            if course.archive().exists() {
                remand(["verify"]).arg(course.archive()).ends(0);
                std::fs::remove_file(course.archive()).unwrap();
            }
        }
    }
    assert_eq!(killed, MOMENTS, "too few runs were killed in time");
    course.export().ends(0);
    remand(["verify"]).arg(course.archive()).ends(0);
    cleanup(&course.source);
    assert_eq!(names(course.scratch.path()), ["web01.tar.gz"], "nothing partial is left beside it");
    course.source_is_untouched();
    course.restore().ends(0);
    course.is_restored();
}

fn killed_restores(place: &Place) {
    let course = Course::new(place);
    course.export().ends(0);
    let mut whole = {
        let undisturbed = Pool::with_release(place, Size::Full);
        time(remand(["restore"]).on(&undisturbed).arg(course.archive()))
    };
    let mut killed = 0;
    for moment in moments(2) {
        if killed == MOMENTS {
            break;
        }
        let begin = Instant::now();
        if disturb(course.restore(), whole.mul_f64(moment), Signal::KILL).success() {
            // The first may have been slow because the machine was busy.
            whole = whole.min(begin.elapsed());
            course.is_restored();
            remove_jail(&course.target, "web01");
        } else {
            killed += 1;
            // Between the rename and the exit it may be there; then it is there as a whole.
            if course.target.jails().contains(&"web01".to_owned()) {
                course.is_restored();
                remove_jail(&course.target, "web01");
            }
        }
    }
    assert_eq!(killed, MOMENTS, "too few runs were killed in time");
    course.restore().ends(0);
    course.is_restored();
    cleanup(&course.target);
    course.is_restored();
    course.source_is_untouched();
}

fn remove_jail(pool: &Pool, name: &str) {
    if pool.is_zfs() {
        assert!(
            support::pool::destroy(&format!("{}/jails/{name}", pool.name())),
            "{name} cannot be destroyed"
        );
    }
    pool.delete(&format!("jails/{name}"));
}

#[test]
fn exports_that_are_killed() {
    killed_exports(&Place::dir());
}

#[test]
fn exports_that_are_killed_on_zfs() {
    if let Some(place) = Place::zfs("rollback: kill") {
        killed_exports(&place);
    }
}

#[test]
fn exports_that_are_killed_on_btrfs() {
    if let Some(place) = Place::btrfs("rollback: kill") {
        killed_exports(&place);
    }
}

#[test]
fn restores_that_are_killed() {
    killed_restores(&Place::dir());
}

#[test]
fn restores_that_are_killed_on_zfs() {
    if let Some(place) = Place::zfs("rollback: kill") {
        killed_restores(&place);
    }
}

#[test]
fn restores_that_are_killed_on_btrfs() {
    if let Some(place) = Place::btrfs("rollback: kill") {
        killed_restores(&place);
    }
}

#[test]
fn exports_to_a_directory_that_are_killed() {
    let course = Course::new(&Place::dir());
    let destination = course.scratch.join("web01");
    let run = || remand(["export", "--format", "directory", "web01"]).on(&course.source).arg(&destination);
    let whole = time(run());
    support::at::remove_tree(&destination);
    for moment in moments(3).into_iter().take(MOMENTS) {
        disturb(run(), whole.mul_f64(moment), Signal::KILL);
        if destination.exists() {
            remand(["verify"]).arg(&destination).ends(0);
            support::at::remove_tree(&destination);
        }
    }
    run().ends(0);
    remand(["verify"]).arg(&destination).ends(0);
    cleanup(&course.source);
    assert_eq!(names(course.scratch.path()), ["web01"], "nothing partial is left beside it");
}

fn interrupted(place: &Place) {
    let course = Course::new(place);
    let whole = time(course.export());
    std::fs::remove_file(course.archive()).unwrap();
    let mut interrupted = 0;
    for moment in moments(4).into_iter().take(4) {
        let ended = disturb(course.export(), whole.mul_f64(moment.max(0.2)), Signal::INT);
        if ended.success() {
            std::fs::remove_file(course.archive()).unwrap();
            continue;
        }
        interrupted += 1;
        assert_eq!(ended.code(), Some(130));
        assert_eq!(names(course.scratch.path()), [""; 0]);
        assert_eq!(course.source.remains(), [""; 0]);
    }
    assert!(interrupted > 0, "no run was interrupted in time");
    let whole = time(course.export());
    for moment in moments(5).into_iter().take(4) {
        let ended = disturb(course.restore(), whole.mul_f64(moment.max(0.2)), Signal::TERM);
        if ended.success() {
            remove_jail(&course.target, "web01");
            continue;
        }
        assert!([Some(130), Some(143)].contains(&ended.code()), "{ended}");
        assert_eq!(course.target.jails(), ["other"]);
        assert_eq!(course.target.remains(), [""; 0]);
    }
    course.source_is_untouched();
}

/// Not only between files: this one takes minutes, nearly all of it a hole.
#[test]
fn an_interrupt_is_noticed_within_a_file() {
    let course = Course::new(&Place::dir());
    let root = At::open(&course.source.root("web01"));
    root.write_sparse("endless", 4 << 40, &[(3 << 40, b"data")]);
    let begin = Instant::now();
    let ended = disturb(course.export(), Duration::from_secs(1), Signal::TERM);
    assert_eq!(ended.code(), Some(130));
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    assert_eq!((names(course.scratch.path()), course.source.remains()), (vec![], vec![]));
}

#[test]
fn interrupted_runs_undo_what_they_did() {
    interrupted(&Place::dir());
}

#[test]
fn interrupted_runs_undo_what_they_did_on_zfs() {
    if let Some(place) = Place::zfs("rollback: interrupt") {
        interrupted(&place);
    }
}

#[test]
fn interrupted_runs_undo_what_they_did_on_btrfs() {
    if let Some(place) = Place::btrfs("rollback: interrupt") {
        interrupted(&place);
    }
}

#[test]
fn a_limit_of_the_file_size() {
    let course = Course::new(&Place::dir());
    let destination = course.scratch.join("limited.tar");
    // 4 MiB at most; the signal is ignored, so that the write fails as on a full disk.
    let mut command = Command::new("sh");
    command.args([
        "-c",
        "trap '' XFSZ; ulimit -f 8192; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_remand"),
        "export",
    ]);
    command.args(["--pool", course.source.name(), "web01"]).arg(&destination);
    let ended = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(ended.status.code(), Some(1), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(names(course.scratch.path()), [""; 0]);
    assert_eq!(course.source.remains(), [""; 0]);
}

#[test]
fn a_destination_that_cannot_be_written() {
    let (scratch, pool) = (Scratch::new(), Pool::with_jail(&Place::dir(), Size::Small));
    std::fs::write(scratch.join("file"), "").unwrap();
    let ended = remand(["export", "web01"]).on(&pool).arg(scratch.join("file/a.tar.gz")).end();
    assert!([1, 10].contains(&ended.status), "{}", ended.describe());
    assert_eq!(pool.remains(), [""; 0]);
    restore_is_refused_without_a_pool(&scratch, &pool);
}

fn restore_is_refused_without_a_pool(scratch: &Scratch, pool: &Pool) {
    export(pool, "web01", &scratch.join("a.tar.gz"), &[]);
    let ended =
        remand(["restore", "--pool"]).arg(scratch.join("nowhere")).arg(scratch.join("a.tar.gz")).end();
    ended.expect(10);
    assert!(!scratch.join("nowhere").exists(), "a pool is never made by itself");
    let target = Pool::with_release(&Place::dir(), Size::Small);
    restore(&target, &scratch.join("a.tar.gz"), &[]);
}
