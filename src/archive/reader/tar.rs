//! Reading TAR.

use super::content::{Input, MemberContent, TarStream};
use super::held::Held;
use super::index::{ContentReader, check_lines};
use super::{Terms, Visitor};
use crate::archive::bounds::{MAX_MANIFEST_BYTES, MAX_NAME_BYTES, MAX_PAX_BYTES, MAX_SIGNATURE_BYTES};
use crate::archive::check::Checker;
use crate::archive::format::{INDEX, MANIFEST, SIGNATURE};
use crate::archive::header::{self, Decoded, Extended};
use crate::archive::index::Role;
use crate::archive::manifest::{Foreign, Unusable};
use crate::archive::signature::Expected;
use crate::archive::sparse::{BLOCK, MapParser};
use crate::archive::writer::padding;
use crate::archive::wrong::Wrong;
use crate::archive::{Error, Line, Manifest, MemberName, Result, Seal, pax};
use crate::tree::{Extent, Kind};

/// Reads a whole archive. `known` is its manifest where the visitor has been given it.
pub(super) fn read(
    stream: Box<dyn TarStream>,
    terms: &Terms,
    known: Option<&[u8]>,
    visitor: &mut dyn Visitor,
) -> Result<Seal> {
    let mut tar = Tar::new(stream, terms);
    let (manifest, json) = tar.manifest()?;
    let name = &terms.name;
    let expected = Expected::new(&manifest, &terms.keys, name)?;
    let mut checker = Checker::new(&manifest)?;
    match known {
        None => visitor.manifest(&manifest)?,
        Some(known) if known == json => {}
        Some(_) => return Err(tar.damaged("it changed while it was read")),
    }
    let mut members = 0_u64;
    loop {
        let Some(member) = tar.next()? else {
            return Err(Error::Damaged(format!("{name} has no index")));
        };
        if is_named(&member.line.name, INDEX) {
            tar.input.begin_member(tar.began_at, members);
            return tar.index(&member, (&json, &expected), &mut checker, visitor);
        }
        // All attempts at a member have the number of the first.
        members += u64::from(member.attempt == 1);
        tar.input.begin_member(tar.began_at, members.saturating_sub(1));
        tar.member(member, &mut checker, visitor)?;
    }
}

/// Reads the manifest alone.
pub(super) fn read_manifest(stream: Box<dyn TarStream>, terms: &Terms) -> Result<Manifest> {
    Ok(Tar::new(stream, terms).manifest()?.0)
}

pub(super) fn is_named(name: &MemberName, own: &str) -> bool {
    name.path().as_bytes() == own.as_bytes()
}

/// A tar stream.
pub(super) struct Tar {
    pub(super) input: Input,
    name: String,
    /// What another tool wrote is told apart from what the bytes say of themselves.
    foreign: Option<Foreign>,
    /// Where the first block of the last header was.
    pub(super) began_at: u64,
}

impl Tar {
    pub(super) fn new(stream: Box<dyn TarStream>, terms: &Terms) -> Self {
        Self {
            input: Input::new(stream, terms),
            name: terms.name.clone(),
            foreign: terms.origin.as_ref().map(|origin| origin.foreign.clone()),
            began_at: 0,
        }
    }

    /// The first member, with its bytes.
    pub(super) fn manifest(&mut self) -> Result<(Manifest, Vec<u8>)> {
        let name = self.name.clone();
        let none = |why: &str| {
            Error::Refused(format!("{name} has no manifest; {why}, so it was not written by remand"))
        };
        let Some((header, extended)) = self.header()? else { return Err(none("it is empty")) };
        let own_name = header::field_name(&header);
        if own_name.strip_prefix(b"./").unwrap_or(&own_name) != MANIFEST.as_bytes() {
            let first = crate::tree::path::printable(&own_name);
            return Err(none(&format!("it begins with \"{first}\"")));
        }
        let member = self.decode(&header, &extended)?;
        let is_file = member.line.entry.as_ref().is_some_and(|entry| entry.kind == Kind::File);
        if !is_file || !is_named(&member.line.name, MANIFEST) || member.sparse || member.attempt != 1 {
            return Err(none("its first member is not ./manifest.json"));
        }
        if member.stored_bytes > MAX_MANIFEST_BYTES {
            return Err(Error::Refused(format!("the manifest of {} is too long", self.name)));
        }
        let json = self.input.read_vec(member.stored_bytes)?;
        let mut manifest = Manifest::from_json(&json).map_err(|error| unusable(&self.name, &error))?;
        manifest.foreign.clone_from(&self.foreign);
        self.padding(member.stored_bytes)?;
        Ok((manifest, json))
    }

