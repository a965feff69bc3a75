//! Comparisons of real trees, checked against a model that knows nothing of engines and comparer.

mod engines;
mod fingerprints;
mod hints;
mod live;
mod model;
mod scratch;

use std::sync::atomic::{AtomicBool, Ordering};

use super::{Change, Choice, Engine, Error, Kinship, OfBase, Options, Scope, Summary, Trees, What, compare};
use crate::tree::{Tree, TreePath};

static GO_ON: AtomicBool = AtomicBool::new(false);

const SCOPE: Scope<'static> = Scope { exclude: &[], interrupted: &GO_ON };

const OPTIONS: Options<'static> =
    Options { threads: 3, of_base: OfBase::Nothing, exclude: &[], interrupted: &GO_ON, whole: None };

/// An engine that needs no backend.
fn engine(name: &str, parted_seconds: Option<i64>) -> Option<Box<dyn Engine>> {
    Choice::named(name, parted_seconds).map(|choice| choice.engine(None))
}

/// All changes that `engine` finds.
fn changes(
    engine: &dyn Engine,
    base: Option<&Tree>,
    now: &Tree,
    options: Options<'_>,
) -> Result<(Vec<Change>, Summary), Error> {
    let mut changes = Vec::new();
    let summary = compare::<Error>(engine, Trees { base, now }, options, &mut |change| {
        changes.push(change);
        Ok(())
    })?;
    Ok((changes, summary))
}

fn content(base: Option<&Tree>, now: &Tree, options: Options<'_>) -> (Vec<Change>, Summary) {
    changes(&*engine("content", Some(i64::MAX)).unwrap(), base, now, options).unwrap()
}

/// `A path`, `M path`, `m path` (metadata), `L path -> to`, `D path`.
fn brief(changes: &[Change]) -> Vec<String> {
    let text = |change: &Change| match &change.what {
        What::Whole { replaced: None, .. } => format!("A {}", change.path),
        What::Whole { .. } => format!("M {}", change.path),
        What::Metadata { .. } => format!("m {}", change.path),
        What::Link { to, .. } => format!("L {} -> {to}", change.path),
        What::Deleted { .. } => format!("D {}", change.path),
    };
    changes.iter().map(text).collect()
}

fn path(text: &str) -> TreePath {
    TreePath::new(text.as_bytes()).unwrap()
}

#[test]
fn engines_are_found_by_name() {
    for name in ["content", "lineage", "rsync", "quick"] {
        assert_eq!(engine(name, Some(i64::MAX)).unwrap().name(), name);
    }
    assert!(engine("guess", Some(i64::MAX)).is_none());
    let cheapest = |parted_seconds, native| Choice::cheapest(Kinship { parted_seconds, native }).name();
    assert_eq!(cheapest(Some(0), true), "snapshot");
    assert_eq!(cheapest(Some(0), false), "lineage");
    assert_eq!(cheapest(None, false), "content");
}

#[test]
fn interruption_ends_a_comparison() {
    let scratch = scratch::Scratch::new();
    scratch.write("base/a", b"1");
    scratch.write("now/a", b"2");
    let stop = AtomicBool::new(true);
    for name in ["content", "rsync"] {
        let result = changes(
            &*engine(name, Some(i64::MAX)).unwrap(),
            Some(&scratch.tree("base")),
            &scratch.tree("now"),
            Options { interrupted: &stop, ..OPTIONS },
        );
        assert!(matches!(result, Err(Error::Interrupted)), "{name}");
    }
    assert!(stop.load(Ordering::Relaxed));
}

#[test]
fn a_consumer_that_fails_ends_a_comparison() {
    let scratch = scratch::Scratch::new();
    for number in 0..5000 {
        scratch.write(&format!("now/d{}/f{number}", number % 50), b"x");
    }
    let now = scratch.tree("now");
    let mut seen = 0;
    let result = compare::<Error>(
        &*engine("content", Some(i64::MAX)).unwrap(),
        Trees { base: None, now: &now },
        OPTIONS,
        &mut |_| {
            seen += 1;
            if seen == 10 { Err(Error::Interrupted) } else { Ok(()) }
        },
    );
    assert!(result.is_err());
    assert_eq!(seen, 10);
}
