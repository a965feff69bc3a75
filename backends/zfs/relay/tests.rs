use super::*;
use proptest::prelude::*;

/// Of `OpenZFS` 2.3.9.
const FILES: &[u8] = include_bytes!("../resume/files.zfs");
const VOLUME: &[u8] = include_bytes!("../resume/volume.zfs");
const RAW: &[u8] = include_bytes!("../resume/raw.zfs");
const REST: &[u8] = include_bytes!("../resume/files.rest.zfs");
const HISTORY: &[u8] = include_bytes!("../resume/history.zfs");
/// Of zfs-fuse: `zfs send -I`, `-R` with a dataset below that has a mountpoint, and `-i` of a clone.
const OLD_HISTORY: &[u8] = include_bytes!("history.zfs");
const REPLICATED: &[u8] = include_bytes!("replicated.zfs");
const CLONED: &[u8] = include_bytes!("clone.zfs");

/// Hands out pieces of one size.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = buffer.len().min(self.1);
        self.0.read(&mut buffer[..most])
    }
}

/// What is handed on, and how it ends.
fn relayed(mut source: impl Read) -> (Vec<u8>, Option<Wrong>) {
    let mut out = Vec::new();
    let mut relay = Relay::new(&mut source);
    match relay.read_to_end(&mut out) {
        Ok(_) => (out, None),
        Err(error) => {
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            assert!(relay.read(&mut [0; 9]).is_err());
            (out, Some(error.downcast::<Wrong>().unwrap()))
        }
    }
}

#[track_caller]
fn passes(stream: &[u8]) {
    let (out, wrong) = relayed(stream);
    assert_eq!(wrong, None);
    assert!(out == stream);
}

#[track_caller]
fn refused(stream: &[u8], reason: &str) {
    let (out, wrong) = relayed(stream);
    assert!(stream.starts_with(&out));
    assert!(matches!(wrong, Some(Wrong::Refused(found)) if found.contains(reason)), "{wrong:?}");
}

#[track_caller]
fn damaged(stream: &[u8], reason: &str) {
    let (out, wrong) = relayed(stream);
    assert!(stream.starts_with(&out));
    assert!(matches!(wrong, Some(Wrong::Damaged(found)) if found.contains(reason)), "{wrong:?}");
}

/// A record, in a byte order.
#[derive(Clone)]
struct Forged(Order, Vec<u8>);

impl Forged {
    fn new(order: Order, kind: u32) -> Self {
        Self(order, vec![0; RECORD_BYTES]).word(0, kind)
    }

    fn word(mut self, at: usize, value: u32) -> Self {
        let bytes = if self.0 == Order::Little { value.to_le_bytes() } else { value.to_be_bytes() };
        self.1[at..at + 4].copy_from_slice(&bytes);
        self
    }

    fn long(mut self, at: usize, value: u64) -> Self {
        let bytes = if self.0 == Order::Little { value.to_le_bytes() } else { value.to_be_bytes() };
        self.1[at..at + 8].copy_from_slice(&bytes);
        self
    }

    fn name(mut self, name: &str) -> Self {
        self.1[NAME_AT..NAME_AT + name.len()].copy_from_slice(name.as_bytes());
        self
    }

    fn and(mut self, payload_bytes: usize) -> Self {
        self.1.resize(RECORD_BYTES + payload_bytes, 7);
        self
    }

    fn begin(order: Order, version: u64, name: &str) -> Self {
        Self::new(order, kind::BEGIN).long(8, 0x2_f5ba_cbac).long(16, version).word(32, 2).name(name)
    }
}

fn stream(records: &[Forged]) -> Vec<u8> {
    records.iter().flat_map(|record| record.1.clone()).collect()
}

/// A stream of `name` with these records in it, on a snapshot that came before.
fn with(order: Order, version: u64, name: &str, records: &[Forged]) -> Vec<u8> {
    let (begin, end) = (Forged::begin(order, version, name).long(48, 5), Forged::new(order, kind::END));
    stream(&[&[begin], records, &[end]].concat())
}

fn framed(order: Order, name: &str, inner: &[u8]) -> Vec<u8> {
    let end = Forged::new(order, kind::END);
    [&stream(&[Forged::begin(order, 2, name), end.clone()]), inner, &end.1].concat()
}

const BOTH: [Order; 2] = [Order::Little, Order::Big];

