//! The archive: one tree of members in TAR or DIRECTORY format, manifest first, index last.
//!
//! ```text
//! writing:  Line + body ─▶ Writer ─▶ pax headers, digest ─▶ gzip/zstd members (all cores) ─▶ Sink
//! reading:  Source ─▶ decompressed (all cores) ─▶ headers ─▶ digest, checks ─▶ Visitor
//! ```
//!
//! Behind the index there may be a [signature](Signed) of its last line, and all of it may be [encrypted](crate::encrypt).
//!
//! Someone who has only tar(1) gets the files back; someone who has the index knows that they are
//! whole. The format is specified in remand-archive(5).

mod announced;
mod bounds;
mod check;
pub mod digest;
pub mod error;
pub mod format;
mod gzip;
mod header;
pub mod index;
pub mod manifest;
pub mod member;
mod parallel;
mod pax;
pub mod reader;
pub mod record;
mod signature;
pub mod sink;
mod sparse;
mod table;
#[cfg(test)]
pub(crate) mod testing;
pub mod writer;
mod wrong;
mod zstd;

pub use digest::Digest;
pub use error::{Error, Result};
pub use format::{Compression, Format};
pub use index::{Failure, Line, Seal};
pub use manifest::Manifest;
pub use member::MemberName;
#[doc(hidden)]
pub use reader::fuzzing;
pub use reader::{ReadAt, Source, Visitor, read, read_manifest, salvage, select, survey};
pub use signature::Signed;
pub use sink::{FileSink, Sink, WriteSink};
pub use writer::{Body, Writer, Written};
