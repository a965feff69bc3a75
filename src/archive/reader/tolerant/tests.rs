//! A stream goes on behind damage at the right place, or says that it does not know one.

use super::*;
use crate::archive::gzip;
use crate::archive::testing::noise;

/// A part of a stream, which comes in a piece of its own.
#[derive(Clone)]
enum Part {
    Whole(Vec<u8>),
    /// Lost, and its length is known.
    Known(Vec<u8>),
    /// Lost, and nothing of it is known.
    Unknown(Vec<u8>),
}

use Part::{Known, Unknown, Whole};

fn stream(parts: &[Part]) -> Tolerant {
    let mut bytes = Vec::new();
    for part in parts {
        let (Whole(plain) | Known(plain) | Unknown(plain)) = part;
        let mut chunk = gzip::Encoder::new(1).encode(plain).unwrap();
        let middle = chunk.len() / 2;
        match part {
            Whole(_) => {}
            Known(_) => chunk[middle] ^= 0x40,
            Unknown(_) => chunk[0] ^= 0x40,
        }
        bytes.extend(chunk);
    }
    Tolerant::new(Pieces::new(Box::new(io::Cursor::new(bytes)), None).unwrap())
}

/// Bytes of which no two parts are alike.
fn part(number: u8, length: usize) -> Vec<u8> {
    noise(length).iter().map(|byte| byte ^ number).collect()
}

/// The block with a member's header.
fn header() -> Vec<u8> {
    let mut header = tar::Header::new_ustar();
    header.set_path("name").unwrap();
    header.set_size(0);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// What comes next, up to what is missing or the end.
fn rest(stream: &mut Tolerant) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Ok((_, piece)) = stream.fill_sure() {
        if piece.is_empty() {
            break;
        }
        bytes.extend_from_slice(piece);
        let length = piece.len();
        stream.consume(length);
    }
    bytes
}

fn lines() -> Collector {
    let mut lines = Collector::new().unwrap();
    lines.confirmed = true;
    lines
}

const LINE: &[u8] =
    b"{\"path\":\"./fs/a\",\"type\":\"fifo\",\"mode\":\"0644\",\"uid\":0,\"gid\":0,\"mtime\":\"0\"}\n";

#[test]
fn a_known_place_is_gone_to_past_what_is_lost() {
    let (one, two, three) = (part(1, 1000), part(2, 2000), part(3, 3000));
    let parts = [Whole(one.clone()), Known(two), Whole(three.clone()), Whole(part(4, 500))];
    for from in [0, 1, 700, 1000] {
        let to = |place: u64| {
            let mut stream = stream(&parts);
            assert_eq!(stream.go_to(from).unwrap(), Sought::Here);
            let sought = stream.go_to(place).unwrap();
            (sought, stream)
        };
        for place in [3000, 3001, 5999, 6000, 6200, 6500] {
            let (sought, mut stream) = to(place);
            assert_eq!((sought, stream.position()), (Sought::Here, place));
            let all = [&three[..], &part(4, 500)].concat();
            assert!(rest(&mut stream) == all[usize::try_from(place).unwrap() - 3000..], "{from} to {place}");
        }
        let (sought, mut stream) = to(from);
        assert_eq!(sought, Sought::Here);
        assert!(rest(&mut stream) == one[usize::try_from(from).unwrap()..]);
        // What is lost itself, and what lies behind the end.
        assert_eq!(to(1001).0, Sought::Lost);
        assert_eq!(to(2999).0, Sought::Lost);
        assert_eq!(to(6501).0, Sought::Lost);
    }
    // What lies behind.
    let mut stream = stream(&parts);
    assert_eq!(stream.go_to(3000).unwrap(), Sought::Here);
    assert_eq!(stream.go_to(2999).unwrap(), Sought::Lost);
    assert_eq!(stream.lost.len(), 1);
}

#[test]
fn behind_what_is_lost_of_unknown_length_no_place_is_known() {
    let parts = [Whole(part(1, 1000)), Unknown(part(2, 2000)), Whole(part(3, 3000))];
    let mut stream = stream(&parts);
    assert_eq!(stream.go_to(1000).unwrap(), Sought::Here);
    assert_eq!(stream.go_to(3500).unwrap(), Sought::Lost);
    assert!(rest(&mut stream) == part(3, 3000));
}

