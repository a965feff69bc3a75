//! Lines that mount a part of a base over the same part of a resource's root.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::{PLACEHOLDER, decode, encode, path_bytes};

/// A line that mounts a part of a base over the same part of a resource's root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseMount {
    /// The directory of the release or template, above its `root`.
    pub base: PathBuf,
    /// The path in both roots.
    pub path: String,
}

/// The lines whose source is `BASE/root/X` and whose target is `root/X` of the resource. `text` is an archive's.
pub fn base_mounts(text: &[u8]) -> Vec<BaseMount> {
    let mut found = Vec::new();
    for line in text.split(|&byte| byte == b'\n') {
        let mut at = 0;
        let mut field = || {
            let start = at + line[at..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            at = super::field_end(line, start);
            decode(&line[start..at]).0
        };
        let (source, target) = (field(), field());
        if source.starts_with(b"#") {
            continue;
        }
        found.extend(mount(&source, &target));
    }
    found
}

fn mount(source: &[u8], target: &[u8]) -> Option<BaseMount> {
    let own = target.strip_prefix(PLACEHOLDER.as_bytes())?;
    let slashes = own.iter().take_while(|&&byte| byte == b'/').count();
    let path = own[slashes..].strip_prefix(b"root/").filter(|path| !path.is_empty())?;
    let base = source.strip_suffix(path)?.strip_suffix(b"/root/").filter(|base| !base.is_empty())?;
    let path = std::str::from_utf8(path).ok()?.trim_end_matches('/').to_owned();
    Some(BaseMount { base: PathBuf::from(OsStr::from_bytes(base)), path })
}

/// A path as a field.
pub(crate) fn encode_path(path: &Path) -> Vec<u8> {
    encode(path_bytes(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_same_path_in_both_roots_are_found() {
        let found = |text: &str| -> Vec<(String, String)> {
            let mounts = base_mounts(text.as_bytes());
            mounts.into_iter().map(|mount| (mount.base.display().to_string(), mount.path)).collect()
        };
        let one = |base: &str, path: &str| vec![(base.to_owned(), path.to_owned())];
        assert_eq!(found("/p/releases/x/root/bin backup:///root/bin nullfs"), one("/p/releases/x", "bin"));
        assert_eq!(found("/a\\040b/x/root/usr/lib\tbackup:////root/usr/lib"), one("/a b/x", "usr/lib"));
        for other in [
            "",
            "#/p/x/root/bin backup:///root/bin",
            "# /p/x/root/bin backup:///root/bin",
            "/p/x/root/bin",
            "/p/x/root/bin backup:///root/sbin",
            "/p/x/root/bin backup:///data/bin",
            "/p/x/root/bin /root/bin",
            "/p/x/chroot/bin backup:///root/bin",
            "/root/bin backup:///root/bin",
            "/p/x/root/ backup:///root/",
        ] {
            assert_eq!(found(other), [], "{other}");
        }
    }
}
