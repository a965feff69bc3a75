//! From an archive's bytes to the tar stream: which compression it is, and undoing it on all cores.
//!
//! ```text
//! splitter ─gzip member─▶ workers (inflate) ─┐
//!    └───────────────order──────────────────▶ reader
//! ```
//!
//! gzip that remand wrote tells where each of its members ends, so they are inflated side by side. Everything else is
//! decompressed by one thread, ahead of the reader.

use std::io::{self, BufRead, BufReader, Read};
use std::num::NonZero;

use crossbeam_channel::{Receiver, Sender, bounded};

use super::budget;
use super::frames::Frames;
use super::gzip_members::Members;
use crate::archive::gzip::{self, Sort};
use crate::archive::table::{Audit, Watch};
use crate::archive::zstd;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 256 << 10;
/// Pieces that are decompressed before they are needed.
const PIECES_AHEAD: usize = 8;
/// More threads than this do not help, but each needs memory.
const MAX_THREADS: usize = 32;
/// Magic of xz.
pub(super) const XZ_MAGIC: &[u8] = &[0xfd, b'7', b'z', b'X', b'Z', 0];
/// Most memory that xz may ask for, in KiB: more than its highest level needs.
pub(super) const XZ_MEMORY_KIB: u32 = 80 << 10;

type Stream = Box<dyn Read + Send>;
type Piece = io::Result<Vec<u8>>;

/// Whether to read before somebody asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// On other threads.
    Yes,
    /// Not at all.
    No,
}

/// Undoes the compression of `stream`, whichever it has. `audit` is told where the chunks are that remand made.
pub(super) fn open(mut stream: Stream, ahead: Ahead, audit: &Audit) -> io::Result<Box<dyn BufRead>> {
    let mut head = Vec::new();
    (&mut stream).take(gzip::HEADER_BYTES as u64).read_to_end(&mut head)?;
    let ours = <&[u8; gzip::HEADER_BYTES]>::try_from(&head[..]).ok().and_then(gzip::member_length);
    let whole = BufReader::with_capacity(PIECE_BYTES, io::Cursor::new(head.clone()).chain(stream));
    let plain: Stream = if head.starts_with(gzip::MAGIC) {
        if ours.is_some() && ahead == Ahead::Yes {
            return inflate_parallel(whole, Some(Watch::new(audit)));
        }
        if ours.is_none() && gzip::is_nearly_ours(&head) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the header of its first gzip member was changed",
            ));
        }
        Box::new(Members::new(whole))
    } else if head.starts_with(zstd::MAGIC) || is_skippable(&head) {
        Box::new(Frames::new(whole, Some(Watch::new(audit))))
    } else if head.starts_with(XZ_MAGIC) {
        Box::new(lzma_rust2::XzReader::new_mem_limit(whole, true, XZ_MEMORY_KIB))
    } else {
        Box::new(whole)
    };
    match ahead {
        Ahead::Yes => read_ahead(plain),
        Ahead::No => Ok(Box::new(BufReader::new(plain))),
    }
}

/// Whether a file that begins so is compressed.
pub(super) fn is_compressed(head: &[u8]) -> bool {
    [gzip::MAGIC, zstd::MAGIC, XZ_MAGIC].iter().any(|magic| head.starts_with(magic)) || is_skippable(head)
}

/// zstd's skippable frames begin so.
fn is_skippable(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}

/// Pieces in order, as one reader.
struct Pieces<N> {
    next: N,
    piece: Vec<u8>,
    used: usize,
}

impl<N: FnMut() -> Option<Piece>> Read for Pieces<N> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl<N: FnMut() -> Option<Piece>> BufRead for Pieces<N> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.used == self.piece.len() {
            (self.used, self.piece) = (0, Vec::new());
            self.piece = match (self.next)() {
                Some(piece) => piece?,
                None => return Ok(&[]),
            };
        }
        Ok(&self.piece[self.used..])
    }

    fn consume(&mut self, bytes: usize) {
        self.used += bytes;
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
    // Not joined: it may wait for a pipe, and ends as soon as nobody listens.
    std::thread::Builder::new().name(name.to_owned()).spawn(work).map(drop)
}

/// Reads `stream` on a thread of its own.
fn read_ahead(mut stream: Stream) -> io::Result<Box<dyn BufRead>> {
    let (pieces, receiver) = bounded::<Piece>(PIECES_AHEAD);
    spawn("read", move || {
        loop {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            let read = (&mut stream).take(PIECE_BYTES as u64).read_to_end(&mut piece);
            // What came before an error is needed: a cut archive still has its manifest.
            let rest = read.err();
            let at_end = piece.is_empty();
            if (!at_end && pieces.send(Ok(piece)).is_err()) || (at_end && rest.is_none()) {
                return;
            }
            if let Some(error) = rest {
                let _ = pieces.send(Err(error));
                return;
            }
        }
    })?;
    Ok(Box::new(Pieces { next: end_only_if_done(receiver), piece: Vec::new(), used: 0 }))
}

