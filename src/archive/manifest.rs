//! The manifest: what an archive holds, readable from the head of a pipe.
//!
//! Readers ignore fields that they do not know, and refuse a newer major version.

mod base;

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

use super::bounds::is_manifest_too_big;
pub use super::record::{ExportRecord, ExportResult, Foreign};
use crate::config::View;
pub use base::BaseRecord;

/// Value of [`Manifest::format`].
pub const FORMAT: &str = "remand-archive";
/// Newest major version of the format that this library reads, and the one it writes.
pub const MAJOR: u32 = 1;
/// Minor version that it writes.
pub const MINOR: u32 = 4;

/// Features of archives that this library knows, and that a manifest may require. Each names something that a reader must not ignore and
/// that came in a minor version.
pub const FEATURES: [&str; 1] = [TEMPLATES];

/// A resource is a template, or was cloned from one. Since version 1.4.
pub const TEMPLATES: &str = "templates";

/// `./manifest.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Always [`FORMAT`].
    pub format: String,
    /// Version of the format.
    pub version: Version,
    /// Features that a reader must know to read the archive rightly; see [`FEATURES`]. Since version 1.2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// What wrote the archive.
    pub tool: Tool,
    /// Random identity of this archive, 32 hexadecimal digits.
    pub id: String,
    /// When the export began, RFC 3339 in UTC.
    pub created: String,
    /// Where.
    pub host: Host,
    /// What is in it. Nothing but the index says of one that it failed after the manifest was written
    /// ([`Failure`](super::Failure)).
    pub resources: Vec<ResourceRecord>,
    /// Whether all of it was read as of one moment. Since version 1.2; before, an archive held one resource, which said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consistent: Option<bool>,
    /// What was asked for and is not in it, because it failed before the manifest was written. Since version 1.2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<FailedRecord>,
    /// Who signs the seal: a public key in the form of [`PublicKey`](crate::sign::PublicKey). Whether that is somebody to trust is
    /// for the reader to know. Since version 1.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// The options that it was made with, for people.
    #[serde(default)]
    pub options: BTreeMap<String, serde_json::Value>,
    /// What another tool's archive cannot guarantee. No archive says this of itself: it is set by the reader that adapts such a one.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub foreign: Option<Foreign>,
}

/// A resource that is not in an archive though it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedRecord {
    /// Kind.
    pub kind: ResourceKind,
    /// Name.
    pub name: String,
    /// What went wrong.
    pub error: String,
}

/// Version of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Changes when older readers cannot read on.
    pub major: u32,
    /// Changes when something is added that older readers may ignore.
    pub minor: u32,
}

/// A program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// `remand`.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Host {
    /// Host name.
    pub name: String,
    /// `FreeBSD`, `Linux`.
    pub os: String,
    /// Kernel release.
    pub release: String,
    /// `amd64`, `x86_64`, as the system calls it.
    pub architecture: String,
}

/// What a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResourceKind {
    /// A jail.
    Jail,
    /// A jail that others are cloned from. Since version 1.4.
    Template,
    /// A release.
    Release,
    /// A dataset or directory without config.
    Plain,
}

/// How a root travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// What differs from the base.
    Differential,
    /// Everything.
    Standalone,
}

