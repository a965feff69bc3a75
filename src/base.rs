//! Fingerprints of bases: computed once per base, kept in the pool.
//!
//! A snapshot cannot change, so its fingerprint holds as long as the backend names the same content id. A plain directory can: there a stamp (a digest
//! over inode number, ctime and size of every entry) tells whether anything was touched since. The kernel alone sets
//! ctime, so an equal stamp proves as much as a clone's equal ctime does. A stamp that was taken
//! less than two seconds after the newest change is not kept, because a change in the same tick of the clock could hide behind it.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use remand_backends::{Backend, SnapshotName};
use serde::{Deserialize, Serialize};

use crate::archive::Digest;
use crate::change::{self, Choice, Fingerprint, Kinship, Scope, Stamp};
use crate::error::{Error, Result};
use crate::resource::Base;
use crate::run;
use crate::tree::Tree;

#[derive(Serialize, Deserialize)]
struct Kept {
    dataset: String,
    snapshot: Option<String>,
    content_id: Option<String>,
    stamp: Option<Digest>,
    fingerprint: Fingerprint,
}

/// What proves that a kept fingerprint still holds.
pub(crate) struct Proof {
    guid: Option<String>,
    content_id: Option<String>,
    stamp: Option<Stamp>,
    taken_seconds: i64,
}

/// A base, open for reading, with its place in the pool's cache.
pub(crate) struct OpenBase<'a> {
    /// Its file in the cache; none where nothing may be made.
    path: Option<PathBuf>,
    base: &'a Base,
    tree: &'a Tree,
    proof: Proof,
}

impl<'a> OpenBase<'a> {
    /// Looks up what identifies the base now. Without a state directory nothing is kept.
    pub(crate) fn new(
        backend: &dyn Backend,
        state: Option<&Path>,
        base: &'a Base,
        tree: &'a Tree,
        interrupted: &AtomicBool,
    ) -> Result<Self> {
        let path = match state {
            None => None,
            Some(state) => {
                let directory = state.join("fingerprints");
                run::make_private_directory(&directory)?;
                let snapshot = base.snapshot.name.as_ref().map_or("", SnapshotName::as_str);
                let label = format!("{}@{snapshot}", base.snapshot.dataset.as_str());
                let name = Digest::of(label.as_bytes()).to_string().replace("blake3:", "");
                Some(directory.join(&name[..32]))
            }
        };
        let taken_seconds = jiff::Timestamp::now().as_second();
        let (guid, content_id) = identity(backend, base)?;
        let frozen = base.snapshot.name.is_some() || content_id.is_some();
        let stamp = if frozen {
            None
        } else {
            Some(change::stamp_of_tree(tree, Scope { exclude: &[], interrupted })?)
        };
        Ok(Self { path, base, tree, proof: Proof { guid, content_id, stamp, taken_seconds } })
    }

    /// Identity of the base's snapshot, where it has one.
    pub(crate) fn guid(&self) -> Option<&str> {
        self.proof.guid.as_deref()
    }

    /// The fingerprint, if it is known and still holds.
    pub(crate) fn known(&self) -> Option<Fingerprint> {
        // Whatever is wrong with the cache, the base itself can be read instead.
        let kept: Kept = serde_json::from_slice(&std::fs::read(self.path.as_ref()?).ok()?).ok()?;
        let same_name = kept.dataset == self.base.snapshot.dataset.as_str()
            && kept.snapshot.as_deref() == self.base.snapshot.name.as_ref().map(SnapshotName::as_str);
        let holds = match &self.proof.stamp {
            None => self.proof.content_id.is_some() && kept.content_id == self.proof.content_id,
            Some(stamp) => Some(stamp.digest) == kept.stamp,
        };
        (same_name && holds).then_some(kept.fingerprint)
    }

    /// Reads the whole base for its fingerprint, and keeps it.
    pub(crate) fn compute(
        &self,
        interrupted: &AtomicBool,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Fingerprint> {
        if let Some(known) = self.known() {
            return Ok(known);
        }
        let fingerprint = change::fingerprint_of_tree(self.tree, 0, &[], interrupted, progress)?;
        self.keep(&fingerprint)?;
        Ok(fingerprint)
    }

    /// Keeps a fingerprint that was computed on the way.
    pub(crate) fn keep(&self, fingerprint: &Fingerprint) -> Result<()> {
        let settled = match &self.proof.stamp {
            None => self.proof.content_id.is_some(),
            Some(stamp) => stamp.newest_ctime.seconds + 2 <= self.proof.taken_seconds,
        };
        let Some(path) = self.path.as_ref().filter(|_| settled) else { return Ok(()) };
        let kept = Kept {
            dataset: self.base.snapshot.dataset.as_str().to_owned(),
            snapshot: self.base.snapshot.name.as_ref().map(|name| name.as_str().to_owned()),
            content_id: self.proof.content_id.clone(),
            stamp: self.proof.stamp.as_ref().map(|stamp| stamp.digest),
            fingerprint: fingerprint.clone(),
        };
        let failed = |error: std::io::Error| Error::io("write", path.display())(error);
        let directory = path.parent().expect("the cache is a directory");
        let mut file = tempfile::NamedTempFile::new_in(directory).map_err(failed)?;
        serde_json::to_writer(&mut file, &kept).map_err(|error| failed(error.into()))?;
        file.persist(path).map_err(|error| failed(error.error))?;
        Ok(())
    }
}

/// The GUID of the base's snapshot, and what its content is known by.
fn identity(backend: &dyn Backend, base: &Base) -> Result<(Option<String>, Option<String>)> {
    let info = backend
        .snapshot_info(&base.snapshot)
        .map_err(Error::backend(format!("look at the snapshots of {}", base.snapshot.dataset.as_str())))?;
    Ok(info.map_or((None, None), |info| (info.guid, info.content_id)))
}

/// Which engine finds what differs from `base`: the one that was asked for, if it is safe for this base, else the
/// cheapest that is. `native` says that the root will be read from a snapshot, and its backend knows what differs between two.
pub(crate) fn choose(base: Option<&Base>, asked: Option<&str>, native: bool) -> Result<Choice> {
    let parted_seconds = base.and_then(|base| base.parted_seconds);
    let native = native && parted_seconds.is_some();
    let Some(name) = asked else { return Ok(Choice::cheapest(Kinship { parted_seconds, native })) };
    let choice = Choice::named(name, parted_seconds).ok_or_else(|| {
        Error::Usage(format!("There is no engine {name}; there are snapshot, lineage, content and rsync"))
    })?;
    let refused = match choice {
        Choice::Lineage(None) => "The lineage engine needs a root that is a clone of its base",
        Choice::Snapshot(None) => "The snapshot engine needs a root that is a clone of its base",
        Choice::Snapshot(_) if !native => {
            "The snapshot engine needs a snapshot of the root, which only an export makes, and storage that can list changes"
        }
        _ => return Ok(choice),
    };
    let other = if parted_seconds.is_some() { "lineage" } else { "content" };
    Err(Error::Usage(format!("{refused}; use --engine {other}")))
}
