//! A tar stream that goes on behind damage.
//!
//! It reads as any other until something is missing; then every read fails until [`Tolerant::seek`] or [`Tolerant::go_to`] has found where
//! it goes on: at a known place, or else at the next block that is a header by its magic and checksum.

use std::io::{self, BufRead, Read};

use super::content::TarStream;
use super::lines::Collector;
use super::pieces::{Piece, Pieces, Range};
use crate::archive::header;
use crate::archive::sparse::BLOCK;

/// What is kept of a header that turns out to be none, to look for another one in it.
const MAX_HISTORY_BYTES: usize = 64 << 20;
/// Where a header has its magic.
const MAGIC_AT: usize = 257;

/// The stream.
pub(super) struct Tolerant {
    pieces: Pieces,
    piece: Vec<u8>,
    used: usize,
    /// Whether a checksum vouches for the current piece.
    sure: bool,
    /// Where in the stream the next byte is, as far as that can be known.
    position: u64,
    /// Where headers can begin: the remainder of their positions, if it is known.
    aligned: Option<u64>,
    /// What is missing before the next piece.
    gap: Option<Gap>,
    at_end: bool,
    /// What was read since the mark.
    history: Option<Vec<u8>>,
    /// Parts of the file that cannot be undone.
    pub(super) lost: Vec<Range>,
}

/// Something that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    /// How much, where that is known.
    bytes: Option<u64>,
    /// Whether that is sure.
    proven: bool,
}

/// How a search went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sought {
    /// It goes on here.
    Here,
    /// It goes on elsewhere, or not at all.
    Lost,
}

impl Tolerant {
    pub(super) fn new(pieces: Pieces) -> Self {
        Self {
            pieces,
            piece: Vec::new(),
            used: 0,
            sure: false,
            position: 0,
            aligned: Some(0),
            gap: None,
            at_end: false,
            history: None,
            lost: Vec::new(),
        }
    }

    /// Whether a checksum vouches for the bytes that come next.
    pub(super) fn is_sure(&self) -> bool {
        self.sure
    }

    /// Whether something is missing here.
    pub(super) fn is_at_gap(&self) -> bool {
        self.used == self.piece.len() && self.gap.is_some()
    }

    /// The next bytes, none at the end, and whether a checksum vouches for them. An error is none where something is missing.
    pub(super) fn fill_sure(&mut self) -> Result<(bool, &[u8]), Option<io::Error>> {
        if self.used == self.piece.len() {
            self.extend().map_err(Some)?;
            if self.is_at_gap() {
                return Err(None);
            }
        }
        Ok((self.sure, &self.piece[self.used..]))
    }

    /// Remembers this place.
    pub(super) fn mark(&mut self) {
        self.history = Some(Vec::new());
    }

    /// Forgets it.
    pub(super) fn forget(&mut self) {
        self.history = None;
    }

    /// Goes back to it.
    pub(super) fn rewind(&mut self) {
        let Some(mut history) = self.history.take() else { return };
        self.position -= history.len() as u64;
        history.extend_from_slice(&self.piece[self.used..]);
        (self.piece, self.used) = (history, 0);
    }

