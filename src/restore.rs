//! Restore: an archive becomes a resource.
//!
//! ```text
//! manifest → name free, lock → base found → staging → members applied, digests checked → index → seal → rename → visible
//! ```
//!
//! Everything is built in a staging dataset that carries the run's id; one rename makes it visible. Until then nothing outside of
//! staging is touched, and any failure destroys what was made, proven by the token of its creation. A crash leaves the staging dataset
//! for `cleanup`.

mod apply;
pub(crate) mod base;
mod conflict;
mod files;
mod merge;
mod part;
pub(crate) mod plan;
mod properties;
mod received;
mod resume;
mod stage;
mod times;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub(crate) use resume::resumable_bytes;

use crate::archive::{self, Seal};
use crate::error::{Error, Result};
use crate::event::{Observer, Step};
use crate::input::Input;
use crate::pool::Pool;
use crate::resource::label;
use crate::step::Steps;

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
    /// Name of the new resource; by default the archive's.
    pub name: Option<String>,
    /// Another release to restore onto, `RELEASE` or `RELEASE@SNAPSHOT`.
    pub base: Option<String>,
    /// By default kept, unless the name changes.
    pub identity: Option<Identity>,
    /// Go on when the base does not hold what the archive was made against.
    pub allow_base_mismatch: bool,
    /// By default conflicts fail with `base`, and the archive wins with `allow_base_mismatch`.
    pub on_conflict: Option<OnConflict>,
    /// Wait for a lock that another process holds.
    pub wait: bool,
}

/// What a restore did.
#[derive(Clone, Debug)]
pub struct Report {
    /// The resource as it is now, as in `jail web01`.
    pub resource: String,
    /// Its name.
    pub name: String,
    /// Where it is.
    pub directory: Option<std::path::PathBuf>,
    /// Label of the base that it was restored onto.
    pub base: Option<String>,
    /// The archive's seal; none after a dry run.
    pub seal: Option<Seal>,
    /// Warnings that were given. More than none means: something that they name is not in the result.
    pub warnings: u64,
}

/// Restores the archive `input` in `pool`.
pub fn restore(
    pool: &Pool,
    options: &Options,
    input: Input,
    observer: &dyn Observer,
    interrupted: &Arc<AtomicBool>,
) -> Result<Report> {
    let subject = options.name.clone().unwrap_or_else(|| input.name());
    let steps = Steps::new(observer, &subject);
    let opened = input.open(interrupted)?;
    steps.run(Step::ResourceRestore, None, opened.total_bytes, |whole| {
        let mut run = apply::Restore::new(pool, options, &steps, interrupted, whole, &opened);
        let outcome = archive::read(opened.source, &opened.name, &mut run).map_err(Error::from);
        run.conclude(outcome)
    })
}

/// Says what a restore would do: reads the manifest, looks for the name and the base, makes nothing.
pub fn dry_run(
    pool: &Pool,
    options: &Options,
    input: Input,
    observer: &dyn Observer,
    interrupted: &Arc<AtomicBool>,
) -> Result<Report> {
    let steps = Steps::new(observer, &input.name());
    let opened = input.open(interrupted)?;
    let manifest = archive::reader::read_manifest(opened.source, &opened.name)?;
    let plan = plan::plan(&manifest, options.name.as_deref())?;
    apply::check_free(pool, &plan)?;
    apply::check_streams(pool, &plan)?;
    part::find(pool, &plan, options.base.as_deref(), &steps)?;
    let wanted =
        plan.record.base.as_ref().filter(|_| plan.record.mode == archive::manifest::Mode::Differential);
    let base = match wanted {
        None => None,
        Some(record) => {
            let known = pool.backend().existing_state_directory();
            let state = known.map_err(Error::backend("look for the pool's state directory"))?;
            let id = crate::run::new_id();
            let wish =
                base::Wish { base: options.base.as_deref(), allow_mismatch: options.allow_base_mismatch };
            Some(
                base::choose(pool, record, &wish, (state.as_deref(), &id), &steps, interrupted)?.base.label(),
            )
        }
    };
    Ok(Report {
        resource: label(plan.record.kind, &plan.name),
        name: plan.name,
        directory: None,
        base,
        seal: None,
        warnings: steps.warnings(),
    })
}

fn no_streams(pool: &Pool, target: &plan::Target) -> Error {
    Error::Unsupported(format!(
        "The dataset {} is a native stream of {}, which the pool {} ({}) cannot receive; export it with --portable",
        target.name,
        target.encoding.name(),
        pool.label(),
        pool.backend().kind().name()
    ))
}
