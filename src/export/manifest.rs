//! The manifest of an export.

use std::collections::BTreeMap;

use remand_backends::DatasetKind;
use serde_json::{Value, json};

use super::datasets::Job;
use crate::archive::manifest::{
    BaseDirectory, BaseRecord, DatasetRecord, Encoding, EntryFlags, FORMAT, Host, MAJOR, MINOR, Manifest,
    ResourceRecord, Tool, Version,
};
use crate::change::{Fingerprint, Scope, walk};
use crate::error::{Error, Result};
use crate::run;
use crate::tree;

/// Room that is kept for a fingerprint that is not known yet when the manifest is written, in bytes. About 30 names in
/// the base's root fit; for more the fingerprint goes without its places.
pub(super) const SPARE_BYTES: usize = 8 << 10;

/// Describes what `job` is going to write.
pub(super) fn describe(
    job: &Job<'_>,
    guid: Option<&str>,
    fingerprint: Option<Fingerprint>,
    base_directories: &[BaseDirectory],
) -> Result<Manifest> {
    let uname = rustix::system::uname();
    let text = |part: &std::ffi::CStr| part.to_string_lossy().into_owned();
    let mut id = [0u8; 16];
    run::fill_random(&mut id);
    Ok(Manifest {
        format: FORMAT.into(),
        version: Version { major: MAJOR, minor: MINOR },
        tool: Tool { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into() },
        id: data_encoding::HEXLOWER.encode(&id),
        created: run::now(),
        host: Host {
            name: text(uname.nodename()),
            os: text(uname.sysname()),
            release: text(uname.release()),
            architecture: text(uname.machine()),
        },
        resources: vec![ResourceRecord {
            base_directories: base_directories.to_vec(),
            ..resource(job, guid, fingerprint)?
        }],
        consistent: Some(job.pool.backend().capabilities().atomic_recursive),
        failed: Vec::new(),
        options: options(job),
    })
}

fn resource(job: &Job<'_>, guid: Option<&str>, fingerprint: Option<Fingerprint>) -> Result<ResourceRecord> {
    let resource = job.resource;
    let backend = job.pool.backend();
    let base = resource.base.as_ref().map(|base| BaseRecord {
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
        prefix: "./".into(),
        mode: job.plan.mode,
        base,
        snapshot: job.snapshot.name.as_ref().map(|name| name.as_str().to_owned()),
        taken: None,
        consistent: backend.capabilities().atomic_recursive,
        config: resource.config.map(str::to_owned),
        fstab: resource.fstab.then(|| "fstab".into()),
        base_directories: Vec::new(),
        properties: backend
            .local_properties(&resource.dataset)
            .map_err(Error::backend(format!("read the properties of {}", resource.dataset.as_str())))?,
        datasets: job.plan.datasets.iter().map(|planned| dataset(job, planned)).collect::<Result<_>>()?,
        revision: None,
        tags: Vec::new(),
        note: None,
        keep: false,
        records: Vec::new(),
    })
}

fn dataset(job: &Job<'_>, planned: &super::plan::PlannedDataset) -> Result<DatasetRecord> {
    let part = planned.part(job.resource);
    let backend = job.pool.backend();
    let failed = || Error::backend(format!("read the properties of {}", part.dataset.as_str()));
    let mut snapshots = Vec::new();
    let travels = !matches!(planned.encoding, Encoding::Delta | Encoding::Base);
    if job.options.recursive && travels {
        let all = backend.snapshots(&part.dataset).map_err(failed())?;
        let names =
            all.into_iter().filter_map(|info| info.snapshot.name).map(|name| name.as_str().to_owned());
        snapshots.extend(names.filter(|name| !run::is_run_id(name)));
    }
    let base = match part.base.as_ref().filter(|_| planned.encoding == Encoding::Base) {
        Some(base) => {
            let info = backend.snapshot_info(&base.snapshot).map_err(failed())?;
            let snapshot = base.snapshot.name.as_ref().map(|name| name.as_str().to_owned());
            let guid = info.and_then(|info| info.guid);
            Some(BaseRecord { name: base.name.clone(), snapshot, guid, fingerprint: None })
        }
        None => None,
    };
    Ok(DatasetRecord {
        name: planned.name.clone(),
        encoding: planned.encoding,
        member: planned.member.clone(),
        base,
        volume: part.kind == DatasetKind::Volume,
        flags: if planned.encoding == Encoding::Btrfs { flags(job, planned)? } else { Vec::new() },
        properties: backend.local_properties(&part.dataset).map_err(failed())?,
        snapshots,
        bytes: None,
    })
}

/// The file flags in a dataset. No btrfs stream holds any.
fn flags(job: &Job<'_>, planned: &super::plan::PlannedDataset) -> Result<Vec<EntryFlags>> {
    job.with_view(&job.snapshot_of(planned), |view| {
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
            failure = pair.names.iter().find_map(|name| add(name).err());
            failure.is_none()
        })?;
        match failure {
            Some(error) => Err(failed()(error)),
            None => Ok(found),
        }
    })
}

fn options(job: &Job<'_>) -> BTreeMap<String, Value> {
    let options = job.options;
    BTreeMap::from([
        ("standalone".to_owned(), json!(options.standalone)),
        ("recursive".to_owned(), json!(options.recursive)),
        ("decrypted".to_owned(), json!(options.decrypted)),
        ("portable".to_owned(), json!(options.portable)),
        ("engine".to_owned(), json!(job.engine.name())),
    ])
}
