//! What an export takes: each resource with all that is decided about it before anything is made.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use remand_backends::{BackendKind, DatasetKind, NativeDiff, Snapshot, SnapshotInfo, SnapshotName};

use super::plan::{self, Plan};
use super::{Options, encryption};
use crate::archive::manifest::{Encoding, FailedRecord, Mode};
use crate::change::Choice;
use crate::error::{Error, Result};
use crate::event::Warning;
use crate::lock::Lock;
use crate::pool::Pool;
use crate::resource::{Base, Resource, ResourceKind, Selector, label};
use crate::run::Record;
use crate::step::Steps;
use crate::undo::chain;

/// A resource by name, and maybe a snapshot of it that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chosen {
    pub(crate) kind: ResourceKind,
    pub(crate) name: String,
    pub(crate) snapshot: Option<SnapshotName>,
    /// Of a release that travels as a base alone: that, and its name in the archive.
    pub(crate) carried: Option<(Snapshot, String)>,
}

impl Chosen {
    pub(crate) fn label(&self) -> String {
        label(self.kind, self.title())
    }

    /// Its name in the archive.
    pub(crate) fn title(&self) -> &str {
        self.carried.as_ref().map_or(&self.name, |(_, name)| name)
    }
}

/// A resource that will be exported.
pub(crate) struct Selected {
    pub(crate) resource: Resource,
    pub(crate) plan: Plan,
    pub(super) wishes: plan::Wishes,
    pub(super) choice: Choice,
    /// The snapshot that the user named.
    pub(super) given: Option<SnapshotInfo>,
    /// What its root is read from, of a release that travels as a base alone.
    pub(super) carried: Option<Snapshot>,
}

impl Selected {
    /// The base that the plan needs: none for a standalone export.
    pub(super) fn base(&self) -> Option<&Base> {
        super::base_of(&self.resource, &self.plan)
    }

    fn source(&self) -> Selector {
        Selector { kind: self.resource.kind, name: self.resource.name.clone() }
    }

    /// Decides everything about one resource. Makes nothing.
    pub(super) fn new(pool: &Pool, chosen: &Chosen, options: &Options, steps: &Steps<'_>) -> Result<Self> {
        let backend = pool.backend();
        let wanted = Selector { kind: chosen.kind, name: chosen.name.clone() };
        let mut resource = pool.resource(&wanted)?;
        let given = match &chosen.snapshot {
            None => None,
            Some(name) => {
                let (info, absent) = given(pool, &mut resource, name)?;
                for dataset in absent {
                    let message = format!("it has no snapshot {name}; it is not in the archive");
                    steps.warn(&Warning {
                        subject: format!("{dataset} of the {}", resource.label()),
                        message,
                    });
                }
                Some(info)
            }
        };
        if let Some((_, name)) = &chosen.carried {
            super::carried::reduce(&mut resource, name)?;
        }
        let carried = chosen.carried.as_ref().map(|(snapshot, _)| snapshot.clone());
        let (plan, wishes) = make_plan(pool, &resource, options, options.recursive && carried.is_none())?;
        let base = super::base_of(&resource, &plan);
        let native = backend.native_diff();
        let choice = crate::base::choose(base, options.engine.as_deref(), native)?;
        if let (Choice::Snapshot(_), Some(what)) = (choice, native.and_then(NativeDiff::leaves_out)) {
            steps.notice("root", format!("the snapshot engine does not see {what}"));
        }
        Ok(Self { resource, plan, wishes, choice, given, carried })
    }
}

/// Decides how the datasets of a resource travel.
pub(super) fn make_plan(
    pool: &Pool,
    resource: &Resource,
    options: &Options,
    recursive: bool,
) -> Result<(Plan, plan::Wishes)> {
    let backend = pool.backend();
    let wishes = plan::Wishes {
        standalone: options.standalone,
        recursive,
        portable: options.portable,
        native: backend.streams().map(|_| native_encoding(backend.kind())),
    };
    let plan = plan::plan(resource, backend.capabilities(), wishes)?;
    encryption::check(pool, resource, &plan, options.decrypted)?;
    Ok((plan, wishes))
}

