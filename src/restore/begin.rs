//! What happens when the manifest is known: names are checked, locks taken, bases found, stages made. Each for all resources before the
//! next, so that most of what can go wrong does so before anything is made.

use std::path::Path;

use super::base::{self, Chosen, Wish};
use super::carried;
use super::conflict::Conflicts;
use super::links::Copies;
use super::merge::Merge;
use super::plan::Plan;
use super::resume::Earlier;
use super::route::Routes;
use super::select::{Selected, select};
use super::stage::Stage;
use super::visitor::{Restore, is_fatal};
use super::work::{Context, Onto, Work};
use super::{OnConflict, Restored, no_streams, part};
use crate::archive::Manifest;
use crate::archive::manifest::{BaseRecord, Mode, ResourceKind};
use crate::config::{Assignment, Dialect};
use crate::error::{Error, Result};
use crate::event::{Step, Warning};
use crate::lock::Lock;
use crate::pool::{Pool, View};
use crate::resource::label;
use crate::run::{self, Record, Run};
use crate::step::Steps;
use crate::undo::Undo;

/// A resource, and its lock.
type Locked = (Selected, Lock);

/// Bases that were found in the pool.
pub(super) type Known = Vec<(BaseRecord, Chosen)>;

/// What the resources of one run need to know of it.
struct Preparing<'p> {
    /// None where nothing may be made.
    state: Option<&'p Path>,
    run: String,
    /// Whether the archive has several resources.
    numbered: bool,
    releases: Vec<Release>,
    /// Bases that were found before, because many resources have the same.
    known: Vec<(BaseRecord, Chosen)>,
}

/// A release that is restored.
struct Release {
    /// Its name in the archive.
    name: String,
    /// What it is the base of, where it came along as such.
    as_base: Option<BaseRecord>,
    /// The name that it gets.
    new_name: String,
}

impl Release {
    fn of(plan: &Plan) -> Self {
        let (name, as_base) = (plan.record.name.clone(), plan.record.as_base.clone());
        Self { name, as_base, new_name: plan.name.clone() }
    }

    /// Whether it is what somebody is built on, if not this is to be seen yet.
    fn can_be(&self, wanted: &BaseRecord) -> bool {
        self.as_base.as_ref().map_or(self.name == wanted.name, |base| carried::is_same(base, wanted))
    }
}

impl Preparing<'_> {
    fn new<'s>(run: String, selected: impl Iterator<Item = &'s Selected>) -> Self {
        let releases = selected.filter(|selected| selected.plan.record.kind == ResourceKind::Release);
        let releases = releases.map(|selected| Release::of(&selected.plan)).collect();
        Self { state: None, run, numbered: false, releases, known: Vec::new() }
    }
}

impl<'a> Restore<'a> {
    pub(super) fn begin(&mut self, manifest: &Manifest) -> Result<()> {
        let Context { pool, options, steps, .. } = self.context;
        pool.remark(steps);
        self.manifest = Some(manifest.clone());
        tell(manifest, &self.source, steps);
        let selected = select(manifest, options, &self.source, steps)?;
        self.several = selected.len() > 1;
        let mut free = Vec::new();
        for selected in selected {
            match check(pool, &selected.plan) {
                Ok(()) => free.push(selected),
                Err(error) => self.leave_out(&selected, error)?,
            }
        }
        let backend = pool.backend();
        let state = backend.state_directory().map_err(Error::backend("make the pool's state directory"))?;
        let locked = self.lock_all(free, &state, manifest)?;
        let mut labels = locked.iter().map(|(selected, _)| selected.label());
        let mut what = labels.next().unwrap_or_default();
        if labels.len() > 0 {
            what = format!("{what} and {} more", labels.len());
        }
        let mut earlier = Earlier::claim(pool, &state, manifest)?;
        self.record = Record::new("restore", what).with_archive(&manifest.id, &self.source);
        let run = self.run.insert(Run::begin(&state, run::new_id(), &self.record)?);
        earlier.ledger(run)?;
        let (locked, known) = self.with_bases(manifest, locked, &state)?;
        let mut preparing = Preparing {
            state: Some(&state),
            known,
            numbered: manifest.resources.len() > 1,
            ..Preparing::new(self.run_id().to_owned(), locked.iter().map(|(selected, _)| selected))
        };
        self.earlier = Some(earlier);
        self.numbers = vec![None; manifest.resources.len()];
        for (selected, lock) in locked {
            self.turn_to(Some(&selected.plan.name));
            let mut undo = Undo::new(steps);
            match self.prepare(&selected, lock, &mut preparing, &mut undo) {
                Ok(mut work) => {
                    work.undo = undo;
                    self.numbers[selected.number] = Some(self.works.len());
                    self.works.push(work);
                }
                Err(error) => {
                    let (outcome, clean) = undo.conclude::<()>(Err(error));
                    self.clean &= clean;
                    outcome.or_else(|error| self.leave_out(&selected, error))?;
                }
            }
        }
        self.routes = Routes::new(&self.works);
        match self.first_error.take().filter(|_| self.works.is_empty()) {
            Some(error) => Err(error),
            None => self.check_room(),
        }
    }

