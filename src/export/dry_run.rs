//! What an export would write.

use std::sync::atomic::AtomicBool;

use super::selected::{Failures, Selected};
use super::{Counts, Options, Report, ResourceReport, basejail};
use crate::error::Result;
use crate::event::{Observer, Step};
use crate::pool::Pool;
use crate::step::Steps;

/// Finds out what an export would write, and writes nothing. The live trees are compared, without a snapshot.
pub fn dry_run(
    pool: &Pool,
    options: &Options,
    observer: &dyn Observer,
    interrupted: &AtomicBool,
) -> Result<Report> {
    let (chosen, notices) = super::choose::choose(pool, options, interrupted)?;
    let steps = Steps::new(observer, &super::subject(&chosen, None));
    for notice in notices {
        steps.notice(&pool.label(), notice);
    }
    let mut failures = Failures::new(options.keep_going && chosen.len() > 1);
    let mut resources = Vec::new();
    for chosen in chosen {
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
        bytes: counts.content_bytes,
    })
}
