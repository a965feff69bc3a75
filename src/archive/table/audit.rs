//! Whether a table of offsets says what is so, found out while its archive is read from front to back.
//!
//! Threads that decompress tell of chunks, and the reader tells of headers. From both follows the table that a writer would have
//! written; it is hashed piece by piece, and its digest must be that of the table which was found.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Content, End, Entries, damaged};

/// One audit, shared between those who know something.
#[derive(Clone, Debug, Default)]
pub(in crate::archive) struct Audit(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Chunks that may have more headers: their lengths in the file and in the tar stream.
    chunks: VecDeque<(u64, u64)>,
    /// Where the first of them begins in the tar stream.
    plain_at: u64,
    /// Headers of members that are in none of the chunks before: where, and the number of the member.
    headers: VecDeque<(u64, u64)>,
    entries: Entries,
    hasher: blake3::Hasher,
    /// What the archive says.
    end: Option<End>,
}

impl Audit {
    /// A chunk was read, of so many bytes in the file and in the tar stream.
    pub(super) fn chunk(&self, bytes: u64, plain_bytes: u64) {
        self.state().chunks.push_back((bytes, plain_bytes));
    }

    /// Something without content lies behind the last chunk and belongs to it.
    pub(super) fn lengthen(&self, bytes: u64) {
        if let Some(last) = self.state().chunks.back_mut() {
            last.0 += bytes;
        }
    }

    /// The archive has a table that ends so.
    pub(super) fn end(&self, end: End) {
        self.state().end = Some(end);
    }

    /// The header of a member begins at `at` in the tar stream.
    pub(in crate::archive) fn header(&self, at: u64, number: u64) {
        let mut state = self.state();
        state.headers.push_back((at, number));
        state.settle(false);
    }

    /// All was read; the header of the index was at `index_at`.
    pub(in crate::archive) fn finish(&self, index_at: u64) -> io::Result<()> {
        let mut state = self.state();
        state.settle(true);
        let Some(end) = state.end else { return Ok(()) };
        let found = End { table_at: state.entries.at, index_at, chunks: state.entries.chunks, ..end };
        if found.fits(state.hasher.clone()) { Ok(()) } else { Err(damaged("its table of offsets is wrong")) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Hashes the chunks that no more headers can be in; at the end all are such.
    fn settle(&mut self, all: bool) {
        while let Some(&(bytes, plain_bytes)) = self.chunks.front() {
            let begin = self.plain_at;
            let end = begin.saturating_add(plain_bytes);
            if !all && self.headers.back().is_none_or(|(at, _)| *at < end) {
                return;
            }
            let mut header = None;
            while let Some((at, line)) = self.headers.front().copied().filter(|(at, _)| *at < end) {
                self.headers.pop_front();
                header.get_or_insert((at.saturating_sub(begin), line));
            }
            let mut entry = Vec::new();
            self.entries.push(&mut entry, bytes, Content { plain_bytes, header });
            self.hasher.update(&entry);
            self.plain_at = end;
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::table::Builder;

    /// Chunks with their lengths and headers as a writer tells them.
    #[allow(clippy::type_complexity)] // a table, which a name for each column would hide
    const CHUNKS: [(u64, u64, &[(u64, u64)]); 4] =
        [(500, 1000, &[]), (90, 2000, &[(5, 0), (700, 1)]), (30, 50, &[]), (70, 900, &[(0, 1), (100, 2)])];

    fn audit(change: impl Fn(usize, &mut (u64, u64, Vec<(u64, u64)>)), index_at: u64) -> io::Result<()> {
        let mut builder = Builder::default();
        let audit = Audit::default();
        let mut plain_at = 0;
        for (number, (bytes, plain_bytes, headers)) in CHUNKS.into_iter().enumerate() {
            builder.chunk(bytes, Content { plain_bytes, header: headers.first().copied() });
            let mut told = (bytes, plain_bytes, headers.to_vec());
            change(number, &mut told);
            audit.chunk(told.0, told.1);
            for (at, line) in told.2 {
                audit.header(plain_at + at, line);
            }
            plain_at += plain_bytes;
        }
        let (_, end) = builder.finish(3150);
        audit.end(End::parse(&end).unwrap());
        audit.finish(index_at)
    }

    #[test]
    fn a_right_table_passes_and_a_wrong_one_does_not() {
        audit(|_, _| {}, 3150).unwrap();
        assert!(audit(|_, _| {}, 3151).is_err());
        for number in 0..4 {
            let of = |at: usize| at == number;
            assert!(audit(|at, told| told.0 += u64::from(of(at)), 3150).is_err(), "length of {number}");
            assert!(audit(|at, told| told.1 -= u64::from(of(at)), 3150).is_err(), "content of {number}");
        }
        for number in [1, 3] {
            let first = |at: usize, told: &mut (u64, u64, Vec<(u64, u64)>), by: (u64, u64)| {
                if at == number {
                    told.2[0] = (told.2[0].0 + by.0, told.2[0].1 + by.1);
                }
            };
            assert!(audit(|at, told| first(at, told, (1, 0)), 3150).is_err(), "place in {number}");
            assert!(audit(|at, told| first(at, told, (0, 1)), 3150).is_err(), "member in {number}");
        }
    }

    /// Its digest is right: who forged the table made it anew.
    #[test]
    fn an_end_that_lies_about_its_table_does_not_pass() {
        let content = Content { plain_bytes: 20, header: None };
        let told = |change: fn(&mut End)| {
            let mut builder = Builder::default();
            builder.chunk(10, content);
            let (entries, end) = builder.finish(15);
            let mut end = End::parse(&end).unwrap();
            change(&mut end);
            end.digest = *blake3::Hasher::new().update(&entries).update(&end.head()).finalize().as_bytes();
            let audit = Audit::default();
            audit.chunk(10, content.plain_bytes);
            audit.end(end);
            audit.finish(15)
        };
        told(|_| {}).unwrap();
        assert!(told(|end| end.table_at += 1).is_err());
        assert!(told(|end| end.chunks += 1).is_err());
        assert!(told(|end| end.index_at += 1).is_err());
    }

    #[test]
    fn what_has_no_table_passes() {
        let audit = Audit::default();
        audit.chunk(10, 20);
        audit.header(3, 0);
        audit.finish(15).unwrap();
    }
}
