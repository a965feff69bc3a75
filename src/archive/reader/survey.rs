//! What of a damaged archive is whole.
//!
//! An archive says everything twice: a member's header and content, and the index line with its digest. Where both agree nothing is
//! wrong with either, whatever else is damaged. Where the index is proven by its seal, a line alone is enough for all but the content of a
//! file, and for that any member's content will do that has the line's digest. What has one witness alone is *unproven*: a member that
//! no readable line mentions, or a line without a member in an index whose seal does not fit, unless a checksum of the
//! compression vouches for it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::file::ReadAt;
use super::lines::{Lines, Raw};
use super::pieces::{Patient, Pieces, Range};
use super::walk::Walk;
use super::{Opened, Source, open, tar};
use crate::archive::check::{Checker, is_member};
use crate::archive::header::in_header;
use crate::archive::index::{Failure, Parsed, Role, line_to_json, member_bytes};
use crate::archive::{Digest, Error, Line, Manifest, MemberName, Result, Seal};
use crate::tree::Kind;

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
    line: Line,
    /// Whether its content is all there.
    complete: bool,
    /// Whether it may be something within a file.
    sought: bool,
    /// Whether another attempt at the same follows.
    superseded: bool,
}

/// Reads a whole archive, past damage. `each` is called for every member.
///
/// # Errors
/// Where it cannot be read at all, and where it is refused: of a newer version, or with a manifest that no archive may have.
pub fn survey(source: Source, name: &str, each: &mut dyn FnMut(&Line) -> Result<()>) -> Result<Survey> {
    match open(source, name)? {
        Opened::Directory(tree) => super::survey_directory::survey(&tree, name, each),
        Opened::Stream(stream) => {
            let pieces = Pieces::new(stream, None).map_err(|error| super::input_error(name, error))?;
            survey_tar(Walk::new(pieces, name)?, name, each)
        }
        Opened::File(file) => {
            let (pieces, broken) = pieces(&file, name)?;
            let mut survey = survey_tar(Walk::new(pieces, name)?, name, each)?;
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
    walk.drain()?;
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

/// Decides what is whole.
pub(super) struct Judge {
    pub(super) survey: Survey,
    pub(super) checker: Option<Checker>,
    json: Vec<u8>,
}

impl Judge {
    pub(super) fn new(
        manifest: Option<(Manifest, Vec<u8>, bool)>,
        lines: Lines,
        unreadable: Vec<(Option<String>, Range)>,
        others: Vec<String>,
    ) -> Result<Self> {
        let (manifest, json, manifest_proven) = match manifest {
            Some((manifest, json, sure)) => (Some(manifest), json, sure),
            None => (None, Vec::new(), false),
        };
        let checker = manifest.as_ref().map(Checker::new).transpose()?;
        let index = if lines.known > 0 { IndexState::Partial } else { IndexState::Missing };
        let survey = Survey {
            manifest,
            manifest_proven,
            index,
            seal: None,
            unreadable,
            findings: Vec::new(),
            others,
            intact_entries: 0,
            lines,
            states: Vec::new(),
            claims: Vec::new(),
            unproven: HashSet::new(),
        };
        Ok(Self { survey, checker, json })
    }

    /// Finds out whether the seal proves the index.
    pub(super) fn prove(&mut self) -> Result<()> {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.json);
        let (mut entries, mut members, mut bytes) = (0_u64, 0_u64, 0_u64);
        let mut seal: Option<Seal> = None;
        let mut after = false;
        let mut lines = self.survey.lines.read()?;
        while let Some(Raw { parsed, json, .. }) = lines.next()? {
            after |= seal.is_some();
            match parsed {
                Parsed::Seal(found) => seal = Some(found),
                Parsed::Failure(_) => drop(hasher.update(&json)),
                Parsed::Line(line) => {
                    hasher.update(&json);
                    entries += 1;
                    if let (true, Some(entry)) = (is_member(&line), &line.entry) {
                        members += 1;
                        bytes = bytes.saturating_add(member_bytes(&line.role, entry.kind, entry.size));
                    }
                }
            }
        }
        let digest = Digest::from(hasher.finalize());
        let proven = seal.filter(|seal| {
            let counts = (seal.entries, seal.members, seal.bytes) == (entries, members, bytes);
            counts && seal.digest == digest && !after && self.survey.lines.broken == 0
        });
        let survey = &mut self.survey;
        if survey.manifest.is_some() && proven.is_some() {
            (survey.seal, survey.index, survey.manifest_proven) = (proven, IndexState::Whole, true);
        }
        if survey.lines.broken > 0 {
            survey.others.push(format!("{} lines of its index cannot be understood", survey.lines.broken));
        }
        Ok(())
    }

    pub(super) fn is_proven(&self) -> bool {
        self.survey.seal.is_some()
    }

    /// Compares lines with members.
    fn members(&mut self, found: &[Found]) -> Result<()> {
        self.survey.claims = vec![None; found.len()];
        let mut names: HashMap<&MemberName, usize> = HashMap::new();
        let mut witnesses: HashMap<blake3::Hash, usize> = HashMap::new();
        for (number, one) in found.iter().enumerate().filter(|(_, one)| !one.superseded) {
            names.insert(&one.line.name, number);
            if one.complete {
                witnesses.entry(hash(&one.line)).or_insert(number);
            }
        }
        let agreed = self.agreed(&witnesses)?;
        let mut spare = Spare::new(found, &self.survey.claims, &agreed);
        let mut lost: HashSet<MemberName> = HashSet::new();
        let mut known: HashSet<MemberName> = HashSet::new();
        let mut lines = self.survey.lines.read()?;
        let mut number = 0;
        while let Some(Raw { parsed, sure, .. }) = lines.next()? {
            let Parsed::Line(line) = parsed else { continue };
            let trusted = self.is_proven() || sure;
            let state = if let Some(member) = agreed[number] {
                spare.pass(member, number);
                self.linked(&line, &lost).unwrap_or(Rescue::Whole)
            } else {
                self.alone(&line, number, trusted, &lost, &mut spare, names.contains_key(&line.name))
            };
            let state = self.checked(&line, state);
            if state == Rescue::Lost && is_member(&line) {
                lost.insert(line.name.clone());
            }
            if names.contains_key(&line.name) {
                known.insert(line.name.clone());
            }
            self.survey.intact_entries += u64::from(state == Rescue::Whole);
            self.survey.states.push(state);
            number += 1;
        }
        self.rest(found, &known);
        Ok(())
    }

    /// For each line the member that agrees with it in everything, which is its own then.
    fn agreed(&mut self, witnesses: &HashMap<blake3::Hash, usize>) -> Result<Vec<Option<usize>>> {
        let mut agreed: Vec<Option<usize>> = Vec::new();
        let mut next = 0;
        let mut lines = self.survey.lines.read()?;
        while let Some(raw) = lines.next()? {
            let Parsed::Line(line) = raw.parsed else { continue };
            // Members and their lines have one order.
            let witness = witnesses.get(&hash(&line)).copied();
            let witness = witness.filter(|member| is_member(&line) && *member >= next);
            if let Some(member) = witness {
                self.survey.claims[member] = Some(agreed.len());
                next = member + 1;
            }
            agreed.push(witness);
        }
        Ok(agreed)
    }

    /// What a line is worth with which no member agrees.
    fn alone(
        &mut self,
        line: &Line,
        number: usize,
        trusted: bool,
        lost: &HashSet<MemberName>,
        spare: &mut Spare,
        named: bool,
    ) -> Rescue {
        let is_content = line.entry.as_ref().is_some_and(|entry| entry.kind == Kind::File);
        match &line.role {
            Role::Member { digest } if is_content => {
                let other = digest.filter(|_| trusted).and_then(|digest| spare.take(digest, number));
                if let Some(member) = other {
                    self.survey.claims[member] = Some(number);
                    self.tell(
                        line,
                        Fault::Mismatch,
                        "its header is not what the index says; its content is whole",
                        Rescue::Whole,
                    );
                    return Rescue::Whole;
                }
                if named {
                    self.tell(
                        line,
                        Fault::Corrupt,
                        "its content or its header is not what the index says",
                        Rescue::Lost,
                    );
                } else {
                    self.tell(
                        line,
                        Fault::Missing,
                        "it is in the index, and not in the archive",
                        Rescue::Lost,
                    );
                }
                Rescue::Lost
            }
            Role::Member { .. } | Role::Link { .. } => {
                if let Some(state) = self.linked(line, lost) {
                    return state;
                }
                let (fault, detail) = match (trusted, named) {
                    (true, true) => {
                        (Fault::Mismatch, "its header is not what the index says, which is proven")
                    }
                    (true, false) => (
                        Fault::Missing,
                        "it is not in the archive; the index, which is proven, says all of it",
                    ),
                    (false, true) => (Fault::Mismatch, "its header and its line in the index disagree"),
                    (false, false) => (Fault::Missing, "it is in the index, and not in the archive"),
                };
                let rescue = if trusted { Rescue::Whole } else { Rescue::Unproven };
                self.tell(line, fault, detail, rescue);
                rescue
            }
            Role::Metadata { .. } | Role::Unarchived | Role::Deleted if trusted => Rescue::Whole,
            role => {
                let detail = match role {
                    Role::Deleted => "only a line that is not proven says that it was deleted",
                    Role::Metadata { .. } => "only a line that is not proven has its attributes",
                    _ => "only a line that is not proven tells of it",
                };
                self.tell(line, Fault::Unverified, detail, Rescue::Unproven);
                Rescue::Unproven
            }
        }
    }

    /// A link to what is lost is lost too.
    fn linked(&mut self, line: &Line, lost: &HashSet<MemberName>) -> Option<Rescue> {
        let Role::Link { to } = &line.role else { return None };
        if !lost.contains(to) {
            return None;
        }
        let detail = format!("it is another name of {to}, whose content is lost");
        self.tell(line, Fault::Corrupt, &detail, Rescue::Lost);
        Some(Rescue::Lost)
    }

    /// What no archive may say is left out, whoever said it.
    pub(super) fn checked(&mut self, line: &Line, state: Rescue) -> Rescue {
        if state == Rescue::Lost {
            return state;
        }
        match self.checker.as_mut().map_or(Ok(()), |checker| checker.line_alone(line)) {
            Ok(()) => state,
            Err(error) => {
                self.tell(line, Fault::Corrupt, &error.to_string(), Rescue::Lost);
                Rescue::Lost
            }
        }
    }

    pub(super) fn tell(&mut self, line: &Line, fault: Fault, detail: &str, rescue: Rescue) {
        let (name, detail) = (line.name.clone(), detail.to_owned());
        self.survey.findings.push(Finding { name, fault, detail, rescue });
    }

    /// Members that no line was taken for.
    fn rest(&mut self, found: &[Found], known: &HashSet<MemberName>) {
        let mut doubtful = false;
        for (number, one) in found.iter().enumerate() {
            let claimed = self.survey.claims[number].is_some();
            // Behind a search comes what may be of a tar file within the archive, until something is what the index says.
            doubtful = !claimed && (doubtful || one.sought);
            if claimed || one.superseded || known.contains(&one.line.name) {
                continue;
            }
            let line = &one.line;
            if self.is_proven() {
                if !doubtful {
                    self.tell(line, Fault::Unexpected, "the index does not mention it", Rescue::Lost);
                }
                continue;
            }
            let allowed = match &mut self.checker {
                Some(checker) => checker.line_alone(line).is_ok(),
                None => !doubtful,
            };
            match (allowed, one.complete) {
                (true, true) => {
                    self.survey.unproven.insert(number);
                    self.tell(
                        line,
                        Fault::Unverified,
                        "no readable line of the index tells what its content was",
                        Rescue::Unproven,
                    );
                }
                (true, false) => {
                    self.tell(line, Fault::Corrupt, "its content is not all there", Rescue::Lost)
                }
                // What is refused here may be no member at all.
                (false, _) => {}
            }
        }
    }
}

/// Contents that belong to no line yet.
struct Spare {
    by_digest: HashMap<Digest, Vec<usize>>,
    /// Members that have a line, and those lines.
    agreed: Vec<(usize, usize)>,
    /// How many of these are passed, and the least member that may come next.
    passed: usize,
    least: usize,
}

impl Spare {
    fn new(found: &[Found], claims: &[Option<usize>], agreed: &[Option<usize>]) -> Self {
        let mut by_digest: HashMap<Digest, Vec<usize>> = HashMap::new();
        for (number, one) in found.iter().enumerate() {
            if let (true, None, Role::Member { digest: Some(digest) }) =
                (one.complete, claims[number], &one.line.role)
            {
                by_digest.entry(*digest).or_default().push(number);
            }
        }
        let agreed =
            agreed.iter().enumerate().filter_map(|(line, member)| Some(((*member)?, line))).collect();
        Self { by_digest, agreed, passed: 0, least: 0 }
    }

    /// A line has its own member.
    fn pass(&mut self, member: usize, line: usize) {
        self.least = self.least.max(member + 1);
        self.passed += usize::from(self.agreed.get(self.passed) == Some(&(member, line)));
    }

    /// A content with this digest, where the content of that line must be.
    fn take(&mut self, digest: Digest, line: usize) -> Option<usize> {
        let end =
            self.agreed.get(self.passed).filter(|(_, next)| *next > line).map_or(usize::MAX, |next| next.0);
        let all = self.by_digest.get_mut(&digest)?;
        let at = all.iter().position(|member| (self.least..end).contains(member))?;
        let member = all.remove(at);
        self.least = member + 1;
        Some(member)
    }
}

/// What header and line must agree in.
fn hash(line: &Line) -> blake3::Hash {
    let line = Line { entry: in_header(line), group: None, replaced: None, unstable: false, ..line.clone() };
    blake3::hash(&line_to_json(&line))
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
