//! Sparse maps as GNU tar keeps them in version 1.0: decimal numbers, each with a line feed, at the head of the
//! member's data; first how many runs, then offset and length of each. NUL fills up to a whole block.

use crate::tree::Extent;

/// Most runs in one member's map. A file with more holes gets its smallest holes filled with zeros.
pub(super) const MAX_RUNS: usize = 1 << 20;
/// Size of tar's blocks.
pub(super) const BLOCK: usize = 512;

/// Whether a file with these runs of data has holes at all.
pub(super) fn has_holes(extents: &[Extent], size: u64) -> bool {
    match extents {
        [] => size > 0,
        [one] => one.offset != 0 || one.length != size,
        _ => true,
    }
}

/// Joins runs across the smallest holes until there are at most `limit`.
pub(super) fn join_runs(extents: &[Extent], limit: usize) -> Vec<Extent> {
    let mut runs = extents.to_vec();
    let mut hole = 4096_u64;
    while runs.len() > limit {
        let mut joined: Vec<Extent> = Vec::with_capacity(runs.len());
        for run in runs {
            match joined.last_mut() {
                Some(last) if run.offset - (last.offset + last.length) <= hole => {
                    last.length = run.offset + run.length - last.offset;
                }
                _ => joined.push(run),
            }
        }
        runs = joined;
        hole = hole.saturating_mul(2);
    }
    runs
}

/// The map's bytes, whole blocks. A hole at the end shows as a last run of no length, as GNU tar wants it.
pub(super) fn encode(runs: &[Extent], size: u64) -> Vec<u8> {
    let end = runs.last().map_or(0, |run| run.offset + run.length);
    let trailing = (end < size).then_some(Extent { offset: size, length: 0 });
    let mut map = format!("{}\n", runs.len() + usize::from(trailing.is_some())).into_bytes();
    for run in runs.iter().chain(&trailing) {
        map.extend_from_slice(format!("{}\n{}\n", run.offset, run.length).as_bytes());
    }
    map.resize(map.len().next_multiple_of(BLOCK), 0);
    map
}

/// Reads a map block by block.
pub(super) struct MapParser {
    number: Option<u64>,
    /// Runs that the map said it has.
    count: Option<u64>,
    offset: Option<u64>,
    seen: u64,
    runs: Vec<Extent>,
    size: u64,
    end: u64,
    ended_empty: bool,
    data_bytes: u64,
}

/// A map that was read to its end.
pub(super) struct Map {
    /// Runs of data, none empty.
    pub(super) runs: Vec<Extent>,
    /// Bytes in all runs.
    pub(super) data_bytes: u64,
}

impl MapParser {
    /// Begins the map of a file of `size` bytes.
    pub(super) fn new(size: u64) -> Self {
        Self {
            number: None,
            count: None,
            offset: None,
            seen: 0,
            runs: Vec::new(),
            size,
            end: 0,
            ended_empty: false,
            data_bytes: 0,
        }
    }

    fn is_done(&self) -> bool {
        self.count == Some(self.seen)
    }

