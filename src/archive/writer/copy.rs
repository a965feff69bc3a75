//! Copying a member's content, with its digest, and proof that it is as long as its source said.

use std::io::{self, Read};

use crate::archive::digest::ContentHasher;
use crate::archive::{Digest, Error, MemberName, Result};
use crate::tree::{Content, Extent};

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

fn source_error(member: &MemberName, source: io::Error) -> Error {
    Error::Source { member: member.to_string(), source }
}

fn broken_promise(member: &MemberName) -> Error {
    source_error(
        member,
        io::Error::new(io::ErrorKind::InvalidData, "it did not yield the bytes that it announced"),
    )
}

/// Copies the data of `content` to `write`, and zeros where `runs` (which cover its extents) have data and it has
/// none. Returns the digest of the logical content.
pub(in crate::archive) fn copy_content(
    member: &MemberName,
    content: &mut dyn Content,
    runs: &[Extent],
    write: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<Digest> {
    let mut hasher = ContentHasher::new(content.size());
    let extents = content.extents().to_vec();
    let mut expected = extents.iter().copied().peekable();
    let mut runs = Runs { runs: runs.iter().copied().peekable(), position: 0 };
    let mut within = 0;
    loop {
        // First of all the hole before the next data, if there is one.
        let next = expected.peek().map_or(content.size(), |extent| extent.offset + within);
        hasher.hole(next, &|| content.go_on()).map_err(|source| source_error(member, source))?;
        let data = content.next_data().map_err(|source| source_error(member, source))?;
        let Some((offset, data)) = data else { break };
        let extent = *expected.peek().ok_or_else(|| broken_promise(member))?;
        if offset != extent.offset + within || data.is_empty() || data.len() as u64 > extent.length - within {
            return Err(broken_promise(member));
        }
        runs.fill(offset, write)?;
        hasher.data(offset, data);
        write(data)?;
        runs.position += data.len() as u64;
        within += data.len() as u64;
        if within == extent.length {
            expected.next();
            within = 0;
        }
    }
    if expected.next().is_some() {
        return Err(broken_promise(member));
    }
    runs.fill(content.size(), write)?;
    Ok(hasher.finish())
}

/// Where a copy is in the runs of data that the archive has.
struct Runs<I: Iterator<Item = Extent>> {
    runs: std::iter::Peekable<I>,
    position: u64,
}

impl<I: Iterator<Item = Extent>> Runs<I> {
    /// Goes on to `offset` over what the source has no data for: holes, and zeros where they are inside of a run.
    fn fill(&mut self, offset: u64, write: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while let Some(run) = self.runs.peek().copied() {
            let end = run.offset + run.length;
            let from = self.position.max(run.offset);
            let mut zeros = offset.min(end).saturating_sub(from);
            while zeros > 0 {
                let piece = usize::try_from(zeros).map_or(ZEROS.len(), |zeros| zeros.min(ZEROS.len()));
                write(&ZEROS[..piece])?;
                zeros -= piece as u64;
            }
            if end > offset {
                break;
            }
            self.runs.next();
        }
        self.position = offset;
        Ok(())
    }
}

/// Copies a stream to `write`; its length and digest.
pub(in crate::archive) fn copy_stream(
    member: &MemberName,
    stream: &mut dyn Read,
    write: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<(u64, Digest)> {
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 256 << 10];
    let mut length = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Ok((length, hasher.finalize().into())),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                write(&buffer[..read])?;
                length += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(source_error(member, source)),
        }
    }
}

/// Passes content on, with its digest, and proves that it is as long as its source said.
pub(in crate::archive) struct Hashing<'a> {
    inner: &'a mut dyn Content,
    extents: Vec<Extent>,
    hasher: ContentHasher,
    current: usize,
    within: u64,
    failure: Option<io::Error>,
}

impl<'a> Hashing<'a> {
    pub(in crate::archive) fn new(inner: &'a mut dyn Content) -> Self {
        let extents = inner.extents().to_vec();
        let hasher = ContentHasher::new(inner.size());
        Self { inner, extents, hasher, current: 0, within: 0, failure: None }
    }

    /// The digest of what was passed on, and whether the source was stable. `passed` is what became of it there.
    pub(in crate::archive) fn finish(
        mut self,
        member: &MemberName,
        passed: Result<()>,
    ) -> Result<(Digest, bool)> {
        if let Some(failure) = self.failure.take() {
            return Err(source_error(member, failure));
        }
        passed?;
        // What nobody asked for is read here, so that its digest is complete.
        while self.next_data().map_err(|source| source_error(member, source))?.is_some() {}
        let stable = self.inner.is_stable().map_err(|source| source_error(member, source))?;
        Ok((self.hasher.finish(), stable))
    }
}

