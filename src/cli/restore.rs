//! `remand restore`.

use std::path::Path;

use remand::config::Assignment;
use remand::extract;
use remand::locator::Locator;
use remand::restore::{Identity, OnConflict, Options, Report, Restored, Salvage, dry_run, restore};
use remand::selector::{Purpose, Selection};
use serde_json::{Map, Value, json};

use super::args::{ConflictWord, IdentityWord, Restore};
use super::config::Config;
use super::export::seal_record;
use super::failure::Failure;
use super::keys::{signature_record, signature_text};
use super::render::{Console, Outcome, units};
use super::{Session, archive_name, find_pool, input, open_pool, path_name};

pub(super) fn run(session: &Session, args: &Restore) -> Result<Outcome, Failure> {
    let Session { console, interrupted } = session;
    let config = args.place.config()?;
    if let Some(to) = &args.to {
        return extract(session, args, &config, to);
    }
    let options = options(args, &config)?;
    let input = input(&args.source, interrupted)?.with(args.opening.keys(&config)?);
    let pool = open_pool(&args.place, &config)?;
    let operation = if args.dry_run { dry_run } else { restore };
    let report = operation(&pool, &options, input, &**console, interrupted)?;
    let mut outcome = Outcome { warnings: report.warnings, ..Outcome::default() };
    outcome.result = record(args, &report);
    if args.dry_run {
        let all = report.resources.iter().filter(|one| one.failed.is_none());
        console.plan(
            &all.map(|one| format!("{}{}{}", one.resource, onto(one), with(one))).collect::<Vec<_>>(),
        )?;
        outcome.summary.push("Nothing was restored: this was a dry run".into());
    } else {
        outcome.summary.extend(summary(console, &report));
    }
    Ok(outcome)
}

/// Files and subtrees into a directory.
fn extract(session: &Session, args: &Restore, config: &Config, to: &Path) -> Result<Outcome, Failure> {
    let Session { console, interrupted } = session;
    let [selector] = args.selectors.as_slice() else {
        return Err(Failure::usage("With --to one NAME:PATH is extracted at a time"));
    };
    let locator: Locator = selector.parse()?;
    let dataset = args.dataset.as_deref().unwrap_or("root");
    let input = input(&args.source, interrupted)?.with(args.opening.keys(config)?);
    let pool = || find_pool(&args.place, config);
    let report = extract::extract(&pool, input, (&locator, dataset), to, &**console, interrupted)?;
    let mut outcome = Outcome { warnings: report.warnings, ..Outcome::default() };
    let base = report.base.as_ref().map(|base| format!(", and what did not change from {base}"));
    outcome.summary.push(format!(
        "Extracted {} to {}: {} of the archive{}",
        report.part,
        path_name(&report.place),
        units::counted(report.entries, "entry", "entries"),
        base.unwrap_or_default()
    ));
    let fields = [
        ("command", json!("restore")),
        ("source", json!(archive_name(&args.source))),
        ("part", json!(report.part)),
        ("place", json!(path_name(&report.place))),
        ("base", json!(report.base)),
        ("entries", json!(report.entries)),
    ];
    outcome.result = fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    Ok(outcome)
}

fn options(args: &Restore, config: &Config) -> Result<Options, Failure> {
    let now = jiff::Timestamp::now();
    let selection = Selection::parse(
        Purpose::Restore,
        &args.selectors,
        false,
        &args.exclude,
        args.newer.as_deref(),
        now,
    )?;
    let set = args.set.iter().map(|word| Assignment::set(word));
    let unset = args.unset.iter().map(|word| Assignment::unset(word));
    Ok(Options {
        selection,
        assignments: set.chain(unset).collect::<remand::error::Result<_>>()?,
        keep_going: args.keep_going,
        name: args.name.clone(),
        base: args.base.clone(),
        identity: args.identity.map(|word| match word {
            IdentityWord::Keep => Identity::Keep,
            IdentityWord::New => Identity::New,
        }),
        allow_base_mismatch: args.allow_base_mismatch,
        on_conflict: args.on_conflict.map(|word| match word {
            ConflictWord::Keep => OnConflict::Keep,
            ConflictWord::Theirs => OnConflict::Theirs,
            ConflictWord::Fail => OnConflict::Fail,
        }),
        wait: args.patience.waits(config),
        salvage: args.salvage.salvage.then_some(Salvage { unproven: args.salvage.unproven }),
    })
}

fn onto(one: &Restored) -> String {
    one.base.as_ref().map(|base| format!(" onto {base}")).unwrap_or_default()
}

/// What is set in its config.
fn with(one: &Restored) -> String {
    let word = |Assignment { key, value, .. }: &Assignment| match value {
        Some(value) => format!("with {key}={value}"),
        None => format!("without {key}"),
    };
    let words: Vec<_> = one.assignments.iter().map(|assignment| format!(", {}", word(assignment))).collect();
    words.concat()
}

fn summary(console: &Console, report: &Report) -> Vec<String> {
    let content = report.seal.as_ref().map(|seal| {
        let entries = units::counted(seal.entries, "entry", "entries");
        format!(
            "{entries}, {} of content in {}",
            units::bytes(seal.bytes),
            units::duration(console.elapsed())
        )
    });
    let restored = report.resources.iter().filter(|one| one.failed.is_none()).map(|one| {
        let at = one.directory.as_ref().map(|directory| format!(" at {}", path_name(directory)));
        let (at, onto) = (at.unwrap_or_default(), onto(one));
        match one.salvaged {
            Some(toll) => format!("Salvaged {}{at}{onto}, which is NOT WHOLE: {toll}", one.resource),
            None => format!("Restored {}{at}{onto}", one.resource),
        }
    });
    let mut lines: Vec<String> = restored.collect();
    lines.extend(content);
    if let Some(signed) = &report.signed {
        lines.push(format!("The archive is {}", signature_text(Some(signed))));
    }
    lines
}

fn record(args: &Restore, report: &Report) -> Map<String, Value> {
    let mut record = Map::new();
    let mut add = |name: &str, value| drop(record.insert(name.to_owned(), value));
    add("command", json!("restore"));
    add("dry_run", json!(args.dry_run));
    add("source", json!(archive_name(&args.source)));
    let mut resources: Vec<_> = report.resources.iter().map(resource_record).collect();
    add("resources", json!(resources));
    // One alone is told without a list, too.
    if let (Some(one), true) = (resources.pop(), resources.is_empty()) {
        for name in ["resource", "name", "directory", "base"] {
            add(name, one[name].clone());
        }
    }
    add("seal", json!(report.seal.as_ref().map(seal_record)));
    add("signature", signature_record(report.signed.as_ref()));
    record
}

fn resource_record(one: &Restored) -> Value {
    let set: Map<_, _> = one
        .assignments
        .iter()
        .filter_map(|assignment| Some((assignment.key.clone(), json!(assignment.value.as_ref()?))))
        .collect();
    let unset: Vec<_> =
        one.assignments.iter().filter(|one| one.value.is_none()).map(|one| one.key.as_str()).collect();
    json!({
        "resource": one.resource,
        "name": one.name,
        "directory": one.directory.as_deref().map(path_name),
        "base": one.base,
        "set": set,
        "unset": unset,
        "failed": one.failed,
        "salvaged": one.salvaged.map(|toll| json!({
            "lost": toll.lost,
            "unproven": toll.unproven,
            "uncertain": toll.uncertain,
        })),
    })
}
