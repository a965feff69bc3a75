//! The kernel's search in its trees: items in the order of their keys, each a number (mostly of an inode), a kind and an offset.

use super::super::{Changed, ROOT_INODE, Subvolume, Uuid};
use super::{MAGIC, Plain, STORED_READ_ONLY, call};
use rustix::io::Errno;
use rustix::ioctl::{Opcode, opcode};
use std::io;
use std::ops::ControlFlow::{self, Break, Continue};
use std::ops::Range;
use std::os::fd::BorrowedFd;

/// Larger than any item of a tree, whose nodes have at most 64 KiB.
const SEARCH_BYTES: usize = 128 * 1024;
/// Room for the one item that says what an inode is.
const ONE_INODE_BYTES: usize = 32 + INODE_BYTES;
/// The subvolume that the search's descriptor is in.
const OWN_TREE: u64 = 0;
const ROOT_TREE: u64 = 1;
const UUID_TREE: u64 = 9;
const INODE_ITEM: u32 = 1;
const INODE_REF: u32 = 12;
const INODE_EXTREF: u32 = 13;
const ROOT_ITEM: u32 = 132;
const UUID_OF_SUBVOLUME: u32 = 251;
const LAST_KIND: u32 = 255;
/// What an inode's item begins with, and where in it the transaction that wrote it last and the time of the last access are.
const INODE_BYTES: usize = 160;
const TRANSACTION: Range<usize> = 8..16;
const ACCESSED: Range<usize> = 112..124;
/// Inodes of files have numbers up to this.
const LAST_INODE: u64 = u64::MAX - 255;
/// The part of a mode that tells what kind of file it is, and the kind.
const MODE_KIND: u64 = 0o170_000;
const MODE_DIRECTORY: u64 = 0o040_000;

#[repr(C)]
#[derive(Default)]
struct SearchKey {
    tree: u64,
    min_inode: u64,
    max_inode: u64,
    min_offset: u64,
    max_offset: u64,
    min_transaction: u64,
    max_transaction: u64,
    min_type: u32,
    max_type: u32,
    count: u32,
    unused: u32,
    reserved: [u64; 4],
}

/// The part of the argument that the opcode counts; what is found comes behind it.
#[repr(C)]
struct SearchHead {
    key: SearchKey,
    size: u64,
}

#[repr(C)]
struct Search<const BYTES: usize> {
    head: SearchHead,
    found: [u8; BYTES],
}

const _: () = {
    assert!(size_of::<SearchHead>() == 112);
    assert!(size_of::<Search<SEARCH_BYTES>>() == 112 + SEARCH_BYTES);
    assert!(size_of::<Search<ONE_INODE_BYTES>>() == 112 + ONE_INODE_BYTES);
};

const TREE_SEARCH: Opcode = opcode::read_write::<SearchHead>(MAGIC, 17);

// SAFETY: integers alone.
unsafe impl<const BYTES: usize> Plain for Search<BYTES> {}

/// Where an item lies: its number, kind and offset, in the order of the tree.
type Key = (u64, u32, u64);

/// What is searched for.
struct Sought {
    tree: u64,
    from: Key,
    /// The last key that is meant.
    to: Key,
    /// Parts of the tree that no transaction has written since this one can be left out.
    since: u64,
}

/// Hears of an item, and whether it wants to hear of more.
type Each<'a> = dyn FnMut(Key, &[u8]) -> io::Result<ControlFlow<()>> + 'a;

/// Calls `each` with the items of a range, until it breaks.
fn search(file: BorrowedFd<'_>, sought: &Sought, each: &mut Each<'_>) -> io::Result<()> {
    search_with::<SEARCH_BYTES>(file, sought, each)
}