    /// The bases that came along, as far as they are restored, and those that the pool has.
    fn with_bases(
        &mut self,
        manifest: &Manifest,
        mut locked: Vec<Locked>,
        state: &Path,
    ) -> Result<(Vec<Locked>, Known)> {
        let Context { options, interrupted, .. } = self.context;
        let selected: Vec<_> = locked.iter().map(|(selected, _)| selected.clone()).collect();
        // Releases are locked after jails, in their order, as by everybody.
        let no_release = |one: &Selected| one.plan.record.kind != ResourceKind::Release;
        let wait = options.wait && selected.iter().all(no_release);
        let lock = |name: &str| {
            let what = label(ResourceKind::Release, name);
            let record = Record::new("restore", what.clone()).with_archive(&manifest.id, &self.source);
            Lock::acquire(state, &what.replace(' ', "-"), &record, wait, interrupted)
        };
        let run = (Some(state), self.run_id());
        let carried = carried::resolve(manifest, &selected, run, &lock, self.context)?;
        locked.extend(carried.shipped);
        locked.sort_by_key(|(selected, _)| selected.number);
        self.several = self.several || locked.len() > 1;
        Ok((locked, carried.known))
    }

    /// A resource cannot be restored, which is known before anything of it is made.
    fn leave_out(&mut self, selected: &Selected, error: Error) -> Result<()> {
        if !self.context.options.keep_going || !self.several || is_fatal(&error) {
            return Err(error);
        }
        self.tell_left_out(&selected.label(), &error);
        self.left_out.push(Restored::failed(&selected.plan, &error));
        self.first_error.get_or_insert(error);
        Ok(())
    }

    /// Takes all locks in one order, so that two runs never wait for each other.
    fn lock_all(
        &mut self,
        mut free: Vec<Selected>,
        state: &Path,
        manifest: &Manifest,
    ) -> Result<Vec<(Selected, Lock)>> {
        let Context { pool, options, steps, interrupted } = self.context;
        free.sort_by_key(Selected::label);
        let mut locked = Vec::new();
        for selected in free {
            self.turn_to(Some(&selected.plan.name));
            let record = Record::new("restore", selected.label()).with_archive(&manifest.id, &self.source);
            let key = selected.label().replace(' ', "-");
            let lock = steps.run(Step::Lock, None, None, |_| {
                Lock::acquire(state, &key, &record, options.wait, interrupted)
            });
            match lock.and_then(|lock| check_free(pool, &selected.plan).map(|()| lock)) {
                Ok(lock) => locked.push((selected, lock)),
                Err(error) => self.leave_out(&selected, error)?,
            }
        }
        locked.sort_by_key(|(selected, _)| selected.number);
        Ok(locked)
    }

