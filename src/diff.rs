//! What a resource changed since it was cloned from its base: of a live one, or from an archive.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use remand_backends::{Snapshot, SnapshotName};

use crate::archive::index::Role;
use crate::archive::manifest::{Manifest, Mode};
use crate::archive::{self, Line, Visitor};
use crate::basejail;
use crate::change::content::Content as ByContent;
use crate::change::snapshot::Asked;
use crate::change::{self, Change, Choice, Differs, Engine, Trees, What};
use crate::confine::{self, Allowed};
use crate::error::{Error, Result};
use crate::event::{Observer, Step, Warning};
use crate::input::Input;
use crate::pool::{Pool, with_view};
use crate::resource::{Base, Basejail, Part, Resource, Selector};
use crate::run::{self, Record, Run};
use crate::step::Steps;
use crate::tree::{Content, Kind, Tree, TreePath};

/// How an entry differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// The base has no such path.
    Added,
    /// Content, kind, target or device differ.
    Modified,
    /// Attributes alone differ.
    Metadata,
    /// The base has it, the resource does not.
    Deleted,
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Path in the root.
    pub path: TreePath,
    /// How it differs.
    pub sort: Sort,
    /// What it is now; of a deleted entry, what it was.
    pub kind: Kind,
    /// What exactly differs, where both sides have it: `kind`, `content`, `mode`, `owner`, `mtime`, `xattrs`, `acl`,
    /// `flags`, `links`. From an archive only `kind` is known.
    pub aspects: Vec<&'static str>,
    /// Bytes of content now, of a regular file.
    pub size_bytes: Option<u64>,
}

/// How to compare.
#[derive(Clone, Debug)]
pub struct Options {
    /// The resource.
    pub selector: Selector,
    /// Engine; by default the cheapest that is safe.
    pub engine: Option<String>,
}

/// Compares a live resource with its base. Where the backend knows what changed between two snapshots, and for the engine that asks it, one is
/// made and destroyed in the end; otherwise the live tree is read. Differences come sorted by path within each directory, directories from the top. Returns the
/// base's label.
pub fn diff(
    pool: &Pool,
    options: &Options,
    observer: &dyn Observer,
    interrupted: &AtomicBool,
    consume: &mut dyn FnMut(Difference) -> Result<()>,
) -> Result<String> {
    let steps = Steps::new(observer, &options.selector.name);
    let resource = pool.resource(&options.selector)?;
    let base = resource.base.as_ref().ok_or_else(|| {
        Error::Unsupported(format!("The {} has no base in this pool to compare with", resource.label()))
    })?;
    let native = pool.backend().native_diff();
    let choice = crate::base::choose(Some(base), options.engine.as_deref(), native)?;
    let left_out = match &resource.basejail {
        Some(Basejail::Mounted(paths)) => paths.as_slice(),
        _ => &[],
    };
    steps.run(Step::Compare, Some(&base.label()), None, |meter| {
        reading(pool, &resource, &steps, |reading| {
            let mut compare = |asked: Option<Asked<'_>>, now: &Tree| {
                let engine = choice.engine(asked);
                let comparison = Comparison { engine: engine.as_ref(), left_out, steps: &steps, interrupted };
                comparison.run(reading, &resource, (Some(base), now), &mut |change| {
                    meter.add(0, 1);
                    consume(difference(change))
                })
            };
            let Some(native) = native.filter(|_| matches!(choice, Choice::Snapshot(_))) else {
                return compare(None, &live(resource.root())?);
            };
            if let Some(what) = native.leaves_out() {
                steps.notice("root", format!("the snapshot engine does not see {what}"));
            }
            reading.with_own_snapshot(resource.root(), |snapshot, now| {
                compare(Some(Asked { native, base: &base.snapshot, now: snapshot }), now)
            })
        })
    })?;
    Ok(base.label())
}

/// What an archive changes in its base, from its index. The whole archive is read and proven; where a signature is required nothing is
/// handed over before that is proven.
pub fn diff_archive(
    mut input: Input,
    observer: &dyn Observer,
    interrupted: &Arc<AtomicBool>,
    consume: &mut (dyn FnMut(Difference) -> Result<()> + Send),
) -> Result<String> {
    let is_foreign = input.is_foreign()?;
    let allowed = Allowed::nothing().and_temporary(input.must_be_signed() || is_foreign);
    confine::run(&allowed, || read_archive(input, observer, interrupted, consume))
}

fn read_archive(
    input: Input,
    observer: &dyn Observer,
    interrupted: &Arc<AtomicBool>,
    consume: &mut dyn FnMut(Difference) -> Result<()>,
) -> Result<String> {
    let steps = Steps::new(observer, &input.name());
    steps.run(Step::Compare, None, None, |_| {
        let opened = input.open(interrupted)?;
        if let Some(origin) = &opened.origin {
            let unknown = "it does not say which entries are new, and which the release has otherwise: all are told as added";
            for limit in origin.foreign.limits.iter().map(String::as_str).chain([unknown]) {
                steps.warn(&Warning { subject: opened.name.clone(), message: limit.to_owned() });
            }
        }
        let mut visitor = IndexDiff { consume, roots: Vec::new(), base: String::new() };
        let read = archive::read(opened.source, &opened.name, &mut visitor).map_err(Error::from);
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        read.map(|_| visitor.base)
    })
}

