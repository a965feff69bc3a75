use super::*;

/// Writes into memory that the test can look at.
#[derive(Clone, Default)]
pub(crate) struct Shared(Arc<Mutex<Vec<u8>>>);

impl Shared {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(lock(&self.0).clone()).unwrap()
    }
}

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Broken(io::ErrorKind);

impl Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(self.0.into())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A console without times, and what it wrote.
pub(crate) struct Transcript {
    pub(crate) console: Console,
    pub(crate) out: Shared,
    pub(crate) err: Shared,
}

fn transcript(surface: Surface, voice: &Voice, stdout: Stdout) -> Transcript {
    let (out, err) = (Shared::default(), Shared::default());
    let streams: (Stream, Stream) = (Box::new(out.clone()), Box::new(err.clone()));
    let mut console = Console::new(surface, voice, stdout, streams, Arc::default());
    console.timed = false;
    Transcript { console, out, err }
}

/// Plain lines with `-v` given `verbose` times.
pub(crate) fn plain(verbose: u8) -> Transcript {
    transcript(Surface::Plain, &Voice { verbose, ..Voice::default() }, Stdout::Free)
}

/// JSON lines on standard output.
pub(crate) fn json() -> Transcript {
    transcript(Surface::Json, &Voice { json: true, ..Voice::default() }, Stdout::Free)
}

fn event(step: Step, subject: Option<&str>, depth: u8, state: State) -> Event {
    Event { step, resource: "web01".into(), subject: subject.map(Into::into), depth, state }
}

fn begin(total_bytes: Option<u64>) -> State {
    State::Begin { total_bytes }
}

fn end(done_entries: u64, done_bytes: u64) -> State {
    State::End { done_bytes, done_entries, held_milliseconds: None }
}

fn failed(error: &str) -> State {
    State::Fail { error: error.into() }
}

/// An export as it goes well, with one warning.
fn export(console: &Console) {
    let other = Some("data/db");
    console.event(&event(Step::ResourceBackup, None, 0, begin(None)));
    console.event(&event(Step::Lock, None, 1, begin(None)));
    console.event(&event(Step::Lock, None, 1, end(0, 0)));
    console.event(&event(Step::ExportFstab, None, 1, State::Skip { reason: "it has none".into() }));
    console.event(&event(Step::ExportRootDataset, None, 1, begin(Some(3_000_000))));
    let progress = State::Progress { done_bytes: 1_000_000, done_entries: 500, total_bytes: Some(3_000_000) };
    console.event(&event(Step::ExportRootDataset, None, 1, progress));
    console.warning(&Warning {
        subject: "root/run/\x1b[31mapp.sock".into(),
        message: "a socket has no content; it is made again when it is restored".into(),
    });
    console.event(&event(Step::ExportRootDataset, None, 1, end(1234, 3_000_000)));
    console.event(&event(Step::ExportOtherDatasets, None, 1, begin(None)));
    console.event(&event(Step::ExportOtherDataset, other, 2, begin(None)));
    console.event(&event(Step::ExportOtherDataset, other, 2, end(0, 70_000)));
    console.event(&event(Step::ExportOtherDatasets, None, 1, end(0, 70_000)));
    console.event(&event(Step::ResourceBackup, None, 0, end(1234, 3_070_000)));
}

fn exported() -> Outcome {
    let mut outcome = Outcome { summary: vec!["Exported web01 to a.tar.gz".into()], ..Outcome::default() };
    outcome.result.insert("written_bytes".into(), 1_000_000.into());
    outcome
}

#[test]
fn a_good_export_in_plain_lines() {
    let t = plain(0);
    export(&t.console);
    assert_eq!(t.console.finish(Ok(exported())), 3, "a warning changes the status");
    insta::assert_snapshot!("export_plain", t.err.text());
    assert_eq!(t.out.text(), "", "standard output is for data");
}

/// Writes to the terminal that the tree is drawn on.
struct Below(indicatif::InMemoryTerm);

