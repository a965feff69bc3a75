//! An archive on its way into staging: each member and line goes to the resource that it belongs to.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Restored;
use super::links::{Shelf, Sources, missing};
use super::resume::Earlier;
use super::route::{Place, Routes, Section, is_taken};
use super::stage::{KeptBytes, Receiving};
use super::work::{Context, Work, misplaced};
use crate::archive::index::Role;
use crate::archive::{self, Line, Manifest, Visitor};
use crate::error::{Error, Result};
use crate::event::{Step, Warning};
use crate::input::Opened;
use crate::room::Rooms;
use crate::run::{Record, Run};
use crate::step::Meter;
use crate::tree::Content;
use crate::undo::{Undo, chain};

/// One restore that is under way: the reader's visitor.
pub(super) struct Restore<'a> {
    pub(super) context: Context<'a>,
    /// How much of the archive's file has been read.
    read_bytes: Arc<AtomicU64>,
    whole: &'a Meter<'a>,
    /// What events call all of it.
    pub(super) subject: &'a str,
    /// What messages call the archive.
    pub(super) source: String,
    /// Where it is written to.
    pub(super) rooms: Rooms,
    pub(super) undo: Undo<'a>,
    pub(super) run: Option<Run>,
    pub(super) record: Record,
    pub(super) manifest: Option<archive::Manifest>,
    pub(super) signed: Option<archive::Signed>,
    pub(super) earlier: Option<Earlier<'a>>,
    pub(super) kept: KeptBytes,
    /// The resources that are restored, in the order of the archive.
    pub(super) works: Vec<Work<'a>>,
    pub(super) routes: Routes,
    /// The works of a resource by its place in the manifest.
    pub(super) numbers: Vec<Option<usize>>,
    /// Whether several resources were selected.
    pub(super) several: bool,
    /// What was selected, and is not restored.
    pub(super) left_out: Vec<Restored>,
    pub(super) first_error: Option<Error>,
    /// Whether all that was undone on the way is gone.
    pub(super) clean: bool,
    pub(super) shelf: Option<Shelf>,
    pub(super) sources: Sources,
    /// Steps that are open, the innermost last, and what they belong to.
    open: Vec<Meter<'a>>,
    at: At,
}

/// A part of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Begin,
    Section(usize, Section),
    Index,
}

impl<'a> Restore<'a> {
    pub(super) fn new(context: Context<'a>, whole: &'a Meter<'a>, subject: &'a str, opened: &Opened) -> Self {
        Self {
            context,
            read_bytes: Arc::clone(&opened.read_bytes),
            whole,
            subject,
            source: opened.name.clone(),
            rooms: Rooms::of([context.pool.backend().directory(), &std::env::temp_dir()]),
            undo: Undo::new(context.steps),
            run: None,
            record: Record::new("restore", String::new()),
            manifest: None,
            signed: None,
            earlier: None,
            kept: Rc::default(),
            works: Vec::new(),
            routes: Routes::default(),
            numbers: Vec::new(),
            several: false,
            left_out: Vec::new(),
            first_error: None,
            clean: true,
            shelf: None,
            sources: Sources::default(),
            open: Vec::new(),
            at: At::Begin,
        }
    }

    /// From now on events are of one resource, or of all.
    pub(super) fn turn_to(&self, name: Option<&str>) {
        if self.several {
            self.context.steps.turn_to(name, self.subject);
        }
    }

    pub(super) fn run_id(&self) -> &str {
        self.run.as_ref().map_or("", Run::id)
    }

    pub(super) fn check_interrupt(&self) -> Result<()> {
        if self.context.interrupted.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }

    /// Closes steps until `keep` are left.
    pub(super) fn close(&mut self, keep: usize, failure: Option<&Error>) {
        while self.open.len() > keep {
            if let Some(meter) = self.open.pop() {
                meter.close(failure);
            }
        }
    }

    /// Ends the step of the last part and begins that of this one.
    fn enter(&mut self, work: usize, section: Section) -> Result<()> {
        self.check_interrupt()?;
        if self.at == At::Section(work, section) {
            return Ok(());
        }
        let steps = self.context.steps;
        let other = |section| matches!(section, Section::Dataset(1..));
        let (same, keep) = match self.at {
            At::Section(last, before) if last == work => (true, usize::from(other(before) && other(section))),
            _ => (false, 0),
        };
        if !same {
            self.leave()?;
            self.turn_to(Some(&self.works[work].plan.name));
            if self.several {
                self.open.push(steps.open(Step::ResourceRestore, None, None));
            }
        }
        self.close(keep + usize::from(self.several), None);
        let begin = |step, subject: Option<&str>| steps.open(step, subject, None);
        let name = self.works[work].dataset(section).to_owned();
        match section {
            Section::Config => self.open.push(begin(Step::ImportConfig, None)),
            Section::Fstab => self.open.push(begin(Step::ImportFstab, None)),
            Section::Files => self.open.push(begin(Step::ImportFiles, None)),
            Section::Dataset(0) => self.open.push(begin(Step::ImportRootDataset, None)),
            Section::Dataset(_) => {
                if keep == 0 {
                    self.open.push(begin(Step::ImportOtherDatasets, None));
                }
                self.open.push(begin(Step::ImportOtherDataset, Some(&name)));
            }
        }
        self.at = At::Section(work, section);
        if !same {
            self.build_on_staged(work)?;
        }
        if let Section::Dataset(at) = section {
            self.make(work, at)?;
        }
        Ok(())
    }

