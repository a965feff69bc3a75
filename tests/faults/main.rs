//! Every step of every operation on every backend goes wrong in every way; after each nothing half-made is visible, what was there has not
//! changed, what is left is listed and removed by `cleanup`, the next run works, and the transcript keeps its rule.
//!
//! The steps are the system calls that change something, of remand and of all that it starts: [`tracer`] finds and disturbs them from
//! outside. All of that takes hours. Without further words as many cases are tried as fit in two minutes, in an order that is
//! spread over all steps and the same in each run:
//!
//! - `REMAND_TEST_FAULTS=all` or a number of seconds for each backend,
//! - `REMAND_TEST_FAULTS_ONLY=WORDS` tries the cases alone whose name holds all words: `dir restore fsync EIO`.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod check;
mod course;
mod power_cut;
#[path = "../support/mod.rs"]
mod support;
mod tracer;
mod transcript;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use check::{Golden, Outcome, check};
use course::{Course, Operation};
use nix::errno::Errno;
use nix::sys::signal::Signal;
use support::pool::Place;
use support::{announce, skipped};
use tracer::{Fault, Plan, Step};

/// How long the cases of one backend take, unless told otherwise.
const BUDGET: Duration = Duration::from_secs(40);
/// After so many failures of an operation the rest of its cases would tell nothing new.
const ENOUGH: usize = 40;

#[test]
fn every_step() {
    let group = "faults";
    let mut places = vec![("dir", in_memory())];
    places.extend(Place::xfs(group).map(|place| ("xfs", place)));
    places.extend(Place::btrfs(group).map(|place| ("btrfs", place)));
    // Killed callers, and mounts that are to be destroyed while they are busy, end zfs-fuse itself.
    if Path::new("/dev/zfs").exists() {
        places.extend(Place::zfs(group).map(|place| ("zfs", place)));
    } else {
        skipped("faults on zfs", "needs a kernel with ZFS; zfs-fuse does not outlive them");
    }
    let only = std::env::var("REMAND_TEST_FAULTS_ONLY").unwrap_or_default();
    let failures: Vec<String> = std::thread::scope(|scope| {
        let only = &only;
        let running: Vec<_> = places
            .iter()
            .filter(|(name, _)| only.is_empty() || only.starts_with(&format!("{name} ")))
            .map(|(name, place)| scope.spawn(move || on(name, place, only)))
            .collect();
        running.into_iter().flat_map(|one| one.join().expect("a thread")).collect()
    });
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n\n"));
}

/// Whether cases of an operation can be meant: no other one is named.
fn is_wanted(operation: Operation, only: &str) -> bool {
    let named = |other: &Operation| only.split(' ').any(|word| word == other.name());
    named(&operation) || !Operation::ALL.iter().any(named)
}

/// Plain directories where fsync(2) costs nothing, if there is such a place: on a busy disk it would take most of the time.
fn in_memory() -> Place {
    let memory = Path::new("/dev/shm");
    if tempfile::tempfile_in(memory).is_ok() { Place::Dir(memory.into()) } else { Place::dir() }
}

/// All operations in one place. What failed.
fn on(name: &str, place: &Place, only: &str) -> Vec<String> {
    let mut failures = Vec::new();
    let mut course = Course::new(place);
    for operation in Operation::ALL {
        if !is_wanted(operation, only) || !course.has(operation) {
            continue;
        }
        let golden = golden(&course, operation, name);
        let steps = steps(&course, &golden);
        let cases: Vec<_> = cases(&steps);
        let named =
            |plan: &Plan| format!("{name} {} {} {}", operation.name(), plan.step, fault_name(plan.fault));
        let wanted = |plan: &Plan| only.split(' ').all(|word| named(plan).contains(word));
        let budget = budget().map(|all| all / u32::try_from(Operation::ALL.len()).expect("a few"));
        let begin = Instant::now();
        let mut counts = BTreeMap::<&str, usize>::new();
        let (mut tried, mut lost) = (0, 0);
        for plan in spread(&cases).filter(|plan| wanted(plan)) {
            if budget.is_some_and(|budget| begin.elapsed() > budget) || lost == ENOUGH {
                break;
            }
            tried += 1;
            let outcome = catch_unwind(AssertUnwindSafe(|| check(&course, &golden, plan)));
            let count = match outcome {
                Ok(Outcome::Missed) => "missed",
                Ok(Outcome::Survived) => "survived",
                Ok(Outcome::RolledBack) => "rolled back",
                Ok(Outcome::Died) => "died",
                Err(panic) => {
                    announce(&format!(
                        "LOST {}: {}",
                        named(plan),
                        message(&*panic).lines().next().unwrap_or_default()
                    ));
                    failures.push(format!("{}\n{}", named(plan), message(&*panic)));
                    lost += 1;
                    course = Course::new(place);
                    "LOST"
                }
            };
            *counts.entry(count).or_default() += 1;
        }
        let counted = counts.iter().fold(String::new(), |mut text, (what, count)| {
            let _ = write!(text, ", {count} {what}");
            text
        });
        announce(&format!(
            "FAULTS {name} {}: {} steps, {tried} of {} cases{counted}",
            operation.name(),
            steps.len(),
            cases.len()
        ));
        let missed = counts.get("missed").copied().unwrap_or_default();
        // Threads take turns differently from run to run; more than a part of that would mean that the steps are not what they were.
        if missed * 3 > tried.max(12) {
            failures.push(format!(
                "{name} {}: {missed} of {tried} cases never came to their step",
                operation.name()
            ));
        }
    }
    failures
}

