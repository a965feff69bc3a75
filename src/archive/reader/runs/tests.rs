use super::*;
use crate::archive::table::{Builder, Content, End};

/// Chunks of ten bytes in the file and a hundred in the tar stream, with these headers.
fn table(headers: &[Option<(u64, u64)>]) -> Table {
    let mut builder = Builder::default();
    for &header in headers {
        builder.chunk(10, Content { plain_bytes: 100, header });
    }
    let (bytes, end) = builder.finish(0);
    Table::new(bytes, End::parse(&end).unwrap()).unwrap()
}

#[test]
fn a_member_lies_in_the_chunks_from_its_header_to_the_next_one() {
    // Members 0 to 2 begin in the first chunk, 3 in the second, 4 at the beginning of the fourth, 5 within the fifth.
    let table = table(&[Some((0, 0)), Some((40, 3)), None, Some((0, 4)), Some((5, 5)), None]);
    let mut finder = Finder::new(&table);
    let found: Vec<_> = (0..6).map(|number| finder.find(number).unwrap()).collect();
    let chunks: Vec<_> = found.iter().map(|(first, last)| (first.number, last.number)).collect();
    assert_eq!(chunks, [(0, 0), (0, 0), (0, 1), (1, 2), (3, 4), (4, 5)]);
    // Members may be left out.
    let mut finder = Finder::new(&table);
    let (first, last) = finder.find(4).unwrap();
    assert_eq!((first.number, last.number), (3, 4));
    assert!(Finder::new(&self::table(&[None])).find(0).is_none());
}

#[test]
fn chunks_that_follow_one_another_are_one_run() {
    let table = table(&[Some((0, 0)); 8]);
    let chunks: Vec<_> = table.chunks().collect();
    let mut runs = Vec::new();
    for (member, (first, last)) in [(0, 2), (1, 1), (2, 3), (4, 4), (6, 7)].into_iter().enumerate() {
        Run::add(&mut runs, chunks[first], chunks[last], member as u64);
    }
    let found: Vec<_> = runs.iter().map(|run| (run.first.number, run.last.number, run.until)).collect();
    assert_eq!(found, [(0, 4, 3), (6, 7, 4)]);
}

#[test]
fn two_answers_a_line() {
    let given = [(false, false), (true, false), (true, true), (false, false), (true, true), (false, false)];
    let mut answers = Answers::default();
    for (member, wanted) in given {
        answers.push(member, wanted);
    }
    let got: Vec<_> = (0..given.len()).map(|line| answers.get(line)).collect();
    assert_eq!(got, given);
    assert_eq!((answers.wanted, answers.get(100)), (2, (false, false)));
}
