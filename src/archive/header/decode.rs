//! Header blocks and pax records back into an entry.

use std::collections::BTreeMap;

use crate::archive::bounds::MAX_NAME_BYTES;
use crate::archive::index::Role;
use crate::archive::wrong::Wrong;
use crate::archive::{Line, MemberName, pax, sparse};
use crate::tree::entry::is_target;
use crate::tree::{Acl, Device, Entry, Flags, Kind, TreePath};

use super::{
    ACL_ACCESS, ACL_DEFAULT, ACL_NFS4, ATTEMPT, COMMENT, DEV_MAJOR, DEV_MINOR, FLAGS, SHARED, SPARSE_MAJOR,
    SPARSE_MINOR, SPARSE_NAME, SPARSE_SIZE, XATTR,
};

/// What came before a member's own header block.
#[derive(Debug, Default)]
pub(in crate::archive) struct Extended {
    /// pax records.
    pub(in crate::archive) records: Vec<u8>,
    /// GNU's long name, where another tar wrote it.
    pub(in crate::archive) long_name: Option<Vec<u8>>,
    /// GNU's long link target.
    pub(in crate::archive) long_link: Option<Vec<u8>>,
}

/// A member as its header tells.
#[derive(Debug)]
pub(in crate::archive) struct Decoded {
    /// Name and entry; role `Member` without digest, or `Link`.
    pub(in crate::archive) line: Line,
    /// Bytes that follow, without padding.
    pub(in crate::archive) stored_bytes: u64,
    /// Whether they begin with a sparse map.
    pub(in crate::archive) sparse: bool,
    /// Which attempt at the same member it is, from 1.
    pub(in crate::archive) attempt: u32,
}

/// Whether a block is all zeros, as the two at the end are.
pub(in crate::archive) fn is_zero(block: &[u8; sparse::BLOCK]) -> bool {
    block.iter().all(|&byte| byte == 0)
}

/// Whether a block is a header with a right checksum, in ustar or GNU form.
pub(in crate::archive) fn verify_checksum(header: &tar::Header) -> bool {
    let bytes = header.as_bytes();
    let sum: u32 = bytes[..148].iter().chain(&bytes[156..]).map(|&byte| u32::from(byte)).sum();
    header.cksum().is_ok_and(|expected| expected == sum + 8 * u32::from(b' '))
        && (header.as_ustar().is_some() || header.as_gnu().is_some())
}

/// A value of a record, or of a header field.
type Value<'a> = Option<&'a [u8]>;

fn text<'a>(value: &'a [u8], key: &str) -> Result<&'a str, String> {
    std::str::from_utf8(value).map_err(|_| format!("its pax record {key} is not UTF-8"))
}

fn number<T: std::str::FromStr>(value: &[u8], key: &str) -> Result<T, String> {
    text(value, key)?.parse().map_err(|_| format!("its pax record {key} is no number that can be"))
}

/// Takes a header apart. The error is a sentence's end about the member.
pub(in crate::archive) fn decode(header: &tar::Header, extended: &Extended) -> Result<Decoded, Wrong> {
    decode_named(header, extended, clean_name)
}

/// The same of a member that another program wrote: its name, and that of what it is a link to, need no `./`, and may be `.`.
pub(in crate::archive) fn decode_foreign(
    header: &tar::Header,
    extended: &Extended,
) -> Result<Decoded, Wrong> {
    decode_named(header, extended, clean_foreign_name)
}

