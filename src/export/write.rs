//! Writing an archive: what it will hold is described, then each resource's members come, then the seal.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32};

use remand_backends::{NativeDiff, Snapshot};

use super::datasets::{Against, Done, Job};
use super::manifest::{Found, SIZE_BYTES, amend, manifest, record};
use super::proof::{self, OnTheWay};
use super::queue::MemberWriter;
use super::recorded::Recorded;
use super::selected::{Failures, Selected};
use super::shared::SharedFiles;
use super::snapshot::Moment;
use super::{Options, basejail, carried, encryption, own, reproducible, side_by_side};
use crate::archive::manifest::{BaseDirectory, ResourceKind, ResourceRecord};
use crate::archive::{Failure, Manifest, Seal, Writer};
use crate::base::OpenBase;
use crate::change::Fingerprint;
use crate::change::snapshot::Asked;
use crate::error::Result;
use crate::event::{Observer, Step, Warning};
use crate::pool::{Pool, View};
use crate::resource::Base;
use crate::room::Rooms;
use crate::step::Steps;
use crate::tree::TreePath;
use crate::undo::chain;

/// What all parts of one export share.
pub(super) struct Context<'a> {
    pub(super) pool: &'a Pool,
    pub(super) options: &'a Options,
    pub(super) run: &'a str,
    pub(super) state: &'a Path,
    pub(super) interrupted: &'a AtomicBool,
    pub(super) views: AtomicU32,
    /// Whether several resources were chosen.
    pub(super) many: bool,
    /// Identity of the archive.
    pub(super) archive: &'a str,
    /// Where it goes; none for a pipe.
    pub(super) destination: Option<&'a Path>,
    /// What the pool's records say.
    pub(super) recorded: &'a Recorded,
    /// Where it is written to.
    pub(super) rooms: &'a Rooms,
    /// The destination's directory, where what is written takes as much room as it has bytes.
    pub(super) stored_in: Option<&'a Path>,
    /// Who was asked already how the only resource differs from its base.
    pub(super) early: Option<&'a dyn NativeDiff>,
    /// Is told of a snapshot of which nothing more is read.
    pub(super) done_with: &'a (dyn Fn(&Snapshot) + Sync),
}

/// A resource that is about to be written.
pub(super) struct Ready {
    pub(super) selected: Selected,
    pub(super) moment: Moment,
    prefix: TreePath,
    left_out: Vec<BaseDirectory>,
    /// What of the base will be found on the way.
    on_the_way: OnTheWay,
}

/// What became of a resource: how much was written, or why it failed.
pub(super) type Outcome = std::result::Result<Done, String>;

/// What an export comes to.
pub(super) type Written = (Seal, Vec<(Ready, Outcome)>);

/// Bases that are open for reading, each once.
struct Bases {
    views: Vec<(Snapshot, View)>,
}

impl Bases {
    fn open(
        context: &Context<'_>,
        all: &[(Selected, Moment)],
        failures: &mut Failures,
        steps: &Steps<'_>,
    ) -> Result<(Self, Vec<bool>)> {
        let mut this = Self { views: Vec::new() };
        let mut usable = Vec::new();
        for (selected, _) in all {
            let base = selected.base().filter(|base| this.tree(base).is_none());
            let opened = base.map_or(Ok(None), |base| {
                let name = format!("{}-base{}", context.run, this.views.len());
                Ok(Some((base.snapshot.clone(), View::open(context.pool.backend(), &base.snapshot, &name)?)))
            });
            let who = (selected.resource.kind, selected.resource.name.as_str());
            match failures.take(who, opened, steps) {
                Ok(opened) => {
                    usable.push(opened.is_some());
                    this.views.extend(opened.flatten());
                }
                Err(error) => {
                    this.close(steps);
                    return Err(error);
                }
            }
        }
        Ok((this, usable))
    }

    fn tree(&self, base: &Base) -> Option<&View> {
        self.views.iter().find(|(snapshot, _)| *snapshot == base.snapshot).map(|(_, view)| view)
    }

    fn close(self, steps: &Steps<'_>) {
        for (_, view) in self.views {
            crate::pool::close(view, "the base", steps);
        }
    }
}