/// How native streams of a backend lie in an archive.
pub(crate) fn native_encoding(kind: BackendKind) -> Encoding {
    match kind {
        BackendKind::Btrfs => Encoding::Btrfs,
        _ => Encoding::Zfs,
    }
}

/// The base that the plan needs: none for a standalone export.
pub(crate) fn base_of<'a>(resource: &'a Resource, plan: &Plan) -> Option<&'a Base> {
    resource.base.as_ref().filter(|_| plan.mode == Mode::Differential)
}

/// Arranges templates so that a restore in one pass can build on them: each comes behind the one that it was cloned from (releases come before
/// and jails behind them already), and travels whole where others of the archive are built on it, because what it lacks of its own base is
/// known at the end of an archive only.
pub(super) fn arrange(
    pool: &Pool,
    selected: &mut [Selected],
    options: &Options,
    steps: &Steps<'_>,
) -> Result<()> {
    let is_template = |one: &Selected| one.resource.kind == ResourceKind::Template;
    let Some(first) = selected.iter().position(is_template) else { return Ok(()) };
    let count = selected[first..].iter().take_while(|one| is_template(one)).count();
    let sources: Vec<_> = selected.iter().map(|one| (one.source(), one.base().map(Base::source))).collect();
    let depth = |one: &Selected| {
        let mut below = one.base().map(Base::source);
        // Configs of plain directories can say that two are based on each other.
        let depth = sources.iter().take_while(|_| {
            let found = sources.iter().find(|(source, _)| Some(source) == below.as_ref());
            below = found.and_then(|(_, base)| base.clone());
            found.is_some()
        });
        depth.count()
    };
    let templates = &mut selected[first..first + count];
    templates.sort_by_cached_key(depth);
    for template in templates.iter_mut().filter(|template| template.plan.mode == Mode::Differential) {
        let source = template.source();
        if !sources.iter().any(|(_, base)| base.as_ref() == Some(&source)) {
            continue;
        }
        let standalone = Options { standalone: true, ..options.clone() };
        (template.plan, template.wishes) =
            make_plan(pool, &template.resource, &standalone, template.wishes.recursive)?;
        template.choice = crate::base::choose(None, options.engine.as_deref(), pool.backend().native_diff())?;
        steps.notice(
            &template.resource.label(),
            "travels whole, because others in the archive are built on it".to_owned(),
        );
    }
    Ok(())
}

/// Looks for a snapshot that the user named in all datasets of a resource. Those that did not exist yet when it was made are taken out
/// of it, and told.
pub(super) fn given(
    pool: &Pool,
    resource: &mut Resource,
    name: &SnapshotName,
) -> Result<(SnapshotInfo, BTreeSet<String>)> {
    let backend = pool.backend();
    if !backend.capabilities().consistent_while_running {
        return Err(Error::Usage(format!(
            "The {} has no snapshot {name}: the pool is a plain directory, which has none",
            resource.label()
        )));
    }
    let find = |dataset: &remand_backends::DatasetName| {
        let wanted = Snapshot { dataset: dataset.clone(), name: Some(name.clone()) };
        backend.snapshot_info(&wanted).map_err(Error::backend(format!("look {} up", dataset.as_str())))
    };
    let missing = || Error::NoResource {
        what: format!("snapshot {name} of the {}", resource.label()),
        pool: pool.label(),
    };
    let info = find(&resource.dataset)?.ok_or_else(missing)?;
    let mut absent = BTreeSet::new();
    for (at, part) in resource.datasets.iter().enumerate() {
        if part.kind == DatasetKind::Directory || find(&part.dataset)?.is_some() {
            continue;
        }
        if at == 0 {
            return Err(missing());
        }
        absent.insert(part.name.clone());
    }
    resource.datasets.retain(|part| !absent.contains(&part.name));
    // What is in its place in the snapshot is at most an empty directory, which is its parent's.
    resource.enclosed.extend(absent.iter().cloned());
    Ok((info, absent))
}

