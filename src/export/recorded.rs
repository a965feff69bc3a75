//! What the pool's records get from an export, and what an archive gets from them.
//!
//! An export does not depend on them: where they cannot be written, it goes on without a revision number, and warns.

use std::path::Path;

use super::Options;
use super::manifest::options;
use super::selected::Selected;
use super::write;
use crate::archive::record::ExportRecord;
use crate::error::Result;
use crate::event::Warning;
use crate::records::{Annotations, Begun, NewRecord, Outcome, RecordId, Records};
use crate::resource::{Base, ResourceKind};
use crate::step::Steps;
use crate::undo::chain;

/// The records of one export that is under way.
#[derive(Default)]
pub(super) struct Recorded {
    records: Option<Records>,
    begun: Vec<(ResourceKind, String, Begun)>,
}

/// What the manifest says of a resource that the pool remembers.
#[derive(Debug, Default)]
pub(super) struct Remembered {
    pub(super) revision: Option<u64>,
    pub(super) annotations: Annotations,
    pub(super) earlier: Vec<ExportRecord>,
}

/// The export as a whole.
pub(super) struct Whole<'a> {
    pub(super) state: &'a Path,
    pub(super) run: &'a str,
    pub(super) archive: &'a str,
    pub(super) options: &'a Options,
    pub(super) destination: Option<&'a Path>,
}

/// What is noted when an export of a resource begins.
pub(super) struct Beginning {
    kind: ResourceKind,
    name: String,
    snapshot: Option<String>,
    base: Option<String>,
    engine: &'static str,
}

impl Beginning {
    /// Of each resource. `own` is the snapshot that the run makes of those for which none was named.
    pub(super) fn of(selected: &[Selected], own: Option<&str>) -> Vec<Self> {
        let beginning = |one: &Selected| {
            let given = one.given.as_ref().and_then(|info| info.snapshot.name.as_ref());
            Self {
                kind: one.resource.kind,
                name: one.resource.name.clone(),
                snapshot: given.map(remand_backends::SnapshotName::as_str).or(own).map(str::to_owned),
                base: one.base().map(Base::label),
                engine: one.choice.name(),
            }
        };
        selected.iter().map(beginning).collect()
    }
}

impl Recorded {
    /// Notes that these resources are being exported.
    pub(super) fn begin(whole: &Whole<'_>, beginnings: &[Beginning]) -> Result<Self> {
        let records = Records::open(whole.state)?;
        let new: Vec<_> = beginnings
            .iter()
            .map(|one| NewRecord {
                kind: one.kind,
                name: &one.name,
                run: whole.run,
                archive: whole.archive,
                snapshot: one.snapshot.as_deref(),
                options: options(whole.options, &[one.engine]),
                base: one.base.clone(),
                destination: whole.destination,
            })
            .collect();
        let begun = records.begin(&new)?;
        let begun =
            beginnings.iter().zip(begun).map(|(one, begun)| (one.kind, one.name.clone(), begun)).collect();
        Ok(Self { records: Some(records), begun })
    }

    /// What `begun` is, or nothing, with a warning: the export goes on.
    pub(super) fn or_warn(begun: Result<Self>, steps: &Steps<'_>) -> Self {
        begun.unwrap_or_else(|error| {
            let message = format!("this export is not recorded: {}", chain(&error));
            steps.warn(&Warning { subject: "records".into(), message });
            Self::default()
        })
    }

    fn begun(&self, kind: ResourceKind, name: &str) -> Option<Begun> {
        self.begun.iter().find(|(of, other, _)| *of == kind && other == name).map(|(_, _, begun)| *begun)
    }

    /// What is known of a resource.
    pub(super) fn about(&self, kind: ResourceKind, name: &str, steps: &Steps<'_>) -> Remembered {
        let (Some(records), Some(begun)) = (&self.records, self.begun(kind, name)) else {
            return Remembered::default();
        };
        let read = || -> Result<Remembered> {
            Ok(Remembered {
                revision: Some(begun.revision),
                annotations: records.annotations(kind, name)?,
                earlier: records.earlier(kind, name, begun.id)?,
            })
        };
        read().unwrap_or_else(|error| {
            let message = format!("what is recorded of it is not in the archive: {}", chain(&error));
            steps.warn(&Warning { subject: crate::resource::label(kind, name), message });
            Remembered { revision: Some(begun.revision), ..Remembered::default() }
        })
    }

    /// How it ended for each resource. `warnings` is how many were given.
    pub(super) fn outcomes(
        &self,
        outcome: &Result<(write::Written, bool)>,
        path: Option<&Path>,
        warnings: u64,
    ) -> Vec<(RecordId, Outcome)> {
        let archive_bytes = path.and_then(|path| path.metadata().ok()).filter(std::fs::Metadata::is_file);
        let archive_bytes = archive_bytes.map(|file| file.len());
        let of = |kind: ResourceKind, name: &str| {
            let (seal, written) = match outcome {
                Err(error) => return Outcome::failed(error),
                Ok((written, _)) => written,
            };
            let mine = |(ready, _): &&(write::Ready, write::Outcome)| {
                ready.selected.resource.kind == kind && ready.selected.resource.name == name
            };
            let whole = Outcome::whole(seal, archive_bytes, warnings);
            match written.iter().find(mine) {
                Some((_, Ok(_))) if self.begun.len() == 1 => whole,
                Some((_, Ok(done))) => Outcome {
                    entries: None,
                    members: None,
                    content_bytes: Some(done.bytes.values().sum()),
                    ..whole
                },
                Some((_, Err(reason))) => Outcome { message: Some(reason.clone()), ..Outcome::not_there() },
                None => Outcome::not_there(),
            }
        };
        self.begun.iter().map(|(kind, name, begun)| (begun.id, of(*kind, name))).collect()
    }

    /// Notes how it ended.
    pub(super) fn finish(&self, outcomes: &[(RecordId, Outcome)]) -> Result<()> {
        self.records.as_ref().map_or(Ok(()), |records| records.finish(outcomes))
    }
}
