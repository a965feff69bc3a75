//! What must hold after a run in which something went wrong at one step, whatever it was.

use super::course::{Course, Finished, Operation};
use super::support::run::remand;
use super::tracer::{Fault, Plan, Step};
use super::transcript::Transcript;

/// How a run dealt with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The step was not reached this time.
    Missed,
    /// It did what it was asked for.
    Survived,
    /// It failed, and undid what it had done.
    RolledBack,
    /// It was killed.
    Died,
}

/// An operation, and what an undisturbed run of it tells.
pub(crate) struct Golden {
    pub(crate) operation: Operation,
    pub(crate) transcript: Transcript,
    pub(crate) status: i32,
    /// The run that is killed before.
    pub(crate) death: Option<Plan>,
}

/// Runs it with the fault, and whatever follows. Panics with what does not hold. At the end all is as before.
pub(crate) fn check(course: &Course, golden: &Golden, plan: &Plan) -> Outcome {
    let operation = golden.operation;
    course.prepare(operation, golden.death.as_ref());
    let run = course.trace(operation, Some(plan));
    let outcome = the_run(course, golden, plan, &run);
    what_follows(course, golden, &run, outcome);
    outcome
}

/// What holds after a run, whatever happened in it; at the end all is as before.
pub(crate) fn what_follows(course: &Course, golden: &Golden, run: &Finished, outcome: Outcome) {
    course.nothing_has_changed();
    the_leftovers(course, golden.operation, run, outcome);
    assert!(course.runs(), "what ran does not go on: {}{}", run.out, run.err);
    the_next_run(course, golden);
}

fn killed(fault: Fault) -> bool {
    matches!(fault, Fault::KilledBefore | Fault::KilledAfter)
}

fn the_run(course: &Course, golden: &Golden, plan: &Plan, run: &Finished) -> Outcome {
    let operation = golden.operation;
    let status = run.traced.status;
    let said = || format!("status {status}\nstdout: {}\nstderr: {}", run.out, run.err);
    assert!(!run.traced.hung, "it hangs: {}", said());
    assert!(!run.err.contains("This is a bug"), "{}", said());
    let killed = run.traced.hit && killed(plan.fault);
    let allowed: &[i32] = match plan.fault {
        _ if !run.traced.hit => &[golden.status],
        Fault::KilledBefore | Fault::KilledAfter => &[-9],
        Fault::Signalled(_) => &[130, 0, 3],
        _ => &[1, 0, 3],
    };
    assert!(allowed.contains(&status), "{}", said());
    let transcript = Transcript::read(&run.out, course.places(), killed);
    let holds = |rule: Result<(), String>| {
        if let Err(broken) = rule {
            panic!("transcript: {broken}\n{}", said());
        }
    };
    if killed {
        holds(transcript.is_prefix(&golden.transcript));
        return Outcome::Died;
    }
    assert_eq!(transcript.status(), Some(i64::from(status)), "{}", said());
    if [1, 130].contains(&status) {
        holds(transcript.is_rolled_back(&golden.transcript));
        if !operation.is_cleanup() {
            assert!(!course.result(operation, None), "it failed, but the result is there: {}", said());
        }
        return Outcome::RolledBack;
    }
    holds(transcript.is_whole(&golden.transcript));
    assert!(status == golden.status || !transcript.told("warning").is_empty(), "{}", said());
    let whole = operation.is_cleanup() || course.result(operation, Some(&transcript.complaints()));
    assert!(whole, "it succeeded without a result: {}", said());
    if run.traced.hit { Outcome::Survived } else { Outcome::Missed }
}

/// What is left is told, listed and removed.
fn the_leftovers(course: &Course, operation: Operation, run: &Finished, outcome: Outcome) {
    let pool = course.pool(operation);
    let remains = course.remains(operation);
    match outcome {
        Outcome::Died if operation.is_export() => drop(course.result(operation, None)),
        Outcome::Died => {
            let in_zfs = |step: &Step| step.by_child && step.name.starts_with("zfs: ");
            course.visible(run.traced.steps.last().is_some_and(in_zfs));
        }
        _ => {}
    }
    if remains.is_empty() {
        return;
    }
    if outcome != Outcome::Died && !operation.is_cleanup() {
        let told =
            ["remand cleanup", "could be undone", "run record"].iter().any(|words| run.out.contains(words));
        assert!(told, "{remains:?} is left, and nobody was told: {}{}", run.out, run.err);
    }
    let cleanup =
        |words: &[&str]| course.surround(operation, remand(["cleanup"]).on(pool).args(words)).ends(0).text();
    let listed = cleanup(&[]);
    assert_eq!(course.remains(operation), remains, "listing removes nothing");
    assert!(!listed.is_empty(), "{remains:?} is not listed");
    cleanup(&["--yes"]);
    assert_eq!(course.remains(operation), [""; 0], "left by cleanup, which had listed:\n{listed}");
    if outcome == Outcome::Died && !operation.is_export() {
        course.visible(false);
    }
    course.nothing_has_changed();
}

/// The same again works, and tells what it always tells.
fn the_next_run(course: &Course, golden: &Golden) {
    let operation = golden.operation;
    match operation {
        Operation::Cleanup => assert_eq!(course.visible(false), 0),
        Operation::CleanupPublishes => assert!(course.result(operation, None), "what was whole is not there"),
        _ => {
            course.remove_results(operation);
            course.prepare(operation, None);
        }
    }
    let (ended, transcript) = course.undisturbed(operation);
    if operation.is_cleanup() {
        ended.expect(0);
    } else {
        ended.expect(golden.status);
        assert_eq!(transcript.to_string(), golden.transcript.to_string(), "{}", ended.describe());
        assert!(course.result(operation, None), "{}", ended.describe());
    }
    assert_eq!(course.remains(operation), [""; 0], "left by the next run");
    course.remove_results(operation);
    course.nothing_has_changed();
    course.reset();
}
