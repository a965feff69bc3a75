//! ZFS, by zfs(8) as a process, and for some calls by `libzfs_core`.
//!
//! Snapshots are made, sent and destroyed by one of two engines, see `engine.rs`.
//!
//! Works with `OpenZFS` 2 and with zfs-fuse 0.7 (pool version 23): what the program can do is asked once, from its usage. Only
//! machine-readable columns are read. *Absent* is what zfs(8) says of exactly the name that was asked for; all other failures
//! stay errors.
//!
//! What is created carries a word of its own as a user property until it is complete, so that a command that failed half
//! way (created, but not mounted) is told from one that met somebody else's dataset. A crash leaves datasets below
//! `.remand/staging` and `.remand/views`, and snapshots that carry the property `org.remand:run`; [`Backend::leftovers`]
//! finds both.

use crate::{
    Backend, BackendKind, Capabilities, Created, CreatedSnapshot, Dataset, DatasetKind, DatasetName,
    Encryption, Error, Kept, Leftover, NativeDiff, OpenTree, Result, Snapshot, SnapshotInfo, SnapshotName,
    Streams, Together,
};
use engine::ZfsEngine;
use parse::{Features, Listed};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

mod create;
pub mod diff;
mod discover;
mod engine;
mod name;
mod pacify;
pub mod parse;
mod record;
pub(crate) mod relay;
pub mod resume;
mod resumed;
mod state;
mod streams;
mod tool;
mod view;

pub(crate) use discover::rc_conf_datasets;
pub use discover::{active_pool, dataset_mounted_at};

/// All properties that are remand's own begin so.
const OWN_PROPERTIES: &str = "org.remand:";
/// On a snapshot: the run that made it, which is the snapshot's name.
const RUN: &str = "org.remand:run";
/// On a dataset that is being created: a word that only its creator knows.
const CREATED: &str = "org.remand:created";
/// On a received dataset whose `canmount` is overridden until [`Backend::mount`].
const RECEIVED: &str = "org.remand:received";

/// A pool that is a ZFS dataset.
#[derive(Clone, Debug)]
pub struct Zfs {
    /// Full name of the dataset.
    root: String,
    directory: PathBuf,
    features: Features,
    engine: Arc<dyn ZfsEngine>,
}

impl Zfs {
    /// Opens the dataset with a full name as a pool; `None` if there is none, or no ZFS on this host. It must be mounted.
    pub fn open(dataset: &str) -> Result<Option<Self>> {
        if !name::is_possible(dataset) || !tool::is_usable()? {
            return Ok(None);
        }
        let Some(listed) = list_one(dataset)? else { return Ok(None) };
        let not_mounted = || Error::NotMounted(format!("dataset {dataset}"));
        let directory = mounted_directory(&listed)?.ok_or_else(not_mounted)?;
        let engine = engine::choose(dataset)?;
        Ok(Some(Self { root: dataset.to_owned(), directory, features: tool::features()?, engine }))
    }

    fn full(&self, name: &DatasetName) -> Result<String> {
        Ok(name::dataset(&self.root, name)?)
    }

    fn full_snapshot(&self, snapshot: &Snapshot) -> Result<String> {
        let Some(name) = &snapshot.name else {
            return Err(Error::NotFound(format!("snapshot of {}", self.full(&snapshot.dataset)?)));
        };
        Ok(name::snapshot(&self.root, &snapshot.dataset, name)?)
    }

    fn missing(full: &str) -> Error {
        Error::NotFound(format!("dataset {full}"))
    }

    fn find(&self, name: &DatasetName) -> Result<Option<Listed>> {
        list_one(&self.full(name)?)
    }

