//! A file or a subtree into a directory.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::base::{Base, leads_through};
use super::staged::{self, Staged};
use super::{FindPool, Report};
use crate::archive::index::Role;
use crate::archive::{self, Failure, Line, Manifest, MemberName, Visitor};
use crate::error::{Error, Result};
use crate::event::{Observer, Step, Warning};
use crate::input::Input;
use crate::listing::not_whole;
use crate::locator::{Locator, Part};
use crate::run;
use crate::step::{Meter, Steps};
use crate::tree::{Acl, Content, Entry, Flags, Kind, Timestamp, Tree, TreePath, TreeWriter, copy};
use crate::undo::chain;

/// Extracts what `locator` names into the directory `to`, under its own name there (a dataset's root under that of its resource).
///
/// Entries of a differential archive that did not change come from the base. If that is not there, or differs, what the archive
/// holds is extracted alone, and that is a warning; if it holds nothing, the missing base is the error.
pub fn extract(
    pool: FindPool<'_>,
    input: Input,
    (locator, dataset): (&Locator, &str),
    to: &Path,
    observer: &dyn Observer,
    interrupted: &Arc<AtomicBool>,
) -> Result<Report> {
    let steps = Steps::new(observer, &input.name());
    // Where the archive can be read twice, the first reading finds hard links to what lies outside of the subtree.
    let (input, survey) = match input {
        Input::Path(path) => {
            let survey = Survey::of(Input::Path(path.clone()), locator, dataset, interrupted)?;
            (Input::Path(path), Some(survey))
        }
        input @ Input::Stream(_) => (input, None),
    };
    let opened = input.open(interrupted)?;
    steps.run(Step::ResourceRestore, None, None, |meter| {
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
        extraction.conclude(outcome.map(|_| ()))
    })
}

/// What the index says before anything is extracted.
struct Survey<'a> {
    locator: &'a Locator,
    dataset: &'a str,
    interrupted: &'a AtomicBool,
    part: Option<Part>,
    /// Members outside of the subtree that have other names in it, with the first of these.
    outside: HashMap<MemberName, TreePath>,
    /// Whether nothing of the base is needed.
    complete: bool,
}

impl<'a> Survey<'a> {
    fn of(
        input: Input,
        locator: &'a Locator,
        dataset: &'a str,
        interrupted: &'a Arc<AtomicBool>,
    ) -> Result<Self> {
        let opened = input.open(interrupted)?;
        let mut this =
            Self { locator, dataset, interrupted, part: None, outside: HashMap::new(), complete: false };
        let read = archive::select(opened.source, &opened.name, &mut this).map_err(Error::from);
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        read?;
        // A name that only the base has may be among them.
        let is_delta = this.part.as_ref().is_some_and(|part| part.is_delta);
        this.complete &= !is_delta || this.outside.is_empty();
        Ok(this)
    }
}

impl Visitor for Survey<'_> {
    fn manifest(&mut self, manifest: &Manifest) -> archive::Result<()> {
        self.part = Some(Part::find(manifest, self.locator, self.dataset)?);
        Ok(())
    }

    fn wants(&mut self, _: &Line) -> bool {
        false
    }

    fn member(&mut self, _: &Line, _: Option<&mut dyn Content>) -> archive::Result<()> {
        Ok(())
    }

    fn line(&mut self, line: &Line) -> archive::Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted.into());
        }
        let Some(part) = &self.part else { return Ok(()) };
        let Some(path) = part.of_line(line) else { return Ok(()) };
        if let Role::Link { to } = &line.role
            && part.in_dataset(to).is_none_or(|to| part.below(&to).is_none())
        {
            self.outside.entry(to.clone()).or_insert_with(|| path.clone());
        }
        self.complete |= path == part.path && needs_no_base(line);
        Ok(())
    }

    fn failure(&mut self, failure: &Failure) -> archive::Result<()> {
        refuse_failed(self.part.as_ref(), failure)
    }
}

