//! Native streams of snapshots.

use std::collections::BTreeSet;
use std::io::{self, Read as _};

use remand_backends::Hint;
use remand_backends::btrfs::send_stream::{Base, Decoder, Kind, Namespace};
use remand_backends::zfs::resume::{Point, Remainder};

/// Has every name; what ends in an odd byte is a directory.
struct Everything;

impl Base for Everything {
    fn kind(&self, path: &[u8]) -> io::Result<Option<Kind>> {
        Ok(path.last().map(|byte| if byte % 2 == 1 { Kind::Directory } else { Kind::Other }))
    }
}

/// Has no name but those of one byte.
struct Little;

impl Base for Little {
    fn kind(&self, path: &[u8]) -> io::Result<Option<Kind>> {
        if path.len() == 1 { Everything.kind(path) } else { Ok(None) }
    }
}

fn crc32c(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ ((crc & 1) * 0x82f6_3b78))
    })
}

/// Puts the checksums right: behind them is what can go wrong.
fn mend(stream: &mut [u8]) {
    let mut rest = stream.get_mut(17..).unwrap_or_default();
    while rest.len() >= 10 {
        let length = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        if rest.len() - 10 < length {
            return;
        }
        let (command, behind) = rest.split_at_mut(10 + length);
        command[6..10].fill(0);
        let crc = crc32c(0, command);
        command[6..10].copy_from_slice(&crc.to_le_bytes());
        // Another stream may follow.
        let another = behind.starts_with(b"btrfs-stream\0");
        rest = if another { behind.get_mut(17..).unwrap_or_default() } else { behind };
    }
}

fn play(stream: &[u8], base: impl Base) {
    let mut decoder = Decoder::new(stream);
    let mut namespace = Namespace::new(base);
    loop {
        match decoder.next() {
            Ok(None) => break,
            Ok(Some(command)) => {
                if namespace.apply(&command).is_err() {
                    return;
                }
            }
            Err(error) => {
                super::is_fit(&error);
                break;
            }
        }
    }
    let mut hints = 0;
    let told = namespace.finish(&mut |hint: Hint| {
        assert!(hint.path().len() < 4096 && !hint.path().starts_with(b"/"));
        hints += 1;
        true
    });
    if told.is_ok() {
        assert!(hints <= stream.len());
    }
}

/// What is handed to btrfs-receive(8) has our name, and is taken once more as it is.
fn relay(stream: &[u8]) {
    let relayed = remand_backends::fuzzing::relayed(stream, "ours");
    let whole: Vec<&Vec<u8>> = relayed.iter().filter_map(|one| one.as_ref().ok()).collect();
    for one in &whole {
        let mut decoder = Decoder::new(&one[..]);
        let first = decoder.next().map(|command| format!("{command:?}")).unwrap_or_default();
        assert!(first.contains("path: [111, 117, 114, 115]"), "{first}");
    }
    if let Some(first) = whole.first() {
        assert_eq!(remand_backends::fuzzing::relayed(first, "ours"), [Ok((*first).clone())]);
    }
}

/// Any bytes are an error or hints, in bounded memory.
pub(super) fn btrfs(data: &[u8]) {
    play(data, Everything);
    let mut mended = data.to_vec();
    mend(&mut mended);
    play(&mended, Everything);
    play(&mended, Little);
    relay(data);
    relay(&mended);
}

const RECORD_BYTES: usize = 312;

/// Fletcher-4, running.
struct Sum([u64; 4]);

impl Sum {
    fn add(&mut self, bytes: &[u8]) {
        let [mut a, mut b, mut c, mut d] = self.0;
        for word in bytes.chunks_exact(4) {
            a = a.wrapping_add(u64::from(u32::from_le_bytes([word[0], word[1], word[2], word[3]])));
            b = b.wrapping_add(a);
            c = c.wrapping_add(b);
            d = d.wrapping_add(c);
        }
        self.0 = [a, b, c, d];
    }

    fn put(&self, slot: &mut [u8]) {
        for (slot, word) in slot.chunks_exact_mut(8).zip(self.0) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
    }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]))
}

fn long(bytes: &[u8], at: usize) -> u64 {
    word(bytes, at) | word(bytes, at + 4) << 32
}

/// How many bytes follow a record.
fn payload(head: &[u8]) -> u64 {
    match word(head, 0) {
        0 => word(head, 4),
        1 if word(head, 36) == 0 => word(head, 28).next_multiple_of(8),
        1 => word(head, 36),
        3 if head[50] == 0 => long(head, 32),
        3 => long(head, 96),
        7 if long(head, 40) == 0 => long(head, 16),
        7 => long(head, 40),
        8 => word(head, 52).next_multiple_of(8),
        _ => 0,
    }
}

