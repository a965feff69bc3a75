//! What is kept apart from the inode: extended attributes, and with them ACLs.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use remand_sys::freebsd::extattr::{self, Namespace};
use rustix::io::Errno;

use super::super::super::path::printable;
use super::super::forms::{self, Attribute};
use super::super::{Attributes, Place};
use super::{acls, c_name, handle, is_unsupported, wants_more_than_a_path};

/// The entry's extended attributes and ACLs. Where the file system has none there are none.
pub(in crate::tree) fn attributes(place: &Place<'_>) -> io::Result<Attributes> {
    let opened = if place.own.is_none() { handle(place.dir, place.name)? } else { None };
    let file = opened.as_ref().map(AsFd::as_fd).or(place.own).unwrap_or(place.dir);
    let mut attributes = Attributes::default();
    match xattrs(file, &mut attributes) {
        Err(error) if opened.is_some() && wants_more_than_a_path(&error) => {
            attributes.unread = Some("extended attributes of links, FIFOs, sockets and devices");
        }
        read => read?,
    }
    match acls::read(file) {
        Ok(acl) => attributes.acl = acl,
        Err(error) if opened.is_some() && wants_more_than_a_path(&error) => {
            let xattrs = attributes.unread.is_some();
            attributes.unread = Some(if xattrs {
                "extended attributes and ACLs of links, FIFOs, sockets and devices"
            } else {
                "ACLs of links, FIFOs, sockets and devices"
            });
        }
        Err(error) => return Err(error),
    }
    Ok(attributes)
}

fn xattrs(file: BorrowedFd<'_>, attributes: &mut Attributes) -> io::Result<()> {
    for (namespace, prefix) in [(Namespace::User, &b"user."[..]), (Namespace::System, b"system.")] {
        let list = match extattr::list(file, namespace) {
            Ok(list) => list,
            Err(error) if is_unsupported(&error) => continue,
            // Only the superuser may ask.
            Err(error) if namespace == Namespace::System && is_forbidden(&error) => {
                attributes.unread = Some("extended attributes of the namespace system");
                continue;
            }
            Err(error) => return Err(error),
        };
        for name in forms::names(&list) {
            let full = [prefix, name].concat();
            if forms::attribute(&full).is_none() {
                continue; // an ACL in the file system's own form
            }
            match extattr::get(file, namespace, &c_name(name)?) {
                Ok(value) => {
                    attributes.xattrs.insert(full, value);
                }
                Err(error) if is_gone(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Removed since it was listed.
fn is_gone(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NOATTR)
}

fn is_forbidden(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::PERM | Errno::ACCESS))
}

/// Makes the extended attributes of an entry be these and no others. What was refused comes back by
/// name, the rest is set.
pub(in crate::tree) fn set_xattrs(
    place: &Place<'_>,
    xattrs: &BTreeMap<Vec<u8>, Vec<u8>>,
) -> Vec<(String, io::Error)> {
    let opened = match place.own {
        Some(_) => None,
        None => match handle(place.dir, place.name) {
            Ok(opened) => opened,
            Err(error) => return vec![("xattrs".to_owned(), error)],
        },
    };
    let file = opened.as_ref().map(AsFd::as_fd).or(place.own).unwrap_or(place.dir);
    let mut refused = Vec::new();
    let mut now = Attributes::default();
    match self::xattrs(file, &mut now) {
        Ok(()) => {
            for name in now.xattrs.keys().filter(|name| !xattrs.contains_key(*name)) {
                refused.extend(change(file, name, None).err().map(|error| (label(name), error)));
            }
        }
        // Those that shall be set say for themselves that they cannot be.
        Err(error) if opened.is_some() && wants_more_than_a_path(&error) => {}
        Err(error) => refused.push(("xattrs".to_owned(), error)),
    }
    for (name, value) in xattrs.iter().filter(|(name, value)| now.xattrs.get(*name) != Some(value)) {
        refused.extend(change(file, name, Some(value)).err().map(|error| (label(name), error)));
    }
    refused
}

fn label(name: &[u8]) -> String {
    format!("xattr {}", printable(name))
}

/// Sets an attribute, or removes it.
fn change(file: BorrowedFd<'_>, full: &[u8], value: Option<&[u8]>) -> io::Result<()> {
    let (namespace, name) = located(full)?;
    match value {
        Some(value) => extattr::set(file, namespace, &name, value),
        None => match extattr::remove(file, namespace, &name) {
            Err(error) if is_gone(&error) => Ok(()),
            removed => removed,
        },
    }
}

/// An ACL that comes this way would escape all checks, and other systems have namespaces of their own.
fn located(full: &[u8]) -> io::Result<(Namespace, CString)> {
    match forms::attribute(full) {
        Some(Attribute::User(name)) => Ok((Namespace::User, c_name(name)?)),
        Some(Attribute::System(name)) => Ok((Namespace::System, c_name(name)?)),
        None => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this system has the namespaces user and system, and ACLs are no attributes of them",
        )),
    }
}
