//! `remand cleanup`.

use std::sync::atomic::Ordering;

use remand::cleanup::{Done, Found, list, remove};
use remand::event::{Observer, Warning};
use serde_json::json;

use super::args::Cleanup;
use super::failure::{Failure, INTERRUPTED};
use super::render::{Console, Outcome, table::table, units};
use super::{Session, open_pool};

pub(super) fn run(session: &Session, args: &Cleanup) -> Result<Outcome, Failure> {
    let pool = open_pool(&args.place, &args.place.config()?)?;
    let found = list(&pool)?;
    show(&session.console, &found)?;
    let (mut removed, mut published, mut mounted, mut released, mut kept) =
        (0_usize, Vec::new(), Vec::new(), Vec::new(), 0_u64);
    if args.yes {
        for leftover in &found {
            if session.interrupted.load(Ordering::Relaxed) {
                let done = removed + published.len() + mounted.len() + released.len();
                return Err(interrupted(done, found.len()));
            }
            match remove(&pool, leftover, args.discard, &*session.console)? {
                Done::Removed => removed += 1,
                Done::Published(what) => published.push(what),
                Done::Mounted(what) => mounted.push(what),
                Done::Released(what) => released.push(what),
                Done::Kept(message) => {
                    kept += 1;
                    session.console.warning(&Warning { subject: leftover.what.clone(), message });
                }
            }
        }
    }
    let mut outcome = Outcome { warnings: kept, ..Outcome::default() };
    outcome.summary.extend(published.iter().map(|what| format!("Made the {what} visible, which was whole")));
    outcome.summary.extend(mounted.iter().map(|what| format!("Mounted all of the {what}")));
    outcome.summary.extend(released.iter().map(|what| format!("Let the {what} go on")));
    outcome.summary.push(summary(found.len(), removed, args.yes));
    outcome.result.insert("command".into(), "cleanup".into());
    outcome.result.insert("found".into(), found.len().into());
    outcome.result.insert("removed".into(), removed.into());
    outcome.result.insert("published".into(), json!(published));
    outcome.result.insert("mounted".into(), json!(mounted));
    outcome.result.insert("released".into(), json!(released));
    Ok(outcome)
}

fn show(console: &Console, found: &[Found]) -> Result<(), Failure> {
    if console.is_json() {
        for leftover in found {
            console.record(
                "leftover",
                &json!({ "what": leftover.what, "run": leftover.run, "whole": leftover.is_whole() }),
            )?;
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

fn summary(found: usize, removed: usize, yes: bool) -> String {
    match (found, yes) {
        (0, _) => "No interrupted run left anything".into(),
        (_, false) => {
            "Nothing was removed: give --yes to remove what is listed, and to finish what is whole".into()
        }
        _ => format!("Removed {}", counted(removed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_to_do_next() {
        assert_eq!(summary(0, 0, true), "No interrupted run left anything");
        assert!(summary(2, 0, false).contains("--yes"));
        assert_eq!(summary(1, 1, true), "Removed 1 leftover");
    }
}
