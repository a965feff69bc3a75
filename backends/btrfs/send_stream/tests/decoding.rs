//! Streams as bytes.

use crate::btrfs::send_stream::attributes as kind;
use crate::btrfs::send_stream::encode::{checked, raw, stream};
use crate::btrfs::send_stream::{Base, Command, Decoder, Error, Kind, Malformed, Namespace, Time};
use proptest::prelude::*;
use std::io::{self, Read};

/// What a stream's begin is long.
const HEADER: u64 = 17;
const UNLINK: Command<'static> = Command::Unlink { path: b"a" };

/// Decodes to the end, and says how far it came.
fn decode(bytes: &[u8]) -> (usize, Option<Error>) {
    let mut decoder = Decoder::new(bytes);
    let mut count = 0;
    loop {
        match decoder.next() {
            Ok(Some(_)) => count += 1,
            Ok(None) => return (count, None),
            Err(error) => return (count, Some(error)),
        }
    }
}

fn malformed(bytes: &[u8]) -> (u64, Malformed) {
    match decode(bytes).1 {
        Some(Error::Malformed { offset, reason }) => (offset, reason),
        other => panic!("{other:?}"),
    }
}

fn cut(bytes: &[u8], end: u64) -> &[u8] {
    &bytes[..usize::try_from(end).expect("a length")]
}

fn version_1(commands: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = stream(1, &[]);
    bytes.extend(commands.concat());
    bytes
}

#[test]
fn several_streams_behind_one_another_are_one_list() {
    let mut bytes = stream(1, &[UNLINK, Command::End]);
    bytes.extend(stream(2, &[Command::End]));
    let mut decoder = Decoder::new(bytes.as_slice());
    assert_eq!(decoder.version(), None);
    assert_eq!(decoder.next().expect("a command"), Some(UNLINK));
    assert_eq!(decoder.version(), Some(1));
    assert_eq!(decoder.next().expect("a command"), Some(Command::End));
    assert_eq!(decoder.version(), None);
    assert_eq!(decoder.next().expect("a command"), Some(Command::End));
    assert_eq!(decoder.next().expect("the end"), None);
    assert_eq!(decoder.next().expect("the end again"), None);
    bytes.push(b'b');
    assert_eq!(malformed(&bytes).1, Malformed::Truncated);
    *bytes.last_mut().expect("a byte") = b'x';
    assert_eq!(malformed(&bytes).1, Malformed::NoStream);
}

#[test]
fn every_damage_is_told_with_its_place() {
    let good = stream(1, &[UNLINK, Command::End]);
    let second = HEADER + 10 + 5;
    assert_eq!(decode(&good).0, 2);
    assert_eq!(malformed(b""), (0, Malformed::NoStream));
    assert_eq!(malformed(b"btrfs-stream\x01"), (0, Malformed::NoStream));
    assert_eq!(malformed(b"btrfs"), (0, Malformed::Truncated));
    assert_eq!(malformed(&stream(0, &[])), (0, Malformed::Version(0)));
    assert_eq!(malformed(&stream(4, &[])), (0, Malformed::Version(4)));
    for end in HEADER..good.len() as u64 {
        let offset = if end < second { HEADER } else { second };
        assert_eq!(malformed(cut(&good, end)), (offset, Malformed::Truncated), "cut at {end}");
    }
    let mut long = good.clone();
    long[19] = 0x41;
    assert_eq!(malformed(&long), (HEADER, Malformed::TooLong(0x41_0005)));
    let mut other = good.clone();
    *other.last_mut().expect("a byte") ^= 1;
    assert_eq!(malformed(&other), (second, Malformed::Checksum));
    let mut behind = good;
    behind.push(0);
    assert_eq!(malformed(&behind), (second + 10, Malformed::NoStream));
}

