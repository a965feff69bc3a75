//! The state dataset, and what interrupted runs left.

use super::{RUN, Zfs, name, tool};
use crate::{Backend, DatasetName, Error, Leftover, Result, Snapshot};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// Name of the state dataset in the pool.
pub(super) const STATE: &str = ".remand";
/// What it always holds: datasets of their own.
const PARTS: [&str; 2] = ["staging", "views"];
/// On the state dataset: that it is remand's.
const MARK: &str = "org.remand:state";

fn state() -> Result<DatasetName> {
    Ok(DatasetName::new(STATE)?)
}

pub(super) fn make(pool: &Zfs) -> Result<PathBuf> {
    let name = state()?;
    make_one(pool, &name)?;
    for part in PARTS {
        make_one(pool, &name.join(part)?)?;
    }
    pool.mounted(&name)
}

/// Another run may be doing the same: whoever comes second finds it there.
fn make_one(pool: &Zfs, name: &DatasetName) -> Result<()> {
    let full = pool.full(name)?;
    if pool.find(name)?.is_none() {
        let mark = format!("{MARK}=yes");
        // What is staged must be writable and must not be offered to other hosts, whatever the pool's own settings.
        let own = ["readonly=off", "sharenfs=off", "sharesmb=off", "canmount=on", mark.as_str()];
        let options = own.iter().flat_map(|option| ["-o", option]);
        let arguments = ["create"].into_iter().chain(options).chain([full.as_str()]);
        // Whatever went wrong: it is there, and then it is checked below, or it is not.
        if let Err(error) = pool.check_free(name).and_then(|()| tool::run(arguments))
            && pool.find(name)?.is_none()
        {
            return Err(error);
        }
    }
    check_ours(&full)?;
    let directory = pool.mounted(name)?;
    std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(0o700))
        .map_err(|source| Error::io("protect", directory.display().to_string(), source))
}

/// A dataset exists for a moment before the properties are there that it is created with: another run may be that far.
fn check_ours(full: &str) -> Result<()> {
    const TRIES: u32 = 20;
    for _ in 0..TRIES {
        match Zfs::property(full, MARK)?.as_deref() {
            Some("yes") => return Ok(()),
            Some(_) => break,
            None => std::thread::sleep(std::time::Duration::from_millis(50)),
        }
    }
    Err(Error::Exists(format!("{full}, which is not remand's because {MARK} is not yes,")))
}

pub(super) fn existing(pool: &Zfs) -> Result<Option<PathBuf>> {
    let name = state()?;
    if pool.find(&name)?.is_none() {
        return Ok(None);
    }
    check_ours(&pool.full(&name)?)?;
    pool.mounted(&name).map(Some)
}

pub(super) fn leftovers(pool: &Zfs) -> Result<Vec<Leftover>> {
    let name = state()?;
    let mut found = Vec::new();
    // Views first: they are clones, and keep the others' snapshots from being destroyed.
    for part in PARTS.iter().rev() {
        let above = name.join(part)?;
        if pool.find(&above)?.is_some() {
            let below = pool.descendants(&above)?.into_iter().map(|dataset| dataset.name);
            let direct = below.filter(|name| name.parent().as_ref() == Some(&above));
            found.extend(direct.map(Leftover::Dataset));
        }
    }
    let mut last: Option<Snapshot> = None;
    for snapshot in marked(pool)? {
        // Those in the state dataset go with their datasets; those below one that is listed, with that.
        let in_state = snapshot.dataset == name || snapshot.dataset.below(&name).is_some();
        let below_last = last.as_ref().is_some_and(|last| {
            last.name == snapshot.name && snapshot.dataset.below(&last.dataset).is_some()
        });
        if !in_state && !below_last {
            last = Some(snapshot.clone());
            found.push(Leftover::Snapshot(snapshot));
        }
    }
    Ok(found)
}

/// Snapshots with remand's name and mark, those of one run together, parents first.
fn marked(pool: &Zfs) -> Result<Vec<Snapshot>> {
    let columns = format!("name,{RUN}");
    // With the datasets, so that there is something to list.
    let kinds = "filesystem,volume,snapshot";
    let text = tool::list(&pool.root, ["list", "-H", "-r", "-t", kinds, "-o", &columns, pool.root.as_str()])?
        .ok_or_else(|| Zfs::missing(&pool.root))?;
    let mut found: Vec<_> = text
        .lines()
        .filter_map(|line| {
            let (full, run) = line.split_once('\t')?;
            let snapshot = name::relative_snapshot(&pool.root, full)?;
            let name = snapshot.name.as_ref()?;
            (name.is_remand() && name.as_str() == run).then_some(snapshot)
        })
        .collect();
    found.sort_by(|a, b| (&a.name, &a.dataset).cmp(&(&b.name, &b.dataset)));
    Ok(found)
}

pub(super) fn destroy_leftover(pool: &Zfs, leftover: &Leftover) -> Result<()> {
    match leftover {
        Leftover::Dataset(name) => match name.components().collect::<Vec<_>>()[..] {
            [STATE, part, _] if PARTS.contains(&part) => pool.destroy_dataset(name),
            _ => Err(Error::NotLeftover(pool.full(name)?)),
        },
        Leftover::Snapshot(snapshot) => {
            let full = pool.full_snapshot(snapshot)?;
            let own = snapshot.name.as_ref().filter(|name| name.is_remand());
            let marked = Zfs::property(&full, RUN)?;
            match (own, marked) {
                (Some(name), Some(run)) if run == name.as_str() => pool.destroy_snapshots(snapshot, true),
                (Some(_), None) if tool::ask(&full, ["list", "-H", "-o", "name", &full])?.is_none() => Ok(()),
                _ => Err(Error::NotLeftover(full)),
            }
        }
    }
}
