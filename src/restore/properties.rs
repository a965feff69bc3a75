//! Properties of a dataset that travel along.
//!
//! A manifest comes from outside, so only what cannot reach beyond the dataset is set again: never mountpoints, sharing, delegation,
//! or what the stream or the target itself decides.

use remand_backends::{Backend, BackendKind, Created};

use super::plan::Target;
use crate::event::Warning;
use crate::step::Steps;
use crate::undo::chain;

const SAFE: [&str; 21] = [
    "aclinherit",
    "aclmode",
    "acltype",
    "atime",
    "checksum",
    "compression",
    "copies",
    "dnodesize",
    "logbias",
    "primarycache",
    "quota",
    "recordsize",
    "redundant_metadata",
    "refquota",
    "refreservation",
    "relatime",
    "reservation",
    "secondarycache",
    "snapdir",
    "sync",
    "xattr",
];

/// A user property has a colon; remand's own marks are not the resource's.
fn is_safe(name: &str) -> bool {
    let user = name.contains(':')
        && !name.starts_with("org.remand:")
        && name.len() < 256
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b':' | b'.' | b'_' | b'-'))
        && !name.starts_with('-');
    user || SAFE.contains(&name)
}

/// Sets what is safe; what the target refuses is a warning.
pub(super) fn set(backend: &dyn Backend, created: &Created, target: &Target, steps: &Steps<'_>) {
    if backend.kind() != BackendKind::Zfs {
        if !target.properties.is_empty() {
            let names: Vec<&str> = target.properties.keys().map(String::as_str).collect();
            steps.notice(&target.name, format!("this pool has no properties; not set: {}", names.join(", ")));
        }
        return;
    }
    for (name, value) in &target.properties {
        if !is_safe(name) {
            continue;
        }
        if let Err(error) = backend.set_property(created, name, value) {
            let message = format!("the property {name} could not be set: {}", chain(&error));
            steps.warn(&Warning { subject: target.name.clone(), message });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_safe;

    #[test]
    fn what_reaches_beyond_the_dataset_is_not_set() {
        for name in ["quota", "compression", "com.example:note"] {
            assert!(is_safe(name), "{name}");
        }
        for name in [
            "mountpoint",
            "canmount",
            "sharenfs",
            "setuid",
            "exec",
            "jailed",
            "org.remand:run",
            "-o:x",
            "a:b=c",
        ] {
            assert!(!is_safe(name), "{name}");
        }
    }
}
