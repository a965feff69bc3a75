//! One run of an operation in a pool: its identity, and the record by which a later `cleanup` finds what it left.
//!
//! The record lies in `.remand/runs/ID` and is locked by the process as long as it lives. So a record that is not locked belongs
//! to a dead run, and everything that carries its id is a leftover: its snapshot, its staging dataset, its views, and the partial
//! archive that the record names. What the run has stopped or frozen is in `ID.held` beside it. A crash leaves the record; a run that ends well, or rolls back, removes it last.

mod held;
mod record;

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub(crate) use held::{held, release};
pub use record::{KeptTime, Publish, Record};

use crate::draft;
use crate::error::{Error, Result};

/// A run that goes on.
#[derive(Debug)]
pub struct Run {
    id: String,
    path: PathBuf,
    /// Held open: it is locked.
    file: File,
    /// The files of records that were replaced: who has just opened one must still find it locked.
    replaced: Vec<File>,
}

impl Run {
    /// Announces a run in the pool with this state directory, durably.
    pub fn begin(state: &Path, id: String, record: &Record) -> Result<Self> {
        let run = Self::announce(state, id, record)?;
        match run.settle() {
            Ok(()) => Ok(run),
            // If it cannot be removed, `cleanup` does it: nothing of this run is left but the record.
            Err(error) => run.end().and(Err(error)),
        }
    }

    /// The same, not yet durably: what is found by the run's id alone can be made, but before anything that only the record tells
    /// of is made, [`Run::settle`] must have returned.
    pub(crate) fn announce(state: &Path, id: String, record: &Record) -> Result<Self> {
        let directory = state.join("runs");
        make_private_directory(&directory)?;
        let path = directory.join(&id);
        let file = write_locked(&path, record, false).map_err(Error::io("write", path.display()))?;
        begin_to_write_out(&file);
        Ok(Self { id, path, file, replaced: Vec::new() })
    }

    /// Makes the record durable. It has its name by now, so that no power cut leaves one that is whole and has another name.
    pub(crate) fn settle(&self) -> Result<()> {
        let directory = self.path.parent().unwrap_or(&self.path);
        let synced = self.file.sync_all().and_then(|()| File::open(directory)?.sync_all());
        synced.map_err(Error::io("write", self.path.display()))
    }

    /// Replaces what the record says, in one step, and returns when that is on stable storage.
    pub fn rewrite(&mut self, record: &Record) -> Result<()> {
        let file = write_locked(&self.path, record, true).map_err(Error::io("write", self.path.display()))?;
        self.replaced.push(std::mem::replace(&mut self.file, file));
        self.settle()
    }

    /// Identity, unique in the pool: also the name of its snapshot.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it keeps what it has handed to a receiver: beside the record, and removed with it.
    pub(crate) fn received_path(&self) -> PathBuf {
        received_path(&self.path)
    }

    /// Takes the record away; the last thing that a run does, when nothing of it is left.
    pub fn end(self) -> Result<()> {
        remove_received(&self.path)?;
        held::remove(&self.path)?;
        fs::remove_file(&self.path).map_err(Error::io("remove", self.path.display()))
    }
}

/// A record gets its name when it is locked: nobody ever sees one that only seems to be dead. One that replaces another is on stable
/// storage before.
fn write_locked(path: &Path, record: &Record, durably: bool) -> std::io::Result<File> {
    let fill = |file: &mut File| {
        // Programs that the run starts hold the lock too: a run is dead when nothing works for it any more.
        rustix::io::fcntl_setfd(&*file, rustix::io::FdFlags::empty())?;
        write_record(file, record)?;
        if durably { file.sync_all() } else { Ok(()) }
    };
    draft::write(path, fill, |file, draft| fs::rename(draft, path).map(|()| file))
}

/// What is on its way when a snapshot is made is durable with that, where a snapshot is one transaction of the file system: the sync that
/// follows has nothing left to do.
fn begin_to_write_out(file: &File) {
    // Advice that is not taken is no loss.
    let _ = rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed);
}

fn received_path(record: &Path) -> PathBuf {
    record.with_extension("received")
}

/// Goes before the record: without that nobody would find it.
fn remove_received(record: &Path) -> Result<()> {
    let path = received_path(record);
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", path.display())(error))
        }
        _ => Ok(()),
    }
}

/// A new run's identity: `remand-YYYYMMDDTHHMMSSZ-xxxxxxxx`.
pub fn new_id() -> String {
    let mut random = [0u8; 4];
    fill_random(&mut random);
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    format!("remand-{time}-{}", data_encoding::HEXLOWER.encode(&random))
}

/// Length of what [`new_id`] returns.
pub(crate) const ID_BYTES: usize = 32;

/// Whether a name has the form of [`new_id`].
pub fn is_run_id(name: &str) -> bool {
    let Some((time, random)) = name.strip_prefix("remand-").and_then(|rest| rest.split_once('-')) else {
        return false;
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    time.len() == 16
        && digits(&time[..8])
        && &time[8..9] == "T"
        && digits(&time[9..15])
        && time.ends_with('Z')
        && random.len() == 8
        && random.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The records of a pool's runs that are dead, with their ids.
pub fn dead(state: &Path) -> Result<Vec<(String, Record)>> {
    Ok(records(state)?
        .into_iter()
        .filter_map(|(id, record, alive)| (!alive).then_some((id, record)))
        .collect())
}

/// Ids of the runs that go on.
pub fn alive(state: &Path) -> Result<Vec<String>> {
    Ok(records(state)?.into_iter().filter_map(|(id, _, alive)| alive.then_some(id)).collect())
}

fn records(state: &Path) -> Result<Vec<(String, Record, bool)>> {
    let directory = state.join("runs");
    let entries = match fs::read_dir(&directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", directory.display())(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::io("read", directory.display()))?;
        let Some(id) = entry.file_name().into_string().ok().filter(|id| is_run_id(id)) else { continue };
        let path = entry.path();
        let mut file = match private().open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("open", path.display())(error)),
        };
        let alive = match file.try_lock() {
            Ok(()) => false,
            Err(TryLockError::WouldBlock) => true,
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path.display())(error)),
        };
        found.push((id, read_record(&mut file), alive));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// Removes a dead run's record.