impl Content for Hashing<'_> {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn extents(&self) -> &[Extent] {
        &self.extents
    }

    fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        let fail = |failure: &mut Option<io::Error>, error: io::Error| {
            let copy = io::Error::new(error.kind(), error.to_string());
            failure.get_or_insert(error);
            Err(copy)
        };
        let broken =
            || io::Error::new(io::ErrorKind::InvalidData, "it did not yield the bytes that it announced");
        let expected = self.extents.get(self.current).copied();
        let next = expected.map_or(self.inner.size(), |extent| extent.offset + self.within);
        if let Err(error) = self.hasher.hole(next, &|| self.inner.go_on()) {
            return fail(&mut self.failure, error);
        }
        match (self.inner.next_data(), expected) {
            (Ok(None), None) => Ok(None),
            (Ok(Some((offset, data))), Some(extent))
                if offset == extent.offset + self.within
                    && !data.is_empty()
                    && data.len() as u64 <= extent.length - self.within =>
            {
                self.hasher.data(offset, data);
                self.within += data.len() as u64;
                if self.within == extent.length {
                    self.current += 1;
                    self.within = 0;
                }
                Ok(Some((offset, data)))
            }
            (Ok(_), _) => fail(&mut self.failure, broken()),
            (Err(error), _) => fail(&mut self.failure, error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::{content, name};

    /// Content whose pieces come as they are given, whatever it has announced.
    struct Pieces {
        size: u64,
        extents: Vec<Extent>,
        rest: std::vec::IntoIter<(u64, Vec<u8>)>,
        last: Vec<u8>,
    }

    impl Pieces {
        fn new(size: u64, extents: &[(u64, u64)], pieces: &[(u64, &[u8])]) -> Self {
            let extents = extents.iter().map(|&(offset, length)| Extent { offset, length }).collect();
            let pieces: Vec<_> = pieces.iter().map(|(offset, bytes)| (*offset, bytes.to_vec())).collect();
            Self { size, extents, rest: pieces.into_iter(), last: Vec::new() }
        }
    }

    impl Content for Pieces {
        fn size(&self) -> u64 {
            self.size
        }

        fn extents(&self) -> &[Extent] {
            &self.extents
        }

        fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>> {
            let Some((offset, bytes)) = self.rest.next() else { return Ok(None) };
            self.last = bytes;
            Ok(Some((offset, &self.last)))
        }
    }

    /// What both ways of copying make of it: the bytes and the digest of the one, the digest of the other.
    fn both(make: &dyn Fn() -> Pieces) -> (Result<(Vec<u8>, Digest)>, Result<Digest>) {
        let (mut copied, mut content, mut hashed) = (Vec::new(), make(), make());
        let runs = content.extents.clone();
        let digest = copy_content(&name("root/a"), &mut content, &runs, &mut |bytes| {
            copied.extend_from_slice(bytes);
            Ok(())
        });
        let passed = Hashing::new(&mut hashed).finish(&name("root/a"), Ok(()));
        (digest.map(|digest| (copied, digest)), passed.map(|(digest, _)| digest))
    }

    #[test]
    fn pieces_of_an_extent_come_one_after_the_other() {
        let whole = Digest::of(b"\0\0abcdef\0\0\0ghi\0");
        let pieces: [(u64, &[u8]); 4] = [(2, b"ab"), (4, b"c"), (5, b"def"), (11, b"ghi")];
        let (copied, hashed) = both(&|| Pieces::new(15, &[(2, 6), (11, 3)], &pieces));
        assert_eq!(copied.unwrap(), (b"abcdefghi".to_vec(), whole));
        assert_eq!(hashed.unwrap(), whole);
    }

    #[test]
    fn other_bytes_than_those_that_were_announced_are_refused() {
        let bad: [&[(u64, &[u8])]; 9] = [
            &[(2, b"ab"), (5, b"def")],
            &[(2, b"ab"), (3, b"cdef")],
            &[(2, b"abcdefg")],
            &[(2, b"abc"), (5, b"defg")],
            &[(2, b"abc"), (5, b"")],
            &[(2, b"abc"), (5, b""), (5, b"def")],
            &[(2, b"abc")],
            &[(2, b"abcdef"), (11, b"x")],
            &[],
        ];
        for pieces in bad {
            let (copied, hashed) = both(&|| Pieces::new(15, &[(2, 6)], pieces));
            assert!(matches!(copied, Err(Error::Source { .. })), "{pieces:?}: {copied:?}");
            assert!(matches!(hashed, Err(Error::Source { .. })), "{pieces:?}: {hashed:?}");
        }
    }

    #[test]
    fn runs_that_are_longer_than_the_data_are_filled_with_zeros() {
        let long = ZEROS.len() as u64 + 10;
        let data = [(2, b"ab".to_vec()), (6, b"cd".to_vec()), (long + 20, b"e".to_vec())];
        // One that begins before its data and goes on behind them, and one that ends where the content does.
        let runs = [(1, 8), (15, long + 10)].map(|(offset, length)| Extent { offset, length });
        let mut copied = Vec::new();
        let digest = copy_content(&name("root/a"), &mut content(long + 25, &data), &runs, &mut |bytes| {
            copied.extend_from_slice(bytes);
            Ok(())
        });
        let mut whole = vec![0; usize::try_from(long).unwrap() + 25];
        for (offset, bytes) in &data {
            let offset = usize::try_from(*offset).unwrap();
            whole[offset..offset + bytes.len()].copy_from_slice(bytes);
        }
        assert_eq!(digest.unwrap(), Digest::of(&whole));
        assert!(copied == [&whole[1..9], &whole[15..]].concat());
    }

    /// A stream whose reads fail in this way, each second one.
    struct Failing(io::ErrorKind, bool, &'static [u8]);

    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 { Err(self.0.into()) } else { self.2.read(&mut buffer[..3]) }
        }
    }

    #[test]
    fn a_signal_ends_no_copy_and_a_failure_does() {
        let copied = |kind| {
            let mut bytes = Vec::new();
            let done = copy_stream(&name("config"), &mut Failing(kind, false, b"content"), &mut |more| {
                bytes.extend_from_slice(more);
                Ok(())
            });
            done.map(|done| (done, bytes))
        };
        let (done, bytes) = copied(io::ErrorKind::Interrupted).unwrap();
        assert_eq!((done, bytes), ((7, Digest::of(b"content")), b"content".to_vec()));
        assert!(copied(io::ErrorKind::BrokenPipe).is_err());
    }
}
