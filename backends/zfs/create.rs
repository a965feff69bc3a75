//! What comes, moves and goes: create, clone, rename, mount, destroy.

use super::parse::{self, Listed};
use super::{CREATED, RECEIVED, Zfs, list_one, mounted_directory, name, state, tool};
use crate::{Created, DatasetName, Error, Kept, Result, Snapshot};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often, and after which pause, a mount that failed is tried again.
const MOUNT_TRIES: u32 = 20;
const MOUNT_PAUSE: Duration = Duration::from_millis(100);

impl Zfs {
    /// `zfs create` or `zfs clone` (with an origin), and mounts the result.
    pub(super) fn create_by(
        &self,
        name: &DatasetName,
        command: &[&str],
        origin: Option<&str>,
    ) -> Result<Created> {
        let full = self.full(name)?;
        self.check_free(name)?;
        let word = tool::nonce()?;
        let mark = format!("{CREATED}={word}");
        let arguments = command.iter().copied().chain(["-o", &mark]).chain(origin).chain([full.as_str()]);
        let made = tool::run(arguments);
        if let Err(error) = made {
            // It may exist all the same: created, but not mounted. Whether it is ours the word tells.
            if matches!(Self::property(&full, CREATED), Ok(Some(found)) if found == word) {
                return Err(error.with_undo(&full, self.destroy_dataset(name)));
            }
            return Err(error);
        }
        let created = Created::new(&self.root, name.clone());
        let finish = || {
            tool::run(["inherit", CREATED, full.as_str()])?;
            self.ensure_mounted(name)
        };
        match finish() {
            Ok(()) => Ok(created),
            Err(error) => Err(error.with_undo(&full, self.destroy_dataset(name))),
        }
    }

    /// Fails if a dataset cannot come to be under this name: the parent is absent, the name is taken, or there are files
    /// in the directory that it would be mounted over.
    pub(super) fn check_free(&self, name: &DatasetName) -> Result<()> {
        let full = self.full(name)?;
        let Some(parent) = name.parent() else { return Err(Error::Exists(full)) };
        let Some(above) = self.find(&parent)? else { return Err(Self::missing(&self.full(&parent)?)) };
        if self.find(name)?.is_some() {
            return Err(Error::Exists(full));
        }
        let last = name.components().next_back().unwrap_or_default();
        if above.mountpoint.starts_with('/') {
            check_mountable(&Path::new(&above.mountpoint).join(last))?;
        }
        Ok(())
    }

    /// Mounts one dataset if it is a file system, and returns when it is.
    pub(super) fn ensure_mounted(&self, name: &DatasetName) -> Result<()> {
        self.mount_one(name, false)
    }

    /// The same; `over` what lies in the directory, where zfs(8) does that: by the property `overlay`. (Its option `-O` makes
    /// zfs-fuse abort.)
    fn mount_one(&self, name: &DatasetName, over: bool) -> Result<()> {
        let full = self.full(name)?;
        let listed = self.find(name)?.ok_or_else(|| Self::missing(&full))?;
        if listed.volume || listed.mounted {
            return Ok(());
        }
        if !listed.mountpoint.starts_with('/') {
            return Err(Error::NotMounted(format!(
                "dataset {full} (its mountpoint is {})",
                listed.mountpoint
            )));
        }
        let mount = || {
            if !over {
                check_mountable(Path::new(&listed.mountpoint))?;
            }
            tool::run_patiently(["mount", full.as_str()]).map(drop)
        };
        // Another run may just be mounting the same: then one of the two fails, and a moment later it is mounted, or can be.
        for _ in 0..MOUNT_TRIES {
            match mount() {
                Ok(()) => return Ok(()),
                Err(_) if self.find(name)?.is_some_and(|listed| listed.mounted) => return Ok(()),
                Err(_) => std::thread::sleep(MOUNT_PAUSE),
            }
        }
        mount()
    }

