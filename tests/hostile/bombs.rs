//! Archives that are small and ask for much: memory, time, or more than a number can hold.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use crate::support::bundle::Bundle;
use crate::support::run::remand;
use crate::support::tar;
use crate::trap::{Trap, cost};

const GIB: u64 = 1 << 30;

/// The manifest of an honest archive, then these bytes, then zeros up to `length`.
fn begun(trap: &Trap, bundle: &Bundle, then: &[u8], length: u64) -> PathBuf {
    let manifest = &bundle.members[bundle.position("./manifest.json")..][..1];
    let mut bytes = tar::write(manifest);
    bytes.truncate(bytes.len() - 1024);
    bytes.extend_from_slice(then);
    let path = trap.scratch.join("hostile.tar");
    let mut file = File::create(&path).unwrap();
    file.write_all(&bytes).unwrap();
    file.set_len(length.max(bytes.len() as u64 + 1024)).unwrap();
    path
}

fn octal(size: u64) -> Vec<u8> {
    format!("{size:011o}\0").into_bytes()
}

#[test]
fn headers_of_a_gigabyte() {
    let (trap, bundle) = Trap::new();
    for kind in [b'L', b'K', b'x', b'g'] {
        let then = tar::header(kind, "././@LongLink", &octal(GIB));
        let archive = begun(&trap, &bundle, &then, GIB + 4096);
        trap.refuses(&format!("{}", char::from(kind)), &archive, &[22, 23]);
    }
}

#[test]
fn headers_that_change_what_a_member_is() {
    let (trap, bundle) = Trap::new();
    let huge: Vec<u8> = (0..1_500_000).flat_map(|n: u32| tar::pax(&format!("{n:x}"), b"")).collect();
    let deep = tar::pax("path", format!("./root/{}f", "a/".repeat(7 << 20)).as_bytes());
    let cases = [
        ("records", huge),
        ("depth", deep),
        ("size", tar::pax("size", b"18446744073709551615")),
        ("negative", tar::pax("size", b"-1")),
        ("twice", [tar::pax("path", b"./root/a"), tar::pax("path", b"./root/b")].concat()),
        ("nul", tar::pax("path", b"./root/srv/\0evil")),
        ("leaves", tar::pax("path", b"./root/../../evil")),
        ("attempt", tar::pax("REMAND.attempt", b"4294967295")),
        ("no version", tar::pax("GNU.sparse.major", b"7")),
        ("length", b"99999999999999999999 path=x\n".to_vec()),
    ];
    for (what, records) in cases {
        let mut then = tar::header(b'x', "pax", &octal(records.len() as u64));
        then.extend_from_slice(&records);
        then.resize(then.len().next_multiple_of(512), 0);
        then.extend(tar::header(b'0', "./root/srv/x", &octal(0)));
        let archive = begun(&trap, &bundle, &then, 0);
        trap.refuses(what, &archive, &[22, 23]);
    }
    // Of GNU's long names the last one would count.
    let mut then = Vec::new();
    for name in ["./root/srv/one", "./root/../evil"] {
        then.extend(tar::header(b'L', "././@LongLink", &octal(name.len() as u64)));
        then.extend_from_slice(name.as_bytes());
        then.resize(then.len().next_multiple_of(512), 0);
    }
    then.extend(tar::header(b'0', "./root/srv/x", &octal(0)));
    trap.refuses("long names", &begun(&trap, &bundle, &then, 0), &[22, 23]);
    let global = tar::pax("path", b"./root/srv/evil");
    let mut then = tar::header(b'g', "pax", &octal(global.len() as u64));
    then.extend_from_slice(&global);
    then.resize(then.len().next_multiple_of(512), 0);
    then.extend(tar::header(b'0', "./root/srv/x", &octal(0)));
    trap.refuses("global", &begun(&trap, &bundle, &then, 0), &[22, 23]);
}

#[test]
fn sizes_that_lie() {
    let (trap, bundle) = Trap::new();
    let base256 = |first: u8, rest: u8| [vec![first], vec![rest; 11]].concat();
    for (what, size) in [
        ("more than there is", octal(8 * GIB - 1)),
        ("base-256", base256(0x80, 0xff)),
        ("base-256, negative", base256(0xff, 0xff)),
        ("base-256, exact", [vec![0x80; 1], vec![0; 10], vec![5]].concat()),
        ("no number", b"99999999999\0".to_vec()),
        ("nothing", vec![0; 12]),
    ] {
        let mut then = tar::header(b'0', "./root/srv/x", &size);
        then.extend([b'x'; 512]);
        let archive = begun(&trap, &bundle, &then, 0);
        trap.refuses(what, &archive, &[22, 23]);
    }
}