/// How roots are compared.
pub(crate) struct Comparison<'a> {
    pub(crate) engine: &'a dyn Engine,
    /// Base directories whose content is not looked at.
    pub(crate) left_out: &'a [TreePath],
    pub(crate) steps: &'a Steps<'a>,
    pub(crate) interrupted: &'a AtomicBool,
}

impl Comparison<'_> {
    /// Compares the root of a resource as it is in `now` with `base`, or with nothing.
    pub(crate) fn run(
        &self,
        reading: &Reading<'_>,
        resource: &Resource,
        (base, now): (Option<&Base>, &Tree),
        consume: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<()> {
        let datasets = resource.datasets.iter().map(|part| part.name.as_str());
        let apart = datasets.chain(resource.enclosed.iter().map(String::as_str));
        let exclude: Vec<TreePath> =
            apart.filter_map(|name| TreePath::new(name.strip_prefix("root/")?.as_bytes()).ok()).collect();
        match base {
            None => self.compare(Trees { base: None, now }, &exclude, consume),
            Some(base) => reading.with(&base.snapshot, |tree| {
                self.compare(Trees { base: Some(tree), now }, &exclude, consume)
            }),
        }
    }

    fn compare(
        &self,
        trees: Trees<'_>,
        exclude: &[TreePath],
        consume: &mut dyn FnMut(Change) -> Result<()>,
    ) -> Result<()> {
        let engine = if trees.base.is_some() { self.engine } else { &ByContent };
        let left_out = basejail::left_out(self.left_out, trees)?;
        crate::export::basejail::tell(&left_out, self.steps);
        let paths: Vec<TreePath> =
            left_out.iter().filter_map(|directory| TreePath::new(directory.path.as_bytes()).ok()).collect();
        let exclude = [exclude, &paths].concat();
        let interrupted = self.interrupted;
        let options = change::Options {
            threads: 0,
            of_base: change::OfBase::Nothing,
            exclude: &exclude,
            interrupted,
            whole: None,
        };
        change::compare(engine, trees, options, consume)?;
        basejail::own_changes(&paths, trees, consume)
    }
}

/// The files of a dataset as they are now.
pub(crate) fn live(part: &Part) -> Result<Tree> {
    let unmounted = || Error::Unsupported(format!("The dataset {} is not mounted", part.dataset.as_str()));
    let directory = part.directory.as_ref().ok_or_else(unmounted)?;
    Tree::open(directory).map_err(Error::tree(format!("read the dataset {}", part.dataset.as_str())))
}

/// Who reads snapshots, and writes nothing.
pub(crate) struct Reading<'a> {
    pool: &'a Pool,
    resource: String,
    steps: &'a Steps<'a>,
    /// Where the backend must make something to show a snapshot, a record tells `cleanup` of it.
    run: OnceCell<Run>,
    views: Cell<u32>,
}

/// Runs `work`, which reads snapshots of a resource and its bases.
pub(crate) fn reading<T>(
    pool: &Pool,
    resource: &Resource,
    steps: &Steps<'_>,
    work: impl FnOnce(&Reading<'_>) -> Result<T>,
) -> Result<T> {
    let (run, views) = (OnceCell::new(), Cell::new(0));
    let reading = Reading { pool, resource: resource.label(), steps, run, views };
    let warnings = steps.warnings();
    let outcome = work(&reading);
    if let Some(run) = reading.run.into_inner() {
        crate::export::end_run(run, steps.warnings() == warnings, steps);
    }
    outcome
}

impl Reading<'_> {
    /// Opens a snapshot for `work`.
    pub(crate) fn with<T>(&self, snapshot: &Snapshot, work: impl FnOnce(&Tree) -> Result<T>) -> Result<T> {
        let name = format!("{}-{}", self.run()?, self.views.replace(self.views.get() + 1));
        with_view(self.pool.backend(), snapshot, &name, self.steps, |view| work(&view.tree))
    }

    /// Makes a snapshot of a dataset, which the backend can then say the changes of, for as long as `work` reads it.
    fn with_own_snapshot<T>(
        &self,
        part: &Part,
        work: impl FnOnce(&Snapshot, &Tree) -> Result<T>,
    ) -> Result<T> {
        let backend = self.pool.backend();
        let name = SnapshotName::new(self.run()?).map_err(|error| Error::Usage(error.to_string()))?;
        let made = backend.snapshot_together(std::slice::from_ref(&part.dataset), &name);
        let made = made.map_err(Error::backend(format!("make a snapshot of the {}", self.resource)))?;
        let snapshot = Snapshot { dataset: part.dataset.clone(), name: Some(name) };
        let outcome = self.with(&snapshot, |tree| work(&snapshot, tree));
        for created in made.created {
            if let Err(kept) = backend.destroy_snapshot(created) {
                let message = format!(
                    "could not be destroyed, `remand cleanup --yes` does it: {}",
                    crate::undo::chain(&kept.error)
                );
                self.steps.warn(&Warning { subject: format!("snapshot {}", self.run()?), message });
            }
        }
        outcome
    }

    /// What the names of views begin with.
    pub(crate) fn run(&self) -> Result<&str> {
        let backend = self.pool.backend();
        if !backend.capabilities().consistent_while_running {
            return Ok("");
        }
        if let Some(run) = self.run.get() {
            return Ok(run.id());
        }
        let state = backend.state_directory().map_err(Error::backend("make the pool's state directory"))?;
        let run = Run::begin(&state, run::new_id(), &Record::new("diff", self.resource.clone()))?;
        Ok(self.run.get_or_init(|| run).id())
    }
}

