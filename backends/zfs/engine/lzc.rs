//! The engine that calls `libzfs_core`, by libzetta. Only its calls of the library are used: those of its calls that read what
//! zfs(8) prints lose names or panic on newer values.
//!
//! What is below a dataset zfs(8) tells. A package of several snapshots is zfs(8)'s own work, so it sends those.

use super::process::Process;
use super::sent::Sent;
use super::{RUN, Sending, ZfsEngine};
use crate::zfs::{Zfs, parse, tool};
use crate::{Error, Result};
use libzetta::libnv::nvpair::Value;
use libzetta::zfs::{DestroyTiming, Error as ZettaError, SendFlags, ZfsEngine as _, ZfsLzc};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read};
use std::path::PathBuf;

#[derive(Debug)]
pub(super) struct Lzc(ZfsLzc);

impl Lzc {
    /// Fails if the library has no kernel module to talk to, or that does not know the dataset.
    pub(super) fn open(root: &str) -> Result<Self> {
        let zetta = ZfsLzc::new().map_err(|error| failure("initialise", "libzfs_core", error))?;
        match zetta.exists(root) {
            Ok(true) => Ok(Self(zetta)),
            Ok(false) => Err(Zfs::missing(root)),
            Err(error) => Err(failure("look for", root, error)),
        }
    }
}

impl ZfsEngine for Lzc {
    fn snapshot(&self, datasets: &[String], name: &str, recursive: bool) -> Result<()> {
        let mut snapshots = Vec::new();
        for dataset in datasets {
            if recursive {
                snapshots.extend(on_each(&below(dataset)?.ok_or_else(|| Zfs::missing(dataset))?, name));
            } else {
                snapshots.push(format!("{dataset}@{name}").into());
            }
        }
        let mark = HashMap::from([(RUN.to_owned(), name.to_owned())]);
        self.0.snapshot(&snapshots, Some(mark)).map_err(|error| {
            let subject = format!("{}@{name}", datasets.join(" "));
            match failure("make the snapshot", &subject, error) {
                // What is missing is what it was to be made of.
                Error::NotFound(full) => Zfs::missing(full.split('@').next().unwrap_or_default()),
                other => other,
            }
        })
    }

    fn destroy_snapshots(&self, dataset: &str, name: &str, recursive: bool) -> Result<()> {
        let snapshots = if recursive {
            let Some(datasets) = below(dataset)? else { return Ok(()) };
            on_each(&datasets, name)
        } else {
            vec![format!("{dataset}@{name}").into()]
        };
        tool::patiently(|| {
            let destroyed = self.0.destroy_snapshots(&snapshots, DestroyTiming::RightNow);
            match destroyed
                .map_err(|error| failure("destroy the snapshot", &format!("{dataset}@{name}"), error))
            {
                // Something was cloned from it.
                Err(Error::Exists(subject)) => {
                    Err(Error::Busy { subject, detail: "it has dependent clones".to_owned() })
                }
                Err(Error::NotFound(_)) => Ok(()),
                other => other,
            }
        })
    }

    fn send(&self, sending: &Sending) -> Result<Box<dyn Read + Send>> {
        if sending.after.is_some() {
            return Process.send(sending);
        }
        let (zetta, snapshot, flags) = (self.0.clone(), sending.snapshot.clone(), flags(sending.raw));
        let sent = Sent::start(move |pipe| {
            zetta.send_full(&snapshot, pipe, flags).map_err(|error| failure("send", &snapshot, error))
        })?;
        Ok(Box::new(sent))
    }
}

/// What `zfs send` and `zfs send -w` ask for.
fn flags(raw: bool) -> SendFlags {
    if raw {
        SendFlags::LZC_SEND_FLAG_RAW
            | SendFlags::LZC_SEND_FLAG_COMPRESS
            | SendFlags::LZC_SEND_FLAG_EMBED_DATA
            | SendFlags::LZC_SEND_FLAG_LARGE_BLOCK
    } else {
        SendFlags::empty()
    }
}