/// Writes everything.
pub(super) fn write(
    context: &Context<'_>,
    selected: Vec<(Selected, Moment)>,
    one_moment: bool,
    writer: Writer,
    failures: &mut Failures,
    steps: &Steps<'_>,
) -> Result<Written> {
    let mut changed = Vec::new();
    for (mut selected, moment) in selected {
        let kept = keep_changed(context, &mut selected, &moment, steps);
        let who = (selected.resource.kind, selected.resource.name.clone());
        if failures.take((who.0, &who.1), kept, steps)?.is_some() {
            changed.push((selected, moment));
        }
    }
    let (bases, usable) = Bases::open(context, &changed, failures, steps)?;
    let usable = changed.into_iter().zip(usable).filter_map(|(one, usable)| usable.then_some(one)).collect();
    let outcome = described(context, usable, &bases, one_moment, writer, failures, steps);
    bases.close(steps);
    outcome
}

/// Decides what needs a look at the snapshot.
fn keep_changed(
    context: &Context<'_>,
    selected: &mut Selected,
    moment: &Moment,
    steps: &Steps<'_>,
) -> Result<()> {
    encryption::tell(context.pool, &selected.resource, context.options.decrypted, steps)?;
    if selected.given.is_some() {
        // Which files it has now says nothing of then.
        let view = format!("{}-own", context.run);
        let resource = &mut selected.resource;
        crate::pool::with_view(context.pool.backend(), &moment.snapshot, &view, steps, |view| {
            if resource.kind != ResourceKind::Release {
                own::look(context.pool, resource, &view.tree, steps)?;
            }
            Ok(())
        })?;
    }
    let comparison = basejail::Comparison {
        pool: context.pool,
        resource: &selected.resource,
        steps,
        interrupted: context.interrupted,
        snapshot: Some((context.run, moment.snapshot.name.clone())),
    };
    comparison.keep_changed(&mut selected.plan, selected.wishes)?;
    reproducible::check_streams(context.options, selected)
}

fn described(
    context: &Context<'_>,
    selected: Vec<(Selected, Moment)>,
    bases: &Bases,
    one_moment: bool,
    mut writer: Writer,
    failures: &mut Failures,
    steps: &Steps<'_>,
) -> Result<Written> {
    let none = SharedFiles::default();
    let (mut ready, mut records) = (Vec::new(), Vec::new());
    let mut fingerprints = Vec::new();
    for (selected, moment) in selected {
        let who = (selected.resource.kind, selected.resource.name.clone());
        let described =
            describe(context, selected, moment, bases, (&mut fingerprints, &none), writer.can_amend(), steps);
        if let Some((one, record)) = failures.take((who.0, &who.1), described, steps)? {
            ready.push(one);
            records.push(record);
        }
    }
    if ready.is_empty() {
        return Err(failures.all());
    }
    carried::mark(&mut records, &ready.iter().map(|one| &one.selected).collect::<Vec<_>>());
    if let Some(directory) = context.stored_in {
        #[allow(clippy::redundant_closure_for_method_calls)] // the method is one for each lifetime
        let streams = |one| with_job(context, one, (0, &none), steps, |job| job.stream_bytes());
        let expected = ready.iter().map(streams).sum::<Result<_>>()?;
        context.rooms.need(directory, expected, "the archive")?;
    }
    let engines: std::collections::BTreeSet<_> = ready.iter().map(|one| one.selected.choice.name()).collect();
    let engines: Vec<_> = engines.into_iter().collect();
    let consistent = one_moment && (ready.len() > 1 || ready[0].moment.consistent);
    let mut manifest =
        manifest(records, failures.records.clone(), consistent, (context.options, &engines), context.archive);
    if context.options.reproducible {
        reproducible::settle(&mut manifest, &ready);
    }
    let spare =
        ready.iter().map(|one| one.on_the_way.spare_bytes() + SIZE_BYTES * one.selected.plan.datasets.len());
    let spare_bytes = spare.sum();
    writer.manifest(&manifest, spare_bytes)?;
    let outcomes = members(context, &ready, bases, &mut writer, failures, steps)?;
    if let Some(signer) = &context.options.signer {
        let whole = ready.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok());
        let labels: Vec<_> = whole.map(|(one, _)| one.selected.resource.label()).collect();
        writer.sign_with(Arc::clone(signer), comment(context, &manifest, &labels));
    }
    context.recorded.settle(steps);
    let seal = steps.run(Step::BundleBackup, None, None, |_| {
        if writer.can_amend() {
            let done: Vec<_> = outcomes.iter().map(|outcome| outcome.as_ref().ok()).collect();
            amend(&mut writer, manifest, spare_bytes, &done)?;
        }
        go_on(context)?;
        Ok(writer.finish()?)
    })?;
    Ok((seal, ready.into_iter().zip(outcomes).collect()))
}