fn difference(change: Change) -> Difference {
    let aspects = aspects(change.differs);
    let (sort, kind, size_bytes) = match &change.what {
        What::Deleted { replaced } => (Sort::Deleted, replaced.kind, None),
        What::Metadata { node, .. } => (Sort::Metadata, node.entry.kind, Some(node.entry.size)),
        What::Whole { node, replaced } | What::Link { node, replaced, .. } => {
            let sort = match replaced {
                None => Sort::Added,
                Some(_) if change.differs.kind || change.differs.content || change.differs.links => {
                    Sort::Modified
                }
                Some(_) => Sort::Metadata,
            };
            let size = (node.entry.kind == Kind::File).then_some(node.entry.size);
            (sort, node.entry.kind, size)
        }
    };
    Difference { path: change.path, sort, kind, aspects, size_bytes }
}

fn aspects(differs: Differs) -> Vec<&'static str> {
    [
        (differs.kind, "kind"),
        (differs.content, "content"),
        (differs.mode, "mode"),
        (differs.owner, "owner"),
        (differs.mtime, "mtime"),
        (differs.xattrs, "xattrs"),
        (differs.acl, "acl"),
        (differs.flags, "flags"),
        (differs.links, "links"),
    ]
    .into_iter()
    .filter_map(|(differs, name)| differs.then_some(name))
    .collect()
}

/// What a line of a differential root says of the entry at `path`.
pub(crate) fn of_line(line: &Line, path: TreePath) -> Difference {
    let was = line.replaced.as_ref();
    let same_content = |digest: Option<archive::Digest>| {
        was.is_some_and(|was| {
            was.digest == digest && line.entry.as_ref().is_some_and(|now| now.kind == was.kind)
        })
    };
    let sort = match &line.role {
        Role::Deleted => Sort::Deleted,
        _ if was.is_none() => Sort::Added,
        Role::Metadata { .. } => Sort::Metadata,
        Role::Member { digest } if same_content(*digest) => {
            match line.entry.as_ref().map(|entry| entry.kind) {
                Some(Kind::Directory | Kind::Fifo | Kind::File) => Sort::Metadata,
                _ => Sort::Modified,
            }
        }
        _ => Sort::Modified,
    };
    let kind = line.entry.as_ref().map(|entry| entry.kind).or(was.map(|was| was.kind)).unwrap_or(Kind::File);
    let size_bytes = line.entry.as_ref().filter(|entry| entry.kind == Kind::File).map(|entry| entry.size);
    let other_kind = was.is_some_and(|was| line.entry.as_ref().is_some_and(|now| now.kind != was.kind));
    let aspects = if other_kind { vec!["kind"] } else { Vec::new() };
    Difference { path, sort, kind, aspects, size_bytes }
}

/// Turns index lines into differences.
struct IndexDiff<'a> {
    consume: &'a mut dyn FnMut(Difference) -> Result<()>,
    /// Members of the differential roots.
    roots: Vec<TreePath>,
    base: String,
}

impl Visitor for IndexDiff<'_> {
    fn shows_lines(&self) -> bool {
        true
    }

    fn manifest(&mut self, manifest: &Manifest) -> archive::Result<()> {
        for record in manifest.resources.iter().filter(|record| record.mode == Mode::Differential) {
            let root = crate::restore::plan::plan(record, None, manifest.foreign.is_some())?;
            self.roots.extend(root.datasets.first().and_then(|target| target.member.clone()));
            self.base = record.base.as_ref().map(|base| base.source().base_label()).unwrap_or_default();
        }
        if self.roots.is_empty() {
            return Err(Error::Unsupported(
                "The archive is standalone: there is no base that it differs from".into(),
            )
            .into());
        }
        Ok(())
    }

    fn member(&mut self, _: &Line, _: Option<&mut dyn Content>) -> archive::Result<()> {
        Ok(())
    }

    fn line(&mut self, line: &Line) -> archive::Result<()> {
        let Some(path) = self.roots.iter().find_map(|root| line.name.below(root)) else { return Ok(()) };
        Ok((self.consume)(of_line(line, path))?)
    }

    fn failure(&mut self, failure: &archive::Failure) -> archive::Result<()> {
        Err(Error::Unsupported(format!("The resource failed while it was exported: {}", failure.error))
            .into())
    }
}
