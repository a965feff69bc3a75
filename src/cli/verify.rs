//! `remand verify`.

mod report;

use remand::event::{Observer, Warning};
use remand::resource::label;
use remand::verify::{Report, verify};
use serde_json::json;

use super::args::Verify;
use super::export::seal_record;
use super::failure::Failure;
use super::keys::{signature_record, signature_text};
use super::render::{Outcome, units};
use super::{Session, archive_name, input};

pub(super) fn run(session: &Session, args: &Verify) -> Result<Outcome, Failure> {
    if args.repair.repair_report {
        return report::run(session, args);
    }
    let Session { console, interrupted } = session;
    let keys = args.opening.keys(&args.settings.config()?)?;
    let report = verify(input(&args.source, interrupted)?.with(keys), &**console, interrupted)?;
    // The archive is what it was made to be, so these are no warnings now; they were when it was made.
    for path in &report.unstable {
        let message = "it changed while it was exported; what is archived may be a mixture".into();
        console.notice(&Warning { subject: path.clone(), message });
    }
    let name = archive_name(&args.source);
    let mut outcome = Outcome::default();
    let failed = failed(&report);
    for (resource, error) in &failed {
        let message = format!("it failed when it was exported, and cannot be restored from here: {error}");
        console.warning(&Warning { subject: resource.clone(), message });
    }
    let is_usable = |index: usize| !report.failed.iter().any(|one| one.resource as usize == index);
    let resources: Vec<_> = report
        .manifest
        .resources
        .iter()
        .enumerate()
        .filter(|&(index, _)| is_usable(index))
        .map(|(_, record)| label(record.kind, &record.name))
        .collect();
    let held = if resources.is_empty() { "no resource".into() } else { resources.join(", ") };
    let foreign = report.manifest.foreign.as_ref();
    for limit in foreign.iter().flat_map(|foreign| &foreign.limits) {
        console.warning(&Warning { subject: name.clone(), message: limit.clone() });
    }
    for notice in foreign.iter().flat_map(|foreign| &foreign.notices) {
        console.notice(&Warning { subject: name.clone(), message: notice.clone() });
    }
    let is = if foreign.is_some() { "can be read to its end" } else { "is whole" };
    outcome.summary.push(format!(
        "{name} {is}: {}, {}, {} of content in {}",
        held,
        units::counted(report.seal.entries, "entry", "entries"),
        units::bytes(report.seal.bytes),
        units::duration(console.elapsed())
    ));
    outcome.summary.push(match foreign {
        Some(foreign) => {
            format!("{} wrote it: nothing in it proves that it is as it was written", foreign.tool)
        }
        None => format!("It is {}", signature_text(report.signed.as_ref())),
    });
    let fields = [
        ("command", json!("verify")),
        ("source", json!(name)),
        ("resources", json!(resources)),
        (
            "failed",
            failed.iter().map(|(resource, error)| json!({ "resource": resource, "error": error })).collect(),
        ),
        ("unstable", json!(report.unstable)),
        // What another tool wrote has no seal: the one that was read was made on the way.
        ("seal", if foreign.is_some() { json!(null) } else { seal_record(&report.seal) }),
        ("foreign", json!(foreign)),
        ("signature", signature_record(report.signed.as_ref())),
    ];
    outcome.result = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(outcome)
}

/// What was asked for and cannot be restored, with the reason: what failed before the archive was begun, and what failed in it.
fn failed(report: &Report) -> Vec<(String, String)> {
    let before =
        report.manifest.failed.iter().map(|failed| (label(failed.kind, &failed.name), failed.error.clone()));
    let within = report.failed.iter().map(|failure| {
        let record = report.manifest.resources.get(failure.resource as usize);
        let resource = record.map_or_else(
            || format!("resource {}", failure.resource),
            |record| label(record.kind, &record.name),
        );
        (resource, failure.error.clone())
    });
    before.chain(within).collect()
}

#[cfg(test)]
mod tests {
    use remand::archive::{Digest, Failure, Manifest, Seal};
    use serde_json::json;

    use super::*;

    #[test]
    fn what_failed_before_and_within_is_named() {
        let resource = json!({
            "kind": "jail", "name": "web01", "layout": "libioc", "backend": "dir", "mountpoint": "/jails/web01",
            "prefix": "./jails/web01/", "mode": "standalone", "consistent": true, "datasets": []
        });
        let manifest: Manifest = serde_json::from_value(json!({
            "format": "remand-archive", "version": { "major": 1, "minor": 2 },
            "tool": { "name": "remand", "version": "0.1.0" }, "id": "0", "created": "2026-01-02T03:04:05Z", "host": {},
            "failed": [{ "kind": "release", "name": "14.2", "error": "It is locked" }],
            "resources": [resource]
        }))
        .unwrap();
        let seal = Seal {
            entries: 0,
            members: 0,
            bytes: 0,
            digest: format!("blake3:{}", "0".repeat(64)).parse::<Digest>().unwrap(),
        };
        let failures = vec![Failure { resource: 0, error: "It is torn".into() }];
        let report = Report { manifest, seal, signed: None, unstable: Vec::new(), failed: failures };
        let named: Vec<_> =
            failed(&report).into_iter().map(|(name, error)| format!("{name}: {error}")).collect();
        assert_eq!(named, ["release 14.2: It is locked", "jail web01: It is torn"]);
    }
}
