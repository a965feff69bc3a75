//! `remand info`.

use std::fmt::Write as _;

use remand::archive::manifest::{DatasetRecord, Encoding, ExportRecord, Mode, ResourceRecord};
use remand::archive::{Manifest, Signed};
use remand::config::{Address, View};
use remand::resource::{kind_name, label};
use remand::verify::info;
use serde_json::json;

use super::args::Info;
use super::failure::Failure;
use super::keys::{claimed_signer, comment, signature_record};
use super::render::{Outcome, escape::safe, table::table, units};
use super::{Session, archive_name, input, log};

pub(super) fn run(session: &Session, args: &Info) -> Result<Outcome, Failure> {
    let keys = args.opening.keys(&args.settings.config()?)?;
    let (manifest, signed) =
        info(input(&args.source, &session.interrupted)?.with(keys), &session.interrupted)?;
    let mut outcome = Outcome::default();
    outcome.result.insert("command".into(), "info".into());
    if signed.is_some() {
        outcome.result.insert("signature".into(), signature_record(signed.as_ref()));
    }
    if session.console.is_json() {
        session.console.record("manifest", &json!(manifest))?;
    } else {
        session.console.data(&page(&archive_name(&args.source), &manifest, signed.as_ref()))?;
    }
    Ok(outcome)
}

/// A field of the page.
fn field(out: &mut String, name: &str, value: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{name:<14}{}", safe(value));
}

fn page(name: &str, manifest: &Manifest, signed: Option<&Signed>) -> String {
    let mut out = String::new();
    let host = &manifest.host;
    let system = [&host.os, &host.release, &host.architecture].map(String::as_str).join(" ");
    field(&mut out, "archive", name);
    let version = format!("version {}.{}", manifest.version.major, manifest.version.minor);
    let foreign = manifest.foreign.as_ref();
    field(&mut out, "format", foreign.map_or(&version, |foreign| &foreign.form));
    field(&mut out, "made by", format!("{} {}", manifest.tool.name, manifest.tool.version).trim_end());
    // Neither a reproducible archive nor one of another tool says it.
    if !host.name.is_empty() {
        field(&mut out, "on", &format!("{} ({})", host.name, system.trim()));
    }
    field(&mut out, "at", &manifest.created);
    field(&mut out, "id", &manifest.id);
    if let Some(signed) = signed {
        field(&mut out, "signed by", &format!("{} (trusted)", signed.key.id()));
        field(&mut out, "  saying", &comment(signed));
    } else if let Some(signer) = claimed_signer(manifest) {
        field(&mut out, "signed by", &signer);
    }
    if !manifest.options.is_empty() {
        let options: Vec<_> =
            manifest.options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        field(&mut out, "options", &options.join(" "));
    }
    if manifest.resources.len() > 1 {
        let moment = if manifest.consistent == Some(true) {
            "all resources of one moment"
        } else {
            "resources one after the other"
        };
        field(&mut out, "resources", &format!("{}, {moment}", units::count(manifest.resources.len() as u64)));
    }
    if let Some(foreign) = foreign {
        for (number, limit) in foreign.limits.iter().enumerate() {
            field(&mut out, if number == 0 { "limits" } else { "" }, limit);
        }
        for (number, notice) in foreign.notices.iter().enumerate() {
            field(&mut out, if number == 0 { "notes" } else { "" }, notice);
        }
    }
    for failed in &manifest.failed {
        field(&mut out, "missing", &format!("{}: {}", label(failed.kind, &failed.name), failed.error));
    }
    for resource in &manifest.resources {
        out.push('\n');
        resource_page(&mut out, resource);
    }
    out
}

fn resource_page(out: &mut String, resource: &ResourceRecord) {
    field(out, kind_name(resource.kind), &resource.name);
    annotations(out, resource);
    let mode = match resource.mode {
        Mode::Differential => "differential: the base is needed to restore it",
        Mode::Standalone => "standalone: no base is needed",
    };
    field(out, "mode", mode);
    if resource.as_base.is_some() {
        field(out, "role", "the base of others here: it is restored only where it is needed");
    }
    if let Some(base) = &resource.base {
        let snapshot = base.snapshot.as_ref().map(|snapshot| format!("@{snapshot}")).unwrap_or_default();
        field(out, "base", &format!("{}{snapshot}", base.source().base_label()));
        if let Some(guid) = &base.guid {
            field(out, "  guid", guid);
        }
        if let Some(fingerprint) = &base.fingerprint {
            field(out, "  fingerprint", &fingerprint.digest.to_string());
            field(out, "  entries", &units::count(fingerprint.entries));
        }
    }
    let place =
        if resource.mountpoint.is_empty() { "a place that is not told" } else { &resource.mountpoint };
    field(out, "from", &format!("{place} ({}, {} layout)", resource.backend, resource.layout));
    let moment = match (&resource.snapshot, resource.consistent) {
        (Some(snapshot), true) => format!("{snapshot}, all datasets of one moment"),
        (Some(snapshot), false) => format!("{snapshot}, datasets one after the other"),
        (None, _) => "none: read from the live files".into(),
    };
    field(out, "snapshot", &moment);
    if let Some(taken) = &resource.taken {
        field(out, "taken", taken);
    }
    let parts: Vec<&str> = resource.config.iter().chain(&resource.fstab).map(String::as_str).collect();
    if !parts.is_empty() {
        field(out, "config", &parts.join(", "));
    }
    if let Some(view) = &resource.view {
        view_fields(out, view);
    }
    if !resource.base_directories.is_empty() {
        let paths: Vec<_> =
            resource.base_directories.iter().map(|directory| directory.path.as_str()).collect();
        field(out, "basejail", &format!("without what the release has in {}", paths.join(", ")));
    }
    out.push_str("datasets\n");
    let rows: Vec<_> = resource.datasets.iter().map(|dataset| dataset_row(resource, dataset)).collect();
    for line in table(["NAME", "AS", "SIZE", "MEMBER", "SNAPSHOTS", "PROPERTIES"], &rows).lines() {
        let _ = writeln!(out, "  {line}");
    }
    if !resource.records.is_empty() {
        out.push_str("earlier exports\n");
        let rows: Vec<_> = resource.records.iter().map(export_row).collect();
        for line in table(["REV", "BEGUN", "HOST", "BASE", "SIZE", "DESTINATION", "RESULT"], &rows).lines() {
            let _ = writeln!(out, "  {line}");
        }
    }
}

