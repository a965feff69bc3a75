//! Native streams that do more than make their dataset.

use crate::support::Scratch;
use crate::support::bundle::Bundle;
use crate::support::pool::{Place, Pool, Size, destroy, names, zfs};
use crate::support::run::{export, remand};

/// Puts a stream where that of the root was, with a line that fits.
fn with_stream(honest: &Bundle, member: &str, data: &[u8]) -> Bundle {
    let mut bundle = honest.clone();
    bundle.replace(member, data);
    bundle
}

/// A send stream of btrfs, made without its library.
mod send {
    /// Type and value of an attribute.
    pub(super) type Attribute<'a> = (u16, &'a [u8]);

    fn crc32c(data: &[u8]) -> u32 {
        data.iter().fold(0, |crc, &byte| {
            (0..8).fold(
                crc ^ u32::from(byte),
                |crc, _| {
                    if crc & 1 == 0 { crc >> 1 } else { crc >> 1 ^ 0x82f6_3b78 }
                },
            )
        })
    }

    pub(super) fn command(number: u16, attributes: &[Attribute<'_>]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend(kind.to_le_bytes());
            body.extend(u16::try_from(value.len()).unwrap().to_le_bytes());
            body.extend(*value);
        }
        let mut command = u32::try_from(body.len()).unwrap().to_le_bytes().to_vec();
        command.extend(number.to_le_bytes());
        command.extend([0; 4]);
        command.extend(body);
        let crc = crc32c(&command);
        command[6..10].copy_from_slice(&crc.to_le_bytes());
        command
    }

    /// A whole stream of one subvolume.
    pub(super) fn stream(name: &str, commands: &[Vec<u8>]) -> Vec<u8> {
        let mut stream = b"btrfs-stream\0\x01\0\0\0".to_vec();
        stream.extend(command(1, &[(15, name.as_bytes()), (1, &[7; 16]), (2, &[1, 0, 0, 0, 0, 0, 0, 0])]));
        stream.extend(commands.concat());
        stream.extend(command(21, &[]));
        stream
    }
}

use send::{command, stream};

const ZERO: [u8; 8] = [0; 8];

fn path(path: &str) -> (u16, &[u8]) {
    (15, path.as_bytes())
}

/// A node that leads to the null device, so that nothing happens should anybody write to it.
fn node(at: &str) -> Vec<u8> {
    let (mode, device) = (0o020_666_u64.to_le_bytes(), 0x103_u64.to_le_bytes());
    command(5, &[path(at), (3, &ZERO), (5, &mode), (8, &device)])
}

fn write(at: &str) -> Vec<u8> {
    command(15, &[path(at), (18, &ZERO), (19, b"evil")])
}

fn symlink(at: &str, to: &str) -> Vec<u8> {
    command(8, &[path(at), (3, &ZERO), (17, to.as_bytes())])
}

fn rename(from: &str, to: &str) -> Vec<u8> {
    command(9, &[path(from), (16, to.as_bytes())])
}

fn file(at: &str) -> Vec<u8> {
    command(3, &[path(at), (3, &ZERO)])
}

fn directory(at: &str) -> Vec<u8> {
    command(4, &[path(at), (3, &ZERO)])
}

/// An honest archive of a place, and an empty pool to restore one that is not.
struct Here {
    scratch: Scratch,
    source: Pool,
    target: Pool,
    honest: Bundle,
}

impl Here {
    fn new(place: &Place) -> Self {
        let (scratch, source) = (Scratch::new(), Pool::with_jail(place, Size::Small));
        export(&source, "web01", &scratch.join("honest.tar"), &["--standalone"]);
        let honest = Bundle::open(&scratch.join("honest.tar"));
        Self { scratch, source, target: Pool::empty(place), honest }
    }

    fn stream(&self, name: &str) -> Vec<u8> {
        self.honest.members[self.honest.position(name)].data.clone()
    }
}