    fn prepare(
        &self,
        selected: &Selected,
        lock: Lock,
        preparing: &mut Preparing<'_>,
        undo: &mut Undo<'a>,
    ) -> Result<Work<'a>> {
        let context = self.context;
        let Context { pool, options, steps, .. } = context;
        let Selected { number, plan } = selected;
        let onto = onto(plan, preparing, context)?;
        let sources = part::find(pool, plan, options.base.as_deref(), steps)?;
        let merge = match &onto {
            Onto::Base(chosen) => merge(chosen, &preparing.run, *number, context)?,
            _ => None,
        };
        let parts = part::complete(pool, &plan.name, sources, undo)?;
        let stage = (preparing.run.as_str(), preparing.numbered.then_some(*number));
        Ok(Work {
            number: *number,
            stage: Stage::create(pool, stage, plan, &self.kept, undo, steps)?,
            plan: plan.clone(),
            onto,
            built_on: None,
            parts,
            merge,
            sockets: std::collections::HashMap::new(),
            copies: Copies::default(),
            undo: Undo::new(steps),
            lock: Some(lock),
            fstab: Vec::new(),
            failed: None,
            toll: super::Toll::default(),
        })
    }

    /// Finds the base of a work in the release that is restored in the same run: all of that has come.
    pub(super) fn build_on_staged(&mut self, at: usize) -> Result<()> {
        let Onto::Staged(name) = &self.works[at].onto else { return Ok(()) };
        let Context { pool, options, steps, interrupted } = self.context;
        let name = name.clone();
        let unready = |reason| Error::BaseUnready { base: name.clone(), reason };
        let is_it =
            |work: &Work<'_>| work.plan.record.kind == ResourceKind::Release && work.plan.name == name;
        let release = self.works.iter().position(|work| is_it(work) && work.failed.is_none());
        let release = release.ok_or_else(|| unready("it cannot be restored"))?;
        let Some(record) = self.works[at].plan.record.base.clone() else { return Ok(()) };
        let below = &mut self.works[release];
        let root = below.plan.datasets[0].name.clone();
        if !below.stage.has(&root) {
            return Err(unready("after what is built on it"));
        }
        below.stage.rest(steps)?;
        let root = below.stage.dataset.join(&root).map_err(|error| Error::Refused(error.to_string()))?;
        let bases = base::staged(pool, root, &name, record.snapshot.as_deref())?;
        let chosen = steps.run(Step::CheckBase, Some(&name), None, |_| {
            let wish = Wish { base: None, allow_mismatch: options.allow_base_mismatch, unproven: false };
            base::choose_of(pool, bases, &record, &wish, (None, self.run_id()), steps, interrupted)
        })?;
        let merge = merge(&chosen, self.run_id(), self.works[at].number, self.context)?;
        let work = &mut self.works[at];
        (work.onto, work.merge, work.built_on) = (Onto::Base(chosen), merge, Some(release));
        Ok(())
    }
}

/// Adds the bases to `selected` that came along and would be restored. Those that the pool has.
pub(super) fn foresee_bases(
    manifest: &Manifest,
    selected: &mut Vec<Selected>,
    context: Context<'_>,
) -> Result<Vec<(BaseRecord, Chosen)>> {
    let state = context.pool.backend().existing_state_directory();
    let state = state.map_err(Error::backend("look for the pool's state directory"))?;
    let run = run::new_id();
    let carried = carried::resolve(manifest, selected, (state.as_deref(), &run), &|_| Ok(()), context)?;
    selected.extend(carried.shipped.into_iter().map(|(one, ())| one));
    selected.sort_by_key(|one| one.number);
    Ok(carried.known)
}

/// What the archive of another tool cannot guarantee.
pub(super) fn tell(manifest: &Manifest, source: &str, steps: &Steps<'_>) {
    let Some(foreign) = &manifest.foreign else { return };
    for limit in &foreign.limits {
        steps.warn(&Warning { subject: source.to_owned(), message: limit.clone() });
    }
    for notice in &foreign.notices {
        steps.notice(source, notice.clone());
    }
}

/// What would be made of a resource: fails where it could not be, and returns the label of its base.
pub(super) fn foresee(
    plan: &Plan,
    selected: &[Selected],
    known: &[(BaseRecord, Chosen)],
    context: Context<'_>,
) -> Result<Option<String>> {
    let pool = context.pool;
    check(pool, plan)?;
    part::find(pool, plan, context.options.base.as_deref(), context.steps)?;
    let state = pool.backend().existing_state_directory();
    let state = state.map_err(Error::backend("look for the pool's state directory"))?;
    let mut preparing = Preparing {
        state: state.as_deref(),
        known: known.to_vec(),
        ..Preparing::new(run::new_id(), selected.iter())
    };
    Ok(match onto(plan, &mut preparing, context)? {
        Onto::Base(chosen) => Some(chosen.base.label()),
        Onto::Staged(name) => Some(format!("{name} of the archive")),
        Onto::Nothing => None,
    })
}