fn decode_named(
    header: &tar::Header,
    extended: &Extended,
    clean_name: fn(&[u8], bool) -> Result<MemberName, Wrong>,
) -> Result<Decoded, Wrong> {
    let records = pax::parse(&extended.records)?;
    let get = |key: &str| -> Value<'_> { records.get(key.as_bytes()).copied() };
    let (kind, is_link) = kind(header.entry_type())?;
    let sparse = is_sparse(&records)?;
    if sparse && (kind != Kind::File || is_link) {
        return Err(Wrong::Forbidden("it has a sparse map but is no regular file".to_owned()));
    }
    let name = match (if sparse { get(SPARSE_NAME) } else { get("path") }, &extended.long_name) {
        (Some(name), _) => name.to_vec(),
        (None, Some(name)) => name.clone(),
        (None, None) => field_name(header),
    };
    let target = match (get("linkpath"), &extended.long_link) {
        (Some(target), _) => target.to_vec(),
        (None, Some(target)) => target.clone(),
        (None, None) => until_nul(&header.as_old().linkname).to_vec(),
    };
    let stored_bytes = match get("size") {
        Some(size) => number(size, "size")?,
        None => header.entry_size().map_err(|_| "its size is no number")?,
    };
    let size = if sparse {
        number(get(SPARSE_SIZE).ok_or("its sparse file has no size")?, SPARSE_SIZE)?
    } else {
        stored_bytes
    };
    if (kind != Kind::File || is_link) && stored_bytes != 0 {
        return Err(Wrong::Forbidden("it has content, but its type has none".to_owned()));
    }
    let attempt = match get(ATTEMPT) {
        Some(attempt) => number(attempt, ATTEMPT)?,
        None => 1,
    };
    let shared = match get(COMMENT).and_then(|comment| comment.strip_prefix(SHARED.as_bytes())) {
        Some(numbers) => text(numbers, SHARED)?
            .split(',')
            .map(|one| number(one.as_bytes(), SHARED))
            .collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let name = clean_name(&name, kind == Kind::Directory)?;
    if kind == Kind::Symlink && !is_target(&target) {
        return Err(Wrong::Forbidden("no link can have its target".to_owned()));
    }
    let role =
        if is_link { Role::Link { to: clean_name(&target, false)? } } else { Role::Member { digest: None } };
    let mut entry = attributes(header, &records, kind)?;
    entry.size = size;
    entry.target = (kind == Kind::Symlink).then_some(target);
    let line = Line { name, role, entry: Some(entry), group: None, replaced: None, unstable: false, shared };
    Ok(Decoded { line, stored_bytes, sparse, attempt })
}

fn kind(kind: tar::EntryType) -> Result<(Kind, bool), Wrong> {
    Ok(match kind.as_byte() {
        b'0' | 0 => (Kind::File, false),
        b'1' => (Kind::File, true),
        b'2' => (Kind::Symlink, false),
        b'3' => (Kind::CharDevice, false),
        b'4' => (Kind::BlockDevice, false),
        b'5' => (Kind::Directory, false),
        b'6' => (Kind::Fifo, false),
        other => {
            let why = format!("its type '{}' is not used in archives", other.escape_ascii());
            return Err(Wrong::Forbidden(why));
        }
    })
}

/// Whether the records announce a sparse map of the one form that is known.
fn is_sparse(records: &BTreeMap<&[u8], &[u8]>) -> Result<bool, Wrong> {
    let get = |key: &str| -> Value<'_> { records.get(key.as_bytes()).copied() };
    let known = [SPARSE_MAJOR, SPARSE_MINOR, SPARSE_NAME, SPARSE_SIZE];
    let of_sparse = |key: &&[u8]| key.starts_with(b"GNU.sparse.");
    let mut keys = records.keys().copied().filter(of_sparse).peekable();
    if keys.peek().is_none() {
        return Ok(false);
    }
    let complete = keys.all(|key| known.iter().any(|known| known.as_bytes() == key))
        && get(SPARSE_MAJOR) == Some(b"1")
        && get(SPARSE_MINOR) == Some(b"0")
        && get(SPARSE_NAME).is_some();
    if complete {
        Ok(true)
    } else {
        Err(Wrong::Forbidden("its sparse file is of an unknown form".to_owned()))
    }
}

fn attributes(header: &tar::Header, records: &BTreeMap<&[u8], &[u8]>, kind: Kind) -> Result<Entry, Wrong> {
    let get = |key: &str| -> Value<'_> { records.get(key.as_bytes()).copied() };
    let id = |key: &'static str, field: std::io::Result<u64>| -> Result<u32, String> {
        match get(key) {
            Some(value) => number(value, key),
            None => field.ok().and_then(|id| u32::try_from(id).ok()).ok_or(format!("its {key} is no number")),
        }
    };
    let mode = header.mode().ok().filter(|&mode| mode <= 0o7777).ok_or("its mode is no mode")?;
    let mtime = match get("mtime") {
        Some(value) => text(value, "mtime")?.parse().ok(),
        None => header.mtime().ok().and_then(|seconds| seconds.to_string().parse().ok()),
    };
    let acl = |key: &str| get(key).map(|value| text(value, key).map(str::to_owned)).transpose();
    let flags = match get(FLAGS) {
        Some(flags) => text(flags, FLAGS)?
            .parse()
            .map_err(|error: crate::tree::flags::UnknownFlags| error.to_string())?,
        None => Flags::default(),
    };
    let mut xattrs = BTreeMap::new();
    for (key, value) in records {
        if let Some(name) = key.strip_prefix(XATTR.as_bytes()) {
            xattrs.insert(unescape_xattr(name), value.to_vec());
        }
    }
    Ok(Entry {
        kind,
        mode,
        uid: id("uid", header.uid())?,
        gid: id("gid", header.gid())?,
        mtime: mtime.ok_or("its mtime is no time")?,
        size: 0,
        target: None,
        device: device(header, records, kind)?,
        xattrs,
        acl: Acl { access: acl(ACL_ACCESS)?, default: acl(ACL_DEFAULT)?, nfs4: acl(ACL_NFS4)? },
        flags,
    })
}

