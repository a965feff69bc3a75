//! File flags under the names that libarchive gives them.

use std::fmt;
use std::str::FromStr;

/// A set of file flags, named as libarchive names them in `SCHILY.fflags`. The set is the same on
/// every platform, so a flag that this one cannot keep still survives being read from an archive and
/// written to another. Text form: names with commas between, `nodump,schg`, empty for no flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u32);

/// Text that names flags which nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Unknown file flags: {}", .unknown.join(","))]
pub struct UnknownFlags {
    /// The flags that are known, for a caller who reports the others and goes on.
    pub known: Flags,
    /// The names that are not.
    pub unknown: Vec<String>,
}

/// Name, bit, and the other names that libarchive and chflags(1) understand. Order is libarchive's
/// (`archive_entry.c`), which is also the order of the text form.
const TABLE: &[(&str, Flags, &[&str])] = &[
    ("sappnd", Flags::SAPPND, &["sappend"]),
    ("arch", Flags::ARCH, &["archived"]),
    ("schg", Flags::SCHG, &["schange", "simmutable"]),
    ("sunlnk", Flags::SUNLNK, &["sunlink"]),
    ("uappnd", Flags::UAPPND, &["uappend"]),
    ("uchg", Flags::UCHG, &["uchange", "uimmutable"]),
    ("nodump", Flags::NODUMP, &[]),
    ("opaque", Flags::OPAQUE, &[]),
    ("uunlnk", Flags::UUNLNK, &["uunlink"]),
    ("hidden", Flags::HIDDEN, &["uhidden"]),
    ("offline", Flags::OFFLINE, &["uoffline"]),
    ("rdonly", Flags::RDONLY, &["urdonly", "readonly"]),
    ("sparse", Flags::SPARSE, &["usparse"]),
    ("reparse", Flags::REPARSE, &["ureparse"]),
    ("system", Flags::SYSTEM, &["usystem"]),
    ("uarch", Flags::UARCH, &["uarchive"]),
    ("undel", Flags::UNDEL, &[]),
    ("compress", Flags::COMPRESS, &[]),
    ("noatime", Flags::NOATIME, &[]),
    ("dirsync", Flags::DIRSYNC, &[]),
    ("journal-data", Flags::JOURNAL_DATA, &["journal"]),
    ("secdel", Flags::SECDEL, &["securedeletion"]),
    ("sync", Flags::SYNC, &[]),
    ("notail", Flags::NOTAIL, &[]),
    ("topdir", Flags::TOPDIR, &[]),
    ("nocow", Flags::NOCOW, &[]),
    ("projinherit", Flags::PROJINHERIT, &[]),
];

impl Flags {
    /// Append-only, set by root.
    pub const SAPPND: Self = Self(1);
    /// Archived.
    pub const ARCH: Self = Self(1 << 1);
    /// Immutable, set by root.
    pub const SCHG: Self = Self(1 << 2);
    /// Cannot be unlinked, set by root.
    pub const SUNLNK: Self = Self(1 << 3);
    /// Append-only, set by the owner.
    pub const UAPPND: Self = Self(1 << 4);
    /// Immutable, set by the owner.
    pub const UCHG: Self = Self(1 << 5);
    /// Left out by dump(8).
    pub const NODUMP: Self = Self(1 << 6);
    /// Opaque directory of a union mount.
    pub const OPAQUE: Self = Self(1 << 7);
    /// Cannot be unlinked, set by the owner.
    pub const UUNLNK: Self = Self(1 << 8);
    /// DOS attribute hidden.
    pub const HIDDEN: Self = Self(1 << 9);
    /// DOS attribute offline.
    pub const OFFLINE: Self = Self(1 << 10);
    /// DOS attribute read-only.
    pub const RDONLY: Self = Self(1 << 11);
    /// Marked as sparse (Windows' meaning; holes need no flag).
    pub const SPARSE: Self = Self(1 << 12);
    /// Windows' reparse point.
    pub const REPARSE: Self = Self(1 << 13);
    /// DOS attribute system.
    pub const SYSTEM: Self = Self(1 << 14);
    /// DOS attribute archive; FreeBSD's ZFS sets it on every changed file.
    pub const UARCH: Self = Self(1 << 15);
    /// Undeletable.
    pub const UNDEL: Self = Self(1 << 16);
    /// Compressed by the file system.
    pub const COMPRESS: Self = Self(1 << 17);
    /// Access times are not kept.
    pub const NOATIME: Self = Self(1 << 18);
    /// Changes of a directory are written at once.
    pub const DIRSYNC: Self = Self(1 << 19);
    /// Data goes through the journal.
    pub const JOURNAL_DATA: Self = Self(1 << 20);
    /// Overwritten when deleted.
    pub const SECDEL: Self = Self(1 << 21);
    /// Changes are written at once.
    pub const SYNC: Self = Self(1 << 22);
    /// No tail merging.
    pub const NOTAIL: Self = Self(1 << 23);
    /// Top of a hierarchy, for block allocation.
    pub const TOPDIR: Self = Self(1 << 24);
    /// No copy on write.
    pub const NOCOW: Self = Self(1 << 25);
    /// New entries inherit the project.
    pub const PROJINHERIT: Self = Self(1 << 26);

