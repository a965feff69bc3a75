//! Events as lines of text. Pure: what is known goes in, a line comes out.

use std::time::Duration;

use remand::event::{Event, State, Step, Warning};

use super::escape::safe;
use super::units;

/// Name of a step, as in libioc: `ExportOtherDataset@web01 data/db`.
pub(crate) fn label(event: &Event) -> String {
    let mut label = format!("{}@{}", event.step, event.resource);
    if let Some(subject) = &event.subject {
        label.push(' ');
        label.push_str(subject);
    }
    safe(&label).into_owned()
}

/// The line of a step that is over, and `None` while it goes on.
pub(crate) fn finished(event: &Event, took: Option<Duration>) -> Option<String> {
    let label = label(event);
    Some(match &event.state {
        State::End { done_bytes, done_entries, held_milliseconds } => {
            let mut facts = facts(took, *done_entries, *done_bytes);
            if let Some(held) = held_milliseconds {
                let state = if event.step == Step::Start { "stopped" } else { "frozen" };
                let comma = if facts.is_empty() { "" } else { ", " };
                facts = format!("{facts}{comma}{state} for {held} ms");
            }
            if facts.is_empty() { format!("[+] {label}: OK") } else { format!("[+] {label}: OK [{facts}]") }
        }
        State::Skip { reason } => format!("[-] {label}: SKIPPED ({})", safe(reason)),
        // What made an operation fail is printed once, at its end. A failed undo has no other place.
        State::Fail { error } if event.step == Step::Undo => format!("[!] {label}: FAILED ({})", safe(error)),
        State::Fail { .. } => format!("[!] {label}: FAILED"),
        _ => return None,
    })
}

/// The line of a step that begins.
pub(crate) fn begun(event: &Event) -> Option<String> {
    match event.state {
        State::Begin { total_bytes: Some(total) } => {
            Some(format!("[ ] {}: {} to go", label(event), units::bytes(total)))
        }
        State::Begin { total_bytes: None } => Some(format!("[ ] {}", label(event))),
        _ => None,
    }
}

/// A warning's line.
pub(crate) fn warning(warning: &Warning) -> String {
    format!("warning: {}: {}", safe(&warning.subject), safe(&warning.message))
}

/// A notice's line.
pub(crate) fn notice(notice: &Warning) -> String {
    format!("note: {}: {}", safe(&notice.subject), safe(&notice.message))
}

/// An error's lines: the chain one level a line, then the hint.
pub(crate) fn error(chain: &[String], hint: Option<&str>) -> String {
    let mut out = String::new();
    for (level, message) in chain.iter().enumerate() {
        push_lines(&mut out, if level == 0 { "remand: " } else { "  because: " }, "    ", message);
    }
    if let Some(hint) = hint {
        push_lines(&mut out, "hint: ", "      ", hint);
    }
    out
}

/// Appends a text that may have several lines, as what a program said has.
fn push_lines(out: &mut String, first: &str, others: &str, text: &str) {
    for (at, line) in text.trim_end().lines().enumerate() {
        out.push_str(if at == 0 { first } else { others });
        out.push_str(&safe(line));
        out.push('\n');
    }
}

/// The line about warnings at the end; `None` where there were none. `named` are the first subjects.
pub(crate) fn warnings(total: u64, named: &[String]) -> Option<String> {
    if total == 0 {
        return None;
    }
    let mut line = format!("{} (exit status 3)", units::counted(total, "warning", "warnings"));
    if !named.is_empty() {
        let subjects: Vec<_> = named.iter().map(|subject| safe(subject)).collect();
        line.push_str(": ");
        line.push_str(&subjects.join(", "));
        let rest = total.saturating_sub(named.len() as u64);
        if rest > 0 {
            line = format!("{line} and {} more", units::count(rest));
        }
    }
    Some(line)
}

fn facts(took: Option<Duration>, entries: u64, bytes: u64) -> String {
    let mut facts = Vec::new();
    facts.extend(took.map(units::duration));
    if entries > 0 {
        facts.push(units::counted(entries, "entry", "entries"));
    }
    if bytes > 0 {
        facts.push(units::bytes(bytes));
    }
    facts.join(", ")
}
