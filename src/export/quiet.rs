//! Around the snapshot: commands of the user, and resources that do not go on while it is made.
//!
//! ```text
//! pre-snapshot commands → stop or freeze all → snapshot → thaw or start all → post-snapshot commands
//! ```
//!
//! Where the backend has no snapshots everything is read in the place of one. What is stopped or frozen goes on whatever happens: by
//! [`Quiet::end`] in every way that an export can end, by a guard of each resource ([`Guard`]) if this process does not come to that, and by
//! `cleanup` if the guard does not either: the run says what it holds ([`Held`]) before anything is stopped.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::Options;
use super::hooks::{Call, HookPlace};
use super::selected::{Failures, Selected};
use crate::error::{Error, Result};
use crate::event::{Step, Warning};
use crate::pool::Pool;
use crate::resource::{Resource, ResourceKind};
use crate::run::Run;
use crate::running::{Guard, Held, Hold, Survey, Turn, do_it};
use crate::step::Steps;
use crate::undo::chain;

/// What an export does around its snapshot.
pub(super) struct Quiet<'a> {
    pub(super) pool: &'a Pool,
    pub(super) options: &'a Options,
    pub(super) run: &'a Run,
    pub(super) steps: &'a Steps<'a>,
    pub(super) interrupted: &'a AtomicBool,
    /// What events of all resources are of, where there are several.
    pub(super) whole: Option<&'a str>,
    /// What runs, where that matters.
    survey: Option<Survey>,
    /// Resources whose turn has come: their later commands are to be run.
    begun: Vec<Resource>,
    holding: Vec<Holding>,
    /// What could not be undone.
    remains: Vec<String>,
}

/// A resource that is stopped or frozen, or about to be.
struct Holding {
    name: String,
    held: Held,
    guard: Guard,
    since: Instant,
}

/// What is to be held, and how.
struct Target {
    name: String,
    held: Held,
}

