//! Datasets of a basejail that are cloned again, from the release that the target has.

use remand_backends::{Backend, DatasetKind, DatasetName, Snapshot};

use super::base::make_snapshot;
use super::plan::{Plan, Target};
use crate::archive::manifest::{BaseRecord, Encoding};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::resource::{Base, ResourceKind};
use crate::step::Steps;
use crate::undo::Undo;

/// Where a dataset is cloned from.
pub(super) struct Source {
    target: String,
    release: String,
    dataset: DatasetName,
    /// None where the release's dataset is there and has no snapshot yet.
    snapshot: Option<Snapshot>,
}

/// Finds what each is cloned from, in the release that the archive says or that the user named. Makes nothing.
pub(super) fn find(pool: &Pool, plan: &Plan, named: Option<&str>, steps: &Steps<'_>) -> Result<Vec<Source>> {
    let backend = pool.backend();
    // What is cloned from the base is a release's in any case.
    let named = named.map(super::base::named).transpose()?.map(|(source, _)| source);
    let named = named.filter(|source| source.kind == ResourceKind::Release).map(|source| source.name);
    let mut others = Vec::new();
    let mut sources = Vec::new();
    for target in plan.datasets.iter().filter(|target| target.encoding == Encoding::Base) {
        let Some(record) = &target.base else { continue };
        let source = source(pool, target, record, named.as_deref().unwrap_or(&record.name))?;
        if !source.snapshot.as_ref().map_or(Ok(false), |snapshot| is_same(backend, snapshot, record))? {
            others.push(target.name.as_str());
        }
        sources.push(source);
    }
    if let (false, Some(source)) = (others.is_empty(), sources.first()) {
        let message = format!(
            "cloned from another snapshot than in the archive, as this pool's release has it now: {}",
            others.join(", ")
        );
        steps.notice(&source.release, message);
    }
    Ok(sources)
}

fn failed(dataset: &DatasetName) -> impl FnOnce(remand_backends::Error) -> Error {
    Error::backend(format!("look {} up", dataset.as_str()))
}

fn is_same(backend: &dyn Backend, snapshot: &Snapshot, record: &BaseRecord) -> Result<bool> {
    let info = backend.snapshot_info(snapshot).map_err(failed(&snapshot.dataset))?;
    Ok(record.guid.is_some() && info.and_then(|info| info.guid) == record.guid)
}

/// The snapshot of the same GUID, else of the same name, else the newest; the dataset itself where it has none and needs none.
fn source(pool: &Pool, target: &Target, record: &BaseRecord, release: &str) -> Result<Source> {
    let backend = pool.backend();
    let dataset = pool.layout().base_part(release, &target.name)?;
    let found = backend
        .dataset(&dataset)
        .map_err(failed(&dataset))?
        .ok_or_else(|| Error::BaseMissing { base: dataset.as_str().to_owned(), pool: pool.label() })?;
    let itself = Some(Snapshot { dataset: dataset.clone(), name: None })
        .filter(|_| backend.capabilities().datasets_are_bases);
    let snapshots = match found.kind {
        DatasetKind::Directory => Vec::new(),
        _ => backend.snapshots(&dataset).map_err(failed(&dataset))?,
    };
    let name_of = |snapshot: &Snapshot| snapshot.name.as_ref().map(|name| name.as_str().to_owned());
    let best = snapshots
        .into_iter()
        .filter(|info| !name_of(&info.snapshot).is_some_and(|name| crate::run::is_run_id(&name)))
        .enumerate()
        .max_by_key(|(age, info)| {
            let same_guid = record.guid.is_some() && info.guid == record.guid;
            (same_guid, name_of(&info.snapshot) == record.snapshot, *age)
        })
        .map(|(_, info)| info.snapshot);
    let snapshot = best.or(itself);
    Ok(Source { target: target.name.clone(), release: release.to_owned(), dataset, snapshot })
}

