//! The end of a restore: everything is there, the seal matches, and all of it becomes visible, or nothing.
//!
//! All stages are completed, mounted and on stable storage before the first rename. Of several resources, and where datasets are mounted,
//! the run's record says so then, durably: a crash between two renames, or before all is mounted again, is rolled forward by `cleanup`
//! ([`crate::cleanup`]). A rename that fails takes back those before it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use remand_backends::{BackendKind, Created, DatasetName};

use super::plan::Plan;
use super::stage::directory_of;
use super::times::put_times_back;
use super::visitor::Restore;
use super::work::{Context, Work};
use super::{Report, Restored};
use crate::archive::{self, Seal};
use crate::error::{Error, Result};
use crate::event::{Step, Warning};
use crate::pool::Pool;
use crate::records::Records;
use crate::run::Publish;
use crate::undo::{Undo, chain};

impl<'a> Restore<'a> {
    /// Makes the resources visible if the archive is whole; undoes everything if anything failed.
    pub(super) fn conclude(mut self, read: Result<Option<Seal>>) -> Result<Report> {
        let read = match read {
            Err(_) if self.check_interrupt().is_err() => Err(Error::Interrupted),
            read => read,
        };
        let outcome = read.and_then(|seal| self.publish().map(|directories| (seal, directories)));
        let outcome = outcome.map_err(|error| self.rooms.explain(error));
        self.close(0, outcome.as_ref().err());
        self.turn_to(None);
        self.sources.close();
        let steps = self.context.steps;
        let mut undo = std::mem::replace(&mut self.undo, Undo::new(steps));
        self.shelf_undone_by(&mut undo);
        let mut resources = std::mem::take(&mut self.left_out);
        let mut locks = Vec::new();
        let mut directories = outcome.as_ref().map_or(Vec::new(), |(_, all)| all.clone()).into_iter();
        for work in std::mem::take(&mut self.works) {
            if let (Ok((seal, _)), None) = (&outcome, &work.failed) {
                self.take_over(&work, seal.as_ref());
            }
            resources.push(Restored::of(&work, directories.next().flatten()));
            // The base must be closed, and nothing open in staging, before anything is undone.
            self.clean &= work.merge.map_or(Ok(()), super::merge::Merge::close).is_ok();
            undo.append(work.undo);
            locks.push(work.lock);
        }
        let (outcome, clean) = undo.conclude(outcome);
        let kept = self.kept.get();
        if let Some(run) = self.run.take() {
            crate::export::end_run(run, self.clean && clean && kept.is_none(), steps);
        }
        match self.earlier.take() {
            Some(earlier) if outcome.is_ok() => earlier.finish(steps),
            _ => {}
        }
        drop(locks);
        match (outcome, kept) {
            (Err(cause), Some(received_bytes)) => Err(Error::Kept { cause: Box::new(cause), received_bytes }),
            (Err(error), None) => Err(error),
            (Ok((seal, _)), _) => {
                let signed = self.signed.take();
                Ok(Report { resources, seal, signed, warnings: steps.warnings() })
            }
        }
    }

    /// Gives the pool's records what the archive says of a resource that is visible now.
    fn take_over(&self, work: &Work<'_>, seal: Option<&Seal>) {
        let Context { pool, steps, .. } = self.context;
        let Some(manifest) = &self.manifest else { return };
        let plan = &work.plan;
        let (kind, what) = (plan.record.kind, crate::resource::label(plan.record.kind, &plan.name));
        let taken = Records::of_pool(pool).and_then(|records| {
            let refused = records.restored(kind, &plan.name, manifest, &plan.record, seal)?;
            work.toll.mark(&records, plan, &self.source)?;
            Ok(refused)
        });
        let message = match taken {
            Ok(refused) if refused.is_empty() => return,
            Ok(refused) => format!("of its records this was not taken over: {}", refused.join("; ")),
            Err(error) => format!("its records, tags and note were not taken over: {}", chain(&error)),
        };
        steps.warn(&Warning { subject: what, message });
    }

    fn shelf_undone_by(&mut self, undo: &mut Undo<'a>) {
        let backend = self.context.pool.backend();
        if let Some(shelf) = self.shelf.take() {
            let created = shelf.created;
            undo.always("staging dataset of shared files", move || {
                backend.destroy(created).map_err(|kept| Error::backend("destroy it")(kept.error))
            });
        }
    }

