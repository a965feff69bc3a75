//! What an operation tells those who watch it.
//!
//! The vocabulary is libioc's: a step has a name, an optional subject (which dataset, which file)
//! and a place in a tree of steps. Each step begins, may report progress, and ends exactly once:
//! with [`State::End`], [`State::Skip`] or [`State::Fail`]. The terminal's tree and the JSON lines
//! are both made from [`Event`].

use std::sync::{Mutex, PoisonError};

/// A step of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub enum Step {
    /// A whole export.
    ResourceBackup,
    /// Waiting for the resource's lock, and taking it.
    Lock,
    /// A command of the user before the snapshot.
    PreSnapshot,
    /// Stopping a resource that runs.
    Stop,
    /// Freezing its processes.
    Freeze,
    /// Making the snapshot that everything is read from.
    Snapshot,
    /// Thawing its processes again.
    Thaw,
    /// Starting a resource again.
    Start,
    /// A command of the user after the snapshot.
    PostSnapshot,
    /// The config file.
    ExportConfig,
    /// The fstab.
    ExportFstab,
    /// The other files of the resource's own directory.
    ExportFiles,
    /// The root dataset.
    ExportRootDataset,
    /// All other datasets.
    ExportOtherDatasets,
    /// One of them.
    ExportOtherDataset,
    /// Index, seal, and making the archive visible.
    BundleBackup,
    /// A whole restore.
    ResourceRestore,
    /// Opening the archive and reading its manifest.
    ExtractBundle,
    /// Finding the base and comparing its fingerprint.
    CheckBase,
    /// Making the root dataset.
    ImportRootDataset,
    /// All other datasets.
    ImportOtherDatasets,
    /// One of them.
    ImportOtherDataset,
    /// The config file.
    ImportConfig,
    /// The fstab.
    ImportFstab,
    /// The other files of the resource's own directory.
    ImportFiles,
    /// Comparing with index and seal.
    CheckSeal,
    /// The rename that makes a restored resource visible.
    Publish,
    /// Reading an archive to prove it whole.
    Verify,
    /// Comparing a resource with its base.
    Compare,
    /// Undoing one effect after a failure, or at the end of use (a temporary snapshot).
    Undo,
}

impl std::fmt::Display for Step {
    /// The name that JSON lines have too.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// Where a step is.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
#[non_exhaustive]
pub enum State {
    /// It began.
    Begin {
        /// Bytes that it expects to move, where known.
        #[serde(skip_serializing_if = "Option::is_none")]
        total_bytes: Option<u64>,
    },
    /// It goes on.
    Progress {
        /// Bytes moved so far.
        done_bytes: u64,
        /// Entries handled so far.
        done_entries: u64,
        /// Bytes that it expects to move in all, where known.
        #[serde(skip_serializing_if = "Option::is_none")]
        total_bytes: Option<u64>,
    },
    /// It is done.
    End {
        /// Bytes moved.
        done_bytes: u64,
        /// Entries handled.
        done_entries: u64,
        /// Where the step ends it, how long a resource was stopped or frozen, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        held_milliseconds: Option<u64>,
    },
    /// There was nothing to do.
    Skip {
        /// Why.
        reason: String,
    },
    /// It failed.
    Fail {
        /// The error and its causes, outermost first.
        error: String,
    },
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Event {
    /// The step.
    pub step: Step,
    /// Of which resource, for example `web01`; where an archive is read, the name that was asked for, or else the archive.
    pub resource: String,
    /// What it works on where the step's name doesn't say: a dataset's or a file's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// How many steps enclose it.
    pub depth: u8,
    /// What happens.
    #[serde(flatten)]
    pub state: State,
}

/// Something that is not in the result, or not as it was.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Warning {
    /// Resource or path.
    pub subject: String,
    /// What is wrong and what follows.
    pub message: String,
}

/// Receives what an operation tells. Calls come from several threads, a step's own in order.
pub trait Observer: Sync {
    /// A step changed its state.
    fn event(&self, event: &Event);
    /// Something was lost or is uncertain; the operation goes on.
    fn warning(&self, warning: &Warning);
    /// Something that the user should know, though nothing is lost or uncertain.
    fn notice(&self, notice: &Warning) {
        let _ = notice;
    }
}

/// Watches nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _: &Event) {}
    fn warning(&self, _: &Warning) {}
}

/// Collects everything, for tests and for callers that want a transcript.
#[derive(Debug, Default)]
pub struct Collector {
    events: Mutex<Vec<Event>>,
    warnings: Mutex<Vec<Warning>>,
}

impl Collector {
    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All warnings so far.
    pub fn warnings(&self) -> Vec<Warning> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Collector {
    fn event(&self, event: &Event) {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event.clone());
    }

    fn warning(&self, warning: &Warning) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(warning.clone());
    }
}
