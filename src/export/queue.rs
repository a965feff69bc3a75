//! Reading a resource before its turn: what it will write waits in a bounded queue until the archive comes to it.
//!
//! ```text
//! resource's thread: changes, content ──messages, bounded──▶ archive's thread: Writer
//! ```
//!
//! Order and bytes in the archive are those that the resource would have written itself. A source that fails in the middle of a
//! member cannot take back what the archive has of it: the rest is filled up (zeros; a stream ends), and the resource has failed.

use std::io::{self, Read};

use crossbeam_channel::{Receiver, Sender};

use crate::archive::{self, Body, Line, Writer, Written};
use crate::error::{Error, Result};
use crate::tree::{Content, Extent};

/// Messages that wait at most for one resource.
pub(super) const MESSAGES: usize = 64;
/// Bytes of a message at most: with [`MESSAGES`] what a waiting resource holds in memory.
const PIECE_BYTES: usize = 128 << 10;

/// Where members and index lines go, in the archive's order. The contract is [`Writer`]'s.
pub(crate) trait MemberWriter {
    /// As [`Writer::member`].
    fn member(&mut self, line: Line, body: Body<'_>, attempt: u32) -> archive::Result<Written>;
    /// As [`Writer::line`].
    fn line(&mut self, line: Line) -> archive::Result<()>;
    /// Whether a stream can be written without knowing its length before.
    fn takes_streams(&self) -> bool;
}

impl MemberWriter for Writer {
    fn member(&mut self, line: Line, body: Body<'_>, attempt: u32) -> archive::Result<Written> {
        Writer::member(self, line, body, attempt)
    }

    fn line(&mut self, line: Line) -> archive::Result<()> {
        Writer::line(self, line)
    }

    fn takes_streams(&self) -> bool {
        self.can_amend()
    }
}

/// What a resource would write.
pub(super) enum Message {
    /// A member; its content follows if it has some.
    Member { line: Line, body: Kind, attempt: u32 },
    /// Bytes of the member, and where they lie.
    Data(u64, Vec<u8>),
    /// The member is complete; whether its source is still what it was.
    End(bool),
    /// A line without a member.
    Line(Line),
    /// The last attempt is kept though its source changed.
    Keep,
}

/// What follows a member.
pub(super) enum Kind {
    Empty,
    Content { size: u64, extents: Vec<Extent> },
    Stream,
}

/// The resource's side.
pub(super) struct Queue {
    pub(super) messages: Sender<Message>,
    pub(super) takes_streams: bool,
}

impl Queue {
    fn send(&self, message: Message) -> archive::Result<()> {
        self.messages.send(message).map_err(|_| stopped())
    }

    fn content(&self, line: &Line, content: &mut dyn Content) -> archive::Result<bool> {
        let failed = |source| archive::Error::Source { member: line.name.to_string(), source };
        while let Some((offset, data)) = content.next_data().map_err(failed)? {
            let mut offset = offset;
            for piece in data.chunks(PIECE_BYTES) {
                self.send(Message::Data(offset, piece.to_vec()))?;
                offset += piece.len() as u64;
            }
        }
        content.is_stable().map_err(failed)
    }

    fn stream(&self, line: &Line, stream: &mut dyn Read) -> archive::Result<()> {
        let failed = |source| archive::Error::Source { member: line.name.to_string(), source };
        let mut offset = 0;
        loop {
            let mut piece = Vec::new();
            Read::take(&mut *stream, PIECE_BYTES as u64).read_to_end(&mut piece).map_err(failed)?;
            if piece.is_empty() {
                return Ok(());
            }
            let length = piece.len() as u64;
            self.send(Message::Data(offset, piece))?;
            offset += length;
        }
    }
}

/// Why a resource's thread cannot go on; nobody sees it, because whoever stopped it has the cause.
fn stopped() -> archive::Error {
    let source = io::Error::other("the export has stopped");
    archive::Error::Io { action: "write", subject: "the archive".into(), source }
}

impl MemberWriter for Queue {
    fn member(&mut self, line: Line, body: Body<'_>, attempt: u32) -> archive::Result<Written> {
        let begin = |body| self.send(Message::Member { line: line.clone(), body, attempt });
        let stable = match body {
            Body::Empty => {
                begin(Kind::Empty)?;
                return Ok(Written::Done(line));
            }
            Body::Content(content) => {
                begin(Kind::Content { size: content.size(), extents: content.extents().to_vec() })?;
                self.content(&line, content)?
            }
            Body::Stream(stream) => {
                begin(Kind::Stream)?;
                self.stream(&line, stream)?;
                true
            }
        };
        self.send(Message::End(stable))?;
        Ok(if stable { Written::Done(line) } else { Written::Unstable(line) })
    }

