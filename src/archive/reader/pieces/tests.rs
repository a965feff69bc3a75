//! What is passed by is what is damaged: neither more nor less, and its length is known wherever it can be.

use std::io::Write as _;

use super::*;
use crate::archive::reader::survey_tests::Memory;
use crate::archive::testing::{archive, noise, samples};
use crate::archive::{Compression, table};

/// A piece as it is told.
#[derive(Debug, PartialEq, Eq)]
enum Told {
    Data(usize, bool),
    /// What is lost of the file, and how much of the stream that is.
    Gap(u64, u64, Option<u64>),
}

fn pieces(bytes: &[u8]) -> Pieces {
    Pieces::new(Box::new(io::Cursor::new(bytes.to_vec())), None).unwrap()
}

/// All pieces, and the data of all of them.
fn all(mut pieces: Pieces) -> (Vec<Told>, Vec<u8>) {
    let (mut told, mut plain) = (Vec::new(), Vec::new());
    while let Some(piece) = pieces.next().unwrap() {
        told.push(match piece {
            Piece::Data { bytes, sure } => {
                plain.extend_from_slice(&bytes);
                Told::Data(bytes.len(), sure)
            }
            Piece::Gap { lost, plain_bytes, .. } => Told::Gap(lost.offset, lost.length, plain_bytes),
        });
    }
    (told, plain)
}

fn told(bytes: &[u8]) -> Vec<Told> {
    all(pieces(bytes)).0
}

fn chunk_of(kind: Chunked, plain: &[u8]) -> Vec<u8> {
    match kind {
        Chunked::Gzip => gzip::Encoder::new(1).encode(plain).unwrap(),
        Chunked::Zstd => format::Encoder::new(1).unwrap().encode(plain).unwrap(),
    }
}

const KINDS: [Chunked; 2] = [Chunked::Gzip, Chunked::Zstd];
const LENGTHS: [usize; 4] = [1000, 2000, 3000, 4000];

/// Chunks of such lengths.
fn four(kind: Chunked) -> [Vec<u8>; 4] {
    LENGTHS.map(|length| chunk_of(kind, &noise(length)))
}

/// Changes a byte of what is compressed, or of the magic.
fn broken(chunk: &[u8], in_magic: bool) -> Vec<u8> {
    let mut chunk = chunk.to_vec();
    let at = if in_magic { 0 } else { chunk.len() / 2 };
    chunk[at] ^= 0x40;
    chunk
}

fn data(chunk: usize) -> Told {
    Told::Data(LENGTHS[chunk], true)
}

#[test]
fn what_a_broken_chunk_says_of_its_length_is_the_gap() {
    for kind in KINDS {
        let [a, b, c, d] = four(kind);
        let whole = [&a[..], &b, &c, &d].concat();
        assert_eq!(told(&whole), [data(0), data(1), data(2), data(3)]);
        for (in_magic, said) in [(false, Some(2000)), (true, None)] {
            let damaged = [&a[..], &broken(&b, in_magic), &c, &d].concat();
            let gap = Told::Gap(a.len() as u64, b.len() as u64, said);
            assert_eq!(told(&damaged), [data(0), gap, data(2), data(3)], "{in_magic}");
        }
        // What one of two says is not how much both were.
        let damaged = [&a[..], &broken(&b, false), &broken(&c, false), &d].concat();
        let gap = Told::Gap(a.len() as u64, (b.len() + c.len()) as u64, None);
        assert_eq!(told(&damaged), [data(0), gap, data(3)]);
        // Nor is what something says that was found within what is lost.
        let damaged = [&a[..], &broken(&b, true), &broken(&c, false), &d].concat();
        let gap = Told::Gap(a.len() as u64, (b.len() + c.len()) as u64, None);
        assert_eq!(told(&damaged), [data(0), gap, data(3)]);
        // The first, which a file is known by.
        let damaged = [&broken(&a, true)[..], &b, &c, &d].concat();
        assert_eq!(told(&damaged)[..2], [Told::Gap(0, a.len() as u64, None), data(1)]);
    }
}

