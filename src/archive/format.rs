//! Formats and compressions, and how they are told apart.

/// Form of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One tar stream, possibly compressed.
    Tar,
    /// A directory that holds the members as files.
    Directory,
}

/// How a TAR archive is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all: `.tar`.
    None,
    /// Independent gzip members of about 1 MiB: `.tar.gz`. Level 1 to 9.
    Gzip(u32),
    /// Independent zstd frames of about 1 MiB: `.tar.zst`. Level 1 to 19.
    Zstd(u32),
}

/// Member that describes the archive, before all others.
pub const MANIFEST: &str = "manifest.json";
/// Member with a line for every entry and the seal, after all others.
pub const INDEX: &str = "index.jsonl";
/// Member with the signature of the seal, after the index. In many archives there is none.
pub const SIGNATURE: &str = "seal.minisig";
/// Directory of a resource's members for the files beside its config.
pub const FILES: &str = "files";
