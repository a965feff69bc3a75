//! What is exported and restored: a small pool with something of every kind, and the runs whose steps go wrong.

mod content;
mod operation;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use content::{every_kind, fingerprint, foreign, other_release};
pub(crate) use operation::Operation;

use super::support::Scratch;
use super::support::at::{At, remove_tree};
use super::support::compare::{Difference, trees_without};
use super::support::host::Host;
use super::support::pool::{Place, Pool, Size, destroy, names};
use super::support::run::{Ended, Run, remand};
use super::tracer::call::Places;
use super::tracer::{self, Fault, Plan, Step, Traced};
use super::transcript::Transcript;

/// All that is made in the target.
const MADE: [&str; 5] = ["jails/web01", "jails/web02", "jails/web03", "jails/old01", "releases/base-2.0"];

/// How a run ended, traced or not.
pub(crate) struct Finished {
    pub(crate) traced: Traced,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The pools of one place, with what is restored there.
pub(crate) struct Course {
    scratch: Scratch,
    pub(crate) source: Pool,
    pub(crate) target: Pool,
    /// What all of them looked like at the beginning.
    before: [BTreeMap<PathBuf, String>; 2],
    places: Places,
    /// Where web01 runs, on machines that can have such.
    pub(crate) host: Option<Host>,
}

impl Course {
    pub(crate) fn new(place: &Place) -> Self {
        let scratch = match place {
            Place::Dir(parent) | Place::Btrfs(parent) => Scratch::below(parent),
            Place::Zfs(_) => Scratch::new(),
        };
        for part in ["dest", "tmp", "archives"] {
            std::fs::create_dir(scratch.join(part)).unwrap();
        }
        let (source, target) =
            (Pool::with_release(place, Size::Small), Pool::with_release(place, Size::Small));
        source.jail("web01", "base-1.0", Size::Small);
        source.bare_jail("web02", "base-1.0", Size::Small);
        every_kind(&At::open(&source.root("web01")));
        target.bare_jail("other", "base-1.0", Size::Small);
        for (name, jails) in [("one.tar.gz", &["web01"][..]), ("many.tar.gz", &["web01", "web02"])] {
            let ended =
                remand(["export"]).on(&source).args(jails).arg(scratch.join("archives").join(name)).end();
            assert!([0, 3].contains(&ended.status), "{}", ended.describe());
        }
        other_release(&source);
        source.bare_jail("web03", "base-2.0", Size::Small);
        let ended = remand(["export", "--with-base", "web03"]).on(&source);
        ended.arg(scratch.join("archives").join("with-base.tar.gz")).ends(0);
        foreign(&source, &scratch.join("archives").join("old01.tar.gz"));
        for old in [Operation::ReplaceTar, Operation::ReplaceDirectory] {
            let old = scratch.join("archives").join(archive_name(old));
            remand(["export"]).on(&source).arg("web02").arg(old).ends(0);
        }
        let mut places = Places::new();
        for (pool, name) in [(&source, "SOURCE"), (&target, "TARGET")] {
            places.push((pool.directory().to_owned(), name));
            if pool.is_zfs() {
                places.push((pool.name().into(), name));
            }
        }
        places.push((scratch.join("dest"), "DEST"));
        places.push((scratch.join("tmp"), "TMP"));
        places.push((scratch.path().to_owned(), "SCRATCH"));
        // What has changed within the last two seconds is not taken for settled, and some steps would not be made.
        std::thread::sleep(std::time::Duration::from_millis(2100));
        let before = [fingerprint(&source, &[]), fingerprint(&target, &[])];
        let host = Host::new("faults of what is stopped", &["lxc-"], "c1", &source.root("web01"));
        let course = Self { scratch, source, target, before, places, host };
        course.reset();
        course
    }

    /// Whether this machine can have it.
    pub(crate) fn has(&self, operation: Operation) -> bool {
        operation != Operation::ExportHeld || self.host.is_some()
    }

    /// Another run in the surroundings of an operation.
    pub(crate) fn surround(&self, operation: Operation, run: Run) -> Run {
        match &self.host {
            Some(host) if operation == Operation::ExportHeld => host.on(run),
            _ => run,
        }
    }

    /// Whether what ran before runs.
    pub(crate) fn runs(&self) -> bool {
        self.host.as_ref().is_none_or(|host| host.state() == "RUNNING")
    }

    /// The pool that an operation works in.
    pub(crate) fn pool(&self, operation: Operation) -> &Pool {
        if operation.is_export() { &self.source } else { &self.target }
    }

    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// Where an export goes.
    pub(crate) fn destination(&self, operation: Operation) -> PathBuf {
        self.scratch.join("dest").join(archive_name(operation))
    }

