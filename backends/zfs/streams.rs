//! Native streams.
//!
//! A stream is made plain (no `-L`, `-e`, `-c`): any pool can receive it, whatever features it has enabled. Encrypted datasets
//! are the exception, they are sent raw, so that neither side needs the key and the archive holds no plain text.

use super::engine::{Sending, ZfsEngine};
use super::parse::{self, StreamKind};
use super::relay::{Relay, Wrong};
use super::{CREATED, Zfs, resumed, tool};
use crate::process::{self, FeedError, Program};
use crate::{
    Backend, Created, DatasetName, Encryption, Error, Partial, ReceiveOptions, Result, SendOptions, Snapshot,
    SnapshotName, Streams,
};
use std::cell::Cell;
use std::io::{self, Read};
use std::sync::Arc;

/// Properties that lead out of the pool: where a stream brings them, they are not taken over.
const OVERRIDDEN: [&str; 3] = ["mountpoint", "sharenfs", "sharesmb"];

/// Properties that shape how the content of a stream is stored, of all that a volume has too.
const SHAPING: [&str; 3] = ["checksum", "compression", "copies"];

impl Zfs {
    /// Whether a dataset has properties of encryption (if it is not encrypted, too).
    pub(super) fn has_encryption(full: &str) -> Result<bool> {
        let program = tool::zfs(["get", "-H", "-o", "value", "encryption", full]);
        let finished = program.finish()?;
        let unknown =
            finished.stderr.lines().any(|line| line == "bad property list: invalid property 'encryption'");
        match finished.success {
            true => Ok(finished.stdout.trim_end() != "-"),
            false if unknown => Ok(false),
            false => Err(tool::error(&program, finished)),
        }
    }

    /// Which of the properties can be given to `zfs receive`: it fails as a whole over one that this host does not know or the pool
    /// lacks the feature for. So they are tried, on a dataset that is never mounted; all or none.
    fn receivable(&self, name: &DatasetName, options: &ReceiveOptions) -> Result<Vec<String>> {
        let wanted = SHAPING.iter().filter_map(|&name| options.properties.get_key_value(name));
        let given: Vec<String> = wanted.map(|(name, value)| format!("{name}={value}")).collect();
        if given.is_empty() || !self.features.receive_override {
            return Ok(Vec::new());
        }
        let word = tool::nonce()?;
        let trial = DatasetName::new(&format!("{name}-{word}"))?;
        let full = self.full(&trial)?;
        let mark = format!("{CREATED}={word}");
        let options = ["canmount=off", &mark].into_iter().chain(given.iter().map(String::as_str));
        let arguments: Vec<&str> = options.flat_map(|option| ["-o", option]).collect();
        let tried = tool::run(["create"].into_iter().chain(arguments).chain([full.as_str()]));
        if Self::property(&full, CREATED)?.as_deref() == Some(word.as_str()) {
            self.destroy_dataset(&trial)?;
        }
        Ok(if tried.is_ok() { given } else { Vec::new() })
    }

    /// Each `zfs send`, in order.
    fn sendings(&self, snapshot: &Snapshot, options: SendOptions) -> Result<Vec<Sending>> {
        let full = self.full_snapshot(snapshot)?;
        if tool::ask(&full, ["list", "-H", "-o", "name", full.as_str()])?.is_none() {
            return Err(Error::NotFound(format!("snapshot {full}")));
        }
        let dataset = self.full(&snapshot.dataset)?;
        let mut raw = false;
        let encryption = encryption(&dataset)?;
        if options.decrypted && encryption == Encryption::Locked {
            return Err(Error::Locked(dataset));
        }
        if encryption != Encryption::None && !options.decrypted {
            if !self.features.send.contains(&'w') {
                return Err(Error::Unsupported { subject: full, what: "a raw stream" });
            }
            raw = true;
        }
        let one = |snapshot: String, after| Sending { snapshot, after, raw };
        let mut snapshots =
            if options.history { self.snapshots(&snapshot.dataset)? } else { Vec::new() }.into_iter();
        let oldest = snapshots.next().map(|info| info.snapshot);
        match oldest.filter(|oldest| oldest != snapshot) {
            None => Ok(vec![one(full, None)]),
            Some(oldest) => {
                let oldest = self.full_snapshot(&oldest)?;
                Ok(vec![one(oldest.clone(), None), one(full, Some(oldest))])
            }
        }
    }

