//! File systems that are full, at every stage: each run is repeated with a little more room until it succeeds. Until then it says how much
//! was free and what was needed, leaves nothing, and changes nothing.

mod support;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use support::at::At;
use support::compare::assert_same_without;
use support::pool::{Place, Pool, Size, destroy, names};
use support::run::{Ended, Run, export, remand};
use support::{Scratch, skipped, workload};

/// How much room there is, in KiB, from run to run. At last nothing is taken away: btrfs may be full with 10 MB free.
const ROOM: [u64; 10] = [0, 4, 16, 64, 256, 1024, 2560, 5120, 16384, 1 << 30];
/// What the jail has of its own, so that an archive of it takes about as much.
const OWN_BYTES: usize = 3_000_000;

/// A small file system of which the test has as much as it wants.
struct Tiny {
    path: PathBuf,
    /// On a file system of its own, or a limit of a part of ZFS.
    quota: Option<String>,
    #[allow(dead_code)] // held
    alone: MutexGuard<'static, ()>,
}

impl Tiny {
    /// The directory in an environment variable.
    fn at(variable: &str, group: &str) -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        let path = std::env::var_os(variable).filter(|path| !path.is_empty());
        if path.is_none() {
            skipped(
                &format!("full: {group}"),
                &format!("{variable} names no directory on a small file system"),
            );
        }
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Self { path: path?.into(), quota: None, alone })
    }

    /// A dataset.
    fn zfs(group: &str) -> Option<Self> {
        static ALONE: Mutex<()> = Mutex::new(());
        let Some(Place::Zfs(parent)) = Place::zfs(group) else { return None };
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let name = format!("{parent}/tiny-{}", std::process::id());
        zfs(["create", &name]);
        let path = zfs(["get", "-H", "-o", "value", "mountpoint", &name]).into();
        Some(Self { path, quota: Some(name), alone })
    }

    fn place(&self) -> Place {
        match &self.quota {
            Some(name) => Place::Zfs(name.clone()),
            None if At::open(&self.path).file_system() == 0x9123_683e => Place::Btrfs(self.path.clone()),
            None => Place::Dir(self.path.clone()),
        }
    }

    /// Leaves so much room.
    fn leave(&self, kib: u64) {
        if let Some(name) = &self.quota {
            let used: u64 = zfs(["get", "-H", "-p", "-o", "value", "used", name]).parse().unwrap();
            zfs(["set", &format!("quota={}", used + kib * 1024), name]);
            return;
        }
        self.give_back();
        self.settle();
        let mut filler = File::create(self.path.join("filler")).unwrap();
        let block = workload::noise(1, 4096);
        while free_bytes(&self.path) > kib * 1024 {
            let more = (free_bytes(&self.path) - kib * 1024).clamp(4096, 1 << 20);
            if filler.write_all(&block.repeat(usize::try_from(more / 4096).unwrap())).is_err()
                || filler.sync_all().is_err()
            {
                break;
            }
        }
    }

    /// Waits until what was removed is free.
    fn settle(&self) {
        let run = |program: &str, arguments: &[&str]| {
            let output = Command::new(program).args(arguments).arg(&self.path).output().expect(program);
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
            !output.stdout.is_empty()
        };
        run("sync", &["-f"]);
        if !matches!(self.place(), Place::Btrfs(_)) {
            return;
        }
        // btrfs gives deleted subvolumes back each half a minute, or when it is told to sync by itself.
        let is_waiting = || {
            run("btrfs", &["-q", "filesystem", "sync"]);
            run("btrfs", &["subvolume", "list", "-d"])
        };
        for _ in 0..200 {
            if !is_waiting() {
                run("btrfs", &["-q", "filesystem", "sync"]);
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("btrfs does not give deleted subvolumes back");
    }

    fn give_back(&self) {
        match &self.quota {
            Some(name) => drop(zfs(["set", "quota=none", name])),
            None => drop(fs::remove_file(self.path.join("filler"))),
        }
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        self.give_back();
        if let Some(name) = &self.quota
            && !destroy(name)
        {
            support::announce(&format!("LEFT {name}"));
        }
    }
}

fn free_bytes(path: &Path) -> u64 {
    let found = rustix::fs::statvfs(path).unwrap();
    found.f_bfree * found.f_frsize
}

fn zfs<const N: usize>(arguments: [&str; N]) -> String {
    let output = Command::new("zfs").args(arguments).output().expect("zfs(8)");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A jail that takes some room.
fn jail(place: &Place) -> Pool {
    let pool = Pool::with_jail(place, Size::Small);
    At::open(&pool.root("web01")).write("own", workload::noise(5, OWN_BYTES));
    pool
}

/// Runs with more and more room until that suffices; each time before, `unchanged` is asked whether all is as it was.
fn until_it_fits(tiny: &Tiny, run: impl Fn() -> Run, unchanged: impl Fn()) -> Ended {
    let (mut failed, mut last) = (0, String::new());
    for kib in ROOM {
        tiny.leave(kib);
        let ended = run().end();
        tiny.give_back();
        match ended.status {
            0 | 3 => {
                assert!(failed >= 3, "{failed} failures before: {}", ended.describe());
                return ended;
            }
            1 => {
                let told =
                    ended.stderr.contains("bytes were free") || ended.stderr.contains("bytes are free");
                assert!(told && ended.stderr.contains("need"), "with {kib} KiB: {}", ended.describe());
                unchanged();
                failed += 1;
                last = ended.describe();
            }
            _ => panic!("with {kib} KiB: {}", ended.describe()),
        }
    }
    panic!("it never fits: {last}");
}

fn same(wanted: &Pool, got: &Pool, name: &str) {
    let unseen = [wanted.unseen(), got.unseen()].concat();
    assert_same_without(&wanted.root("web01"), &got.root(name), &unseen);
}

#[test]
fn the_destination_of_an_export() {
    let Some(tiny) = Tiny::at("REMAND_TEST_TINY", "destination") else { return };
    let (source, room) = (jail(&Place::dir()), Scratch::below(&tiny.path));
    for name in ["a.tar.gz", "b.tar", "c.tar.zst", "d"] {
        let destination = room.join(name);
        let run = || remand(["export", "web01"]).on(&source).arg(&destination);
        until_it_fits(&tiny, run, || {
            assert_eq!((names(room.path()), source.remains()), (vec![], vec![]));
        });
        remand(["verify"]).arg(&destination).ends(0);
        if destination.is_dir() { fs::remove_dir_all(&destination) } else { fs::remove_file(&destination) }
            .unwrap();
    }
}

#[test]
fn an_archive_that_is_replaced() {
    let Some(tiny) = Tiny::at("REMAND_TEST_TINY", "destination") else { return };
    let (source, room) = (jail(&Place::dir()), Scratch::below(&tiny.path));
    let destination = room.join("a.tar");
    export(&source, "web01", &destination, &[]);
    let before = fs::read(&destination).unwrap();
    let run = || remand(["export", "--force", "web01"]).on(&source).arg(&destination);
    until_it_fits(&tiny, run, || assert!(fs::read(&destination).unwrap() == before));
    assert_eq!(names(room.path()), ["a.tar"]);
    remand(["verify"]).arg(&destination).ends(0);
}

#[test]
fn the_temporary_directory() {
    let group = "temporary directory";
    let Some(tiny) = Tiny::at("REMAND_TEST_TINY", group) else { return };
    // A native stream that goes into a pipe waits there until its length is known.
    let Some(place) = Place::btrfs("full: temporary directory") else { return };
    let source = jail(&place);
    let run = || {
        let run = remand(["export", "--standalone", "web01", "-"]).on(&source);
        run.env("TMPDIR", tiny.path.as_os_str())
    };
    let ended = until_it_fits(&tiny, run, || {
        assert_eq!((names(&tiny.path), source.remains()), (vec![], vec![]));
    });
    remand(["verify", "-"]).input(ended.stdout).ends(0);
}

/// A restore onto a pool without room, and an export from there.
fn the_pool(tiny: &Tiny) {
    let (scratch, source) = (Scratch::new(), jail(&Place::dir()));
    let archive = scratch.join("web01.tar.gz");
    export(&source, "web01", &archive, &[]);
    let target = Pool::with_release(&tiny.place(), Size::Small);
    let run = || remand(["restore"]).on(&target).arg(OsStr::new(&archive));
    until_it_fits(tiny, run, || {
        assert_eq!(target.jails(), [""; 0]);
        assert_eq!(target.remains(), [""; 0]);
    });
    same(&source, &target, "web01");
    // An export needs room in the pool for its records at least; what it does without, it says.
    for kib in ROOM {
        tiny.leave(kib);
        let destination = scratch.join(&format!("{kib}.tar.gz"));
        let ended = remand(["export", "web01"]).on(&target).arg(&destination).end();
        tiny.give_back();
        match ended.status {
            0 | 3 => drop(remand(["verify"]).arg(&destination).ends(0)),
            1 => {
                assert!(!destination.exists());
                ended.tells("free");
            }
            _ => panic!("with {kib} KiB: {}", ended.describe()),
        }
        remand(["cleanup", "--yes"]).on(&target).ends(0);
        assert_eq!(target.remains(), [""; 0]);
    }
    tiny.settle();
    remand(["export", "web01"]).on(&target).arg(scratch.join("last.tar.gz")).ends(0);
}

#[test]
fn a_pool_of_directories() {
    if let Some(tiny) = Tiny::at("REMAND_TEST_TINY", "pool") {
        the_pool(&tiny);
    }
}

#[test]
fn a_pool_on_btrfs() {
    if let Some(tiny) = Tiny::at("REMAND_TEST_TINY_BTRFS", "pool on btrfs") {
        the_pool(&tiny);
    }
}

#[test]
fn a_pool_on_zfs() {
    if !Path::new("/dev/zfs").exists() {
        return skipped(
            "full: pool on zfs",
            "needs a kernel with ZFS; zfs-fuse does not keep to small quotas",
        );
    }
    if let Some(tiny) = Tiny::zfs("full: pool") {
        the_pool(&tiny);
    }
}

#[test]
fn what_cannot_fit_is_refused_before_anything_is_written() {
    let Some(tiny) = Tiny::at("REMAND_TEST_TINY", "estimate") else { return };
    let (scratch, source) = (Scratch::new(), jail(&Place::dir()));
    let archive = scratch.join("web01.tar.gz");
    export(&source, "web01", &archive, &["--standalone"]);
    let target = Pool::empty(&tiny.place());
    tiny.leave(1024);
    let refused = remand(["restore", "-v"]).on(&target).arg(&archive).ends(1);
    tiny.give_back();
    refused.tells("bytes are needed for what the archive holds");
    assert!(!refused.stderr.contains("ImportRootDataset"), "{}", refused.describe());
    assert_eq!((target.jails(), target.remains()), (vec![], vec![]));
    // The archive takes little, the base that has to be copied takes more.
    let small = scratch.join("small.tar.gz");
    let target = Pool::with_release(&tiny.place(), Size::Small);
    At::open(&target.path("releases/base-1.0/root")).write("large", workload::noise(9, 8_000_000));
    let lean = Pool::with_release(&Place::dir(), Size::Small);
    At::open(&lean.path("releases/base-1.0/root")).write("large", workload::noise(9, 8_000_000));
    lean.jail("web01", "base-1.0", Size::Small);
    At::open(&lean.root("web01")).write("large", workload::noise(9, 8_000_000));
    export(&lean, "web01", &small, &[]);
    tiny.leave(4096);
    let refused = remand(["restore", "-v", "--allow-base-mismatch"]).on(&target).arg(&small).ends(1);
    tiny.give_back();
    refused.tells("on a copy of its base");
    assert!(!refused.stderr.contains("ImportRootDataset"), "{}", refused.describe());
    assert_eq!((target.jails(), target.remains()), (vec![], vec![]));
}
