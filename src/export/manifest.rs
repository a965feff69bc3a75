//! The manifest of an export.

use std::collections::{BTreeMap, BTreeSet};

use remand_backends::{Backend, DatasetKind, Snapshot, SnapshotName};
use serde_json::{Value, json};

use super::Options;
use super::datasets::{Done, Job};
use super::recorded::Remembered;
use crate::archive::Writer;
use crate::archive::manifest::{
    BaseDirectory, BaseRecord, DatasetRecord, Encoding, EntryFlags, FORMAT, FailedRecord, Host, MAJOR, MINOR,
    Manifest, ResourceRecord, Tool, Version,
};
use crate::change::{Fingerprint, Scope, walk};
use crate::config::{Config, Form};
use crate::error::{Error, Result};
use crate::event::Warning;
use crate::resource::Resource;
use crate::run;
use crate::tree;

/// Room that is kept for a fingerprint that is not known yet when the manifest is written, in bytes. About 30 names in
/// the base's root fit; for more the fingerprint goes without its places.
pub(super) const SPARE_BYTES: usize = 8 << 10;

/// Room that is kept for the size of a dataset, which is known when it is written.
pub(super) const SIZE_BYTES: usize = 64;

/// What is found out about a resource before its record is made.
pub(super) struct Found<'a> {
    /// Of the base.
    pub(super) guid: Option<&'a str>,
    /// Of the base, if it is known already.
    pub(super) fingerprint: Option<Fingerprint>,
    pub(super) left_out: &'a [BaseDirectory],
    /// RFC 3339.
    pub(super) taken: &'a str,
    /// Whether all its datasets are of one moment.
    pub(super) consistent: bool,
    /// As a manifest has it: `./jails/web01/`.
    pub(super) prefix: &'a str,
    pub(super) remembered: Remembered,
}

/// The manifest of an archive of these resources.
pub(super) fn manifest(
    resources: Vec<ResourceRecord>,
    failed: Vec<FailedRecord>,
    consistent: bool,
    (options, engines): (&Options, &[&str]),
    id: &str,
) -> Manifest {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let requires: BTreeSet<_> = resources.iter().filter_map(ResourceRecord::requires).collect();
    Manifest {
        format: FORMAT.into(),
        version: Version { major: MAJOR, minor: MINOR },
        tool: Tool { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() },
        id: id.to_owned(),
        created: run::now(),
        host: Host {
            name: text(uname.nodename()),
            os: text(uname.sysname()),
            release: text(uname.release()),
            architecture: text(uname.machine()),
        },
        resources,
        requires: requires.into_iter().map(str::to_owned).collect(),
        consistent: Some(consistent),
        failed,
        signed_by: options.signer.as_ref().map(|signer| signer.public().to_string()),
        options: self::options(options, engines),
        foreign: None,
    }
}

/// Describes what `job` is going to write.
pub(super) fn record(job: &Job<'_>, found: Found<'_>) -> Result<ResourceRecord> {
    let Found { guid, fingerprint, left_out, taken, consistent, prefix, remembered } = found;
    let resource = job.resource;
    let backend = job.pool.backend();
    let base = resource.base.as_ref().map(|base| BaseRecord {
        kind: base.kind,
        name: base.name.clone(),
        snapshot: base.snapshot.name.as_ref().map(|name| name.as_str().to_owned()),
        guid: guid.map(str::to_owned),
        fingerprint,
    });
    Ok(ResourceRecord {
        kind: resource.kind,
        name: resource.name.clone(),
        layout: job.pool.layout().name().into(),
        backend: backend.kind().name().into(),
        mountpoint: resource.directory.to_string_lossy().into_owned(),
        prefix: prefix.into(),
        mode: job.plan.mode,
        base,
        as_base: None,
        snapshot: job.transport().name.as_ref().map(|name| name.as_str().to_owned()),
        taken: Some(taken.into()),
        consistent,
        config: resource.config.map(|form| form.member().to_owned()),
        fstab: resource.fstab.then(|| "fstab".into()),
        base_directories: left_out.to_vec(),
        view: resource.view.clone(),
        properties: besides_config(backend, resource)?,
        datasets: job.plan.datasets.iter().map(|planned| dataset(job, planned)).collect::<Result<_>>()?,
        revision: remembered.revision,
        tags: remembered.annotations.tags,
        note: remembered.annotations.note,
        keep: remembered.annotations.keep,
        records: remembered.earlier,
    })
}

/// The properties of the resource's own dataset, but for those that are its config: that has a member.
fn besides_config(backend: &dyn Backend, resource: &Resource) -> Result<BTreeMap<String, String>> {
    let failed = Error::backend(format!("read the properties of {}", resource.dataset.as_str()));
    let mut found = backend.own_properties(&resource.dataset).map_err(failed)?;
    if resource.config == Some(Form::Properties) {
        let config = Config::of_properties(&found);
        found.retain(|name, _| !config.properties().is_some_and(|own| own.contains_key(name)));
    }
    Ok(found)
}

