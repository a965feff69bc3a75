//! Setting the attributes of one entry, and finding out what was not kept.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Gid, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::super::platform::{self, Place};
use super::super::read::open_entry;
use super::super::{Entry, Error, Flags, Kind, Result, Stat, Timestamp, TreePath};
use super::Loss;

/// What could not be kept so far.
pub(super) struct Losses {
    pub list: Vec<Loss>,
    /// Whether file flags are left alone.
    pub without_flags: bool,
}

/// Sets attributes of one entry.
pub(super) struct Setter<'a> {
    pub losses: &'a mut Losses,
    pub place: Place<'a>,
    /// Of the entry. Made only where something is to be said.
    pub path: &'a dyn Fn() -> TreePath,
}

impl Losses {
    /// Notes a loss, unless the device or the file system fails: then nothing good would follow.
    pub(super) fn add(&mut self, path: TreePath, what: String, source: io::Error) -> Result<()> {
        let fails = match Errno::from_io_error(&source) {
            Some(Errno::IO | Errno::ROFS | Errno::NODEV | Errno::NOMEM | Errno::INTR) => true,
            // Some file systems have a place of fixed size for attributes, and say the same when that is full.
            Some(Errno::NOSPC | Errno::DQUOT) => what != "acl" && !what.starts_with("xattr"),
            _ => false,
        };
        if fails {
            return Err(Error::Io { action: "set the attributes of", path: path.to_string(), source });
        }
        self.list.push(Loss { path, what, source });
        Ok(())
    }
}

