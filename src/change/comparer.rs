//! Decides whether two entries differ.
//!
//! ```text
//! engine thread ──batches──▶ workers: stat, attributes, content ──▶ one reply a batch
//!        └────────replies, in the order of the batches──────────▶ caller's thread: consume
//! ```
//!
//! The queue of replies is bounded, and with it memory and open descriptors: the engine waits when the consumer is
//! slow. A batch's results are consumed only after all earlier batches', so the order of changes does not depend
//! on threads.

mod attributes;
mod batch;
mod bytes;
mod cache;
mod decide;
mod extents;
mod finish;
mod reading;

pub(crate) use attributes::differences;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

use self::batch::Batcher;
use self::cache::{Cache, lock};
use self::decide::{Decider, Found, Outcome, Shared};
use self::finish::LinkedNames;
use super::fingerprint::FingerprintBuilder;
use super::stamp::{Stamped, Stamping, stamp_of_tree};
use super::{
    Change, DirectoryPair, Engine, Error, Fingerprint, OfBase, Options, Proof, Replaced, Result, Scope,
    Summary, Trees, What, Whole, walk,
};
use crate::tree::{Kind, Tree, TreePath};

/// Batches that can be under way, the one that is consumed included.
const BATCHES: usize = 48;

/// Where candidates come from.
type Candidates<'a> = dyn Fn(&mut dyn FnMut(DirectoryPair) -> bool) -> Result<()> + Sync + 'a;

/// One comparison.
struct Comparison<'a> {
    base: Option<&'a Tree>,
    now: Option<&'a Tree>,
    proof: Proof,
    of_base: OfBase,
    threads: usize,
    scope: Scope<'a>,
    whole: Option<&'a Whole<'a>>,
    candidates: &'a Candidates<'a>,
}

/// A batch's results, or why there are no more batches.
enum Reply {
    Batch(Receiver<Result<Batch>>),
    Failed(Error),
}

/// What was found at a batch's names.
#[derive(Default)]
struct Batch {
    found: Vec<Found>,
    stamped: Stamped,
}

/// Directory pairs, and where to send what is found in them.
struct Job {
    pairs: Vec<DirectoryPair>,
    reply: Sender<Result<Batch>>,
}

/// See [`super::compare`].
pub(super) fn run<E: From<Error>>(
    engine: &dyn Engine,
    trees: Trees<'_>,
    options: Options<'_>,
    consume: &mut dyn FnMut(Change) -> std::result::Result<(), E>,
) -> std::result::Result<Summary, E> {
    let scope = Scope { exclude: options.exclude, interrupted: options.interrupted };
    // Of the base, which all its entries are needed for.
    let on_the_way = engine.visits_everything() && options.exclude.is_empty() && trees.base.is_some();
    let fallback = Mutex::default();
    let comparison = Comparison {
        base: trees.base,
        now: Some(trees.now),
        proof: engine.proof(),
        of_base: if on_the_way { options.of_base } else { OfBase::Nothing },
        threads: options.threads,
        scope,
        whole: options.whole,
        candidates: &|emit| {
            *lock(&fallback) = engine.candidates(trees, scope, emit)?;
            Ok(())
        },
    };
    let mut summary = comparison.run(consume, &|_, _| {})?;
    summary.fallback = lock(&fallback).take();
    if !summary.mount_points.is_empty() {
        // The base's entries below them were not visited.
        summary.fingerprint = None;
        summary.stamp = None;
    }
    let scope = Scope { exclude: &[], ..scope };
    // Before the fingerprint: what is touched while that is computed has another stamp then.
    if let (true, None, Some(base)) = (options.of_base >= OfBase::Stamp, &summary.stamp, trees.base) {
        summary.stamp = Some(stamp_of_tree(base, scope)?);
        summary.fingerprint = None;
    }
    if let (true, None, Some(base)) =
        (options.of_base == OfBase::Fingerprint, &summary.fingerprint, trees.base)
    {
        summary.fingerprint = Some(fingerprint_of(base, options.threads, scope, &|_, _| {})?);
    }
    Ok(summary)
}

