//! The tree of steps on a terminal: one line a step, with a bar where its size is known. Everything goes through
//! indicatif, so that no other line tears the bars.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use remand::event::{Event, State};

use super::{Key, text, units};

/// A step's line with a bar: bytes, rate and the time that it still needs.
const BAR: &str = "{prefix}[{spinner}] {msg} [{bar:24}] {bytes}/{total_bytes} {bytes_per_sec} ETA {eta}";
/// A step's line when its size isn't known, once bytes move.
const STREAM: &str = "{prefix}[{spinner}] {msg} {bytes} {bytes_per_sec}";
/// A step's line before that.
const SPINNER: &str = "{prefix}[{spinner}] {msg}";
const DONE: &str = "{prefix}{msg}";
const FAILED: &str = "{prefix}{msg:.red}";

/// The tree.
#[derive(Debug)]
pub(super) struct Tree {
    bars: MultiProgress,
    rows: Mutex<Vec<Row>>,
    /// Lines that the terminal shows at once.
    height: usize,
    open: AtomicBool,
}

#[derive(Debug)]
struct Row {
    key: Key,
    bar: ProgressBar,
    label: String,
    over: bool,
    failed: bool,
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants of this module, and a test builds each.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        // Plain ASCII: a FreeBSD console may have no more.
        .progress_chars("=> ")
        .tick_chars("|/-\\ ")
}

impl Tree {
    /// Draws on `target`, of which `height` lines are visible.
    pub(super) fn new(target: ProgressDrawTarget, height: usize) -> Self {
        Self {
            bars: MultiProgress::with_draw_target(target),
            rows: Mutex::default(),
            height,
            open: true.into(),
        }
    }

    /// Whether it is still drawn.
    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// Leaves the tree as it is; what is written from now on comes below it.
    pub(super) fn close(&self) {
        self.open.store(false, Ordering::Relaxed);
        for row in &*self.rows.lock().unwrap_or_else(PoisonError::into_inner) {
            if !row.over {
                row.bar.abandon();
            }
        }
    }

    /// Prints a line above the tree.
    pub(super) fn println(&self, line: &str) {
        // A terminal that is gone is no reason to stop an operation.
        let _ = self.bars.println(line);
    }

    /// Draws what happened.
    pub(super) fn event(&self, key: &Key, event: &Event, took: Option<Duration>) {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        match &event.state {
            State::Begin { total_bytes } => self.begin(&mut rows, key, event, *total_bytes),
            State::Progress { done_bytes, done_entries, total_bytes } => {
                if let Some(row) = rows.iter().rfind(|row| row.key == *key && !row.over) {
                    progress(row, *done_bytes, *done_entries, *total_bytes);
                }
            }
            state => {
                // A step that was skipped may never have begun.
                if !rows.iter().any(|row| row.key == *key && !row.over) {
                    self.begin(&mut rows, key, event, None);
                }
                let failed = matches!(state, State::Fail { .. });
                let line = text::finished(event, took).unwrap_or_default();
                if let Some(row) = rows.iter_mut().rfind(|row| row.key == *key && !row.over) {
                    row.over = true;
                    row.failed = failed;
                    row.bar.set_style(style(if failed { FAILED } else { DONE }));
                    row.bar.finish_with_message(line);
                }
            }
        }
    }

    fn begin(&self, rows: &mut Vec<Row>, key: &Key, event: &Event, total: Option<u64>) {
        self.make_room(rows);
        let at = place(rows, event.depth, &event.resource);
        let label = text::label(event);
        // Complete before it is inserted, because that draws it.
        let (bar, template) = match total {
            Some(total) => (ProgressBar::new(total), BAR),
            None => (ProgressBar::no_length(), SPINNER),
        };
        let indent = "  ".repeat(usize::from(event.depth));
        let bar = bar.with_style(style(template)).with_prefix(indent).with_message(label.clone());
        let bar = self.bars.insert(at, bar);
        bar.enable_steady_tick(Duration::from_millis(125));
        rows.insert(at, Row { key: key.clone(), bar, label, over: false, failed: false });
    }

    /// A tree higher than the terminal would hide what is going on: the oldest steps that ended well leave first.
    fn make_room(&self, rows: &mut Vec<Row>) {
        while rows.len() + 2 > self.height {
            let deepest = rows.iter().filter(|row| row.over && !row.failed).map(|row| row.key.depth).max();
            let Some(at) =
                rows.iter().position(|row| row.over && !row.failed && Some(row.key.depth) == deepest)
            else {
                return;
            };
            self.bars.remove(&rows[at].bar);
            rows.remove(at);
        }
    }
}