impl Setter<'_> {
    /// Sets everything but the flags in `later`. The order is that in which the system lets earlier
    /// attributes be: a new owner takes setuid bits and capabilities away, an ACL changes permission
    /// bits, and flags forbid all else.
    pub(super) fn set(&mut self, entry: &Entry, later: Flags) -> Result<()> {
        let owner = self.set_owner(entry);
        let mut mode = entry.mode & 0o7777;
        if owner.is_err() && !self.is_owned_by(entry)? {
            // Whoever owns it now must not become somebody whom others can act as.
            mode &= !0o6000;
        }
        // Before the mode, which may not let the owner write any more.
        for (what, error) in platform::set_xattrs(&self.place, &entry.xattrs) {
            self.lose(what, error)?;
        }
        let has_mode = entry.kind != Kind::Symlink || platform::SYMLINK_MODES;
        let chmod = if has_mode { platform::set_mode(&self.place, mode) } else { Ok(()) };
        if let Err(error) = platform::set_acl(&self.place, entry.kind, &entry.acl) {
            self.lose("acl".to_owned(), error)?;
        }
        let mtime = self.set_mtime(entry.mtime);
        let now = self.stat()?;
        if (now.uid, now.gid) != (entry.uid, entry.gid) {
            self.lose("owner".to_owned(), reason(owner, "the file system keeps another"))?;
        }
        if has_mode && now.mode != entry.mode & 0o7777 {
            self.lose("mode".to_owned(), reason(chmod, "the file system keeps another"))?;
        }
        if now.mtime != entry.mtime {
            self.lose("mtime".to_owned(), reason(mtime, &format!("the file system keeps {}", now.mtime)))?;
        }
        if now.size != entry.size {
            let content = format!("the content has {} bytes", now.size);
            self.lose("size".to_owned(), io::Error::other(content))?;
        }
        if now.device != entry.device {
            self.lose("device node".to_owned(), io::Error::other("the file system keeps another number"))?;
        }
        self.set_flags(entry.flags.difference(later))
    }

    /// Makes the flags be these.
    pub(super) fn set_flags(&mut self, wanted: Flags) -> Result<()> {
        if self.losses.without_flags {
            return Ok(());
        }
        let kept = wanted.kept_here();
        let done = platform::set_flags(&self.place, kept);
        if done.is_err() {
            // One flag that the file system doesn't know must not cost the others.
            for flag in kept.each() {
                let now = self.flags()?;
                if !now.contains(flag) {
                    let _ = platform::set_flags(&self.place, now.union(flag));
                }
            }
        }
        let now = self.flags()?;
        let missing = wanted.difference(now);
        if !missing.is_empty() {
            return self
                .lose(format!("flags {missing}"), reason(done, "the file system keeps no such flags"));
        }
        let extra = now.difference(wanted);
        if !extra.is_empty() {
            return self.lose(format!("flags {extra} cleared"), reason(done, "the file system keeps them"));
        }
        Ok(())
    }

    /// Sets the time of last modification. The time of last access is of no interest.
    pub(super) fn set_mtime(&mut self, mtime: Timestamp) -> io::Result<()> {
        if mtime.nanoseconds > 999_999_999 {
            return Err(Errno::INVAL.into());
        }
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
            last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() },
        };
        let Place { dir, name, own } = self.place;
        match own {
            Some(own) => rustix::fs::futimens(own, &times)?,
            None => rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?,
        }
        Ok(())
    }

    pub(super) fn lose(&mut self, what: String, source: io::Error) -> Result<()> {
        self.losses.add((self.path)(), what, source)
    }

    fn set_owner(&mut self, entry: &Entry) -> io::Result<()> {
        // The highest number says "leave it" to the system.
        if entry.uid == u32::MAX || entry.gid == u32::MAX {
            return Err(Errno::INVAL.into());
        }
        let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
        match self.chown(Some(uid), gid) {
            // Who may not give it away may still give it to a group of theirs.
            Err(Errno::PERM) => {
                let _ = self.chown(None, gid);
                Err(Errno::PERM.into())
            }
            done => Ok(done?),
        }
    }

    fn chown(&self, uid: Option<Uid>, gid: Gid) -> rustix::io::Result<()> {
        match self.place.own {
            Some(own) => rustix::fs::fchown(own, uid, Some(gid)),
            None => rustix::fs::chownat(
                self.place.dir,
                self.place.name,
                uid,
                Some(gid),
                AtFlags::SYMLINK_NOFOLLOW,
            ),
        }
    }

    fn is_owned_by(&self, entry: &Entry) -> Result<bool> {
        let now = self.stat()?;
        Ok((now.uid, now.gid) == (entry.uid, entry.gid))
    }

    fn flags(&self) -> Result<Flags> {
        platform::flags(&self.place).map_err(|source| self.error(source))
    }

    fn stat(&self) -> Result<Stat> {
        let seen = match self.place.own {
            Some(own) => platform::stat(own, b"", None),
            None => platform::stat(self.place.dir, self.place.name, None),
        };
        Ok(seen.map_err(|source| self.error(source))?.stat)
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Io { action: "set the attributes of", path: (self.path)().to_string(), source }
    }
}

/// What the system said, or else what was found.
fn reason(done: io::Result<()>, found: &str) -> io::Error {
    done.err().unwrap_or_else(|| io::Error::other(found.to_owned()))
}

/// An entry whose flags gave way to a change.
pub(super) struct Loosened {
    own: Option<OwnedFd>,
    flags: Flags,
}

impl Loosened {
    /// Takes away the flags that forbid changes of an entry of this kind.
    pub(super) fn new(dir: BorrowedFd<'_>, name: &[u8], kind: Kind) -> io::Result<Self> {
        let own =
            if platform::opens(kind) { open_entry(dir, name, kind)? } else { platform::handle(dir, name)? };
        let flags = platform::loosen(&Place { dir, name, own: own.as_ref().map(AsFd::as_fd) })?;
        Ok(Self { own, flags })
    }

    /// Whether there were such flags.
    pub(super) fn was_fixed(&self) -> bool {
        !self.flags.is_empty()
    }

    /// Sets them again on the inode, under whatever names it has by now.
    pub(super) fn restore(&self) -> io::Result<()> {
        let Some(own) = &self.own else { return Ok(()) };
        let place = Place { dir: own.as_fd(), name: b".", own: Some(own.as_fd()) };
        let now = platform::flags(&place)?;
        platform::set_flags(&place, now.union(self.flags))
    }
}
