//! What an entry of a tree is, apart from its name and the bytes in it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::Flags;

/// The type of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A socket. tar has no member for it.
    Socket,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::File,
        Self::Directory,
        Self::Symlink,
        Self::Fifo,
        Self::CharDevice,
        Self::BlockDevice,
        Self::Socket,
    ];

    /// The name that people and the index see; [`Kind::from_str`] takes it back.
    pub const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Directory => "directory",
            Self::Symlink => "symlink",
            Self::Fifo => "fifo",
            Self::CharDevice => "char",
            Self::BlockDevice => "block",
            Self::Socket => "socket",
        }
    }

    /// With its article, as [`Error::WrongKind`](super::Error::WrongKind) says it.
    pub const fn described(self) -> &'static str {
        match self {
            Self::File => "a regular file",
            Self::Directory => "a directory",
            Self::Symlink => "a symbolic link",
            Self::Fifo => "a FIFO",
            Self::CharDevice => "a character device",
            Self::BlockDevice => "a block device",
            Self::Socket => "a socket",
        }
    }

    /// Whether it is a device node of either sort.
    pub const fn is_device(self) -> bool {
        matches!(self, Self::CharDevice | Self::BlockDevice)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Text that names no kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Not a kind of entry: {0:?}")]
pub struct UnknownKind(pub String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// A point in time as file systems keep it: seconds since 1970, negative before, and the
/// nanoseconds (0 to 999,999,999) that come on top, also for negative seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    pub seconds: i64,
    /// Nanoseconds after [`Timestamp::seconds`].
    pub nanoseconds: u32,
}

impl fmt::Display for Timestamp {
    /// As pax writes times: seconds, and where they are not whole a point and up to nine digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = i128::from(self.seconds) * NANOSECONDS + i128::from(self.nanoseconds);
        let (sign, size) = (if total < 0 { "-" } else { "" }, total.unsigned_abs());
        let (whole, rest) = (size / NANOSECONDS.unsigned_abs(), size % NANOSECONDS.unsigned_abs());
        if rest == 0 {
            return write!(f, "{sign}{whole}");
        }
        let digits = format!("{rest:09}");
        write!(f, "{sign}{whole}.{}", digits.trim_end_matches('0'))
    }
}

const NANOSECONDS: i128 = 1_000_000_000;

/// Text that is no time, or one that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Not a time: {0:?}")]
pub struct InvalidTimestamp(pub String);

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    /// Takes `-?[0-9]+(\.[0-9]{1,9})?` whose seconds, rounded down, fit 64 bits.
    fn from_str(text: &str) -> Result<Self, InvalidTimestamp> {
        let number = |digits: &str| {
            let good = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse::<i128>().ok().filter(|_| good)
        };
        let parse = || {
            let size = text.strip_prefix('-');
            let (whole, rest) = match size.unwrap_or(text).split_once('.') {
                Some((whole, rest)) if (1..=9).contains(&rest.len()) => {
                    (whole, number(&format!("{rest:0<9}"))?)
                }
                Some(_) => return None,
                None => (size.unwrap_or(text), 0),
            };
            // More digits than i64 has would overflow below.
            let whole = number(whole).filter(|&seconds| seconds <= 1 << 63)?;
            let total = (whole * NANOSECONDS + rest) * if size.is_some() { -1 } else { 1 };
            Some(Self {
                seconds: i64::try_from(total.div_euclid(NANOSECONDS)).ok()?,
                nanoseconds: u32::try_from(total.rem_euclid(NANOSECONDS)).ok()?,
            })
        };
        parse().ok_or_else(|| InvalidTimestamp(text.to_owned()))
    }
}

/// Whether a symbolic link can point there: the system takes no empty target, and none with a NUL.
pub(crate) fn is_target(target: &[u8]) -> bool {
    !target.is_empty() && !target.contains(&0)
}

/// Number of a device node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Device {
    /// Which driver.
    pub major: u32,
    /// Which of the driver's devices.
    pub minor: u32,
}

