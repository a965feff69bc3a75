use std::io::Write as _;
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::archive::{Error, ReadAt, Sink, WriteSink};

/// Length of a piece that is encrypted by itself.
const PIECE: usize = 64 << 10;

fn encrypted(content: &[u8], recipients: &[Recipient]) -> Vec<u8> {
    let mut stream = to_writer(Vec::new(), recipients).unwrap();
    stream.write_all(content).unwrap();
    stream.finish().unwrap()
}

fn read_stream(bytes: &[u8], identities: &[Identity]) -> archive::Result<Vec<u8>> {
    let stream = open_stream(io::Cursor::new(bytes.to_vec()), "it", identities);
    let mut content = Vec::new();
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Error::Damaged(source.to_string()),
        _ => Error::Io { action: "read", subject: "it".into(), source },
    };
    stream?.read_to_end(&mut content).map_err(failed)?;
    Ok(content)
}

fn file(bytes: Vec<u8>) -> Arc<dyn ReadAt> {
    struct Bytes(Vec<u8>);
    impl ReadAt for Bytes {
        fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
            let rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..)).unwrap_or(&[]);
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            Ok(length)
        }

        fn size(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }
    }
    Arc::new(Bytes(bytes))
}

fn read_at(file: &dyn ReadAt, offset: u64, length: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; length];
    let mut done = 0;
    while done < length {
        match file.read_at(&mut buffer[done..], offset + done as u64)? {
            0 => break,
            read => done += read,
        }
    }
    buffer.truncate(done);
    Ok(buffer)
}

#[test]
fn each_recipient_can_decrypt_and_nobody_else() {
    let all = [Identity::generate(), Identity::generate()];
    let stranger = Identity::generate();
    let sealed = encrypted(b"content", &[all[0].recipient(), all[1].recipient()]);
    assert!(is_encrypted(&sealed, "it").unwrap());
    for identity in &all {
        let identities = [stranger.clone(), identity.clone()];
        assert_eq!(read_stream(&sealed, &identities).unwrap(), b"content");
    }
    let told = |identities: &[Identity]| read_stream(&sealed, identities).unwrap_err().to_string();
    assert_eq!(told(&[]), "it is encrypted, and no identity was given");
    assert_eq!(
        told(std::slice::from_ref(&stranger)),
        "it is encrypted, and not for the identity that was given"
    );
    assert_eq!(
        told(&[stranger.clone(), stranger]),
        "it is encrypted, and for none of the 2 identities that were given"
    );
}

#[test]
fn a_cut_at_any_place_and_any_flipped_bit_are_noticed() {
    let identity = Identity::generate();
    let sealed = encrypted(&vec![7; PIECE + 100], &[identity.recipient()]);
    let ends = (0..400)
        .chain(sealed.len() - PIECE - 300..sealed.len() - PIECE)
        .chain(sealed.len() - 200..sealed.len());
    for end in ends {
        let cut = &sealed[..end];
        let error = read_stream(cut, std::slice::from_ref(&identity)).unwrap_err();
        assert!(matches!(error, Error::Damaged(_)), "cut at {end}: {error}");
        if end > 0 {
            let opened = open_file(&file(cut.to_vec()), "it", std::slice::from_ref(&identity));
            assert!(matches!(opened.err(), Some(Error::Damaged(_))), "cut at {end} of a file");
        }
    }
    for at in (0..300).chain(PIECE..(PIECE + 400).min(sealed.len())).chain(sealed.len() - 200..sealed.len()) {
        let mut bad = sealed.clone();
        bad[at] ^= 1 << (at % 8);
        let error = read_stream(&bad, std::slice::from_ref(&identity)).unwrap_err();
        // Who it is for is only as certain as the header, which is proven with the key that it holds.
        let known = matches!(error, Error::Damaged(_) | Error::Locked { .. } | Error::Refused(_));
        assert!(known, "byte {at}: {error}");
    }
    let longer = [&sealed[..], b"x"].concat();
    assert!(read_stream(&longer, std::slice::from_ref(&identity)).is_err());
}

