//! What an interrupted restore of the same archive has received: it is taken over, dataset by dataset.
//!
//! A run that is killed, or interrupted within a large stream, leaves its staging dataset and its record, which names the
//! archive. The record's lock, which the programs that the run had started hold too, says whether anything of it still lives. It
//! is held here until the end, so that nobody else takes the same.
//!
//! An archive's identity can be forged: only what [`super::received`] covers is taken, and compared while the member passes.

use std::path::Path;
use std::sync::atomic::AtomicBool;

use remand_backends::{Created, DatasetName, Leftover, Partial};

use super::received::{Guarded, Ledger, Marks, Received};
use crate::archive::Manifest;
use crate::archive::digest::Digest;
use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::run::{self, Run};
use crate::step::Steps;
use crate::tree::Content;

/// A restore that was interrupted within a stream of at least so many bytes can be continued; below that it is not worth
/// leaving anything behind.
pub(super) const KEEP_FROM_BYTES: u64 = 64 << 20;

/// Dead restores of one archive, the newest first.
pub(super) struct Earlier<'a> {
    pool: &'a Pool,
    runs: Vec<Run>,
    taken: bool,
    ledger: Option<Ledger>,
    manifest: Digest,
}

impl<'a> Earlier<'a> {
    /// Finds and holds them.
    pub(super) fn claim(pool: &'a Pool, state: &Path, manifest: &Manifest) -> Result<Self> {
        let text = serde_json::to_vec(manifest)
            .map_err(|error| Error::Refused(format!("its manifest is no JSON: {error}")))?;

        let mut runs = Vec::new();
        if pool.backend().streams().is_some() {
            for id in run::of_archive(state, &manifest.id)?.into_iter().rev() {
                runs.extend(run::claim(state, &id)?);
            }
        }
        Ok(Self { pool, runs, taken: false, ledger: None, manifest: Digest::of(&text) })
    }

    /// The lines of `run`, which receives now.
    pub(super) fn ledger(&mut self, run: &Run) -> Result<()> {
        self.ledger = Some(Ledger::create(&run.received_path(), self.manifest)?);
        Ok(())
    }

    /// The content of a dataset's member, on its way to a receiver.
    pub(super) fn guard<'b>(
        &'b mut self,
        content: &'b mut dyn Content,
        interrupted: &'b AtomicBool,
        name: &'b str,
    ) -> Result<Guarded<'b>> {
        let ledger = self.ledger.as_mut().ok_or_else(|| Error::Refused("no run receives it".to_owned()))?;
        Ok(Guarded::new(content, interrupted, ledger, name))
    }

    /// What they have of the dataset `name`, as `to`, and how many bytes of its member are covered by digests. What is not covered is
    /// left for `remand cleanup`.
    pub(super) fn take(
        &mut self,
        number: Option<usize>,
        name: &str,
        to: &DatasetName,
        steps: &Steps<'_>,
    ) -> Result<Option<(Created, u64)>> {
        let Some(streams) = self.pool.backend().streams() else { return Ok(None) };
        let Some(ledger) = &mut self.ledger else { return Ok(None) };
        let backend = self.pool.backend();
        let key = key(number, name);
        let failed = || Error::backend(format!("go on with the dataset {name}"));
        let here = backend.dataset(to).map_err(failed())?.is_some();
        if here {
            // It came along with the one above it.
            let found = streams.take_over(to, to).map_err(failed())?;
            return Ok(found.zip(ledger.inherited_bytes(&key)));
        }
        for run in &self.runs {
            let from =
                staging(run.id(), number)?.join(name).map_err(|error| Error::Refused(error.to_string()))?;
            if backend.dataset(&from).map_err(failed())?.is_none() {
                continue;
            }
            let below = backend.descendants(&from).map_err(failed())?;
            let partials = streams.partials(&from).map_err(failed())?;
            let above = format!("{from}/");
            let all = below.iter().map(|dataset| dataset.name.as_str().strip_prefix(&above));
            let names: Option<Vec<String>> = all.map(|other| Some(format!("{key}/{}", other?))).collect();
            let part = partials.iter().find(|partial| partial.dataset == from);
            let received_bytes = part.map_or(0, |partial| partial.received_bytes);
            let received = Received::read(&run.received_path())?;
            let Some(covered) = received
                .as_ref()
                .zip(names)
                .and_then(|(received, names)| covered(received, self.manifest, &key, names, received_bytes))
            else {
                let message = format!(
                    "what the interrupted restore {} has received of it is not covered by what it noted for this archive; it is not used, and `remand cleanup --yes` removes it",
                    run.id()
                );
                steps.notice(name, message);
                continue;
            };
            for (name, marks) in covered {
                ledger.inherit(&name, marks)?;
            }
            if let Some(found) = streams.take_over(&from, to).map_err(failed())? {
                self.taken = true;
                return Ok(ledger.inherited_bytes(&key).map(|bytes| (found, bytes)));
            }
            ledger.forget(&key);
        }
        Ok(None)
    }

    /// After success nobody needs the rest of what they left.
    pub(super) fn finish(self, steps: &Steps<'_>) {
        if !self.taken {
            return;
        }
        for run in self.runs {
            if let Err(error) = remove(self.pool, run) {
                let message = format!("{}; `remand cleanup` removes it", crate::undo::chain(&error));
                steps.notice("what the interrupted restore left", message);
            }
        }
    }
}

