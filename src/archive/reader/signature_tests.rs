//! Signed archives, whole and tampered with.

use super::*;
use crate::archive::testing::*;
use crate::archive::{Compression, Writer};
use crate::encrypt::{EncryptedSink, Identity};
use crate::sign::{PublicKey, SecretKey, Signer};

/// Pairs of keys without a password, made by `minisign -GW` and `signify -Gn`.
const KEYS: [&str; 2] = [
    "RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAUnpqBS523ymyLP9OjLhMbLOjB8wcQsnx7nDLRosa1gTdrgDksxLXl3aikeXkRzwmO+fQ011iQ8jxiZcJv9VGBW9KCYT8cNf4AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    "RWRCSwAAAAAtfL6CT57qJGyrXapnoECTnxqQdv7H6RGrxTM8WwtJM1aQ1xeD16xmupjA6f4IXBl53YWVVg1ygwq6a949I1dhACSHEIokGzuvCyGlHFz3ggl7QiCpdw11/wdR5Fw8Cqg=",
];
const COMPRESSIONS: [Compression; 3] = [Compression::None, Compression::Gzip(6), Compression::Zstd(3)];

fn signer(which: usize) -> Arc<Signer> {
    Arc::new(SecretKey::parse(KEYS[which].as_bytes(), "a key").unwrap().unlock(None).unwrap())
}

fn key(which: usize) -> PublicKey {
    signer(which).public()
}

fn trusting(which: usize) -> Keys {
    Keys::default().signed_by(vec![key(which)], true)
}

fn knowing(which: usize) -> Keys {
    Keys::default().signed_by(vec![key(which)], false)
}

fn signed_manifest() -> Manifest {
    Manifest { signed_by: Some(key(0).to_string()), ..manifest() }
}

/// A signed archive, possibly encrypted, with so many files more than the samples.
fn signed(compression: Compression, identity: Option<&Identity>, more: usize) -> Vec<u8> {
    let sink = MemorySink::default();
    let mut whole: Box<dyn crate::archive::Sink> = Box::new(sink.clone());
    if let Some(identity) = identity {
        whole = Box::new(EncryptedSink::new(whole, &[identity.recipient()]).unwrap());
    }
    let mut writer = Writer::tar(whole, compression, &std::env::temp_dir()).unwrap();
    writer.sign_with(signer(0), "timestamp:1".to_owned());
    writer.manifest(&signed_manifest(), 0).unwrap();
    let mut all = samples();
    all.extend((0..more).map(|number| file(format!("data/db.tree/{number}"), b"content")));
    write_samples(&mut writer, &all).unwrap();
    writer.finish().unwrap();
    std::mem::take(&mut *sink.bytes.lock().unwrap())
}

/// Remembers the order in which things came.
#[derive(Default)]
struct Order {
    shows: bool,
    lines_before_signature: usize,
    lines: usize,
    signed: Option<Signed>,
}

impl Visitor for Order {
    fn manifest(&mut self, _: &Manifest) -> Result<()> {
        Ok(())
    }

    fn wants(&mut self, _: &Line) -> bool {
        !self.shows
    }

    fn member(&mut self, _: &Line, _: Option<&mut dyn Content>) -> Result<()> {
        Ok(())
    }

    fn line(&mut self, _: &Line) -> Result<()> {
        self.lines += 1;
        self.lines_before_signature += usize::from(self.signed.is_none());
        Ok(())
    }

    fn failure(&mut self, _: &Failure) -> Result<()> {
        Ok(())
    }

    fn shows_lines(&self) -> bool {
        self.shows
    }

    fn signature(&mut self, signed: &Signed) -> Result<()> {
        assert!(self.signed.replace(signed.clone()).is_none());
        Ok(())
    }
}

fn stream(bytes: &[u8]) -> Source {
    Source::Stream(Box::new(io::Cursor::new(bytes.to_vec())))
}

fn in_file(bytes: &[u8]) -> Source {
    let mut file = tempfile::tempfile().unwrap();
    io::Write::write_all(&mut file, bytes).unwrap();
    Source::File(Arc::new(file))
}

fn read_as(source: Source, keys: &Keys, visitor: &mut Order) -> Result<Seal> {
    let source = Source::Keyed(Box::new(source), keys.clone());
    if visitor.shows { select(source, "it", visitor) } else { read(source, "it", visitor) }
}

