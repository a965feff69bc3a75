//! libioc's basejails: jails that take the directories of the operating system from their release.
//!
//! A *nullfs* basejail (the default; all of iocage's are such) has them mounted over its root whenever it runs: libioc
//! at each start from the config alone, iocage by lines of the fstab. What lies beneath is never seen by the jail: with libioc the content of the
//! clone, with iocage nothing. A *zfs* basejail has a dataset for each, `jails/NAME/root/bin`, that is a clone of
//! `base/RELEASE/root/bin`; libioc throws them away and clones them anew at each start.

use remand_backends::{Backend, Dataset, DatasetName};

use super::ioc::basejail::{DIRECTORIES, mounted};
use super::ioc::{ROOT, join};
use crate::config::View;
use crate::error::{Error, Result};
use crate::resource::{Base, Basejail, ResourceKind, check_name};

/// What the config says, or the pool's defaults.
pub(super) fn configured(view: &View) -> Option<Basejail> {
    Some(match view.basejail.as_deref()? {
        "zfs" => Basejail::Cloned,
        _ => mounted(DIRECTORIES),
    })
}

/// `base/RELEASE/root/bin` for `root/bin`.
pub(super) fn place(release: &str, part: &str) -> Result<DatasetName> {
    check_name(release)?;
    if !part.strip_prefix(ROOT).is_some_and(|rest| rest.starts_with('/')) {
        return Err(Error::Refused(format!("the dataset {part} is none that a basejail clones")));
    }
    join(&DatasetName::pool(), &format!("base/{release}/{part}"))
}

/// The release's dataset that one of a jail's is a clone of, if it is the one in the same place.
pub(super) fn base_of_part(backend: &dyn Backend, part: &str, dataset: &Dataset) -> Result<Option<Base>> {
    let Some(origin) = &dataset.origin else { return Ok(None) };
    let release = origin.dataset.as_str().strip_prefix("base/").and_then(|rest| rest.split('/').next());
    let Some(release) = release.filter(|release| check_name(release).is_ok()) else { return Ok(None) };
    if !place(release, part).is_ok_and(|place| place == origin.dataset) {
        return Ok(None);
    }
    let parted_seconds = backend
        .parted_seconds(dataset)
        .map_err(Error::backend(format!("look {} up", origin.dataset.as_str())))?;
    let (kind, name) = (ResourceKind::Release, release.to_owned());
    Ok(Some(Base { kind, name, snapshot: origin.clone(), parted_seconds }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Form};

    fn kind(config: &str, defaults: Option<&str>) -> Option<&'static str> {
        let parse = |text: &str| Config::parse(Form::Json, text.into(), "config.json").unwrap();
        let view = View::of(&parse(config), defaults.map(parse).as_ref());
        configured(&view).map(|found| found.name())
    }

    #[test]
    fn the_switch_is_read_in_every_form_that_managers_write() {
        for yes in [r#""yes""#, r#""YES""#, r#""on""#, r#""true""#, r#""1""#, "1", "true"] {
            assert_eq!(kind(&format!(r#"{{"basejail": {yes}}}"#), None), Some("nullfs"), "{yes}");
        }
        for no in [r#""no""#, r#""off""#, "0", "false", "null", r#""maybe""#] {
            assert_eq!(kind(&format!(r#"{{"basejail": {no}}}"#), None), None, "{no}");
        }
        assert_eq!(kind(r#"{"type": "basejail"}"#, None), Some("nullfs"));
        assert_eq!(kind(r#"{"basejail": "yes", "basejail_type": "zfs"}"#, None), Some("zfs"));
    }

    #[test]
    fn the_pools_defaults_hold_where_the_config_says_nothing() {
        let defaults = Some(r#"{"basejail": "on", "basejail_type": "zfs"}"#);
        assert_eq!(kind("{}", defaults), Some("zfs"));
        assert_eq!(kind(r#"{"basejail": "no"}"#, defaults), None);
        assert_eq!(kind(r#"{"basejail_type": "nullfs"}"#, defaults), Some("nullfs"));
    }

    #[test]
    fn parts_lie_in_base_in_the_place_that_they_have_in_the_jail() {
        assert_eq!(place("14.2-RELEASE", "root/usr/bin").unwrap().as_str(), "base/14.2-RELEASE/root/usr/bin");
        for (release, part) in [("../x", "root/bin"), ("x", "data"), ("x", "root"), ("x", "rootless/bin")] {
            assert!(place(release, part).is_err(), "{release} {part}");
        }
    }
}
