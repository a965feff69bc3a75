//! Opening the database, and its schema.
//!
//! A change of the schema raises [`VERSION`], and [`prepare`] brings older databases up to it in one transaction.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, Transaction, TransactionBehavior};

use super::{FILE, failed};
use crate::draft;
use crate::error::{Error, Result};
use crate::file_system::shares_mappings;

/// The schema's version, in `user_version`.
const VERSION: usize = SCHEMA.len();
/// `rmnd`, by which file(1) and [`prepare`] tell the database from others.
const APPLICATION: i64 = 0x726d_6e64;
/// How often a lock that another process holds is tried, and how long to wait between: half a minute in all.
const TRIES: i32 = 3000;
const PAUSE: Duration = Duration::from_millis(10);
/// Pages of the log from which on it is moved into the database.
const LOG_PAGES: i64 = 64;

/// What makes each version out of the one before; the first one out of an empty database.
const SCHEMA: [&str; 2] = [TABLES, NEWEST];

const TABLES: &str = "
CREATE TABLE resource (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    last_revision INTEGER NOT NULL DEFAULT 0,
    note TEXT,
    keep INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, name)
) STRICT;
CREATE TABLE tag (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    tag TEXT NOT NULL,
    PRIMARY KEY (kind, name, tag)
) STRICT;
CREATE TABLE export (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER,
    archive TEXT NOT NULL,
    original_name TEXT,
    host TEXT NOT NULL,
    run TEXT,
    snapshot TEXT,
    begun TEXT NOT NULL,
    ended TEXT,
    tool TEXT NOT NULL,
    options TEXT NOT NULL,
    base TEXT,
    entries INTEGER,
    members INTEGER,
    content_bytes INTEGER,
    archive_bytes INTEGER,
    seal TEXT,
    destination BLOB,
    result TEXT NOT NULL,
    message TEXT,
    taken_over TEXT,
    UNIQUE (kind, name, archive)
) STRICT;
";

/// The newest exports of a resource are found without reading the others.
const NEWEST: &str = "CREATE INDEX newest_export ON export (kind, name, begun, id);";

/// Opens the database in a state directory, made where there is none.
pub(super) fn open(state: &Path) -> Result<(PathBuf, Connection)> {
    let path = place(state)?;
    if !is_there(&path)? {
        create_empty(&path)?;
    }
    let mut connection = connect(&path)?;
    prepare(&mut connection, &path)?;
    choose_journal(&connection, state).map_err(failed("open", &path))?;
    Ok((path, connection))
}

/// Opens the database in a state directory; `None` if there is none, or nothing in it yet.
pub(super) fn existing(state: &Path) -> Result<Option<(PathBuf, Connection)>> {
    let path = place(state)?;
    if !is_there(&path)? {
        return Ok(None);
    }
    let mut connection = connect(&path)?;
    if is_empty(&connection).map_err(failed("read", &path))? {
        return Ok(None);
    }
    prepare(&mut connection, &path)?;
    choose_journal(&connection, state).map_err(failed("open", &path))?;
    Ok(Some((path, connection)))
}

/// `SQLite` refuses a link anywhere in a path, and the way to the pool may have such: that one is the administrator's.
fn place(state: &Path) -> Result<PathBuf> {
    let real = state.canonicalize().map_err(Error::io("open", state.display()))?;
    Ok(real.join(FILE))
}

fn is_there(path: &Path) -> Result<bool> {
    match path.symlink_metadata() {
        Ok(found) if found.is_file() => Ok(true),
        Ok(_) => {
            let subject = path.display().to_string();
            Err(Error::Malformed { subject, reason: "it is no regular file".into() })
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("look for", path.display())(error)),
    }
}

