//! Writing the parts of a resource, in the archive's order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use remand_backends::{SendOptions, Snapshot};

use super::members::{Counts, TreeMembers};
use super::plan::PlannedDataset;
use super::proof::AboutBase;
use super::queue::MemberWriter;
use super::shared::SharedFiles;
use super::{Options, Plan};
use crate::archive::manifest::{BaseDirectory, Encoding};
use crate::archive::{Body, Line, MemberName, Written};
use crate::basejail;
use crate::change::content::Content as ByContent;
use crate::change::{self, Engine, OfBase, Trees};
use crate::error::{Error, Result};
use crate::event::{Step, Warning};
use crate::pool::{Pool, View};
use crate::resource::Resource;
use crate::step::{Meter, Steps};
use crate::tree::{Acl, Entry, Flags, Kind, Timestamp, Tree, TreePath};

/// The export of one resource that is under way.
pub(crate) struct Job<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) resource: &'a Resource,
    /// Its place in the manifest.
    pub(crate) number: u32,
    /// Directory of the archive that its members are in.
    pub(crate) prefix: &'a TreePath,
    pub(crate) plan: &'a Plan,
    pub(crate) options: &'a Options,
    pub(crate) engine: &'a dyn Engine,
    pub(crate) run: &'a str,
    /// The snapshot of the resource's own dataset; the others have one of the same name.
    pub(crate) snapshot: &'a Snapshot,
    /// Another one of the root, of a release that travels as a base.
    pub(crate) root_snapshot: Option<&'a Snapshot>,
    /// When it was made, in seconds since 1970.
    pub(crate) taken_seconds: i64,
    pub(crate) steps: &'a Steps<'a>,
    pub(crate) interrupted: &'a AtomicBool,
    /// Views opened so far by the run, so that each gets a name of its own.
    pub(crate) views: &'a AtomicU32,
    pub(crate) shared: &'a SharedFiles,
    /// Is told of a snapshot of which nothing more is read.
    pub(crate) done_with: &'a (dyn Fn(&Snapshot) + Sync),
}

/// What a resource's members are compared with, and what they leave out.
#[derive(Default)]
pub(crate) struct Against<'a> {
    /// The base's tree.
    pub(crate) base: Option<&'a Tree>,
    /// Base directories.
    pub(crate) left_out: &'a [BaseDirectory],
    /// What is wanted of the base on the way.
    pub(crate) wanted: OfBase,
}

/// What has been written of a resource.
#[derive(Debug, Default)]
pub(crate) struct Done {
    pub(crate) counts: Counts,
    /// Bytes of content in the members of each dataset.
    pub(crate) bytes: BTreeMap<String, u64>,
    pub(crate) base: AboutBase,
}

