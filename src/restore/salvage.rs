//! Restoring of a damaged archive what is whole.
//!
//! A first reading finds out what that is ([`archive::survey`]); in a second one the same visitor is given that alone
//! ([`archive::salvage`]). What else turns out not to fit is left out too, entry by entry; a native stream is received as a whole, or not at
//! all. Everything that is missing is a warning with its path, and the resource is marked in the pool's records. A crash leaves what any
//! restore leaves.

use super::plan::Plan;
use super::route::{Place, Section};
use super::visitor::Restore;
use crate::archive::reader::{Fault, Finding, Rescue, Survey};
use crate::archive::{self, Line, Seal, Source};
use crate::error::{Error, Result};
use crate::event::{Step, Warning};
use crate::records::{NOTE_BYTES, Records};

/// Tag that a salvaged resource gets.
const TAG: &str = "salvaged";

/// How to restore of a damaged archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Salvage {
    /// Restore, too, what only one witness tells of: members whose digest is lost, lines of an index that no seal proves.
    pub unproven: bool,
}

/// What a resource lacks that comes from a damaged archive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Toll {
    /// Entries and datasets of the archive that are not in it, or not in their last state.
    pub lost: u64,
    /// Entries that are in it, but that nothing proves.
    pub unproven: u64,
    /// Whether there may have been more, of which nothing is known.
    pub uncertain: bool,
}

impl Toll {
    /// `None` where nothing is missing.
    pub(super) fn told(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }

    /// Says in the pool's records that a resource is not whole: by a tag, and before its note.
    pub(super) fn mark(self, records: &Records, plan: &Plan, source: &str) -> Result<()> {
        if self == Self::default() {
            return Ok(());
        }
        let (kind, name) = (plan.record.kind, plan.name.as_str());
        let known = records.tag(kind, name, &[TAG.to_owned()])?;
        let mut note =
            format!("NOT WHOLE: salvaged from the damaged archive {source} on {}: {self}", crate::run::now());
        if let Some(before) = known.note {
            note = format!("{note}\n{before}");
        }
        let mut end = note.len().min(NOTE_BYTES);
        while !note.is_char_boundary(end) {
            end -= 1;
        }
        note.truncate(end);
        records.set_note(kind, name, Some(&note)).map(drop)
    }
}

impl std::fmt::Display for Toll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} lost, {} unproven", self.lost, self.unproven)?;
        if self.uncertain { f.write_str(", and what else was lost is not known") } else { Ok(()) }
    }
}

