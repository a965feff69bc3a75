//! Cuts candidates into batches that are worth a thread's while and bounded in memory and descriptors.

use crate::change::{Candidate, DirectoryPair};

/// Names in a batch.
const NAMES: usize = 64;
/// Directory pairs in a batch; each holds two descriptors.
const PAIRS: usize = 6;
/// Bytes of paths in a batch, where paths are very long.
const PATH_BYTES: usize = 64 << 10;

/// Collects pairs until they make a batch.
#[derive(Default)]
pub(super) struct Batcher {
    pairs: Vec<DirectoryPair>,
    names: usize,
    path_bytes: usize,
}

impl Batcher {
    /// Adds a pair; full batches go to `submit`. False when `submit` refuses.
    pub(super) fn add(
        &mut self,
        mut pair: DirectoryPair,
        submit: &mut dyn FnMut(Vec<DirectoryPair>) -> bool,
    ) -> bool {
        let mut rest = std::mem::take(&mut pair.names).into_iter();
        let path_length = pair.path.as_bytes().len();
        while !rest.as_slice().is_empty() {
            let by_length = (PATH_BYTES.saturating_sub(self.path_bytes) / (path_length + 1)).max(1);
            let names: Vec<Candidate> =
                rest.by_ref().take(by_length.min(NAMES.saturating_sub(self.names).max(1))).collect();
            self.names += names.len();
            self.path_bytes += names.len() * (path_length + 1);
            self.pairs.push(pair.with(names));
            let full = self.names >= NAMES || self.pairs.len() >= PAIRS || self.path_bytes >= PATH_BYTES;
            if full && !self.flush(submit) {
                return false;
            }
        }
        true
    }

    /// Submits what is left.
    pub(super) fn flush(&mut self, submit: &mut dyn FnMut(Vec<DirectoryPair>) -> bool) -> bool {
        self.names = 0;
        self.path_bytes = 0;
        let pairs = std::mem::take(&mut self.pairs);
        pairs.is_empty() || submit(pairs)
    }
}
