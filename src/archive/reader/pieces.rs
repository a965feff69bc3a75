//! From an archive's bytes to pieces of its tar stream, past damage.
//!
//! gzip members and zstd frames as remand writes them are independent: behind one that cannot be undone the next is looked for by the bytes
//! that its header begins with, and taken only if it can be undone to its checksum. What other programs compressed has no place to go on
//! from, so the first damage ends it. Without compression everything is passed on as it is.

use std::io::{self, Read};

use zstd::zstd_safe::{self, DCtx};

use super::decompress::{Chunked, XZ_MAGIC, XZ_MEMORY_KIB};
use super::file::ReadAt;
use super::gzip_members::Members;
use super::selected;
pub use super::window::Range;
use super::window::{READ_BYTES, Window};
use crate::archive::table::Table;
use crate::archive::{gzip, zstd as format};

/// Within so many bytes from the beginning something that remand compressed is looked for, where the beginning is broken.
const PROBE_BYTES: usize = 2 << 20;
/// Longest frame that is undone as a whole.
const FRAME_BYTES: usize = gzip::MAX_MEMBER_BYTES;

/// A piece of the tar stream.
pub(super) enum Piece {
    /// It is there. `sure`: a checksum of the compression fits.
    Data { bytes: Vec<u8>, sure: bool },
    /// It is not; so many bytes of the stream, where that is known.
    Gap {
        lost: Range,
        plain_bytes: Option<u64>,
        /// Whether the table says so. A damaged chunk may be wrong about itself.
        proven: bool,
    },
}

enum Form {
    Plain(Window),
    Chunked(Chunked, Window),
    /// The length of the file, where it is known, for the place of damage.
    Foreign(Box<dyn Read>),
    Ended,
}

/// The pieces of an archive.
pub(super) struct Pieces {
    form: Form,
    context: DCtx<'static>,
    /// Where chunks begin in the file and in the tar stream, if a table says so; the next ones.
    starts: std::iter::Peekable<std::vec::IntoIter<(u64, u64)>>,
    /// Where in the tar stream the next piece begins, if it is known.
    plain_at: Option<u64>,
    /// What lies before the gap that is found next.
    pending: Option<Piece>,
}

impl Pieces {
    /// Reads from `input`. `file` is the same as a file, where it is one: it may have a table of offsets.
    pub(super) fn new(input: Box<dyn Read + Send>, file: Option<&dyn ReadAt>) -> io::Result<Self> {
        let mut window = Window::new(input);
        let kind = probe(window.fill(PROBE_BYTES)?);
        let starts = match (kind, file) {
            (Kind::Ours(kind), Some(file)) => {
                selected::table(file, kind).ok().flatten().map_or_else(Vec::new, |table| starts(&table))
            }
            _ => Vec::new(),
        };
        let form = match kind {
            Kind::Plain => Form::Plain(window),
            Kind::Ours(kind) => Form::Chunked(kind, window),
            Kind::Gzip => Form::Foreign(Box::new(Members::new(io::BufReader::new(window)))),
            Kind::Zstd => {
                Form::Foreign(Box::new(super::frames::Frames::new(io::BufReader::new(window), None)))
            }
            Kind::Xz => {
                Form::Foreign(Box::new(lzma_rust2::XzReader::new_mem_limit(window, true, XZ_MEMORY_KIB)))
            }
        };
        let starts = starts.into_iter().peekable();
        Ok(Self { form, context: DCtx::create(), starts, plain_at: Some(0), pending: None })
    }

    /// Whether the pieces are the file's bytes.
    pub(super) fn is_plain(&self) -> bool {
        matches!(self.form, Form::Plain(_))
    }