/// What the root is built on: a base of the pool, else a release that is restored too.
fn onto(plan: &Plan, preparing: &mut Preparing<'_>, context: Context<'_>) -> Result<Onto> {
    let Context { pool, options, steps, interrupted } = context;
    let Some(wanted) = plan.record.base.as_ref().filter(|_| plan.record.mode == Mode::Differential) else {
        return Ok(Onto::Nothing);
    };
    if let Some((_, known)) = preparing.known.iter().find(|(record, _)| record == wanted) {
        return Ok(Onto::Base(known.clone()));
    }
    let staged = preparing.releases.iter().find(|release| options.base.is_none() && release.can_be(wanted));
    if let Some(release) = staged.filter(|release| release.as_base.is_some()) {
        return Ok(Onto::Staged(release.new_name.clone()));
    }
    let wish = Wish {
        base: options.base.as_deref(),
        allow_mismatch: options.allow_base_mismatch,
        unproven: plan.is_foreign,
    };
    let chosen = steps.run(Step::CheckBase, Some(&wanted.name), None, |_| {
        let found = base::choose(pool, wanted, &wish, (preparing.state, &preparing.run), steps, interrupted);
        match (found, staged) {
            (Err(Error::BaseMissing { .. } | Error::BaseDiffers { .. }), Some(_)) => Ok(None),
            (found, _) => found.map(Some),
        }
    })?;
    Ok(match (chosen, staged) {
        (Some(chosen), _) => {
            preparing.known.push((wanted.clone(), chosen.clone()));
            Onto::Base(chosen)
        }
        (None, Some(release)) => Onto::Staged(release.new_name.clone()),
        (None, None) => Onto::Nothing, // it would have been an error
    })
}

/// Opens the base for merging, if it is not the one that the archive was made against.
fn merge(chosen: &Chosen, run: &str, number: usize, context: Context<'_>) -> Result<Option<Merge>> {
    if chosen.exact {
        return Ok(None);
    }
    let options = context.options;
    let view = format!("{run}-{number}-merge");
    let view = View::open(context.pool.backend(), &chosen.base.snapshot, &view)?;
    let default = if options.allow_base_mismatch { OnConflict::Theirs } else { OnConflict::Fail };
    Ok(Some(Merge::new(Conflicts::new(view), options.on_conflict.unwrap_or(default))))
}

/// What can be told without making anything.
pub(super) fn check(pool: &Pool, plan: &Plan) -> Result<()> {
    check_free(pool, plan)?;
    check_streams(pool, plan)?;
    check_assignments(pool, plan)
}

/// What remand decides by itself nobody sets behind its back.
fn check_assignments(pool: &Pool, plan: &Plan) -> Result<()> {
    let dialect = pool.layout().dialect();
    let stays = Dialect::of_layout(&plan.record.layout).is_none_or(|from| from == dialect);
    for Assignment { key, .. } in &plan.assignments {
        let by_form = plan.form.filter(|_| stays).and_then(|form| form.check_key(key).err());
        if let Some(why) = dialect.decided(key).map(str::to_owned).or(by_form) {
            return Err(Error::Usage(format!("{key} cannot be set: {why}")));
        }
    }
    Ok(())
}

/// Whether there is nothing in the place of a resource.
pub(super) fn is_free(pool: &Pool, kind: ResourceKind, name: &str) -> Result<bool> {
    let place = pool.layout().place(kind, name)?;
    let backend = pool.backend();
    let taken = backend.dataset(&place).map_err(Error::backend(format!("look {} up", place.as_str())))?;
    Ok(taken.is_none() && backend.directory().join(place.as_str()).symlink_metadata().is_err())
}

/// An existing resource is never touched.
fn check_free(pool: &Pool, plan: &Plan) -> Result<()> {
    if is_free(pool, plan.record.kind, &plan.name)? {
        return Ok(());
    }
    let place = pool.layout().place(plan.record.kind, &plan.name)?;
    let backend = pool.backend();
    let what = format!("The {}", label(plan.record.kind, &plan.name));
    let state =
        backend.existing_state_directory().map_err(Error::backend("open the pool's state directory"))?;
    let dead = state.map_or(Ok(Vec::new()), |state| run::dead(&state))?;
    let unfinished =
        dead.into_iter().find(|(_, record)| record.publish.iter().any(|entry| entry.to == place.as_str()));
    Err(match unfinished {
        Some((run, _)) => Error::Unfinished { what, run },
        None => Error::Exists(what),
    })
}

/// Native streams need the backend that made them.
fn check_streams(pool: &Pool, plan: &Plan) -> Result<()> {
    let received = pool.backend().streams().map(|_| crate::export::native_encoding(pool.backend().kind()));
    let mut native = plan.datasets.iter().filter(|target| target.encoding.is_native());
    match native.find(|target| Some(target.encoding) != received) {
        Some(target) => Err(no_streams(pool, plan, target)),
        None => Ok(()),
    }
}
