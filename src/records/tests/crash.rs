//! What a killed process and a power cut leave.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;

#[test]
fn what_a_power_cut_leaves_of_a_change_is_undone() {
    let (state, after) = (state(), state());
    let records = Records::open(state.path()).unwrap();
    let first = begin(&records, "web01", "r", "a");
    let image = |name: &str| std::fs::copy(state.path().join(name), after.path().join(name)).unwrap();
    let mut connection = records.connection();
    let size = records.path().metadata().unwrap().len();
    database::in_transaction(&mut connection, |transaction| {
        transaction.execute_batch("PRAGMA cache_size = 5")?;
        for number in 0..500 {
            transaction.execute("INSERT INTO tag VALUES ('jail', ?1, 't')", [number.to_string()])?;
        }
        // The database has a part of the change already, and the journal what it was.
        assert!(image(FILE) > size);
        image(&format!("{FILE}-journal"));
        Ok(())
    })
    .unwrap();
    drop(connection);
    assert_eq!(records.all_annotations().unwrap().len(), 500);
    let left = Records::existing(after.path()).unwrap().unwrap();
    assert!(left.all_annotations().unwrap().is_empty());
    assert_eq!(left.all().unwrap(), [records.record(first.id).unwrap()]);
    assert_eq!(begin(&left, "web01", "r", "b").revision, 2);
}

const KILLED: &str = "REMAND_TEST_RECORDS_KILLED";

#[test]
#[ignore = "a part of the next test, which runs it in a process of its own"]
fn writes_until_it_is_killed() {
    let Some(state) = std::env::var_os(KILLED) else { return };
    let records = Records::open(Path::new(&state)).unwrap();
    loop {
        let archive = run::new_id();
        let begun = begin_all(&records, &[new("web01", "r", &archive), new("web02", "r", &archive)]).unwrap();
        let ends = begun.iter().map(|one| (one.id, Outcome::whole(&seal(), None, 0))).collect::<Vec<_>>();
        records.finish(&ends).unwrap();
        std::io::stderr().write_all(b".").unwrap();
    }
}

#[test]
fn a_process_that_is_killed_leaves_whole_records() {
    let state = state();
    let mut numbers = 0;
    for round in 0..8u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "records::tests::crash::writes_until_it_is_killed"])
            .env(KILLED, state.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut written = [0];
        let mut progress = child.stderr.take().unwrap();
        progress.read_exact(&mut written).expect("it writes");
        std::thread::sleep(Duration::from_millis(7 * round));
        child.kill().unwrap(); // SIGKILL
        child.wait().unwrap();
        let records = Records::open(state.path()).unwrap();
        let whole: String =
            records.connection().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(whole, "ok");
        // Both of a pair, or none: and the numbers are without gap and repetition.
        let [one, other] = ["web01", "web02"].map(|name| {
            let found = records.of(JAIL, name).unwrap();
            let mut revisions: Vec<_> = found.iter().filter_map(|record| record.export.revision).collect();
            revisions.sort_unstable();
            assert!(revisions.iter().copied().eq(1..=revisions.len() as u64), "{revisions:?}");
            revisions.len()
        });
        assert!(one == other && one > numbers, "{numbers}, {one}, {other}");
        numbers = one;
    }
}
