//! Files that have names in several resources: hard links across them, which only plain directories can have.
//!
//! A look at all trees before anything is written finds them. The first resource of the archive that writes such a file carries its
//! content, and always the whole of it; the names in later resources become links to that member. Resources are read side by side, so
//! a later one waits until the earlier ones have said where the file is, or are done. None waits for a later one.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use crate::archive::MemberName;
use crate::change::{Scope, walk};
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::resource::Resource;
use crate::tree::{self, Identity, Kind, Tree};

type Inode = (u64, u64);

/// What is known of them during one export.
#[derive(Debug, Default)]
pub(crate) struct SharedFiles {
    /// The resources that have names of a file, ascending, by its inode.
    owners: HashMap<Inode, Vec<u32>>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Where the archive has a file.
    members: HashMap<Inode, (u32, MemberName)>,
    /// Resources that write nothing any more.
    done: HashSet<u32>,
}

fn inode(identity: &Identity) -> Inode {
    (identity.device, identity.inode)
}

impl SharedFiles {
    /// Looks for files with names in several of `resources`.
    pub(crate) fn find(pool: &Pool, resources: &[&Resource], interrupted: &AtomicBool) -> Result<Self> {
        let mut this = Self::default();
        if pool.backend().capabilities().consistent_while_running || resources.len() < 2 {
            return Ok(this);
        }
        let mut first: HashMap<Inode, u32> = HashMap::new();
        for (number, resource) in (0..).zip(resources) {
            let failed = || Error::tree(format!("read the {}", resource.label()));
            let tree = Tree::open(&resource.directory).map_err(failed())?;
            let mut failure = None;
            let scope = Scope { exclude: &[], interrupted };
            walk::merged(Some(&tree), None, scope, &mut |pair| {
                let Some(dir) = &pair.base else { return true };
                let mut look = |name: &[u8]| -> tree::Result<()> {
                    let linked = |stat: &tree::Stat| stat.kind != Kind::Directory && stat.identity.links > 1;
                    let Some(stat) = dir.stat(name)?.filter(linked) else { return Ok(()) };
                    let inode = inode(&stat.identity);
                    let owner = *first.entry(inode).or_insert(number);
                    if owner != number {
                        let owners = this.owners.entry(inode).or_insert_with(|| vec![owner]);
                        if owners.last() != Some(&number) {
                            owners.push(number);
                        }
                    }
                    Ok(())
                };
                failure = pair.names.iter().find_map(|candidate| look(&candidate.name).err());
                failure.is_none()
            })?;
            if let Some(error) = failure {
                return Err(failed()(error));
            }
        }
        Ok(this)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether several resources have names of the file.
    pub(crate) fn has(&self, identity: &Identity) -> bool {
        self.owners.contains_key(&inode(identity))
    }

    /// The resources after `resource` that have names of the file.
    pub(crate) fn after(&self, resource: u32, identity: &Identity) -> Vec<u32> {
        let owners = self.owners.get(&inode(identity)).map_or(&[][..], Vec::as_slice);
        owners.iter().copied().filter(|owner| *owner > resource).collect()
    }

    /// Where an earlier resource than `resource` has written the file, if any has. Waits until that is known.
    pub(crate) fn written_before(&self, resource: u32, identity: &Identity) -> Option<MemberName> {
        let owners = self.owners.get(&inode(identity))?;
        let mut state = self.state();
        loop {
            match state.members.get(&inode(identity)) {
                Some((owner, name)) if *owner < resource => return Some(name.clone()),
                _ if owners.iter().all(|owner| *owner >= resource || state.done.contains(owner)) => {
                    return None;
                }
                _ => state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// The file has been written, whole.
    pub(crate) fn written(&self, resource: u32, identity: &Identity, name: &MemberName) {
        if self.has(identity) {
            self.state().members.entry(inode(identity)).or_insert_with(|| (resource, name.clone()));
            self.changed.notify_all();
        }
    }

    /// A resource writes nothing any more. Each says so, however it ends.
    pub(crate) fn done(&self, resource: u32) {
        self.state().done.insert(resource);
        self.changed.notify_all();
    }
}
