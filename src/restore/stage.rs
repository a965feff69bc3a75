//! The staging dataset of a restore, and its way into view.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use remand_backends::{Created, DatasetKind, DatasetName, Encryption, ReceiveOptions, SnapshotName};

use super::plan::{Plan, Target};
use super::properties::{self, Setting, shaping};
use super::resume::{Earlier, KEEP_FROM_BYTES};
use crate::archive::manifest::Encoding;
use crate::error::{Error, Result};
use crate::event::Warning;
use crate::pool::{Pool, with_view};
use crate::resource::Base;
use crate::step::{Meter, Steps};
use crate::tree::{self, Content, Loss, Tree, TreePath, TreeWriter};
use crate::undo::Undo;

/// What an interrupted stream has brought, in bytes, if that is kept for the next run. All stages of a run are kept for it.
pub(super) type KeptBytes = Rc<Cell<Option<u64>>>;

/// Where the datasets of a resource are built.
pub(super) struct Stage<'a> {
    pub(super) pool: &'a Pool,
    pub(super) dataset: DatasetName,
    /// Its number in a restore of several.
    number: Option<usize>,
    pub(super) created: Rc<RefCell<Option<Created>>>,
    kept: KeptBytes,
    /// Writes the resource's own directory.
    own: Option<TreeWriter>,
    /// Properties of the resource's own dataset.
    setting: Setting,
    /// Datasets made so far, by name.
    made: BTreeMap<String, Made>,
}

/// What receiving a stream needs of its run.
pub(super) struct Receiving<'a, 'p> {
    pub(super) steps: &'a Steps<'a>,
    pub(super) earlier: &'a mut Earlier<'p>,
    pub(super) interrupted: &'a AtomicBool,
}

/// A dataset that has been made.
struct Made {
    created: Created,
    /// Whether it arrives as a tree.
    tree: bool,
    /// None while nothing is written.
    writer: Option<TreeWriter>,
    setting: Setting,
}

impl<'a> Stage<'a> {
    /// Makes the staging dataset of `run`, for what `plan` says; of several, the one with that number.
    pub(super) fn create(
        pool: &'a Pool,
        (run, number): (&str, Option<usize>),
        plan: &Plan,
        kept: &KeptBytes,
        undo: &mut Undo<'a>,
        steps: &Steps<'_>,
    ) -> Result<Self> {
        let backend = pool.backend();
        let dataset = super::resume::staging(run, number)?;
        let created = backend.create(&dataset).map_err(Error::backend("make a staging dataset"))?;
        let mut setting = Setting::of_own(plan);
        setting.before(backend, &created, steps);
        let created = Rc::new(RefCell::new(Some(created)));
        let token = Rc::clone(&created);
        let keep = Rc::clone(kept);
        let last = dataset.components().next_back().unwrap_or_default().to_owned();
        undo.on_failure(format!("staging dataset {last}"), move || match token.take() {
            None => Ok(()),
            Some(_) if keep.get().is_some() => Ok(()),
            Some(token) => backend
                .destroy(token)
                .map_err(|kept| Error::backend("destroy the staging dataset")(kept.error)),
        });
        let kept = Rc::clone(kept);
        Ok(Self { pool, dataset, number, created, kept, own: None, setting, made: BTreeMap::new() })
    }

    /// The writer of the resource's own directory.
    pub(super) fn own(&mut self) -> Result<&mut TreeWriter> {
        match &mut self.own {
            Some(own) => Ok(own),
            none => Ok(none.insert(writer(&directory_of(self.pool, &self.dataset)?)?)),
        }
    }

    /// Makes properties of the resource's own dataset its config.
    pub(super) fn set_config(&self, all: &BTreeMap<String, String>, steps: &Steps<'_>) -> Result<()> {
        match &*self.created.borrow() {
            Some(created) => properties::set_config(self.pool.backend(), created, all, steps),
            None => Ok(()),
        }
    }

    /// Whether a dataset has been made.
    pub(super) fn has(&self, name: &str) -> bool {
        self.made.contains_key(name)
    }

    /// Whether a dataset has been made and arrives as a tree.
    pub(super) fn is_tree(&self, name: &str) -> bool {
        self.made.get(name).is_some_and(|made| made.tree)
    }

