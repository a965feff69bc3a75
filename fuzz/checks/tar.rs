//! A second opinion on tar: just enough to build archives that no writer would write, and to put right what hides behind a
//! checksum or a digest.

use remand::archive::Digest;

pub(super) const BLOCK: usize = 512;

/// A member to build. Its header says what is said here, whether it makes sense or not.
pub(super) struct Member<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: u8,
    pub(super) link: &'a [u8],
    pub(super) mode: u32,
    pub(super) size: u64,
    /// Keys and values.
    pub(super) records: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) content: &'a [u8],
}

/// Appends a member.
pub(super) fn push(tar: &mut Vec<u8>, member: &Member<'_>) {
    let mut records = Vec::new();
    let mut put = |key: &[u8], value: &[u8]| push_record(&mut records, key, value);
    for (key, value) in &member.records {
        put(key, value);
    }
    let long = |key: &str| !member.records.iter().any(|(known, _)| known == key.as_bytes());
    if member.name.len() > 100 && long("path") {
        put(b"path", member.name);
    }
    if member.link.len() > 100 && long("linkpath") {
        put(b"linkpath", member.link);
    }
    if !records.is_empty() {
        push_block(tar, b"./PaxHeaders.0/member", b'x', b"", 0o644, records.len() as u64);
        push_padded(tar, &records);
    }
    push_block(tar, member.name, member.kind, member.link, member.mode, member.size);
    push_padded(tar, member.content);
}

fn push_padded(tar: &mut Vec<u8>, bytes: &[u8]) {
    tar.extend_from_slice(bytes);
    tar.resize(tar.len().next_multiple_of(BLOCK), 0);
}

fn push_block(tar: &mut Vec<u8>, name: &[u8], kind: u8, link: &[u8], mode: u32, size: u64) {
    let mut block = [0; BLOCK];
    let mut put = |at: usize, bytes: &[u8], room: usize| {
        let length = bytes.len().min(room);
        block[at..at + length].copy_from_slice(&bytes[..length]);
    };
    put(0, name, 100);
    put(100, format!("{mode:07o}").as_bytes(), 8);
    for at in [108, 116, 329, 337] {
        put(at, b"0000000", 8);
    }
    put(124, format!("{:011o}", size & 0x1_ffff_ffff).as_bytes(), 12);
    put(136, b"00000000000", 12);
    put(156, &[kind], 1);
    put(157, link, 100);
    put(257, b"ustar\x0000", 8);
    checksum(&mut block);
    tar.extend_from_slice(&block);
}

/// Puts the checksum of a header right.
fn checksum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn push_record(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest;
    while length != rest + length.to_string().len() {
        length = rest + length.to_string().len();
    }
    records.extend_from_slice(format!("{length} ").as_bytes());
    records.extend_from_slice(&[key, b"=", value, b"\n"].concat());
}

/// A member as its own header block tells.
pub(super) struct Found {
    /// Where the block is.
    pub(super) at: usize,
    /// Its type.
    pub(super) kind: u8,
    /// Where its content lies.
    pub(super) content: std::ops::Range<usize>,
}

/// The members of a tar stream, as far as they make sense. A size in pax records is not looked at.
pub(super) fn members(tar: &[u8]) -> Vec<Found> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(block) = tar.get(at..at + BLOCK) {
        let digits: Vec<u8> = block[124..136].iter().copied().take_while(u8::is_ascii_digit).collect();
        let size = std::str::from_utf8(&digits).ok().and_then(|text| usize::from_str_radix(text, 8).ok());
        let kind = block[156];
        let plain = matches!(kind, 0 | b'0' | b'x' | b'g' | b'L' | b'K');
        let size = if plain { size.unwrap_or(0) } else { 0 };
        let content = at + BLOCK..(at + BLOCK).saturating_add(size).min(tar.len());
        found.push(Found { at, kind, content: content.clone() });
        at = content.end.next_multiple_of(BLOCK);
    }
    found
}

/// Puts the checksums of all headers right.
pub(super) fn mend_headers(tar: &mut [u8]) {
    for Found { at, .. } in members(tar) {
        let block = &mut tar[at..at + BLOCK];
        if block.iter().any(|&byte| byte != 0) {
            block[257..265].copy_from_slice(b"ustar\x0000");
            checksum(block);
        }
    }
}

