//! Reads the content of files, as little of it as decides.

use std::sync::atomic::Ordering;

use super::bytes::{Compared, Stop};
use super::cache::lock;
use super::decide::{Attempt, Decider, Failed, Restless, Shared, Sides, inode, shared_inode};
use super::extents;
use crate::archive::Digest;
use crate::change::{Differs, DirectoryPair, Error, Proof, Result};
use crate::tree::{self, Content as _, Dir, FileContent, Kind, OpenFile, Stat, Tree, TreePath};

impl Decider<'_> {
    /// Compares the content of two files, where it is not decided yet (`untouched`: by lineage), and digests the base's,
    /// where it is needed. `files` are those that are open already.
    pub(super) fn contents(
        &mut self,
        sides: &Sides<'_>,
        (base, now): (&Stat, &Stat),
        files: [Option<OpenFile>; 2],
        untouched: bool,
        differs: &mut Differs,
    ) -> Attempt<Compared> {
        let believed = untouched || self.shared.proof == Proof::Quick && !differs.mtime;
        let mut compared = Compared { equal: !differs.essence(), digest: None };
        if compared.equal && !believed {
            let digest = self.shared.wants_all_of_base() || differs.any();
            compared = self.compare(sides, (base, now), files, digest)?;
            differs.content = !compared.equal;
        }
        if compared.digest.is_none() && (self.shared.wants_all_of_base() || differs.any()) {
            compared.digest = self.base_digest(sides, base)?;
        }
        Ok(compared)
    }

    fn compare(
        &mut self,
        sides: &Sides<'_>,
        (base, now): (&Stat, &Stat),
        files: [Option<OpenFile>; 2],
        digest: bool,
    ) -> Attempt<Compared> {
        if !shared_inode(base) {
            return self.compare_now(sides, base, files, digest);
        }
        let slot = self.shared.cache.slot(inode(&base.identity));
        let mut known = lock(&slot);
        if let Some(&equal) = known.equal.get(&inode(&now.identity))
            && (known.digest.is_some() || !digest)
        {
            return Ok(Compared { equal, digest: known.digest });
        }
        let compared = self.compare_now(sides, base, files, digest && known.digest.is_none())?;
        known.digest = known.digest.or(compared.digest);
        known.equal.insert(inode(&now.identity), compared.equal);
        Ok(Compared { equal: compared.equal, digest: known.digest })
    }

    fn compare_now(
        &mut self,
        sides: &Sides<'_>,
        base: &Stat,
        [old, new]: [Option<OpenFile>; 2],
        digest: bool,
    ) -> Attempt<Compared> {
        let mut old = file(sides.pair.base.as_ref(), sides.name, old, base.size)?;
        let mut new = file(sides.pair.now.as_ref(), sides.name, new, base.size)?;
        if !digest && extents::prove_equal(&mut old, &mut new, base.size) {
            return Ok(Compared { equal: true, digest: None });
        }
        let shared = self.shared;
        self.buffers
            .compare(&old, &new, base.size, digest, &|bytes| shared.meter(bytes))
            .map_err(|stop| sides.failed(stop))
    }

    /// Digest of the base's content; `None` where it is no regular file.
    pub(super) fn base_digest(&mut self, sides: &Sides<'_>, base: &Stat) -> Attempt<Option<Digest>> {
        if base.kind != Kind::File {
            return Ok(None);
        }
        if !shared_inode(base) {
            return self.digest_now(sides, base).map(Some);
        }
        let slot = self.shared.cache.slot(inode(&base.identity));
        let mut known = lock(&slot);
        if known.digest.is_none() {
            known.digest = Some(self.digest_now(sides, base)?);
        }
        Ok(known.digest)
    }

    fn digest_now(&mut self, sides: &Sides<'_>, base: &Stat) -> Attempt<Digest> {
        let file = file(sides.pair.base.as_ref(), sides.name, None, base.size)?;
        let shared = self.shared;
        self.buffers.digest(&file, base.size, &|bytes| shared.meter(bytes)).map_err(|stop| sides.failed(stop))
    }

    /// Digest of the base's file at `path`, looked up anew. `None` where there is no file any more.
    pub(super) fn digest_of(&mut self, base: &Tree, path: &TreePath) -> Result<Option<Digest>> {
        let Some((parent, name)) = path.split() else { return Ok(None) };
        let Some(dir) = base.open_dir(&parent).map_err(Error::Tree)? else { return Ok(None) };
        let Some(stat) = dir.stat(name).map_err(Error::Tree)? else { return Ok(None) };
        let pair = DirectoryPair { path: parent, base: Some(dir), now: None, names: Vec::new() };
        let sides = Sides { pair: &pair, name, base: Some(stat), now: None };
        match self.base_digest(&sides, &stat) {
            Ok(digest) => Ok(digest),
            Err(Failed::Restless) => Ok(None),
            Err(Failed::Error(error)) => Err(error),
        }
    }
}

impl Shared<'_> {
    fn meter(&self, bytes: u64) -> std::result::Result<(), Stop> {
        self.compared_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.scope.check().map_err(|_| Stop::Interrupted)
    }
}

impl Sides<'_> {
    fn failed(&self, stop: Stop) -> Failed {
        let (action, source) = match stop {
            Stop::Interrupted => return Failed::Error(Error::Interrupted),
            Stop::Base(source) => ("read the base's", source),
            Stop::Now(source) => ("read", source),
        };
        Failed::Error(Error::Tree(tree::Error::Io { action, path: self.path().to_string(), source }))
    }
}

/// The content of a file that had `size` bytes when it was looked at; it is opened if it is not. Another size means that the look is out
/// of date.
fn file(dir: Option<&Dir>, name: &[u8], opened: Option<OpenFile>, size: u64) -> Attempt<FileContent> {
    let file = match (dir, opened) {
        (Some(dir), Some(opened)) => dir.content(name, opened)?,
        (Some(dir), None) => dir.open_file(name)?,
        (None, _) => None,
    };
    Ok(file.filter(|file| file.size() == size).ok_or(Restless)?)
}
