//! Which layout a pool has: by the marks that managers leave in it, and by nothing else.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;

use remand_backends::Backend;

use crate::config::{Config, Form};
use crate::error::{Error, Result};

/// Directories that iocage makes in every pool beside `jails` and `releases`, and libioc in none.
const OF_IOCAGE: [&str; 4] = ["templates", "images", "log", "download"];

/// The key with which iocage says what version a config is of.
pub(super) const CONFIG_VERSION: &str = "CONFIG_VERSION";

/// What is seen in a pool.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// Names of directories and datasets at its top.
    pub directories: BTreeSet<String>,
    /// Whether there are defaults for its jails, and if so whether they say a version as iocage's do.
    pub versioned_defaults: Option<bool>,
    /// Whether the config of some jail says such a version.
    pub versioned_jails: bool,
}

/// The name of the layout. An empty pool, and one without any mark, is libioc's.
///
/// libioc can use a pool that iocage has made. What iocage alone makes decides then: it would find the pool as it expects it, and libioc
/// finds its jails there too.
pub fn detect(marks: &Marks) -> &'static str {
    let has = |name: &str| marks.directories.contains(name);
    let made = has("templates") || OF_IOCAGE.iter().filter(|name| has(name)).count() >= 2;
    // Defaults without a version are libioc's own.
    let versioned = marks.versioned_defaults.unwrap_or(marks.versioned_jails);
    if made || versioned { "iocage" } else { "libioc" }
}

impl Marks {
    /// Looks for them in a pool.
    pub fn of(backend: &dyn Backend) -> Result<Self> {
        let pool = backend.directory();
        let directories: BTreeSet<String> = directories(pool)?.into_iter().collect();
        let versioned_defaults = version(&pool.join("defaults.json"))?;
        let mut versioned_jails = false;
        if versioned_defaults.is_none() {
            let jails = pool.join("jails");
            for name in self::directories(&jails)? {
                versioned_jails |= version(&jails.join(name).join("config.json"))? == Some(true);
                if versioned_jails {
                    break;
                }
            }
        }
        Ok(Self { directories, versioned_defaults, versioned_jails })
    }
}

/// Names of the directories in one, if it is there.
fn directories(path: &Path) -> Result<Vec<String>> {
    let failed = |error| Error::io("read", path.display())(error);
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

/// Whether a config says a version as iocage's do. One that is not there, or that cannot be understood, says nothing.
fn version(path: &Path) -> Result<Option<bool>> {
    Ok(read(path, "config")?.map(|config| config.get(CONFIG_VERSION).is_some()))
}

/// A config that is there and can be understood. One that cannot says nothing.
fn read(path: &Path, subject: &str) -> Result<Option<Config>> {
    // A pipe would let us wait for ever.
    let is_file = path.metadata().map(|found| found.is_file());
    let read = is_file.and_then(|is_file| if is_file { std::fs::read(path).map(Some) } else { Ok(None) });
    let bytes = match read {
        Ok(Some(bytes)) => bytes,
        Ok(None) => return Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(Error::io("read", path.display())(error)),
    };
    match Config::parse(Form::Json, bytes, subject) {
        Ok(config) => Ok(Some(config)),
        Err(Error::Malformed { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(directories: &[&str], defaults: Option<bool>, jails: bool) -> &'static str {
        detect(&Marks {
            directories: directories.iter().map(|name| (*name).to_owned()).collect(),
            versioned_defaults: defaults,
            versioned_jails: jails,
        })
    }

    #[test]
    fn marks_decide_and_without_any_it_is_libiocs() {
        assert_eq!(of(&[], None, false), "libioc");
        assert_eq!(of(&["jails", "releases", "base", "pkg"], None, false), "libioc");
        assert_eq!(of(&["jails", "releases", "templates"], None, false), "iocage");
        assert_eq!(of(&["jails", "log", "download"], None, false), "iocage");
        assert_eq!(of(&["jails", "releases", "log"], None, false), "libioc");
        assert_eq!(of(&["jails"], Some(true), false), "iocage");
        assert_eq!(of(&["jails"], None, true), "iocage");
        // libioc's defaults speak against a jail that came from elsewhere.
        assert_eq!(of(&["jails"], Some(false), true), "libioc");
        assert_eq!(of(&["jails", "templates"], Some(false), false), "iocage");
    }

    #[test]
    fn they_are_looked_for_in_the_pool() {
        let pool = tempfile::tempdir().unwrap();
        let marks = || {
            let backend = remand_backends::open(&format!("dir:{}", pool.path().display())).unwrap();
            Marks::of(backend.as_ref()).unwrap()
        };
        assert_eq!(marks(), Marks::default());
        std::fs::create_dir_all(pool.path().join("jails/old")).unwrap();
        std::fs::create_dir_all(pool.path().join("jails/web01")).unwrap();
        std::fs::write(pool.path().join("jails/web01/config.json"), r#"{"CONFIG_VERSION": "29"}"#).unwrap();
        std::fs::write(pool.path().join("log"), "a file").unwrap();
        let expected = Marks {
            directories: ["jails".to_owned()].into(),
            versioned_defaults: None,
            versioned_jails: true,
        };
        assert_eq!(marks(), expected);
        std::fs::write(pool.path().join("defaults.json"), r#"{"boot": "yes"}"#).unwrap();
        assert_eq!(marks().versioned_defaults, Some(false));
        std::fs::write(pool.path().join("defaults.json"), r#"{"CONFIG_VERSION": "29"}"#).unwrap();
        assert_eq!(marks().versioned_defaults, Some(true));
        std::fs::write(pool.path().join("defaults.json"), "no JSON").unwrap();
        assert_eq!(marks().versioned_defaults, None);
    }
}