/// An index with digest and counts put right in its last line, if that looks like a seal. Its length stays where only the digest
/// was wrong.
pub(super) fn sealed(manifest: &[u8], index: &[u8]) -> Vec<u8> {
    let body = index.strip_suffix(b"\n").unwrap_or(index);
    let at = body.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    let (lines, seal) = index.split_at(at);
    let digest = Digest::of(&[manifest, lines].concat()).to_string();
    let seal = with_digest(seal, &digest);
    let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(&seal) else {
        return [lines, &seal].concat();
    };
    let [mut entries, mut members, mut bytes] = [0_u64; 3];
    for line in lines.split(|&byte| byte == b'\n') {
        let Ok(line) = serde_json::from_slice::<serde_json::Value>(line) else { continue };
        if line["failed"].is_object() {
            continue;
        }
        entries += 1;
        let role = line["role"].as_str();
        members += u64::from(matches!(role, None | Some("link")));
        let file = line["type"].as_str() == Some("file") && role.is_none();
        bytes = bytes.wrapping_add(if file { line["size"].as_u64().unwrap_or(0) } else { 0 });
    }
    let Some(seal) = value.get_mut("seal").filter(|seal| seal.is_object()) else {
        return [lines, &seal].concat();
    };
    for (name, count) in [("entries", entries), ("members", members), ("bytes", bytes)] {
        if seal.get(name).is_some() {
            seal[name] = count.into();
        }
    }
    let mut mended = lines.to_vec();
    mended.extend(serde_json::to_vec(&value).expect("it was JSON"));
    mended.push(b'\n');
    mended
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

const DIGEST: &[u8] = b"\"blake3:";

/// The text with another first digest.
fn with_digest(text: &[u8], digest: &str) -> Vec<u8> {
    let mut text = text.to_vec();
    if let Some(at) = text.windows(DIGEST.len()).position(|window| window == DIGEST)
        && let Some(slot) = text.get_mut(at + 1..at + 1 + digest.len())
    {
        slot.copy_from_slice(digest.as_bytes());
    }
    text
}

/// Puts right what a change of a few bytes has broken: checksums of headers, digests of plain members in the index, and the seal. Without
/// that all such changes end in the same few messages.
pub(super) fn mend(tar: &mut Vec<u8>) {
    mend_headers(tar);
    let mut files: Vec<(Found, bool)> = Vec::new();
    let mut sparse = false;
    for found in members(tar) {
        let is_zero = tar[found.at..found.at + BLOCK].iter().all(|&byte| byte == 0);
        match found.kind {
            b'x' => sparse = has(&tar[found.content], b"GNU.sparse."),
            0 | b'0' if !is_zero => files.push((found, std::mem::take(&mut sparse))),
            _ => sparse = false,
        }
    }
    let ([(manifest, _), members @ ..], Some((index, _))) = (&files[..], files.last()) else { return };
    // That of a sparse member is not of the bytes in the archive, and stays.
    let mut digests = members
        .iter()
        .map(|(member, sparse)| (!sparse).then(|| Digest::of(&tar[member.content.clone()]).to_string()));
    let mut lines = Vec::new();
    for line in tar[index.content.clone()].split_inclusive(|&byte| byte == b'\n') {
        let own = !has(line, b"\"role\":") && has(line, b"\"type\":\"file\"");
        match own.then(|| digests.next()).flatten().flatten() {
            Some(digest) => lines.extend(with_digest(line, &digest)),
            None => lines.extend_from_slice(line),
        }
    }
    let mended = sealed(&tar[manifest.content.clone()], &lines);
    let (at, content) = (index.at, index.content.clone());
    tar.truncate(content.start);
    push_padded(tar, &mended);
    tar.resize(tar.len() + 2 * BLOCK, 0);
    let size = format!("{:011o}\0", mended.len());
    tar[at + 124..at + 136].copy_from_slice(size.as_bytes());
    checksum(&mut tar[at..at + BLOCK]);
}
