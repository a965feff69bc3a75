//! What a killed process and a power cut leave.

use std::io::{Read as _, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;

/// Uses a log or a journal, whatever the file system is.
fn choose(connection: &Connection, journal: &str) {
    let chosen: String =
        connection.query_row(&format!("PRAGMA journal_mode = {journal}"), [], |row| row.get(0)).unwrap();
    assert_eq!(chosen, journal.to_lowercase());
}

/// What is left when the power goes in the middle of a change, with its beginning in the database or the log already.
fn cut_off(journal: &str, file: &str) {
    let (state, after) = (state(), state());
    let records = Records::open(state.path()).unwrap();
    let first = begin(&records, "web01", "r", "a");
    let image = |name: &str| std::fs::copy(state.path().join(name), after.path().join(name)).unwrap();
    let grown = state.path().join(if journal == "WAL" { file } else { FILE });
    let mut connection = records.connection();
    choose(&connection, journal);
    let size = grown.metadata().unwrap().len();
    database::in_transaction(&mut connection, |transaction| {
        transaction.execute_batch("PRAGMA cache_size = 5")?;
        for number in 0..500 {
            transaction.execute("INSERT INTO tag VALUES ('jail', ?1, 't')", [number.to_string()])?;
        }
        assert!(grown.metadata().unwrap().len() > size);
        image(FILE);
        image(file);
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

#[test]
fn what_a_power_cut_leaves_of_a_change_is_undone() {
    cut_off("WAL", &format!("{FILE}-wal"));
    cut_off("DELETE", &format!("{FILE}-journal"));
}

#[test]
fn what_is_in_the_log_alone_is_found_and_the_log_of_a_database_that_is_gone_is_not() {
    let state = state();
    let records = Records::open(state.path()).unwrap();
    choose(&records.connection(), "WAL");
    let begun = begin(&records, "web01", "r", "a");
    records.finish(&[(begun.id, Outcome::whole(&seal(), None, 0))]).unwrap();
    drop(records);
    let log = state.path().join(format!("{FILE}-wal"));
    assert!(log.metadata().unwrap().len() > 0, "closing the records does not empty it");
    let found = Records::existing(state.path()).unwrap().unwrap().all().unwrap();
    assert_eq!(found[0].export.result, ExportResult::Done);

    std::fs::remove_file(state.path().join(FILE)).unwrap();
    let records = Records::open(state.path()).unwrap();
    assert!(records.all().unwrap().is_empty());
    assert_eq!(begin(&records, "web01", "r", "a").revision, 1);
}

#[test]
fn the_log_does_not_grow_without_end() {
    let state = state();
    for number in 0..60 {
        let records = Records::open(state.path()).unwrap();
        choose(&records.connection(), "WAL");
        let begun = begin(&records, "web01", "r", &number.to_string());
        records.finish(&[(begun.id, Outcome::whole(&seal(), None, 0))]).unwrap();
    }
    let log = state.path().join(format!("{FILE}-wal")).metadata().unwrap().len();
    assert!(log < 512 << 10, "{log}");
    assert_eq!(Records::existing(state.path()).unwrap().unwrap().all().unwrap().len(), 60);
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