impl Job<'_> {
    /// Writes everything but manifest and index.
    pub(crate) fn write(&self, writer: &mut dyn MemberWriter, against: &Against<'_>) -> Result<Done> {
        let mut done = Done::default();
        self.own_directory(writer, &mut done.counts)?;
        done.base = self.root(writer, against, &mut done)?;
        (self.done_with)(&self.snapshot_of(&self.plan.datasets[0]));
        self.other_datasets(writer, &mut done)?;
        Ok(done)
    }

    /// The root dataset. Returns of the base what was asked for.
    fn root(
        &self,
        writer: &mut dyn MemberWriter,
        against: &Against<'_>,
        done: &mut Done,
    ) -> Result<AboutBase> {
        let planned = &self.plan.datasets[0];
        self.warn_of_history(planned)?;
        self.steps.run(Step::ExportRootDataset, None, None, |meter| {
            self.dataset(writer, planned, against, meter, done)
        })
    }

    /// The members of one dataset.
    fn dataset(
        &self,
        writer: &mut dyn MemberWriter,
        planned: &PlannedDataset,
        against: &Against<'_>,
        meter: &Meter<'_>,
        done: &mut Done,
    ) -> Result<AboutBase> {
        if planned.encoding.is_native() {
            let bytes = self.stream(writer, planned, meter)?;
            done.bytes.insert(planned.name.clone(), bytes);
            return Ok(AboutBase::default());
        }
        let before = done.counts.content_bytes;
        let base = self.with_view(&self.snapshot_of(planned), |view| {
            let trees = Trees { base: against.base, now: &view.tree };
            let below = self.below(planned)?;
            self.tree(
                writer,
                trees,
                &self.place(&planned.member)?,
                (&below, against),
                meter,
                &mut done.counts,
            )
        })?;
        done.bytes.insert(planned.name.clone(), done.counts.content_bytes - before);
        Ok(base)
    }

    /// Neither a differential root nor what is cloned again can carry its snapshots.
    fn warn_of_history(&self, planned: &PlannedDataset) -> Result<()> {
        if !self.options.recursive || !matches!(planned.encoding, Encoding::Delta | Encoding::Base) {
            return Ok(());
        }
        let dataset = &planned.part(self.resource).dataset;
        let all = self
            .pool
            .backend()
            .snapshots(dataset)
            .map_err(Error::backend(format!("list the snapshots of {}", dataset.as_str())))?;
        let own = |info: &&remand_backends::SnapshotInfo| {
            info.snapshot.name.as_ref().is_none_or(|name| !crate::run::is_run_id(name.as_str()))
        };
        let count = all.iter().filter(own).count();
        if count > 0 {
            self.steps.warn(&Warning {
                subject: planned.name.clone(),
                message: format!(
                    "its {count} snapshots are not in a differential archive; export with --standalone --recursive to keep them"
                ),
            });
        }
        Ok(())
    }

    fn other_datasets(&self, writer: &mut dyn MemberWriter, done: &mut Done) -> Result<()> {
        let others = &self.plan.datasets[1..];
        if others.is_empty() {
            self.steps.skip(Step::ExportOtherDatasets, None, "there are none");
            return Ok(());
        }
        self.steps.run(Step::ExportOtherDatasets, None, None, |_| {
            for planned in others {
                let name = Some(planned.name.as_str());
                if planned.encoding == Encoding::Base {
                    self.warn_of_history(planned)?;
                    let reason = "a clone of the release's, which a restore clones again";
                    self.steps.skip(Step::ExportOtherDataset, name, reason);
                    continue;
                }
                let against = Against::default();
                self.steps.run(Step::ExportOtherDataset, name, None, |meter| {
                    self.dataset(writer, planned, &against, meter, done)
                })?;
            }
            Ok(())
        })
    }

    /// What lies below a dataset and does not travel with it.
    pub(super) fn below(&self, planned: &PlannedDataset) -> Result<Vec<TreePath>> {
        let prefix = format!("{}/", planned.name);
        let datasets = self.resource.datasets.iter().map(|part| part.name.as_str());
        let all = datasets.chain(self.resource.enclosed.iter().map(String::as_str));
        all.filter_map(|name| name.strip_prefix(&prefix)).map(path).collect()
    }

    /// What its native streams come to, as the backend estimates them.
    pub(super) fn stream_bytes(&self) -> Result<u64> {
        let native = self.plan.datasets.iter().filter(|planned| planned.encoding.is_native());
        let Some(streams) = self.pool.backend().streams() else { return Ok(0) };
        let expected = native.map(|planned| {
            let snapshot = self.snapshot_of(planned);
            let options = SendOptions { history: planned.history, decrypted: self.options.decrypted };
            let failed = || Error::backend(format!("send {}", snapshot.dataset.as_str()));
            Ok(streams.estimate(&snapshot, options).map_err(failed())?.unwrap_or(0))
        });
        expected.sum()
    }

    /// A dataset as a native stream.
    fn stream(
        &self,
        writer: &mut dyn MemberWriter,
        planned: &PlannedDataset,
        meter: &Meter<'_>,
    ) -> Result<u64> {
        let streams = self
            .pool
            .backend()
            .streams()
            .ok_or_else(|| Error::Unsupported(format!("{} has no native streams", self.pool.label())))?;
        let options = SendOptions { history: planned.history, decrypted: self.options.decrypted };
        let snapshot = self.snapshot_of(planned);
        let failed = || Error::backend(format!("send {}", snapshot.dataset.as_str()));
        // A stream that goes into a pipe is held in a temporary file until its length is known. Better to know before that it will
        // not fit.
        let expected = streams.estimate(&snapshot, options).map_err(failed())?;
        meter.expect(expected);
        if let Some(needed_bytes) = expected.filter(|_| !writer.takes_streams()) {
            crate::room::check(&std::env::temp_dir(), &planned.member, needed_bytes)?;
        }
        let source = streams.send(&snapshot, options).map_err(failed())?;
        let mut metered = Metered { source, meter, interrupted: self.interrupted, bytes: 0, failed: None };
        let entry = Entry {
            kind: Kind::File,
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime: Timestamp { seconds: self.taken_seconds, nanoseconds: 0 },
            size: 0,
            target: None,
            device: None,
            xattrs: BTreeMap::new(),
            acl: Acl::default(),
            flags: Flags::default(),
        };
        let line = self.member_line(&planned.member, entry)?;
        match writer.member(line, Body::Stream(&mut metered), 1) {
            Ok(Written::Done(_)) => Ok(metered.bytes),
            Ok(Written::Unstable(line)) => {
                writer.line(line)?;
                Ok(metered.bytes)
            }
            Err(_) if self.interrupted.load(Ordering::Relaxed) => Err(Error::Interrupted),
            Err(error) => Err(match metered.failed {
                Some(failed) => Error::backend(format!("send the dataset {}", planned.name))(failed),
                None => error.into(),
            }),
        }
    }

    /// All that differs, or everything, as members below `prefix`.
    pub(super) fn tree(
        &self,
        writer: &mut dyn MemberWriter,
        trees: Trees<'_>,
        prefix: &TreePath,
        (exclude, against): (&[TreePath], &Against<'_>),
        meter: &Meter<'_>,
        counts: &mut Counts,
    ) -> Result<AboutBase> {
        let paths =
            against.left_out.iter().map(|directory| path(&directory.path)).collect::<Result<Vec<_>>>()?;
        let exclude = &[exclude, &paths].concat();
        let engine = if trees.base.is_some() { self.engine } else { &ByContent };
        let options = change::Options {
            threads: 0,
            of_base: against.wanted,
            exclude,
            interrupted: self.interrupted,
            whole: Some(&|identity| self.shared.has(identity)),
        };
        let mut members = self.members(writer, trees.now, prefix, meter);
        let summary = change::compare(engine, trees, options, &mut |change| {
            self.go_on()?;
            members.write(change)
        })?;
        basejail::own_changes(&paths, trees, &mut |change| members.write(change))?;
        counts.add(members.counts);
        if let Some(what) = trees.now.unread() {
            let message = format!(
                "the file system does not let {what} be read; what there is of them is not in the archive"
            );
            self.steps.warn(&Warning { subject: prefix.to_string(), message });
        }
        if let Some(reason) = summary.fallback {
            let message = format!("the changes could not be listed ({reason}); all names were compared");
            self.steps.notice(&prefix.to_string(), message);
        }
        for mount_point in summary.mount_points {
            let message = "another file system is mounted there; it is not part of this resource".to_owned();
            self.steps.notice(&mount_point.to_string(), message);
        }
        Ok(AboutBase { fingerprint: summary.fingerprint, stamp: summary.stamp })
    }

    pub(super) fn members<'b>(
        &'b self,
        writer: &'b mut dyn MemberWriter,
        tree: &'b Tree,
        prefix: &'b TreePath,
        meter: &'b Meter<'b>,
    ) -> TreeMembers<'b> {
        let live = !self.pool.backend().capabilities().consistent_while_running;
        let counts = Counts::default();
        let (resource, shared) = (self.number, self.shared);
        let (steps, interrupted) = (self.steps, self.interrupted);
        TreeMembers { writer, tree, prefix, live, resource, shared, steps, meter, counts, interrupted }
    }

    /// What streams are of: a receiver gets a snapshot of that name.
    pub(super) fn transport(&self) -> &Snapshot {
        self.root_snapshot.unwrap_or(self.snapshot)
    }

    pub(super) fn snapshot_of(&self, planned: &PlannedDataset) -> Snapshot {
        if let Some(snapshot) = self.root_snapshot.filter(|_| planned.name == self.resource.root().name) {
            return snapshot.clone();
        }
        Snapshot { dataset: planned.part(self.resource).dataset.clone(), name: self.snapshot.name.clone() }
    }

    pub(super) fn with_view<T>(
        &self,
        snapshot: &Snapshot,
        work: impl FnOnce(&View) -> Result<T>,
    ) -> Result<T> {
        let name = format!("{}-{}", self.run, self.views.fetch_add(1, Ordering::Relaxed) + 1);
        crate::pool::with_view(self.pool.backend(), snapshot, &name, self.steps, work)
    }

    /// A place below the resource's prefix.
    pub(super) fn place(&self, member: &str) -> Result<TreePath> {
        Ok(path(member)?.components().fold(self.prefix.clone(), |path, part| path.join(part)))
    }

    pub(super) fn member_line(&self, name: &str, entry: Entry) -> Result<Line> {
        Ok(Line::member(MemberName::new(self.place(name)?), entry))
    }

    fn go_on(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// Counts what passes, and stops when the user wants to.
struct Metered<'a> {
    source: Box<dyn std::io::Read + Send>,
    meter: &'a Meter<'a>,
    interrupted: &'a AtomicBool,
    bytes: u64,
    /// What the backend said where it failed.
    failed: Option<remand_backends::Error>,
}

impl std::io::Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(std::io::Error::other("interrupted"));
        }
        let read = self.source.read(buffer).map_err(|error| match error.downcast() {
            Ok(failed) => {
                self.failed = Some(failed);
                std::io::Error::other("the stream failed")
            }
            Err(error) => error,
        });
        let count = read?;
        self.meter.add(count as u64, 0);
        self.bytes += count as u64;
        Ok(count)
    }
}

pub(super) fn path(text: &str) -> Result<TreePath> {
    TreePath::new(text.as_bytes()).map_err(|error| Error::Usage(error.to_string()))
}
