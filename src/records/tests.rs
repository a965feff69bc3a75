//! The records, looked at from outside and by several at once.

mod crash;

use std::collections::BTreeSet;
use std::os::unix::fs::{PermissionsExt, symlink};

use super::*;
use crate::archive::Digest;
use crate::archive::manifest::Manifest;
use crate::run::{self, Run};

const JAIL: ResourceKind = ResourceKind::Jail;

fn state() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

fn new<'a>(name: &'a str, run: &'a str, archive: &'a str) -> NewRecord<'a> {
    NewRecord {
        kind: JAIL,
        name,
        run,
        archive,
        snapshot: Some(run),
        options: BTreeMap::from([("recursive".to_owned(), true.into())]),
        base: Some("14.2-RELEASE@p3".into()),
        destination: Some(Path::new("/backup/web01.tar.gz")),
    }
}

/// Begins the export of one jail.
fn begin(records: &Records, name: &str, run: &str, archive: &str) -> Begun {
    begin_all(records, &[new(name, run, archive)]).unwrap()[0]
}

fn begin_all(records: &Records, new: &[NewRecord<'_>]) -> crate::error::Result<Vec<Begun>> {
    let mut all = Vec::new();
    records.begin(new, |begun| all = begun.to_vec())?;
    Ok(all)
}

fn seal() -> Seal {
    Seal { entries: 5, members: 4, bytes: 300, digest: Digest::from(blake3::hash(b"seal")) }
}

fn words(list: &[&str]) -> Vec<String> {
    list.iter().map(|word| (*word).to_owned()).collect()
}

#[test]
fn an_export_is_remembered_from_begin_to_end() {
    let state = state();
    let records = Records::open(state.path()).unwrap();
    let run =
        Run::begin(state.path(), run::new_id(), &run::Record::new("export", "jail web01".into())).unwrap();
    let first = begin(&records, "web01", run.id(), "a1");
    assert_eq!(first.revision, 1);
    let record = records.record(first.id).unwrap();
    assert_eq!((record.export.result, record.export.ended.is_some()), (ExportResult::Running, false));
    assert!(records.earlier(JAIL, "web01", 1).unwrap().is_empty());

    records.finish(&[(first.id, Outcome::whole(&seal(), Some(99), 0))]).unwrap();
    run.end().unwrap();
    let record = records.record(first.id).unwrap();
    assert_eq!(record.export.result, ExportResult::Done);
    assert_eq!((record.export.entries, record.export.archive_bytes), (Some(5), Some(99)));
    assert_eq!(record.export.destination.as_deref(), Some("/backup/web01.tar.gz"));
    assert_eq!(record.export.options["recursive"], true);
    assert_eq!(record.export.seal, Some(seal().digest.to_string()));

    // It has ended once and for all.
    assert!(records.finish(&[(first.id, Outcome::default())]).is_err());
    assert_eq!(records.record(first.id).unwrap(), record);

    assert_eq!(records.earlier(JAIL, "web01", 1).unwrap(), [record.export]);
    let second = begin(&records, "web01", "remand-20260101T000000Z-01234567", "a2");
    assert_eq!(second.revision, 2);
    assert_eq!(begin(&records, "other", "r", "a2").revision, 1);
    assert_eq!(records.of(JAIL, "web01").unwrap().len(), 2);
    assert_eq!(records.all().unwrap().len(), 3);
    assert!(records.of(ResourceKind::Release, "web01").unwrap().is_empty());
}

#[test]
fn a_record_of_a_dead_run_says_so_and_one_of_a_living_run_does_not() {
    let state = state();
    let records = Records::open(state.path()).unwrap();
    let record = run::Record::new("export", "jail web01".into());
    let run = Run::begin(state.path(), run::new_id(), &record).unwrap();
    let begun = begin(&records, "web01", run.id(), "a");
    assert_eq!(records.record(begun.id).unwrap().export.result, ExportResult::Running);
    drop(run); // as a crash does
    let found = records.record(begun.id).unwrap().export;
    assert_eq!(
        (found.result, found.message.as_deref()),
        (ExportResult::Interrupted, Some("the process is gone"))
    );
    assert_eq!(records.earlier(JAIL, "web01", 1).unwrap()[0].result, ExportResult::Interrupted);
}

#[test]
fn failures_and_interruptions_are_told_apart() {
    let failed = Outcome::failed(&Error::Unsupported("It cannot be".into()));
    assert_eq!((failed.result, failed.message.as_deref()), (ExportResult::Failed, Some("It cannot be")));
    assert_eq!(Outcome::failed(&Error::Interrupted).result, ExportResult::Interrupted);
    assert_eq!(Outcome::whole(&seal(), None, 2).result, ExportResult::Warnings);
}

#[test]
fn several_begin_together_or_not_at_all() {
    let state = state();
    let records = Records::open(state.path()).unwrap();
    begin(&records, "web02", "r", "a");
    // The second has a record of this archive already.
    begin_all(&records, &[new("web01", "r", "a"), new("web02", "r", "a")]).unwrap_err();
    assert!(records.of(JAIL, "web01").unwrap().is_empty());
    let begun = begin_all(&records, &[new("web01", "r", "b"), new("web02", "r", "b")]).unwrap();
    assert_eq!([begun[0].revision, begun[1].revision], [1, 2]);
}

#[test]
fn annotations_are_kept_and_listed() {
    let state = state();
    let records = Records::open(state.path()).unwrap();
    assert!(records.annotations(JAIL, "web01").unwrap().is_empty());
    records.tag(JAIL, "web01", &words(&["www", "daily", "www"])).unwrap();
    records.set_note(JAIL, "web01", Some("main\nsite")).unwrap();
    let now = records.set_keep(JAIL, "web01", true).unwrap();
    let wanted = Annotations { tags: words(&["daily", "www"]), note: Some("main\nsite".into()), keep: true };
    assert_eq!(now, wanted);
    let release = records.tag(ResourceKind::Release, "14.2", &words(&["x"])).unwrap();
    let all = records.all_annotations().unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(all[&(JAIL, "web01".to_owned())], wanted);
    assert_eq!(all[&(ResourceKind::Release, "14.2".to_owned())], release);

    records.untag(JAIL, "web01", &words(&["www", "none"])).unwrap();
    records.set_note(JAIL, "web01", None).unwrap();
    let now = records.set_keep(JAIL, "web01", false).unwrap();
    assert_eq!(now, Annotations { tags: words(&["daily"]), ..Annotations::default() });
    assert!(records.tag(JAIL, "web01", &words(&["good", "b@d"])).is_err());
    assert!(records.set_note(JAIL, "web01", Some(&"x".repeat(NOTE_BYTES + 1))).is_err());
    assert_eq!(records.annotations(JAIL, "web01").unwrap(), now);
    // A number is given once, whatever else is known of the resource.
    assert_eq!(begin(&records, "web01", "r", "a").revision, 1);
}

/// A manifest with one jail, which has two earlier exports.
fn foreign() -> Manifest {
    let mut manifest: Manifest = serde_json::from_value(serde_json::json!({
        "format": "remand-archive",
        "version": { "major": 1, "minor": 2 },
        "tool": { "name": "remand", "version": "0.1.0" },
        "id": "00112233445566778899aabbccddeeff",
        "created": "2026-01-07T03:04:05Z",
        "host": { "name": "host-a" },
        "resources": [{
            "kind": "jail", "name": "web01", "layout": "libioc", "backend": "zfs", "mountpoint": "/jails/web01",
            "prefix": "./", "mode": "differential", "consistent": true, "datasets": []
        }]
    }))
    .unwrap();
    let earlier = |revision: u64| ExportRecord {
        revision: Some(revision),
        archive: format!("old{revision}"),
        host: "host-a".into(),
        begun: format!("2026-01-0{revision}T00:00:00Z"),
        result: ExportResult::Done,
        ..ExportRecord::default()
    };
    let record = &mut manifest.resources[0];
    record.records = vec![earlier(6), earlier(5)];
    record.revision = Some(7);
    record.tags = words(&["daily"]);
    record.note = Some("theirs".into());
    record.keep = true;
    manifest
}

#[test]
fn what_comes_with_an_archive_is_taken_over_once() {
    let state = state();
    let records = Records::open(state.path()).unwrap();
    let manifest = foreign();
    records.tag(JAIL, "web02", &words(&["own"])).unwrap();
    for _ in 0..2 {
        let refused = records.restored(JAIL, "web02", &manifest, &manifest.resources[0], &seal()).unwrap();
        assert!(refused.is_empty(), "{refused:?}");
    }
    let found = records.of(JAIL, "web02").unwrap();
    let told: Vec<_> = found
        .iter()
        .map(|record| {
            let export = &record.export;
            assert!(record.taken_over.is_some());
            (export.revision, export.host.as_str(), export.name.as_deref(), export.archive.as_str())
        })
        .collect();
    let own = manifest.id.as_str();
    assert_eq!(
        told,
        [
            (Some(7), "host-a", Some("web01"), own),
            (Some(6), "host-a", Some("web01"), "old6"),
            (Some(5), "host-a", Some("web01"), "old5"),
        ]
    );
    let annotations = records.annotations(JAIL, "web02").unwrap();
    let wanted = Annotations { tags: words(&["daily", "own"]), note: Some("theirs".into()), keep: true };
    assert_eq!(annotations, wanted);
    assert_eq!(begin(&records, "web02", "r", "new").revision, 8);
}

#[test]
fn the_pools_own_records_and_notes_win_over_an_archives() {
    let state = state();
    let records = Records::open(state.path()).unwrap();
    let manifest = foreign();
    let own = begin(&records, "web01", "r", &manifest.id);
    records.set_note(JAIL, "web01", Some("ours")).unwrap();
    records.restored(JAIL, "web01", &manifest, &manifest.resources[0], &seal()).unwrap();
    let found = records.of(JAIL, "web01").unwrap();
    assert_eq!(found.len(), 3);
    let same = found.iter().find(|record| record.id == own.id).unwrap();
    assert!(same.taken_over.is_none() && same.export.revision == Some(1));
    assert!(found.iter().all(|record| record.export.name.is_none()));
    assert_eq!(records.annotations(JAIL, "web01").unwrap().note.as_deref(), Some("ours"));
}

#[test]
fn what_an_archive_makes_up_is_refused_by_name() {
    let state = state();
    let records = Records::open(state.path()).unwrap();
    let mut manifest = foreign();
    let record = &mut manifest.resources[0];
    record.tags = words(&["good", "-bad", "b\u{1b}d"]);
    record.note = Some("x".repeat(NOTE_BYTES + 1));
    record.revision = Some(u64::MAX);
    record.records[0].result = ExportResult::Running;
    record.records.extend(vec![ExportRecord::default(); 100]);
    let refused = records.restored(JAIL, "web01", &manifest, &manifest.resources[0], &seal()).unwrap();
    assert_eq!(refused.len(), 4, "{refused:?}");
    assert_eq!(records.annotations(JAIL, "web01").unwrap().tags, ["good"]);
    assert!(records.of(JAIL, "web01").unwrap().len() <= TRAVELLING + 1);
    assert!(records.of(JAIL, "web01").unwrap().iter().all(|one| one.export.result != ExportResult::Running));
    assert_eq!(begin(&records, "web01", "r", "new").revision, 7);
}

#[test]
fn a_new_name_takes_everything_along() {
    let state = state();
    let records = Records::open(state.path()).unwrap();
    begin(&records, "old", "r", "a");
    begin(&records, "old", "r", "b");
    records.tag(JAIL, "old", &words(&["t"])).unwrap();
    records.set_keep(JAIL, "old", true).unwrap();
    begin(&records, "new", "r", "c");
    records.rename(JAIL, "old", "new").unwrap();
    assert!(records.of(JAIL, "old").unwrap().is_empty());
    let names: Vec<_> =
        records.of(JAIL, "new").unwrap().into_iter().map(|record| record.export.name).collect();
    assert_eq!(names.iter().filter(|name| name.as_deref() == Some("old")).count(), 2);
    assert_eq!(names.len(), 3);
    let wanted = Annotations { tags: words(&["t"]), note: None, keep: true };
    assert_eq!(records.annotations(JAIL, "new").unwrap(), wanted);
    assert!(records.annotations(JAIL, "old").unwrap().is_empty());
    assert_eq!(begin(&records, "new", "r", "d").revision, 3);
    records.rename(JAIL, "new", "new").unwrap();
    assert_eq!(records.of(JAIL, "new").unwrap().len(), 4);
}

#[test]
fn revisions_are_distinct_whoever_begins_at_the_same_time() {
    let state = state();
    let given = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (state, given) = (state.path(), &given);
            scope.spawn(move || {
                // Also the database is made by several at once.
                let records = Records::open(state).unwrap();
                for number in 0..5 {
                    let begun = begin(&records, "web01", "r", &format!("{thread}-{number}"));
                    given.lock().unwrap().push(begun.revision);
                }
            });
        }
    });
    let given: BTreeSet<u64> = given.into_inner().unwrap().into_iter().collect();
    assert_eq!(given, (1..=20).collect());
}