    /// Where one file system is mounted; mounts it if need be.
    pub(super) fn mounted(&self, name: &DatasetName) -> Result<PathBuf> {
        self.ensure_mounted(name)?;
        let full = self.full(name)?;
        let listed = self.find(name)?.ok_or_else(|| Self::missing(&full))?;
        mounted_directory(&listed)?.ok_or_else(|| Error::NotMounted(format!("dataset {full}")))
    }

    pub(super) fn rename_created(
        &self,
        created: Created,
        to: &DatasetName,
    ) -> std::result::Result<Created, Kept<Created>> {
        let rename = || {
            created.check(&self.root)?;
            let (old, new) = (self.full(&created.dataset)?, self.full(to)?);
            self.check_free(to)?;
            let mut before: Vec<_> =
                self.find_all(&created.dataset)?.into_iter().filter(|listed| listed.mounted).collect();
            match tool::run(["rename", old.as_str(), new.as_str()]) {
                Err(Error::Busy { .. }) => {
                    before.extend(self.own_clones_of(&old)?);
                    self.rename_unmounted(&before, &old, &new)?;
                }
                // It mounts again what it has renamed, and may fail at that, or be killed.
                Err(error) if !is_renamed(&old, &new)? => return Err(error),
                _ => {}
            }
            Ok(before)
        };
        let before = match rename() {
            Ok(before) => before,
            Err(error) => return Err(Kept { token: created, error }),
        };
        let renamed = Created::new(&self.root, to.clone());
        match self.remount(&before, &created.dataset, to) {
            Ok(()) => Ok(renamed),
            Err(error) => Err(Kept { token: renamed, error }),
        }
    }

    /// What is mounted among the datasets of remand's own that are clones of snapshots of `full` or below it.
    fn own_clones_of(&self, full: &str) -> Result<Vec<Listed>> {
        let state = DatasetName::new(state::STATE)?;
        let all = if self.find(&state)?.is_some() { self.find_all(&state)? } else { Vec::new() };
        let is_of = |origin: &str| origin.strip_prefix(full).is_some_and(|rest| rest.starts_with(['@', '/']));
        Ok(all.into_iter().filter(|it| it.mounted && it.origin.as_deref().is_some_and(is_of)).collect())
    }

    /// zfs-fuse lets go of a file system some time after it was unmounted, so that `zfs rename`, which unmounts and goes on at
    /// once, finds it busy: done step by step there is time to wait in between. And a dataset may be busy there for as long as a
    /// clone of what is in it is mounted.
    fn rename_unmounted(&self, mounted: &[Listed], old: &str, new: &str) -> Result<()> {
        let unmount = || {
            for listed in mounted.iter().rev() {
                if list_one(&listed.name)?.is_some_and(|now| now.mounted) {
                    tool::run_patiently(["unmount", listed.name.as_str()])?;
                }
            }
            match tool::run_patiently(["rename", old, new]) {
                Err(error) if !is_renamed(old, new)? => Err(error),
                _ => Ok(()),
            }
        };
        unmount().map_err(|error| {
            let undo =
                name::relative(&self.root, old).map_or(Ok(()), |name| self.remount(mounted, &name, &name));
            error.with_undo(format!("the unmounted state of {old}"), undo)
        })
    }

    /// Mounts what was mounted before a rename, where it did not come back by itself.
    fn remount(&self, before: &[Listed], old: &DatasetName, new: &DatasetName) -> Result<()> {
        for listed in before {
            let Some(name) = name::relative(&self.root, &listed.name) else { continue };
            let now = match name.below(old) {
                Some(below) => new.join(below)?,
                None if name == *old => new.clone(),
                None => name,
            };
            self.mount_one(&now, now != *new)?;
        }
        Ok(())
    }

