//! Archives that no writer would write: names, links, types, sizes, maps and repetitions of all sorts, with an index that says the
//! same (mostly), checksums and a seal that are right. Behind these is what a hostile archive can do.

use arbitrary::{Result, Unstructured};
use remand::archive::Digest;
use serde_json::{Value, json};

use super::archives::same_for_all;
use super::members::MANIFEST;
use super::tar::{self, Member};

/// Names, most of them good. They meet often.
const NAMES: [&str; 28] = [
    "./root",
    "./root/a",
    "./root/a/b",
    "./root/a/b/c",
    "./root/b",
    "./root/A",
    "./root/é",
    "./root/e\u{301}",
    "./root/..",
    "./root/../x",
    "./root//a",
    "./root/./a",
    "/root/a",
    "root/a",
    "./root/a/",
    "./config.json",
    "./fstab",
    "./files",
    "./files/x",
    "./data.zfs",
    "./data/db.tree",
    "./data/db.tree/x",
    "./manifest.json",
    "./index.jsonl",
    "./rooty",
    ".",
    "./data",
    "./root/a\u{0}b",
];

/// One member, and what the index says of it.
struct Forged {
    name: Vec<u8>,
    kind: u8,
    link: Vec<u8>,
    mode: u32,
    content: Vec<u8>,
    /// The map before the content, and the size that the file has with its holes.
    sparse: Option<(Vec<u8>, u64)>,
    attempt: u32,
    line: Value,
}

fn name(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    if u.ratio(1, 12)? {
        return Ok(u.arbitrary::<&[u8]>()?.to_vec());
    }
    // The first ones come most.
    let most = if u.ratio(1, 3)? { NAMES.len() } else { 8 };
    Ok(NAMES[u.choose_index(most)?].as_bytes().to_vec())
}

fn text(bytes: &[u8], key: &str, line: &mut Value) {
    match std::str::from_utf8(bytes) {
        Ok(text) => line[key] = text.into(),
        Err(_) => line[format!("{key}_b64")] = data_encoding::BASE64.encode(bytes).into(),
    }
}

fn forged(u: &mut Unstructured<'_>) -> Result<Forged> {
    let kind = if u.ratio(1, 20)? { u.arbitrary()? } else { *u.choose(b"0005512346")? };
    let is_file = kind == b'0';
    let content = if is_file { u.arbitrary::<&[u8]>()?.to_vec() } else { Vec::new() };
    let link = if matches!(kind, b'1' | b'2') { name(u)? } else { Vec::new() };
    let mode = if u.ratio(1, 9)? { u.int_in_range(0..=0o10_0000)? } else { 0o644 };
    let sparse = if is_file && u.ratio(1, 4)? { Some(sparse(u, &content)?) } else { None };
    let attempt = if u.ratio(1, 6)? { u.int_in_range(0..=3)? } else { 1 };
    let mut forged = Forged { name: name(u)?, kind, link, mode, content, sparse, attempt, line: json!({}) };
    forged.line = line(u, &forged)?;
    Ok(forged)
}

/// A map with these data, which may lie anywhere.
fn sparse(u: &mut Unstructured<'_>, content: &[u8]) -> Result<(Vec<u8>, u64)> {
    let mut numbers = Vec::new();
    let (mut left, mut at) = (content.len() as u64, 0_u64);
    for _ in 0..u.int_in_range(0..=4)? {
        let length = u.int_in_range(0..=left)?;
        at = at.wrapping_add(if u.ratio(1, 12)? { u.arbitrary()? } else { u.int_in_range(0..=9000)? });
        numbers.extend([at, length]);
        (at, left) = (at.wrapping_add(length), left - length);
    }
    if left > 0 {
        numbers.extend([at, left]);
        at = at.wrapping_add(left);
    }
    let size = if u.ratio(1, 12)? { u.arbitrary()? } else { at.wrapping_add(u.int_in_range(0..=5000)?) };
    let count = if u.ratio(1, 12)? { u.arbitrary()? } else { numbers.len() as u64 / 2 };
    let mut map = format!("{count}\n").into_bytes();
    for number in numbers {
        map.extend_from_slice(format!("{number}\n").as_bytes());
    }
    map.resize(map.len().next_multiple_of(tar::BLOCK), 0);
    Ok((map, size))
}

/// The content with its holes, where it is small.
fn logical(content: &[u8], map: &[u8], size: u64) -> Option<Vec<u8>> {
    let size = usize::try_from(size).ok().filter(|size| *size < 1 << 20)?;
    let mut whole = vec![0; size];
    let text = std::str::from_utf8(map).ok()?.trim_end_matches('\0');
    let numbers: Vec<usize> = text.lines().skip(1).map_while(|line| line.parse().ok()).collect();
    let mut rest = content;
    for run in numbers.chunks_exact(2) {
        let (data, after) = rest.split_at_checked(run[1])?;
        whole.get_mut(run[0]..run[0].checked_add(run[1])?)?.copy_from_slice(data);
        rest = after;
    }
    Some(whole)
}