/// The lines of a dataset and of those `below` it, if there are any of each, and of this manifest. One that has `received_bytes`
/// beyond its last line (a receiver counts some bytes twice when it goes on) has lost lines.
fn covered<'a>(
    received: &'a Received,
    manifest: Digest,
    name: &str,
    below: Vec<String>,
    received_bytes: u64,
) -> Option<Vec<(String, &'a Marks)>> {
    if !received.is_of(manifest) {
        return None;
    }
    if !reaches(received, name, received_bytes) {
        return None;
    }
    std::iter::once(name.to_owned())
        .chain(below)
        .map(|name| received.marks(&name).map(|marks| (name, marks)))
        .collect()
}

/// Whether the last line of a dataset covers so many bytes.
fn reaches(received: &Received, name: &str, received_bytes: u64) -> bool {
    let last = received.marks(name).and_then(|marks| marks.last());
    last.is_some_and(|(last, _)| received_bytes <= last + COUNTED_TWICE_BYTES)
}

/// How many bytes a restore of the same archive can go on from, of what a dead run has received in its `staging`: what the run's
/// lines cover, see [`super::received`].
pub(crate) fn resumable_bytes(received: &Path, staging: &DatasetName, partials: &[Partial]) -> Result<u64> {
    let Some(received) = Received::read(received)? else { return Ok(0) };
    let above = format!("{staging}/");
    let number = staging.as_str().rsplit_once('/').and_then(|(_, last)| last.get(run::ID_BYTES..));
    let number = number.and_then(|number| number.strip_prefix('-')?.parse().ok());
    let covered = partials.iter().filter(|partial| {
        let name = partial.dataset.as_str().strip_prefix(&above);
        name.is_some_and(|name| reaches(&received, &key(number, name), partial.received_bytes))
    });
    Ok(covered.map(|partial| partial.received_bytes).sum())
}

/// More than a receiver that has gone on can have counted twice. The exact place is checked while the stream passes.
const COUNTED_TWICE_BYTES: u64 = 4 << 20;

fn remove(pool: &Pool, run: Run) -> Result<()> {
    let backend = pool.backend();
    let failed = || Error::backend("destroy its staging datasets");
    let mut left: Vec<DatasetName> = backend
        .leftovers()
        .map_err(failed())?
        .into_iter()
        .filter_map(|left| match left {
            Leftover::Dataset(name) if is_stage_of(run.id(), &name) => Some(name),
            _ => None,
        })
        .collect();
    // What is cloned from another has a higher number.
    left.sort_by(|a, b| b.cmp(a));
    for name in left {
        backend.destroy_leftover(&Leftover::Dataset(name)).map_err(failed())?;
    }
    run.end()
}

