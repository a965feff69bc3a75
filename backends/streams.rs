//! Native streams: what a backend sends of a snapshot, and receives.

use std::collections::BTreeMap;
use std::io::Read;

#[cfg(doc)]
use crate::Backend;
use crate::{Created, DatasetName, Error, Result, Snapshot, SnapshotName};

/// How a native stream is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SendOptions {
    /// With all earlier snapshots of the dataset: first a stream of the oldest, then one of all that came after, one
    /// behind the other. (`zfs send -R` is no way to do it: it sends a clone as a difference from its origin, which no other host
    /// need have, and carries mountpoints along.)
    pub history: bool,
    /// In plain text, also where the dataset is encrypted (its key must be loaded). Otherwise an encrypted dataset is sent as
    /// it is stored, and can be read only where its key is.
    pub decrypted: bool,
}

/// How a native stream is received.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReceiveOptions {
    /// Properties that shape how content is stored (`compression`, `checksum`), for the time of receiving. Where the backend
    /// can't apply them (all or none) the content is stored as the pool has it. They are no promise for later: set them with
    /// [`Backend::set_property`] too.
    pub properties: BTreeMap<String, String>,
    /// When the stream cannot be read to its end, keep what was received if it is at least so much: the error is [`Error::Kept`]
    /// then. A crash leaves what was received too, however much. Only where the backend can go on later; never where the stream
    /// itself is damaged.
    pub keep_from_bytes: Option<u64>,
    /// For [`Streams::resume`]: what was received may come from so many bytes of the beginning of the stream; the reader compares them
    /// with what the earlier run has read. It is an error if more was received.
    pub verified_bytes: u64,
}

/// What there is of a dataset that an interrupted receive left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partial {
    /// The dataset.
    pub dataset: DatasetName,
    /// How much of its stream it has.
    pub received_bytes: u64,
}

/// Native streams: a dataset's snapshot as a sequence of bytes.
pub trait Streams: Send + Sync {
    /// Begins to send. The reader fails at its end if the program failed, so that a short stream is never taken
    /// for a whole one.
    fn send(&self, snapshot: &Snapshot, options: SendOptions) -> Result<Box<dyn Read + Send>>;

    /// Bytes that [`Streams::send`] will yield, as the backend estimates them.
    fn estimate(&self, snapshot: &Snapshot, options: SendOptions) -> Result<Option<u64>>;

    /// Receives a stream as a new dataset, which is not mounted and whose mountpoint, sharing and similar
    /// properties are overridden or removed, so that nothing outside of the pool can come from them. `stream` is read
    /// to its end. On failure nothing remains.
    /// [`Backend::mount`] lifts what was overridden for the time of staging (and only that), and mounts it.
    fn receive(&self, name: &DatasetName, stream: &mut dyn Read) -> Result<Created>;

    /// The same, with options.
    fn receive_with(
        &self,
        name: &DatasetName,
        stream: &mut dyn Read,
        _options: &ReceiveOptions,
    ) -> Result<Created> {
        self.receive(name, stream)
    }

    /// What interrupted receives left at `name` and below.
    fn partials(&self, _name: &DatasetName) -> Result<Vec<Partial>> {
        Ok(Vec::new())
    }

    /// Takes over what a dead run has received: the dataset `from` in its staging, in part or whole, becomes `to` in another run's
    /// staging. `None` if there is nothing with which [`Streams::resume`] could go on. The caller has made sure that the run is
    /// dead. GUIDs are no proof that `from` is of the stream that it is going to read: the reader that it gives to
    /// [`Streams::resume`] compares the bytes with what the dead run has read, and fails where they differ.
    fn take_over(&self, _from: &DatasetName, _to: &DatasetName) -> Result<Option<Created>> {
        Ok(None)
    }

    /// Goes on with a dataset that was taken over, from the stream that it was begun with: all of `stream` is read, and what has
    /// been received is left out. As [`Streams::receive_with`] otherwise.
    fn resume(&self, created: Created, stream: &mut dyn Read, _options: &ReceiveOptions) -> Result<Created> {
        let _ = stream;
        Err(Error::Unsupported { subject: created.dataset().to_string(), what: "going on with a stream" })
    }

    /// Destroys a snapshot that came with a received stream, of `created` and of all below it: the one that the stream was
    /// made from, while the resource's own history stays. Absent is success.
    fn drop_snapshot(&self, created: &Created, snapshot: &SnapshotName) -> Result<()>;
}
