//! Doors for the fuzz targets in `fuzz/`: parsers that nobody else reaches alone. Those of an archive's parts are in
//! [`crate::archive::fuzzing`].

use std::sync::Arc;

use crate::archive::manifest::ResourceRecord;
use crate::archive::{self, Seal, Visitor};
use crate::change::rsync::{self, Line};
use crate::error::Result;
use crate::tree::TreePath;
use crate::tree::platform::nfs4_acl;
#[cfg(target_os = "linux")]
use crate::tree::platform::posix_acl;

/// What a line of rsync(1) is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RsyncLine {
    /// Something differs at a path.
    Differs(Vec<u8>),
    /// The base alone has a path.
    Deleted(Vec<u8>),
    /// Words for people.
    Remark,
}

/// A line that rsync prints of a change; `None` where it is not understood.
pub fn rsync_line(line: &[u8]) -> Option<RsyncLine> {
    Some(match rsync::line(line)? {
        Line::Differs(path) => RsyncLine::Differs(path),
        Line::Deleted(path) => RsyncLine::Deleted(path),
        Line::Remark => RsyncLine::Remark,
    })
}

/// Name of a dataset, and where its members lie.
pub type Dataset = (String, Option<TreePath>);

/// What a restore is going to make of a resource: its name, and its datasets.
pub fn restored(record: &ResourceRecord, name: Option<&str>) -> Result<(String, Vec<Dataset>)> {
    let plan = crate::restore::plan::plan(record, name, false)?;
    let datasets = plan.datasets.into_iter().map(|target| (target.name, target.member)).collect();
    Ok((plan.name, datasets))
}

/// Reads a file as an archive of another tool. `None` if it is of none that is known.
pub fn foreign(bytes: &[u8], visitor: &mut dyn Visitor) -> Option<archive::Result<Seal>> {
    let (sort, _) = crate::foreign::sort_of_stream(Box::new(std::io::Cursor::new(bytes.to_vec())), "it");
    let file = crate::foreign::Where::File(Arc::new(Bytes(bytes.to_vec())), "it.tar".into());
    let adapted = crate::foreign::adapt(sort?, file, ("it", &Arc::default()), None);
    Some(adapted.and_then(|(source, origin)| {
        let read = archive::read(source, "it", visitor);
        origin.wait();
        read
    }))
}

/// A file in memory.
struct Bytes(Vec<u8>);

impl archive::ReadAt for Bytes {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> std::io::Result<usize> {
        let offset = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        std::io::Read::read(&mut &self.0[offset..], buffer)
    }

    fn size(&self) -> std::io::Result<u64> {
        Ok(self.0.len() as u64)
    }
}

/// Text of an ACL in the form of the kernel.
#[cfg(target_os = "linux")]
pub fn acl_to_text(raw: &[u8]) -> Option<String> {
    posix_acl::to_text(raw).ok()
}

/// The form of the kernel of an ACL as text.
#[cfg(target_os = "linux")]
pub fn acl_from_text(text: &str) -> Option<Vec<u8>> {
    posix_acl::from_text(text).ok()
}

/// The text that an `NFSv4` ACL has, out of one that says the same.
pub fn nfs4_acl(text: &str) -> Option<String> {
    let entries = nfs4_acl::entries_of(text).ok()?;
    Some(nfs4_acl::text_of(&entries).unwrap_or_else(|error| panic!("{text:?}: {error}")))
}
