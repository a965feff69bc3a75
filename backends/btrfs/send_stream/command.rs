//! What a stream tells its receiver to do.

use super::Malformed;
use super::attributes::{self as kind, Attributes};

/// Numbers of the commands that a stream begins and ends with, and of the one that takes from another subvolume.
pub(in crate::btrfs) const SUBVOL: u16 = 1;
pub(in crate::btrfs) const SNAPSHOT: u16 = 2;
pub(in crate::btrfs) const CLONE: u16 = 16;
pub(in crate::btrfs) const END: u16 = 21;

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Since 1970, or before it.
    pub seconds: i64,
    /// Added to the seconds; a stream can have more than a second of them.
    pub nanoseconds: u32,
}

/// A command. Paths are relative to the subvolume, without a slash at either end, "" being its root; they are the names that
/// the receiver has at that moment, not those of either tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // the fields are the format's
pub enum Command<'a> {
    /// What follows makes a subvolume from nothing.
    Subvol {
        path: &'a [u8],
        uuid: [u8; 16],
        ctransid: u64,
    },
    /// What follows makes a subvolume from another one.
    Snapshot {
        path: &'a [u8],
        uuid: [u8; 16],
        ctransid: u64,
        clone_uuid: [u8; 16],
        clone_ctransid: u64,
    },
    Mkfile {
        path: &'a [u8],
        inode: u64,
    },
    Mkdir {
        path: &'a [u8],
        inode: u64,
    },
    Mknod {
        path: &'a [u8],
        inode: u64,
        mode: u64,
        rdev: u64,
    },
    Mkfifo {
        path: &'a [u8],
        inode: u64,
    },
    Mksock {
        path: &'a [u8],
        inode: u64,
    },
    Symlink {
        path: &'a [u8],
        inode: u64,
        target: &'a [u8],
    },
    Rename {
        path: &'a [u8],
        to: &'a [u8],
    },
    /// `path` becomes one more name of `existing`.
    Link {
        path: &'a [u8],
        existing: &'a [u8],
    },
    Unlink {
        path: &'a [u8],
    },
    Rmdir {
        path: &'a [u8],
    },
    SetXattr {
        path: &'a [u8],
        name: &'a [u8],
        value: &'a [u8],
    },
    RemoveXattr {
        path: &'a [u8],
        name: &'a [u8],
    },
    Write {
        path: &'a [u8],
        offset: u64,
        data: &'a [u8],
    },
    Clone {
        path: &'a [u8],
        offset: u64,
        bytes: u64,
        source_uuid: [u8; 16],
        source_ctransid: u64,
        source_path: &'a [u8],
        source_offset: u64,
    },
    Truncate {
        path: &'a [u8],
        size: u64,
    },
    Chmod {
        path: &'a [u8],
        mode: u64,
    },
    Chown {
        path: &'a [u8],
        uid: u64,
        gid: u64,
    },
    Utimes {
        path: &'a [u8],
        atime: Time,
        mtime: Time,
        ctime: Time,
    },
    /// The end of the stream.
    End,
    /// In place of data, in a stream that was made without.
    UpdateExtent {
        path: &'a [u8],
        offset: u64,
        bytes: u64,
    },
    Fallocate {
        path: &'a [u8],
        mode: u32,
        offset: u64,
        bytes: u64,
    },
    /// The inode's flags.
    Fileattr {
        path: &'a [u8],
        attributes: u64,
    },
    EncodedWrite {
        path: &'a [u8],
        offset: u64,
        unencoded_file_bytes: u64,
        unencoded_bytes: u64,
        unencoded_offset: u64,
        compression: u32,
        encryption: u32,
        data: &'a [u8],
    },
    EnableVerity {
        path: &'a [u8],
        algorithm: u8,
        block_bytes: u32,
        salt: &'a [u8],
        signature: &'a [u8],
    },
}

/// The largest command in a version.
fn largest(version: u32) -> u16 {
    match version {
        1 => 22,
        2 => 25,
        _ => 26,
    }
}

