//! The members of a tar file that another program wrote: no manifest announces them, and no index describes them.
//!
//! Headers, names, sizes and compression are checked as those of remand's own archives are. What the members may be is for the
//! caller to know.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::content::TarStream;
use super::file::{Plain, Range, ReadAt, read_vec};
use super::tar::{Tar, has_content};
use super::{Terms, Visitor, decompress, input_error};
use crate::archive::index::Failure;
use crate::archive::table::Audit;
use crate::archive::{Line, Manifest, Result, gzip};
use crate::tree::Content;

/// Takes a member, with its content if it has some.
pub(crate) type Take<'a> = dyn FnMut(&Line, Option<&mut dyn Content>) -> Result<()> + 'a;

/// All bytes of a file, from front to back.
pub(crate) fn whole(file: &Arc<dyn ReadAt>) -> Box<dyn Read + Send> {
    Box::new(Range::whole(file))
}

/// Hands over those members of the tar file called `name` that are wanted, in its order; the others are passed by.
pub(crate) fn members(
    file: &Arc<dyn ReadAt>,
    (name, interrupted): (&str, &Arc<AtomicBool>),
    wants: &mut dyn FnMut(&Line) -> bool,
    take: &mut Take<'_>,
) -> Result<()> {
    let failed = |error| input_error(name, error);
    let head = read_vec(&**file, 0, gzip::HEADER_BYTES).map_err(failed)?;
    let stream: Box<dyn TarStream> = if decompress::is_compressed(&head) {
        let plain = decompress::open(whole(file), decompress::Ahead::Yes, &Audit::default());
        Box::new(plain.map_err(failed)?)
    } else {
        Box::new(Plain::new(file))
    };
    let terms = Terms { interrupted: Arc::clone(interrupted), ..Terms::new(name) };
    let mut tar = Tar::new(stream, &terms);
    while let Some(member) = tar.next_foreign()? {
        if wants(&member.line) {
            tar.hand_over(member, Some(&mut Taker(take)))?;
        } else if has_content(&member.line) && tar.skip(&member).is_none() {
            tar.input.pass(member.stored_bytes)?;
            tar.padding(member.stored_bytes)?;
        }
    }
    Ok(())
}

/// The first member of what may be a tar file, with the first bytes of its content, `head_bytes` at most. No more is read than that
/// takes.
pub(crate) fn first_member(
    stream: Box<dyn Read + Send>,
    name: &str,
    head_bytes: usize,
) -> Result<Option<(Line, Vec<u8>)>> {
    let plain = decompress::open(stream, decompress::Ahead::No, &Audit::default());
    let plain = plain.map_err(|error| input_error(name, error))?;
    let mut tar = Tar::new(Box::new(plain), &Terms::new(name));
    let Some(member) = tar.next_foreign()? else { return Ok(None) };
    let head = if has_content(&member.line) {
        tar.input.read_vec(member.stored_bytes.min(head_bytes as u64))?
    } else {
        Vec::new()
    };
    Ok(Some((member.line, head)))
}

/// Hands a member's content to a function.
struct Taker<'a, 'b>(&'a mut Take<'b>);

impl Visitor for Taker<'_, '_> {
    fn manifest(&mut self, _: &Manifest) -> Result<()> {
        Ok(())
    }

    fn member(&mut self, line: &Line, content: Option<&mut dyn Content>) -> Result<()> {
        (self.0)(line, content)
    }

    fn line(&mut self, _: &Line) -> Result<()> {
        Ok(())
    }

    fn failure(&mut self, _: &Failure) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
