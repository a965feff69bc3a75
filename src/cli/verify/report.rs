//! `remand verify --repair-report`.

use data_encoding::BASE64;
use remand::archive::MemberName;
use remand::archive::reader::{Fault, Finding, IndexState, Rescue, Survey};
use remand::verify::{Location, examine, locate};
use serde_json::{Map, Value, json};

use super::super::args::Verify;
use super::super::export::seal_record;
use super::super::failure::Failure;
use super::super::render::{Outcome, escape::safe, units};
use super::super::{Session, archive_name, input};

/// Exit status: the archive is damaged.
const DAMAGED: u8 = 22;

pub(super) fn run(session: &Session, args: &Verify) -> Result<Outcome, Failure> {
    let Session { console, interrupted } = session;
    let survey = examine(input(&args.source, interrupted)?, &**console, interrupted)?;
    for (file, range) in &survey.unreadable {
        if console.is_json() {
            let value = json!({ "file": file, "offset": range.offset, "length": range.length });
            console.record("unreadable", &value)?;
        } else {
            let (from, to) = (range.offset, range.offset.saturating_add(range.length));
            let of = file.as_deref().map(|file| format!(" of {file}")).unwrap_or_default();
            console.data(&safe(&format!("unreadable  bytes {from} to {to}{of}")))?;
            console.data("\n")?;
        }
    }
    for finding in &survey.findings {
        let location = survey.manifest.as_ref().and_then(|manifest| locate(manifest, &finding.name));
        if console.is_json() {
            console.record("affected", &record(finding, location.as_ref()))?;
        } else {
            console.data(&format!("{}\n", safe(&line(finding, location.as_ref()))))?;
        }
    }
    for other in &survey.others {
        if console.is_json() {
            console.record("damage", &json!({ "detail": other }))?;
        } else {
            console.data(&format!("damaged     {}\n", safe(other)))?;
        }
    }
    Ok(outcome(&archive_name(&args.source), &survey))
}

fn line(finding: &Finding, location: Option<&Location>) -> String {
    let status = status(finding.fault);
    let what = match location {
        Some(Location { resource, dataset: Some(dataset), path }) => format!("{resource}: {dataset}/{path}"),
        Some(Location { resource, dataset: None, path }) => format!("{resource}: {path}"),
        None => finding.name.to_string(),
    };
    format!("{status:<11} {what}: {}", finding.detail)
}

fn status(fault: Fault) -> &'static str {
    match fault {
        Fault::Corrupt => "corrupt",
        Fault::Missing => "missing",
        Fault::Mismatch => "mismatch",
        Fault::Unverified => "unverified",
        Fault::Unexpected => "unexpected",
    }
}

fn put_path(object: &mut Map<String, Value>, key: &str, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => object.insert(key.to_owned(), text.into()),
        Err(_) => object.insert(format!("{key}_b64"), BASE64.encode(bytes).into()),
    };
}

fn record(finding: &Finding, location: Option<&Location>) -> Value {
    let mut object = Map::new();
    object.insert("status".into(), status(finding.fault).into());
    object.insert("resource".into(), json!(location.map(|location| &location.resource)));
    object.insert("dataset".into(), json!(location.and_then(|location| location.dataset.as_ref())));
    if let Some(location) = location {
        put_path(&mut object, "path", location.path.as_bytes());
    }
    put_path(&mut object, "member", &member(&finding.name));
    let recoverable = match finding.rescue {
        Rescue::Whole => "yes",
        Rescue::Unproven => "unverified",
        Rescue::Lost => "no",
    };
    object.insert("recoverable".into(), recoverable.into());
    object.insert("detail".into(), finding.detail.as_str().into());
    Value::Object(object)
}

fn member(name: &MemberName) -> Vec<u8> {
    [b"./", name.path().as_bytes()].concat()
}

fn outcome(name: &str, survey: &Survey) -> Outcome {
    let manifest = match (&survey.manifest, survey.manifest_proven) {
        (Some(_), true) => "intact",
        (Some(_), false) => "unverified",
        (None, _) => "corrupt",
    };
    let index = match survey.index {
        IndexState::Whole => "intact",
        IndexState::Partial => "partial",
        IndexState::Missing => "missing",
    };
    let lost = survey.findings.iter().filter(|finding| finding.rescue == Rescue::Lost).count();
    let unproven = survey.findings.iter().filter(|finding| finding.rescue == Rescue::Unproven).count();
    let unreadable: u64 = survey.unreadable.iter().map(|(_, range)| range.length).sum();
    let intact = units::counted(survey.intact_entries, "entry", "entries");
    let mut outcome = Outcome::default();
    outcome.summary.push(if survey.is_whole() {
        format!("{name} is whole: {intact}")
    } else {
        format!(
            "{name} is damaged: {intact} whole, {lost} lost, {unproven} not proven; {} cannot be used; manifest {manifest}, index {index}",
            units::bytes(unreadable)
        )
    });
    let fields = [
        ("command", json!("verify")),
        ("source", json!(name)),
        ("intact", json!(survey.is_whole())),
        ("manifest", json!(manifest)),
        ("index", json!(index)),
        ("intact_entries", json!(survey.intact_entries)),
        ("affected_entries", json!(survey.findings.len())),
        ("lost_entries", json!(lost)),
        ("unverified_entries", json!(unproven)),
        ("unreadable_bytes", json!(unreadable)),
        ("seal", json!(survey.seal.as_ref().map(seal_record))),
    ];
    outcome.result = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    outcome.status = (!survey.is_whole()).then_some(DAMAGED);
    outcome
}
