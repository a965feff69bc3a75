//! Times what the ZFS engines do in different ways: `engines DATASET`, which has all below it, prints the milliseconds of
//! a recursive snapshot, of sending it (the dataset alone) to nowhere, and of destroying it, then the bytes sent. `REMAND_ZFS_ENGINE`
//! says by which engine, `process` or `libzetta`.

use remand_backends::{Backend, DatasetName, SendOptions, SnapshotName, Streams, zfs::Zfs};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dataset = std::env::args().nth(1).ok_or("usage: engines DATASET")?;
    let pool = Zfs::open(&dataset)?.ok_or_else(|| format!("There is no dataset {dataset}"))?;
    let (all, name) = (DatasetName::pool(), SnapshotName::new("engines")?);

    let begin = Instant::now();
    let created = pool.snapshot(&all, &name, true)?;
    let snapshot_time = begin.elapsed();

    let begin = Instant::now();
    let snapshot = created.snapshot().clone();
    let bytes = pool
        .send(&snapshot, SendOptions::default())
        .map(|mut stream| std::io::copy(&mut stream, &mut std::io::sink()));
    let send_time = begin.elapsed();

    let begin = Instant::now();
    pool.destroy_snapshot(created).map_err(|kept| kept.error)?;
    let destroy_time = begin.elapsed();

    let [snapshot, send, destroy] =
        [snapshot_time, send_time, destroy_time].map(|time| time.as_secs_f64() * 1000.0);
    println!("{snapshot:.1} {send:.1} {destroy:.1} {}", bytes??);
    Ok(())
}