    /// The writer of a dataset that arrives as a tree.
    pub(super) fn writer(&mut self, of: &str) -> Result<&mut TreeWriter> {
        let missing = || Error::Refused(format!("it has entries of the dataset {of}, which is no tree"));
        let made = self.made.get_mut(of).filter(|made| made.tree).ok_or_else(missing)?;
        match &mut made.writer {
            Some(writer) => Ok(writer),
            none => Ok(none.insert(writer(&directory_of(self.pool, &name(&self.dataset, of)?)?)?)),
        }
    }

    /// Tells of what could not be kept in a dataset so far, once it is much; "" is the resource's own directory.
    pub(super) fn tell_losses(&mut self, of: &str, steps: &Steps<'_>) {
        let writer = match of {
            "" => self.own.as_mut(),
            of => self.made.get_mut(of).and_then(|made| made.writer.as_mut()),
        };
        if let Some(writer) = writer {
            report(writer.many_losses(), of, steps);
        }
    }

    /// Makes a dataset that does not arrive as a stream: a clone of its base if it has one, empty otherwise. Of the base
    /// goes what was not there: what lay where other datasets are, and what was in empty base directories.
    pub(super) fn make(
        &mut self,
        plan: &Plan,
        target: &Target,
        base: Option<&Base>,
        steps: &Steps<'_>,
        meter: &Meter<'_>,
        view: &str,
    ) -> Result<()> {
        let backend = self.pool.backend();
        let dataset = name(&self.dataset, &target.name)?;
        let failed = || Error::backend(format!("make the dataset {}", target.name));
        let clones = base.map_or(Ok(false), |base| self.can_clone(base))?;
        self.mount_above(plan, target, steps)?;
        let created = match base {
            Some(base) if clones => backend.clone_snapshot(&base.snapshot, &dataset).map_err(failed())?,
            _ => backend.create(&dataset).map_err(failed())?,
        };
        let mut setting = Setting::new(&target.name, &target.properties, false);
        setting.before(backend, &created, steps);
        let mut writer = writer(&directory_of(self.pool, &dataset)?)?;
        if let Some(base) = base.filter(|_| !clones) {
            with_view(backend, &base.snapshot, view, steps, |view| {
                let progress = &mut |copied: tree::Copied| meter.set(copied.data_bytes, copied.entries);
                let losses = tree::copy_into(&view.tree, &mut writer, &|_| false, progress)
                    .map_err(Error::tree(format!("copy the base {}", base.label())))?;
                report(losses, &target.name, steps);
                Ok(())
            })?;
        }
        if base.is_some() {
            make_room(plan, target, &mut writer)
                .map_err(Error::tree(format!("make room in the dataset {}", target.name)))?;
        }
        let made = Made { created, tree: true, writer: Some(writer), setting };
        self.made.insert(target.name.clone(), made);
        Ok(())
    }

    /// Mounts the received datasets that a clone will be mounted in: otherwise it would be in their way. What lies in its place
    /// there nobody sees any more, and it would be in the clone's.
    fn mount_above(&self, plan: &Plan, target: &Target, steps: &Steps<'_>) -> Result<()> {
        let above = plan.datasets.iter().filter(|other| is_inside(&target.name, &other.name));
        for other in above.filter(|other| other.encoding.is_native() && self.has(&other.name)) {
            let dataset = name(&self.dataset, &other.name)?;
            let failed = Error::backend(format!("mount the dataset {}", other.name));
            self.pool.backend().mount(&dataset).map_err(failed)?;
            let failed = || Error::tree(format!("make room in the dataset {}", other.name));
            let place = TreePath::new(&target.name.as_bytes()[other.name.len() + 1..]);
            let place = place.map_err(|error| Error::Refused(error.to_string()))?;
            let mut writer = writer(&directory_of(self.pool, &dataset)?)?;
            writer.empty(&place).map_err(failed())?;
            report(writer.finish_durably().map_err(failed())?, &other.name, steps);
        }
        Ok(())
    }

    /// Whether the backend makes clones of a base. A directory can be a base too, which has none.
    fn can_clone(&self, base: &Base) -> Result<bool> {
        let backend = self.pool.backend();
        let found = backend
            .dataset(&base.snapshot.dataset)
            .map_err(Error::backend(format!("look {} up", base.snapshot.dataset.as_str())))?;
        Ok(backend.capabilities().clones && found.is_some_and(|found| found.kind == DatasetKind::FileSystem))
    }