    /// Makes the next piece the current one, behind what is left of it. False where something is missing, or at the end.
    fn extend(&mut self) -> io::Result<bool> {
        if self.gap.is_some() || self.at_end {
            return Ok(false);
        }
        match self.pieces.next()? {
            None => self.at_end = true,
            Some(Piece::Gap { lost, plain_bytes, proven }) => {
                self.lost.push(lost);
                self.gap = Some(Gap { bytes: plain_bytes, proven });
            }
            Some(Piece::Data { bytes, sure }) => {
                let left = self.piece.len() - self.used;
                self.sure = sure && (left == 0 || self.sure);
                if left == 0 {
                    (self.piece, self.used) = (bytes, 0);
                } else {
                    self.piece.drain(..self.used);
                    self.used = 0;
                    self.piece.extend_from_slice(&bytes);
                }
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Passes by what is missing; how much that is, if it is known.
    pub(super) fn pass_gap(&mut self) -> Option<u64> {
        let Gap { bytes, proven } = self.gap.take()?;
        if bytes.is_none() || !proven {
            self.aligned = None;
        }
        self.position = self.position.saturating_add(bytes.unwrap_or(0));
        bytes
    }

    /// Goes on at `place`, which lies ahead.
    pub(super) fn go_to(&mut self, place: u64) -> io::Result<Sought> {
        self.forget();
        while self.position < place {
            if self.used == self.piece.len() && !self.extend()? {
                if self.gap.is_none() || self.pass_gap().is_none() {
                    return Ok(Sought::Lost);
                }
                continue;
            }
            let left = usize::try_from(place - self.position).unwrap_or(usize::MAX);
            let now = left.min(self.piece.len() - self.used);
            self.consume(now);
        }
        Ok(if self.position == place { Sought::Here } else { Sought::Lost })
    }

    /// Goes on at the next header, at least `skip` bytes from here; what lies before it goes to `lines`. False if there is none.
    pub(super) fn seek(&mut self, mut skip: usize, lines: &mut Collector) -> io::Result<bool> {
        self.forget();
        loop {
            let ahead = &self.piece[self.used..];
            if let Some(at) = self.find_header(ahead, skip) {
                lines.feed(&ahead[..at], self.sure)?;
                self.consume(at);
                self.aligned = Some(self.position % BLOCK as u64);
                return Ok(true);
            }
            // The last bytes may be the beginning of a header.
            let passed = ahead.len().saturating_sub(BLOCK - 1);
            if passed > 0 {
                lines.feed(&ahead[..passed], self.sure)?;
                self.consume(passed);
                skip = skip.saturating_sub(passed);
            }
            if !self.extend()? {
                let rest = self.piece.len() - self.used;
                lines.feed(&self.piece[self.used..], self.sure)?;
                self.consume(rest);
                skip = skip.saturating_sub(rest);
                if self.gap.is_none() {
                    return Ok(false);
                }
                lines.gap();
                self.pass_gap();
            }
        }
    }

    fn find_header(&self, ahead: &[u8], skip: usize) -> Option<usize> {
        let mut from = skip + MAGIC_AT;
        while let Some(rest) = ahead.get(from..) {
            let at = from + rest.windows(5).position(|five| five == b"ustar")? - MAGIC_AT;
            let block: &[u8; BLOCK] = ahead.get(at..)?.first_chunk()?;
            let place = (self.position + at as u64) % BLOCK as u64;
            let aligned = self.aligned.is_none_or(|aligned| aligned == place);
            if aligned && header::verify_checksum(tar::Header::from_byte_slice(block)) {
                return Some(at);
            }
            from = at + MAGIC_AT + 1;
        }
        None
    }
}

impl Read for Tolerant {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Tolerant {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let missing = || io::Error::new(io::ErrorKind::InvalidData, "a part of it cannot be read");
        self.fill_sure().map(|(_, bytes)| bytes).map_err(|error| error.unwrap_or_else(missing))
    }

    fn consume(&mut self, bytes: usize) {
        let end = self.used + bytes;
        if let Some(history) = &mut self.history {
            history.extend_from_slice(&self.piece[self.used..end]);
            if history.len() > MAX_HISTORY_BYTES {
                self.history = Some(Vec::new());
            }
        }
        self.used = end;
        self.position += bytes as u64;
    }
}

impl TarStream for Tolerant {
    fn skip(&mut self, _: u64) -> Option<()> {
        None
    }

    fn position(&self) -> u64 {
        self.position
    }

    fn tolerant(&mut self) -> Option<&mut Tolerant> {
        Some(self)
    }
}

#[cfg(test)]
mod tests;
