//! A pipe that has to be read more than once: it waits in a temporary file.

use std::io::{Read, Write as _};
use std::sync::Arc;

use super::place::About;
use crate::archive::{Error, ReadAt, Result};

/// How often it is looked whether there is room, in bytes.
const PART_BYTES: u64 = 64 << 20;

/// Reads `stream` to its end into a file without a name.
pub(super) fn spool(stream: Box<dyn Read + Send>, about: &About) -> Result<Arc<dyn ReadAt>> {
    let directory = std::env::temp_dir();
    let place = format!("a temporary file in {}", directory.display());
    let failed = |source| Error::Io { action: "write", subject: place.clone(), source };
    let mut file = tempfile::tempfile_in(&directory).map_err(failed)?;
    let mut stream = stream;
    loop {
        about.go_on()?;
        let what = format!("{}, which must be read more than once and comes from a pipe", about.name);
        crate::room::check(&directory, &what, PART_BYTES)?;
        let mut part = Vec::with_capacity(1 << 20);
        let mut left = PART_BYTES;
        while left > 0 {
            part.clear();
            let read = (&mut stream).take(left.min(1 << 20)).read_to_end(&mut part);
            read.map_err(|source| Error::Io { action: "read", subject: about.name.clone(), source })?;
            if part.is_empty() {
                return Ok(Arc::new(file));
            }
            file.write_all(&part).map_err(failed)?;
            left -= part.len() as u64;
        }
    }
}