fn progress(row: &Row, done_bytes: u64, done_entries: u64, total: Option<u64>) {
    if let Some(total) = total
        && row.bar.length() != Some(total)
    {
        row.bar.set_length(total);
        row.bar.set_style(style(BAR));
    } else if row.bar.length().is_none() && row.bar.position() == 0 && done_bytes > 0 {
        row.bar.set_style(style(STREAM));
    }
    if done_entries > 0 {
        row.bar.set_message(format!("{} {}", row.label, units::counted(done_entries, "entry", "entries")));
    }
    row.bar.set_position(done_bytes);
}

/// Where a new step's line goes: below the last open step that encloses it, and all that this holds already.
fn place(rows: &[Row], depth: u8, resource: &str) -> usize {
    let parent = rows.iter().rposition(|row| {
        !row.over && depth.checked_sub(1) == Some(row.key.depth) && row.key.resource == resource
    });
    let Some(parent) = parent else { return rows.len() };
    let below = rows[parent + 1..].iter().take_while(|row| row.key.depth >= depth).count();
    parent + 1 + below
}

#[cfg(test)]
mod tests {
    use indicatif::InMemoryTerm;
    use remand::event::Step;

    use super::*;

    fn event(step: Step, subject: Option<&str>, depth: u8, state: State) -> Event {
        Event { step, resource: "web01".into(), subject: subject.map(Into::into), depth, state }
    }

    fn tell(tree: &Tree, event: &Event) {
        tree.event(&Key::of(event), event, None);
    }

    #[test]
    fn templates_are_valid() {
        for template in [BAR, STREAM, SPINNER, DONE, FAILED] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }

    #[test]
    fn steps_stand_below_what_encloses_them() {
        let term = InMemoryTerm::new(20, 100);
        let target = ProgressDrawTarget::term_like(Box::new(term.clone()));
        let tree = Tree::new(target, 20);
        let begin = || State::Begin { total_bytes: None };
        let end = || State::End { done_bytes: 2048, done_entries: 3, held_milliseconds: None };
        tell(&tree, &event(Step::ResourceBackup, None, 0, begin()));
        tell(&tree, &event(Step::ExportConfig, None, 1, begin()));
        tell(&tree, &event(Step::ExportConfig, None, 1, end()));
        tell(&tree, &event(Step::ExportOtherDatasets, None, 1, begin()));
        tell(&tree, &event(Step::ExportRootDataset, None, 1, State::Skip { reason: "none".into() }));
        tell(&tree, &event(Step::ExportOtherDataset, Some("da\x1bta"), 2, begin()));
        tree.println("warning: a: b");
        tell(&tree, &event(Step::ExportOtherDataset, Some("da\x1bta"), 2, end()));
        tell(&tree, &event(Step::ExportOtherDatasets, None, 1, State::Fail { error: "x".into() }));
        tell(&tree, &event(Step::ResourceBackup, None, 0, State::Fail { error: "x".into() }));
        let shown: Vec<String> = term.contents().lines().map(str::to_owned).collect();
        assert_eq!(
            shown,
            [
                "warning: a: b",
                "[!] ResourceBackup@web01: FAILED",
                "  [+] ExportConfig@web01: OK [3 entries, 2.0 KiB]",
                "  [!] ExportOtherDatasets@web01: FAILED",
                "    [+] ExportOtherDataset@web01 da\\u{1b}ta: OK [3 entries, 2.0 KiB]",
                "  [-] ExportRootDataset@web01: SKIPPED (none)",
            ]
        );
    }

    #[test]
    fn a_high_tree_keeps_what_is_open_and_what_failed() {
        let tree = Tree::new(ProgressDrawTarget::hidden(), 6);
        tell(&tree, &event(Step::ResourceBackup, None, 0, State::Begin { total_bytes: None }));
        for number in 0..20_u32 {
            let subject = format!("data{number}");
            let state = if number == 3 {
                State::Fail { error: "x".into() }
            } else {
                State::End { done_bytes: 0, done_entries: 0, held_milliseconds: None }
            };
            tell(&tree, &event(Step::ExportOtherDataset, Some(&subject), 1, state));
        }
        let rows = tree.rows.lock().unwrap();
        assert!(rows.len() <= 6, "{}", rows.len());
        assert!(!rows[0].over);
        assert!(rows.iter().any(|row| row.failed));
    }
}