    fn receive_arguments(&self, kind: StreamKind, word: &str) -> Vec<String> {
        let mut arguments = vec!["receive".to_owned(), "-u".to_owned()];
        if self.features.receive_override {
            arguments.extend(["-o".to_owned(), format!("{CREATED}={word}")]);
            // A volume has none of them, and zfs(8) refuses what has no meaning.
            if kind != StreamKind::Volume {
                arguments.extend(["-o".to_owned(), "canmount=noauto".to_owned()]);
                arguments
                    .extend(OVERRIDDEN.iter().flat_map(|property| ["-x".to_owned(), (*property).to_owned()]));
            }
        }
        arguments
    }

    /// Removes what a failed receive left, if it is ours.
    fn undo_receive(&self, name: &DatasetName, word: &str) -> Result<()> {
        let full = self.full(name)?;
        if self.features.receive_override && Self::property(&full, CREATED)?.as_deref() != Some(word) {
            return Ok(());
        }
        self.destroy_dataset(name)
    }
}

pub(super) fn encryption(dataset: &str) -> Result<Encryption> {
    if !Zfs::has_encryption(dataset)? {
        return Ok(Encryption::None);
    }
    let text = tool::get(dataset, ["get", "-H", "-o", "value", "encryption,keystatus", dataset])?
        .ok_or_else(|| Zfs::missing(dataset))?;
    let mut values = text.lines();
    Ok(match (values.next(), values.next()) {
        (Some("off" | "-"), _) => Encryption::None,
        (Some(_), Some("available")) => Encryption::Unlocked,
        _ => Encryption::Locked,
    })
}

fn program(arguments: &[String]) -> Program {
    tool::zfs(arguments.iter().map(String::as_str))
}

/// How far a receive is.
#[derive(Clone, Copy)]
pub(super) struct Begun<'a> {
    /// What was read of all of the stream, with what is left out.
    pub(super) read_bytes: &'a Cell<u64>,
    /// Whether an earlier run has begun.
    pub(super) continued: bool,
}

/// Counts what is read.
pub(super) struct Counted<'a> {
    pub(super) source: &'a mut dyn Read,
    pub(super) read_bytes: &'a Cell<u64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.read_bytes.set(self.read_bytes.get() + count as u64);
        Ok(count)
    }
}

/// A stream that is begun when it is wanted.
struct Later {
    engine: Arc<dyn ZfsEngine>,
    sending: Sending,
    stream: Option<Box<dyn Read + Send>>,
}

impl Read for Later {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => none.insert(self.engine.send(&self.sending).map_err(io::Error::other)?),
        };
        stream.read(buffer)
    }
}

impl Streams for Zfs {
    fn send(&self, snapshot: &Snapshot, options: SendOptions) -> Result<Box<dyn Read + Send>> {
        let mut sendings = self.sendings(snapshot, options)?.into_iter();
        let mut streams: Box<dyn Read + Send> = match sendings.next() {
            Some(first) => self.engine.send(&first)?,
            None => Box::new(std::io::empty()),
        };
        for sending in sendings {
            let later = Later { engine: Arc::clone(&self.engine), sending, stream: None };
            streams = Box::new(streams.chain(later));
        }
        Ok(streams)
    }

    fn estimate(&self, snapshot: &Snapshot, options: SendOptions) -> Result<Option<u64>> {
        if !(self.features.send.contains(&'n') && self.features.send.contains(&'P')) {
            return Ok(None);
        }
        let mut sum = Some(0);
        for sending in self.sendings(snapshot, options)? {
            let text = tool::run(sending.arguments(&["-n", "-P"]))?;
            sum = sum.zip(parse::estimate(&text)).map(|(sum, part)| sum + part);
        }
        Ok(sum)
    }

    fn receive(&self, name: &DatasetName, stream: &mut dyn Read) -> Result<Created> {
        self.receive_with(name, stream, &ReceiveOptions::default())
    }