fn device(
    header: &tar::Header,
    records: &BTreeMap<&[u8], &[u8]>,
    kind: Kind,
) -> Result<Option<Device>, String> {
    if !matches!(kind, Kind::CharDevice | Kind::BlockDevice) {
        return Ok(None);
    }
    let part = |key: &str, field: std::io::Result<Option<u32>>| match records.get(key.as_bytes()) {
        Some(value) => number(value, key),
        None => field.ok().flatten().ok_or("its device number is none".to_owned()),
    };
    Ok(Some(Device {
        major: part(DEV_MAJOR, header.device_major())?,
        minor: part(DEV_MINOR, header.device_minor())?,
    }))
}

/// A name that lies in the archive: `./` and a clean path; a directory's may end with a slash.
fn clean_name(name: &[u8], directory: bool) -> Result<MemberName, Wrong> {
    let path = if directory { name.strip_suffix(b"/").unwrap_or(name) } else { name };
    path.strip_prefix(b"./")
        .filter(|path| !path.is_empty() && path.len() < MAX_NAME_BYTES)
        .and_then(|path| TreePath::new(path).ok())
        .map(MemberName::new)
        .ok_or_else(|| no_name(name))
}

/// The same, with or without `./`. The archive's own root is a directory in it.
fn clean_foreign_name(name: &[u8], directory: bool) -> Result<MemberName, Wrong> {
    let path = if directory { name.strip_suffix(b"/").unwrap_or(name) } else { name };
    if directory && path == b"." {
        return Ok(MemberName::new(TreePath::root()));
    }
    Some(path.strip_prefix(b"./").unwrap_or(path))
        .filter(|path| !path.is_empty() && path.len() < MAX_NAME_BYTES)
        .and_then(|path| TreePath::new(path).ok())
        .map(MemberName::new)
        .ok_or_else(|| no_name(name))
}

fn no_name(name: &[u8]) -> Wrong {
    let name = crate::tree::path::printable_start(name);
    Wrong::Forbidden(format!("\"{name}\" is no name of a member"))
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// The name in a header's own fields.
pub(in crate::archive) fn field_name(header: &tar::Header) -> Vec<u8> {
    let name = until_nul(&header.as_old().name);
    match header.as_ustar().map(|ustar| until_nul(&ustar.prefix)) {
        Some(prefix) if !prefix.is_empty() => [prefix, b"/", name].concat(),
        _ => name.to_vec(),
    }
}

fn unescape_xattr(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, after)) = rest.split_first() {
        let (byte, after) = match rest {
            [b'%', b'2', b'5', after @ ..] => (b'%', after),
            [b'%', b'3', b'D', after @ ..] => (b'=', after),
            _ => (first, after),
        };
        plain.push(byte);
        rest = after;
    }
    plain
}
