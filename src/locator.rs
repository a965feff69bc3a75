//! What a user names in an archive: a resource, and a path in one of its datasets.

use crate::archive::manifest::{Encoding, Manifest, Mode, ResourceRecord};
use crate::archive::{Line, MemberName};
use crate::error::{Error, Result};
use crate::resource::{ResourceKind, check_name, kind_name, label, named_kind};
use crate::tree::TreePath;

/// `NAME`, `NAME:PATH`, or `:PATH` where the archive holds one resource; `jail:`, `template:` or `release:` may come first. A `PATH` is one in the
/// dataset, whether it begins with a slash or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locator {
    /// Kind of the resource, where it was said.
    pub kind: Option<ResourceKind>,
    /// Its name; none if it is the only one.
    pub name: Option<String>,
    /// The path; the dataset's root where none was said.
    pub path: TreePath,
}

impl std::str::FromStr for Locator {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, rest) = match text.split_once(':') {
            // A resource may have such a name; then a path with a slash follows.
            Some((word, rest)) if !rest.starts_with('/') && named_kind(word).is_some() => {
                (named_kind(word), rest)
            }
            _ => (None, text),
        };
        let (name, path) = rest.split_once(':').unwrap_or((rest, ""));
        let name = if name.is_empty() && kind.is_none() && rest.starts_with(':') {
            None
        } else {
            check_name(name)?;
            Some(name.to_owned())
        };
        let inner = path.strip_prefix('/').unwrap_or(path);
        let path = TreePath::new(inner.strip_suffix('/').unwrap_or(inner).as_bytes()).map_err(|_| {
            Error::Usage(format!("{path:?} is no path in an archive; write it without . and .."))
        })?;
        Ok(Self { kind, name, path })
    }
}

/// A part of an archive.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Place of the resource in the manifest.
    pub(crate) resource: usize,
    pub(crate) record: ResourceRecord,
    /// The directory of the archive with the dataset's entries.
    pub(crate) root: TreePath,
    /// Path in the dataset.
    pub(crate) path: TreePath,
    /// Whether the dataset holds only what differs from the base.
    pub(crate) is_delta: bool,
    /// Whether another tool wrote the archive.
    pub(crate) is_foreign: bool,
}

impl Part {
    /// Finds the part of an archive that a user means.
    pub(crate) fn find(manifest: &Manifest, locator: &Locator, dataset: &str) -> Result<Self> {
        let mut resources = manifest.resources.iter().enumerate().filter(|(_, record)| {
            locator.name.as_ref().is_none_or(|name| *name == record.name)
                && locator.kind.is_none_or(|kind| kind == record.kind)
        });
        let Some((resource, record)) = resources.next() else {
            let kind = locator.kind.map_or("resource", crate::resource::kind_name);
            let name = locator.name.as_deref().unwrap_or_default();
            return Err(Error::NotThere { what: format!("{kind} {name}") });
        };
        if let Some((_, other)) = resources.next() {
            let kinds = [record.kind, other.kind].map(kind_name);
            return Err(Error::Usage(match &locator.name {
                None => "The archive holds several resources: write NAME:PATH".into(),
                Some(name) => {
                    format!("{name} is a {0} and a {1}: write {0}:{name} or {1}:{name}", kinds[0], kinds[1])
                }
            }));
        }
        let whose = label(record.kind, &record.name);
        let found = record.datasets.iter().find(|found| found.name == dataset);
        let found =
            found.ok_or_else(|| Error::NotThere { what: format!("dataset {dataset} of the {whose}") })?;
        match found.encoding {
            Encoding::Delta | Encoding::Tree => {}
            Encoding::Base => {
                return Err(Error::Unsupported(format!(
                    "The dataset {dataset} of the {whose} is an unchanged clone of the release's; no file of it is in the archive"
                )));
            }
            Encoding::Zfs | Encoding::Btrfs => {
                return Err(Error::Unsupported(format!(
                    "The dataset {dataset} of the {whose} is a native stream of {}: restore it to reach its files, or export \
                     with --portable",
                    found.encoding.name()
                )));
            }
        }
        let member =
            format!("{}{}", record.prefix.strip_prefix("./").unwrap_or(&record.prefix), found.member);
        let root = TreePath::new(member.as_bytes()).map_err(|error| Error::Refused(error.to_string()))?;
        let is_delta = found.encoding == Encoding::Delta && record.mode == Mode::Differential;
        let (path, is_foreign) = (locator.path.clone(), manifest.foreign.is_some());
        Ok(Self { resource, record: record.clone(), root, path, is_delta, is_foreign })
    }

    /// Path in the dataset of a member of it.
    pub(crate) fn in_dataset(&self, name: &MemberName) -> Option<TreePath> {
        name.below(&self.root)
    }

    /// Path below the one that was asked for; the root for itself.
    pub(crate) fn below(&self, path: &TreePath) -> Option<TreePath> {
        MemberName::new(path.clone()).below(&self.path)
    }

    /// The path in the dataset of a line that is at or below the one that was asked for.
    pub(crate) fn of_line(&self, line: &Line) -> Option<TreePath> {
        self.in_dataset(&line.name).filter(|path| self.below(path).is_some())
    }

    /// Its resource, as in `jail web01`.
    pub(crate) fn resource_label(&self) -> String {
        label(self.record.kind, &self.record.name)
    }

    /// As messages call a path in it.
    pub(crate) fn label(&self, path: &TreePath) -> String {
        format!("{}:/{path}", self.record.name)
    }

    /// That nothing is at the path that was asked for.
    pub(crate) fn not_there(&self) -> Error {
        Error::NotThere { what: self.label(&self.path) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locators() {
        let parse = |text: &str| text.parse::<Locator>().map(|l| (l.kind, l.name, l.path.to_string()));
        let jail = Some(ResourceKind::Jail);
        let some = |name: &str| Some(name.to_owned());
        for (text, kind, name, path) in [
            ("web01", None, some("web01"), ""),
            ("web01:/etc/rc.conf", None, some("web01"), "etc/rc.conf"),
            ("web01:etc/", None, some("web01"), "etc"),
            ("web01:/", None, some("web01"), ""),
            (":/etc", None, None, "etc"),
            (":", None, None, ""),
            ("jail:web01:/etc", jail, some("web01"), "etc"),
            ("jail:web01", jail, some("web01"), ""),
            ("release:14.2-RELEASE:/a:b", Some(ResourceKind::Release), some("14.2-RELEASE"), "a:b"),
            ("jail:/etc", None, some("jail"), "etc"),
            ("jail", None, some("jail"), ""),
            ("web01:/a:b", None, some("web01"), "a:b"),
        ] {
            assert_eq!(parse(text).unwrap(), (kind, name, path.to_owned()), "{text}");
        }
        for bad in ["", "a/b", "web01:/../x", "web01://x", "web01:/a/./b", "jail::x", "-x:/y", "web01:/a//"] {
            assert_eq!(parse(bad).unwrap_err().exit_status(), 2, "{bad}");
        }
    }
}