/// One resource of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceRecord {
    /// Kind.
    pub kind: ResourceKind,
    /// Name.
    pub name: String,
    /// Layout of the pool that it came from (`libioc`).
    pub layout: String,
    /// Backend of that pool (`zfs`, `btrfs`, `dir`).
    pub backend: String,
    /// Mountpoint of the resource's own directory on its host: what `backup:///` stands for.
    pub mountpoint: String,
    /// Directory of the archive that its members are in: `./`, or `./jails/NAME/` where there are several resources.
    pub prefix: String,
    /// How its root travels.
    pub mode: Mode,
    /// The base, in a differential archive; where known also in a standalone one, for information.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseRecord>,
    /// Of a release that is in the archive because others of it are built on it, and for nothing else: it as their base. A restore makes it only
    /// where it is needed. A reader that ignores this takes it for a release that was asked for. Since version 1.3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub as_base: Option<BaseRecord>,
    /// The snapshot that everything was read from; none where the backend has no snapshots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// When the snapshot was made, or the live tree began to be read: RFC 3339 in UTC. Since version 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<String>,
    /// Whether all datasets were read as of one moment.
    pub consistent: bool,
    /// Member of the config, below the prefix (`config.json`, `config`, `properties.json`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// What the config says, with the defaults of its pool. Since version 1.4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub view: Option<View>,
    /// Member of the fstab, below the prefix (`fstab`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fstab: Option<String>,
    /// Directories of the root that belong to a release, which is mounted there while a basejail runs. What is in them is
    /// neither compared nor in the archive.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub base_directories: Vec<BaseDirectory>,
    /// Properties that were set locally on the dataset of its own directory. Since version 1.1.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
    /// Datasets, the root first, then by name.
    pub datasets: Vec<DatasetRecord>,
    /// The number of this export among those of the resource, see [`ExportRecord::revision`]. Since version 1.2, as is what
    /// follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Its tags, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// What somebody noted of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Whether those who prune archives are asked to leave its own alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
    /// Its earlier exports, the newest first, 20 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<ExportRecord>,
}

/// A directory whose content belongs to a release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseDirectory {
    /// Path in the root: `bin`, `usr/lib`.
    pub path: String,
    /// Whether it was empty beneath the mount. If so it is restored empty; otherwise, or where that could not be seen, it
    /// has what the base has there.
    #[serde(default)]
    pub empty: bool,
}

/// How a dataset is in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// The entries that differ from the base, below the member.
    Delta,
    /// All entries, below the member.
    Tree,
    /// A native stream of zfs-send(8): of the oldest snapshot that travels along, and where there are more a second one
    /// behind it with the rest.
    Zfs,
    /// A native stream of btrfs-send(8).
    Btrfs,
    /// Nothing: it is an unchanged clone of a release's dataset, which the restore clones again.
    Base,
}

impl Encoding {
    /// As in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Delta => "delta",
            Self::Tree => "tree",
            Self::Zfs => "zfs",
            Self::Btrfs => "btrfs",
            Self::Base => "base",
        }
    }

    /// Whether it is a native stream, which only the backend can receive that made it.
    pub fn is_native(self) -> bool {
        matches!(self, Self::Zfs | Self::Btrfs)
    }
}

/// One dataset of a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatasetRecord {
    /// Name relative to the resource: `root`, `data`, `data/db`.
    pub name: String,
    /// How it is in the archive.
    pub encoding: Encoding,
    /// The member, or the directory that its members are in, below the prefix: `root`, `root.tree`, `data.zfs`. Empty
    /// where it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub member: String,
    /// What it is a clone of, where the restore clones it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseRecord>,
    /// Whether it is a volume (a block device) and not a file system.
    #[serde(default)]
    pub volume: bool,
    /// Flags of its entries that a native stream does not hold. Since version 1.1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<EntryFlags>,
    /// Properties that were set locally.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
    /// Names of its own snapshots that travel along, oldest first.
    #[serde(default)]
    pub snapshots: Vec<String>,
    /// Bytes of content that its members hold, where that was known when the manifest was completed. Since version 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// File flags of an entry of a dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryFlags {
    /// Path in the dataset, where it is UTF-8; "" is its root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Path in the dataset as BASE64, where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path_b64: Option<String>,
    /// Names of the flags, as in an index line.
    pub flags: String,
}

impl EntryFlags {
    /// Flags of the entry at these bytes.
    pub fn new(path: &[u8], flags: String) -> Self {
        match std::str::from_utf8(path) {
            Ok(path) => Self { path: Some(path.to_owned()), path_b64: None, flags },
            Err(_) => Self { path: None, path_b64: Some(BASE64.encode(path)), flags },
        }
    }

