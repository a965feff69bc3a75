//! Export: resources become an archive.
//!
//! ```text
//! locks → pre-snapshot commands → one snapshot of all → post-snapshot commands → manifest → each resource: config, fstab, files, root, other datasets → index, seal → rename →
//! snapshots destroyed → unlocked
//! ```
//!
//! Nothing is visible under the destination's name before the last byte is durable. A crash leaves snapshots, a partial archive and
//! maybe a view, all of which carry the run's id ([`crate::run`]); any other failure leaves nothing.

mod ahead;
pub(crate) mod basejail;
mod carried;
mod choose;
pub(crate) mod datasets;
mod dry_run;
mod encryption;
mod hooks;
mod manifest;
mod members;
mod own;
pub mod plan;
mod proof;
mod queue;
mod quiet;
mod recorded;
mod reproducible;
mod selected;
mod shared;
mod side_by_side;
mod snapshot;
pub mod target;
mod write;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use remand_backends::{NativeDiff, Snapshot, SnapshotName};

use self::ahead::Ahead;
use crate::archive::manifest::{FailedRecord, ResourceKind};
use crate::archive::sink::{FileSink, WriteSink, partial_path};
use crate::archive::{Compression, Format, Seal, Sink, Writer};
use crate::change::Choice;
use crate::change::snapshot::Asked;
use crate::encrypt::{EncryptedSink, Recipient};
use crate::error::{Error, Result};
use crate::event::{Observer, Step, Warning};
use crate::pool::Pool;
use crate::room::Rooms;
use crate::run::{self, Record, Run};
use crate::running::Hold;
use crate::selector::Selection;
use crate::sign::Signer;
use crate::step::Steps;
use crate::undo::Undo;

pub use dry_run::dry_run;
pub(crate) use encryption::full_name;
pub use hooks::{HookPlace, Hooks};
pub use members::Counts;
pub use plan::Plan;
use quiet::Quiet;
use recorded::{Beginning, Recorded, Whole};
use selected::{Chosen, Failures, Selected};
pub(crate) use selected::{base_of, native_encoding};
pub use target::{Codec, Destination};

/// What to export, and how.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // independent switches of the command line
pub struct Options {
    /// Which resources.
    pub selection: Selection,
    /// Everything, also where the resource has a base.
    pub standalone: bool,
    /// With the datasets' own snapshots.
    pub recursive: bool,
    /// Datasets as trees, also where the backend has streams.
    pub portable: bool,
    /// Encrypted datasets in plain text. Without it they travel as they are stored, where they can.
    pub decrypted: bool,
    /// TAR or DIRECTORY; by default what the destination's name says.
    pub format: Option<Format>,
    /// Compression; by default what the destination's suffix says.
    pub codec: Option<Codec>,
    /// Its level.
    pub level: Option<u32>,
    /// Engine of change detection; by default the cheapest that is safe.
    pub engine: Option<String>,
    /// Wait for a lock that another process holds.
    pub wait: bool,
    /// An archive in which nothing is of this run, this host or this moment: two exports of one snapshot are the same to the byte. What the
    /// pool's records say of its resources is not in it.
    pub reproducible: bool,
    /// Write what does not fail. Otherwise one resource's failure fails the export, and nothing is written.
    pub keep_going: bool,
    /// With the bases of all that is selected, each at the snapshot that is the base. A restore makes them where it needs them.
    pub with_base: bool,
    /// Commands around the snapshot.
    pub hooks: Hooks,
    /// What is done to resources that run, until the snapshot is there; without snapshots until they are read.
    pub hold: Option<Hold>,
    /// Who signs the seal.
    pub signer: Option<Arc<Signer>>,
    /// For whom the archive is encrypted. If for nobody, it is not.
    pub recipients: Vec<Recipient>,
}

impl Options {
    /// The defaults for these resources.
    pub fn new(selection: Selection) -> Self {
        Self {
            selection,
            standalone: false,
            recursive: false,
            portable: false,
            decrypted: false,
            format: None,
            codec: None,
            level: None,
            engine: None,
            wait: false,
            reproducible: false,
            keep_going: false,
            with_base: false,
            hooks: Hooks::default(),
            hold: None,
            signer: None,
            recipients: Vec::new(),
        }
    }
}

