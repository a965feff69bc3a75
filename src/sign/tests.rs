use super::*;

/// Made by minisign(1) 0.11 with the password `secret`.
const MINISIGN: (&str, &str) = (
    "untrusted comment: minisign public key CB1EEFE0FD97E27E\nRWR+4pf94O8eywlYcmvUd1VbDfBV/xx1pxNuTp7ysR/dbVki5VAQGx3l\n",
    "untrusted comment: test\nRWRTY0IycvcOg0S0lD5t0irw4M1heEmBnW3rCHUMN1PiPR9b3xAAAAACAAAAAAAAAEAAAAAAay+wT88pwN9d/L9kASFc019Nm50e0VZLPgiKhJghupiu7S+fbKb8tJF9lnExb3iwMdRh2NyeQQadRkXl6dCEcbf46HYqtOSrvFnqWwbqNusbLqflqCzQAnJ0wqu7C/IF7j5TcPTYh9c=\n",
);
/// Made by `minisign -GW`.
const MINISIGN_PLAIN: (&str, &str) = (
    "untrusted comment: minisign public key 29DF762E056A7A52\nRWRSemoFLnbfKXaikeXkRzwmO+fQ011iQ8jxiZcJv9VGBW9KCYT8cNf4\n",
    "untrusted comment: minisign encrypted secret key\nRWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAUnpqBS523ymyLP9OjLhMbLOjB8wcQsnx7nDLRosa1gTdrgDksxLXl3aikeXkRzwmO+fQ011iQ8jxiZcJv9VGBW9KCYT8cNf4AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n",
);
/// Made by `signify -Gn`.
const SIGNIFY_PLAIN: (&str, &str) = (
    "untrusted comment: signify public key\nRWSrxTM8WwtJMwAkhxCKJBs7rwshpRxc94IJe0IgqXcNdf8HUeRcPAqo\n",
    "untrusted comment: signify secret key\nRWRCSwAAAAAtfL6CT57qJGyrXapnoECTnxqQdv7H6RGrxTM8WwtJM1aQ1xeD16xmupjA6f4IXBl53YWVVg1ygwq6a949I1dhACSHEIokGzuvCyGlHFz3ggl7QiCpdw11/wdR5Fw8Cqg=\n",
);
/// Made by `signify -G` with the password `secret`.
const SIGNIFY: (&str, &str) = (
    "untrusted comment: signify public key\nRWTeXbfJNxg4Rp0xO3Xt5pC2eC8CKzFybC8cX2ZmGJooVlE5YVaep1Eb\n",
    "untrusted comment: signify secret key\nRWRCSwAAACrz8F1WiNWncwmGWaoWElce/DeqGFGfzBPeXbfJNxg4Rgh+SuB0esullEv6ApII1yB/S8AfsaMXg5P94EpVYZP3CqTTzgefO75L6Ku0+hK6mw7Hs1b+RrjLYERnJPez6Fc=\n",
);

fn signer((_, secret): (&str, &str), password: Option<&[u8]>) -> Result<Signer, Error> {
    SecretKey::parse(secret.as_bytes(), "a.key").unwrap().unlock(password)
}

#[test]
fn keys_of_both_programs_are_read() {
    for (pair, password) in [(MINISIGN_PLAIN, None), (SIGNIFY_PLAIN, None), (SIGNIFY, Some(&b"secret"[..]))] {
        let public = PublicKey::parse(pair.0, "a.pub").unwrap();
        let signer = signer(pair, password).unwrap();
        assert_eq!(signer.public(), public);
        assert_eq!(PublicKey::parse(&public.to_string(), "it").unwrap(), public);
        let signature = signer.sign(b"message\n", "a comment");
        assert_eq!(signature.check(b"message\n", &public), Ok(()));
        assert_eq!(Signature::parse(signature.to_text().as_bytes()).unwrap(), signature);
    }
    let id = PublicKey::parse(MINISIGN.0, "a.pub").unwrap().id();
    assert_eq!(id.to_string(), "CB1EEFE0FD97E27E", "as minisign tells it");
}

/// Takes 1 GiB of memory for some seconds, as the key asks for.
#[test]
fn a_key_with_minisigns_own_cost_is_unlocked() {
    let public = PublicKey::parse(MINISIGN.0, "a.pub").unwrap();
    assert_eq!(signer(MINISIGN, Some(b"secret")).unwrap().public(), public);
}