    /// Receives a dataset that arrives as a native stream, or what is missing of it.
    pub(super) fn receive(
        &mut self,
        (plan, target): (&Plan, &Target),
        content: &mut dyn Content,
        run: &mut Receiving<'_, '_>,
    ) -> Result<()> {
        let backend = self.pool.backend();
        let transport = plan.record.snapshot.as_deref();
        let steps = run.steps;
        let streams = backend.streams().ok_or_else(|| super::no_streams(self.pool, plan, target))?;
        let dataset = name(&self.dataset, &target.name)?;
        let properties = shaping(&target.properties);
        let mut options =
            ReceiveOptions { properties, keep_from_bytes: Some(KEEP_FROM_BYTES), verified_bytes: 0 };
        let key = super::resume::key(self.number, &target.name);
        let taken = run.earlier.take(self.number, &target.name, &dataset, steps)?;
        let mut source = run.earlier.guard(content, run.interrupted, &key)?;
        let received = if let Some((partial, verified_bytes)) = taken {
            let partials = streams.partials(&dataset).map_err(Error::backend("look at what was received"))?;
            let part = partials.iter().find(|partial| partial.dataset == dataset);
            let part = part.map_or("a part".to_owned(), |part| format!("{} bytes", part.received_bytes));
            let message =
                format!("an interrupted restore has received {part} of it; that is not received again");
            steps.notice(&target.name, message);
            options.verified_bytes = verified_bytes;
            streams.resume(partial, &mut source, &options)
        } else {
            source.begin()?;
            streams.receive_with(&dataset, &mut source, &options)
        };
        if source.foreign {
            let message = "what an interrupted restore of an archive with the same identity has received is of other content; it is removed and nothing of it is used. Run the restore again: it begins anew. One of the two archives may be forged";
            steps.notice(&target.name, message.to_owned());
        }
        let created = received.map_err(|error| {
            if let remand_backends::Error::Kept { received_bytes, .. } = &error {
                self.kept.set(Some(*received_bytes));
            }
            Error::backend(format!("receive the dataset {}", target.name))(error)
        })?;
        if let Some(transport) = transport {
            let snapshot = SnapshotName::new(transport).map_err(|error| Error::Refused(error.to_string()))?;
            streams
                .drop_snapshot(&created, &snapshot)
                .map_err(Error::backend(format!("destroy the snapshot {transport} of {}", target.name)))?;
        }
        let mut setting = Setting::new(&target.name, &target.properties, true);
        setting.before(backend, &created, steps);
        self.made.insert(target.name.clone(), Made { created, tree: false, writer: None, setting });
        Ok(())
    }

    /// Opens what was built of a dataset, for reading; "" is the resource's own directory.
    pub(super) fn built(&self, name_of: &str) -> Result<Tree> {
        let dataset = match name_of {
            "" => self.dataset.clone(),
            name_of => name(&self.dataset, name_of)?,
        };
        let directory = directory_of(self.pool, &dataset)?;
        Tree::open(&directory).map_err(Error::tree(format!("read the dataset {name_of}")))
    }

    /// Sets what had to wait until all entries are there, and holds no descriptors any more. What comes later opens them again.
    pub(super) fn rest(&mut self, steps: &Steps<'_>) -> Result<()> {
        for (name, made) in &mut self.made {
            if let Some(writer) = made.writer.take() {
                let losses = writer.finish().map_err(Error::tree(format!("finish the dataset {name}")))?;
                report(losses, name, steps);
            }
        }
        if let Some(own) = self.own.take() {
            report(own.finish().map_err(Error::tree("finish the resource's directory"))?, "", steps);
        }
        Ok(())
    }

    /// Returns when all that was written is on stable storage. `synced` are the file systems that are already.
    pub(super) fn sync(&self, synced: &mut BTreeSet<u64>) -> Result<()> {
        let trees = self.made.iter().filter(|(_, made)| made.tree).map(|(name, _)| name.as_str());
        for name in trees.chain([""]) {
            let tree = self.built(name)?;
            let failed = || Error::tree(format!("write the dataset {name} to stable storage"));
            let device = tree.root().own_stat().map_err(failed())?.identity.device;
            if synced.insert(device) {
                tree.sync().map_err(failed())?;
            }
        }
        Ok(())
    }

