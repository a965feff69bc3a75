use super::*;
use std::io::Read as _;

fn noise(length: usize) -> Vec<u8> {
    let mut noise = vec![0; length];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    noise
}

#[test]
fn what_cannot_become_shorter_is_stored() {
    let mut encoder = Encoder::new(6);
    for length in [8 << 10, 32 << 10, 100_001, 1 << 20] {
        let noise = noise(length);
        assert_eq!(encoder.encode(&noise).unwrap(), stored(&noise, false).unwrap());
        // What another compressor made looks the same.
        let letters: Vec<u8> = self::noise(length * 4).iter().map(|byte| b'a' + byte % 16).collect();
        let packed = zstd::bulk::compress(&letters, 3).unwrap();
        assert!(is_noise(&packed), "{length}");
    }
}

#[test]
fn what_only_looks_like_noise_is_compressed() {
    let mut encoder = Encoder::new(6);
    let repeated = noise(20 << 10).repeat(3);
    assert!(is_noise(&repeated));
    assert!(encoder.encode(&repeated).unwrap().len() < repeated.len() / 2);
    let noise = noise(1 << 20);
    let letters: Vec<u8> = noise.iter().map(|byte| byte & 0x7f).collect();
    let half: Vec<u8> = noise[..1 << 19].iter().copied().chain(std::iter::repeat_n(b'x', 1 << 19)).collect();
    for data in [letters, half] {
        assert!(!is_noise(&data));
        assert!(encoder.encode(&data).unwrap().len() < data.len() * 9 / 10);
    }
    assert!(!is_noise(b"") && !is_noise(&noise[..100]));
}

#[test]
fn a_sample_is_what_lies_in_the_middle() {
    let bytes: Vec<u8> = (0..100).flat_map(|kib| [kib; 1024]).collect();
    assert_eq!(sample(&bytes), &bytes[34 << 10..66 << 10]);
    assert_eq!(sample(&bytes[..1000]), &bytes[..1000]);
}

#[test]
fn what_becomes_a_little_shorter_is_not_worth_inflating() {
    let mut encoder = Encoder::new(6);
    let mut with_zeros = |count: usize| {
        let mut bytes = noise(32 << 10);
        bytes[10_000..10_000 + count].fill(0);
        encoder.shrinks(&bytes).unwrap()
    };
    // 1 in 64 are 512.
    assert!(!with_zeros(400) && with_zeros(700));
}

/// A member with so many bytes of deflated data, which says that they become so many.
fn saying(body: usize, plain: u64) -> Vec<u8> {
    let mut member = header(0, OWN_SUBFIELD_BYTES).to_vec();
    member.resize(HEADER_BYTES + body + TRAILER_BYTES - 4, 0);
    member.extend_from_slice(&u32::try_from(plain).unwrap().to_le_bytes());
    member
}

#[test]
fn a_member_says_what_it_can_hold() {
    for sample in samples() {
        for level in [1, 9] {
            assert!(can_hold_what_it_says(&Encoder::new(level).encode(&sample).unwrap()));
        }
        assert!(can_hold_what_it_says(&stored(&sample, false).unwrap()));
    }
    let most = MAX_MEMBER_BYTES as u64;
    // What deflate can make of that many bytes at most, and at least.
    for (body, from, to) in [
        (0, 0, 0),
        (1, 0, 1032),
        (100, 36, 103_200),
        (100_663, 100_499, 100_663 * 1032),
        (1 << 20, (1 << 20) - 64 - 1047, most),
    ] {
        let to = to.min(most);
        for (plain, can) in [(from, true), (to, true), (to + 1, false)] {
            assert_eq!(can_hold_what_it_says(&saying(body, plain)), can, "{body} {plain}");
        }
        if from > 0 {
            assert!(!can_hold_what_it_says(&saying(body, from - 1)), "{body} {from}");
        }
    }
}

fn samples() -> Vec<Vec<u8>> {
    let noise = crate::archive::testing::noise(1_000_000);
    vec![vec![], vec![1], vec![0; 1 << 20], noise, vec![7; STORED_MAX], vec![7; STORED_MAX + 1]]
}