/// What an export did.
#[derive(Clone, Debug)]
pub struct Report {
    /// What it did of each resource, in the archive's order.
    pub resources: Vec<ResourceReport>,
    /// Resources that failed. Where the manifest names one that is here too, its members are not to be used.
    pub failed: Vec<FailedRecord>,
    /// Whether all resources were read as of one moment; of a dry run, nothing.
    pub consistent: Option<bool>,
    /// The archive's seal; none after a dry run.
    pub seal: Option<Seal>,
    /// Where it is; none for a pipe.
    pub path: Option<PathBuf>,
    /// Warnings that were given. More than none means: something that they name is not in the archive.
    pub warnings: u64,
}

/// What an export did of one resource.
#[derive(Clone, Debug)]
pub struct ResourceReport {
    /// Kind.
    pub kind: ResourceKind,
    /// Name.
    pub name: String,
    /// What was decided.
    pub plan: Plan,
    /// Whether it travels because others are built on it, and for nothing else.
    pub as_base: bool,
    /// Label of the base.
    pub base: Option<String>,
    /// The snapshot that it was read from.
    pub snapshot: Option<String>,
    /// Name of the engine that found the changes.
    pub engine: String,
    /// What was found in all trees.
    pub counts: Counts,
    /// Bytes of content of its datasets in the archive, streams included. Of a dry run those of the files that would travel, as they
    /// are now; of a volume, and of what is not mounted, none.
    pub sizes: BTreeMap<String, u64>,
}

impl ResourceReport {
    /// `jail web01`.
    pub fn label(&self) -> String {
        crate::resource::label(self.kind, &self.name)
    }

    /// Bytes of content in all its datasets, as far as they are known.
    pub fn bytes(&self) -> u64 {
        self.sizes.values().sum()
    }
}

/// Exports resources of `pool` to `destination`.
pub fn export(
    pool: &Pool,
    options: &Options,
    destination: Destination,
    observer: &dyn Observer,
    interrupted: &AtomicBool,
) -> Result<Report> {
    let path = match &destination {
        Destination::Path { path, .. } => Some(absolute(path)?),
        Destination::Stream(_) => None,
    };
    let (chosen, notices) = choose::choose(pool, options, interrupted)?;
    let title = subject(&chosen, path.as_deref());
    let steps = Steps::new(observer, &title);
    let temporary = std::env::temp_dir();
    let target = path.as_deref().map_or(temporary.as_path(), directory_of).to_owned();
    let rooms = Rooms::of([&target, pool.backend().directory()]);
    let written = || {
        reproducible::check(options)?;
        let form = target::form(path.as_deref(), options.format, options.codec, options.level)?;
        target::check_encryption(path.as_deref(), form.0, !options.recipients.is_empty())?;
        // What is written there takes as much room as it has bytes.
        let is_plain = path.is_some() && (form.0 == Format::Directory || form.1 == Compression::None);
        refuse_existing(&destination)?;
        pool.remark(&steps);
        for notice in notices {
            steps.notice(&pool.label(), notice);
        }
        let many = chosen.len() > 1;
        let backend = pool.backend();
        let state = backend.state_directory().map_err(Error::backend("make the pool's state directory"))?;
        let id = run::new_id();
        let partial = path.as_deref().map(|path| partial_path(path, &id));
        let record = Record::new("export", labels(&chosen)).with_partial(partial.as_deref());
        let mut failures = Failures::new(options.keep_going && many);
        let watching = (&steps, interrupted);
        let (mut selected, locks) =
            selected::locked(pool, &state, chosen, (&record, options), &mut failures, watching)?;
        selected::arrange(pool, &mut selected, options, &steps)?;
        let run = Run::announce(&state, id, &record)?;
        let mut quiet = Quiet::new((pool, options), &run, (&steps, interrupted), many.then_some(&title));
        let selected = match quiet.begin(selected, &mut failures) {
            Ok(selected) => selected,
            Err(cause) => {
                quiet.end(false);
                let (outcome, clean) = quiet.conclude(Err(cause));
                end_run(run, clean, &steps);
                return outcome;
            }
        };
        let mut undo = Undo::new(&steps);
        let archive = new_archive();
        let soon = soon(pool, &selected, run.id())?;
        let whole =
            Whole { state: &state, run: run.id(), archive: &archive, options, destination: path.as_deref() };
        let own = backend.capabilities().consistent_while_running.then(|| run.id());
        let beginnings = Beginning::of(&selected, own);
        let (outcome, clean, finished) = std::thread::scope(|recording| {
            let (recorded, hold) = Recorded::begin(recording, &whole, &beginnings);
            let outcome = std::thread::scope(|scope| {
                let taken = snapshot::take(pool, &selected, &run, &steps, &mut undo);
                quiet.snapshot_taken(taken.is_ok());
                let snapshot::Taken { moments, one_moment, made } = taken?;
                let early = soon
                    .as_ref()
                    .map(|(native, base, now)| Ahead::ask(scope, Asked { native: *native, base, now }));
                // Nothing needs the run's record to be durable but the partial archive: a snapshot is found by its name. In this thread, which
                // has named it, and not beside others: btrfs makes threads wait for each other that make things durable at the same time.
                run.settle()?;
                drop(hold);
                let done_with = made.going_early(scope, backend, early.as_ref());
                let context = write::Context {
                    pool,
                    options,
                    run: run.id(),
                    state: &state,
                    interrupted,
                    views: AtomicU32::new(0),
                    archive: &archive,
                    destination: path.as_deref(),
                    recorded: &recorded,
                    many,
                    rooms: &rooms,
                    stored_in: is_plain.then_some(target.as_path()),
                    early: early.as_ref().map(|early| early as &dyn NativeDiff),
                    done_with: &done_with,
                };
                let selected = selected.into_iter().zip(moments).collect();
                let writer = open_writer(destination, path.as_deref(), form, &options.recipients, run.id())?;
                let written = write::write(&context, selected, one_moment, writer, &mut failures, &steps)?;
                Ok((written, one_moment))
            });
            let outcome = outcome.map_err(|error| rooms.explain(error));
            quiet.end(outcome.is_ok());
            let (outcome, calm) = quiet.conclude(outcome);
            recorded.settle(&steps);
            let outcomes = recorded.outcomes(&outcome, path.as_deref(), steps.warnings());
            // While the snapshots go.
            let finishing = recording.spawn(move || recorded.finish(&outcomes));
            let (outcome, clean) = undo.conclude(outcome);
            let finished = finishing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (outcome, clean && calm, finished)
        });
        let (outcome, gone) = what_remains(outcome, partial.as_deref(), &steps);
        tell_unrecorded(finished, &steps);
        end_run(run, clean && gone, &steps);
        drop(locks);
        let (written, consistent) = outcome?;
        Ok(Report { path, warnings: steps.warnings(), ..report(written, failures, consistent) })
    };
    steps.run(Step::ResourceBackup, None, None, |_| written().map_err(|error| rooms.explain(error)))
}

