//! What is in an archive: the entries of one of its datasets, from the index.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::archive::index::Role;
use crate::archive::{self, Failure, Line, Manifest, Visitor};
use crate::confine::{self, Allowed};
use crate::diff::{Difference, of_line};
use crate::error::{Error, Result};
use crate::input::Input;
use crate::locator::{Locator, Part};
use crate::tree::{Content, Entry, TreePath};

/// An entry of an archive.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Path in the dataset; the root is empty.
    pub path: TreePath,
    /// What it is; none if the base has it and the resource does not.
    pub entry: Option<Entry>,
    /// Another name of it that comes before: the path in the dataset, or in another resource the member.
    pub link: Option<String>,
    /// How it differs from the base, in what holds only such entries.
    pub difference: Option<Difference>,
    /// It changed while it was read; what is archived may be a mixture.
    pub unstable: bool,
}

/// Hands the entries at and below a path to `consume`, in the order of the archive, and returns how many there were. When it returns,
/// the archive's seal has proven them. Where a signature is required none is handed over before that is proven.
pub fn list(
    mut input: Input,
    locator: &Locator,
    dataset: &str,
    interrupted: &Arc<AtomicBool>,
    consume: &mut (dyn FnMut(Listed) -> Result<()> + Send),
) -> Result<u64> {
    let is_foreign = input.is_foreign()?;
    let allowed = Allowed::nothing().and_temporary(input.must_be_signed() || is_foreign);
    confine::run(&allowed, || read(input, locator, dataset, interrupted, consume))
}

fn read(
    input: Input,
    locator: &Locator,
    dataset: &str,
    interrupted: &Arc<AtomicBool>,
    consume: &mut dyn FnMut(Listed) -> Result<()>,
) -> Result<u64> {
    let opened = input.open(interrupted)?;
    let mut lister = Lister { locator, dataset, interrupted, consume, part: None, found: 0 };
    let read = archive::select(opened.source, &opened.name, &mut lister).map_err(Error::from);
    if interrupted.load(Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    read?;
    match (&lister.part, lister.found) {
        (Some(part), 0) => Err(part.not_there()),
        (_, found) => Ok(found),
    }
}

struct Lister<'a> {
    locator: &'a Locator,
    dataset: &'a str,
    interrupted: &'a AtomicBool,
    consume: &'a mut dyn FnMut(Listed) -> Result<()>,
    part: Option<Part>,
    found: u64,
}

impl Visitor for Lister<'_> {
    fn manifest(&mut self, manifest: &Manifest) -> archive::Result<()> {
        self.part = Some(Part::find(manifest, self.locator, self.dataset)?);
        Ok(())
    }

    fn wants(&mut self, _: &Line) -> bool {
        false
    }

    fn shows_lines(&self) -> bool {
        true
    }

    fn member(&mut self, _: &Line, _: Option<&mut dyn Content>) -> archive::Result<()> {
        Ok(())
    }

    fn line(&mut self, line: &Line) -> archive::Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted.into());
        }
        let Some(part) = &self.part else { return Ok(()) };
        let Some(path) = part.of_line(line) else { return Ok(()) };
        self.found += 1;
        let other_name = match &line.role {
            Role::Link { to } => {
                Some(part.in_dataset(to).map_or_else(|| to.to_string(), |path| format!("/{path}")))
            }
            _ => None,
        };
        let difference = part.is_delta.then(|| of_line(line, path.clone()));
        let entry = line.entry.clone();
        let unstable = line.unstable;
        Ok((self.consume)(Listed { path, entry, link: other_name, difference, unstable })?)
    }

    fn failure(&mut self, failure: &Failure) -> archive::Result<()> {
        match &self.part {
            Some(part) if part.resource == failure.resource as usize => Err(not_whole(part, failure).into()),
            _ => Ok(()),
        }
    }
}

/// Nothing of a resource that failed may be used.
pub(crate) fn not_whole(part: &Part, failure: &Failure) -> Error {
    let whose = part.resource_label();
    Error::Unsupported(format!(
        "The {whose} failed while it was exported, and is not whole: {}",
        failure.error
    ))
}
