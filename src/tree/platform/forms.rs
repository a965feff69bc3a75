//! Forms in which FreeBSD's calls give and take what an entry has: bits of flags, and names of extended attributes.

use super::super::Flags;

/// Bits of `st_flags` (`sys/stat.h`). Others, as that of a snapshot of UFS, are the file system's own.
const FILE_FLAGS: &[(u32, Flags)] = &[
    (0x0000_0001, Flags::NODUMP),
    (0x0000_0002, Flags::UCHG),
    (0x0000_0004, Flags::UAPPND),
    (0x0000_0008, Flags::OPAQUE),
    (0x0000_0010, Flags::UUNLNK),
    (0x0000_0080, Flags::SYSTEM),
    (0x0000_0100, Flags::SPARSE),
    (0x0000_0200, Flags::OFFLINE),
    (0x0000_0400, Flags::REPARSE),
    (0x0000_0800, Flags::UARCH),
    (0x0000_1000, Flags::RDONLY),
    (0x0000_8000, Flags::HIDDEN),
    (0x0001_0000, Flags::ARCH),
    (0x0002_0000, Flags::SCHG),
    (0x0004_0000, Flags::SAPPND),
    (0x0010_0000, Flags::SUNLNK),
];

/// Flags that have a bit.
pub(crate) const FLAGS: Flags = {
    let (mut all, mut nth) = (Flags::empty(), 0);
    while nth < FILE_FLAGS.len() {
        all = all.union(FILE_FLAGS[nth].1);
        nth += 1;
    }
    all
};

/// The flags that bits stand for.
pub(crate) fn flags_of(bits: u32) -> Flags {
    FILE_FLAGS
        .iter()
        .filter(|(bit, _)| bits & bit != 0)
        .fold(Flags::empty(), |flags, (_, flag)| flags.union(*flag))
}

/// `bits` with these flags and no others; bits that stand for none stay.
pub(crate) fn bits_with(bits: u32, flags: Flags) -> u32 {
    FILE_FLAGS
        .iter()
        .fold(bits, |bits, (bit, flag)| if flags.contains(*flag) { bits | bit } else { bits & !bit })
}

/// UFS keeps ACLs as these attributes of the namespace `system`, in a form of its own.
const ACLS: [&[u8]; 3] = [b"posix1e.acl_access", b"posix1e.acl_default", b"nfs4.acl"];

/// Where an attribute is; its name there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attribute<'a> {
    /// In the namespace `user`.
    User(&'a [u8]),
    /// In the namespace `system`.
    System(&'a [u8]),
}

/// Where an attribute of this full name is; `None` where there can be none: elsewhere, or as part of an ACL.
pub(crate) fn attribute(full: &[u8]) -> Option<Attribute<'_>> {
    let (found, name) = if let Some(name) = full.strip_prefix(b"user.") {
        (Attribute::User(name), name)
    } else {
        let name = full.strip_prefix(b"system.")?;
        (Attribute::System(name), name)
    };
    let is_acl = matches!(found, Attribute::System(name) if ACLS.contains(&name));
    (!is_acl && !name.is_empty() && !name.contains(&0)).then_some(found)
}

/// The names in a list, each of which has a byte with its length in front. The rest of a list that ends within a name is no name.
pub(crate) fn names(list: &[u8]) -> Vec<&[u8]> {
    let mut names = Vec::new();
    let mut rest = list;
    while let Some((&length, after)) = rest.split_first() {
        let Some((name, after)) = after.split_at_checked(length.into()) else { break };
        names.push(name);
        rest = after;
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_bits_are_each_others_inverse() {
        let mut all = 0;
        for (bit, flag) in FILE_FLAGS {
            assert!(bit.is_power_of_two() && all & bit == 0, "{flag}");
            all |= bit;
            assert_eq!(flags_of(*bit), *flag);
            assert_eq!(bits_with(0, *flag), *bit);
        }
        assert_eq!(flags_of(all), FLAGS);
        assert_eq!(flags_of(u32::MAX), FLAGS);
    }

    #[test]
    fn bits_of_the_file_system_stay() {
        // SF_SNAPSHOT and UF_TRACKED.
        let strange = 0x0020_0000 | 0x40;
        let uchg_nodump = 0x0000_0003;
        let schg = "schg,nocow".parse().unwrap();
        assert_eq!(bits_with(strange | uchg_nodump, schg), strange | 0x0002_0000);
        assert_eq!(bits_with(strange | uchg_nodump, Flags::empty()), strange);
        // What is set already stays.
        assert_eq!(bits_with(0x0002_0000, schg), 0x0002_0000);
    }

    #[test]
    fn forbidding_flags_are_all_there() {
        assert!(FLAGS.contains(Flags::FORBIDDING));
        assert!(!FLAGS.contains(Flags::NOCOW));
    }

    #[test]
    fn attributes_are_found_by_their_full_names() {
        assert_eq!(attribute(b"user.a.b"), Some(Attribute::User(b"a.b")));
        assert_eq!(attribute(b"system.x"), Some(Attribute::System(b"x")));
        assert_eq!(attribute(b"user.nfs4.acl"), Some(Attribute::User(b"nfs4.acl")));
        for none in [
            &b"trusted.x"[..],
            b"security.capability",
            b"user",
            b"user.",
            b"user.a\0b",
            b"system.nfs4.acl",
            b"system.posix1e.acl_access",
            b"system.posix1e.acl_default",
        ] {
            assert_eq!(attribute(none), None, "{}", none.escape_ascii());
        }
    }

    #[test]
    fn a_list_falls_into_names() {
        assert_eq!(names(b""), Vec::<&[u8]>::new());
        assert_eq!(names(b"\x01a\x03b\xffc\x05.note"), [&b"a"[..], b"b\xffc", b".note"]);
        assert_eq!(names(b"\x01a\x05cut"), [b"a"]);
        assert_eq!(names(b"\x00\x01a"), [&b""[..], b"a"]);
    }
}