    /// The resource whose members came last has no more for now.
    fn leave(&mut self) -> Result<()> {
        let At::Section(last, _) = self.at else { return Ok(()) };
        self.at = At::Begin;
        let work = &mut self.works[last];
        let rested = if work.failed.is_none() { work.stage.rest(self.context.steps) } else { Ok(()) };
        self.close(0, rested.as_ref().err());
        rested.or_else(|error| self.fail(last, error))
    }

    /// The index begins.
    pub(super) fn enter_index(&mut self) -> Result<()> {
        self.check_interrupt()?;
        if self.at == At::Index {
            return Ok(());
        }
        // One alone goes on with what is open.
        if self.several {
            self.leave()?;
        }
        self.close(0, None);
        self.sources.close();
        self.turn_to(None);
        self.at = At::Index;
        self.open.push(self.context.steps.open(Step::CheckSeal, None, None));
        Ok(())
    }

    /// Makes a dataset that does not arrive as a stream, if it has not been made yet.
    pub(super) fn make(&mut self, work: usize, at: usize) -> Result<()> {
        let run = self.run.as_ref().map_or("", Run::id);
        let meter = self.open.last().ok_or_else(no_manifest)?;
        self.works[work].make(at, self.context, meter, run)
    }

    /// A resource cannot be restored: the whole restore fails, or goes on without it.
    pub(super) fn fail(&mut self, work: usize, error: Error) -> Result<()> {
        if !self.context.options.keep_going || !self.several || is_fatal(&error) {
            return Err(error);
        }
        if let At::Section(..) = self.at {
            self.close(0, Some(&error));
            self.at = At::Begin;
        }
        let label = self.works[work].label();
        self.tell_left_out(&label, &error);
        self.works[work].failed = Some(error);
        Ok(())
    }

    pub(super) fn tell_left_out(&self, label: &str, error: &Error) {
        self.turn_to(None);
        let message = format!("is left out: {}", chain(error));
        self.context.steps.warn(&Warning { subject: label.to_owned(), message });
    }

    /// Where a member or a line belongs; `None` if to nothing that is restored.
    fn locate(&self, line: &Line) -> Result<Option<Place>> {
        let Some(place) = self.routes.find(&line.name) else { return Ok(None) };
        let work = &self.works[place.work];
        if is_taken(&work.plan, &place) {
            return Err(Error::Refused(format!("{} is no member that its manifest announces", line.name)));
        }
        Ok(Some(place).filter(|_| work.failed.is_none()))
    }

    /// Whether a resource that is restored has other names of this member.
    fn is_shared(&self, line: &Line) -> bool {
        let restored = |number: u32| {
            let number = usize::try_from(number).unwrap_or(usize::MAX);
            self.numbers.get(number).copied().flatten().is_some_and(|work| self.works[work].failed.is_none())
        };
        line.shared.iter().any(|number| restored(*number))
    }

    fn apply(&mut self, line: &Line, content: Option<&mut dyn Content>) -> Result<()> {
        let Some(place) = self.locate(line)? else { return self.keep(line, content) };
        if self.is_above_lost(&place) {
            self.left_out(line, &place, "it lies in a dataset that is lost");
            return Ok(());
        }
        let applied = self.enter(place.work, place.section).and_then(|()| {
            let size = line.entry.as_ref().map_or(0, |entry| entry.size);
            self.whole.advance(self.read_bytes.load(Ordering::Relaxed), 1);
            if let Some(meter) = self.open.last() {
                meter.add(size, 1);
            }
            self.put(line, &place, content)?;
            let work = &mut self.works[place.work];
            let dataset = work.dataset(place.section).to_owned();
            work.stage.tell_losses(&dataset, self.context.steps);
            Ok(())
        });
        applied.or_else(|error| self.bear(line, &place, error))
    }

    /// Puts a member of a resource that is not restored where names of it that are can be linked to it.
    fn keep(&mut self, line: &Line, content: Option<&mut dyn Content>) -> Result<()> {
        self.check_interrupt()?;
        let Some(entry) = line.entry.as_ref().filter(|_| self.is_shared(line)) else { return Ok(()) };
        if matches!(line.role, Role::Link { .. }) {
            if let (Some(hidden), Role::Link { to }) = (&mut self.shelf, &line.role) {
                hidden.name(line, to);
            }
            return Ok(());
        }
        let hidden = match &mut self.shelf {
            Some(there) => there,
            none => {
                let run = self.run.as_ref().map_or("", Run::id);
                none.insert(Shelf::create(self.context.pool, run)?)
            }
        };
        hidden.put(line, entry, content)
    }

