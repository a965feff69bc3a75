//! What a resource was cloned from.

use serde::{Deserialize, Serialize};

use super::ResourceKind;
use crate::change::Fingerprint;
use crate::resource::Selector;

/// What a resource's root, or one of its datasets, was cloned from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseRecord {
    /// A release, or a template; a release where nothing is said. Since version 1.4.
    #[serde(default = "release", skip_serializing_if = "is_release")]
    pub kind: ResourceKind,
    /// Its name.
    pub name: String,
    /// Name of its snapshot, without the dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
    /// The snapshot's GUID, where the backend has such.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guid: Option<String>,
    /// What it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
}

impl BaseRecord {
    /// The resource that it is a snapshot of.
    pub fn source(&self) -> Selector {
        Selector { kind: self.kind, name: self.name.clone() }
    }
}

fn release() -> ResourceKind {
    ResourceKind::Release
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde's form
fn is_release(kind: &ResourceKind) -> bool {
    *kind == ResourceKind::Release
}
