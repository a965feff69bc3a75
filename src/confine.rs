//! Reading archives without the right to do harm.
//!
//! What comes from outside is decompressed, taken apart, checked and written on a thread of its own, which has given up what that does not
//! need before the first byte is read: it changes nothing but below a few directories, runs no program, and opens no TCP connection; nor
//! do the threads that it starts. Programs, and the renames by which something becomes visible, are work for a thread that is not confined
//! ([`remand_backends::outside`]), which takes no bytes of an archive.
//!
//! This is the second line of defence, by Landlock, where the kernel has it (Linux 5.19 and later). The first one is there everywhere:
//! every change is relative to a descriptor of staging, component by component and through no link, on FreeBSD with `O_RESOLVE_BENEATH`. There the
//! same descriptors would do in a Capsicum sandbox, but for ACLs of what cannot be opened (links, FIFOs, devices), which are set by a process
//! that enters the directory; nothing is taken away.
//!
//! Reading stays allowed: bases lie where the administrator has them.

#[cfg(target_os = "linux")]
#[path = "confine/linux.rs"]
mod platform;
#[cfg(not(target_os = "linux"))]
#[path = "confine/other.rs"]
mod platform;

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::pool::Pool;

/// Stack of a confined thread: that which the first thread of a process has.
const STACK_BYTES: usize = 8 << 20;

/// What a confined thread may change.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowed {
    /// Everything below these.
    trees: Vec<PathBuf>,
    /// Below these directories may come and go, and nothing else.
    directories: Vec<PathBuf>,
}

impl Allowed {
    /// Nothing.
    pub(crate) fn nothing() -> Self {
        Self::default()
    }

    /// Also everything below `path`.
    pub(crate) fn and_below(mut self, path: &Path) -> Self {
        self.trees.push(path.to_owned());
        self
    }

    /// Also temporary files, where they are needed.
    pub(crate) fn and_temporary(self, needed: bool) -> Self {
        if needed { self.and_below(&std::env::temp_dir()) } else { self }
    }

    /// Also what building in a pool takes: its state directory, where staging and records are. Elsewhere in the pool only directories
    /// come and go; in a pool that remand was never used in, which has no state directory yet, all is allowed.
    pub(crate) fn and_in(mut self, pool: &Pool) -> Result<Self> {
        let backend = pool.backend();
        let state = backend.existing_state_directory();
        let state = state.map_err(Error::backend("look for the pool's state directory"))?;
        let directory = backend.directory().to_owned();
        match state {
            Some(state) => {
                self.trees.push(state);
                self.directories.push(directory);
            }
            None => self.trees.push(directory),
        }
        Ok(self)
    }
}

/// Does `work` on a confined thread.
pub(crate) fn run<T: Send>(allowed: &Allowed, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let failed = || Error::io("start", "a thread");
    remand_backends::outside::open().map_err(failed())?;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("confined".to_owned()).stack_size(STACK_BYTES);
        let thread = thread.spawn_scoped(scope, || {
            platform::restrict(&allowed.trees, &allowed.directories);
            work()
        });
        let thread = thread.map_err(failed())?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

#[cfg(all(test, target_os = "linux"))]
mod tests;
