//! A pool of plain directories that receives streams and has snapshots too, and fails where a test wants it to.

use std::collections::BTreeMap;
use std::fs::{File, FileTimes};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::SystemTime;

use remand_backends::{
    Backend, BackendKind, Capabilities, Created, CreatedSnapshot, Dataset, DatasetName, Encryption, Error,
    Kept, Leftover, NativeDiff, OpenTree, Partial, ReceiveOptions, Result, SendOptions, Snapshot,
    SnapshotInfo, SnapshotName, Streams, Together,
};

use super::Pool;

/// What came of a stream that is not whole yet, and of one that is.
const PART: &str = "stream.part";
const WHOLE: &str = "stream";

/// From how many bytes on a restore lets a backend keep what it has received, as the manual says.
const KEPT_FROM_BYTES: u64 = 64 << 20;

/// What is other than in a pool of plain directories.
#[derive(Debug, Default)]
pub(crate) struct Twist {
    /// Datasets with this in their names cannot be destroyed, and neither can snapshots of them.
    pub(crate) stuck: Option<&'static str>,
    /// What was opened for reading cannot be closed.
    pub(crate) stays_open: bool,
    /// Streams are received, as those of btrfs: a dataset that holds the stream as a file.
    pub(crate) receives: bool,
    /// A stream breaks off after so many bytes, and what came of it is kept.
    pub(crate) breaks_off: Option<u64>,
    /// What is received has this file too.
    pub(crate) holds: Option<&'static str>,
    /// Datasets with this in their names are encrypted, and their keys are not there.
    pub(crate) locked: Option<&'static str>,
    /// A rename touches these directories of what is renamed, as those are touched in which something is mounted.
    pub(crate) touches: &'static [&'static str],
    /// These streams are those of ZFS, and so is all else.
    pub(crate) of_zfs: bool,
    /// Datasets are file systems and have these snapshots, by name and GUID, all of them with what the dataset has now. Those with `plain`
    /// in their names stay directories.
    pub(crate) snapshots: Option<Vec<(&'static str, &'static str)>>,
    /// What receiving a stream ends with.
    pub(crate) refuses: Option<fn(String) -> Error>,
}

impl Pool {
    /// The directory at `path`, with a twist.
    pub(crate) fn twisted(path: &Path, twist: Twist) -> Self {
        let inner = remand_backends::open(&format!("dir:{}", path.display())).unwrap();
        let layout = crate::layout::choose(inner.as_ref(), None).unwrap();
        Self { backend: Box::new(Twisted { inner, twist, made: Mutex::default() }), layout }
    }
}

#[derive(Debug)]
struct Twisted {
    inner: Box<dyn Backend>,
    twist: Twist,
    /// Snapshots that were made, besides those of the twist.
    made: Mutex<Vec<Snapshot>>,
}

fn refused(subject: &str) -> Error {
    Error::Busy { subject: subject.to_owned(), detail: "the test wants it so".to_owned() }
}

impl Twisted {
    fn path(&self, name: &DatasetName) -> PathBuf {
        self.directory().join(name.as_str())
    }

    /// Reads a stream into a dataset, of which it may have the begin.
    fn fill(&self, created: Created, stream: &mut dyn Read) -> Result<Created> {
        let name = created.dataset().clone();
        let (part, whole) = (self.path(&name).join(PART), self.path(&name).join(WHOLE));
        let limit = self.twist.breaks_off.unwrap_or(u64::MAX);
        let mut stream = stream.take(limit);
        let mut fill = || {
            if whole.exists() {
                std::fs::rename(&whole, &part)?;
            }
            let mut file = File::options().create(true).append(true).open(&part)?;
            let had = file.metadata()?.len();
            io::copy(&mut (&mut stream).take(had), &mut io::sink())?;
            io::copy(&mut stream, &mut file)?;
            if let Some(held) = self.twist.holds.map(|held| self.path(&name).join(held)) {
                std::fs::create_dir_all(held.parent().unwrap())?;
                std::fs::write(held, "of the stream")?;
            }
            file.metadata().map(|now| now.len())
        };
        match fill() {
            Ok(received_bytes) if stream.limit() == 0 => {
                let cause = Box::new(refused(name.as_str()));
                Err(Error::Kept { subject: name.to_string(), received_bytes, cause })
            }
            Ok(_) => {
                std::fs::rename(part, whole).map_err(failed(&name))?;
                Ok(created)
            }
            Err(error) => {
                self.inner.destroy(created).map_err(|kept| kept.error)?;
                Err(failed(&name)(error))
            }
        }
    }

