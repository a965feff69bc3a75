//! `remand info`.

use std::fmt::Write as _;

use remand::archive::Manifest;
use remand::archive::manifest::{DatasetRecord, Encoding, Mode, ResourceRecord};
use remand::resource::kind_name;
use remand::verify::info;
use serde_json::json;

use super::args::Info;
use super::failure::Failure;
use super::render::{Outcome, escape::safe, table::table, units};
use super::{Session, archive_name, input};

pub(super) fn run(session: &Session, args: &Info) -> Result<Outcome, Failure> {
    let manifest = info(input(&args.source, &session.interrupted)?, &session.interrupted)?;
    let mut outcome = Outcome::default();
    outcome.result.insert("command".into(), "info".into());
    if session.console.is_json() {
        session.console.record("manifest", &json!(manifest))?;
    } else {
        session.console.data(&page(&archive_name(&args.source), &manifest))?;
    }
    Ok(outcome)
}

/// A field of the page.
fn field(out: &mut String, name: &str, value: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{name:<14}{}", safe(value));
}

fn page(name: &str, manifest: &Manifest) -> String {
    let mut out = String::new();
    let host = &manifest.host;
    let system = [&host.os, &host.release, &host.architecture].map(String::as_str).join(" ");
    field(&mut out, "archive", name);
    field(&mut out, "format", &format!("version {}.{}", manifest.version.major, manifest.version.minor));
    field(&mut out, "made by", &format!("{} {}", manifest.tool.name, manifest.tool.version));
    field(&mut out, "on", &format!("{} ({})", host.name, system.trim()));
    field(&mut out, "at", &manifest.created);
    field(&mut out, "id", &manifest.id);
    if !manifest.options.is_empty() {
        let options: Vec<_> =
            manifest.options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        field(&mut out, "options", &options.join(" "));
    }
    for resource in &manifest.resources {
        out.push('\n');
        resource_page(&mut out, resource);
    }
    out
}

fn resource_page(out: &mut String, resource: &ResourceRecord) {
    field(out, kind_name(resource.kind), &resource.name);
    let mode = match resource.mode {
        Mode::Differential => "differential: the base is needed to restore it",
        Mode::Standalone => "standalone: no base is needed",
    };
    field(out, "mode", mode);
    if let Some(base) = &resource.base {
        let snapshot = base.snapshot.as_ref().map(|snapshot| format!("@{snapshot}")).unwrap_or_default();
        field(out, "base", &format!("{}{snapshot}", base.name));
        if let Some(guid) = &base.guid {
            field(out, "  guid", guid);
        }
        if let Some(fingerprint) = &base.fingerprint {
            field(out, "  fingerprint", &fingerprint.digest.to_string());
            field(out, "  entries", &units::count(fingerprint.entries));
        }
    }
    field(
        out,
        "from",
        &format!("{} ({}, {} layout)", resource.mountpoint, resource.backend, resource.layout),
    );
    let moment = match (&resource.snapshot, resource.consistent) {
        (Some(snapshot), true) => format!("{snapshot}, all datasets of one moment"),
        (Some(snapshot), false) => format!("{snapshot}, datasets one after the other"),
        (None, _) => "none: read from the live files".into(),
    };
    field(out, "snapshot", &moment);
    let parts: Vec<&str> = resource.config.iter().chain(&resource.fstab).map(String::as_str).collect();
    if !parts.is_empty() {
        field(out, "config", &parts.join(", "));
    }
    if !resource.base_directories.is_empty() {
        let paths: Vec<_> =
            resource.base_directories.iter().map(|directory| directory.path.as_str()).collect();
        field(out, "basejail", &format!("without what the release has in {}", paths.join(", ")));
    }
    out.push_str("datasets\n");
    let rows: Vec<_> = resource.datasets.iter().map(|dataset| dataset_row(resource, dataset)).collect();
    for line in table(["NAME", "AS", "MEMBER", "SNAPSHOTS", "PROPERTIES"], &rows).lines() {
        let _ = writeln!(out, "  {line}");
    }
}

fn dataset_row(resource: &ResourceRecord, dataset: &DatasetRecord) -> [String; 5] {
    let encoding = match dataset.encoding {
        Encoding::Delta => "differences",
        Encoding::Tree => "files",
        Encoding::Zfs => "zfs stream",
        Encoding::Btrfs => "btrfs stream",
        Encoding::Base => "clone of its release's",
    };
    let volume = if dataset.volume { " (volume)" } else { "" };
    [
        format!("{}{volume}", dataset.name),
        encoding.into(),
        match dataset.member.as_str() {
            "" => "-".into(),
            member => format!("{}{member}", resource.prefix),
        },
        units::count(dataset.snapshots.len() as u64),
        dataset
            .properties
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect::<Vec<_>>()
            .join(" "),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_readable_and_safe() {
        let manifest: Manifest = serde_json::from_value(json!({
            "format": "remand-archive",
            "version": { "major": 1, "minor": 0 },
            "tool": { "name": "remand", "version": "0.1.0" },
            "id": "00112233445566778899aabbccddeeff",
            "created": "2026-01-02T03:04:05Z",
            "host": { "name": "host-a\u{1b}[2J", "os": "FreeBSD", "release": "14.2-RELEASE", "architecture": "amd64" },
            "options": { "recursive": true },
            "resources": [{
                "kind": "jail", "name": "web01", "layout": "libioc", "backend": "zfs",
                "mountpoint": "/iocage/jails/web01", "prefix": "./", "mode": "differential",
                "base": { "name": "14.2-RELEASE", "snapshot": "p3", "guid": "1234" },
                "snapshot": "remand-20260102T030405Z-0a1b2c3d", "consistent": true,
                "config": "config.json", "fstab": "fstab",
                "datasets": [
                    { "name": "root", "encoding": "delta", "member": "root" },
                    { "name": "data", "encoding": "zfs", "member": "data.zfs", "snapshots": ["a", "b"],
                      "properties": { "recordsize": "16K" } }
                ]
            }]
        }))
        .unwrap();
        insta::assert_snapshot!("info_page", page("web01.tar.gz", &manifest));
    }
}