    /// The next member's header; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Decoded>> {
        match self.header()? {
            Some((header, extended)) => self.decode(&header, &extended).map(Some),
            None => Ok(None),
        }
    }

    /// The same in a file that another program wrote.
    pub(super) fn next_foreign(&mut self) -> Result<Option<Decoded>> {
        let Some((header, extended)) = self.header()? else { return Ok(None) };
        header::decode_foreign(&header, &extended).map_err(|wrong| self.about(wrong, &header)).map(Some)
    }

    fn decode(&self, header: &tar::Header, extended: &Extended) -> Result<Decoded> {
        header::decode(header, extended).map_err(|wrong| self.about(wrong, header))
    }

    fn about(&self, wrong: Wrong, header: &tar::Header) -> Error {
        let name = crate::tree::path::printable(&header::field_name(header));
        wrong.about(&format!("{name} in {}", self.name))
    }

    /// Blocks up to and including a member's own header.
    fn header(&mut self) -> Result<Option<(Box<tar::Header>, Extended)>> {
        let mut extended = Extended::default();
        let mut anything = false;
        self.began_at = self.input.position();
        loop {
            let mut block = Box::new(tar::Header::new_old());
            self.input.read_exact(block.as_mut_bytes())?;
            if header::is_zero(block.as_bytes()) {
                return if anything { Err(self.damaged("a header is missing")) } else { self.end() };
            }
            if !header::verify_checksum(&block) {
                return Err(self.damaged("a header's checksum is wrong"));
            }
            anything = true;
            let kind = block.entry_type().as_byte();
            if !matches!(kind, b'x' | b'g' | b'L' | b'K') {
                return Ok(Some((block, extended)));
            }
            let bytes = block.entry_size().map_err(|_| self.damaged("the size of a header is no number"))?;
            let most = if kind == b'x' { MAX_PAX_BYTES } else { MAX_NAME_BYTES as u64 + 1 };
            if bytes > most {
                return Err(Error::Refused(format!("a header of {} is too long", self.name)));
            }
            let content = self.input.read_vec(bytes)?;
            self.padding(bytes)?;
            let seen_before = match kind {
                b'x' if extended.records.is_empty() => {
                    extended.records = content;
                    false
                }
                b'L' => extended.long_name.replace(without_nul(content)).is_some(),
                b'K' => extended.long_link.replace(without_nul(content)).is_some(),
                b'g' => !only_comments(&content),
                _ => true,
            };
            if seen_before {
                return Err(Error::Refused(format!("{} has headers that do not go together", self.name)));
            }
        }
    }

    /// The second of the two zero blocks, and nothing but zeros after it.
    fn end<T>(&mut self) -> Result<Option<T>> {
        let mut block = [0; BLOCK];
        self.input.read_exact(&mut block)?;
        if !header::is_zero(&block) {
            return Err(self.damaged("a header is missing"));
        }
        self.input.expect_end()?;
        Ok(None)
    }

    fn member(&mut self, member: Decoded, checker: &mut Checker, visitor: &mut dyn Visitor) -> Result<()> {
        checker.member(&member.line, member.attempt)?;
        let wanted = visitor.wants(&member.line);
        if !wanted && has_content(&member.line) && self.skip(&member).is_some() {
            checker.member_skipped(&member.line);
            return Ok(());
        }
        let line = self.hand_over(member, wanted.then_some(visitor))?;
        checker.member_read(&line);
        Ok(())
    }

    /// Passes by a member's content without reading it; `None` if that is not possible.
    pub(super) fn skip(&mut self, member: &Decoded) -> Option<()> {
        let bytes = member.stored_bytes.checked_add(padding(member.stored_bytes) as u64)?;
        self.input.skip(bytes)
    }

    /// Reads a member's content and hands it over, if there is somebody; its line with the digest.
    pub(super) fn hand_over(&mut self, member: Decoded, visitor: Option<&mut dyn Visitor>) -> Result<Line> {
        let stored_bytes = if has_content(&member.line) { member.stored_bytes } else { 0 };
        let line = self.hand_over_content(member, visitor)?;
        self.padding(stored_bytes)?;
        Ok(line)
    }

    /// The same, up to what fills the last block.
    pub(super) fn hand_over_content(
        &mut self,
        member: Decoded,
        visitor: Option<&mut dyn Visitor>,
    ) -> Result<Line> {
        let Decoded { mut line, stored_bytes, sparse, .. } = member;
        if !has_content(&line) {
            visitor.map_or(Ok(()), |visitor| visitor.member(&line, None))?;
            return Ok(line);
        }
        let size = line.entry.as_ref().map_or(0, |entry| entry.size);
        let extents = if sparse { self.sparse_map(&line, stored_bytes, size)? } else { plain_extents(size) };
        let mut content = MemberContent::new(&mut self.input, extents, size);
        let visited = visitor.map_or(Ok(()), |visitor| visitor.member(&line, Some(&mut content)));
        let digest = content.finish(visited)?;
        line.role = Role::Member { digest: Some(digest) };
        Ok(line)
    }

    /// Reads the map before the data of a sparse member.
    fn sparse_map(&mut self, line: &Line, stored_bytes: u64, size: u64) -> Result<Vec<Extent>> {
        let refuse = |why: &str| Error::Refused(format!("{}: {why}", line.name));
        let mut parser = MapParser::new(size);
        let mut left = stored_bytes;
        loop {
            left = left.checked_sub(BLOCK as u64).ok_or_else(|| refuse("its sparse map has no end"))?;
            let mut block = [0; BLOCK];
            self.input.read_exact(&mut block)?;
            if let Some(map) = parser.block(&block).map_err(refuse)? {
                if map.data_bytes != left {
                    return Err(refuse("its sparse map does not go with its size"));
                }
                return Ok(map.runs);
            }
        }
    }

    /// The index, its signature, and the end.
    fn index(
        &mut self,
        member: &Decoded,
        (manifest, expected): (&[u8], &Expected<'_>),
        checker: &mut Checker,
        visitor: &mut dyn Visitor,
    ) -> Result<Seal> {
        self.check_index(member)?;
        let index_at = self.began_at;
        let size = member.stored_bytes;
        let mut content = MemberContent::new(&mut self.input, plain_extents(size), size);
        let mut lines = ContentReader::new(&mut content);
        let mut held = Held::new(expected, visitor)?;
        let mut take = |item| held.give(&item, visitor);
        let sealed = check_lines(&mut lines, manifest, checker, &mut take);
        let mut end = None;
        content.finish(sealed.map(|sealed| end = Some(sealed)))?;
        let signature = self.index_end(size)?;
        self.input.finish(index_at)?;
        let sealed = end.ok_or_else(|| self.damaged("it has no seal"))?;
        if let Some(signed) = expected.check(&sealed.line, signature.as_deref())? {
            visitor.signature(&signed)?;
        }
        held.release(visitor)?;
        Ok(sealed.seal)
    }

    /// Refuses an index that is something else than a plain file.
    pub(super) fn check_index(&self, member: &Decoded) -> Result<()> {
        if is_plain_file(member) {
            return Ok(());
        }
        Err(Error::Refused(format!("the index of {} is no plain file", self.name)))
    }

    /// What follows the bytes of the index: its signature if there is one, and nothing else.
    pub(super) fn index_end(&mut self, index_bytes: u64) -> Result<Option<Vec<u8>>> {
        self.padding(index_bytes)?;
        let Some(member) = self.next()? else { return Ok(None) };
        if !is_named(&member.line.name, SIGNATURE) {
            return Err(self.damaged("there are members after its index"));
        }
        let size = member.stored_bytes;
        if !is_plain_file(&member) || size > MAX_SIGNATURE_BYTES {
            return Err(Error::Refused(format!("the signature of {} is no small, plain file", self.name)));
        }
        let signature = self.input.read_vec(size)?;
        self.padding(size)?;
        if self.next()?.is_some() {
            return Err(self.damaged("there are members after its signature"));
        }
        Ok(Some(signature))
    }

    /// What fills the last block of a member.
    pub(super) fn padding(&mut self, bytes: u64) -> Result<()> {
        let mut block = [0; BLOCK];
        let length = padding(bytes);
        self.input.read_exact(&mut block[..length])?;
        if header::is_zero(&block) {
            Ok(())
        } else {
            Err(self.damaged("a member's last block is not filled with zeros"))
        }
    }

    pub(super) fn damaged(&self, why: &str) -> Error {
        Error::Damaged(format!("{}: {why}", self.name))
    }
}

/// Whether a member is as those are that the archive itself needs.
fn is_plain_file(member: &Decoded) -> bool {
    has_content(&member.line) && !member.sparse && member.attempt == 1
}

/// Whether the bytes of a regular file follow its header.
pub(super) fn has_content(line: &Line) -> bool {
    matches!(line.role, Role::Member { .. })
        && line.entry.as_ref().is_some_and(|entry| entry.kind == Kind::File)
}

pub(super) fn plain_extents(size: u64) -> Vec<Extent> {
    if size == 0 { Vec::new() } else { vec![Extent { offset: 0, length: size }] }
}

fn without_nul(mut name: Vec<u8>) -> Vec<u8> {
    name.pop_if(|last| *last == 0);
    name
}

fn only_comments(records: &[u8]) -> bool {
    pax::parse(records).is_ok_and(|records| records.keys().all(|key| *key == b"comment"))
}

/// What a manifest that cannot be used means.
pub(super) fn unusable(name: &str, error: &Unusable) -> Error {
    match error {
        Unusable::Damaged(why) => {
            Error::Damaged(format!("the manifest of {name} cannot be understood: {why}"))
        }
        Unusable::Refused(why) => Error::Refused(format!("{name}: {why}")),
    }
}
