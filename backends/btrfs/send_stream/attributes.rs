//! The attributes of one command.

use super::Malformed;
use super::command::Time;
use super::frame::fields;

/// Defines the types with their numbers, in the order of the format.
macro_rules! types {
    ($($name:ident = $number:literal;)*) => { $(pub(in crate::btrfs) const $name: u16 = $number;)* };
}

types! {
    UUID = 1; CTRANSID = 2; INO = 3; SIZE = 4; MODE = 5; UID = 6; GID = 7; RDEV = 8;
    CTIME = 9; MTIME = 10; ATIME = 11;
    XATTR_NAME = 13; XATTR_DATA = 14; PATH = 15; PATH_TO = 16; PATH_LINK = 17; FILE_OFFSET = 18; DATA = 19;
    CLONE_UUID = 20; CLONE_CTRANSID = 21; CLONE_PATH = 22; CLONE_OFFSET = 23; CLONE_LEN = 24;
    FALLOCATE_MODE = 25; FILEATTR = 26; UNENCODED_FILE_LEN = 27; UNENCODED_LEN = 28; UNENCODED_OFFSET = 29;
    COMPRESSION = 30; ENCRYPTION = 31;
    VERITY_ALGORITHM = 32; VERITY_BLOCK_SIZE = 33; VERITY_SALT = 34; VERITY_SIGNATURE = 35;
}

const COUNT: usize = 36;

/// The largest type in a version.
fn largest(version: u32) -> u16 {
    match version {
        1 => CLONE_LEN,
        2 => ENCRYPTION,
        _ => VERITY_SIGNATURE,
    }
}

/// Values by type.
#[derive(Debug)]
pub(super) struct Attributes<'a>([Option<&'a [u8]>; COUNT]);

impl<'a> Attributes<'a> {
    pub(super) fn read(version: u32, body: &'a [u8]) -> Result<Self, Malformed> {
        let mut values = [None; COUNT];
        for field in fields(version, body) {
            let (kind, value) = field?;
            if kind == 0 || kind > largest(version) {
                return Err(Malformed::Attribute(kind));
            }
            if values[usize::from(kind)].replace(value).is_some() {
                return Err(Malformed::Twice(kind));
            }
        }
        Ok(Self(values))
    }

    pub(super) fn bytes(&self, kind: u16) -> Result<&'a [u8], Malformed> {
        self.0[usize::from(kind)].ok_or(Malformed::Missing(kind))
    }

    /// A path without a slash at either end; "" is the root.
    pub(super) fn path(&self, kind: u16) -> Result<&'a [u8], Malformed> {
        let path = self.bytes(kind)?;
        let is_name = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
        if path.is_empty() || path.split(|&byte| byte == b'/').all(is_name) {
            Ok(path)
        } else {
            Err(Malformed::Value(kind))
        }
    }

    pub(super) fn u8(&self, kind: u16) -> Result<u8, Malformed> {
        self.array(kind).map(u8::from_le_bytes)
    }

    pub(super) fn u32(&self, kind: u16) -> Result<u32, Malformed> {
        self.array(kind).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&self, kind: u16) -> Result<u64, Malformed> {
        self.array(kind).map(u64::from_le_bytes)
    }

    pub(super) fn array<const BYTES: usize>(&self, kind: u16) -> Result<[u8; BYTES], Malformed> {
        self.bytes(kind)?.try_into().map_err(|_| Malformed::Value(kind))
    }

    pub(super) fn time(&self, kind: u16) -> Result<Time, Malformed> {
        let malformed = Malformed::Value(kind);
        let (seconds, rest) = self.bytes(kind)?.split_first_chunk().ok_or(malformed)?;
        let nanoseconds = rest.try_into().map_err(|_| malformed)?;
        Ok(Time { seconds: i64::from_le_bytes(*seconds), nanoseconds: u32::from_le_bytes(nanoseconds) })
    }

    /// What is missing is 0.
    pub(super) fn u32_or_0(&self, kind: u16) -> Result<u32, Malformed> {
        if self.0[usize::from(kind)].is_some() { self.u32(kind) } else { Ok(0) }
    }
}
