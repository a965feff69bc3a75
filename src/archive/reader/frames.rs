//! Undoing zstd frame by frame, with an eye on the table of offsets in between.

use std::io::{self, BufRead, Read};

use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

use crate::archive::table::Watch;
use crate::archive::zstd::{self as format, Skippable};

/// Longest distance, as a power of two, over which a frame may refer back, which is held in memory. Level 19, the highest that is written
/// here, takes 23.
const MAX_WINDOW_LOG: u32 = 26;

/// The content of all frames, one after the other.
pub(super) struct Frames<R> {
    inner: R,
    context: DCtx<'static>,
    /// The beginning of the current frame, which was read already.
    head: Vec<u8>,
    in_frame: bool,
    /// Bytes read so far.
    position: u64,
    /// Where the current frame began, and how many bytes came out of it.
    began_at: u64,
    made_bytes: u64,
    /// None where a part of an archive is read.
    watch: Option<Watch>,
}

impl<R: BufRead> Frames<R> {
    pub(super) fn new(inner: R, watch: Option<Watch>) -> Self {
        let mut context = DCtx::create();
        // It is a number that the library knows; without it the library's own limit stays.
        let _ = context.set_parameter(DParameter::WindowLogMax(MAX_WINDOW_LOG));
        Self {
            inner,
            context,
            head: Vec::new(),
            in_frame: false,
            position: 0,
            began_at: 0,
            made_bytes: 0,
            watch,
        }
    }

    /// Goes to the next frame with content. False at the end.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            let began_at = self.position;
            let mut magic = Vec::new();
            self.position += (&mut self.inner).take(4).read_to_end(&mut magic)? as u64;
            match <[u8; 4]>::try_from(&magic[..]) {
                Err(_) if magic.is_empty() => {
                    self.watch.as_ref().map_or(Ok(()), Watch::finish)?;
                    return Ok(false);
                }
                Err(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(magic) if magic == format::MAGIC => {
                    self.watch.as_ref().map_or(Ok(()), Watch::data)?;
                    self.head = magic.to_vec();
                    // With the descriptor, of which one bit has no meaning.
                    self.position += (&mut self.inner).take(1).read_to_end(&mut self.head)? as u64;
                    if let (Some(watch), Some(descriptor)) = (&mut self.watch, self.head.get(4))
                        && descriptor & format::UNUSED_BIT != 0
                    {
                        watch.odd();
                    }
                    (self.in_frame, self.began_at, self.made_bytes) = (true, began_at, 0);
                    return Ok(true);
                }
                Ok(magic) => self.skip(magic, began_at)?,
            }
        }
    }

    /// Passes by a frame without content.
    fn skip(&mut self, magic: [u8; 4], began_at: u64) -> io::Result<()> {
        let mut header = [0; format::SKIPPABLE_HEADER_BYTES];
        header[..4].copy_from_slice(&magic);
        self.inner.read_exact(&mut header[4..])?;
        let length = format::skippable_length(header).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "there is something between its zstd frames")
        })?;
        self.position += 4 + u64::from(length);
        let small = usize::try_from(length).is_ok_and(|length| length <= format::MAX_SKIPPABLE_BYTES);
        if !small {
            let skipped = io::copy(&mut (&mut self.inner).take(length.into()), &mut io::sink())?;
            return if skipped < u64::from(length) {
                Err(io::ErrorKind::UnexpectedEof.into())
            } else {
                Ok(())
            };
        }
        let mut data = Vec::new();
        if (&mut self.inner).take(length.into()).read_to_end(&mut data)? as u64 != u64::from(length) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some(watch) = &mut self.watch else { return Ok(()) };
        match format::skippable(header, &data) {
            Skippable::Announcement => watch.announce(self.position - began_at),
            Skippable::Part(data) => watch.part(data, began_at)?,
            Skippable::End(data) => watch.end(data)?,
            Skippable::Other => {}
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !buffer.is_empty() {
            if !self.in_frame && !self.next_frame()? {
                break;
            }
            let own_head = !self.head.is_empty();
            let bytes = if own_head { &self.head[..] } else { self.inner.fill_buf()? };
            let at_end = bytes.is_empty();
            let (mut input, mut output) = (InBuffer::around(bytes), OutBuffer::around(&mut *buffer));
            // The library reports broken frames as errors of no kind; they are damage.
            let left = self
                .context
                .decompress_stream(&mut output, &mut input)
                .map_err(|code| io::Error::new(io::ErrorKind::InvalidData, get_error_name(code)))?;
            let (used, made) = (input.pos(), output.pos());
            if own_head {
                self.head.drain(..used);
            } else {
                self.inner.consume(used);
                self.position += used as u64;
            }
            self.in_frame = left != 0;
            self.made_bytes += made as u64;
            if let (false, Some(watch)) = (self.in_frame, &self.watch) {
                watch.chunk(self.position - self.began_at, self.made_bytes);
            }
            if made > 0 {
                return Ok(made);
            }
            if self.in_frame && at_end {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        Frames::new(io::Cursor::new(bytes), None).read_to_end(&mut plain).map(|_| plain)
    }

    #[test]
    fn frames_without_content_are_passed_by() {
        let frame = |plain: &[u8]| format::Encoder::new(1).unwrap().encode(plain).unwrap();
        let skippable = |length: usize| {
            [&format::SKIPPABLE, &u32::try_from(length).unwrap().to_le_bytes()[..], &vec![7; length]].concat()
        };
        let most = format::MAX_SKIPPABLE_BYTES;
        for length in [0, 1, most, most + 1, 3 * most] {
            let between = [frame(b"one"), skippable(length), frame(b"two"), skippable(length)].concat();
            assert_eq!(read(&between).unwrap(), b"onetwo");
            for cut in [1, length].into_iter().filter(|cut| (1..=length).contains(cut)) {
                let error = read(&between[..between.len() - cut]).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{length}");
            }
            // Its header alone.
            let end = between.len() - length;
            for cut in 1..8 {
                assert!(read(&between[..end - cut]).is_err());
            }
        }
    }

    #[test]
    fn what_is_no_frame_is_damage() {
        let frame = format::Encoder::new(1).unwrap().encode(b"content").unwrap();
        assert_eq!(read(&frame).unwrap(), b"content");
        assert_eq!(read(b"").unwrap(), b"");
        for behind in [&b"x"[..], b"xyz", b"text and more", &[0; 8], &frame[1..], &frame[..4], &frame[..5]] {
            assert!(read(&[&frame[..], behind].concat()).is_err(), "{behind:?}");
        }
    }
}
