//! What an export would write.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use super::selected::{Failures, Selected};
use super::{Counts, Options, Plan, Report, ResourceReport, basejail};
use crate::archive::manifest::Encoding;
use crate::change::{Scope, walk};
use crate::error::{Error, Result};
use crate::event::{Observer, Step};
use crate::pool::Pool;
use crate::resource::Resource;
use crate::step::Steps;
use crate::tree::{Tree, TreePath};

/// Finds out what an export would write, and writes nothing. The live trees are compared, without a snapshot.
pub fn dry_run(
    pool: &Pool,
    options: &Options,
    observer: &dyn Observer,
    interrupted: &AtomicBool,
) -> Result<Report> {
    let (chosen, notices) = super::choose::choose(pool, options, interrupted)?;
    let (whole, many) = (super::subject(&chosen, None), chosen.len() > 1);
    let steps = Steps::new(observer, &whole);
    for notice in notices {
        steps.notice(&pool.label(), notice);
    }
    let mut failures = Failures::new(options.keep_going && many);
    let mut resources = Vec::new();
    for chosen in chosen {
        if many {
            steps.turn_to(Some(&chosen.name), &whole);
        }
        let found = Selected::new(pool, &chosen, options, &steps)
            .and_then(|selected| look(pool, selected, options, &steps, interrupted));
        resources.extend(failures.take((chosen.kind, &chosen.name), found, &steps)?);
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
    let comparison = basejail::Comparison { pool, resource: &resource, steps, interrupted, snapshot: None };
    comparison.keep_changed(&mut selected.plan, selected.wishes)?;
    let base = selected.base();
    let engine = crate::base::choose(base, options.engine.as_deref(), None)?.engine(None);
    let mut counts = Counts::default();
    let mut sizes = sizes(&resource, &selected.plan, interrupted)?;
    if !selected.plan.datasets[0].encoding.is_native() {
        steps.run(Step::Compare, Some("root"), None, |meter| {
            crate::diff::compare_live(
                pool,
                &resource,
                (base, &selected.plan.base_directories),
                engine.as_ref(),
                steps,
                interrupted,
                &mut |change| {
                    counts.count(&change.what);
                    meter.add(0, 1);
                    Ok(())
                },
            )
        })?;
        sizes.insert(resource.root().name.clone(), counts.content_bytes);
    }
    Ok(ResourceReport {
        kind: resource.kind,
        name: resource.name.clone(),
        base: base.map(crate::resource::Base::label),
        snapshot: selected
            .given
            .as_ref()
            .and_then(|info| Some(info.snapshot.name.as_ref()?.as_str().to_owned())),
        engine: engine.name().to_owned(),
        plan: selected.plan.clone(),
        counts,
        sizes,
    })
}

/// What the files of the datasets take that travel whole.
fn sizes(resource: &Resource, plan: &Plan, interrupted: &AtomicBool) -> Result<BTreeMap<String, u64>> {
    let mut sizes = BTreeMap::new();
    for planned in plan.datasets.iter().filter(|planned| !planned.member.is_empty()) {
        let part = planned.part(resource);
        let Some(directory) = part.directory.as_ref().filter(|_| planned.encoding != Encoding::Delta) else {
            continue;
        };
        let failed = || Error::tree(format!("read the dataset {} of the {}", part.name, resource.label()));
        let tree = Tree::open(directory).map_err(failed())?;
        let prefix = format!("{}/", part.name);
        let below = resource.datasets.iter().filter_map(|other| other.name.strip_prefix(&prefix));
        let exclude: Vec<_> = below.filter_map(|name| TreePath::new(name.as_bytes()).ok()).collect();
        let scope = Scope { exclude: &exclude, interrupted };
        let bytes = walk::files(&tree, scope, |stat| stat.size)?;
        sizes.insert(planned.name.clone(), bytes);
    }
    Ok(sizes)
}
