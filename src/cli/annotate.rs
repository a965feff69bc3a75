//! `remand tag`, `remand note`, `remand keep`.

use std::io::Read as _;

use remand::pool::Pool;
use remand::records::{Annotations, NOTE_BYTES, Records};
use remand::resource::{Selector, kind_name};
use serde_json::{Value, json};

use super::args::{Keep, Note, Place, Tag};
use super::failure::{FAILED, Failure};
use super::render::{Outcome, escape::safe};
use super::{Session, open_pool};

pub(super) fn tag(session: &Session, args: &Tag) -> Result<Outcome, Failure> {
    let subject = Subject::find(&args.name, &args.place, args.remove || args.tags.is_empty())?;
    let Selector { kind, name } = &subject.selector;
    let annotations = match (args.tags.as_slice(), args.remove) {
        ([], _) => subject.annotations()?,
        (tags, true) => subject.records()?.untag(*kind, name, tags)?,
        (tags, false) => subject.records()?.tag(*kind, name, tags)?,
    };
    let text = lines(&annotations.tags.join("\n"));
    subject.show(session, "tag", &annotations, args.tags.is_empty().then_some(text))
}

pub(super) fn note(session: &Session, args: &Note) -> Result<Outcome, Failure> {
    let subject = Subject::find(&args.name, &args.place, args.text.is_none())?;
    let Selector { kind, name } = &subject.selector;
    let annotations = match &args.text {
        None if args.remove => subject.records()?.set_note(*kind, name, None)?,
        None => subject.annotations()?,
        Some(text) if text == "-" => subject.records()?.set_note(*kind, name, Some(&standard_input()?))?,
        Some(text) => subject.records()?.set_note(*kind, name, Some(text))?,
    };
    let shown = args.text.is_none() && !args.remove;
    let text = annotations.note.as_deref().map(lines).unwrap_or_default();
    subject.show(session, "note", &annotations, shown.then_some(text))
}

pub(super) fn keep(session: &Session, args: &Keep) -> Result<Outcome, Failure> {
    let subject = Subject::find(&args.name, &args.place, args.off)?;
    let Selector { kind, name } = &subject.selector;
    let annotations = subject.records()?.set_keep(*kind, name, !args.off)?;
    subject.show(session, "keep", &annotations, None)
}

/// Text line by line, safe for a terminal.
pub(super) fn lines(note: &str) -> String {
    note.lines().flat_map(|line| [safe(line), "\n".into()]).collect()
}

/// What people gave a resource, for programs.
pub(super) fn annotations_record(annotations: &Annotations) -> [(&'static str, Value); 3] {
    [("tags", json!(annotations.tags)), ("note", json!(annotations.note)), ("keep", json!(annotations.keep))]
}

fn standard_input() -> Result<String, Failure> {
    let mut text = String::new();
    // One byte more than may be, so that what is too long is refused and not cut.
    let read = std::io::stdin().take(NOTE_BYTES as u64 + 1).read_to_string(&mut text);
    read.map_err(|error| Failure::Error {
        chain: vec!["Cannot read the note from standard input".into(), error.to_string()],
        hint: None,
        status: FAILED,
    })?;
    Ok(text.trim_end_matches('\n').to_owned())
}

/// A resource that is annotated.
struct Subject {
    pool: Pool,
    selector: Selector,
}

impl Subject {
    /// The resource must exist; what is left of one that is gone can be shown and removed.
    fn find(name: &str, place: &Place, may_be_gone: bool) -> Result<Self, Failure> {
        let selector: Selector = name.parse()?;
        let subject = Self { pool: open_pool(place, &place.config()?)?, selector };
        match subject.pool.resource(&subject.selector) {
            Err(error) if !may_be_gone || subject.annotations()?.is_empty() => Err(error.into()),
            _ => Ok(subject),
        }
    }

    fn records(&self) -> Result<Records, Failure> {
        Ok(Records::of_pool(&self.pool)?)
    }

    fn annotations(&self) -> Result<Annotations, Failure> {
        let Some(records) = Records::existing_of_pool(&self.pool)? else { return Ok(Annotations::default()) };
        Ok(records.annotations(self.selector.kind, &self.selector.name)?)
    }

    fn show(
        &self,
        session: &Session,
        command: &str,
        annotations: &Annotations,
        text: Option<String>,
    ) -> Result<Outcome, Failure> {
        let mut outcome = Outcome::default();
        let Selector { kind, name } = &self.selector;
        outcome.result.insert("command".into(), command.into());
        outcome.result.insert("kind".into(), kind_name(*kind).into());
        outcome.result.insert("name".into(), name.as_str().into());
        let fields = annotations_record(annotations);
        outcome.result.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
        if let Some(text) = text.filter(|_| !session.console.is_json()) {
            session.console.data(&text)?;
        }
        Ok(outcome)
    }
}