/// Resources that are left out because they failed.
#[derive(Debug, Default)]
pub(super) struct Failures {
    pub(super) keep_going: bool,
    pub(super) records: Vec<FailedRecord>,
    first: Option<Error>,
}

impl Failures {
    pub(super) fn new(keep_going: bool) -> Self {
        Self { keep_going, ..Self::default() }
    }

    /// Leaves a resource out that failed, if the user wants to go on without it.
    pub(super) fn take<T>(
        &mut self,
        (kind, name): (ResourceKind, &str),
        outcome: Result<T>,
        steps: &Steps<'_>,
    ) -> Result<Option<T>> {
        match outcome {
            Ok(value) => Ok(Some(value)),
            Err(error) if !self.keep_going || error.exit_status() == 130 => Err(error),
            Err(error) => {
                let text = chain(&error);
                let message = format!("failed, and is not in the archive: {text}");
                steps.warn(&Warning { subject: label(kind, name), message });
                self.records.push(FailedRecord { kind, name: name.to_owned(), error: text });
                self.first.get_or_insert(error);
                Ok(None)
            }
        }
    }

    /// What is left, of which there must be something.
    pub(super) fn some<T>(&mut self, left: Vec<T>) -> Result<Vec<T>> {
        if left.is_empty() { Err(self.all()) } else { Ok(left) }
    }

    pub(super) fn into_records(self) -> Vec<FailedRecord> {
        self.records
    }

    /// What to fail with where nothing is left.
    pub(super) fn all(&mut self) -> Error {
        self.first.take().unwrap_or_else(|| Error::Usage("Nothing was selected".into()))
    }
}

/// All resources that can be exported, looked at when their locks are held: what was found before may be gone.
pub(super) fn locked(
    pool: &Pool,
    state: &std::path::Path,
    chosen: Vec<Chosen>,
    (record, options): (&Record, &Options),
    failures: &mut Failures,
    (steps, interrupted): (&Steps<'_>, &AtomicBool),
) -> Result<(Vec<Selected>, Vec<Option<Lock>>)> {
    let (mut selected, mut locks) = (Vec::new(), Vec::new());
    for (chosen, lock) in lock(state, chosen, (record, options), failures, (steps, interrupted))? {
        let one = Selected::new(pool, &chosen, options, steps);
        selected.extend(failures.take((chosen.kind, chosen.title()), one, steps)?);
        locks.push(lock);
    }
    Ok((failures.some(selected)?, locks))
}

/// The locks of all resources, taken in their order, so that two exports never wait for each other.
fn lock(
    state: &std::path::Path,
    chosen: Vec<Chosen>,
    (record, options): (&Record, &Options),
    failures: &mut Failures,
    (steps, interrupted): (&Steps<'_>, &AtomicBool),
) -> Result<Vec<(Chosen, Option<Lock>)>> {
    let many = chosen.len() > 1;
    let mut locked = Vec::new();
    for chosen in chosen {
        if chosen.carried.is_some() {
            // It is read as the base that it is to others, too, who may be exported at the same time.
            locked.push((chosen, None));
            continue;
        }
        let what = chosen.label();
        let lock = steps.run(crate::event::Step::Lock, many.then_some(what.as_str()), None, |_| {
            let record = Record { resource: what.clone(), ..record.clone() };
            Lock::acquire(state, &what.replace(' ', "-"), &record, options.wait, interrupted)
        });
        if let Some(lock) = failures.take((chosen.kind, &chosen.name), lock, steps)? {
            locked.push((chosen, Some(lock)));
        }
    }
    Ok(locked)
}
