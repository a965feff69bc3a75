//! A record as a row of the table `export`.

use rusqlite::types::Type;
use rusqlite::{Row, Transaction, named_params};

use super::{ExportRecord, ExportResult, Record, RecordId, kind_text};
use crate::resource::ResourceKind;

/// The columns that [`read`] takes, in its order.
pub(super) const COLUMNS: &str = "id, kind, name, revision, archive, original_name, host, run, snapshot, begun, ended, tool, \
     options, base, entries, members, content_bytes, archive_bytes, seal, destination, result, message, taken_over";

/// The database's integers end at 2^63.
fn integer(number: Option<u64>) -> Option<i64> {
    number.map(|number| i64::try_from(number).unwrap_or(i64::MAX))
}

fn unsigned(number: Option<i64>) -> Option<u64> {
    number.and_then(|number| u64::try_from(number).ok())
}

fn malformed(column: usize, what: &str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(
        column,
        Type::Text,
        format!("{what} cannot be understood").into(),
    )
}

/// The kind with this name.
pub(super) fn kind_of(text: &str, column: usize) -> rusqlite::Result<ResourceKind> {
    [ResourceKind::Jail, ResourceKind::Template, ResourceKind::Release, ResourceKind::Plain]
        .into_iter()
        .find(|kind| kind_text(*kind) == text)
        .ok_or_else(|| malformed(column, "the kind of a resource"))
}

/// Takes a row of [`COLUMNS`].
pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Record> {
    let result: String = row.get(20)?;
    let result = ExportResult::ALL.into_iter().find(|known| known.name() == result).unwrap_or_default();
    let options: String = row.get(12)?;
    let options = serde_json::from_str(&options).map_err(|_| malformed(12, "the options of an export"))?;
    let mut export = ExportRecord {
        revision: unsigned(row.get(3)?),
        archive: row.get(4)?,
        name: row.get(5)?,
        host: row.get(6)?,
        run: row.get(7)?,
        snapshot: row.get(8)?,
        begun: row.get(9)?,
        ended: row.get(10)?,
        tool: row.get(11)?,
        options,
        base: row.get(13)?,
        entries: unsigned(row.get(14)?),
        members: unsigned(row.get(15)?),
        content_bytes: unsigned(row.get(16)?),
        archive_bytes: unsigned(row.get(17)?),
        seal: row.get(18)?,
        destination: None,
        destination_b64: None,
        result,
        message: row.get(21)?,
    };
    if let Some(bytes) = row.get::<_, Option<Vec<u8>>>(19)? {
        export.set_destination(&bytes);
    }
    let kind: String = row.get(1)?;
    Ok(Record {
        id: RecordId(row.get(0)?),
        kind: kind_of(&kind, 1)?,
        name: row.get(2)?,
        taken_over: row.get(22)?,
        export,
    })
}

/// Writes a record; not if this resource has one of the same archive. Returns whether it did.
pub(super) fn insert(
    transaction: &Transaction<'_>,
    kind: ResourceKind,
    name: &str,
    taken_over: Option<&str>,
    export: &ExportRecord,
) -> rusqlite::Result<bool> {
    let options = serde_json::to_string(&export.options).unwrap_or_else(|_| "{}".into());
    let count = transaction.execute(
        "INSERT INTO export (kind, name, revision, archive, original_name, host, run, snapshot, begun, ended, tool, options,
             base, entries, members, content_bytes, archive_bytes, seal, destination, result, message, taken_over)
         VALUES (:kind, :name, :revision, :archive, :original_name, :host, :run, :snapshot, :begun, :ended, :tool, :options,
             :base, :entries, :members, :content_bytes, :archive_bytes, :seal, :destination, :result, :message, :taken_over)
         ON CONFLICT (kind, name, archive) DO NOTHING",
        named_params! {
            ":kind": kind_text(kind), ":name": name, ":revision": integer(export.revision), ":archive": export.archive,
            ":original_name": export.name, ":host": export.host, ":run": export.run, ":snapshot": export.snapshot,
            ":begun": export.begun, ":ended": export.ended, ":tool": export.tool, ":options": options,
            ":base": export.base, ":entries": integer(export.entries), ":members": integer(export.members),
            ":content_bytes": integer(export.content_bytes), ":archive_bytes": integer(export.archive_bytes),
            ":seal": export.seal, ":destination": export.destination(), ":result": export.result.name(),
            ":message": export.message, ":taken_over": taken_over,
        },
    )?;
    Ok(count > 0)
}

/// Says how the record ended, if that is not said yet. Returns whether it was so.
pub(super) fn finish(
    transaction: &Transaction<'_>,
    id: RecordId,
    outcome: &super::Outcome,
) -> rusqlite::Result<bool> {
    let count = transaction.execute(
        "UPDATE export SET ended = :ended, entries = :entries, members = :members, content_bytes = :content_bytes,
             archive_bytes = :archive_bytes, seal = :seal, result = :result, message = :message
         WHERE id = :id AND result = 'running'",
        named_params! {
            ":id": id.0, ":ended": crate::run::now(), ":entries": integer(outcome.entries),
            ":members": integer(outcome.members), ":content_bytes": integer(outcome.content_bytes),
            ":archive_bytes": integer(outcome.archive_bytes), ":seal": outcome.seal,
            ":result": outcome.result.name(), ":message": outcome.message,
        },
    )?;
    Ok(count > 0)
}
