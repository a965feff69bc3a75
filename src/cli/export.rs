//! `remand export`.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use remand::archive::manifest::{Encoding, Mode};
use remand::archive::{Compression, Format, Seal};
use remand::export::{
    Codec, Counts, Destination, HookPlace, Hooks, Options, Report, ResourceReport, dry_run, export, target,
};
use remand::resource::label;
use remand::running::Hold;
use remand::selector::{Purpose, Selection};
use serde_json::{Value, json};

use super::args::{CompressionWord, Export, FormatWord, HookWord, Hooking, duration};
use super::config::Config;
use super::failure::{FAILED, Failure};
use super::render::{Console, Outcome, Stdout, units};
use super::{Session, is_dash, open_pool, path_name};

/// Whether the archive itself goes to standard output.
pub(super) fn stdout(args: &Export) -> Stdout {
    if path(args).is_none() && !args.dry_run { Stdout::Taken } else { Stdout::Free }
}

pub(super) fn run(session: &Session, args: &Export) -> Result<Outcome, Failure> {
    if stdout(args) == Stdout::Taken && io::stdout().is_terminal() {
        return Err(Failure::usage("Standard output is a terminal: name a file, or pipe it to a program"));
    }
    let config = args.place.config()?;
    let mut options = options(args, &config)?;
    let pool = open_pool(&args.place, &config)?;
    let Session { console, interrupted } = session;
    if args.dry_run {
        // A destination that would be refused is refused here too.
        let (format, _) = target::form(path(args), options.format, options.codec, options.level)?;
        target::check_encryption(path(args), format, !options.recipients.is_empty())?;
        let signs = args.signing.check()?;
        let report = dry_run(&pool, &options, &**console, interrupted)?;
        let around = around(&options).into_iter();
        let lines: Vec<_> = around.chain(plan(&report, signs, options.recipients.len())).collect();
        console.plan(&lines)?;
        let mut outcome = Outcome { warnings: report.warnings, ..Outcome::default() };
        outcome.result = record(args, &report, None);
        outcome.summary.push("Nothing was written: this was a dry run".into());
        return Ok(outcome);
    }
    options.signer = args.signing.signer(interrupted)?;
    let written = Arc::new(AtomicU64::new(0));
    let destination = destination(args, &written)?;
    let report = export(&pool, &options, destination, &**console, interrupted)?;
    let written_bytes = match &report.path {
        None => Some(written.load(Ordering::Relaxed)),
        // The archive is there; not being able to tell its size is no failure.
        Some(path) => path.metadata().ok().filter(std::fs::Metadata::is_file).map(|file| file.len()),
    };
    let mut outcome = Outcome { warnings: report.warnings, ..Outcome::default() };
    outcome.result = record(args, &report, written_bytes);
    outcome.result.extend(protection_record(&options));
    outcome.summary.extend(summary(console, args, &report, written_bytes));
    outcome.summary.extend(protection(&options));
    Ok(outcome)
}

fn options(args: &Export, config: &Config) -> Result<Options, Failure> {
    let (format, codec, level) = form(args, config);
    Ok(Options {
        standalone: args.standalone,
        recursive: args.recursive,
        portable: args.portable,
        decrypted: args.decrypted,
        reproducible: args.reproducible,
        format,
        codec,
        level,
        engine: args.detection.engine(config),
        wait: args.patience.waits(config),
        keep_going: args.keep_going,
        with_base: args.with_base,
        hooks: hooks(&args.hooking, config),
        hold: hold(&args.hooking),
        recipients: args.encrypting.recipients()?,
        ..Options::new(selection(args)?)
    })
}

/// Those of the command line, or else of the config file.
fn hooks(asked: &Hooking, config: &Config) -> Hooks {
    let default = Hooks::default();
    if asked.no_hooks {
        return default;
    }
    let own = !asked.pre_snapshot.is_empty() || !asked.post_snapshot.is_empty();
    let (before, after) = if own {
        (&asked.pre_snapshot, &asked.post_snapshot)
    } else {
        (&config.pre_snapshot, &config.post_snapshot)
    };
    let place = match asked.hook_in.or(config.hook_in) {
        Some(HookWord::Jail) => HookPlace::Resource,
        Some(HookWord::Host) | None => HookPlace::Host,
    };
    // What the config file says has been looked at when it was read.
    let of_config = || config.hook_timeout.as_deref().and_then(|text| duration(text).ok());
    let timeout = asked.hook_timeout.or_else(of_config).unwrap_or(default.timeout);
    Hooks { before: before.clone(), after: after.clone(), place, timeout }
}

fn hold(asked: &Hooking) -> Option<Hold> {
    if asked.stop { Some(Hold::Stop) } else { asked.freeze.then_some(Hold::Freeze) }
}

fn path(args: &Export) -> Option<&Path> {
    let destination = args.words.last().map(Path::new);
    destination.filter(|path| !is_dash(path))
}

