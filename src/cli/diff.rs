//! `remand diff`.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use data_encoding::BASE64;
use remand::diff::{Difference, Options, Sort, diff, diff_archive};
use remand::error::Error;
use remand::input::Input;
use remand::tree::Kind;
use serde_json::{Value, json};

use super::args::Diff;
use super::failure::Failure;
use super::render::{Console, Outcome, escape::safe, table::table, units};
use super::{Session, open_pool};

/// Suffixes by which an argument is taken for an archive.
const ARCHIVES: [&str; 10] =
    ["/", ".age", ".tar", ".tar.gz", ".tgz", ".tar.zst", ".tzst", ".tar.xz", ".txz", ".zip"];

pub(super) fn run(session: &Session, args: &Diff) -> Result<Outcome, Failure> {
    let Session { console, interrupted } = session;
    let config = args.place.config()?;
    let mut page = Page::new(console);
    let base = match subject(&args.subject) {
        // An archive's own index tells its differences; no pool is needed.
        Subject::Archive(path) => {
            let input = Input::Path(path).with(args.opening.keys(&config)?);
            diff_archive(input, &**console, interrupted, &mut |difference| page.add(difference))
        }
        Subject::Name(_) if args.opening.is_used() => {
            return Err(Failure::usage("Keys are for archives, and that is the name of a resource"));
        }
        Subject::Name(name) => {
            let options = Options { selector: name.parse()?, engine: args.detection.engine(&config) };
            let pool = open_pool(&args.place, &config)?;
            diff(&pool, &options, &**console, interrupted, &mut |difference| page.add(difference))
        }
    };
    page.finish(args.stat, base.map_err(Failure::from))
}

/// What is compared with its base.
enum Subject {
    Name(String),
    Archive(PathBuf),
}

/// A name, or an archive if it looks like one. Whether such a file exists doesn't matter, so that a directory that
/// happens to be called like a jail changes nothing.
fn subject(argument: &str) -> Subject {
    if argument.starts_with(['/', '.']) || ARCHIVES.iter().any(|suffix| argument.ends_with(suffix)) {
        Subject::Archive(PathBuf::from(argument))
    } else {
        Subject::Name(argument.to_owned())
    }
}

/// Letter and word of a difference.
pub(super) fn mark(difference: &Difference) -> (char, &'static str) {
    match difference.sort {
        Sort::Added => ('A', "added"),
        Sort::Modified if difference.aspects.contains(&"kind") => ('T', "type"),
        Sort::Modified => ('M', "modified"),
        Sort::Metadata => ('m', "metadata"),
        Sort::Deleted => ('D', "deleted"),
    }
}

#[derive(Clone, Copy, Default)]
struct Counts {
    added: u64,
    modified: u64,
    metadata: u64,
    type_changed: u64,
    deleted: u64,
    bytes: u64,
}

impl Counts {
    fn add(&mut self, difference: &Difference) {
        let (letter, _) = mark(difference);
        *match letter {
            'A' => &mut self.added,
            'M' => &mut self.modified,
            'm' => &mut self.metadata,
            'T' => &mut self.type_changed,
            _ => &mut self.deleted,
        } += 1;
        if matches!(letter, 'A' | 'M' | 'T') {
            self.bytes += difference.size_bytes.unwrap_or(0);
        }
    }

    fn all(self) -> [(&'static str, u64); 5] {
        [
            ("added", self.added),
            ("modified", self.modified),
            ("metadata", self.metadata),
            ("type", self.type_changed),
            ("deleted", self.deleted),
        ]
    }
}

/// Collects differences; JSON lines leave at once, text when all are there to be sorted.
struct Page<'a> {
    console: &'a Console,
    found: Vec<Difference>,
    total: Counts,
    /// The first failure to write, after which the comparison is pointless.
    failed: Option<Failure>,
}

impl<'a> Page<'a> {
    fn new(console: &'a Console) -> Self {
        Self { console, found: Vec::new(), total: Counts::default(), failed: None }
    }