impl<'a> Command<'a> {
    pub(super) fn read(version: u32, number: u16, given: &Attributes<'a>) -> Result<Self, Malformed> {
        if number > largest(version) {
            return Err(Malformed::Command(number));
        }
        if number == END {
            return Ok(Self::End);
        }
        let path = given.path(kind::PATH);
        Ok(match number {
            SUBVOL | SNAPSHOT => Self::subvolume(number, given)?,
            3..=8 => Self::make(number, given)?,
            9 => Self::Rename { path: path?, to: given.path(kind::PATH_TO)? },
            10 => Self::Link { path: path?, existing: given.path(kind::PATH_LINK)? },
            11 => Self::Unlink { path: path? },
            12 => Self::Rmdir { path: path? },
            13 => Self::SetXattr {
                path: path?,
                name: given.bytes(kind::XATTR_NAME)?,
                value: given.bytes(kind::XATTR_DATA)?,
            },
            14 => Self::RemoveXattr { path: path?, name: given.bytes(kind::XATTR_NAME)? },
            18 => Self::Chmod { path: path?, mode: given.u64(kind::MODE)? },
            19 => Self::Chown { path: path?, uid: given.u64(kind::UID)?, gid: given.u64(kind::GID)? },
            20 => Self::Utimes {
                path: path?,
                atime: given.time(kind::ATIME)?,
                mtime: given.time(kind::MTIME)?,
                ctime: given.time(kind::CTIME)?,
            },
            24 => Self::Fileattr { path: path?, attributes: given.u64(kind::FILEATTR)? },
            26 => Self::EnableVerity {
                path: path?,
                algorithm: given.u8(kind::VERITY_ALGORITHM)?,
                block_bytes: given.u32(kind::VERITY_BLOCK_SIZE)?,
                salt: given.bytes(kind::VERITY_SALT)?,
                signature: given.bytes(kind::VERITY_SIGNATURE)?,
            },
            _ => Self::content(number, given)?,
        })
    }

    fn subvolume(number: u16, given: &Attributes<'a>) -> Result<Self, Malformed> {
        let path = given.path(kind::PATH)?;
        let uuid = given.array(kind::UUID)?;
        let ctransid = given.u64(kind::CTRANSID)?;
        if number == SUBVOL {
            return Ok(Self::Subvol { path, uuid, ctransid });
        }
        let clone_uuid = given.array(kind::CLONE_UUID)?;
        let clone_ctransid = given.u64(kind::CLONE_CTRANSID)?;
        Ok(Self::Snapshot { path, uuid, ctransid, clone_uuid, clone_ctransid })
    }

    fn make(number: u16, given: &Attributes<'a>) -> Result<Self, Malformed> {
        let path = given.path(kind::PATH)?;
        let inode = given.u64(kind::INO)?;
        Ok(match number {
            3 => Self::Mkfile { path, inode },
            4 => Self::Mkdir { path, inode },
            5 => Self::Mknod { path, inode, mode: given.u64(kind::MODE)?, rdev: given.u64(kind::RDEV)? },
            6 => Self::Mkfifo { path, inode },
            7 => Self::Mksock { path, inode },
            8 => Self::Symlink { path, inode, target: given.bytes(kind::PATH_LINK)? },
            _ => return Err(Malformed::Command(number)),
        })
    }

    fn content(number: u16, given: &Attributes<'a>) -> Result<Self, Malformed> {
        if !matches!(number, 15..=17 | 22 | 23 | 25) {
            return Err(Malformed::Command(number));
        }
        let path = given.path(kind::PATH)?;
        if number == 17 {
            return Ok(Self::Truncate { path, size: given.u64(kind::SIZE)? });
        }
        let offset = given.u64(kind::FILE_OFFSET)?;
        Ok(match number {
            15 => Self::Write { path, offset, data: given.bytes(kind::DATA)? },
            CLONE => Self::Clone {
                path,
                offset,
                bytes: given.u64(kind::CLONE_LEN)?,
                source_uuid: given.array(kind::CLONE_UUID)?,
                source_ctransid: given.u64(kind::CLONE_CTRANSID)?,
                source_path: given.path(kind::CLONE_PATH)?,
                source_offset: given.u64(kind::CLONE_OFFSET)?,
            },
            22 => Self::UpdateExtent { path, offset, bytes: given.u64(kind::SIZE)? },
            23 => Self::Fallocate {
                path,
                mode: given.u32(kind::FALLOCATE_MODE)?,
                offset,
                bytes: given.u64(kind::SIZE)?,
            },
            _ => Self::EncodedWrite {
                path,
                offset,
                unencoded_file_bytes: given.u64(kind::UNENCODED_FILE_LEN)?,
                unencoded_bytes: given.u64(kind::UNENCODED_LEN)?,
                unencoded_offset: given.u64(kind::UNENCODED_OFFSET)?,
                compression: given.u32_or_0(kind::COMPRESSION)?,
                encryption: given.u32_or_0(kind::ENCRYPTION)?,
                data: given.bytes(kind::DATA)?,
            },
        })
    }
}
