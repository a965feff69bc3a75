//! Checks on this host that a backend tells every change: `native_diff zfs DATASET CASES [unlinking]`, `native_diff btrfs PATH
//! CASES [unlinking]` or `native_diff btrfs-send PATH CASES [unlinking]`. Each case works in datasets or subvolumes of its own below. With `unlinking` entries lose some of their
//! names too, which `zfs diff` is known to get wrong.

#[path = "../native_diff_suite.rs"]
mod suite;

use suite::{BtrfsPlace, Place, Plan, PoolPlace, run_all};

fn main() -> std::process::ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (kind, pool, cases, unlinking) = match arguments[..] {
        [kind @ ("zfs" | "btrfs" | "btrfs-send"), pool, cases] => (kind, pool, cases.parse(), false),
        [kind @ ("zfs" | "btrfs" | "btrfs-send"), pool, cases, "unlinking"] => {
            (kind, pool, cases.parse(), true)
        }
        _ => ("", "", "".parse::<u64>(), false),
    };
    let Ok(cases) = cases else {
        eprintln!("usage: native_diff zfs|btrfs|btrfs-send DATASET|PATH CASES [unlinking]");
        return 2.into();
    };
    let plan = Plan { before: 60, after: 30, unlinking };
    let make = |seed| -> Box<dyn Place> {
        match kind {
            "zfs" => Box::new(PoolPlace::new(pool, seed)),
            "btrfs-send" => Box::new(BtrfsPlace::sent(pool, seed)),
            _ => Box::new(BtrfsPlace::new(pool, seed)),
        }
    };
    if run_all(kind, 0..cases, plan, &make).is_empty() { 0.into() } else { 1.into() }
}