    /// Datasets at and below `name` that a stream came for.
    fn received(&self, name: &DatasetName) -> Vec<DatasetName> {
        let mut found = Vec::new();
        let mut left = vec![name.clone()];
        while let Some(name) = left.pop() {
            let path = self.path(&name);
            if path.join(PART).exists() || path.join(WHOLE).exists() {
                found.push(name.clone());
            }
            for entry in std::fs::read_dir(path).into_iter().flatten().map(io::Result::unwrap) {
                if entry.file_type().unwrap().is_dir() {
                    left.push(name.join(entry.file_name().to_str().unwrap()).unwrap());
                }
            }
        }
        found.sort();
        found
    }
}

fn failed(name: &DatasetName) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io { action: "receive", subject: name.to_string(), source }
}

#[derive(Debug)]
struct StaysOpen(Box<dyn OpenTree>);

impl OpenTree for StaysOpen {
    fn path(&self) -> &Path {
        self.0.path()
    }

    fn close(self: Box<Self>) -> Result<()> {
        Err(refused("the view"))
    }
}

impl Backend for Twisted {
    fn kind(&self) -> BackendKind {
        match &self.twist {
            Twist { of_zfs: true, .. } => BackendKind::Zfs,
            Twist { receives: true, .. } => BackendKind::Btrfs,
            _ => self.inner.kind(),
        }
    }

    fn capabilities(&self) -> Capabilities {
        let datasets_are_bases = self.twist.snapshots.is_none();
        Capabilities { datasets_are_bases, ..self.inner.capabilities() }
    }

    fn directory(&self) -> &Path {
        self.inner.directory()
    }

    fn label(&self) -> String {
        self.inner.label()
    }

    fn dataset(&self, name: &DatasetName) -> Result<Option<Dataset>> {
        let mut found = self.inner.dataset(name)?;
        if let Some(found) =
            found.as_mut().filter(|_| self.twist.snapshots.is_some() && !name.as_str().contains("plain"))
        {
            found.kind = remand_backends::DatasetKind::FileSystem;
        }
        Ok(found)
    }

    fn descendants(&self, name: &DatasetName) -> Result<Vec<Dataset>> {
        let mut all = self.inner.descendants(name)?;
        for received in self.received(name).into_iter().filter(|received| received != name) {
            if !all.iter().any(|known| known.name == received) {
                all.extend(self.dataset(&received)?);
            }
        }
        Ok(all)
    }

    fn snapshots(&self, name: &DatasetName) -> Result<Vec<SnapshotInfo>> {
        let all = self.twist.snapshots.iter().flatten().map(|(snapshot, guid)| SnapshotInfo {
            snapshot: Snapshot { dataset: name.clone(), name: Some(SnapshotName::new(snapshot).unwrap()) },
            guid: Some((*guid).to_owned()),
            content_id: None,
            created_seconds: None,
        });
        let made = self.made.lock().unwrap();
        let made = made.iter().filter(|snapshot| snapshot.dataset == *name && self.twist.snapshots.is_some());
        let made = made.map(|snapshot| SnapshotInfo {
            snapshot: snapshot.clone(),
            guid: None,
            content_id: None,
            created_seconds: None,
        });
        Ok(all.chain(made).collect())
    }

    fn parted_seconds(&self, clone: &Dataset) -> Result<Option<i64>> {
        self.inner.parted_seconds(clone)
    }

    fn enclosed(&self, name: &DatasetName) -> Result<Vec<String>> {
        self.inner.enclosed(name)
    }

    fn encryption(&self, name: &DatasetName) -> Result<Encryption> {
        let locked = self.twist.locked.is_some_and(|locked| name.as_str().contains(locked));
        Ok(if locked { Encryption::Locked } else { Encryption::None })
    }

    fn own_properties(&self, name: &DatasetName) -> Result<BTreeMap<String, String>> {
        self.inner.own_properties(name)
    }

    fn set_property(&self, created: &Created, property: &str, value: &str) -> Result<()> {
        self.inner.set_property(created, property, value)
    }

    fn snapshot(&self, name: &DatasetName, snapshot: &SnapshotName, all: bool) -> Result<CreatedSnapshot> {
        let created = self.inner.snapshot(name, snapshot, all)?;
        let made = Snapshot { dataset: name.clone(), name: Some(snapshot.clone()) };
        self.made.lock().unwrap().push(made);
        Ok(created)
    }

    fn snapshot_together(&self, names: &[DatasetName], snapshot: &SnapshotName) -> Result<Together> {
        self.inner.snapshot_together(names, snapshot)
    }

    fn destroy_snapshot(&self, created: CreatedSnapshot) -> std::result::Result<(), Kept<CreatedSnapshot>> {
        let name = created.snapshot().dataset.clone();
        if self.twist.stuck.is_some_and(|stuck| name.as_str().contains(stuck)) {
            return Err(Kept { token: created, error: refused(name.as_str()) });
        }
        self.made.lock().unwrap().retain(|made| made.dataset != name);
        self.inner.destroy_snapshot(created)
    }