fn refuse_failed(part: Option<&Part>, failure: &Failure) -> archive::Result<()> {
    match part.filter(|part| part.resource == failure.resource as usize) {
        Some(part) => Err(not_whole(part, failure).into()),
        None => Ok(()),
    }
}

/// Whether the archive holds all that lies at and below the path of a line.
fn needs_no_base(line: &Line) -> bool {
    let Some(entry) = &line.entry else { return true };
    match line.role {
        Role::Member { .. } if entry.kind == Kind::Directory => {
            line.replaced.as_ref().is_none_or(|was| was.kind != Kind::Directory)
        }
        Role::Member { .. } | Role::Unarchived => true,
        _ => false,
    }
}

/// An extraction that is under way: the reader's visitor.
struct Extraction<'a> {
    pool: FindPool<'a>,
    locator: &'a Locator,
    dataset: &'a str,
    to: &'a Path,
    steps: &'a Steps<'a>,
    interrupted: &'a AtomicBool,
    meter: &'a Meter<'a>,
    /// As the survey found it, if there was one.
    outside: Option<HashMap<MemberName, TreePath>>,
    complete: bool,
    work: Option<Work>,
}

/// What is known after the manifest.
struct Work {
    part: Part,
    /// Name in the user's directory.
    name: Vec<u8>,
    writer: TreeWriter,
    staged: Staged,
    base: Option<Base>,
    /// Why there is none.
    without_base: Option<Error>,
    entries: u64,
    /// Directories that were made, where there is no base that has them.
    directories: HashSet<TreePath>,
    /// Members outside of the subtree whose content came.
    arrived: HashSet<MemberName>,
    /// Names whose content came from the base for the sake of a link, and whose attributes come with their line.
    from_base: HashSet<TreePath>,
    /// The first path of each hard-linked socket.
    sockets: HashMap<u64, TreePath>,
    /// Entries that are not in the result for want of the base.
    missing: u64,
    /// Whether the base's entry, if any, is in the way of nothing.
    exists: bool,
}

