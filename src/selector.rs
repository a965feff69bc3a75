//! What users write to choose resources: of a pool for an export, of an archive for a restore.
//!
//! ```text
//! web01  template:web  release:14.2-RELEASE  one resource; a jail where no kind is said
//! db*  jail:web0?  release:14.[0-3]-*        all whose names match; quoted, or the shell looks for files
//! web01@before-upgrade  db*@nightly          an existing snapshot instead of a new one (export)
//! @nightly                                   all resources with that tag, of every kind
//! web01=web02                                under another name (restore)
//! ```
//!
//! Nothing here looks at a pool or an archive: [`Selection::parse`] takes words, [`Selection::select`] a list of what there is. The
//! one exception is [`changed_since`], which answers `--newer` for a pool.
//!
//! What protects from typos: a pattern that matches nothing is an error, and so is an exclusion that names one resource
//! exactly and is wrong. An exclusion that is a glob or a tag may match nothing, because one command line serves many hosts; it is
//! told of in [`Selected::notices`].

mod changed;
mod date;
mod pattern;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub use changed::{changed_since, taken_since};
pub use date::parse_date;
pub use pattern::{Pattern, check_tag};

use crate::error::{Error, Result};
use crate::resource::{ResourceKind, label};

/// What the selection is for, which decides what may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Resources of a pool: snapshots may be named, new names may not, and something must be selected.
    Export,
    /// Resources of an archive: new names may be given. Without a selector it is everything.
    Restore,
}

/// Which resources a user wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// What was written.
    pub patterns: Vec<Pattern>,
    /// Whether everything was asked for, or nothing in particular was for a restore.
    pub all: bool,
    /// What is left out of all that.
    pub exclude: Vec<Pattern>,
    /// Only those in which something changed at or after this moment. [`Selection::select`] does not look at it:
    /// [`changed_since`] and [`taken_since`] do.
    pub newer: Option<jiff::Timestamp>,
}

/// Something that can be selected.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// Kind.
    pub kind: ResourceKind,
    /// Name.
    pub name: &'a str,
    /// Its tags.
    pub tags: &'a [String],
}

/// Something that was selected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its place among the candidates.
    pub index: usize,
    /// The existing snapshot that was asked for. Whether there is one is for the caller to see.
    pub snapshot: Option<String>,
    /// The name that it is to be restored under, if another one.
    pub new_name: Option<String>,
}

/// What [`Selection::select`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selected {
    /// Releases first, then templates and jails, by name; never empty.
    pub chosen: Vec<Chosen>,
    /// What the user should know: exclusions that excluded nothing, and what was named and is excluded.
    pub notices: Vec<String>,
}

/// Where resources are selected from, for messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A pool, by its label.
    Pool(String),
    /// An archive, by its name.
    Archive(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool(label) => write!(f, "the pool {label}"),
            Self::Archive(name) => write!(f, "the archive {name}"),
        }
    }
}

/// A pattern that matches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmatched {
    /// What there is none of: `no jail web01`, `no jail that matches db*`, `no resource with the tag @nightly`.
    pub what: String,
    /// What may have been meant, in the form in which it can be written.
    pub near: Vec<String>,
}

impl Selection {
    /// Takes words apart. `newer` as [`parse_date`] takes it, relative to `now`.
    pub fn parse(
        purpose: Purpose,
        words: &[String],
        all: bool,
        exclude: &[String],
        newer: Option<&str>,
        now: jiff::Timestamp,
    ) -> Result<Self> {
        if words.is_empty() && !all && purpose == Purpose::Export {
            return Err(Error::Usage("Nothing is selected; name resources, or say --all".into()));
        }
        let patterns = words.iter().map(|word| Pattern::parse(word, purpose)).collect::<Result<_>>()?;
        let exclude = exclude.iter().map(|word| Pattern::parse_exclusion(word)).collect::<Result<_>>()?;
        let newer = newer.map(|date| parse_date(date, now)).transpose()?;
        Ok(Self { patterns, all: all || words.is_empty(), exclude, newer })
    }

    /// Everything.
    pub fn everything() -> Self {
        Self { all: true, ..Self::default() }
    }

    /// Whether nothing is left out, of whatever there is.
    pub fn is_everything(&self) -> bool {
        (self.all || self.patterns.is_empty()) && self.exclude.is_empty() && self.newer.is_none()
    }

    /// Whether tags must be known to select: a candidate without them would be taken for one that has none.
    pub fn needs_tags(&self) -> bool {
        self.patterns.iter().chain(&self.exclude).any(|pattern| pattern.tag().is_some())
    }

