//! Validated names.
//!
//! A name that passed here can be put behind a pool's name or directory without leaving the pool, and is never taken for an
//! option, a snapshot or another kind of object by a program. Backends may be stricter ([`crate::zfs`] is).

use std::fmt;

/// Bytes of a component, as every file system that matters allows at most.
const COMPONENT_BYTES: usize = 255;

/// Name of a dataset relative to its pool: components separated by `/`, none empty, `.` or `..`; the pool itself is "".
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatasetName(String);

/// Name of a snapshot: the part after the `@`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapshotName(String);

/// A name that the backend cannot take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is no name for a {what}: {reason}")]
pub struct InvalidName {
    /// What was given.
    pub name: String,
    /// What it was to be the name of.
    pub what: &'static str,
    /// Which rule it breaks.
    pub reason: &'static str,
}

/// The deepest dataset that all of `names` are, or lie in; `None` of none.
pub(crate) fn common(names: &[DatasetName]) -> Option<DatasetName> {
    let (first, others) = names.split_first()?;
    let mut above = first.clone();
    while others.iter().any(|other| *other != above && other.below(&above).is_none()) {
        above = above.parent()?;
    }
    Some(above)
}

impl DatasetName {
    /// The pool itself.
    pub fn pool() -> Self {
        Self(String::new())
    }

    /// Checks a name from outside. "" is the pool.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        if !name.is_empty() {
            for part in name.split('/') {
                component(part).map_err(|reason| invalid(name, "dataset", reason))?;
            }
        }
        Ok(Self(name.to_owned()))
    }

    /// The dataset `name` (one component or several) below this one.
    pub fn join(&self, name: &str) -> Result<Self, InvalidName> {
        if name.is_empty() {
            return Err(invalid(name, "dataset", "it is empty"));
        }
        let below = Self::new(name)?;
        if self.0.is_empty() { Ok(below) } else { Ok(Self(format!("{}/{}", self.0, below.0))) }
    }

    /// Parent; `None` for the pool.
    pub fn parent(&self) -> Option<Self> {
        if self.0.is_empty() {
            return None;
        }
        Some(Self(self.0.rsplit_once('/').map_or(String::new(), |(parent, _)| parent.to_owned())))
    }

    /// The part of this name below `above`, if it lies there. A name does not lie below itself, nor `web2` below `web`.
    pub fn below(&self, above: &Self) -> Option<&str> {
        if above.0.is_empty() {
            return (!self.0.is_empty()).then_some(self.0.as_str());
        }
        self.0.strip_prefix(above.0.as_str())?.strip_prefix('/')
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components, topmost first; none for the pool.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/').filter(|part| !part.is_empty())
    }
}

impl fmt::Display for DatasetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl SnapshotName {
    /// Checks a name from outside.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        component(name)
            .and_then(|()| if name.contains('/') { Err("it has a slash") } else { Ok(()) })
            .map_err(|reason| invalid(name, "snapshot", reason))?;
        Ok(Self(name.to_owned()))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it has the form that remand gives to its own: `remand-YYYYMMDDTHHMMSSZ-xxxxxxxx`.
    pub fn is_remand(&self) -> bool {
        const FORM: &[u8] = b"remand-00000000T000000Z-xxxxxxxx";
        let bytes = self.0.as_bytes();
        bytes.len() == FORM.len()
            && bytes.iter().zip(FORM).all(|(byte, form)| match form {
                b'0' => byte.is_ascii_digit(),
                b'x' => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
                exact => byte == exact,
            })
    }
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Refuses what is no name of a property anywhere, and what a program could take for something else.
pub(crate) fn check_property(name: &str) -> Result<(), InvalidName> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.:@".contains(c);
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(allowed) {
        return Err(invalid(name, "property", "it has other characters"));
    }
    Ok(())
}

pub(crate) fn invalid(name: &str, what: &'static str, reason: &'static str) -> InvalidName {
    InvalidName { name: name.to_owned(), what, reason }
}

