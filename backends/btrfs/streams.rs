//! Native streams, by `btrfs send` and `btrfs receive`.
//!
//! What travels as a stream's name is the snapshot's. A stream is received into a private directory of the staging that its target
//! is in, by a program that is confined to it; the dataset is a writable snapshot of what came last, and what came lies at
//! `.snapshots/LAST@NAME` beside it. (Snapshots of what was received, which keep the identity that it had where it was made.)

use super::relay::{Begin, Came, Known, Part, Renamed, Wrong};
use super::subvolumes::HISTORY;
use super::{Btrfs, create, place, state};
use crate::dir::{DIRECTORY, STATE};
use crate::process::{FeedError, Program, Stream};
use crate::{Backend, Created, DatasetName, Error, Result, SendOptions, Snapshot, SnapshotName, Streams};
use remand_sys::btrfs::{self, Uuid};
use rustix::fs::{self, AtFlags, Mode};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// One `btrfs send`: of what, as a difference from what, and under which name.
#[derive(Debug)]
struct Sending {
    path: PathBuf,
    parent: Option<PathBuf>,
    name: String,
}

impl Sending {
    fn program(&self) -> Result<Program> {
        let text = |path: &Path| match path.to_str() {
            Some(text) => Ok(text.to_owned()),
            None => Err(crate::name::invalid(&path.to_string_lossy(), "snapshot", "it is not UTF-8")),
        };
        let mut arguments = vec!["send".to_owned()];
        if let Some(parent) = &self.parent {
            arguments.extend(["-p".to_owned(), text(parent)?]);
        }
        arguments.push(text(&self.path)?);
        Ok(Program::new("btrfs", arguments))
    }
}

/// A program that is started when its output is wanted.
struct Later {
    /// Of what, for people.
    subject: String,
    program: Program,
    stream: Option<Stream>,
}

impl Read for Later {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(self.program.stream().map_err(io::Error::other)?),
        };
        stream.read(buffer).map_err(|error| match error.downcast::<Error>() {
            Ok(error) => io::Error::other(unsendable(error, &self.subject)),
            Err(error) => error,
        })
    }
}

/// Says what there is to say where the kernel has no stream of what lies deeper than a path is long.
fn unsendable(error: Error, subject: &str) -> Error {
    match &error {
        Error::Program { stderr, .. } if stderr.contains("File name too long") => {
            let reason = "it has paths that are longer than the 4095 bytes of btrfs send".to_owned();
            Error::Unsendable { subject: subject.to_owned(), reason }
        }
        _ => error,
    }
}

impl Btrfs {
    fn sendings(&self, snapshot: &Snapshot, options: SendOptions) -> Result<Vec<Sending>> {
        let path = self.directory_of(snapshot)?;
        let directory = fs::openat(fs::CWD, &path, DIRECTORY, Mode::empty())
            .map_err(|errno| Error::io("open", path.display().to_string(), errno.into()))?;
        let top = place::top(&directory)
            .map_err(|source| Error::io("look at", path.display().to_string(), source))?;
        let Some(top) = top.filter(|top| top.read_only) else {
            let subject = path.display().to_string();
            return Err(Error::Unsupported { subject, what: "a stream of what is no read-only subvolume" });
        };
        let last = snapshot.dataset.components().next_back().unwrap_or("pool");
        let name = snapshot.name.as_ref().map_or(last, |name| name.as_str()).to_owned();
        let mut sendings: Vec<Sending> = Vec::new();
        let earlier = if options.history { self.snapshots_of(&snapshot.dataset)? } else { Vec::new() };
        for named in earlier {
            // Those of other runs are nobody's history.
            let own = named.snapshot.name.as_ref().is_none_or(SnapshotName::is_remand);
            if own || named.subvolume.id >= top.id {
                continue;
            }
            let name = named.snapshot.name.as_ref().map_or_else(String::new, ToString::to_string);
            let path = self.directory_of(&named.snapshot)?;
            let parent = sendings.last().map(|sending| sending.path.clone());
            sendings.push(Sending { path, parent, name });
        }
        let parent = sendings.last().map(|sending| sending.path.clone());
        sendings.push(Sending { path, parent, name });
        Ok(sendings)
    }

