use super::*;
use crate::tree::MemoryContent;

#[allow(clippy::cast_possible_truncation)] // a few MiB
const SIZE: usize = (2 * INTERVAL_BYTES + 1000) as usize;

fn bytes() -> Vec<u8> {
    (0..=250).cycle().flat_map(|byte| [byte; 7]).take(SIZE).collect()
}

fn manifest() -> Digest {
    Digest::of(b"manifest")
}

/// A new one.
fn ledger(directory: &Path, name: &str) -> (Ledger, std::path::PathBuf) {
    let path = directory.join(name);
    (Ledger::create(&path, manifest()).unwrap(), path)
}

/// Hands on at most `limit` bytes.
fn pass(
    ledger: &mut Ledger,
    bytes: &[u8],
    limit: Option<u64>,
    anew: bool,
) -> (io::Result<Vec<u8>>, Vec<u8>, bool) {
    let mut content = MemoryContent::new(bytes.to_vec());
    let interrupted = AtomicBool::new(false);
    let mut guarded = Guarded::new(&mut content, &interrupted, ledger, "data x");
    if anew {
        guarded.begin().unwrap();
    }
    let mut got = Vec::new();
    let outcome = (&mut guarded).take(limit.unwrap_or(u64::MAX)).read_to_end(&mut got);
    let foreign = guarded.foreign;
    (outcome.map(|_| got.clone()), got, foreign)
}

/// What a run notes that dies after it has handed on `limit` bytes.
fn noted(bytes: &[u8], limit: Option<u64>) -> Received {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, path) = ledger(directory.path(), "old");
    pass(&mut ledger, bytes, limit, true).0.unwrap();
    Received::read(&path).unwrap().unwrap()
}

fn go_on(old: &Received, bytes: &[u8]) -> (io::Result<Vec<u8>>, Vec<u8>, bool, Option<Received>) {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, path) = ledger(directory.path(), "new");
    ledger.inherit("data x", old.marks("data x").unwrap()).unwrap();
    let (outcome, got, foreign) = pass(&mut ledger, bytes, None, false);
    (outcome, got, foreign, Received::read(&path).unwrap())
}

#[test]
fn every_byte_is_covered_before_it_is_handed_on() {
    let bytes = bytes();
    for limit in [1, INTERVAL_BYTES, INTERVAL_BYTES + 1, 2 * INTERVAL_BYTES + 1, SIZE as u64] {
        let received = noted(&bytes, Some(limit));
        let marks = received.marks("data x").unwrap();
        assert!(marks.last().unwrap().0 >= limit, "{limit}");
        for (offset, digest) in marks {
            assert_eq!(*digest, Digest::of(&bytes[..usize::try_from(*offset).unwrap()]));
        }
    }
    assert_eq!(noted(&bytes, None).marks("data x").unwrap().last().unwrap().0, SIZE as u64);
}

#[test]
fn the_same_bytes_pass_and_are_covered_to_the_end() {
    let bytes = bytes();
    for limit in [Some(1), Some(INTERVAL_BYTES + 1), None] {
        let (outcome, _, foreign, new) = go_on(&noted(&bytes, limit), &bytes);
        assert_eq!(outcome.unwrap(), bytes);
        assert!(!foreign);
        assert_eq!(new, Some(noted(&bytes, None)));
    }
}

/// Whatever distance an earlier run had between its lines.
#[test]
fn lines_that_lie_farther_apart_are_gone_on_with() {
    let bytes = bytes();
    let mut old = noted(&bytes, None);
    let marks = old.datasets.get_mut("data x").unwrap();
    let between = marks.iter().position(|(offset, _)| *offset == INTERVAL_BYTES).unwrap();
    marks.remove(between);
    let (outcome, _, foreign, _) = go_on(&old, &bytes);
    assert!(outcome.unwrap() == bytes && !foreign);
    // The end comes before the next of them.
    let (outcome, _, foreign, _) = go_on(&old, &bytes[..usize::try_from(INTERVAL_BYTES).unwrap() + 5]);
    assert!(outcome.is_err() && foreign);
}

#[test]
fn other_bytes_are_found_before_the_interval_is_handed_on() {
    let bytes = bytes();
    for at in [0, SIZE / 2, SIZE - 1] {
        let mut forged = bytes.clone();
        forged[at] ^= 1;
        let old = noted(&forged, None);
        let (outcome, got, foreign, new) = go_on(&old, &bytes);
        assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(foreign && got.len() <= at && got == bytes[..got.len()]);
        // Whoever comes next still sees what the forged one has handed on.
        assert_eq!(new, Some(old));
    }
}

#[test]
fn another_length_is_other_content() {
    let bytes = bytes();
    for old in [&bytes[..SIZE - 1], &[&bytes[..], b"x"].concat()] {
        let (outcome, _, foreign, _) = go_on(&noted(old, None), &bytes);
        // A shorter one is a beginning of it; a receiver that has more than that is refused by `verified_bytes`.
        assert_eq!(foreign, old.len() > SIZE);
        assert_eq!(outcome.is_err(), foreign);
    }
}