/// What the signature says besides: when and of what. minisign(1) shows it.
fn comment(context: &Context<'_>, manifest: &Manifest, labels: &[String]) -> String {
    let of = format!("archive:{}\tresources:{}", manifest.id, labels.join(", "));
    if context.options.reproducible {
        return format!("timestamp:{}\t{of}", manifest.created_seconds());
    }
    let file = context.destination.and_then(Path::file_name);
    let file =
        file.map_or_else(|| "-".to_owned(), |name| crate::tree::path::printable(name.as_encoded_bytes()));
    let now = jiff::Timestamp::now().as_second();
    format!("timestamp:{now}\tfile:{file}\t{of}")
}

/// The record of one resource, and what is left to do.
fn describe(
    context: &Context<'_>,
    selected: Selected,
    moment: Moment,
    bases: &Bases,
    (fingerprints, shared): (&mut Vec<(Snapshot, Fingerprint)>, &SharedFiles),
    can_amend: bool,
    steps: &Steps<'_>,
) -> Result<(Ready, ResourceRecord)> {
    go_on(context)?;
    let prefix = match (context.many, selected.resource.kind) {
        (false, _) => "./".to_owned(),
        (true, ResourceKind::Release) => format!("./releases/{}/", selected.resource.name),
        (true, ResourceKind::Template) => format!("./templates/{}/", selected.resource.name),
        (true, ResourceKind::Jail) => format!("./jails/{}/", selected.resource.name),
        (true, ResourceKind::Plain) => format!("./datasets/{}/", selected.resource.name),
    };
    let path = super::datasets::path(prefix.trim_start_matches("./").trim_end_matches('/'))?;
    let mut ready =
        Ready { selected, moment, prefix: path, left_out: Vec::new(), on_the_way: OnTheWay::Nothing };
    let base = ready.selected.base().cloned();
    let view = base.as_ref().and_then(|base| bases.tree(base));
    let open = match (&base, view) {
        (Some(base), Some(view)) => {
            let backend = context.pool.backend();
            Some(OpenBase::new(backend, Some(context.state), base, &view.tree)?)
        }
        _ => None,
    };
    let mut known = None;
    if let (Some(open), Some(base)) = (&open, &base) {
        let before = fingerprints.iter().find(|(snapshot, _)| *snapshot == base.snapshot);
        if let Some((_, fingerprint)) = before {
            known = Some(fingerprint.clone());
        } else {
            // Room for what is found on the way is not there each time, which shows.
            let in_time = can_amend && !context.many && !context.options.reproducible;
            let engine = ready.selected.choice.engine(None);
            (known, ready.on_the_way) =
                proof::before(context, open, base, in_time.then_some(&*engine), steps)?;
            fingerprints.extend(known.clone().map(|known| (base.snapshot.clone(), known)));
        }
    }
    let (left_out, record) = with_job(context, &ready, (0, shared), steps, |job| {
        let left_out = job.left_out(view.map(|view| &view.tree))?;
        let found = Found {
            guid: open.as_ref().and_then(OpenBase::guid),
            fingerprint: known.clone(),
            left_out: &left_out,
            taken: &ready.moment.taken,
            consistent: ready.moment.consistent,
            prefix: &prefix,
            remembered: context.recorded.about(
                ready.selected.resource.kind,
                &ready.selected.resource.name,
                steps,
            ),
        };
        let record = record(job, found)?;
        Ok((left_out, record))
    })?;
    ready.left_out = left_out;
    Ok((ready, record))
}