impl<'a> Quiet<'a> {
    pub(super) fn new(
        (pool, options): (&'a Pool, &'a Options),
        run: &'a Run,
        (steps, interrupted): (&'a Steps<'a>, &'a AtomicBool),
        whole: Option<&'a str>,
    ) -> Self {
        let (begun, holding, remains) = (Vec::new(), Vec::new(), Vec::new());
        Self { pool, options, run, steps, interrupted, whole, survey: None, begun, holding, remains }
    }

    fn turn_to(&self, name: Option<&str>) {
        if let Some(whole) = self.whole {
            self.steps.turn_to(name, whole);
        }
    }

    /// Runs the commands that come before the snapshot, and stops or freezes what is to be. Of what fails nothing more is done, and what it
    /// is of is left out, if the user wants to go on without it.
    pub(super) fn begin(
        &mut self,
        selected: Vec<Selected>,
        failures: &mut Failures,
    ) -> Result<Vec<Selected>> {
        let hooks = &self.options.hooks;
        if hooks.is_empty() && self.options.hold.is_none() {
            return Ok(selected);
        }
        if self.options.hold.is_some() || hooks.place == HookPlace::Resource {
            self.survey = Some(Survey::take(self.pool.layout()));
        }
        let mut ready = Vec::new();
        let mut targets = Vec::new();
        for one in selected {
            self.turn_to(Some(&one.resource.name));
            let who = (one.resource.kind, one.resource.name.clone());
            // A snapshot that is there already needs nobody to be quiet.
            let begun = if one.given.is_some() || one.carried.is_some() {
                Ok(None)
            } else {
                self.before(&one.resource)
            };
            self.turn_to(None);
            if let Some(target) = failures.take((who.0, &who.1), begun, self.steps)? {
                targets.push(target);
                ready.push(one);
            }
        }
        let left = self.hold_all(ready, targets, failures)?;
        failures.some(left)
    }

    /// The commands of one resource. How it will be held.
    fn before(&mut self, resource: &Resource) -> Result<Option<Target>> {
        let target = match self.options.hold {
            Some(hold) => self.target(resource, hold)?,
            None => None,
        };
        // From now on it has begun: a command that fails may have done a part of its work.
        self.begun.push(resource.clone());
        for command in &self.options.hooks.before {
            if self.interrupted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            let call = Call { interrupted: Some(self.interrupted), ..self.call(resource, command) };
            call.run(self.run, self.steps)?;
        }
        Ok(target)
    }

    fn call<'c>(&'c self, resource: &'c Resource, command: &'c str) -> Call<'c> {
        let has_snapshots = self.pool.backend().capabilities().consistent_while_running;
        Call {
            hooks: &self.options.hooks,
            command,
            step: Step::PreSnapshot,
            resource,
            pool: self.pool.label(),
            snapshot: has_snapshots.then(|| self.run.id()),
            result: None,
            survey: self.survey.as_ref(),
            interrupted: None,
        }
    }

    /// Who stops or freezes a resource; `None` if there is nothing to do.
    fn target(&self, resource: &Resource, hold: Hold) -> Result<Option<Target>> {
        let Some(survey) = &self.survey else { return Ok(None) };
        let step = begins(hold);
        let what = resource.label();
        let Some((supervisor, instance)) = survey.instance(resource) else {
            if survey.runs(resource).is_none() && resource.kind == ResourceKind::Jail {
                let why = survey.why_unknown();
                return Err(Error::Unsupported(format!("It is unknown whether the {what} runs: {why}")));
            }
            self.steps.skip(step, None, "it does not run");
            return Ok(None);
        };
        if instance.is_frozen && hold == Hold::Freeze {
            self.steps.skip(step, None, "it is frozen already");
            return Ok(None);
        }
        if instance.is_frozen {
            return Err(Error::Unsupported(format!(
                "The {what} is frozen, so it cannot be stopped; thaw it first"
            )));
        }
        let subject = instance.subject(resource);
        let can = |turn| supervisor.program(hold, turn, &subject).is_some();
        if !crate::running::is_subject(&subject) || !can(Turn::Begin) || !can(Turn::End) {
            return Err(Error::Unsupported(format!(
                "The {what} runs, and nothing on this host is known that can {} it and undo that",
                hold.verb()
            )));
        }
        let root = resource.root().directory.clone().unwrap_or_default();
        let supervisor = supervisor.name().to_owned();
        let record = Held { resource: what, root, hold, supervisor, subject };
        Ok(Some(Target { name: resource.name.clone(), held: record }))
    }

    /// All guards are there before the first resource is stopped, so that the time until the last one goes on again is short.
    fn hold_all(
        &mut self,
        ready: Vec<Selected>,
        targets: Vec<Option<Target>>,
        failures: &mut Failures,
    ) -> Result<Vec<Selected>> {
        let all: Vec<_> = targets.iter().flatten().map(|target| target.held.clone()).collect();
        if all.is_empty() {
            return Ok(ready);
        }
        self.run.settle()?;
        self.run.hold(&all)?;
        let mut guards = Vec::new();
        let mut outcome =
            all.iter().try_for_each(|held| self.watch_over(held).map(|guard| guards.push(guard)));
        let mut guards = guards.into_iter();
        let mut left = Vec::new();
        for (one, target) in ready.into_iter().zip(targets) {
            if outcome.is_ok() {
                let held = match (target.is_some().then(|| guards.next()).flatten(), target) {
                    (Some(guard), Some(target)) => self.hold(target, guard),
                    _ => Ok(()),
                };
                self.turn_to(None);
                let held = failures.take((one.resource.kind, &one.resource.name), held, self.steps);
                outcome = held.map(|held| left.extend(held.map(|()| one)));
            }
        }
        // Those of what has not been touched have nothing to do.
        for guard in guards {
            guard.dismiss().map_err(Error::io("wait for", "a guard"))?;
        }
        outcome.map(|()| left)
    }

    fn watch_over(&self, held: &Held) -> Result<Guard> {
        let program = held.end(self.pool.layout())?;
        let lock = self.run.lock()?;
        let guard = self.run.apart(|| Guard::start(&program, lock));
        guard.map_err(Error::backend(format!("watch over the {}", held.resource)))
    }

    fn hold(&mut self, target: Target, guard: Guard) -> Result<()> {
        self.turn_to(Some(&target.name));
        let Target { name, held } = target;
        let begin = crate::running::program(self.pool.layout(), &held, Turn::Begin)?;
        let step = begins(held.hold);
        let subject = held.subject.clone();
        let holder = guard.holder().map_err(Error::io("share", "a pipe"));
        // Before it is tried: a program that fails may have done it all the same.
        self.holding.push(Holding { name, held, guard, since: Instant::now() });
        let (run, interrupted) = (self.run, self.interrupted);
        self.steps.run(step, Some(&subject), None, |_| {
            let holder = holder?;
            if interrupted.load(Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            run.apart(|| do_it(&begin, Some(holder), Some(interrupted)))
        })
    }

    /// The snapshot is there, or has failed: where there are such nobody needs to be quiet any longer.
    pub(super) fn snapshot_taken(&mut self, succeeded: bool) {
        if self.pool.backend().capabilities().consistent_while_running {
            self.end(succeeded);
        }
    }

    /// Lets everything go on, and runs the commands that come after the snapshot. Once more it does nothing.
    pub(super) fn end(&mut self, succeeded: bool) {
        self.release();
        self.after(succeeded);
    }

    /// What could not be undone is a warning after success, and told with the failure otherwise. Whether there is nothing such.
    pub(super) fn conclude<T>(self, outcome: Result<T>) -> (Result<T>, bool) {
        let remains = self.remains;
        match outcome {
            outcome if remains.is_empty() => (outcome, true),
            Err(cause) => (Err(Error::Rollback { cause: Box::new(cause), remains }), false),
            done => {
                for message in remains {
                    let message = format!("{message}; `remand cleanup --yes` tries it again");
                    self.steps.warn(&Warning { subject: "clean-up".into(), message });
                }
                (done, false)
            }
        }
    }

    fn release(&mut self) {
        if self.holding.is_empty() {
            return;
        }
        let mut kept = Vec::new();
        while let Some(holding) = self.holding.pop() {
            self.turn_to(Some(&holding.name));
            let held = holding.held.clone();
            if let Err(error) = self.let_go(holding) {
                self.remains.push(format!(
                    "the {} is {} still: {}",
                    held.resource,
                    held.hold.state(),
                    chain(&error)
                ));
                kept.push(held);
            }
        }
        self.turn_to(None);
        if let Err(error) = self.run.hold(&kept) {
            self.steps.notice("run record", chain(&error));
        }
    }

    /// Thaws or starts it, and has its guard try it, too, if that fails.
    fn let_go(&self, holding: Holding) -> Result<()> {
        let Holding { held, guard, since, .. } = holding;
        let step = if held.hold == Hold::Stop { Step::Start } else { Step::Thaw };
        self.steps.run(step, Some(&held.subject), None, |meter| {
            let undone = self.run.apart(|| held.undo(self.pool.layout()));
            let outcome = match undone {
                Ok(()) => guard.dismiss().map_err(Error::io("wait for", "a guard")),
                Err(error) => match guard.act() {
                    Ok(true) => Ok(()),
                    _ if held.is_over(self.pool.layout()) => Ok(()),
                    _ => Err(error),
                },
            };
            meter.held(since.elapsed());
            outcome
        })
    }

    fn after(&mut self, succeeded: bool) {
        let begun = std::mem::take(&mut self.begun);
        if self.options.hooks.after.is_empty() {
            return;
        }
        let is_other =
            self.options.hold == Some(Hold::Stop) && self.options.hooks.place == HookPlace::Resource;
        if is_other {
            // What was started is not what was stopped.
            self.survey = Some(Survey::take(self.pool.layout()));
        }
        for resource in &begun {
            self.turn_to(Some(&resource.name));
            for command in &self.options.hooks.after {
                let result = Some(if succeeded { "ok" } else { "failed" });
                let call = Call { step: Step::PostSnapshot, result, ..self.call(resource, command) };
                if let Err(error) = call.run(self.run, self.steps) {
                    self.steps.warn(&Warning { subject: resource.name.clone(), message: chain(&error) });
                }
            }
        }
        self.turn_to(None);
    }
}

fn begins(hold: Hold) -> Step {
    match hold {
        Hold::Stop => Step::Stop,
        Hold::Freeze => Step::Freeze,
    }
}