    /// Receives everything into `private`, and tells the names in their order.
    fn receive_parts(
        &self,
        name: &DatasetName,
        (first, stream): (Begin, &mut dyn Read),
        private: &Private,
    ) -> Result<Vec<String>> {
        let subject = || self.label_of(name);
        let told = |wrong: Wrong| wrong.of(subject());
        let mut known = Known::new();
        let mut names: Vec<String> = Vec::new();
        let mut next = Some(first);
        while let Some(begin) = next {
            let bad = || Wrong::Refused("it has a name that no snapshot can have, or twice".to_owned());
            let given =
                name_in(&begin.name).filter(|given| !names.contains(given)).ok_or_else(|| told(bad()))?;
            let mut part = Part::new(&begin, &given, &known, stream).map_err(told)?;
            match private.program()?.feed(&mut part) {
                Ok(()) => {}
                Err(FeedError::Source(source)) => {
                    return Err(told(part.wrong().unwrap_or(Wrong::Source(source))));
                }
                Err(FeedError::Program(error)) => return Err(error),
            }
            let specials = part.specials();
            names.push(given);
            let here = private.check(&names, begin.uuid)?;
            known.insert(begin.uuid, Came { here, specials });
            next = Begin::read(stream).map_err(told)?;
        }
        Ok(names)
    }

    /// Makes of what was received the dataset and its history. On failure nothing of it remains.
    fn adopt(&self, name: &DatasetName, private: &Private, names: &[String]) -> Result<Created> {
        let (above, last) = self.dir.find_above(name)?;
        let newest = names.last().map_or("", String::as_str);
        let source = private.open(newest)?;
        let created =
            self.make(name, |above, last| btrfs::snapshot(above, last.as_bytes(), &source, false))?;
        let keep = |received: &String| {
            let source = private.open(received)?;
            let to = format!("{last}@{received}");
            let staged = state::staged_in(name).is_some();
            place::keeping_times(&above, staged, || {
                let place = self.make_history(&above, name)?;
                place::keeping_times(&place, staged, || btrfs::snapshot(&place, to.as_bytes(), &source, true))
            })
            .map_err(|source: io::Error| Error::io("keep a snapshot of", self.label_of(name), source))
        };
        match names.iter().try_for_each(keep) {
            Ok(()) => Ok(created),
            Err(error) => Err(error.with_undo(self.label_of(name), self.destroy_dataset(name))),
        }
    }
}

/// The snapshot's name in the name of what travels: those of a restored history are `LAST@NAME`.
fn name_in(bytes: &[u8]) -> Option<String> {
    let name = bytes.rsplit(|byte| *byte == b'@').next()?;
    SnapshotName::new(std::str::from_utf8(name).ok()?).ok().map(|name| name.to_string())
}

/// The directory that a stream is received into.
#[derive(Debug)]
struct Private {
    above: OwnedFd,
    name: String,
    directory: OwnedFd,
    path: PathBuf,
}

impl Private {
    /// Its name begins like the staging's that the target is in, by which its run is known.
    fn make(pool: &Btrfs, target: &DatasetName) -> Result<Self> {
        use std::io::Read as _;
        pool.state_directory()?;
        let staging = DatasetName::new(STATE)?.join("staging")?;
        let above = pool.existing(&staging)?;
        let mut random = [0; 8];
        std::fs::File::open("/dev/urandom")
            .and_then(|mut file| file.read_exact(&mut random))
            .map_err(|source| Error::io("read", "/dev/urandom", source))?;
        let random = u64::from_ne_bytes(random);
        let name = match state::staged_in(target).filter(|run| run.len() < 200) {
            Some(run) => format!("{run}.receive-{random:016x}"),
            None => format!("receive-{random:016x}"),
        };
        let path = pool.dir.path_of(&staging).join(&name);
        let fail = |errno: rustix::io::Errno| Error::io("create", path.display().to_string(), errno.into());
        fs::mkdirat(&above, name.as_str(), Mode::RWXU).map_err(fail)?;
        let directory = fs::openat(&above, name.as_str(), DIRECTORY, Mode::empty()).map_err(fail)?;
        Ok(Self { above, name, directory, path })
    }

    fn program(&self) -> Result<Program> {
        let path = self.path.to_str().ok_or_else(|| {
            crate::name::invalid(&self.path.to_string_lossy(), "staging directory", "it is not UTF-8")
        })?;
        Ok(Program::new("btrfs", ["receive", "-q", "-e", "--chroot", path]))
    }

    fn open(&self, name: &str) -> Result<OwnedFd> {
        fs::openat(&self.directory, name, DIRECTORY, Mode::empty())
            .map_err(|errno| Error::io("open", self.path.join(name).display().to_string(), errno.into()))
    }