/// The members of all resources.
fn members(
    context: &Context<'_>,
    ready: &[Ready],
    bases: &Bases,
    writer: &mut Writer,
    failures: &Failures,
    steps: &Steps<'_>,
) -> Result<Vec<Outcome>> {
    let resources: Vec<_> = ready.iter().map(|one| &one.selected.resource).collect();
    let shared = SharedFiles::find(context.pool, &resources, context.interrupted)?;
    if !context.many {
        return Ok(vec![Ok(one(context, ready, 0, bases, (writer, &shared), steps)?)]);
    }
    let depth = steps.depth();
    let read = |number: usize, queue: &mut super::queue::Queue, observer: &dyn Observer| {
        let steps = Steps::nested(observer, &ready[number].selected.resource.name, depth);
        let done = steps.run(Step::ResourceBackup, None, None, |_| {
            one(context, ready, number, bases, (queue, &shared), &steps)
        });
        shared.done(u32::try_from(number).unwrap_or(u32::MAX));
        (done, steps.warnings())
    };
    let mut outcomes = Vec::new();
    let mut finished = |number: usize, writer: &mut Writer, done: Result<Done>, warnings: u64| {
        steps.count_warnings(warnings);
        outcomes.push(match done {
            Ok(done) => Ok(done),
            Err(error) if !failures.keep_going || error.exit_status() == 130 => return Err(error),
            Err(error) => {
                let error = chain(&error);
                let subject = ready[number].selected.resource.label();
                steps.warn(&Warning {
                    subject,
                    message: format!("failed, and is not whole in the archive: {error}"),
                });
                let resource = u32::try_from(number).unwrap_or(u32::MAX);
                writer.fail(&Failure { resource, error: error.clone() })?;
                Err(error)
            }
        });
        Ok(())
    };
    side_by_side::run(ready.len(), writer, steps.observer(), &read, &mut finished)?;
    if outcomes.iter().all(std::result::Result::is_err) {
        let reasons = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        let reasons: Vec<_> = reasons.map(String::as_str).collect();
        return Err(crate::error::Error::Unsupported(format!(
            "Every resource failed: {}",
            reasons.join("; ")
        )));
    }
    Ok(outcomes)
}

/// The members of one resource.
fn one(
    context: &Context<'_>,
    ready: &[Ready],
    number: usize,
    bases: &Bases,
    (writer, shared): (&mut dyn MemberWriter, &SharedFiles),
    steps: &Steps<'_>,
) -> Result<Done> {
    let one = &ready[number];
    let base = one.selected.base();
    let view = base.and_then(|base| bases.tree(base));
    let base_tree = view.map(|view| &view.tree);
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    let mut done = with_job(context, one, (number, shared), steps, |job| {
        job.write(
            writer,
            &Against { base: base_tree, left_out: &one.left_out, wanted: one.on_the_way.wanted() },
        )
    })?;
    if let (Some(base), Some(tree)) = (base, base_tree) {
        let open = OpenBase::new(context.pool.backend(), Some(context.state), base, tree)?;
        proof::after(context, &open, base, &one.on_the_way, &mut done.base, steps)?;
    }
    Ok(done)
}

/// Runs `work` with a resource's job.
fn with_job<T>(
    context: &Context<'_>,
    ready: &Ready,
    (number, shared): (u32, &SharedFiles),
    steps: &Steps<'_>,
    work: impl FnOnce(&Job<'_>) -> Result<T>,
) -> Result<T> {
    let Ready { selected, moment, prefix, .. } = ready;
    let native = context.early.or_else(|| context.pool.backend().native_diff());
    let now =
        Snapshot { dataset: selected.resource.root().dataset.clone(), name: moment.snapshot.name.clone() };
    let asked =
        native.zip(selected.base()).map(|(native, base)| Asked { native, base: &base.snapshot, now: &now });
    let engine = selected.choice.engine(asked);
    work(&Job {
        pool: context.pool,
        resource: &selected.resource,
        number,
        prefix,
        plan: &selected.plan,
        options: context.options,
        engine: engine.as_ref(),
        run: context.run,
        snapshot: &moment.snapshot,
        root_snapshot: carried::root_snapshot(selected.carried.as_ref()),
        taken_seconds: reproducible::taken_seconds(context.options, ready),
        steps,
        interrupted: context.interrupted,
        views: &context.views,
        shared,
        done_with: context.done_with,
    })
}

fn go_on(context: &Context<'_>) -> Result<()> {
    if context.interrupted.load(std::sync::atomic::Ordering::Relaxed) {
        return Err(crate::error::Error::Interrupted);
    }
    Ok(())
}
