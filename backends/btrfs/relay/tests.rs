use super::*;
use crate::btrfs::send_stream::command::CLONE;
use crate::btrfs::send_stream::encode::{checked, raw, stream};
use proptest::prelude::*;

const A: Uuid = [1; 16];
const B: Uuid = [2; 16];
const HERE: Uuid = [9; 16];

const END: Command<'_> = Command::End;

fn subvol(path: &[u8]) -> Command<'_> {
    Command::Subvol { path, uuid: A, ctransid: 0 }
}

fn full(rest: &[Command<'_>]) -> Vec<u8> {
    stream(1, &[&[subvol(b"x@name")], rest, &[END]].concat())
}

fn known() -> Known {
    Known::from([(B, Came { here: HERE, specials: Specials::new() })])
}

fn relayed(bytes: &[u8], known: &Known) -> std::result::Result<(Vec<u8>, usize), Wrong> {
    let mut source = bytes;
    let begin = Begin::read(&mut source)?.expect("there is one");
    let mut part = Part::new(&begin, "new", known, &mut source)?;
    let mut out = Vec::new();
    match part.read_to_end(&mut out) {
        Ok(_) => Ok((out, source.len())),
        Err(_) => Err(part.wrong().unwrap()),
    }
}

fn refused(bytes: &[u8]) -> String {
    match relayed(bytes, &known()) {
        Err(Wrong::Refused(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

fn damaged(bytes: &[u8]) -> String {
    match relayed(bytes, &known()) {
        Err(Wrong::Damaged(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn checksums_are_those_of_btrfs() {
    // The end command is the same in every stream of the kernel.
    assert_eq!(raw(1, 21, &[]), [0, 0, 0, 0, 21, 0, 0x50, 0x6C, 0xC9, 0x9D]);
}

#[test]
fn a_part_ends_where_it_ends_and_has_our_name() {
    let write = Command::Write { path: b"file", offset: 0, data: b"text" };
    let bytes = full(&[write]);
    let both = [&bytes[..], b"the rest"].concat();
    let (out, left) = relayed(&both, &Known::new()).unwrap();
    assert_eq!(left, 8);
    assert_eq!(out, stream(1, &[subvol(b"new"), write, END]));
    let mut renamed = Vec::new();
    Renamed::new(&bytes[..], "new").read_to_end(&mut renamed).unwrap();
    assert_eq!(renamed, out);
}

#[test]
fn references_lead_to_what_came_before_alone() {
    let snapshot = |clone_uuid: &Uuid| {
        let (path, clone_uuid) = (b"p", *clone_uuid);
        stream(1, &[Command::Snapshot { path, uuid: A, ctransid: 0, clone_uuid, clone_ctransid: 0 }, END])
    };
    let known = known();
    let (out, _) = relayed(&snapshot(&B), &known).unwrap();
    assert!(out.windows(16).any(|window| window == HERE) && !out.windows(16).any(|window| window == B));
    assert!(refused(&snapshot(&[7; 16])).contains("does not come with it"));
    // A snapshot of itself is none.
    assert!(refused(&snapshot(&A)).contains("does not come with it"));
    let clone = |uuid: &Uuid| {
        let (path, source_path, source_uuid) = (b"p", b"q", *uuid);
        let (offset, source_offset, bytes, source_ctransid) = (0, 0, 4096, 0);
        full(&[Command::Clone {
            path,
            offset,
            bytes,
            source_uuid,
            source_ctransid,
            source_path,
            source_offset,
        }])
    };
    assert_eq!(relayed(&clone(&A), &known).unwrap().0.windows(16).filter(|window| *window == A).count(), 2);
    assert!(relayed(&clone(&B), &known).unwrap().0.windows(16).any(|window| window == HERE));
    assert!(refused(&clone(&[7; 16])).contains("does not come with it"));
}

#[test]
fn damage_is_told_from_what_is_refused() {
    let whole = full(&[]);
    for cut in 1..whole.len() {
        damaged(&whole[..cut]);
    }
    assert!(matches!(Begin::read(&mut &b""[..]), Ok(None)));
    let version = |version: u8| [&frame::begin(version.into()), &whole[frame::BEGIN_BYTES..]].concat();
    assert_eq!(refused(&version(4)), "version 4 is not known");
    assert_eq!(damaged(&version(0)), "version 0 is not known");
    assert_eq!(damaged(&stream(1, &[END])), "it does not begin with a subvolume");
    assert_eq!(refused(&full(&[subvol(b"y")])), "it has more than one subvolume");
    let twice = raw(1, SUBVOL, &[(PATH, b"x"), (PATH, b"y")]);
    assert_eq!(damaged(&[frame::begin(1), twice].concat()), "attribute 15 comes twice");
    let short = checked(CLONE, vec![15, 0, 1]);
    let body = &whole[..whole.len() - frame::HEAD_BYTES];
    assert_eq!(damaged(&[body, &short].concat()), "attribute 15 is cut short");
    let mut huge = whole;
    huge[frame::BEGIN_BYTES + 3] = 0xFF;
    assert!(damaged(&huge).starts_with("a command of 42"));
}

#[test]
fn a_flipped_bit_is_damage_wherever_it_is() {
    let write = Command::Write { path: b"file", offset: 0, data: b"text" };
    let (path, source_path, source_uuid) = (b"p", b"q", B);
    let (offset, source_offset, bytes, source_ctransid) = (0, 0, 4096, 0);
    let clone =
        Command::Clone { path, offset, bytes, source_uuid, source_ctransid, source_path, source_offset };
    let whole = full(&[write, clone]);
    for at in 0..whole.len() {
        // In the version it makes another one: known or not, nothing tells that.
        if (13..frame::BEGIN_BYTES).contains(&at) {
            continue;
        }
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << bit;
            damaged(&flipped);
        }
    }
}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the cable"))
    }
}

#[test]
fn a_source_that_fails_is_told_as_such() {
    let whole = full(&[]);
    for cut in 0..whole.len() {
        let mut source = whole[..cut].chain(Failing);
        let outcome = Begin::read(&mut source).and_then(|begin| {
            let known = Known::new();
            let mut part = Part::new(&begin.unwrap(), "new", &known, &mut source)?;
            let read = part.read_to_end(&mut Vec::new());
            assert!(read.is_err());
            Err::<(), _>(part.wrong().unwrap())
        });
        assert!(matches!(outcome, Err(Wrong::Source(_))), "{cut}: {outcome:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_relayed(bytes in proptest::collection::vec(any::<u8>(), 0..200), good in any::<bool>()) {
        let bytes = if good { [&full(&[])[..frame::BEGIN_BYTES], &bytes].concat() } else { bytes };
        let mut source = &bytes[..];
        if let Ok(Some(begin)) = Begin::read(&mut source) {
            let known = Known::new();
            if let Ok(mut part) = Part::new(&begin, "new", &known, &mut source) {
                part.read_to_end(&mut Vec::new()).ok();
            }
        }
    }
}