fn component(part: &str) -> Result<(), &'static str> {
    if part.is_empty() {
        return Err("a part of it is empty");
    }
    if part == "." || part == ".." {
        return Err("a part of it is . or ..");
    }
    if part.starts_with('-') {
        return Err("a part of it begins with a hyphen");
    }
    if part.len() > COMPONENT_BYTES {
        return Err("a part of it is longer than 255 bytes");
    }
    for c in part.chars() {
        match c {
            '@' | '#' | '%' => return Err("it has one of @ # %"),
            c if c.is_control() => return Err("it has a control character"),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn dataset(name: &str) -> DatasetName {
        DatasetName::new(name).unwrap()
    }

    #[test]
    fn takes_what_administrators_use() {
        let long = "x".repeat(255);
        for name in [
            "",
            "a",
            "jails/web01",
            "a b/c d",
            "a:b",
            "ü/日本",
            ".remand/staging",
            "a..b",
            "...",
            "a-",
            &long,
        ] {
            assert_eq!(dataset(name).as_str(), name);
        }
    }

    #[test]
    fn refuses_what_leaves_the_pool_or_means_something_else() {
        let long = "x".repeat(256);
        for name in [
            "/", "/a", "a/", "a//b", ".", "..", "../a", "a/..", "a/./b", "a@b", "a#b", "a%b", "-r", "a/-f",
            "a\0b", "a\nb", "a\tb", "a\u{7f}", "a\u{85}b", &long,
        ] {
            assert!(DatasetName::new(name).is_err(), "{name:?}");
            assert!(SnapshotName::new(name).is_err(), "{name:?}");
        }
        assert!(SnapshotName::new("").is_err());
        assert!(SnapshotName::new("a/b").is_err());
        assert_eq!(
            DatasetName::new("a/../b").unwrap_err().to_string(),
            r#""a/../b" is no name for a dataset: a part of it is . or .."#
        );
    }

    #[test]
    fn joins_and_takes_apart() {
        let pool = DatasetName::pool();
        assert_eq!(pool.parent(), None);
        assert_eq!(dataset("a").parent(), Some(pool.clone()));
        assert_eq!(dataset("a/b/c").parent(), Some(dataset("a/b")));
        assert_eq!(pool.join("a/b").unwrap(), dataset("a/b"));
        assert_eq!(dataset("a").join("b/c").unwrap(), dataset("a/b/c"));
        for bad in ["", "/", "/b", "..", "b/../c"] {
            assert!(dataset("a").join(bad).is_err(), "{bad:?}");
        }
        assert_eq!(dataset("a/b").components().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(pool.components().count(), 0);
    }

    #[test]
    fn below_goes_by_whole_components() {
        assert_eq!(dataset("jails/web/root").below(&dataset("jails/web")), Some("root"));
        assert_eq!(dataset("jails/web2").below(&dataset("jails/web")), None);
        assert_eq!(dataset("jails/web").below(&dataset("jails/web")), None);
        assert_eq!(dataset("jails").below(&dataset("jails/web")), None);
        assert_eq!(dataset("jails/web").below(&DatasetName::pool()), Some("jails/web"));
        assert_eq!(DatasetName::pool().below(&DatasetName::pool()), None);
    }

    #[test]
    fn knows_remands_own_snapshots() {
        let own = |name: &str| SnapshotName::new(name).unwrap().is_remand();
        assert!(own("remand-20260102T030405Z-0a1b2c3d"));
        for name in [
            "remand-20260102T030405Z-0A1B2C3D",
            "remand-20260102T030405Z-0a1b2c3",
            "remand-20260102T030405Z-0a1b2c3de",
            "remand-2026010xT030405Z-0a1b2c3d",
            "Remand-20260102T030405Z-0a1b2c3d",
            "remand-",
            "p3",
        ] {
            assert!(!own(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn an_accepted_name_stays_in_the_pool(name in "[-a/.@:% ü]{0,12}") {
            if let Ok(dataset) = DatasetName::new(&name) {
                let path = std::path::Path::new("/pool").join(dataset.as_str());
                prop_assert!(path.starts_with("/pool"));
                prop_assert!(path.components().all(|part| part != std::path::Component::ParentDir));
                prop_assert_eq!(dataset.components().count(), path.components().count() - 2);
                if let Some(parent) = dataset.parent() {
                    prop_assert_eq!(parent.join(dataset.below(&parent).unwrap()).unwrap(), dataset);
                }
            }
        }
    }
}