#[test]
fn the_file_is_private_and_no_link_is_followed() {
    let state = state();
    assert!(Records::existing(state.path()).unwrap().is_none());
    let records = Records::open(state.path()).unwrap();
    let mode = records.path().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);
    drop(records);
    assert!(Records::existing(state.path()).unwrap().is_some());

    let elsewhere = tempfile::tempdir().unwrap();
    std::fs::rename(state.path().join(FILE), elsewhere.path().join(FILE)).unwrap();
    symlink(elsewhere.path().join(FILE), state.path().join(FILE)).unwrap();
    for error in [Records::open(state.path()).unwrap_err(), Records::existing(state.path()).unwrap_err()] {
        assert!(error.to_string().contains("no regular file"), "{error}");
    }
    // A link on the way to the pool is the administrator's.
    let way = elsewhere.path().join("way");
    let pool = tempfile::tempdir().unwrap();
    symlink(pool.path(), &way).unwrap();
    Records::open(&way).unwrap();
    assert!(pool.path().join(FILE).is_file());
}

#[test]
fn the_more_resources_an_archive_has_the_fewer_exports_of_each_travel_with_it() {
    let state = state();
    let records = Records::open(state.path()).unwrap();
    let run =
        Run::begin(state.path(), run::new_id(), &run::Record::new("export", "jail web01".into())).unwrap();
    for export in 0..25 {
        let begun = begin(&records, "web01", run.id(), &format!("a{export}"));
        records.finish(&[(begun.id, Outcome::whole(&seal(), None, 0))]).unwrap();
    }
    let travelling = |together| {
        let archive = |export: ExportRecord| export.archive;
        let found = records.earlier(JAIL, "web01", together).unwrap();
        found.into_iter().map(archive).collect::<Vec<_>>()
    };
    assert_eq!(travelling(1).len(), 20);
    assert_eq!(travelling(10), travelling(1));
    assert_eq!(travelling(50), ["a24", "a23", "a22", "a21"]);
    assert_eq!(travelling(10_000), ["a24"]);
}

