//! Finding pools: by what libioc marks, and by mount point.

use super::{Zfs, list_one, name, parse, tool};
use crate::process::Program;
use crate::{Error, Result};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// What libioc sets on a zpool's root dataset to activate it.
const ACTIVE: &str = "org.freebsd.ioc:active";
/// How rc.conf names libioc's root datasets: `ioc_dataset_NAME="zroot/ioc"`.
const RC_CONF_PREFIX: &str = "ioc_dataset_";
/// What a zpool's root dataset may call libioc's, in the order of its own preference.
const USUAL_NAMES: [&str; 2] = ["iocage", "ioc"];

/// The file system that is mounted exactly at a directory, by its full name; `None` if none is or there is no ZFS.
/// `directory` has no links in it.
pub fn dataset_mounted_at(directory: &Path) -> Result<Option<String>> {
    let fail = |source| Error::io("look at", directory.display().to_string(), source);
    if let Some(parent) = directory.parent() {
        let device = |path: &Path| std::fs::metadata(path).map(|data| data.dev());
        if device(directory).map_err(fail)? == device(parent).map_err(fail)? {
            return Ok(None); // nothing is mounted there
        }
    }
    let Some(path) = directory.to_str() else { return Ok(None) };
    if !tool::is_usable()? {
        return Ok(None);
    }
    Ok(parse::mounted_dataset(&tool::run(["mount"])?, path).map(str::to_owned))
}

/// Full name of the dataset where libioc is active: the first that rc.conf names, else the one on the zpool
/// that is marked with the property `org.freebsd.ioc:active`. `None` if there is neither.
pub fn active_pool() -> Result<Option<String>> {
    if !tool::is_usable()? {
        return Ok(None);
    }
    let configured = match std::fs::read("/etc/rc.conf") {
        Ok(text) => rc_conf_datasets(&String::from_utf8_lossy(&text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Error::io("read", "/etc/rc.conf", error)),
    };
    if let Some(first) = configured.into_iter().next() {
        return Ok(Some(first));
    }
    for zpool in Program::new("zpool", ["list", "-H", "-o", "name"]).output()?.lines() {
        if Zfs::property(zpool, ACTIVE)?.is_some_and(|value| is_true(&value)) {
            return root_on(zpool);
        }
    }
    Ok(None)
}

/// libioc's root dataset on its zpool: under a usual name, or whatever has both `jails` and `releases`.
fn root_on(zpool: &str) -> Result<Option<String>> {
    for usual in USUAL_NAMES {
        let full = format!("{zpool}/{usual}");
        if list_one(&full)?.is_some() {
            return Ok(Some(full));
        }
    }
    let text = tool::list(zpool, ["list", "-H", "-r", "-t", "filesystem", "-o", "name", zpool])?
        .ok_or_else(|| Zfs::missing(zpool))?;
    Ok(root_among(&text.lines().collect::<Vec<_>>()).map(str::to_owned))
}

fn root_among<'name>(names: &[&'name str]) -> Option<&'name str> {
    names.iter().copied().find(|name| {
        ["jails", "releases"].iter().all(|part| names.contains(&format!("{name}/{part}").as_str()))
    })
}

/// As libioc reads what users write.
fn is_true(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "yes" | "true" | "on" | "1")
}

/// libioc's root datasets in an rc.conf, in its order; a later line for the same key wins, as in sh(1).
pub(crate) fn rc_conf_datasets(text: &str) -> Vec<String> {
    let mut found: Vec<(&str, String)> = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.trim_start().split_once('=') else { continue };
        if !key.starts_with(RC_CONF_PREFIX) || key.len() == RC_CONF_PREFIX.len() {
            continue;
        }
        let value = unquote(value);
        if !name::is_possible(&value) {
            continue;
        }
        match found.iter_mut().find(|(known, _)| *known == key) {
            Some(entry) => entry.1 = value,
            None => found.push((key, value)),
        }
    }
    found.into_iter().map(|(_, value)| value).collect()
}

/// The value of an assignment: up to the closing quote, or to the first blank or comment.
fn unquote(value: &str) -> String {
    let rest = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => value[1..].split(quote).next(),
        _ => value.split([' ', '\t', ';', '#']).next(),
    };
    rest.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_datasets_of_an_rc_conf() {
        let text = "hostname=\"a\"\n# ioc_dataset_no=\"zroot/no\"\nioc_dataset_ioc=\"zroot/iocage\"\n\
                    \tioc_dataset_nvme='nvme/my-dataset/ioc' # fast\nioc_dataset_=\"zroot/x\"\nioc_datasets=y\n\
                    ioc_dataset_bare=tank/ioc;echo\nioc_dataset_ioc=\"zroot/ioc\"\nioc_dataset_bad=\"../x\"\n";
        assert_eq!(rc_conf_datasets(text), ["zroot/ioc", "nvme/my-dataset/ioc", "tank/ioc"]);
        assert!(rc_conf_datasets("").is_empty());
        assert!(rc_conf_datasets("ioc_dataset_x=\"\"").is_empty());
    }

    #[test]
    fn finds_the_root_by_its_children() {
        let names = ["z", "z/a", "z/a/jails", "z/b", "z/b/jails", "z/b/releases"];
        assert_eq!(root_among(&names), Some("z/b"));
        assert_eq!(root_among(&names[..4]), None);
    }

    #[test]
    fn active_is_what_libioc_takes_for_true() {
        assert!(["yes", "YES", "on", "true"].iter().all(|value| is_true(value)));
        assert!(["no", "off", "", "maybe", "-"].iter().all(|value| !is_true(value)));
    }
}
