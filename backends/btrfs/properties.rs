//! The properties of a subvolume that travel with it.

use super::{Btrfs, place};
use crate::{DatasetName, Error, Result};
use remand_sys::btrfs;
use rustix::fs::{XattrFlags, fgetxattr, fsetxattr};
use rustix::io::Errno;
use std::collections::BTreeMap;

const READ_ONLY: &str = "ro";
const COMPRESSION: &str = "compression";
/// Where btrfs keeps it. Trees and streams hold it too, as an attribute of the root directory.
const COMPRESSION_XATTR: &str = "btrfs.compression";

pub(super) fn local(pool: &Btrfs, name: &DatasetName) -> Result<BTreeMap<String, String>> {
    let directory = pool.existing(name)?;
    let Some(subvolume) = pool.top_of(name, &directory)? else { return Ok(BTreeMap::new()) };
    let mut found = BTreeMap::new();
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
    if place::top(&directory).map_err(|source| Error::io("look at", pool.label_of(name), source))?.is_none() {
        return Err(unsupported("a property of a directory"));
    }
    match (property, value) {
        (READ_ONLY, "true" | "false") => btrfs::set_read_only(&directory, value == "true")
            .map_err(|source| Error::io("set read-only", pool.label_of(name), source)),
        (READ_ONLY, _) => Err(unsupported("a read-only property that is neither true nor false")),
        (COMPRESSION, _) => fsetxattr(&directory, COMPRESSION_XATTR, value.as_bytes(), XattrFlags::empty())
            .map_err(|errno| Error::io("set the compression of", pool.label_of(name), errno.into())),
        _ => Err(unsupported("a property other than ro and compression")),
    }
}
