//! What happens when the manifest is known: names are checked, locks taken, bases found, stages made. Each for all resources before the
//! next, so that most of what can go wrong does so before anything is made.

use std::path::Path;
use std::rc::Rc;

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
use crate::archive::manifest::{BaseRecord, Mode};
use crate::config::{Assignment, Dialect};
use crate::error::{Error, Result};
use crate::event::{Step, Warning};
use crate::lock::Lock;
use crate::pool::{Pool, View};
use crate::resource::{ResourceKind, Selector, label};
use crate::run::{self, Record, Run};
use crate::step::Steps;
use crate::undo::Undo;

/// A resource, and its lock, which others of this run may have too.
pub(super) type Locked = (Selected, Rc<Lock>);

/// Bases that were found in the pool.
pub(super) type Known = Vec<(BaseRecord, Chosen)>;

/// What the resources of one run need to know of it.
struct Preparing<'p> {
    /// None where nothing may be made.
    state: Option<&'p Path>,
    run: String,
    /// Whether the archive has several resources.
    numbered: bool,
    /// Releases and templates that are restored.
    sources: Vec<Source>,
    /// Bases that were found before, because many resources have the same.
    known: Vec<(BaseRecord, Chosen)>,
}

/// A release or template that is restored.
struct Source {
    /// As it is called in the archive.
    old: Selector,
    /// What it is the base of, where it came along as such.
    as_base: Option<BaseRecord>,
    /// The name that it gets.
    new_name: String,
}

impl Source {
    fn of(plan: &Plan) -> Self {
        let old = Selector { kind: plan.record.kind, name: plan.record.name.clone() };
        Self { old, as_base: plan.record.as_base.clone(), new_name: plan.name.clone() }
    }

    /// Whether it is what somebody is built on, if not this is to be seen yet.
    fn can_be(&self, wanted: &BaseRecord) -> bool {
        self.as_base
            .as_ref()
            .map_or_else(|| self.old == wanted.source(), |base| carried::is_same(base, wanted))
    }

    /// As it will be called in the pool.
    fn restored(&self) -> Selector {
        Selector { kind: self.old.kind, name: self.new_name.clone() }
    }
}

