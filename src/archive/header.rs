//! A member's header: an ustar block, and pax records for what it cannot hold exactly.
//!
//! [`encode()`] and [`decode()`] are each other's inverse: what a header holds of an entry comes back bit by bit. A hard
//! link's header has no kind, size, target, device, xattrs, ACLs and flags; see [`in_header`].

use crate::tree::{Acl, Device, Entry, Kind};

use super::index::Role;
use super::{Line, pax};

mod decode;

pub(super) use decode::{Decoded, Extended, decode, decode_foreign, field_name, is_zero, verify_checksum};

/// Record by which a reader knows that a member takes the place of the one before it.
pub(super) const ATTEMPT: &str = "REMAND.attempt";
/// Record that says which resources have other names of the file, see [`Line::shared`]: a comment that begins with [`SHARED`], because
/// GNU tar warns of every keyword that it does not know.
const COMMENT: &str = "comment";
/// How such a comment begins.
const SHARED: &str = "REMAND.shared=";
const XATTR: &str = "SCHILY.xattr.";
const ACL_ACCESS: &str = "SCHILY.acl.access";
const ACL_DEFAULT: &str = "SCHILY.acl.default";
const ACL_NFS4: &str = "SCHILY.acl.ace";
const FLAGS: &str = "SCHILY.fflags";
const DEV_MAJOR: &str = "SCHILY.devmajor";
const DEV_MINOR: &str = "SCHILY.devminor";
const SPARSE_MAJOR: &str = "GNU.sparse.major";
const SPARSE_MINOR: &str = "GNU.sparse.minor";
const SPARSE_NAME: &str = "GNU.sparse.name";
const SPARSE_SIZE: &str = "GNU.sparse.realsize";

/// Digits of a `size` record that is overwritten later.
const FIXED_SIZE_DIGITS: usize = 20;
/// Name in the header of a member's pax records. Some tars that do not know pax make a file of it.
const PAX_NAME: &[u8] = b"./PaxHeaders.0/member";

/// How a regular file's data lie in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// As they are.
    Plain,
    /// Behind a sparse map; so many bytes with the map.
    Sparse(u64),
    /// As they are, but their length may be patched: the header's length does not depend on it.
    FixedSize,
}

/// What a header tells of an entry; all of it unless the entry is a hard link.
pub(super) fn in_header(line: &Line) -> Option<Entry> {
    let entry = line.entry.as_ref()?;
    if !matches!(line.role, Role::Link { .. }) {
        return Some(entry.clone());
    }
    Some(Entry {
        kind: Kind::File,
        size: 0,
        target: None,
        device: None,
        xattrs: std::collections::BTreeMap::new(),
        acl: Acl::default(),
        flags: crate::tree::Flags::default(),
        ..*entry
    })
}

/// A line as a reader makes it from the header of its member.
pub(super) fn line_in_header(line: &Line) -> Line {
    Line {
        role: match &line.role {
            Role::Member { .. } => Role::Member { digest: None },
            other => other.clone(),
        },
        entry: in_header(line),
        name: line.name.clone(),
        group: None,
        replaced: None,
        unstable: false,
        shared: line.shared.clone(),
    }
}

