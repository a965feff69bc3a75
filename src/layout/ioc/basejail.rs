//! Directories of the operating system that basejails take from their release.

use crate::resource::Basejail;
use crate::tree::TreePath;

/// `get_basedir_list` of libioc, and `basedirs` of iocage. `HardenedBSD` has no `usr/lib32`; a directory that is not there is
/// none.
pub(in crate::layout) const DIRECTORIES: [&str; 14] = [
    "bin",
    "boot",
    "lib",
    "libexec",
    "rescue",
    "sbin",
    "usr/bin",
    "usr/include",
    "usr/lib",
    "usr/lib32",
    "usr/libdata",
    "usr/libexec",
    "usr/sbin",
    "usr/share",
];

/// A basejail over whose root these are mounted.
pub(in crate::layout) fn mounted<'p>(paths: impl IntoIterator<Item = &'p str>) -> Basejail {
    let paths = paths.into_iter().filter_map(|path| TreePath::new(path.as_bytes()).ok());
    Basejail::Mounted(paths.filter(|path| !path.is_root()).collect())
}
