//! Reading of a file only what is wanted.
//!
//! The [table](crate::archive::table) of a compressed archive tells where members begin. It is believed nothing: the index that it leads
//! to must prove the seal, or else the archive is read from front to back; and each member that it leads to must have
//! the header and the digest of its line, or else the archive is damaged.

use std::io::{self, BufRead as _, Read as _};
use std::sync::Arc;

use super::content::MemberContent;
use super::decompress::{self, Chunked};
use super::file::{Plain, Range, ReadAt, read_vec};
use super::held::Held;
use super::index::{ContentReader, Item, Sealed, read_lines};
use super::runs::{Answers, Finder, Run};
use super::tar::{self, Tar, is_named, plain_extents};
use super::{Terms, Visitor, input_error, read_stream};
use crate::archive::bounds::MAX_LINE_BYTES;
use crate::archive::check::{Checker, is_member};
use crate::archive::format::INDEX;
use crate::archive::header::{Decoded, line_in_header};
use crate::archive::index::{Parsed, Role, parse};
use crate::archive::signature::{Expected, Signed};
use crate::archive::table::{End, MAX_BYTES, Table};
use crate::archive::{Error, Line, Result, Seal, gzip, zstd};

/// Reads what `visitor` wants.
pub(super) fn read(file: &Arc<dyn ReadAt>, terms: &Terms, visitor: &mut dyn Visitor) -> Result<Seal> {
    let failed = |source| input_error(&terms.name, source);
    let head = read_vec(&**file, 0, gzip::HEADER_BYTES).map_err(failed)?;
    let kind = match <&[u8; gzip::HEADER_BYTES]>::try_from(&head[..]) {
        Ok(head) if gzip::member_length(head).is_some() => Chunked::Gzip,
        Ok(head) if head.starts_with(zstd::MAGIC) => Chunked::Zstd,
        _ if decompress::is_compressed(&head) => return in_sequence(file, terms, None, visitor),
        _ => return tar::read(Box::new(Plain::new(file)), terms, None, visitor),
    };
    match table(&**file, kind).map_err(failed)? {
        Some(table) => Selected { file, terms, kind, table }.read(visitor),
        None => in_sequence(file, terms, None, visitor),
    }
}

fn in_sequence(
    file: &Arc<dyn ReadAt>,
    terms: &Terms,
    known: Option<&[u8]>,
    visitor: &mut dyn Visitor,
) -> Result<Seal> {
    read_stream(Box::new(Range::whole(file)), terms, known, visitor)
}

/// The table at the end of a file, if it is whole.
pub(super) fn table(file: &dyn ReadAt, kind: Chunked) -> io::Result<Option<Table>> {
    let size = file.size()?;
    let end_bytes = match kind {
        Chunked::Gzip => gzip::END_MEMBER_BYTES,
        Chunked::Zstd => zstd::END_FRAME_BYTES,
    };
    let Some(end_at) = size.checked_sub(end_bytes as u64) else { return Ok(None) };
    let Some(end) = end(kind, &read_vec(file, end_at, end_bytes)?) else { return Ok(None) };
    let length = end_at.checked_sub(end.table_at).filter(|length| *length <= MAX_BYTES);
    let Some(length) = length.and_then(|length| usize::try_from(length).ok()) else { return Ok(None) };
    let parts = read_vec(file, end.table_at, length)?;
    Ok(data_of_parts(kind, &parts).and_then(|data| Table::new(data, end)))
}

fn end(kind: Chunked, bytes: &[u8]) -> Option<End> {
    match kind {
        Chunked::Gzip => {
            let known = gzip::member_length(bytes.first_chunk()?) == Some(bytes.len());
            match gzip::sort(bytes).ok().filter(|_| known)? {
                gzip::Sort::End(data) => End::parse(data),
                _ => None,
            }
        }
        Chunked::Zstd => {
            let (header, data) = bytes.split_first_chunk()?;
            match zstd::skippable(*header, data) {
                zstd::Skippable::End(data) => End::parse(data),
                _ => None,
            }
        }
    }
}

pub(super) fn data_of_parts(kind: Chunked, mut parts: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    while !parts.is_empty() {
        let length = match kind {
            Chunked::Gzip => gzip::member_length(parts.first_chunk()?)?,
            Chunked::Zstd => {
                let data = zstd::skippable_length(*parts.first_chunk()?)?;
                usize::try_from(data).ok()?.checked_add(zstd::SKIPPABLE_HEADER_BYTES)?
            }
        };
        let (part, rest) = parts.split_at_checked(length)?;
        let data = match kind {
            Chunked::Gzip => match gzip::sort(part).ok()? {
                gzip::Sort::Part(data) => data,
                _ => return None,
            },
            Chunked::Zstd => {
                let (header, data) = part.split_first_chunk()?;
                match zstd::skippable(*header, data) {
                    zstd::Skippable::Part(data) => data,
                    _ => return None,
                }
            }
        };
        all.extend_from_slice(data);
        parts = rest;
    }
    Some(all)
}