#[test]
fn sparse_maps_that_lie() {
    let (trap, bundle) = Trap::new();
    let many = format!("10000000\n{}", "0\n0\n".repeat(200_000));
    let most = u64::MAX;
    for (what, size, map) in [
        ("overlapping", 4096, "2\n0\n10\n5\n10\n".to_owned()),
        ("unsorted", 4096, "2\n100\n10\n0\n10\n".to_owned()),
        ("outside", 4096, "1\n4090\n10\n".to_owned()),
        ("overflowing", most, format!("1\n{most}\n1\n")),
        ("longer than it is", 4096, "1\n0\n4096\n".to_owned()),
        ("more than a number", 4096, "99999999999999999999999\n".to_owned()),
        ("ten million", most, many),
        ("no end", 4096, "3\n0\n1\n".to_owned()),
    ] {
        let mut map = map.into_bytes();
        map.resize(map.len().next_multiple_of(512), 0);
        let records = [
            tar::pax("GNU.sparse.major", b"1"),
            tar::pax("GNU.sparse.minor", b"0"),
            tar::pax("GNU.sparse.name", b"./root/srv/x"),
            tar::pax("GNU.sparse.realsize", size.to_string().as_bytes()),
        ]
        .concat();
        let mut then = tar::header(b'x', "pax", &octal(records.len() as u64));
        then.extend_from_slice(&records);
        then.resize(then.len().next_multiple_of(512), 0);
        then.extend(tar::header(b'0', "./root/srv/x", &octal(map.len() as u64)));
        then.extend_from_slice(&map);
        trap.refuses(what, &begun(&trap, &bundle, &then, 0), &[22, 23]);
    }
}

#[test]
fn lines_of_the_index_that_grow_when_they_are_understood() {
    let (trap, honest) = Trap::new();
    let xattrs: Vec<String> = (0..1_400_000).map(|n: u32| format!("\"{n:x}\":\"\"")).collect();
    let mut metadata = honest.line("root/srv/new");
    metadata["role"] = "metadata".into();
    metadata.as_object_mut().unwrap().remove("group");
    let mut below = |path: String| {
        metadata["path"] = path.into();
        format!("{metadata}\n")
    };
    let name = |path: &str| format!("{{\"path\":\"./root/{path}\",\"role\":\"deleted\"}}\n");
    let cases = [
        (
            "nesting",
            format!("{{\"path\":\"./root/x\",\"x\":{}{}}}\n", "[".repeat(10_000), "]".repeat(10_000)),
        ),
        ("xattrs", format!("{{\"path\":\"./root/x\",\"xattrs\":{{{}}}}}\n", xattrs.join(","))),
        ("shared", format!("{{\"path\":\"./root/x\",\"shared\":[{}0]}}\n", "0,".repeat(8 << 20))),
        ("depth", name(&format!("{}x", "a/".repeat(4 << 20)))),
        ("no end", "x".repeat(40 << 20)),
        ("parents", (0..40).map(|n| below(format!("./root/{n}/{}x", "a/".repeat(20_000)))).collect()),
    ];
    for (what, line) in cases {
        let mut bundle = honest.clone();
        let (mut text, lines) = bundle.text();
        text.extend_from_slice(line.as_bytes());
        bundle.seal_text(text, lines + line.lines().count());
        trap.is_refused_in_both_with(&bundle, &[22, 23]);
        eprintln!("refused: {what}");
    }
}

#[test]
fn an_index_line_of_a_gigabyte() {
    let (trap, bundle) = Trap::new();
    let then = tar::header(b'0', "./index.jsonl", &octal(GIB));
    let archive = begun(&trap, &bundle, &then, GIB + 8192);
    trap.refuses("TAR", &archive, &[22, 23]);
    std::fs::remove_file(archive).unwrap();
    let directory = trap.scratch.join("directory");
    bundle.save_directory(&directory);
    File::options().write(true).open(directory.join("index.jsonl")).unwrap().set_len(GIB).unwrap();
    trap.refuses("DIRECTORY", &directory, &[22, 23]);
    File::options().write(true).open(directory.join("manifest.json")).unwrap().set_len(GIB).unwrap();
    trap.refuses("DIRECTORY, manifest", &directory, &[22, 23]);
}

#[test]
fn compression_that_wants_memory() {
    let (trap, bundle) = Trap::new();
    let plain = tar::write(&bundle.members);
    let raw_block = |last: bool, data: &[u8]| {
        let header = u32::try_from(data.len()).unwrap() << 3 | u32::from(last);
        [&header.to_le_bytes()[..3], data].concat()
    };
    let magic = [0x28, 0xb5, 0x2f, 0xfd];
    // A window of 2 GiB, of 128 MiB, and a dictionary that nobody has.
    let wide = [&magic[..], &[0, 21 << 3], &raw_block(true, &plain[..1024])].concat();
    let wider = [&magic[..], &[0, 17 << 3], &raw_block(true, &plain[..1024])].concat();
    let dictionary = [&magic[..], &[1, 10 << 3, 7], &raw_block(true, &plain[..1024])].concat();
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 0xff, 0xff, 0xff, 0xff][..], &plain].concat();
    let name = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 3][..], &vec![b'n'; 32 << 20]].concat();
    let empty: Vec<u8> = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0].repeat(500_000);
    for (what, bytes) in [
        ("window", wide),
        ("smaller window", wider),
        ("dictionary", dictionary),
        ("skippable", skippable),
        ("gzip name", name),
        ("empty members", empty),
        ("xz dictionary", xz_with_a_huge_dictionary()),
    ] {
        let archive = trap.scratch.join("hostile.tar.x");
        std::fs::write(&archive, bytes).unwrap();
        trap.refuses(what, &archive, &[22, 23]);
    }
}