/// Access control lists in the text form that `SCHILY.acl.*` uses, numeric ids only, one entry
/// after another with commas between: `user::rwx,user:1000:rw-,group::r-x,mask::rwx,other::r-x`.
/// `None` where the permission bits say it all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Acl {
    /// POSIX.1e access ACL.
    pub access: Option<String>,
    /// POSIX.1e default ACL of a directory.
    pub default: Option<String>,
    /// `NFSv4` ACL (`SCHILY.acl.ace`), as FreeBSD's ZFS has them.
    pub nfs4: Option<String>,
}

impl Acl {
    /// Whether the permission bits say it all.
    pub fn is_empty(&self) -> bool {
        self.access.is_none() && self.default.is_none() && self.nfs4.is_none()
    }
}

/// All that an archive keeps of an entry besides its name and content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Type.
    pub kind: Kind,
    /// Permission bits with setuid, setgid and sticky (`0o7777`).
    pub mode: u32,
    /// Numeric owner.
    pub uid: u32,
    /// Numeric group.
    pub gid: u32,
    /// Time of last modification.
    pub mtime: Timestamp,
    /// Length of a regular file's content in bytes; 0 for every other kind.
    pub size: u64,
    /// Where a symbolic link points, as found.
    pub target: Option<Vec<u8>>,
    /// Number of a device node.
    pub device: Option<Device>,
    /// Extended attributes by full name (`user.…`, `trusted.…`, `security.…`), without those that
    /// hold ACLs.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Access control lists.
    pub acl: Acl,
    /// File flags.
    pub flags: Flags,
}

/// What tells an entry from all others in its file system, and whether it was touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Device of the file system.
    pub device: u64,
    /// Number in the file system.
    pub inode: u64,
    /// Names that the entry has.
    pub links: u64,
    /// Time of last change of content or attributes.
    pub ctime: Timestamp,
}

/// An entry that was found in a live tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What an archive keeps.
    pub entry: Entry,
    /// What it was in its file system.
    pub identity: Identity,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64, nanoseconds: u32) -> Timestamp {
        Timestamp { seconds, nanoseconds }
    }

    #[test]
    fn times_have_one_exact_text_each() {
        for (text, value) in [
            ("0", time(0, 0)),
            ("1.5", time(1, 500_000_000)),
            ("-1.5", time(-2, 500_000_000)),
            ("-0.000000001", time(-1, 999_999_999)),
            ("0.000000001", time(0, 1)),
            ("-1", time(-1, 0)),
            ("9223372036854775807.999999999", time(i64::MAX, 999_999_999)),
            ("-9223372036854775808", time(i64::MIN, 0)),
            ("-9223372036854775807.999999999", time(i64::MIN, 1)),
        ] {
            assert_eq!(value.to_string(), text);
            assert_eq!(text.parse(), Ok(value));
        }
        assert_eq!("1.500000000".parse(), Ok(time(1, 500_000_000)));
        assert_eq!("-0".parse(), Ok(time(0, 0)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "-",
            ".5",
            "1.",
            "+1",
            "1.1234567890",
            "1e3",
            " 1",
            "--1",
            "1.-5",
            "1.5.5",
            "9223372036854775808",
            "-9223372036854775808.5",
            "-9223372036854775809",
            "99999999999999999999999999999999999999999999",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp(text.to_owned())));
        }
    }

    #[test]
    fn an_acl_is_empty_without_any_of_the_three() {
        let some = Some("user::rwx".to_owned());
        let none = Acl::default();
        assert!(none.is_empty());
        assert!(!Acl { access: some.clone(), ..none.clone() }.is_empty());
        assert!(!Acl { default: some.clone(), ..none.clone() }.is_empty());
        assert!(!Acl { nfs4: some, ..none }.is_empty());
    }

    #[test]
    fn no_link_points_nowhere() {
        assert!(is_target(b"..") && is_target(b"\xff"));
        assert!(!is_target(b"") && !is_target(b"a\0") && !is_target(b"\0"));
    }

    #[test]
    fn kinds_are_named() {
        let devices: Vec<_> = Kind::ALL.into_iter().filter(|kind| kind.is_device()).collect();
        assert_eq!(devices, [Kind::CharDevice, Kind::BlockDevice]);
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let described: std::collections::BTreeSet<_> = Kind::ALL.into_iter().map(Kind::described).collect();
        assert_eq!(described.len(), Kind::ALL.len());
        assert!(described.contains("a regular file") && described.contains("a block device"));
        assert!("File".parse::<Kind>().is_err());
    }
}
