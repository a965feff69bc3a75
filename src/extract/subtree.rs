//! A file or a subtree into a directory.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::base::Base;
use super::staged::{Destination, Staged};
use super::survey::{Survey, needs_no_base, refuse_failed};
use super::work::Work;
use super::{FindPool, Report};
use crate::archive::index::Role;
use crate::archive::{self, Failure, Line, Manifest, MemberName, Visitor};
use crate::confine;
use crate::error::{Error, Result};
use crate::event::{Observer, Step, Warning};
use crate::input::{Input, Plain};
use crate::locator::{Locator, Part};
use crate::room::Rooms;
use crate::run;
use crate::step::{Meter, Steps};
use crate::tree::{Content, TreePath};
use crate::undo::chain;

/// Extracts what `locator` names into the directory `to`, under its own name there (a dataset's root under that of its resource).
///
/// Entries of a differential archive that did not change come from the base. If that is not there, or differs, what the archive
/// holds is extracted alone, and that is a warning; if it holds nothing, the missing base is the error.
pub fn extract(
    pool: FindPool<'_>,
    mut input: Input,
    (locator, dataset): (&Locator, &str),
    to: &Path,
    observer: &dyn Observer,
    interrupted: &Arc<AtomicBool>,
) -> Result<Report> {
    let allowed = super::allowed(pool)?.and_below(to).and_temporary(input.is_foreign()?);
    let mut destination = Destination::open(to)?;
    let extracted = confine::run(&allowed, || {
        build(pool, input, (locator, dataset), &destination, observer, interrupted)
    })?;
    destination.keep();
    Ok(extracted)
}

fn build(
    pool: FindPool<'_>,
    input: Input,
    (locator, dataset): (&Locator, &str),
    to: &Destination,
    observer: &dyn Observer,
    interrupted: &Arc<AtomicBool>,
) -> Result<Report> {
    let steps = Steps::new(observer, &input.name());
    // Where the archive can be read twice, the first reading finds hard links to what lies outside of the subtree.
    let (input, keys) = input.or_stream()?;
    let (input, survey) = match input {
        Plain::Path(path) => {
            let survey = Survey::of((&path, &keys), locator, dataset, interrupted)?;
            (Input::Path(path), Some(survey))
        }
        Plain::Stream(stream) => (Input::Stream(stream), None),
    };
    let opened = input.with(keys).open(interrupted)?;
    steps.run(Step::ResourceRestore, None, None, |meter| {
        let rooms = Rooms::of([to.path()]);
        let mut extraction = Extraction {
            pool,
            locator,
            dataset,
            to,
            steps: &steps,
            interrupted,
            meter,
            outside: survey.as_ref().map(|survey| survey.outside.clone()),
            complete: survey.is_some_and(|survey| survey.complete),
            work: None,
        };
        let read = archive::select(opened.source, &opened.name, &mut extraction).map_err(Error::from);
        let outcome = if interrupted.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { read };
        extraction.conclude(outcome.map(|_| ()).map_err(|error| rooms.explain(error)))
    })
}

/// An extraction that is under way: the reader's visitor.
struct Extraction<'a> {
    pool: FindPool<'a>,
    locator: &'a Locator,
    dataset: &'a str,
    to: &'a Destination,
    steps: &'a Steps<'a>,
    interrupted: &'a AtomicBool,
    meter: &'a Meter<'a>,
    /// As the survey found it, if there was one.
    outside: Option<HashMap<MemberName, TreePath>>,
    complete: bool,
    work: Option<Work<'a>>,
}