#[test]
fn streams_of_btrfs_that_reach_for_other_things() {
    let Some(place) = Place::btrfs("hostile: streams") else { return };
    let here = Here::new(&place);
    let Here { scratch, target, honest, .. } = &here;
    let fifo = command(6, &[path("x"), (3, &ZERO)]);
    let clone = command(
        16,
        &[path("f"), (18, &ZERO), (24, &ZERO), (20, &[9; 16]), (21, &ZERO), (22, b"f"), (23, &ZERO)],
    );
    let subvolume = command(1, &[path("second"), (1, &[8; 16]), (2, &ZERO)]);
    let snapshot = command(2, &[path("s"), (1, &[8; 16]), (2, &ZERO), (20, &[9; 16]), (21, &ZERO)]);
    let set =
        |number: u16, at: &str, rest: &[send::Attribute<'_>]| command(number, &[&[path(at)], rest].concat());
    let cases: Vec<(&str, Vec<Vec<u8>>)> = vec![
        ("through a device node", vec![node("x"), write("x")]),
        (
            "through a device node that was moved",
            vec![directory("d"), node("d/x"), rename("d", "e"), write("e/x")],
        ),
        ("through a FIFO", vec![fifo.clone(), write("x")]),
        ("over a FIFO", vec![fifo, file("x")]),
        ("through a link", vec![symlink("x", "/"), file("x/evil")]),
        ("to a link", vec![symlink("x", "/evil"), write("x")]),
        ("the mode of what a link leads to", vec![symlink("x", "/"), set(18, "x", &[(5, &ZERO)])]),
        ("a path that leaves", vec![file("../evil")]),
        ("a path that leaves later", vec![directory("d"), file("d/../../evil")]),
        ("an absolute path", vec![file("/evil")]),
        ("a rename that leaves", vec![file("x"), rename("x", "../evil")]),
        ("a link from outside", vec![set(10, "x", &[(17, b"../../../etc/passwd")])]),
        ("removal outside", vec![command(11, &[path("../evil")])]),
        ("a second subvolume", vec![subvolume]),
        ("a snapshot of another", vec![snapshot]),
        ("a copy from another", vec![file("f"), clone]),
    ];
    let null = std::fs::metadata("/dev/null").unwrap().modified().unwrap();
    for (what, commands) in cases {
        with_stream(honest, "root.btrfs", &stream("root", &commands)).save(&scratch.join("hostile.tar"));
        let before = (names(target.directory()), names(target.directory().parent().unwrap()));
        let ended = remand(["restore"]).on(target).arg(scratch.join("hostile.tar")).end();
        assert!([22, 23].contains(&ended.status), "{what}: {}", ended.describe());
        assert_eq!((target.jails(), target.remains()), (vec![], vec![]), "{what}");
        let mut after = (names(target.directory()), names(target.directory().parent().unwrap()));
        after.0.retain(|name| name != ".remand" || before.0.contains(name));
        assert_eq!(before, after, "{what}");
    }
    assert_eq!(std::fs::metadata("/dev/null").unwrap().modified().unwrap(), null);
    // The same entries without the trick are legal.
    let legal = [node("x"), symlink("l", "/etc"), file("f"), write("f"), rename("f", "g")];
    with_stream(honest, "root.btrfs", &stream("root", &legal)).save(&scratch.join("legal.tar"));
    remand(["restore"]).on(target).arg(scratch.join("legal.tar")).ends(0);
    assert_eq!(std::fs::read(target.root("web01").join("g")).unwrap(), b"evil");
}

#[test]
fn native_streams_that_are_damaged_or_forged() {
    let Some(place) = Place::btrfs("hostile: streams") else { return };
    let here = Here::new(&place);
    let Here { scratch, target, honest, .. } = &here;
    let stream = here.stream("./root.btrfs");
    let mut flipped = stream.clone();
    flipped[stream.len() / 2] ^= 1;
    let mut newer = stream.clone();
    newer[13] = 9;
    let cases = [
        ("a flipped bit", 22, flipped),
        ("cut", 22, stream[..stream.len() - 4].to_vec()),
        ("none", 22, b"text".to_vec()),
        ("a newer version", 23, newer),
        ("twice", 23, [&stream[..], &stream[..]].concat()),
    ];
    for (what, status, data) in cases {
        with_stream(honest, "root.btrfs", &data).save(&scratch.join("hostile.tar"));
        remand(["verify"]).arg(scratch.join("hostile.tar")).ends(0);
        let ended = remand(["restore"]).on(target).arg(scratch.join("hostile.tar")).end();
        assert_eq!(ended.status, status, "{what}: {}", ended.describe());
        ended.tells("The stream for ");
        assert_eq!((target.jails(), target.remains()), (vec![], vec![]), "{what}");
    }
}

/// The datasets of a pool, but for what remand keeps there for itself.
fn datasets(pool: &Pool) -> Vec<String> {
    let all = zfs(["list", "-H", "-r", "-o", "name", pool.name()]);
    all.lines().filter(|name| !name.contains("/.remand")).map(str::to_owned).collect()
}

/// Restores an archive with this stream, which must leave nothing.
fn leaves_nothing(honest: &Bundle, data: &[u8], target: &Pool, status: i32, what: &str) {
    let (scratch, before) = (Scratch::new(), datasets(target));
    with_stream(honest, "root.zfs", data).save(&scratch.join("hostile.tar"));
    let ended = remand(["restore"]).on(target).arg(scratch.join("hostile.tar")).end();
    assert_eq!(ended.status, status, "{what}: {}", ended.describe());
    ended.tells("The stream for ");
    assert_eq!((target.jails(), target.remains()), (vec![], vec![]), "{what}");
    assert_eq!(datasets(target), before, "{what}");
}

/// Whoever made the stream does not decide where it is mounted, who gets it, and what runs in it.
#[test]
fn streams_of_zfs_with_properties() {
    let Some(place) = Place::zfs("hostile: streams") else { return };
    let here = Here::new(&place);
    let Here { scratch, source, target, honest } = &here;
    let stream = here.stream("./root.zfs");
    let snapshot = honest.manifest()["resources"][0]["snapshot"].as_str().unwrap().to_owned();
    let evil = format!("{}/evil", source.name());
    zfs(["create", &evil]);
    std::fs::write(source.path("evil").join("file"), "x").unwrap();
    zfs(["create", &format!("{evil}/below")]);
    let wanted = scratch.join("mounted");
    std::fs::create_dir(&wanted).unwrap();
    let properties = ["setuid=on", "exec=on", "devices=on", "atime=off", "org.example:evil=on"];
    let elsewhere = wanted.join("elsewhere");
    for (dataset, place) in [(evil.clone(), wanted.clone()), (format!("{evil}/below"), elsewhere)] {
        zfs(["set", &format!("mountpoint={}", place.display()), &dataset]);
        for property in properties {
            zfs(["set", property, &dataset]);
        }
    }
    zfs(["snapshot", "-r", &format!("{evil}@{snapshot}")]);
    for dataset in [format!("{evil}/below"), evil.clone()] {
        zfs(["unmount", &dataset]);
    }
    // Mount points that this has made, which are not to come again.
    for name in names(&wanted) {
        std::fs::remove_dir(wanted.join(name)).unwrap();
    }
    for option in ["-p", "-R"] {
        let mut program = std::process::Command::new("zfs");
        let sent = program.args(["send", option]).arg(format!("{evil}@{snapshot}")).output().unwrap();
        assert!(sent.status.success(), "{}", String::from_utf8_lossy(&sent.stderr));
        leaves_nothing(honest, &sent.stdout, target, 23, option);
        let behind = [&stream[..], &sent.stdout].concat();
        leaves_nothing(honest, &behind, target, 23, &format!("{option} behind an honest one"));
        assert_eq!(names(&wanted), [""; 0], "{option}");
    }
    assert!(destroy(&evil));
}

#[test]
fn streams_of_zfs_that_are_damaged_or_forged() {
    let Some(place) = Place::zfs("hostile: streams") else { return };
    let here = Here::new(&place);
    let Here { scratch, target, honest, .. } = &here;
    let stream = here.stream("./root.zfs");
    // Of a record of the kind BEGIN: its version and features, its flags, and the snapshot's name.
    let (version, flags, name) = (16, 36, 56..312);
    let begun = |named: &[u8], at: usize, bits: u8| {
        let mut changed = stream.clone();
        changed[name.clone()].fill(0);
        changed[name.start..name.start + named.len()].copy_from_slice(named);
        changed[at] |= bits;
        changed
    };
    let end = [&[5][..], &[0; 311]].concat();
    let mut frame = begun(b"tank/a@s", version, 0)[..312].to_vec();
    frame[version..flags].fill(0);
    frame[version] = 2;
    let framed = |inner: &[u8]| [&frame[..], &end, inner, &end].concat();
    let cases = [
        ("none", 22, b"text".to_vec()),
        ("cut", 22, stream[..stream.len() - 4].to_vec()),
        ("with something behind it", 22, [&stream[..], &[0xff; 400]].concat()),
        ("twice", 23, [&stream[..], &stream[..]].concat()),
        ("of a clone", 23, begun(b"tank/a@s", flags, 1)),
        ("of a dataset below", 23, framed(&begun(b"tank/a/below@s", version, 0))),
        ("of a dataset beside it", 23, framed(&begun(b"tank/ab@s", version, 0))),
    ];
    for (what, status, data) in cases {
        leaves_nothing(honest, &data, target, status, what);
    }
    remand(["restore"]).on(target).arg(scratch.join("honest.tar")).ends(0);
}
