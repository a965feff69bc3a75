//! One resource of a restore: what is planned, what it is built on, and its stage.
//!
//! Nothing of it is visible before [`super::publish`]. What it makes is undone by its own [`Undo`], so that it can be left out while the
//! others go on.

use std::collections::HashMap;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::AtomicBool;

use super::base::Chosen;
use super::config::{Becomes, Change};
use super::files;
use super::links::Copies;
use super::merge::Merge;
use super::plan::Plan;
use super::route::{Place, Section};
use super::stage::Stage;
use super::{Identity, Options, Toll};
use crate::archive::Line;
use crate::archive::index::Role;
use crate::archive::manifest::{BaseRecord, Encoding};
use crate::config::{Config, Form};
use crate::error::{Error, Result};
use crate::event::Warning;
use crate::fstab::Leads;
use crate::layout::{self, Arrival, Layout};
use crate::lock::Lock;
use crate::pool::Pool;
use crate::resource::{Base, ResourceKind, Selector, label};
use crate::step::{Meter, Steps};
use crate::tree::path::printable;
use crate::tree::{Content, Entry, MemoryContent, TreePath, TreeWriter};
use crate::undo::Undo;

/// What all works of a restore have in common.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) pool: &'a Pool,
    pub(super) options: &'a Options,
    pub(super) steps: &'a Steps<'a>,
    pub(super) interrupted: &'a AtomicBool,
}

/// What a root is built on.
pub(super) enum Onto {
    Nothing,
    Base(Chosen),
    /// A release or template that is restored in the same run, under this name; it is looked at when the first member comes.
    Staged(Selector),
}

/// One resource.
pub(super) struct Work<'a> {
    /// Its place in the manifest.
    pub(super) number: usize,
    pub(super) plan: Plan,
    pub(super) onto: Onto,
    /// The work of the release or template that it is a clone of, in the same run.
    pub(super) built_on: Option<usize>,
    /// What the datasets are cloned from that are in the archive by name alone.
    pub(super) parts: Vec<(String, Base)>,
    pub(super) stage: Stage<'a>,
    pub(super) merge: Option<Merge>,
    /// The config as it is written, if it came and can be understood.
    pub(super) config: Option<Config>,
    /// The first path of each hard-linked socket, by group.
    pub(super) sockets: HashMap<(Section, u64), TreePath>,
    /// Hard links to files of other datasets that had to become copies.
    pub(super) copies: Copies,
    pub(super) undo: Undo<'a>,
    pub(super) lock: Option<Rc<Lock>>,
    /// What its fstab says now.
    pub(super) fstab: Vec<u8>,
    /// Why it is left out.
    pub(super) failed: Option<Error>,
    /// What it lacks, where the archive is damaged.
    pub(super) toll: Toll,
}

impl<'a> Work<'a> {
    /// As in `jail web01`.
    pub(super) fn label(&self) -> String {
        label(self.plan.record.kind, &self.plan.name)
    }

    /// What it is a clone of.
    pub(super) fn base(&self) -> Option<&Base> {
        match &self.onto {
            Onto::Base(chosen) => Some(&chosen.base),
            _ => None,
        }
    }

    /// What it is or will be a clone of.
    fn source(&self) -> Option<Selector> {
        match &self.onto {
            Onto::Base(chosen) => Some(chosen.base.source()),
            Onto::Staged(source) => Some(source.clone()),
            Onto::Nothing => None,
        }
    }

