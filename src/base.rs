//! Fingerprints of bases: computed once per base, kept in the pool.
//!
//! A snapshot cannot change, so its fingerprint holds as long as the backend names the same content id. A plain directory can: there a stamp (a digest
//! over inode number, ctime and size of every entry) tells whether anything was touched since. The kernel alone sets
//! ctime, so an equal stamp proves as much as a clone's equal ctime does. A stamp that is not
//! [settled](Stamp::is_settled) is not kept. An export takes it from the looks at the base that its comparison makes anyway.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use remand_backends::{Backend, NativeDiff, SnapshotName};
use serde::{Deserialize, Serialize};

use crate::archive::Digest;
use crate::change::{self, Choice, Fingerprint, Kinship, Scope, Stamp};
use crate::draft;
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

/// A base, open for reading, with its place in the pool's cache.
pub(crate) struct OpenBase<'a> {
    /// Its file in the cache; none where nothing may be made.
    path: Option<PathBuf>,
    base: &'a Base,
    tree: &'a Tree,
    guid: Option<String>,
    content_id: Option<String>,
}

/// A fingerprint from the cache.
pub(crate) struct Known {
    pub(crate) fingerprint: Fingerprint,
    /// It holds if this is the base's stamp. Of a base that cannot change there is none.
    pub(crate) holds_with: Option<Digest>,
}

impl<'a> OpenBase<'a> {
    /// Looks up what identifies the base now. Without a state directory nothing is kept.
    pub(crate) fn new(
        backend: &dyn Backend,
        state: Option<&Path>,
        base: &'a Base,
        tree: &'a Tree,
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
        let (guid, content_id) = identity(backend, base)?;
        Ok(Self { path, base, tree, guid, content_id })
    }

    /// Identity of the base's snapshot, where it has one.
    pub(crate) fn guid(&self) -> Option<&str> {
        self.guid.as_deref()
    }

    /// Whether it can change, and only a stamp proves that it has not.
    pub(crate) fn is_live(&self) -> bool {
        self.base.snapshot.name.is_none() && self.content_id.is_none()
    }

    /// The fingerprint, if it was kept.
    pub(crate) fn kept(&self) -> Option<Known> {
        // Whatever is wrong with the cache, the base itself can be read instead.
        let kept: Kept = serde_json::from_slice(&std::fs::read(self.path.as_ref()?).ok()?).ok()?;
        let same_name = kept.dataset == self.base.snapshot.dataset.as_str()
            && kept.snapshot.as_deref() == self.base.snapshot.name.as_ref().map(SnapshotName::as_str);
        let (may_hold, holds_with) = if self.is_live() {
            (kept.stamp.is_some(), kept.stamp)
        } else {
            (self.content_id.is_some() && kept.content_id == self.content_id, None)
        };
        (same_name && may_hold).then_some(Known { fingerprint: kept.fingerprint, holds_with })
    }

