//! Compares and digests content.

use std::io;

use crate::archive::Digest;
use crate::tree::{Content, Extent, FileContent};

/// Bytes that are read from each side at a time: both fit a core's second-level cache.
const BLOCK: usize = 128 << 10;

/// Smaller files are read without asking for their holes.
const SPARSE_MIN_SIZE: u64 = 2 * BLOCK as u64;

static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// What one thread reads into.
pub(super) struct Buffers {
    base: Box<[u8]>,
    now: Box<[u8]>,
}

/// What reading found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Compared {
    pub(super) equal: bool,
    /// Of the base's content, where it was asked for.
    pub(super) digest: Option<Digest>,
}

/// Why reading ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The user wants it.
    Interrupted,
    /// The base's file cannot be read.
    Base(io::Error),
    /// The file as it is now cannot be read.
    Now(io::Error),
}

/// Counts the bytes that were read, and says whether to stop.
pub(super) type Meter<'a> = dyn Fn(u64) -> Result<(), Stop> + 'a;

impl Buffers {
    pub(super) fn new() -> Self {
        Self { base: vec![0; BLOCK].into(), now: vec![0; BLOCK].into() }
    }

    /// Compares two files of `size` bytes. With `digest` the base is read to its end even if the files differ.
    pub(super) fn compare(
        &mut self,
        base: &FileContent,
        now: &FileContent,
        size: u64,
        digest: bool,
        meter: &Meter<'_>,
    ) -> Result<Compared, Stop> {
        let mut hasher = digest.then(blake3::Hasher::new);
        let mut equal = true;
        for piece in pieces(base, Some(now), size) {
            match piece {
                Piece::Hole(length) => {
                    if let Some(hasher) = &mut hasher {
                        hash_zeros(hasher, length, meter)?;
                    }
                }
                Piece::Data(extent) => {
                    let mut at = extent.offset;
                    let end = extent.offset + extent.length;
                    while at < end && (equal || hasher.is_some()) {
                        let want = block_length(end - at);
                        let read = base.read_at(&mut self.base[..want], at).map_err(Stop::Base)?;
                        let old = &self.base[..read];
                        if let Some(hasher) = &mut hasher {
                            hasher.update(old);
                        }
                        let mut bytes = read as u64;
                        if equal {
                            let read = now.read_at(&mut self.now[..want], at).map_err(Stop::Now)?;
                            bytes += read as u64;
                            // A short read: the file shrank since it was looked at.
                            equal = old.len() == want && old == &self.now[..read];
                        }
                        meter(bytes)?;
                        if old.len() < want {
                            return Ok(Compared {
                                equal: false,
                                digest: hasher.map(|h| h.finalize().into()),
                            });
                        }
                        at += want as u64;
                    }
                }
            }
            if !equal && hasher.is_none() {
                break;
            }
        }
        Ok(Compared { equal, digest: hasher.map(|hasher| hasher.finalize().into()) })
    }

    /// Digest of one file's content, up to its end or to `size` bytes.
    pub(super) fn digest(
        &mut self,
        file: &FileContent,
        size: u64,
        meter: &Meter<'_>,
    ) -> Result<Digest, Stop> {
        let mut hasher = blake3::Hasher::new();
        for piece in pieces(file, None, size) {
            let extent = match piece {
                Piece::Hole(length) => {
                    hash_zeros(&mut hasher, length, meter)?;
                    continue;
                }
                Piece::Data(extent) => extent,
            };
            let mut at = extent.offset;
            let end = extent.offset + extent.length;
            while at < end {
                let want = block_length(end - at);
                let read = file.read_at(&mut self.base[..want], at).map_err(Stop::Base)?;
                hasher.update(&self.base[..read]);
                meter(read as u64)?;
                if read < want {
                    return Ok(hasher.finalize().into());
                }
                at += want as u64;
            }
        }
        Ok(hasher.finalize().into())
    }
}

fn block_length(rest: u64) -> usize {
    usize::try_from(rest).map_or(BLOCK, |rest| rest.min(BLOCK))
}

/// The digest is over what a reader sees, zeros in holes included; they need no reading.
fn hash_zeros(hasher: &mut blake3::Hasher, length: u64, meter: &Meter<'_>) -> Result<(), Stop> {
    let mut rest = length;
    while rest > 0 {
        let part = block_length(rest);
        hasher.update(&ZEROS[..part]);
        meter(0)?;
        rest -= part as u64;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// That many zeros in all files.
    Hole(u64),
    /// At least one file has data.
    Data(Extent),
}

fn pieces(file: &FileContent, other: Option<&FileContent>, size: u64) -> Vec<Piece> {
    let whole = [Extent { offset: 0, length: size }];
    match other {
        _ if size == 0 => Vec::new(),
        _ if size < SPARSE_MIN_SIZE => vec![Piece::Data(whole[0])],
        Some(other) => cover(file.extents(), other.extents(), size),
        None => cover(file.extents(), &[], size),
    }
}

/// Splits `0..size` into what neither list has and what at least one has.
fn cover(a: &[Extent], b: &[Extent], size: u64) -> Vec<Piece> {
    let mut all: Vec<Extent> = a.iter().chain(b).copied().filter(|extent| extent.offset < size).collect();
    all.sort_unstable_by_key(|extent| extent.offset);
    let mut pieces = Vec::new();
    let mut at = 0;
    for extent in all {
        let end = extent.offset.saturating_add(extent.length).min(size);
        if end <= at {
            continue;
        }
        if extent.offset > at {
            pieces.push(Piece::Hole(extent.offset - at));
            at = extent.offset;
        }
        match pieces.last_mut() {
            Some(Piece::Data(last)) => last.length = end - last.offset,
            _ => pieces.push(Piece::Data(Extent { offset: at, length: end - at })),
        }
        at = end;
    }
    if at < size {
        pieces.push(Piece::Hole(size - at));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::{Piece, cover};
    use crate::tree::Extent;

    fn extents(list: &[(u64, u64)]) -> Vec<Extent> {
        list.iter().map(|&(offset, length)| Extent { offset, length }).collect()
    }

    fn data(offset: u64, length: u64) -> Piece {
        Piece::Data(Extent { offset, length })
    }

    #[test]
    fn only_what_both_lack_is_a_hole() {
        let a = extents(&[(10, 10), (50, 10)]);
        let b = extents(&[(15, 15), (90, 20)]);
        let pieces =
            [Piece::Hole(10), data(10, 20), Piece::Hole(20), data(50, 10), Piece::Hole(30), data(90, 10)];
        assert_eq!(cover(&a, &b, 100), pieces);
        assert_eq!(cover(&b, &a, 100), pieces);
    }

    #[test]
    fn a_file_without_holes_is_one_piece() {
        assert_eq!(cover(&extents(&[(0, 7)]), &[], 7), [data(0, 7)]);
        assert_eq!(cover(&extents(&[(0, 4), (4, 3)]), &extents(&[(2, 5)]), 7), [data(0, 7)]);
    }

    #[test]
    fn a_file_that_is_all_hole_has_no_data() {
        assert_eq!(cover(&[], &[], 5), [Piece::Hole(5)]);
        assert_eq!(cover(&[], &[], 0), []);
        assert_eq!(cover(&extents(&[(9, 3)]), &[], 5), [Piece::Hole(5)]);
    }
}