impl Extraction<'_> {
    fn begin(&mut self, manifest: &Manifest) -> Result<()> {
        let part = Part::find(manifest, self.locator, self.dataset)?;
        if part.is_foreign && part.is_delta {
            let message = "what it left to its base is not extracted: it does not say what that is";
            self.steps.warn(&Warning { subject: part.resource_label(), message: message.into() });
        }
        let name = match part.path.split() {
            Some((_, name)) => name.to_vec(),
            None => part.record.name.clone().into_bytes(),
        };
        let staged = Staged::create(self.to, &name, &run::new_id())?;
        let (mut base, mut without_base) = (None, None);
        if part.is_delta && !self.complete && !part.is_foreign {
            let opened = self.steps.run(Step::CheckBase, None, None, |_| {
                match Base::open(self.pool, &part, self.steps, self.interrupted) {
                    Ok(base) => Ok(Ok(base)),
                    Err(
                        error @ (Error::NoPool(_) | Error::BaseMissing { .. } | Error::BaseDiffers { .. }),
                    ) => Ok(Err(error)),
                    Err(error) => Err(error),
                }
            })?;
            match opened {
                Ok(found) => base = Some(found),
                Err(error) => without_base = Some(error),
            }
        }
        let mut work = Work {
            writer: staged.writer()?,
            part,
            name,
            staged,
            base,
            without_base,
            entries: 0,
            directories: HashSet::new(),
            arrived: HashSet::new(),
            from_base: HashSet::new(),
            sockets: HashMap::new(),
            missing: 0,
            exists: false,
        };
        let copied = work.copy_base(self.steps, self.interrupted);
        self.work = Some(work);
        copied
    }

    fn conclude(mut self, outcome: Result<()>) -> Result<Report> {
        let Some(work) = self.work.take() else {
            return Err(outcome.err().unwrap_or_else(|| Error::Refused("it has no manifest".into())));
        };
        let Work { part, name, writer, staged, base, without_base, entries, missing, exists, .. } = work;
        let label = base.as_ref().map(|base| base.label.clone());
        if let Some(base) = base {
            base.close(self.steps);
        }
        outcome?;
        if !exists {
            return Err(without_base.filter(|_| !self.complete).unwrap_or_else(|| part.not_there()));
        }
        let losses = writer.finish_durably().map_err(Error::tree("write what was extracted"))?;
        for loss in losses {
            let subject = loss.path.to_string();
            let message = format!("{} could not be kept: {}", loss.what, loss.source);
            self.steps.warn(&Warning { subject, message });
        }
        if let Some(why) = without_base.filter(|_| !self.complete || missing > 0) {
            let also = if missing > 0 {
                format!("; {missing} that the archive names need its content and are missing")
            } else {
                String::new()
            };
            let message = format!(
                "only what the archive holds was extracted; entries that did not change are in the base alone{also}: {}",
                chain(&why)
            );
            self.steps.warn(&Warning { subject: part.label(&part.path), message });
        }
        let place = staged.publish(&name)?;
        let warnings = self.steps.warnings();
        Ok(Report { part: part.label(&part.path), place, entries, base: label, warnings })
    }

    fn apply(&mut self, line: &Line, content: Option<&mut dyn Content>) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let Some(work) = &mut self.work else { return Ok(()) };
        let Some(entry) = &line.entry else { return Ok(()) };
        self.meter.add(entry.size, 1);
        let Some(path) = work.part.of_line(line) else {
            // Of another name outside comes the content; its attributes are those of all names.
            let first = self.outside.as_ref().and_then(|outside| outside.get(&line.name)).cloned();
            let Some(first) = first else { return Ok(()) };
            if matches!(line.role, Role::Link { .. }) {
                return Err(Error::Refused("its hard links lead from one to the next".into()));
            }
            work.arrived.insert(line.name.clone());
            return work.put(&first, entry, content);
        };
        let Role::Link { to } = &line.role else { return work.put(&path, entry, content) };
        let inside = work.part.in_dataset(to).filter(|to| work.part.below(to).is_some());
        if let Some(to) = inside {
            return work.link(&path, &to, line);
        }
        match self.outside.as_ref().map(|outside| outside.get(to).cloned()) {
            Some(Some(first)) if first != path => work.link(&path, &first, line),
            Some(_) if work.arrived.contains(to) => Ok(()),
            _ => work.link_outside(&path, to, self.outside.is_some(), line),
        }
    }
}

impl Visitor for Extraction<'_> {
    fn manifest(&mut self, manifest: &Manifest) -> archive::Result<()> {
        Ok(self.begin(manifest)?)
    }

    fn wants(&mut self, line: &Line) -> bool {
        let Some(work) = &self.work else { return false };
        work.part.of_line(line).is_some()
            || self.outside.as_ref().is_some_and(|outside| outside.contains_key(&line.name))
    }

    fn member(&mut self, line: &Line, content: Option<&mut dyn Content>) -> archive::Result<()> {
        Ok(self.apply(line, content)?)
    }

    fn line(&mut self, line: &Line) -> archive::Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted.into());
        }
        let Some(work) = &mut self.work else { return Ok(()) };
        // The survey has looked at the other names too.
        let own = work.part.in_dataset(&line.name).is_some_and(|path| path == work.part.path);
        self.complete |= own && self.outside.is_none() && needs_no_base(line);
        Ok(work.apply_line(line)?)
    }

    fn failure(&mut self, failure: &Failure) -> archive::Result<()> {
        refuse_failed(self.work.as_ref().map(|work| &work.part), failure)
    }
}