    /// The path's bytes; `None` if it is told in neither form, or in both.
    pub fn path(&self) -> Option<Vec<u8>> {
        match (&self.path, &self.path_b64) {
            (Some(path), None) => Some(path.clone().into_bytes()),
            (None, Some(path)) => BASE64.decode(path.as_bytes()).ok(),
            _ => None,
        }
    }
}

/// Most values of all options together: they take more memory than anything else in a manifest, and are for people.
const MAX_OPTION_VALUES: usize = 10_000;

fn values_in(value: &serde_json::Value) -> usize {
    use serde_json::Value as V;
    match value {
        V::Array(values) => 1 + values.iter().map(values_in).sum::<usize>(),
        V::Object(values) => 1 + values.values().map(values_in).sum::<usize>(),
        _ => 1,
    }
}

/// A manifest that cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// It is no manifest.
    #[error("its manifest cannot be understood: {0}")]
    Damaged(String),
    /// It is one of something else, or of a newer version.
    #[error("{0}")]
    Refused(String),
}

impl ResourceRecord {
    /// Features that a reader of it must know.
    pub fn requires(&self) -> Option<&'static str> {
        let templates = self.base.as_ref().is_some_and(|base| base.kind == ResourceKind::Template);
        (templates || self.kind == ResourceKind::Template).then_some(TEMPLATES)
    }
}

impl Manifest {
    /// The manifest's bytes: indented JSON, because people read it.
    pub(super) fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("text and numbers always have a JSON form");
        json.push(b'\n');
        json
    }

    /// When the export began, in seconds since 1970; 0 where it is no time.
    pub(crate) fn created_seconds(&self) -> i64 {
        self.created.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_second)
    }

    /// Takes a manifest's bytes apart. The version is looked at first, since a newer one may have any other form.
    pub(super) fn from_json(json: &[u8]) -> Result<Self, Unusable> {
        #[derive(Deserialize)]
        struct Head {
            format: String,
            version: Version,
            #[serde(default)]
            tool: serde_json::Value,
            #[serde(default)]
            requires: Vec<String>,
        }
        if is_manifest_too_big(json) {
            return Err(Unusable::Refused("its manifest is too big".to_owned()));
        }
        let head: Head =
            serde_json::from_slice(json).map_err(|error| Unusable::Damaged(error.to_string()))?;
        if head.format != FORMAT {
            return Err(Unusable::Refused(format!(
                "its manifest is of a {:?}, not of a {FORMAT}",
                head.format
            )));
        }
        let Version { major, minor } = head.version;
        let by = match (head.tool["name"].as_str(), head.tool["version"].as_str()) {
            (Some(name), Some(version)) => format!(", written by {} {}", printable(name), printable(version)),
            _ => String::new(),
        };
        if major > MAJOR {
            return Err(Unusable::Refused(format!(
                "it is of format version {major}.{minor}{by}, and this remand reads versions up to {MAJOR}"
            )));
        }
        let unknown = head.requires.iter().filter(|feature| !FEATURES.contains(&feature.as_str()));
        let unknown: Vec<_> = unknown.map(|feature| printable(feature)).collect();
        if !unknown.is_empty() {
            return Err(Unusable::Refused(format!(
                "it is of format version {major}.{minor}{by}, and requires what this remand, which writes {MAJOR}.{MINOR}, does not know: {}",
                unknown.join(", ")
            )));
        }
        let manifest: Self = serde_json::from_slice(json).map_err(|error| {
            if minor <= MINOR {
                return Unusable::Damaged(error.to_string());
            }
            Unusable::Refused(format!(
                "it is of format version {major}.{minor}, and holds what this remand, which writes {MAJOR}.{MINOR}, does \
                 not know: {error}"
            ))
        })?;
        if manifest.options.values().map(values_in).sum::<usize>() > MAX_OPTION_VALUES {
            return Err(Unusable::Refused("its manifest has too many options".to_owned()));
        }
        Ok(manifest)
    }
}

fn printable(text: &str) -> String {
    crate::tree::path::printable(text.as_bytes())
}

#[cfg(test)]
mod tests;
