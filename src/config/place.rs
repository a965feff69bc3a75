//! Where the config of a resource is in a pool, and the pool's defaults.

use std::io::ErrorKind;
use std::path::Path;

use remand_backends::{Backend, DatasetName};

use super::{Config, Form, MAX_BYTES, View};
use crate::error::{Error, Result};

/// A resource in a pool whose config is looked at.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) backend: &'a dyn Backend,
    /// Its own dataset.
    pub(crate) dataset: &'a DatasetName,
    /// Where the files of that are.
    pub(crate) directory: &'a Path,
}

/// The first of `forms` that is there. `is_file` tells whether a name in the resource's own directory is a file; `None` where there is nothing
/// of that name. Anything else that has the name of a config hides the forms after it, as it does from a manager.
pub(crate) fn find(
    forms: &[Form],
    is_file: impl Fn(&str) -> Result<Option<bool>>,
    has_properties: impl Fn() -> Result<bool>,
) -> Result<Option<Form>> {
    for form in forms {
        let found = match form.file() {
            Some(name) => is_file(name)?,
            None => has_properties()?.then_some(true),
        };
        if let Some(is_one) = found {
            return Ok(is_one.then_some(*form));
        }
    }
    Ok(None)
}

impl Place<'_> {
    /// The form that its config has, of those that its manager reads.
    pub(crate) fn form(self, forms: &[Form]) -> Result<Option<Form>> {
        let is_file = |name: &str| match self.directory.join(name).symlink_metadata() {
            Ok(found) => Ok(Some(found.is_file())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("look at", self.directory.join(name).display())(error)),
        };
        find(forms, is_file, || Ok(!self.of_properties()?.keys().is_empty()))
    }

    /// The config of this form; one that cannot be understood is [`Error::Malformed`]. `what` is what messages call the resource.
    pub(crate) fn config(self, form: Form, what: &str) -> Result<Config> {
        match form.file() {
            Some(name) => {
                Config::parse(form, read(&self.directory.join(name))?, &format!("{name} of the {what}"))
            }
            None => self.of_properties(),
        }
    }

    /// What its properties say.
    pub(crate) fn of_properties(self) -> Result<Config> {
        let failed = Error::backend(format!("read the properties of {}", self.dataset.as_str()));
        Ok(Config::of_properties(&self.backend.own_properties(self.dataset).map_err(failed)?))
    }
}

/// What holds in a pool for jails whose config says nothing.
#[derive(Clone, Debug)]
pub(crate) struct Defaults(Option<Config>);

impl Defaults {
    /// Those of a pool: `defaults.json`, else the UCL file `defaults`, else the properties of its dataset `.defaults`. Such
    /// that cannot be understood are none: the manager would not start a jail with them.
    pub(crate) fn of(backend: &dyn Backend) -> Result<Self> {
        for form in Form::ALL {
            let found = match form.defaults_file() {
                Some(name) => {
                    let path = backend.directory().join(name);
                    if path.symlink_metadata().is_err() {
                        continue;
                    }
                    Config::parse(form, read(&path)?, name).ok()
                }
                // Asking a backend for a dataset that is not there costs more than this look.
                None if !backend.directory().join(".defaults").is_dir() => None,
                None => Self::of_properties(backend)?,
            };
            return Ok(Self(found));
        }
        Ok(Self(None))
    }

    fn of_properties(backend: &dyn Backend) -> Result<Option<Config>> {
        let failed = || Error::backend("look at the pool's defaults");
        let Ok(name) = DatasetName::new(".defaults") else { return Ok(None) };
        if backend.dataset(&name).map_err(failed())?.is_none() {
            return Ok(None);
        }
        let found = backend.own_properties(&name).map_err(failed())?;
        Ok(Some(Config::of_properties(&found)).filter(|config| !config.keys().is_empty()))
    }

    /// What holds for a jail of this config.
    pub(crate) fn view(&self, config: &Config) -> View {
        View::of(config, self.0.as_ref())
    }
}

/// A file of the pool, or an error if it is larger than a config can be.
fn read(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let failed = || Error::io("read", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed())?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed())?;
    if bytes.len() as u64 > MAX_BYTES {
        let reason = format!("it is larger than {MAX_BYTES} bytes");
        return Err(Error::Malformed { subject: path.display().to_string(), reason });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_found_in_order_and_what_is_no_file_hides_the_rest() {
        let found = |files: &[(&str, bool)], properties: bool| {
            let is_file =
                |name: &str| Ok(files.iter().find(|(file, _)| *file == name).map(|(_, is_file)| *is_file));
            find(&Form::ALL, is_file, || Ok(properties)).unwrap()
        };
        assert_eq!(found(&[("config", true), ("config.json", true)], true), Some(Form::Json));
        assert_eq!(found(&[("config", true)], true), Some(Form::Ucl));
        assert_eq!(found(&[], true), Some(Form::Properties));
        assert_eq!(found(&[("config.json", false), ("config", true)], true), None);
        assert_eq!(found(&[("config", false)], true), None);
        assert_eq!(found(&[], false), None);
    }

    #[test]
    fn defaults_are_those_of_the_first_form_that_is_there() {
        let directory = tempfile::tempdir().unwrap();
        let backend = remand_backends::open(directory.path().to_str().unwrap()).unwrap();
        let boots = || {
            let empty = Config::parse(Form::Json, b"{}".to_vec(), "x").unwrap();
            Defaults::of(backend.as_ref()).unwrap().view(&empty).boot
        };
        assert!(!boots());
        std::fs::write(directory.path().join("defaults"), "boot = on;\n").unwrap();
        assert!(boots());
        std::fs::write(directory.path().join("defaults.json"), r#"{"boot": 0}"#).unwrap();
        assert!(!boots());
        std::fs::write(directory.path().join("defaults.json"), "no JSON").unwrap();
        assert!(!boots());
    }
}