    fn add(&mut self, difference: Difference) -> Result<(), Error> {
        self.total.add(&difference);
        if !self.console.is_json() {
            self.found.push(difference);
            return Ok(());
        }
        self.console.record("difference", &record(&difference)).map_err(|failure| {
            self.failed = Some(failure);
            Error::Interrupted
        })
    }

    fn finish(mut self, stat: bool, base: Result<String, Failure>) -> Result<Outcome, Failure> {
        // That the comparison was stopped then is a consequence.
        if let Some(failure) = self.failed {
            return Err(failure);
        }
        let base = base?;
        // Bytewise, but what is in a directory directly below it.
        self.found.sort_by(|a, b| a.path.components().cmp(b.path.components()));
        if stat && !self.found.is_empty() {
            self.console.data(&by_directory(&self.found))?;
        } else {
            let text: String = self.found.iter().map(line).collect();
            self.console.data(&text)?;
        }
        let mut outcome = Outcome::default();
        outcome.summary.push(summary(self.total, &base));
        outcome.result.insert("command".into(), "diff".into());
        outcome.result.insert("base".into(), json!(base));
        outcome.result.insert("bytes".into(), self.total.bytes.into());
        for (name, number) in self.total.all() {
            outcome.result.insert(name.into(), number.into());
        }
        Ok(outcome)
    }
}

/// The path with a slash after directories; `./` is the root itself.
fn path(difference: &Difference) -> String {
    let path = if difference.path.is_root() { ".".into() } else { difference.path.to_string() };
    let slash = if difference.kind == Kind::Directory { "/" } else { "" };
    safe(&format!("{path}{slash}")).into_owned()
}

fn line(difference: &Difference) -> String {
    let (letter, _) = mark(difference);
    let aspects = if matches!(letter, 'A' | 'D') || difference.aspects.is_empty() {
        String::new()
    } else {
        format!(" ({})", difference.aspects.join(", "))
    };
    format!("{letter}  {}{aspects}\n", path(difference))
}

fn record(difference: &Difference) -> Value {
    let bytes = difference.path.as_bytes();
    let (name, path) = match std::str::from_utf8(bytes) {
        Ok(path) => ("path", path.to_owned()),
        Err(_) => ("path_b64", BASE64.encode(bytes)),
    };
    json!({
        name: path,
        "change": mark(difference).1,
        "kind": difference.kind.name(),
        "aspects": difference.aspects,
        "size_bytes": difference.size_bytes,
    })
}

fn summary(counts: Counts, base: &str) -> String {
    let parts: Vec<_> = counts
        .all()
        .into_iter()
        .filter(|&(_, number)| number > 0)
        .map(|(name, number)| format!("{} {name}", units::count(number)))
        .collect();
    if parts.is_empty() {
        return format!("No differences against {base}");
    }
    format!("{} against {base}; {} of new content", parts.join(", "), units::bytes(counts.bytes))
}

/// Counts for each entry of the root, with all below it.
fn by_directory(found: &[Difference]) -> String {
    let mut places: BTreeMap<Vec<u8>, Counts> = BTreeMap::new();
    for difference in found {
        let mut components = difference.path.components();
        let mut place = components.next().unwrap_or(b".").to_vec();
        if difference.kind == Kind::Directory || components.next().is_some() {
            place.push(b'/');
        }
        places.entry(place).or_default().add(difference);
    }
    let rows: Vec<_> = places
        .iter()
        .map(|(place, counts)| {
            let [added, modified, metadata, type_changed, deleted] =
                counts.all().map(|(_, number)| units::count(number));
            let place = remand::tree::path::printable(place);
            [place, added, modified, metadata, type_changed, deleted, units::bytes(counts.bytes)]
        })
        .collect();
    table(["PLACE", "A", "M", "m", "T", "D", "NEW CONTENT"], &rows)
}