    /// Checks that exactly these have come, the last of which was `uuid` where it was made, and tells what it is here.
    fn check(&self, names: &[String], uuid: Uuid) -> Result<Uuid> {
        let fail = |source| Error::io("look at", self.path.display().to_string(), source);
        let subject = || self.path.display().to_string();
        for entry in fs::Dir::read_from(&self.directory).map_err(|errno| fail(errno.into()))? {
            let entry = entry.map_err(|errno| fail(errno.into()))?;
            let entry = entry.file_name().to_bytes();
            if !matches!(entry, b"." | b"..") && !names.iter().any(|name| name.as_bytes() == entry) {
                let reason = "it made something else than its subvolume".to_owned();
                return Err(Error::Refused { subject: subject(), reason });
            }
        }
        let last = self.open(names.last().map_or("", String::as_str))?;
        let top = place::top(&last).map_err(fail)?;
        match top {
            Some(top) if top.read_only && top.received_uuid == Some(uuid) => Ok(top.uuid),
            _ => {
                let reason = "it did not complete its subvolume".to_owned();
                Err(Error::Stream { subject: subject(), reason })
            }
        }
    }

    fn remove(self) -> Result<()> {
        create::delete_tree(&self.above, self.name.as_bytes(), &self.path)
    }
}

impl Streams for Btrfs {
    fn send(&self, snapshot: &Snapshot, options: SendOptions) -> Result<Box<dyn Read + Send>> {
        let mut streams: Box<dyn Read + Send> = Box::new(io::empty());
        for (nth, sending) in self.sendings(snapshot, options)?.iter().enumerate() {
            let program = sending.program()?;
            // The first one starts now: what is wrong with the program is better told here.
            let stream = if nth == 0 { Some(program.stream()?) } else { None };
            let subject = format!("{}@{}", self.label_of(&snapshot.dataset), sending.name);
            let later = Later { subject, program, stream };
            streams = Box::new(streams.chain(Renamed::new(later, &sending.name)));
        }
        Ok(streams)
    }

    fn estimate(&self, _snapshot: &Snapshot, _options: SendOptions) -> Result<Option<u64>> {
        // What a subvolume holds btrfs knows only where quotas are on.
        Ok(None)
    }

    fn receive(&self, name: &DatasetName, stream: &mut dyn Read) -> Result<Created> {
        self.check_free(name)?;
        let first = Begin::read(stream)
            .and_then(|begin| begin.ok_or_else(|| Wrong::Damaged("it is empty".to_owned())))
            .map_err(|wrong| wrong.of(self.label_of(name)))?;
        let private = Private::make(self, name)?;
        let received = self
            .receive_parts(name, (first, stream), &private)
            .and_then(|names| self.adopt(name, &private, &names));
        let path = private.path.display().to_string();
        match (received, private.remove()) {
            (Ok(created), Ok(())) => Ok(created),
            (Ok(_), Err(error)) => Err(error.with_undo(self.label_of(name), self.destroy_dataset(name))),
            (Err(error), removed) => Err(error.with_undo(path, removed)),
        }
    }

    fn drop_snapshot(&self, created: &Created, snapshot: &SnapshotName) -> Result<()> {
        created.check(&self.label())?;
        let below = self.list_descendants(&created.dataset)?.into_iter().map(|dataset| dataset.name);
        for dataset in std::iter::once(created.dataset.clone()).chain(below) {
            let (above, last) = self.dir.find_above(&dataset)?;
            let fail = |errno| self.dir.fail("open the snapshots of", &dataset, errno);
            let place = match fs::openat(&above, HISTORY, DIRECTORY, Mode::empty()) {
                Ok(place) => place,
                Err(rustix::io::Errno::NOENT) => continue,
                Err(errno) => return Err(fail(errno)),
            };
            let entry = format!("{last}@{snapshot}");
            let path = self.dir.path_of(&dataset).with_file_name(HISTORY).join(&entry);
            if fs::statat(&place, entry.as_str(), AtFlags::SYMLINK_NOFOLLOW)
                .is_ok_and(|stat| stat.st_ino == btrfs::ROOT_INODE)
            {
                let staged = state::staged_in(&dataset).is_some();
                place::keeping_times(&place, staged, || {
                    Ok(create::delete_tree(&place, entry.as_bytes(), &path))
                })
                .map_err(fail)??;
            }
            self.prune_history(&above, &dataset)?;
        }
        Ok(())
    }
}