fn is_stage_of(run: &str, name: &DatasetName) -> bool {
    let rest = name.as_str().strip_prefix(STAGING).and_then(|last| last.strip_prefix(run));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

const STAGING: &str = ".remand/staging/";

/// The staging dataset of a run; one of several has a number, which is the resource's place in the archive.
pub(super) fn staging(run: &str, number: Option<usize>) -> Result<DatasetName> {
    let number = number.map(|number| format!("-{number:05}")).unwrap_or_default();
    DatasetName::new(&format!("{STAGING}{run}{number}")).map_err(|error| Error::Refused(error.to_string()))
}

/// What a dataset is called in the lines of what was received.
pub(super) fn key(number: Option<usize>, name: &str) -> String {
    number.map_or_else(|| name.to_owned(), |number| format!("{number}:{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_of_a_run_are_its_own_and_no_others() {
        let run = "remand-20260101T000000Z-00000000";
        let is = |name: &str| is_stage_of(run, &DatasetName::new(name).unwrap());
        assert!(is(staging(run, None).unwrap().as_str()) && is(staging(run, Some(7)).unwrap().as_str()));
        assert!(is(staging(&format!("{run}-shelf"), None).unwrap().as_str()));
        for other in ["remand-20260101T000000Z-00000001", "remand-20260101T000000Z-000000000"] {
            assert!(!is(staging(other, None).unwrap().as_str()), "{other}");
        }
        assert!(!is(&format!(".remand/views/{run}")) && !is(&format!("jails/{run}")));
    }

    /// After success all stages of the run go whose stream was taken, and its record; what others left stays.
    #[test]
    fn what_an_earlier_run_left_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["jails", "releases"] {
            std::fs::create_dir(directory.path().join(name)).unwrap();
        }
        let pool = Pool::open(directory.path().to_str().unwrap()).unwrap();
        let state = pool.backend().state_directory().unwrap();
        let record = run::Record::new("restore", "jail web".into());
        let run = Run::begin(&state, run::new_id(), &record).unwrap();
        let other = run::new_id();
        for (run, number) in [(run.id(), None), (run.id(), Some(1)), (&other[..], Some(1))] {
            let _left = pool.backend().create(&staging(run, number).unwrap()).unwrap();
        }
        remove(&pool, run).unwrap();
        let left = pool.backend().leftovers().unwrap();
        assert_eq!(left, [Leftover::Dataset(staging(&other, Some(1)).unwrap())]);
        assert_eq!(std::fs::read_dir(state.join("runs")).unwrap().count(), 0);
    }

    #[test]
    fn only_what_is_covered_to_its_end_is_taken() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        let (ours, other) = (Digest::of(b"ours"), Digest::of(b"other"));
        let mut ledger = Ledger::create(&path, ours).unwrap();
        let marks = vec![(0, ours), (10 << 20, ours)];
        ledger.inherit("data", &marks).unwrap();
        ledger.inherit("data/in", &marks).unwrap();
        ledger.begin("begun").unwrap();
        let received = Received::read(&path).unwrap().unwrap();
        let taken = |manifest, name: &str, below: &[&str], bytes| {
            let below = below.iter().map(|&name| name.to_owned()).collect();
            covered(&received, manifest, name, below, bytes).map(|covered| covered.len())
        };
        assert_eq!(taken(ours, "data", &[], 9 << 20), Some(1));
        assert_eq!(taken(ours, "data", &["data/in"], 0), Some(2));
        assert_eq!(taken(other, "data", &[], 9 << 20), None);
        assert_eq!(taken(ours, "data", &["data/unknown"], 0), None);
        assert_eq!(taken(ours, "begun", &[], 0), None);
        assert_eq!(taken(ours, "none", &[], 0), None);
        assert_eq!(taken(ours, "data", &[], 15 << 20), None);
    }

    #[test]
    fn cleanup_calls_resumable_what_a_restore_would_take() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lines");
        let staging = staging("remand-20260101T000000Z-00000000", None).unwrap();
        let partial =
            |name: &str, received_bytes| Partial { dataset: staging.join(name).unwrap(), received_bytes };
        let partials = [partial("data", 9 << 20), partial("data/in", 15 << 20), partial("other", 1)];
        assert_eq!(resumable_bytes(&path, &staging, &partials).unwrap(), 0);
        let mut ledger = Ledger::create(&path, Digest::of(b"ours")).unwrap();
        assert_eq!(resumable_bytes(&path, &staging, &partials).unwrap(), 0);
        let marks = vec![(0, Digest::of(b"")), (10 << 20, Digest::of(b"x"))];
        ledger.inherit("data", &marks).unwrap();
        ledger.inherit("data/in", &marks).unwrap();
        assert_eq!(resumable_bytes(&path, &staging, &partials).unwrap(), 9 << 20);
        // One of several.
        let staging = super::staging("remand-20260101T000000Z-00000000", Some(7)).unwrap();
        let partials = [Partial { dataset: staging.join("data").unwrap(), received_bytes: 9 << 20 }];
        assert_eq!(resumable_bytes(&path, &staging, &partials).unwrap(), 0);
        ledger.inherit(&key(Some(7), "data"), &marks).unwrap();
        assert_eq!(resumable_bytes(&path, &staging, &partials).unwrap(), 9 << 20);
    }
}