fn selection(args: &Export) -> Result<Selection, Failure> {
    let (_, words) = args.words.split_last().unwrap_or((&args.words[0], &[]));
    let words = words.iter().map(|word| {
        let text = word.to_str().map(str::to_owned);
        text.ok_or_else(|| {
            Failure::usage(format!("{} is no name for a resource", path_name(Path::new(word))))
        })
    });
    let words: Vec<_> = words.collect::<Result<_, _>>()?;
    if words.is_empty() && !args.all {
        let only = path_name(Path::new(&args.words[0]));
        return Err(Failure::usage(format!(
            "{only} is the only argument: name what to export, or say --all, and then the archive to write"
        )));
    }
    let now = jiff::Timestamp::now();
    Ok(Selection::parse(Purpose::Export, &words, args.all, &args.exclude, args.newer.as_deref(), now)?)
}

/// Format and compression as asked for. What the config file says fills in only where neither an option nor the
/// destination's suffix decides: a default must not contradict the command line.
fn form(args: &Export, config: &Config) -> (Option<Format>, Option<Codec>, Option<u32>) {
    let path = path(args);
    let named = path.is_none_or(|path| {
        matches!(target::form(Some(path), None, None, None), Err(_) | Ok((Format::Tar, _)))
    });
    let open = !named && args.compression.is_none() && args.level.is_none();
    let format = args.format.or(config.format.filter(|_| open)).map(|word| match word {
        FormatWord::Tar => Format::Tar,
        FormatWord::Directory => Format::Directory,
    });
    let codec = |word| match word {
        CompressionWord::Gzip => Codec::Gzip,
        CompressionWord::Zstd => Codec::Zstd,
        CompressionWord::None => Codec::None,
    };
    let tar_of_any_name = path.is_none() || !named && (format == Some(Format::Tar) || args.level.is_some());
    let default = config.compression.filter(|_| tar_of_any_name && format != Some(Format::Directory));
    let asked = args.compression.or(default).map(codec);
    let level = args.level.or_else(|| {
        let method = match target::form(path, format, asked, None).ok()?.1 {
            Compression::Gzip(_) => CompressionWord::Gzip,
            Compression::Zstd(_) => CompressionWord::Zstd,
            Compression::None => return None,
        };
        config.level.filter(|_| config.compression == Some(method))
    });
    (format, asked, level)
}

/// Standard output is written without the line buffer that Rust keeps for it.
fn destination(args: &Export, written: &Arc<AtomicU64>) -> Result<Destination, Failure> {
    let Some(path) = path(args) else {
        let stdout = io::stdout().as_fd().try_clone_to_owned().map_err(|error| Failure::Error {
            chain: vec!["Cannot write to standard output".into(), error.to_string()],
            hint: None,
            status: FAILED,
        })?;
        return Ok(Destination::Stream(Box::new(Counted {
            inner: stdout.into(),
            written: Arc::clone(written),
        })));
    };
    Ok(Destination::Path { path: path.to_owned(), force: args.force })
}

/// Counts what is written.
struct Counted {
    inner: File,
    written: Arc<AtomicU64>,
}

impl io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.written.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// What would be done around the snapshot, a line each.
fn around(options: &Options) -> Vec<String> {
    let Hooks { before, after, place, .. } = &options.hooks;
    let place = match place {
        HookPlace::Host => "on the host",
        HookPlace::Resource => "in what runs",
    };
    let before = before.iter().map(|command| format!("before the snapshot, {place}: {command}"));
    let after = after.iter().map(|command| format!("after the snapshot, {place}: {command}"));
    let hold = options.hold.map(|hold| format!("what runs is {} meanwhile", hold.state()));
    before.chain(hold).chain(after).collect()
}

/// What would be done, a line each.
fn plan(report: &Report, signs: bool, recipients: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for resource in &report.resources {
        let mode = match (resource.plan.mode, &resource.base) {
            (Mode::Differential, Some(base)) => {
                format!("differential against {base}, engine {}", resource.engine)
            }
            (Mode::Differential, None) => "differential".into(),
            (Mode::Standalone, _) => "standalone".into(),
        };
        let at = resource.snapshot.as_ref().map(|snapshot| format!(" at its snapshot {snapshot}"));
        let mode = if resource.as_base { "as the base of others, standalone".to_owned() } else { mode };
        lines.push(format!("{}{}: {mode}", resource.label(), at.unwrap_or_default()));
        for dataset in &resource.plan.datasets {
            let form = match dataset.encoding {
                Encoding::Delta => "what differs from the base",
                Encoding::Tree => "all files",
                Encoding::Zfs | Encoding::Btrfs if dataset.history => "native stream with its snapshots",
                Encoding::Zfs | Encoding::Btrfs => "native stream",
                Encoding::Base => "nothing, a restore clones it from its release again",
            };
            let size = resource.sizes.get(&dataset.name).map(|bytes| format!(", {}", units::bytes(*bytes)));
            let size = size.unwrap_or_default();
            lines.push(match dataset.member.as_str() {
                "" => format!("{}: {form}", dataset.name),
                member => format!("{} as ./{member}: {form}{size}", dataset.name),
            });
        }
        lines.push(format!("root: {}", changes(&resource.counts)));
    }
    if let [_, _, ..] = report.resources.as_slice() {
        let bytes = units::bytes(report.resources.iter().map(ResourceReport::bytes).sum());
        let resources = units::counted(report.resources.len() as u64, "resource", "resources");
        lines.push(format!("{resources}: {bytes} of content"));
    }
    if signs {
        lines.push("signed".into());
    }
    if recipients > 0 {
        lines.push(format!("encrypted for {}", units::counted(recipients as u64, "recipient", "recipients")));
    }
    lines
}

