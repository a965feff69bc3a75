//! What the pool's records get from an export, and what an archive gets from them.
//!
//! An export does not depend on them: where they cannot be written, it goes on, and warns.

use std::convert::Infallible;
use std::path::Path;
use std::sync::OnceLock;
use std::thread::Scope;

use crossbeam_channel::{Receiver, Sender, bounded};

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
///
/// They are written beside the export, which waits twice: for what the manifest says of a resource, and before the archive becomes visible
/// until its beginning is durable.
pub(super) struct Recorded {
    told: Receiver<Vec<Known>>,
    known: OnceLock<Vec<Known>>,
    begun: Receiver<Result<Records>>,
    records: OnceLock<Option<Records>>,
}

/// Holds the recording back, while it exists: snapshots that are to be made at the same time need the cores.
pub(super) type Hold = Sender<Infallible>;

/// What the records know of a resource.
struct Known {
    kind: ResourceKind,
    name: String,
    begun: Begun,
    /// What people gave it, and the exports before this one.
    before: Result<(Annotations, Vec<ExportRecord>)>,
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
    /// Begins to note that these resources are being exported. Nothing is done before the second value is dropped.
    pub(super) fn begin<'scope, 'a: 'scope>(
        scope: &'scope Scope<'scope, '_>,
        whole: &'a Whole<'a>,
        beginnings: &'a [Beginning],
    ) -> (Self, Hold) {
        let (tell, told) = bounded(1);
        let (end, begun) = bounded(1);
        let (hold, released) = bounded(0);
        scope.spawn(move || {
            // Whoever does not wait for it has failed.
            let _ = end.send(begin(whole, beginnings, &released, &tell));
        });
        (Self { told, known: OnceLock::new(), begun, records: OnceLock::new() }, hold)
    }

    /// Waits until what was begun is durable. Where it is not recorded, the export goes on, with a warning.
    pub(super) fn settle(&self, steps: &Steps<'_>) {
        self.records.get_or_init(|| match self.begun.recv() {
            Ok(Ok(records)) => Some(records),
            Ok(Err(error)) => {
                let message = format!("this export is not recorded: {}", chain(&error));
                steps.warn(&Warning { subject: "records".into(), message });
                None
            }
            // It panicked, which is told where it was started.
            Err(_) => None,
        });
    }

    /// What is known of each resource: nothing where it could not be noted.
    fn known(&self) -> &[Known] {
        self.known.get_or_init(|| self.told.recv().unwrap_or_default())
    }

    /// What is known of a resource.
    pub(super) fn about(&self, kind: ResourceKind, name: &str, steps: &Steps<'_>) -> Remembered {
        let Some(known) = self.known().iter().find(|known| known.kind == kind && known.name == name) else {
            return Remembered::default();
        };
        let revision = Some(known.begun.revision);
        match &known.before {
            Ok((annotations, earlier)) => {
                Remembered { revision, annotations: annotations.clone(), earlier: earlier.clone() }
            }
            Err(error) => {
                let message = format!("what is recorded of it is not in the archive: {}", chain(error));
                steps.warn(&Warning { subject: crate::resource::label(kind, name), message });
                Remembered { revision, ..Remembered::default() }
            }
        }
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
                Some((_, Ok(_))) if self.known().len() == 1 => whole,
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
        self.known().iter().map(|known| (known.begun.id, of(known.kind, &known.name))).collect()
    }

    /// Notes how it ended; nothing where it is not noted that it began.
    pub(super) fn finish(&self, outcomes: &[(RecordId, Outcome)]) -> Result<()> {
        self.records.get().and_then(Option::as_ref).map_or(Ok(()), |records| records.finish(outcomes))
    }
}

/// Notes that these resources are being exported, and tells what is known of each as soon as it has a number.
fn begin(
    whole: &Whole<'_>,
    beginnings: &[Beginning],
    released: &Receiver<Infallible>,
    tell: &Sender<Vec<Known>>,
) -> Result<Records> {
    // Nobody sends anything: this waits until it is dropped.
    let _ = released.recv();
    let records = Records::open(whole.state)?;
    // Before this export is among them: the resource's lock keeps others out.
    let before = |one: &Beginning| {
        let earlier = records.earlier(one.kind, &one.name, beginnings.len())?;
        Ok((records.annotations(one.kind, &one.name)?, earlier))
    };
    let before: Vec<_> = beginnings.iter().map(before).collect();
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
    records.begin(&new, |begun| {
        let known = beginnings.iter().zip(before).zip(begun);
        let known = known.map(|((one, before), &begun)| Known {
            kind: one.kind,
            name: one.name.clone(),
            begun,
            before,
        });
        let _ = tell.send(known.collect());
    })?;
    Ok(records)
}
