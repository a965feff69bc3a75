//! What of a damaged archive is whole.
//!
//! An archive says everything twice: a member's header and content, and the index line with its digest. Where both agree nothing is
//! wrong with either, whatever else is damaged. Where the index is proven by its seal, a line alone is enough for all but the content of a
//! file, and for that any member's content will do that has the line's digest. What has one witness alone is *unproven*: a member that
//! no readable line mentions, or a line without a member in an index whose seal does not fit, unless a checksum of the
//! compression vouches for it.

use std::collections::HashSet;
use std::sync::Arc;

use super::file::ReadAt;
use super::judge::Judge;
use super::lines::Lines;
use super::pieces::{Pieces, Range};
use super::walk::Walk;
use super::window::Patient;
use super::{Opened, Source, open_decrypted, tar};
use crate::archive::index::{Failure, Parsed};
use crate::archive::{Error, Line, Manifest, MemberName, Result, Seal};

/// What is wrong with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// Its content is not what was written, or not all there.
    Corrupt,
    /// It has a line in the index, and no member.
    Missing,
    /// Its member's header and its line disagree.
    Mismatch,
    /// One witness alone tells of it.
    Unverified,
    /// The archive has it, and a proven index does not mention it.
    Unexpected,
}

/// An entry that is not whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub name: MemberName,
    /// What is wrong with it.
    pub fault: Fault,
    /// The same in words, as the end of a sentence about it.
    pub detail: String,
    /// What can be had of it all the same.
    pub rescue: Rescue,
}

/// What an index is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexState {
    /// Its seal proves it.
    Whole,
    /// Some lines of it were read, and the seal does not prove them.
    Partial,
    /// There is none.
    Missing,
}

/// What can be had of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescue {
    /// All of it.
    Whole,
    /// All of it, but nothing proves that this is what was written.
    Unproven,
    /// Nothing.
    Lost,
}

/// What is whole of an archive, and what is not.
pub struct Survey {
    /// Its manifest; `None` if that cannot be understood. Then nothing can be restored.
    pub manifest: Option<Manifest>,
    /// Whether seal or checksum vouch for the manifest.
    pub manifest_proven: bool,
    /// What its index is worth.
    pub index: IndexState,
    /// Its seal, if it proves the index.
    pub seal: Option<Seal>,
    /// Parts of the file that cannot be used; of a file in a DIRECTORY, its name.
    pub unreadable: Vec<(Option<String>, Range)>,
    /// Entries that are not whole, in the order of the index; what has no line comes last.
    pub findings: Vec<Finding>,
    /// Damage that is of no entry.
    pub others: Vec<String>,
    /// How many entries are whole.
    pub intact_entries: u64,
    pub(super) lines: Lines,
    /// Of each line.
    pub(super) states: Vec<Rescue>,
    /// For each member that was found: its line, if it is taken for that.
    pub(super) claims: Vec<Option<usize>>,
    /// Members without a line that can be used all the same.
    pub(super) unproven: HashSet<usize>,
}

impl Survey {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.seal.is_some()
            && self.manifest.is_some()
            && self.findings.is_empty()
            && self.unreadable.is_empty()
            && self.others.is_empty()
    }
}

/// A member that was found.
pub(super) struct Found {
    pub(super) line: Line,
    /// Whether its content is all there.
    pub(super) complete: bool,
    /// Whether it may be something within a file.
    pub(super) sought: bool,
    /// Whether another attempt at the same follows.
    pub(super) superseded: bool,
}

/// Reads a whole archive, past damage. `each` is called for every member.
///
/// # Errors
/// Where it cannot be read at all, and where it is refused: of a newer version, or with a manifest that no archive may have.
pub fn survey(source: Source, name: &str, each: &mut dyn FnMut(&Line) -> Result<()>) -> Result<Survey> {
    let (opened, terms) = open_decrypted(source, name)?;
    match opened {
        Opened::Directory(tree) => super::survey_directory::survey(&tree, &terms, each),
        Opened::Stream(stream) => {
            let pieces = Pieces::new(stream, None).map_err(|error| super::input_error(name, error))?;
            survey_tar(Walk::new(pieces, &terms)?, name, each)
        }
        Opened::File(file) => {
            let (pieces, broken) = pieces(&file, name)?;
            let mut survey = survey_tar(Walk::new(pieces, &terms)?, name, each)?;
            let broken = broken.try_iter().map(|range| (None, range));
            survey.unreadable.extend(broken);
            join(&mut survey.unreadable);
            Ok(survey)
        }
    }
}

/// The pieces of a file, and where its device fails.
pub(super) fn pieces(
    file: &Arc<dyn ReadAt>,
    name: &str,
) -> Result<(Pieces, crossbeam_channel::Receiver<Range>)> {
    let (lost, broken) = crossbeam_channel::unbounded();
    let input = Box::new(Patient::new(Arc::clone(file), lost));
    let pieces = Pieces::new(input, Some(&**file)).map_err(|error| super::input_error(name, error))?;
    Ok((pieces, broken))
}

/// Sorts, and joins what touches.
fn join(ranges: &mut Vec<(Option<String>, Range)>) {
    ranges.sort_by_key(|(_, range)| range.offset);
    ranges.dedup_by(|(_, next), (_, last)| {
        let end = last.offset + last.length;
        let touches = next.offset <= end;
        if touches {
            last.length = last.length.max(next.offset + next.length - last.offset);
        }
        touches
    });
}

fn survey_tar(mut walk: Walk, name: &str, each: &mut dyn FnMut(&Line) -> Result<()>) -> Result<Survey> {
    let mut found: Vec<Found> = Vec::new();
    while let Some(member) = walk.next()? {
        let (line, attempt) = (member.line.clone(), member.attempt);
        let sought = std::mem::take(&mut walk.sought);
        let read = walk.content(member, None)?;
        each(&line)?;
        if attempt > 1
            && let Some(last) = found.last_mut().filter(|last| last.line.name == line.name)
        {
            last.superseded = true;
        }
        let complete = read.is_some();
        found.push(Found { line: read.unwrap_or(line), complete, sought, superseded: false });
    }
    let unreadable: Vec<_> = walk.lost().into_iter().map(|range| (None, range)).collect();
    let manifest = match walk.manifest.take() {
        None => None,
        Some((json, sure)) => match Manifest::from_json(&json) {
            Ok(manifest) => Some((manifest, json, sure)),
            Err(error) => match tar::unusable(name, &error) {
                Error::Damaged(_) => None,
                refused => return Err(refused),
            },
        },
    };
    let others = std::mem::take(&mut walk.others);
    let mut judge = Judge::new(manifest, walk.lines.finish()?, unreadable, others)?;
    judge.prove()?;
    judge.members(&found)?;
    Ok(judge.survey)
}

/// Failures that the index tells of.
pub(super) fn failures(lines: &Lines) -> Result<Vec<Failure>> {
    let mut failures = Vec::new();
    let mut lines = lines.read()?;
    while let Some(raw) = lines.next()? {
        if let Parsed::Failure(failure) = raw.parsed {
            failures.push(failure);
        }
    }
    Ok(failures)
}

#[cfg(test)]
mod tests;
