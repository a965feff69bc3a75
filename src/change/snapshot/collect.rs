//! Makes the backend's hints into names that may differ.
//!
//! ```text
//! hints, each once ──▶ threads: what each leads to (look) ──▶ merged ──▶ other names of the same entries (names)
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use remand_backends::{Hint, NativeDiff};

use super::candidates::{Candidates, Place};
use super::look::{Claimed, Looker};
use super::names::Names;
use crate::change::comparer::thread_count;
use crate::change::{Error, Scope, Trees};
use crate::tree::TreePath;
use crate::undo::chain;

/// Hints that a thread takes at a time: neighbours, for which the same directories are open. So few are one thread's work.
const SHARE: usize = 256;

/// More threads do not look: each holds directories open.
const MAX_THREADS: usize = 4;

/// Why there are no candidates.
#[derive(Debug)]
pub(super) enum Stop {
    /// The hints do not suffice, for this reason; the trees must be walked.
    Walk(String),
    /// A walk would fail too.
    Error(Error),
}

impl Stop {
    /// Fails where `count` paths are more than should be held.
    pub(super) fn beyond(limit: usize, count: usize) -> Attempt<()> {
        if count > limit { Err(Self::Walk(format!("more than {limit} paths may differ"))) } else { Ok(()) }
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<crate::tree::Error> for Stop {
    fn from(error: crate::tree::Error) -> Self {
        Self::Error(Error::Tree(error))
    }
}

pub(super) type Attempt<T> = std::result::Result<T, Stop>;

/// How far a hint reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// The entry, and where it is one directory in both trees which names are in it.
    Entry,
    /// Everything below it too.
    Subtree,
}

/// See the module.
pub(super) struct Collector<'a> {
    pub(super) trees: Trees<'a>,
    pub(super) scope: Scope<'a>,
    /// At most so many paths are held, by each thread while it looks.
    pub(super) limit: usize,
}

impl Collector<'_> {
    /// All candidates. `changes` calls back with the hints, as [`NativeDiff::changes`] does.
    pub(super) fn collect(
        &self,
        native: &dyn NativeDiff,
        changes: impl FnOnce(&mut dyn FnMut(Hint) -> bool) -> remand_backends::Result<()>,
    ) -> Attempt<Candidates> {
        let hints: Vec<(Place, Reach)> = self.hints(changes)?.into_iter().collect();
        let claimed = Claimed::default();
        let looker = self.look(&hints, &claimed, thread_count(0).min(MAX_THREADS))?;
        Ok(Names::of(looker, self.trees, self.scope, native).complete()?.into_found())
    }

    /// Every hint once, with the longest reach that was told.
    fn hints(
        &self,
        changes: impl FnOnce(&mut dyn FnMut(Hint) -> bool) -> remand_backends::Result<()>,
    ) -> Attempt<BTreeMap<Place, Reach>> {
        let mut hints = BTreeMap::new();
        let mut stop = None;
        let told = changes(&mut |hint| {
            stop = self.hint(hint, &mut hints).err();
            stop.is_none()
        });
        self.scope.check()?;
        match (stop, told) {
            (Some(stop), _) => Err(stop),
            (None, Err(error)) => Err(Stop::Walk(chain(&error))),
            (None, Ok(())) => Ok(hints),
        }
    }

    fn hint(&self, hint: Hint, hints: &mut BTreeMap<Place, Reach>) -> Attempt<()> {
        self.scope.check()?;
        let (path, reach) = match hint {
            Hint::Entry(path) | Hint::Names(path) => (path, Reach::Entry),
            Hint::Subtree(path) => (path, Reach::Subtree),
        };
        let path = TreePath::new(&path).map_err(|error| Stop::Walk(error.to_string()))?;
        let known = hints.entry(Place(path)).or_insert(reach);
        *known = reach.max(*known);
        Stop::beyond(self.limit, hints.len())
    }

    /// Looks at what the hints are about, by so many threads.
    fn look<'a>(
        &'a self,
        hints: &[(Place, Reach)],
        claimed: &'a Claimed,
        threads: usize,
    ) -> Attempt<Looker<'a>> {
        let new = || Looker::new(self.trees, self.scope, self.limit, claimed);
        let shares: Vec<_> = hints.chunks(SHARE).collect();
        let (next, stopped) = (AtomicUsize::new(0), AtomicBool::new(false));
        let work = || {
            let mut looker = new();
            while let Some(share) = shares.get(next.fetch_add(1, Ordering::Relaxed)) {
                for (Place(path), reach) in *share {
                    if stopped.load(Ordering::Relaxed) {
                        return Ok(looker);
                    }
                    let examined = looker.examine(path, *reach);
                    examined.inspect_err(|_| stopped.store(true, Ordering::Relaxed))?;
                }
            }
            Ok(looker)
        };
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..threads.min(shares.len())).map(|_| scope.spawn(work)).collect();
            let own: Attempt<Looker<'_>> = work();
            let others: Vec<_> = others
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect();
            let mut all = own?;
            for other in others {
                all.merge(other?)?;
            }
            Ok(all)
        })
    }
}