    fn receive_with(
        &self,
        name: &DatasetName,
        stream: &mut dyn Read,
        options: &ReceiveOptions,
    ) -> Result<Created> {
        self.check_free(name)?;
        let read_bytes = Cell::new(0);
        let mut relay = Relay::new(stream);
        let mut counted = Counted { source: &mut relay, read_bytes: &read_bytes };
        self.receive_rest(name, &mut counted, options, Begun { read_bytes: &read_bytes, continued: false })
    }

    fn partials(&self, name: &DatasetName) -> Result<Vec<Partial>> {
        resumed::partials(self, name)
    }

    fn take_over(&self, from: &DatasetName, to: &DatasetName) -> Result<Option<Created>> {
        resumed::take_over(self, from, to)
    }

    fn resume(&self, created: Created, stream: &mut dyn Read, options: &ReceiveOptions) -> Result<Created> {
        resumed::resume(self, &created, stream, options)
    }

    fn drop_snapshot(&self, created: &Created, snapshot: &SnapshotName) -> Result<()> {
        created.check(&self.root)?;
        let snapshot = Snapshot { dataset: created.dataset.clone(), name: Some(snapshot.clone()) };
        self.destroy_snapshots(&snapshot, true)
    }
}

impl Zfs {
    /// Receives into what is free, or continues with the dataset that has `left` to come. The stream comes by a [`Relay`].
    pub(super) fn receive_rest(
        &self,
        name: &DatasetName,
        stream: &mut dyn Read,
        options: &ReceiveOptions,
        begun: Begun<'_>,
    ) -> Result<Created> {
        let full = self.full(name)?;
        let mut head = Vec::new();
        let read_error = |source: io::Error| match source.downcast::<Wrong>() {
            Ok(wrong) => wrong.of(&full),
            Err(source) => Error::io("read the stream for", full.as_str(), source),
        };
        (&mut *stream).take(parse::STREAM_HEAD_BYTES as u64).read_to_end(&mut head).map_err(read_error)?;
        if head.is_empty() && begun.continued {
            // All had come when the earlier run died.
            self.pacify(name)?;
            return Ok(Created::new(&self.root, name.clone()));
        }
        let kind = parse::stream_kind(&head).ok_or_else(|| Error::Stream {
            subject: full.clone(),
            reason: "it does not begin as ZFS streams do".to_owned(),
        })?;
        let word = tool::nonce()?;
        let resumable = options.keep_from_bytes.is_some() && self.can_resume()?;
        let mut arguments = self.receive_arguments(kind, &word);
        if resumable {
            arguments.push("-s".to_owned());
        }
        if !begun.continued {
            for property in self.receivable(name, options)? {
                arguments.extend(["-o".to_owned(), property]);
            }
        }
        arguments.push(full.clone());
        // Each takes one stream of those that lie behind one another.
        let fed = process::feed_in_turn(&|_| Some(program(&arguments)), &mut head.as_slice().chain(stream));
        let received = match fed {
            Ok(()) => self.pacify(name),
            Err(FeedError::Source(source)) => {
                let keepable = resumable && source.kind() != io::ErrorKind::InvalidData;
                let error = read_error(source);
                let received_bytes = begun.read_bytes.get();
                let enough = options.keep_from_bytes.is_some_and(|from_bytes| received_bytes >= from_bytes);
                if keepable && enough && resumed::is_begun(&full)? {
                    return Err(Error::Kept { subject: full, received_bytes, cause: Box::new(error) });
                }
                Err(error)
            }
            Err(FeedError::Program(Error::Program { command, status, stderr })) => {
                match parse::failure(&stderr) {
                    Some(parse::Failure::Exists(name)) => return Err(Error::Exists(name)),
                    _ => Err(Error::Program { command, status, stderr }),
                }
            }
            Err(FeedError::Program(error)) => Err(error),
        };
        match received {
            Ok(()) => Ok(Created::new(&self.root, name.clone())),
            Err(error) => Err(error.with_undo(&full, self.undo_receive(name, &word))),
        }
    }
}
