use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::archive::bounds::MAX_NAME_BYTES;
use crate::archive::check::is_member;
use crate::archive::testing::{line, name, samples};
use crate::tree::{Flags, Timestamp};

/// What a reader makes of header blocks.
fn back(header: &[u8]) -> Result<Decoded, crate::archive::wrong::Wrong> {
    let block = |at: usize| ::tar::Header::from_byte_slice(&header[at..at + 512]).clone();
    let first = block(0);
    assert!(verify_checksum(&first));
    if first.entry_type() != ::tar::EntryType::XHeader {
        assert_eq!(header.len(), 512);
        return decode(&first, &Extended::default());
    }
    let length = usize::try_from(first.entry_size().unwrap()).unwrap();
    let records = header[512..512 + length].to_vec();
    let own = block(512 + length.next_multiple_of(512));
    assert!(verify_checksum(&own));
    decode(&own, &Extended { records, ..Extended::default() })
}

#[test]
fn samples_and_back() {
    for sample in samples() {
        if is_member(&sample.line) {
            let decoded = back(&encode(&sample.line, Layout::Plain, 1).unwrap()).unwrap();
            assert_eq!(decoded.line.entry, in_header(&sample.line));
            assert_eq!((decoded.line.name, decoded.attempt, decoded.sparse), (sample.line.name, 1, false));
        }
    }
}

#[test]
fn plain_entries_need_no_records() {
    let mut plain = crate::archive::testing::entry(Kind::File);
    plain.mtime.nanoseconds = 0;
    plain.uid = 0o7_777_777;
    for path in
        ["root/etc/passwd".to_owned(), format!("{}/{}", "d".repeat(150), "n".repeat(100)), "n".repeat(98)]
    {
        assert_eq!(encode(&line(&path, plain.clone()), Layout::Plain, 1).unwrap().len(), 512, "{path}");
    }
    for path in [format!("{}/{}", "d".repeat(154), "n".repeat(100)), "n".repeat(101), "ü".to_owned()] {
        assert_eq!(encode(&line(&path, plain.clone()), Layout::Plain, 1).unwrap().len(), 1536, "{path}");
    }
}

#[test]
fn a_name_is_divided_where_neither_part_is_empty() {
    let put = |name: &str| {
        let mut block = ::tar::Header::new_ustar();
        let fits = put_name(&mut block, name.as_bytes());
        let ustar = block.as_ustar().unwrap();
        let text = |field: &[u8]| field.iter().take_while(|byte| **byte != 0).count();
        (fits, text(&ustar.prefix), text(&ustar.name))
    };
    assert_eq!(put(&format!("a/{}", "n".repeat(100))), (true, 1, 100));
    assert!(!put(&format!("/{}", "n".repeat(100))).0);
    assert!(!put(&format!("{}/", "n".repeat(110))).0);
}

#[test]
fn numbers_end_with_a_nul() {
    let mut field = [0; 8];
    assert!(put_octal(&mut field, 0o7_777_777));
    assert_eq!(&field, b"7777777\0");
    // A reader that knows no pax sees no number rather than a wrong one.
    let mut field = [0; 8];
    assert!(!put_octal(&mut field, 0o10_000_000));
    assert_eq!(&field, b"0000000\0");
}

#[test]
fn names_that_are_no_text_are_announced() {
    let announced = |path: &[u8], target: Option<&[u8]>| {
        let mut link = line(path, crate::archive::testing::entry(Kind::Symlink));
        link.entry.as_mut().unwrap().target = target.map(<[u8]>::to_vec);
        let header = encode(&link, Layout::Plain, 1).unwrap();
        header.windows(19).any(|bytes| bytes == b" hdrcharset=BINARY\n")
    };
    assert!(announced(b"root/\xff", Some(b"text")));
    assert!(announced(b"root/text", Some(b"\xff")));
    assert!(!announced("root/ü".as_bytes(), Some("ü".as_bytes())));
}