/// Makes the file, readable by its owner alone. It gets its name when it is closed: closing a database's file drops the locks that
/// another thread of this process has on it.
fn create_empty(path: &Path) -> Result<()> {
    let failed = |error| Error::io("create", path.display())(error);
    let directory = path.parent().unwrap_or(Path::new("/"));
    let name = |file: fs::File, draft: &Path| {
        drop(file);
        match tempfile::TempPath::try_from_path(draft)?.persist_noclobber(path) {
            Err(error) if error.error.kind() != ErrorKind::AlreadyExists => Err(error.error),
            // Another process was faster.
            _ => Ok(()),
        }
    };
    draft::write(path, |_| Ok(()), name).map_err(failed)?;
    fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

fn connect(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let set_up = |connection: Connection| {
        // The database's own way to wait sleeps longer each time, and hardly ever wakes up in time where another process writes a lot.
        connection.busy_handler(Some(|tries| {
            std::thread::sleep(PAUSE);
            tries < TRIES
        }))?;
        // EXTRA syncs the directory too when a rollback journal is gone: without it a power cut can bring back what was committed.
        connection.execute_batch(
            "PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA synchronous = EXTRA; PRAGMA temp_store = MEMORY;",
        )?;
        Ok(connection)
    };
    Connection::open_with_flags(path, flags).and_then(set_up).map_err(failed("open", path))
}

/// Chooses where a change goes before it is in the database. A log ahead of it takes one sync, and a rollback journal five; but those
/// who have the log open share memory.
fn choose_journal(connection: &Connection, state: &Path) -> rusqlite::Result<()> {
    if connection.is_readonly(MAIN_DB)? {
        // Nothing can be changed, and so not this either; it can be read as it is.
        return Ok(());
    }
    let journal = if shares_mappings(state) { "WAL" } else { "DELETE" };
    match connection.query_row(&format!("PRAGMA journal_mode = {journal}"), [], |_| Ok(())) {
        // Another process has it open with the one that it has: that serves, too.
        Err(error) if is_busy(&error) => {}
        chosen => chosen?,
    }
    // Who closes it last would take two syncs more to move everything into the database. It is moved when it has become long instead, but
    // not so long that whoever opens it first takes time to read it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Runs `work` as one change, which waits for others before it reads anything.
pub(super) fn in_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let result = work(&transaction)?;
    transaction.commit()?;
    Ok(result)
}

fn number(connection: &Connection, query: &str) -> rusqlite::Result<i64> {
    connection.query_row(query, [], |row| row.get(0))
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    Ok(number(connection, "SELECT count(*) FROM sqlite_schema")? == 0)
}

/// Refuses what is no database of ours, or a newer one; gives an empty one its schema, and an older one what is new.
fn prepare(connection: &mut Connection, path: &Path) -> Result<()> {
    if version(connection, path)? == VERSION {
        return Ok(());
    }
    in_transaction(connection, |transaction| {
        // Another process may have been faster.
        let missing = known_version(transaction)?.and_then(|found| SCHEMA.get(found..));
        let Some(missing) = missing else { return Ok(()) };
        missing.iter().try_for_each(|step| transaction.execute_batch(step))?;
        transaction.execute_batch(&format!(
            "PRAGMA user_version = {VERSION}; PRAGMA application_id = {APPLICATION};"
        ))
    })
    .map_err(failed("prepare", path))?;
    if version(connection, path)? == VERSION {
        return Ok(());
    }
    Err(foreign(path))
}

fn foreign(path: &Path) -> Error {
    let reason = "it is a database of something else; move it away, and new records are begun".into();
    Error::Malformed { subject: path.display().to_string(), reason }
}

/// The version of a database of ours, or of an empty one, which is 0; `None` of any other.
fn known_version(connection: &Connection) -> rusqlite::Result<Option<usize>> {
    let application = number(connection, "PRAGMA application_id")?;
    let version = usize::try_from(number(connection, "PRAGMA user_version")?);
    Ok(match (application, version) {
        (APPLICATION, Ok(version @ 1..)) => Some(version),
        (0, Ok(0)) if is_empty(connection)? => Some(0),
        _ => None,
    })
}

/// The version of what is no newer than this program.
fn version(connection: &mut Connection, path: &Path) -> Result<usize> {
    // Of one moment: another process may be about to make the schema.
    let read = connection.transaction().and_then(|transaction| known_version(&transaction));
    match read.map_err(failed("read", path))? {
        Some(version) if version > VERSION => Err(Error::Unsupported(format!(
            "The records in {} are of version {version}, and this remand knows versions up to {VERSION}; use a newer one",
            path.display()
        ))),
        Some(version) => Ok(version),
        None => Err(foreign(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_read_with_the_journal_that_it_has() {
        let state = tempfile::tempdir().unwrap();
        let (path, connection) = open(state.path()).unwrap();
        let mode = |connection: &Connection, chosen: &str| -> String {
            connection.query_row(&format!("PRAGMA journal_mode {chosen}"), [], |row| row.get(0)).unwrap()
        };
        assert_eq!(mode(&connection, "= DELETE"), "delete");
        drop(connection);
        let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        choose_journal(&connection, state.path()).unwrap();
        assert_eq!(mode(&connection, ""), "delete");
        assert_eq!(number(&connection, "SELECT count(*) FROM export").unwrap(), 0);
    }
}