#[test]
fn an_older_database_gets_what_is_new_and_keeps_what_it_has() {
    let state = state();
    let records = Records::open(state.path()).unwrap();
    let begun = begin(&records, "web01", "run", "a1");
    records.finish(&[(begun.id, Outcome::whole(&seal(), None, 0))]).unwrap();
    let before = records.all().unwrap();
    records.connection().execute_batch("DROP INDEX newest_export; PRAGMA user_version = 1").unwrap();
    drop(records);

    let records = Records::existing(state.path()).unwrap().unwrap();
    assert_eq!(records.all().unwrap(), before);
    let plan: String = records
        .connection()
        .query_row(
            "EXPLAIN QUERY PLAN SELECT * FROM export WHERE kind = '' AND name = '' ORDER BY begun DESC, id DESC",
            [],
            |row| row.get(3),
        )
        .unwrap();
    assert!(plan.contains("newest_export"), "{plan}");
}

#[test]
fn newer_foreign_and_broken_databases_are_refused_and_not_touched() {
    let state = state();
    let path = Records::open(state.path()).unwrap().path().to_owned();
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 3").unwrap();
    let newer = Records::open(state.path()).unwrap_err();
    assert!(newer.to_string().contains("are of version 3"), "{newer}");
    assert!(Records::existing(state.path()).is_err());

    std::fs::remove_file(&path).unwrap();
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
    let foreign = Records::open(state.path()).unwrap_err();
    assert!(foreign.to_string().contains("of something else"), "{foreign}");

    let text = "this is no database\n".repeat(100);
    std::fs::write(&path, &text).unwrap();
    let broken = Records::open(state.path()).unwrap_err();
    assert!(matches!(broken, Error::Records { .. }) && broken.hint().is_some(), "{broken}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn an_empty_file_is_no_records_yet() {
    let state = state();
    std::fs::write(state.path().join(FILE), "").unwrap();
    assert!(Records::existing(state.path()).unwrap().is_none());
    assert!(Records::open(state.path()).unwrap().all().unwrap().is_empty());
}