/// What exists is replaced only if the user says so.
fn refuse_existing(destination: &Destination) -> Result<()> {
    match destination {
        Destination::Path { path, force: false } if path.symlink_metadata().is_ok() => {
            let path = absolute(path)?;
            Err(Error::Archive(crate::archive::Error::Exists(path.display().to_string())))
        }
        _ => Ok(()),
    }
}

fn tell_unrecorded(finished: Result<()>, steps: &Steps<'_>) {
    if let Err(error) = finished {
        let message = format!("how this export ended is not recorded: {}", crate::undo::chain(&error));
        steps.warn(&Warning { subject: "records".into(), message });
    }
}

/// The directory that a file lies in.
fn directory_of(path: &std::path::Path) -> &std::path::Path {
    path.parent().unwrap_or(path)
}

/// Of what the events of a whole export are: its resource, or the archive that several go to.
fn subject(chosen: &[Chosen], path: Option<&std::path::Path>) -> String {
    match (chosen, path.and_then(std::path::Path::file_name)) {
        ([one], _) => one.title().to_owned(),
        (_, Some(file)) => crate::tree::path::printable(file.as_encoded_bytes()),
        (_, None) => "archive".to_owned(),
    }
}

/// `jail web01`, or of several as many as fit a message.
fn labels(chosen: &[Chosen]) -> String {
    const SHOWN: usize = 3;
    let shown: Vec<_> = chosen.iter().take(SHOWN).map(Chosen::label).collect();
    match chosen.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Identity of a new archive.
fn new_archive() -> String {
    let mut id = [0u8; 16];
    run::fill_random(&mut id);
    data_encoding::HEXLOWER.encode(&id)
}

fn report((seal, written): write::Written, failures: Failures, consistent: bool) -> Report {
    let mut failed = failures.into_records();
    let mut resources = Vec::new();
    for (write::Ready { selected, moment, .. }, outcome) in written {
        let (kind, name) = (selected.resource.kind, selected.resource.name.clone());
        let done = match outcome {
            Ok(done) => done,
            Err(error) => {
                failed.push(FailedRecord { kind, name, error });
                continue;
            }
        };
        resources.push(ResourceReport {
            kind,
            name,
            as_base: selected.carried.is_some(),
            base: selected.base().map(crate::resource::Base::label),
            snapshot: moment.snapshot.name.map(|name| name.as_str().to_owned()),
            engine: selected.choice.name().to_owned(),
            plan: selected.plan,
            counts: done.counts,
            sizes: done.bytes,
        });
    }
    Report { resources, failed, consistent: Some(consistent), seal: Some(seal), path: None, warnings: 0 }
}

/// What can be asked as soon as the snapshot is there: how the root of the only resource differs from its base.
fn soon<'a>(
    pool: &'a Pool,
    selected: &[Selected],
    run: &str,
) -> Result<Option<(&'a dyn NativeDiff, Snapshot, Snapshot)>> {
    let [one] = selected else { return Ok(None) };
    let native = pool.backend().native_diff().filter(|_| matches!(one.choice, Choice::Snapshot(_)));
    let (Some(native), Some(base)) = (native, one.base()) else { return Ok(None) };
    let name = match &one.given {
        Some(info) => info.snapshot.name.clone(),
        None => Some(SnapshotName::new(run).map_err(|error| Error::Usage(error.to_string()))?),
    };
    let now = Snapshot { dataset: one.resource.root().dataset.clone(), name };
    Ok(Some((native, base.snapshot.clone(), now)))
}

