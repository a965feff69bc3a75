//! Applying an archive to a staging dataset, as its reader yields it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::base::{self, Chosen};
use super::conflict::Conflicts;
use super::merge::Merge;
use super::plan::{self, Plan};
use super::resume::Earlier;
use super::stage::{Receiving, Stage, is_shadowed};
use super::{Identity, OnConflict, Options, Report, files, no_streams, part};
use crate::archive::index::Role;
use crate::archive::manifest::{Encoding, Mode};
use crate::archive::{self, Line, Manifest, Seal, Visitor};
use crate::error::{Error, Result};
use crate::event::Step;
use crate::input::Opened;
use crate::lock::Lock;
use crate::pool::{Pool, View};
use crate::resource::{Base, ResourceKind, label};
use crate::run::{self, Record, Run};
use crate::step::{Meter, Steps};
use crate::tree::{Content, MemoryContent, TreePath};
use crate::undo::Undo;

/// One restore that is under way: the reader's visitor.
pub(super) struct Restore<'a> {
    pool: &'a Pool,
    options: &'a Options,
    steps: &'a Steps<'a>,
    interrupted: &'a AtomicBool,
    /// How much of the archive's file has been read.
    read_bytes: Arc<AtomicU64>,
    whole: &'a Meter<'a>,
    undo: Undo<'a>,
    run: Option<Run>,
    lock: Option<Lock>,
    /// What messages call the archive.
    source: String,
    /// Steps that are open, the innermost last, and the part of the archive that they belong to.
    open: Vec<Meter<'a>>,
    section: Option<Section>,
    work: Option<Work<'a>>,
}

/// What is known after the manifest.
struct Work<'a> {
    plan: Plan,
    chosen: Option<Chosen>,
    /// What the datasets are cloned from that are in the archive by name alone.
    parts: Vec<(String, Base)>,
    stage: Stage<'a>,
    merge: Option<Merge>,
    earlier: Earlier<'a>,
    /// The first path of each hard-linked socket, by group.
    sockets: HashMap<(Section, u64), TreePath>,
}

/// A part of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Section {
    Config,
    Fstab,
    Files,
    Dataset(usize),
    Index,
}

impl<'a> Restore<'a> {
    pub(super) fn new(
        pool: &'a Pool,
        options: &'a Options,
        steps: &'a Steps<'a>,
        interrupted: &'a AtomicBool,
        whole: &'a Meter<'a>,
        opened: &Opened,
    ) -> Self {
        Self {
            pool,
            options,
            steps,
            interrupted,
            read_bytes: Arc::clone(&opened.read_bytes),
            whole,
            undo: Undo::new(steps),
            run: None,
            lock: None,
            source: opened.name.clone(),
            open: Vec::new(),
            section: None,
            work: None,
        }
    }

    /// Makes the resource visible if the archive is whole; undoes everything if anything failed.
    pub(super) fn conclude(mut self, read: Result<Seal>) -> Result<Report> {
        let read = match read {
            Err(_) if self.interrupted.load(Ordering::Relaxed) => Err(Error::Interrupted),
            read => read,
        };
        let outcome = read.and_then(|seal| self.publish().map(|directory| (seal, directory)));
        while let Some(meter) = self.open.pop() {
            meter.close(outcome.as_ref().err());
        }
        let described = self.work.as_ref().map(|work| {
            let base = work.chosen.as_ref().map(|chosen| chosen.base.label());
            (label(work.plan.record.kind, &work.plan.name), work.plan.name.clone(), base)
        });
        // The base must be closed, and nothing open in staging, before anything is undone.
        let (merge, earlier, kept) = match self.work.take() {
            Some(work) => (work.merge, Some(work.earlier), work.stage.kept_bytes()),
            None => (None, None, None),
        };
        let closed = merge.map_or(Ok(()), Merge::close);
        let (outcome, clean) = self.undo.conclude(outcome);
        if let Some(run) = self.run.take() {
            crate::export::end_run(run, clean && closed.is_ok() && kept.is_none(), self.steps);
        }
        match (earlier, kept) {
            (Some(earlier), _) if outcome.is_ok() => earlier.finish(self.steps),
            _ => {}
        }
        let outcome = match (outcome, kept) {
            (Err(cause), Some(received_bytes)) => Err(Error::Kept { cause: Box::new(cause), received_bytes }),
            (outcome, _) => outcome,
        };
        drop(self.lock);
        let (seal, directory) = outcome?;
        let (resource, name, base) = described.unwrap_or_default();
        let warnings = self.steps.warnings();
        Ok(Report { resource, name, directory: Some(directory), base, seal: Some(seal), warnings })
    }

