//! Signals: the first asks the operation to stop and undo, a second SIGINT ends the process at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

use super::failure::INTERRUPTED;

/// Lets SIGINT, SIGTERM and SIGHUP set the flag.
///
/// SIGPIPE stays ignored, as Rust's runtime leaves it: a reader that went away is an error of the write, which an
/// export undoes.
pub(crate) fn watch(interrupted: &Arc<AtomicBool>) -> io::Result<()> {
    // Handlers run in the order of their registration: the first signal finds the flag still false.
    flag::register_conditional_shutdown(SIGINT, i32::from(INTERRUPTED), Arc::clone(interrupted))?;
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register(signal, Arc::clone(interrupted))?;
    }
    Ok(())
}
