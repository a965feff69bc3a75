//! Writing the parts of a resource, in the archive's order.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use remand_backends::{SendOptions, Snapshot};

use super::manifest::{SPARE_BYTES, describe};
use super::members::{Counts, TreeMembers};
use super::plan::PlannedDataset;
use super::{Options, Plan};
use crate::archive::index::Role;
use crate::archive::manifest::{BaseDirectory, Encoding, Manifest};
use crate::archive::{Body, Line, MemberName, Seal, Writer, Written};
use crate::base::OpenBase;
use crate::basejail;
use crate::change::content::Content as ByContent;
use crate::change::{self, Change, Differs, Engine, Fingerprint, Proof, Trees, What};
use crate::error::{Error, Result};
use crate::event::{Step, Warning};
use crate::pool::{Pool, View};
use crate::resource::{Base, Resource};
use crate::step::{Meter, Steps};
use crate::tree::{Acl, Content, Entry, Flags, Kind, MemoryContent, Timestamp, Tree, TreePath};

/// One export that is under way.
pub(crate) struct Job<'a> {
    pub(crate) pool: &'a Pool,
    pub(crate) resource: &'a Resource,
    pub(crate) plan: &'a Plan,
    pub(crate) options: &'a Options,
    pub(crate) engine: &'a dyn Engine,
    pub(crate) state: &'a Path,
    pub(crate) run: &'a str,
    /// The snapshot of the resource's own dataset; the others have one of the same name.
    pub(crate) snapshot: Snapshot,
    pub(crate) steps: &'a Steps<'a>,
    pub(crate) interrupted: &'a AtomicBool,
    /// Views opened so far, so that each gets a name of its own.
    pub(crate) views: Cell<u32>,
}