    /// Everything arrived and the seal matches. Where each of the works is then.
    fn publish(&mut self) -> Result<Vec<Option<PathBuf>>> {
        self.enter_index()?;
        for work in 0..self.works.len() {
            if self.works[work].failed.is_none() {
                self.turn_to(Some(&self.works[work].plan.name));
                let completed = self.complete(work);
                self.turn_to(None);
                completed.or_else(|error| self.fail(work, error))?;
            }
        }
        self.leave_out_clones()?;
        self.discard();
        if self.works.iter().all(|work| work.failed.is_some()) {
            let failed = self.works.iter_mut().find_map(|work| work.failed.take());
            return Err(self.first_error.take().or(failed).unwrap_or(Error::Interrupted));
        }
        let mut hidden = Undo::new(self.context.steps);
        self.shelf_undone_by(&mut hidden);
        self.clean &= hidden.conclude(Ok(())).1;
        let mut synced = BTreeSet::new();
        for work in self.works.iter().filter(|work| work.failed.is_none()) {
            work.stage.sync(&mut synced)?;
        }
        self.close(0, None);
        self.check_interrupt()?;
        self.make_visible()
    }

    /// Makes what no member came for, and sets what had to wait.
    fn complete(&mut self, at: usize) -> Result<()> {
        self.build_on_staged(at)?;
        for dataset in 0..self.works[at].plan.datasets.len() {
            if self.is_dataset_lost(at, dataset) {
                continue;
            }
            self.make(at, dataset)?;
            let work = &self.works[at];
            let name = &work.plan.datasets[dataset].name;
            if !work.stage.has(name) {
                let message = format!("the dataset {name} is missing");
                return Err(Error::Archive(archive::Error::Damaged(message)));
            }
        }
        let steps = self.context.steps;
        let work = &mut self.works[at];
        if let Some(mut merge) = work.merge.take() {
            let root = work.plan.datasets[0].name.clone();
            let built = work.stage.built(&root)?;
            let base = work.base().map(crate::resource::Base::label).unwrap_or_default();
            let settled =
                work.stage.writer(&root).and_then(|writer| merge.settle(&base, &built, writer, steps));
            self.clean &= merge.close().is_ok();
            settled?;
        }
        work.stage.rest(steps)?;
        work.stage.set_flags(&work.plan, steps)?;
        if work.copies.count > 0 {
            let message = format!(
                "has copies in place of hard links to files of other datasets, which are on other file systems here: {}",
                work.copies.count
            );
            steps.warn(&Warning { subject: work.plan.name.clone(), message });
        }
        Ok(())
    }

    /// What is a clone of a release that is left out cannot be restored either.
    fn leave_out_clones(&mut self) -> Result<()> {
        for at in 0..self.works.len() {
            let Some(release) = self.works[at].built_on else { continue };
            if self.works[at].failed.is_none() && self.works[release].failed.is_some() {
                let Plan { record, name, .. } = &self.works[release].plan;
                let (kind, base) = (record.kind, name.clone());
                self.fail(at, Error::BaseUnready { kind, base, reason: "it cannot be restored" })?;
            }
        }
        Ok(())
    }

    /// Removes what was made of resources that are left out; clones before what they were cloned from.
    fn discard(&mut self) {
        let steps = self.context.steps;
        for work in self.works.iter_mut().rev().filter(|work| work.failed.is_some()) {
            self.clean &= work.merge.take().map_or(Ok(()), super::merge::Merge::close).is_ok();
            let _: Result<()> = work.stage.rest(steps); // it goes, whatever could not be finished of it
            let remains = std::mem::replace(&mut work.undo, Undo::new(steps)).roll_back();
            self.clean &= remains.is_empty();
            for message in remains {
                let message = format!("{message}; `remand cleanup` removes what is left");
                steps.notice(&work.plan.name, message);
            }
        }
    }

