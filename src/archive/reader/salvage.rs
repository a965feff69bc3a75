//! Reading of a damaged archive what a [`Survey`] has found whole, for the same visitors as a whole archive is read for.
//!
//! Every content is compared with its digest once more: an archive that changes between the two readings is refused.

use super::directory::Files;
use super::lines::{LinesReader, Raw};
use super::survey::{Rescue, Survey, failures, pieces};
use super::walk::Walk;
use super::{Opened, Source, Terms, Visitor, open_decrypted};
use crate::archive::check::is_member;
use crate::archive::header::{Decoded, line_in_header};
use crate::archive::index::{Parsed, Role};
use crate::archive::{Error, Line, Manifest, Result};
use crate::tree::{Kind, Tree};

/// Hands over what is whole; with `unproven` also what only one witness tells of. The archive must be a file or a directory, the same that
/// the survey is of.
pub fn salvage(
    source: Source,
    name: &str,
    survey: &Survey,
    unproven: bool,
    visitor: &mut dyn Visitor,
) -> Result<()> {
    let manifest = survey.manifest.as_ref();
    let manifest: &Manifest = manifest.ok_or_else(|| {
        Error::Damaged(format!(
            "the manifest of {name} is lost, so nothing can be restored; tar(1) extracts files"
        ))
    })?;
    let mut lines = Cursor { lines: survey.lines.read()?, survey, unproven, number: 0 };
    let (opened, terms) = open_decrypted(source, name)?;
    match opened {
        Opened::Stream(_) => return Err(Error::Refused(format!("{name} cannot be read twice"))),
        Opened::File(file) => {
            visitor.manifest(manifest)?;
            let (pieces, _broken) = pieces(&file, name)?;
            members(Walk::new(pieces, &terms)?, survey, unproven, &mut lines, visitor)?;
        }
        Opened::Directory(tree) => {
            visitor.manifest(manifest)?;
            files(&tree, &terms, &mut lines, visitor)?;
        }
    }
    let mut lines = Cursor { lines: survey.lines.read()?, survey, unproven, number: 0 };
    while let Some((_, line)) = lines.next()? {
        visitor.line(&line)?;
    }
    for failure in failures(&survey.lines)? {
        visitor.failure(&failure)?;
    }
    Ok(())
}

/// Goes through the lines that are used.
struct Cursor<'a> {
    lines: LinesReader,
    survey: &'a Survey,
    unproven: bool,
    number: usize,
}

impl Cursor<'_> {
    fn next(&mut self) -> Result<Option<(usize, Line)>> {
        while let Some(Raw { parsed, .. }) = self.lines.next()? {
            let Parsed::Line(line) = parsed else { continue };
            let number = self.number;
            self.number += 1;
            match self.survey.states.get(number) {
                Some(Rescue::Whole) => return Ok(Some((number, *line))),
                Some(Rescue::Unproven) if self.unproven => return Ok(Some((number, *line))),
                _ => {}
            }
        }
        Ok(None)
    }

    /// Hands over what needs no content up to the line `until`, and returns that.
    fn pass(&mut self, until: Option<usize>, visitor: &mut dyn Visitor) -> Result<Option<Line>> {
        while let Some((number, line)) = self.next()? {
            if Some(number) == until {
                return Ok(Some(line));
            }
            let own = line_in_header(&line);
            if is_member(&line) && !has_content(&line) && visitor.wants(&own) {
                visitor.member(&own, None)?;
            }
        }
        Ok(None)
    }
}

fn has_content(line: &Line) -> bool {
    let is_file = line.entry.as_ref().is_some_and(|entry| entry.kind == Kind::File);
    is_file && matches!(line.role, Role::Member { .. })
}

/// Members of a TAR archive. What has no content comes from the lines, each at its place between those that have.
fn members(
    mut walk: Walk,
    survey: &Survey,
    unproven: bool,
    lines: &mut Cursor<'_>,
    visitor: &mut dyn Visitor,
) -> Result<()> {
    let changed = || Error::Damaged("it changed while it was read".to_owned());
    let mut ordinal = 0;
    while let Some(member) = walk.next()? {
        let claim = survey.claims.get(ordinal).copied().ok_or_else(changed)?;
        // What disagrees with what no archive may say is not used, though it has a line.
        let claim = claim.filter(|number| survey.states.get(*number) == Some(&Rescue::Whole));
        let is_unproven = unproven && survey.unproven.contains(&ordinal);
        ordinal += 1;
        let content = has_content(&member.line);
        let line = match claim {
            Some(number) if content => Some(lines.pass(Some(number), visitor)?.ok_or_else(changed)?),
            None if is_unproven => Some(member.line.clone()),
            _ => None,
        };
        let Some(line) = line else {
            walk.content(member, None)?;
            continue;
        };
        let own = line_in_header(&line);
        if !visitor.wants(&own) {
            walk.content(member, None)?;
            continue;
        }
        let read = walk.content(Decoded { line: own, ..member }, Some(&mut *visitor))?;
        let digest = read.map(|read| read.role);
        if claim.is_some() && digest != Some(line.role.clone()) {
            return Err(changed());
        }
    }
    lines.pass(None, visitor).map(drop)
}

fn files(tree: &Tree, terms: &Terms, lines: &mut Cursor<'_>, visitor: &mut dyn Visitor) -> Result<()> {
    let mut files = Files::new(tree, terms);
    while let Some((_, line)) = lines.next()? {
        if has_content(&line) {
            files.member(&line, visitor)?;
        } else if is_member(&line) {
            let own = line_in_header(&line);
            if visitor.wants(&own) {
                visitor.member(&own, None)?;
            }
        }
    }
    Ok(())
}