    fn begin(&mut self, manifest: &Manifest) -> Result<()> {
        self.pool.remark(self.steps);
        let plan = plan::plan(manifest, self.options.name.as_deref())?;
        check_free(self.pool, &plan)?;
        check_streams(self.pool, &plan)?;
        let backend = self.pool.backend();
        let state = backend.state_directory().map_err(Error::backend("make the pool's state directory"))?;
        let what = label(plan.record.kind, &plan.name);
        let record = Record::new("restore", what.clone()).with_archive(&manifest.id, &self.source);
        let key = what.replace(' ', "-");
        self.lock = Some(self.steps.run(Step::Lock, None, None, |_| {
            Lock::acquire(&state, &key, &record, self.options.wait, self.interrupted)
        })?);
        check_free(self.pool, &plan)?;
        let mut earlier = Earlier::claim(self.pool, &state, manifest)?;
        let run = self.run.insert(Run::begin(&state, run::new_id(), &record)?);
        earlier.ledger(run)?;
        let run = run.id().to_owned();
        let wanted = plan.record.base.as_ref().filter(|_| plan.record.mode == Mode::Differential);
        let chosen = match wanted {
            None => None,
            Some(wanted) => Some(self.steps.run(Step::CheckBase, Some(&wanted.name), None, |_| {
                let wish = base::Wish {
                    base: self.options.base.as_deref(),
                    allow_mismatch: self.options.allow_base_mismatch,
                };
                base::choose(self.pool, wanted, &wish, (Some(&state), &run), self.steps, self.interrupted)
            })?),
        };
        let sources = part::find(self.pool, &plan, self.options.base.as_deref(), self.steps)?;
        let merge = match &chosen {
            Some(chosen) if !chosen.exact => {
                let view = View::open(backend, &chosen.base.snapshot, &format!("{run}-merge"))?;
                let default =
                    if self.options.allow_base_mismatch { OnConflict::Theirs } else { OnConflict::Fail };
                Some(Merge::new(Conflicts::new(view), self.options.on_conflict.unwrap_or(default)))
            }
            _ => None,
        };
        let parts = part::complete(self.pool, &plan.name, sources, &mut self.undo)?;
        let work = Work {
            parts,
            stage: Stage::create(self.pool, &run, &plan, &mut self.undo, self.steps)?,
            plan,
            chosen,
            merge,
            earlier,
            sockets: HashMap::new(),
        };
        self.work = Some(work);
        Ok(())
    }

