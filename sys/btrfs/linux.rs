//! The ioctls of Linux.

use super::{ROOT_INODE, Subvolume, Uuid};
use rustix::io::Errno;
use rustix::ioctl::{self, Opcode, Updater, opcode};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

#[path = "search.rs"]
mod search;

pub(super) use search::{changed_inodes, find_subvolume};

const MAGIC: u8 = 0x94;
const FILE_SYSTEM: u64 = 0x9123_683E;
/// As the ioctls about flags have it.
const READ_ONLY: u64 = 1 << 1;
/// As it is stored, which the ioctl about subvolumes passes on.
const STORED_READ_ONLY: u64 = 1 << 0;
/// Leaves the content of files out of a stream.
const NO_FILE_DATA: u64 = 1 << 0;
/// Names and paths are as long as these, with their final zero byte.
const NAME_BYTES: usize = 256;
const V2_NAME_BYTES: usize = 4040;
const V1_NAME_BYTES: usize = 4088;
const USER_PATH_BYTES: usize = 3824;
const LOOKUP_BYTES: usize = 4080;
const REFS: usize = 255;

#[repr(C)]
struct NameV1 {
    fd: i64,
    name: [u8; V1_NAME_BYTES],
}

#[repr(C)]
struct NameV2 {
    fd: i64,
    transaction: u64,
    flags: u64,
    unused: [u64; 4],
    name: [u8; V2_NAME_BYTES],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Time {
    seconds: u64,
    nanoseconds: u32,
}

#[repr(C)]
struct Info {
    id: u64,
    name: [u8; NAME_BYTES],
    parent_id: u64,
    directory: u64,
    generation: u64,
    flags: u64,
    uuid: Uuid,
    parent_uuid: Uuid,
    received_uuid: Uuid,
    changed: u64,
    created: u64,
    sent: u64,
    received: u64,
    times: [Time; 4],
    reserved: [u64; 8],
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Ref {
    id: u64,
    directory: u64,
}

#[repr(C)]
struct Send {
    fd: i64,
    clone_sources_count: u64,
    clone_sources: u64,
    parent: u64,
    flags: u64,
    version: u32,
    reserved: [u8; 28],
}

#[repr(C)]
struct Refs {
    min_id: u64,
    found: [Ref; REFS],
    count: u8,
    align: [u8; 7],
}

#[repr(C)]
struct LookupUser {
    directory: u64,
    id: u64,
    name: [u8; NAME_BYTES],
    path: [u8; USER_PATH_BYTES],
}

#[repr(C)]
struct Lookup {
    tree: u64,
    inode: u64,
    path: [u8; LOOKUP_BYTES],
}

const _: () = {
    assert!(size_of::<Send>() == 72);
    assert!(size_of::<NameV1>() == 4096);
    assert!(size_of::<NameV2>() == 4096);
    assert!(size_of::<Info>() == 504);
    assert!(size_of::<Refs>() == 4096);
    assert!(size_of::<LookupUser>() == 4096);
    assert!(size_of::<Lookup>() == 4096);
};

const SNAP_DESTROY: Opcode = opcode::write::<NameV1>(MAGIC, 15);
const INO_LOOKUP: Opcode = opcode::read_write::<Lookup>(MAGIC, 18);
const SNAP_CREATE: Opcode = opcode::write::<NameV2>(MAGIC, 23);
const SUBVOL_CREATE: Opcode = opcode::write::<NameV2>(MAGIC, 24);
const GET_FLAGS: Opcode = opcode::read::<u64>(MAGIC, 25);
const SET_FLAGS: Opcode = opcode::write::<u64>(MAGIC, 26);
const SEND: Opcode = opcode::write::<Send>(MAGIC, 38);
const SUBVOL_INFO: Opcode = opcode::read::<Info>(MAGIC, 60);
const SUBVOL_REFS: Opcode = opcode::read_write::<Refs>(MAGIC, 61);
const INO_LOOKUP_USER: Opcode = opcode::read_write::<LookupUser>(MAGIC, 62);

/// A type that consists of integers alone, so that any bytes are a value of it.
///
/// # Safety
///
/// That must be so.
unsafe trait Plain: Sized {
    /// All bytes 0.
    #[allow(clippy::unnecessary_box_returns)] // it would pass by the stack
    fn zeroed() -> Box<Self> {
        let layout = std::alloc::Layout::new::<Self>();
        const { assert!(size_of::<Self>() > 0) };
        // SAFETY: the layout's size is not 0. Zeroes are a value of a plain type, and Box frees with the same layout.
        unsafe {
            let memory = std::alloc::alloc_zeroed(layout);
            if memory.is_null() {
                std::alloc::handle_alloc_error(layout);
            }
            Box::from_raw(memory.cast())
        }
    }
}

// SAFETY: integers alone.
unsafe impl Plain for NameV1 {}
// SAFETY: integers alone.
unsafe impl Plain for NameV2 {}
// SAFETY: integers alone.
unsafe impl Plain for Info {}
// SAFETY: integers alone. What the address among them would point to is read where its count is not 0, and it is 0.
unsafe impl Plain for Send {}
// SAFETY: integers alone.
unsafe impl Plain for Refs {}
// SAFETY: integers alone.
unsafe impl Plain for LookupUser {}
// SAFETY: integers alone.
unsafe impl Plain for Lookup {}
// SAFETY: integers alone.
unsafe impl Plain for u64 {}

/// Calls an ioctl of btrfs that reads and writes at most a `T`.
fn call<const CODE: Opcode, T: Plain>(fd: BorrowedFd<'_>, value: &mut T) -> rustix::io::Result<()> {
    // SAFETY: the constants above pair each opcode with the structure that it takes, whose layout is asserted; the kernel
    // writes within it, and whatever it writes is a value of a plain type.
    unsafe { ioctl::ioctl(fd, Updater::<CODE, T>::new(value)) }
}

fn put_name(target: &mut [u8], name: &[u8]) -> io::Result<()> {
    if name.is_empty() || name.contains(&0) || name.contains(&b'/') {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // With a zero byte behind it. What is longer than a name can be, the kernel refuses.
    match target.get_mut(..=name.len()) {
        Some(place) => place[..name.len()].copy_from_slice(name),
        None => return Err(Errno::NAMETOOLONG.into()),
    }
    Ok(())
}

fn text(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

pub(super) fn is_btrfs(file: BorrowedFd<'_>) -> io::Result<bool> {
    #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast)] // its type differs between architectures
    let found = rustix::fs::fstatfs(file)?.f_type as u64;
    // Where the type is of 32 bits, its sign was extended.
    Ok(found & 0xFFFF_FFFF == FILE_SYSTEM)
}

pub(super) fn subvolume(file: BorrowedFd<'_>) -> io::Result<Subvolume> {
    let mut info = Info::zeroed();
    call::<SUBVOL_INFO, _>(file, &mut *info)?;
    let some = |uuid: Uuid| (uuid != Uuid::default()).then_some(uuid);
    Ok(Subvolume {
        id: info.id,
        uuid: info.uuid,
        parent_uuid: some(info.parent_uuid),
        received_uuid: some(info.received_uuid),
        read_only: info.flags & STORED_READ_ONLY != 0,
        changed_transaction: info.changed,
        created_transaction: info.created,
        created_seconds: info.times[1].seconds.cast_signed(),
    })
}

pub(super) fn subvolumes_below(directory: BorrowedFd<'_>) -> io::Result<Vec<(u64, Vec<u8>)>> {
    let mut found = Vec::new();
    let mut refs = Refs::zeroed();
    loop {
        let more = match call::<SUBVOL_REFS, _>(directory, &mut *refs) {
            Ok(()) => false,
            Err(Errno::OVERFLOW) => true,
            Err(errno) => return Err(errno.into()),
        };
        for reference in &refs.found[..usize::from(refs.count)] {
            if let Some(path) = path_below(directory, *reference)? {
                found.push((reference.id, path));
            }
        }
        if !more {
            return Ok(found);
        }
    }
}

/// `None` if it does not lie below, or is gone by now.
fn path_below(directory: BorrowedFd<'_>, reference: Ref) -> io::Result<Option<Vec<u8>>> {
    let mut lookup = LookupUser::zeroed();
    lookup.directory = reference.directory;
    lookup.id = reference.id;
    match call::<INO_LOOKUP_USER, _>(directory, &mut *lookup) {
        Ok(()) => Ok(Some([text(&lookup.path), text(&lookup.name)].concat())),
        Err(Errno::ACCESS | Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

pub(super) fn path_of_inode(file: BorrowedFd<'_>, inode: u64) -> io::Result<Vec<u8>> {
    let mut lookup = Lookup::zeroed();
    lookup.inode = inode;
    call::<INO_LOOKUP, _>(file, &mut *lookup)?;
    let path = text(&lookup.path);
    Ok(path.strip_suffix(b"/").unwrap_or(path).to_vec())
}

pub(super) fn names_of_inode(file: BorrowedFd<'_>, inode: u64) -> io::Result<Vec<Vec<u8>>> {
    if inode == ROOT_INODE {
        return Ok(vec![Vec::new()]);
    }
    let mut names = Vec::new();
    for (parent, name) in search::references(file, inode)? {
        let mut path = path_of_inode(file, parent)?;
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend(name);
        names.push(path);
    }
    Ok(names)
}

pub(super) fn create(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let mut argument = NameV2::zeroed();
    put_name(&mut argument.name[..], name)?;
    Ok(call::<SUBVOL_CREATE, _>(directory, &mut *argument)?)
}

pub(super) fn snapshot(
    directory: BorrowedFd<'_>,
    name: &[u8],
    source: BorrowedFd<'_>,
    read_only: bool,
) -> io::Result<()> {
    let mut argument = NameV2::zeroed();
    put_name(&mut argument.name[..], name)?;
    argument.fd = i64::from(source.as_raw_fd());
    argument.flags = if read_only { READ_ONLY } else { 0 };
    Ok(call::<SNAP_CREATE, _>(directory, &mut *argument)?)
}

pub(super) fn delete(directory: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    let mut argument = NameV1::zeroed();
    put_name(&mut argument.name[..], name)?;
    Ok(call::<SNAP_DESTROY, _>(directory, &mut *argument)?)
}

pub(super) fn set_read_only(directory: BorrowedFd<'_>, read_only: bool) -> io::Result<()> {
    let mut now = 0u64;
    call::<GET_FLAGS, _>(directory, &mut now)?;
    let mut wanted = if read_only { now | READ_ONLY } else { now & !READ_ONLY };
    if wanted != now {
        call::<SET_FLAGS, _>(directory, &mut wanted)?;
    }
    Ok(())
}

pub(super) fn send_without_data(
    directory: BorrowedFd<'_>,
    parent: u64,
    target: BorrowedFd<'_>,
) -> io::Result<()> {
    let mut argument = Send::zeroed();
    argument.fd = i64::from(target.as_raw_fd());
    argument.parent = parent;
    argument.flags = NO_FILE_DATA;
    Ok(call::<SEND, _>(directory, &mut *argument)?)
}
