//! Which resources of a pool the user wants. Nothing is made, and of those that were named no others are looked at.

use std::sync::atomic::AtomicBool;

use remand_backends::SnapshotName;

use super::Options;
use super::selected::Chosen;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::resource::{Resource, ResourceKind, Selector};
use crate::selector::{Candidate, Pattern, Place, Selected, changed_since};

/// What was chosen, in the archive's order: releases first, then jails, by name. And what the user should know of the choice.
pub(super) fn choose(
    pool: &Pool,
    options: &Options,
    interrupted: &AtomicBool,
) -> Result<(Vec<Chosen>, Vec<String>)> {
    let selection = &options.selection;
    let named: Option<Vec<_>> = selection.patterns.iter().map(Pattern::name).collect();
    let named = named.filter(|_| !selection.all && selection.exclude.is_empty());
    let mut names = match &named {
        Some(named) => existing(pool, named)?,
        None => all(pool)?,
    };
    let select = |names: &[(ResourceKind, String)]| {
        let candidates: Vec<_> =
            names.iter().map(|(kind, name)| Candidate { kind: *kind, name, tags: &[] }).collect();
        selection.select(&candidates, &Place::Pool(pool.label()))
    };
    let Selected { chosen, notices } = match select(&names) {
        // The others may be what was meant.
        Err(Error::NoMatch { .. }) if named.is_some() => {
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
        let chosen = Chosen { kind: *kind, name: name.clone(), snapshot };
        if let (Some(name), Ok(Some(mut resource))) = (&chosen.snapshot, look_up(pool, *kind, name)) {
            super::selected::given(pool, &mut resource, name)?;
        }
        wanted.push(chosen);
    }
    if wanted.is_empty() {
        let what = "resource in which anything changed since then".to_owned();
        return Err(Error::NoResource { what, pool: pool.label() });
    }
    Ok((wanted, notices))
}

/// Whether something changed in a resource; what cannot be looked at counts as changed.
fn is_newer(resource: Option<&Resource>, date: jiff::Timestamp, interrupted: &AtomicBool) -> Result<bool> {
    resource.map_or(Ok(true), |resource| changed_since(resource, date, interrupted))
}

/// Those of `named` that there are.
fn existing(pool: &Pool, named: &[(ResourceKind, &str)]) -> Result<Vec<(ResourceKind, String)>> {
    let mut found = Vec::new();
    for (kind, name) in named {
        let known = found.iter().any(|(other, known)| (other, known) == (kind, &(*name).to_owned()));
        // What cannot be read is there all the same, and fails when its turn comes.
        if !known && !matches!(look_up(pool, *kind, name), Ok(None)) {
            found.push((*kind, (*name).to_owned()));
        }
    }
    Ok(found)
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
