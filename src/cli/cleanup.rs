//! `remand cleanup`.

use std::sync::atomic::Ordering;

use remand::cleanup::{Found, list, remove};
use serde_json::json;

use super::args::Cleanup;
use super::failure::{Failure, INTERRUPTED};
use super::render::{Console, Outcome, table::table, units};
use super::{Session, open_pool};

pub(super) fn run(session: &Session, args: &Cleanup) -> Result<Outcome, Failure> {
    let pool = open_pool(&args.place, &args.place.config()?)?;
    let found = list(&pool)?;
    show(&session.console, &found)?;
    let mut removed = 0_usize;
    if args.yes {
        for leftover in &found {
            if session.interrupted.load(Ordering::Relaxed) {
                return Err(interrupted(removed, found.len()));
            }
            remove(&pool, leftover)?;
            removed += 1;
        }
    }
    let mut outcome = Outcome::default();
    outcome.summary.push(summary(found.len(), removed));
    outcome.result.insert("command".into(), "cleanup".into());
    outcome.result.insert("found".into(), found.len().into());
    outcome.result.insert("removed".into(), removed.into());
    Ok(outcome)
}

fn show(console: &Console, found: &[Found]) -> Result<(), Failure> {
    if console.is_json() {
        for leftover in found {
            console.record("leftover", &json!({ "what": leftover.what, "run": leftover.run }))?;
        }
    } else if !found.is_empty() {
        let rows: Vec<_> =
            found.iter().map(|leftover| [leftover.what.clone(), leftover.run.clone()]).collect();
        console.data(&table(["WHAT", "LEFT BY"], &rows))?;
    }
    Ok(())
}

fn counted(number: usize) -> String {
    units::counted(number as u64, "leftover", "leftovers")
}

fn interrupted(removed: usize, found: usize) -> Failure {
    Failure::Error {
        chain: vec![format!("Interrupted: {removed} of {} removed", counted(found))],
        hint: Some("Run it again to remove the rest".into()),
        status: INTERRUPTED,
    }
}

fn summary(found: usize, removed: usize) -> String {
    match (found, removed) {
        (0, _) => "No interrupted run left anything".into(),
        (_, 0) => "Nothing was removed: give --yes to remove what is listed".into(),
        _ => format!("Removed {}", counted(removed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_to_do_next() {
        assert_eq!(summary(0, 0), "No interrupted run left anything");
        assert!(summary(2, 0).contains("--yes"));
        assert_eq!(summary(1, 1), "Removed 1 leftover");
    }
}
