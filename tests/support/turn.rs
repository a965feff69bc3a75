//! One test after the other on zfs-fuse: that is a single process, and can wait for itself for ever when two datasets are made at once.

use std::cell::RefCell;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

static TURN: Mutex<()> = Mutex::new(());

thread_local! {
    static HELD: RefCell<Option<MutexGuard<'static, ()>>> = const { RefCell::new(None) };
}

/// Waits until no other test uses ZFS; from then on this thread alone does, until it ends, as each test's thread does. With a kernel's
/// ZFS nobody waits.
pub(crate) fn take() {
    if Path::new("/dev/zfs").exists() {
        return;
    }
    HELD.with_borrow_mut(|held| {
        held.get_or_insert_with(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
    });
}
