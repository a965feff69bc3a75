//! `remand log`.

use remand::error::Error;
use remand::records::{ExportRecord, ExportResult, Record, Records};
use remand::resource::{Selector, kind_name, label};
use remand::tree::path::printable;
use serde_json::{Value, json};

use super::args::Log;
use super::failure::Failure;
use super::render::{Console, Outcome, table::table, units};
use super::{Session, open_pool};

pub(super) fn run(session: &Session, args: &Log) -> Result<Outcome, Failure> {
    let pool = open_pool(&args.place, &args.place.config()?)?;
    let records = Records::existing_of_pool(&pool)?;
    let mut found = match (&args.name, &records) {
        (None, Some(records)) => records.all()?,
        (None, None) => Vec::new(),
        (Some(name), records) => {
            let selector: Selector = name.parse()?;
            let of = |records: &Records| records.of(selector.kind, &selector.name);
            let found = records.as_ref().map_or(Ok(Vec::new()), of)?;
            // A resource that is gone has a past; one that never was is a typo.
            if found.is_empty()
                && let Err(error @ Error::NoResource { .. }) = pool.resource(&selector)
            {
                return Err(error.into());
            }
            found
        }
    };
    let left_out = found.len().saturating_sub(args.number.unwrap_or(usize::MAX));
    found.truncate(args.number.unwrap_or(usize::MAX));
    show(&session.console, &found, left_out)
}

fn show(console: &Console, records: &[Record], left_out: usize) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::default();
    outcome.result.insert("command".into(), "log".into());
    outcome.result.insert("records".into(), records.len().into());
    outcome.result.insert("left_out".into(), left_out.into());
    if console.is_json() {
        for record in records {
            console.record("export", &json_record(record))?;
        }
    } else if records.is_empty() && left_out == 0 {
        outcome.summary.push("There are no exports on record".into());
    } else if console.verbosity() > 0 {
        let head = ["BEGUN", "RESOURCE", "REV", "BASE", "SIZE", "DESTINATION", "HOST", "SNAPSHOT", "RESULT"];
        let rows: Vec<_> = records.iter().map(long_row).collect();
        console.data(&table(head, &rows))?;
    } else {
        let rows: Vec<_> = records
            .iter()
            .map(|record| {
                let [begun, resource, revision, _, size, destination, _, _, result] = long_row(record);
                [begun, resource, revision, size, destination, result]
            })
            .collect();
        console.data(&table(["BEGUN", "RESOURCE", "REV", "SIZE", "DESTINATION", "RESULT"], &rows))?;
    }
    if left_out > 0 {
        outcome.summary.push(format!("{} earlier are not shown", units::count(left_out as u64)));
    }
    Ok(outcome)
}

fn long_row(record: &Record) -> [String; 9] {
    let export = &record.export;
    let resource = match &export.name {
        Some(name) => format!("{} (as {name})", label(record.kind, &record.name)),
        None => label(record.kind, &record.name),
    };
    let mut result = result(export);
    if record.taken_over.is_some() && !export.host.is_empty() {
        result = format!("{result}, on {}", export.host);
    }
    let dash = || "-".to_owned();
    [
        export.begun.clone(),
        resource,
        revision(export),
        export.base.clone().unwrap_or_else(dash),
        export.archive_bytes.map_or_else(dash, units::bytes),
        destination(export),
        export.host.clone(),
        export.snapshot.clone().unwrap_or_else(dash),
        result,
    ]
}

/// The number of an export, for people.
pub(super) fn revision(export: &ExportRecord) -> String {
    export.revision.map_or_else(|| "-".into(), |revision| revision.to_string())
}

/// Where it was written to, for people.
pub(super) fn destination(export: &ExportRecord) -> String {
    match export.destination().as_deref() {
        None => "-".into(),
        Some(b"-") => "standard output".into(),
        Some(path) => printable(path),
    }
}

/// How it ended, for people.
pub(super) fn result(export: &ExportRecord) -> String {
    let word = match export.result {
        ExportResult::Running => "running",
        ExportResult::Done => "done",
        ExportResult::Warnings => "done with warnings",
        ExportResult::Failed => "failed",
        ExportResult::Interrupted => "interrupted",
        ExportResult::Unknown => "unknown",
    };
    match (&export.message, export.result) {
        (Some(message), ExportResult::Failed) => format!("{word}: {message}"),
        (Some(message), ExportResult::Interrupted) if message != "Interrupted" => {
            format!("{word} ({message})")
        }
        _ => word.into(),
    }
}

/// A record for programs: as in a manifest, with what it is a record of.
fn json_record(record: &Record) -> Value {
    let mut value = json!({
        "kind": kind_name(record.kind),
        "resource": record.name,
        "taken_over": record.taken_over,
    });
    if let (Some(fields), Value::Object(export)) = (value.as_object_mut(), json!(record.export)) {
        fields.extend(export);
    }
    value
}