#[test]
fn what_is_cut_off_is_a_gap_to_the_end() {
    for kind in KINDS {
        let [a, b, ..] = four(kind);
        for left in [1, 10, 30, b.len() / 2, b.len() - 1] {
            let cut = [&a[..], &b[..left]].concat();
            assert_eq!(told(&cut), [data(0), Told::Gap(a.len() as u64, left as u64, None)], "{left}");
        }
    }
}

#[test]
fn a_last_member_that_says_it_is_longer_is_no_data() {
    let [a, mut b, ..] = four(Chunked::Gzip);
    let length = u32::try_from(b.len()).unwrap();
    b[gzip::HEADER_BYTES - 4..gzip::HEADER_BYTES].copy_from_slice(&(length + 1).to_le_bytes());
    let gap = Told::Gap(a.len() as u64, length.into(), None);
    assert_eq!(told(&[a, b].concat()), [data(0), gap]);
}

#[test]
fn without_content_nothing_is_lost() {
    let ends = [gzip::end(&[7; table::END_BYTES]).unwrap(), format::end(&[7; table::END_BYTES]).unwrap()];
    for (kind, nothing) in KINDS.into_iter().zip(ends) {
        let [a, b, c, _] = four(kind);
        let with = [&a[..], &nothing, &b, &nothing].concat();
        assert_eq!(told(&with), [data(0), data(1)]);
        let damaged = [&a[..], &broken(&b, false), &nothing, &c].concat();
        let gap = Told::Gap(a.len() as u64, b.len() as u64, Some(2000));
        assert_eq!(told(&damaged), [data(0), gap, data(2)]);
        // What is broken of it is no content either, which only its neighbours can tell.
        let cut = [&a[..], &nothing[..nothing.len() - 1]].concat();
        assert_eq!(told(&cut), [data(0), Told::Gap(a.len() as u64, nothing.len() as u64 - 1, None)]);
    }
}

#[test]
fn a_skippable_frame_is_no_longer_than_remands() {
    let [a, b, ..] = four(Chunked::Zstd);
    let most = format::part(&vec![7; table::PART_BYTES]).unwrap();
    assert_eq!(told(&[&a[..], &most, &b].concat()), [data(0), data(1)]);
    let more = format::part(&vec![7; table::PART_BYTES + 1]).unwrap();
    let gap = Told::Gap(a.len() as u64, more.len() as u64, None);
    assert_eq!(told(&[&a[..], &more, &b].concat()), [data(0), gap, data(1)]);
}

#[test]
fn the_table_says_how_much_is_lost() {
    for (kind, compression) in KINDS.into_iter().zip([Compression::Gzip(1), Compression::Zstd(1)]) {
        let bytes = archive(compression, false, &samples());
        let table = selected::table(&Memory(bytes.clone()), kind).unwrap().unwrap();
        let chunks: Vec<_> = table.chunks().collect();
        let look = |damaged: &[u8]| {
            let input = Box::new(io::Cursor::new(damaged.to_vec()));
            all(Pieces::new(input, Some(&Memory(damaged.to_vec()))).unwrap())
        };
        let (_, plain) = look(&bytes);
        assert!(chunks.len() > 3, "{}", chunks.len());
        for pair in chunks[1..].windows(2).take(4) {
            let [one, next] = pair else { unreachable!() };
            let place = |at: u64| usize::try_from(at).unwrap();
            let mut damaged = bytes.clone();
            damaged[place(one.at)] ^= 0x40;
            let (found, rest) = look(&damaged);
            let lost = next.plain_at - one.plain_at;
            let gaps: Vec<_> = found.iter().filter(|piece| matches!(piece, Told::Gap(..))).collect();
            assert_eq!(gaps, [&Told::Gap(one.at, next.at - one.at, Some(lost))]);
            let without = [&plain[..place(one.plain_at)], &plain[place(next.plain_at)..]].concat();
            assert!(rest == without);
        }
    }
}