pub fn forget(state: &Path, id: &str) -> Result<()> {
    let path = state.join("runs").join(id);
    remove_received(&path)?;
    held::remove(&path)?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::io("remove", path.display())(error))
        }
        _ => Ok(()),
    }
}

/// Where the run of that id keeps what it has handed to a receiver.
pub(crate) fn received_path_of(state: &Path, id: &str) -> PathBuf {
    received_path(&state.join("runs").join(id))
}

/// Ids of the restores of an archive, dead or not, the oldest first. One that had begun to make its resources visible is not among
/// them: what it has is whole, and `cleanup` goes on with it.
pub fn of_archive(state: &Path, archive: &str) -> Result<Vec<String>> {
    let all = records(state)?.into_iter();
    let found =
        all.filter(|(_, record, _)| record.archive.as_deref() == Some(archive) && !record.rolls_forward());
    Ok(found.map(|(id, ..)| id).collect())
}

/// Becomes the holder of a dead run's record. `None` if it is alive, or gone. A run whose process has died and that has programs
/// ending is waited for.
pub fn claim(state: &Path, id: &str) -> Result<Option<Run>> {
    let path = state.join("runs").join(id);
    let mut file = match private().open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path.display())(error)),
    };
    for _ in 0..CLAIM_TRIES {
        match file.try_lock() {
            Ok(()) => {
                // Whoever held it may have ended well in between.
                let there = path.try_exists().map_err(Error::io("look for", path.display()))?;
                return Ok(there.then(|| Run { id: id.to_owned(), path, file, replaced: Vec::new() }));
            }
            Err(TryLockError::WouldBlock) if is_gone(&read_record(&mut file)) => {
                std::thread::sleep(std::time::Duration::from_millis(100));
            }
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(Error::io("lock", path.display())(error)),
        }
    }
    Ok(None)
}

/// How often a lock is tried whose process has died: for a minute.
const CLAIM_TRIES: u32 = 600;

fn is_gone(record: &Record) -> bool {
    let pid = i32::try_from(record.pid).ok().and_then(rustix::process::Pid::from_raw);
    record.host == host_name()
        && pid.is_some_and(|pid| rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH))
}

/// Fills `buffer` with random bytes of the system.
#[cfg(not(target_os = "linux"))]
pub fn fill_random(buffer: &mut [u8]) {
    let filled = File::open("/dev/urandom").and_then(|mut random| random.read_exact(buffer));
    filled.unwrap_or_else(|error| panic!("the system has no random numbers: {error}"));
}

/// Fills `buffer` with random bytes of the system.
#[cfg(target_os = "linux")]
pub fn fill_random(buffer: &mut [u8]) {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::rand::getrandom(&mut buffer[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the system has no random numbers: {error}"),
        }
    }
}

/// The time, RFC 3339 in UTC, whole seconds.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// This host's name.
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    options
}

pub(crate) fn make_private_directory(path: &Path) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            Err(Error::io("create", path.display())(error))
        }
        _ => Ok(()),
    }
}

pub(crate) fn write_record(file: &mut File, record: &Record) -> std::io::Result<()> {
    let text = serde_json::to_vec(record)?;
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(&text)
}

/// What a record says; a torn one (the run died while it wrote it) says nothing, and that is no error.
pub(crate) fn read_record(file: &mut File) -> Record {
    let mut text = Vec::new();
    let read = file.rewind().and_then(|()| file.take(1 << 20).read_to_end(&mut text));
    read.ok().and_then(|_| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// One test at a time starts programs or looks whose record is locked: all programs of a process hold the records of its runs.
#[cfg(test)]
pub(crate) fn turn() -> std::sync::MutexGuard<'static, ()> {
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_documented_form() {
        let id = new_id();
        assert!(is_run_id(&id), "{id}");
        for wrong in [
            "",
            "remand-",
            "remand-20260101T000000Z",
            "remand-20260101T000000Z-0123456",
            "remand-2026x101T000000Z-01234567",
        ] {
            assert!(!is_run_id(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_run_is_alive_until_it_ends_and_dead_when_its_process_is_gone() {
        let _turn = turn();
        let state = tempfile::tempdir().unwrap();
        let record = Record::new("export", "jail web01".into()).with_partial(Some(Path::new("/a/b\n")));
        let run = Run::announce(state.path(), new_id(), &record).unwrap();
        // Whatever a crash leaves has its last name from now on.
        let names = fs::read_dir(state.path().join("runs")).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), [run.id()]);
        run.settle().unwrap();
        assert_eq!(alive(state.path()).unwrap(), [run.id().to_owned()]);
        assert!(dead(state.path()).unwrap().is_empty());
        let id = run.id().to_owned();
        let received = run.received_path();
        fs::write(&received, "").unwrap();
        drop(run); // closes the descriptor, as a crash does
        assert_eq!(dead(state.path()).unwrap(), [(id.clone(), record.clone())]);
        assert_eq!(record.partial_path().unwrap(), Path::new("/a/b\n"));
        forget(state.path(), &id).unwrap();
        assert!(dead(state.path()).unwrap().is_empty());
        assert!(!received.exists());
    }
}
