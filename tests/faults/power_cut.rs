//! The power fails at every step: what the file system has not handed to its disk by then is lost.
//!
//! The pool and the destination lie in an image. At the step all processes are killed and the image is copied: that is what the disk would
//! have. Mounting the copy replays the journal, as after a power cut, and what is there then is checked.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::check::{Golden, Outcome, what_follows};
use super::course::{Course, Finished, Operation};
use super::support::pool::Place;
use super::support::{Scratch, announce, program_for, root_for, skipped};
use super::tracer::{Fault, Plan};
use super::transcript::{Line, State, Transcript};
use super::{budget, cases, in_memory, message, spread};

/// File systems, and how large their images are.
const SYSTEMS: [(&str, &str); 3] = [("ext4", "96M"), ("xfs", "320M"), ("btrfs", "256M")];

/// How often, and after which pause, what is busy is tried again.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(50);

/// A file system in an image.
struct Disk {
    kind: &'static str,
    scratch: Scratch,
}

impl Disk {
    /// One with nothing in it, mounted; or an announcement that it cannot be had.
    fn new(kind: &'static str, room: &str) -> Option<Self> {
        let group = format!("power cut on {kind}");
        if !root_for(&group) || !Path::new("/dev/loop-control").exists() {
            skipped(&group, "there are no loop devices");
            return None;
        }
        let make = program_for(&group, &format!("mkfs.{kind}"))?;
        mounts_of_its_own();
        let Place::Dir(parent) = in_memory() else { unreachable!("it is a directory") };
        let disk = Self { kind, scratch: Scratch::below(&parent) };
        std::fs::create_dir(disk.place()).unwrap();
        run(Command::new("truncate").args(["-s", room]).arg(disk.image("work")));
        run(Command::new(make).arg("-q").arg(disk.image("work")));
        disk.mount("work");
        Some(disk)
    }

    fn place(&self) -> PathBuf {
        self.scratch.join("place")
    }

    fn image(&self, name: &str) -> PathBuf {
        self.scratch.join(&format!("{name}.img"))
    }

    fn mount(&self, name: &str) {
        let mut mount = Command::new("mount");
        mount
            // A killed process that had mounts of its own can have the one before for a moment: its copy is not mounted then.
            .args(["-o", if self.kind == "xfs" { "loop,nouuid" } else { "loop" }, "-t", self.kind])
            .arg(self.image(name))
            .arg(self.place());
        run_at_last(&mut mount);
    }

    fn unmount(&self) {
        // A killed process may still be closing its files.
        run_at_last(Command::new("umount").arg(self.place()));
    }

    /// Copies an image; what had the name before may still be in use.
    fn copy(&self, from: &str, to: &str) {
        let _ = std::fs::remove_file(self.image(to));
        run(Command::new("cp")
            .args(["--sparse=always", "--reflink=auto"])
            .arg(self.image(from))
            .arg(self.image(to)));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // It is not mounted between two cases.
        let _ = Command::new("umount").args(["-q", "-l"]).arg(self.place()).status();
    }
}

/// Gives this thread mounts of its own, with all that it starts. Otherwise whoever makes such meanwhile gets the image's too, and it
/// stays mounted for as long as they do: btrfs mounts no copy of what is mounted.
fn mounts_of_its_own() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("mounts of its own");
    run(Command::new("mount").args(["--make-rprivate", "/"]));
}