    fn open_tree(&self, snapshot: &Snapshot, view: &str) -> Result<Box<dyn OpenTree>> {
        let open = self.inner.open_tree(&Snapshot { name: None, ..snapshot.clone() }, view)?;
        Ok(if self.twist.stays_open { Box::new(StaysOpen(open)) } else { open })
    }

    fn state_directory(&self) -> Result<PathBuf> {
        self.inner.state_directory()
    }

    fn existing_state_directory(&self) -> Result<Option<PathBuf>> {
        self.inner.existing_state_directory()
    }

    fn create(&self, name: &DatasetName) -> Result<Created> {
        // It would be mounted over what is empty.
        if self.twist.holds.is_some() {
            let _ = std::fs::remove_dir(self.path(name));
        }
        self.inner.create(name)
    }

    fn clone_snapshot(&self, origin: &Snapshot, name: &DatasetName) -> Result<Created> {
        self.inner.clone_snapshot(origin, name)
    }

    fn rename(&self, created: Created, to: &DatasetName) -> std::result::Result<Created, Kept<Created>> {
        let renamed = self.inner.rename(created, to)?;
        for touched in self.twist.touches {
            let times = FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
            File::open(self.path(to).join(touched)).unwrap().set_times(times).unwrap();
        }
        Ok(renamed)
    }

    fn mount(&self, name: &DatasetName) -> Result<()> {
        self.inner.mount(name)
    }

    fn destroy(&self, created: Created) -> std::result::Result<(), Kept<Created>> {
        let name = created.dataset().as_str().to_owned();
        match self.twist.stuck.filter(|stuck| name.contains(stuck)) {
            Some(_) => Err(Kept { token: created, error: refused(&name) }),
            None => self.inner.destroy(created),
        }
    }

    fn leftovers(&self) -> Result<Vec<Leftover>> {
        self.inner.leftovers()
    }

    fn destroy_leftover(&self, leftover: &Leftover) -> Result<()> {
        self.inner.destroy_leftover(leftover)
    }

    fn adopt(&self, leftover: &Leftover) -> Result<Option<Created>> {
        self.inner.adopt(leftover)
    }

    fn streams(&self) -> Option<&dyn Streams> {
        self.twist.receives.then_some(self)
    }

    fn native_diff(&self) -> Option<&dyn NativeDiff> {
        None
    }
}

impl Streams for Twisted {
    fn send(&self, _: &Snapshot, _: SendOptions) -> Result<Box<dyn Read + Send>> {
        Err(Error::Unsupported { subject: self.label(), what: "sending" })
    }

    fn estimate(&self, _: &Snapshot, _: SendOptions) -> Result<Option<u64>> {
        Ok(None)
    }

    fn receive(&self, name: &DatasetName, stream: &mut dyn Read) -> Result<Created> {
        if let Some(error) = self.twist.refuses {
            return Err(error(name.to_string()));
        }
        self.fill(self.inner.create(name)?, stream)
    }

    fn receive_with(
        &self,
        name: &DatasetName,
        stream: &mut dyn Read,
        options: &ReceiveOptions,
    ) -> Result<Created> {
        assert_eq!(options.keep_from_bytes, Some(KEPT_FROM_BYTES));
        self.receive(name, stream)
    }

    fn partials(&self, name: &DatasetName) -> Result<Vec<Partial>> {
        let part = |dataset: DatasetName| {
            let received_bytes = self.path(&dataset).join(PART).metadata().ok()?.len();
            Some(Partial { dataset, received_bytes })
        };
        Ok(self.received(name).into_iter().filter_map(part).collect())
    }

    fn take_over(&self, from: &DatasetName, to: &DatasetName) -> Result<Option<Created>> {
        // A token can be had of what lies right in staging.
        let between = DatasetName::new(".remand/staging/taken").unwrap();
        std::fs::rename(self.path(from), self.path(&between)).map_err(failed(from))?;
        let created = self.inner.adopt(&Leftover::Dataset(between))?;
        created.map(|created| self.inner.rename(created, to).map_err(|kept| kept.error)).transpose()
    }

    fn resume(&self, created: Created, stream: &mut dyn Read, options: &ReceiveOptions) -> Result<Created> {
        assert_eq!(options.keep_from_bytes, Some(KEPT_FROM_BYTES));
        self.fill(created, stream)
    }

    fn drop_snapshot(&self, _: &Created, _: &SnapshotName) -> Result<()> {
        Ok(())
    }
}