#[test]
fn members_and_back() {
    let mut encoder = Encoder::new(6);
    for sample in samples() {
        let compressed = encoder.encode(&sample).unwrap();
        let stored = [false, true].map(|announces| (stored(&sample, announces).unwrap(), announces));
        for (member, announces) in std::iter::once((compressed, false)).chain(stored) {
            assert_eq!(member_length(member[..HEADER_BYTES].try_into().unwrap()), Some(member.len()));
            assert_eq!(sort(&member).unwrap(), Sort::Data(announces));
            assert!(decode(&member).unwrap() == sample);
            let mut inflated = Vec::new();
            flate2::read::GzDecoder::new(&member[..]).read_to_end(&mut inflated).unwrap();
            assert!(inflated == sample);
        }
    }
}

/// Whoever takes a member apart relies on what a header says: no part of a member lies in another.
#[test]
fn a_header_tells_a_length_that_can_be() {
    let told = |length: usize, extra| {
        member_length(&header(u32::try_from(length).unwrap(), extra)).is_some_and(|told| told == length)
    };
    let least = HEADER_BYTES + TRAILER_BYTES;
    assert!(told(least, OWN_SUBFIELD_BYTES) && !told(least - 1, OWN_SUBFIELD_BYTES));
    let longer = OWN_SUBFIELD_BYTES + 100;
    assert!(told(least + 100, longer) && !told(least + 99, longer));
    assert!(told(MAX_MEMBER_BYTES, longer) && !told(MAX_MEMBER_BYTES + 1, longer));
    assert!(!told(1000, OWN_SUBFIELD_BYTES - 1));
}

#[test]
fn a_member_takes_as_much_memory_as_it_says_but_no_more_than_a_member_may() {
    let mut member = stored(&[1; 1000], false).unwrap();
    assert_eq!(memory(&member), member.len() + 1000);
    let length = member.len();
    member[length - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(memory(&member), length + MAX_MEMBER_BYTES);
    assert_eq!(decode(&member).unwrap_err().to_string(), "a gzip member is too big");
    // As big as one may be.
    member[length - 4..].copy_from_slice(&u32::try_from(MAX_MEMBER_BYTES).unwrap().to_le_bytes());
    assert_eq!(decode(&member).unwrap_err().to_string(), "a gzip member has the wrong length");
}

#[test]
fn a_header_of_ours_with_little_damage_is_told_from_that_of_others() {
    let ours = header(1000, OWN_SUBFIELD_BYTES);
    let with = |places: &[usize]| {
        let mut header = ours;
        for &place in places {
            header[place] ^= 0x10;
        }
        is_nearly_ours(&header)
    };
    assert!(with(&[]) && with(&[3]) && with(&[9, 12]));
    assert!(!with(&[3, 9, 12]));
    // The lengths may be any.
    assert!(with(&[10, 11, 16, 17, 18, 19]));
    assert!(!is_nearly_ours(&ours[..HEADER_BYTES - 1]));
    assert!(!is_nearly_ours(b"\x1f\x8b\x08\x08\x11\x22\x33\x44\0\x03name.txt\0..."));
}

#[test]
fn stored_length_depends_on_the_input_length_alone() {
    let length = |byte| stored(&vec![byte; 100_000], true).unwrap().len();
    assert_eq!(length(0), length(9));
}

/// A member of `aaaa` whose only distance has the code 0. `code` stands there.
fn with_one_distance(code: u8) -> Vec<u8> {
    let mut bits = Vec::new();
    let fields: [&[(u32, u32)]; 4] = [
        // The last block, with codes of its own: 258 for literals and lengths, 1 for distances, 18 lengths of the codes of these.
        &[(1, 1), (2, 2), (1, 5), (0, 5), (14, 4)],
        // In the order of the format: 18 has one bit, 1 and 2 have two.
        &[0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2].map(|length| (length, 3)),
        // 97 zeros, 1 for `a`, 158 zeros, 2 for the end, 2 for a length of three, 1 for the distance.
        &[(0, 1), (86, 7), (1, 2), (0, 1), (127, 7), (0, 1), (9, 7), (3, 2), (3, 2), (1, 2)],
        // `a`, three more of them from one byte before, the end.
        &[(0, 1), (3, 2), (code.into(), 1), (1, 2)],
    ];
    for &(value, count) in fields.into_iter().flatten() {
        bits.extend((0..count).map(|bit| value >> bit & 1 == 1));
    }
    let body = bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |all, &bit| all << 1 | u8::from(bit)));
    let mut member = header(0, OWN_SUBFIELD_BYTES).to_vec();
    member.extend(body);
    finish(b"aaaa", &mut member).unwrap();
    member
}