#[test]
fn every_read_fails_where_something_is_missing() {
    let parts = [Whole(part(1, 1000)), Known(part(2, 2000)), Whole(part(3, 3000))];
    let mut stream = stream(&parts);
    let mut bytes = Vec::new();
    for _ in 0..2 {
        let error = stream.read_to_end(&mut bytes).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(bytes == part(1, 1000) && stream.is_at_gap());
    }
    assert_eq!(stream.pass_gap(), Some(2000));
    assert_eq!((stream.pass_gap(), stream.is_at_gap(), stream.position()), (None, false, 3000));
    bytes.clear();
    stream.read_to_end(&mut bytes).unwrap();
    assert!(bytes == part(3, 3000) && !stream.is_at_gap());
    assert_eq!((stream.position(), stream.lost.len()), (6000, 1));
    // Nothing is passed by unseen.
    assert_eq!((stream.skip(1), stream.skip(0)), (None, None));
}

#[test]
fn a_mark_is_gone_back_to() {
    let parts = [Whole(part(1, 1000)), Whole(part(2, 2000)), Known(part(3, 1)), Whole(part(4, 4000))];
    let both = [part(1, 1000), part(2, 2000)].concat();
    let mut stream = stream(&parts);
    for (mark, end) in [(0_u64, 10_u64), (10, 900), (900, 1000), (1000, 2500), (2500, 3000)] {
        assert_eq!(stream.go_to(mark).unwrap(), Sought::Here);
        stream.mark();
        let mut read = vec![0; usize::try_from(end - mark).unwrap()];
        stream.read_exact(&mut read).unwrap();
        stream.rewind();
        assert_eq!(stream.position(), mark);
        let mut again = read.clone();
        stream.read_exact(&mut again).unwrap();
        assert!(read == again && read == both[usize::try_from(mark).unwrap()..usize::try_from(end).unwrap()]);
        // It is a mark no more.
        stream.rewind();
        assert_eq!(stream.position(), end);
        stream.mark();
        stream.forget();
        assert_eq!(stream.go_to(end).unwrap(), Sought::Here);
        stream.rewind();
        assert_eq!(stream.position(), end);
    }
    assert!(rest(&mut stream).is_empty() && stream.is_at_gap());
}

#[test]
fn a_mark_is_forgotten_by_going_on() {
    let mut stream = stream(&[Whole(part(1, 1000)), Whole(header())]);
    stream.mark();
    assert_eq!(stream.go_to(1000).unwrap(), Sought::Here);
    stream.rewind();
    assert_eq!(stream.position(), 1000);
    stream.mark();
    stream.aligned = None;
    assert!(stream.seek(0, &mut lines()).unwrap());
    stream.rewind();
    assert_eq!(stream.position(), 1000);
}

#[test]
fn what_is_kept_of_a_header_has_a_bound() {
    let piece = vec![0; 16 << 20];
    let mut stream = stream(&[
        Whole(piece.clone()),
        Whole(piece.clone()),
        Whole(piece.clone()),
        Whole(piece.clone()),
        Whole(piece),
    ]);
    stream.mark();
    assert_eq!(rest(&mut stream).len(), 80 << 20);
    assert!(stream.history.as_ref().unwrap().len() <= MAX_HISTORY_BYTES);
}

#[test]
fn the_next_header_is_found_where_one_can_begin() {
    let text = |length: usize| {
        // What is in names and contents is none.
        let mut text = b"the magic is ustar, ".repeat(length / 20 + 1);
        text.truncate(length);
        text
    };
    for (before, known) in
        [(0, true), (512, true), (1024, true), (10_240, true), (7, false), (500, false), (1300, false)]
    {
        for cut in [1, 100, 257, 262, 511, 512] {
            let all = [text(before), header(), text(100)].concat();
            // In pieces, whose border lies within the header too.
            let (one, two) = all.split_at(before + cut);
            let parts = [Whole(one.to_vec()), Whole(two.to_vec())];
            let mut stream = self::stream(&parts);
            // Where one can begin is known.
            assert_eq!(stream.seek(0, &mut lines()).unwrap(), known, "{before}");
            assert_eq!(stream.position(), if known { before as u64 } else { all.len() as u64 });
            // It is not, behind a gap; and it is again, where one was found.
            let mut stream = self::stream(&[&[Whole(vec![1]), Unknown(part(1, 30))], &parts[..]].concat());
            assert!(stream.seek(0, &mut lines()).unwrap());
            assert_eq!(stream.position(), 1 + before as u64);
            assert_eq!(stream.aligned, Some((1 + before as u64) % 512));
            assert!(rest(&mut stream) == all[before..]);
        }
    }
}

