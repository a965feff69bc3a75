//! How much room there is where something is written: looked at before, and told when it has run out.
//!
//! An estimate refuses only what cannot fit: it counts no more than what is sure to be written, and only where a file system stores
//! that as it is, neither compressed nor shared with what is there already.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::file_system::stores_as_it_is;

/// With less than this a file system is full.
const FULL_BYTES: u64 = 16 << 10;

/// A file system that this run writes to.
#[derive(Debug)]
struct Room {
    directory: PathBuf,
    free_bytes: u64,
    /// What is known to be needed there at least, and for what.
    needed: Mutex<Option<(u64, String)>>,
}

/// The file systems that a run writes to, as they were when it began.
#[derive(Debug, Default)]
pub(crate) struct Rooms(Vec<Room>);

impl Rooms {
    /// Looks at the file systems of these directories. One that cannot be looked at is left out: what is written there will tell.
    pub(crate) fn of<'a>(directories: impl IntoIterator<Item = &'a Path>) -> Self {
        let room = |directory: &Path| {
            let free_bytes = free_bytes(directory).ok()?;
            Some(Room { directory: directory.to_owned(), free_bytes, needed: Mutex::default() })
        };
        Self(directories.into_iter().filter_map(room).collect())
    }

    /// Fails if so many bytes cannot be stored in one of the directories, and remembers them for [`Self::explain`].
    pub(crate) fn need(&self, directory: &Path, needed_bytes: u64, what: &str) -> Result<()> {
        let Some(room) = self.0.iter().find(|room| room.directory == directory) else { return Ok(()) };
        *room.needed.lock().unwrap_or_else(PoisonError::into_inner) = Some((needed_bytes, what.to_owned()));
        if needed_bytes <= room.free_bytes || !stores_as_it_is(directory) {
            return Ok(());
        }
        Err(no_room(directory, what, needed_bytes, room.free_bytes))
    }

    /// Whether [`Self::need`] would refuse anything in a directory.
    pub(crate) fn refuses(&self, directory: &Path) -> bool {
        self.0.iter().any(|room| room.directory == directory) && stores_as_it_is(directory)
    }

    /// Says where there was how much room, if that is why `error` came.
    pub(crate) fn explain(&self, error: Error) -> Error {
        let full = is_full(&error);
        let told = if full { crate::undo::chain(&error) } else { String::new() };
        let is_named = |room: &Room| told.contains(&*room.directory.to_string_lossy());
        // What has failed is still there, so that the one that is full can be told from the others where the error names none.
        let left = |room: &Room| free_bytes(&room.directory).unwrap_or(u64::MAX);
        let Some(room) = self.0.iter().min_by_key(|room| (!is_named(room), left(room))) else { return error };
        // Programs do not always say why they failed.
        let is_likely = matches!(error, Error::Backend { .. }) && left(room) < FULL_BYTES;
        if !full && !is_likely {
            return error;
        }
        let needed = match &*room.needed.lock().unwrap_or_else(PoisonError::into_inner) {
            Some((bytes, what)) if *bytes > room.free_bytes => format!("{what} needs at least {bytes} bytes"),
            _ => "more is needed".to_owned(),
        };
        Error::Full {
            place: room.directory.display().to_string(),
            free_bytes: room.free_bytes,
            needed,
            cause: Box::new(error),
        }
    }
}

/// Fails if so many bytes cannot be stored in a directory.
pub(crate) fn check(directory: &Path, what: &str, needed_bytes: u64) -> Result<()> {
    let free_bytes =
        free_bytes(directory).map_err(Error::io("look at the free space of", directory.display()))?;
    if free_bytes < needed_bytes { Err(no_room(directory, what, needed_bytes, free_bytes)) } else { Ok(()) }
}

fn no_room(directory: &Path, what: &str, needed_bytes: u64, free_bytes: u64) -> Error {
    Error::NoRoom { place: directory.display().to_string(), what: what.to_owned(), needed_bytes, free_bytes }
}

/// What this process can still write on the file system of a directory.
fn free_bytes(directory: &Path) -> io::Result<u64> {
    if rustix::process::geteuid().is_root() {
        // Some keep a part back for root.
        fs2::free_space(directory)
    } else {
        fs2::available_space(directory)
    }
}

/// Whether an operation failed because a file system, or what somebody may use of it, is full, and that is not yet told.
fn is_full(error: &Error) -> bool {
    let mut next: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = next {
        if let Some(Error::Full { .. } | Error::NoRoom { .. }) = error.downcast_ref() {
            return false; // it is told already
        }
        if let Some(error) = error.downcast_ref::<io::Error>()
            && matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        {
            return true;
        }
        // What a program said, or a database.
        let said = error.to_string();
        if ["No space left on device", "out of space", "Disk quota exceeded", "disk is full"]
            .iter()
            .any(|full| said.contains(full))
        {
            return true;
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Error {
        Error::io("write", "/backup/a.tar")(io::ErrorKind::StorageFull.into())
    }

    #[test]
    fn what_cannot_fit_is_refused_and_what_can_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let rooms = Rooms::of([directory.path()]);
        rooms.need(directory.path(), 1, "the archive").unwrap();
        let refused = rooms.need(directory.path(), u64::MAX, "the archive");
        if stores_as_it_is(directory.path()) {
            let message = refused.unwrap_err().to_string();
            assert!(message.contains("18446744073709551615 bytes are needed for the archive"), "{message}");
        } else {
            refused.unwrap();
        }
        // Where nothing is known of a place, nothing is refused.
        rooms.need(Path::new("/elsewhere"), u64::MAX, "the archive").unwrap();
        check(directory.path(), "the stream", 1).unwrap();
        assert!(matches!(check(directory.path(), "the stream", u64::MAX), Err(Error::NoRoom { .. })));
    }

    #[test]
    fn only_a_full_file_system_is_explained() {
        let directory = tempfile::tempdir().unwrap();
        let rooms = Rooms::of([directory.path(), Path::new("/nowhere/at/all")]);
        assert_eq!(rooms.0.len(), 1);
        let other = Error::io("write", "/backup/a.tar")(io::ErrorKind::PermissionDenied.into());
        assert!(matches!(rooms.explain(other), Error::Io { .. }));
        let explained = rooms.explain(full());
        let message = crate::undo::chain(&explained);
        assert!(message.contains("more is needed: Cannot write /backup/a.tar: "), "{message}");
        assert_eq!(explained.exit_status(), 1);
        let _ = rooms.need(directory.path(), u64::MAX, "the archive");
        let message = rooms.explain(full()).to_string();
        assert!(message.contains("the archive needs at least 18446744073709551615 bytes"), "{message}");
        // The one that is named is meant, though another one has less room.
        let named = tempfile::tempdir().unwrap();
        let both = Rooms::of([Path::new("/proc"), named.path()]);
        let error =
            Error::io("write", named.path().join("a.tar").display())(io::ErrorKind::StorageFull.into());
        let message = both.explain(error).to_string();
        assert!(message.contains(named.path().to_str().unwrap()), "{message}");
        // It is told once.
        let twice = rooms.explain(rooms.explain(full()));
        assert!(
            matches!(&twice, Error::Full { cause, .. } if matches!(**cause, Error::Io { .. })),
            "{twice:?}"
        );
    }

    #[test]
    fn programs_and_databases_say_it_in_their_own_words() {
        for said in [
            "cannot receive new filesystem stream: out of space",
            "write x: No space left on device",
            "database or disk is full",
        ] {
            assert!(is_full(&Error::Unsupported(said.into())), "{said}");
        }
        assert!(!is_full(&Error::Unsupported("no such device".into())));
    }
}