fn verify(bytes: &[u8], keys: &Keys) -> Result<Option<Signed>> {
    let mut order = Order::default();
    read_as(stream(bytes), keys, &mut order).map(|_| order.signed)
}

/// The members of a plain tar stream, each with its header, and what follows the last one.
fn members(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    let (mut at, mut begin) = (0, 0);
    while bytes[at] != 0 {
        let header = ::tar::Header::from_byte_slice(&bytes[at..at + 512]);
        let size = usize::try_from(header.entry_size().unwrap()).unwrap();
        at += 512 + size.next_multiple_of(512);
        if header.entry_type().as_byte() != b'x' {
            all.push(bytes[begin..at].to_vec());
            begin = at;
        }
    }
    all.push(bytes[begin..].to_vec());
    all
}

#[test]
fn a_signature_is_told_and_says_who_is_trusted() {
    for compression in COMPRESSIONS {
        let bytes = signed(compression, None, 0);
        let comment = "timestamp:1".to_owned();
        let expected = |trusted| Some(Signed { key: key(0), comment: comment.clone(), trusted });
        assert_eq!(verify(&bytes, &Keys::default()).unwrap(), expected(false));
        assert_eq!(verify(&bytes, &knowing(1)).unwrap(), expected(false));
        assert_eq!(verify(&bytes, &knowing(0)).unwrap(), expected(true));
        assert_eq!(verify(&bytes, &trusting(0)).unwrap(), expected(true));
        let error = verify(&bytes, &trusting(1)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "The archive is not trusted: it is signed by the key 29DF762E056A7A52, which is none of those that are trusted"
        );
        let unsigned = archive(compression, false, &samples());
        assert_eq!(verify(&unsigned, &knowing(0)).unwrap(), None);
        let error = verify(&unsigned, &trusting(0)).unwrap_err();
        assert_eq!(error.to_string(), "The archive is not trusted: it is not signed");
    }
}

#[test]
fn nothing_is_shown_before_the_signature_is_proven() {
    let identity = Identity::generate();
    for compression in COMPRESSIONS {
        for secret in [None, Some(&identity)] {
            let bytes = signed(compression, secret, 3000);
            let keys = trusting(0).decrypted_by(vec![identity.clone()]);
            for source in [stream(&bytes), in_file(&bytes)] {
                let mut shown = Order { shows: true, ..Order::default() };
                read_as(source, &keys, &mut shown).unwrap();
                assert_eq!((shown.lines_before_signature, shown.lines > 3000), (0, true));
            }
            let mut whole = Order::default();
            read_as(in_file(&bytes), &keys, &mut whole).unwrap();
            assert!(whole.signed.is_some() && whole.lines > 3000);
        }
    }
    // What another program has compressed has no table.
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut gzip, &signed(Compression::None, None, 100)).unwrap();
    let mut shown = Order { shows: true, ..Order::default() };
    read_as(in_file(&gzip.finish().unwrap()), &trusting(0), &mut shown).unwrap();
    assert_eq!((shown.lines_before_signature, shown.lines > 100), (0, true));
}

#[test]
fn an_encrypted_archive_needs_its_identity_wherever_it_is_read_from() {
    let (identity, other) = (Identity::generate(), Identity::generate());
    let bytes = signed(Compression::Gzip(6), Some(&identity), 0);
    assert!(!bytes.windows(5).any(|bytes| bytes == b"web01"));
    for (keys, why) in [
        (Keys::default(), "it is encrypted, and no identity was given"),
        (
            Keys::default().decrypted_by(vec![other]),
            "it is encrypted, and not for the identity that was given",
        ),
    ] {
        for source in [stream(&bytes), in_file(&bytes)] {
            for shows in [false, true] {
                let source = match &source {
                    Source::File(file) => Source::File(Arc::clone(file)),
                    _ => stream(&bytes),
                };
                let error = read_as(source, &keys, &mut Order { shows, ..Order::default() }).unwrap_err();
                assert_eq!(error.to_string(), why);
            }
            let error = read_manifest(Source::Keyed(Box::new(source), keys.clone()), "it").unwrap_err();
            assert_eq!(error.to_string(), why);
        }
    }
    let keys = Keys::default().decrypted_by(vec![identity]);
    let head = Source::Keyed(Box::new(stream(&bytes[..bytes.len() - 100])), keys.clone());
    assert_eq!(read_manifest(head, "it").unwrap(), signed_manifest(), "from the head of a pipe");
    assert_eq!(
        read_manifest(Source::Keyed(Box::new(in_file(&bytes)), keys), "it").unwrap(),
        signed_manifest()
    );
}

