//! What is remembered of one export of one resource: in the pool's records, and in the manifests of later archives.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};

/// One export of one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ExportRecord {
    /// Its number: 1, 2, 3… for each resource, never given twice by one pool. None where the pool could not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    /// Identity of the archive.
    pub archive: String,
    /// Name that the resource had, where it has another one now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Host where it was exported.
    pub host: String,
    /// Identity of the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The snapshot that it was read from; none where the backend has no snapshots.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// When it began, RFC 3339 in UTC.
    pub begun: String,
    /// When it ended; none where that is not known, or it goes on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// Version of remand.
    pub tool: String,
    /// The options that it was made with.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: BTreeMap<String, serde_json::Value>,
    /// What it is a difference from: `14.2-RELEASE@p3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Index lines.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Index lines with a member.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub members: Option<u64>,
    /// Bytes of content in all members.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_bytes: Option<u64>,
    /// Bytes that the whole archive takes, with all its resources.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive_bytes: Option<u64>,
    /// Digest of the archive's seal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
    /// Where it was written to: an absolute path where it is UTF-8, `-` for standard output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<String>,
    /// The same path as BASE64, where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_b64: Option<String>,
    /// How it ended.
    pub result: ExportResult,
    /// What went wrong, or was warned of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// How an export ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportResult {
    /// Not yet.
    Running,
    /// Nothing was lost.
    Done,
    /// Something is not in the archive, or not as it was.
    Warnings,
    /// There is no archive, or the resource is not in it.
    Failed,
    /// The user stopped it, or its process is gone.
    Interrupted,
    /// Something that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl ExportResult {
    /// Every result.
    pub const ALL: [Self; 6] =
        [Self::Running, Self::Done, Self::Warnings, Self::Failed, Self::Interrupted, Self::Unknown];

    /// As in a manifest.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Warnings => "warnings",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Unknown => "unknown",
        }
    }
}

impl ExportRecord {
    /// Says where it was written to: a path's bytes, or `-`.
    pub fn set_destination(&mut self, bytes: &[u8]) {
        let text = std::str::from_utf8(bytes).ok();
        self.destination = text.map(str::to_owned);
        self.destination_b64 = text.is_none().then(|| BASE64.encode(bytes));
    }

    /// The bytes of where it was written to; `None` if it is not known.
    pub fn destination(&self) -> Option<Vec<u8>> {
        match (&self.destination, &self.destination_b64) {
            (Some(path), _) => Some(path.clone().into_bytes()),
            (None, Some(path)) => BASE64.decode(path.as_bytes()).ok(),
            (None, None) => None,
        }
    }
}

/// An archive that another tool wrote. Its manifest, index and seal are made while it is read, so they prove nothing of
/// what came before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Foreign {
    /// Which tool's: `libioc`, `iocage`.
    pub tool: String,
    /// Its form, for people.
    pub form: String,
    /// What it cannot guarantee, each as a sentence.
    pub limits: Vec<String>,
    /// What else there is to know, each as a sentence: nothing is lost by it.
    pub notices: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_json_and_newer_ones_are_read() {
        let mut record = ExportRecord { revision: Some(3), begun: "b".into(), ..ExportRecord::default() };
        record.set_destination(b"/backup/\xff.tar");
        let json = serde_json::to_string(&record).unwrap();
        let back: ExportRecord = serde_json::from_str(&json).unwrap();
        assert_eq!(back, record);
        assert_eq!(back.destination().unwrap(), b"/backup/\xff.tar");
        let newer: ExportRecord = serde_json::from_str(r#"{"result":"pending","color":"red"}"#).unwrap();
        assert_eq!(newer.result, ExportResult::Unknown);
        for result in ExportResult::ALL {
            assert_eq!(serde_json::to_value(result).unwrap(), result.name());
        }
    }
}
