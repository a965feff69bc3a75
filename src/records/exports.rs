//! Records of exports.

use rusqlite::{Params, Transaction};

use super::{Begun, ExportRecord, ExportResult, NewRecord, Outcome, Record, RecordId, Records, TRAVELLING};
use super::{TRAVELLING_TOGETHER, kind_text, row};
use crate::error::{Error, Result};
use crate::resource::ResourceKind;
use crate::run;

/// What a record says whose run is dead.
const GONE: &str = "the process is gone";

const NEWEST_FIRST: &str = "ORDER BY begun DESC, id DESC";

impl Records {
    /// Notes that exports begin, all or none, and numbers them. `numbered` is told the numbers, in the same order, before they are durable;
    /// they are when this returns without an error.
    pub fn begin(&self, new: &[NewRecord<'_>], numbered: impl FnOnce(&[Begun])) -> Result<()> {
        self.change("write", |transaction| {
            let begun: rusqlite::Result<Vec<_>> = new
                .iter()
                .map(|new| {
                    let revision = next_revision(transaction, new.kind, new.name)?;
                    row::insert(transaction, new.kind, new.name, None, &running(new, revision))?
                        .then(|| Begun { id: RecordId(transaction.last_insert_rowid()), revision })
                        .ok_or(rusqlite::Error::StatementChangedRows(0))
                })
                .collect();
            numbered(&begun?);
            Ok(())
        })
    }

    /// Notes how exports ended.
    ///
    /// # Errors
    /// Also where one of them had ended already.
    pub fn finish(&self, outcomes: &[(RecordId, Outcome)]) -> Result<()> {
        self.change("write", |transaction| {
            for (id, outcome) in outcomes {
                if !row::finish(transaction, *id, outcome)? {
                    return Err(rusqlite::Error::StatementChangedRows(0));
                }
            }
            Ok(())
        })
    }

    /// All records of a resource, the newest first.
    pub fn of(&self, kind: ResourceKind, name: &str) -> Result<Vec<Record>> {
        self.read(&format!("WHERE kind = ?1 AND name = ?2 {NEWEST_FIRST}"), (kind_text(kind), name))
    }

    /// All records of the pool, the newest first.
    pub fn all(&self) -> Result<Vec<Record>> {
        self.read(NEWEST_FIRST, ())
    }

    /// The exports of a resource that have ended, for the manifest of the next one of `together` resources: the newest first, at
    /// most [`TRAVELLING`], and the fewer the more resources there are.
    pub fn earlier(&self, kind: ResourceKind, name: &str, together: usize) -> Result<Vec<ExportRecord>> {
        let most = TRAVELLING_TOGETHER.checked_div(together).unwrap_or(TRAVELLING).clamp(1, TRAVELLING);
        // No more than one goes on: it has the resource's lock.
        let newest = format!("WHERE kind = ?1 AND name = ?2 {NEWEST_FIRST} LIMIT {}", most + 1);
        let ended = self
            .read(&newest, (kind_text(kind), name))?
            .into_iter()
            .filter(|record| record.export.result != ExportResult::Running);
        Ok(ended.take(most).map(|record| record.export).collect())
    }

    fn read(&self, which: &str, parameters: impl Params + Copy) -> Result<Vec<Record>> {
        let query = format!("SELECT {} FROM export {which}", row::COLUMNS);
        let fetch = || self.look("read", |transaction| fetch(transaction, &query, parameters));
        let mut found = fetch()?;
        if !found.iter().any(is_running) {
            return Ok(found);
        }
        let alive = run::alive(&self.state)?;
        let is_dead = |record: &Record| {
            is_running(record) && record.export.run.as_ref().is_none_or(|run| !alive.contains(run))
        };
        if found.iter().any(is_dead) {
            // A run that ends says so here before its own record goes. So what is no longer alive and still said to be running
            // after that was seen is dead; what began since is not among `alive` either, and left out.
            let seen = found.iter().map(|record| record.id.0).max().unwrap_or(0);
            found = fetch()?;
            for record in found.iter_mut().filter(|record| record.id.0 <= seen && is_dead(record)) {
                record.export.result = ExportResult::Interrupted;
                record.export.message = Some(GONE.into());
            }
        }
        Ok(found)
    }

    /// The record with this identity.
    pub fn record(&self, id: RecordId) -> Result<Record> {
        let found = self.read("WHERE id = ?1", (id.0,))?.into_iter().next();
        found.ok_or_else(|| Error::NoResource {
            what: format!("record {}", id.0),
            pool: self.path.display().to_string(),
        })
    }
}

fn is_running(record: &Record) -> bool {
    record.export.result == ExportResult::Running && record.taken_over.is_none()
}

fn fetch(
    transaction: &Transaction<'_>,
    query: &str,
    parameters: impl Params,
) -> rusqlite::Result<Vec<Record>> {
    transaction.prepare(query)?.query_map(parameters, row::read)?.collect()
}

fn next_revision(transaction: &Transaction<'_>, kind: ResourceKind, name: &str) -> rusqlite::Result<u64> {
    let revision: i64 = transaction.query_row(
        "INSERT INTO resource (kind, name, last_revision) VALUES (?1, ?2, 1)
         ON CONFLICT (kind, name) DO UPDATE SET last_revision = last_revision + 1
         RETURNING last_revision",
        (kind_text(kind), name),
        |row| row.get(0),
    )?;
    Ok(u64::try_from(revision).unwrap_or(0))
}

fn running(new: &NewRecord<'_>, revision: u64) -> ExportRecord {
    use std::os::unix::ffi::OsStrExt;
    let mut record = ExportRecord {
        revision: Some(revision),
        archive: new.archive.to_owned(),
        host: run::host_name(),
        run: Some(new.run.to_owned()),
        snapshot: new.snapshot.map(str::to_owned),
        begun: run::now(),
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        options: new.options.clone(),
        base: new.base.clone(),
        result: ExportResult::Running,
        ..ExportRecord::default()
    };
    record.set_destination(new.destination.map_or(b"-", |path| path.as_os_str().as_bytes()));
    record
}
