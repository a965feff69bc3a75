//! What a pool remembers of its resources: every export, and the tags, the note and the keep flag that people gave.
//!
//! It is a database of `SQLite`, `.remand/records.db`. Several processes write to it at the same time; each change is one transaction, durable
//! when the call returns. On the file systems of the kernel changes go to a log beside it (`-wal`, with an index in shared memory, `-shm`); on
//! others, such as a network's, there is a rollback journal instead and no shared memory, so any serves that has file locks.
//!
//! **What holds.** A revision number is given once to a resource, in the transaction that writes the record's begin. A database of
//! a newer version is refused and not touched. The file is readable by root alone, and opened through no symbolic link.
//!
//! **What a crash leaves.** A log or a journal beside the database, by which the next one to open it has the last whole state; and the record
//! of the export as `running`. Its run is dead then ([`crate::run`]), and whoever reads the record is told that it was interrupted.
//!
//! **Where it is broken or cannot be written.** The records serve the exports, not the other way round: an export goes on without
//! them, has no revision number, and warns (status 3). If the write itself fails, which goes on beside the export, its manifest has the number
//! already, and the next export gets the same. What was asked for and cannot be answered without them (`@TAG`, `log`) is an error.
//!
//! The keep flag is for the people and tools that prune archives and snapshots: it is shown and travels along. remand prunes nothing, so it
//! changes nothing that remand does; an explicit `--force` replaces an archive of such a resource too.

mod annotations;
mod database;
mod exports;
mod foreign;
mod row;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use crate::archive::index::Seal;
pub use crate::archive::record::{ExportRecord, ExportResult};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::resource::ResourceKind;

/// Name of the database in the pool's state directory.
pub const FILE: &str = "records.db";
/// How many earlier exports of a resource travel with an archive, at most.
pub const TRAVELLING: usize = 20;
/// How many of all its resources, at most: what is at the head of an archive stays small. The newest one of each travels always.
const TRAVELLING_TOGETHER: usize = 200;
/// Most bytes of a note.
pub const NOTE_BYTES: usize = 64 << 10;

/// A pool's records, open.
#[derive(Debug)]
pub struct Records {
    connection: Mutex<Connection>,
    path: PathBuf,
    state: PathBuf,
}

/// Identity of a record in its database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordId(i64);

/// An export that begins, of one resource.
#[derive(Clone, Debug)]
pub struct NewRecord<'a> {
    /// Kind.
    pub kind: ResourceKind,
    /// Name.
    pub name: &'a str,
    /// The run, which must have begun: else it counts as dead.
    pub run: &'a str,
    /// Identity of the archive.
    pub archive: &'a str,
    /// The snapshot that it is read from.
    pub snapshot: Option<&'a str>,
    /// The options.
    pub options: BTreeMap<String, serde_json::Value>,
    /// What it is a difference from.
    pub base: Option<String>,
    /// Absolute path; `None` for standard output.
    pub destination: Option<&'a Path>,
}

/// A record that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Which.
    pub id: RecordId,
    /// The number of this export among those of the resource.
    pub revision: u64,
}

/// How an export ended. What is not known stays out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How.
    pub result: ExportResult,
    /// What went wrong, or was warned of.
    pub message: Option<String>,
    /// Index lines, of the resource where it is known, else of the archive.
    pub entries: Option<u64>,
    /// Members.
    pub members: Option<u64>,
    /// Bytes of content.
    pub content_bytes: Option<u64>,
    /// Bytes that the whole archive takes.
    pub archive_bytes: Option<u64>,
    /// Digest of the seal.
    pub seal: Option<String>,
}

impl Outcome {
    /// A whole archive with this seal.
    pub fn whole(seal: &Seal, archive_bytes: Option<u64>, warnings: u64) -> Self {
        Self {
            result: if warnings > 0 { ExportResult::Warnings } else { ExportResult::Done },
            message: (warnings > 0).then(|| format!("{warnings} warnings")),
            entries: Some(seal.entries),
            members: Some(seal.members),
            content_bytes: Some(seal.bytes),
            archive_bytes,
            seal: Some(seal.digest.to_string()),
        }
    }

    /// The archive is there, but this resource failed and is not in it, or not whole.
    pub fn not_there() -> Self {
        Self { result: ExportResult::Failed, ..Self::default() }
    }

    /// No archive, or none of this resource.
    pub fn failed(error: &Error) -> Self {
        let result = if error.is_interrupt() { ExportResult::Interrupted } else { ExportResult::Failed };
        Self { result, message: Some(crate::undo::chain(error)), ..Self::default() }
    }
}

/// A record, of one resource of this pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Which.
    pub id: RecordId,
    /// Kind.
    pub kind: ResourceKind,
    /// Name that the resource has here.
    pub name: String,
    /// When it was taken over from an archive that was restored, RFC 3339 in UTC; `None` if this pool made the export.
    pub taken_over: Option<String>,
    /// The export.
    pub export: ExportRecord,
}

/// What people gave a resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// Sorted.
    pub tags: Vec<String>,
    /// Text.
    pub note: Option<String>,
    /// Whether those who prune are asked to leave its archives and snapshots alone.
    pub keep: bool,
}

impl Records {
    /// Opens the records in a state directory; makes them where there are none.
    pub fn open(state: &Path) -> Result<Self> {
        let (path, connection) = database::open(state)?;
        Ok(Self { connection: Mutex::new(connection), path, state: state.to_owned() })
    }

    /// Opens the records in a state directory; `None` if there are none.
    pub fn existing(state: &Path) -> Result<Option<Self>> {
        let Some((path, connection)) = database::existing(state)? else { return Ok(None) };
        Ok(Some(Self { connection: Mutex::new(connection), path, state: state.to_owned() }))
    }

    /// The records of a pool; made where there are none.
    pub fn of_pool(pool: &Pool) -> Result<Self> {
        let state = pool.backend().state_directory();
        Self::open(&state.map_err(Error::backend("make the pool's state directory"))?)
    }

    /// The records of a pool; `None` if there are none. Makes nothing.
    pub fn existing_of_pool(pool: &Pool) -> Result<Option<Self>> {
        let state = pool.backend().existing_state_directory();
        match state.map_err(Error::backend("look for the pool's state directory"))? {
            Some(state) => Self::existing(&state),
            None => Ok(None),
        }
    }

    /// Where they are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` in one transaction, which waits for others that write.
    fn change<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let mut connection = self.connection();
        database::in_transaction(&mut connection, work).map_err(failed(action, &self.path))
    }

    /// Runs `work` on one state of the database.
    fn look<T>(
        &self,
        action: &'static str,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T> {
        let mut connection = self.connection();
        let found = connection.transaction().and_then(|transaction| work(&transaction));
        found.map_err(failed(action, &self.path))
    }
}

/// The name of a kind in the database.
fn kind_text(kind: ResourceKind) -> &'static str {
    crate::resource::kind_name(kind)
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(rusqlite::Error) -> Error {
    move |source| Error::Records { action, path: path.display().to_string(), source: Box::new(source) }
}