impl Restore<'_> {
    /// Reads what is whole. The seal, if it proves the index.
    pub(super) fn salvage(&mut self, source: Source, name: &str, how: Salvage) -> Result<Option<Seal>> {
        let steps = self.context.steps;
        let again = source.again().ok_or_else(|| {
            let message = "A damaged archive is read twice, which a pipe cannot be; write it to a file first";
            Error::Usage(message.to_owned())
        })?;
        let survey = steps.run(Step::Verify, None, None, |meter| {
            let survey = archive::survey(source, name, &mut |line| {
                meter.add(line.entry.as_ref().map_or(0, |entry| entry.size), 1);
                self.check_interrupt().map_err(archive::Error::from)
            });
            survey.map_err(Error::from)
        })?;
        for (file, range) in &survey.unreadable {
            let of = file.as_deref().map(|file| format!(" of {file}")).unwrap_or_default();
            let end = range.offset.saturating_add(range.length);
            steps.notice(name, format!("the bytes {} to {end}{of} cannot be used", range.offset));
        }
        for other in &survey.others {
            steps.notice(name, other.clone());
        }
        archive::salvage(again, name, &survey, how.unproven, self)?;
        for finding in &survey.findings {
            self.account(finding, how);
        }
        self.doubt(&survey);
        Ok(survey.seal)
    }

    /// Counts and tells what is wrong with an entry, if it is of a resource that is restored.
    fn account(&mut self, finding: &Finding, how: Salvage) {
        let Some(place) = self.routes.find(&finding.name) else { return };
        let work = &mut self.works[place.work];
        if work.failed.is_some() {
            return;
        }
        let Finding { name, detail, rescue, fault } = finding;
        let is_restored = *rescue == Rescue::Whole || (*rescue == Rescue::Unproven && how.unproven);
        let message = match rescue {
            _ if *fault == Fault::Unexpected => {
                work.toll.lost += 1;
                format!("is left out: {detail}")
            }
            Rescue::Whole => {
                return self.context.steps.notice(&name.to_string(), format!("is restored: {detail}"));
            }
            Rescue::Unproven if is_restored => {
                work.toll.unproven += 1;
                format!("is restored, and not proven: {detail}")
            }
            Rescue::Unproven => {
                work.toll.lost += 1;
                format!("is left out, because it is not proven (--unproven takes it): {detail}")
            }
            Rescue::Lost => {
                work.toll.lost += 1;
                format!("is lost: {detail}")
            }
        };
        self.context.steps.warn(&Warning { subject: name.to_string(), message });
    }

    /// Without a seal nobody knows what else there was.
    fn doubt(&mut self, survey: &Survey) {
        if survey.seal.is_some() {
            return;
        }
        for work in self.works.iter_mut().filter(|work| work.failed.is_none()) {
            work.toll.uncertain = true;
            let mut message =
                "the index of the archive is damaged or missing, so what else was lost of it is not known"
                    .to_owned();
            if !survey.manifest_proven {
                message += "; neither is its manifest proven";
            }
            self.context.steps.warn(&Warning { subject: work.label(), message });
        }
    }

    /// An entry cannot be restored: that is lost alone where the archive is known to be damaged, and fatal otherwise.
    pub(super) fn bear(&mut self, line: &Line, place: &Place, error: Error) -> Result<()> {
        let is_damage = matches!(error, Error::Archive(archive::Error::Damaged(_)))
            || (matches!(error, Error::Backend { .. }) && error.exit_status() == 22);
        let is_root = place.section == Section::Dataset(0) && place.path.is_root();
        if self.context.options.salvage.is_none() || !is_damage || is_root {
            return self.fail(place.work, error);
        }
        self.left_out(line, place, &crate::undo::chain(&error));
        Ok(())
    }

    /// An entry is not restored.
    pub(super) fn left_out(&mut self, line: &Line, place: &Place, why: &str) {
        self.works[place.work].toll.lost += 1;
        let message = format!("is left out: {why}");
        self.context.steps.warn(&Warning { subject: line.name.to_string(), message });
    }

    /// Whether something lies in a dataset whose stream is lost: there is no place for it.
    pub(super) fn is_above_lost(&self, place: &Place) -> bool {
        let Section::Dataset(at) = place.section else { return false };
        if self.context.options.salvage.is_none() {
            return false;
        }
        let work = &self.works[place.work];
        let name = &work.plan.datasets[at].name;
        let above =
            work.plan.datasets.iter().filter(|other| {
                name.strip_prefix(other.name.as_str()).is_some_and(|rest| rest.starts_with('/'))
            });
        above.into_iter().any(|other| other.encoding.is_native() && !work.stage.has(&other.name))
    }

    /// Whether a dataset other than the root is not restored, because its stream, or that of one which it lies in, is lost. Tells so.
    pub(super) fn is_dataset_lost(&mut self, at: usize, dataset: usize) -> bool {
        if self.context.options.salvage.is_none() || dataset == 0 {
            return false;
        }
        let target = &self.works[at].plan.datasets[dataset];
        let own = target.encoding.is_native() && !self.works[at].stage.has(&target.name);
        let place =
            Place { work: at, section: Section::Dataset(dataset), path: crate::tree::TreePath::root() };
        if !own && !self.is_above_lost(&place) {
            return false;
        }
        let subject = format!("{}: dataset {}", self.works[at].label(), target.name);
        self.works[at].toll.lost += 1;
        let message = "is missing: its stream, or that of a dataset which it lies in, is lost".to_owned();
        self.context.steps.warn(&Warning { subject, message });
        true
    }
}
