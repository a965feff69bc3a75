//! Names of members.

use crate::tree::TreePath;

/// Name of a member, as in the archive but without the `./` in front of it: `manifest.json`,
/// `root/etc/passwd`, `data/db.zfs`. Always a clean path ([`TreePath`]).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemberName(TreePath);

impl MemberName {
    /// The member at `path`.
    pub fn new(path: TreePath) -> Self {
        Self(path)
    }

    /// The path below the archive's root.
    pub fn path(&self) -> &TreePath {
        &self.0
    }

    /// The part of this name below `prefix` (a directory of the archive), or `None` where it is not `prefix` itself
    /// or below it.
    pub fn below(&self, prefix: &TreePath) -> Option<TreePath> {
        let rest = self.0.as_bytes().strip_prefix(prefix.as_bytes())?;
        match rest {
            [] => Some(TreePath::root()),
            rest if prefix.is_root() => TreePath::new(rest).ok(),
            [b'/', rest @ ..] => TreePath::new(rest).ok(),
            _ => None,
        }
    }
}

impl std::fmt::Display for MemberName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "./{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_is_at_component_boundaries() {
        let path = |text: &str| TreePath::new(text.as_bytes()).unwrap();
        let below = |name: &str, prefix: &str| MemberName::new(path(name)).below(&path(prefix));
        assert_eq!(below("root/etc/a", "root"), Some(path("etc/a")));
        assert_eq!(below("root", "root"), Some(path("")));
        assert_eq!(below("root/etc", ""), Some(path("root/etc")));
        assert_eq!(below("", ""), Some(path("")));
        assert_eq!(below("rooty", "root"), None);
        assert_eq!(below("root", "root/etc"), None);
        assert_eq!(below("other/etc", "root"), None);
        assert_eq!(MemberName::new(path("root/a")).to_string(), "./root/a");
    }
}