#[test]
fn honest_streams_pass_as_they_are() {
    for honest in [FILES, VOLUME, RAW, REST, HISTORY, OLD_HISTORY, b""] {
        passes(honest);
    }
    passes(&[FILES, HISTORY, OLD_HISTORY].concat());
    // The bytes of zfs-fuse's full stream, out of its frame.
    passes(whole_of_replicated());
}

/// The stream of the upper dataset of [`REPLICATED`].
fn whole_of_replicated() -> &'static [u8] {
    let begin = RECORD_BYTES + usize::try_from(Order::Little.word(REPLICATED, 4)).unwrap() + RECORD_BYTES;
    let second = b"fixture/src/below@one\0";
    let end = REPLICATED.windows(second.len()).position(|window| window == second).unwrap() - NAME_AT;
    &REPLICATED[begin..end]
}

#[test]
fn records_of_both_byte_orders_are_followed() {
    for order in BOTH {
        let content = [
            Forged::new(order, kind::OBJECT).word(28, 13).and(16),
            Forged::new(order, kind::FREE_OBJECTS),
            Forged::new(order, kind::WRITE).long(32, 4096).and(4096),
            Forged::new(order, kind::FREE),
            Forged::new(order, kind::SPILL).long(16, 512).and(512),
            Forged::new(order, kind::WRITE_EMBEDDED).word(52, 81).and(88),
            Forged::new(order, kind::REDACT),
            Forged::new(order, kind::OBJECT_RANGE),
        ];
        let plain = with(order, 1, "t/a@two", &content);
        passes(&plain);
        let raw = [
            Forged::new(order, kind::OBJECT).word(28, 13).word(36, 320).and(320),
            Forged::new(order, kind::SPILL).long(16, 9000).long(40, 512).and(512),
        ];
        passes(&with(order, 1 | feature::RAW, "t/a@two", &raw));
        let mut compressed = Forged::new(order, kind::WRITE).long(32, 9000).long(96, 24);
        compressed.1[50] = 15;
        let compressed = [compressed.and(24)];
        passes(&with(order, 1 | feature::COMPRESSED, "t/a@two", &compressed));
        passes(&framed(order, "t/a@three", &[plain.clone(), plain.clone()].concat()));
        for other in BOTH {
            passes(&[framed(order, "t/a@one", &plain), with(other, 1, "t/b@x", &[])].concat());
        }
        // A size that older versions do not know.
        for forged in [&raw[..1], &raw[1..], &compressed] {
            refused(&with(order, 1, "t/a@two", forged), "no feature");
        }
        refused(&with(order, 1 | feature::COMPRESSED, "t/a@two", &raw[1..]), "no feature");
    }
}

#[test]
fn what_brings_datasets_or_properties_is_refused() {
    refused(REPLICATED, "datasets or properties");
    assert_eq!(relayed(REPLICATED).0, b"");
    // Not only at the begin.
    let (out, _) = relayed(&*[FILES, REPLICATED].concat());
    assert_eq!(out, FILES);
    refused(&[FILES, HISTORY, REPLICATED].concat(), "datasets or properties");
    for order in BOTH {
        let listed = Forged::begin(order, 2, "t/a@two").word(4, 8).and(8);
        refused(&stream(&[listed, Forged::new(order, kind::END)]), "datasets or properties");
    }
}

#[test]
fn each_stream_in_a_frame_is_of_its_dataset() {
    // The list taken away: the names alone lead below.
    let list_bytes = usize::try_from(Order::Little.word(REPLICATED, 4)).unwrap();
    let mut unlisted = REPLICATED.to_vec();
    unlisted.drain(RECORD_BYTES..RECORD_BYTES + list_bytes);
    unlisted[4..8].fill(0);
    refused(&unlisted, "more than one dataset");
    for order in BOTH {
        for name in ["t/a/below@two", "t/ab@two", "t/b@two", "t/@two", "t@two", "other@two"] {
            let inner = [with(order, 1, "t/a@one", &[]), with(order, 1, name, &[])].concat();
            refused(&framed(order, "t/a@two", &inner), "more than one dataset");
        }
        refused(&framed(order, "t/a@two", &framed(order, "t/a@two", b"")), "frame in a frame");
    }
    for (dataset, snapshot) in [("", "x"), ("t", ""), ("t", "x@y"), ("t", "../x")] {
        damaged(&with(Order::Little, 1, &format!("{dataset}@{snapshot}"), &[]), "names no snapshot");
    }
    damaged(&with(Order::Little, 1, "t", &[]), "names no snapshot");
    damaged(&with(Order::Little, 1, &format!("t@{}", "x".repeat(254)), &[]), "names no snapshot");
}