#[test]
fn a_signature_that_is_missing_or_elsewhere_is_noticed() {
    let parts = members(&signed(Compression::None, None, 0));
    let [.., index, signature, end] = &parts[..] else { panic!("it has members") };
    let front = parts[..parts.len() - 3].concat();
    let both = |name: &str, bytes: &[u8], open: &str, required: &str| {
        let open_error = verify(bytes, &Keys::default()).unwrap_err();
        assert_eq!(open_error.to_string(), open, "{name}");
        let error = verify(bytes, &trusting(0)).unwrap_err();
        assert_eq!(error.to_string(), required, "{name}");
    };
    let damaged = |why: &str| format!("The archive is damaged: {why}");
    let missing = "the signature of it by the key 29DF762E056A7A52 is missing";
    both(
        "missing",
        &[&front, index, end].map(|part| &part[..]).concat(),
        &damaged(missing),
        &format!("The archive is not trusted: {missing}"),
    );
    let twice = damaged("it: there are members after its signature");
    both("twice", &[&front, index, signature, signature, end].map(|part| &part[..]).concat(), &twice, &twice);
    let late = damaged("it: there are members after its signature");
    let manifest = &parts[0];
    both("not last", &[&front, index, signature, manifest, end].map(|part| &part[..]).concat(), &late, &late);
    for (name, at) in [("before the index", parts.len() - 3), ("in the middle", 3), ("second", 1)] {
        let mut moved = parts.clone();
        let signature = moved.remove(parts.len() - 2);
        moved.insert(at, signature.clone());
        let error = verify(&moved.concat(), &trusting(0)).unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{name}: {error}");
        moved.insert(parts.len() - 1, signature);
        assert!(matches!(verify(&moved.concat(), &trusting(0)), Err(Error::Refused(_))), "{name} too");
    }
    let unannounced = members(&archive(Compression::None, false, &samples()));
    let mut forged = unannounced.clone();
    forged.insert(unannounced.len() - 1, signature.clone());
    let error = verify(&forged.concat(), &Keys::default()).unwrap_err();
    assert_eq!(error.to_string(), damaged("it has a signature, and its manifest names no signer"));
}

/// The seal and all before it of another archive, made whole again by somebody without the key.
#[test]
fn a_seal_that_was_made_anew_has_no_signature() {
    let mut forge = Forge::new(&signed_manifest());
    let honest = members(&signed(Compression::None, None, 0));
    let signature = &honest[honest.len() - 2];
    forge.file("config.json", b"{\"evil\":1}");
    let index = forge.index();
    forge.raw(&file("index.jsonl", &index).line, &index, 1);
    forge.bytes.extend_from_slice(signature);
    let forged = forge.end();
    let wrong = "the signature of it is wrong: it is not one of this seal";
    let error = verify(&forged, &Keys::default()).unwrap_err();
    assert_eq!(error.to_string(), format!("The archive is damaged: {wrong}"));
    let error = verify(&forged, &trusting(0)).unwrap_err();
    assert_eq!(error.to_string(), format!("The archive is not trusted: {wrong}"));
    // Nothing of it is shown.
    let mut shown = Order { shows: true, ..Order::default() };
    assert!(read_as(stream(&forged), &trusting(0), &mut shown).is_err());
    assert_eq!(shown.lines, 0);
    // Signed by another key, which it names: whole, but not trusted.
    let mut forge = Forge::new(&Manifest { signed_by: Some(key(1).to_string()), ..manifest() });
    forge.file("config.json", b"{}");
    let index = forge.index();
    let seal = &index[index[..index.len() - 1].iter().rposition(|byte| *byte == b'\n').unwrap() + 1..];
    let other = signer(1).sign(seal, "x").to_text();
    forge.raw(&file("index.jsonl", &index).line, &index, 1);
    forge.raw(&file("seal.minisig", other.as_bytes()).line, other.as_bytes(), 1);
    let bytes = forge.end();
    assert_eq!(verify(&bytes, &knowing(1)).unwrap().map(|signed| signed.trusted), Some(true));
    assert!(matches!(verify(&bytes, &trusting(0)), Err(Error::NotTrusted(_))));
}

