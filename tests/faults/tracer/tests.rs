//! The tracer itself: what it says went wrong has gone wrong.

use super::super::support::Scratch;
use super::*;

/// Runs a script in which one step goes wrong. The step's name begins with `step`.
fn disturbed(scratch: &Scratch, script: &str, step: &str, fault: Fault) -> Traced {
    let places = vec![(scratch.path().to_owned(), "HERE")];
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script, "sh"]).arg(scratch.path()).env("PATH", "/usr/bin:/bin");
    let trace = |plan: Option<&Plan>| {
        let out = tempfile::tempfile().unwrap();
        run(&command, &out, &out, &places, plan)
    };
    let steps = trace(None).steps;
    let step = steps.iter().find(|known| known.name.starts_with(step)).unwrap_or_else(|| panic!("{steps:?}"));
    for name in super::super::support::pool::names(scratch.path()) {
        std::fs::remove_file(scratch.join(&name)).unwrap();
    }
    let traced = trace(Some(&Plan { step: step.clone(), fault }));
    assert!(traced.hit && !traced.hung);
    traced
}

#[test]
fn a_call_fails_or_is_the_last_one() {
    let make = "echo text > $1/file && exec 9>$1/after";
    for (fault, status, file, after) in [
        (Fault::Fails(Errno::ENOSPC), 2, false, false),
        (Fault::KilledBefore, -9, false, false),
        (Fault::KilledAfter, -9, true, false),
        (Fault::Signalled(Signal::SIGTERM), -15, true, false),
    ] {
        let scratch = Scratch::new();
        let traced = disturbed(&scratch, make, "openat HERE/file", fault);
        assert_eq!(traced.status, status, "{fault:?}");
        // A signal is delivered when the call returns.
        let there = |name: &str| scratch.join(name).exists();
        assert_eq!((there("file"), there("after")), (file, after), "{fault:?}");
    }
}

#[test]
fn half_is_written_and_then_nothing_more() {
    let scratch = Scratch::new();
    let copy = "head -c 1000 /dev/zero > $1/file";
    let traced = disturbed(&scratch, copy, "head: write HERE/file", Fault::Torn);
    assert_eq!(traced.status, 1);
    assert_eq!(std::fs::read(scratch.join("file")).unwrap().len(), 500);
}

#[test]
fn a_child_is_killed_or_fails() {
    let script = "head -c 1000 /dev/zero > $1/file; echo $? > $1/status";
    for (fault, status) in [(Fault::ChildKilled, "137\n"), (Fault::ChildFails, "1\n")] {
        let scratch = Scratch::new();
        let traced = disturbed(&scratch, script, "head: write HERE/file", fault);
        assert_eq!(traced.status, 0);
        assert_eq!(std::fs::read_to_string(scratch.join("status")).unwrap(), status);
        assert_eq!(std::fs::read(scratch.join("file")).unwrap().len(), 0);
    }
}