    fn line(&mut self, line: Line) -> archive::Result<()> {
        let is_member =
            matches!(line.role, archive::index::Role::Member { .. } | archive::index::Role::Link { .. });
        // Its digest is known on the other side.
        self.send(if is_member { Message::Keep } else { Message::Line(line) })
    }

    fn takes_streams(&self) -> bool {
        self.takes_streams
    }
}

/// The archive's side: writes all that a resource sends, until that is done or has failed.
pub(super) fn write_all(messages: &Receiver<Message>, writer: &mut Writer) -> Result<()> {
    let mut unstable = None;
    while let Ok(message) = messages.recv() {
        let written = match message {
            Message::Line(line) => {
                writer.line(line)?;
                continue;
            }
            Message::Keep => {
                if let Some(line) = unstable.take() {
                    writer.line(Line { unstable: true, ..line })?;
                }
                continue;
            }
            Message::Member { line, body: Kind::Empty, attempt } => {
                writer.member(line, Body::Empty, attempt)?
            }
            Message::Member { line, body: Kind::Content { size, extents }, attempt } => {
                let mut content = Waiting::new(messages, size, extents);
                writer.member(line, Body::Content(&mut content), attempt)?
            }
            Message::Member { line, body: Kind::Stream, attempt } => {
                let mut stream = Waiting::new(messages, 0, Vec::new());
                writer.member(line, Body::Stream(&mut stream), attempt)?
            }
            Message::Data(..) | Message::End(_) => {
                return Err(Error::Unsupported("Bytes of no member were read; please report this".into()));
            }
        };
        unstable = match written {
            Written::Done(_) => None,
            Written::Unstable(line) => Some(line),
        };
    }
    // A resource that failed between two attempts at a member leaves the first one.
    match unstable {
        Some(line) => Ok(writer.line(Line { unstable: true, ..line })?),
        None => Ok(()),
    }
}

/// A member's content as it arrives.
struct Waiting<'a> {
    messages: &'a Receiver<Message>,
    size: u64,
    extents: Vec<Extent>,
    piece: Vec<u8>,
    /// Of a stream: how much of the piece was read.
    used: usize,
    /// How far the data has come: which extent, and how much of it.
    at: (usize, u64),
    ended: bool,
    stable: bool,
}

impl<'a> Waiting<'a> {
    fn new(messages: &'a Receiver<Message>, size: u64, extents: Vec<Extent>) -> Self {
        Self { messages, size, extents, piece: Vec::new(), used: 0, at: (0, 0), ended: false, stable: true }
    }

    /// The next bytes; `None` at the end.
    fn next(&mut self) -> Option<(u64, Vec<u8>)> {
        if self.ended {
            return None;
        }
        match self.messages.recv() {
            Ok(Message::Data(offset, piece)) => Some((offset, piece)),
            Ok(Message::End(stable)) => {
                (self.ended, self.stable) = (true, stable);
                None
            }
            // The resource has failed.
            _ => {
                self.ended = true;
                None
            }
        }
    }

    fn count(&mut self, bytes: u64) {
        let (extent, within) = self.at;
        let full = self.extents.get(extent).is_some_and(|extent| within + bytes >= extent.length);
        self.at = if full { (extent + 1, 0) } else { (extent, within + bytes) };
    }
}

impl Content for Waiting<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn extents(&self) -> &[Extent] {
        &self.extents
    }

    fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        let (offset, piece) = match (self.next(), self.extents.get(self.at.0)) {
            (Some(next), _) => next,
            (None, None) => return Ok(None),
            (None, Some(extent)) => {
                let (offset, left) = (extent.offset + self.at.1, extent.length - self.at.1);
                (offset, vec![0; usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES))])
            }
        };
        self.count(piece.len() as u64);
        self.piece = piece;
        Ok(Some((offset, &self.piece)))
    }

    fn is_stable(&mut self) -> io::Result<bool> {
        // Where all bytes had come its end has not been seen yet.
        while !self.ended {
            self.next();
        }
        Ok(self.stable)
    }
}

impl Read for Waiting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.used == self.piece.len() {
            let Some((_, piece)) = self.next() else { return Ok(0) };
            (self.piece, self.used) = (piece, 0);
        }
        let count = buffer.len().min(self.piece.len() - self.used);
        buffer[..count].copy_from_slice(&self.piece[self.used..self.used + count]);
        self.used += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