#[test]
fn nothing_else_of_the_host_is_built_on() {
    refused(CLONED, "does not come with it");
    refused(&[FILES, FILES].concat(), "more than one whole");
    let copy = [Forged::new(Order::Big, kind::WRITE_BY_REFERENCE)];
    refused(&with(Order::Big, 1, "t/a@two", &copy), "copies from other");
    let valued = Forged::begin(Order::Little, 1, "t/a@one").word(4, 8).and(8);
    refused(&stream(&[valued]), "no feature");
}

#[test]
fn what_is_no_stream_is_damaged() {
    damaged(b"text", NONE);
    damaged(&[0xff; 1000], NONE);
    damaged(&REST[RECORD_BYTES..], NONE);
    damaged(&[FILES, b"text"].concat(), "ends within");
    damaged(&[FILES, &[0xff; 400]].concat(), "what follows its end");
    damaged(&FILES[..FILES.len() - 1], "ends within");
    for order in BOTH {
        damaged(&with(order, 0, "t/a@one", &[]), NONE);
        damaged(&with(order, 3, "t/a@one", &[]), NONE);
        let begin = |objects| Forged::begin(order, 1, "t/a@one").word(32, objects);
        damaged(&stream(&[begin(4)]), "neither");
        damaged(&stream(&[begin(2), begin(2)]), "no order");
        damaged(&stream(&[begin(2), Forged::new(order, 77)]), "no known kind");
        damaged(&stream(&[begin(2).word(4, u32::MAX).long(16, 1 | feature::RAW)]), "longer than any");
        damaged(&framed(order, "t/a@two", &Forged::new(order, kind::FREE).1), "what follows its end");
        let frame = Forged::begin(order, 2, "t/a@two");
        damaged(&stream(&[frame.clone(), begin(2)]), "frame holds records");
        damaged(&stream(&[frame.clone(), Forged::new(order, kind::END)]), "ends within");
        damaged(&stream(&[frame]), "ends within");
        // Sizes that wrap around in 32 bits, and in 64.
        for record in [
            Forged::new(order, kind::OBJECT).word(28, u32::MAX),
            Forged::new(order, kind::WRITE_EMBEDDED).word(52, u32::MAX),
            Forged::new(order, kind::WRITE).long(32, u64::MAX),
            Forged::new(order, kind::SPILL).long(16, u64::MAX - 311),
        ] {
            damaged(&stream(&[begin(2), record]), "longer than any");
        }
    }
}

#[test]
fn a_failed_read_stays_what_it_is() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::TimedOut.into())
        }
    }
    let mut source = FILES.chain(Broken);
    let mut relay = Relay::new(&mut source);
    let mut out = Vec::new();
    assert_eq!(relay.read_to_end(&mut out).unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!(out == FILES);
}

/// Where a receive goes on, too.
#[test]
fn what_is_wrong_is_told_through_what_continues_a_stream() {
    let both = [FILES, REPLICATED].concat();
    for received in [vec![], vec![Order::Little.long(FILES, 40)]] {
        let mut source = &both[..];
        let received = received.into_iter().collect();
        let mut rest = crate::zfs::resume::Remainder::new(Relay::new(&mut source), received, None);
        let error = rest.read_to_end(&mut Vec::new()).unwrap_err();
        assert!(matches!(error.downcast::<Wrong>(), Ok(Wrong::Refused(_))));
    }
}

#[test]
fn every_cut_is_found() {
    for whole in [RAW, OLD_HISTORY] {
        for cut in (1..whole.len()).step_by(8) {
            let (out, wrong) = relayed(&whole[..cut]);
            assert!(matches!(wrong, Some(Wrong::Damaged(_))), "{cut}");
            assert!(out.len() <= cut && whole.starts_with(&out));
        }
    }
}

proptest! {
    /// In whatever pieces it comes, it is handed on the same, and so is what is wrong with it.
    #[test]
    fn pieces_make_no_difference(
        at in 0..OLD_HISTORY.len(), flip in 1..=255_u8, size in 1..700_usize,
    ) {
        let mut changed = [OLD_HISTORY, REPLICATED].concat();
        changed[at] ^= flip;
        let (out, wrong) = relayed(Pieces(&changed, size));
        prop_assert!(changed.starts_with(&out));
        prop_assert!(wrong.is_some());
        prop_assert!((out, wrong) == relayed(&changed[..]));
    }

    #[test]
    fn rubbish_is_an_error_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 1..2000)) {
        prop_assert!(relayed(&bytes[..]).1.is_some());
    }
}