    /// What the layout needs to know of it.
    fn arrival(&self) -> Arrival<'_> {
        let record = &self.plan.record;
        Arrival {
            kind: record.kind,
            old_name: &record.name,
            name: &self.plan.name,
            layout: &record.layout,
            had: record.base.as_ref().map(BaseRecord::source),
            has: self.source(),
            directories: record.base_directories.iter().map(|directory| directory.path.clone()).collect(),
        }
    }

    /// The dataset of a section; "" is the resource's own.
    pub(super) fn dataset(&self, section: Section) -> &str {
        match section {
            Section::Dataset(at) => &self.plan.datasets[at].name,
            _ => "",
        }
    }

    /// Makes a dataset that does not arrive as a stream, if it has not been made yet; before it those that it lies in.
    pub(super) fn make(
        &mut self,
        at: usize,
        context: Context<'a>,
        meter: &Meter<'_>,
        run: &str,
    ) -> Result<()> {
        let targets = &self.plan.datasets;
        for target in targets[..=at].iter().filter(|above| is_at_or_above(&above.name, &targets[at].name)) {
            if self.stage.has(&target.name) || target.encoding.is_native() {
                continue;
            }
            let base = match (target.encoding, &self.onto) {
                (Encoding::Delta, Onto::Base(chosen)) => Some(&chosen.base),
                _ => self.parts.iter().find(|(name, _)| *name == target.name).map(|(_, base)| base),
            };
            let view = format!("{run}-{}-clone", self.number);
            self.stage.make(&self.plan, target, base, context.steps, meter, &view)?;
        }
        Ok(())
    }

    /// Where entries of a section are written.
    pub(super) fn writer(&mut self, section: Section) -> Result<&mut TreeWriter> {
        match section {
            Section::Dataset(at) => self.stage.writer(&self.plan.datasets[at].name),
            _ => self.stage.own(),
        }
    }

    /// Writes the config or the fstab as it will be.
    pub(super) fn put_file(
        &mut self,
        section: Section,
        (line, entry): (&Line, &Entry),
        content: Option<&mut dyn Content>,
        run: Context<'_>,
    ) -> Result<()> {
        let content = content.ok_or_else(|| Error::Refused(format!("{} has no content", line.name)))?;
        let bytes = files::read_all(&line.name.to_string(), content)?;
        if section == Section::Fstab {
            let bytes = self.fstab(&bytes, run)?;
            return self.put_fstab(bytes, (line, entry));
        }
        let (becomes, config) = self.config(bytes, run)?;
        self.config = config;
        match becomes {
            Becomes::File(name, bytes) => self.put_own(name, bytes, (line, entry))?,
            Becomes::Properties(all) => self.stage.set_config(&all, run.steps)?,
        }
        // There may be none in the archive where the target's manager needs one.
        match self.plan.fstab.is_none().then(|| self.adapted_fstab(b"", run.pool)).transpose()?.flatten() {
            Some(made) => {
                let bytes = self.fstab(&made, run)?;
                self.put_fstab(bytes, (line, entry))
            }
            None => Ok(()),
        }
    }

    fn put_fstab(&mut self, bytes: Vec<u8>, of: (&Line, &Entry)) -> Result<()> {
        self.fstab.clone_from(&bytes);
        self.put_own("fstab", bytes, of)
    }

    fn put_own(&mut self, name: &str, bytes: Vec<u8>, (line, entry): (&Line, &Entry)) -> Result<()> {
        let name = TreePath::new(name.as_bytes()).map_err(|error| Error::Refused(error.to_string()))?;
        let entry = Entry { size: bytes.len() as u64, ..entry.clone() };
        let content = &mut MemoryContent::new(bytes);
        self.stage.own()?.put(&name, &entry, Some(content)).map_err(misplaced(line))
    }

    fn config(&self, bytes: Vec<u8>, context: Context<'_>) -> Result<(Becomes, Option<Config>)> {
        let Context { pool, steps, .. } = context;
        let plan = &self.plan;
        let renamed = plan.name != plan.record.name;
        let identity =
            context.options.identity.unwrap_or(if renamed { Identity::New } else { Identity::Keep });
        let form = plan.form.unwrap_or(Form::Json);
        Change { pool, plan, arrival: &self.arrival(), identity, steps }.of(form, bytes)
    }

    /// An archive's fstab with the lines that the pool's manager needs, if it lacks them.
    fn adapted_fstab(&self, bytes: &[u8], pool: &Pool) -> Result<Option<Vec<u8>>> {
        let Some(config) = &self.config else { return Ok(None) };
        pool.layout().adapt_fstab(pool.backend(), bytes, config, &self.arrival())
    }

    fn fstab(&self, bytes: &[u8], context: Context<'_>) -> Result<Vec<u8>> {
        let Context { pool, steps, .. } = context;
        let place = pool.layout().place(self.plan.record.kind, &self.plan.name)?;
        let directory = pool.backend().directory().join(place.as_str());
        let bytes = self.with_this_pool(bytes, pool);
        let bytes = self.adapted_fstab(&bytes, pool)?.unwrap_or(bytes);
        let bytes = crate::fstab::from_archive(&bytes, &directory);
        for (line, leads) in crate::fstab::outside(&bytes, pool.backend().directory(), &directory) {
            let subject = format!("fstab, line {line}");
            match leads {
                Leads::From(path) => {
                    let path = printable(&path);
                    steps.notice(&subject, format!("mounts {path}, which is outside of the pool"));
                }
                Leads::To(path) => {
                    let message = format!(
                        "mounts on {}, which is outside of the resource; look at it before you start it",
                        printable(&path)
                    );
                    steps.warn(&Warning { subject, message });
                }
            }
        }
        Ok(bytes)
    }

    /// What is mounted from the pool that the resource was in comes from the same place in this pool; what is mounted from its base, or
    /// from what a release has for basejails, from the base that it is built on now.
    fn with_this_pool(&self, fstab: &[u8], pool: &Pool) -> Vec<u8> {
        let record = &self.plan.record;
        let named = layout::named(&record.layout);
        let (before, after) = (named.as_deref().unwrap_or(pool.layout()), pool.layout());
        let place = |layout: &dyn Layout, source: &Selector| {
            layout.place(source.kind, &source.name).ok().map(|place| place.as_str().to_owned())
        };
        // Where the pool was: what is above the resource's own place in it.
        let own = place(before, &Selector { kind: record.kind, name: record.name.clone() });
        let above = own.and_then(|own| record.mountpoint.strip_suffix(&own)?.strip_suffix('/'));
        let Some(above) = above.filter(|above| above.starts_with('/')) else { return fstab.to_vec() };
        let had = record.base.as_ref().map(BaseRecord::source);
        let has = self.source().or_else(|| had.clone());
        let mut moved = Vec::new();
        if let (Some(had), Some(has)) = (&had, &has) {
            // `base/RELEASE` of `base/RELEASE/root/bin`.
            let part = |layout: &dyn Layout, source: &Selector| {
                let part = layout.base_part(&source.name, "root/bin").ok()?;
                part.as_str().strip_suffix("/root/bin").map(str::to_owned)
            };
            moved.extend(place(before, had).zip(place(after, has)));
            moved.extend(part(before, had).zip(part(after, has)));
        }
        // Of other templates only the place is another one.
        let templates = |layout: &dyn Layout| {
            let any = Selector { kind: ResourceKind::Template, name: "x".to_owned() };
            place(layout, &any)?.strip_suffix("/x").map(str::to_owned)
        };
        moved.extend(templates(before).zip(templates(after)).filter(|(was, is)| was != is && was != "jails"));
        crate::fstab::with_pool(fstab, Path::new(above), pool.backend().directory(), &moved)
    }

    /// Tells what the fstab mounts that is not on this host. To be asked when all of the restore is visible.
    pub(super) fn tell_of_missing_sources(&self, directory: &Path, steps: &Steps<'_>) {
        use std::os::unix::ffi::OsStrExt;
        let exists = |path: &[u8]| {
            let found = Path::new(std::ffi::OsStr::from_bytes(path)).metadata();
            // What cannot be looked at may be there.
            !found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
        };
        for (line, path) in crate::fstab::missing(&self.fstab, directory, &exists) {
            let message = format!("mounts {}, which is not on this host", printable(&path));
            steps.warn(&Warning { subject: format!("fstab, line {line}"), message });
        }
    }

    /// Applies a line of the index, after all members.
    pub(super) fn line(&mut self, line: &Line, place: &Place, steps: &Steps<'_>) -> Result<()> {
        let (section, path) = (place.section, &place.path);
        let writer = match section {
            Section::Dataset(at) if self.stage.is_tree(&self.plan.datasets[at].name) => {
                self.stage.writer(&self.plan.datasets[at].name)?
            }
            Section::Files => self.stage.own()?,
            _ => return Ok(()),
        };
        if section == Section::Dataset(0)
            && let Some(merge) = &mut self.merge
            && merge.decide(line, path, writer, steps)?.is_settled()
        {
            return Ok(());
        }
        let failed = || misplaced(line);
        match (&line.role, &line.entry) {
            (Role::Metadata { .. }, Some(entry)) => writer.set_metadata(path, entry).map_err(failed()),
            (Role::Unarchived, Some(entry)) => {
                let first = line.group.and_then(|group| self.sockets.get(&(section, group)));
                if let Some(first) = first {
                    return writer.link(path, first).map_err(failed());
                }
                if let Some(group) = line.group {
                    self.sockets.insert((section, group), path.clone());
                }
                writer.put(path, entry, None).map_err(failed())
            }
            (Role::Deleted, _) => match writer.remove(path) {
                // What lay below something that was replaced is gone already.
                Ok(_) | Err(crate::tree::Error::NoParent { .. } | crate::tree::Error::Escapes { .. }) => {
                    Ok(())
                }
                Err(error) => Err(failed()(error)),
            },
            _ => Ok(()),
        }
    }

    /// Another base need not have what a link points to, or has something else there. Whether that is why it cannot be made.
    pub(super) fn lost_link(
        &mut self,
        (path, section): (&TreePath, Section),
        to: &TreePath,
        error: &crate::tree::Error,
        steps: &Steps<'_>,
    ) -> bool {
        use crate::tree::Error::{Escapes, Io, NoParent, WrongKind};
        let is_lost = match error {
            NoParent { .. } | Escapes { .. } | WrongKind { .. } => true,
            Io { source, .. } => source.kind() == std::io::ErrorKind::NotFound,
            _ => false,
        };
        match &mut self.merge {
            Some(merge) if is_lost && section == Section::Dataset(0) => {
                merge.lost_link(path, to, steps);
                true
            }
            _ => false,
        }
    }
}

