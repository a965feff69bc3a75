//! Restore: resources of an archive come back.
//!
//! ```text
//! manifest → select → names free, locks → bases found → staging → members applied, digests checked → index → seal → renames → visible
//! ```
//!
//! Everything is built in staging datasets that carry the run's id; one rename each makes them visible, when all are whole. Until then
//! nothing outside of staging is touched, and any failure destroys what was made, proven by the token of its creation. A crash leaves the
//! staging datasets for `cleanup`, which removes them, or makes the rest visible if some are.

pub(crate) mod base;
mod begin;
mod carried;
mod config;
mod conflict;
mod files;
mod links;
mod merge;
mod own;
mod part;
pub(crate) mod plan;
mod properties;
mod publish;
mod received;
mod resume;
mod room;
mod route;
mod salvage;
mod select;
mod stage;
pub(crate) mod times;
mod visitor;
mod work;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(crate) use resume::resumable_bytes;
pub use salvage::{Salvage, Toll};

use crate::archive::{self, Seal, Signed};
use crate::config::Assignment;
use crate::confine::{self, Allowed};
use crate::error::{Error, Result};
use crate::event::{Observer, Step, Warning};
use crate::input::{Input, Opened};
use crate::pool::Pool;
use crate::resource::{Base, label};
use crate::selector::Selection;
use crate::step::Steps;
use crate::undo::chain;

/// Whether a restored jail stays who it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Host id, host UUID, MAC and network addresses as they were: for a move.
    Keep,
    /// New ones: for a second jail beside the first. Static network addresses are taken away.
    New,
}

/// Who wins where the archive changes what another base has otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// The base.
    Keep,
    /// The archive.
    Theirs,
    /// Nobody: the restore fails and lists the conflicts.
    Fail,
}

/// How to restore.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Which resources of the archive; all if none is named.
    pub selection: Selection,
    /// Leave out what cannot be restored, with a warning, instead of restoring nothing.
    pub keep_going: bool,
    /// Name of the new resource, where exactly one is selected; by default the archive's.
    pub name: Option<String>,
    /// Another release to restore onto, `RELEASE` or `RELEASE@SNAPSHOT`.
    pub base: Option<String>,
    /// By default kept, unless the name changes.
    pub identity: Option<Identity>,
    /// Go on when the base does not hold what the archive was made against.
    pub allow_base_mismatch: bool,
    /// By default conflicts fail with `base`, and the archive wins with `allow_base_mismatch`.
    pub on_conflict: Option<OnConflict>,
    /// What is set in the configs, after name, base and identity.
    pub assignments: Vec<Assignment>,
    /// Wait for a lock that another process holds.
    pub wait: bool,
    /// Restore of a damaged archive what is whole.
    pub salvage: Option<Salvage>,
}

/// What a restore did.
#[derive(Clone, Debug)]
pub struct Report {
    /// The resources that were selected: those that failed first, then the others in the order of the archive.
    pub resources: Vec<Restored>,
    /// The archive's seal; none after a dry run, and where damage has left none.
    pub seal: Option<Seal>,
    /// The archive's signature; none after a dry run, unless one was required.
    pub signed: Option<Signed>,
    /// Warnings that were given. More than none means: something that they name is not in the result.
    pub warnings: u64,
}

/// What became of one resource.
#[derive(Clone, Debug)]
pub struct Restored {
    /// The resource as it is now, as in `jail web01`.
    pub resource: String,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub directory: Option<std::path::PathBuf>,
    /// Label of the base that it was restored onto.
    pub base: Option<String>,
    /// What is set in its config, or taken away.
    pub assignments: Vec<Assignment>,
    /// Why it was left out, if it was.
    pub failed: Option<String>,
    /// What it lacks, if it comes from a damaged archive and may not be whole.
    pub salvaged: Option<Toll>,
}

impl Restored {
    fn new(plan: &plan::Plan) -> Self {
        let (resource, name) = (label(plan.record.kind, &plan.name), plan.name.clone());
        let assignments = plan.assignments.clone();
        Self { resource, name, directory: None, base: None, assignments, failed: None, salvaged: None }
    }

    fn failed(plan: &plan::Plan, error: &Error) -> Self {
        Self { failed: Some(chain(error)), ..Self::new(plan) }
    }

    fn of(work: &work::Work<'_>, directory: Option<std::path::PathBuf>) -> Self {
        let failed = work.failed.as_ref().map(|error| chain(error));
        let base = work.base().map(Base::label);
        Self { directory, base, failed, salvaged: work.toll.told(), ..Self::new(&work.plan) }
    }
}