    /// A dataset and all below it, parents first.
    fn find_all(&self, name: &DatasetName) -> Result<Vec<Listed>> {
        let full = self.full(name)?;
        let kinds = "filesystem,volume";
        let text =
            tool::list(&full, ["list", "-H", "-r", "-t", kinds, "-o", parse::LISTED_COLUMNS, full.as_str()])?
                .ok_or_else(|| Self::missing(&full))?;
        let mut all = parse::listed(&text).map_err(tool::unclear("zfs list"))?;
        if !parse::is_closed(&all, &full) {
            return Err(Error::CutOff { command: format!("zfs list -r {full}"), text });
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    fn convert(&self, listed: &Listed) -> Result<Option<Dataset>> {
        let Some(name) = name::relative(&self.root, &listed.name) else { return Ok(None) };
        let origin = listed.origin.as_deref().and_then(|origin| name::relative_snapshot(&self.root, origin));
        let kind = if listed.volume { DatasetKind::Volume } else { DatasetKind::FileSystem };
        Ok(Some(Dataset { name, directory: mounted_directory(listed)?, kind, origin }))
    }

    /// Whether a property was set on the dataset itself.
    fn has_own(full: &str, property: &str) -> Result<bool> {
        let source = tool::get(full, ["get", "-H", "-o", "source", property, full])?;
        Ok(source.ok_or_else(|| Self::missing(full))?.trim_end() == "local")
    }

    /// The value of one property; `None` where it is not set or the dataset is absent.
    fn property(full: &str, property: &str) -> Result<Option<String>> {
        let value = tool::get(full, ["get", "-H", "-p", "-o", "value", property, full])?;
        Ok(value.map(|value| value.trim_end_matches('\n').to_owned()).filter(|value| value != "-"))
    }
}

fn list_one(full: &str) -> Result<Option<Listed>> {
    let Some(text) = tool::ask(full, ["list", "-H", "-o", parse::LISTED_COLUMNS, full])? else {
        return Ok(None);
    };
    let mut listed = parse::listed(&text).map_err(tool::unclear("zfs list"))?;
    match (listed.pop(), listed.is_empty()) {
        (Some(one), true) if one.name == full => Ok(Some(one)),
        _ => Err(Error::Output { command: "zfs list".to_owned(), line: text }),
    }
}

/// Where a file system is mounted; zfs(8) is asked once more where its own property does not tell.
fn mounted_directory(listed: &Listed) -> Result<Option<PathBuf>> {
    match listed.directory() {
        None if listed.mounted => Ok(parse::mounted_at(&tool::run(["mount"])?, &listed.name)),
        directory => Ok(directory),
    }
}

impl Backend for Zfs {
    fn kind(&self) -> BackendKind {
        BackendKind::Zfs
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            consistent_while_running: true,
            atomic_recursive: true,
            clones: true,
            incremental: true,
            native_diff: self.native_diff().is_some(),
            datasets_are_bases: false,
        }
    }

    fn directory(&self) -> &Path {
        &self.directory
    }

    fn label(&self) -> String {
        self.root.clone()
    }

    fn dataset(&self, name: &DatasetName) -> Result<Option<Dataset>> {
        match self.find(name)? {
            Some(listed) => self.convert(&listed),
            None => Ok(None),
        }
    }

    fn descendants(&self, name: &DatasetName) -> Result<Vec<Dataset>> {
        let state = DatasetName::new(state::STATE)?;
        let mut found = Vec::new();
        for listed in self.find_all(name)? {
            let Some(dataset) = self.convert(&listed)? else { continue };
            let is_state = dataset.name == state || dataset.name.below(&state).is_some();
            let hidden = name.parent().is_none() && is_state;
            if dataset.name.below(name).is_some() && !hidden {
                found.push(dataset);
            }
        }
        Ok(found)
    }

    fn snapshots(&self, name: &DatasetName) -> Result<Vec<SnapshotInfo>> {
        let full = self.full(name)?;
        // In the order of their making, which zfs(8) keeps where it is asked for no other.
        let columns = "name,property,value";
        let wanted = "guid,creation";
        let text =
            tool::list(&full, ["get", "-H", "-p", "-r", "-d", "1", "-o", columns, wanted, full.as_str()])?
                .ok_or_else(|| Self::missing(&full))?;
        let mut found: Vec<SnapshotInfo> = Vec::new();
        for [snapshot, property, value] in
            parse::columns::<3>(&text).map_err(tool::unclear("zfs get guid"))?
        {
            let Some(snapshot) = name::relative_snapshot(&self.root, snapshot) else { continue };
            if snapshot.dataset != *name {
                continue;
            }
            if found.last().is_none_or(|last| last.snapshot != snapshot) {
                found.push(SnapshotInfo { snapshot, guid: None, content_id: None, created_seconds: None });
            }
            if let Some(info) = found.last_mut() {
                match property {
                    "guid" if value != "-" => {
                        info.guid = Some(value.to_owned());
                        info.content_id.clone_from(&info.guid);
                    }
                    "creation" => info.created_seconds = value.parse().ok(),
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    fn parted_seconds(&self, clone: &Dataset) -> Result<Option<i64>> {
        let Some(origin) = &clone.origin else { return Ok(None) };
        Ok(self.snapshot_info(origin)?.and_then(|info| info.created_seconds))
    }

    fn enclosed(&self, _name: &DatasetName) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn encryption(&self, name: &DatasetName) -> Result<Encryption> {
        streams::encryption(&self.full(name)?)
    }

    fn own_properties(&self, name: &DatasetName) -> Result<BTreeMap<String, String>> {
        let full = self.full(name)?;
        let missing = || Self::missing(&full);
        let sources = tool::get(&full, ["get", "-H", "-o", "property,source", "all", full.as_str()])?
            .ok_or_else(missing)?;
        let sources = parse::columns::<2>(&sources).map_err(tool::unclear("zfs get all"))?;
        let own = sources.into_iter().filter(|[_, source]| matches!(*source, "local" | "received"));
        let names: Vec<&str> = own.map(|[name, _]| name).collect();
        let wanted =
            ["get", "-H", "-p", "-s", "local,received", "-o", "property,value", "all", full.as_str()];
        let pairs = tool::ask(&full, wanted)?.ok_or_else(missing)?;
        let properties = match parse::properties(&names, &pairs) {
            Some(properties) => properties,
            None => names
                .iter()
                .map(|&name| {
                    let value = tool::get(&full, ["get", "-H", "-p", "-o", "value", name, full.as_str()])?
                        .ok_or_else(missing)?;
                    let value = value.strip_suffix('\n').unwrap_or(&value).to_owned();
                    Ok((name.to_owned(), value))
                })
                .collect::<Result<_>>()?,
        };
        Ok(properties.into_iter().filter(|(name, _)| !name.starts_with(OWN_PROPERTIES)).collect())
    }

    fn set_property(&self, created: &Created, property: &str, value: &str) -> Result<()> {
        created.check(&self.root)?;
        let full = self.full(&created.dataset)?;
        crate::name::check_property(property)?;
        if (property, value) == ("canmount", "off")
            && self.find(&created.dataset)?.is_some_and(|listed| listed.mounted)
        {
            // With what is mounted in it, which zfs(8) leaves in the way otherwise.
            tool::run_patiently(["unmount", full.as_str()])?;
        }
        tool::run(["set", &format!("{property}={value}"), &full])?;
        if property == "canmount" && Self::has_own(&full, RECEIVED)? {
            // It has its final value now: not for `mount` to put back.
            tool::run(["inherit", RECEIVED, &full])?;
        }
        Ok(())
    }

    fn snapshot(
        &self,
        name: &DatasetName,
        snapshot: &SnapshotName,
        recursive: bool,
    ) -> Result<CreatedSnapshot> {
        name::snapshot(&self.root, name, snapshot)?;
        self.engine.snapshot(&[self.full(name)?], snapshot.as_str(), recursive)?;
        let snapshot = Snapshot { dataset: name.clone(), name: Some(snapshot.clone()) };
        Ok(CreatedSnapshot { pool: self.root.clone(), snapshot, recursive })
    }

    fn snapshot_together(&self, names: &[DatasetName], snapshot: &SnapshotName) -> Result<Together> {
        let token = |name: &DatasetName| {
            let snapshot = Snapshot { dataset: name.clone(), name: Some(snapshot.clone()) };
            CreatedSnapshot { pool: self.root.clone(), snapshot, recursive: true }
        };
        if self.features.snapshot_many {
            for name in names {
                name::snapshot(&self.root, name, snapshot)?;
            }
            let full = names.iter().map(|name| self.full(name)).collect::<Result<Vec<_>>>()?;
            self.engine.snapshot(&full, snapshot.as_str(), true)?;
            return Ok(Together { created: names.iter().map(token).collect(), one_moment: true });
        }
        // An older zfs(8) takes one name: the dataset that all lie in, but not the pool, which has the state of other runs in it.
        match crate::name::common(names).filter(|above| *above != DatasetName::pool()) {
            Some(above) => {
                for name in names {
                    self.find(name)?.ok_or_else(|| Self::missing(name.as_str()))?;
                }
                let created = vec![self.snapshot(&above, snapshot, true)?];
                Ok(Together { created, one_moment: true })
            }
            None => crate::one_by_one(self, names, snapshot),
        }
    }

    fn destroy_snapshot(&self, created: CreatedSnapshot) -> std::result::Result<(), Kept<CreatedSnapshot>> {
        let destroy = || {
            if created.pool != self.root {
                return Err(Error::NotFound(format!("snapshot of {} in {}", created.pool, self.root)));
            }
            self.destroy_snapshots(&created.snapshot, created.recursive)
        };
        match destroy() {
            Ok(()) => Ok(()),
            Err(error) => Err(Kept { token: created, error }),
        }
    }

    fn open_tree(&self, snapshot: &Snapshot, view: &str) -> Result<Box<dyn OpenTree>> {
        view::open(self, snapshot, view)
    }

    fn state_directory(&self) -> Result<PathBuf> {
        state::make(self)
    }

    fn existing_state_directory(&self) -> Result<Option<PathBuf>> {
        state::existing(self)
    }

    fn create(&self, name: &DatasetName) -> Result<Created> {
        self.create_by(name, &["create"], None)
    }

    fn clone_snapshot(&self, origin: &Snapshot, name: &DatasetName) -> Result<Created> {
        self.create_by(name, &["clone"], Some(&self.full_snapshot(origin)?))
    }

    fn rename(&self, created: Created, to: &DatasetName) -> std::result::Result<Created, Kept<Created>> {
        self.rename_created(created, to)
    }

    fn mount(&self, name: &DatasetName) -> Result<()> {
        self.mount_all(name)
    }

    fn destroy(&self, created: Created) -> std::result::Result<(), Kept<Created>> {
        match created.check(&self.root).and_then(|()| self.destroy_dataset(&created.dataset)) {
            Ok(()) => Ok(()),
            Err(error) => Err(Kept { token: created, error }),
        }
    }

    fn leftovers(&self) -> Result<Vec<Leftover>> {
        state::leftovers(self)
    }

    fn destroy_leftover(&self, leftover: &Leftover) -> Result<()> {
        state::destroy_leftover(self, leftover)
    }

    fn adopt(&self, leftover: &Leftover) -> Result<Option<Created>> {
        let name = leftover.staged().ok_or_else(|| Error::NotLeftover(format!("{leftover:?}")))?;
        Ok(self.find(name)?.map(|_| Created::new(&self.root, name.clone())))
    }

    fn streams(&self) -> Option<&dyn Streams> {
        Some(self)
    }

    fn native_diff(&self) -> Option<&dyn NativeDiff> {
        self.features.diff.then_some(self)
    }
}