/// The same with room for so many bytes at a time.
fn search_with<const BYTES: usize>(
    file: BorrowedFd<'_>,
    sought: &Sought,
    each: &mut Each<'_>,
) -> io::Result<()> {
    let mut search = Search::<BYTES>::zeroed();
    let mut from = Some(sought.from);
    while let Some((min_inode, min_type, min_offset)) = from {
        let (max_inode, max_type, max_offset) = sought.to;
        search.head.key = SearchKey {
            tree: sought.tree,
            min_inode,
            max_inode,
            min_offset,
            max_offset,
            min_transaction: sought.since,
            max_transaction: u64::MAX,
            min_type,
            max_type,
            count: u32::MAX,
            ..SearchKey::default()
        };
        search.head.size = BYTES as u64;
        call::<TREE_SEARCH, _>(file, &mut *search)?;
        if search.head.key.count == 0 {
            return Ok(());
        }
        let mut rest = &search.found[..];
        for _ in 0..search.head.key.count {
            let (header, behind) = split(rest, 32)?;
            // Transaction, number, offset, kind, length, in the byte order of this machine.
            let long = |at: usize| u64::from_ne_bytes(std::array::from_fn(|byte| header[at + byte]));
            let word = |at: usize| u32::from_ne_bytes(std::array::from_fn(|byte| header[at + byte]));
            let (key, length) = ((long(8), word(24), long(16)), word(28));
            let (item, behind) = split(behind, length as usize)?;
            rest = behind;
            if each(key, item)?.is_break() {
                return Ok(());
            }
            from = following(key).filter(|next| *next <= sought.to);
        }
    }
    Ok(())
}

/// The lowest key above another.
fn following((number, kind, offset): Key) -> Option<Key> {
    match (offset.checked_add(1), kind < LAST_KIND) {
        (Some(offset), _) => Some((number, kind, offset)),
        (None, true) => Some((number, kind + 1, 0)),
        (None, false) => Some((number.checked_add(1)?, 0, 0)),
    }
}