struct Selected<'a> {
    file: &'a Arc<dyn ReadAt>,
    terms: &'a Terms,
    kind: Chunked,
    table: Table,
}

/// What the first reading of the index found.
struct Proven {
    sealed: Sealed,
    signed: Option<Signed>,
    answers: Answers,
    runs: Vec<Run>,
}

impl Selected<'_> {
    fn read(&self, visitor: &mut dyn Visitor) -> Result<Seal> {
        let (manifest, json) = self.open(0, self.table.end.table_at, 1)?.manifest()?;
        let expected = Expected::new(&manifest, &self.terms.keys, &self.terms.name)?;
        let checker = Checker::new(&manifest)?;
        visitor.manifest(&manifest)?;
        let proven = match self.prove(checker, (&json, &expected), visitor) {
            // It is not where the table says, or the archive is damaged: reading from front to back tells.
            Err(Error::Damaged(_) | Error::Refused(_)) => {
                return in_sequence(self.file, self.terms, Some(&json), visitor);
            }
            proven => proven?,
        };
        if let Some(signed) = &proven.signed {
            visitor.signature(signed)?;
        }
        if proven.answers.wanted > 0 {
            self.members(&proven, visitor)?;
        }
        let mut held = Held::new(&expected, visitor)?;
        let (again, _) = self.index(&json, &mut |item| held.give(&item, visitor))?;
        if again != proven.sealed {
            return Err(self.damaged("its index changed while it was read"));
        }
        held.release(visitor)?;
        Ok(again.seal)
    }

    /// Proves the index, and finds out what is wanted, and where it is.
    fn prove(
        &self,
        mut checker: Checker,
        (manifest, expected): (&[u8], &Expected<'_>),
        visitor: &mut dyn Visitor,
    ) -> Result<Proven> {
        let mut answers = Answers::default();
        let mut runs: Vec<Run> = Vec::new();
        let mut finder = Finder::new(&self.table);
        let mut members = 0;
        let (sealed, signature) = self.index(manifest, &mut |item| {
            let line = match item {
                Item::Line(line) => line,
                Item::Failure(failure) => {
                    answers.push(false, false);
                    return checker.failure(&failure);
                }
            };
            checker.line_alone(&line)?;
            let member = is_member(&line);
            let wanted = member && visitor.wants(&line_in_header(&line));
            answers.push(member, wanted);
            if wanted {
                let (first, last) = finder.find(members).ok_or_else(|| self.damaged("its table is wrong"))?;
                Run::add(&mut runs, first, last, members);
            }
            members += u64::from(member);
            Ok(())
        })?;
        checker.seal(&sealed.seal, sealed.digest)?;
        let signed = expected.check(&sealed.line, signature.as_deref())?;
        Ok(Proven { sealed, signed, answers, runs })
    }

    /// Hands over what is wanted, in the order of the archive.
    fn members(&self, proven: &Proven, visitor: &mut dyn Visitor) -> Result<()> {
        let mut runs = proven.runs.iter();
        let mut walk: Option<Walk> = None;
        let mut number = 0;
        let mut left = proven.answers.wanted;
        let mut lines = self.lines()?;
        lines.each(&mut |at, json| {
            let (member, wanted) = proven.answers.get(at);
            let own = number;
            number += u64::from(member);
            if !wanted {
                return Ok(true);
            }
            if walk.as_ref().is_none_or(|walk| walk.until < own) {
                walk = runs.next().map(|run| self.walk(run)).transpose()?;
            }
            let changed = || self.damaged("its index changed while it was read");
            let Ok(Parsed::Line(line)) = parse(json) else { return Err(changed()) };
            walk.as_mut().ok_or_else(changed)?.member(own, &line, visitor)?;
            left -= 1;
            Ok(left > 0)
        })
    }

    fn walk(&self, run: &Run) -> Result<Walk> {
        let (at, line) =
            run.first.content.header.ok_or_else(|| self.damaged("its table of offsets is wrong"))?;
        let count = run.last.number - run.first.number + 1;
        let mut tar = self.open(run.first.at, run.last.end, count)?;
        tar.input.pass(at)?;
        Ok(Walk { tar, next: line, begun: false, until: run.until })
    }

    /// The tar stream of so many chunks.
    fn open(&self, at: u64, end: u64, chunks: u64) -> Result<Tar> {
        let stream = decompress::open_chunks(Range::new(self.file, at, end), self.kind, chunks);
        let stream = stream.map_err(|error| input_error(&self.terms.name, error))?;
        Ok(Tar::new(Box::new(stream), self.terms))
    }

    /// The tar stream behind the header of the index, and the length of the index.
    fn open_index(&self) -> Result<(Tar, u64)> {
        let end = self.table.end;
        let mut around = self.table.chunks().filter(|chunk| {
            chunk.plain_at <= end.index_at && end.index_at - chunk.plain_at < chunk.content.plain_bytes
        });
        let first = around.next().ok_or_else(|| self.damaged("its index is nowhere"))?;
        let mut tar = self.open(first.at, end.table_at, end.chunks - first.number)?;
        tar.input.pass(end.index_at - first.plain_at)?;
        let header = tar.next()?.ok_or_else(|| self.damaged("it has no index"))?;
        if !is_named(&header.line.name, INDEX) {
            return Err(self.damaged("its index is elsewhere"));
        }
        tar.check_index(&header)?;
        Ok((tar, header.stored_bytes))
    }

    /// Reads the whole index, and its signature.
    fn index(
        &self,
        manifest: &[u8],
        take: &mut dyn FnMut(Item) -> Result<()>,
    ) -> Result<(Sealed, Option<Vec<u8>>)> {
        let (mut tar, size) = self.open_index()?;
        let mut content = MemberContent::new(&mut tar.input, plain_extents(size), size);
        let failed = |source| Error::Io { action: "read", subject: "the index".to_owned(), source };
        let read = read_lines(&mut ContentReader::new(&mut content), manifest, take, &failed);
        let mut sealed = None;
        content.finish(read.map(|read| sealed = Some(read)))?;
        let signature = tar.index_end(size)?;
        Ok((sealed.ok_or_else(|| self.damaged("it has no seal"))?, signature))
    }

    fn lines(&self) -> Result<RawLines> {
        let (tar, size) = self.open_index()?;
        Ok(RawLines { tar, size })
    }

    fn damaged(&self, why: &str) -> Error {
        Error::Damaged(format!("{}: {why}", self.terms.name))
    }
}