#[test]
fn a_reserved_header_has_one_length() {
    let mut line = line("data.zfs", crate::archive::testing::entry(Kind::File));
    let mut lengths = std::collections::BTreeSet::new();
    for size in [0, 1, 1 << 33, u64::MAX] {
        line.entry.as_mut().unwrap().size = size;
        let header = encode(&line, Layout::FixedSize, 1).unwrap();
        lengths.insert(header.len());
        assert_eq!(back(&header).unwrap().stored_bytes, size);
    }
    assert_eq!(lengths.len(), 1);
}

#[test]
fn sparse_headers() {
    let mut line = line("root/dir/file", crate::archive::testing::entry(Kind::File));
    line.entry.as_mut().unwrap().size = 1 << 40;
    let header = encode(&line, Layout::Sparse(1024), 3).unwrap();
    let decoded = back(&header).unwrap();
    assert_eq!(decoded.line.entry, line.entry);
    assert_eq!((decoded.line.name, decoded.stored_bytes, decoded.attempt), (name("root/dir/file"), 1024, 3));
    assert!(decoded.sparse);
    let own = &header[header.len() - 512..];
    assert!(own.starts_with(b"./root/dir/GNUSparseFile.0/file\0"));
}

/// The system takes neither, so a restore would fail at them when everything before is made already.
#[test]
fn links_to_nowhere_are_refused() {
    for target in [&b""[..], b"a\0b"] {
        let entry = Entry { target: Some(target.to_vec()), ..crate::archive::testing::entry(Kind::Symlink) };
        let line = line("root/link", entry);
        let json = crate::archive::index::line_to_json(&line);
        assert!(crate::archive::index::parse(&json).is_err());
        let mut block = encode(&line, Layout::Plain, 1).unwrap();
        let own = ::tar::Header::from_byte_slice(&block.split_off(block.len() - 512)).clone();
        let mut records = Vec::new();
        pax::push(&mut records, b"linkpath", target);
        assert!(decode(&own, &Extended { records, ..Extended::default() }).is_err());
    }
}

#[test]
fn the_header_of_a_link_has_few_attributes() {
    let mut entry = crate::archive::testing::entry(Kind::File);
    entry.size = 7;
    entry.flags = crate::tree::Flags::SCHG;
    entry.xattrs.insert(b"user.a".to_vec(), b"x".to_vec());
    entry.acl.access = Some("user::rwx".to_owned());
    let own = line("root/link", entry.clone());
    assert_eq!(in_header(&own), Some(entry.clone()));
    let link = Line { role: Role::Link { to: name("root/a") }, ..own };
    let found = in_header(&link).unwrap();
    let kept = (found.kind, found.mode, found.uid, found.gid, found.mtime);
    assert_eq!(kept, (Kind::File, entry.mode, entry.uid, entry.gid, entry.mtime));
    assert_eq!((found.size, found.flags, found.acl), (0, crate::tree::Flags::empty(), Acl::default()));
    assert!(found.xattrs.is_empty());
}

/// A header of this type, and records.
fn forged(kind: u8, size: u64, records: &[(&str, &str)]) -> (::tar::Header, Extended) {
    let own = encode(&line("root/a", crate::archive::testing::entry(Kind::File)), Layout::Plain, 1).unwrap();
    let mut own = ::tar::Header::from_byte_slice(&own[own.len() - 512..]).clone();
    own.set_entry_type(::tar::EntryType::new(kind));
    own.set_size(size);
    own.set_cksum();
    let mut bytes = Vec::new();
    for (key, value) in records {
        pax::push(&mut bytes, key.as_bytes(), value.as_bytes());
    }
    (own, Extended { records: bytes, ..Extended::default() })
}

fn why(decoded: Result<Decoded, crate::archive::wrong::Wrong>) -> String {
    decoded.unwrap_err().about("it").to_string()
}

