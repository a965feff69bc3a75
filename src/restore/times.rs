//! Times of the directories in which datasets are mounted: the rename that makes a resource visible unmounts and mounts, which
//! touches them on some platforms.

use std::collections::BTreeMap;

use remand_backends::DatasetName;
use rustix::fs::Mode;

use super::plan::{Plan, Target};
use super::stage::{Stage, directory_of};
use crate::archive::manifest::Encoding;
use crate::error::{Error, Result};
use crate::event::Warning;
use crate::pool::Pool;
use crate::run::KeptTime;
use crate::step::Steps;
use crate::tree::{Dir, Tree, TreePath};

impl Stage<'_> {
    /// When the directories were modified in which datasets are mounted.
    pub(super) fn times(&self, plan: &Plan) -> Result<Vec<KeptTime>> {
        let mut places = vec![(String::new(), TreePath::root())];
        for target in &plan.datasets {
            let (holder, path) = mounted_in(target, plan)?;
            let above = path.split().map_or_else(TreePath::root, |(above, _)| above);
            let place = (holder.map_or(String::new(), |holder| holder.name.clone()), above);
            if !places.contains(&place) {
                places.push(place);
            }
        }
        let times = places.into_iter().filter_map(|(dataset, above)| {
            let kept = kept(&dataset, &above);
            let stat = rustix::fs::fstat(open(self.pool, &self.dataset, &kept)?).ok()?;
            let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
            Some(KeptTime { seconds: stat.st_mtime, nanoseconds, ..kept })
        });
        Ok(times.collect())
    }

    /// Makes the directories that received datasets will be mounted in while that can be done: what they lie in may become read-only
    /// before. Elsewhere zfs(8) makes what is missing.
    pub(super) fn make_mount_points(&self, plan: &Plan, times: &[KeptTime], steps: &Steps<'_>) -> Result<()> {
        for target in plan.datasets.iter().filter(|target| target.encoding == Encoding::Zfs) {
            let (holder, path) = mounted_in(target, plan)?;
            let of_holder = holder.map_or(&plan.record.properties, |holder| &holder.properties);
            let is = |of: &BTreeMap<String, String>, name, value| of.get(name).is_some_and(|is| is == value);
            let Some((above, name)) = path.split() else { continue };
            if !is(of_holder, "readonly", "on") || is(&target.properties, "canmount", "off") {
                continue;
            }
            let holder = holder.map_or("", |holder| &holder.name);
            if let Some(dir) = open(self.pool, &self.dataset, &kept(holder, &above)) {
                // What is not made is told when it cannot be mounted.
                let _ = rustix::fs::mkdirat(&dir, name, Mode::from_raw_mode(0o755));
            }
        }
        put_times_back(self.pool, &self.dataset, times, steps);
        Ok(())
    }
}

/// The dataset that another one is mounted in, if it is not the resource's own, and where in it.
fn mounted_in<'p>(target: &Target, plan: &'p Plan) -> Result<(Option<&'p Target>, TreePath)> {
    let holders = plan.datasets.iter().filter(|other| is_inside(&target.name, &other.name));
    let holder = holders.max_by_key(|other| other.name.len());
    let below = target.name[holder.map_or(0, |holder| holder.name.len())..].trim_start_matches('/');
    let path = TreePath::new(below.as_bytes()).map_err(|error| Error::Refused(error.to_string()))?;
    Ok((holder, path))
}

fn kept(dataset: &str, directory: &TreePath) -> KeptTime {
    let path = data_encoding::BASE64.encode(directory.as_bytes());
    KeptTime { dataset: dataset.to_owned(), path, seconds: 0, nanoseconds: 0 }
}

/// Gives the directories of the resource at `place` back the times that they had.
pub(crate) fn put_times_back(pool: &Pool, place: &DatasetName, times: &[KeptTime], steps: &Steps<'_>) {
    for kept in times {
        let Some(dir) = open(pool, place, kept) else { continue };
        let same = |now: rustix::fs::Stat| {
            let nanoseconds = u32::try_from(now.st_mtime_nsec).unwrap_or_default();
            (now.st_mtime, nanoseconds) == (kept.seconds, kept.nanoseconds)
        };
        if rustix::fs::fstat(&dir).is_ok_and(same) {
            continue; // also where it is read-only by now
        }
        let times = rustix::fs::Timestamps {
            last_access: rustix::fs::Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
            last_modification: rustix::fs::Timespec {
                tv_sec: kept.seconds,
                tv_nsec: kept.nanoseconds.into(),
            },
        };
        if let Err(error) = rustix::fs::futimens(&dir, &times) {
            let subject = format!("{}/{}", kept.dataset, dir.path());
            steps.warn(&Warning { subject, message: format!("mtime could not be kept: {error}") });
        }
    }
}