    /// A run of the operation.
    pub(crate) fn command(&self, operation: Operation) -> Run {
        let archive = |name: &str| self.scratch.join("archives").join(name);
        let run = match operation {
            Operation::ExportTar | Operation::ExportDirectory => {
                remand(["export", "--json"]).on(&self.source).arg("web01").arg(self.destination(operation))
            }
            Operation::ReplaceTar | Operation::ReplaceDirectory => {
                let run = remand(["export", "--json", "--force"]).on(&self.source);
                run.arg("web01").arg(self.destination(operation))
            }
            Operation::ExportWithBase => {
                let run = remand(["export", "--json", "--with-base", "web01"]).on(&self.source);
                run.arg(self.destination(operation))
            }
            Operation::ExportHeld => {
                let hooks = ["--pre-snapshot", "echo before", "--post-snapshot", "echo after"];
                let run = remand(["export", "--json", "--stop"]).on(&self.source).args(&hooks);
                run.arg("web01").arg(self.destination(operation))
            }
            Operation::RestoreOne
            | Operation::RestoreMany
            | Operation::RestoreWithBase
            | Operation::RestoreForeign => {
                let name = match operation {
                    Operation::RestoreOne => "one.tar.gz",
                    Operation::RestoreMany => "many.tar.gz",
                    Operation::RestoreWithBase => "with-base.tar.gz",
                    _ => "old01.tar.gz",
                };
                remand(["restore", "--json"]).on(&self.target).arg(archive(name))
            }
            Operation::Cleanup | Operation::CleanupPublishes => {
                remand(["cleanup", "--json", "--yes"]).on(&self.target)
            }
        };
        self.surround(operation, run.env("TMPDIR", self.scratch.join("tmp")))
    }

