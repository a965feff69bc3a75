//! Bits that mean nothing: why each of them may change without harm. What is not named here must be found.

use std::io::Read as _;

const BLOCK: usize = 512;

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Tar,
    Gzip,
    Zstd,
}

impl Form {
    pub(crate) fn of(name: &str) -> Self {
        match name {
            name if name.ends_with(".gz") => Self::Gzip,
            name if name.ends_with(".zst") => Self::Zstd,
            _ => Self::Tar,
        }
    }

    /// The tar stream, by others' decompressors.
    pub(crate) fn plain(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut plain = Vec::new();
        match self {
            Self::Tar => Some(bytes.to_vec()),
            Self::Gzip => {
                flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut plain).ok().map(|_| plain)
            }
            Self::Zstd => zstd::stream::copy_decode(bytes, &mut plain).ok().map(|()| plain),
        }
    }
}

/// Why a change between two archives of the same length means nothing; `None` if it must be found.
///
/// - *compression*: both inflate to the same bytes, checked by the compression's own checksums. Deflate has bits that mean nothing: those that
///   fill the byte before a stored block, and after the last block of a member; in zstd the same holds of
///   the size of a window that is larger than the content needs.
/// - *checksum field*: the number in the checksum field of a tar header may be written in several ways: a space for a leading zero, and either
///   of two bytes behind the digits.
/// - *keyword*: a pax record whose keyword is not known is ignored. Where the header's own fields say the same as the record did
///   (`hdrcharset`, and the `size` of a stream whose length was filled in later) nothing is lost with it.
/// - *comment*: of pax records with the keyword `comment` only those with a certain beginning mean something.
pub(crate) fn reason(form: Form, whole: &[u8], changed: &[u8]) -> Option<&'static str> {
    let (whole, changed) = (form.plain(whole)?, form.plain(changed)?);
    if whole == changed {
        return (form != Form::Tar).then_some("compression");
    }
    let mut different = whole.iter().zip(&changed).enumerate().filter(|(_, (a, b))| a != b);
    let (at, _) = different.next()?;
    if different.next().is_some() || whole.len() != changed.len() {
        return None;
    }
    let block = &whole[at / BLOCK * BLOCK..][..BLOCK];
    let other = &changed[at / BLOCK * BLOCK..][..BLOCK];
    if &block[257..262] == b"ustar"
        && (148..156).contains(&(at % BLOCK))
        && checksum(block) == checksum(other)
    {
        return Some("checksum field");
    }
    keyword_at(&whole, at)
}

/// The number in a header's checksum field: what it has before the first byte behind digits that is none.
fn checksum(block: &[u8]) -> Option<u32> {
    let digits: Vec<u8> = block[148..156]
        .iter()
        .copied()
        .skip_while(|byte| *byte == b' ')
        .take_while(|byte| (b'0'..=b'7').contains(byte))
        .collect();
    u32::from_str_radix(std::str::from_utf8(&digits).ok()?, 8).ok()
}

/// Whether a byte is in the keyword of a pax record that says nothing new, or in a comment.
fn keyword_at(tar: &[u8], at: usize) -> Option<&'static str> {
    // The records begin in one of the blocks before, behind a header of type x.
    let header = (0..=at / BLOCK)
        .rev()
        .map(|block| block * BLOCK)
        .find(|begin| &tar[begin + 257..begin + 262] == b"ustar")?;
    if tar[header + 156] != b'x' {
        return None;
    }
    let mut record = header + BLOCK;
    loop {
        let space = record + tar[record..].iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&tar[record..space]).ok()?.parse().ok()?;
        let equals = space + tar[space..].iter().position(|byte| *byte == b'=')?;
        if at < record + length {
            let keyword = &tar[space + 1..equals];
            let in_keyword = (space + 1..=equals).contains(&at);
            return match keyword {
                b"hdrcharset" if at > space => Some("keyword"),
                b"size" if in_keyword => Some("keyword"),
                b"comment" if at > space => Some("comment"),
                _ => None,
            };
        }
        record += length;
    }
}