/// Computes the fingerprint of `tree`, which is read whole. `progress` hears now and then how many entries and bytes
/// are done.
pub(super) fn fingerprint_of(
    tree: &Tree,
    threads: usize,
    scope: Scope<'_>,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Fingerprint> {
    let comparison = Comparison {
        base: Some(tree),
        now: None,
        proof: Proof::Bytes,
        of_base: OfBase::Fingerprint,
        threads,
        scope,
        whole: None,
        candidates: &|emit| walk::merged(Some(tree), None, scope, emit),
    };
    let summary = comparison.run(&mut |_| Ok::<_, Error>(()), progress)?;
    Ok(summary.fingerprint.expect("it was asked for, and everything was visited"))
}

impl Comparison<'_> {
    fn run<E: From<Error>>(
        &self,
        consume: &mut dyn FnMut(Change) -> std::result::Result<(), E>,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> std::result::Result<Summary, E> {
        let shared = Shared {
            proof: self.proof,
            silent_xattrs: self.now.is_none_or(|now| !now.ctime_tells_of_xattrs()),
            of_base: self.of_base,
            scope: self.scope,
            whole: self.whole,
            cache: Cache::default(),
            seen_entries: AtomicU64::new(0),
            compared_bytes: AtomicU64::new(0),
            mount_points: Mutex::default(),
            gone: Mutex::default(),
        };
        let mut consumer = Consumer {
            fingerprint: (self.of_base == OfBase::Fingerprint).then(FingerprintBuilder::new),
            stamping: (self.of_base >= OfBase::Stamp).then(Stamping::begin),
            entries: 0,
            linked: LinkedNames::default(),
            consume,
        };
        self.root(&shared, &mut consumer)?;
        let stop = AtomicBool::new(false);
        std::thread::scope(|threads| {
            let (replies, ordered) = bounded(BATCHES);
            let (jobs, queue) = bounded(BATCHES);
            let (shared, stop) = (&shared, &stop);
            for _ in 0..thread_count(self.threads) {
                let queue = queue.clone();
                threads.spawn(move || work(shared, stop, &queue));
            }
            drop(queue);
            threads.spawn(move || self.feed(&jobs, &replies));
            let result = consumer.consume_all(&ordered, shared, progress);
            stop.store(result.is_err(), Ordering::Relaxed);
            result
        })?;
        self.finish(shared, consumer)
    }

    /// Compares the root itself.
    fn root<E: From<Error>>(
        &self,
        shared: &Shared<'_>,
        consumer: &mut Consumer<'_, E>,
    ) -> std::result::Result<(), E> {
        let base = self.base.map(Tree::root_node).transpose().map_err(Error::Tree)?;
        let now = self.now.map(Tree::root_node).transpose().map_err(Error::Tree)?;
        if let (Some(fingerprint), Some(base)) = (&mut consumer.fingerprint, &base) {
            fingerprint.add(&TreePath::root(), base, None);
        }
        if let (Some(stamping), Some(base)) = (&mut consumer.stamping, &base) {
            stamping.root(base);
        }
        let Some(node) = now else { return Ok(()) };
        shared.seen_entries.fetch_add(1, Ordering::Relaxed);
        let differs = base.as_ref().map(|base| differences(&base.entry, &node.entry));
        if differs.is_some_and(|differs| !differs.any()) {
            return Ok(());
        }
        let replaced = base.map(|_| Replaced { kind: Kind::Directory, digest: None });
        (consumer.consume)(Change {
            path: TreePath::root(),
            what: What::Whole { node, replaced },
            differs: differs.unwrap_or_default(),
            group: None,
            directory: None,
        })
    }

    /// Cuts the engine's candidates into jobs. A send fails only when the other side has stopped.
    fn feed(&self, jobs: &Sender<Job>, replies: &Sender<Reply>) {
        let mut batcher = Batcher::default();
        let mut submit = |pairs| {
            let (reply, result) = bounded(1);
            // In this order: the bounded queue of replies is what limits how much is under way.
            replies.send(Reply::Batch(result)).is_ok() && jobs.send(Job { pairs, reply }).is_ok()
        };
        let result = (self.candidates)(&mut |pair| batcher.add(pair, &mut submit));
        match result {
            Ok(()) => _ = batcher.flush(&mut submit),
            Err(error) => {
                batcher.flush(&mut submit);
                _ = replies.send(Reply::Failed(error));
            }
        }
    }

    fn finish<E: From<Error>>(
        &self,
        shared: Shared<'_>,
        mut consumer: Consumer<'_, E>,
    ) -> std::result::Result<Summary, E> {
        let linked = std::mem::take(&mut consumer.linked);
        let mut decider = Decider::new(&shared);
        linked.finish(self.base, &mut decider, consumer.consume)?;
        let mut mount_points = std::mem::take(&mut *lock(&shared.mount_points));
        mount_points.sort_unstable_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        mount_points.dedup();
        Ok(Summary {
            fingerprint: consumer.fingerprint.map(FingerprintBuilder::finish),
            stamp: consumer.stamping.map(Stamping::finish),
            seen_entries: shared.seen_entries.into_inner(),
            compared_bytes: shared.compared_bytes.into_inner(),
            mount_points,
            fallback: None,
        })
    }
}