impl Preparing<'_> {
    fn new<'s>(run: String, selected: impl Iterator<Item = &'s Selected>) -> Self {
        let is_source = |kind| matches!(kind, ResourceKind::Release | ResourceKind::Template);
        let sources = selected.filter(|selected| is_source(selected.plan.record.kind));
        let sources = sources.map(|selected| Source::of(&selected.plan)).collect();
        Self { state: None, run, numbered: false, sources, known: Vec::new() }
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
        check_places(pool, &selected)?;
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
        // Others may be built on them whose own undo goes first.
        for (Selected { plan, .. }, _) in &locked {
            if let Some((_, root)) = base::bare(pool, plan, options.base.as_deref())? {
                base::make_snapshot(pool, &root, &plan.name, &mut self.undo)?;
            }
        }
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
    ) -> Result<Vec<Locked>> {
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
                Ok(lock) => locked.push((selected, Rc::new(lock))),
                Err(error) => self.leave_out(&selected, error)?,
            }
        }
        locked.sort_by_key(|(selected, _)| selected.number);
        Ok(locked)
    }

    fn prepare(
        &self,
        selected: &Selected,
        lock: Rc<Lock>,
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
            config: None,
            sockets: std::collections::HashMap::new(),
            copies: Copies::default(),
            undo: Undo::new(steps),
            lock: Some(lock),
            fstab: Vec::new(),
            failed: None,
            toll: super::Toll::default(),
        })
    }

    /// Finds the base of a work in the release or template that is restored in the same run: all of that has come.
    pub(super) fn build_on_staged(&mut self, at: usize) -> Result<()> {
        let Onto::Staged(source) = &self.works[at].onto else { return Ok(()) };
        let Context { pool, options, steps, interrupted } = self.context;
        let source = source.clone();
        let unready = |reason| Error::BaseUnready { kind: source.kind, base: source.name.clone(), reason };
        let is_it = |work: &Work<'_>| work.plan.record.kind == source.kind && work.plan.name == source.name;
        let release = self.works.iter().position(|work| is_it(work) && work.failed.is_none());
        let release = release.ok_or_else(|| unready("it cannot be restored"))?;
        let Some(record) = self.works[at].plan.record.base.clone() else { return Ok(()) };
        let below = &mut self.works[release];
        if below.plan.record.mode == Mode::Differential {
            return Err(unready("it is differential itself, and complete at the archive's end only"));
        }
        let root = below.plan.datasets[0].name.clone();
        if !below.stage.has(&root) {
            return Err(unready("after what is built on it"));
        }
        below.stage.rest(steps)?;
        let root = below.stage.dataset.join(&root).map_err(|error| Error::Refused(error.to_string()))?;
        let bases = base::staged(pool, root, &source, record.snapshot.as_deref())?;
        let label = source.base_label();
        let chosen = steps.run(Step::CheckBase, Some(&label), None, |_| {
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
    if let Some((source, _)) = base::bare(pool, plan, context.options.base.as_deref())? {
        let label = source.base_label();
        let message = "has no snapshot yet; the restore makes one, and looks then whether it is equal";
        context.steps.notice(&label, message.to_owned());
        return Ok(Some(label));
    }
    let state = pool.backend().existing_state_directory();
    let state = state.map_err(Error::backend("look for the pool's state directory"))?;
    let mut preparing = Preparing {
        state: state.as_deref(),
        known: known.to_vec(),
        ..Preparing::new(run::new_id(), selected.iter())
    };
    Ok(match onto(plan, &mut preparing, context)? {
        Onto::Base(chosen) => Some(chosen.base.label()),
        Onto::Staged(source) => Some(format!("{} of the archive", source.base_label())),
        Onto::Nothing => None,
    })
}

/// What the root is built on: a base of the pool, else a release or template that is restored too.
fn onto(plan: &Plan, preparing: &mut Preparing<'_>, context: Context<'_>) -> Result<Onto> {
    let Context { pool, options, steps, interrupted } = context;
    let Some(wanted) = plan.record.base.as_ref().filter(|_| plan.record.mode == Mode::Differential) else {
        return Ok(Onto::Nothing);
    };
    if let Some((_, known)) = preparing.known.iter().find(|(record, _)| record == wanted) {
        return Ok(Onto::Base(known.clone()));
    }
    let staged = preparing.sources.iter().find(|source| options.base.is_none() && source.can_be(wanted));
    if let Some(source) = staged.filter(|source| source.as_base.is_some()) {
        return Ok(Onto::Staged(source.restored()));
    }
    let label = wanted.source().base_label();
    let wish = Wish {
        base: options.base.as_deref(),
        allow_mismatch: options.allow_base_mismatch,
        unproven: plan.is_foreign,
    };
    let chosen = steps.run(Step::CheckBase, Some(&label), None, |_| {
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
        (None, Some(source)) => Onto::Staged(source.restored()),
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

/// Two kinds of resources can have one place in the pool's layout, or names that its manager could not tell apart.
pub(super) fn check_places(pool: &Pool, selected: &[Selected]) -> Result<()> {
    let layout = pool.layout();
    let mut taken = std::collections::BTreeMap::new();
    for one in selected {
        let (kind, name) = (one.plan.record.kind, one.plan.name.as_str());
        let mut places = vec![layout.place(kind, name)?];
        for rival in layout.rivals(kind) {
            places.push(layout.place(*rival, name)?);
        }
        for place in places {
            let other = taken.insert(place.as_str().to_owned(), one.label());
            if let Some(other) = other.filter(|other| *other != one.label()) {
                return Err(Error::Usage(format!(
                    "The {other} and the {} cannot both be called {name} in this pool; write OLD=NEW for one",
                    one.label()
                )));
            }
        }
    }
    Ok(())
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

/// An existing resource is never touched, and none is made that the manager could not tell from it.
fn check_free(pool: &Pool, plan: &Plan) -> Result<()> {
    for rival in pool.layout().rivals(plan.record.kind) {
        let place = pool.layout().place(*rival, &plan.name)?;
        let found = pool.backend().dataset(&place);
        if found.map_err(Error::backend(format!("look {} up", place.as_str())))?.is_some() {
            return Err(Error::Exists(format!("The {}", label(*rival, &plan.name))));
        }
    }
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