/// The header blocks of a member; `None` where a line has no entry, or tar has no type for its kind.
pub(super) fn encode(line: &Line, layout: Layout, attempt: u32) -> Option<Vec<u8>> {
    let entry = in_header(line)?;
    let mut block = tar::Header::new_ustar();
    let mut records = Vec::new();
    let target = match &line.role {
        Role::Link { to } => Some(format_name(to.path().as_bytes())),
        _ => entry.target.clone(),
    };
    block.set_entry_type(entry_type(&entry, &line.role)?);
    let mut name = format_name(line.name.path().as_bytes());
    if is_binary(&name) || target.as_deref().is_some_and(is_binary) {
        // Before the names, since it tells how to read them.
        pax::push(&mut records, b"hdrcharset", b"BINARY");
    }
    if let Layout::Sparse(_) = layout {
        for (key, value) in [(SPARSE_MAJOR, "1"), (SPARSE_MINOR, "0")] {
            pax::push(&mut records, key.as_bytes(), value.as_bytes());
        }
        pax::push(&mut records, SPARSE_NAME.as_bytes(), &name);
        pax::push(&mut records, SPARSE_SIZE.as_bytes(), entry.size.to_string().as_bytes());
        name = sparse_name(&name);
    }
    if entry.kind == Kind::Directory {
        name.push(b'/');
    }
    if !put_name(&mut block, &name) {
        pax::push(&mut records, b"path", &name);
    }
    if let Some(target) = &target
        && !put_text(&mut block.as_old_mut().linkname, target)
    {
        pax::push(&mut records, b"linkpath", target);
    }
    put_size(&mut block, &mut records, &entry, layout);
    put_attributes(&mut block, &mut records, &entry);
    if attempt > 1 {
        pax::push(&mut records, ATTEMPT.as_bytes(), attempt.to_string().as_bytes());
    }
    if !line.shared.is_empty() {
        let numbers: Vec<_> = line.shared.iter().map(u32::to_string).collect();
        pax::push(&mut records, COMMENT.as_bytes(), format!("{SHARED}{}", numbers.join(",")).as_bytes());
    }
    block.set_cksum();
    let mut header = Vec::new();
    if !records.is_empty() {
        push_records(&mut header, &records);
    }
    header.extend_from_slice(block.as_bytes());
    Some(header)
}

fn entry_type(entry: &Entry, role: &Role) -> Option<tar::EntryType> {
    Some(match (role, entry.kind) {
        (Role::Link { .. }, _) => tar::EntryType::Link,
        (_, Kind::File) => tar::EntryType::Regular,
        (_, Kind::Directory) => tar::EntryType::Directory,
        (_, Kind::Symlink) => tar::EntryType::Symlink,
        (_, Kind::Fifo) => tar::EntryType::Fifo,
        (_, Kind::CharDevice) => tar::EntryType::Char,
        (_, Kind::BlockDevice) => tar::EntryType::Block,
        (_, Kind::Socket) => return None,
    })
}

/// A path as members have it. The archive's own root is `.`.
fn format_name(path: &[u8]) -> Vec<u8> {
    if path.is_empty() {
        return b".".to_vec();
    }
    [b"./", path].concat()
}

fn is_binary(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_err()
}

/// Name under which tars without sparse files make what they understand of one.
fn sparse_name(name: &[u8]) -> Vec<u8> {
    let (directory, file) = name.split_at(name.iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1));
    [directory, b"GNUSparseFile.0/", file].concat()
}

/// Puts text into a field if it fits; only ASCII means the same to every tar.
fn put_text(field: &mut [u8], text: &[u8]) -> bool {
    let fits = text.len() <= field.len() && text.is_ascii();
    let kept = text.len().min(field.len());
    if text.is_ascii() {
        field[..kept].copy_from_slice(&text[..kept]);
    } else {
        field[..12].copy_from_slice(b"see-pax-path");
    }
    fits
}

/// Puts a name into the fields `name` and `prefix` if it fits.
fn put_name(block: &mut tar::Header, name: &[u8]) -> bool {
    let Some(ustar) = block.as_ustar_mut() else { return false };
    if name.len() <= ustar.name.len() || !name.is_ascii() {
        return put_text(&mut ustar.name, name);
    }
    // The slash between the two fields is in neither; a name may not be empty.
    let room = ustar.prefix.len().min(name.len() - 2);
    if let Some(at) = name[..=room].iter().rposition(|&byte| byte == b'/')
        && at > 0
        && name.len() - at - 1 <= ustar.name.len()
    {
        ustar.prefix[..at].copy_from_slice(&name[..at]);
        ustar.name[..name.len() - at - 1].copy_from_slice(&name[at + 1..]);
        return true;
    }
    put_text(&mut ustar.name, name)
}

