//! ACLs: a file system has `NFSv4` ones (ZFS; UFS with `nfsv4acls`), or those of POSIX.1e (UFS with `acls`), or none.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use remand_sys::freebsd::acl::{self, Entry, Which};

use super::super::super::{Acl, Kind};
use super::super::{Place, nfs4_acl, posix_acl};
use super::{c_name, handle, is_unsupported, raw_stat, set_mode, wants_more_than_a_path};

/// The ACLs of an entry; none where the permission bits say it all.
pub(super) fn read(file: BorrowedFd<'_>) -> io::Result<Acl> {
    if let Some(list) = acl::read(file, Which::Nfs4)? {
        let nfs4 = (!list.trivial).then(|| nfs4_text(&list.entries)).transpose()?;
        return Ok(Acl { nfs4, ..Acl::default() });
    }
    let Some(list) = acl::read(file, Which::Access)? else { return Ok(Acl::default()) };
    let access = (!list.trivial).then(|| posix_text(&list.entries)).transpose()?;
    // Only directories can have some; others answer as a file system that knows none.
    let default = acl::read(file, Which::Default)?.filter(|list| !list.entries.is_empty());
    let default = default.map(|list| posix_text(&list.entries)).transpose()?;
    Ok(Acl { access, default, nfs4: None })
}

fn nfs4_text(entries: &[Entry]) -> io::Result<String> {
    let entries: Vec<_> = entries
        .iter()
        .map(|&Entry { tag, id, permissions, kind, flags }| nfs4_acl::Ace {
            tag,
            id,
            permissions,
            kind,
            flags,
        })
        .collect();
    nfs4_acl::text_of(&entries).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

fn posix_text(entries: &[Entry]) -> io::Result<String> {
    // A number too high for the field is that of no tag and no permission, and refused as such.
    let small = |number| u16::try_from(number).unwrap_or(u16::MAX);
    let entry = |entry: &Entry| posix_acl::Ace {
        tag: small(entry.tag),
        id: entry.id,
        permissions: small(entry.permissions),
    };
    posix_acl::text_of(entries.iter().map(entry).collect())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Makes the ACLs of an entry be these and no others. The permission bits that it has stay where there shall be none.
pub(in crate::tree) fn set_acl(place: &Place<'_>, kind: Kind, wanted: &Acl) -> io::Result<()> {
    let opened = if place.own.is_none() { handle(place.dir, place.name)? } else { None };
    let file = opened.as_ref().map(AsFd::as_fd).or(place.own).unwrap_or(place.dir);
    let now = match read(file) {
        // An old kernel. It may keep what it does not show.
        Err(error) if opened.is_some() && wants_more_than_a_path(&error) && wanted.is_empty() => {
            return Ok(());
        }
        read => read?,
    };
    let target = Target { place, file };
    let nfs4 = match &wanted.nfs4 {
        Some(text) if now.nfs4.as_ref() != Some(text) => target.write(Which::Nfs4, &nfs4_entries(text)?),
        None if now.nfs4.is_some() => target.strip(Which::Nfs4),
        _ => Ok(()),
    };
    let access = match &wanted.access {
        Some(text) if now.access.as_ref() != Some(text) => target.write(Which::Access, &posix_entries(text)?),
        None if now.access.is_some() => target.strip(Which::Access),
        _ => Ok(()),
    };
    let default = match &wanted.default {
        Some(text) if now.default.as_ref() != Some(text) => {
            target.write(Which::Default, &posix_entries(text)?)
        }
        None if now.default.is_some() && kind == Kind::Directory => acl::remove_default(file),
        _ => Ok(()),
    };
    let kept = |done: io::Result<()>, sort: &str| done.map_err(|error| named(error, sort));
    kept(nfs4, "NFSv4").and(kept(access, "POSIX")).and(kept(default, "POSIX"))
}

/// Says what a file system does not have: the system only says that it was asked for nonsense.
fn named(error: io::Error, sort: &str) -> io::Error {
    if is_unsupported(&error) || error.kind() == io::ErrorKind::InvalidInput && error.raw_os_error().is_some()
    {
        return io::Error::new(
            io::ErrorKind::Unsupported,
            format!("the file system keeps no such {sort} ACL"),
        );
    }
    error
}

struct Target<'a> {
    place: &'a Place<'a>,
    file: BorrowedFd<'a>,
}

impl Target<'_> {
    fn write(&self, which: Which, entries: &[Entry]) -> io::Result<()> {
        match self.place.own {
            Some(own) => acl::write(own, which, entries),
            None => acl::write_at(self.place.dir, &c_name(self.place.name)?, which, entries),
        }
    }

    fn strip(&self, which: Which) -> io::Result<()> {
        let found = match self.place.own {
            Some(own) => rustix::fs::fstat(own)?,
            None => raw_stat(self.place.dir, self.place.name)?,
        };
        match self.place.own {
            Some(own) => acl::strip(own, which)?,
            None => acl::strip_at(self.place.dir, &c_name(self.place.name)?, self.file, which)?,
        }
        // What a mask or a denial hid shows now.
        set_mode(self.place, u32::from(found.st_mode) & 0o7777)
    }
}

fn nfs4_entries(text: &str) -> io::Result<Vec<Entry>> {
    let entries = nfs4_acl::entries_of(text);
    let entries = entries.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let entry =
        |nfs4_acl::Ace { tag, id, permissions, kind, flags }| Entry { tag, id, permissions, kind, flags };
    Ok(entries.into_iter().map(entry).collect())
}

fn posix_entries(text: &str) -> io::Result<Vec<Entry>> {
    let entries = posix_acl::entries_of(text);
    let entries = entries.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let entry = |entry: posix_acl::Ace| Entry {
        tag: entry.tag.into(),
        id: entry.id,
        permissions: entry.permissions.into(),
        kind: 0,
        flags: 0,
    };
    Ok(entries.into_iter().map(entry).collect())
}