/// Runs what may have to wait for others.
fn run_at_last(command: &mut Command) {
    for _ in 0..TRIES {
        if command.output().is_ok_and(|output| output.status.success()) {
            return;
        }
        std::thread::sleep(PAUSE);
    }
    run(command);
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn power_cut_at_every_step() {
    let only = std::env::var("REMAND_TEST_FAULTS_ONLY").unwrap_or_default();
    let wanted = |kind: &str| only.is_empty() || only.starts_with(&format!("power-{kind}"));
    let mut failures = Vec::new();
    for (kind, room) in SYSTEMS {
        if let Some(disk) = wanted(kind).then(|| Disk::new(kind, room)).flatten() {
            failures.extend(on(&disk, &only));
        }
    }
    assert!(failures.is_empty(), "{} cases failed:\n{}", failures.len(), failures.join("\n\n"));
}

fn on(disk: &Disk, only: &str) -> Vec<String> {
    let place = if disk.kind == "btrfs" { Place::Btrfs(disk.place()) } else { Place::Dir(disk.place()) };
    // What is in the image goes with it.
    let mut course = std::mem::ManuallyDrop::new(Course::new(&place));
    let operations = Operation::ALL.into_iter().filter(|operation| course.has(*operation));
    let named = operations.filter(|operation| super::is_wanted(*operation, only));
    let goldens: Vec<_> = named
        .map(|operation| {
            let golden =
                super::golden(&course, operation, if disk.kind == "btrfs" { "btrfs" } else { "dir" });
            let steps = super::steps(&course, &golden);
            (golden, steps)
        })
        .collect();
    disk.unmount();
    disk.copy("work", "pristine");
    let mut failures = Vec::new();
    for (golden, steps) in &goldens {
        let name = golden.operation.name();
        let mut plans: Vec<_> =
            cases(steps).into_iter().filter(|plan| plan.fault == Fault::KilledBefore).map(Some).collect();
        // What is told as done is durable.
        plans.insert(0, None);
        let named = |plan: &Option<Plan>| {
            let step = plan.as_ref().map_or("the end".to_owned(), |plan| plan.step.to_string());
            format!("power-{} {name} {step}", disk.kind)
        };
        let budget = budget().map(|all| all / 4 / u32::try_from(goldens.len()).expect("a few"));
        let (begin, mut tried, mut lost) = (Instant::now(), 0, 0);
        for plan in spread(&plans).filter(|plan| only.split(' ').all(|word| named(plan).contains(word))) {
            if budget.is_some_and(|budget| begin.elapsed() > budget) || lost == super::ENOUGH {
                break;
            }
            tried += 1;
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| cut(disk, &course, golden, plan.as_ref()))) {
                lost += 1;
                announce(&format!(
                    "LOST {}: {}",
                    named(plan),
                    message(&*panic).lines().next().unwrap_or_default()
                ));
                failures.push(format!("{}\n{}", named(plan), message(&*panic)));
                let _ = Command::new("umount").args(["-q", "-l"]).arg(disk.place()).status();
            }
        }
        announce(&format!(
            "FAULTS power-{} {name}: {} steps, {tried} of {} cases, {lost} LOST",
            disk.kind,
            steps.len(),
            plans.len()
        ));
    }
    course.host = None;
    failures
}

fn cut(disk: &Disk, course: &Course, golden: &Golden, plan: Option<&Plan>) {
    disk.copy("pristine", "work");
    disk.mount("work");
    course.prepare(golden.operation, golden.death.as_ref());
    // What was there before is durable.
    run(Command::new("sync").arg("-f").arg(disk.place()));
    let finished = course.trace(golden.operation, plan);
    disk.copy("work", "cut");
    disk.unmount();
    disk.mount("cut");
    let outcome = after(course, golden, plan, &finished);
    what_follows(course, golden, &finished, outcome);
    disk.unmount();
}

/// What must be there after the power came back.
fn after(course: &Course, golden: &Golden, plan: Option<&Plan>, run: &Finished) -> Outcome {
    let operation = golden.operation;
    let killed = plan.is_some() && run.traced.hit;
    let wanted = if killed { -9 } else { golden.status };
    assert_eq!(run.traced.status, wanted, "{}{}", run.out, run.err);
    let transcript = Transcript::read(&run.out, course.places(), true);
    let done = |line: &Line| matches!(line, Line::Event { depth: 0, state: State::End, .. });
    if !operation.is_cleanup() && transcript.0.iter().any(done) {
        assert!(course.result(operation, None), "it was done, and is gone");
    }
    Outcome::Died
}

#[test]
fn what_is_not_synced_is_lost() {
    for (kind, room) in SYSTEMS {
        let Some(disk) = Disk::new(kind, room) else { continue };
        let path = |name: &str| disk.place().join(name);
        std::fs::write(path("synced"), "content").unwrap();
        std::fs::File::open(path("synced")).and_then(|file| file.sync_all()).unwrap();
        std::fs::File::open(disk.place()).and_then(|place| place.sync_all()).unwrap();
        std::fs::write(path("written"), "content").unwrap();
        disk.copy("work", "cut");
        disk.unmount();
        disk.mount("cut");
        assert_eq!(std::fs::read(path("synced")).unwrap(), b"content");
        let mut lost = std::fs::read(path("written")).unwrap_or_default() != b"content";
        disk.unmount();
        // Whoever calls sync(2) in that moment syncs all file systems.
        for number in 0..8 {
            if lost {
                break;
            }
            disk.mount("work");
            let name = format!("written{number}");
            std::fs::write(path(&name), "content").unwrap();
            disk.copy("work", "cut");
            disk.unmount();
            disk.mount("cut");
            lost = std::fs::read(path(&name)).unwrap_or_default() != b"content";
            disk.unmount();
        }
        assert!(lost, "{kind} loses nothing");
    }
}
