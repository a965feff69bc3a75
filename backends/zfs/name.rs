//! Names as ZFS takes them.

use crate::name::{InvalidName, invalid};
use crate::{DatasetName, Snapshot, SnapshotName};

/// Bytes of a full name, snapshot's part included.
const NAME_BYTES: usize = 255;

/// Full name of a dataset in the pool `root`.
pub(super) fn dataset(root: &str, name: &DatasetName) -> Result<String, InvalidName> {
    let full = if name.as_str().is_empty() { root.to_owned() } else { format!("{root}/{name}") };
    check(name.as_str(), &full, "ZFS dataset")?;
    Ok(full)
}

/// Full name of a snapshot in the pool `root`.
pub(super) fn snapshot(
    root: &str,
    name: &DatasetName,
    snapshot: &SnapshotName,
) -> Result<String, InvalidName> {
    let full = format!("{}@{snapshot}", dataset(root, name)?);
    check(snapshot.as_str(), &full, "ZFS snapshot")?;
    Ok(full)
}

/// The name in the pool `root` of a dataset with a full name; `None` for one that lies elsewhere.
pub(super) fn relative(root: &str, full: &str) -> Option<DatasetName> {
    let rest = full.strip_prefix(root)?;
    if rest.is_empty() {
        return Some(DatasetName::pool());
    }
    DatasetName::new(rest.strip_prefix('/')?).ok()
}

/// The same for a snapshot.
pub(super) fn relative_snapshot(root: &str, full: &str) -> Option<Snapshot> {
    let (dataset, name) = full.split_once('@')?;
    Some(Snapshot { dataset: relative(root, dataset)?, name: Some(SnapshotName::new(name).ok()?) })
}

fn check(given: &str, full: &str, what: &'static str) -> Result<(), InvalidName> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.: /".contains(c);
    if !given.chars().all(allowed) {
        return Err(invalid(given, what, "ZFS takes only letters, digits, spaces and - _ . : of ASCII"));
    }
    if full.len() > NAME_BYTES {
        return Err(invalid(given, what, "with the names above it is longer than 255 bytes"));
    }
    Ok(())
}

/// Whether text from outside can be the full name of a dataset at all.
pub(super) fn is_possible(full: &str) -> bool {
    full.starts_with(|c: char| c.is_ascii_alphabetic())
        && DatasetName::new(full).is_ok_and(|name| check(name.as_str(), full, "").is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> DatasetName {
        DatasetName::new(text).unwrap()
    }

    #[test]
    fn full_and_relative_names_correspond() {
        for (relative_name, full) in [("", "tank/ioc"), ("jails/web 1:a", "tank/ioc/jails/web 1:a")] {
            assert_eq!(dataset("tank/ioc", &name(relative_name)).unwrap(), full);
            assert_eq!(relative("tank/ioc", full), Some(name(relative_name)));
        }
        for elsewhere in ["tank", "tank/ioc2", "tank/iocage/x", "other", ""] {
            assert_eq!(relative("tank/ioc", elsewhere), None, "{elsewhere}");
        }
        let found = relative_snapshot("tank", "tank/a@p3").unwrap();
        assert_eq!((found.dataset, found.name), (name("a"), Some(SnapshotName::new("p3").unwrap())));
        for bad in ["tank/a", "other/a@p3", "tank/a@", "tank/a@b@c"] {
            assert_eq!(relative_snapshot("tank", bad), None, "{bad}");
        }
    }

    #[test]
    fn is_stricter_than_the_general_names() {
        assert!(dataset("tank", &name("ü")).is_err());
        assert!(dataset("tank", &name("a+b")).is_err());
        assert!(dataset("tank", &name(&"x".repeat(250))).is_ok());
        assert!(dataset("tank", &name(&"x".repeat(251))).is_err());
        let long = SnapshotName::new(&"s".repeat(10)).unwrap();
        assert!(snapshot("tank", &name(&"x".repeat(240)), &long).is_err());
        assert!(is_possible("tank/ioc"));
        for no in ["", "/tank", "-tank", "1tank", "tank/", "tank@a", "tänk"] {
            assert!(!is_possible(no), "{no}");
        }
    }
}