    /// Runs it traced.
    pub(crate) fn trace(&self, operation: Operation, plan: Option<&Plan>) -> Finished {
        let command: Command = self.command(operation).into_command();
        let (out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let traced = tracer::run(&command, &out, &err, &self.places, plan);
        Finished { traced, out: text(out), err: text(err) }
    }

    /// What an untraced run of the operation tells, which must end well.
    pub(crate) fn undisturbed(&self, operation: Operation) -> (Ended, Transcript) {
        let ended = self.command(operation).end();
        let transcript = Transcript::read(&ended.text(), &self.places, false);
        (ended, transcript)
    }

    /// Leaves what a `cleanup` finds.
    pub(crate) fn prepare(&self, operation: Operation, plan: Option<&Plan>) {
        if operation.replaces() {
            let old = self.scratch.join("archives").join(archive_name(operation));
            copy(&old, &self.destination(operation));
        }
        let (victim, plan) = match operation {
            Operation::Cleanup => (Operation::RestoreOne, plan),
            Operation::CleanupPublishes => (Operation::RestoreMany, plan),
            _ => return,
        };
        let Finished { traced, out, err } = self.trace(victim, plan);
        assert!(traced.hit, "the run that leaves something was not killed: {traced:?}\n{out}{err}");
    }

    /// Where a run dies whose leftovers `cleanup` finds: before the first of its resources is visible, or the second.
    pub(crate) fn death(&self, operation: Operation) -> Option<Plan> {
        let victim = match operation {
            Operation::Cleanup => Operation::RestoreOne,
            Operation::CleanupPublishes => Operation::RestoreMany,
            _ => return None,
        };
        let steps = self.trace(victim, None).traced.steps;
        self.remove_results(victim);
        self.reset();
        let publishes = |step: &&Step| {
            step.name.starts_with("rename TARGET/.remand/staging/") && step.name.contains(" to TARGET/jails/")
                || step.name == "execve zfs rename"
        };
        let mut publishing = steps.iter().filter(publishes);
        let first = publishing.next().expect("a rename that makes a resource visible").clone();
        let step = if victim == Operation::RestoreMany {
            publishing.next().expect("another").clone()
        } else {
            first
        };
        Some(Plan { step, fault: Fault::KilledBefore })
    }

    /// Whether the whole result is there, or nothing of it; anything between is a panic. `lost` is what the run has told of, which may
    /// be missing from it.
    #[track_caller]
    pub(crate) fn result(&self, operation: Operation, lost: Option<&str>) -> bool {
        if operation.is_export() {
            let destination = self.destination(operation);
            let there = destination.symlink_metadata().is_ok();
            if there {
                remand(["verify"]).arg(&destination).ends(0);
            }
            if operation.replaces() {
                assert!(there, "neither the old archive is there nor the new one");
                let old = self.scratch.join("archives").join(archive_name(operation));
                return !is_same(&old, &destination);
            }
            return there;
        }
        let made = operation.makes();
        let there: Vec<_> =
            made.iter().filter(|path| self.target.path(path).symlink_metadata().is_ok()).collect();
        assert!(there.is_empty() || there.len() == made.len(), "of {made:?} there is {there:?}");
        for path in &there {
            self.is_whole(path, lost.unwrap_or_default());
        }
        !there.is_empty()
    }

    /// What is visible so far, each of which must be whole. zfs(8) unmounts what it renames and mounts it again, one after the other:
    /// when it is killed `in_zfs` itself, not all may be mounted.
    #[track_caller]
    pub(crate) fn visible(&self, in_zfs: bool) -> usize {
        let is_visible = |path: &&str| self.target.path(path).symlink_metadata().is_ok();
        let visible: Vec<_> = MADE.into_iter().filter(is_visible).collect();
        for path in &visible {
            if !in_zfs || self.target.is_mounted(path) {
                self.is_whole(path, "");
            }
        }
        visible.len()
    }

    #[track_caller]
    fn is_whole(&self, path: &str, lost: &str) {
        let (from, to) = (self.source.path(path), self.target.path(path));
        assert_eq!(names(&from), names(&to), "parts of {path}");
        for part in names(&from).iter().filter(|part| from.join(part).is_dir()) {
            let found = trees_without(&from.join(part), &to.join(part), &self.target.unseen());
            let told = |one: &&Difference| {
                let name = one.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                !name.is_empty() && lost.contains(&*String::from_utf8_lossy(name))
            };
            let found: Vec<_> = found.iter().filter(|one| !told(one)).map(ToString::to_string).collect();
            assert!(found.is_empty(), "{path}/{part}: {found:#?}");
        }
    }

    /// Removes what a run has made, so that the next one can.
    pub(crate) fn remove_results(&self, operation: Operation) {
        let destination = self.destination(operation);
        match destination.symlink_metadata() {
            Ok(found) if found.is_dir() => remove_tree(&destination),
            Ok(_) => std::fs::remove_file(&destination).unwrap(),
            Err(_) => {}
        }
        for path in MADE {
            if self.target.path(path).symlink_metadata().is_err() {
                continue;
            }
            if self.target.is_zfs() {
                assert!(destroy(&format!("{}/{path}", self.target.name())), "{path} cannot be destroyed");
            }
            self.target.delete(path);
        }
    }

    /// Forgets all that remand knows of the pools, where that is not a dataset: the next run is the first.
    pub(crate) fn reset(&self) {
        for pool in [&self.source, &self.target] {
            if !pool.is_zfs() && pool.path(".remand").exists() {
                pool.delete(".remand");
            }
        }
        if let Some(host) = &self.host {
            host.set_state("RUNNING");
        }
    }

    /// What is left of runs that did not end well.
    pub(crate) fn remains(&self, operation: Operation) -> Vec<String> {
        let pool = self.pool(operation);
        let mut found = pool.remains();
        let runs = names(&pool.path(".remand/runs")).into_iter().filter(|name| !name.starts_with('.'));
        found.extend(runs.map(|name| format!("runs/{name}")));
        let unfinished =
            names(&pool.path(".remand/datasets")).into_iter().filter(|name| name.contains(".new"));
        found.extend(unfinished);
        // What has no name yet, or lost it.
        for below in ["", "runs", "fingerprints", "locks"] {
            let hidden =
                names(&pool.path(".remand").join(below)).into_iter().filter(|name| name.starts_with('.'));
            found.extend(hidden.map(|name| format!("hidden {below}/{name}")));
        }
        let last = self.destination(operation);
        let beside = names(&self.scratch.join("dest")).into_iter();
        found.extend(
            beside.filter(|name| Some(name.as_ref()) != last.file_name()).map(|name| format!("dest/{name}")),
        );
        found.extend(names(&self.scratch.join("tmp")).into_iter().map(|name| format!("tmp/{name}")));
        found
    }

    /// Fails the test unless all that was there before is as it was.
    #[track_caller]
    pub(crate) fn nothing_has_changed(&self) {
        let now = [fingerprint(&self.source, &[]), fingerprint(&self.target, &MADE)];
        for (before, now) in self.before.iter().zip(&now) {
            let missing: Vec<_> =
                before.iter().filter(|(path, state)| now.get(*path) != Some(state)).collect();
            let new: Vec<_> = now.iter().filter(|(path, state)| before.get(*path) != Some(state)).collect();
            assert!(missing.is_empty() && new.is_empty(), "it was {missing:?} and is {new:?}");
        }
    }
}

fn text(mut file: File) -> String {
    let mut bytes = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("what was printed");
    String::from_utf8_lossy(&bytes).into_owned()
}

fn archive_name(operation: Operation) -> &'static str {
    if operation.is_directory() { "web01" } else { "web01.tar.gz" }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status().expect("cp");
    assert!(copied.success(), "{} cannot be copied", from.display());
}

/// Whether two archives are the same: their indexes tell.
fn is_same(one: &Path, other: &Path) -> bool {
    let index = |path: &Path| {
        let file = if path.is_dir() { path.join("index.jsonl") } else { path.to_owned() };
        std::fs::read(file).expect("an archive")
    };
    index(one) == index(other)
}