    /// The next piece; `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Piece>> {
        if let Some(piece) = self.pending.take() {
            return Ok(Some(piece));
        }
        let piece = match &mut self.form {
            Form::Ended => None,
            Form::Plain(window) => {
                let bytes = window.fill(64 << 10)?.to_vec();
                window.take(bytes.len());
                (!bytes.is_empty()).then_some(Piece::Data { bytes, sure: false })
            }
            Form::Foreign(stream) => {
                let mut bytes = Vec::new();
                let read = stream.take(READ_BYTES as u64).read_to_end(&mut bytes);
                let at_end = bytes.is_empty();
                let data = (!at_end).then_some(Piece::Data { bytes, sure: false });
                match read {
                    Ok(_) => data,
                    Err(error) if is_damage(&error) => {
                        self.form = Form::Ended;
                        // Where it broke is known to the decoder alone.
                        let lost = Range { offset: 0, length: 0 };
                        let lost = Piece::Gap { lost, plain_bytes: None, proven: false };
                        if at_end {
                            Some(lost)
                        } else {
                            self.pending = Some(lost);
                            data
                        }
                    }
                    Err(error) => return Err(error),
                }
            }
            Form::Chunked(kind, _) => {
                let kind = *kind;
                return self.next_chunk(kind);
            }
        };
        Ok(piece)
    }

    fn next_chunk(&mut self, kind: Chunked) -> io::Result<Option<Piece>> {
        let Form::Chunked(_, window) = &mut self.form else { return Ok(None) };
        let began_at = window.at;
        // Length that a broken chunk says it has, in the file and in the tar stream.
        let mut hint = None;
        loop {
            if window.fill(1)?.is_empty() {
                if window.at == began_at {
                    return Ok(None);
                }
                let lost = Range { offset: began_at, length: window.at - began_at };
                return Ok(Some(Piece::Gap { lost, plain_bytes: None, proven: false }));
            }
            let found = chunk(kind, window, &mut self.context)?;
            let at = window.at;
            let lost_bytes = at - began_at;
            match found {
                Found::Broken(said) => {
                    hint = hint.or(said.filter(|_| lost_bytes == 0));
                    pass_to_next(kind, window)?;
                }
                Found::Nothing(length) if lost_bytes == 0 => {
                    window.take(length);
                    return self.next_chunk(kind);
                }
                found => {
                    let plain_bytes = match hint {
                        Some((file_bytes, plain_bytes)) if file_bytes == lost_bytes => Some(plain_bytes),
                        _ => None,
                    };
                    let length = match &found {
                        Found::Data { length, .. } | Found::Nothing(length) => *length,
                        Found::Broken(_) => 0,
                    };
                    window.take(length);
                    let data = match found {
                        Found::Data { bytes, sure, .. } => Some(Piece::Data { bytes, sure }),
                        _ => None,
                    };
                    return Ok(self.deliver(
                        Range { offset: began_at, length: lost_bytes },
                        plain_bytes,
                        at,
                        data,
                    ));
                }
            }
        }
    }

    /// What was found at `at`, and before it what was lost.
    fn deliver(&mut self, lost: Range, said: Option<u64>, at: u64, data: Option<Piece>) -> Option<Piece> {
        while self.starts.next_if(|(start, _)| *start < at).is_some() {}
        let told = self.starts.peek().filter(|(start, _)| *start == at).map(|(_, plain)| *plain);
        let before = self.plain_at;
        let (lost_plain, proven) = match (told, before) {
            (Some(told), Some(before)) => (told.checked_sub(before), true),
            _ => (said, false),
        };
        let plain_at = told.or_else(|| before?.checked_add(if lost.length == 0 { 0 } else { lost_plain? }));
        let length = match &data {
            Some(Piece::Data { bytes, .. }) => bytes.len() as u64,
            _ => 0,
        };
        self.plain_at = plain_at.and_then(|plain_at| plain_at.checked_add(length));
        if lost.length == 0 {
            return data;
        }
        self.pending = data;
        Some(Piece::Gap { lost, plain_bytes: lost_plain, proven })
    }
}

fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
    )
}

fn starts(table: &Table) -> Vec<(u64, u64)> {
    table.chunks().map(|chunk| (chunk.at, chunk.plain_at)).collect()
}

#[derive(Clone, Copy)]
enum Kind {
    Plain,
    Ours(Chunked),
    Gzip,
    Zstd,
    Xz,
}

/// What a file is that begins so, whose beginning may be broken.
fn probe(head: &[u8]) -> Kind {
    if head.starts_with(XZ_MAGIC) {
        return Kind::Xz;
    }
    let gzip = (0..head.len()).find(|&at| is_header(Chunked::Gzip, &head[at..]));
    if gzip.is_some() {
        return Kind::Ours(Chunked::Gzip);
    }
    if head.starts_with(gzip::MAGIC) {
        return Kind::Gzip;
    }
    let is_tar = head.get(257..262) == Some(b"ustar");
    // Frames of others may be longer than what is undone as a whole.
    let zstd = (0..head.len()).find(|&at| head[at..].starts_with(format::MAGIC));
    match zstd {
        _ if is_tar => Kind::Plain,
        Some(at) if small_frame(&head[at..]) => Kind::Ours(Chunked::Zstd),
        Some(0) => Kind::Zstd,
        _ => Kind::Plain,
    }
}

/// Whether a frame says how much it holds, and that is as little as remand puts in one.
fn small_frame(head: &[u8]) -> bool {
    matches!(zstd_safe::get_frame_content_size(head), Ok(Some(bytes)) if bytes <= FRAME_BYTES as u64)
}