    fn make_visible(&mut self) -> Result<Vec<Option<PathBuf>>> {
        let Self { context, works, undo, several, subject, .. } = self;
        let (pool, steps) = (context.pool, context.steps);
        let turn_to = |name: Option<&str>| {
            if *several {
                steps.turn_to(name, subject);
            }
        };
        let mut entries = Vec::new();
        for (at, work) in works.iter_mut().enumerate().filter(|(_, work)| work.failed.is_none()) {
            let place = pool.layout().place(work.plan.record.kind, &work.plan.name)?;
            ensure_parent(pool, &place, undo)?;
            // Before properties are set: `canmount` may unmount.
            let times = work.stage.times(&work.plan)?;
            work.stage.make_mount_points(&work.plan, &times, steps)?;
            turn_to(Some(&work.plan.name));
            work.stage.set_properties(steps);
            turn_to(None);
            // All of it, so that it comes into view by the rename alone. Where that fails it is tried again there, and told.
            let _ = pool.backend().mount(&work.stage.dataset);
            put_times_back(pool, &work.stage.dataset, &times, steps);
            let (from, to) = (work.stage.dataset.as_str().to_owned(), place.as_str().to_owned());
            entries.push((at, place, Publish { resource: work.label(), from, to, times }));
        }
        if entries.len() > 1 || pool.backend().kind() == BackendKind::Zfs {
            self.record.publish = entries.iter().map(|(.., entry)| entry.clone()).collect();
            let run = self.run.as_mut().ok_or_else(|| Error::Unsupported("There is no run".into()))?;
            run.rewrite(&self.record)?;
        }
        self.rename_all(&entries)?;
        let mut directories = vec![None; self.works.len()];
        for (at, place, entry) in &entries {
            let work = &self.works[*at];
            self.turn_to(Some(&work.plan.name));
            if let Err(error) = pool.backend().mount(place) {
                let message = format!("is restored, but could not be mounted: {}", chain(&error));
                steps.warn(&Warning { subject: entry.resource.clone(), message });
            }
            put_times_back(pool, place, &entry.times, steps);
            work.stage.tell_of_locked(place, steps);
            let directory = directory_of(pool, place);
            let directory = directory.unwrap_or_else(|_| pool.backend().directory().join(place.as_str()));
            work.tell_of_missing_sources(&directory, steps);
            directories[*at] = Some(directory);
        }
        self.turn_to(None);
        Ok(directories)
    }

    fn rename_all(&mut self, entries: &[(usize, DatasetName, Publish)]) -> Result<()> {
        let (backend, steps) = (self.context.pool.backend(), self.context.steps);
        let mut visible = Vec::new();
        for (at, place, entry) in entries {
            let created = &self.works[*at].stage.created;
            let what = &entry.resource;
            let renamed = steps.run(Step::Publish, Some(what), None, |_| {
                let token =
                    created.take().ok_or_else(|| Error::Unsupported("There is no staging dataset".into()))?;
                backend.rename(token, place).map_err(|kept| {
                    created.replace(Some(kept.token));
                    match kept.error {
                        remand_backends::Error::Exists(_) => Error::Exists(format!("The {what}")),
                        error => Error::backend(format!("rename the staging dataset to the {what}"))(error),
                    }
                })
            });
            match renamed {
                Ok(token) => visible.push((*at, token)),
                Err(cause) => return Err(self.take_back(visible, cause)),
            }
        }
        Ok(())
    }

    /// Renames back what is visible already, so that all of it is undone. Only then the record stops to say that it is whole.
    fn take_back(&mut self, visible: Vec<(usize, Created)>, cause: Error) -> Error {
        let (backend, steps) = (self.context.pool.backend(), self.context.steps);
        let mut remains = Vec::new();
        for (at, token) in visible.into_iter().rev() {
            let work = &self.works[at];
            let what = work.label();
            let back = steps.run(Step::Undo, Some(&what), None, |_| {
                let back = backend.rename(token, &work.stage.dataset);
                back.map_err(|kept| Error::backend("rename it back")(kept.error))
            });
            match back {
                Ok(token) => drop(work.stage.created.replace(Some(token))),
                Err(error) => remains.push(format!("{what}: {}", chain(&error))),
            }
        }
        if let Some(run) = self.run.as_mut().filter(|_| !self.record.publish.is_empty()) {
            self.record.publish.clear();
            remains.extend(run.rewrite(&self.record).err().map(|error| chain(&error)));
        }
        if remains.is_empty() {
            return cause;
        }
        self.clean = false;
        Error::Rollback { cause: Box::new(cause), remains }
    }
}

/// `jails` of a pool that never had one.
fn ensure_parent<'a>(pool: &'a Pool, place: &DatasetName, undo: &mut Undo<'a>) -> Result<()> {
    let backend = pool.backend();
    let Some(parent) = place.parent() else { return Ok(()) };
    if backend.dataset(&parent).map_err(Error::backend(format!("look {} up", parent.as_str())))?.is_some() {
        return Ok(());
    }
    let created = backend.create(&parent).map_err(Error::backend(format!("make {}", parent.as_str())))?;
    undo.on_failure(format!("dataset {}", parent.as_str()), move || {
        backend.destroy(created).map_err(|kept| Error::backend("destroy it again")(kept.error))
    });
    Ok(())
}
