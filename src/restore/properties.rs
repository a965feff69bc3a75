//! Properties of a dataset that travel along.
//!
//! A manifest comes from outside, so only what cannot reach beyond the dataset is set again: never mountpoints, sharing,
//! delegation or keys, nor what gives rights or takes room from the pool for ever. What shapes how content is stored is set before
//! content is written; what could keep it from being written or mounted only when all of it is there. Whatever is not set is named.

use std::collections::BTreeMap;

use remand_backends::{Backend, BackendKind, Created};

use super::plan::Plan;
use crate::config::{Form, PREFIX};
use crate::error::{Error, Result};
use crate::event::Warning;
use crate::step::Steps;
use crate::undo::chain;

/// When a property is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// Before content is written: it decides how.
    Before,
    /// When all content is there: it could be in its way.
    After,
    /// Never, and there is nothing to tell: the content brings it along.
    Itself,
    /// Never.
    Never,
}

const BEFORE: [&str; 10] = [
    "acltype",
    "btrfs:compression",
    "checksum",
    "compression",
    "copies",
    "dnodesize",
    "recordsize",
    "redundant_metadata",
    "special_small_blocks",
    "xattr",
];

const AFTER: [&str; 22] = [
    "aclinherit",
    "aclmode",
    "atime",
    "canmount",
    "filesystem_limit",
    "logbias",
    "prefetch",
    "primarycache",
    "quota",
    "readonly",
    "refquota",
    "refreservation",
    "relatime",
    "reservation",
    "secondarycache",
    "snapdev",
    "snapdir",
    "snapshot_limit",
    "sync",
    "volmode",
    "volthreading",
    "vscan",
];

/// These may take rights away, and not give them.
const RIGHTS: [&str; 3] = ["devices", "exec", "setuid"];

/// Set when a dataset is made, or by its stream.
const ITSELF: [&str; 6] =
    ["casesensitivity", "normalization", "utf8only", "version", "volblocksize", "volsize"];

fn when(name: &str, value: &str, native: bool) -> When {
    // A user property has a colon; remand's own marks are not the resource's.
    let user = name.contains(':')
        && !name.starts_with("org.remand:")
        && name.len() < 256
        && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b':' | b'.' | b'_' | b'-'))
        && !name.starts_with('-');
    match name {
        _ if BEFORE.contains(&name) => When::Before,
        _ if user || AFTER.contains(&name) => When::After,
        _ if RIGHTS.contains(&name) && value == "off" => When::After,
        _ if native && ITSELF.contains(&name) => When::Itself,
        _ => When::Never,
    }
}

