//! What the record of a run says.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{host_name, now};

/// What a record says. Paths are bytes, which need not be UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// `export`, `restore`, `diff`.
    pub operation: String,
    /// Which resource, as in `jail web01`.
    pub resource: String,
    /// Process.
    pub pid: u32,
    /// Host.
    pub host: String,
    /// Since when, RFC 3339.
    pub since: String,
    /// The partial archive that the run writes, base64 of its absolute path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partial: Option<String>,
    /// The archive that the run restores, by the identity in its manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<String>,
    /// What that archive was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// What a restore makes visible: all of it is whole and durable. Of several resources `cleanup` makes visible what is not yet, so that
    /// it is all or none; whatever is, it mounts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<Publish>,
}

/// A rename that makes a resource visible.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// Which resource, as in `jail web01`.
    pub resource: String,
    /// Its staging dataset.
    pub from: String,
    /// The dataset that it becomes.
    pub to: String,
    /// Times of directories that the rename touches on some platforms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<KeptTime>,
}

/// When a directory of a resource was modified.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptTime {
    /// The dataset that it is in, relative to the resource; "" is the resource's own.
    pub dataset: String,
    /// Path in there, base64.
    pub path: String,
    /// Seconds since 1970.
    pub seconds: i64,
    /// And nanoseconds.
    pub nanoseconds: u32,
}

impl Record {
    /// A record of this process.
    pub fn new(operation: &str, resource: String) -> Self {
        Self {
            operation: operation.to_owned(),
            resource,
            pid: std::process::id(),
            host: host_name(),
            since: now(),
            partial: None,
            archive: None,
            source: None,
            publish: Vec::new(),
        }
    }

    /// The same, for a run that restores the archive with identity `archive`, called `source`.
    #[must_use]
    pub fn with_archive(mut self, archive: &str, source: &str) -> Self {
        self.archive = Some(archive.to_owned());
        self.source = Some(source.to_owned());
        self
    }

    /// The same, for a run that writes a partial archive at `path`.
    #[must_use]
    pub fn with_partial(mut self, path: Option<&Path>) -> Self {
        use std::os::unix::ffi::OsStrExt;
        self.partial = path.map(|path| data_encoding::BASE64.encode(path.as_os_str().as_bytes()));
        self
    }

    /// Whether what it was about to make visible becomes so by `cleanup`: some of it may be already.
    pub fn rolls_forward(&self) -> bool {
        self.publish.len() > 1
    }

    /// The partial archive.
    pub fn partial_path(&self) -> Option<PathBuf> {
        use std::os::unix::ffi::OsStringExt;
        let bytes = data_encoding::BASE64.decode(self.partial.as_ref()?.as_bytes()).ok()?;
        Some(std::ffi::OsString::from_vec(bytes).into())
    }

    /// `process 4711 on host a (export of jail web01, since 2026-01-01T00:00:00Z)`.
    pub fn holder(&self) -> String {
        format!(
            "process {} on host {} ({} of {}, since {})",
            self.pid, self.host, self.operation, self.resource, self.since
        )
    }
}