/// The lines of an index that was proven, as they are.
struct RawLines {
    tar: Tar,
    size: u64,
}

impl RawLines {
    /// Hands each line with its number to `take` until that returns false.
    fn each(&mut self, take: &mut dyn FnMut(usize, &[u8]) -> Result<bool>) -> Result<()> {
        let mut content = MemberContent::new(&mut self.tar.input, plain_extents(self.size), self.size);
        let taken = Self::take_each(&mut ContentReader::new(&mut content), take);
        // What went wrong with the archive explains what went wrong with its lines.
        taken.or_else(|error| content.finish(Err(error)).map(drop))
    }

    fn take_each(
        lines: &mut ContentReader<'_>,
        take: &mut dyn FnMut(usize, &[u8]) -> Result<bool>,
    ) -> Result<()> {
        let mut json = Vec::new();
        for number in 0.. {
            json.clear();
            let read = lines.take(MAX_LINE_BYTES).read_until(b'\n', &mut json);
            read.map_err(|source| Error::Io { action: "read", subject: "the index".to_owned(), source })?;
            if json.is_empty() || !take(number, &json)? {
                break;
            }
        }
        Ok(())
    }
}

/// Goes from header to header.
struct Walk {
    tar: Tar,
    /// Number of the member whose header came last, or comes first.
    next: u64,
    begun: bool,
    /// Number of the last member here that is wanted.
    until: u64,
}

impl Walk {
    /// Goes to a member, which must be what its line says, and hands it over.
    fn member(&mut self, number: u64, line: &Line, visitor: &mut dyn Visitor) -> Result<()> {
        let expected = line_in_header(line);
        let wrong = || Error::Damaged(format!("{} is not what the index says, or not where", line.name));
        // A header that was found, which may be superseded by one that follows.
        let mut found = false;
        loop {
            let header = self.header()?.ok_or_else(wrong)?;
            if self.next > number || (found && self.next != number) {
                return Err(wrong());
            }
            if self.next < number {
                self.tar.hand_over(header, None)?;
                continue;
            }
            found = true;
            let is_it = header.line == expected;
            let read = self.tar.hand_over(header, is_it.then_some(&mut *visitor))?;
            let same = match (&read.role, &line.role) {
                (Role::Member { digest: found }, Role::Member { digest }) => found == digest,
                _ => true,
            };
            if is_it && same {
                return Ok(());
            }
        }
    }

    fn header(&mut self) -> Result<Option<Decoded>> {
        let header = self.tar.next()?;
        if let Some(header) = &header
            && std::mem::replace(&mut self.begun, true)
            && header.attempt == 1
        {
            self.next += 1;
        }
        Ok(header)
    }
}