#[test]
fn what_the_table_does_not_say_is_known_from_what_came_before() {
    let plain = |bytes: usize| Some(Piece::Data { bytes: vec![0; bytes], sure: true });
    let lost = |offset, length| Range { offset, length };
    let gap = |piece: Option<Piece>| match piece {
        Some(Piece::Gap { plain_bytes, .. }) => plain_bytes,
        _ => panic!("there is a gap"),
    };
    let with = |starts: &[(u64, u64)]| {
        let mut pieces = pieces(&four(Chunked::Gzip).concat());
        let starts = starts.to_vec();
        pieces.starts = starts.into_iter().peekable();
        pieces
    };
    // Places of two chunks are unknown, one of them is lost, and says how long it was.
    let mut pieces = with(&[(0, 0), (90, 900), (100, 1600)]);
    assert!(matches!(pieces.deliver(lost(0, 0), None, 0, plain(500)), Some(Piece::Data { .. })));
    assert!(matches!(pieces.deliver(lost(10, 0), None, 10, plain(100)), Some(Piece::Data { .. })));
    assert_eq!(gap(pieces.deliver(lost(20, 10), Some(300), 30, plain(200))), Some(300));
    assert!(matches!(pieces.next().unwrap(), Some(Piece::Data { .. })));
    // 500 + 100 + 300 + 200 come before.
    assert_eq!(gap(pieces.deliver(lost(40, 60), None, 100, plain(1))), Some(500));
    // Where it is not known how much was lost, nothing is known behind it until the table says it.
    let mut pieces = with(&[(0, 0), (100, 1000), (200, 3000)]);
    pieces.deliver(lost(0, 0), None, 0, plain(500));
    assert_eq!(gap(pieces.deliver(lost(10, 20), None, 30, plain(1))), None);
    assert_eq!(gap(pieces.deliver(lost(30, 70), None, 100, plain(1500))), None);
    assert_eq!(gap(pieces.deliver(lost(110, 90), None, 200, plain(1))), Some(500));
    // A table that goes back says nothing.
    let mut pieces = with(&[(0, 0), (100, 10)]);
    pieces.deliver(lost(0, 0), None, 0, plain(500));
    assert_eq!(gap(pieces.deliver(lost(10, 90), Some(1), 100, plain(1))), None);
}

#[test]
fn a_chunk_is_found_wherever_it_begins_behind_what_is_lost() {
    for kind in KINDS {
        let [a, b, ..] = four(kind);
        // One byte is passed by before the search begins, which looks at so many at a time.
        for before in [1, 5, 19, 20, 21]
            .into_iter()
            .flat_map(|before| [READ_BYTES - before + 1, 2 * READ_BYTES - before + 1])
        {
            let bytes = [&a[..], &vec![0x55; before], &b].concat();
            let gap = Told::Gap(a.len() as u64, before as u64, None);
            assert_eq!(told(&bytes), [data(0), gap, data(1)], "{before}");
        }
    }
}

#[test]
fn a_frame_vouches_for_itself_if_it_has_a_checksum() {
    let plain = noise(1000);
    let without = zstd::bulk::compress(&plain, 1).unwrap();
    let [_, with, ..] = four(Chunked::Zstd);
    assert_eq!(told(&[&without[..], &with].concat()), [Told::Data(1000, false), data(1)]);
    assert_eq!(told(&format::stored(&plain, true).unwrap()), [Told::Data(1000, false)]);
}

#[test]
fn long_frames_are_undone_up_to_the_longest() {
    let [a, b, ..] = four(Chunked::Zstd);
    // So long, and so much longer than what it holds, that it is not all seen at first.
    for length in [PROBE_BYTES, FRAME_BYTES] {
        let frame = format::Encoder::new(1).unwrap().encode(&noise(length)).unwrap();
        assert!(frame.len() > length);
        assert_eq!(told(&[&a[..], &frame, &b].concat()), [data(0), Told::Data(length, true), data(1)]);
    }
    let more = format::Encoder::new(1).unwrap().encode(&vec![0; FRAME_BYTES + 1]).unwrap();
    let gap = Told::Gap(a.len() as u64, more.len() as u64, None);
    assert_eq!(told(&[&a[..], &more, &b].concat()), [data(0), gap, data(1)]);
}

