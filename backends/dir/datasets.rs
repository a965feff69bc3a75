//! Which directories are datasets, and their properties: remembered, because nothing in a directory says so.
//!
//! The *top* of a dataset is the highest directory above it that is one: what is created right below the pool or `staging`. Its
//! record tells of all below.

use super::{Dir, STATE, platform};
use crate::remembered::{Properties, Record, Remembered};
use crate::{Backend, DatasetName, Result};
use std::os::fd::AsFd;
use std::sync::PoisonError;

/// The directory that remembers a dataset.
struct Top {
    name: DatasetName,
    key: String,
    record: Option<Record>,
}

impl Dir {
    fn remembered(&self) -> Result<Option<Remembered>> {
        Ok(self.existing_state_directory()?.map(|state| Remembered::new(&state)))
    }

    fn top(&self, remembered: &Remembered, name: DatasetName) -> Result<Option<Top>> {
        let Some(directory) = self.find(&name)? else { return Ok(None) };
        let key =
            platform::identity(directory.as_fd()).map_err(|errno| self.fail("look at", &name, errno))?;
        let record = remembered.load(&key)?;
        Ok(Some(Top { name, key, record }))
    }

    /// The nearest directory, from `name` upwards, that remembers datasets.
    fn nearest_top(&self, remembered: &Remembered, name: &DatasetName) -> Result<Option<Top>> {
        let mut next = Some(name.clone());
        while let Some(name) = next.filter(can_be_top) {
            if let Some(top) = self.top(remembered, name.clone())?
                && top.record.is_some()
            {
                return Ok(Some(top));
            }
            next = name.parent();
        }
        Ok(None)
    }

    /// Remembers a new dataset, and its properties if it had some.
    pub(super) fn remember(&self, name: &DatasetName, properties: Properties) -> Result<()> {
        let Some(remembered) = self.remembered()? else { return Ok(()) };
        let above = name.parent().filter(can_be_top);
        let top = match self.nearest_top(&remembered, name)? {
            Some(top) => Some(top),
            None => self.top(&remembered, above.unwrap_or_else(|| name.clone()))?,
        };
        let Some(top) = top else { return Ok(()) };
        let below = name.below(&top.name).unwrap_or_default().to_owned();
        let mut record = top.record.unwrap_or_default();
        record.datasets.insert(below, properties);
        remembered.store(&top.key, &record)
    }

    /// The datasets below one that are still there, with their names in the pool.
    pub(super) fn remembered_below(&self, name: &DatasetName) -> Result<Vec<DatasetName>> {
        let Some(remembered) = self.remembered()? else { return Ok(Vec::new()) };
        let Some(Top { name: top, record: Some(record), .. }) = self.nearest_top(&remembered, name)? else {
            return Ok(Vec::new());
        };
        let mut found = Vec::new();
        for below in record.datasets.keys().filter(|below| !below.is_empty()) {
            let dataset = top.join(below)?;
            if dataset.below(name).is_some() && self.find(&dataset)?.is_some() {
                found.push(dataset);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Remembers one more property of a dataset, which must be there.
    pub(crate) fn remember_property(&self, name: &DatasetName, property: &str, value: &str) -> Result<()> {
        crate::name::check_property(property)?;
        self.find(name)?.ok_or_else(|| self.missing(name))?;
        let _one_at_a_time = self.remembering.lock().unwrap_or_else(PoisonError::into_inner);
        let mut properties = self.remembered_properties(name)?;
        properties.insert(property.to_owned(), value.to_owned());
        self.remember(name, properties)
    }

    /// The properties that a dataset would have.
    pub(crate) fn remembered_properties(&self, name: &DatasetName) -> Result<Properties> {
        let Some(remembered) = self.remembered()? else { return Ok(Properties::new()) };
        let top = self.nearest_top(&remembered, name)?;
        Ok(top
            .and_then(|top| {
                let below = name.below(&top.name).unwrap_or_default().to_owned();
                top.record?.datasets.remove(&below)
            })
            .unwrap_or_default())
    }

    /// What is remembered of a dataset and all below it, so that it can be forgotten or put elsewhere.
    pub(crate) fn recall(&self, name: &DatasetName) -> Result<Recalled> {
        let Some(remembered) = self.remembered()? else { return Ok(Recalled::default()) };
        let Some(top) = self.nearest_top(&remembered, name)? else { return Ok(Recalled::default()) };
        let Some(record) = top.record else { return Ok(Recalled::default()) };
        if top.name == *name {
            return Ok(Recalled { own: Some(top.key), ..Recalled::default() });
        }
        let (mut rest, mut taken) = (Record::default(), Record::default());
        for (below, properties) in record.datasets {
            let dataset = top.name.join(&below).ok();
            match dataset.as_ref().and_then(|dataset| dataset.below(name)) {
                Some(below) => taken.datasets.insert(below.to_owned(), properties),
                None if dataset.as_ref() == Some(name) => taken.datasets.insert(String::new(), properties),
                None => rest.datasets.insert(below, properties),
            };
        }
        Ok(Recalled { own: None, above: Some((top.key, rest)), taken })
    }

    /// After a dataset is gone.
    pub(crate) fn forget(&self, recalled: Recalled) -> Result<()> {
        let Some(remembered) = self.remembered()? else { return Ok(()) };
        if let Some(key) = recalled.own {
            remembered.remove(&key)?;
        }
        match recalled.above {
            Some((key, rest)) if !recalled.taken.datasets.is_empty() => remembered.store(&key, &rest),
            _ => Ok(()),
        }
    }

    /// After a dataset was renamed. The record of a top holds wherever it is.
    pub(crate) fn moved(&self, mut recalled: Recalled, to: &DatasetName) -> Result<()> {
        for (below, properties) in std::mem::take(&mut recalled.taken.datasets) {
            let dataset = if below.is_empty() { to.clone() } else { to.join(&below)? };
            self.remember(&dataset, properties)?;
        }
        match (self.remembered()?, recalled.above) {
            (Some(remembered), Some((key, rest))) => remembered.store(&key, &rest),
            _ => Ok(()),
        }
    }
}

/// What was remembered of a dataset.
#[derive(Default)]
pub(crate) struct Recalled {
    /// The key of its own record.
    own: Option<String>,
    /// The key of the record above, and what else that holds.
    above: Option<(String, Record)>,
    taken: Record,
}

/// The pool and what the state directory consists of are no datasets that anything is remembered of.
fn can_be_top(name: &DatasetName) -> bool {
    !matches!(name.components().collect::<Vec<_>>()[..], [] | [STATE] | [STATE, _])
}
