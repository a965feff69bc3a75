//! Tags, note and keep flag.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Transaction};

use super::{Annotations, NOTE_BYTES, Records, kind_text, row};
use crate::error::{Error, Result};
use crate::resource::ResourceKind;
use crate::selector::check_tag;

impl Annotations {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Records {
    /// What a resource was given; nothing of what is not known.
    pub fn annotations(&self, kind: ResourceKind, name: &str) -> Result<Annotations> {
        self.look("read", |transaction| read(transaction, kind, name))
    }

    /// What all resources were given, of those that were given something.
    pub fn all_annotations(&self) -> Result<BTreeMap<(ResourceKind, String), Annotations>> {
        self.look("read", |transaction| {
            let mut all: BTreeMap<_, Annotations> = BTreeMap::new();
            let mut tags = transaction.prepare("SELECT kind, name, tag FROM tag ORDER BY tag")?;
            let mut rows = tags.query([])?;
            while let Some(found) = rows.next()? {
                let key = (row::kind_of(&found.get::<_, String>(0)?, 0)?, found.get(1)?);
                all.entry(key).or_default().tags.push(found.get(2)?);
            }
            let mut others = transaction
                .prepare("SELECT kind, name, note, keep FROM resource WHERE note IS NOT NULL OR keep")?;
            let mut rows = others.query([])?;
            while let Some(found) = rows.next()? {
                let key = (row::kind_of(&found.get::<_, String>(0)?, 0)?, found.get(1)?);
                let entry = all.entry(key).or_default();
                (entry.note, entry.keep) = (found.get(2)?, found.get(3)?);
            }
            Ok(all)
        })
    }

    /// Adds tags.
    pub fn tag(&self, kind: ResourceKind, name: &str, tags: &[String]) -> Result<Annotations> {
        tags.iter().try_for_each(|tag| check_tag(tag))?;
        self.change("write", |transaction| {
            add_tags(transaction, kind, name, tags)?;
            read(transaction, kind, name)
        })
    }

    /// Removes tags. One that is not there is no error.
    pub fn untag(&self, kind: ResourceKind, name: &str, tags: &[String]) -> Result<Annotations> {
        self.change("write", |transaction| {
            for tag in tags {
                let query = "DELETE FROM tag WHERE kind = ?1 AND name = ?2 AND tag = ?3";
                transaction.execute(query, (kind_text(kind), name, tag))?;
            }
            read(transaction, kind, name)
        })
    }

    /// Replaces the note, or removes it.
    pub fn set_note(&self, kind: ResourceKind, name: &str, note: Option<&str>) -> Result<Annotations> {
        if note.is_some_and(|note| note.len() > NOTE_BYTES) {
            return Err(Error::Usage(format!("A note has at most {NOTE_BYTES} bytes")));
        }
        self.change("write", |transaction| {
            let query = "INSERT INTO resource (kind, name, note) VALUES (?1, ?2, ?3)
                 ON CONFLICT (kind, name) DO UPDATE SET note = excluded.note";
            transaction.execute(query, (kind_text(kind), name, note))?;
            read(transaction, kind, name)
        })
    }

    /// Sets or clears the keep flag.
    pub fn set_keep(&self, kind: ResourceKind, name: &str, keep: bool) -> Result<Annotations> {
        self.change("write", |transaction| {
            let query = "INSERT INTO resource (kind, name, keep) VALUES (?1, ?2, ?3)
                 ON CONFLICT (kind, name) DO UPDATE SET keep = excluded.keep";
            transaction.execute(query, (kind_text(kind), name, keep))?;
            read(transaction, kind, name)
        })
    }
}

pub(super) fn add_tags(
    transaction: &Transaction<'_>,
    kind: ResourceKind,
    name: &str,
    tags: &[String],
) -> rusqlite::Result<()> {
    for tag in tags {
        let query = "INSERT INTO tag (kind, name, tag) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        transaction.execute(query, (kind_text(kind), name, tag))?;
    }
    Ok(())
}

fn read(transaction: &Transaction<'_>, kind: ResourceKind, name: &str) -> rusqlite::Result<Annotations> {
    let key = (kind_text(kind), name);
    let tags = transaction
        .prepare("SELECT tag FROM tag WHERE kind = ?1 AND name = ?2 ORDER BY tag")?
        .query_map(key, |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let other = transaction
        .query_row("SELECT note, keep FROM resource WHERE kind = ?1 AND name = ?2", key, |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let (note, keep) = other.unwrap_or_default();
    Ok(Annotations { tags, note, keep })
}
