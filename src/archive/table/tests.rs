use proptest::prelude::*;

use super::*;

fn build(chunks: &[(u64, Content)], index_at: u64) -> (Vec<u8>, End) {
    let mut builder = Builder::default();
    for (bytes, content) in chunks {
        builder.chunk(*bytes, *content);
    }
    let (bytes, end) = builder.finish(index_at);
    (bytes, End::parse(&end).unwrap())
}

/// A table of two parts, the first of which begins at 1205, and its end.
fn parts() -> ([Vec<u8>; 2], [u8; END_BYTES]) {
    let mut builder = Builder::default();
    for bytes in [300, 5, 900] {
        builder.chunk(bytes, Content { plain_bytes: 1 << 20, header: None });
    }
    let (mut first, end) = builder.finish(9);
    let second = first.split_off(4);
    ([first, second], end)
}

/// One who saw the parts, of which the table begins at `at`.
fn watch(at: u64) -> (Watch, [u8; END_BYTES]) {
    let (parts, end) = parts();
    let mut watch = Watch::default();
    watch.part(&parts[0], at).unwrap();
    watch.part(&parts[1], at + 30).unwrap();
    (watch, end)
}

#[test]
fn nothing_but_the_end_follows_the_parts() {
    Watch::default().data().unwrap();
    let (mut watch, end) = watch(1205);
    assert!(watch.data().is_err(), "data between the parts and the end");
    watch.end(&end).unwrap();
    assert!(watch.data().is_err(), "data after the end");
    assert!(watch.part(b"", 1300).is_err(), "a part after the end");
    assert!(watch.end(&end).is_err(), "a second end");
}

#[test]
fn the_end_is_that_of_the_parts_where_they_are() {
    let (mut here, end) = watch(1205);
    here.end(&end).unwrap();
    here.finish().unwrap();
    assert!(watch(1206).0.end(&end).is_err(), "of parts elsewhere");
    assert!(Watch::default().end(&end).is_err(), "without parts");
    let mut fewer = Watch::default();
    fewer.part(&parts().0[0], 1205).unwrap();
    assert!(fewer.end(&end).is_err(), "of more parts");
}

#[test]
fn a_table_that_begins_or_is_announced_must_end() {
    Watch::default().finish().unwrap();
    let cut = |watch: &Watch| watch.finish().unwrap_err().kind() == io::ErrorKind::UnexpectedEof;
    assert!(cut(&watch(1205).0));
    let (mut announced, mut known) = (Watch::default(), watch(1205));
    announced.announce(20);
    assert!(cut(&announced));
    known.0.announce(20);
    known.0.end(&known.1).unwrap();
    known.0.finish().unwrap();
}

#[test]
fn only_an_archive_with_a_table_must_be_as_it_is_written() {
    let mut foreign = Watch::default();
    foreign.odd();
    foreign.finish().unwrap();
    let (mut ours, end) = watch(1205);
    ours.odd();
    ours.end(&end).unwrap();
    assert!(ours.finish().is_err());
}

#[test]
fn one_that_is_not_whole_is_none() {
    let chunk = |header| Content { plain_bytes: 1 << 20, header };
    let (bytes, end) = build(&[(300, chunk(None)), (5, chunk(Some((7, 0)))), (900, chunk(None))], 9);
    assert!(Table::new(bytes.clone(), end).is_some());
    for place in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[place] ^= 1;
        assert!(Table::new(bad, end).is_none(), "byte {place}");
        assert!(Table::new(bytes[..place].to_vec(), end).is_none(), "cut at {place}");
    }
    assert!(Table::new(bytes.clone(), End { index_at: 10, ..end }).is_none());
    assert!(Table::new(bytes, End { table_at: end.table_at + 1, ..end }).is_none());
}

proptest! {
    #[test]
    fn chunks_come_back(
        sizes in prop::collection::vec((any::<u32>(), any::<u32>(), prop::option::of((any::<u32>(), 0..9_u64))), 1..50)
    ) {
        let mut line = 0;
        let chunks: Vec<_> = sizes
            .into_iter()
            .map(|(bytes, plain, header)| {
                let header = header.map(|(at, lines)| {
                    line += lines;
                    (u64::from(at), line)
                });
                (u64::from(bytes), Content { plain_bytes: u64::from(plain), header })
            })
            .collect();
        let (bytes, end) = build(&chunks, 3);
        let table = Table::new(bytes, end).unwrap();
        let found: Vec<_> = table.chunks().map(|chunk| (chunk.end - chunk.at, chunk.content)).collect();
        prop_assert_eq!(found, chunks);
    }

    #[test]
    fn garbage_is_none(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
        let (_, end) = build(&[(1, Content::default())], 0);
        prop_assert!(Table::new(bytes, end).is_none());
    }
}

#[test]
fn what_is_told_of_chunks_alone_is_a_table_with_an_end_that_fits() {
    let content = Content { plain_bytes: 1 << 20, header: None };
    for chunks in [&[(300, content)][..], &[(300, content), (5, content), (900, content)]] {
        let (bytes, end) = build(chunks, 9);
        let (whole, mended) = (Table::new(bytes.clone(), end).unwrap(), Table::mended(bytes).unwrap());
        assert!(mended.chunks().eq(whole.chunks()), "{chunks:?}");
    }
    assert!(Table::mended(Vec::new()).is_none() && Table::mended(vec![0xff; 40]).is_none());
}
