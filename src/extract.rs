//! Single files and subtrees out of an archive, without restoring the resource.
//!
//! What a differential archive leaves to the base is taken from there, if the base is in a pool and holds what the archive was made against.
//! A subtree is built in a hidden directory `.remand-…` of the directory that it is for, and renamed when it is proven; a
//! failure leaves nothing, a crash that hidden directory. Nothing that exists is overwritten, and no link is followed.

mod base;
mod cat;
mod staged;
mod subtree;
mod survey;
mod work;

use std::path::PathBuf;

pub use cat::{Cat, cat};
pub use subtree::extract;

use crate::confine::Allowed;
use crate::error::Result;
use crate::pool::Pool;

/// Finds the pool: once before the archive is read, and when the base is needed. That there is none matters only then.
pub type FindPool<'a> = &'a (dyn Fn() -> Result<Pool> + Sync);

/// What a base takes to be read: a clone of it may have to be made in the pool. Where there is no pool it is told when it is needed.
fn allowed(pool: FindPool<'_>) -> Result<Allowed> {
    match pool() {
        Ok(pool) => Allowed::nothing().and_in(&pool),
        Err(_) => Ok(Allowed::nothing()),
    }
}

/// What an extraction did.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was extracted, as in `web01:/etc`.
    pub part: String,
    /// Where it is now.
    pub place: PathBuf,
    /// Entries that came out of the archive.
    pub entries: u64,
    /// Label of the base that the unchanged ones are from.
    pub base: Option<String>,
    /// Warnings that were given.
    pub warnings: u64,
}

#[cfg(test)]
mod tests;
