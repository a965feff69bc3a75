//! What the index says before anything is extracted.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::archive::index::Role;
use crate::archive::{self, Failure, Line, Manifest, MemberName, Visitor};
use crate::error::{Error, Result};
use crate::input::Input;
use crate::keys::Keys;
use crate::listing::not_whole;
use crate::locator::{Locator, Part};
use crate::tree::{Content, Kind, TreePath};

/// Finds hard links to what lies outside of a subtree, and whether the base is needed.
pub(super) struct Survey<'a> {
    locator: &'a Locator,
    dataset: &'a str,
    interrupted: &'a AtomicBool,
    part: Option<Part>,
    /// Members outside of the subtree that have other names in it, with the first of these.
    pub(super) outside: HashMap<MemberName, TreePath>,
    /// Whether nothing of the base is needed.
    pub(super) complete: bool,
    /// In the second reading: how many of those outside are members. Others only the base has.
    members: Option<usize>,
}

impl<'a> Survey<'a> {
    pub(super) fn of(
        (archive, keys): (&Path, &Keys),
        locator: &'a Locator,
        dataset: &'a str,
        interrupted: &'a Arc<AtomicBool>,
    ) -> Result<Self> {
        let outside = HashMap::new();
        let mut this =
            Self { locator, dataset, interrupted, part: None, outside, complete: false, members: None };
        let input = || Input::Path(archive.to_owned()).with(keys.clone());
        this.read(input(), interrupted)?;
        if this.complete && !this.outside.is_empty() {
            this.members = Some(0);
            this.read(input(), interrupted)?;
            this.complete = this.members == Some(this.outside.len());
        }
        Ok(this)
    }

    fn read(&mut self, input: Input, interrupted: &Arc<AtomicBool>) -> Result<()> {
        let opened = input.open(interrupted)?;
        let read = archive::select(opened.source, &opened.name, self).map_err(Error::from);
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        read.map(drop)
    }
}

impl Visitor for Survey<'_> {
    fn manifest(&mut self, manifest: &Manifest) -> archive::Result<()> {
        self.part = Some(Part::find(manifest, self.locator, self.dataset)?);
        Ok(())
    }

    fn wants(&mut self, _: &Line) -> bool {
        false
    }

    fn member(&mut self, _: &Line, _: Option<&mut dyn Content>) -> archive::Result<()> {
        Ok(())
    }

    fn line(&mut self, line: &Line) -> archive::Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted.into());
        }
        if let Some(members) = &mut self.members {
            let is_member = matches!(line.role, Role::Member { .. });
            *members += usize::from(is_member && self.outside.contains_key(&line.name));
            return Ok(());
        }
        let Some(part) = &self.part else { return Ok(()) };
        let Some(path) = part.of_line(line) else { return Ok(()) };
        if let Role::Link { to } = &line.role
            && part.in_dataset(to).is_none_or(|to| part.below(&to).is_none())
        {
            self.outside.entry(to.clone()).or_insert_with(|| path.clone());
        }
        self.complete |= path == part.path && needs_no_base(line);
        Ok(())
    }

    fn failure(&mut self, failure: &Failure) -> archive::Result<()> {
        refuse_failed(self.part.as_ref(), failure)
    }
}

pub(super) fn refuse_failed(part: Option<&Part>, failure: &Failure) -> archive::Result<()> {
    match part.filter(|part| part.resource == failure.resource as usize) {
        Some(part) => Err(not_whole(part, failure).into()),
        None => Ok(()),
    }
}

/// Whether the archive holds all that lies at and below the path of a line, if it holds what that is linked to.
pub(super) fn needs_no_base(line: &Line) -> bool {
    let Some(entry) = &line.entry else { return true };
    match line.role {
        Role::Member { .. } if entry.kind == Kind::Directory => {
            line.replaced.as_ref().is_none_or(|was| was.kind != Kind::Directory)
        }
        Role::Member { .. } | Role::Link { .. } | Role::Unarchived | Role::Deleted => true,
        Role::Metadata { .. } => false,
    }
}