    /// Mounts a dataset and all below it, after lifting what was overridden at receiving. Left alone are those that their
    /// properties keep from being mounted, and encrypted ones whose key is not loaded.
    pub(super) fn mount_all(&self, name: &DatasetName) -> Result<()> {
        let full = self.full(name)?;
        Self::lift_overrides(&full)?;
        // Where there is no encryption, any column does in place of the key's.
        let key = if Self::has_encryption(&full)? { "keystatus" } else { "type" };
        let columns = format!("name,type,canmount,mounted,mountpoint,{key}");
        let wanted = ["list", "-H", "-r", "-t", "filesystem,volume", "-o", &columns, full.as_str()];
        let text = tool::list(&full, wanted)?.ok_or_else(|| Self::missing(&full))?;
        let mut rows = parse::columns::<6>(&text).map_err(tool::unclear("zfs list"))?;
        rows.sort_by_key(|row| row[0]);
        // Where the uppermost one is mounted.
        let mut top = None;
        for [dataset, kind, can_mount, mounted, mountpoint, key] in rows {
            if dataset == full && mounted == "yes" {
                top = Some(mountpoint);
            }
            let wanted = can_mount == "on" || can_mount == "noauto" && dataset == full;
            if kind != "filesystem" || !wanted || mounted == "yes" || key == "unavailable" {
                continue;
            }
            if let Some(name) = name::relative(&self.root, dataset) {
                // What lies in its place is of the dataset above it, and was below it before.
                let over = top.is_some_and(|top| mountpoint.strip_prefix(top) == dataset.strip_prefix(&full));
                match self.mount_one(&name, over) {
                    Ok(()) if dataset == full => top = Some(mountpoint),
                    Err(Error::NotMounted(_)) => {} // mountpoint=legacy or none: somebody else's to mount
                    other => other?,
                }
            }
        }
        Ok(())
    }

    fn lift_overrides(full: &str) -> Result<()> {
        let missing = || Self::missing(full);
        let kinds =
            tool::list(full, ["list", "-H", "-r", "-t", "filesystem,volume", "-o", "name,type", full])?;
        let kinds = kinds.ok_or_else(missing)?;
        // A dataset below shows the mark of the one above it, but as inherited.
        let marks = tool::list(full, ["get", "-H", "-r", "-o", "name,source", RECEIVED, full])?
            .ok_or_else(missing)?;
        let marks = parse::columns::<2>(&marks).map_err(tool::unclear("zfs get"))?;
        for [dataset, kind] in parse::columns::<2>(&kinds).map_err(tool::unclear("zfs list"))? {
            if marks.contains(&[dataset, "local"]) {
                if kind == "filesystem" {
                    // Back to what the stream said; `on` where it said nothing.
                    tool::run(["inherit", "-S", "canmount", dataset])?;
                }
                tool::run(["inherit", RECEIVED, dataset])?;
            }
        }
        Ok(())
    }

    /// Destroys a dataset with all in it and below it. Absent is success.
    pub(super) fn destroy_dataset(&self, name: &DatasetName) -> Result<()> {
        let full = self.full(name)?;
        if name.parent().is_none() {
            return Err(Error::NotLeftover(full));
        }
        if self.find(name)?.is_none() {
            return Ok(());
        }
        tool::run_patiently(["destroy", "-r", full.as_str()]).map(drop)
    }

    /// Destroys a snapshot, of one dataset or of it and all below. Absent is success, and so is absent here and there.
    pub(super) fn destroy_snapshots(&self, snapshot: &Snapshot, recursive: bool) -> Result<()> {
        let full = self.full_snapshot(snapshot)?;
        let Some((dataset, suffix)) = full.split_once('@') else { return Ok(()) };
        self.engine.destroy_snapshots(dataset, suffix, recursive)
    }
}

/// Whether a rename that failed has happened all the same. The new name was free before.
fn is_renamed(old: &str, new: &str) -> Result<bool> {
    Ok(list_one(new)?.is_some() && list_one(old)?.is_none())
}

/// Fails if something is in the way of a mount: anything but nothing or an empty directory.
fn check_mountable(path: &Path) -> Result<()> {
    let fail = |source| Error::io("look into", path.display().to_string(), source);
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(fail(error)),
        Ok(data) if data.is_dir() && std::fs::read_dir(path).map_err(fail)?.next().is_none() => Ok(()),
        Ok(_) => Err(Error::Exists(path.display().to_string())),
    }
}
