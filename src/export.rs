//! Export: a resource becomes an archive.
//!
//! ```text
//! lock → snapshot → manifest, config, fstab, files, root, other datasets → index, seal → rename → snapshot destroyed → unlocked
//! ```
//!
//! Nothing is visible under the destination's name before the last byte is durable. A crash leaves a snapshot, a partial archive and
//! maybe a view, all of which carry the run's id ([`crate::run`]); any other failure leaves nothing.

mod ahead;
pub(crate) mod basejail;
pub(crate) mod datasets;
mod encryption;
mod manifest;
mod members;
pub mod plan;
pub mod target;

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;

use remand_backends::{BackendKind, NativeDiff, Snapshot, SnapshotName};

use self::ahead::Ahead;
use crate::archive::manifest::{Encoding, Mode};
use crate::archive::sink::{FileSink, WriteSink, partial_path};
use crate::archive::{Compression, Format, Seal, Writer};
use crate::change::Choice;
use crate::change::snapshot::Asked;
use crate::error::{Error, Result};
use crate::event::{Observer, Step};
use crate::lock::Lock;
use crate::pool::Pool;
use crate::resource::{Resource, Selector};
use crate::run::{self, Record, Run};
use crate::step::Steps;
use crate::undo::Undo;

pub(crate) use encryption::full_name;
pub use members::Counts;
pub use plan::Plan;
pub use target::{Codec, Destination};

/// What to export, and how.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // independent switches of the command line
pub struct Options {
    /// The resource.
    pub selector: Selector,
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
}

impl Options {
    /// The defaults for a resource.
    pub fn new(selector: Selector) -> Self {
        Self {
            selector,
            standalone: false,
            recursive: false,
            portable: false,
            decrypted: false,
            format: None,
            codec: None,
            level: None,
            engine: None,
            wait: false,
        }
    }
}

/// What an export did.
#[derive(Clone, Debug)]
pub struct Report {
    /// The resource.
    pub resource: String,
    /// What was decided.
    pub plan: Plan,
    /// Label of the base.
    pub base: Option<String>,
    /// Name of the engine that found the changes.
    pub engine: String,
    /// What was found in all trees.
    pub counts: Counts,
    /// The archive's seal; none after a dry run.
    pub seal: Option<Seal>,
    /// Where it is; none for a pipe.
    pub path: Option<PathBuf>,
    /// Warnings that were given. More than none means: something that they name is not in the archive.
    pub warnings: u64,
}

/// Exports a resource of `pool` to `destination`.
pub fn export(
    pool: &Pool,
    options: &Options,
    destination: Destination,
    observer: &dyn Observer,
    interrupted: &AtomicBool,
) -> Result<Report> {
    let steps = Steps::new(observer, &options.selector.name);
    steps.run(Step::ResourceBackup, None, None, |_| {
        let path = match &destination {
            Destination::Path { path, .. } => Some(absolute(path)?),
            Destination::Stream(_) => None,
        };
        let form = target::form(path.as_deref(), options.format, options.codec, options.level)?;
        if let Destination::Path { force: false, .. } = destination
            && let Some(path) = path.as_ref().filter(|path| path.symlink_metadata().is_ok())
        {
            return Err(Error::Archive(crate::archive::Error::Exists(path.display().to_string())));
        }
        pool.remark(&steps);
        let backend = pool.backend();
        let mut resource = pool.resource(&options.selector)?;
        let what = resource.label();
        let state = backend.state_directory().map_err(Error::backend("make the pool's state directory"))?;
        let id = run::new_id();
        let partial = path.as_deref().map(|path| partial_path(path, &id));
        let record = Record::new("export", what.clone()).with_partial(partial.as_deref());
        let _lock = steps.run(Step::Lock, None, None, |_| {
            Lock::acquire(&state, &lock_key(&resource), &record, options.wait, interrupted)
        })?;
        // What was found before the lock was taken may be gone.
        resource = pool.resource(&options.selector)?;
        let (mut plan, wishes) = make_plan(pool, &resource, options)?;
        // Refused before anything is made: an engine that is unknown, or not safe here.
        let base = base_of(&resource, &plan);
        let native = backend.native_diff();
        let choice = crate::base::choose(base, options.engine.as_deref(), native)?;
        if let (Choice::Snapshot(_), Some(what)) = (choice, native.and_then(NativeDiff::leaves_out)) {
            steps.notice("root", format!("the snapshot engine does not see {what}"));
        }
        let run = Run::announce(&state, id, &record)?;
        let mut undo = Undo::new(&steps);
        let now = Snapshot { dataset: resource.root().dataset.clone(), name: Some(snapshot_name(&run)?) };
        let outcome = std::thread::scope(|scope| {
            // Nothing needs the record to be durable but the partial archive: a snapshot is found by its name.
            let settled = scope.spawn(|| run.settle());
            encryption::tell(pool, &resource, options.decrypted, &steps)?;
            let snapshot = take_snapshot(pool, &resource, &run, &steps, &mut undo)?;
            let native = native.filter(|_| matches!(choice, Choice::Snapshot(_))).zip(base);
            let ahead = native
                .map(|(native, base)| Ahead::ask(scope, Asked { native, base: &base.snapshot, now: &now }));
            let asked = ahead.as_ref().zip(base).map(|(native, base)| Asked {
                native,
                base: &base.snapshot,
                now: &now,
            });
            let engine = choice.engine(asked);
            settled.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            let comparison = basejail::Comparison {
                pool,
                resource: &resource,
                steps: &steps,
                interrupted,
                snapshot: Some((run.id(), snapshot.name.clone())),
            };
            comparison.keep_changed(&mut plan, wishes)?;
            let writer = open_writer(destination, path.as_deref(), form, run.id())?;
            let job = datasets::Job {
                pool,
                resource: &resource,
                plan: &plan,
                options,
                engine: engine.as_ref(),
                state: &state,
                run: run.id(),
                snapshot,
                steps: &steps,
                interrupted,
                views: Cell::new(0),
            };
            job.write(writer)
        });
        let (outcome, clean) = undo.conclude(outcome);
        end_run(run, clean, &steps);
        let (seal, counts) = outcome?;
        Ok(Report {
            resource: what,
            base: base.map(crate::resource::Base::label),
            engine: choice.name().to_owned(),
            plan,
            counts,
            seal: Some(seal),
            path,
            warnings: steps.warnings(),
        })
    })
}