/// The directories that hold an inode, with its names in them.
pub(super) fn references(file: BorrowedFd<'_>, inode: u64) -> io::Result<Vec<(u64, Vec<u8>)>> {
    let mut found = Vec::new();
    let sought =
        Sought { tree: OWN_TREE, from: (inode, INODE_REF, 0), to: (inode, INODE_EXTREF, u64::MAX), since: 0 };
    search(file, &sought, &mut |(_, kind, offset), item| {
        match kind {
            INODE_REF => names_in(item, Some(offset), &mut found)?,
            INODE_EXTREF => names_in(item, None, &mut found)?,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
        Ok(Continue(()))
    })?;
    Ok(found)
}

/// An item holds names one behind the other; those of the second kind each tell their directory themselves.
fn names_in(mut item: &[u8], parent: Option<u64>, found: &mut Vec<(u64, Vec<u8>)>) -> io::Result<()> {
    while !item.is_empty() {
        let (directory, behind) = if let Some(parent) = parent {
            (parent, item)
        } else {
            let (head, behind) = split(item, 8)?;
            (number(head, 0, 8), behind)
        };
        let (head, behind) = split(behind, 10)?;
        let length = usize::try_from(number(head, 8, 2)).unwrap_or(usize::MAX);
        let (name, behind) = split(behind, length)?;
        found.push((directory, name.to_vec()));
        item = behind;
    }
    Ok(())
}

pub(in super::super) fn changed_inodes(
    file: BorrowedFd<'_>,
    other: BorrowedFd<'_>,
    since: u64,
    told: &mut dyn FnMut(Changed) -> bool,
) -> io::Result<()> {
    let sought = Sought {
        tree: OWN_TREE,
        from: (ROOT_INODE, INODE_ITEM, 0),
        to: (LAST_INODE, LAST_KIND, u64::MAX),
        since,
    };
    // An inode's names come next behind it, unless they are in a part of the tree that is older.
    let mut waiting: Option<Changed> = None;
    let mut goes_on = true;
    search(file, &sought, &mut |(inode, kind, offset), item| {
        if let Some(mut changed) = waiting.take() {
            if (inode, kind) == (changed.inode, INODE_REF) {
                let mut names = Vec::new();
                names_in(item, Some(offset), &mut names)?;
                changed.name = names.into_iter().next();
            }
            goes_on = told(changed);
        }
        if kind == INODE_ITEM {
            let (item, _) = split(item, INODE_BYTES)?;
            let (transaction, links, mode) = (number(item, 8, 8), number(item, 40, 4), number(item, 52, 4));
            if transaction >= since && links > 0 && !was_only_read(item, inode, other)? {
                let is_directory = mode & MODE_KIND == MODE_DIRECTORY;
                waiting = Some(Changed { inode, is_directory, name: None });
            }
        }
        Ok(if goes_on { Continue(()) } else { Break(()) })
    })?;
    if let Some(changed) = waiting.filter(|_| goes_on) {
        told(changed);
    }
    Ok(())
}

/// Whether an inode's item says the same as that of `other`, but for the time of the last access. What changes content, attributes
/// or names writes the inode's counter of changes and its time of change anew.
fn was_only_read(item: &[u8], inode: u64, other: BorrowedFd<'_>) -> io::Result<bool> {
    let key = (inode, INODE_ITEM, 0);
    let sought = Sought { tree: OWN_TREE, from: key, to: key, since: 0 };
    let mut same = false;
    search_with::<ONE_INODE_BYTES>(other, &sought, &mut |_, theirs| {
        let (theirs, _) = split(theirs, INODE_BYTES)?;
        let parts = [0..TRANSACTION.start, TRANSACTION.end..ACCESSED.start, ACCESSED.end..INODE_BYTES];
        same = parts.into_iter().all(|part| item[part.clone()] == theirs[part]);
        Ok(Break(()))
    })?;
    Ok(same)
}

pub(in super::super) fn find_subvolume(file: BorrowedFd<'_>, uuid: &Uuid) -> io::Result<Option<Subvolume>> {
    let key = (number(uuid, 0, 8), UUID_OF_SUBVOLUME, number(uuid, 8, 8));
    let mut id = None;
    let searched = search(file, &Sought { tree: UUID_TREE, from: key, to: key, since: 0 }, &mut |_, item| {
        id = Some(number(split(item, 8)?.0, 0, 8));
        Ok(Break(()))
    });
    match (searched, id) {
        // A file system that was never mounted by a kernel since 3.12 has no such tree.
        (Err(error), _) if error.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(None),
        (Err(error), _) => Err(error),
        (Ok(()), None) => Ok(None),
        (Ok(()), Some(id)) => Ok(root_item(file, id)?.filter(|found| found.uuid == *uuid)),
    }
}

/// What the tree of trees says of a subvolume.
fn root_item(file: BorrowedFd<'_>, id: u64) -> io::Result<Option<Subvolume>> {
    let mut found = None;
    let sought =
        Sought { tree: ROOT_TREE, from: (id, ROOT_ITEM, 0), to: (id, ROOT_ITEM, u64::MAX), since: 0 };
    search(file, &sought, &mut |_, item| {
        let (item, _) = split(item, 439)?;
        let uuid = |at: usize| -> Uuid { std::array::from_fn(|byte| item[at + byte]) };
        let some = |uuid: Uuid| (uuid != Uuid::default()).then_some(uuid);
        found = Some(Subvolume {
            id,
            uuid: uuid(247),
            parent_uuid: some(uuid(263)),
            received_uuid: some(uuid(279)),
            read_only: number(item, 208, 8) & STORED_READ_ONLY != 0,
            changed_transaction: number(item, 295, 8),
            created_transaction: number(item, 303, 8),
            created_seconds: number(item, 339, 8).cast_signed(),
        });
        Ok(Continue(()))
    })?;
    Ok(found)
}

fn split(bytes: &[u8], count: usize) -> io::Result<(&[u8], &[u8])> {
    bytes.split_at_checked(count).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A number in an item of the tree, where they are little-endian.
fn number(bytes: &[u8], at: usize, count: usize) -> u64 {
    bytes[at..at + count].iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}
