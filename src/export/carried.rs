//! Releases that travel because something else is built on them: each at the very snapshot that is the base, and in no other way.

use std::collections::BTreeSet;

use remand_backends::{Snapshot, SnapshotName};

use super::selected::{Chosen, Selected};
use crate::archive::manifest::{Mode, ResourceRecord};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::resource::{Resource, ResourceKind, Selector, check_name};

/// The bases of `chosen` that are not chosen themselves, each once. What cannot be looked at fails when its turn comes.
pub(super) fn bases(pool: &Pool, chosen: &[Chosen]) -> Vec<Chosen> {
    let mut bases: Vec<Chosen> = Vec::new();
    let mut taken: BTreeSet<(ResourceKind, String)> =
        chosen.iter().map(|one| (one.kind, one.name.clone())).collect();
    for one in chosen.iter().filter(|one| one.kind != ResourceKind::Release) {
        let wanted = Selector { kind: one.kind, name: one.name.clone() };
        let Some(base) = pool.resource(&wanted).ok().and_then(|resource| resource.base) else { continue };
        let is_chosen = |other: &Chosen| other.kind == base.kind && other.name == base.name;
        let is_there =
            |other: &Chosen| other.carried.as_ref().is_some_and(|(there, _)| *there == base.snapshot);
        if chosen.iter().any(is_chosen) || bases.iter().any(is_there) {
            continue;
        }
        let name = free_name((base.kind, &base.name), base.snapshot.name.as_ref(), &mut taken);
        bases.push(Chosen {
            kind: base.kind,
            name: base.name.clone(),
            snapshot: None,
            carried: Some((base.snapshot.clone(), name)),
        });
    }
    bases
}

/// The name of a base in the archive: that of its release, unless the archive has that of another snapshot already.
fn free_name(
    (kind, base): (ResourceKind, &str),
    snapshot: Option<&SnapshotName>,
    taken: &mut BTreeSet<(ResourceKind, String)>,
) -> String {
    let mut name = base.to_owned();
    let suffix = snapshot.map_or("other", SnapshotName::as_str);
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') { c } else { '_' };
    let suffix: String = suffix.chars().map(plain).collect();
    let mut number = 1;
    while !taken.insert((kind, name.clone())) || check_name(&name).is_err() {
        name = if number == 1 { format!("{base}-{suffix}") } else { format!("{base}-{number}-{suffix}") };
        number += 1;
    }
    name
}

/// Lets a release be a base and nothing else: its root alone, under the name that it has in the archive.
pub(super) fn reduce(resource: &mut Resource, name: &str) -> Result<()> {
    let others = resource.datasets.split_off(1.min(resource.datasets.len()));
    if resource.datasets.is_empty() {
        return Err(Error::Unsupported(format!("The {} has no root", resource.label())));
    }
    // What is in their place is no part of the base.
    resource.enclosed.extend(others.into_iter().map(|part| part.name));
    name.clone_into(&mut resource.name);
    Ok(())
}

/// Says in the records of bases whose bases they are. Of one that nothing is built on any more, because what was has failed, nothing is
/// said: it is a release like others.
pub(super) fn mark(records: &mut [ResourceRecord], selected: &[&Selected]) {
    for at in 0..records.len() {
        let Some(snapshot) = &selected[at].carried else { continue };
        let built = selected.iter().position(|one| {
            one.plan.mode == Mode::Differential
                && one.resource.base.as_ref().is_some_and(|base| base.snapshot == *snapshot)
        });
        let base = built.and_then(|built| records[built].base.clone());
        records[at].as_base = base;
    }
}

/// The snapshot that the root of a base is read from; `None` where the dataset itself is the base.
pub(super) fn root_snapshot(carried: Option<&Snapshot>) -> Option<&Snapshot> {
    carried.filter(|snapshot| snapshot.name.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_an_archive_are_each_given_once() {
        let mut taken = BTreeSet::new();
        let mut name = |release: &str, snapshot: Option<&str>| {
            let snapshot = snapshot.map(|name| SnapshotName::new(name).unwrap());
            free_name((ResourceKind::Release, release), snapshot.as_ref(), &mut taken)
        };
        assert_eq!(name("14.2-RELEASE", Some("p3")), "14.2-RELEASE");
        assert_eq!(name("14.2-RELEASE", Some("p5")), "14.2-RELEASE-p5");
        assert_eq!(name("14.2-RELEASE", Some("a:b")), "14.2-RELEASE-a_b");
        assert_eq!(name("14.2-RELEASE", Some("a_b")), "14.2-RELEASE-2-a_b");
        assert_eq!(name("13.4-RELEASE", None), "13.4-RELEASE");
    }
}