#[test]
fn what_is_sure_to_be_lost_keeps_the_blocks() {
    for lost in [512, 1024, 700] {
        // What a damaged chunk says of itself may be wrong.
        let mut stream = stream(&[Whole(vec![0; 512]), Known(part(1, lost)), Whole(header())]);
        assert!(stream.seek(0, &mut lines()).unwrap());
        let mut stream = self::stream(&[Whole(vec![0; 512]), Known(part(1, lost)), Whole(header())]);
        stream.fill_sure().unwrap();
        stream.consume(512);
        stream.fill_sure().unwrap_err();
        stream.gap.as_mut().unwrap().proven = true;
        assert_eq!(stream.seek(0, &mut lines()).unwrap(), lost % 512 == 0);
    }
}

#[test]
fn a_header_is_found_behind_what_is_to_be_passed_by() {
    let all = [header(), vec![0; 2048], header(), header()].concat();
    for (skip, place) in [(0, 0), (1, 2560), (512, 2560), (2560, 2560), (2561, 3072), (3072, 3072)] {
        for piece in [100, 600, 1000, 2600, 4000] {
            let parts: Vec<_> = all.chunks(piece).map(|part| Whole(part.to_vec())).collect();
            let mut stream = stream(&parts);
            assert!(stream.seek(skip, &mut lines()).unwrap());
            assert_eq!(stream.position(), place, "{skip}, {piece}");
        }
    }
    let mut stream = stream(&[Whole(all)]);
    assert!(!stream.seek(3073, &mut lines()).unwrap());
    assert_eq!(stream.position(), 3584);
}

#[test]
fn what_lies_before_a_header_are_lines() {
    let text = [LINE.repeat(30), LINE[..40].to_vec()].concat();
    for piece in [100, 600, 5000] {
        let mut parts: Vec<_> = text.chunks(piece).map(|part| Whole(part.to_vec())).collect();
        parts.push(Unknown(part(1, 100)));
        parts.push(Whole([&LINE[10..], LINE, LINE, &header()].concat()));
        let (mut stream, mut lines) = (stream(&parts), lines());
        assert!(stream.seek(0, &mut lines).unwrap());
        assert_eq!(lines.known, 32);
        // The gap, and the line whose beginning is lost.
        assert_eq!(lines.broken, 2);
        // To the end.
        let (mut stream, mut lines) = (self::stream(&parts[..parts.len() - 2]), self::lines());
        assert!(!stream.seek(0, &mut lines).unwrap());
        assert_eq!((lines.known, lines.broken), (30, 0));
    }
}

#[test]
fn a_search_keeps_no_more_than_it_needs() {
    let parts: Vec<_> = (0..50).map(|number| Whole(part(number, 10_000))).collect();
    let mut stream = stream(&parts);
    assert!(!stream.seek(0, &mut lines()).unwrap());
    assert_eq!(stream.position(), 500_000);
    // What was taken together is only the rest of one piece and the next.
    assert!(stream.piece.capacity() < 50_000, "{}", stream.piece.capacity());
}

#[test]
fn bytes_are_sure_where_a_checksum_vouches_for_all_of_them() {
    // Without compression nothing does.
    let plain = Pieces::new(Box::new(io::Cursor::new(vec![0; 100])), None).unwrap();
    let mut plain = Tolerant::new(plain);
    assert_eq!(plain.fill_sure().unwrap(), (false, &[0; 100][..]));
    assert!(!plain.is_sure());
    // One that does, then one that does not, and again.
    let sure = |bytes: &[u8]| crate::archive::zstd::Encoder::new(1).unwrap().encode(bytes).unwrap();
    let unsure = |bytes: &[u8]| zstd::bulk::compress(bytes, 1).unwrap();
    let bytes = [sure(&[1; 100]), unsure(&[2; 100]), sure(&[3; 100])].concat();
    let mut stream = Tolerant::new(Pieces::new(Box::new(io::Cursor::new(bytes)), None).unwrap());
    for expected in [true, false, true] {
        assert_eq!(stream.fill_sure().unwrap().0, expected);
        assert_eq!(stream.is_sure(), expected);
        stream.consume(100);
    }
    // What is left of one comes before the other.
    for (one, two, both) in [
        (sure(&[1; 100]), sure(&[2; 100]), true),
        (sure(&[1; 100]), unsure(&[2; 100]), false),
        (unsure(&[1; 100]), sure(&[2; 100]), false),
    ] {
        let mut stream =
            Tolerant::new(Pieces::new(Box::new(io::Cursor::new([one, two].concat())), None).unwrap());
        assert!(stream.extend().unwrap());
        stream.consume(50);
        assert!(stream.extend().unwrap());
        assert_eq!(stream.is_sure(), both);
        assert_eq!(stream.piece[stream.used..], [[1; 50].as_slice(), &[2; 100]].concat());
        assert!(!stream.extend().unwrap() && stream.at_end);
    }
}
