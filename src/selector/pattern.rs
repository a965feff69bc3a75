//! One word of a selection.

use std::fmt;

use super::{Candidate, Purpose, Unmatched};
use crate::error::{Error, Result};
use crate::resource::{NAMED_KINDS, ResourceKind, check_name, kind_name, label, named_kind};
use crate::tree::path::printable;

/// At most so many names are told that may have been meant.
const NEAR: usize = 3;
/// Longest tag, in bytes.
const TAG_BYTES: usize = 64;

/// A word that selects resources; prints as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    written: String,
    what: What,
    snapshot: Option<String>,
    new_name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Name { kind: ResourceKind, name: String },
    Glob { kind: ResourceKind, glob: glob::Pattern },
    Tag(String),
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl Pattern {
    /// Takes a word apart, and refuses what does not go with `purpose`.
    pub fn parse(word: &str, purpose: Purpose) -> Result<Self> {
        let pattern = Self::any(word)?;
        match purpose {
            Purpose::Export if pattern.new_name.is_some() => Err(wrong(
                word,
                "gives a new name, which the restore does; an export keeps the resource's own",
            )),
            _ => Ok(pattern),
        }
    }

    /// Takes apart what is to be left out: without snapshot and new name.
    pub fn parse_exclusion(word: &str) -> Result<Self> {
        let pattern = Self::any(word)?;
        if pattern.snapshot.is_some() || pattern.new_name.is_some() {
            return Err(wrong(word, "cannot be excluded; write NAME, a pattern, or @TAG"));
        }
        Ok(pattern)
    }

    fn any(word: &str) -> Result<Self> {
        let made = |what| Self { written: word.to_owned(), what, snapshot: None, new_name: None };
        if let Some(tag) = word.strip_prefix('@') {
            check_tag(tag)?;
            return Ok(made(What::Tag(tag.to_owned())));
        }
        if let Some((old, new)) = word.split_once('=') {
            let what = one(old)?;
            if !matches!(what, What::Name { .. }) {
                return Err(wrong(word, "gives several resources one new name"));
            }
            if old.contains('@') {
                return Err(wrong(word, "has both a snapshot and a new name"));
            }
            check_name(new)?;
            return Ok(Self { new_name: Some(new.to_owned()), ..made(what) });
        }
        let Some((name, snapshot)) = word.split_once('@') else { return Ok(made(one(word)?)) };
        if remand_backends::SnapshotName::new(snapshot).is_err() {
            return Err(wrong(word, "has no name of a snapshot behind the @"));
        }
        Ok(Self { snapshot: Some(snapshot.to_owned()), ..made(one(name)?) })
    }

    /// Whether it names one resource.
    pub fn is_exact(&self) -> bool {
        matches!(self.what, What::Name { .. })
    }

    /// Kind and name of the one resource that it names, if it does.
    pub fn name(&self) -> Option<(ResourceKind, &str)> {
        match &self.what {
            What::Name { kind, name } => Some((*kind, name)),
            _ => None,
        }
    }

    /// The tag that it asks for.
    pub fn tag(&self) -> Option<&str> {
        match &self.what {
            What::Tag(tag) => Some(tag),
            _ => None,
        }
    }

    /// The snapshot that it asks for.
    pub fn snapshot(&self) -> Option<&str> {
        self.snapshot.as_deref()
    }

    /// The new name that it gives.
    pub fn new_name(&self) -> Option<&str> {
        self.new_name.as_deref()
    }

    /// Whether it means this one.
    pub fn matches(&self, candidate: &Candidate<'_>) -> bool {
        match &self.what {
            What::Name { kind, name } => *kind == candidate.kind && name == candidate.name,
            What::Glob { kind, glob } => *kind == candidate.kind && glob.matches(candidate.name),
            What::Tag(tag) => candidate.tags.contains(tag),
        }
    }

    /// What to say when it matches none of `candidates`.
    pub(super) fn unmatched(&self, candidates: &[Candidate<'_>]) -> Unmatched {
        match &self.what {
            What::Name { kind, name } => {
                let what = format!("no {}", label(*kind, name));
                Unmatched { what, near: near_names(*kind, name, candidates) }
            }
            What::Glob { kind, glob } => {
                let others = NAMED_KINDS.into_iter().filter(|other| other != kind).filter(|other| {
                    candidates.iter().any(|one| one.kind == *other && glob.matches(one.name))
                });
                let near = others.map(|other| format!("{}:{}", kind_name(other), glob.as_str())).collect();
                Unmatched { what: format!("no {} that matches {}", kind_name(*kind), glob.as_str()), near }
            }
            What::Tag(tag) => {
                let mut tags: Vec<&str> =
                    candidates.iter().flat_map(|one| one.tags).map(String::as_str).collect();
                tags.sort_unstable();
                tags.dedup();
                let near = nearest(tag, tags.into_iter().map(|tag| (tag, format!("@{tag}"))));
                Unmatched { what: format!("no resource with the tag @{tag}"), near }
            }
        }
    }
}

fn wrong(word: &str, why: &str) -> Error {
    Error::Usage(format!("{:?} {why}", printable(word.as_bytes())))
}

/// A name or glob, with its kind.
fn one(word: &str) -> Result<What> {
    let (kind, name) = match word.split_once(':') {
        Some((word, name)) => {
            let unknown = "is no kind of resource; write NAME, jail:NAME, template:NAME or release:NAME";
            (named_kind(word).ok_or_else(|| wrong(word, unknown))?, name)
        }
        None => (ResourceKind::Jail, word),
    };
    if !name.contains(['*', '?', '[', ']']) {
        check_name(name)?;
        return Ok(What::Name { kind, name: name.to_owned() });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-*?[]!".contains(c);
    if name.len() > 200 || !name.chars().all(allowed) {
        return Err(wrong(
            name,
            "is no pattern for names; use letters, digits, '.', '_', '-', *, ?, [a-c] and [!a-c]",
        ));
    }
    // Several stars in a row have a meaning for paths, which names are not.
    let mut simple = String::with_capacity(name.len());
    for c in name.chars() {
        if c != '*' || !simple.ends_with('*') {
            simple.push(c);
        }
    }
    let glob =
        glob::Pattern::new(&simple).map_err(|error| wrong(name, &format!("is no pattern: {}", error.msg)))?;
    Ok(What::Glob { kind, glob })
}

/// Refuses what cannot be a tag: it is of letters, digits, `.`, `_` and `-`, begins with a letter or digit, and has at most 64
/// of them.
pub fn check_tag(tag: &str) -> Result<()> {
    let good = tag.len() <= TAG_BYTES
        && tag.starts_with(|c: char| c.is_ascii_alphanumeric())
        && tag.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if good {
        return Ok(());
    }
    Err(wrong(tag, "is no tag; use up to 64 letters, digits, '.', '_' and '-', the first a letter or digit"))
}

/// Names like `name`; the same name of another kind comes first.
fn near_names(kind: ResourceKind, name: &str, candidates: &[Candidate<'_>]) -> Vec<String> {
    let written = |candidate: &Candidate<'_>| match candidate.kind {
        ResourceKind::Jail => candidate.name.to_owned(),
        other => format!("{}:{}", kind_name(other), candidate.name),
    };
    let other = candidates.iter().find(|one| one.kind != kind && one.name == name);
    let like = candidates.iter().filter(|one| one.kind == kind).map(|one| (one.name, written(one)));
    other.map(written).into_iter().chain(nearest(name, like)).take(NEAR).collect()
}

/// Those of `known` that differ least from `word`, if they differ by a slip of the finger.
fn nearest<'a>(word: &str, known: impl Iterator<Item = (&'a str, String)>) -> Vec<String> {
    let most = word.chars().count().div_ceil(3).min(3);
    let mut found: Vec<(usize, String)> = known
        .map(|(name, written)| (strsim::osa_distance(&word.to_lowercase(), &name.to_lowercase()), written))
        .filter(|&(distance, _)| distance <= most)
        .collect();
    found.sort();
    let least = found.first().map(|&(distance, _)| distance);
    found.retain(|&(distance, _)| Some(distance) == least);
    found.into_iter().take(NEAR).map(|(_, written)| written).collect()
}