/// Finds out what an export would write, and writes nothing. The live tree is compared, without a snapshot.
pub fn dry_run(
    pool: &Pool,
    options: &Options,
    observer: &dyn Observer,
    interrupted: &AtomicBool,
) -> Result<Report> {
    let steps = Steps::new(observer, &options.selector.name);
    let resource = pool.resource(&options.selector)?;
    let (mut plan, wishes) = make_plan(pool, &resource, options)?;
    let comparison =
        basejail::Comparison { pool, resource: &resource, steps: &steps, interrupted, snapshot: None };
    comparison.keep_changed(&mut plan, wishes)?;
    let base = base_of(&resource, &plan);
    let engine = crate::base::choose(base, options.engine.as_deref(), None)?.engine(None);
    let mut counts = Counts::default();
    if !plan.datasets[0].encoding.is_native() {
        steps.run(Step::Compare, Some("root"), None, |meter| {
            crate::diff::compare_live(
                pool,
                &resource,
                (base, &plan.base_directories),
                engine.as_ref(),
                &steps,
                interrupted,
                &mut |change| {
                    counts.count(&change.what);
                    meter.add(0, 1);
                    Ok(())
                },
            )
        })?;
    }
    Ok(Report {
        resource: resource.label(),
        base: base.map(crate::resource::Base::label),
        engine: engine.name().to_owned(),
        plan,
        counts,
        seal: None,
        path: None,
        warnings: steps.warnings(),
    })
}

fn make_plan(pool: &Pool, resource: &Resource, options: &Options) -> Result<(Plan, plan::Wishes)> {
    let backend = pool.backend();
    let wishes = plan::Wishes {
        standalone: options.standalone,
        recursive: options.recursive,
        portable: options.portable,
        native: backend.streams().map(|_| native_encoding(backend.kind())),
    };
    let plan = plan::plan(resource, backend.capabilities(), wishes)?;
    encryption::check(pool, resource, &plan, options.decrypted)?;
    Ok((plan, wishes))
}

/// How native streams of a backend lie in an archive.
pub(crate) fn native_encoding(kind: BackendKind) -> Encoding {
    match kind {
        BackendKind::Btrfs => Encoding::Btrfs,
        _ => Encoding::Zfs,
    }
}

/// The base that the plan needs: none for a standalone export.
pub(crate) fn base_of<'a>(resource: &'a Resource, plan: &Plan) -> Option<&'a crate::resource::Base> {
    resource.base.as_ref().filter(|_| plan.mode == Mode::Differential)
}

/// One snapshot of everything that the resource has; destroyed when the run ends.
fn take_snapshot<'a>(
    pool: &'a Pool,
    resource: &Resource,
    run: &Run,
    steps: &Steps<'_>,
    undo: &mut Undo<'a>,
) -> Result<Snapshot> {
    let backend = pool.backend();
    if !backend.capabilities().consistent_while_running {
        steps.skip(Step::Snapshot, None, "a plain directory has no snapshots; the live tree is read");
        return Ok(Snapshot { dataset: resource.dataset.clone(), name: None });
    }
    steps.run(Step::Snapshot, Some(run.id()), None, |_| {
        let name = snapshot_name(run)?;
        let created = backend
            .snapshot(&resource.dataset, &name, true)
            .map_err(Error::backend(format!("make a snapshot of the {}", resource.label())))?;
        let snapshot = created.snapshot().clone();
        undo.always(format!("snapshot {}", run.id()), move || {
            backend
                .destroy_snapshot(created)
                .map_err(|kept| Error::backend("destroy the snapshot")(kept.error))
        });
        Ok(snapshot)
    })
}

/// Its snapshot's name.
fn snapshot_name(run: &Run) -> Result<SnapshotName> {
    SnapshotName::new(run.id()).map_err(|error| Error::Usage(error.to_string()))
}

fn open_writer(
    destination: Destination,
    path: Option<&std::path::Path>,
    (format, compression): (Format, Compression),
    id: &str,
) -> Result<Writer> {
    Ok(match (destination, path) {
        (Destination::Stream(stream), _) => Writer::tar(
            Box::new(WriteSink::new(stream, "standard output")),
            compression,
            &std::env::temp_dir(),
        )?,
        (Destination::Path { force, .. }, Some(path)) if format == Format::Directory => {
            Writer::directory(path, force, id)?
        }
        (Destination::Path { force, .. }, Some(path)) => {
            let spool = path.parent().unwrap_or(path).to_owned();
            Writer::tar(Box::new(FileSink::create(path, force, id)?), compression, &spool)?
        }
        (Destination::Path { path, .. }, None) => {
            return Err(Error::Usage(format!("{} is no destination", path.display())));
        }
    })
}

/// The path from the root of the file system: the record must hold whatever the working directory is later.
fn absolute(path: &std::path::Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(Error::io("find", path.display()))
}

/// Name of a resource's lock.
pub(crate) fn lock_key(resource: &Resource) -> String {
    crate::resource::label(resource.kind, &resource.name).replace(' ', "-")
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
