//! What has to be undone: on failure, or in any case.
//!
//! A step is pushed after its effect succeeded and holds the proof of creation that undoing needs. Steps run backwards, each
//! once. A step that fails does not stop the others; what it says is kept beside the cause.

use crate::error::{Error, Result};
use crate::event::{Step, Warning};
use crate::step::Steps;

struct Effect<'a> {
    what: String,
    always: bool,
    undo: Box<dyn FnOnce() -> Result<()> + 'a>,
}

/// The effects of a run so far.
pub(crate) struct Undo<'a> {
    steps: &'a Steps<'a>,
    effects: Vec<Effect<'a>>,
}

impl<'a> Undo<'a> {
    pub(crate) fn new(steps: &'a Steps<'a>) -> Self {
        Self { steps, effects: Vec::new() }
    }

    /// To be undone when the run fails.
    pub(crate) fn on_failure(&mut self, what: impl Into<String>, undo: impl FnOnce() -> Result<()> + 'a) {
        self.effects.push(Effect { what: what.into(), always: false, undo: Box::new(undo) });
    }

    /// To be undone when the run ends, however it ends.
    pub(crate) fn always(&mut self, what: impl Into<String>, undo: impl FnOnce() -> Result<()> + 'a) {
        self.effects.push(Effect { what: what.into(), always: true, undo: Box::new(undo) });
    }

    /// Takes over the effects of another, which came later.
    pub(crate) fn append(&mut self, mut later: Self) {
        self.effects.append(&mut later.effects);
    }

    /// Undoes everything, as after a failure that is told elsewhere; what remains, and why.
    pub(crate) fn roll_back(self) -> Vec<String> {
        self.undo(true)
    }

    fn undo(self, failed: bool) -> Vec<String> {
        let mut remains = Vec::new();
        for effect in self.effects.into_iter().rev().filter(|effect| effect.always || failed) {
            let done = self.steps.run(Step::Undo, Some(&effect.what), None, |_| (effect.undo)());
            if let Err(error) = done {
                remains.push(format!("{}: {}", effect.what, chain(&error)));
            }
        }
        remains
    }

    /// Undoes what `outcome` asks for, and tells whether nothing remains. After success a failed step is a warning; after a
    /// failure it is reported together with the cause.
    pub(crate) fn conclude<T>(self, outcome: Result<T>) -> (Result<T>, bool) {
        let steps = self.steps;
        let remains = self.undo(outcome.is_err());
        let clean = remains.is_empty();
        let outcome = match outcome {
            Err(cause) if !remains.is_empty() => Err(Error::Rollback { cause: Box::new(cause), remains }),
            outcome => {
                for message in remains {
                    steps.warn(&Warning {
                        subject: "clean-up".into(),
                        message: format!("{message}; `remand cleanup` removes what is left"),
                    });
                }
                outcome
            }
        };
        (outcome, clean)
    }
}

/// An error and its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;
    use crate::event::{Collector, Silent};

    #[test]
    fn effects_are_undone_backwards_and_a_failed_one_stops_none() {
        let order = RefCell::new(Vec::new());
        let note = |number: u8| {
            order.borrow_mut().push(number);
            Ok(())
        };
        let steps = Steps::new(&Silent, "web01");
        let mut undo = Undo::new(&steps);
        undo.on_failure("first", || note(1));
        undo.always("second", || Err(Error::Unsupported("no".into())));
        undo.on_failure("third", || note(3));
        let (outcome, clean) = undo.conclude::<()>(Err(Error::Interrupted));
        let error = outcome.unwrap_err();
        assert!(!clean);
        assert_eq!(*order.borrow(), [3, 1]);
        assert_eq!(error.to_string(), "Interrupted; and not everything could be undone: second: no");
        assert_eq!(error.exit_status(), 130);
    }

    #[test]
    fn after_success_only_temporaries_go_and_a_failure_is_a_warning() {
        let order = RefCell::new(Vec::new());
        let note = |number: u8| {
            order.borrow_mut().push(number);
            Ok(())
        };
        let collector = Collector::default();
        let steps = Steps::new(&collector, "web01");
        let mut undo = Undo::new(&steps);
        undo.on_failure("kept", || note(1));
        undo.always("temporary", || note(2));
        undo.always("stuck", || Err(Error::Unsupported("no".into())));
        let (outcome, clean) = undo.conclude(Ok(()));
        assert!(outcome.is_ok() && !clean);
        assert_eq!(*order.borrow(), [2]);
        assert_eq!(collector.warnings().len(), 1);
    }
}
