//! Words that options and the config file take.

use clap::ValueEnum;
use serde::Deserialize;

/// `--format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FormatWord {
    /// One tar file
    Tar,
    /// A directory that holds the members as files
    Directory,
}

/// `--layout`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LayoutWord {
    /// libioc's, with templates among the jails
    Libioc,
    /// iocage's, with templates apart
    Iocage,
}

impl LayoutWord {
    /// As the library calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Libioc => "libioc",
            Self::Iocage => "iocage",
        }
    }
}

/// `--compression`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CompressionWord {
    /// .tar.gz
    Gzip,
    /// .tar.zst
    Zstd,
    /// .tar
    None,
}

impl CompressionWord {
    /// As it is written on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::None => "none",
        }
    }

    /// The highest level that it knows; `None` where it has no levels.
    pub(crate) fn highest_level(self) -> Option<u32> {
        match self {
            Self::Gzip => Some(9),
            Self::Zstd => Some(19),
            Self::None => None,
        }
    }
}

/// `--engine`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EngineWord {
    /// The cheapest that is safe for these two trees
    Auto,
    /// Let the file system list what changed since the base's snapshot
    Snapshot,
    /// Trust equal inode and ctime between a clone and its origin
    Lineage,
    /// Walk both trees and compare bytes
    Content,
    /// Let rsync(1) name the candidates
    Rsync,
}

impl EngineWord {
    /// The engine's name in the library; `None` leaves the choice to it.
    pub(crate) fn name(self) -> Option<&'static str> {
        match self {
            Self::Auto => None,
            Self::Snapshot => Some("snapshot"),
            Self::Lineage => Some("lineage"),
            Self::Content => Some("content"),
            Self::Rsync => Some("rsync"),
        }
    }
}

/// `--hook-in`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HookWord {
    /// On the host, in the environment of this command
    Host,
    /// In the jail; if that does not run, they are skipped
    Jail,
}

/// `--identity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum IdentityWord {
    /// Name, MAC addresses, host id and host UUID stay as they are in the archive
    Keep,
    /// The restored resource gets its own
    New,
}

/// `--on-conflict`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ConflictWord {
    /// The base
    Keep,
    /// The archive
    Theirs,
    /// Nobody: nothing is restored, and the conflicts are listed
    Fail,
}