/// A dataset and all below it, but for those that are just being received, as `zfs snapshot -r` leaves them out; `None` if
/// there is no such dataset.
fn below(dataset: &str) -> Result<Option<Vec<String>>> {
    let list = ["list", "-H", "-p", "-r", "-t", "filesystem,volume", "-o", "name,inconsistent", dataset];
    let Some(text) = tool::list(dataset, list)? else { return Ok(None) };
    let rows = parse::columns::<2>(&text).map_err(tool::unclear("zfs list"))?;
    Ok(Some(rows.into_iter().filter(|row| row[1] != "1").map(|[name, _]| name.to_owned()).collect()))
}

fn on_each(datasets: &[String], name: &str) -> Vec<PathBuf> {
    datasets.iter().map(|dataset| format!("{dataset}@{name}").into()).collect()
}

/// What a failed call means. Of several snapshots that failed it names the first.
fn failure(action: &'static str, subject: &str, error: ZettaError) -> Error {
    let (subject, source) = match error {
        ZettaError::MultiOpError(each) => {
            // The library counts what it left out, under a key that is no snapshot.
            let first = each
                .into_iter()
                .filter_map(|(name, value)| match value {
                    Value::Int32(errno) if name.contains('@') => Some((name, errno)),
                    _ => None,
                })
                .min();
            match first {
                Some((name, errno)) => (name, io::Error::from_raw_os_error(errno)),
                None => (subject.to_owned(), io::Error::other("libzfs_core gives no reason")),
            }
        }
        ZettaError::Io(source) | ZettaError::LZCInitializationFailed(source) => (subject.to_owned(), source),
        other => (subject.to_owned(), io::Error::other(format!("{other:?}"))),
    };
    match source.kind() {
        ErrorKind::NotFound => Error::NotFound(subject),
        ErrorKind::AlreadyExists => Error::Exists(subject),
        ErrorKind::ResourceBusy => Error::Busy { subject, detail: source.to_string() },
        // Readers take this kind for "try again", and a stream cannot be taken up again.
        ErrorKind::Interrupted => Error::io(action, subject, io::Error::other("a signal interrupted it")),
        _ => Error::io(action, subject, source),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(failed: &[(&str, Value)]) -> ZettaError {
        ZettaError::MultiOpError(
            failed.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        )
    }

    fn number(errno: rustix::io::Errno) -> Value {
        Value::Int32(errno.raw_os_error())
    }

    #[test]
    fn errno_becomes_what_the_caller_can_act_on() {
        use rustix::io::Errno;
        let of = |errno: Errno| failure("destroy", "t@s", ZettaError::Io(errno.into()));
        assert!(matches!(of(Errno::NOENT), Error::NotFound(subject) if subject == "t@s"));
        assert!(matches!(of(Errno::EXIST), Error::Exists(subject) if subject == "t@s"));
        assert!(matches!(of(Errno::BUSY), Error::Busy { subject, .. } if subject == "t@s"));
        assert!(
            matches!(of(Errno::NOSPC), Error::Io { source, .. } if source.kind() == ErrorKind::StorageFull)
        );
        // Not of the kind that readers try again after.
        assert!(matches!(of(Errno::INTR), Error::Io { source, .. } if source.kind() == ErrorKind::Other));
    }

    #[test]
    fn of_several_the_first_snapshot_is_named() {
        use rustix::io::Errno;
        let more = ("N_MORE_ERRORS", Value::Int32(7));
        let several = [more.clone(), ("t/b@s", number(Errno::BUSY)), ("t/a@s", number(Errno::EXIST))];
        assert!(matches!(failure("x", "t@s", each(&several)), Error::Exists(name) if name == "t/a@s"));
        assert!(matches!(failure("x", "t@s", each(&[more])), Error::Io { subject, .. } if subject == "t@s"));
    }
}
