//! What a restore tells of its steps, and where it stops.

use super::*;
use crate::event::{State, Step};

/// Every begin and end of a step, in order.
#[derive(Default)]
struct Course {
    told: Mutex<Vec<String>>,
    warnings: Mutex<Vec<String>>,
    /// Where the user interrupts.
    stop: Option<Step>,
    interrupted: Arc<AtomicBool>,
}

impl Observer for Course {
    fn event(&self, event: &Event) {
        let state = match &event.state {
            State::Begin { .. } => "begins",
            State::End { .. } => "ends",
            State::Fail { .. } => "fails",
            State::Skip { .. } => "is skipped",
            State::Progress { .. } => return,
        };
        if self.stop == Some(event.step) {
            self.interrupted.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        let (indent, subject) = (
            " ".repeat(event.depth.into()),
            event.subject.as_ref().map(|subject| format!(" {subject}")).unwrap_or_default(),
        );
        let step = serde_json::to_value(event.step).unwrap();
        let line = format!("{indent}{} {}{subject} {state}", event.resource, step.as_str().unwrap());
        self.told.lock().unwrap().push(line);
    }

    fn warning(&self, warning: &Warning) {
        self.warnings.lock().unwrap().push(format!("{}: {}", warning.subject, warning.message));
    }
}

fn run(host: &Host, archive: &Path, options: &Options, course: &Course) -> Result<Report> {
    restore(&host.pool, options, Input::Path(archive.to_owned()), course, &course.interrupted)
}

/// Two jails, of which the first has other datasets, too.
fn with_others(path: &Path) {
    let mut manifest = two_jails();
    for name in ["data", "log", "log/old"] {
        let mut dataset = manifest.resources[0].datasets[0].clone();
        dataset.name = name.to_owned();
        dataset.member = format!("{name}.tree");
        manifest.resources[0].datasets.push(dataset);
    }
    let members = [
        ("jails/a/config.json", "{\"id\": \"a\"}"),
        ("jails/a/fstab", "# nothing\n"),
        ("jails/a/files", ""),
        ("jails/a/files/note", "a note"),
        ("jails/a/root.tree", ""),
        ("jails/a/root.tree/file", "of a"),
        ("jails/a/data.tree", ""),
        ("jails/a/data.tree/file", "of data"),
        ("jails/a/log.tree", ""),
        ("jails/a/log.tree/file", "of log"),
        ("jails/a/log/old.tree", ""),
        ("jails/b/root.tree", ""),
        ("jails/b/root.tree/file", "of b"),
    ];
    archive(path, &manifest, &members, None);
}

#[test]
fn every_step_of_every_resource_begins_and_ends() {
    let host = Host::new();
    let path = host.path("two.tar");
    with_others(&path);
    let course = Course::default();
    run(&host, &path, &Options::default(), &course).unwrap();
    let told = course.told.lock().unwrap();
    let told: Vec<_> = told.iter().map(|line| line.replace(path.to_str().unwrap(), "all")).collect();
    let expected = "\
all ResourceRestore begins
 all ExtractBundle begins
  a Lock begins
  a Lock ends
  b Lock begins
  b Lock ends
 all ExtractBundle ends
 a ResourceRestore begins
  a ImportConfig begins
  a ImportConfig ends
  a ImportFstab begins
  a ImportFstab ends
  a ImportFiles begins
  a ImportFiles ends
  a ImportRootDataset begins
  a ImportRootDataset ends
  a ImportOtherDatasets begins
   a ImportOtherDataset data begins
   a ImportOtherDataset data ends
   a ImportOtherDataset log begins
   a ImportOtherDataset log ends
   a ImportOtherDataset log/old begins
   a ImportOtherDataset log/old ends
  a ImportOtherDatasets ends
 a ResourceRestore ends
 b ResourceRestore begins
  b ImportRootDataset begins
  b ImportRootDataset ends
 b ResourceRestore ends
 all CheckSeal begins
 all CheckSeal ends
 all Publish jail a begins
 all Publish jail a ends
 all Publish jail b begins
 all Publish jail b ends
all ResourceRestore ends";
    assert_eq!(told, expected.lines().collect::<Vec<_>>());
    assert_eq!(std::fs::read(host.path("jails/a/note")).unwrap(), b"a note");
    assert_eq!(host.names("jails/a/log"), ["file", "old"]);
}

/// Of one resource the step is that of the whole restore; a base that comes along makes two of it.
#[test]
fn each_of_several_resources_has_a_step() {
    let source = Host::new();
    exported(&source);
    let now = jiff::Timestamp::UNIX_EPOCH;
    let selection = Selection::parse(Purpose::Export, &["web".to_owned()], false, &[], None, now).unwrap();
    let options = export::Options { with_base: true, ..export::Options::new(selection) };
    let path = source.path("both.tar");
    let destination = Destination::Path { path: path.clone(), force: false };
    export::export(&source.pool, &options, destination, &source.told, &AtomicBool::new(false)).unwrap();
    let begun = |host: &Host| {
        let course = Course::default();
        run(host, &path, &selected(&["web"]), &course).unwrap();
        let told = course.told.into_inner().unwrap();
        told.into_iter().filter(|line| line.ends_with("ResourceRestore begins")).collect::<Vec<_>>()
    };
    let host = Host::new();
    let told = begun(&host);
    let own: Vec<_> = told.iter().filter(|line| line.starts_with(' ')).collect();
    assert_eq!(own, [" base ResourceRestore begins", " web ResourceRestore begins"], "{told:?}");
    std::fs::remove_dir_all(host.path("jails/web")).unwrap();
    let told = begun(&host);
    assert!(told.len() == 1 && !told[0].starts_with(' '), "{told:?}");
}

#[test]
fn a_step_of_a_resource_that_is_left_out_ends() {
    let host = Host::new();
    let path = host.path("two.tar");
    let mut manifest = two_jails();
    let mut missing = manifest.resources[0].datasets[0].clone();
    (missing.name, missing.member) = ("data".to_owned(), "data.tree".to_owned());
    manifest.resources[0].datasets.push(missing);
    // What lies in a file cannot be made.
    let members = [
        ("jails/a/root.tree", ""),
        ("jails/a/root.tree/file", "x"),
        ("jails/b/root.tree", ""),
        ("jails/b/root.tree/file", "of b"),
    ];
    archive(&path, &manifest, &members, Some(0));
    let course = Course::default();
    let report = run(&host, &path, &Options { keep_going: true, ..Options::default() }, &course).unwrap();
    assert_eq!(host.names("jails"), ["b"]);
    assert_eq!((report.warnings, course.warnings.lock().unwrap().len()), (1, 1));
    let told = course.told.lock().unwrap();
    let begun = told.iter().filter(|line| line.ends_with(" begins")).count();
    assert_eq!(begun * 2, told.len(), "{told:?}");
    host.is_clean();
}

#[test]
fn an_interrupt_ends_a_restore_wherever_it_is() {
    for stop in [
        Step::ExtractBundle,
        Step::ImportConfig,
        Step::ImportRootDataset,
        Step::ImportOtherDataset,
        Step::CheckSeal,
    ] {
        let host = Host::new();
        let path = host.path("two.tar");
        with_others(&path);
        let course = Course { stop: Some(stop), ..Course::default() };
        // Nothing is gone on with.
        let options = Options { keep_going: true, ..Options::default() };
        let error = run(&host, &path, &options, &course).unwrap_err();
        assert!(matches!(error, Error::Interrupted), "{stop:?}: {error}");
        assert_eq!(host.names("jails"), [""; 0]);
        host.is_clean();
        let told = course.told.lock().unwrap();
        assert!(told.iter().filter(|line| line.ends_with(" begins")).count() * 2 == told.len(), "{told:?}");
    }
}

/// Whatever the receiver says of a stream that ends too early.
#[test]
fn an_interrupt_within_a_stream_is_an_interrupt() {
    let host = Host::twisted(Twist { receives: true, ..Twist::default() });
    let members = [("jails/a/root.tree", ""), ("jails/a/data.btrfs", "a stream"), ("jails/b/root.tree", "")];
    let path = with_datasets(&host, &[("data", Encoding::Btrfs)], &members);
    let course = Course { stop: Some(Step::ImportOtherDataset), ..Course::default() };
    let error = run(&host, &path, &Options::default(), &course).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    assert_eq!(host.names("jails"), [""; 0]);
    host.is_clean();
}

/// The names in staging when something becomes visible, and those of the runs.
#[derive(Default)]
struct Stages {
    host: Option<Host>,
    seen: Mutex<Option<[Vec<String>; 2]>>,
}

impl Observer for Stages {
    fn event(&self, event: &Event) {
        let host = self.host.as_ref().unwrap();
        if event.step == Step::Publish {
            let seen = [".remand/staging", ".remand/runs"].map(|directory| host.names(directory));
            self.seen.lock().unwrap().get_or_insert(seen);
        }
    }

