//! `remand verify`.

use remand::event::{Observer, Warning};
use remand::verify::verify;
use serde_json::json;

use super::args::Verify;
use super::export::seal_record;
use super::failure::Failure;
use super::render::{Outcome, units};
use super::{Session, archive_name, input};

pub(super) fn run(session: &Session, args: &Verify) -> Result<Outcome, Failure> {
    let Session { console, interrupted } = session;
    let report = verify(input(&args.source, interrupted)?, &**console, interrupted)?;
    // The archive is what it was made to be, so these are no warnings now; they were when it was made.
    for path in &report.unstable {
        let message = "it changed while it was exported; what is archived may be a mixture".into();
        console.notice(&Warning { subject: path.clone(), message });
    }
    let name = archive_name(&args.source);
    let mut outcome = Outcome::default();
    let resources: Vec<_> = report
        .manifest
        .resources
        .iter()
        .map(|record| remand::resource::label(record.kind, &record.name))
        .collect();
    outcome.summary.push(format!(
        "{name} is whole: {}, {}, {} of content in {}",
        resources.join(", "),
        units::counted(report.seal.entries, "entry", "entries"),
        units::bytes(report.seal.bytes),
        units::duration(console.elapsed())
    ));
    let fields = [
        ("command", json!("verify")),
        ("source", json!(name)),
        ("resources", json!(resources)),
        ("unstable", json!(report.unstable)),
        ("seal", seal_record(&report.seal)),
    ];
    outcome.result = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(outcome)
}
