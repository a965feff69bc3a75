use super::*;
use crate::archive::testing::MemorySink;
use gzip::Sort;

/// What is written as members, each with whether it announces a table.
fn members(write: impl FnOnce(&mut Output) -> io::Result<()>) -> Vec<(Vec<u8>, bool)> {
    let sink = MemorySink { patchable: true, ..MemorySink::default() };
    let bytes = Arc::clone(&sink.bytes);
    let mut output = Output::new(Box::new(sink), Compression::Gzip(1)).unwrap();
    write(&mut output).unwrap();
    output.finish(0).unwrap();
    let bytes = bytes.lock().unwrap();
    let (mut rest, mut found) = (&bytes[..], Vec::new());
    while !rest.is_empty() {
        let length = gzip::member_length(rest[..gzip::HEADER_BYTES].try_into().unwrap()).unwrap();
        let member;
        (member, rest) = rest.split_at(length);
        if let Sort::Data(announces) = gzip::sort(member).unwrap() {
            found.push((gzip::decode(member).unwrap(), announces));
        }
    }
    found
}

#[test]
fn chunks_become_longer_by_half_of_what_came_before() {
    let found = members(|output| output.write(&vec![7; 4 * CHUNK_BYTES]));
    let kib: Vec<_> = found.iter().map(|(plain, _)| plain.len() >> 10).collect();
    assert_eq!(kib, [32, 32, 32, 48, 72, 108, 162, 243, 364, 546, 820, 1024, 611]);
    assert_eq!(found.iter().map(|(plain, _)| plain.len()).sum::<usize>(), 4 * CHUNK_BYTES);
}

#[test]
fn the_first_of_the_chunks_that_can_be_overwritten_announces_the_table() {
    let found = members(|output| {
        output.write(b"before")?;
        let first = output.write_fixed(b"first", None)?;
        let second = output.write_fixed(b"other", None)?;
        output.patch(second, b"OTHER")?;
        output.patch(first, b"FIRST")
    });
    let expected = [("before", false), ("FIRST", true), ("OTHER", false)];
    assert_eq!(found, expected.map(|(plain, announces)| (plain.as_bytes().to_vec(), announces)));
}

#[test]
fn a_chunk_ends_where_it_is_told_to() {
    let found = members(|output| {
        output.write(b"one")?;
        output.end_chunk()?;
        // Of nothing there is no chunk.
        output.end_chunk()?;
        output.write(b"two")
    });
    assert_eq!(found, [(b"one".to_vec(), false), (b"two".to_vec(), false)]);
}
