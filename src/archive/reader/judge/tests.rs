//! Contents come in the order of their lines: one is never taken for a line that lies elsewhere.

use super::*;

fn spare(members: &[(usize, &str)], agreed: &[(usize, usize)]) -> Spare {
    let mut by_digest: HashMap<Digest, Vec<usize>> = HashMap::new();
    for (member, content) in members {
        by_digest.entry(Digest::of(content.as_bytes())).or_default().push(*member);
    }
    Spare { by_digest, agreed: agreed.to_vec(), passed: 0, least: 0 }
}

fn take(spare: &mut Spare, content: &str, line: usize) -> Option<usize> {
    spare.take(Digest::of(content.as_bytes()), line)
}

#[test]
fn a_spare_content_lies_between_those_that_agree() {
    let mut spare = spare(&[(0, "a"), (1, "a"), (3, "a"), (4, "a"), (6, "a")], &[(2, 2), (5, 4)]);
    assert_eq!(take(&mut spare, "a", 0), Some(0));
    assert_eq!(take(&mut spare, "a", 1), Some(1));
    assert_eq!(take(&mut spare, "a", 1), None);
    spare.pass(2, 2);
    assert_eq!(take(&mut spare, "b", 3), None);
    assert_eq!(take(&mut spare, "a", 3), Some(3));
    assert_eq!(take(&mut spare, "a", 3), Some(4));
    assert_eq!(take(&mut spare, "a", 3), None);
    spare.pass(5, 4);
    assert_eq!(take(&mut spare, "a", 5), Some(6));
    assert_eq!(take(&mut spare, "a", 6), None);
}

#[test]
fn a_spare_content_lies_behind_those_that_were_taken() {
    let mut spare = spare(&[(1, "b"), (2, "a"), (3, "b")], &[]);
    assert_eq!(take(&mut spare, "a", 0), Some(2));
    assert_eq!(take(&mut spare, "b", 1), Some(3));
    assert_eq!(take(&mut spare, "b", 2), None);
    // Nor before one that agrees, whatever the order of those.
    let mut spare = self::spare(&[(0, "a"), (1, "a"), (8, "a")], &[(7, 0), (3, 1)]);
    spare.pass(7, 0);
    spare.pass(3, 1);
    assert_eq!(take(&mut spare, "a", 2), Some(8));
    // One of a hard link that several lines agree with is passed once.
    let mut spare = self::spare(&[(1, "a"), (5, "a")], &[(0, 0), (4, 2)]);
    spare.pass(3, 9);
    assert_eq!(take(&mut spare, "a", 1), Some(5));
}