/// So many threads, or one a core for 0.
pub(super) fn thread_count(wanted: usize) -> usize {
    match wanted {
        0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        wanted => wanted,
    }
}

fn work(shared: &Shared<'_>, stop: &AtomicBool, jobs: &Receiver<Job>) {
    let mut decider = Decider::new(shared);
    for Job { pairs, reply } in jobs {
        if stop.load(Ordering::Relaxed) {
            continue;
        }
        let mut found = Vec::new();
        let result = pairs.iter().try_for_each(|pair| {
            for candidate in &pair.names {
                found.extend(decider.decide(pair, candidate)?);
            }
            Ok(())
        });
        // Nobody waits for it when the comparison has stopped.
        let stamped = std::mem::take(&mut decider.stamped);
        _ = reply.send(result.map(|()| Batch { found, stamped }));
    }
}

/// The caller's side: everything in order.
struct Consumer<'a, E> {
    fingerprint: Option<FingerprintBuilder>,
    stamping: Option<Stamping>,
    /// Of the base, as far as added to the fingerprint.
    entries: u64,
    linked: LinkedNames,
    consume: &'a mut dyn FnMut(Change) -> std::result::Result<(), E>,
}

impl<E: From<Error>> Consumer<'_, E> {
    fn consume_all(
        &mut self,
        replies: &Receiver<Reply>,
        shared: &Shared<'_>,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> std::result::Result<(), E> {
        for reply in replies {
            let Batch { found, stamped } = match reply {
                // An error here means that the worker panicked; the scope passes the panic on.
                Reply::Batch(result) => result.recv().unwrap_or_else(|_| Ok(Batch::default()))?,
                Reply::Failed(error) => return Err(error.into()),
            };
            if let Some(stamping) = &mut self.stamping {
                stamping.extend(&stamped);
            }
            for found in found {
                self.found(found)?;
            }
            progress(self.entries, shared.compared_bytes.load(Ordering::Relaxed));
        }
        Ok(())
    }

    fn found(&mut self, found: Found) -> std::result::Result<(), E> {
        if let (Some(fingerprint), Some((node, digest))) = (&mut self.fingerprint, &found.base) {
            fingerprint.add(&found.path, node, digest.as_ref());
            self.entries += 1;
        }
        match found.outcome {
            Outcome::Unchanged => Ok(()),
            Outcome::Changed(change) => (self.consume)(*change),
            Outcome::Linked(linked) => {
                self.linked.push(found.path, *linked);
                Ok(())
            }
        }
    }
}
