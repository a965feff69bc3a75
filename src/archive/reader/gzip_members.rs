//! gzip as other programs write it: one member after the other, of any length, with any header.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

/// The content of all members. Behind the last one may be zeros, with which tapes and block devices are filled up, and nothing else.
pub(super) struct Members<R> {
    /// None at the end, and after a failure.
    current: Option<GzDecoder<R>>,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { current: Some(GzDecoder::new(inner)) }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.current {
            let read = member.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            let inner = self.current.take().map(GzDecoder::into_inner);
            self.current = match inner {
                Some(inner) => next(inner)?,
                None => None,
            };
        }
        Ok(0)
    }
}

/// The member that follows, if one does.
fn next<R: BufRead>(mut inner: R) -> io::Result<Option<GzDecoder<R>>> {
    match filled(&mut inner)?.first() {
        None => Ok(None),
        Some(0) => only_zeros(inner).map(|()| None),
        Some(_) => Ok(Some(GzDecoder::new(inner))),
    }
}

fn only_zeros(mut inner: impl BufRead) -> io::Result<()> {
    loop {
        let ahead = filled(&mut inner)?;
        if ahead.is_empty() {
            return Ok(());
        }
        if ahead.iter().any(|&byte| byte != 0) {
            let what = "there is something behind its last gzip member that is neither one nor zeros";
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        let length = ahead.len();
        inner.consume(length);
    }
}

/// The bytes ahead; none at the end.
fn filled(inner: &mut impl BufRead) -> io::Result<&[u8]> {
    loop {
        match inner.fill_buf() {
            Ok([]) => return Ok(&[]),
            // Asked for once more, because what is borrowed here cannot be returned in a loop. They are there: nothing is read.
            Ok(_) => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    inner.fill_buf()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::noise;

    /// Bits of a header's flags (RFC 1952, 2.3.1).
    const TEXT: u8 = 1;
    const HEADER_CRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;

    /// A member whose header has these fields.
    fn member(content: &[u8], flags: u8) -> Vec<u8> {
        let mut member = vec![0x1f, 0x8b, 8, flags, 1, 2, 3, 4, 0, 3];
        if flags & EXTRA != 0 {
            member.extend_from_slice(b"\x08\0AB\x04\0data");
        }
        if flags & NAME != 0 {
            member.extend_from_slice(b"a name.tar\0");
        }
        if flags & COMMENT != 0 {
            member.extend_from_slice(b"and a comment\0");
        }
        if flags & HEADER_CRC != 0 {
            let mut crc = flate2::Crc::new();
            crc.update(&member);
            member.extend_from_slice(&crc.sum().to_le_bytes()[..2]);
        }
        let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        io::Write::write_all(&mut deflate, content).unwrap();
        member.extend(deflate.finish().unwrap());
        let mut crc = flate2::Crc::new();
        crc.update(content);
        member.extend_from_slice(&crc.sum().to_le_bytes());
        member.extend_from_slice(&u32::try_from(content.len()).unwrap().to_le_bytes());
        member
    }

    /// What is read of `file` in pieces of so many bytes.
    fn read(file: &[u8], piece_bytes: usize) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        let reader = io::BufReader::with_capacity(piece_bytes, file);
        Members::new(reader).read_to_end(&mut content).map(|_| content)
    }

    #[test]
    fn headers_of_every_kind_and_members_that_follow_one_another() {
        let parts = [noise(100_000), Vec::new(), vec![7; 50_000], b"x".to_vec()];
        let flags = [
            0,
            TEXT,
            NAME,
            COMMENT,
            EXTRA,
            HEADER_CRC,
            NAME | HEADER_CRC,
            TEXT | NAME | COMMENT | EXTRA | HEADER_CRC,
        ];
        let (mut file, mut whole) = (Vec::new(), Vec::new());
        for flags in flags {
            for part in &parts {
                file.extend(member(part, flags));
                whole.extend_from_slice(part);
                assert!(read(&member(part, flags), 1000).unwrap() == *part, "{flags:#b}");
            }
        }
        for piece_bytes in [1, 7, 4096, 1 << 20] {
            assert!(read(&file, piece_bytes).unwrap() == whole, "in pieces of {piece_bytes}");
        }
    }

    /// A source that a signal disturbs before each reading, or that fails.
    struct Disturbed<'a> {
        bytes: &'a [u8],
        kind: io::ErrorKind,
        fails: bool,
    }

    impl Read for Disturbed<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.fails = !self.fails;
            if self.fails { Err(self.kind.into()) } else { self.bytes.read(buffer) }
        }
    }

    #[test]
    fn a_signal_is_no_failure_and_a_failure_is_no_end() {
        let content = noise(50_000);
        let file = [member(&content, NAME), vec![0; 100]].concat();
        let read = |kind| {
            let source = Disturbed { bytes: &file, kind, fails: false };
            let mut found = Vec::new();
            let mut members = Members::new(io::BufReader::with_capacity(1000, source));
            members.read_to_end(&mut found).map(|_| found)
        };
        assert!(read(io::ErrorKind::Interrupted).unwrap() == content);
        assert_eq!(read(io::ErrorKind::TimedOut).unwrap_err().kind(), io::ErrorKind::TimedOut);
        // Who reads does not see a signal at all.
        let first = |kind| {
            let source = Disturbed { bytes: &file, kind, fails: false };
            filled(&mut io::BufReader::with_capacity(10, source)).map(<[u8]>::to_vec)
        };
        assert_eq!(first(io::ErrorKind::Interrupted).unwrap(), file[..10]);
        assert_eq!(first(io::ErrorKind::TimedOut).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn zeros_may_follow_and_nothing_else() {
        let mut file = member(b"content", NAME);
        for zeros in [1, 511, 100_000] {
            let padded = [&file[..], &vec![0; zeros]].concat();
            assert_eq!(read(&padded, 4096).unwrap(), b"content");
            for last in [&b"x"[..], &member(b"more", 0)] {
                assert!(read(&[&padded[..], last].concat(), 4096).is_err(), "{zeros} zeros and more");
            }
        }
        // Zeros before everything are no gzip.
        assert!(read(&[&[0; 10][..], &file].concat(), 4096).is_err());
        file.extend_from_slice(b"garbage that is longer than a header");
        assert!(read(&file, 4096).is_err());
    }

    #[test]
    fn what_is_cut_or_changed_is_noticed() {
        /// The fixed part, extra field, name and checksum.
        const HEADER_BYTES: usize = 10 + 10 + 11 + 2;
        let content = noise(5000);
        let flags = NAME | EXTRA | HEADER_CRC;
        let file = [member(&content, flags), member(&content, flags)].concat();
        let first = file.len() / 2;
        for length in (1..file.len()).filter(|length| *length != first) {
            assert!(read(&file[..length], 4096).is_err(), "cut to {length}");
        }
        let whole = content.repeat(2);
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 0x20;
            // What fills bytes up within deflated data means nothing. Headers have a checksum, and so has the content.
            if let Ok(read) = read(&changed, 4096) {
                assert!(read == whole && at % first >= HEADER_BYTES, "changed at {at}");
            }
        }
    }
}
