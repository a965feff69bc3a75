//! Compares by rsync(1), for those who trust it more than us.
//!
//! rsync runs as `rsync --dry-run --checksum --delete -aHAXSx` from the tree to its base, both only read, and lists
//! what it would change. **What rsync decides:** content, xattrs and ACLs of regular files. **What is added**, because
//! rsync does not see it or not always, by a walk that reads no content: names that only one tree has; whatever is
//! neither a regular file nor a directory, and directories (comparing these reads no content either); all names of
//! entries with several names, since rsync does not tell when names no longer share an entry; files whose flags,
//! permission bits, owner or times differ. So with this engine, too, nothing is lost.
//!
//! rsync works with whole paths, so where these are longer than the system's limit it fails, and with it the
//! comparison.

mod parse;
mod run;

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;

pub(crate) use self::parse::{Line, line};
use super::{Candidate, DirectoryPair, Engine, Error, Proof, Result, Scope, Trees, walk};
use crate::tree::path::printable;
use crate::tree::{Dir, Kind, Stat, Tree};

const PROGRAM: &str = "rsync";

/// Longer paths cannot be handed to the system whole: `PATH_MAX` of Linux, and FreeBSD's is smaller.
const MAX_PATH_BYTES: usize = if cfg!(target_os = "linux") { 4095 } else { 1023 };

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rsync;

impl Engine for Rsync {
    fn name(&self) -> &'static str {
        "rsync"
    }

    fn proof(&self) -> Proof {
        Proof::Bytes
    }

    fn visits_everything(&self) -> bool {
        false
    }

    fn candidates(
        &self,
        trees: Trees<'_>,
        scope: Scope<'_>,
        emit: &mut dyn FnMut(DirectoryPair) -> bool,
    ) -> Result<Option<String>> {
        let Some(base) = trees.base else {
            return walk::merged(None, Some(trees.now), scope, emit).map(|()| None);
        };
        let listed = match listed(base, trees.now, scope) {
            Err(error @ Error::Program { .. }) => {
                reachable(base, trees.now, scope)?;
                return Err(error);
            }
            listed => listed?,
        };
        let mut failure = None;
        walk::merged(Some(base), Some(trees.now), scope, &mut |mut pair| {
            match candidates_of(&pair, &listed) {
                Ok(names) => pair.names = names,
                Err(error) => {
                    failure = Some(error);
                    return false;
                }
            }
            pair.names.is_empty() || emit(pair)
        })?;
        failure.map_or(Ok(None), Err)
    }
}

/// Paths that rsync names.
pub(super) fn listed(base: &Tree, now: &Tree, scope: Scope<'_>) -> Result<HashSet<Vec<u8>>> {
    let path = |tree: &Tree| tree.location().map(ToOwned::to_owned).ok_or(Error::NoPath { program: PROGRAM });
    let mut listed = HashSet::new();
    let mut unknown = None;
    run::rsync(&path(now)?, &path(base)?, scope, &mut |line| {
        match self::line(line) {
            Some(Line::Differs(path) | Line::Deleted(path)) => _ = listed.insert(path),
            Some(Line::Remark) => {}
            // If rsync fails, its own complaint says more.
            None => _ = unknown.get_or_insert_with(|| printable(line)),
        }
        Ok(())
    })?;
    unknown.map_or(Ok(listed), |line| Err(Error::Output { program: PROGRAM, line }))
}

/// Fails where a path is too long for rsync, naming it.
fn reachable(base: &Tree, now: &Tree, scope: Scope<'_>) -> Result<()> {
    let length = |tree: &Tree| tree.location().map_or(0, |path| path.as_os_str().as_bytes().len());
    let root = length(base).max(length(now));
    let mut unreachable = None;
    walk::merged(Some(base), Some(now), scope, &mut |pair| {
        let longest = pair.names.iter().map(|candidate| candidate.name.len()).max().unwrap_or(0);
        if root + pair.path.as_bytes().len() + longest + 2 > MAX_PATH_BYTES {
            unreachable = Some(pair.path);
            return false;
        }
        true
    })?;
    match unreachable {
        Some(path) => Err(Error::TooLong { program: PROGRAM, path: path.to_string() }),
        None => Ok(()),
    }
}

fn candidates_of(pair: &DirectoryPair, listed: &HashSet<Vec<u8>>) -> Result<Vec<Candidate>> {
    let (Some(base), Some(now)) = (&pair.base, &pair.now) else { return Ok(pair.names.clone()) };
    let mut names = Vec::new();
    for candidate in &pair.names {
        let name = &candidate.name[..];
        if listed.contains(pair.path.join(name).as_bytes())
            || seen_to_differ(base, now, name).map_err(Error::Tree)?
        {
            names.push(candidate.clone());
        }
    }
    Ok(names)
}

/// Whether a name must be compared even if rsync does not list it.
fn seen_to_differ(base: &Dir, now: &Dir, name: &[u8]) -> crate::tree::Result<bool> {
    let (Some(old), Some(new)) = (base.stat(name)?, now.stat(name)?) else { return Ok(true) };
    let plain = |stat: &Stat| stat.kind == Kind::File && stat.identity.links == 1 && !stat.mount_point;
    if !plain(&old) || !plain(&new) {
        return Ok(true);
    }
    if (old.size, old.mode, old.uid, old.gid, old.mtime) != (new.size, new.mode, new.uid, new.gid, new.mtime)
    {
        return Ok(true);
    }
    let flags = |dir: &Dir, stat| Ok(dir.node(name, stat)?.map(|node| node.entry.flags));
    Ok(flags(base, &old)? != flags(now, &new)?)
}
