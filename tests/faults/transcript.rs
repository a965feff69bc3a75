//! What `--json` tells, without what differs from run to run, and the rule that the transcript of a run must keep in which something
//! went wrong.

use std::fmt;

use serde_json::Value;

use super::tracer::call::{Places, uniform};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Begin,
    End,
    Skip,
    Fail,
}

/// A line of a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Event {
        step: String,
        subject: String,
        depth: u64,
        state: State,
    },
    /// A warning, a notice, something listed: what it is, and its text.
    Told {
        what: String,
        text: String,
    },
    Result {
        status: i64,
        error: Vec<String>,
    },
}

/// What is done in any case, whatever failed before; it can fail itself, which is a warning.
const IN_ANY_CASE: [&str; 3] = ["Undo", "Start", "PostSnapshot"];

/// What a run told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Transcript(pub(crate) Vec<Line>);

impl Transcript {
    /// Reads JSON lines. The last may be torn where the run was `killed`.
    pub(crate) fn read(text: &str, places: &Places, killed: bool) -> Self {
        let mut lines = Vec::new();
        for line in text.split_inclusive('\n') {
            match serde_json::from_str::<Value>(line) {
                Ok(value) => lines.extend(parse(&value, places)),
                Err(_) if killed && !line.ends_with('\n') => {}
                Err(error) => panic!("{error} in {line:?}"),
            }
        }
        if matches!(lines.first(), Some(Line::Event { step, .. }) if step == "ResourceBackup") {
            // An export looks at its base where that is not known from an earlier one.
            lines.retain(|line| !matches!(line, Line::Event { step, .. } if step == "CheckBase"));
        }
        Self(lines)
    }

    pub(crate) fn status(&self) -> Option<i64> {
        self.0
            .iter()
            .find_map(|line| if let Line::Result { status, .. } = line { Some(*status) } else { None })
    }

    /// The lines of text beside the events.
    pub(crate) fn told(&self, which: &str) -> Vec<&str> {
        let mut found = Vec::new();
        for line in &self.0 {
            if let Line::Told { what, text } = line
                && what == which
            {
                found.push(text.as_str());
            }
        }
        found
    }

    /// All that it says of why it failed and what is lost or left.
    pub(crate) fn complaints(&self) -> String {
        let mut all: Vec<&str> = self.told("warning");
        all.extend(self.told("notice"));
        for line in &self.0 {
            if let Line::Result { error, .. } = line {
                all.extend(error.iter().map(String::as_str));
            }
        }
        all.join("\n")
    }

    fn events(&self) -> Vec<&Line> {
        self.0.iter().filter(|line| matches!(line, Line::Event { .. })).collect()
    }

    /// Compares the events of a run that did what it was asked for with those of an undisturbed one. What could not be undone of what
    /// is undone in any case fails, with a warning.
    pub(crate) fn is_whole(&self, golden: &Self) -> Result<(), String> {
        let (wanted, got) = (golden.events(), self.events());
        let mut failed = 0;
        for (at, (wanted, got)) in wanted.iter().zip(&got).enumerate() {
            if wanted != got {
                match (wanted, got) {
                    (
                        Line::Event { step, subject, depth, state: State::End },
                        Line::Event { step: s, subject: of, depth: d, state: State::Fail },
                    ) if IN_ANY_CASE.contains(&step.as_str()) && (step, subject, depth) == (s, of, d) => {
                        failed += 1;
                    }
                    _ => return Err(format!("event {at} is {got} and not {wanted}")),
                }
            }
        }
        if wanted.len() != got.len() {
            return Err(format!("{} events in place of {}", got.len(), wanted.len()));
        }
        if failed > self.told("warning").len() {
            return Err("an undo step failed without a warning".into());
        }
        Ok(())
    }

    /// A run that failed: its events are those of an undisturbed one up to a point, and then each open step fails exactly once, the
    /// innermost first, with undo steps among them and nothing else.
    pub(crate) fn is_rolled_back(&self, golden: &Self) -> Result<(), String> {
        let (wanted, got) = (golden.events(), self.events());
        let common = wanted.iter().zip(&got).take_while(|(wanted, got)| wanted == got).count();
        let mut open: Vec<(&str, &str, u64)> = Vec::new();
        for (at, line) in got.iter().enumerate() {
            let Line::Event { step, subject, depth, state } = line else { continue };
            let this = (step.as_str(), subject.as_str(), *depth);
            let is_undo = IN_ANY_CASE.contains(&step.as_str());
            if *state == State::Begin {
                if at >= common && !is_undo {
                    return Err(format!("{line} after the failure"));
                }
                if *depth != open.len() as u64 {
                    return Err(format!("{line} at depth {depth}, with {} steps open", open.len()));
                }
                open.push(this);
                continue;
            }
            if open.pop() != Some(this) {
                return Err(format!("{line} is not the step that was open"));
            }
            if at >= common && !is_undo && *state != State::Fail {
                return Err(format!("{line} after the failure"));
            }
        }
        match open.last() {
            Some((step, subject, _)) => Err(format!("{step} {subject} never ended")),
            None => Ok(()),
        }
    }

    /// A run that was killed: its events are the first ones of an undisturbed one.
    pub(crate) fn is_prefix(&self, golden: &Self) -> Result<(), String> {
        let (wanted, got) = (golden.events(), self.events());
        match wanted.iter().zip(&got).find(|(wanted, got)| wanted != got) {
            Some((wanted, got)) => Err(format!("{got} in place of {wanted}")),
            None if got.len() > wanted.len() => Err(format!("{} events too many", got.len() - wanted.len())),
            None => Ok(()),
        }
    }
}

fn parse(value: &Value, places: &Places) -> Option<Line> {
    let text = |value: &Value| place_names(value.as_str().unwrap_or_default(), places);
    if let Some(step) = value.get("step") {
        let state = match value["state"].as_str()? {
            "begin" => State::Begin,
            "end" => State::End,
            "skip" => State::Skip,
            "fail" => State::Fail,
            _ => return None, // progress
        };
        let depth = value["depth"].as_u64().expect("a depth");
        let subject =
            format!("{} {}", text(&value["resource"]), text(&value["subject"])).trim_end().to_owned();
        return Some(Line::Event { step: text(step), subject, depth, state });
    }
    let (what, content) = value.as_object()?.iter().next()?;
    Some(match what.as_str() {
        "result" => {
            let error = content["error"].as_array().map_or(&[][..], Vec::as_slice);
            let error = error.iter().map(text).collect();
            Line::Result { status: content["status"].as_i64().expect("a status"), error }
        }
        "warning" | "notice" => Line::Told {
            what: what.clone(),
            text: format!("{}: {}", text(&content["subject"]), text(&content["message"])),
        },
        "leftover" => Line::Told { what: what.clone(), text: text(&content["what"]) },
        _ => Line::Told { what: what.clone(), text: place_names(&content.to_string(), places) },
    })
}

fn place_names(text: &str, places: &Places) -> String {
    let mut text = text.to_owned();
    for (place, name) in places {
        text = text.replace(&*place.to_string_lossy(), name);
    }
    uniform(&text)
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event { step, subject, depth, state } => {
                let indent = usize::try_from(*depth).unwrap_or(0) * 2;
                write!(f, "{:indent$}{step} {subject}: {}", "", format!("{state:?}").to_lowercase())
            }
            Self::Told { what, text } => write!(f, "{what}: {text}"),
            Self::Result { status, .. } => write!(f, "result: {status}"),
        }
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
