//! From header to header through a damaged TAR archive. Two walks through the same file find the same.

use std::io::{self, BufRead as _};

use super::content::TarStream as _;
use super::lines::Collector;
use super::pieces::{Pieces, Range};
use super::tar::{Tar, has_content, is_named};
use super::tolerant::{Sought, Tolerant};
use super::{Terms, Visitor};
use crate::archive::bounds::MAX_MANIFEST_BYTES;
use crate::archive::format::{INDEX, MANIFEST, SIGNATURE};
use crate::archive::header::Decoded;
use crate::archive::writer::padding;
use crate::archive::{Error, Line, Result};
use crate::tree::Kind;

/// A walk.
#[allow(clippy::struct_excessive_bools)] // independent facts
pub(super) struct Walk {
    tar: Tar,
    is_plain: bool,
    /// The manifest's bytes, and whether a checksum vouches for them.
    pub(super) manifest: Option<(Vec<u8>, bool)>,
    pub(super) lines: Collector,
    /// Whether the last header was found by a search, so that it may be one of something within a file.
    pub(super) sought: bool,
    began: bool,
    ended: bool,
    /// Damage that is of no member.
    pub(super) others: Vec<String>,
}

impl Walk {
    pub(super) fn new(pieces: Pieces, terms: &Terms) -> Result<Self> {
        let is_plain = pieces.is_plain();
        let lines = Collector::new().map_err(super::lines::failed)?;
        let tar = Tar::new(Box::new(Tolerant::new(pieces)), terms);
        let (manifest, others) = (None, Vec::new());
        Ok(Self { tar, is_plain, manifest, lines, sought: false, began: false, ended: false, others })
    }

    fn stream(tar: &mut Tar) -> &mut Tolerant {
        tar.input.tolerant().expect("the walk has made it of one")
    }

    /// The next member other than manifest and index; `None` at the end, when all bytes were read. A member's content must be read next.
    pub(super) fn next(&mut self) -> Result<Option<Decoded>> {
        loop {
            if self.ended {
                return Ok(None);
            }
            let first = !std::mem::replace(&mut self.began, true);
            let stream = Self::stream(&mut self.tar);
            stream.mark();
            let member = match self.tar.next() {
                Ok(Some(member)) => member,
                Ok(None) => {
                    self.ended = true;
                    continue;
                }
                Err(error @ (Error::Damaged(_) | Error::Refused(_))) => {
                    self.search(&error)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            Self::stream(&mut self.tar).forget();
            let is_file = member.line.entry.as_ref().is_some_and(|entry| entry.kind == Kind::File);
            if first && is_file && is_named(&member.line.name, MANIFEST) {
                self.read_manifest(&member)?;
            } else if is_file && is_named(&member.line.name, INDEX) {
                self.read_index(&member)?;
            } else if self.lines.confirmed && is_named(&member.line.name, SIGNATURE) {
                self.content(member, None)?;
            } else {
                self.lines.discard().map_err(super::lines::failed)?;
                return Ok(Some(member));
            }
            self.sought = false;
        }
    }

    /// There is no header here: looks for the next one.
    fn search(&mut self, why: &Error) -> Result<()> {
        let stream = Self::stream(&mut self.tar);
        stream.rewind();
        let is_gap = stream.is_at_gap();
        let begin = stream.position();
        let found = stream.seek(usize::from(!is_gap), &mut self.lines).map_err(read_failed)?;
        let end = stream.position();
        self.sought = true;
        self.ended = !found;
        if self.is_plain && end > begin {
            stream.lost.push(Range { offset: begin, length: end - begin });
        } else if !is_gap && !found {
            self.others.push(why.to_string());
        }
        Ok(())
    }

    fn read_manifest(&mut self, member: &Decoded) -> Result<()> {
        let begin = self.tar.input.position();
        if member.stored_bytes > MAX_MANIFEST_BYTES {
            return Ok(());
        }
        // The header is in the same chunk.
        let sure = Self::stream(&mut self.tar).is_sure();
        match self.tar.input.read_vec(member.stored_bytes) {
            Ok(json) => self.manifest = Some((json, sure)),
            Err(Error::Damaged(_)) => {}
            Err(error) => return Err(error),
        }
        self.pass(begin, member.stored_bytes)
    }

    fn read_index(&mut self, member: &Decoded) -> Result<()> {
        // The last one counts: others are of archives within the archive, which a search has led into.
        self.lines.confirmed = false;
        self.lines.discard().map_err(super::lines::failed)?;
        self.lines.confirmed = true;
        let begin = self.tar.input.position();
        let end = begin.saturating_add(member.stored_bytes);
        let stream = Self::stream(&mut self.tar);
        let failed = super::lines::failed;
        loop {
            let position = stream.position();
            let left = usize::try_from(end.saturating_sub(position)).unwrap_or(usize::MAX);
            if left == 0 {
                break;
            }
            let (sure, bytes) = match stream.fill_sure() {
                Ok((_, [])) => break,
                Ok(filled) => filled,
                Err(Some(error)) => return Err(read_failed(error)),
                Err(None) => {
                    self.lines.gap();
                    if stream.pass_gap().is_none() {
                        // Where it ends is not known any more: all that follows may be of it.
                        self.ended = !stream.seek(0, &mut self.lines).map_err(read_failed)?;
                        return Ok(());
                    }
                    continue;
                }
            };
            let length = bytes.len().min(left);
            self.lines.feed(&bytes[..length], sure).map_err(failed)?;
            stream.consume(length);
        }
        self.pass(begin, member.stored_bytes)
    }

    /// Reads the content of the last header; its line with the digest, or `None` if it is not all there.
    pub(super) fn content(
        &mut self,
        member: Decoded,
        visitor: Option<&mut dyn Visitor>,
    ) -> Result<Option<Line>> {
        let begin = self.tar.input.position();
        let stored_bytes = if has_content(&member.line) { member.stored_bytes } else { 0 };
        let visited = visitor.is_some();
        let line = match self.tar.hand_over_content(member, visitor) {
            Ok(line) => Some(line),
            Err(Error::Damaged(_) | Error::Refused(_)) if !visited => None,
            Err(error) => return Err(error),
        };
        self.pass(begin, stored_bytes)?;
        Ok(line)
    }

    /// Goes on behind a content that began at `begin`.
    fn pass(&mut self, begin: u64, stored_bytes: u64) -> Result<()> {
        let content_end = begin.saturating_add(stored_bytes);
        if padding(stored_bytes) > 0 && self.tar.input.position() == content_end {
            match self.tar.padding(stored_bytes) {
                Ok(()) => return Ok(()),
                Err(Error::Damaged(why)) => self.others.push(why),
                Err(error) => return Err(error),
            }
        }
        let end = content_end.saturating_add(padding(stored_bytes) as u64);
        let stream = Self::stream(&mut self.tar);
        if stream.go_to(end).map_err(read_failed)? == Sought::Lost {
            let found = stream.seek(0, &mut self.lines).map_err(read_failed)?;
            (self.sought, self.ended) = (true, !found);
        }
        Ok(())
    }

    /// What of the file cannot be used, once the walk is at its end.
    pub(super) fn lost(&mut self) -> Vec<Range> {
        let mut lost = std::mem::take(&mut Self::stream(&mut self.tar).lost);
        lost.retain(|range| range.length > 0);
        lost
    }
}

/// A reader's error as one of this walk.
fn read_failed(error: io::Error) -> Error {
    super::input_error("the archive", error)
}
