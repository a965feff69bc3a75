//! Where the bytes of a file lie on the device: `FIEMAP`.
//!
//! The numbers and structures are those of `linux/fiemap.h` and `linux/fs.h`.

use std::io;
use std::os::fd::AsFd;

/// A run of a file's bytes that lies in one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// Where it begins in the file, in bytes.
    pub logical: u64,
    /// Where it begins on the device or, on a file system of several, in their common address space, in bytes.
    pub physical: u64,
    /// How long it is, in bytes.
    pub length: u64,
    /// Bits of `FIEMAP_EXTENT_`.
    pub flags: u32,
}

impl Mapped {
    /// It is the file's last one.
    pub const LAST: u32 = 0x0001;
    /// The space is reserved, and its bytes read as zeros.
    pub const UNWRITTEN: u32 = 0x0800;
    /// The space is shared with other files.
    pub const SHARED: u32 = 0x2000;
}

/// The first of the file's extents that have bytes in the `length` bytes at `from`, in ascending order: so many that they fit one call,
/// and none only where there is no other. What programs have written is brought to the device first. Between two calls the file may
/// change.
pub fn extents(file: impl AsFd, from: u64, length: u64) -> io::Result<Vec<Mapped>> {
    platform::extents(file.as_fd(), from, length)
}

/// Whether an equal [`Mapped::physical`] of two files of one file system means the same place: on XFS and btrfs, but not for files of an
/// XFS real-time device, whose addresses are those of another device.
pub fn has_plain_addresses(file: impl AsFd) -> io::Result<bool> {
    platform::has_plain_addresses(file.as_fd())
}

#[cfg(target_os = "linux")]
mod platform {
    use std::io;
    use std::os::fd::BorrowedFd;

    use rustix::ioctl::{Getter, Opcode, Updater, ioctl, opcode};

    use super::Mapped;

    /// Extents that fit one call: enough for all but the most fragmented files.
    const COUNT: u32 = 64;

    /// `struct fiemap`, without the array at its end.
    #[repr(C)]
    struct Head {
        start: u64,
        length: u64,
        flags: u32,
        mapped_extents: u32,
        extent_count: u32,
        reserved: u32,
    }

    /// `struct fiemap_extent`
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Extent {
        logical: u64,
        physical: u64,
        length: u64,
        reserved64: [u64; 2],
        flags: u32,
        reserved: [u32; 3],
    }

    #[repr(C)]
    struct Request {
        head: Head,
        extents: [Extent; COUNT as usize],
    }

    /// `struct fsxattr`
    #[repr(C)]
    struct Attributes {
        xflags: u32,
        others: [u32; 4],
        padding: [u8; 8],
    }

    const FS_IOC_FIEMAP: Opcode = opcode::read_write::<Head>(b'f', 11);
    const FS_IOC_FSGETXATTR: Opcode = opcode::read::<Attributes>(b'X', 31);
    const FIEMAP_FLAG_SYNC: u32 = 1;
    const FS_XFLAG_REALTIME: u32 = 1;
    const XFS_SUPER_MAGIC: rustix::fs::FsWord = 0x5846_5342;
    const BTRFS_SUPER_MAGIC: rustix::fs::FsWord = 0x9123_683e;

    pub(super) fn extents(file: BorrowedFd<'_>, from: u64, length: u64) -> io::Result<Vec<Mapped>> {
        let none =
            Extent { logical: 0, physical: 0, length: 0, reserved64: [0; 2], flags: 0, reserved: [0; 3] };
        let mut request = Request {
            head: Head {
                start: from,
                length,
                flags: FIEMAP_FLAG_SYNC,
                mapped_extents: 0,
                extent_count: COUNT,
                reserved: 0,
            },
            extents: [none; COUNT as usize],
        };
        // SAFETY: the kernel takes a `struct fiemap` and writes to it and to as many extents behind it as `extent_count` says, which is as
        // many as there are. Every bit pattern is a value of these types.
        unsafe { ioctl(file, Updater::<FS_IOC_FIEMAP, Request>::new(&mut request))? };
        let mapped = request.head.mapped_extents.min(COUNT) as usize;
        let extent = |found: &Extent| Mapped {
            logical: found.logical,
            physical: found.physical,
            length: found.length,
            flags: found.flags,
        };
        Ok(request.extents[..mapped].iter().map(extent).collect())
    }

    pub(super) fn has_plain_addresses(file: BorrowedFd<'_>) -> io::Result<bool> {
        match rustix::fs::fstatfs(file)?.f_type {
            BTRFS_SUPER_MAGIC => Ok(true),
            // SAFETY: the kernel writes a `struct fsxattr`, of which every bit pattern is a value.
            XFS_SUPER_MAGIC => Ok(unsafe { ioctl(file, Getter::<FS_IOC_FSGETXATTR, Attributes>::new())? }
                .xflags
                & FS_XFLAG_REALTIME
                == 0),
            _ => Ok(false),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use std::io;
    use std::os::fd::BorrowedFd;

    use super::Mapped;

    pub(super) fn extents(_: BorrowedFd<'_>, _: u64, _: u64) -> io::Result<Vec<Mapped>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn has_plain_addresses(_: BorrowedFd<'_>) -> io::Result<bool> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
