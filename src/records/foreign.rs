//! Records that come with an archive, and new names.

use rusqlite::{Transaction, named_params};

use super::annotations::add_tags;
use super::{ExportRecord, ExportResult, NOTE_BYTES, Records, TRAVELLING, kind_text, row};
use crate::archive::index::Seal;
use crate::archive::manifest::{BaseRecord, Manifest, ResourceRecord};
use crate::error::Result;
use crate::resource::ResourceKind;
use crate::selector::check_tag;

/// The greatest revision that an archive can make the next one follow on: it could say anything.
const MAX_REVISION: u64 = 1 << 32;

impl Records {
    /// Takes over what an archive says of a resource that was restored from it as `name`: its earlier exports, the export that the archive
    /// is, tags, note and keep flag. What the pool knows already stays: tags are added, a note and records that are there win. The
    /// resource's next revision follows on the greatest of them. There is no `seal` where the archive is damaged. Returns what was not taken over.
    pub fn restored<'s>(
        &self,
        kind: ResourceKind,
        name: &str,
        manifest: &Manifest,
        record: &ResourceRecord,
        seal: impl Into<Option<&'s Seal>>,
    ) -> Result<Vec<String>> {
        let now = crate::run::now();
        let mut refused = Vec::new();
        let mut exports: Vec<ExportRecord> = record.records.iter().take(TRAVELLING).cloned().collect();
        exports.push(of_archive(manifest, record, seal.into()));
        for export in &mut exports {
            if name != record.name {
                export.name.get_or_insert_with(|| record.name.clone());
            }
            if export.result == ExportResult::Running {
                export.result = ExportResult::Unknown;
            }
            if export.revision.is_some_and(|revision| revision > MAX_REVISION) {
                refused.push(format!("the revision number of an export of {} is out of range", export.begun));
                export.revision = None;
            }
        }
        let (tags, wrong): (Vec<String>, Vec<String>) =
            record.tags.iter().cloned().partition(|tag| check_tag(tag).is_ok());
        refused.extend(wrong.iter().map(|tag| format!("{tag:?} is no tag")));
        let note = record.note.as_deref().filter(|note| note.len() <= NOTE_BYTES);
        if note.is_none() && record.note.is_some() {
            refused.push("the note is too long".into());
        }
        let last = exports.iter().filter_map(|export| export.revision).max().unwrap_or(0);
        self.change("write", |transaction| {
            for export in &exports {
                row::insert(transaction, kind, name, Some(&now), export)?;
            }
            add_tags(transaction, kind, name, &tags)?;
            merge(transaction, (kind_text(kind), name), last, note, record.keep)
        })?;
        Ok(refused)
    }

    /// Gives what is known of a resource to a new name of it.
    pub fn rename(&self, kind: ResourceKind, from: &str, to: &str) -> Result<()> {
        if from == to {
            return Ok(());
        }
        let kind = kind_text(kind);
        self.change("write", |transaction| {
            let known: Option<(i64, Option<String>, bool)> =
                rusqlite::OptionalExtension::optional(transaction.query_row(
                    "SELECT last_revision, note, keep FROM resource WHERE kind = ?1 AND name = ?2",
                    (kind, from),
                    |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
                ))?;
            if let Some((last, note, keep)) = known {
                let last = u64::try_from(last).unwrap_or(0);
                merge(transaction, (kind, to), last, note.as_deref(), keep)?;
            }
            for query in [
                "UPDATE OR REPLACE export SET name = ?3, original_name = coalesce(original_name, ?2)
                     WHERE kind = ?1 AND name = ?2",
                "UPDATE OR REPLACE tag SET name = ?3 WHERE kind = ?1 AND name = ?2",
            ] {
                transaction.execute(query, (kind, from, to))?;
            }
            transaction.execute("DELETE FROM resource WHERE kind = ?1 AND name = ?2", (kind, from))?;
            Ok(())
        })
    }
}

fn merge(
    transaction: &Transaction<'_>,
    (kind, name): (&str, &str),
    last: u64,
    note: Option<&str>,
    keep: bool,
) -> rusqlite::Result<()> {
    transaction.execute(
        "INSERT INTO resource (kind, name, last_revision, note, keep) VALUES (:kind, :name, :last, :note, :keep)
         ON CONFLICT (kind, name) DO UPDATE SET
             last_revision = max(last_revision, excluded.last_revision),
             note = coalesce(note, excluded.note),
             keep = max(keep, excluded.keep)",
        named_params! {
            ":kind": kind, ":name": name, ":last": i64::try_from(last).unwrap_or(i64::MAX), ":note": note, ":keep": keep,
        },
    )?;
    Ok(())
}

/// What an archive tells of the export that made it.
fn of_archive(manifest: &Manifest, record: &ResourceRecord, seal: Option<&Seal>) -> ExportRecord {
    ExportRecord {
        revision: record.revision,
        archive: manifest.id.clone(),
        host: manifest.host.name.clone(),
        run: record.snapshot.clone().filter(|name| crate::run::is_run_id(name)),
        snapshot: record.snapshot.clone(),
        begun: manifest.created.clone(),
        tool: manifest.tool.version.clone(),
        options: manifest.options.clone(),
        base: record.base.as_ref().map(base_label),
        entries: seal.map(|seal| seal.entries),
        members: seal.map(|seal| seal.members),
        content_bytes: seal.map(|seal| seal.bytes),
        seal: seal.map(|seal| seal.digest.to_string()),
        result: ExportResult::Done,
        ..ExportRecord::default()
    }
}

/// `14.2-RELEASE@p3`.
fn base_label(base: &BaseRecord) -> String {
    match &base.snapshot {
        Some(snapshot) => format!("{}@{snapshot}", base.source().base_label()),
        None => base.source().base_label(),
    }
}