fn dataset(job: &Job<'_>, planned: &super::plan::PlannedDataset) -> Result<DatasetRecord> {
    let part = planned.part(job.resource);
    let backend = job.pool.backend();
    let failed = || Error::backend(format!("read the properties of {}", part.dataset.as_str()));
    let mut snapshots = Vec::new();
    let travels = !matches!(planned.encoding, Encoding::Delta | Encoding::Base);
    if planned.history && travels {
        let all = backend.snapshots(&part.dataset).map_err(failed())?;
        let names =
            all.into_iter().filter_map(|info| info.snapshot.name).map(|name| name.as_str().to_owned());
        for name in names.filter(|name| !run::is_run_id(name)) {
            // What came after a snapshot that the user named does not travel.
            let last = job.snapshot.name.as_ref().is_some_and(|last| last.as_str() == name);
            snapshots.push(name);
            if last {
                break;
            }
        }
    }
    let base = match part.base.as_ref().filter(|_| planned.encoding == Encoding::Base) {
        Some(base) => {
            let info = backend.snapshot_info(&base.snapshot).map_err(failed())?;
            let snapshot = base.snapshot.name.as_ref().map(|name| name.as_str().to_owned());
            let guid = info.and_then(|info| info.guid);
            Some(BaseRecord { kind: base.kind, name: base.name.clone(), snapshot, guid, fingerprint: None })
        }
        None => None,
    };
    Ok(DatasetRecord {
        name: planned.name.clone(),
        encoding: planned.encoding,
        member: planned.member.clone(),
        base,
        volume: part.kind == DatasetKind::Volume,
        flags: if planned.encoding == Encoding::Btrfs {
            warn_of_flags(job, planned, &snapshots)?;
            flags(job, planned, &job.snapshot_of(planned))?
        } else {
            Vec::new()
        },
        properties: backend.own_properties(&part.dataset).map_err(failed())?,
        snapshots,
        bytes: None,
    })
}

/// The manifest has flags of the newest state alone.
fn warn_of_flags(job: &Job<'_>, planned: &super::plan::PlannedDataset, snapshots: &[String]) -> Result<()> {
    for name in snapshots {
        let dataset = planned.part(job.resource).dataset.clone();
        let snapshot = SnapshotName::new(name).map_err(|error| Error::Unsupported(error.to_string()))?;
        let found = flags(job, planned, &Snapshot { dataset, name: Some(snapshot) })?;
        let Some(first) = found.first() else { continue };
        let path = String::from_utf8_lossy(&first.path().unwrap_or_default()).into_owned();
        job.steps.warn(&Warning {
            subject: format!("{}@{name}", planned.name),
            message: format!(
                "its file flags are not in the archive, of {} entries (/{path}: {}): no stream of btrfs holds any",
                found.len(),
                first.flags
            ),
        });
    }
    Ok(())
}

/// The file flags in a snapshot of a dataset. No btrfs stream holds any.
fn flags(
    job: &Job<'_>,
    planned: &super::plan::PlannedDataset,
    snapshot: &Snapshot,
) -> Result<Vec<EntryFlags>> {
    job.with_view(snapshot, |view| {
        let failed = || Error::tree(format!("read the flags in the dataset {}", planned.name));
        let mut found = Vec::new();
        let root = view.tree.root_node().map_err(failed())?.entry.flags;
        if !root.is_empty() {
            found.push(EntryFlags::new(b"", root.to_string()));
        }
        let mut failure = None;
        let scope = Scope { exclude: &[], interrupted: job.interrupted };
        walk::merged(Some(&view.tree), None, scope, &mut |pair| {
            let Some(dir) = &pair.base else { return true };
            let mut add = |name: &[u8]| -> tree::Result<()> {
                if let Some(stat) = dir.stat(name)?.filter(|stat| !stat.mount_point) {
                    let flags = dir.flags(name, &stat)?;
                    if !flags.is_empty() {
                        found.push(EntryFlags::new(pair.path.join(name).as_bytes(), flags.to_string()));
                    }
                }
                Ok(())
            };
            failure = pair.names.iter().find_map(|candidate| add(&candidate.name).err());
            failure.is_none()
        })?;
        match failure {
            Some(error) => Err(failed()(error)),
            None => Ok(found),
        }
    })
}

pub(super) fn options(options: &Options, engines: &[&str]) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::from([
        ("standalone".to_owned(), json!(options.standalone)),
        ("recursive".to_owned(), json!(options.recursive)),
        ("decrypted".to_owned(), json!(options.decrypted)),
        ("portable".to_owned(), json!(options.portable)),
        ("with_base".to_owned(), json!(options.with_base)),
        ("engine".to_owned(), json!(engines.join(", "))),
    ]);
    if options.reproducible {
        all.insert("reproducible".to_owned(), json!(true));
    }
    if let Some(signer) = &options.signer {
        all.insert("signed_by".to_owned(), json!(signer.public().id().to_string()));
    }
    if !options.recipients.is_empty() {
        all.insert("encrypted".to_owned(), json!(true));
    }
    all
}

/// Completes a manifest with what was found on the way; the places of a fingerprint only where there is room for them.
pub(super) fn amend(
    writer: &mut Writer,
    mut manifest: Manifest,
    spare_bytes: usize,
    done: &[Option<&Done>],
) -> Result<()> {
    let size =
        |manifest: &Manifest| serde_json::to_vec_pretty(manifest).map_or(usize::MAX, |text| text.len());
    let limit = size(&manifest) + spare_bytes;
    for (record, done) in manifest.resources.iter_mut().zip(done) {
        let Some(done) = done else { continue };
        for dataset in &mut record.datasets {
            dataset.bytes = done.bytes.get(&dataset.name).copied();
        }
        if let (Some(base), Some(fingerprint)) = (record.base.as_mut(), &done.base.fingerprint) {
            base.fingerprint = Some(fingerprint.clone());
        }
    }
    if size(&manifest) > limit {
        let fingerprints =
            manifest.resources.iter_mut().filter_map(|record| record.base.as_mut()?.fingerprint.as_mut());
        fingerprints.for_each(|fingerprint| fingerprint.places.clear());
    }
    Ok(writer.amend_manifest(&manifest)?)
}