    /// Takes the next block; the map when it is complete. The error says what is wrong.
    pub(super) fn block(&mut self, block: &[u8]) -> Result<Option<Map>, &'static str> {
        for &byte in block {
            if self.is_done() {
                if byte != 0 {
                    return Err("its sparse map is followed by something else");
                }
                continue;
            }
            match byte {
                b'0'..=b'9' => {
                    let number = self.number.unwrap_or(0);
                    self.number = Some(
                        number
                            .checked_mul(10)
                            .and_then(|number| number.checked_add(u64::from(byte - b'0')))
                            .ok_or("a number in its sparse map is too big")?,
                    );
                }
                b'\n' => {
                    let number = self.number.take().ok_or("a number in its sparse map is missing")?;
                    self.take(number)?;
                }
                _ => return Err("its sparse map holds something that is no number"),
            }
        }
        if !self.is_done() {
            return Ok(None);
        }
        Ok(Some(Map { runs: std::mem::take(&mut self.runs), data_bytes: self.data_bytes }))
    }

    fn take(&mut self, number: u64) -> Result<(), &'static str> {
        if self.count.is_none() {
            // The last run may be the empty one that marks a hole at the end.
            if number > MAX_RUNS as u64 + 1 {
                return Err("its sparse map has too many runs");
            }
            self.count = Some(number);
            return Ok(());
        }
        let Some(offset) = self.offset.take() else {
            self.offset = Some(number);
            return Ok(());
        };
        let end = offset.checked_add(number).ok_or("a run of its sparse map is too long")?;
        if offset < self.end || end > self.size || self.ended_empty {
            return Err("the runs of its sparse map overlap, or lie outside of the file");
        }
        if number == 0 {
            self.ended_empty = true;
        } else if offset == self.end && !self.runs.is_empty() {
            // Abutting runs are one.
            let last = self.runs.len() - 1;
            self.runs[last].length += number;
        } else {
            self.runs.push(Extent { offset, length: number });
        }
        self.data_bytes += number;
        self.end = end;
        self.seen += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(map: &[u8], size: u64) -> Result<Option<Map>, &'static str> {
        let mut parser = MapParser::new(size);
        let mut result = None;
        for block in map.chunks(BLOCK) {
            result = parser.block(block)?;
        }
        Ok(result)
    }

    #[test]
    fn maps_and_back() {
        let run = |offset, length| Extent { offset, length };
        for (runs, size) in [
            (vec![], 1 << 40),
            (vec![run(0, 1)], 2),
            (vec![run(4096, 4096)], 8192),
            (vec![run(0, 4096), run(1 << 30, 5)], (1 << 30) + 5),
            ((0..2000).map(|n| run(n * 8192 + 4096, 4096)).collect(), 2000 * 8192),
        ] {
            assert!(has_holes(&runs, size));
            let map = parse(&encode(&runs, size), size).unwrap().unwrap();
            assert_eq!(map.runs, runs);
            assert_eq!(map.data_bytes, runs.iter().map(|run| run.length).sum::<u64>());
        }
        assert!(!has_holes(&[], 0));
        assert!(!has_holes(&[run(0, 7)], 7));
    }

    #[test]
    fn the_smallest_holes_are_filled_first() {
        let run = |offset, length| Extent { offset, length };
        let begin = 1 << 20;
        // Holes of 4096 and of 8192 bytes, and one of a gigabyte.
        let runs = [run(begin, 100_000), run(begin + 104_096, 1), run(begin + 112_289, 1), run(1 << 30, 5)];
        assert_eq!(join_runs(&runs, 4), runs);
        assert_eq!(join_runs(&runs, 3), [run(begin, 104_097), runs[2], runs[3]]);
        assert_eq!(join_runs(&runs, 2), [run(begin, 112_290), runs[3]]);
        assert_eq!(join_runs(&runs, 1), [run(begin, (1 << 30) + 5 - begin)]);
    }

    /// As GNU tar writes them: a run of no length at the end where the file ends with a hole, and nowhere else.
    #[test]
    fn the_text_of_a_map() {
        let text = |runs: &[Extent], size| {
            let map = encode(runs, size);
            assert_eq!(map.len(), BLOCK);
            String::from_utf8(map).unwrap().trim_end_matches('\0').to_owned()
        };
        let run = Extent { offset: 4096, length: 5 };
        assert_eq!(text(&[run], 4101), "1\n4096\n5\n");
        assert_eq!(text(&[run], 4102), "2\n4096\n5\n4102\n0\n");
        assert_eq!(text(&[], 7), "1\n7\n0\n");
        assert_eq!(text(&[], 0), "0\n");
    }

    /// Runs that abut are one; but the first one begins where it says.
    #[test]
    fn runs_that_abut_are_joined() {
        let map = |text: &str| {
            let mut map = text.as_bytes().to_vec();
            map.resize(BLOCK, 0);
            parse(&map, 100).map(|map| map.unwrap().runs)
        };
        let run = |offset, length| Extent { offset, length };
        assert_eq!(map("2\n0\n5\n5\n5\n").unwrap(), [run(0, 10)]);
        assert_eq!(map("3\n10\n5\n15\n5\n21\n1\n").unwrap(), [run(10, 10), run(21, 1)]);
        assert_eq!(map("2\n10\n5\n100\n0\n").unwrap(), [run(10, 5)]);
        assert_eq!(map("1\n0\n100\n").unwrap(), [run(0, 100)]);
        assert_eq!(map("1\n100\n0\n").unwrap(), []);
    }

    #[test]
    fn attacks() {
        for bad in [
            "2\n0\n10\n5\n10\n",
            "1\n0\n101\n",
            "1\n18446744073709551615\n2\n",
            "1\n99999999999999999999\n2\n",
            "2\n50\n10\n0\n10\n",
            "1\n\n2\n",
            "1\n-1\n2\n",
            "99999999\n",
            "2\n100\n0\n100\n0\n",
            "1\n0\n1\nx",
        ] {
            assert!(parse(bad.as_bytes(), 100).is_err(), "{bad}");
        }
        assert!(parse(b"3\n0\n1\n", 100).unwrap().is_none());
        // As many runs as a writer makes, and one for a hole at the end.
        assert!(parse(format!("{}\n", MAX_RUNS + 1).as_bytes(), 100).unwrap().is_none());
        assert!(parse(format!("{}\n", MAX_RUNS + 2).as_bytes(), 100).is_err());
    }

    #[test]
    fn too_many_runs_are_joined_over_the_smallest_holes() {
        let mut runs: Vec<Extent> = (0..100).map(|n| Extent { offset: n * 8192, length: 4096 }).collect();
        runs.push(Extent { offset: 1 << 40, length: 1 });
        let joined = join_runs(&runs, 10);
        assert_eq!(
            joined,
            [Extent { offset: 0, length: 99 * 8192 + 4096 }, Extent { offset: 1 << 40, length: 1 }]
        );
        assert_eq!(join_runs(&runs, 101), runs);
    }
}
