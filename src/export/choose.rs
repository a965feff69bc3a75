//! Which resources of a pool the user wants. Nothing is made, and of those that were named no others are looked at.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;

use remand_backends::SnapshotName;

use super::Options;
use super::selected::Chosen;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::records::{Annotations, Records};
use crate::resource::{Resource, ResourceKind, Selector};
use crate::selector::{Candidate, Pattern, Place, Selected, changed_since, order};

/// What was chosen, in the archive's order: releases first, then jails, by name. And what the user should know of the choice.
pub(super) fn choose(
    pool: &Pool,
    options: &Options,
    interrupted: &AtomicBool,
) -> Result<(Vec<Chosen>, Vec<String>)> {
    let selection = &options.selection;
    let exact: Option<Vec<_>> = selection.patterns.iter().map(Pattern::name).collect();
    let exact = exact.filter(|_| !selection.all && selection.exclude.is_empty());
    let mut names = match &exact {
        Some(exact) => existing(pool, exact),
        None => all(pool)?,
    };
    let tags = if selection.needs_tags() { tags(pool)? } else { BTreeMap::new() };
    let select = |names: &[(ResourceKind, String)]| {
        let of = |one: &(ResourceKind, String)| tags.get(one).map_or(&[][..], |found| found.tags.as_slice());
        let candidates: Vec<_> =
            names.iter().map(|one| Candidate { kind: one.0, name: &one.1, tags: of(one) }).collect();
        selection.select(&candidates, &Place::Pool(pool.label()))
    };
    let Selected { chosen, notices } = match select(&names) {
        // The others may be what was meant.
        Err(Error::NoMatch { .. }) if exact.is_some() => {
            names = all(pool)?;
            select(&names)?
        }
        selected => selected?,
    };
    let mut wanted = Vec::new();
    for one in chosen {
        let (kind, name) = &names[one.index];
        if let Some(date) = selection.newer
            && !is_newer(look_up(pool, *kind, name).ok().flatten().as_ref(), date, interrupted)?
        {
            continue;
        }
        let snapshot = one.snapshot.as_deref().map(SnapshotName::new).transpose();
        let snapshot = snapshot.map_err(|error| Error::Usage(error.to_string()))?;
        let chosen = Chosen { kind: *kind, name: name.clone(), snapshot, carried: None };
        if let (Some(name), Ok(Some(mut resource))) = (&chosen.snapshot, look_up(pool, *kind, name)) {
            super::selected::given(pool, &mut resource, name)?;
        }
        wanted.push(chosen);
    }
    if wanted.is_empty() {
        let what = "resource in which anything changed since then".to_owned();
        return Err(Error::NoResource { what, pool: pool.label() });
    }
    if options.with_base && !options.standalone {
        wanted.splice(0..0, super::carried::bases(pool, &wanted));
        // Bases come before what is built on them.
        wanted.sort_by(|a, b| order(a.kind, a.title()).cmp(&order(b.kind, b.title())));
    }
    Ok((wanted, notices))
}

/// Whether something changed in a resource; what cannot be looked at counts as changed.
fn is_newer(resource: Option<&Resource>, date: jiff::Timestamp, interrupted: &AtomicBool) -> Result<bool> {
    resource.map_or(Ok(true), |resource| changed_since(resource, date, interrupted))
}

/// What the pool's records say of all resources. Who asks for tags must not be told that there are none because they cannot be read.
fn tags(pool: &Pool) -> Result<BTreeMap<(ResourceKind, String), Annotations>> {
    match Records::existing_of_pool(pool)? {
        Some(records) => records.all_annotations(),
        None => Ok(BTreeMap::new()),
    }
}

/// Those of `named` that there are.
fn existing(pool: &Pool, named: &[(ResourceKind, &str)]) -> Vec<(ResourceKind, String)> {
    let mut found = Vec::new();
    for (kind, name) in named {
        let known = found.iter().any(|(other, known)| (other, known) == (kind, &(*name).to_owned()));
        // What cannot be read is there all the same, and fails when its turn comes.
        if !known && !matches!(look_up(pool, *kind, name), Ok(None)) {
            found.push((*kind, (*name).to_owned()));
        }
    }
    found
}

fn look_up(pool: &Pool, kind: ResourceKind, name: &str) -> Result<Option<Resource>> {
    match pool.resource(&Selector { kind, name: name.to_owned() }) {
        Ok(resource) => Ok(Some(resource)),
        Err(Error::NoResource { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// All names of resources. One that cannot be read, because it is not mounted for example, is among them: it fails when its turn comes.
fn all(pool: &Pool) -> Result<Vec<(ResourceKind, String)>> {
    let names = pool.layout().names(pool.backend())?;
    Ok(names.into_iter().filter(|(kind, name)| !matches!(look_up(pool, *kind, name), Ok(None))).collect())
}
