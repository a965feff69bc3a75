//! Damage, at every place of an archive, and what follows: it is always found, and nothing is left behind.
//!
//! By default a share of all cases is tried, in about a minute; with `REMAND_TEST_DAMAGE=full` every one. Which share is fixed, so a
//! failure comes again. What changes nothing is not passed over: [`harmless`] must name a reason, and what a reader sees must be the same.

// Names of archives are the tests' own.
#![allow(clippy::case_sensitive_file_extension_comparisons, clippy::type_complexity)]

#[path = "../support/mod.rs"]
mod support;

mod bits;
mod cuts;
mod directories;
mod harmless;
mod index;
mod members;
mod salvage;
mod sight;
mod tables;

use std::path::{Path, PathBuf};

use support::Scratch;
use support::pool::{Place, Pool, Size};
use support::run::{export, remand};

/// Of so many cases one is tried, unless all are.
fn share(of: usize) -> usize {
    if std::env::var("REMAND_TEST_DAMAGE").is_ok_and(|value| value == "full") { 1 } else { of }
}

/// A jail, archives of it, and a pool to restore them in.
struct Archives {
    scratch: Scratch,
    source: Pool,
    target: Pool,
}

impl Archives {
    fn new() -> Self {
        Self::of(&Place::dir(), Size::Small)
    }

    fn of(place: &Place, size: Size) -> Self {
        let source = Pool::with_jail(place, size);
        Self { scratch: Scratch::new(), source, target: Pool::with_release(place, size) }
    }

    fn export(&self, name: &str, options: &[&str]) -> PathBuf {
        let path = self.scratch.join(name);
        export(&self.source, "web01", &path, options);
        path
    }

    /// An archive's bytes.
    fn bytes(&self, name: &str, options: &[&str]) -> Vec<u8> {
        std::fs::read(self.export(name, options)).expect("an archive")
    }

    /// The program finds the damage.
    #[track_caller]
    fn is_found(archive: &Path, what: &str) {
        let ended = remand(["verify"]).arg(archive).end();
        assert!([22, 23].contains(&ended.status), "{what}: {}", ended.describe());
    }

    /// Restore finds it, too, and undoes what it did. What hits the manifest may look like another base before the seal tells better.
    #[track_caller]
    fn is_undone(&self, archive: &Path, what: &str) {
        let ended = remand(["restore"]).on(&self.target).arg(archive).end();
        assert!([20, 21, 22, 23].contains(&ended.status), "{what}: {}", ended.describe());
        assert_eq!((self.target.jails(), self.target.remains()), (vec![], vec![]), "{what}");
    }

    /// The same for bytes.
    #[track_caller]
    fn bytes_are_undone(&self, bytes: &[u8], what: &str) {
        let path = self.scratch.join("damaged.tar");
        std::fs::write(&path, bytes).expect("an archive");
        self.is_undone(&path, what);
    }
}