#[test]
fn every_flipped_bit_of_signature_and_seal_is_noticed() {
    let sink = MemorySink::default();
    let mut writer = Writer::tar(Box::new(sink.clone()), Compression::None, &std::env::temp_dir()).unwrap();
    writer.sign_with(signer(0), "timestamp:1".to_owned());
    writer.manifest(&signed_manifest(), 0).unwrap();
    write_samples(&mut writer, &[file("config.json", b"{}")]).unwrap();
    writer.finish().unwrap();
    let honest = sink.bytes.lock().unwrap().clone();
    let parts = members(&honest);
    let end = honest.len() - parts.last().unwrap().len();
    let begin = end - parts[parts.len() - 2].len();
    let content = begin + 512..begin + 512 + 300;
    let seal = begin - 512..begin;
    for at in content.chain(seal) {
        for bit in 0..8 {
            let mut bad = honest.clone();
            bad[at] ^= 1 << bit;
            for keys in [Keys::default(), trusting(0)] {
                assert!(verify(&bad, &keys).is_err(), "bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn a_directory_is_signed_too() {
    let place = tempfile::tempdir().unwrap();
    let dest = place.path().join("a");
    let mut writer = Writer::directory(&dest, false, "x").unwrap();
    writer.sign_with(signer(0), "timestamp:1".to_owned());
    writer.manifest(&Manifest { signed_by: Some(key(0).to_string()), ..one_tree() }, 0).unwrap();
    write_samples(&mut writer, &[file("config.json", b"{}")]).unwrap();
    writer.finish().unwrap();
    let verify = |keys: &Keys| {
        let mut order = Order::default();
        read_as(Source::Path(dest.clone()), keys, &mut order).map(|_| order.signed.unwrap().trusted)
    };
    assert!(verify(&trusting(0)).unwrap());
    assert!(!verify(&Keys::default()).unwrap());
    assert!(matches!(verify(&trusting(1)), Err(Error::NotTrusted(_))));
    let signature = dest.join("seal.minisig");
    let honest = std::fs::read(&signature).unwrap();
    std::fs::remove_file(&signature).unwrap();
    assert!(matches!(verify(&trusting(0)), Err(Error::NotTrusted(_))));
    assert!(matches!(verify(&Keys::default()), Err(Error::Damaged(_))));
    std::os::unix::fs::symlink("/etc/passwd", &signature).unwrap();
    assert!(matches!(verify(&Keys::default()), Err(Error::Refused(_))));
    std::fs::remove_file(&signature).unwrap();
    std::fs::write(&signature, [&honest[..], &vec![b'\n'; 20_000]].concat()).unwrap();
    assert!(matches!(verify(&Keys::default()), Err(Error::Refused(_))));
    std::fs::write(&signature, &honest).unwrap();
    assert!(verify(&trusting(0)).unwrap());
}

#[test]
fn a_signer_that_is_no_key_is_damage() {
    let mut forge = Forge::new(&Manifest { signed_by: Some("nobody".to_owned()), ..manifest() });
    let error = verify(&forge.finish(), &Keys::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "The archive is damaged: the manifest of it cannot be understood: the signer's key is no public key: it is not in base64"
    );
}

#[test]
fn the_names_of_signature_and_index_are_taken() {
    for own in ["seal.minisig", "index.jsonl"] {
        let mut named = manifest();
        named.resources[0].config = Some(own.to_owned());
        let error = verify(&Forge::new(&named).finish(), &Keys::default()).unwrap_err();
        assert!(matches!(error, Error::Refused(_)), "{own}: {error}");
    }
    let mut forge = Forge::new(&manifest());
    forge.line(file("seal.minisig", b"").line);
    assert!(verify(&forge.finish(), &Keys::default()).is_err());
}

/// What waits on a disk of an encrypted archive is encrypted there, too.
#[test]
fn lines_of_what_is_encrypted_are_secret() {
    let manifest = signed_manifest();
    for (keys, is_secret) in
        [(trusting(0), false), (trusting(0).decrypted_by(vec![Identity::generate()]), true)]
    {
        let expected = crate::archive::signature::Expected::new(&manifest, &keys, "it").unwrap();
        assert_eq!(expected.is_secret(), is_secret);
    }
}