fn open_writer(
    destination: Destination,
    path: Option<&std::path::Path>,
    (format, compression): (Format, Compression),
    recipients: &[Recipient],
    id: &str,
) -> Result<Writer> {
    let encrypted = !recipients.is_empty();
    let sink = |sink: Box<dyn Sink>| -> Result<Box<dyn Sink>> {
        if encrypted { Ok(Box::new(EncryptedSink::new(sink, recipients)?)) } else { Ok(sink) }
    };
    Ok(match (destination, path) {
        (Destination::Stream(stream), _) => Writer::tar(
            sink(Box::new(WriteSink::new(stream, "standard output")))?,
            compression,
            &std::env::temp_dir(),
        )?,
        (Destination::Path { force, .. }, Some(path)) if format == Format::Directory => {
            Writer::directory(path, force, id)?
        }
        (Destination::Path { force, .. }, Some(path)) => {
            // What is encrypted is written from front to back, as to a pipe.
            let spool = if encrypted { std::env::temp_dir() } else { directory_of(path).to_owned() };
            Writer::tar(sink(Box::new(FileSink::create(path, force, id)?))?, compression, &spool)?
        }
        (Destination::Path { path, .. }, None) => {
            return Err(Error::Usage(format!("{} is no destination", path.display())));
        }
    })
}

/// Tells what has the partial archive's name still, which is what was written, or after success what was replaced by it, and
/// whether that is nothing.
fn what_remains<T>(
    outcome: Result<T>,
    partial: Option<&std::path::Path>,
    steps: &Steps<'_>,
) -> (Result<T>, bool) {
    let Some(partial) = partial.filter(|partial| partial.symlink_metadata().is_ok()) else {
        return (outcome, true);
    };
    let outcome = match outcome {
        Err(cause) => {
            let remains = vec![format!("the partial archive {}", partial.display())];
            Err(Error::Rollback { cause: Box::new(cause), remains })
        }
        done => {
            let message = "what the archive replaced could not be removed; `remand cleanup` does it";
            steps.warn(&Warning { subject: partial.display().to_string(), message: message.into() });
            done
        }
    };
    (outcome, false)
}

/// The path from the root of the file system: the record must hold whatever the working directory is later.
fn absolute(path: &std::path::Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::io("find", path.display()))
}

/// Takes the record away, unless something remains that `cleanup` needs it for.
pub(crate) fn end_run(run: Run, clean: bool, steps: &Steps<'_>) {
    if !clean {
        return;
    }
    if let Err(error) = run.end() {
        steps.notice("run record", crate::undo::chain(&error));
    }
}