/// Why an entry could not be applied. Where its place is no place the archive is to blame.
pub(super) fn misplaced(line: &Line) -> impl FnOnce(crate::tree::Error) -> Error + use<> {
    use crate::archive::Error as A;
    use crate::tree::Error as E;
    let name = line.name.to_string();
    let target = match &line.role {
        Role::Link { to } => Some(to.to_string()),
        _ => None,
    };
    move |error| match (error, target) {
        (E::Io { source, .. }, Some(to)) if source.kind() == std::io::ErrorKind::NotFound => {
            Error::Archive(A::Damaged(format!("{name} is a link to {to}, which is missing")))
        }
        (E::NoParent { .. }, _) => {
            Error::Archive(A::Damaged(format!("{name} lies in a directory that is missing")))
        }
        (E::Escapes { through, .. }, _) => {
            Error::Refused(format!("{name} leads through {through}, which is no directory"))
        }
        (error @ E::Collides { .. }, _) => Error::Refused(format!("{name}: {error}")),
        (E::WrongKind { found, wanted, .. }, _) => {
            Error::Archive(A::Damaged(format!("{name} is {wanted} in the archive, and {found} in its base")))
        }
        (error, _) => Error::tree(format!("restore {name}"))(error),
    }
}

fn is_at_or_above(above: &str, name: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}
