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

#[test]
fn large_files_need_no_more_than_128_mib() {
    let scratch = Scratch::new();
    let (source, target) =
        (Pool::with_jail(&Place::dir(), Size::Small), Pool::with_release(&Place::dir(), Size::Small));
    let srv = At::open(&source.root("web01")).dir("srv");
    let part = workload::noise(1, 20 * MIB);
    let parts: Vec<(u64, &[u8])> = (0..15).map(|number| (number * 20 * MIB as u64, &part[..])).collect();
    srv.write_sparse("large", 300 * MIB as u64, &parts);
    for (what, run) in [
        ("export", remand(["export", "web01"]).on(&source).arg(scratch.join("a.tar.gz"))),
        ("verify", remand(["verify"]).arg(scratch.join("a.tar.gz"))),
        ("restore", remand(["restore"]).on(&target).arg(scratch.join("a.tar.gz"))),
    ] {
        match peak(run) {
            Some(bytes) => assert!(bytes < 128 * MIB, "{what} needed {} MiB", bytes / MIB),
            None => return skipped("memory", "there is no /proc"),
        }
    }
}
