//! What is damaged in an archive, exactly, and what is whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::archive::manifest::{DatasetRecord, Manifest};
use crate::archive::reader::Survey;
use crate::archive::{self, MemberName};
use crate::confine::{self, Allowed};
use crate::error::{Error, Result};
use crate::event::{Observer, Step};
use crate::input::Input;
use crate::resource::label;
use crate::step::Steps;
use crate::tree::TreePath;

/// Where in the resources of an archive a member belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The resource, as in `jail web01`.
    pub resource: String,
    /// The dataset, if it is in one, and not beside the root.
    pub dataset: Option<String>,
    /// Path in the dataset; else, in the resource's own part of the archive.
    pub path: TreePath,
}

/// Reads the whole archive `input`, past damage. What follows from it is the caller's to tell: a damaged archive is no error here.
pub fn examine(input: Input, observer: &dyn Observer, interrupted: &Arc<AtomicBool>) -> Result<Survey> {
    if input.must_be_signed() {
        return Err(Error::Usage(
            "What is left of a damaged archive cannot be proven to be signed: examine it without a key"
                .into(),
        ));
    }
    confine::run(&Allowed::nothing().and_temporary(true), || survey(input, observer, interrupted))
}

fn survey(input: Input, observer: &dyn Observer, interrupted: &Arc<AtomicBool>) -> Result<Survey> {
    let steps = Steps::new(observer, &input.name());
    let opened = input.open(interrupted)?;
    opened.must_be_ours()?;
    steps.run(Step::Verify, None, opened.total_bytes, |meter| {
        let again = opened.source.again();
        let stop = || interrupted.load(Ordering::Relaxed);
        let by_file = opened.total_bytes.is_some();
        let survey = archive::survey(opened.source, &opened.name, &mut |line| {
            if stop() {
                return Err(Error::Interrupted.into());
            }
            if by_file {
                meter.set(opened.read_bytes.load(Ordering::Relaxed), 0);
            } else {
                meter.add(line.entry.as_ref().map_or(0, |entry| entry.size), 1);
            }
            Ok(())
        });
        if stop() {
            return Err(Error::Interrupted);
        }
        let mut survey = survey?;
        // What only a reading that forgives nothing sees: headers that nobody writes so, a table of offsets that leads elsewhere.
        if let (true, Some(again)) = (survey.is_whole(), again) {
            match archive::read(again, &opened.name, &mut ()) {
                Ok(_) => {}
                Err(_) if stop() => return Err(Error::Interrupted),
                Err(archive::Error::Damaged(why)) => survey.others.push(why),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(survey)
    })
}

/// Where a member belongs; `None` if to nothing that the manifest tells of.
pub fn locate(manifest: &Manifest, name: &MemberName) -> Option<Location> {
    let path = |text: &str| TreePath::new(text.as_bytes()).ok();
    manifest.resources.iter().find_map(|record| {
        let prefix = path(record.prefix.trim_start_matches("./").trim_end_matches('/'))?;
        let below = name.below(&prefix).filter(|below| !below.is_root())?;
        let resource = label(record.kind, &record.name);
        let member = MemberName::new(below.clone());
        let dataset = record.datasets.iter().find_map(|DatasetRecord { name, member: place, .. }| {
            let place = path(place).filter(|place| !place.is_root())?;
            Some((name.clone(), member.below(&place)?))
        });
        Some(match dataset {
            Some((name, path)) => Location { resource, dataset: Some(name), path },
            None => Location { resource, dataset: None, path: below },
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::two_jails;

    #[test]
    fn members_are_told_as_paths_of_their_resource() {
        let manifest = two_jails();
        let at = |text: &str| locate(&manifest, &MemberName::new(TreePath::new(text.as_bytes()).unwrap()));
        let found = at("jails/b/root.tree/etc/rc.conf").unwrap();
        assert_eq!(
            (found.resource.as_str(), found.dataset.as_deref(), found.path.as_bytes()),
            ("jail b", Some("root"), &b"etc/rc.conf"[..])
        );
        let found = at("jails/a/config.json").unwrap();
        assert_eq!(
            (found.resource.as_str(), found.dataset, found.path.as_bytes()),
            ("jail a", None, &b"config.json"[..])
        );
        assert_eq!(at("jails/c/root.tree/x"), None);
    }
}