#[test]
fn only_whole_lines_in_order_are_read() {
    let one = Digest::of(b"1");
    let text = format!("manifest {one}\n0 {one} a b\n5 {one} a b\n9 {one} a b\n");
    assert_eq!(Received::parse(&text).unwrap().marks("a b").unwrap().len(), 3);
    for cut in 1..text.len() {
        let read = Received::parse(&text[..cut]);
        let last =
            read.as_ref().and_then(|read| read.marks("a b")).map_or(0, |marks| marks.last().unwrap().0);
        let lines = text[..cut].matches('\n').count();
        assert_eq!(last, [0, 0, 0, 5, 9][lines], "{cut}");
    }
    for wrong in [
        String::new(),
        "\n".into(),
        format!("0 {one} a\n"),
        format!("manifest {one}\n5 {one} a\n"),
        format!("manifest {one}\n5 {one}\n"),
        format!("manifest {one}\n5 {one} \n"),
        format!("manifest {one}\n0 {one} a\n5 {one} a\n5 {one} a\n"),
        format!("manifest {one}\n0 {one} a\n5 {one} a\n4 {one} a\n"),
        format!("manifest {one}\n0 {one} a\n05 {one} a\n"),
        format!("manifest {one}\n0 {one} a\n+5 {one} a\n"),
        format!("manifest {one}\n0 {one} a\n5 blake3:00 a\n"),
        format!("manifest {one}\n0 {one} a\n5 {one} a\n\n"),
    ] {
        assert_eq!(Received::parse(&wrong), None, "{wrong:?}");
    }
    let anew = format!("manifest {one}\n0 {one} a\n5 {one} a\n0 {one} a\n");
    assert_eq!(Received::parse(&anew).unwrap().marks("a"), None);
}

#[test]
fn absent_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(Received::read(&directory.path().join("none")).unwrap(), None);
}

#[test]
fn what_cannot_be_read_is_not_taken_for_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (_, path) = ledger(directory.path(), "ledger");
    assert!(Received::read(&directory.path().join("none")).unwrap().is_none());
    assert!(Received::read(&path.join("below")).is_err());
}

#[test]
fn a_name_that_is_no_line_is_not_noted() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, path) = ledger(directory.path(), "ledger");
    let before = std::fs::read(&path).unwrap();
    for name in ["", "a\nb"] {
        assert!(ledger.begin(name).is_err(), "{name:?}");
    }
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[test]
fn what_was_not_moved_after_all_is_forgotten_with_all_below_it() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = ledger(directory.path(), "new");
    for (name, offset) in [("data", 7), ("data/in", 8), ("database", 9), ("other", 10)] {
        ledger.inherit(name, &vec![(0, manifest()), (5, manifest()), (offset, manifest())]).unwrap();
    }
    assert_eq!(ledger.inherited_bytes("data"), Some(7));
    ledger.forget("data");
    let left = ["data", "data/in", "database", "other", "none"].map(|name| ledger.inherited_bytes(name));
    assert_eq!(left, [None, None, Some(9), Some(10), None]);
}

/// Content that comes in pieces of one length.
struct Pieces {
    bytes: Vec<u8>,
    piece: usize,
    next: usize,
}

impl Content for Pieces {
    fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn extents(&self) -> &[crate::tree::Extent] {
        &[]
    }

    fn next_data(&mut self) -> io::Result<Option<(u64, &[u8])>> {
        let (from, to) = (self.next, self.bytes.len().min(self.next + self.piece));
        self.next = to;
        Ok((from < to).then(|| (from as u64, &self.bytes[from..to])))
    }
}

#[test]
fn the_lines_do_not_depend_on_the_pieces_that_content_comes_in() {
    let bytes = bytes();
    let interval = usize::try_from(INTERVAL_BYTES).unwrap();
    let expected = noted(&bytes, None);
    for piece in [interval / 3 + 1, interval - 1, interval + 1, SIZE] {
        let directory = tempfile::tempdir().unwrap();
        let (mut ledger, path) = ledger(directory.path(), "pieces");
        let mut content = Pieces { bytes: bytes.clone(), piece, next: 0 };
        let interrupted = AtomicBool::new(false);
        let mut guarded = Guarded::new(&mut content, &interrupted, &mut ledger, "data x");
        guarded.begin().unwrap();
        let mut got = Vec::new();
        guarded.read_to_end(&mut got).unwrap();
        assert!(got == bytes, "{piece}");
        assert_eq!(Received::read(&path).unwrap().as_ref(), Some(&expected), "{piece}");
    }
}

#[test]
fn a_stream_that_is_received_can_be_interrupted() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = ledger(directory.path(), "ledger");
    let mut content = MemoryContent::new(bytes());
    let interrupted = AtomicBool::new(false);
    let mut guarded = Guarded::new(&mut content, &interrupted, &mut ledger, "data x");
    guarded.begin().unwrap();
    let mut buffer = [0; 100];
    assert_eq!(guarded.read(&mut buffer).unwrap(), 100);
    interrupted.store(true, Ordering::Relaxed);
    assert_eq!(guarded.read(&mut buffer).unwrap_err().to_string(), "interrupted");
    assert!(!guarded.foreign);
}