    fn put(&mut self, line: &Line, place: &Place, content: Option<&mut dyn Content>) -> Result<()> {
        let work = &mut self.works[place.work];
        let entry = line.entry.as_ref().ok_or_else(|| Error::Refused(format!("{} is nothing", line.name)))?;
        let section = place.section;
        match section {
            Section::Config | Section::Fstab => {
                return work.put_file(section, (line, entry), content, self.context);
            }
            Section::Dataset(at) if work.plan.datasets[at].encoding.is_native() => {
                let missing = || Error::Refused(format!("{} has no content", line.name));
                let target = &work.plan.datasets[at];
                let mut run = Receiving {
                    steps: self.context.steps,
                    earlier: self.earlier.as_mut().ok_or_else(no_manifest)?,
                    interrupted: self.context.interrupted,
                };
                return work.stage.receive((&work.plan, target), content.ok_or_else(missing)?, &mut run);
            }
            Section::Files | Section::Dataset(_) => {}
        }
        match &line.role {
            Role::Link { to } => self.link(line, place, to),
            _ => work.writer(section)?.put(&place.path, entry, content).map_err(misplaced(line)),
        }
    }

    fn link(&mut self, line: &Line, place: &Place, to: &archive::MemberName) -> Result<()> {
        let target = self.routes.find(to);
        if let Some(near) =
            target.as_ref().filter(|target| (target.work, target.section) == (place.work, place.section))
        {
            let (work, steps) = (&mut self.works[place.work], self.context.steps);
            return match work.writer(place.section)?.link(&place.path, &near.path) {
                Err(error) if work.lost_link((&place.path, place.section), &near.path, &error, steps) => {
                    Ok(())
                }
                linked => linked.map_err(misplaced(line)),
            };
        }
        let source = self.sources.find(
            &mut self.works,
            target.as_ref(),
            (self.shelf.as_ref(), to),
            self.context.steps,
        )?;
        source.ok_or_else(|| missing(line))?.link(&mut self.works[place.work], place, line)
    }

    fn apply_line(&mut self, line: &Line) -> Result<()> {
        self.enter_index()?;
        let Some(place) = self.locate(line)? else { return Ok(()) };
        if self.is_above_lost(&place) {
            return Ok(());
        }
        let applied = self.build_on_staged(place.work).and_then(|()| {
            if let Section::Dataset(at) = place.section {
                self.make(place.work, at)?;
            }
            self.works[place.work].line(line, &place, self.context.steps)
        });
        applied.or_else(|error| self.bear(line, &place, error))
    }

    fn apply_failure(&mut self, failure: &archive::Failure) -> Result<()> {
        self.enter_index()?;
        let number = usize::try_from(failure.resource).unwrap_or(usize::MAX);
        let Some(work) = self.numbers.get(number).copied().flatten() else { return Ok(()) };
        if self.works[work].failed.is_some() {
            return Ok(());
        }
        let what = self.works[work].label();
        self.fail(work, Error::NotWhole { what, reason: failure.error.clone() })
    }
}

impl Visitor for Restore<'_> {
    fn manifest(&mut self, manifest: &Manifest) -> archive::Result<()> {
        let meter = self.context.steps.open(Step::ExtractBundle, None, None);
        let outcome = self.begin(manifest);
        self.turn_to(None);
        meter.close(outcome.as_ref().err());
        Ok(outcome?)
    }

    fn wants(&mut self, line: &Line) -> bool {
        let restored = |place: Place| self.works[place.work].failed.is_none();
        self.routes.find(&line.name).is_some_and(restored) || self.is_shared(line)
    }

    fn member(&mut self, line: &Line, content: Option<&mut dyn Content>) -> archive::Result<()> {
        Ok(self.apply(line, content)?)
    }

    fn line(&mut self, line: &Line) -> archive::Result<()> {
        Ok(self.apply_line(line)?)
    }

    fn failure(&mut self, failure: &archive::Failure) -> archive::Result<()> {
        Ok(self.apply_failure(failure)?)
    }

    fn signature(&mut self, signed: &archive::Signed) -> archive::Result<()> {
        self.signed = Some(signed.clone());
        Ok(())
    }
}

/// Whether nothing of the archive can be restored then, or nothing may.
pub(super) fn is_fatal(error: &Error) -> bool {
    use Error as E;
    error.is_interrupt() || matches!(error, E::Archive(_) | E::Refused(_) | E::Usage(_) | E::Kept { .. })
}

fn no_manifest() -> Error {
    Error::Archive(archive::Error::Damaged("a member comes before the manifest".into()))
}