#[test]
fn attributes_are_those_of_the_command_and_the_version() {
    let one = |number, attributes: &[(u16, &[u8])]| {
        let (offset, reason) = malformed(&version_1(&[raw(1, number, attributes)]));
        assert_eq!(offset, HEADER);
        reason
    };
    assert_eq!(one(0, &[(kind::PATH, b"a")]), Malformed::Command(0));
    assert_eq!(one(23, &[(kind::PATH, b"a")]), Malformed::Command(23));
    assert_eq!(one(11, &[]), Malformed::Missing(kind::PATH));
    assert_eq!(one(11, &[(kind::FALLOCATE_MODE, b"")]), Malformed::Attribute(25));
    assert_eq!(one(11, &[(0, b"")]), Malformed::Attribute(0));
    assert_eq!(one(11, &[(kind::PATH, b"a"), (kind::PATH, b"b")]), Malformed::Twice(kind::PATH));
    assert_eq!(one(17, &[(kind::PATH, b"a"), (kind::SIZE, b"1234")]), Malformed::Value(kind::SIZE));
    assert_eq!(one(17, &[(kind::PATH, b"a")]), Malformed::Missing(kind::SIZE));
    for path in [&b"/a"[..], b"a/", b"a//b", b".", b"..", b"a/../b", b"./a", b"a\0b"] {
        assert_eq!(one(11, &[(kind::PATH, path)]), Malformed::Value(kind::PATH), "{path:?}");
    }
    // An attribute behind the command's end, and less than an attribute's begin.
    let mut short = raw(1, 11, &[(kind::PATH, b"abc")]);
    short.truncate(short.len() - 2);
    for (body, reason) in [
        (&short[10..], Malformed::CutShort(15)),
        (&[15, 0, 1], Malformed::CutShort(15)),
        (&[15], Malformed::Truncated),
    ] {
        assert_eq!(malformed(&version_1(&[checked(11, body.to_vec())])), (HEADER, reason));
    }
}

#[test]
fn a_source_that_fails_is_told_from_a_stream_that_ends() {
    struct Failing<'a>(&'a [u8]);
    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0.is_empty() { Err(io::ErrorKind::BrokenPipe.into()) } else { self.0.read(buffer) }
        }
    }
    let bytes = stream(1, &[UNLINK, Command::End]);
    for end in [0, HEADER, HEADER + 12, bytes.len() as u64] {
        let mut decoder = Decoder::new(Failing(cut(&bytes, end)));
        let error = loop {
            if let Err(error) = decoder.next() {
                break error;
            }
        };
        assert!(matches!(error, Error::Read(_)), "{end}: {error}");
    }
}

/// A command as owned values.
#[derive(Clone, Debug)]
struct Owned {
    number: u8,
    names: [Vec<u8>; 3],
    numbers: [u64; 5],
    uuid: [u8; 16],
}

impl Owned {
    #[allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap)] // any number will do
    fn command(&self) -> Command<'_> {
        let [first, second, third, fourth, fifth] = self.numbers;
        let [path, name, value] = self.names.each_ref().map(Vec::as_slice);
        let time = |value: u64| Time { seconds: value as i64, nanoseconds: value as u32 };
        let uuid = self.uuid;
        match self.number {
            1 => Command::Subvol { path, uuid, ctransid: first },
            2 => Command::Snapshot { path, uuid, ctransid: first, clone_uuid: uuid, clone_ctransid: second },
            3 => Command::Mkfile { path, inode: first },
            4 => Command::Mkdir { path, inode: first },
            5 => Command::Mknod { path, inode: first, mode: second, rdev: third },
            6 => Command::Mkfifo { path, inode: first },
            7 => Command::Mksock { path, inode: first },
            8 => Command::Symlink { path, inode: first, target: value },
            9 => Command::Rename { path, to: name },
            10 => Command::Link { path, existing: name },
            11 => Command::Unlink { path },
            12 => Command::Rmdir { path },
            13 => Command::SetXattr { path, name, value },
            14 => Command::RemoveXattr { path, name },
            15 => Command::Write { path, offset: first, data: value },
            16 => Command::Clone {
                path,
                offset: first,
                bytes: second,
                source_uuid: uuid,
                source_ctransid: third,
                source_path: name,
                source_offset: fourth,
            },
            17 => Command::Truncate { path, size: first },
            18 => Command::Chmod { path, mode: first },
            19 => Command::Chown { path, uid: first, gid: second },
            20 => Command::Utimes { path, atime: time(first), mtime: time(second), ctime: time(third) },
            22 => Command::UpdateExtent { path, offset: first, bytes: second },
            23 => Command::Fallocate { path, mode: first as u32, offset: second, bytes: third },
            24 => Command::Fileattr { path, attributes: first },
            25 => Command::EncodedWrite {
                path,
                offset: first,
                unencoded_file_bytes: second,
                unencoded_bytes: third,
                unencoded_offset: fourth,
                compression: fifth as u32,
                encryption: first as u32,
                data: value,
            },
            26 => Command::EnableVerity {
                path,
                algorithm: first as u8,
                block_bytes: second as u32,
                salt: name,
                signature: value,
            },
            _ => Command::End,
        }
    }
}

