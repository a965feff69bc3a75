//! Which resources of an archive a restore makes, and under which names. Nothing is looked up in the pool.

use std::collections::HashSet;

use super::Options;
use super::plan::{self, Plan};
use crate::archive::Manifest;
use crate::error::{Error, Result};
use crate::resource::label;
use crate::selector::{Candidate, Chosen, Place, Selection, Unmatched, taken_since};
use crate::step::Steps;

/// A resource that was selected.
#[derive(Clone, Debug)]
pub(super) struct Selected {
    /// Its place in the manifest.
    pub(super) number: usize,
    pub(super) plan: Plan,
}

impl Selected {
    /// As it will be, as in `jail web02`.
    pub(super) fn label(&self) -> String {
        label(self.plan.record.kind, &self.plan.name)
    }
}

/// The resources that `options` select of the archive called `source`, in its order.
pub(super) fn select(
    manifest: &Manifest,
    options: &Options,
    source: &str,
    steps: &Steps<'_>,
) -> Result<Vec<Selected>> {
    let mut known = HashSet::new();
    for record in &manifest.resources {
        if !known.insert((record.kind, record.name.as_str())) {
            let twice = crate::tree::path::printable(record.name.as_bytes());
            return Err(Error::Refused(format!("its manifest has the resource {twice:?} twice")));
        }
    }
    for failed in &manifest.failed {
        let name = crate::tree::path::printable(failed.name.as_bytes());
        let message = format!("is not in the archive: it failed while it was exported: {}", failed.error);
        steps.notice(&label(failed.kind, &name), message);
    }
    let candidates: Vec<_> = manifest
        .resources
        .iter()
        .map(|record| Candidate { kind: record.kind, name: &record.name, tags: &record.tags })
        .collect();
    let all = options.selection.all || options.selection.patterns.is_empty();
    let selection = Selection { all, ..options.selection.clone() };
    let selected = selection.select(&candidates, &Place::Archive(source.to_owned()))?;
    for notice in selected.notices {
        steps.notice(source, notice);
    }
    let other: Vec<_> = selected.chosen.iter().filter_map(|one| other_snapshot(manifest, one)).collect();
    if !other.is_empty() {
        return Err(Error::NoMatch { place: Place::Archive(source.to_owned()), unmatched: other });
    }
    let mut chosen = Vec::new();
    for one in selected.chosen {
        let newer = match selection.newer {
            Some(date) => taken_since(manifest, &manifest.resources[one.index], date)?,
            None => true,
        };
        if newer {
            chosen.push(one);
        }
    }
    if chosen.is_empty() {
        let what = "resource that was exported since then".to_owned();
        return Err(Error::NoResource { what, pool: source.to_owned() });
    }
    chosen.sort_by_key(|chosen| chosen.index);
    if options.name.is_some() && chosen.len() > 1 {
        let message =
            format!("--name renames one resource, and {} are selected; write OLD=NEW for each", chosen.len());
        return Err(Error::Usage(message));
    }
    let planned = chosen.into_iter().map(|chosen| {
        let name = match (&chosen.new_name, &options.name) {
            (Some(new), Some(name)) if new != name => {
                return Err(Error::Usage(format!("It cannot be restored as both {new} and {name}")));
            }
            (new, name) => new.as_deref().or(name.as_deref()),
        };
        let plan = plan::plan(&manifest.resources[chosen.index], name, manifest.foreign.is_some())?;
        Ok(Selected { number: chosen.index, plan })
    });
    planned.collect()
}

/// What there is not, where a resource is asked for as of another snapshot than the one that the archive has it of.
fn other_snapshot(manifest: &Manifest, chosen: &Chosen) -> Option<Unmatched> {
    let (wanted, record) = (chosen.snapshot.as_deref()?, &manifest.resources[chosen.index]);
    let there = record.snapshot.as_deref().map(printable_text);
    if record.snapshot.as_deref() == Some(wanted) {
        return None;
    }
    let label = label(record.kind, &printable_text(&record.name));
    let near = there.map(|name| format!("{}@{name}", label.replacen(' ', ":", 1))).into_iter().collect();
    Some(Unmatched { what: format!("no snapshot {wanted} of the {label}"), near })
}

