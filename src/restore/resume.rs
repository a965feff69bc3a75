//! What an interrupted restore of the same archive has received: it is taken over, dataset by dataset.
//!
//! A run that is killed, or interrupted within a large stream, leaves its staging dataset and its record, which names the
//! archive. The record's lock, which the programs that the run had started hold too, says whether anything of it still lives. It
//! is held here until the end, so that nobody else takes the same.

use std::path::Path;

use remand_backends::{Created, DatasetName};

use crate::error::{Error, Result};
use crate::pool::Pool;
use crate::run::{self, Run};
use crate::step::Steps;

/// A restore that was interrupted within a stream of at least so many bytes can be continued; below that it is not worth
/// leaving anything behind.
pub(super) const KEEP_FROM_BYTES: u64 = 64 << 20;

/// Dead restores of one archive, the newest first.
pub(super) struct Earlier<'a> {
    pool: &'a Pool,
    runs: Vec<Run>,
    taken: bool,
}

impl<'a> Earlier<'a> {
    /// Finds and holds them.
    pub(super) fn claim(pool: &'a Pool, state: &Path, archive: &str) -> Result<Self> {
        let mut runs = Vec::new();
        if pool.backend().streams().is_some() {
            for id in run::of_archive(state, archive)?.into_iter().rev() {
                runs.extend(run::claim(state, &id)?);
            }
        }
        Ok(Self { pool, runs, taken: false })
    }

    /// What they have of the dataset `name`, as `to`.
    pub(super) fn take(&mut self, name: &str, to: &DatasetName) -> Result<Option<Created>> {
        let Some(streams) = self.pool.backend().streams() else { return Ok(None) };
        for run in &self.runs {
            let from = staging(run.id())?.join(name).map_err(|error| Error::Refused(error.to_string()))?;
            let found = streams
                .take_over(&from, to)
                .map_err(Error::backend(format!("go on with the dataset {name}")))?;
            if found.is_some() {
                self.taken = true;
                return Ok(found);
            }
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

fn remove(pool: &Pool, run: Run) -> Result<()> {
    let left = remand_backends::Leftover::Dataset(staging(run.id())?);
    pool.backend().destroy_leftover(&left).map_err(Error::backend("destroy its staging dataset"))?;
    run.end()
}

pub(super) fn staging(run: &str) -> Result<DatasetName> {
    DatasetName::new(&format!(".remand/staging/{run}")).map_err(|error| Error::Refused(error.to_string()))
}