#[test]
fn a_header_without_end_does_not_fill_the_memory() {
    let endless = |line: &'static [u8]| {
        let repeated = std::iter::repeat(line).flatten().copied().take(4 << 20);
        [b"age-encryption.org/v1\n".to_vec(), repeated.collect::<Vec<_>>()].concat()
    };
    for line in [&b"-> X25519 abc\nabc\n"[..], b"x", b"\n"] {
        let error = read_stream(&endless(line), &[]).unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{error}");
        assert_eq!(error.to_string(), "The archive is refused: it has too long a header of age");
    }
}

#[test]
fn other_forms_of_age_are_told() {
    let error = is_encrypted(b"-----BEGIN AGE ENCRYPTED FILE-----\nYWdl", "a.age").unwrap_err();
    assert!(error.to_string().contains("`age --decrypt`"), "{error}");
    let newer = b"age-encryption.org/v2\n-> X25519 a\nb\n--- c\n".to_vec();
    let error = read_stream(&newer, &[]).unwrap_err();
    assert!(matches!(error, Error::Refused(_)), "{error}");
    assert!(!is_encrypted(b"age", "it").unwrap());
    assert!(!is_encrypted(b"", "it").unwrap());
    let with_passphrase = {
        let encryptor = age::Encryptor::with_user_passphrase("secret".to_owned().into());
        let mut stream = encryptor.wrap_output(Vec::new()).unwrap();
        stream.write_all(b"x").unwrap();
        stream.finish().unwrap()
    };
    let error = read_stream(&with_passphrase, &[]).unwrap_err();
    assert_eq!(error.to_string(), "it is encrypted, with a passphrase, which is not supported");
}

#[test]
fn recipients_and_identities_are_read_from_files() {
    let (one, two) = (Identity::generate(), Identity::generate());
    let text = format!("# mine\n{}\n\n  {}  \n", one.recipient(), two.recipient());
    assert_eq!(Recipient::parse_file(&text, "a").unwrap(), [one.recipient(), two.recipient()]);
    let error = |text: &str| Recipient::parse_file(text, "a.txt").unwrap_err().to_string();
    assert_eq!(error("# nobody\n"), "a.txt is no file of recipients: there is none in it");
    assert!(error("\nage1x\n").starts_with("Line 2 of a.txt is no recipient: "));
    assert!(error("ssh-ed25519 AAAA me\n").contains("age-keygen"));
    let error = |text: &str| Identity::parse_file(text, "a.key").unwrap_err().to_string();
    assert!(error("AGE-SECRET-KEY-1QQQQ").starts_with("Line 1 of a.key is no identity: "));
    assert!(!error("AGE-SECRET-KEY-1QQQQ").contains("QQQQ"), "no message tells a secret");
    assert!(error("-----BEGIN OPENSSH PRIVATE KEY-----\n").contains("not supported"));
    assert!(!format!("{one:?}").contains("SECRET"));
}

#[test]
fn a_sink_is_secret_and_leaves_out_what_was_not_committed() {
    let identity = Identity::generate();
    let sink: Box<dyn Sink> = Box::new(WriteSink::new(io::sink(), "somewhere"));
    let mut sink = EncryptedSink::new(sink, &[identity.recipient()]).unwrap();
    assert!(sink.is_secret() && !sink.can_patch());
    assert_eq!(sink.name(), "somewhere");
    sink.write_all(b"x").unwrap();
    assert!(sink.patch(0, b"y").is_err());
    Box::new(sink).commit().unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_file_is_read_at_any_place(
        size in prop_oneof![0..300_usize, PIECE - 2..PIECE + 3, 2 * PIECE - 2..2 * PIECE + 3, 0..4 * PIECE],
        reads in prop::collection::vec((0..5 * PIECE, 0..2 * PIECE), 1..12),
    ) {
        let identity = Identity::generate();
        let content = crate::archive::testing::noise(size);
        let sealed = encrypted(&content, &[identity.recipient()]);
        prop_assert_eq!(&read_stream(&sealed, std::slice::from_ref(&identity)).unwrap(), &content);
        let file = open_file(&file(sealed), "it", &[identity]).unwrap();
        prop_assert_eq!(file.size().unwrap(), size as u64);
        for (offset, length) in reads {
            let expected = content.get(offset..).unwrap_or(&[]);
            let found = read_at(&*file, offset as u64, length).unwrap();
            prop_assert_eq!(found, &expected[..expected.len().min(length)]);
        }
        // And once more from the front.
        prop_assert_eq!(&read_at(&*file, 0, size + 1).unwrap(), &content);
    }
}