/// Members of gzip that tell their length are inflated side by side: few bytes each, and 32 MiB of zeros.
#[test]
fn compressed_members_of_the_greatest_length() {
    let (trap, bundle) = Trap::new();
    let compressed = trap.scratch.join("honest.tar.gz");
    crate::support::run::export(&trap.source, "web01", &compressed, &[]);
    let first = std::fs::read(&compressed).unwrap();
    std::fs::remove_file(&compressed).unwrap();
    let member = |plain: &[u8]| {
        let mut deflate = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(9));
        deflate.write_all(plain).unwrap();
        let body = deflate.finish().unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(plain);
        // The extra field has the length of the member, and no more.
        let mut bytes = first[..20].to_vec();
        bytes[10..12].copy_from_slice(&8_u16.to_le_bytes());
        bytes[16..20].copy_from_slice(&u32::try_from(20 + body.len() + 8).unwrap().to_le_bytes());
        bytes.extend(body);
        bytes.extend(crc.sum().to_le_bytes());
        bytes.extend(crc.amount().to_le_bytes());
        bytes
    };
    let mut plain = tar::write(&bundle.members[..1]);
    plain.truncate(plain.len() - 1024);
    plain.extend(tar::header(b'0', "./root/srv/x", &octal(GIB)));
    let zeros = member(&vec![0; 32 << 20]);
    let archive = trap.scratch.join("hostile.tar.gz");
    std::fs::write(&archive, [member(&plain), zeros.repeat(31)].concat()).unwrap();
    assert!(archive.metadata().unwrap().len() < 8 << 20);
    trap.refuses("gzip", &archive, &[22, 23]);
}

/// The beginning of an xz file that wants a dictionary of 4 GiB.
fn xz_with_a_huge_dictionary() -> Vec<u8> {
    let summed = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        [bytes, &crc.sum().to_le_bytes()].concat()
    };
    // Flags of the stream; then a block header of twelve bytes with the one filter LZMA2, whose property is the dictionary's size.
    let block = summed(&[2, 0, 0x21, 1, 40, 0, 0, 0]);
    [&[0xfd, b'7', b'z', b'X', b'Z', 0][..], &summed(&[0, 4]), &block, &[1, 0, 0, 0, 0]].concat()
}

/// A gigabyte of zeros, which is a few kilobytes: legal where it is what was announced.
#[test]
fn a_gigabyte_of_zeros() {
    let (trap, bundle) = Trap::standalone();
    let mut hash = blake3::Hasher::new();
    let zeros = vec![0; 1 << 20];
    for _ in 0..1024 {
        hash.update(&zeros);
    }
    let mut own = bundle.members[bundle.position("./root.tree/srv/new")].named("./root.tree/srv/zeros");
    own.data.clear();
    let mut line = bundle.line("root.tree/srv/new");
    line["path"] = own.text().into();
    line.as_object_mut().unwrap().remove("group");
    for (size, statuses) in [(GIB, &[0, 3][..]), (4096, &[22, 23])] {
        line["size"] = size.into();
        line["digest"] = format!("blake3:{}", hash.finalize().to_hex()).into();
        let mut with = bundle.clone();
        with.add(own.clone(), line.clone());
        with.expect(0, size);
        with.reseal();
        let archive = trap.scratch.join("zeros.tar.zst");
        let mut file = zstd::Encoder::new(File::create(&archive).unwrap(), 1).unwrap();
        for member in &with.members {
            if *member == own {
                file.write_all(&tar::headers(member, GIB)).unwrap();
                (0..1024).for_each(|_| file.write_all(&zeros).unwrap());
                continue;
            }
            let bytes = tar::write(std::slice::from_ref(member));
            file.write_all(&bytes[..bytes.len() - 1024]).unwrap();
        }
        file.write_all(&[0; 1024]).unwrap();
        file.finish().unwrap().sync_all().unwrap();
        assert!(archive.metadata().unwrap().len() < 1 << 20);
        for (what, run) in [
            ("verify", remand(["verify"]).arg(&archive)),
            ("restore", remand(["restore"]).on(&trap.target).arg(&archive)),
        ] {
            let cost = cost(run, None);
            trap.check(&size.to_string(), what, &cost, statuses);
        }
        trap.target.delete("jails/web01");
        assert_eq!(trap.target.remains(), Vec::<String>::new());
    }
}
