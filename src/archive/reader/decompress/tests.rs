use super::*;

fn read(bytes: Vec<u8>) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    open(Box::new(io::Cursor::new(bytes)), Ahead::No, &Audit::default())?.read_to_end(&mut plain)?;
    Ok(plain)
}

/// pzstd begins its files so.
#[test]
fn frames_without_content_may_come_first() {
    let skippable = [&[0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"any"].concat();
    let frame = ::zstd::bulk::compress(b"content", 3).unwrap();
    assert_eq!(read([&skippable[..], &frame].concat()).unwrap(), b"content");
    assert_eq!(read([&frame[..], &skippable].concat()).unwrap(), b"content");
}

#[test]
fn what_is_compressed_is_known_by_its_head() {
    for head in
        [&b"\x1f\x8b\x08"[..], b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"\x5f\x2a\x4d\x18", XZ_MAGIC]
    {
        assert!(is_compressed(head), "{head:x?}");
    }
    for head in [&b""[..], b"manifest.json", b"\x60\x2a\x4d\x18", b"\x1f"] {
        assert!(!is_compressed(head), "{head:x?}");
    }
}

/// What follows is not taken for the rest of a member that is cut.
#[test]
fn a_member_that_ends_early_is_not_whole() {
    let member = gzip::stored(&[7; 1000], false).unwrap();
    for end in [1, gzip::HEADER_BYTES, gzip::HEADER_BYTES + 1, member.len() - 1] {
        let error = read_member(&mut &member[..end]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{end}");
    }
    assert_eq!(read_member(&mut &member[..]).unwrap().unwrap(), member);
    assert!(read_member(&mut &b""[..]).unwrap().is_none());
}