    fn warning(&self, _: &Warning) {}
}

/// So that `cleanup` finds them whatever the record says.
#[test]
fn what_is_staged_has_the_name_of_its_run() {
    for (words, expected) in [(&["a"][..], 1), (&[], 2)] {
        let stages = Stages { host: Some(Host::new()), ..Stages::default() };
        let host = stages.host.as_ref().unwrap();
        let path = host.path("two.tar");
        let mut manifest = two_jails();
        if expected == 1 {
            manifest.resources.truncate(1);
        }
        archive(&path, &manifest, &TWO[..2 * expected], None);
        let interrupted = Arc::new(AtomicBool::new(false));
        restore(&host.pool, &selected(words), Input::Path(path), &stages, &interrupted).unwrap();
        let [names, runs] = stages.seen.lock().unwrap().take().unwrap();
        let runs: Vec<_> = runs.iter().filter(|name| !name.ends_with(".received")).collect();
        let [run] = &runs[..] else { panic!("{runs:?}") };
        let of_run: Vec<_> = match expected {
            1 => vec![(*run).clone()],
            _ => (0..expected).map(|number| format!("{run}-{number:05}")).collect(),
        };
        assert_eq!(names, of_run);
    }
}

/// Amid a content: what reads it fails in some way.
#[test]
fn an_interrupt_within_a_content_is_an_interrupt() {
    let host = Host::new();
    let path = host.path("two.tar");
    let large = "x".repeat(32 << 20);
    let members =
        [("jails/a/files/large", large.as_str()), ("jails/a/root.tree", ""), ("jails/b/root.tree", "")];
    archive(&path, &two_jails(), &members, None);
    let course = Course { stop: Some(Step::ImportFiles), ..Course::default() };
    let error = run(&host, &path, &Options::default(), &course).unwrap_err();
    assert!(matches!(error, Error::Interrupted), "{error}");
    host.is_clean();
}