/// Whether a chunk may begin so.
fn is_header(kind: Chunked, bytes: &[u8]) -> bool {
    match kind {
        Chunked::Gzip => {
            bytes.starts_with(gzip::MAGIC)
                && bytes.first_chunk().is_some_and(|head| gzip::member_length(head).is_some())
        }
        Chunked::Zstd => bytes.starts_with(format::MAGIC) || bytes.starts_with(&format::SKIPPABLE),
    }
}

/// Takes bytes up to where a chunk may begin, at least one.
fn pass_to_next(kind: Chunked, window: &mut Window) -> io::Result<()> {
    window.take(1);
    loop {
        let ahead = window.fill(READ_BYTES)?;
        let whole = ahead.len() < READ_BYTES;
        if let Some(at) = (0..ahead.len()).find(|&at| is_header(kind, &ahead[at..])) {
            window.take(at);
            return Ok(());
        }
        let passed = if whole { ahead.len() } else { ahead.len() - gzip::HEADER_BYTES };
        window.take(passed);
        if whole {
            return Ok(());
        }
    }
}

enum Found {
    Data {
        bytes: Vec<u8>,
        sure: bool,
        length: usize,
    },
    /// So many bytes without content.
    Nothing(usize),
    /// What it says of its length, and of that of its content.
    Broken(Option<(u64, u64)>),
}

fn chunk(kind: Chunked, window: &mut Window, context: &mut DCtx<'static>) -> io::Result<Found> {
    match kind {
        Chunked::Gzip => member(window),
        Chunked::Zstd => frame(window, context),
    }
}

fn member(window: &mut Window) -> io::Result<Found> {
    let head = window.fill(gzip::HEADER_BYTES)?;
    let Some(length) = head.first_chunk().and_then(gzip::member_length) else {
        return Ok(Found::Broken(None));
    };
    let member = window.fill(length)?;
    if member.len() < length {
        return Ok(Found::Broken(None));
    }
    let said = gzip::can_hold_what_it_says(member).then(|| (length as u64, gzip::plain_length(member)));
    Ok(match gzip::sort(member) {
        Ok(gzip::Sort::Data(_)) => match gzip::decode(member) {
            Ok(bytes) => Found::Data { bytes, sure: true, length },
            Err(_) => Found::Broken(said),
        },
        Ok(_) => Found::Nothing(length),
        Err(_) => Found::Broken(said),
    })
}

fn frame(window: &mut Window, context: &mut DCtx<'static>) -> io::Result<Found> {
    let head = window.fill(format::SKIPPABLE_HEADER_BYTES)?;
    if let Some(length) = head.first_chunk().and_then(|head| format::skippable_length(*head)) {
        let length =
            usize::try_from(length).unwrap_or(usize::MAX).saturating_add(format::SKIPPABLE_HEADER_BYTES);
        let own = format::SKIPPABLE_HEADER_BYTES + format::MAX_SKIPPABLE_BYTES;
        let whole = length <= own && window.fill(length)?.len() == length;
        return Ok(if whole { Found::Nothing(length) } else { Found::Broken(None) });
    }
    if !head.starts_with(format::MAGIC) {
        return Ok(Found::Broken(None));
    }
    let Some(length) = frame_length(window)? else { return Ok(Found::Broken(None)) };
    let frame = window.fill(length)?;
    let said = match zstd_safe::get_frame_content_size(frame) {
        Ok(Some(bytes)) if bytes <= FRAME_BYTES as u64 => bytes,
        _ => return Ok(Found::Broken(None)),
    };
    let mut bytes = Vec::with_capacity(usize::try_from(said).unwrap_or(0));
    let has_checksum = frame.get(4).is_some_and(|descriptor| descriptor & format::CHECKSUM_BIT != 0);
    Ok(match context.decompress(&mut bytes, frame) {
        Ok(_) if bytes.len() as u64 == said => Found::Data { bytes, sure: has_checksum, length },
        _ => Found::Broken(Some((length as u64, said))),
    })
}

/// Length of a whole frame.
fn frame_length(window: &mut Window) -> io::Result<Option<usize>> {
    let mut ahead_bytes = PROBE_BYTES;
    loop {
        let ahead = window.fill(ahead_bytes)?;
        let whole = ahead.len() < ahead_bytes;
        match zstd_safe::find_frame_compressed_size(ahead) {
            Ok(length) if length <= ahead.len() => return Ok(Some(length)),
            _ if whole || ahead_bytes > FRAME_BYTES => return Ok(None),
            _ => ahead_bytes *= 4,
        }
    }
}

#[cfg(test)]
mod tests;
