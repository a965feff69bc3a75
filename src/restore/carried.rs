//! Releases that came along because something is built on them ([`ResourceRecord::as_base`]).
//!
//! The pool's own release is used where its fingerprint is that of the base. Otherwise the one of the archive is restored: under its name, or
//! where the pool has another release of that name under one that its fingerprint makes, so that the next restore finds it again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::rc::{Rc, Weak};

use super::base::{self, Chosen, Wish};
use super::begin::{self, Known, Locked};
use super::plan;
use super::select::Selected;
use super::visitor::{Restore, is_fatal};
use super::work::Context;
use crate::archive::Manifest;
use crate::archive::manifest::{BaseRecord, Mode, ResourceRecord};
use crate::error::{Error, Result};
use crate::event::Step;
use crate::lock::Lock;
use crate::resource::{ResourceKind, label};
use crate::run::Record;

/// How many digits of a fingerprint make a name.
const DIGITS: usize = 12;

impl Restore<'_> {
    /// The bases that came along, as far as they are restored, and those that the pool has.
    pub(super) fn with_bases(
        &mut self,
        manifest: &Manifest,
        mut locked: Vec<Locked>,
        state: &Path,
    ) -> Result<(Vec<Locked>, Known)> {
        let Context { options, interrupted, .. } = self.context;
        let selected: Vec<_> = locked.iter().map(|(selected, _)| selected.clone()).collect();
        // Releases and templates are locked after jails, in their order, as by everybody.
        let is_jail = |one: &Selected| one.plan.record.kind == ResourceKind::Jail;
        let wait = options.wait && selected.iter().all(is_jail);
        // Another one of that name may be restored in this run, or several bases have one name: nobody waits for himself.
        let held = locked.iter().map(|(selected, lock)| (selected.label(), Rc::downgrade(lock)));
        let held: RefCell<HashMap<_, _>> = RefCell::new(held.collect());
        let lock = |base: &BaseRecord| {
            let what = label(base.kind, &base.name);
            let ours = held.borrow().get(&what).and_then(Weak::upgrade);
            if let Some(ours) = ours {
                return Ok(ours);
            }
            let record = Record::new("restore", what.clone()).with_archive(&manifest.id, &self.source);
            let lock = Lock::acquire(state, &what.replace(' ', "-"), &record, wait, interrupted)?;
            let lock = Rc::new(lock);
            held.borrow_mut().insert(what, Rc::downgrade(&lock));
            Ok(lock)
        };
        let run = (Some(state), self.run_id());
        let carried = resolve(manifest, &selected, run, &lock, self.context)?;
        locked.extend(carried.shipped);
        locked.sort_by_key(|(selected, _)| selected.number);
        self.several = self.several || locked.len() > 1;
        Ok((locked, carried.known))
    }
}

/// What a restore does about them.
pub(super) struct Carried<L> {
    /// Those that are restored, each with its lock.
    pub(super) shipped: Vec<(Selected, L)>,
    /// Those that the pool has.
    pub(super) known: Vec<(BaseRecord, Chosen)>,
}

/// Whether the root of `record` is built on this very base.
pub(super) fn is_built_on(record: &ResourceRecord, base: &BaseRecord) -> bool {
    record.mode == Mode::Differential && record.base.as_ref().is_some_and(|wanted| is_same(wanted, base))
}

/// Whether two records are of one base, wherever it has its name from.
pub(super) fn is_same(one: &BaseRecord, other: &BaseRecord) -> bool {
    match (&one.fingerprint, &other.fingerprint) {
        (Some(one), Some(other)) => one.digest_with_mtimes == other.digest_with_mtimes,
        _ => false,
    }
}

/// The name of a release beside another one of its name.
fn own_name(base: &BaseRecord) -> String {
    let digest = base.fingerprint.as_ref().map(|fingerprint| fingerprint.digest_with_mtimes.to_string());
    let digest = digest.unwrap_or_default();
    let digits = digest.rsplit(':').next().unwrap_or_default();
    format!("{}-remand-{}", base.name, &digits[..DIGITS.min(digits.len())])
}

