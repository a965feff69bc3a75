//! Which resources of an archive a restore makes, and under which names. Nothing is looked up in the pool.

use std::collections::HashSet;

use super::Options;
use super::plan::{self, Plan};
use crate::archive::Manifest;
use crate::archive::manifest::ResourceRecord;
use crate::config::Assignment;
use crate::error::{Error, Result};
use crate::resource::{Selector, label};
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
    // A base that came along is not asked for but by its very name.
    let is_named = |record: &ResourceRecord| {
        options.selection.patterns.iter().any(|pattern| pattern.name() == Some((record.kind, &record.name)))
    };
    let (indices, offered): (Vec<_>, Vec<_>) = manifest
        .resources
        .iter()
        .enumerate()
        .filter(|(_, record)| record.as_base.is_none() || is_named(record))
        .unzip();
    let candidates: Vec<_> = offered
        .iter()
        .map(|record| Candidate { kind: record.kind, name: &record.name, tags: &record.tags })
        .collect();
    let all = options.selection.all || options.selection.patterns.is_empty();
    let selection = Selection { all, ..options.selection.clone() };
    let mut selected = selection.select(&candidates, &Place::Archive(source.to_owned()))?;
    for one in &mut selected.chosen {
        one.index = indices[one.index];
    }
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
    let mut planned = planned.collect::<Result<Vec<_>>>()?;
    assign(&options.assignments, &mut planned, steps)?;
    Ok(planned)
}

/// Gives each resource what is set in its config.
fn assign(all: &[Assignment], selected: &mut [Selected], steps: &Steps<'_>) -> Result<()> {
    let named = all.iter().filter_map(|one| one.resource.as_ref());
    let of = |record: &ResourceRecord, name: &Selector| {
        (record.kind, record.name.as_str()) == (name.kind, name.name.as_str())
    };
    for name in named {
        if !selected.iter().any(|one| of(&one.plan.record, name)) {
            let what = label(name.kind, &name.name);
            return Err(Error::Usage(format!("Something is set in the {what}, which is not restored")));
        }
    }
    let any = selected.iter().any(|one| one.plan.form.is_some());
    for one in selected {
        let record = &one.plan.record;
        let assignments = Assignment::of(all, record.kind, &record.name)?;
        let own = |assignment: &Assignment| assignment.resource.is_some();
        if one.plan.form.is_some() || assignments.is_empty() {
            one.plan.assignments = assignments;
        } else if any && !assignments.iter().any(own) {
            steps.notice(&one.label(), "it has no config, so nothing is set in it".into());
        } else {
            return Err(Error::Usage(format!("The {} has no config to set something in", one.label())));
        }
    }
    Ok(())
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

    /// What is set where: of each resource, and how many notices are told.
    fn assigned(
        words: &[&str],
        select: &[&str],
        without_config: &[usize],
    ) -> Result<(Vec<Vec<String>>, usize)> {
        #[derive(Default)]
        struct Told(std::sync::atomic::AtomicUsize);
        impl crate::event::Observer for Told {
            fn event(&self, _: &crate::event::Event) {}
            fn warning(&self, _: &crate::event::Warning) {}
            fn notice(&self, _: &crate::event::Warning) {
                self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
        let mut manifest = two_jails();
        for number in without_config {
            manifest.resources[*number].config = None;
        }
        let select: Vec<_> = select.iter().map(|word| (*word).to_owned()).collect();
        let now = jiff::Timestamp::UNIX_EPOCH;
        let selection = Selection::parse(Purpose::Restore, &select, false, &[], None, now)?;
        let assignments = words.iter().map(|word| Assignment::set(word)).collect::<Result<_>>()?;
        let options = Options { selection, assignments, ..Options::default() };
        let told = Told::default();
        let selected = super::select(&manifest, &options, "x.tar", &Steps::new(&told, "x"))?;
        let set = |one: &Selected| one.plan.assignments.iter().map(|one| one.key.clone()).collect();
        Ok((selected.iter().map(set).collect(), told.0.into_inner()))
    }

    #[test]
    fn what_is_set_is_set_in_what_it_is_said_of() {
        let (all, told) = assigned(&["boot=yes", "b:host_hostname=x"], &[], &[]).unwrap();
        assert_eq!(
            (all, told),
            (vec![vec!["boot".to_owned()], vec!["host_hostname".into(), "boot".into()]], 0)
        );
        // In what has no config nothing is set, which is told; unless nothing else is there, or it was asked for.
        let (all, told) = assigned(&["boot=yes"], &[], &[0]).unwrap();
        assert_eq!((all, told), (vec![vec![], vec!["boot".to_owned()]], 1));
        for (words, select, without) in [
            (&["boot=yes"][..], &[][..], &[0, 1][..]),
            (&["a:boot=yes"], &[], &[0]),
            (&["a:boot=yes"], &["b"], &[]),
            (&["c:boot=yes"], &[], &[]),
            (&["release:a:boot=yes"], &[], &[]),
        ] {
            let refused = assigned(words, select, without).unwrap_err();
            assert_eq!(refused.exit_status(), 2, "{words:?} {select:?} {without:?}");
        }
        assert_eq!(assigned(&[], &[], &[0, 1]).unwrap(), (vec![vec![]; 2], 0));
    }

    #[test]
    fn a_resource_that_is_there_twice_is_refused() {
        let mut manifest = two_jails();
        manifest.resources[1].name = "a".into();
        let error = super::select(&manifest, &Options::default(), "x.tar", &Steps::new(&Silent, "x"));
        assert_eq!(error.unwrap_err().exit_status(), 23);
    }
}