    /// Sets the file flags that a native stream does not bring along.
    pub(super) fn set_flags(&self, plan: &Plan, steps: &Steps<'_>) -> Result<()> {
        let native =
            plan.datasets.iter().filter(|target| target.encoding.is_native() && self.has(&target.name));
        for target in native.filter(|target| !target.flags.is_empty()) {
            let tree = self.built(&target.name)?;
            let mut losses = Vec::new();
            for (path, names) in &target.flags {
                let flags = names.parse().unwrap_or_else(|unknown: tree::flags::UnknownFlags| {
                    let message = unknown.to_string();
                    steps.warn(&Warning { subject: format!("{}/{path}", target.name), message });
                    unknown.known
                });
                let lost = tree::set_flags(&tree, path, flags);
                losses
                    .extend(lost.map_err(Error::tree(format!("set flags in the dataset {}", target.name)))?);
            }
            report(losses, &target.name, steps);
        }
        Ok(())
    }
}

impl Stage<'_> {
    /// Sets what had to wait until all content is there, the deepest datasets first.
    pub(super) fn set_properties(&mut self, steps: &Steps<'_>) {
        let backend = self.pool.backend();
        for made in self.made.values_mut().rev() {
            made.setting.after(backend, &made.created, steps);
        }
        if let Some(created) = &*self.created.borrow() {
            self.setting.after(backend, created, steps);
        }
    }

    /// What came as it was stored has to get its key from the user.
    pub(super) fn tell_of_locked(&self, place: &DatasetName, steps: &Steps<'_>) {
        for subject in self.made.keys() {
            let Ok(dataset) = place.join(subject) else { continue }; // it could not have been made
            match self.pool.backend().encryption(&dataset) {
                Ok(Encryption::Locked) => {
                    let full = crate::export::full_name(self.pool, &dataset);
                    let message = format!(
                        "is encrypted and not mounted, because its key is not loaded: `zfs load-key {full}`, then `zfs mount {full}`"
                    );
                    steps.notice(subject, message);
                }
                Ok(_) => {}
                Err(error) => {
                    let message =
                        format!("whether its key is loaded is not known: {}", crate::undo::chain(&error));
                    steps.notice(subject, message);
                }
            }
        }
    }
}

/// Removes from a clone of a base what the resource did not have.
fn make_room(plan: &Plan, target: &Target, writer: &mut TreeWriter) -> tree::Result<()> {
    let path = |below: &str| TreePath::new(below.as_bytes()).ok().filter(|path| !path.is_root());
    let places = plan.datasets.iter().filter_map(|other| other.name.strip_prefix(&target.name));
    for place in places.filter_map(|rest| path(rest.strip_prefix('/')?)) {
        writer.remove(&place)?;
    }
    if target.encoding == Encoding::Delta {
        let empty = plan.record.base_directories.iter().filter(|directory| directory.empty);
        for directory in empty.filter_map(|directory| path(&directory.path)) {
            writer.empty(&directory)?;
        }
    }
    Ok(())
}

fn is_inside(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

fn name(above: &DatasetName, below: &str) -> Result<DatasetName> {
    above.join(below).map_err(|error| Error::Refused(error.to_string()))
}

pub(super) fn directory_of(pool: &Pool, dataset: &DatasetName) -> Result<PathBuf> {
    let found =
        pool.backend().dataset(dataset).map_err(Error::backend(format!("look {} up", dataset.as_str())))?;
    found
        .and_then(|found| found.directory)
        .ok_or_else(|| Error::Unsupported(format!("The dataset {} is not mounted", dataset.as_str())))
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags, open};
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open(path, flags, Mode::empty()).map_err(|error| Error::io("open", path.display())(error.into()))
}

pub(super) fn writer(path: &Path) -> Result<TreeWriter> {
    TreeWriter::new(open_directory(path)?).map_err(Error::tree(format!("write to {}", path.display())))
}

/// What the platform could not keep.
fn report(losses: Vec<Loss>, dataset: &str, steps: &Steps<'_>) {
    for loss in losses {
        let slash = if dataset.is_empty() { "" } else { "/" };
        let subject = format!("{dataset}{slash}{}", loss.path);
        steps
            .warn(&Warning { subject, message: format!("{} could not be kept: {}", loss.what, loss.source) });
    }
}