#[test]
fn a_password_must_be_there_and_right() {
    assert!(SecretKey::parse(MINISIGN.1.as_bytes(), "it").unwrap().needs_password());
    assert!(!SecretKey::parse(SIGNIFY_PLAIN.1.as_bytes(), "it").unwrap().needs_password());
    let error = |password| signer(SIGNIFY, password).unwrap_err().to_string();
    assert_eq!(error(None), "The secret key a.key is protected by a password, and none was given");
    assert_eq!(error(Some(b"Secret")), "The password of the secret key a.key is wrong");
    assert_eq!(error(Some(b"")), "The password of the secret key a.key is wrong");
}

#[test]
fn what_is_no_key_is_named() {
    let error = |text: &str| SecretKey::parse(text.as_bytes(), "a.key").unwrap_err().to_string();
    assert_eq!(error(SIGNIFY.0), "a.key is no secret key: it is a public key");
    assert_eq!(error(""), "a.key is no secret key: it is empty");
    assert_eq!(error("RWQ"), "a.key is no secret key: it is not in base64");
    let error = |text: &str| PublicKey::parse(text, "a.pub").unwrap_err().to_string();
    assert_eq!(error(SIGNIFY.1), "a.pub is no public key: it has another length");
    assert_eq!(error("untrusted comment: x\n"), "a.pub is no public key: it is empty");
    // Twice as much memory as minisign asks for is the most.
    let mut bytes = data_encoding::BASE64.decode(payload(MINISIGN.1).unwrap().as_bytes()).unwrap();
    bytes[38..54].fill(0xff);
    let greedy = data_encoding::BASE64.encode(&bytes);
    let error = SecretKey::parse(greedy.as_bytes(), "a.key").unwrap_err();
    assert!(matches!(error, Error::TooHard { .. }), "{error}");
}

#[test]
fn every_flipped_bit_of_a_key_without_password_is_noticed_or_in_its_comment() {
    for (_, secret) in [SIGNIFY_PLAIN] {
        let bytes = data_encoding::BASE64.decode(payload(secret).unwrap().as_bytes()).unwrap();
        // The salt and the identity are under no checksum.
        for at in (4..8).chain(24..32).chain(40..bytes.len()) {
            let mut bad = bytes.clone();
            bad[at] ^= 1;
            let read = SecretKey::parse(data_encoding::BASE64.encode(&bad).as_bytes(), "it");
            assert!(read.and_then(|key| key.unlock(None)).is_err(), "byte {at}");
        }
    }
}

#[test]
fn every_flipped_bit_of_a_signature_is_noticed() {
    let public = PublicKey::parse(SIGNIFY_PLAIN.0, "a.pub").unwrap();
    let signature = signer(SIGNIFY_PLAIN, None).unwrap().sign(b"seal", "timestamp:1\tfile:a");
    let text = signature.to_text().into_bytes();
    for place in 0..text.len() * 8 {
        let mut bad = text.clone();
        bad[place / 8] ^= 1 << (place % 8);
        let checked = Signature::parse(&bad).and_then(|bad| bad.check(b"seal", &public));
        assert!(checked.is_err(), "bit {place}");
    }
    for length in 0..text.len() {
        assert!(Signature::parse(&text[..length]).is_err(), "cut at {length}");
    }
    assert!(Signature::parse(&[&text[..], b"\n"].concat()).is_err());
    assert_eq!(signature.check(b"Seal", &public), Err(Wrong::Message));
    let other = PublicKey::parse(MINISIGN_PLAIN.0, "b.pub").unwrap();
    assert_eq!(signature.check(b"seal", &other), Err(Wrong::Key(public.id())));
}

#[test]
fn a_comment_is_one_line_of_ascii() {
    let signer = signer(MINISIGN_PLAIN, None).unwrap();
    let signature = signer.sign(b"", "a\tb\nc\u{1b}d\u{e9}");
    assert_eq!(signature.comment(), "a\tb?c?d?");
    assert_eq!(signature.check(b"", &signer.public()), Ok(()));
    let long = signer.sign(b"", &"x".repeat(100_000));
    assert_eq!(Signature::parse(long.to_text().as_bytes()), Ok(long));
}

#[test]
fn no_message_tells_a_secret() {
    let key = SecretKey::parse(MINISIGN_PLAIN.1.as_bytes(), "a.key").unwrap();
    assert_eq!(format!("{key:?}"), "SecretKey { subject: \"a.key\", .. }");
    assert_eq!(format!("{:?}", key.unlock(None).unwrap()), "Signer(29DF762E056A7A52)");
}
