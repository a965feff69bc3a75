//! Which chunks of an archive hold what is wanted.

use crate::archive::table::{Chunk, Chunks, Table};

/// Two bits a line of the index: whether it is of a member, and whether that is wanted.
#[derive(Default)]
pub(super) struct Answers {
    bits: Vec<u8>,
    lines: usize,
    pub(super) wanted: u64,
}

impl Answers {
    pub(super) fn push(&mut self, member: bool, wanted: bool) {
        if self.lines.is_multiple_of(4) {
            self.bits.push(0);
        }
        if let Some(last) = self.bits.last_mut() {
            *last |= (u8::from(member) | u8::from(wanted) << 1) << (self.lines % 4 * 2);
        }
        self.lines += 1;
        self.wanted += u64::from(wanted);
    }

    pub(super) fn get(&self, line: usize) -> (bool, bool) {
        let bits = self.bits.get(line / 4).map_or(0, |byte| byte >> (line % 4 * 2));
        (bits & 1 != 0, bits & 2 != 0)
    }
}

/// Chunks one after the other that hold what is wanted.
pub(super) struct Run {
    pub(super) first: Chunk,
    pub(super) last: Chunk,
    /// Number of the last member in it that is wanted.
    pub(super) until: u64,
}

impl Run {
    /// Adds the chunks of the next member, which may go on where the last run ends.
    pub(super) fn add(runs: &mut Vec<Self>, first: Chunk, last: Chunk, member: u64) {
        match runs.last_mut() {
            Some(run) if first.number <= run.last.number + 1 => {
                if last.number > run.last.number {
                    run.last = last;
                }
                run.until = member;
            }
            _ => runs.push(Self { first, last, until: member }),
        }
    }
}

/// Finds the chunks that members lie in; numbers of members must ascend.
pub(super) struct Finder<'a> {
    chunks: Chunks<'a>,
    /// The last chunk with a header of a member up to the one that was asked for last, with the one before the chunk that has the
    /// next such header, and that chunk.
    first: Option<Chunk>,
    before: Option<Chunk>,
    after: Option<Chunk>,
}

impl<'a> Finder<'a> {
    pub(super) fn new(table: &'a Table) -> Self {
        let mut this = Self { chunks: table.chunks(), first: None, before: None, after: None };
        this.advance();
        this
    }

    /// Goes on to the next chunk with a header.
    fn advance(&mut self) {
        self.first = self.after.take();
        self.before = self.first;
        for chunk in self.chunks.by_ref() {
            if chunk.content.header.is_some() {
                self.after = Some(chunk);
                return;
            }
            self.before = Some(chunk);
        }
    }

    /// The first and the last chunk of a member.
    pub(super) fn find(&mut self, number: u64) -> Option<(Chunk, Chunk)> {
        while let Some((_, line)) = self.after.and_then(|after| after.content.header)
            && line <= number
        {
            self.advance();
        }
        let first = self.first?;
        let last = match self.after.and_then(|after| Some((after, after.content.header?))) {
            // The next member begins in the first chunk too.
            Some((_, (_, line))) if line > number + 1 => first,
            Some((after, (at, _))) if at > 0 => after,
            _ => self.before.unwrap_or(first),
        };
        Some((first, last))
    }
}

#[cfg(test)]
mod tests;