/// What an undisturbed run tells, which is compared with what it told when it was approved.
fn golden(course: &Course, operation: Operation, place: &str) -> Golden {
    let death = course.death(operation);
    course.prepare(operation, death.as_ref());
    let (ended, transcript) = course.undisturbed(operation);
    assert!([0, 3].contains(&ended.status), "{}", ended.describe());
    course.remove_results(operation);
    course.reset();
    // Those with snapshots tell the same, and so do plain directories wherever they lie.
    let backend = match place {
        "xfs" => "dir",
        "zfs" => "btrfs",
        other => other,
    };
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings
        .bind(|| insta::assert_snapshot!(format!("{}-{backend}", operation.name()), transcript.to_string()));
    Golden { operation, transcript, status: ended.status, death }
}

/// The steps that are made every time: threads and pipes make some of them come and go.
fn steps(course: &Course, golden: &Golden) -> Vec<Step> {
    let record = || {
        course.prepare(golden.operation, golden.death.as_ref());
        let recorded = course.trace(golden.operation, None);
        assert_eq!(recorded.traced.status, golden.status, "{}{}", recorded.out, recorded.err);
        course.remove_results(golden.operation);
        course.reset();
        recorded.traced.steps
    };
    let mut steps = record();
    for _ in 0..2 {
        let again: BTreeSet<_> = record().into_iter().collect();
        steps.retain(|step| again.contains(step));
    }
    if std::env::var_os("REMAND_TEST_FAULTS_LIST").is_some() {
        for step in &steps {
            announce(&format!("{} {step}", golden.operation.name()));
        }
    }
    steps
}

/// Every step with every fault that can happen there.
fn cases(steps: &[Step]) -> Vec<Plan> {
    let mut cases = Vec::new();
    for step in steps {
        let mut faults =
            vec![Fault::KilledBefore, Fault::Signalled(Signal::SIGINT), Fault::Signalled(Signal::SIGTERM)];
        if !step.name.ends_with(": exit") {
            faults.extend([Errno::EIO, Errno::ENOSPC, Errno::EINTR].map(Fault::Fails));
            faults.push(Fault::KilledAfter);
        }
        if step.writes {
            faults.push(Fault::Torn);
        }
        if step.by_child {
            faults.extend([Fault::ChildKilled, Fault::ChildFails]);
        }
        cases.extend(faults.into_iter().map(|fault| Plan { step: step.clone(), fault }));
    }
    cases
}

/// All of them, so that any first part is spread over the whole.
fn spread<T>(cases: &[T]) -> impl Iterator<Item = &T> {
    let count = cases.len();
    let mut stride = count * 618 / 1000;
    while common_divisor(stride, count) > 1 {
        stride += 1;
    }
    (0..count).map(move |nth| &cases[nth * stride % count])
}

fn common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { common_divisor(b, a % b) }
}

fn budget() -> Option<Duration> {
    match std::env::var("REMAND_TEST_FAULTS").ok().filter(|value| !value.is_empty()) {
        Some(all) if all == "all" => None,
        Some(seconds) => {
            Some(Duration::from_secs(seconds.parse().expect("REMAND_TEST_FAULTS: `all` or seconds")))
        }
        None => Some(BUDGET),
    }
}

fn fault_name(fault: Fault) -> String {
    match fault {
        Fault::Fails(errno) => format!("{errno:?}"),
        Fault::Signalled(signal) => format!("{signal:?}"),
        other => format!("{other:?}"),
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic").to_owned()
}