    /// Ends the step of the last part and begins that of this one.
    fn enter(&mut self, section: Section) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        if self.section == Some(section) {
            return Ok(());
        }
        let other = |section| matches!(section, Some(Section::Dataset(1..)));
        let keep = usize::from(other(self.section) && other(Some(section)));
        while self.open.len() > keep {
            if let Some(meter) = self.open.pop() {
                meter.close(None);
            }
        }
        let work = self.work.as_mut().ok_or_else(no_manifest)?;
        let begin = |step, subject: Option<&str>| self.steps.open(step, subject, None);
        match section {
            Section::Config => self.open.push(begin(Step::ImportConfig, None)),
            Section::Fstab => self.open.push(begin(Step::ImportFstab, None)),
            Section::Files => self.open.push(begin(Step::ImportFiles, None)),
            Section::Dataset(0) => self.open.push(begin(Step::ImportRootDataset, None)),
            Section::Index => self.open.push(begin(Step::CheckSeal, None)),
            Section::Dataset(at) => {
                if self.open.is_empty() {
                    self.open.push(begin(Step::ImportOtherDatasets, None));
                }
                self.open.push(begin(Step::ImportOtherDataset, Some(&work.plan.datasets[at].name)));
            }
        }
        self.section = Some(section);
        if let Section::Dataset(at) = section {
            self.make(at)?;
        }
        Ok(())
    }

    /// Makes a dataset that does not arrive as a stream, if it has not been made yet; before it those that it lies in.
    fn make(&mut self, at: usize) -> Result<()> {
        let work = self.work.as_mut().ok_or_else(no_manifest)?;
        let targets = &work.plan.datasets;
        let view = format!("{}-clone", self.run.as_ref().map_or("", Run::id));
        let meter = self.open.last().ok_or_else(no_manifest)?;
        for target in targets[..=at].iter().filter(|above| is_at_or_above(&above.name, &targets[at].name)) {
            if work.stage.has(&target.name) || target.encoding.is_native() {
                continue;
            }
            let base = match target.encoding {
                Encoding::Delta => work.chosen.as_ref().map(|chosen| &chosen.base),
                _ => work.parts.iter().find(|(name, _)| *name == target.name).map(|(_, base)| base),
            };
            work.stage.make(&work.plan, target, base, self.steps, meter, &view)?;
        }
        Ok(())
    }

    /// The part that a member or a line belongs to, and its path in there.
    fn locate(&self, line: &Line) -> Result<(Section, TreePath)> {
        let work = self.work.as_ref().ok_or_else(no_manifest)?;
        let plan = &work.plan;
        let path = line.name.path();
        if plan.config.as_ref() == Some(path) {
            return Ok((Section::Config, TreePath::root()));
        }
        if plan.fstab.as_ref() == Some(path) {
            return Ok((Section::Fstab, TreePath::root()));
        }
        let found = if let Some(below) = line.name.below(&plan.files) {
            let taken = [&plan.config, &plan.fstab]
                .into_iter()
                .flatten()
                .any(|own| own.split().is_some_and(|(_, name)| below.components().next() == Some(name)));
            (!taken && !is_shadowed(&plan.datasets, "", &below)).then_some((Section::Files, below))
        } else {
            plan.datasets.iter().enumerate().find_map(|(at, target)| {
                let below = line.name.below(target.member.as_ref()?)?;
                (!is_shadowed(&plan.datasets, &target.name, &below)).then_some((Section::Dataset(at), below))
            })
        };
        found.ok_or_else(|| Error::Refused(format!("{} is no member that its manifest announces", line.name)))
    }

    fn apply(&mut self, line: &Line, content: Option<&mut dyn Content>) -> Result<()> {
        let (section, path) = self.locate(line)?;
        self.enter(section)?;
        let size = line.entry.as_ref().map_or(0, |entry| entry.size);
        self.whole.advance(self.read_bytes.load(Ordering::Relaxed), 1);
        if let Some(meter) = self.open.last() {
            meter.add(size, 1);
        }
        let work = self.work.as_mut().ok_or_else(no_manifest)?;
        let entry = line.entry.as_ref().ok_or_else(|| Error::Refused(format!("{} is nothing", line.name)))?;
        let failed = || misplaced(line);
        let missing = || Error::Refused(format!("{} has no content", line.name));
        let writer = match section {
            Section::Config | Section::Fstab => {
                let bytes = files::read_all(&line.name.to_string(), content.ok_or_else(missing)?)?;
                let (name, bytes) = self.transformed(section, bytes)?;
                let entry = crate::tree::Entry { size: bytes.len() as u64, ..entry.clone() };
                let own =
                    self.work.as_mut().and_then(|work| work.stage.own.as_mut()).ok_or_else(no_manifest)?;
                return own.put(&name, &entry, Some(&mut MemoryContent::new(bytes))).map_err(failed());
            }
            Section::Dataset(at) if work.plan.datasets[at].encoding.is_native() => {
                let target = &work.plan.datasets[at];
                let transport = work.plan.record.snapshot.as_deref();
                let mut run = Receiving {
                    steps: self.steps,
                    earlier: &mut work.earlier,
                    interrupted: self.interrupted,
                };
                return work.stage.receive(target, transport, content.ok_or_else(missing)?, &mut run);
            }
            Section::Dataset(at) => work.stage.writer(&work.plan.datasets[at].name)?,
            Section::Files => work.stage.own.as_mut().ok_or_else(no_manifest)?,
            Section::Index => return Ok(()),
        };
        match &line.role {
            Role::Link { to } => {
                let (other, to) = self.locate(&Line { name: to.clone(), ..line.clone() })?;
                if other != section {
                    return Err(Error::Refused(format!(
                        "{} is a link into another part of the archive",
                        line.name
                    )));
                }
                self.link(section, &path, &to, line)
            }
            _ => writer.put(&path, entry, content).map_err(failed()),
        }
    }

    fn link(&mut self, section: Section, path: &TreePath, to: &TreePath, line: &Line) -> Result<()> {
        let work = self.work.as_mut().ok_or_else(no_manifest)?;
        let writer = match section {
            Section::Dataset(at) => work.stage.writer(&work.plan.datasets[at].name)?,
            _ => work.stage.own.as_mut().ok_or_else(no_manifest)?,
        };
        match (writer.link(path, to), &mut work.merge) {
            (Ok(()), _) => Ok(()),
            // Another base need not have what the link points to.
            (Err(_), Some(merge)) if section == Section::Dataset(0) => {
                merge.lost_link(path, to);
                Ok(())
            }
            (Err(error), _) => Err(misplaced(line)(error)),
        }
    }

    /// Config or fstab as it will be, and its name in the resource's directory.
    fn transformed(&self, section: Section, bytes: Vec<u8>) -> Result<(TreePath, Vec<u8>)> {
        let work = self.work.as_ref().ok_or_else(no_manifest)?;
        let plan = &work.plan;
        let layout = self.pool.layout();
        let renamed = plan.name != plan.record.name;
        let identity = self.options.identity.unwrap_or(if renamed { Identity::New } else { Identity::Keep });
        let name =
            |name: &str| TreePath::new(name.as_bytes()).map_err(|error| Error::Refused(error.to_string()));
        if section == Section::Fstab {
            let place = layout.place(plan.record.kind, &plan.name)?;
            let directory = self.pool.backend().directory().join(place.as_str());
            let bytes = self.with_releases_of_this_pool(bytes, plan, work.chosen.as_ref());
            return Ok((name("fstab")?, crate::fstab::from_archive(&bytes, &directory)));
        }
        let was = plan.record.base.as_ref().map(|base| base.name.as_str());
        let release = work
            .chosen
            .as_ref()
            .map(|chosen| chosen.base.name.as_str())
            .filter(|release| Some(*release) != was)
            .map(|release| (layout.release_key(), release));
        let bytes = files::config(bytes, plan, release, identity, self.steps)?;
        Ok((name("config.json")?, bytes))
    }

    /// Mounts of the base's directories in the root, from the place that the base has in this pool.
    fn with_releases_of_this_pool(&self, fstab: Vec<u8>, plan: &Plan, chosen: Option<&Chosen>) -> Vec<u8> {
        let layout = self.pool.layout();
        let Some(was) = &plan.record.base else { return fstab };
        let is = chosen.map_or(was.name.as_str(), |chosen| chosen.base.name.as_str());
        let place = |kind, name: &str| layout.place(kind, name).ok().map(|place| place.as_str().to_owned());
        let release = |name: &str| place(ResourceKind::Release, name);
        let own = place(plan.record.kind, &plan.record.name);
        // Where the pool was: what is above the resource's own place in it.
        let above = own.and_then(|own| plan.record.mountpoint.strip_suffix(&own).map(ToOwned::to_owned));
        let (Some(above), Some(old), Some(new)) = (above, release(&was.name), release(is)) else {
            return fstab;
        };
        let new = self.pool.backend().directory().join(new);
        crate::fstab::with_release(&fstab, Path::new(&format!("{above}{old}")), &new)
    }

    fn apply_line(&mut self, line: &Line) -> Result<()> {
        let (section, path) = self.locate(line)?;
        self.enter(Section::Index)?;
        if let Section::Dataset(at) = section {
            self.make(at)?;
        }
        let work = self.work.as_mut().ok_or_else(no_manifest)?;
        let writer = match section {
            Section::Dataset(at) if work.stage.has_writer(&work.plan.datasets[at].name) => {
                work.stage.writer(&work.plan.datasets[at].name)?
            }
            Section::Files => work.stage.own.as_mut().ok_or_else(no_manifest)?,
            _ => return Ok(()),
        };
        let failed = || misplaced(line);
        if section == Section::Dataset(0)
            && let Some(merge) = &mut work.merge
            && merge.decide(line, &path, writer, self.steps)?.is_settled()
        {
            return Ok(());
        }
        match (&line.role, &line.entry) {
            (Role::Metadata { .. }, Some(entry)) => writer.set_metadata(&path, entry).map_err(failed()),
            (Role::Unarchived, Some(entry)) => {
                let first = line.group.and_then(|group| work.sockets.get(&(section, group)));
                if let Some(first) = first {
                    return writer.link(&path, first).map_err(failed());
                }
                if let Some(group) = line.group {
                    work.sockets.insert((section, group), path.clone());
                }
                writer.put(&path, entry, None).map_err(failed())
            }
            (Role::Deleted, _) => match writer.remove(&path) {
                // What lay below something that was replaced is gone already.
                Ok(_) | Err(crate::tree::Error::NoParent { .. } | crate::tree::Error::Escapes { .. }) => {
                    Ok(())
                }
                Err(error) => Err(failed()(error)),
            },
            _ => Ok(()),
        }
    }

    /// Everything arrived and the seal matches.
    fn publish(&mut self) -> Result<PathBuf> {
        self.enter(Section::Index)?;
        let targets = self.work.as_ref().map_or(0, |work| work.plan.datasets.len());
        for at in 0..targets {
            self.make(at)?;
            let work = self.work.as_ref().ok_or_else(no_manifest)?;
            let target = &work.plan.datasets[at];
            if !work.stage.has(&target.name) {
                return Err(Error::Archive(archive::Error::Damaged(format!(
                    "the dataset {} is missing",
                    target.name
                ))));
            }
        }
        let work = self.work.as_mut().ok_or_else(no_manifest)?;
        if let Some(merge) = &mut work.merge {
            let root = work.plan.datasets[0].name.clone();
            let built = work.stage.built(&root)?;
            let base = work.chosen.as_ref().map(|chosen| chosen.base.label()).unwrap_or_default();
            merge.settle(&base, &built, work.stage.writer(&root)?, self.steps)?;
        }
        work.stage.finish(self.steps)?;
        work.stage.set_flags(&work.plan, self.steps)?;
        while let Some(meter) = self.open.pop() {
            meter.close(None);
        }
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        work.stage.publish(&work.plan, &mut self.undo, self.steps)
    }
}

