//! What is exported and restored: a small pool with something of every kind, and the runs whose steps go wrong.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::FileType;

use super::support::at::{At, remove_tree};
use super::support::compare::{Difference, trees_without};
use super::support::pool::{Place, Pool, Size, destroy, names};
use super::support::run::{Ended, Run, remand};
use super::support::{Scratch, workload};
use super::tracer::call::Places;
use super::tracer::{self, Fault, Plan, Step, Traced};
use super::transcript::Transcript;

/// What is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    ExportTar,
    ExportDirectory,
    /// Exports in place of an older archive.
    ReplaceTar,
    ReplaceDirectory,
    RestoreOne,
    RestoreMany,
    /// After a restore that was killed.
    Cleanup,
    /// After a restore of several that was killed between two renames.
    CleanupPublishes,
}

impl Operation {
    pub(crate) const ALL: [Self; 8] = [
        Self::ExportTar,
        Self::ExportDirectory,
        Self::ReplaceTar,
        Self::ReplaceDirectory,
        Self::RestoreOne,
        Self::RestoreMany,
        Self::Cleanup,
        Self::CleanupPublishes,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ExportTar => "export-tar",
            Self::ExportDirectory => "export-directory",
            Self::ReplaceTar => "replace-tar",
            Self::ReplaceDirectory => "replace-directory",
            Self::RestoreOne => "restore",
            Self::RestoreMany => "restore-many",
            Self::Cleanup => "cleanup",
            Self::CleanupPublishes => "cleanup-publishes",
        }
    }

    pub(crate) fn is_export(self) -> bool {
        matches!(self, Self::ExportTar | Self::ExportDirectory) || self.replaces()
    }

    fn replaces(self) -> bool {
        matches!(self, Self::ReplaceTar | Self::ReplaceDirectory)
    }

    fn is_directory(self) -> bool {
        matches!(self, Self::ExportDirectory | Self::ReplaceDirectory)
    }

    pub(crate) fn is_cleanup(self) -> bool {
        matches!(self, Self::Cleanup | Self::CleanupPublishes)
    }

    /// The jails that it makes in the target.
    fn jails(self) -> &'static [&'static str] {
        match self {
            Self::RestoreOne => &["web01"],
            Self::RestoreMany | Self::CleanupPublishes => &["web01", "web02"],
            _ => &[],
        }
    }
}

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
        let course = Self { scratch, source, target, before, places };
        course.reset();
        course
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
            Operation::RestoreOne => {
                remand(["restore", "--json"]).on(&self.target).arg(archive("one.tar.gz"))
            }
            Operation::RestoreMany => {
                remand(["restore", "--json"]).on(&self.target).arg(archive("many.tar.gz"))
            }
            Operation::Cleanup | Operation::CleanupPublishes => {
                remand(["cleanup", "--json", "--yes"]).on(&self.target)
            }
        };
        run.env("TMPDIR", self.scratch.join("tmp"))
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
        let finished = self.trace(victim, plan);
        assert!(finished.traced.hit, "the run that leaves something was not killed");
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
        let jails = operation.jails();
        let there: Vec<_> = jails
            .iter()
            .filter(|name| self.target.path(&format!("jails/{name}")).symlink_metadata().is_ok())
            .collect();
        assert!(there.is_empty() || there.len() == jails.len(), "of {jails:?} there is {there:?}");
        for name in &there {
            self.is_whole(name, lost.unwrap_or_default());
        }
        !there.is_empty()
    }

    /// The jails that are visible so far, each of which must be whole.
    #[track_caller]
    pub(crate) fn visible(&self) -> usize {
        let visible: Vec<_> = self.target.jails().into_iter().filter(|name| name != "other").collect();
        for name in &visible {
            self.is_whole(name, "");
        }
        visible.len()
    }

    #[track_caller]
    fn is_whole(&self, name: &str, lost: &str) {
        let (from, to) =
            (self.source.path(&format!("jails/{name}")), self.target.path(&format!("jails/{name}")));
        assert_eq!(names(&from), names(&to), "parts of {name}");
        for part in names(&from).iter().filter(|part| from.join(part).is_dir()) {
            let found = trees_without(&from.join(part), &to.join(part), &self.target.unseen());
            let told = |one: &&Difference| {
                let name = one.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
                !name.is_empty() && lost.contains(&*String::from_utf8_lossy(name))
            };
            let found: Vec<_> = found.iter().filter(|one| !told(one)).map(ToString::to_string).collect();
            assert!(found.is_empty(), "{name}/{part}: {found:#?}");
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
        for name in ["web01", "web02"] {
            if self.target.path(&format!("jails/{name}")).symlink_metadata().is_err() {
                continue;
            }
            if self.target.is_zfs() {
                assert!(
                    destroy(&format!("{}/jails/{name}", self.target.name())),
                    "{name} cannot be destroyed"
                );
            }
            self.target.delete(&format!("jails/{name}"));
        }
    }

    /// Forgets all that remand knows of the pools, where that is not a dataset: the next run is the first.
    pub(crate) fn reset(&self) {
        for pool in [&self.source, &self.target] {
            if !pool.is_zfs() && pool.path(".remand").exists() {
                pool.delete(".remand");
            }
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
        let made = ["web01", "web02"];
        let now = [fingerprint(&self.source, &[]), fingerprint(&self.target, &made)];
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

/// Something of every kind, beside what a small jail has.
fn every_kind(root: &At) {
    let kinds = root.mkdir("kinds");
    kinds.write_sparse("sparse", 1 << 20, &[(0, b"begin"), (1 << 19, b"middle")]);
    kinds.write("setuid", "#!/bin/sh\n");
    kinds.chmod("setuid", 0o4755);
    kinds.write("noise", workload::noise(9, 70_000));
    kinds.mkdir("empty");
    kinds.try_set_xattr("noise", "user.kind", b"of a kind").expect("extended attributes");
    kinds.try_mknod("fifo", FileType::Fifo, 0o620, (0, 0)).expect("a fifo");
    kinds.try_mknod("socket", FileType::Socket, 0o700, (0, 0)).expect("a socket");
    if super::support::is_root() {
        kinds.try_chown("noise", 1234, 4321).expect("chown");
        kinds.try_mknod("device", FileType::CharacterDevice, 0o600, (1, 3)).expect("a device");
        // Not every file system has flags.
        let _ = kinds.try_set_flags("setuid", super::support::at::flags::NODUMP);
    }
    for name in ["sparse", "setuid", "noise", "empty", "fifo", "socket"] {
        kinds.set_mtime(name, workload::JAIL_TIME);
    }
    root.set_mtime("kinds", workload::JAIL_TIME);
}

/// What a user sees of a pool, but for what has these names in `jails`: a line for each entry.
fn fingerprint(pool: &Pool, except: &[&str]) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut rest = vec![pool.directory().to_owned()];
    let (jails, state) = (pool.path("jails"), pool.path(".remand"));
    let excepted = |path: &Path| path == state || except.iter().any(|name| path == jails.join(name));
    while let Some(directory) = rest.pop() {
        for entry in std::fs::read_dir(&directory).expect("a directory") {
            let path = entry.expect("an entry").path();
            if excepted(&path) {
                continue;
            }
            let meta = path.symlink_metadata().expect("an entry");
            let content = if meta.is_file() {
                std::fs::read(&path).expect("a file")
            } else {
                std::fs::read_link(&path).map_or(Vec::new(), |to| to.into_os_string().into_encoded_bytes())
            };
            // What is made in it and goes again changes that.
            let volatile = path == jails || path == pool.path("releases");
            let time = if volatile {
                (0, 0, 0, 0)
            } else {
                (meta.mtime(), meta.mtime_nsec(), meta.ctime(), meta.ctime_nsec())
            };
            let links = if meta.is_dir() { 0 } else { meta.nlink() };
            let digest = blake3::hash(&content);
            let line = (
                meta.mode(),
                meta.uid(),
                meta.gid(),
                meta.size() * u64::from(!meta.is_dir()),
                meta.ino(),
                links,
                time,
            );
            found.insert(path.clone(), format!("{line:?} {}", &digest.to_hex()[..16]));
            if meta.is_dir() {
                rest.push(path);
            }
        }
    }
    found
}
