//! What an export would write.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use remand_backends::{DatasetName, Snapshot, SnapshotName};

use super::selected::{Failures, Selected};
use super::{Counts, Options, Plan, Report, ResourceReport, basejail};
use crate::archive::manifest::Encoding;
use crate::change::content::Content as ByContent;
use crate::change::snapshot::Asked;
use crate::change::{self, Change, Scope, Trees, walk};
use crate::diff::{Comparison, Reading, live};
use crate::error::{Error, Result};
use crate::event::{Observer, Step};
use crate::pool::Pool;
use crate::resource::{Part, Resource, ResourceKind};
use crate::step::Steps;
use crate::tree::{Tree, TreePath};

/// Finds out what an export would write, and writes nothing. The trees are compared as they are in a snapshot that was named, or else as
/// they are now: no snapshot is made.
pub fn dry_run(
    pool: &Pool,
    options: &Options,
    observer: &dyn Observer,
    interrupted: &AtomicBool,
) -> Result<Report> {
    super::reproducible::check(options)?;
    let (chosen, notices) = super::choose::choose(pool, options, interrupted)?;
    let (whole, many) = (super::subject(&chosen, None), chosen.len() > 1);
    let steps = Steps::new(observer, &whole);
    for notice in notices {
        steps.notice(&pool.label(), notice);
    }
    let mut failures = Failures::new(options.keep_going && many);
    let mut selected = Vec::new();
    for chosen in chosen {
        if many {
            steps.turn_to(Some(chosen.title()), &whole);
        }
        let found = Selected::new(pool, &chosen, options, &steps);
        selected.extend(failures.take((chosen.kind, chosen.title()), found, &steps)?);
    }
    super::selected::arrange(pool, &mut selected, options, &steps)?;
    let mut resources = Vec::new();
    for one in selected {
        let (kind, title) = (one.resource.kind, one.resource.name.clone());
        if many {
            steps.turn_to(Some(&title), &whole);
        }
        let found = look(pool, one, options, &steps, interrupted);
        resources.extend(failures.take((kind, &title), found, &steps)?);
    }
    if resources.is_empty() {
        return Err(failures.all());
    }
    Ok(Report {
        resources,
        failed: failures.into_records(),
        consistent: None,
        seal: None,
        path: None,
        warnings: steps.warnings(),
    })
}

fn look(
    pool: &Pool,
    mut selected: Selected,
    options: &Options,
    steps: &Steps<'_>,
    interrupted: &AtomicBool,
) -> Result<ResourceReport> {
    let resource = selected.resource.clone();
    crate::diff::reading(pool, &resource, steps, |reading| {
        let snapshot = selected.given.as_ref().and_then(|info| info.snapshot.name.clone());
        let of_snapshot = match &snapshot {
            Some(name) => Some((reading.run()?, Some(name.clone()))),
            None => None,
        };
        basejail::Comparison { pool, resource: &resource, steps, interrupted, snapshot: of_snapshot }
            .keep_changed(&mut selected.plan, selected.wishes)?;
        super::reproducible::check_streams(options, &selected)?;
        let root = super::carried::root_snapshot(selected.carried.as_ref());
        let looking =
            Looking { reading, resource: &resource, snapshot: snapshot.as_ref(), root, interrupted };
        let base = selected.base();
        let now = looking.snapshot_of(&resource.root().dataset);
        let asked = |native| Some(Asked { native, base: &base?.snapshot, now: now.as_ref()? });
        // The file system knows nothing of how a live tree differs.
        let native = pool.backend().native_diff().filter(|_| snapshot.is_some());
        let choice = crate::base::choose(base, options.engine.as_deref(), native)?;
        let engine = choice.engine(native.and_then(asked));
        let mut counts = Counts::default();
        looking.own_directory(&mut counts)?;
        let mut sizes = looking.sizes(&selected.plan, &mut counts)?;
        let others_bytes = counts.content_bytes;
        if !selected.plan.datasets[0].encoding.is_native() {
            let left_out = &selected.plan.base_directories;
            let comparison = Comparison { engine: engine.as_ref(), left_out, steps, interrupted };
            steps.run(Step::Compare, Some("root"), None, |meter| {
                let mut count = |change: Change| {
                    counts.count(&change.what);
                    meter.add(0, 1);
                    Ok(())
                };
                looking
                    .with(resource.root(), |now| comparison.run(reading, &resource, (base, now), &mut count))
            })?;
            sizes.insert(resource.root().name.clone(), counts.content_bytes - others_bytes);
        }
        Ok(ResourceReport {
            kind: resource.kind,
            name: resource.name.clone(),
            as_base: selected.carried.is_some(),
            base: base.map(crate::resource::Base::label),
            snapshot: snapshot.as_ref().map(|name| name.as_str().to_owned()),
            engine: engine.name().to_owned(),
            plan: selected.plan.clone(),
            counts,
            sizes,
        })
    })
}

