//! Access control lists: acl(3).
//!
//! Reading takes descriptors of `O_PATH`, too, where the kernel is new enough; writing does not.

use std::ffi::{CStr, c_int, c_void};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;

use super::done;
use crate::apart;

/// Which of an entry's lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// `POSIX.1e`, of any entry.
    Access,
    /// `POSIX.1e`, what entries of a directory begin with.
    Default,
    /// `NFSv4`.
    Nfs4,
}

impl Which {
    /// `ACL_TYPE_ACCESS`, `ACL_TYPE_DEFAULT`, `ACL_TYPE_NFS4`
    fn number(self) -> u32 {
        match self {
            Self::Access => 2,
            Self::Default => 3,
            Self::Nfs4 => 4,
        }
    }
}

/// An entry of a list, in the system's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// `ACL_USER_OBJ` and so on.
    pub tag: u32,
    /// User or group, where the tag names one; else of no meaning.
    pub id: u32,
    /// Bits of `ACL_READ` and so on.
    pub permissions: u32,
    /// `ACL_ENTRY_TYPE_ALLOW` and so on; 0 in POSIX.1e lists.
    pub kind: u16,
    /// Bits of `ACL_ENTRY_FILE_INHERIT` and so on; 0 in POSIX.1e lists.
    pub flags: u16,
}

/// What an entry of a file system has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List {
    /// In the order that counts.
    pub entries: Vec<Entry>,
    /// Whether the permission bits say it all.
    pub trivial: bool,
}

const ACL_USER: u32 = 0x02;
const ACL_GROUP: u32 = 0x08;

unsafe extern "C" {
    fn acl_init(count: c_int) -> *mut c_void;
    fn acl_free(object: *mut c_void) -> c_int;
    fn acl_get_fd_np(file: c_int, which: u32) -> *mut c_void;
    fn acl_set_fd_np(file: c_int, acl: *mut c_void, which: u32) -> c_int;
    fn acl_set_link_np(path: *const std::ffi::c_char, which: u32, acl: *mut c_void) -> c_int;
    fn acl_delete_fd_np(file: c_int, which: u32) -> c_int;
    fn acl_is_trivial_np(acl: *mut c_void, trivial: *mut c_int) -> c_int;
    fn acl_strip_np(acl: *mut c_void, recalculate_mask: c_int) -> *mut c_void;
    fn acl_create_entry(acl: *mut *mut c_void, entry: *mut *mut c_void) -> c_int;
    fn acl_get_entry(acl: *mut c_void, which: c_int, entry: *mut *mut c_void) -> c_int;
    fn acl_get_tag_type(entry: *mut c_void, tag: *mut u32) -> c_int;
    fn acl_set_tag_type(entry: *mut c_void, tag: u32) -> c_int;
    fn acl_get_qualifier(entry: *mut c_void) -> *mut c_void;
    fn acl_set_qualifier(entry: *mut c_void, id: *const c_void) -> c_int;
    fn acl_get_permset(entry: *mut c_void, permissions: *mut *mut u32) -> c_int;
    fn acl_set_permset(entry: *mut c_void, permissions: *mut u32) -> c_int;
    fn acl_get_entry_type_np(entry: *mut c_void, kind: *mut u16) -> c_int;
    fn acl_set_entry_type_np(entry: *mut c_void, kind: u16) -> c_int;
    fn acl_get_flagset_np(entry: *mut c_void, flags: *mut *mut u16) -> c_int;
    fn acl_set_flagset_np(entry: *mut c_void, flags: *mut u16) -> c_int;
}

/// Reads a list of the entry that is open; `None` where its file system has no lists of this sort.
pub fn read(file: impl AsFd, which: Which) -> io::Result<Option<List>> {
    let Some(acl) = Owned::of(file, which)? else { return Ok(None) };
    Ok(Some(List { entries: acl.entries(which)?, trivial: acl.is_trivial()? }))
}

/// Gives the file or directory that is open this list.
pub fn write(file: impl AsFd, which: Which, entries: &[Entry]) -> io::Result<()> {
    Owned::new(which, entries)?.set(file, which)
}

/// Gives `name` in `directory`, which may be a symbolic link and is not followed, this list. The system has no call for that relative
/// to a directory: a process of its own makes it.
pub fn write_at(directory: impl AsFd, name: &CStr, which: Which, entries: &[Entry]) -> io::Result<()> {
    Owned::new(which, entries)?.set_at(directory, name, which)
}

/// Takes the list of the file or directory that is open away but for what permission bits can say.
pub fn strip(file: impl AsFd, which: Which) -> io::Result<()> {
    match Owned::of(&file, which)? {
        Some(acl) => acl.stripped()?.set(file, which),
        None => Ok(()),
    }
}

/// As [`strip`], of `name` in `directory`, for which `entry` stands.
pub fn strip_at(directory: impl AsFd, name: &CStr, entry: impl AsFd, which: Which) -> io::Result<()> {
    match Owned::of(entry, which)? {
        Some(acl) => acl.stripped()?.set_at(directory, name, which),
        None => Ok(()),
    }
}

/// Removes the default list of a directory that is open.
pub fn remove_default(directory: impl AsFd) -> io::Result<()> {
    // SAFETY: a plain system call on a descriptor that is open.
    done(unsafe { acl_delete_fd_np(directory.as_fd().as_raw_fd(), Which::Default.number()) })
}

