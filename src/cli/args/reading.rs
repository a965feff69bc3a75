//! What reads archives and makes nothing.

use std::path::PathBuf;

use clap::Args;

use super::{Detection, Opening, Place, Repair, Settings, Voice};

/// `remand ls`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Letters, in a differential archive:
  A  added    M  content modified    m  attributes alone differ    T  type changed    D  deleted

Examples:
  remand ls web01.tar.gz                  the resources in it
  remand ls web01.tar.gz web01            all entries of the root
  remand ls -l web01.tar.gz :/etc         those of /etc of the only resource")]
pub(crate) struct Ls {
    /// Archive to read: a file, a directory, or - for standard input
    #[arg(value_name = "SRC")]
    pub(crate) source: PathBuf,
    /// What to list, or :PATH if the archive holds one resource [default: the resources]
    #[arg(value_name = "NAME[:PATH]")]
    pub(crate) part: Option<String>,
    /// Show type, mode, owner, group, size and time of modification too
    #[arg(short, long)]
    pub(crate) long: bool,
    /// The dataset that PATH is in
    #[arg(long, value_name = "DATASET", default_value = "root")]
    pub(crate) dataset: String,
    #[command(flatten)]
    pub(crate) opening: Opening,
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(flatten)]
    pub(crate) voice: Voice,
}

/// `remand cat`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  remand cat web01.tar.gz web01:/etc/rc.conf
  remand cat --pool zroot/ioc web01.tar.gz :/etc/services       unchanged, so it comes from the base")]
pub(crate) struct Cat {
    /// Archive to read: a file, a directory, or - for standard input
    #[arg(value_name = "SRC")]
    pub(crate) source: PathBuf,
    /// Files to print, NAME:PATH, or :PATH if the archive holds one resource
    #[arg(value_name = "NAME:PATH", required = true)]
    pub(crate) files: Vec<String>,
    /// The dataset that the paths are in
    #[arg(long, value_name = "DATASET", default_value = "root")]
    pub(crate) dataset: String,
    #[command(flatten)]
    pub(crate) opening: Opening,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) voice: Voice,
}

/// `remand info`.
#[derive(Debug, Args)]
pub(crate) struct Info {
    /// Archive to read: a file, a directory, or - for standard input
    #[arg(value_name = "SRC")]
    pub(crate) source: PathBuf,
    #[command(flatten)]
    pub(crate) opening: Opening,
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(flatten)]
    pub(crate) voice: Voice,
}

/// `remand verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Archive to read: a file, a directory, or - for standard input
    #[arg(value_name = "SRC")]
    pub(crate) source: PathBuf,
    #[command(flatten)]
    pub(crate) repair: Repair,
    #[command(flatten)]
    pub(crate) opening: Opening,
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(flatten)]
    pub(crate) voice: Voice,
}

/// `remand diff`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Letters:
  A  added    M  content modified    m  attributes alone differ    T  type changed    D  deleted

Examples:
  remand diff web01
  remand diff --stat web01
  remand diff /backup/web01.tar.gz")]
pub(crate) struct Diff {
    /// Resource; or an archive, if it begins with / or . or ends in / or an archive's suffix
    #[arg(value_name = "NAME|SRC")]
    pub(crate) subject: String,
    /// Show counts for each directory of the root instead of paths
    #[arg(long)]
    pub(crate) stat: bool,
    #[command(flatten)]
    pub(crate) detection: Detection,
    #[command(flatten)]
    pub(crate) opening: Opening,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) voice: Voice,
}