impl Write for Below {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        use indicatif::TermLike;
        let text = std::str::from_utf8(bytes).unwrap();
        self.0.write_str(&text.replace('\n', "\r\n"))?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_good_export_on_a_terminal() {
    let term = indicatif::InMemoryTerm::new(30, 100);
    let target = indicatif::ProgressDrawTarget::term_like(Box::new(term.clone()));
    let surface = Surface::Terminal(Tree::new(target, 30));
    let streams: (Stream, Stream) = (Box::new(Shared::default()), Box::new(Below(term.clone())));
    let mut console = Console::new(surface, &Voice::default(), Stdout::Free, streams, Arc::default());
    console.timed = false;
    export(&console);
    console.event(&event(Step::Verify, None, 0, begin(None)));
    console.finish(Ok(exported()));
    insta::assert_snapshot!("export_terminal", term.contents());
}

#[test]
fn more_with_v_and_only_warnings_with_q() {
    let t = plain(1);
    export(&t.console);
    assert!(t.err.text().contains("[ ] ExportRootDataset@web01: 2.9 MiB to go\n"), "{}", t.err.text());

    let quiet = Voice { quiet: true, ..Voice::default() };
    let t = transcript(Surface::Plain, &quiet, Stdout::Free);
    export(&t.console);
    t.console.finish(Ok(exported()));
    insta::assert_snapshot!("export_quiet", t.err.text());
}

#[test]
fn a_good_export_in_json_lines() {
    let t = json();
    export(&t.console);
    assert_eq!(t.console.finish(Ok(exported())), 3);
    insta::assert_snapshot!("export_json", t.out.text());
    assert_eq!(t.err.text(), "");
    for line in t.out.text().lines() {
        let value: Value = serde_json::from_str(line).unwrap();
        let keys = value.as_object().unwrap().len();
        assert!(value.get("step").is_some() || keys == 1, "one key says what a line is that is no event");
    }
}

#[test]
fn json_goes_to_standard_error_when_the_archive_has_standard_output() {
    let voice = Voice { json: true, ..Voice::default() };
    let t = transcript(Surface::Json, &voice, Stdout::Taken);
    export(&t.console);
    let failure = Failure::Error { chain: vec!["No".into()], hint: None, status: 1 };
    assert_eq!(t.console.finish(Err(failure)), 1);
    assert_eq!(t.out.text(), "");
    let text = t.err.text();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let result = json!({ "result": { "status": 1, "error": ["No"], "hint": null } });
    assert_eq!(lines.last(), Some(&result));
}

#[derive(Debug, thiserror::Error)]
#[error("Cannot restore web01")]
struct Outer(#[source] Middle);

#[derive(Debug, thiserror::Error)]
#[error("zfs receive failed (exit status 1): cannot receive:\x1b[2J\nno space")]
struct Middle(#[source] io::Error);

fn failure() -> Failure {
    let cause = io::Error::new(io::ErrorKind::StorageFull, "disk quota exceeded");
    Failure::new(&Outer(Middle(cause)), Some("Free some space,\nthen try again".into()), 1)
}

#[test]
fn a_failure_tells_causes_hint_and_failed_undo() {
    let play = |t: &Transcript| {
        t.console.event(&event(Step::ResourceRestore, None, 0, begin(None)));
        t.console.event(&event(Step::ImportRootDataset, None, 1, begin(None)));
        t.console.event(&event(Step::ImportRootDataset, None, 1, failed("disk quota exceeded")));
        t.console.event(&event(Step::Undo, Some(".remand/staging/x"), 1, begin(None)));
        t.console.event(&event(Step::Undo, Some(".remand/staging/x"), 1, failed("dataset is busy")));
        t.console.event(&event(Step::ResourceRestore, None, 0, failed("disk quota exceeded")));
        assert_eq!(t.console.finish(Err(failure())), 1);
    };
    let t = plain(0);
    play(&t);
    insta::assert_snapshot!("failure_plain", t.err.text());
    let t = json();
    play(&t);
    insta::assert_snapshot!("failure_json", t.out.text());
    assert!(t.err.text().starts_with("remand: Cannot restore web01\n"), "people are told in any case");
}

#[test]
fn a_cause_that_was_said_already_is_not_said_again() {
    #[derive(Debug, thiserror::Error)]
    #[error("Cannot open it: {0}")]
    struct Repeats(#[source] io::Error);
    let error = Repeats(io::Error::other("disk on fire"));
    assert_eq!(super::super::failure::chain(&error), ["Cannot open it: disk on fire"]);
}

#[test]
fn many_warnings_are_counted_and_the_first_named() {
    let t = plain(0);
    for number in 0..1200 {
        t.console.warning(&Warning { subject: format!("f{number}"), message: "lost".into() });
    }
    assert_eq!(t.console.finish(Ok(Outcome::default())), 3);
    let text = t.err.text();
    assert_eq!(
        text.lines().last(),
        Some("1,200 warnings (exit status 3): f0, f1, f2, f3, f4 and 1,195 more")
    );
    assert!(text.contains("warning: f777: lost\n"), "each is told");
}

#[test]
fn warnings_that_only_the_report_knows_count_too() {
    let t = plain(0);
    assert_eq!(t.console.finish(Ok(Outcome { warnings: 2, ..Outcome::default() })), 3);
    assert_eq!(t.err.text(), "2 warnings (exit status 3)\n");
}

fn with_broken_output(kind: io::ErrorKind, json: bool) -> (Console, Shared) {
    let err = Shared::default();
    let surface = if json { Surface::Json } else { Surface::Plain };
    let streams: (Stream, Stream) = (Box::new(Broken(kind)), Box::new(err.clone()));
    (Console::new(surface, &Voice { json, ..Voice::default() }, Stdout::Free, streams, Arc::default()), err)
}

/// JSON lines for a pipe that nobody reads.
pub(crate) fn json_without_reader() -> Console {
    with_broken_output(io::ErrorKind::BrokenPipe, true).0
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let (console, err) = with_broken_output(io::ErrorKind::BrokenPipe, false);
    let failure = console.data("KIND  NAME\n").unwrap_err();
    assert!(matches!(failure, Failure::ReaderGone));
    assert_eq!(console.finish(Err(failure)), 0);
    assert_eq!(err.text(), "");
}

#[test]
fn data_that_cannot_be_written_is_a_failure() {
    let (console, err) = with_broken_output(io::ErrorKind::StorageFull, false);
    let failure = console.data("KIND  NAME\n").unwrap_err();
    assert_eq!(console.finish(Err(failure)), 1);
    assert!(err.text().starts_with("remand: Cannot write to standard output\n"), "{}", err.text());
}

#[test]
fn a_lost_log_does_not_stop_an_operation_but_is_told() {
    let (console, err) = with_broken_output(io::ErrorKind::StorageFull, true);
    console.event(&event(Step::Lock, None, 0, end(0, 0)));
    assert_eq!(console.finish(Ok(Outcome::default())), 1);
    assert!(err.text().contains("Cannot write to standard output"));
}

#[test]
fn an_interruption_is_told_once() {
    let t = plain(0);
    t.console.event(&event(Step::Lock, None, 0, end(0, 0)));
    t.console.interrupted.store(true, Ordering::Relaxed);
    t.console.event(&event(Step::Undo, None, 0, begin(None)));
    t.console.event(&event(Step::Undo, None, 0, end(0, 0)));
    assert_eq!(t.err.text().matches("Interrupted").count(), 1, "{}", t.err.text());
}