impl Extraction<'_> {
    fn begin(&mut self, manifest: &Manifest) -> Result<()> {
        let part = Part::find(manifest, self.locator, self.dataset)?;
        let name = match part.path.split() {
            Some((_, name)) => name.to_vec(),
            None => part.record.name.clone().into_bytes(),
        };
        let staged = Staged::create(self.to, &name, &run::new_id())?;
        let (mut base, mut without_base) = (None, None);
        if part.is_delta && !self.complete {
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
        if let Some(why) = without_base.filter(|_| !self.complete) {
            let also = if missing > 0 {
                format!("; {missing} of them changed their attributes")
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

impl Work {
    /// A path of the dataset in the hidden directory.
    fn staged_path(&self, path: &TreePath) -> TreePath {
        let below = self.part.below(path).unwrap_or_default();
        below.components().fold(TreePath::root().join(&self.name), |path, name| path.join(name))
    }

    /// Begins with what the base has at the path.
    fn copy_base(&mut self, steps: &Steps<'_>, interrupted: &AtomicBool) -> Result<()> {
        let Some(base) = &self.base else { return Ok(()) };
        let fail = || Error::tree(format!("copy from the base {}", base.label));
        let root = self.part.path.is_root();
        let directory = if root {
            Some(base.tree().root())
        } else {
            match base.find(&self.part.path)? {
                None => return Ok(()),
                Some(found) if found.stat.kind == Kind::Directory => {
                    found.dir.open_dir(&found.name).map_err(fail())?
                }
                Some(found) => {
                    let Some(node) = found.dir.node(&found.name, &found.stat).map_err(fail())? else {
                        return Ok(());
                    };
                    let mut file = match found.stat.kind {
                        Kind::File => found.dir.open_file(&found.name).map_err(fail())?,
                        _ => None,
                    };
                    let content = file.as_mut().map(|file| file as &mut dyn Content);
                    let place = TreePath::root().join(&self.name);
                    self.writer.put(&place, &node.entry, content).map_err(fail())?;
                    self.exists = true;
                    return Ok(());
                }
            }
        };
        let Some(directory) = directory else { return Ok(()) };
        use std::os::unix::ffi::OsStrExt as _;
        let place = self.staged.path().join(std::ffi::OsStr::from_bytes(&self.name));
        std::fs::create_dir(&place).map_err(Error::io("make the directory", place.display()))?;
        let fd =
            directory.as_fd().try_clone_to_owned().map_err(Error::io("open", "a directory of the base"))?;
        let tree = Tree::from_fd(fd, &base.label).map_err(fail())?;
        let exclude = |below: &TreePath| {
            let path = below.components().fold(self.part.path.clone(), |path, name| path.join(name));
            interrupted.load(Ordering::Relaxed) || base.leaves_out(&path)
        };
        let losses = copy(&tree, staged::open(&place)?, &exclude, &mut |_| {}).map_err(fail())?;
        for loss in losses {
            let subject = self.part.label(&loss.path);
            let message = format!("{} could not be kept: {}", loss.what, loss.source);
            steps.warn(&Warning { subject, message });
        }
        self.exists = true;
        Ok(())
    }

    fn put(&mut self, path: &TreePath, entry: &Entry, content: Option<&mut dyn Content>) -> Result<()> {
        let place = self.staged_path(path);
        self.parents(&place)?;
        self.writer.put(&place, entry, content).map_err(|error| self.failed(path)(error))?;
        if entry.kind == Kind::Directory {
            self.directories.insert(place);
        }
        self.entries += 1;
        self.exists = true;
        Ok(())
    }

    /// Without the base nobody has made the directories that did not change.
    fn parents(&mut self, place: &TreePath) -> Result<()> {
        if self.base.is_some() {
            return Ok(());
        }
        let mut missing = Vec::new();
        let mut path = place.clone();
        while let Some((parent, _)) = path.split().filter(|(parent, _)| !parent.is_root()) {
            if self.directories.contains(&parent) {
                break;
            }
            missing.push(parent.clone());
            path = parent;
        }
        for parent in missing.into_iter().rev() {
            let fail = Error::tree(format!("make the directory {parent}"));
            self.writer.put(&parent, &plain_directory(), None).map_err(fail)?;
            self.directories.insert(parent);
        }
        Ok(())
    }

    fn link(&mut self, path: &TreePath, to: &TreePath, line: &Line) -> Result<()> {
        let (place, target) = (self.staged_path(path), self.staged_path(to));
        self.parents(&place)?;
        if let Err(error) = self.writer.link(&place, &target) {
            use crate::tree::Error as E;
            let absent = match &error {
                E::NoParent { .. } => true,
                E::Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
                _ => false,
            };
            // A name that only the base has.
            if absent && self.base.is_none() && self.part.is_delta {
                self.missing += 1;
                return Ok(());
            }
            return Err(self.failed(line.name.path())(error));
        }
        self.entries += 1;
        self.exists = true;
        Ok(())
    }

    /// A name of something that lies outside of the subtree and did not come: the base alone has it, or a pipe has passed it.
    fn link_outside(&mut self, path: &TreePath, to: &MemberName, surveyed: bool, line: &Line) -> Result<()> {
        if !surveyed {
            return Err(Error::Unsupported(format!(
                "{} is a hard link to {to}, which lies elsewhere and came before it: read the archive from a file",
                self.part.label(path)
            )));
        }
        let target = self.part.in_dataset(to).filter(|_| self.part.is_delta);
        let missing =
            || archive::Error::Damaged(format!("{} is a link to {to}, which is missing", line.name));
        let target = target.ok_or_else(missing)?;
        let Some(base) = &self.base else {
            self.missing += 1;
            return Ok(());
        };
        let fail = || Error::tree(format!("copy from the base {}", base.label));
        let found = base.find(&target)?.ok_or_else(missing)?;
        let node = found.dir.node(&found.name, &found.stat).map_err(fail())?.ok_or_else(missing)?;
        let mut file = match found.stat.kind {
            Kind::File => Some(found.dir.open_file(&found.name).map_err(fail())?.ok_or_else(missing)?),
            _ => None,
        };
        let content = file.as_mut().map(|file| file as &mut dyn Content);
        self.put(path, &node.entry, content)?;
        self.from_base.insert(path.clone());
        Ok(())
    }

    fn apply_line(&mut self, line: &Line) -> Result<()> {
        let Some(path) = self.part.in_dataset(&line.name) else { return Ok(()) };
        if self.part.below(&path).is_none() {
            return self.above(&path, line);
        }
        let place = self.staged_path(&path);
        match (&line.role, &line.entry) {
            (Role::Metadata { .. }, Some(_)) if self.base.is_none() => {
                self.missing += 1;
                Ok(())
            }
            (Role::Metadata { .. }, Some(entry)) => {
                self.entries += 1;
                self.writer.set_metadata(&place, entry).map_err(|error| self.failed(&path)(error))
            }
            (Role::Link { .. }, Some(entry)) if self.from_base.contains(&path) => {
                self.writer.set_metadata(&place, entry).map_err(|error| self.failed(&path)(error))
            }
            (Role::Unarchived, Some(entry)) => {
                if let Some(first) = line.group.and_then(|group| self.sockets.get(&group)).cloned() {
                    return self.link(&path, &first, line);
                }
                if let Some(group) = line.group {
                    self.sockets.insert(group, path.clone());
                }
                self.put(&path, entry, None)
            }
            (Role::Deleted, _) => self.remove(&place, &path),
            _ => Ok(()),
        }
    }

    fn remove(&mut self, place: &TreePath, path: &TreePath) -> Result<()> {
        match self.writer.remove(place) {
            // What lay below something that was replaced is gone already.
            Ok(_) | Err(crate::tree::Error::NoParent { .. } | crate::tree::Error::Escapes { .. }) => {}
            Err(error) => return Err(self.failed(path)(error)),
        }
        self.exists &= *path != self.part.path;
        Ok(())
    }

    /// A line of what the subtree lies in.
    fn above(&mut self, path: &TreePath, line: &Line) -> Result<()> {
        if !path.is_above(&self.part.path) {
            return Ok(());
        }
        match &line.entry {
            Some(entry) if entry.kind == Kind::Symlink => {
                let target = entry.target.as_deref().unwrap_or_default();
                Err(leads_through(&self.part.path, path, target))
            }
            Some(entry) if entry.kind == Kind::Directory => Ok(()),
            _ => Err(self.part.not_there()),
        }
    }

    fn failed(&self, path: &TreePath) -> impl FnOnce(crate::tree::Error) -> Error + use<> {
        Error::tree(format!("extract {}", self.part.label(path)))
    }
}

/// A directory of which nothing is known.
fn plain_directory() -> Entry {
    Entry {
        kind: Kind::Directory,
        mode: 0o755,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: Timestamp { seconds: jiff::Timestamp::now().as_second(), nanoseconds: 0 },
        size: 0,
        target: None,
        device: None,
        xattrs: BTreeMap::new(),
        acl: Acl::default(),
        flags: Flags::default(),
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
        if work.part.path == work.part.in_dataset(&line.name).unwrap_or_default()
            && work.part.in_dataset(&line.name).is_some()
        {
            self.complete |= needs_no_base(line);
        }
        Ok(work.apply_line(line)?)
    }

    fn failure(&mut self, failure: &Failure) -> archive::Result<()> {
        refuse_failed(self.work.as_ref().map(|work| &work.part), failure)
    }
}
