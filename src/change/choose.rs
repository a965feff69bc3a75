//! Which engine compares.

use super::Engine;
use super::content::Content;
use super::lineage::Lineage;
use super::quick::Quick;
use super::rsync::Rsync;
use super::snapshot::{Asked, Snapshot};

/// What is known of two trees before either is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinship {
    /// One is a clone of the other, made by the file system itself, so that both share inode numbers and ctimes; and this is the
    /// second since 1970 in which they parted.
    pub parted_seconds: Option<i64>,
    /// Both will be snapshots whose difference the backend knows, all of it.
    pub native: bool,
}

/// An engine that was chosen; it can be made when the trees are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// [`super::content`].
    Content,
    /// [`super::lineage`]; without the second it takes nothing for proven.
    Lineage(Option<i64>),
    /// [`super::snapshot`]; the second as for lineage.
    Snapshot(Option<i64>),
    /// [`super::rsync`].
    Rsync,
    /// [`super::quick`].
    Quick,
}

impl Choice {
    /// The engine that `--engine` calls `name`, or `None` where there is no such engine. Whether it is safe is for the caller
    /// to know.
    pub fn named(name: &str, parted_seconds: Option<i64>) -> Option<Self> {
        let all = [
            Self::Content,
            Self::Lineage(parted_seconds),
            Self::Snapshot(parted_seconds),
            Self::Rsync,
            Self::Quick,
        ];
        all.into_iter().find(|choice| choice.name() == name)
    }

    /// The cheapest that is safe.
    pub fn cheapest(kinship: Kinship) -> Self {
        match kinship {
            Kinship { native: true, parted_seconds } => Self::Snapshot(parted_seconds),
            Kinship { parted_seconds: Some(_), .. } => Self::Lineage(kinship.parted_seconds),
            Kinship { .. } => Self::Content,
        }
    }

    /// Name as `--engine` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Content => "content",
            Self::Lineage(_) => "lineage",
            Self::Snapshot(_) => "snapshot",
            Self::Rsync => "rsync",
            Self::Quick => "quick",
        }
    }

    /// The engine. `asked` says what the two trees are, where both are snapshots of a backend that knows their difference; without
    /// it the snapshot engine is not to be had, and the next best takes its place.
    pub fn engine(self, asked: Option<Asked<'_>>) -> Box<dyn Engine + '_> {
        match (self, asked) {
            (Self::Snapshot(before_seconds), Some(asked)) => Box::new(Snapshot::new(asked, before_seconds)),
            (Self::Lineage(before_seconds) | Self::Snapshot(before_seconds), _) => {
                Box::new(Lineage { before_seconds: before_seconds.unwrap_or(i64::MIN) })
            }
            (Self::Content, _) => Box::new(Content),
            (Self::Rsync, _) => Box::new(Rsync),
            (Self::Quick, _) => Box::new(Quick),
        }
    }
}