#[test]
fn what_gunzip_refuses_is_damage() {
    let decoded = |code| {
        let member = with_one_distance(code);
        let mut other = Vec::new();
        let other = flate2::read::GzDecoder::new(&member[..]).read_to_end(&mut other).map(|_| other);
        (decode(&member).ok(), other.ok())
    };
    assert_eq!(decoded(0), (Some(b"aaaa".to_vec()), Some(b"aaaa".to_vec())));
    assert_eq!(decoded(1), (None, None));
}

#[test]
fn members_of_a_table_inflate_to_nothing() {
    let data = crate::archive::testing::noise(crate::archive::table::PART_BYTES);
    let (part, end) = (part(&data).unwrap(), end(&[7; END_BYTES]).unwrap());
    assert_eq!(end.len(), END_MEMBER_BYTES);
    assert_eq!(sort(&part).unwrap(), Sort::Part(&data));
    assert_eq!(sort(&end).unwrap(), Sort::End(&[7; END_BYTES]));
    for member in [part, end] {
        assert_eq!(member_length(member[..HEADER_BYTES].try_into().unwrap()), Some(member.len()));
        let mut inflated = Vec::new();
        flate2::read::GzDecoder::new(&member[..]).read_to_end(&mut inflated).unwrap();
        assert!(inflated.is_empty());
        for place in (HEADER_BYTES..HEADER_BYTES + 4).chain(member.len() - 10..member.len()) {
            let mut bad = member.clone();
            bad[place] ^= 1;
            assert!(sort(&bad).is_err(), "byte {place}");
        }
    }
}

#[test]
fn each_flipped_bit_is_noticed() {
    // Too long to be stored: bits behind the head of a stored block mean nothing.
    let text = b"some text, ".repeat(20);
    let member = Encoder::new(6).encode(&text).unwrap();
    for bit in 0..member.len() * 8 {
        let mut bad = member.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        let length = member_length(bad[..HEADER_BYTES].try_into().unwrap());
        let noticed = length != Some(bad.len()) || sort(&bad).is_err() || decode(&bad).is_err();
        // Behind the end of the deflated data a byte is filled up with bits that mean nothing.
        let last = bit / 8 == member.len() - TRAILER_BYTES - 1;
        assert!(noticed || last && decode(&bad).unwrap() == text, "bit {bit}");
    }
}

/// A member's bytes between header and trailer, changed; the trailer is that of what it holds.
fn forged(member: &[u8], change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let (rest, trailer) = member.split_at(member.len() - TRAILER_BYTES);
    let (header, body) = rest.split_at(body_at(member));
    let mut body = body.to_vec();
    change(&mut body);
    [header, &body, trailer].concat()
}

#[test]
fn a_member_is_its_stream_to_the_end_and_nothing_else() {
    for plain in [&b"a few bytes"[..], &noise(100_000)] {
        for member in [stored(plain, false).unwrap(), Encoder::new(6).encode(plain).unwrap()] {
            assert_eq!(decode(&forged(&member, |_| {})).unwrap(), plain);
            // Something behind its end, which makes nothing.
            for behind in [&b"\0"[..], &EMPTY, b"x"] {
                assert!(decode(&forged(&member, |body| body.extend_from_slice(behind))).is_err());
            }
        }
        // All of its content, and no end.
        let member = stored(plain, false).unwrap();
        let last = (plain.len() - 1) / STORED_MAX * (STORED_MAX + 5);
        let endless = forged(&member, |body| {
            assert_eq!(body[last], 1);
            body[last] = 0;
        });
        assert!(decode(&endless).is_err());
    }
}

#[test]
fn a_member_holds_no_more_than_it_may() {
    let most = vec![0; MAX_MEMBER_BYTES];
    assert!(decode(&Encoder::new(1).encode(&most).unwrap()).unwrap() == most);
    let more = vec![0; MAX_MEMBER_BYTES + 1];
    assert!(decode(&Encoder::new(1).encode(&more).unwrap()).is_err());
}