/// The trees that would travel: those of a snapshot that was named, or the live ones.
struct Looking<'a> {
    reading: &'a Reading<'a>,
    resource: &'a Resource,
    snapshot: Option<&'a SnapshotName>,
    /// Another one of the root.
    root: Option<&'a Snapshot>,
    interrupted: &'a AtomicBool,
}

impl Looking<'_> {
    fn snapshot_of(&self, dataset: &DatasetName) -> Option<Snapshot> {
        match self.root.filter(|root| root.dataset == *dataset) {
            Some(root) => Some(root.clone()),
            None => Some(Snapshot { dataset: dataset.clone(), name: Some(self.snapshot?.clone()) }),
        }
    }

    fn with<T>(&self, part: &Part, work: impl FnOnce(&Tree) -> Result<T>) -> Result<T> {
        match self.snapshot_of(&part.dataset) {
            Some(snapshot) => self.reading.with(&snapshot, work),
            None => work(&live(part)?),
        }
    }

    /// Counts what is in the resource's own directory; its fstab is no entry of a tree.
    fn own_directory(&self, counts: &mut Counts) -> Result<()> {
        let fstab = (self.resource.kind != ResourceKind::Release).then_some("fstab");
        let exclude: Vec<_> = self.apart().chain(fstab).filter_map(path).collect();
        if let Some(snapshot) = self.snapshot_of(&self.resource.dataset) {
            return self.reading.with(&snapshot, |tree| self.count(tree, &exclude, counts).map(drop));
        }
        let directory = &self.resource.directory;
        let tree = Tree::open(directory).map_err(Error::tree(format!("read {}", directory.display())))?;
        self.count(&tree, &exclude, counts).map(drop)
    }

    /// What the files of the datasets take that travel whole. What is in those that travel as trees is counted.
    fn sizes(&self, plan: &Plan, counts: &mut Counts) -> Result<BTreeMap<String, u64>> {
        let mut sizes = BTreeMap::new();
        for planned in plan.datasets.iter().filter(|planned| !planned.member.is_empty()) {
            let part = planned.part(self.resource);
            if planned.encoding == Encoding::Delta || part.directory.is_none() {
                continue;
            }
            let prefix = format!("{}/", part.name);
            let below = self.apart().filter_map(|name| name.strip_prefix(&prefix));
            let exclude: Vec<_> = below.filter_map(path).collect();
            let scope = Scope { exclude: &exclude, interrupted: self.interrupted };
            let bytes = self.with(part, |tree| {
                if planned.encoding.is_native() {
                    Ok(walk::files(tree, scope, |stat| stat.size)?)
                } else {
                    self.count(tree, &exclude, counts)
                }
            })?;
            sizes.insert(planned.name.clone(), bytes);
        }
        Ok(sizes)
    }

    /// Counts everything in a tree. The bytes of content that were counted.
    fn count(&self, tree: &Tree, exclude: &[TreePath], counts: &mut Counts) -> Result<u64> {
        let before = counts.content_bytes;
        let interrupted = self.interrupted;
        let options = change::Options {
            threads: 0,
            of_base: change::OfBase::Nothing,
            exclude,
            interrupted,
            whole: None,
        };
        let trees = Trees { base: None, now: tree };
        change::compare(&ByContent, trees, options, &mut |change: Change| -> Result<()> {
            counts.count(&change.what);
            Ok(())
        })?;
        Ok(counts.content_bytes - before)
    }

    /// Datasets, and where others lie that are no part of it.
    fn apart(&self) -> impl Iterator<Item = &str> {
        let datasets = self.resource.datasets.iter().map(|part| part.name.as_str());
        datasets.chain(self.resource.enclosed.iter().map(String::as_str))
    }
}

fn path(name: &str) -> Option<TreePath> {
    TreePath::new(name.as_bytes()).ok()
}
