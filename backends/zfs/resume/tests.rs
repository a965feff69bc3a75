use super::*;
use proptest::prelude::*;

/// Streams of `OpenZFS` 2.3.9 and, for each, what `zfs send -t` made after a receive that was cut.
const FILES: &[u8] = include_bytes!("files.zfs");
const FILES_REST: &[u8] = include_bytes!("files.rest.zfs");
const VOLUME: &[u8] = include_bytes!("volume.zfs");
const VOLUME_REST: &[u8] = include_bytes!("volume.rest.zfs");
const RAW: &[u8] = include_bytes!("raw.zfs");
const RAW_REST: &[u8] = include_bytes!("raw.rest.zfs");
/// `zfs send -I`: a frame around the difference between two snapshots.
const HISTORY: &[u8] = include_bytes!("history.zfs");

fn records(stream: &[u8]) -> Vec<Record> {
    let mut source = Remainder::new(stream, BTreeSet::new(), None);
    let mut found = Vec::new();
    while let Some(record) = source.next().unwrap() {
        source.mode = (record.kind() != kind::END).then_some(Mode::Whole);
        found.push(record);
    }
    found
}

/// Object and offset that a stream of `zfs send -t` begins with, out of its list of values.
fn point_of(rest: &[u8]) -> Point {
    let begin = &records(rest)[0];
    let value = |name: &[u8]| {
        let at = begin.payload.windows(name.len()).position(|window| window == name).unwrap();
        long(&begin.payload, at + 16)
    };
    Point {
        guid: long(&begin.head, 40),
        object: value(b"resume_object"),
        offset: value(b"resume_offset"),
        read_bytes: 1,
    }
}

fn remainder(stream: &[u8], received: &[u64], point: Option<Point>) -> io::Result<Vec<u8>> {
    let mut rest = Vec::new();
    Remainder::new(stream, received.iter().copied().collect(), point).read_to_end(&mut rest)?;
    Ok(rest)
}

fn guid(stream: &[u8]) -> u64 {
    long(stream, 40)
}

/// Without what depends on the order of the values at its begin: that is no matter.
fn essence(stream: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let strip = |record: &Record| match record.kind() {
        kind::BEGIN => (record.head.clone(), Vec::new()),
        kind::END => (record.head[40..CHECKSUM_AT].to_vec(), Vec::new()),
        _ => (record.head[..CHECKSUM_AT].to_vec(), record.payload.clone()),
    };
    records(stream).iter().map(strip).collect()
}

#[test]
fn the_rest_is_what_a_sender_makes() {
    for (name, whole, sent) in
        [("files", FILES, FILES_REST), ("volume", VOLUME, VOLUME_REST), ("raw", RAW, RAW_REST)]
    {
        let point = point_of(sent);
        let made = remainder(whole, &[], Some(point)).unwrap();
        assert!(made.len() < whole.len(), "{name}");
        assert_eq!(essence(&made), essence(sent), "{name}");
        if name != "raw" {
            assert!(made == sent, "{name}: not the same bytes");
        }
    }
}

#[test]
fn its_checksums_are_right() {
    for (whole, sent) in [(FILES, FILES_REST), (RAW, RAW_REST)] {
        let made = remainder(whole, &[], Some(point_of(sent))).unwrap();
        let mut check = Remainder::new(&made[..], BTreeSet::new(), None);
        while let Some(record) = check.next().unwrap() {
            check.mode = (record.kind() != kind::END).then_some(Mode::Whole);
            check.check(&record).unwrap();
        }
    }
}

#[test]
fn a_stream_that_nothing_was_received_of_is_passed_on_as_it_is() {
    assert!(remainder(FILES, &[], None).unwrap() == FILES);
    assert!(remainder(RAW, &[], None).unwrap() == RAW);
}

#[test]
fn what_was_received_is_left_out_and_frames_are_taken_away() {
    let both = [FILES, HISTORY].concat();
    let rest = remainder(&both, &[guid(FILES)], None).unwrap();
    assert_eq!(records(&rest).iter().filter(|record| record.kind() == kind::BEGIN).count(), 1);
    assert_ne!(guid(&rest), guid(FILES));
    assert_eq!(remainder(&both, &[guid(FILES), guid(&rest)], None).unwrap(), b"");
    // Interrupted in the first: the second follows whole.
    let point = point_of(FILES_REST);
    let made = remainder(&both, &[], Some(point)).unwrap();
    assert!(made == [FILES_REST, &rest].concat());
}

#[test]
fn another_stream_is_refused() {
    let point = point_of(FILES_REST);
    for (what, stream, point) in [
        ("another snapshot", VOLUME, point),
        ("an object that it does not have", FILES, Point { object: point.object + 1_000_000, ..point }),
        ("an offset that it does not have", FILES, Point { offset: point.offset + 512, ..point }),
        ("the rest of another", FILES_REST, point),
        ("nothing", b"", point),
    ] {
        let error = remainder(stream, &[], Some(point)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{what}");
    }
}

#[test]
fn the_contents_of_a_token_are_read() {
    let text = "resume token contents:\nnvlist version: 0\n\tobject = 0x24\n\toffset = 0x4000\n\
                \tbytes = 0xbae4\n\ttoguid = 0x99ae044b2e1b3d4b\n\ttoname = tank/enc@a\n\trawok = 1\n";
    let wanted = Point { guid: 0x99ae_044b_2e1b_3d4b, object: 0x24, offset: 0x4000, read_bytes: 0xbae4 };
    assert_eq!(point(text), Some(wanted));
    for line in ["object", "offset", "bytes", "toguid"] {
        let without: String = text
            .lines()
            .filter(|found| !found.trim_start().starts_with(line))
            .fold(String::new(), |all, line| all + line + "\n");
        assert_eq!(point(&without), None, "{line}");
    }
    assert_eq!(point("cannot resume send"), None);
}

#[test]
fn nothing_is_left_out_beyond_what_is_verified() {
    let point = point_of(FILES_REST);
    let left_out = |received: &[u64], point, verified_bytes| {
        let mut rest = Vec::new();
        Remainder::new(FILES, received.iter().copied().collect(), point)
            .with_verified(verified_bytes)
            .read_to_end(&mut rest)
    };
    assert!(left_out(&[], Some(point), FILES.len() as u64).is_ok());
    assert!(left_out(&[], Some(point), 1000).is_err());
    assert!(left_out(&[guid(FILES)], None, FILES.len() as u64).is_ok());
    assert!(left_out(&[guid(FILES)], None, FILES.len() as u64 - 1).is_err());
    assert!(left_out(&[], None, 0).is_ok());
}

proptest! {
    /// Every byte is covered by a checksum, or is one.
    #[test]
    fn damage_anywhere_is_found(at in 0..FILES.len(), flip in 1..=255_u8) {
        let mut damaged = FILES.to_vec();
        damaged[at] ^= flip;
        let point = point_of(FILES_REST);
        prop_assert!(remainder(&damaged, &[], Some(point)).is_err());
    }

    #[test]
    fn a_cut_is_found(at in 1..FILES.len()) {
        prop_assert!(remainder(&FILES[..at], &[], Some(point_of(FILES_REST))).is_err());
        prop_assert!(remainder(&FILES[..at], &[guid(FILES)], None).is_err());
    }

    #[test]
    fn rubbish_is_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 1..2000)) {
        prop_assert!(remainder(&bytes, &[], None).is_err());
    }
}
