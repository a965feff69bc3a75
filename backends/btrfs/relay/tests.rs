use super::*;
use proptest::prelude::*;

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len()).unwrap();
    [&kind.to_le_bytes()[..], &length.to_le_bytes(), value].concat()
}

fn command(kind: u16, attributes: &[(u16, &[u8])]) -> Command {
    let body = attributes.iter().flat_map(|(kind, value)| attribute(*kind, value)).collect();
    let mut command = Command { kind, checksum: 0, body };
    command.checksum = command.sum();
    command
}

fn stream(commands: &[Command]) -> Vec<u8> {
    let mut bytes = [MAGIC, &1u32.to_le_bytes()].concat();
    for command in commands {
        command.write(&mut bytes);
    }
    bytes
}

const A: Uuid = [1; 16];
const B: Uuid = [2; 16];
const HERE: Uuid = [9; 16];

fn full(rest: &[Command]) -> Vec<u8> {
    let first = command(SUBVOL, &[(PATH, b"x@name"), (UUID, &A), (2, &[0; 8])]);
    stream(&[&[first], rest, &[command(END, &[])]].concat())
}

fn relayed(bytes: &[u8], known: &BTreeMap<Uuid, Uuid>) -> std::result::Result<(Vec<u8>, usize), Wrong> {
    let mut source = bytes;
    let begin = Begin::read(&mut source)?.expect("there is one");
    let mut part = Part::new(&begin, "new", known, &mut source)?;
    let mut out = Vec::new();
    match part.read_to_end(&mut out) {
        Ok(_) => Ok((out, source.len())),
        Err(_) => Err(part.wrong().unwrap()),
    }
}

fn refused(bytes: &[u8]) -> &'static str {
    match relayed(bytes, &BTreeMap::from([(B, HERE)])) {
        Err(Wrong::Stream(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn checksums_are_those_of_btrfs() {
    // Of the end command, which is the same in every stream of the kernel.
    assert_eq!(command(END, &[]).checksum, 0x9DC9_6C50);
}

#[test]
fn a_part_ends_where_it_ends_and_has_our_name() {
    let write = command(15, &[(PATH, b"file"), (18, &[0; 8]), (19, b"text")]);
    let bytes = full(std::slice::from_ref(&write));
    let both = [&bytes[..], b"the rest"].concat();
    let (out, left) = relayed(&both, &BTreeMap::new()).unwrap();
    assert_eq!(left, 8);
    let first = command(SUBVOL, &[(PATH, b"new"), (UUID, &A), (2, &[0; 8])]);
    assert_eq!(out, stream(&[first, write, command(END, &[])]));
    let mut renamed = Vec::new();
    Renamed::new(&bytes[..], "new").read_to_end(&mut renamed).unwrap();
    assert_eq!(renamed, out);
}

#[test]
fn references_lead_to_what_came_before_alone() {
    let snapshot = |uuid: &Uuid| {
        let first = command(SNAPSHOT, &[(PATH, b"p"), (UUID, &A), (2, &[0; 8]), (CLONE_UUID, uuid)]);
        stream(&[first, command(END, &[])])
    };
    let known = BTreeMap::from([(B, HERE)]);
    let (out, _) = relayed(&snapshot(&B), &known).unwrap();
    assert!(out.windows(16).any(|window| window == HERE) && !out.windows(16).any(|window| window == B));
    assert!(relayed(&snapshot(&[7; 16]), &known).is_err());
    // A snapshot of itself is none.
    assert!(relayed(&snapshot(&A), &known).is_err());
    let clone = |uuid: &Uuid| full(&[command(CLONE, &[(PATH, b"p"), (CLONE_UUID, uuid)])]);
    for uuid in [A, B] {
        relayed(&clone(&uuid), &known).unwrap();
    }
    assert!(refused(&clone(&[7; 16])).contains("does not come with it"));
}

#[test]
fn what_is_no_stream_is_refused() {
    let whole = full(&[]);
    for cut in 1..whole.len() {
        let outcome = relayed(&whole[..cut], &BTreeMap::new());
        assert!(matches!(outcome, Err(Wrong::Stream(_))), "{cut}: {outcome:?}");
    }
    assert!(matches!(Begin::read(&mut &b""[..]), Ok(None)));
    let mut newer = whole.clone();
    newer[MAGIC.len()] = 4;
    assert_eq!(refused(&newer), "its version is not known");
    assert_eq!(refused(&stream(&[command(END, &[])])), "it does not begin with a subvolume");
    let two = full(&[command(SUBVOL, &[(PATH, b"y"), (UUID, &B)])]);
    assert_eq!(refused(&two), "it has more than one subvolume");
    let twice = stream(&[command(SUBVOL, &[(PATH, b"x"), (PATH, b"y"), (UUID, &A)])]);
    assert_eq!(refused(&twice), "it has a malformed command");
    let mut damaged = whole.clone();
    damaged[HEAD_BYTES + COMMAND_HEAD_BYTES + 5] ^= 1; // in the name
    assert_eq!(refused(&damaged), "a command's checksum is wrong");
    let mut huge = whole;
    huge[HEAD_BYTES + 3] = 0xFF;
    assert_eq!(refused(&huge), "it has a command of more than 4 MiB");
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
            let known = BTreeMap::new();
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
        let bytes = if good { [&full(&[])[..HEAD_BYTES], &bytes].concat() } else { bytes };
        let mut source = &bytes[..];
        if let Ok(Some(begin)) = Begin::read(&mut source) {
            let known = BTreeMap::new();
            if let Ok(mut part) = Part::new(&begin, "new", &known, &mut source) {
                part.read_to_end(&mut Vec::new()).ok();
            }
        }
    }
}