/// The next piece. After an error comes only the end.
fn end_only_if_done(receiver: Receiver<Piece>) -> impl FnMut() -> Option<Piece> {
    move || receiver.recv().ok()
}

/// A compressed member for a worker, and where its bytes go.
type Job = (Vec<u8>, Sender<Piece>);

/// How many members or frames must follow one another to be worth threads.
const WORTH_THREADS: u64 = 4;

/// Which compression chunks have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunked {
    /// Members of gzip that tell their length.
    Gzip,
    /// Frames of zstd.
    Zstd,
}

/// Undoes the compression of so many chunks that follow one another in an archive.
pub(super) fn open_chunks(
    mut stream: impl Read + Send + 'static,
    kind: Chunked,
    count: u64,
) -> io::Result<Box<dyn BufRead>> {
    match kind {
        Chunked::Gzip if count >= WORTH_THREADS => inflate_parallel(stream, None),
        Chunked::Gzip => {
            let next = move || {
                let member = read_member(&mut stream).transpose()?;
                Some(member.and_then(|member| gzip::decode(&member)))
            };
            Ok(Box::new(Pieces { next, piece: Vec::new(), used: 0 }))
        }
        Chunked::Zstd => {
            let frames = Frames::new(BufReader::with_capacity(PIECE_BYTES, stream), None);
            if count >= WORTH_THREADS {
                read_ahead(Box::new(frames))
            } else {
                Ok(Box::new(BufReader::with_capacity(PIECE_BYTES, frames)))
            }
        }
    }
}

/// Inflates members that tell their length. A whole archive is watched, a part of it is not.
fn inflate_parallel(
    mut stream: impl Read + Send + 'static,
    mut watch: Option<Watch>,
) -> io::Result<Box<dyn BufRead>> {
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_THREADS);
    let (jobs, queue) = bounded::<Job>(threads + 1);
    let (order, deliveries) = bounded::<(Receiver<Piece>, usize)>(threads + 3);
    let (taker, mut giver) = budget::new();
    for _ in 0..threads {
        let queue = queue.clone();
        spawn("inflate", move || {
            for (member, result) in queue {
                // Whoever waited may have given up.
                let _ = result.send(gzip::decode(&member));
            }
        })?;
    }
    spawn("read", move || {
        let mut position = 0;
        loop {
            let (result, delivery) = bounded(1);
            let member = next_member(&mut stream, &mut watch, &mut position).transpose();
            let Some(member) = member else { return };
            let bytes = member.as_ref().map_or(0, |member| gzip::memory(member));
            if !taker.take(bytes) || order.send((delivery, bytes)).is_err() {
                return;
            }
            match member {
                Ok(member) => {
                    if jobs.send((member, result)).is_err() {
                        return;
                    }
                }
                Err(error) => {
                    let _ = result.send(Err(error));
                    return;
                }
            }
        }
    })?;
    let next = move || {
        giver.next(0);
        let (delivery, bytes) = deliveries.recv().ok()?;
        giver.next(bytes);
        Some(delivery.recv().unwrap_or_else(|_| Err(io::Error::other("a decompressing thread died"))))
    };
    Ok(Box::new(Pieces { next, piece: Vec::new(), used: 0 }))
}

/// The next member with data, compressed; `None` at the end.
fn next_member(
    stream: &mut impl Read,
    watch: &mut Option<Watch>,
    position: &mut u64,
) -> io::Result<Option<Vec<u8>>> {
    loop {
        let at = *position;
        let Some(member) = read_member(stream)? else {
            watch.as_ref().map_or(Ok(()), Watch::finish)?;
            return Ok(None);
        };
        *position += member.len() as u64;
        let sort = gzip::sort(&member)?;
        if let Some(watch) = watch {
            match sort {
                Sort::Data(announces) => {
                    watch.data()?;
                    watch.chunk(member.len() as u64, gzip::plain_length(&member));
                    if announces {
                        watch.announce(0);
                    }
                }
                Sort::Part(data) => watch.part(data, at)?,
                Sort::End(data) => watch.end(data)?,
            }
        }
        if matches!(sort, Sort::Data(_)) {
            return Ok(Some(member));
        }
    }
}

/// The next member, compressed; `None` at the end.
fn read_member(stream: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut member = Vec::new();
    stream.take(gzip::HEADER_BYTES as u64).read_to_end(&mut member)?;
    if member.is_empty() {
        return Ok(None);
    }
    let header =
        <&[u8; gzip::HEADER_BYTES]>::try_from(&member[..]).map_err(|_| io::ErrorKind::UnexpectedEof)?;
    let length = gzip::member_length(header).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "a gzip member has no length of its own")
    })?;
    let rest = length - gzip::HEADER_BYTES;
    member.reserve_exact(rest.min(PIECE_BYTES * 8));
    if stream.take(rest as u64).read_to_end(&mut member)? < rest {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some(member))
}

#[cfg(test)]
mod tests;