fn mend_zfs(stream: &mut [u8]) {
    let (mut at, mut sum) = (0, Sum([0; 4]));
    while at + RECORD_BYTES <= stream.len() {
        let head = &mut stream[at..at + RECORD_BYTES];
        let bytes = usize::try_from(payload(head)).unwrap_or(usize::MAX);
        match word(head, 0) {
            0 => {
                sum = Sum([0; 4]);
                sum.add(head);
            }
            kind => {
                if kind == 5 {
                    sum.put(&mut head[8..40]);
                }
                sum.add(&head[..RECORD_BYTES - 32]);
                sum.put(&mut head[RECORD_BYTES - 32..]);
                sum.add(&head[RECORD_BYTES - 32..]);
            }
        }
        at += RECORD_BYTES;
        let Some(end) = at.checked_add(bytes).filter(|end| *end <= stream.len()) else { return };
        sum.add(&stream[at..end]);
        at = end;
    }
}

/// The rest of a stream is an error, or shorter than the stream with what tells where to go on; without a point all of it comes.
pub(super) fn zfs_resume(data: &[u8]) {
    let Some((choice, stream)) = data.split_first_chunk::<16>() else { return };
    let mut mended = stream.to_vec();
    mend_zfs(&mut mended);
    let (object, offset) = (word(choice, 0), word(choice, 4));
    for stream in [stream, &mended] {
        let guid = if stream.len() > 48 { long(stream, 40) } else { 0 };
        let point = Point { guid, object, offset, read_bytes: word(choice, 8) };
        for (received, point) in
            [(BTreeSet::new(), None), (BTreeSet::new(), Some(point)), (BTreeSet::from([guid]), None)]
        {
            let mut rest = Vec::new();
            let whole = received.is_empty() && point.is_none();
            let mut source = Remainder::new(stream, received, point).with_verified(word(choice, 12));
            match source.read_to_end(&mut rest) {
                Ok(_) => {
                    assert!(rest.len() <= stream.len() + 200);
                    assert!(!whole || rest.is_empty() || stream.starts_with(&rest[..4]));
                }
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}"),
            }
        }
    }
}

/// Hands out pieces of odd sizes.
struct Pieces<'a>(&'a [u8], usize);

impl io::Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1 * 7 % 701 + 1;
        let most = buffer.len().min(self.1);
        self.0.read(&mut buffer[..most])
    }
}

/// What leads zfs(8) to a dataset: the name of a snapshot, without the snapshot.
fn dataset(head: &[u8]) -> &[u8] {
    let name = head[56..RECORD_BYTES].split(|byte| *byte == 0).next().expect("split has a first");
    name.split(|byte| *byte == b'@').next().expect("split has a first")
}

/// No frame that is handed on lists anything, and each stream in one is of its dataset: the records, followed as simply as can be.
fn has_one_dataset(mut stream: &[u8]) {
    let (mut frame, mut in_its_head, mut open) = (None, false, false);
    while let Some((head, rest)) = stream.split_at_checked(RECORD_BYTES) {
        if !open && word(head, 0) == 0 && long(head, 8) != 0x2_f5ba_cbac {
            return; // of the other byte order
        }
        let bytes = payload(head);
        match (word(head, 0), open) {
            (0, false) if word(head, 16) & 3 == 2 => {
                assert_eq!((bytes, frame), (0, None));
                (frame, in_its_head) = (Some(dataset(head)), true);
            }
            (0, false) => {
                assert!(!in_its_head && word(head, 36) & 1 == 0);
                assert!(frame.is_none_or(|frame| frame == dataset(head)));
                open = true;
            }
            (5, false) if in_its_head => in_its_head = false,
            // The last one is taken in the other byte order, too.
            (5 | 0x0500_0000, false) => frame = None,
            (5, true) => open = false,
            (kind, inside) => assert!(inside && kind < 11 && kind != 6, "{kind}"),
        }
        let Some(behind) = usize::try_from(bytes).ok().and_then(|bytes| rest.get(bytes..)) else { return };
        stream = behind;
    }
}

/// What is handed on is a begin of the stream, all of it where nothing is wrong, in whatever pieces it came; and one dataset.
pub(super) fn zfs_relay(data: &[u8]) {
    let (out, outcome) = remand_backends::fuzzing::zfs_relayed(&mut &*data);
    assert!(data.starts_with(&out) && (outcome.is_err() || out == data));
    has_one_dataset(&out);
    let again = remand_backends::fuzzing::zfs_relayed(&mut Pieces(data, data.len()));
    assert!(again == (out, outcome));
}
