//! What is exported and restored.

use std::path::PathBuf;

use remand_backends::{DatasetKind, DatasetName, Snapshot};

pub use crate::archive::manifest::ResourceKind;
use crate::config::{Form, View};
use crate::error::{Error, Result};
use crate::tree::TreePath;

/// A resource that exists in a pool.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Kind.
    pub kind: ResourceKind,
    /// Name.
    pub name: String,
    /// The dataset that holds all of it.
    pub dataset: DatasetName,
    /// Where that dataset's files are: config, fstab and other files lie here.
    pub directory: PathBuf,
    /// Form of the config, where there is one.
    pub config: Option<Form>,
    /// What the config says, with the pool's defaults; none where it cannot be understood.
    pub view: Option<View>,
    /// Whether there is an fstab.
    pub fstab: bool,
    /// The base that its root was cloned from.
    pub base: Option<Base>,
    /// How it takes its base directories from a release, if it is a basejail.
    pub basejail: Option<Basejail>,
    /// Its separately snapshotted parts, the root first, then by name.
    pub datasets: Vec<Part>,
    /// Paths below its directory where neither it nor one of its datasets has anything: snapshots, which travel in streams.
    pub enclosed: Vec<String>,
}

/// A dataset of a resource.
#[derive(Clone, Debug)]
pub struct Part {
    /// Name relative to the resource: `root`, `data/db`.
    pub name: String,
    /// The dataset.
    pub dataset: DatasetName,
    /// What it is in the pool.
    pub kind: DatasetKind,
    /// Where its files are.
    pub directory: Option<PathBuf>,
    /// The dataset of a release that it is a clone of, where the manager clones such for basejails.
    pub base: Option<Base>,
}

/// How a basejail gets those directories of its root that belong to a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basejail {
    /// The release's directories are mounted over these paths in the root whenever it runs. What is in them is not the
    /// jail's.
    Mounted(Vec<TreePath>),
    /// They are datasets of the jail, cloned from the release's: those [`Part`]s that have a base.
    Cloned,
}

impl Basejail {
    /// As libioc's `basejail_type`: `nullfs`, `zfs`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mounted(_) => "nullfs",
            Self::Cloned => "zfs",
        }
    }
}

/// A release or a template, at one snapshot where the backend has snapshots.
#[derive(Clone, Debug)]
pub struct Base {
    /// Which of both.
    pub kind: ResourceKind,
    /// Its name.
    pub name: String,
    /// Its root.
    pub snapshot: Snapshot,
    /// When the resource's root parted from it (seconds since 1970), if the root is a clone of it: unchanged entries have
    /// kept inode number and ctime since.
    pub parted_seconds: Option<i64>,
}

impl Base {
    /// `14.2-RELEASE@p3`, or the name alone; `template:web@web01`.
    pub fn label(&self) -> String {
        let name = self.source().base_label();
        match &self.snapshot.name {
            Some(snapshot) => format!("{name}@{}", snapshot.as_str()),
            None => name,
        }
    }

    /// The resource that it is a snapshot of.
    pub fn source(&self) -> Selector {
        Selector { kind: self.kind, name: self.name.clone() }
    }
}

impl Resource {
    /// `jail web01`.
    pub fn label(&self) -> String {
        label(self.kind, &self.name)
    }

    /// The root dataset.
    pub fn root(&self) -> &Part {
        &self.datasets[0]
    }
}

/// `jail web01`.
pub fn label(kind: ResourceKind, name: &str) -> String {
    format!("{} {name}", kind_name(kind))
}

/// `jail`, `template`, `release`.
pub fn kind_name(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::Jail => "jail",
        ResourceKind::Template => "template",
        ResourceKind::Release => "release",
        ResourceKind::Plain => "dataset",
    }
}

/// Kinds that users can name, as in `release:14.2-RELEASE`.
pub const NAMED_KINDS: [ResourceKind; 3] =
    [ResourceKind::Jail, ResourceKind::Template, ResourceKind::Release];

/// The kind that users call so.
pub fn named_kind(word: &str) -> Option<ResourceKind> {
    NAMED_KINDS.into_iter().find(|kind| kind_name(*kind) == word)
}

/// How a user names a resource: `web01`, `jail:web01`, `template:web`, `release:14.2-RELEASE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// Kind; a jail where none is said.
    pub kind: ResourceKind,
    /// Name.
    pub name: String,
}

impl Selector {
    /// As bases are called: a release by its name alone, a template `template:web`.
    pub fn base_label(&self) -> String {
        match self.kind {
            ResourceKind::Release => self.name.clone(),
            kind => format!("{}:{}", kind_name(kind), self.name),
        }
    }
}

impl std::str::FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, name) = match text.split_once(':') {
            Some((word, name)) => {
                let kind = named_kind(word).ok_or_else(|| {
                    Error::Usage(format!(
                        "{word:?} is no kind of resource; write NAME, jail:NAME, template:NAME or release:NAME"
                    ))
                })?;
                (kind, name)
            }
            None => (ResourceKind::Jail, text),
        };
        check_name(name)?;
        Ok(Self { kind, name: name.to_owned() })
    }
}

/// Refuses names that no resource can have: a name is one path component of letters, digits, `.`, `_`, `-` that begins
/// with a letter, a digit or `_` (what libioc and jail(8) take).
pub fn check_name(name: &str) -> Result<()> {
    let good = name.len() <= 200
        && name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    if good {
        return Ok(());
    }
    let shown = crate::tree::path::printable(name.as_bytes());
    Err(Error::Usage(format!("{shown:?} is no name for a resource; use letters, digits, '.', '_' and '-'")))
}