/// What the index says of a member; the truth, but for one thing now and then.
fn line(u: &mut Unstructured<'_>, member: &Forged) -> Result<Value> {
    let Forged { name, kind, link, mode, content, sparse, .. } = member;
    let mut line = json!({});
    text(name.strip_suffix(b"/").unwrap_or(name), "path", &mut line);
    let of_kind = match kind {
        b'2' => "symlink",
        b'3' => "char",
        b'4' => "block",
        b'5' => "directory",
        b'6' => "fifo",
        _ => "file",
    };
    line["type"] = of_kind.into();
    line["mode"] = format!("{mode:04o}").into();
    (line["uid"], line["gid"], line["mtime"]) = (0.into(), 0.into(), "0".into());
    match kind {
        b'1' => {
            line["role"] = "link".into();
            line["size"] = 0.into();
            text(link, "link", &mut line);
        }
        b'2' => text(link, "target", &mut line),
        b'3' | b'4' => line["device"] = json!({ "major": 0, "minor": 0 }),
        b'0' => {
            let (size, digest) = match sparse {
                None => (content.len() as u64, Digest::of(content)),
                Some((map, size)) => (*size, Digest::of(&logical(content, map, *size).unwrap_or_default())),
            };
            line["size"] = size.into();
            line["digest"] = digest.to_string().into();
        }
        _ => {}
    }
    if u.ratio(1, 10)? {
        let (key, value) = match u.int_in_range(0..=8)? {
            0 => ("role", json!(u.choose(&["link", "metadata", "unarchived", "deleted", "x"])?)),
            1 => ("type", json!(u.choose(&["file", "directory", "symlink", "socket", "char"])?)),
            2 => ("size", json!(u.arbitrary::<u64>()?)),
            3 => ("path", json!(String::from_utf8_lossy(&self::name(u)?))),
            4 => ("mode", json!("0000")),
            5 => ("shared", json!([u.arbitrary::<u32>()?])),
            6 => ("group", json!(1)),
            7 => ("link", json!(String::from_utf8_lossy(&self::name(u)?))),
            _ => ("replaced", json!({ "type": "file" })),
        };
        line[key] = value;
    }
    Ok(line)
}

/// A line that has no member.
fn alone(u: &mut Unstructured<'_>) -> Result<Value> {
    let mut line = json!({});
    text(&name(u)?, "path", &mut line);
    match u.int_in_range(0..=3)? {
        0 => line["role"] = "deleted".into(),
        1 => return Ok(json!({ "failed": { "resource": u.int_in_range(0..=1)?, "error": "it failed" } })),
        which => {
            let (role, kind) = if which == 2 { ("metadata", "directory") } else { ("unarchived", "socket") };
            line["role"] = role.into();
            line["type"] = kind.into();
            (line["uid"], line["gid"], line["mtime"]) = (0.into(), 0.into(), "0".into());
            line["mode"] = "0755".into();
        }
    }
    Ok(line)
}

/// The archive, with what the index says.
fn build(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut tar = Vec::new();
    let plain = |name, content| Member {
        name,
        kind: b'0',
        link: b"",
        mode: 0o644,
        size: <[u8]>::len(content) as u64,
        records: Vec::new(),
        content,
    };
    tar::push(&mut tar, &plain(b"./manifest.json", MANIFEST));
    let mut lines: Vec<Value> = Vec::new();
    let mut last: Option<Vec<u8>> = None;
    for _ in 0..u.int_in_range(0..=7)? {
        if u.ratio(1, 5)? {
            lines.push(alone(u)?);
        }
        let mut member = forged(u)?;
        // A repetition is of the one before, mostly.
        if let (2.., Some(last), true) = (member.attempt, last, u.ratio(3, 4)?) {
            member.name = last;
            text(&member.name, "path", &mut member.line);
            lines.pop();
        }
        push(&mut tar, &member);
        last = Some(member.name);
        if !u.ratio(1, 25)? {
            lines.push(member.line);
        }
    }
    let mut index = Vec::new();
    for line in &lines {
        index.extend(serde_json::to_vec(line).unwrap_or_default());
        index.push(b'\n');
    }
    index.extend_from_slice(
        format!(
            "{{\"seal\":{{\"entries\":0,\"members\":0,\"bytes\":0,\"digest\":\"{}\"}}}}\n",
            Digest::of(b"")
        )
        .as_bytes(),
    );
    let index = tar::sealed(MANIFEST, &index);
    tar::push(&mut tar, &plain(b"./index.jsonl", &index));
    tar.resize(tar.len() + 1024, 0);
    Ok(tar)
}

fn push(tar: &mut Vec<u8>, member: &Forged) {
    let mut records = Vec::new();
    let mut put = |key: &str, value: &[u8]| records.push((key.as_bytes().to_vec(), value.to_vec()));
    if !member.name.is_ascii() || member.name.contains(&0) {
        put("path", &member.name);
    }
    if !member.link.is_ascii() || member.link.contains(&0) {
        put("linkpath", &member.link);
    }
    if member.attempt != 1 {
        put("REMAND.attempt", member.attempt.to_string().as_bytes());
    }
    let mut content = member.content.clone();
    if let Some((map, size)) = &member.sparse {
        put("GNU.sparse.major", b"1");
        put("GNU.sparse.minor", b"0");
        put("GNU.sparse.name", &member.name);
        put("GNU.sparse.realsize", size.to_string().as_bytes());
        content = [&map[..], &content].concat();
    }
    let Forged { name, kind, link, mode, .. } = member;
    let size = content.len() as u64;
    tar::push(tar, &Member { name, kind: *kind, link, mode: *mode, size, records, content: &content });
}

/// A forged archive is refused, or makes sense. Compressed it is no other.
pub(super) fn forged_archive(data: &[u8]) -> Option<Vec<u8>> {
    build(&mut Unstructured::new(data)).ok()
}

pub(super) fn forged_check(data: &[u8]) {
    if let Some(tar) = forged_archive(data) {
        same_for_all(&tar);
    }
}