    /// The fingerprint: the one that was kept, if it still holds, else the whole base is read for it.
    pub(crate) fn compute(
        &self,
        interrupted: &AtomicBool,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Fingerprint> {
        // Before the base is read, so that what changes meanwhile has another one.
        let stamp = if self.is_live() {
            Some(change::stamp_of_tree(self.tree, Scope { exclude: &[], interrupted })?)
        } else {
            None
        };
        let now = stamp.as_ref().map(|stamp| stamp.digest);
        if let Some(known) = self.kept().filter(|known| known.holds_with == now) {
            return Ok(known.fingerprint);
        }
        let fingerprint = change::fingerprint_of_tree(self.tree, 0, &[], interrupted, progress)?;
        self.keep(&fingerprint, stamp.as_ref())?;
        Ok(fingerprint)
    }

    /// Keeps a fingerprint, of a base that can change with the stamp of what it was computed from.
    pub(crate) fn keep(&self, fingerprint: &Fingerprint, stamp: Option<&Stamp>) -> Result<()> {
        let settled =
            if self.is_live() { stamp.is_some_and(Stamp::is_settled) } else { self.content_id.is_some() };
        let Some(path) = self.path.as_ref().filter(|_| settled) else { return Ok(()) };
        let kept = Kept {
            dataset: self.base.snapshot.dataset.as_str().to_owned(),
            snapshot: self.base.snapshot.name.as_ref().map(|name| name.as_str().to_owned()),
            content_id: self.content_id.clone(),
            stamp: stamp.filter(|_| self.is_live()).map(|stamp| stamp.digest),
            fingerprint: fingerprint.clone(),
        };
        let failed = |error: std::io::Error| Error::io("write", path.display())(error);
        let fill = |file: &mut std::fs::File| {
            let mut file = std::io::BufWriter::new(file);
            serde_json::to_writer(&mut file, &kept)?;
            std::io::Write::flush(&mut file)
        };
        draft::write(path, fill, |_, draft| std::fs::rename(draft, path)).map_err(failed)
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
/// cheapest that is. `native` knows what differs between two snapshots, and is there if the root will be read from one.
pub(crate) fn choose(
    base: Option<&Base>,
    asked: Option<&str>,
    native: Option<&dyn NativeDiff>,
) -> Result<Choice> {
    let parted_seconds = base.and_then(|base| base.parted_seconds);
    let Some(name) = asked else {
        let all = native.is_some_and(|native| native.leaves_out().is_none());
        return Ok(Choice::cheapest(Kinship { parted_seconds, native: all && parted_seconds.is_some() }));
    };
    let choice = Choice::named(name, parted_seconds).ok_or_else(|| {
        Error::Usage(format!("There is no engine {name}; there are snapshot, lineage, content and rsync"))
    })?;
    let refused = match choice {
        Choice::Lineage(None) | Choice::Snapshot(None) => {
            format!("The {name} engine needs a root that is a clone of its base; use --engine content")
        }
        Choice::Snapshot(_) if native.is_none() => {
            "The snapshot engine needs storage that lists what changed between two snapshots; use --engine lineage"
                .to_owned()
        }
        _ => return Ok(choice),
    };
    Err(Error::Usage(refused))
}

#[cfg(test)]
mod tests {
    use remand_backends::{DatasetName, Hint, Snapshot};

    use super::*;

    struct Native(Option<&'static str>);

    impl NativeDiff for Native {
        fn changes(
            &self,
            _: &Snapshot,
            _: &Snapshot,
            _: &mut dyn FnMut(Hint) -> bool,
        ) -> remand_backends::Result<()> {
            unreachable!("nothing is open yet")
        }

        fn leaves_out(&self) -> Option<&'static str> {
            self.0
        }

        fn names_of(&self, _: &Path, _: u64) -> remand_backends::Result<Option<Vec<Vec<u8>>>> {
            unreachable!("nothing is open yet")
        }
    }

    #[test]
    fn only_a_safe_engine_is_chosen() {
        let snapshot = Snapshot { dataset: DatasetName::new("releases/x/root").unwrap(), name: None };
        let base = |parted_seconds| Base {
            kind: crate::resource::ResourceKind::Release,
            name: "x".into(),
            snapshot: snapshot.clone(),
            parted_seconds,
        };
        let (clone, other) = (base(Some(7)), base(None));
        let (all, some) = (Native(None), Native(Some("times")));
        let name = |base, asked, native: Option<&Native>| match choose(
            base,
            asked,
            native.map(|native| native as &dyn NativeDiff),
        ) {
            Ok(choice) => choice.name().to_owned(),
            Err(error) => error.to_string(),
        };
        assert_eq!(name(Some(&clone), None, Some(&all)), "snapshot");
        assert_eq!(name(Some(&clone), None, Some(&some)), "lineage");
        assert_eq!(name(Some(&clone), None, None), "lineage");
        assert_eq!(name(Some(&other), None, Some(&all)), "content");
        assert_eq!(name(None, None, Some(&all)), "content");
        for asked in ["snapshot", "lineage", "content", "rsync", "quick"] {
            assert_eq!(name(Some(&clone), Some(asked), Some(&some)), asked);
        }
        for (base, asked, native, reason) in [
            (&clone, "snapshot", None, "needs storage that lists"),
            (&other, "snapshot", Some(&all), "snapshot engine needs a root that is a clone"),
            (&other, "lineage", Some(&all), "lineage engine needs a root that is a clone"),
            (&clone, "magic", Some(&all), "There is no engine magic"),
        ] {
            let said = name(Some(base), Some(asked), native);
            assert!(said.contains(reason), "{said}");
        }
    }
}