#[test]
fn unknown_sparse_forms_are_refused() {
    const KNOWN: [(&str, &str); 4] = [
        ("GNU.sparse.major", "1"),
        ("GNU.sparse.minor", "0"),
        ("GNU.sparse.name", "./root/b"),
        ("GNU.sparse.realsize", "7"),
    ];
    let decoded = |kind: u8, size: u64, records: &[(&str, &str)]| {
        let (own, extended) = forged(kind, size, records);
        decode(&own, &extended)
    };
    let known = decoded(b'0', 512, &KNOWN).unwrap();
    assert_eq!((known.sparse, known.stored_bytes, known.line.entry.unwrap().size), (true, 512, 7));
    assert!(!decoded(b'0', 512, &[]).unwrap().sparse);
    let unknown = [("GNU.sparse.map", "0,1"), ("GNU.sparse.major", "2"), ("GNU.sparse.minor", "1")];
    for changed in unknown {
        let mut records: Vec<_> = KNOWN.into_iter().filter(|(key, _)| *key != changed.0).collect();
        records.push(changed);
        assert!(why(decoded(b'0', 512, &records)).contains("unknown form"), "{changed:?}");
        assert!(why(decoded(b'0', 512, &[changed])).contains("unknown form"));
    }
    for (key, _) in KNOWN {
        let records: Vec<_> = KNOWN.into_iter().filter(|(other, _)| *other != key).collect();
        assert!(decoded(b'0', 512, &records).is_err(), "{key}");
    }
    // Of what has no content.
    for kind in [b'1', b'5', b'6'] {
        assert!(why(decoded(kind, 0, &KNOWN)).contains("no regular file"));
    }
}

#[test]
fn what_has_no_content_says_so() {
    for kind in [b'1', b'2', b'5', b'6'] {
        let (own, extended) = forged(kind, 1, &[("linkpath", "./root/b")]);
        assert!(why(decode(&own, &extended)).contains("its type has none"));
        let (own, extended) = forged(kind, 0, &[("linkpath", "./root/b")]);
        assert!(decode(&own, &extended).is_ok());
    }
}

#[test]
fn a_header_has_a_magic_and_a_checksum() {
    let (own, _) = forged(b'0', 0, &[]);
    assert!(verify_checksum(&own));
    let mut other = own.clone();
    other.as_mut_bytes()[0] ^= 1;
    assert!(!verify_checksum(&other));
    let mut other = own.clone();
    other.as_mut_bytes()[257] ^= 1;
    other.set_cksum();
    assert!(!verify_checksum(&other));
}

#[test]
fn names_of_other_programs_need_no_dot() {
    let decoded = |kind: u8, path: &str| {
        let (own, extended) = forged(kind, 0, &[("path", path)]);
        let name = |decoded: Result<Decoded, _>| decoded.ok().map(|it| it.line.name.path().to_string());
        (name(decode(&own, &extended)), name(decode_foreign(&own, &extended)))
    };
    let named =
        |own: Option<&str>, foreign: Option<&str>| (own.map(str::to_owned), foreign.map(str::to_owned));
    assert_eq!(decoded(b'0', "./a/b"), named(Some("a/b"), Some("a/b")));
    assert_eq!(decoded(b'0', "a/b"), named(None, Some("a/b")));
    assert_eq!(decoded(b'5', "./a/"), named(Some("a"), Some("a")));
    assert_eq!(decoded(b'5', "a/"), named(None, Some("a")));
    assert_eq!(decoded(b'0', "a/"), named(None, None));
    // The root of the archive.
    for path in [".", "./"] {
        assert_eq!(decoded(b'5', path), named(None, Some("")));
        assert_eq!(decoded(b'0', path), named(None, None));
    }
    for path in ["", "/", "..", "../a", "./..", "a/../b", "/a", ".//a"] {
        for kind in [b'0', b'5'] {
            assert_eq!(decoded(kind, path), named(None, None), "{path}");
        }
    }
    let long = |bytes: usize| format!("./{}a", "a/a".repeat(bytes / 3 + 1).get(..bytes - 1).unwrap());
    let (longest, longer) = (long(MAX_NAME_BYTES - 1), long(MAX_NAME_BYTES));
    let (own, foreign) = decoded(b'0', &longest);
    assert!(own.is_some() && own == foreign);
    assert_eq!(decoded(b'0', &longer), named(None, None));
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-z]{1,8}".prop_map(String::into_bytes),
        prop::collection::vec(1_u8.., 1..300),
        "[%=235D]{1,8}".prop_map(String::into_bytes),
    ]
}