/// What the config says.
fn view_fields(out: &mut String, view: &View) {
    field(out, "  boot", if view.boot { "yes" } else { "no" });
    if let Some(kind) = &view.basejail {
        field(out, "  basejail", kind);
    }
    if view.template {
        field(out, "  template", "yes");
    }
    let addresses: Vec<_> = view.ip4.iter().chain(&view.ip6).map(Address::text).collect();
    if !addresses.is_empty() {
        field(out, "  addresses", &addresses.join(", "));
    }
}

/// Revision, tags, note and keep flag.
fn annotations(out: &mut String, resource: &ResourceRecord) {
    if let Some(revision) = resource.revision {
        field(out, "revision", &revision.to_string());
    }
    if !resource.tags.is_empty() {
        field(out, "tags", &resource.tags.join(", "));
    }
    if resource.keep {
        field(out, "keep", "yes");
    }
    for (number, line) in resource.note.iter().flat_map(|note| note.lines()).enumerate() {
        field(out, if number == 0 { "note" } else { "" }, line);
    }
}

fn export_row(export: &ExportRecord) -> [String; 7] {
    [
        log::revision(export),
        export.begun.clone(),
        export.host.clone(),
        export.base.clone().unwrap_or_else(|| "-".into()),
        export.archive_bytes.map_or_else(|| "-".into(), units::bytes),
        log::destination(export),
        log::result(export),
    ]
}

fn dataset_row(resource: &ResourceRecord, dataset: &DatasetRecord) -> [String; 6] {
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
        dataset.bytes.map_or_else(|| "-".into(), units::bytes),
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
                "view": {
                    "boot": true, "basejail": "nullfs", "template": true,
                    "ip4": [{ "interface": "vnet0", "address": "192.0.2.7/24" }, { "address": "dhcp" }]
                },
                "datasets": [
                    { "name": "root", "encoding": "delta", "member": "root" },
                    { "name": "data", "encoding": "zfs", "member": "data.zfs", "snapshots": ["a", "b"],
                      "properties": { "recordsize": "16K" } }
                ]
            }]
        }))
        .unwrap();
        insta::assert_snapshot!("info_page", page("web01.tar.gz", &manifest, None));
    }

    #[test]
    fn the_page_of_several_shows_what_people_gave_them() {
        let resource = |name: &str| {
            json!({
                "kind": "jail", "name": name, "layout": "libioc", "backend": "dir", "mountpoint": format!("/pool/jails/{name}"),
                "prefix": format!("./jails/{name}/"), "mode": "standalone", "consistent": true,
                "datasets": [{ "name": "root", "encoding": "tree", "member": "root.tree", "bytes": 2048 }]
            })
        };
        let mut web = resource("web01");
        web["taken"] = "2026-01-02T03:04:06Z".into();
        web["revision"] = 3.into();
        web["tags"] = json!(["daily", "www"]);
        web["note"] = "main site\nwith \u{1b}two lines".into();
        web["keep"] = true.into();
        web["records"] = json!([
            { "revision": 2, "archive": "b", "host": "host-a", "begun": "2026-01-01T03:04:05Z", "tool": "0.1.0",
              "base": "14.2-RELEASE@p3", "archive_bytes": 1_500_000, "destination": "/backup/web01.tar.gz", "result": "done" },
            { "revision": 1, "archive": "a", "host": "host-b", "begun": "2025-12-31T03:04:05Z", "tool": "0.1.0",
              "destination": "-", "result": "failed", "message": "There is no room" }
        ]);
        let manifest: Manifest = serde_json::from_value(json!({
            "format": "remand-archive",
            "version": { "major": 1, "minor": 2 },
            "tool": { "name": "remand", "version": "0.1.0" },
            "id": "00112233445566778899aabbccddeeff",
            "created": "2026-01-02T03:04:05Z",
            "host": { "name": "host-a", "os": "Linux", "release": "6.1", "architecture": "x86_64" },
            "consistent": false,
            "failed": [{ "kind": "jail", "name": "db01", "error": "It is locked" }],
            "resources": [resource("mail"), web]
        }))
        .unwrap();
        insta::assert_snapshot!("info_page_of_several", page("all.tar.gz", &manifest, None));
    }
}
