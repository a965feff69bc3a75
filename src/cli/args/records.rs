//! What a pool remembers of its exports, and says about its resources.

use clap::Args;

use super::{Place, Voice};

/// `remand log`.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Resource: a jail's name, template:NAME or release:NAME; it may be gone [default: all]
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// Show that many exports at most
    #[arg(short = 'n', long, value_name = "N")]
    pub(crate) number: Option<usize>,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) voice: Voice,
}

/// `remand tag`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  remand tag web01 nightly www      give it two tags
  remand tag web01                  show its tags
  remand tag --remove web01 www")]
pub(crate) struct Tag {
    /// Resource: a jail's name, template:NAME or release:NAME
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Tags to give [default: show them]
    #[arg(value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Remove these tags
    #[arg(long, requires = "tags")]
    pub(crate) remove: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) voice: Voice,
}

/// `remand note`.
#[derive(Debug, Args)]
pub(crate) struct Note {
    /// Resource: a jail's name, template:NAME or release:NAME
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Note, or - to read it from standard input [default: show it]
    #[arg(value_name = "TEXT", conflicts_with = "remove")]
    pub(crate) text: Option<String>,
    /// Remove the note
    #[arg(long)]
    pub(crate) remove: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) voice: Voice,
}

/// `remand keep`.
#[derive(Debug, Args)]
pub(crate) struct Keep {
    /// Resource: a jail's name, template:NAME or release:NAME
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Take the flag away
    #[arg(long)]
    pub(crate) off: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) voice: Voice,
}