fn path() -> impl Strategy<Value = MemberPath> {
    let component = text().prop_map(|mut bytes| {
        bytes.iter_mut().filter(|byte| **byte == b'/').for_each(|byte| *byte = b'_');
        if bytes == b"." || bytes == b".." { b"...".to_vec() } else { bytes }
    });
    prop::collection::vec(component, 1..6).prop_map(|parts| parts.join(&b'/'))
}

type MemberPath = Vec<u8>;

prop_compose! {
    fn entries()(
        kind in prop::sample::select(&Kind::ALL[..6]),
        mode in 0_u32..=0o7777,
        ids: (u32, u32),
        small_ids: bool,
        seconds in prop_oneof![any::<i64>(), -10_i64..10, (1_i64 << 33) - 2..(1 << 33) + 2],
        nanoseconds in prop_oneof![Just(0), 0_u32..1_000_000_000],
        size in prop_oneof![any::<u64>(), 0_u64..100, (1_u64 << 33) - 2..(1 << 33) + 2],
        target in text(),
        device: (u32, u32),
        xattrs in prop::collection::btree_map(text(), prop::collection::vec(0_u8.., 0..100), 0..4),
        acl in prop::option::of("[a-z:,]{0,40}"),
        flags in prop::sample::select(&["", "nodump", "schg,nodump", "uappnd,compress"][..]),
    ) -> Entry {
        let id = |id: u32| if small_ids { id % 3000 } else { id };
        Entry {
            kind,
            mode,
            uid: id(ids.0),
            gid: id(ids.1),
            mtime: Timestamp { seconds, nanoseconds },
            size: if kind == Kind::File { size } else { 0 },
            target: (kind == Kind::Symlink).then_some(target),
            device: kind.is_device().then_some(Device { major: device.0, minor: device.1 }),
            xattrs,
            acl: Acl { access: acl.clone(), default: acl.clone().map(|acl| acl + "x"), nfs4: acl },
            flags: flags.parse::<Flags>().unwrap(),
        }
    }
}

proptest! {
    #[test]
    fn headers_and_back(path in path(), entry in entries(), attempt in 1_u32..4) {
        let line = line(&path, entry);
        let decoded = back(&encode(&line, Layout::Plain, attempt).unwrap()).unwrap();
        prop_assert_eq!(decoded.stored_bytes, line.entry.as_ref().unwrap().size);
        prop_assert_eq!((decoded.line, decoded.attempt), (line, attempt));
    }

    #[test]
    fn links_and_back(path in path(), to in path(), entry in entries()) {
        let line = Line { role: Role::Link { to: name(&to) }, ..line(&path, entry) };
        let decoded = back(&encode(&line, Layout::Plain, 1).unwrap()).unwrap();
        prop_assert_eq!(&decoded.line.entry, &in_header(&line));
        prop_assert_eq!((decoded.line.role, decoded.stored_bytes), (line.role, 0));
    }

    #[test]
    fn lines_and_back(path in path(), entry in entries(), unstable: bool, group: Option<u64>, shared: Vec<u32>) {
        let line = Line { group, unstable, shared, ..line(&path, entry) };
        let json = crate::archive::index::line_to_json(&line);
        let crate::archive::index::Parsed::Line(back) = crate::archive::index::parse(&json).unwrap() else {
            panic!("no line")
        };
        prop_assert_eq!(*back, line);
    }

    #[test]
    fn any_block_is_decoded_without_panic(bytes in prop::collection::vec(0_u8.., 512), records in "([0-9]{1,2} (path|size|mtime|GNU.sparse.major)=[-./0-9a-z]{0,9}\n){0,3}") {
        let header = ::tar::Header::from_byte_slice(&bytes);
        let _ = verify_checksum(header);
        let _ = decode(header, &Extended { records: records.into_bytes(), ..Extended::default() });
    }
}

#[test]
fn xattr_names_are_escaped_as_gnu_tar_does() {
    let mut entry = crate::archive::testing::entry(Kind::File);
    entry.xattrs = BTreeMap::from([(b"user.a=b%25%c".to_vec(), vec![])]);
    let header = encode(&line("root/a", entry), Layout::Plain, 1).unwrap();
    let text = header.escape_ascii().to_string();
    assert!(text.contains("SCHILY.xattr.user.a%3Db%2525%c="), "{text}");
}
