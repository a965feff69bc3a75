//! What the pool's records get from an export, and what an archive gets from them.
//!
//! An export does not depend on them: where they cannot be written, it goes on without a revision number, and warns.

use std::path::Path;

use super::Options;
use super::manifest::options;
use super::selected::Selected;
use super::snapshot::Moment;
use super::write;
use crate::archive::record::ExportRecord;
use crate::error::Result;
use crate::event::Warning;
use crate::records::{Annotations, Begun, NewRecord, Outcome, Records};
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

impl Recorded {
    /// Notes that these resources are being exported.
    pub(super) fn begin(
        whole: &Whole<'_>,
        selected: &[Selected],
        moments: &[Moment],
        steps: &Steps<'_>,
    ) -> Self {
        let begin = || -> Result<Self> {
            let records = Records::open(whole.state)?;
            let new = selected.iter().zip(moments).map(|(one, moment)| NewRecord {
                kind: one.resource.kind,
                name: &one.resource.name,
                run: whole.run,
                archive: whole.archive,
                snapshot: moment.snapshot.name.as_ref().map(remand_backends::SnapshotName::as_str),
                options: options(whole.options, &[one.choice.name()]),
                base: one.base().map(Base::label),
                destination: whole.destination,
            });
            let new: Vec<_> = new.collect();
            let begun = records.begin(&new)?;
            let named = selected.iter().map(|one| (one.resource.kind, one.resource.name.clone()));
            let begun = named.zip(begun).map(|((kind, name), begun)| (kind, name, begun)).collect();
            Ok(Self { records: Some(records), begun })
        };
        begin().unwrap_or_else(|error| {
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

    /// Notes how it ended. `archive_bytes` is what the file takes.
    pub(super) fn finish(self, outcome: &Result<write::Written>, path: Option<&Path>, steps: &Steps<'_>) {
        let Some(records) = &self.records else { return };
        let archive_bytes = path.and_then(|path| path.metadata().ok()).filter(std::fs::Metadata::is_file);
        let archive_bytes = archive_bytes.map(|file| file.len());
        let of = |kind: ResourceKind, name: &str| match outcome {
            Err(error) => Outcome::failed(error),
            Ok((seal, written)) => {
                let found = written.iter().find(|(ready, _)| {
                    ready.selected.resource.kind == kind && ready.selected.resource.name == name
                });
                let whole = Outcome::whole(seal, archive_bytes, steps.warnings());
                match found {
                    Some((_, Ok(_))) if self.begun.len() == 1 => whole,
                    Some((_, Ok(done))) => Outcome {
                        entries: None,
                        members: None,
                        content_bytes: Some(done.bytes.values().sum()),
                        ..whole
                    },
                    Some((_, Err(reason))) => {
                        Outcome { message: Some(reason.clone()), ..Outcome::not_there() }
                    }
                    None => Outcome::not_there(),
                }
            }
        };
        let outcomes: Vec<_> =
            self.begun.iter().map(|(kind, name, begun)| (begun.id, of(*kind, name))).collect();
        if let Err(error) = records.finish(&outcomes) {
            let message = format!("how this export ended is not recorded: {}", chain(&error));
            steps.warn(&Warning { subject: "records".into(), message });
        }
    }
}
