//! Archives that two exports of one snapshot make alike, to the byte.
//!
//! What an export finds is the same each time, and so is its order; only what the manifest says of the export itself differs. That is left
//! out, or made from what the archive holds.

use super::Options;
use super::selected::Selected;
use super::write::Ready;
use crate::archive::Manifest;
use crate::archive::digest::Digest;
use crate::archive::manifest::Host;
use crate::error::{Error, Result};

/// When an archive was made, if no snapshot says it.
const EPOCH: &str = "1970-01-01T00:00:00Z";

/// Bytes of an archive's identity.
const ID_BYTES: usize = 16;

/// Refuses options with which no two archives are the same.
pub(super) fn check(options: &Options) -> Result<()> {
    if options.reproducible && !options.recipients.is_empty() {
        return Err(Error::Usage(
            "No two encrypted archives are the same, because each has a random key: leave --reproducible or --encrypt-to out"
                .into(),
        ));
    }
    Ok(())
}

/// Refuses streams that have the name and the time of a snapshot in them that the run makes for itself.
pub(super) fn check_streams(options: &Options, selected: &Selected) -> Result<()> {
    let own = options.reproducible && selected.given.is_none();
    let native = selected.plan.datasets.iter().find(|planned| own && planned.encoding.is_native());
    match native {
        None => Ok(()),
        Some(planned) => Err(Error::Usage(format!(
            "The dataset {} of the {} travels as a native stream, which has the time of its snapshot in it: with --reproducible name a snapshot that there is (NAME@SNAPSHOT), or say --portable",
            planned.name,
            selected.resource.label()
        ))),
    }
}

/// When the snapshot of a resource was made, as members tell it of which nothing else is known.
pub(super) fn taken_seconds(options: &Options, ready: &Ready) -> i64 {
    if options.reproducible && !has_time(ready) {
        return 0;
    }
    ready.moment.taken.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second)
}

/// Whether its snapshot is one that was named, and has a time.
fn has_time(ready: &Ready) -> bool {
    ready.selected.given.as_ref().is_some_and(|info| info.created_seconds.is_some())
}

/// Takes out of a manifest what is of the run, the host, the moment or the pool's records. `ready` are its resources.
pub(super) fn settle(manifest: &mut Manifest, ready: &[Ready]) {
    let mut newest = None;
    for (record, ready) in manifest.resources.iter_mut().zip(ready) {
        if ready.selected.given.is_none() {
            record.snapshot = None;
        }
        if !has_time(ready) {
            record.taken = None;
        }
        newest = newest.max(record.taken.clone());
        record.revision = None;
        record.tags.clear();
        record.note = None;
        record.keep = false;
        record.records.clear();
    }
    manifest.created = newest.unwrap_or_else(|| EPOCH.to_owned());
    manifest.host = Host::default();
    manifest.id = String::new();
    let whole = serde_json::to_vec(&*manifest).unwrap_or_default();
    manifest.id = data_encoding::HEXLOWER.encode(&Digest::of(&whole).as_bytes()[..ID_BYTES]);
}
