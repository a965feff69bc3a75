//! Lines of an index that wait until the signature behind them is proven.

use std::io::{BufRead as _, BufReader, BufWriter, Write as _};

use super::Visitor;
use super::index::Item;
use crate::archive::index::{Parsed, failure_to_json, line_to_json, parse};
use crate::archive::signature::Expected;
use crate::archive::{Error, Result};
use crate::scratch::Scratch;

/// Lines on their way to a visitor: in a temporary file if they must wait.
pub(super) struct Held(Option<BufWriter<Scratch>>);

impl Held {
    /// None yet.
    pub(super) fn new(expected: &Expected<'_>, visitor: &dyn Visitor) -> Result<Self> {
        if !expected.is_required() || !visitor.shows_lines() {
            return Ok(Self(None));
        }
        let scratch = Scratch::new(&std::env::temp_dir(), expected.is_secret()).map_err(failed("make"))?;
        Ok(Self(Some(BufWriter::with_capacity(64 << 10, scratch))))
    }

    /// One more: it waits, or is handed over.
    pub(super) fn give(&mut self, item: &Item, visitor: &mut dyn Visitor) -> Result<()> {
        let Some(file) = &mut self.0 else { return item.give(visitor) };
        let json = match item {
            Item::Line(line) => line_to_json(line),
            Item::Failure(failure) => failure_to_json(failure),
        };
        file.write_all(&json).map_err(failed("write"))
    }

    /// Hands over those that wait.
    pub(super) fn release(self, visitor: &mut dyn Visitor) -> Result<()> {
        let Some(file) = self.0 else { return Ok(()) };
        let scratch = file.into_inner().map_err(|error| failed("write")(error.into_error()))?;
        let mut lines = BufReader::with_capacity(64 << 10, scratch.finish().map_err(failed("read back"))?);
        let mut json = Vec::new();
        loop {
            json.clear();
            if lines.read_until(b'\n', &mut json).map_err(failed("read back"))? == 0 {
                return Ok(());
            }
            match parse(&json).map_err(|wrong| wrong.about("a line of its index is wrong"))? {
                Parsed::Line(line) => visitor.line(&line)?,
                Parsed::Failure(failure) => visitor.failure(&failure)?,
                Parsed::Seal(_) => {}
            }
        }
    }
}

fn failed(action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    let subject = format!("a temporary file in {}", std::env::temp_dir().display());
    move |source| Error::Io { action, subject, source }
}