    /// Chooses among `candidates`, of which no two have the same kind and name.
    ///
    /// An exclusion wins over everything else. A snapshot or new name that one pattern asks for wins over a glob, a tag or
    /// `--all` that asks for none.
    ///
    /// # Errors
    /// [`Error::NoMatch`] for all patterns that match nothing, and [`Error::Usage`] where two ask for different things,
    /// two resources would get one name, or nothing is left.
    pub fn select(&self, candidates: &[Candidate<'_>], place: &Place) -> Result<Selected> {
        let mut notices = Vec::new();
        let excluded = self.excluded(candidates, place, &mut notices)?;
        let mut wanted: BTreeMap<usize, Wanted<'_>> = BTreeMap::new();
        if self.all {
            wanted.extend((0..candidates.len()).map(|index| (index, Wanted::default())));
        }
        let mut unmatched = Vec::new();
        for pattern in &self.patterns {
            let matching = matching(pattern, candidates);
            if matching.is_empty() {
                unmatched.push(pattern.unmatched(candidates));
            }
            for index in matching {
                wanted.entry(index).or_default().add(pattern, &candidates[index])?;
            }
        }
        if wanted.is_empty() && unmatched.is_empty() {
            unmatched.push(Unmatched { what: "nothing".into(), near: Vec::new() });
        }
        if !unmatched.is_empty() {
            return Err(Error::NoMatch { place: place.clone(), unmatched });
        }
        for (index, wanted) in wanted.iter().filter(|(index, _)| excluded.contains(index)) {
            if wanted.named {
                let resource = candidate_label(&candidates[*index]);
                notices.push(format!("The {resource} was named and is excluded all the same"));
            }
        }
        wanted.retain(|index, _| !excluded.contains(index));
        let mut chosen: Vec<Chosen> =
            wanted.into_iter().map(|(index, wanted)| wanted.into_chosen(index)).collect();
        if chosen.is_empty() {
            return Err(Error::Usage(format!("All that was selected in {place} is excluded")));
        }
        chosen.sort_by_key(|chosen| {
            let candidate = &candidates[chosen.index];
            order(candidate.kind, candidate.name)
        });
        refuse_same_names(&chosen, candidates)?;
        Ok(Selected { chosen, notices })
    }

    fn excluded(
        &self,
        candidates: &[Candidate<'_>],
        place: &Place,
        notices: &mut Vec<String>,
    ) -> Result<BTreeSet<usize>> {
        let mut excluded = BTreeSet::new();
        let mut unmatched = Vec::new();
        for pattern in &self.exclude {
            let matching = matching(pattern, candidates);
            if matching.is_empty() && pattern.is_exact() {
                unmatched.push(pattern.unmatched(candidates));
            } else if matching.is_empty() {
                notices.push(format!("--exclude {pattern} excludes nothing in {place}"));
            }
            excluded.extend(matching);
        }
        if unmatched.is_empty() {
            return Ok(excluded);
        }
        Err(Error::NoMatch { place: place.clone(), unmatched })
    }
}

impl std::str::FromStr for Selection {
    type Err = Error;

    /// One word, as a user writes it for an export.
    fn from_str(word: &str) -> Result<Self> {
        Self::parse(Purpose::Export, &[word.to_owned()], false, &[], None, jiff::Timestamp::now())
    }
}

fn matching(pattern: &Pattern, candidates: &[Candidate<'_>]) -> Vec<usize> {
    (0..candidates.len()).filter(|&index| pattern.matches(&candidates[index])).collect()
}

fn candidate_label(candidate: &Candidate<'_>) -> String {
    label(candidate.kind, candidate.name)
}

/// Releases first, then templates: what follows may be based on them.
pub(crate) fn order(kind: ResourceKind, name: &str) -> (u8, &str) {
    let rank = match kind {
        ResourceKind::Release => 0,
        ResourceKind::Template => 1,
        ResourceKind::Jail => 2,
        ResourceKind::Plain => 3,
    };
    (rank, name)
}

/// What the patterns that match a candidate ask for.
#[derive(Default)]
struct Wanted<'a> {
    /// Whether it was named exactly.
    named: bool,
    snapshot: Option<&'a str>,
    new_name: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn add(&mut self, pattern: &'a Pattern, candidate: &Candidate<'_>) -> Result<()> {
        let bare = pattern.snapshot().is_none() && pattern.new_name().is_none();
        if bare && !pattern.is_exact() {
            return Ok(());
        }
        let differs = self.snapshot != pattern.snapshot() || self.new_name != pattern.new_name();
        let said_before = self.named || self.snapshot.is_some();
        if said_before && differs {
            return Err(Error::Usage(format!(
                "The {} is selected more than once, with different snapshots or new names",
                candidate_label(candidate)
            )));
        }
        self.named |= pattern.is_exact();
        self.snapshot = pattern.snapshot();
        self.new_name = pattern.new_name();
        Ok(())
    }

    fn into_chosen(self, index: usize) -> Chosen {
        Chosen {
            index,
            snapshot: self.snapshot.map(str::to_owned),
            new_name: self.new_name.map(str::to_owned),
        }
    }
}

fn refuse_same_names(chosen: &[Chosen], candidates: &[Candidate<'_>]) -> Result<()> {
    let mut taken = BTreeMap::new();
    for one in chosen {
        let candidate = &candidates[one.index];
        let name = one.new_name.as_deref().unwrap_or(candidate.name);
        if let Some(other) = taken.insert((candidate.kind, name), candidate.name) {
            return Err(Error::Usage(format!(
                "Both {other} and {} would be restored as {}",
                candidate.name,
                label(candidate.kind, name)
            )));
        }
    }
    Ok(())
}