fn printable_text(text: &str) -> String {
    crate::tree::path::printable(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::two_jails;
    use crate::event::Silent;
    use crate::selector::Purpose;

    /// As of its snapshot, which is the one whose archive it is.
    #[test]
    fn a_snapshot_can_be_named_and_must_be_the_one() {
        let mut manifest = two_jails();
        manifest.resources[0].snapshot = Some("p3".into());
        let select = |word: &str| {
            let words = [word.to_owned()];
            let now = jiff::Timestamp::UNIX_EPOCH;
            let selection = Selection::parse(Purpose::Restore, &words, false, &[], None, now)?;
            let options = Options { selection, ..Options::default() };
            let selected = super::select(&manifest, &options, "x.tar", &Steps::new(&Silent, "x"))?;
            Ok::<_, Error>(selected.len())
        };
        assert_eq!(select("a@p3").unwrap(), 1);
        let other = select("a@p4").unwrap_err();
        assert_eq!((other.exit_status(), other.hint()), (10, Some("did you mean jail:a@p3?".into())));
        assert_eq!(other.to_string(), "There is no snapshot p4 of the jail a in the archive x.tar");
        // Of a plain directory there is none, and a pattern asks for each.
        assert_eq!(select("b@p3").unwrap_err().exit_status(), 10);
        assert_eq!(select("*@p3").unwrap_err().exit_status(), 10);
    }

    fn chosen(select: &[&str], exclude: &[&str], name: Option<&str>) -> Result<Vec<String>> {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let now = jiff::Timestamp::UNIX_EPOCH;
        let selection =
            Selection::parse(Purpose::Restore, &words(select), false, &words(exclude), None, now)?;
        let options = Options { selection, name: name.map(str::to_owned), ..Options::default() };
        let selected = super::select(&two_jails(), &options, "x.tar", &Steps::new(&Silent, "x"))?;
        Ok(selected.iter().map(|selected| format!("{} {}", selected.number, selected.plan.name)).collect())
    }

    #[test]
    fn all_are_selected_by_default_and_some_by_name() {
        assert_eq!(chosen(&[], &[], None).unwrap(), ["0 a", "1 b"]);
        assert_eq!(chosen(&["b"], &[], None).unwrap(), ["1 b"]);
        assert_eq!(chosen(&["b=c", "a"], &[], None).unwrap(), ["0 a", "1 c"]);
        assert_eq!(chosen(&[], &["a"], Some("x")).unwrap(), ["1 x"]);
        assert_eq!(chosen(&["a=x"], &[], Some("x")).unwrap(), ["0 x"]);
        // Names may be swapped.
        assert_eq!(chosen(&["a=b", "b=a"], &[], None).unwrap(), ["0 b", "1 a"]);
        let options = Options::default();
        let all = super::select(&two_jails(), &options, "x.tar", &Steps::new(&Silent, "x")).unwrap();
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn what_is_not_there_or_contradicts_is_refused() {
        let status = |outcome: Result<Vec<String>>| outcome.unwrap_err().exit_status();
        assert_eq!(status(chosen(&["c"], &[], None)), 10);
        assert_eq!(status(chosen(&["release:a"], &[], None)), 10);
        assert_eq!(status(chosen(&[], &["c"], None)), 10);
        assert_eq!(status(chosen(&["a"], &["a"], None)), 2);
        assert_eq!(status(chosen(&[], &[], Some("x"))), 2);
        assert_eq!(status(chosen(&["a=x"], &[], Some("y"))), 2);
        assert_eq!(status(chosen(&["a=b", "b"], &[], None)), 2);
        assert_eq!(status(chosen(&["a=../b"], &[], None)), 2);
    }

    #[test]
    fn a_resource_that_is_there_twice_is_refused() {
        let mut manifest = two_jails();
        manifest.resources[1].name = "a".into();
        let error = super::select(&manifest, &Options::default(), "x.tar", &Steps::new(&Silent, "x"));
        assert_eq!(error.unwrap_err().exit_status(), 23);
    }
}
