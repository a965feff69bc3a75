//! What is known of the content of entries that have several names, so that each is read once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::archive::Digest;
use crate::change::links::Inode;

/// What is known of one inode of the base.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Digest of its content.
    pub(super) digest: Option<Digest>,
    /// Whether its content equals that of an inode of the other tree.
    pub(super) equal: HashMap<Inode, bool>,
}

/// A slot for each multiply linked inode of the base. Whoever reads the content holds the slot's lock, so others that
/// meet the inode meanwhile wait for the result instead of reading too.
#[derive(Debug, Default)]
pub(super) struct Cache(Mutex<HashMap<Inode, Arc<Mutex<Known>>>>);

impl Cache {
    pub(super) fn slot(&self, inode: Inode) -> Arc<Mutex<Known>> {
        Arc::clone(lock(&self.0).entry(inode).or_default())
    }
}

/// A panic of another thread ends the comparison anyway; until then its half-done work does no harm.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
