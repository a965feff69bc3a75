//! Memory does not grow with what is exported.

use std::process::Stdio;
use std::time::Duration;

use crate::support::at::At;
use crate::support::pool::{Place, Pool, Size};
use crate::support::run::{Run, peak_bytes, remand};
use crate::support::{Scratch, skipped, workload};

const MIB: usize = 1 << 20;

/// Runs it to its end and returns the most memory that it had at once, in bytes, as the kernel counts it.
fn peak(run: Run) -> Option<usize> {
    let mut child = run.into_command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut most = None;
    while child.try_wait().unwrap().is_none() {
        most = most.max(peak_bytes(&child));
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(child.wait().unwrap().success());
    most
}

/// What a command may need at once: 64 MiB on two cores, and what further threads hold.
fn bound() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    64 * MIB + 8 * MIB * cores.saturating_sub(2)
}

#[track_caller]
fn keeps_to_the_bound(runs: impl IntoIterator<Item = (&'static str, Run)>) {
    for (what, run) in runs {
        match peak(run) {
            Some(bytes) => assert!(bytes < bound(), "{what} needed {} MiB", bytes / MIB),
            None => return skipped("memory", "there is no /proc"),
        }
    }
}

/// Twenty thousand files, and two thousand other names of some, in few directories that are large and many that are small.
#[test]
fn many_files_need_no_more_than_64_mib() {
    let scratch = Scratch::new();
    let (source, target) =
        (Pool::with_jail(&Place::dir(), Size::Small), Pool::with_release(&Place::dir(), Size::Small));
    let many = At::open(&source.root("web01")).mkdir("many");
    for number in 0..20_000 {
        let directory = if number % 2 == 0 { "large".to_owned() } else { format!("small-{}", number / 20) };
        if number % 20 == 1 || number == 0 {
            many.mkdir(&directory);
        }
        let directory = many.dir(&directory);
        directory.write(
            format!("file-{number}"),
            workload::noise(number, 100 + usize::try_from(number % 900).unwrap()),
        );
        if number % 10 == 0 {
            directory.link(format!("link-{number}"), &directory, format!("file-{number}"));
        }
    }
    let archive = scratch.join("a.tar.gz");
    let standalone = scratch.join("s.tar.zst");
    let on = |run: Run, pool: &Pool| run.on(pool).arg(&archive);
    keeps_to_the_bound([
        ("export", on(remand(["export", "web01"]), &source)),
        ("standalone export", remand(["export", "--standalone", "web01"]).on(&source).arg(&standalone)),
        ("verify", remand(["verify"]).arg(&archive)),
        ("ls", remand(["ls"]).arg(&archive)),
        ("diff", remand(["diff", "web01"]).on(&source)),
        ("diff of the archive", on(remand(["diff"]), &source)),
        ("restore", on(remand(["restore"]), &target)),
        ("restore of all", remand(["restore", "--name", "other"]).on(&target).arg(&standalone)),
    ]);
}

#[test]
fn large_files_need_no_more_than_64_mib() {
    let scratch = Scratch::new();
    let (source, target) =
        (Pool::with_jail(&Place::dir(), Size::Small), Pool::with_release(&Place::dir(), Size::Small));
    let srv = At::open(&source.root("web01")).dir("srv");
    let part = workload::noise(1, 20 * MIB);
    let parts: Vec<(u64, &[u8])> = (0..15).map(|number| (number * 20 * MIB as u64, &part[..])).collect();
    srv.write_sparse("large", 300 * MIB as u64, &parts);
    keeps_to_the_bound([
        ("export", remand(["export", "web01"]).on(&source).arg(scratch.join("a.tar.gz"))),
        ("verify", remand(["verify"]).arg(scratch.join("a.tar.gz"))),
        ("restore", remand(["restore"]).on(&target).arg(scratch.join("a.tar.gz"))),
    ]);
}
