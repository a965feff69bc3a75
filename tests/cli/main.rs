//! The command line, seen from outside: output, standard error and exit status.

#[path = "../support/mod.rs"]
mod support;

mod commands;
mod export;
mod json;
mod memory;
mod merge;
mod others;
mod parts;
mod periodic;
mod port;
mod records;
mod restore;
mod statuses;

use support::Scratch;
use support::pool::{Place, Pool, Size};

/// A pool with a small jail, and a directory for archives.
fn small() -> (Scratch, Pool) {
    (Scratch::new(), Pool::with_jail(&Place::dir(), Size::Small))
}

/// A pool that has the release, and no jail.
fn target() -> Pool {
    Pool::with_release(&Place::dir(), Size::Small)
}