fn path() -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_filter("of a name", |byte| !b"\0/.".contains(byte));
    prop::collection::vec(prop::collection::vec(byte, 1..6), 0..4).prop_map(|names| names.join(&b'/'))
}

fn owned(newest: u8) -> impl Strategy<Value = Owned> {
    (1..=newest, path(), path(), prop::collection::vec(any::<u8>(), 0..300), any::<([u64; 5], [u8; 16])>())
        .prop_map(|(number, path, name, value, (numbers, uuid))| Owned {
            number,
            names: [path, name, value],
            numbers,
            uuid,
        })
}

fn streams() -> impl Strategy<Value = (u32, Vec<Owned>)> {
    (1..=3_u32).prop_flat_map(|version| {
        let newest = [22, 25, 26][version as usize - 1];
        (Just(version), prop::collection::vec(owned(newest), 0..20))
    })
}

/// A base that has everything: what ends in an odd byte is a directory.
struct Anything;

impl Base for Anything {
    fn kind(&self, path: &[u8]) -> io::Result<Option<Kind>> {
        Ok(Some(if path.last().is_some_and(|byte| byte % 2 == 1) { Kind::Directory } else { Kind::Other }))
    }
}

/// Small streams that `btrfs send --no-data` wrote.
pub(super) const SEEDS: [&[u8]; 3] = [
    include_bytes!("../../../../fuzz/seeds/send_stream/changes"),
    include_bytes!("../../../../fuzz/seeds/send_stream/moves"),
    include_bytes!("../../../../fuzz/seeds/send_stream/version-2"),
];

proptest! {
    #[test]
    fn what_was_encoded_is_decoded((version, owned) in streams()) {
        let mut commands: Vec<_> = owned.iter().map(Owned::command).collect();
        commands.retain(|command| *command != Command::End);
        commands.push(Command::End);
        let bytes = stream(version, &commands);
        let mut decoder = Decoder::new(bytes.as_slice());
        for command in commands {
            prop_assert_eq!(decoder.next().expect("a command"), Some(command));
        }
        prop_assert!(decoder.next().expect("the end").is_none());
    }

    #[test]
    fn a_damaged_stream_is_an_error_and_never_a_panic(
        seed in prop::sample::select(&SEEDS[..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in any::<prop::sample::Index>(),
        mend in any::<bool>(),
    ) {
        let mut bytes = seed.to_vec();
        for (index, value) in changes {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        if mend {
            mend_checksums(&mut bytes);
        } else {
            bytes.truncate(end.index(bytes.len()));
            prop_assert!(decode(&bytes).1.is_some());
        }
        let mut decoder = Decoder::new(bytes.as_slice());
        let mut namespace = Namespace::new(Anything);
        while let Ok(Some(command)) = decoder.next() {
            if namespace.apply(&command).is_err() {
                return Ok(());
            }
        }
        let mut hints = 0;
        // What it says does not matter here.
        let _ = namespace.finish(&mut |_| { hints += 1; true });
        prop_assert!(hints <= bytes.len());
    }
}

/// So that what is damaged comes behind the checksums.
fn mend_checksums(bytes: &mut [u8]) {
    let mut rest = &mut bytes[17..];
    while rest.len() >= 10 {
        let length = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        if rest.len() - 10 < length {
            return;
        }
        let (command, behind) = rest.split_at_mut(10 + length);
        let mended = checked(u16::from_le_bytes([command[4], command[5]]), command[10..].to_vec());
        command.copy_from_slice(&mended);
        rest = behind;
    }
}

#[test]
fn seeds_are_whole_streams() {
    for seed in SEEDS {
        let (commands, error) = decode(seed);
        assert!(error.is_none() && commands > 10, "{commands} {error:?}");
    }
}