/// Restores resources of the archive `input` in `pool`: all that are selected, or none.
pub fn restore(
    pool: &Pool,
    options: &Options,
    mut input: Input,
    observer: &dyn Observer,
    interrupted: &Arc<AtomicBool>,
) -> Result<Report> {
    if options.salvage.is_some() && input.must_be_signed() {
        return Err(Error::Usage(
            "What is left of a damaged archive cannot be proven to be signed: salvage it without a key"
                .into(),
        ));
    }
    let is_foreign = input.is_foreign()?;
    let allowed = Allowed::nothing().and_in(pool)?.and_temporary(options.salvage.is_some() || is_foreign);
    confine::run(&allowed, || build(pool, options, input, observer, interrupted))
}

fn build(
    pool: &Pool,
    options: &Options,
    input: Input,
    observer: &dyn Observer,
    interrupted: &Arc<AtomicBool>,
) -> Result<Report> {
    let subject = options.name.clone().unwrap_or_else(|| input.name());
    let steps = Steps::new(observer, &subject);
    let mut own = own::Own::new(pool, &steps, interrupted);
    let outcome = input.open_with(interrupted, Some(&mut own)).and_then(|opened| {
        let origin = opened.origin.clone();
        let outcome = apply((pool, options), opened, (&steps, &subject), interrupted);
        if let Some(origin) = origin {
            // What lies in the stream of a jail's own dataset is read where that was received.
            origin.wait();
        }
        outcome
    });
    own.conclude(outcome).map(|report| Report { warnings: steps.warnings(), ..report })
}

fn apply(
    (pool, options): (&Pool, &Options),
    opened: Opened,
    (steps, subject): (&Steps<'_>, &str),
    interrupted: &Arc<AtomicBool>,
) -> Result<Report> {
    if options.salvage.is_some() {
        opened.must_be_ours()?;
    }
    steps.run(Step::ResourceRestore, None, opened.total_bytes, |whole| {
        let context = work::Context { pool, options, steps, interrupted };
        let mut run = visitor::Restore::new(context, whole, subject, &opened);
        // Of what is not selected no more is read than must be.
        let everything = options.selection.is_everything();
        let read = if everything { archive::read } else { archive::select };
        let outcome = match options.salvage {
            Some(salvage) => run.salvage(opened.source, &opened.name, salvage),
            None => read(opened.source, &opened.name, &mut run).map(Some).map_err(Error::from),
        };
        run.conclude(outcome)
    })
}

/// Says what a restore would do: reads the manifest, looks for names and bases, makes nothing.
pub fn dry_run(
    pool: &Pool,
    options: &Options,
    mut input: Input,
    observer: &dyn Observer,
    interrupted: &Arc<AtomicBool>,
) -> Result<Report> {
    let allowed = Allowed::nothing().and_in(pool)?.and_temporary(input.is_foreign()?);
    confine::run(&allowed, || foresee(pool, options, input, observer, interrupted))
}

fn foresee(
    pool: &Pool,
    options: &Options,
    input: Input,
    observer: &dyn Observer,
    interrupted: &Arc<AtomicBool>,
) -> Result<Report> {
    let steps = Steps::new(observer, &input.name());
    let opened = input.open(interrupted)?;
    let name = opened.name.clone();
    let (manifest, signed) = crate::verify::described(opened, interrupted)?;
    begin::tell(&manifest, &name, &steps);
    let mut selected = select::select(&manifest, options, &name, &steps)?;
    let context = work::Context { pool, options, steps: &steps, interrupted };
    let known = begin::foresee_bases(&manifest, &mut selected, context)?;
    let several = selected.len() > 1;
    begin::check_places(pool, &selected)?;
    let mut resources = Vec::new();
    for one in &selected {
        resources.push(match begin::foresee(&one.plan, &selected, &known, context) {
            Ok(base) => Restored { base, ..Restored::new(&one.plan) },
            Err(error) if several && options.keep_going && !visitor::is_fatal(&error) => {
                let message = format!("is left out: {}", chain(&error));
                steps.warn(&Warning { subject: one.label(), message });
                Restored::failed(&one.plan, &error)
            }
            Err(error) => return Err(error),
        });
    }
    Ok(Report { resources, seal: None, signed, warnings: steps.warnings() })
}

fn no_streams(pool: &Pool, plan: &plan::Plan, target: &plan::Target) -> Error {
    let way = if plan.is_foreign { "restore it to a pool of ZFS" } else { "export it with --portable" };
    Error::Unsupported(format!(
        "The dataset {} is a native stream of {}, which the pool {} ({}) cannot receive; {way}",
        target.name,
        target.encoding.name(),
        pool.label(),
        pool.backend().kind().name()
    ))
}

#[cfg(test)]
mod tests;