fn changes(counts: &Counts) -> String {
    let mut parts: Vec<String> = [
        ("added", counts.added),
        ("modified", counts.modified),
        ("metadata", counts.metadata),
        ("deleted", counts.deleted),
    ]
    .into_iter()
    .filter(|&(_, number)| number > 0)
    .map(|(name, number)| format!("{} {name}", units::count(number)))
    .collect();
    parts.push(format!("{} of content", units::bytes(counts.content_bytes)));
    parts.join(", ")
}

fn summary(console: &Console, args: &Export, report: &Report, written_bytes: Option<u64>) -> Vec<String> {
    let destination = path(args).map_or_else(|| "standard output".into(), path_name);
    let what = match report.resources.as_slice() {
        [one] => {
            let base = one.base.as_ref().map(|base| format!(" (against {base}, engine {})", one.engine));
            format!("{} to {destination}{}", one.label(), base.unwrap_or_default())
        }
        all => {
            let differential = all.iter().filter(|one| one.plan.mode == Mode::Differential).count();
            let moment =
                if report.consistent == Some(true) { "of one moment" } else { "one after the other" };
            format!("{} resources to {destination} ({differential} differential, read {moment})", all.len())
        }
    };
    let content = report.seal.as_ref().map_or(0, |seal| seal.bytes);
    let entries = report.seal.as_ref().map_or(0, |seal| seal.entries);
    let ratio = written_bytes.and_then(|written| units::percent(written, content));
    let written = match (written_bytes, ratio) {
        (Some(written), Some(ratio)) => format!(", {} written ({ratio})", units::bytes(written)),
        (Some(written), None) => format!(", {} written", units::bytes(written)),
        (None, _) => String::new(),
    };
    let entries = units::counted(entries, "entry", "entries");
    let took = units::duration(console.elapsed());
    let mut lines = vec![
        format!("Exported {what}"),
        format!("{entries}, {} of content{written} in {took}", units::bytes(content)),
    ];
    if !report.failed.is_empty() {
        let failed: Vec<_> = report.failed.iter().map(|failed| label(failed.kind, &failed.name)).collect();
        lines.push(format!("Not in the archive: {}", failed.join(", ")));
    }
    lines
}

/// Who signed it, and for whom it is encrypted.
fn protection(options: &Options) -> Option<String> {
    let signed = options.signer.as_ref().map(|signer| format!("signed by the key {}", signer.public().id()));
    let several = options.recipients.len() as u64;
    let encrypted = (several > 0)
        .then(|| format!("encrypted for {}", units::counted(several, "recipient", "recipients")));
    let both: Vec<_> = signed.into_iter().chain(encrypted).collect();
    (!both.is_empty()).then(|| format!("It is {}", both.join(" and ")))
}

/// The same for programs.
fn protection_record(options: &Options) -> impl Iterator<Item = (String, Value)> {
    let signed_by = options.signer.as_ref().map(|signer| signer.public().id().to_string());
    let encrypted = !options.recipients.is_empty();
    [("signed_by".to_owned(), json!(signed_by)), ("encrypted".to_owned(), json!(encrypted))].into_iter()
}

fn record(args: &Export, report: &Report, written_bytes: Option<u64>) -> serde_json::Map<String, Value> {
    let destination = path(args).map_or_else(|| "-".into(), path_name);
    let mut fields = vec![
        ("command", json!("export")),
        ("dry_run", json!(args.dry_run)),
        ("destination", json!(destination)),
        ("written_bytes", json!(written_bytes)),
        ("consistent", json!(report.consistent)),
        ("failed", json!(report.failed)),
        ("seal", json!(report.seal.as_ref().map(seal_record))),
    ];
    let resources: Vec<_> = report.resources.iter().map(resource_record).collect();
    if let [Value::Object(one)] = resources.as_slice() {
        // An archive of one resource is told of as such.
        fields.extend(["resource", "mode", "base", "engine", "counts"].map(|name| (name, one[name].clone())));
    }
    fields.push(("resources", json!(resources)));
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn resource_record(resource: &ResourceReport) -> Value {
    json!({
        "resource": resource.label(),
        "mode": resource.plan.mode,
        "as_base": resource.as_base,
        "base": resource.base,
        "snapshot": resource.snapshot,
        "engine": resource.engine,
        "counts": resource.counts,
        "bytes": resource.bytes(),
        "sizes": resource.sizes,
    })
}

/// A seal for programs.
pub(super) fn seal_record(seal: &Seal) -> Value {
    json!({
        "entries": seal.entries,
        "members": seal.members,
        "bytes": seal.bytes,
        "digest": seal.digest.to_string(),
    })
}