impl Job<'_> {
    /// Writes everything, and seals it.
    pub(crate) fn write(&self, mut writer: Writer) -> Result<(Seal, Counts)> {
        let mut counts = Counts::default();
        let base = super::base_of(self.resource, self.plan);
        let (manifest, fingerprint) = match base {
            None => {
                let left_out = self.left_out(None)?;
                let manifest = describe(self, None, None, &left_out)?;
                writer.manifest(&manifest, 0)?;
                self.own_directory(&mut writer, &mut counts)?;
                self.root(&mut writer, None, &left_out, false, &mut counts)?;
                (manifest, None)
            }
            Some(base) => self
                .with_view(&base.snapshot, |view| self.differential(&mut writer, base, view, &mut counts))?,
        };
        self.other_datasets(&mut writer, &mut counts)?;
        self.steps.run(Step::BundleBackup, None, None, |_| {
            if let Some(fingerprint) = fingerprint {
                amend(&mut writer, manifest, fingerprint)?;
            }
            self.go_on()?;
            Ok((writer.finish()?, counts))
        })
    }

    /// Manifest and everything up to the root, against an open base. Returns the fingerprint if the manifest still lacks it.
    fn differential(
        &self,
        writer: &mut Writer,
        base: &Base,
        view: &View,
        counts: &mut Counts,
    ) -> Result<(Manifest, Option<Fingerprint>)> {
        let open = OpenBase::new(self.pool.backend(), Some(self.state), base, &view.tree, self.interrupted)?;
        let mut known = open.known();
        let reads_base = self.engine.visits_everything() && self.engine.proof() == Proof::Bytes;
        if known.is_none() && !(reads_base && writer.can_amend()) {
            known = Some(self.steps.run(Step::CheckBase, Some(&base.label()), None, |_| {
                open.compute(self.interrupted, &|_, _| {})
            })?);
        }
        let on_the_way = known.is_none();
        let left_out = self.left_out(Some(&view.tree))?;
        let manifest = describe(self, open.guid(), known, &left_out)?;
        writer.manifest(&manifest, if on_the_way { SPARE_BYTES } else { 0 })?;
        self.own_directory(writer, counts)?;
        let found = self.root(writer, Some(&view.tree), &left_out, on_the_way, counts)?;
        if let Some(fingerprint) = &found {
            open.keep(fingerprint)?;
        }
        Ok((manifest, found))
    }

    /// Config, fstab and the other files beside them.
    fn own_directory(&self, writer: &mut Writer, counts: &mut Counts) -> Result<()> {
        self.with_view(&self.snapshot, |view| {
            match self.resource.config {
                Some(name) => self.steps.run(Step::ExportConfig, None, None, |meter| {
                    self.single(writer, &view.tree, name, meter, counts)
                })?,
                None => self.steps.skip(Step::ExportConfig, None, "there is none"),
            }
            if self.resource.fstab {
                self.steps.run(Step::ExportFstab, None, None, |_| self.fstab(writer, &view.tree))?;
            } else {
                self.steps.skip(Step::ExportFstab, None, "there is none");
            }
            self.steps.run(Step::ExportFiles, None, None, |meter| {
                let exclude = self.not_files()?;
                let prefix = path("files")?;
                self.tree(
                    writer,
                    Trees { base: None, now: &view.tree },
                    &prefix,
                    &exclude,
                    meter,
                    counts,
                    false,
                    &[],
                )?;
                Ok(())
            })
        })
    }

    /// What of the resource's own directory is written elsewhere.
    fn not_files(&self) -> Result<Vec<TreePath>> {
        let fstab = self.resource.fstab.then_some("fstab");
        let datasets = self.resource.datasets.iter().map(|part| part.name.as_str());
        let enclosed = self.resource.enclosed.iter().map(String::as_str);
        self.resource.config.into_iter().chain(fstab).chain(datasets).chain(enclosed).map(path).collect()
    }

    /// One file of the own directory, as it is.
    fn single(
        &self,
        writer: &mut Writer,
        tree: &Tree,
        name: &str,
        meter: &Meter<'_>,
        counts: &mut Counts,
    ) -> Result<()> {
        let failed = || Error::tree(format!("read {name}"));
        let directory = tree.root();
        let stat = directory.stat(name.as_bytes()).map_err(failed())?;
        let node = match stat {
            Some(stat) => directory.node(name.as_bytes(), &stat).map_err(failed())?,
            None => None,
        };
        let Some(node) = node else {
            return Err(Error::Unsupported(format!("{name} vanished while it was read")));
        };
        let what = What::Whole { node, replaced: None };
        let change = Change {
            path: path(name)?,
            what,
            differs: Differs::default(),
            group: None,
            directory: Some(directory),
        };
        let prefix = TreePath::root();
        let mut members = self.members(writer, tree, &prefix, meter);
        members.write(change)?;
        counts.add(members.counts);
        Ok(())
    }

    fn fstab(&self, writer: &mut Writer, tree: &Tree) -> Result<()> {
        let failed = || Error::tree("read fstab");
        let directory = tree.root();
        let gone = || Error::Unsupported("fstab vanished while it was read".into());
        let stat = directory.stat(b"fstab").map_err(failed())?.ok_or_else(gone)?;
        let node = directory.node(b"fstab", &stat).map_err(failed())?.ok_or_else(gone)?;
        let file = directory.open_file(b"fstab").map_err(failed())?.ok_or_else(gone)?;
        let mut text = vec![0; usize::try_from(file.size()).unwrap_or(usize::MAX).min(MAX_FSTAB_BYTES + 1)];
        let read = file.read_at(&mut text, 0).map_err(Error::io("read", "fstab"))?;
        text.truncate(read);
        if text.len() > MAX_FSTAB_BYTES {
            let reason = format!("it is larger than {MAX_FSTAB_BYTES} bytes");
            return Err(Error::Malformed {
                subject: format!("fstab of the {}", self.resource.label()),
                reason,
            });
        }
        let text = crate::fstab::to_archive(&text, &self.resource.directory);
        let entry = Entry { size: text.len() as u64, ..node.entry };
        let mut content = MemoryContent::new(text);
        let written = writer.member(member_line("fstab", entry)?, Body::Content(&mut content), 1)?;
        match written {
            Written::Done(_) => Ok(()),
            Written::Unstable(line) => Ok(writer.line(line)?),
        }
    }

    /// The root dataset. Returns the base's fingerprint if it was asked for.
    fn root(
        &self,
        writer: &mut Writer,
        base: Option<&Tree>,
        left_out: &[BaseDirectory],
        fingerprint: bool,
        counts: &mut Counts,
    ) -> Result<Option<Fingerprint>> {
        let planned = &self.plan.datasets[0];
        self.warn_of_history(planned)?;
        let snapshot = self.snapshot_of(planned);
        self.steps.run(Step::ExportRootDataset, None, None, |meter| {
            if planned.encoding.is_native() {
                self.stream(writer, planned, meter)?;
                return Ok(None);
            }
            self.with_view(&snapshot, |view| {
                let trees = Trees { base, now: &view.tree };
                self.tree(
                    writer,
                    trees,
                    &path(&planned.member)?,
                    &self.below(planned)?,
                    meter,
                    counts,
                    fingerprint,
                    left_out,
                )
            })
        })
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

    fn other_datasets(&self, writer: &mut Writer, counts: &mut Counts) -> Result<()> {
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
                self.steps.run(Step::ExportOtherDataset, name, None, |meter| {
                    if planned.encoding.is_native() {
                        return self.stream(writer, planned, meter);
                    }
                    self.with_view(&self.snapshot_of(planned), |view| {
                        let trees = Trees { base: None, now: &view.tree };
                        let below = self.below(planned)?;
                        self.tree(writer, trees, &path(&planned.member)?, &below, meter, counts, false, &[])?;
                        Ok(())
                    })
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

    /// A dataset as a native stream.
    fn stream(&self, writer: &mut Writer, planned: &PlannedDataset, meter: &Meter<'_>) -> Result<()> {
        let streams = self
            .pool
            .backend()
            .streams()
            .ok_or_else(|| Error::Unsupported(format!("{} has no native streams", self.pool.label())))?;
        let options = SendOptions { history: planned.history, decrypted: self.options.decrypted };
        let snapshot = self.snapshot_of(planned);
        let failed = || Error::backend(format!("send {}", snapshot.dataset.as_str()));
        let expected = streams.estimate(&snapshot, options).map_err(failed())?;
        meter.expect(expected);
        if let Some(needed_bytes) = expected.filter(|_| !writer.can_amend()) {
            check_room(&std::env::temp_dir(), &planned.member, needed_bytes)?;
        }
        let source = streams.send(&snapshot, options).map_err(failed())?;
        let mut metered = Metered { source, meter, interrupted: self.interrupted, failed: None };
        let now = jiff::Timestamp::now();
        let entry = Entry {
            kind: Kind::File,
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime: Timestamp { seconds: now.as_second(), nanoseconds: 0 },
            size: 0,
            target: None,
            device: None,
            xattrs: BTreeMap::new(),
            acl: Acl::default(),
            flags: Flags::default(),
        };
        match writer.member(member_line(&planned.member, entry)?, Body::Stream(&mut metered), 1) {
            Ok(Written::Done(_)) => Ok(()),
            Ok(Written::Unstable(line)) => Ok(writer.line(line)?),
            Err(_) if self.interrupted.load(Ordering::Relaxed) => Err(Error::Interrupted),
            Err(error) => Err(match metered.failed {
                Some(failed) => Error::backend(format!("send the dataset {}", planned.name))(failed),
                None => error.into(),
            }),
        }
    }

    /// All that differs, or everything, as members below `prefix`.
    #[allow(clippy::too_many_arguments)] // each is one independent decision of the caller
    fn tree(
        &self,
        writer: &mut Writer,
        trees: Trees<'_>,
        prefix: &TreePath,
        exclude: &[TreePath],
        meter: &Meter<'_>,
        counts: &mut Counts,
        fingerprint: bool,
        left_out: &[BaseDirectory],
    ) -> Result<Option<Fingerprint>> {
        let paths = left_out.iter().map(|directory| path(&directory.path)).collect::<Result<Vec<_>>>()?;
        let exclude = &[exclude, &paths].concat();
        let engine = if trees.base.is_some() { self.engine } else { &ByContent };
        let options = change::Options { threads: 0, fingerprint, exclude, interrupted: self.interrupted };
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
        Ok(summary.fingerprint)
    }

    fn members<'b>(
        &'b self,
        writer: &'b mut Writer,
        tree: &'b Tree,
        prefix: &'b TreePath,
        meter: &'b Meter<'b>,
    ) -> TreeMembers<'b> {
        let live = !self.pool.backend().capabilities().consistent_while_running;
        let counts = Counts::default();
        TreeMembers { writer, tree, prefix, live, steps: self.steps, meter, counts }
    }

    pub(super) fn snapshot_of(&self, planned: &PlannedDataset) -> Snapshot {
        Snapshot { dataset: planned.part(self.resource).dataset.clone(), name: self.snapshot.name.clone() }
    }

    pub(super) fn with_view<T>(
        &self,
        snapshot: &Snapshot,
        work: impl FnOnce(&View) -> Result<T>,
    ) -> Result<T> {
        self.views.set(self.views.get() + 1);
        let name = format!("{}-{}", self.run, self.views.get());
        crate::pool::with_view(self.pool.backend(), snapshot, &name, self.steps, work)
    }

    fn go_on(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

/// A stream that goes into a pipe is held in a temporary file until its length is known. Better to know before that it will
/// not fit.
fn check_room(place: &Path, what: &str, needed_bytes: u64) -> Result<()> {
    let free_bytes =
        fs2::available_space(place).map_err(Error::io("look at the free space of", place.display()))?;
    if free_bytes < needed_bytes {
        let place = place.display().to_string();
        return Err(Error::NoRoom { place, what: what.to_owned(), needed_bytes, free_bytes });
    }
    Ok(())
}

/// More than any fstab has; it is held in memory.
const MAX_FSTAB_BYTES: usize = 16 << 20;

/// Counts what passes, and stops when the user wants to.
struct Metered<'a> {
    source: Box<dyn std::io::Read + Send>,
    meter: &'a Meter<'a>,
    interrupted: &'a AtomicBool,
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
        Ok(count)
    }
}

fn path(text: &str) -> Result<TreePath> {
    TreePath::new(text.as_bytes()).map_err(|error| Error::Usage(error.to_string()))
}

fn member_line(name: &str, entry: Entry) -> Result<Line> {
    Ok(Line {
        name: MemberName::new(path(name)?),
        role: Role::Member { digest: None },
        entry: Some(entry),
        group: None,
        replaced: None,
        unstable: false,
    })
}

/// Puts the fingerprint into the manifest; without its places where they do not fit.
fn amend(writer: &mut Writer, mut manifest: Manifest, fingerprint: Fingerprint) -> Result<()> {
    let size =
        |manifest: &Manifest| serde_json::to_vec_pretty(manifest).map_or(usize::MAX, |text| text.len());
    let limit = size(&manifest) + SPARE_BYTES;
    let places = fingerprint.places.clone();
    if let Some(base) = manifest.resources[0].base.as_mut() {
        base.fingerprint = Some(fingerprint);
    }
    if size(&manifest) > limit
        && !places.is_empty()
        && let Some(fingerprint) =
            manifest.resources[0].base.as_mut().and_then(|base| base.fingerprint.as_mut())
    {
        fingerprint.places.clear();
    }
    Ok(writer.amend_manifest(&manifest)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_will_not_fit_is_refused_before_it_is_made() {
        let place = tempfile::tempdir().unwrap();
        check_room(place.path(), "data.zfs", 1).unwrap();
        let error = check_room(place.path(), "data.zfs", u64::MAX).unwrap_err();
        assert_eq!(error.exit_status(), 1);
        let text = error.to_string();
        assert!(text.contains("18446744073709551615 are needed to hold data.zfs"), "{text}");
    }
}
