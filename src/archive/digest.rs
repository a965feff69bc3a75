//! Digests of content.

/// BLAKE3 of some bytes, 256 bits. As text: `blake3:` and 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Takes a finished hash.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The hash itself.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<blake3::Hash> for Digest {
    fn from(hash: blake3::Hash) -> Self {
        Self(*hash.as_bytes())
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "blake3:{}", data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

/// Text that is no digest.
#[derive(Debug, thiserror::Error)]
#[error("Not a digest of a known kind: {0}")]
pub struct NotADigest(String);

impl std::str::FromStr for Digest {
    type Err = NotADigest;

    fn from_str(text: &str) -> Result<Self, NotADigest> {
        let hex = text.strip_prefix("blake3:").ok_or_else(|| NotADigest(text.to_owned()))?;
        let bytes =
            data_encoding::HEXLOWER.decode(hex.as_bytes()).map_err(|_| NotADigest(text.to_owned()))?;
        bytes.try_into().map(Self).map_err(|_| NotADigest(text.to_owned()))
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Digest of a file's logical content: holes count as zeros.
pub fn of_content(content: &mut dyn crate::tree::Content) -> std::io::Result<Digest> {
    let mut hasher = ContentHasher::new(content.size());
    while let Some((offset, data)) = content.next_data()? {
        hasher.data(offset, data);
    }
    Ok(hasher.finish())
}

/// Hashes a file's logical content from its runs of data.
pub struct ContentHasher {
    hasher: blake3::Hasher,
    at: u64,
    size: u64,
}

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];
/// Zeros that all cores hash together.
const LONG_BYTES: usize = 4 << 20;
/// How much of a hole is hashed without looking up: some hundredths of a second.
const HOLE_BYTES: u64 = 64 << 20;

impl ContentHasher {
    /// For content of `size` bytes.
    pub fn new(size: u64) -> Self {
        Self { hasher: blake3::Hasher::new(), at: 0, size }
    }

    /// The next run of data; what lies between this and the last one is a hole.
    pub fn data(&mut self, offset: u64, data: &[u8]) {
        self.zeros(offset.saturating_sub(self.at));
        self.hasher.update(data);
        self.at += data.len() as u64;
    }

    /// The hole up to `end`, of which [`ContentHasher::data`] has nothing left to do then; `go_on` is asked every now and then, and can
    /// stop it.
    pub fn hole(&mut self, end: u64, go_on: &dyn Fn() -> std::io::Result<()>) -> std::io::Result<()> {
        while self.at < end {
            self.zeros((end - self.at).min(HOLE_BYTES));
            go_on()?;
        }
        Ok(())
    }

    /// The digest, after the hole at the end.
    pub fn finish(mut self) -> Digest {
        self.zeros(self.size.saturating_sub(self.at));
        self.hasher.finalize().into()
    }

    fn zeros(&mut self, mut count: u64) {
        self.at += count;
        if count >= LONG_BYTES as u64 {
            // Nobody has written to it: all of its pages are one.
            let zeros = vec![0; LONG_BYTES];
            while count >= LONG_BYTES as u64 {
                self.hasher.update_rayon(&zeros);
                count -= LONG_BYTES as u64;
            }
        }
        while count > 0 {
            let now = count.min(ZEROS.len() as u64);
            self.hasher.update(&ZEROS[..usize::try_from(now).unwrap_or(ZEROS.len())]);
            count -= now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_count_as_zeros() {
        let long = ZEROS.len() * 2 + 5;
        for (size, runs) in [
            (0, vec![]),
            (7, vec![]),
            (long, vec![]),
            (10, vec![(0, 10)]),
            (10, vec![(3, 4)]),
            (10, vec![(0, 2), (2, 3), (9, 1)]),
            (3 * long, vec![(1, 1), (long, 5), (2 * long, 70_000)]),
        ] {
            let mut whole = vec![0; size];
            let mut hasher = ContentHasher::new(size as u64);
            for (offset, length) in runs {
                whole[offset..offset + length].fill(7);
                hasher.data(offset as u64, &whole[offset..offset + length]);
            }
            assert_eq!(hasher.finish(), Digest::of(&whole), "{size}");
            let mut content = crate::tree::MemoryContent::new(whole.clone());
            assert_eq!(of_content(&mut content).unwrap(), Digest::of(&whole));
        }
    }

    #[test]
    fn one_digest_has_one_text() {
        let digest = Digest::of(b"");
        let text = "blake3:af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), digest);
        assert_eq!(Digest::new(*digest.as_bytes()), digest);
        assert_eq!(serde_json::from_value::<Digest>(serde_json::to_value(digest).unwrap()).unwrap(), digest);
        for bad in ["", "blake3:", &text[7..], &text[..70], &text.to_uppercase(), &format!("{text}00")] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }
}
