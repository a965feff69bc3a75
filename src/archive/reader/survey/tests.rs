//! What of a file is lost is told once.

use super::*;

fn joined(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut ranges: Vec<_> =
        ranges.iter().map(|&(offset, length)| (None, Range { offset, length })).collect();
    join(&mut ranges);
    ranges.iter().map(|(_, range)| (range.offset, range.length)).collect()
}

#[test]
fn what_touches_is_joined() {
    assert_eq!(joined(&[]), []);
    assert_eq!(joined(&[(5, 10)]), [(5, 10)]);
    // Behind each other, over each other, within each other.
    assert_eq!(joined(&[(5, 10), (15, 3)]), [(5, 13)]);
    assert_eq!(joined(&[(5, 10), (8, 20)]), [(5, 23)]);
    assert_eq!(joined(&[(5, 10), (8, 2)]), [(5, 10)]);
    assert_eq!(joined(&[(5, 10), (5, 12), (17, 1), (18, 2)]), [(5, 15)]);
    // What lies between is not lost.
    assert_eq!(joined(&[(5, 10), (16, 3)]), [(5, 10), (16, 3)]);
    // In whatever order they were found.
    assert_eq!(joined(&[(40, 2), (15, 3), (5, 10), (42, 8)]), [(5, 13), (40, 10)]);
}
