//! Which lines and members of a damaged archive belong together, and what each is worth then.

use std::collections::{HashMap, HashSet};

use super::lines::{Lines, Raw};
use super::pieces::Range;
use super::survey::{Fault, Finding, Found, IndexState, Rescue, Survey};
use crate::archive::check::{Checker, is_member};
use crate::archive::header::in_header;
use crate::archive::index::{Parsed, Role, line_to_json, member_bytes};
use crate::archive::{Digest, Line, Manifest, MemberName, Result, Seal};
use crate::tree::Kind;

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
    pub(super) fn members(&mut self, found: &[Found]) -> Result<()> {
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
        self.rest(found, &known, &agreed.into_iter().flatten().collect());
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

    /// Members that no line was taken for. `agreed` are those that agree with one in everything.
    fn rest(&mut self, found: &[Found], known: &HashSet<MemberName>, agreed: &HashSet<usize>) {
        let mut doubtful = false;
        for (number, one) in found.iter().enumerate() {
            let claimed = self.survey.claims[number].is_some();
            // Behind a search comes what may be of a tar file within the archive, and that may hold members which the index knows as well.
            // Where the index is proven it is all there is, and what else was found tells nothing.
            doubtful = one.sought || doubtful && (self.is_proven() || !agreed.contains(&number));
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
                    self.tell(line, Fault::Corrupt, "its content is not all there", Rescue::Lost);
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

#[cfg(test)]
mod tests;