/// Makes the snapshots that are missing, called after the resource, as the managers call theirs. Undone when the restore fails; this must
/// come before the staging dataset is made, which goes first then.
pub(super) fn complete<'a>(
    pool: &'a Pool,
    resource: &str,
    sources: Vec<Source>,
    undo: &mut Undo<'a>,
) -> Result<Vec<(String, Base)>> {
    let mut bases = Vec::new();
    for Source { target, release, dataset, snapshot } in sources {
        let snapshot = if let Some(snapshot) = snapshot {
            snapshot
        } else {
            make_snapshot(pool, &dataset, resource, undo)?
        };
        let kind = ResourceKind::Release;
        bases.push((target, Base { kind, name: release, snapshot, parted_seconds: None }));
    }
    Ok(bases)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Event, Observer, Warning};
    use crate::pool::testing::Twist;

    /// Remembers notices.
    #[derive(Default)]
    struct Told(std::sync::Mutex<Vec<String>>);

    impl Observer for Told {
        fn event(&self, _: &Event) {}

        fn warning(&self, warning: &Warning) {
            panic!("{}", warning.message);
        }

        fn notice(&self, notice: &Warning) {
            self.0.lock().unwrap().push(notice.message.clone());
        }
    }

    const SNAPSHOTS: [(&str, &str); 3] = [("first", "1"), ("web", "2"), ("last", "3")];

    /// Releases with a dataset for basejails.
    fn pool(directory: &std::path::Path, snapshots: Option<Vec<(&'static str, &'static str)>>) -> Pool {
        for name in
            ["jails", "releases", "base/base-1.0/root/bin", "base/other/root/bin", "base/plain/root/bin"]
        {
            std::fs::create_dir_all(directory.join(name)).unwrap();
        }
        Pool::twisted(directory, Twist { snapshots, ..Twist::default() })
    }

    /// A jail whose `root/bin` is a clone of this snapshot of base-1.0.
    fn plan(snapshot: Option<&str>, guid: Option<&str>) -> Plan {
        let mut record = crate::archive::testing::one_tree().resources.remove(0);
        let mut part = record.datasets[0].clone();
        (part.name, part.encoding) = ("root/bin".into(), Encoding::Base);
        part.member = crate::export::plan::member(&part.name, part.encoding);
        part.base = Some(BaseRecord {
            kind: ResourceKind::Release,
            name: "base-1.0".into(),
            snapshot: snapshot.map(str::to_owned),
            guid: guid.map(str::to_owned),
            fingerprint: None,
        });
        record.datasets.push(part);
        super::super::plan::plan(&record, None, false).unwrap()
    }

    /// What is cloned, and how often it is told that it is another one.
    fn found(pool: &Pool, plan: &Plan, named: Option<&str>) -> (String, Option<String>, usize) {
        let told = Told::default();
        let [source] = &find(pool, plan, named, &Steps::new(&told, "web")).unwrap()[..] else {
            panic!("one")
        };
        assert_eq!(source.dataset.as_str(), format!("base/{}/root/bin", source.release));
        let name = source
            .snapshot
            .as_ref()
            .map(|snapshot| snapshot.name.as_ref().map_or("itself", |name| name.as_str()));
        let notices = told.0.into_inner().unwrap();
        assert!(notices.iter().all(|notice| notice.ends_with("has it now: root/bin")));
        (source.release.clone(), name.map(str::to_owned), notices.len())
    }

    #[test]
    fn a_part_is_cloned_from_the_release_of_the_archive_or_the_one_that_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let pool = pool(directory.path(), None);
        let itself = Some("itself".to_owned());
        for guid in [None, Some("1")] {
            let plan = plan(Some("web"), guid);
            for (named, release) in [
                (None, "base-1.0"),
                (Some("other"), "other"),
                (Some("release:other@web"), "other"),
                (Some("template:other"), "base-1.0"),
            ] {
                assert_eq!(found(&pool, &plan, named), (release.into(), itself.clone(), 1), "{named:?}");
            }
        }
    }

    #[test]
    fn the_same_snapshot_comes_before_one_of_its_name_and_that_before_the_newest() {
        let directory = tempfile::tempdir().unwrap();
        let mut snapshots = SNAPSHOTS.to_vec();
        // What an interrupted run has left is nobody's base.
        snapshots.push((crate::run::new_id().leak(), "4"));
        let pool = pool(directory.path(), Some(snapshots));
        for (snapshot, guid, expected, told) in [
            (Some("web"), Some("1"), "first", 0),
            (Some("web"), Some("9"), "web", 1),
            (Some("web"), None, "web", 1),
            (Some("none"), Some("9"), "last", 1),
            (None, None, "last", 1),
        ] {
            let (_, name, notices) = found(&pool, &plan(snapshot, guid), None);
            assert_eq!((name.as_deref(), notices), (Some(expected), told), "{snapshot:?} {guid:?}");
        }
        // A directory has none, whatever the backend lists.
        assert_eq!(found(&pool, &plan(Some("web"), Some("1")), Some("plain")), ("plain".into(), None, 1));
    }
}