#[test]
fn a_frame_that_does_not_end_is_given_up() {
    /// Blocks without end, of which this was read.
    struct Endless(Vec<u8>, usize);

    impl Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.1 > 200 << 20 {
                return Err(io::Error::other("nobody needs so much"));
            }
            let block = (0x0010_0000_u32.to_le_bytes(), 128 << 10);
            if self.0.is_empty() {
                self.0 = [&block.0[..3], &vec![0; block.1]].concat();
            }
            let length = self.0.len().min(buffer.len());
            buffer[..length].copy_from_slice(&self.0[..length]);
            self.0.drain(..length);
            self.1 += length;
            Ok(length)
        }
    }

    let header = [format::MAGIC, &[0b1010_0000], &1000_u32.to_le_bytes()].concat();
    let mut window = Window::new(Box::new(Endless(header, 0)));
    assert_eq!(frame_length(&mut window).unwrap(), None);
}

#[test]
fn what_others_compressed_ends_with_its_first_damage() {
    let plain = noise(600_000);
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&plain).unwrap();
    let gzip = encoder.finish().unwrap();
    // Of unknown length, so that it is none of ours.
    let zstd = zstd::stream::encode_all(&plain[..], 1).unwrap();
    for whole in [gzip, zstd] {
        assert!(!pieces(&whole).is_plain());
        let (found, content) = all(pieces(&whole));
        assert!(content == plain && !found.iter().any(|piece| matches!(piece, Told::Gap(..))));
        let cut = &whole[..whole.len() / 2];
        let (mut found, content) = all(pieces(cut));
        assert_eq!(found.pop(), Some(Told::Gap(0, 0, None)));
        assert!(!found.is_empty() && plain.starts_with(&content) && content.len() > 250_000);
        assert!(found.iter().all(|piece| matches!(piece, Told::Data(1.., false))), "{found:?}");
        // Nothing of it can be undone.
        assert_eq!(told(&whole[..5]), [Told::Gap(0, 0, None)]);
    }
}

#[test]
fn what_fails_is_no_damage() {
    struct Fails(io::Cursor<Vec<u8>>);

    impl Read for Fails {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(io::Error::other("the cable")),
                read => Ok(read),
            }
        }
    }

    let zstd = zstd::stream::encode_all(&noise(6 << 20)[..], 1).unwrap();
    assert!(zstd.len() > 5 << 20);
    let mut pieces = Pieces::new(Box::new(Fails(io::Cursor::new(zstd))), None).unwrap();
    let error = loop {
        match pieces.next() {
            Ok(Some(Piece::Data { .. })) => {}
            Ok(_) => panic!("this is no end"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.to_string(), "the cable");
}

#[test]
fn what_a_file_is_shows_in_its_beginning() {
    let is_zstd = |bytes: &[u8]| matches!(probe(bytes), Kind::Ours(Chunked::Zstd));
    let is_plain = |bytes: &[u8]| matches!(probe(bytes), Kind::Plain);
    let [frame, ..] = four(Chunked::Zstd);
    let large = format::Encoder::new(1).unwrap().encode(&vec![0; FRAME_BYTES + 1]).unwrap();
    let most = format::Encoder::new(1).unwrap().encode(&vec![0; FRAME_BYTES]).unwrap();
    let unknown = zstd::stream::encode_all(&b"something"[..], 1).unwrap();
    assert!(is_zstd(&frame) && is_zstd(&most));
    assert!(is_zstd(&[b"lost", &frame[..]].concat()));
    for other in [&large, &unknown] {
        assert!(matches!(probe(other), Kind::Zstd));
        assert!(is_plain(&[b"lost", &other[..]].concat()));
    }
    // A tar archive that has one in it.
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    assert!(is_plain(&[&tar[..], &frame].concat()));
    tar[257] = b'x';
    assert!(is_zstd(&[&tar[..], &frame].concat()));
    assert!(is_plain(b"") && is_plain(b"text") && pieces(b"text").is_plain());
    // The magic of gzip alone is in much that is none of ours.
    let [member, ..] = four(Chunked::Gzip);
    let is_gzip = |bytes: &[u8]| matches!(probe(bytes), Kind::Ours(Chunked::Gzip));
    assert!(is_gzip(&member) && is_gzip(&[b"lost", &member[..]].concat()));
    assert!(is_plain(&[b"lost", gzip::MAGIC, &noise(100)].concat()));
    assert!(matches!(probe(&[gzip::MAGIC, &noise(100)].concat()), Kind::Gzip));
}
