//! Which resources of an archive a restore makes, and under which names. Pure: nothing is looked up in the pool.

use std::collections::HashSet;

use super::plan::{self, Plan};
use super::{Options, Selection};
use crate::archive::Manifest;
use crate::archive::manifest::ResourceRecord;
use crate::error::{Error, Result};
use crate::resource::{Selector, label};

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

/// The resources that `options` select, in the order of the archive.
pub(super) fn select(manifest: &Manifest, options: &Options) -> Result<Vec<Selected>> {
    for selector in options.select.iter().map(|selection| &selection.selector).chain(&options.exclude) {
        if !manifest.resources.iter().any(|record| is_of(selector, record)) {
            return Err(unknown(manifest, selector));
        }
    }
    let mut selected = Vec::new();
    for (number, record) in manifest.resources.iter().enumerate() {
        let wishes: Vec<&Selection> =
            options.select.iter().filter(|selection| is_of(&selection.selector, record)).collect();
        let wanted = options.select.is_empty() || !wishes.is_empty();
        if wanted && !options.exclude.iter().any(|excluded| is_of(excluded, record)) {
            selected.push((number, record, wishes));
        }
    }
    if selected.is_empty() {
        return Err(Error::NotInArchive("Nothing of the archive is selected".into()));
    }
    if options.name.is_some() && selected.len() > 1 {
        let message = format!(
            "--name renames one resource, and {} are selected; write OLD=NEW for each",
            selected.len()
        );
        return Err(Error::Usage(message));
    }
    let selected = selected.into_iter().map(|(number, record, wishes)| {
        let name = new_name(record, &wishes, options.name.as_deref())?;
        Ok(Selected { number, plan: plan::plan(record, name)? })
    });
    let selected = selected.collect::<Result<Vec<_>>>()?;
    let mut names = HashSet::new();
    match selected
        .iter()
        .find(|selected| !names.insert((selected.plan.record.kind, selected.plan.name.as_str())))
    {
        None => Ok(selected),
        Some(twice) => Err(Error::Usage(format!(
            "Two resources of the archive would become the {}; rename one with OLD=NEW",
            twice.label()
        ))),
    }
}

fn is_of(selector: &Selector, record: &ResourceRecord) -> bool {
    (selector.kind, selector.name.as_str()) == (record.kind, record.name.as_str())
}

/// The name that the user wants for a resource, if another than it has.
fn new_name<'a>(
    record: &ResourceRecord,
    wishes: &[&'a Selection],
    name: Option<&'a str>,
) -> Result<Option<&'a str>> {
    let mut names = wishes.iter().filter_map(|wish| wish.rename.as_deref()).chain(name);
    let first = names.next();
    match names.find(|other| Some(*other) != first) {
        None => Ok(first),
        Some(other) => Err(Error::Usage(format!(
            "The {} cannot become both {} and {other}",
            label(record.kind, &record.name),
            first.unwrap_or_default()
        ))),
    }
}

fn unknown(manifest: &Manifest, selector: &Selector) -> Error {
    let what = label(selector.kind, &selector.name);
    let mut failed = manifest.failed.iter();
    Error::NotInArchive(
        match failed.find(|failed| (failed.kind, &failed.name) == (selector.kind, &selector.name)) {
            Some(failed) => {
                format!("The {what} is not in the archive: it failed while it was exported: {}", failed.error)
            }
            None => format!("There is no {what} in the archive"),
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::manifest::FailedRecord;
    use crate::archive::testing::two_jails;
    use crate::resource::ResourceKind;

    fn selection(text: &str) -> Selection {
        match text.split_once('=') {
            Some((old, new)) => Selection { selector: old.parse().unwrap(), rename: Some(new.into()) },
            None => Selection { selector: text.parse().unwrap(), rename: None },
        }
    }

    fn chosen(select: &[&str], exclude: &[&str], name: Option<&str>) -> Result<Vec<String>> {
        let mut manifest = two_jails();
        manifest.failed.push(FailedRecord {
            kind: ResourceKind::Jail,
            name: "lost".into(),
            error: "no room".into(),
        });
        let options = Options {
            select: select.iter().map(|text| selection(text)).collect(),
            exclude: exclude.iter().map(|text| text.parse().unwrap()).collect(),
            name: name.map(str::to_owned),
            ..Options::default()
        };
        let selected = super::select(&manifest, &options)?;
        Ok(selected.iter().map(|selected| format!("{} {}", selected.number, selected.plan.name)).collect())
    }

    #[test]
    fn all_are_selected_by_default_and_some_by_name() {
        assert_eq!(chosen(&[], &[], None).unwrap(), ["0 a", "1 b"]);
        assert_eq!(chosen(&["b"], &[], None).unwrap(), ["1 b"]);
        assert_eq!(chosen(&["b=c", "a"], &[], None).unwrap(), ["0 a", "1 c"]);
        assert_eq!(chosen(&[], &["a"], Some("x")).unwrap(), ["1 x"]);
        // Names may be swapped.
        assert_eq!(chosen(&["a=b", "b=a"], &[], None).unwrap(), ["0 b", "1 a"]);
    }

    #[test]
    fn what_is_not_there_or_contradicts_is_refused() {
        let status = |outcome: Result<Vec<String>>| outcome.unwrap_err().exit_status();
        assert_eq!(status(chosen(&["c"], &[], None)), 10);
        assert_eq!(status(chosen(&["release:a"], &[], None)), 10);
        assert_eq!(status(chosen(&[], &["c"], None)), 10);
        assert_eq!(status(chosen(&["a"], &["a"], None)), 10);
        assert_eq!(status(chosen(&[], &[], Some("x"))), 2);
        assert_eq!(status(chosen(&["a=x"], &[], Some("y"))), 2);
        assert_eq!(status(chosen(&["a=b", "b"], &[], None)), 2);
        assert_eq!(status(chosen(&["a=../b"], &[], None)), 2);
        let error = chosen(&["lost"], &[], None).unwrap_err().to_string();
        assert!(error.contains("no room"), "{error}");
    }
}
