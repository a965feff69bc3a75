//! What a pool remembers of its datasets where the file system has no place for it.
//!
//! A plain directory does not tell that it was a dataset elsewhere, nor which properties it had. So that it comes back as it was on
//! the way back, a file in the state directory's `datasets` tells of a dataset and of those below it. Its name is the
//! identity of the dataset's directory and not its path: it holds wherever the directory is moved, and means nothing for another
//! one that comes to the same place. A crash leaves at most a file that nobody asks for any more.

use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const HEAD: &str = "remand datasets 1";

/// Properties of a dataset, by name.
pub(crate) type Properties = BTreeMap<String, String>;

/// A dataset and those below it, by their names relative to it ("" is itself).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) datasets: BTreeMap<String, Properties>,
}

/// The records of one pool.
#[derive(Debug)]
pub(crate) struct Remembered {
    directory: PathBuf,
}

impl Remembered {
    /// The records below a state directory, which exists.
    pub(crate) fn new(state: &Path) -> Self {
        Self { directory: state.join("datasets") }
    }

    /// What is remembered under `key`.
    pub(crate) fn load(&self, key: &str) -> Result<Option<Record>> {
        let path = self.directory.join(key);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", path.display().to_string(), error)),
        };
        let unclear =
            |line: &str| Error::Output { command: path.display().to_string(), line: line.to_owned() };
        parse(&text).map(Some).map_err(unclear)
    }

    /// Remembers, in place of what was there.
    pub(crate) fn store(&self, key: &str, record: &Record) -> Result<()> {
        let path = self.directory.join(key);
        let new = self.directory.join(format!("{key}.new"));
        let write = || {
            match std::fs::create_dir(&self.directory) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            let mut file = File::create(&new)?;
            // Who finds one that is not locked may remove it: its process is dead.
            file.lock()?;
            file.write_all(format(record).as_bytes())?;
            file.sync_all()?;
            std::fs::rename(&new, &path)
        };
        let written = match write() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => write(),
            written => written,
        };
        written.map_err(|source| {
            // It would be written over next time, if there is one.
            let _ = std::fs::remove_file(&new);
            Error::io("write", path.display().to_string(), source)
        })
    }

    /// Forgets. Absent is success.
    pub(crate) fn remove(&self, key: &str) -> Result<()> {
        let path = self.directory.join(key);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("remove", path.display().to_string(), error))
            }
            _ => Ok(()),
        }
    }
}

pub(crate) fn format(record: &Record) -> String {
    let mut lines = vec![HEAD.to_owned()];
    for (name, properties) in &record.datasets {
        lines.push(format!("dataset {}", escape(name)));
        let property = |(property, value): (&String, &String)| {
            format!("property {} {}", escape(property), escape(value))
        };
        lines.extend(properties.iter().map(property));
    }
    lines.push(String::new());
    lines.join("\n")
}

/// The first line that cannot be understood is the error.
pub(crate) fn parse(text: &str) -> std::result::Result<Record, &str> {
    let mut lines = text.lines();
    if let Some(head) = lines.next().filter(|line| *line != HEAD) {
        return Err(head);
    }
    let mut record = Record::default();
    let mut last = None;
    for line in lines {
        let found = if let Some(name) = line.strip_prefix("dataset ") {
            unescape(name).map(|name| {
                record.datasets.entry(name.clone()).or_default();
                last = Some(name);
            })
        } else {
            line.strip_prefix("property ").and_then(|rest| rest.split_once(' ')).and_then(
                |(property, value)| {
                    let properties = record.datasets.get_mut(last.as_ref()?)?;
                    properties.insert(unescape(property)?, unescape(value)?);
                    Some(())
                },
            )
        };
        found.ok_or(line)?;
    }
    Ok(record)
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            c => c,
        });
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn properties() -> impl Strategy<Value = Properties> {
        proptest::collection::btree_map("[a-z:.]{1,9}", any::<String>(), 0..4)
    }

    proptest! {
        #[test]
        fn what_was_stored_is_loaded(datasets in proptest::collection::btree_map("[^\0]{0,9}", properties(), 0..4)) {
            let state = tempfile::tempdir().unwrap();
            let remembered = Remembered::new(state.path());
            let record = Record { datasets };
            remembered.store("key", &record).unwrap();
            prop_assert_eq!(remembered.load("key").unwrap(), Some(record));
            remembered.remove("key").unwrap();
            prop_assert_eq!(remembered.load("key").unwrap(), None);
            remembered.remove("key").unwrap();
        }
    }

    #[test]
    fn what_cannot_be_understood_is_an_error() {
        for bad in
            ["x", "remand datasets 2\n", "remand datasets 1\nfoo\n", "remand datasets 1\nproperty a b\n"]
        {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
        for bad in ["dataset a\\", "dataset a\\x", "dataset a\nproperty b"] {
            assert!(parse(&format!("{HEAD}\n{bad}\n")).is_err(), "{bad:?}");
        }
    }
}
