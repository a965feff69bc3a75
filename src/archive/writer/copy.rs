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