    /// Flags under which an entry cannot be changed, linked or removed, or, on a directory, nothing
    /// in it.
    pub const FORBIDDING: Self =
        Self(Self::SAPPND.0 | Self::SCHG.0 | Self::SUNLNK.0 | Self::UAPPND.0 | Self::UCHG.0 | Self::UUNLNK.0);

    /// No flags.
    pub const fn empty() -> Self {
        Self(0)
    }

    /// Whether no flag is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether all of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags that are set in both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The flags that are set in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The flags that are set here and not in `other`.
    #[must_use]
    pub const fn difference(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The names of the flags that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        TABLE.iter().filter(move |(_, flag, _)| self.contains(*flag)).map(|(name, ..)| *name)
    }

    /// The flags that are set, one by one.
    pub fn each(self) -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(_, flag, _)| *flag).filter(move |flag| self.contains(*flag))
    }

    /// Those that file systems of this platform have; the others are lost when an entry is written.
    #[must_use]
    pub const fn kept_here(self) -> Self {
        self.intersection(super::platform::FLAGS)
    }

    /// Those of [`Flags::FORBIDDING`].
    #[must_use]
    pub const fn forbidding(self) -> Self {
        self.intersection(Self::FORBIDDING)
    }
}

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, name) in self.names().enumerate() {
            if nth > 0 {
                f.write_str(",")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl FromStr for Flags {
    type Err = UnknownFlags;

    fn from_str(text: &str) -> Result<Self, UnknownFlags> {
        let mut known = Self::empty();
        let mut unknown = Vec::new();
        for name in text.split(',').filter(|_| !text.is_empty()) {
            match TABLE.iter().find(|(main, _, others)| *main == name || others.contains(&name)) {
                Some((_, flag, _)) => known = known.union(*flag),
                None => unknown.push(name.to_owned()),
            }
        }
        if unknown.is_empty() { Ok(known) } else { Err(UnknownFlags { known, unknown }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flag_has_a_bit_and_a_name_of_its_own() {
        let mut all = Flags::empty();
        for (name, flag, others) in TABLE {
            assert!(!flag.is_empty() && all.intersection(*flag).is_empty(), "{name}");
            all = all.union(*flag);
            for text in std::iter::once(name).chain(*others) {
                assert_eq!(text.parse::<Flags>(), Ok(*flag), "{text}");
            }
            assert_eq!(flag.to_string(), *name);
        }
        assert_eq!(all.to_string().parse::<Flags>(), Ok(all));
        assert_eq!(all.names().count(), TABLE.len());
        let some = Flags::SCHG.union(Flags::NODUMP);
        let mut names: Vec<_> = some.names().collect();
        names.sort_unstable();
        assert_eq!(names, ["nodump", "schg"]);
        assert_eq!(some.each().map(|flag| flag.to_string()).collect::<Vec<_>>().len(), 2);
        assert_eq!(some.each().fold(Flags::empty(), Flags::union), some);
    }

    #[test]
    fn empty_text_is_no_flags() {
        assert_eq!("".parse::<Flags>(), Ok(Flags::empty()));
        assert_eq!(Flags::empty().to_string(), "");
    }

    #[test]
    fn unknown_names_are_reported_beside_the_known() {
        let error = "schg,shiny,nodump,".parse::<Flags>().unwrap_err();
        assert_eq!(error.known, Flags::SCHG.union(Flags::NODUMP));
        assert_eq!(error.unknown, ["shiny", ""]);
        assert_eq!(error.to_string(), "Unknown file flags: shiny,");
    }

    #[test]
    fn forbidding_flags_are_told_from_others() {
        let flags: Flags = "schg,nodump,uappnd".parse().unwrap();
        assert_eq!(flags.forbidding().to_string(), "schg,uappnd");
        assert!(Flags::NODUMP.forbidding().is_empty());
        let mut names: Vec<_> = Flags::FORBIDDING.names().collect();
        names.sort_unstable();
        assert_eq!(names, ["sappnd", "schg", "sunlnk", "uappnd", "uchg", "uunlnk"]);
    }

    #[test]
    fn flags_are_put_together_and_taken_away() {
        let flags = |text: &str| text.parse::<Flags>().unwrap();
        let (one, other) = (flags("schg,nodump"), flags("nodump,uappnd"));
        assert_eq!(one.union(other), flags("schg,nodump,uappnd"));
        assert_eq!(one.difference(other), Flags::SCHG);
        assert_eq!(one.intersection(other), Flags::NODUMP);
    }
}