/// Decides about the bases that `selected` is built on. `lock` takes the lock of a release; it is held from before the pool is looked at.
pub(super) fn resolve<L>(
    manifest: &Manifest,
    selected: &[Selected],
    (state, run): (Option<&Path>, &str),
    lock: &dyn Fn(&BaseRecord) -> Result<L>,
    context: Context<'_>,
) -> Result<Carried<L>> {
    let mut carried = Carried { shipped: Vec::new(), known: Vec::new() };
    for (number, record) in manifest.resources.iter().enumerate() {
        let Some(base) = &record.as_base else { continue };
        let is_asked_for = selected.iter().any(|one| one.number == number);
        let is_needed = selected.iter().any(|one| is_built_on(&one.plan.record, base));
        if is_asked_for || !is_needed {
            continue;
        }
        let subject = label(base.kind, &base.name);
        if let Some(other) = &context.options.base {
            let message = format!("the one in the archive is not restored: --base names {other}");
            context.steps.notice(&subject, message);
            continue;
        }
        let looking = Looking { record, base, number, run: (state, run), context };
        let decided = lock(base).and_then(|lock| {
            let taken: Vec<_> = selected.iter().chain(carried.shipped.iter().map(|(one, _)| one)).collect();
            looking.decide(&taken).map(|decided| (decided, lock))
        });
        match decided {
            Ok((Decided::Known(chosen), _)) => carried.known.push((base.clone(), chosen)),
            Ok((Decided::Shipped(one), lock)) => carried.shipped.push((*one, lock)),
            // What is built on it cannot be restored either, and says why.
            Err(error) if context.options.keep_going && !is_fatal(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(carried)
}

enum Decided {
    Known(Chosen),
    Shipped(Box<Selected>),
}

/// One base.
struct Looking<'a> {
    record: &'a ResourceRecord,
    base: &'a BaseRecord,
    number: usize,
    run: (Option<&'a Path>, &'a str),
    context: Context<'a>,
}

impl Looking<'_> {
    /// `taken` is what is restored besides.
    fn decide(&self, taken: &[&Selected]) -> Result<Decided> {
        let name = &self.base.name;
        let kind = self.base.kind;
        let subject = label(kind, name);
        let steps = self.context.steps;
        if let Some(chosen) = self.look(None)? {
            let message = "this pool has it; the one in the archive is not needed".to_owned();
            steps.notice(&subject, message);
            return Ok(Decided::Known(chosen));
        }
        let is_taken = |one: &&Selected| one.plan.record.kind == kind && one.plan.name == *name;
        if !taken.iter().any(is_taken) && begin::is_free(self.context.pool, kind, name)? {
            return self.shipped(name);
        }
        let own = own_name(self.base);
        if let Some(chosen) = self.look(Some(&own))? {
            let message =
                format!("this pool has another one; {own}, which is the one in the archive, is used");
            steps.notice(&subject, message);
            return Ok(Decided::Known(chosen));
        }
        let message = format!("this pool has another one; the one in the archive is restored as {own}");
        steps.notice(&subject, message);
        self.shipped(&own)
    }

    /// The base in the pool, in the release of its own name or in another one; `None` if that is not there, or does not hold it.
    fn look(&self, release: Option<&str>) -> Result<Option<Chosen>> {
        let Context { pool, steps, interrupted, .. } = self.context;
        let name = release.unwrap_or(&self.base.name);
        steps.run(Step::CheckBase, Some(name), None, |_| {
            // Who names a release gets it, equal or not; here it must be equal.
            let record = BaseRecord { name: name.to_owned(), ..self.base.clone() };
            let wish = Wish { base: None, allow_mismatch: false, unproven: false };
            match base::choose(pool, &record, &wish, self.run, steps, interrupted) {
                Ok(chosen) => Ok(Some(chosen)),
                Err(Error::BaseMissing { .. } | Error::BaseDiffers { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    fn shipped(&self, name: &str) -> Result<Decided> {
        let plan = plan::plan(self.record, Some(name), false)?;
        begin::check(self.context.pool, &plan)?;
        Ok(Decided::Shipped(Box::new(Selected { number: self.number, plan })))
    }
}