/// `None` where it is not mounted (a volume, a dataset with `canmount=off`): then nothing was touched.
fn open(pool: &Pool, resource: &DatasetName, kept: &KeptTime) -> Option<Dir> {
    let dataset =
        if kept.dataset.is_empty() { resource.clone() } else { resource.join(&kept.dataset).ok()? };
    let path = TreePath::new(&data_encoding::BASE64.decode(kept.path.as_bytes()).ok()?).ok()?;
    Tree::open(&directory_of(pool, &dataset).ok()?).ok()?.open_dir(&path).ok()?
}

fn is_inside(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::two_jails;
    use crate::event::Silent;
    use crate::restore::stage::KeptBytes;
    use crate::undo::Undo;

    type Described<'a> = (&'a str, Encoding, &'a [(&'a str, &'a str)]);

    /// A jail with the dataset `root` and these, each with its properties.
    fn with_datasets(all: &[Described<'_>]) -> Plan {
        let mut record = two_jails().resources.remove(0);
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        for (name, encoding, properties) in all {
            let mut dataset = record.datasets[0].clone();
            (dataset.name, dataset.encoding) = ((*name).to_owned(), *encoding);
            dataset.member = crate::export::plan::member(name, *encoding);
            dataset.properties = map(properties);
            match record.datasets.iter_mut().find(|known| known.name == *name) {
                Some(known) => *known = dataset,
                None => record.datasets.push(dataset),
            }
        }
        super::super::plan::plan(&record, None, false).unwrap()
    }

    #[test]
    fn a_dataset_is_mounted_in_the_nearest_above_it() {
        let names = ["data", "data/db", "data/db/log/old", "database/x", "root/usr/lib"];
        let plan = with_datasets(&names.map(|name| (name, Encoding::Tree, &[][..])));
        let found: Vec<_> = plan.datasets.iter().map(|target| mounted_in(target, &plan).unwrap()).collect();
        let found = found.iter().map(|(holder, path)| (holder.map_or("", |one| &one.name), path.to_string()));
        let expected = [
            ("", "root"),
            ("", "data"),
            ("data", "db"),
            ("data/db", "log/old"),
            ("", "database/x"),
            ("root", "usr/lib"),
        ];
        assert_eq!(found.collect::<Vec<_>>(), expected.map(|(holder, path)| (holder, path.to_owned())));
    }

    /// In what is read-only nobody could make them later. Nothing is in the way of what zfs(8) makes.
    #[test]
    fn mount_points_are_made_in_what_becomes_read_only() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("jails")).unwrap();
        let pool = Pool::open(directory.path().to_str().unwrap()).unwrap();
        pool.backend().state_directory().unwrap();
        let plan = with_datasets(&[
            ("root", Encoding::Tree, &[("readonly", "on")]),
            ("root/in", Encoding::Zfs, &[("canmount", "on")]),
            ("root/off", Encoding::Zfs, &[("canmount", "off")]),
            ("root/tree", Encoding::Tree, &[]),
            ("data", Encoding::Zfs, &[("readonly", "on")]),
            ("open", Encoding::Tree, &[("readonly", "off")]),
            ("open/in", Encoding::Zfs, &[]),
        ]);
        let steps = Steps::new(&Silent, "a");
        let mut undo = Undo::new(&steps);
        let (run, kept) = (crate::run::new_id(), KeptBytes::default());
        let stage = Stage::create(&pool, (&run, None), &plan, &kept, &mut undo, &steps).unwrap();
        let staged = directory.path().join(stage.dataset.as_str());
        for name in ["root", "open"] {
            std::fs::create_dir(staged.join(name)).unwrap();
            let of_old = std::fs::FileTimes::new().set_modified(std::time::SystemTime::UNIX_EPOCH);
            std::fs::File::open(staged.join(name)).unwrap().set_times(of_old).unwrap();
        }
        let times = stage.times(&plan).unwrap();
        stage.make_mount_points(&plan, &times, &steps).unwrap();
        let names = |below: &str| {
            let entries = std::fs::read_dir(staged.join(below)).unwrap();
            let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        assert_eq!(
            (names("root"), names("open"), names("")),
            (vec!["in".into()], vec![], vec!["open".into(), "root".into()])
        );
        assert_eq!(stage.times(&plan).unwrap(), times);
        drop(stage);
        undo.conclude::<()>(Err(Error::Interrupted)).0.unwrap_err();
    }
}
