//! The properties of a subvolume that travel with it: its own, whose names begin with `btrfs:`, and those of other backends, which the
//! pool remembers for the way back.

use super::{Btrfs, place};
use crate::{DatasetName, Error, Result};
use remand_sys::btrfs;
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use rustix::io::Errno;
use std::collections::BTreeMap;

/// Not by their bare names: other backends mean something else by them, and take these for user properties.
const OWN: &str = "btrfs:";
const READ_ONLY: &str = "btrfs:ro";
const COMPRESSION: &str = "btrfs:compression";
/// Where btrfs keeps it. Trees and streams hold it too, as an attribute of the root directory.
const COMPRESSION_XATTR: &str = "btrfs.compression";

pub(super) fn local(pool: &Btrfs, name: &DatasetName) -> Result<BTreeMap<String, String>> {
    let directory = pool.existing(name)?;
    let Some(subvolume) = pool.top_of(name, &directory)? else { return pool.dir.remembered_properties(name) };
    let mut found = pool.dir.remembered_properties(name)?;
    if subvolume.read_only {
        found.insert(READ_ONLY.to_owned(), "true".to_owned());
    }
    let mut value = [0; 64];
    match fgetxattr(&directory, COMPRESSION_XATTR, &mut value) {
        Ok(length) => {
            let value = String::from_utf8_lossy(&value[..length]).into_owned();
            found.insert(COMPRESSION.to_owned(), value);
        }
        Err(Errno::NODATA) => {}
        Err(errno) => return Err(Error::io("read the compression of", pool.label_of(name), errno.into())),
    }
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
        (COMPRESSION, _) => fsetxattr(&directory, COMPRESSION_XATTR, value.as_bytes(), XattrFlags::empty())
            .map_err(|errno| Error::io("set the compression of", pool.label_of(name), errno.into())),
        _ if property.starts_with(OWN) => Err(unsupported("a property of btrfs but ro and compression")),
        _ => pool.dir.remember_property(name, property, value),
    }
}
