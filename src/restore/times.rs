//! Times of the directories in which datasets are mounted: the rename that makes a resource visible unmounts and mounts, which
//! touches them on some platforms.

use remand_backends::DatasetName;

use super::plan::Plan;
use super::stage::{Stage, directory_of};
use crate::error::{Error, Result};
use crate::event::Warning;
use crate::pool::Pool;
use crate::step::Steps;
use crate::tree::{Dir, Tree, TreePath};

impl Stage<'_> {
    /// When the directories were modified in which datasets are mounted. Unmounting and mounting for the rename touches
    /// them on some platforms.
    pub(super) fn times(&self, plan: &Plan) -> Result<Vec<MountPlace>> {
        let mut places = vec![MountPlace { dataset: String::new(), above: TreePath::root(), times: None }];
        for target in &plan.datasets {
            let holder = plan.datasets.iter().filter(|other| is_inside(&target.name, &other.name));
            let holder = holder.max_by_key(|other| other.name.len()).map_or("", |other| other.name.as_str());
            let below = target.name[holder.len()..].trim_start_matches('/');
            let path = TreePath::new(below.as_bytes()).map_err(|error| Error::Refused(error.to_string()))?;
            let above = path.split().map_or_else(TreePath::root, |(above, _)| above);
            if !places.iter().any(|place| place.dataset == holder && place.above == above) {
                places.push(MountPlace { dataset: holder.to_owned(), above, times: None });
            }
        }
        for place in &mut places {
            place.times = place.open(self.pool, &self.dataset).and_then(|dir| rustix::fs::fstat(&dir).ok());
        }
        Ok(places)
    }

    pub(super) fn put_times_back(&self, place: &DatasetName, times: &[MountPlace], steps: &Steps<'_>) {
        for mount_place in times {
            let (Some(before), Some(dir)) = (mount_place.times, mount_place.open(self.pool, place)) else {
                continue;
            };
            let same = |now: rustix::fs::Stat| {
                (now.st_mtime, now.st_mtime_nsec) == (before.st_mtime, before.st_mtime_nsec)
            };
            if rustix::fs::fstat(&dir).is_ok_and(same) {
                continue; // also where it is read-only by now
            }
            let times = rustix::fs::Timestamps {
                last_access: time(before.st_atime, before.st_atime_nsec),
                last_modification: time(before.st_mtime, before.st_mtime_nsec),
            };
            if let Err(error) = rustix::fs::futimens(&dir, &times) {
                let subject = format!("{}/{}", mount_place.dataset, mount_place.above);
                steps.warn(&Warning { subject, message: format!("mtime could not be kept: {error}") });
            }
        }
    }
}

/// A directory in which a dataset is mounted.
pub(super) struct MountPlace {
    /// The dataset that it is in; "" is the resource's own.
    dataset: String,
    above: TreePath,
    times: Option<rustix::fs::Stat>,
}

impl MountPlace {
    /// `None` where it is not mounted (a volume, a dataset with `canmount=off`): then nothing was touched.
    fn open(&self, pool: &Pool, resource: &DatasetName) -> Option<Dir> {
        let dataset =
            if self.dataset.is_empty() { resource.clone() } else { resource.join(&self.dataset).ok()? };
        let tree = Tree::open(&directory_of(pool, &dataset).ok()?).ok()?;
        tree.open_dir(&self.above).ok()?
    }
}

/// Systems differ in the sign of nanoseconds.
fn time(seconds: i64, nanoseconds: impl TryInto<i64>) -> rustix::fs::Timespec {
    rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds.try_into().unwrap_or_default() }
}

fn is_inside(name: &str, above: &str) -> bool {
    name.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}