/// Puts a number into a field of at most 22 bytes as octal digits with a NUL behind them; 0 and false if it does not fit.
fn put_octal(field: &mut [u8], number: u64) -> bool {
    let digits = field.len() - 1;
    let fits = number >> (digits * 3) == 0;
    let text = format!("{:0digits$o}", if fits { number } else { 0 });
    field[..digits].copy_from_slice(text.as_bytes());
    fits
}

fn put_size(block: &mut tar::Header, records: &mut Vec<u8>, entry: &Entry, layout: Layout) {
    let size = match layout {
        Layout::Plain => entry.size,
        Layout::Sparse(stored) => stored,
        Layout::FixedSize => {
            put_octal(&mut block.as_old_mut().size, entry.size);
            pax::push(records, b"size", format!("{:0FIXED_SIZE_DIGITS$}", entry.size).as_bytes());
            return;
        }
    };
    if !put_octal(&mut block.as_old_mut().size, size) {
        pax::push(records, b"size", size.to_string().as_bytes());
    }
}

fn put_attributes(block: &mut tar::Header, records: &mut Vec<u8>, entry: &Entry) {
    let mut text = |key: &str, value: &str| pax::push(records, key.as_bytes(), value.as_bytes());
    let old = block.as_old_mut();
    put_octal(&mut old.mode, u64::from(entry.mode & 0o7777));
    if !put_octal(&mut old.uid, u64::from(entry.uid)) {
        text("uid", &entry.uid.to_string());
    }
    if !put_octal(&mut old.gid, u64::from(entry.gid)) {
        text("gid", &entry.gid.to_string());
    }
    let seconds = u64::try_from(entry.mtime.seconds);
    let whole = put_octal(&mut old.mtime, seconds.unwrap_or(0));
    if !whole || seconds.is_err() || entry.mtime.nanoseconds != 0 {
        text("mtime", &entry.mtime.to_string());
    }
    if let Some(Device { major, minor }) = entry.device
        && let Some(ustar) = block.as_ustar_mut()
    {
        if !put_octal(&mut ustar.dev_major, u64::from(major)) {
            text(DEV_MAJOR, &major.to_string());
        }
        if !put_octal(&mut ustar.dev_minor, u64::from(minor)) {
            text(DEV_MINOR, &minor.to_string());
        }
    }
    for (key, acl) in
        [(ACL_ACCESS, &entry.acl.access), (ACL_DEFAULT, &entry.acl.default), (ACL_NFS4, &entry.acl.nfs4)]
    {
        if let Some(acl) = acl {
            text(key, acl);
        }
    }
    if !entry.flags.is_empty() {
        text(FLAGS, &entry.flags.to_string());
    }
    for (name, value) in &entry.xattrs {
        pax::push(records, &[XATTR.as_bytes(), &escape_xattr(name)].concat(), value);
    }
}

/// An xattr's name as GNU tar understands it in a keyword, which cannot hold an equals sign. bsdtar takes it as it is,
/// so nothing is escaped that need not be.
fn escape_xattr(name: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, after @ ..] = rest {
        match first {
            b'%' if after.starts_with(b"25") || after.starts_with(b"3D") => escaped.extend_from_slice(b"%25"),
            b'=' => escaped.extend_from_slice(b"%3D"),
            _ => escaped.push(*first),
        }
        rest = after;
    }
    escaped
}

fn push_records(header: &mut Vec<u8>, records: &[u8]) {
    let mut block = tar::Header::new_ustar();
    block.set_entry_type(tar::EntryType::XHeader);
    let old = block.as_old_mut();
    put_text(&mut old.name, PAX_NAME);
    put_octal(&mut old.mode, 0o644);
    for field in [&mut old.uid[..], &mut old.gid, &mut old.mtime] {
        put_octal(field, 0);
    }
    put_octal(&mut old.size, records.len() as u64);
    block.set_cksum();
    header.extend_from_slice(block.as_bytes());
    header.extend_from_slice(records);
    header.resize(header.len().next_multiple_of(super::sparse::BLOCK), 0);
}

#[cfg(test)]
mod tests;
