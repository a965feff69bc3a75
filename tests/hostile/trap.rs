//! A place where hostile archives are let loose, and where it shows what they did.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::support::Scratch;
use crate::support::bundle::Bundle;
use crate::support::pool::{Place, Pool, Size, names};
use crate::support::run::{Run, export, peak_bytes, remand};

const MIB: usize = 1 << 20;
/// More than this no archive may cost.
const MOST_BYTES: usize = 128 * MIB;
/// On a busy machine with a debugging build.
const MOST_TIME: Duration = Duration::from_secs(120);

/// How a run ended, and what it cost.
pub(crate) struct Cost {
    pub(crate) status: i32,
    pub(crate) stderr: String,
    /// The most memory that it had at once, as the kernel counts it; 0 where it does not tell.
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
}

/// Runs it to its end, or for so long as it may take.
pub(crate) fn cost(run: Run, input: Option<&Path>) -> Cost {
    let scratch = Scratch::new();
    let errors = scratch.join("stderr");
    let stdin = match input {
        Some(path) => Stdio::from(std::fs::File::open(path).unwrap()),
        None => Stdio::null(),
    };
    let begun = Instant::now();
    let mut command = run.into_command();
    command.stdin(stdin).stdout(Stdio::null()).stderr(std::fs::File::create(&errors).unwrap());
    let mut child = command.spawn().unwrap();
    let mut bytes = 0;
    let ended = loop {
        if let Some(ended) = child.try_wait().unwrap() {
            break ended;
        }
        bytes = bytes.max(peak_bytes(&child).unwrap_or(0));
        if begun.elapsed() > MOST_TIME {
            child.kill().unwrap();
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    let stderr = String::from_utf8_lossy(&std::fs::read(&errors).unwrap()).chars().take(2000).collect();
    Cost { status: ended.code().unwrap_or(-1), stderr, bytes, time: begun.elapsed() }
}

pub(crate) struct Trap {
    pub(crate) scratch: Scratch,
    pub(crate) source: Pool,
    pub(crate) target: Pool,
}

impl Trap {
    /// With a differential archive.
    pub(crate) fn new() -> (Self, Bundle) {
        Self::with(&Place::dir(), &[])
    }

    /// With a standalone one.
    pub(crate) fn standalone() -> (Self, Bundle) {
        Self::with(&Place::dir(), &["--standalone"])
    }

    pub(crate) fn with(place: &Place, options: &[&str]) -> (Self, Bundle) {
        let scratch = Scratch::new();
        let source = Pool::with_jail(place, Size::Small);
        let target = Pool::with_release(place, Size::Small);
        export(&source, "web01", &scratch.join("honest.tar"), options);
        let bundle = Bundle::open(&scratch.join("honest.tar"));
        (Self { scratch, source, target }, bundle)
    }

    /// As a TAR, verify and restore must end with one of `statuses`, and leave nothing: not in the pool, not beside it.
    #[track_caller]
    pub(crate) fn is_refused_with(&self, bundle: &Bundle, statuses: &[i32]) {
        let archive = self.scratch.join("hostile.tar");
        bundle.save(&archive);
        self.refuses("TAR", &archive, statuses);
        std::fs::remove_file(archive).unwrap();
    }

    /// The same in both formats, for what does not lie in a header.
    #[track_caller]
    pub(crate) fn is_refused_in_both_with(&self, bundle: &Bundle, statuses: &[i32]) {
        self.is_refused_with(bundle, statuses);
        let archive = self.scratch.join("hostile");
        bundle.save_directory(&archive);
        self.refuses("DIRECTORY", &archive, statuses);
        std::fs::remove_dir_all(archive).unwrap();
    }

    #[track_caller]
    pub(crate) fn is_refused(&self, bundle: &Bundle) {
        self.is_refused_with(bundle, &[23]);
    }

    /// What is around the target.
    fn around(&self) -> Vec<Vec<String>> {
        let directory = self.target.directory();
        let mut pool = names(directory);
        pool.retain(|name| name != ".remand");
        vec![
            names(directory.parent().unwrap()),
            pool,
            names(&self.target.path("releases")),
            names(&self.target.path("releases/base-1.0/root")),
            names(self.scratch.path()),
        ]
    }

    /// Lets an archive loose on every command.
    #[track_caller]
    pub(crate) fn refuses(&self, form: &str, archive: &Path, statuses: &[i32]) {
        let before = self.around();
        for (what, run) in [
            ("verify", remand(["verify"]).arg(archive)),
            ("restore", remand(["restore"]).on(&self.target).arg(archive)),
        ] {
            self.costs_little(form, what, run, statuses);
        }
        self.only_looks(form, archive);
        assert_eq!(self.around(), before, "{form}");
    }

    /// Commands that need not notice, but must do no harm.
    #[track_caller]
    pub(crate) fn only_looks(&self, form: &str, archive: &Path) {
        let to = self.scratch.join("to");
        let any = [0, 3, 10, 20, 21, 22, 23];
        let looks = [
            ("dry run", remand(["restore", "--dry-run"]).on(&self.target).arg(archive)),
            ("info", remand(["info"]).arg(archive)),
            ("ls", remand(["ls"]).arg(archive).arg(":/")),
            ("cat", remand(["cat"]).on(&self.target).arg(archive).arg(":/srv/new")),
            ("diff", remand(["diff"]).arg(archive)),
            ("to", remand(["restore", "--to"]).arg(&to).on(&self.target).arg(archive).arg(":/srv")),
        ];
        for (what, run) in looks {
            // A standalone archive differs from no base.
            let any = [&any[..], if what == "diff" { &[1] } else { &[] }].concat();
            self.costs_little(form, what, run, &any);
            if to.exists() {
                assert!(names(&to).iter().all(|name| name == "srv"), "{form}: {:?}", names(&to));
                crate::support::at::remove_tree(&to);
            }
        }
    }

    #[track_caller]
    pub(crate) fn costs_little(&self, form: &str, what: &str, run: Run, statuses: &[i32]) {
        let cost = cost(run, None);
        self.check(form, what, &cost, statuses);
        assert_eq!((self.target.jails(), self.target.remains()), (vec![], vec![]), "{form} {what}");
    }

    /// Fails unless it ended as expected, and cost little.
    #[allow(clippy::unused_self)] // it reads like the others
    #[track_caller]
    pub(crate) fn check(&self, form: &str, what: &str, cost: &Cost, statuses: &[i32]) {
        let told = format!("{form} {what}: {} after {:?}: {}", cost.status, cost.time, cost.stderr);
        assert!(statuses.contains(&cost.status), "{told}");
        assert!(cost.bytes < MOST_BYTES, "{} MiB: {told}", cost.bytes / MIB);
        assert!(cost.time < MOST_TIME, "{told}");
        let control = |c: char| c.is_control() && c != '\n';
        assert!(!cost.stderr.contains(control), "{told:?}");
    }
}