/// A list of libc's, freed in the end.
struct Owned(NonNull<c_void>);

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it came from libc, and nobody else has it.
        let _ = unsafe { acl_free(self.0.as_ptr()) };
    }
}

impl Owned {
    fn from_libc(acl: *mut c_void) -> io::Result<Self> {
        NonNull::new(acl).map(Self).ok_or_else(io::Error::last_os_error)
    }

    fn of(file: impl AsFd, which: Which) -> io::Result<Option<Self>> {
        // SAFETY: a descriptor that is open; the answer is a new list or none.
        let found = unsafe { acl_get_fd_np(file.as_fd().as_raw_fd(), which.number()) };
        match Self::from_libc(found) {
            Ok(acl) => Ok(Some(acl)),
            // A file system without lists, and one that has lists of the other sort.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn new(which: Which, entries: &[Entry]) -> io::Result<Self> {
        let count = c_int::try_from(entries.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        // SAFETY: the answer is a new list or none.
        let mut acl = Self::from_libc(unsafe { acl_init(count) })?;
        for entry in entries {
            acl.push(which, *entry)?;
        }
        Ok(acl)
    }

    fn push(&mut self, which: Which, entry: Entry) -> io::Result<()> {
        let (mut acl, mut new) = (self.0.as_ptr(), std::ptr::null_mut());
        // SAFETY: both are pointers that the call may write, and the list is libc's.
        let created = unsafe { acl_create_entry(&raw mut acl, &raw mut new) };
        // The list may be elsewhere now.
        self.0 = NonNull::new(acl).unwrap_or(self.0);
        done(created)?;
        let Entry { tag, id, mut permissions, kind, mut flags } = entry;
        // SAFETY: the entry is the one that was made, and each call reads no more than the number that it is given.
        unsafe {
            if which == Which::Nfs4 {
                done(acl_set_entry_type_np(new, kind))?;
                done(acl_set_flagset_np(new, &raw mut flags))?;
            }
            done(acl_set_tag_type(new, tag))?;
            if matches!(tag, ACL_USER | ACL_GROUP) {
                done(acl_set_qualifier(new, (&raw const id).cast()))?;
            }
            done(acl_set_permset(new, &raw mut permissions))
        }
    }

    fn set(&self, file: impl AsFd, which: Which) -> io::Result<()> {
        // SAFETY: the list is libc's.
        done(unsafe { acl_set_fd_np(file.as_fd().as_raw_fd(), self.0.as_ptr(), which.number()) })
    }

    fn set_at(&self, directory: impl AsFd, name: &CStr, which: Which) -> io::Result<()> {
        let acl = self.0.as_ptr();
        // SAFETY: the name ends with a NUL, and the list is libc's. The call sorts a POSIX.1e list in place and asks the kernel.
        let set = || unsafe { acl_set_link_np(name.as_ptr(), which.number(), acl) };
        apart::call_in(directory.as_fd(), &set)
    }

    fn stripped(&self) -> io::Result<Self> {
        // SAFETY: the list is libc's; the answer is a new list or none.
        Self::from_libc(unsafe { acl_strip_np(self.0.as_ptr(), 0) })
    }

    fn is_trivial(&self) -> io::Result<bool> {
        let mut trivial = 0;
        // SAFETY: the list is libc's, and the answer a number.
        done(unsafe { acl_is_trivial_np(self.0.as_ptr(), &raw mut trivial) })?;
        Ok(trivial != 0)
    }

    fn entries(&self, which: Which) -> io::Result<Vec<Entry>> {
        const ACL_FIRST_ENTRY: c_int = 0;
        const ACL_NEXT_ENTRY: c_int = 1;
        let mut entries = Vec::new();
        let mut next = ACL_FIRST_ENTRY;
        loop {
            let mut entry = std::ptr::null_mut();
            // SAFETY: the list is libc's, and the entry a pointer that the call may write.
            match unsafe { acl_get_entry(self.0.as_ptr(), next, &raw mut entry) } {
                1 => entries.push(look(entry, which)?),
                0 => return Ok(entries),
                _ => return Err(io::Error::last_os_error()),
            }
            next = ACL_NEXT_ENTRY;
        }
    }
}

/// What an entry of a list of libc's says.
fn look(entry: *mut c_void, which: Which) -> io::Result<Entry> {
    let mut found = Entry { tag: 0, id: u32::MAX, permissions: 0, kind: 0, flags: 0 };
    let mut permissions = std::ptr::null_mut();
    // SAFETY: the entry is of a list that lives; what the calls write are the pointers and numbers that they are given, and the pointers
    // lead into the entry.
    unsafe {
        done(acl_get_tag_type(entry, &raw mut found.tag))?;
        done(acl_get_permset(entry, &raw mut permissions))?;
        found.permissions = *permissions;
        if matches!(found.tag, ACL_USER | ACL_GROUP) {
            let id = Owned::from_libc(acl_get_qualifier(entry))?;
            found.id = id.0.cast::<u32>().read();
        }
        if which == Which::Nfs4 {
            let mut flags = std::ptr::null_mut();
            done(acl_get_entry_type_np(entry, &raw mut found.kind))?;
            done(acl_get_flagset_np(entry, &raw mut flags))?;
            found.flags = *flags;
        }
    }
    Ok(found)
}
