//! The properties of a subvolume that travel with it: its own, whose names begin with `btrfs:`, and those of other backends, which the
//! pool remembers for the way back.

use super::{Btrfs, place};
use crate::{DatasetName, Error, Result};
use remand_sys::btrfs;
use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;

/// Not by their bare names: other backends mean something else by them, and take these for user properties.
const OWN: &str = "btrfs:";
const READ_ONLY: &str = "btrfs:ro";
const COMPRESSION: &str = "btrfs:compression";
/// Where btrfs keeps it. Trees and streams hold it too, as an attribute of the root directory.
#[cfg(target_os = "linux")]
const COMPRESSION_XATTR: &str = "btrfs.compression";

pub(super) fn local(pool: &Btrfs, name: &DatasetName) -> Result<BTreeMap<String, String>> {
    let directory = pool.existing(name)?;
    let Some(subvolume) = pool.top_of(name, &directory)? else { return pool.dir.remembered_properties(name) };
    let mut found = pool.dir.remembered_properties(name)?;
    if subvolume.read_only {
        found.insert(READ_ONLY.to_owned(), "true".to_owned());
    }
    let value = compression(&directory)
        .map_err(|source| Error::io("read the compression of", pool.label_of(name), source))?;
    found.extend(value.map(|value| (COMPRESSION.to_owned(), value)));
    Ok(found)
}

pub(super) fn set(pool: &Btrfs, name: &DatasetName, property: &str, value: &str) -> Result<()> {
    let directory = pool.existing(name)?;
    let unsupported = |what| Error::Unsupported { subject: pool.label_of(name), what };
    let top = place::top(&directory).map_err(|source| Error::io("look at", pool.label_of(name), source))?;
    if property.starts_with(OWN) && top.is_none() {
        return Err(unsupported("a property of a directory"));
    }
    match (property, value) {
        (READ_ONLY, "true" | "false") => btrfs::set_read_only(&directory, value == "true")
            .map_err(|source| Error::io("set read-only", pool.label_of(name), source)),
        (READ_ONLY, _) => Err(unsupported("a read-only property that is neither true nor false")),
        (COMPRESSION, _) => set_compression(&directory, value)
            .map_err(|source| Error::io("set the compression of", pool.label_of(name), source)),
        _ if property.starts_with(OWN) => Err(unsupported("a property of btrfs but ro and compression")),
        _ => pool.dir.remember_property(name, property, value),
    }
}

#[cfg(target_os = "linux")]
fn compression(directory: &OwnedFd) -> io::Result<Option<String>> {
    let mut value = [0; 64];
    match rustix::fs::fgetxattr(directory, COMPRESSION_XATTR, &mut value) {
        Ok(length) => Ok(Some(String::from_utf8_lossy(&value[..length]).into_owned())),
        Err(rustix::io::Errno::NODATA) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(target_os = "linux")]
fn set_compression(directory: &OwnedFd, value: &str) -> io::Result<()> {
    let flags = rustix::fs::XattrFlags::empty();
    Ok(rustix::fs::fsetxattr(directory, COMPRESSION_XATTR, value.as_bytes(), flags)?)
}

/// No other system has btrfs, and so no pool on it.
#[cfg(not(target_os = "linux"))]
fn compression(_: &OwnedFd) -> io::Result<Option<String>> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn set_compression(_: &OwnedFd, _: &str) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