/// What may be set before content comes, for a dataset that is made by receiving a stream.
pub(super) fn shaping(properties: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let shapes = |name: &str, value: &str| when(name, value, true) == When::Before;
    let found = properties.iter().filter(|(name, value)| shapes(name, value));
    found.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Makes properties of the resource's own dataset its config. Without them it would be no jail, so they must be set.
pub(super) fn set_config(
    backend: &dyn Backend,
    created: &Created,
    all: &BTreeMap<String, String>,
    steps: &Steps<'_>,
) -> Result<()> {
    for (name, value) in all {
        let failed = Error::backend(format!("set the property {name}"));
        backend.set_property(created, name, value).map_err(failed)?;
    }
    if backend.kind() != BackendKind::Zfs {
        let message = "it is properties, which this pool only remembers: remand alone sees it here";
        steps.notice(Form::Properties.member(), message.into());
    }
    Ok(())
}

/// Sets the properties of one dataset: first those that shape content, in the end all others.
#[derive(Debug)]
pub(super) struct Setting {
    /// What messages call the dataset.
    subject: String,
    properties: BTreeMap<String, String>,
    /// Whether its content came as a native stream.
    native: bool,
    /// Those that the backend does not know.
    unknown: Vec<String>,
}

impl Setting {
    pub(super) fn new(subject: &str, properties: &BTreeMap<String, String>, native: bool) -> Self {
        Self { subject: subject.to_owned(), properties: properties.clone(), native, unknown: Vec::new() }
    }

    /// Of the resource's own dataset. Those that are its config come from the config's member alone.
    pub(super) fn of_own(plan: &Plan) -> Self {
        let mut setting = Self::new(&plan.name, &plan.record.properties, false);
        if plan.form == Some(Form::Properties) {
            setting.properties.retain(|name, _| !name.starts_with(PREFIX));
        }
        setting
    }

    /// Before content is written, or as soon as there is a dataset.
    pub(super) fn before(&mut self, backend: &dyn Backend, created: &Created, steps: &Steps<'_>) {
        self.set(When::Before, backend, created, steps);
    }

    /// When all content is there. What was not set is named.
    pub(super) fn after(&mut self, backend: &dyn Backend, created: &Created, steps: &Steps<'_>) {
        self.set(When::After, backend, created, steps);
        if backend.kind() == BackendKind::Dir && !self.properties.is_empty() {
            let names: Vec<&str> = self.properties.keys().map(String::as_str).collect();
            let message =
                format!("this pool only remembers properties; without effect here: {}", names.join(", "));
            steps.notice(&self.subject, message);
        }
        if !self.unknown.is_empty() {
            let names = self.unknown.join(", ");
            steps.notice(&self.subject, format!("this pool has no such properties; not set: {names}"));
        }
        let never: Vec<&str> = self.at(When::Never).map(|(name, _)| name).collect();
        if !never.is_empty() {
            let names = never.join(", ");
            steps.notice(
                &self.subject,
                format!("not taken over, since it reaches beyond the dataset: {names}"),
            );
        }
    }

    fn at(&self, wanted: When) -> impl Iterator<Item = (&str, &str)> {
        let all = self.properties.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        all.filter(move |(name, value)| when(name, value, self.native) == wanted)
    }

    fn set(&mut self, at: When, backend: &dyn Backend, created: &Created, steps: &Steps<'_>) {
        let mut unknown = Vec::new();
        for (name, value) in self.at(at) {
            match backend.set_property(created, name, value) {
                Ok(()) => {}
                Err(remand_backends::Error::Unsupported { .. }) => unknown.push(name.to_owned()),
                Err(error) => {
                    let message = format!("the property {name} could not be set: {}", chain(&error));
                    steps.warn(&Warning { subject: self.subject.clone(), message });
                }
            }
        }
        self.unknown.append(&mut unknown);
    }
}

#[cfg(test)]
mod tests {
    use super::{When, shaping, when};

    #[test]
    fn what_reaches_beyond_the_dataset_is_never_set() {
        for (name, value) in [
            ("mountpoint", "/etc"),
            ("sharenfs", "on"),
            ("sharesmb", "on"),
            ("setuid", "on"),
            ("exec", "on"),
            ("devices", "on"),
            ("jailed", "on"),
            ("overlay", "on"),
            ("keylocation", "https://example.com/key"),
            ("org.remand:run", "x"),
            ("-o:x", "x"),
            ("a:b=c", "x"),
        ] {
            assert_eq!(when(name, value, true), When::Never, "{name}");
        }
    }

    #[test]
    fn what_shapes_content_comes_first_and_what_limits_it_last() {
        for name in ["compression", "recordsize", "xattr", "acltype", "copies"] {
            assert_eq!(when(name, "x", false), When::Before, "{name}");
        }
        // As long as the name of a property may be.
        let (longest, too_long) = (format!("a:{}", "b".repeat(253)), format!("a:{}", "b".repeat(254)));
        assert_eq!((when(&longest, "x", false), when(&too_long, "x", false)), (When::After, When::Never));
        for name in ["quota", "reservation", "canmount", "com.example:note"] {
            assert_eq!(when(name, "x", false), When::After, "{name}");
        }
        for name in ["readonly", "exec", "setuid", "devices"] {
            let taken = if name == "readonly" { "on" } else { "off" };
            assert_eq!(when(name, taken, false), When::After, "{name}");
        }
        assert_eq!(when("volsize", "1048576", true), When::Itself);
        assert_eq!(when("volsize", "1048576", false), When::Never);
    }

    #[test]
    fn what_a_stream_is_received_with_is_what_shapes_content() {
        let all = [("compression", "lz4"), ("copies", "2"), ("mountpoint", "/etc"), ("quota", "1G")];
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        assert_eq!(shaping(&map(&all)), map(&all[..2]));
        assert_eq!(shaping(&map(&all[2..])), map(&[]));
    }
}
