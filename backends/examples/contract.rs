//! Runs the contract suite on a pool of this host: `contract zfs DATASET [CASE]`, `contract btrfs PATH [CASE]` or
//! `contract dir PATH [CASE]`. Each case works in a dataset or directory of its own below, which must not exist, and is removed
//! afterwards unless the case failed.

#[path = "../contract.rs"]
mod contract;

fn main() -> std::process::ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let (kind, pool, filter) = match arguments[..] {
        [kind @ ("zfs" | "btrfs" | "dir"), pool] => (kind, pool, ""),
        [kind @ ("zfs" | "btrfs" | "dir"), pool, filter] => (kind, pool, filter),
        _ => {
            eprintln!(
                "usage: contract zfs DATASET [CASE] | contract btrfs PATH [CASE] | contract dir PATH [CASE]"
            );
            return 2.into();
        }
    };
    let failed = contract::run(kind, filter, &|case| match kind {
        "zfs" => contract::zfs_fixture(pool, case),
        "btrfs" => contract::btrfs_fixture(pool.as_ref(), case),
        _ => contract::dir_fixture(pool.as_ref(), case),
    });
    if failed.is_empty() {
        return 0.into();
    }
    eprintln!("failed: {}", failed.join(", "));
    1.into()
}