impl Visitor for Restore<'_> {
    fn manifest(&mut self, manifest: &Manifest) -> archive::Result<()> {
        let meter = self.steps.open(Step::ExtractBundle, None, None);
        let outcome = self.begin(manifest);
        meter.close(outcome.as_ref().err());
        Ok(outcome?)
    }

    fn member(&mut self, line: &Line, content: Option<&mut dyn Content>) -> archive::Result<()> {
        Ok(self.apply(line, content)?)
    }

    fn line(&mut self, line: &Line) -> archive::Result<()> {
        Ok(self.apply_line(line)?)
    }

    fn failure(&mut self, failure: &archive::Failure) -> archive::Result<()> {
        let what = format!("The resource failed while it was exported, and is not whole: {}", failure.error);
        Err(Error::Unsupported(what).into())
    }
}

/// Why an entry could not be applied. Where its place is no place the archive is to blame.
fn misplaced(line: &Line) -> impl FnOnce(crate::tree::Error) -> Error {
    use crate::tree::Error as E;
    let name = line.name.to_string();
    let target = match &line.role {
        Role::Link { to } => Some(to.to_string()),
        _ => None,
    };
    move |error| match (error, target) {
        (E::Io { source, .. }, Some(to)) if source.kind() == std::io::ErrorKind::NotFound => {
            Error::Archive(archive::Error::Damaged(format!("{name} is a link to {to}, which is missing")))
        }
        (E::NoParent { .. }, _) => {
            Error::Archive(archive::Error::Damaged(format!("{name} lies in a directory that is missing")))
        }
        (E::Escapes { through, .. }, _) => {
            Error::Refused(format!("{name} leads through {through}, which is no directory"))
        }
        (E::WrongKind { found, wanted, .. }, _) => Error::Archive(archive::Error::Damaged(format!(
            "{name} is {wanted} in the archive, and {found} in its base"
        ))),
        (error, _) => Error::tree(format!("restore {name}"))(error),
    }
}

fn is_at_or_above(above: &str, name: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// An existing resource is never touched.
pub(super) fn check_free(pool: &Pool, plan: &Plan) -> Result<()> {
    let place = pool.layout().place(plan.record.kind, &plan.name)?;
    let taken =
        pool.backend().dataset(&place).map_err(Error::backend(format!("look {} up", place.as_str())))?;
    let in_the_way = pool.backend().directory().join(place.as_str());
    if taken.is_some() || in_the_way.symlink_metadata().is_ok() {
        return Err(Error::Exists(format!("The {}", label(plan.record.kind, &plan.name))));
    }
    Ok(())
}

/// Native streams need the backend that made them.
pub(super) fn check_streams(pool: &Pool, plan: &Plan) -> Result<()> {
    let received = pool.backend().streams().map(|_| crate::export::native_encoding(pool.backend().kind()));
    let mut native = plan.datasets.iter().filter(|target| target.encoding.is_native());
    match native.find(|target| Some(target.encoding) != received) {
        Some(target) => Err(no_streams(pool, target)),
        None => Ok(()),
    }
}

fn no_manifest() -> Error {
    Error::Archive(archive::Error::Damaged("a member comes before the manifest".into()))
}
