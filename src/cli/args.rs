//! The command line's grammar. What the options mean in detail is told by remand(8); a test makes sure that it
//! names every one of them.

mod damage;
mod hooks;
mod keys;
mod reading;
mod records;
mod values;

#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{ArgAction, Args, Parser, Subcommand};

pub(crate) use damage::{Repair, Salvage};
pub(crate) use hooks::{Hooking, duration};
pub(crate) use keys::{Encrypting, Opening, Signing};
pub(crate) use reading::{Cat, Diff, Info, Ls, Verify};
pub(crate) use records::{Keep, Log, Note, Tag};
pub(crate) use values::{
    CompressionWord, ConflictWord, EngineWord, FormatWord, HookWord, IdentityWord, LayoutWord,
};

const STATUSES: &str = "\
Exit status:
  0    done, nothing lost
  1    failed; nothing changed
  2    usage
  3    done, with warnings: something named in them is not in the result
  10   no such resource, pool or archive
  11   locked by another run
  12   destination or resource exists
  20   the base is missing on this host
  21   the base differs
  22   archive damaged or incomplete
  23   archive refused: hostile, of a newer version, or not signed as required
  24   archive encrypted, and no identity given that decrypts it
  130  interrupted; rolled back";

/// Export jails and containers from a storage pool as small archives and restore them elsewhere
///
/// An archive holds a resource byte for byte and attribute for attribute. By default it holds what differs from the
/// base (the release that the resource was cloned from), so it is small, and the base must be there where it is restored.
#[derive(Debug, Parser)]
#[command(name = "remand", version, max_term_width = 100, after_long_help = STATUSES)]
pub(crate) struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One command each.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write resources to an archive
    Export(Export),
    /// Make a resource from an archive, or take files out of it
    Restore(Restore),
    /// List what is in an archive
    Ls(Ls),
    /// Print files of an archive
    Cat(Cat),
    /// Show the resources of a pool and their bases
    List(List),
    /// Show what an archive holds
    Info(Info),
    /// Prove that an archive is whole; no pool and no base needed
    Verify(Verify),
    /// Show what a resource or an archive changes against its base
    Diff(Diff),
    /// Show what interrupted runs left in a pool, and remove it
    Cleanup(Cleanup),
    /// Show the exports of a pool's resources, the newest first
    Log(Log),
    /// Give a resource tags, by which it can be selected
    Tag(Tag),
    /// Write a note to a resource
    Note(Note),
    /// Ask those who prune to leave a resource's archives and snapshots alone
    Keep(Keep),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Write the manual pages to a directory
    Man(Man),
}

/// Where resources live.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// Storage pool: a ZFS dataset or a directory [default: the manager's active pool]
    #[arg(long, value_name = "POOL", env = "REMAND_POOL", hide_env_values = true)]
    pub(crate) pool: Option<String>,
    /// How the pool is arranged [default: as its marks say]
    #[arg(long, value_enum, value_name = "LAYOUT")]
    pub(crate) layout: Option<LayoutWord>,
    /// Config file to read instead of the usual ones
    #[arg(long, value_name = "FILE", env = "REMAND_CONFIG", hide_env_values = true, value_parser = any_path())]
    pub(crate) config: Option<PathBuf>,
}

/// The config file, of a command that needs no pool.
#[derive(Debug, Args)]
pub(crate) struct Settings {
    /// Config file to read instead of the usual ones
    #[arg(long, value_name = "FILE", env = "REMAND_CONFIG", hide_env_values = true, value_parser = any_path())]
    pub(crate) config: Option<PathBuf>,
}

/// Takes the empty path too, which clap refuses: an empty `REMAND_CONFIG` is how a shell script unsets it.
fn any_path() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// How much is said, and in which form.
#[derive(Debug, Default, Args)]
pub(crate) struct Voice {
    /// Write JSON lines instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Show no progress and no summary, only warnings and errors
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Tell more; twice: also each program that is run
    #[arg(short, long, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// What to do about a lock that another run holds.
#[derive(Debug, Args)]
pub(crate) struct Patience {
    /// Wait for the resource's lock instead of failing with status 11
    #[arg(long, overrides_with = "no_wait")]
    pub(crate) wait: bool,
    /// Don't wait, even if the config file says so
    #[arg(long, overrides_with = "wait")]
    pub(crate) no_wait: bool,
}

/// How changes are found.
#[derive(Debug, Args)]
pub(crate) struct Detection {
    /// How changes are found [default: auto]
    #[arg(long, value_enum, value_name = "ENGINE")]
    pub(crate) engine: Option<EngineWord>,
    /// Believe that files of equal size and mtime are equal: faster, and a guess
    #[arg(long, conflicts_with = "engine")]
    pub(crate) quick: bool,
}

/// `remand export`.
#[derive(Debug, Args)]
#[allow(clippy::struct_excessive_bools)] // independent switches
#[command(after_long_help = "\
Examples:
  remand export web01 /backup/web01.tar.gz      what differs from the base, compressed with gzip
  remand export --standalone web01 web01.tar.zst
  remand export web01 /backup/web01             a directory
  remand export web01 - | ssh host-b remand restore -
  remand export web01 'db*' release:14.2-RELEASE three.tar.gz
  remand export --all --exclude 'test*' --keep-going /backup/all.tar.zst
  remand export web01@before-upgrade web01.tar.gz
  remand export @nightly --newer 1d /backup/changed.tar.gz
  remand export --freeze --post-snapshot 'logger exported $REMAND_RESOURCE' web01 /backup/web01.tar.gz
  remand export --sign /root/backup.key --encrypt-to age1... web01 /backup/web01.tar.gz.age")]
#[command(
    override_usage = "remand export [OPTIONS] SELECTOR... DEST|-\n       remand export [OPTIONS] --all DEST|-"
)]
pub(crate) struct Export {
    /// What to export: NAME, 'GLOB*', template:NAME, release:NAME, NAME@SNAPSHOT (that snapshot instead of a new one), @TAG; and last the
    /// archive to write, or - for standard output
    #[arg(value_name = "SELECTOR... DEST", num_args = 1.., required = true)]
    pub(crate) words: Vec<OsString>,
    /// Export everything that `remand list` shows
    #[arg(long)]
    pub(crate) all: bool,
    /// Leave out what matches, of all that is selected
    #[arg(long, value_name = "SELECTOR")]
    pub(crate) exclude: Vec<String>,
    /// Only resources in which something changed at or after this: YYYY-MM-DD, RFC 3339, or an age such as 12h or 7d
    #[arg(long, value_name = "DATE")]
    pub(crate) newer: Option<String>,
    /// Go on without a resource that fails; without this, one failure means that nothing is written
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Write the whole root, so that no base is needed to restore it
    #[arg(long)]
    pub(crate) standalone: bool,
    /// Let the base travel too, as it is in the snapshot that is the base; a restore makes it only where it is needed
    #[arg(long, conflicts_with = "standalone")]
    pub(crate) with_base: bool,
    /// Let the datasets' own snapshots travel too
    #[arg(long)]
    pub(crate) recursive: bool,
    /// Write datasets as file trees, so that any backend can restore them
    #[arg(long)]
    pub(crate) portable: bool,
    /// Write encrypted datasets in plain text, instead of as they are stored
    #[arg(long)]
    pub(crate) decrypted: bool,
    #[command(flatten)]
    pub(crate) hooking: Hooking,
    /// Leave out of the archive what is of this run, host and moment: two exports of one snapshot are the same to the byte
    #[arg(long)]
    pub(crate) reproducible: bool,
    /// Form of the archive [default: as DEST's suffix says; directory if it has none]
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) format: Option<FormatWord>,
    /// Compression [default: as DEST's suffix says; gzip if it has none]
    #[arg(short, long, value_enum, value_name = "METHOD")]
    pub(crate) compression: Option<CompressionWord>,
    /// Compression level: 1-9 for gzip, 1-19 for zstd
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=19))]
    pub(crate) level: Option<u32>,
    #[command(flatten)]
    pub(crate) signing: Signing,
    #[command(flatten)]
    pub(crate) encrypting: Encrypting,
    #[command(flatten)]
    pub(crate) detection: Detection,
    /// Replace DEST if it exists
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) patience: Patience,
    /// Show what would be done, and change nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) voice: Voice,
}

/// `remand restore`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  remand restore /backup/web01.tar.gz
  remand restore --name web02 web01.tar.gz      a second jail, with an identity of its own
  remand restore all.tar.gz web01 db01=db02     two resources of many, one under another name
  remand restore --set boot=no --unset ip4_addr web01.tar.gz
  remand restore --base 14.3-RELEASE --on-conflict theirs web01.tar.gz
  ssh host-a remand export web01 - | remand restore -
  remand restore web01.tar.gz web01:/etc/nginx --to /tmp/old     a directory out of it")]
pub(crate) struct Restore {
    /// Archive to read: a file, a directory, or - for standard input
    #[arg(value_name = "SRC")]
    pub(crate) source: PathBuf,
    /// Resources to restore: NAME, NAME=NEW, a pattern, NAME@SNAPSHOT, @TAG [default: all that the archive holds]. With --to
    /// what to extract: NAME:PATH, or :PATH if the archive holds one resource
    #[arg(value_name = "RESOURCE")]
    pub(crate) selectors: Vec<String>,
    /// Resource not to restore, or a pattern; can be given several times
    #[arg(long, value_name = "RESOURCE")]
    pub(crate) exclude: Vec<String>,
    /// Only resources that were exported as of this moment or later: YYYY-MM-DD, RFC 3339, or an age such as 12h or 7d
    #[arg(long, value_name = "DATE")]
    pub(crate) newer: Option<String>,
    /// Leave out what cannot be restored, instead of restoring nothing
    #[arg(long)]
    pub(crate) keep_going: bool,
    /// Extract into this directory instead of making a resource
    #[arg(
        long,
        value_name = "DIR",
        requires = "selectors",
        conflicts_with_all = ["name", "base", "identity", "set", "unset", "allow_base_mismatch", "on_conflict", "dry_run", "exclude", "newer", "keep_going"]
    )]
    pub(crate) to: Option<PathBuf>,
    /// With --to: the dataset that PATH is in [default: root]
    #[arg(long, value_name = "DATASET", requires = "to")]
    pub(crate) dataset: Option<String>,
    /// Name of the restored resource, where it is one [default: as in the archive]
    #[arg(long, value_name = "NEW")]
    pub(crate) name: Option<String>,
    /// Restore onto this release, or template:NAME, instead of the base that the archive names
    #[arg(long, value_name = "RELEASE")]
    pub(crate) base: Option<String>,
    /// Name, MAC addresses, host id and host UUID [default: new with --name, else keep]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub(crate) identity: Option<IdentityWord>,
    /// Set a key of the restored config, of all resources or of one; can be given several times
    #[arg(long, value_name = "[NAME:]KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Take a key of the restored config away; can be given several times
    #[arg(long, value_name = "[NAME:]KEY")]
    pub(crate) unset: Vec<String>,
    /// Go on although the base is not the one that the archive was made against
    #[arg(long)]
    pub(crate) allow_base_mismatch: bool,
    /// Who wins where the base has something else than was replaced [default: fail]
    #[arg(long, value_enum, value_name = "WHO")]
    pub(crate) on_conflict: Option<ConflictWord>,
    #[command(flatten)]
    pub(crate) salvage: Salvage,
    #[command(flatten)]
    pub(crate) opening: Opening,
    #[command(flatten)]
    pub(crate) patience: Patience,
    /// Show what would be done, and change nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) voice: Voice,
}

/// `remand list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) voice: Voice,
}

/// `remand cleanup`.
#[derive(Debug, Args)]
pub(crate) struct Cleanup {
    /// Remove what is listed, and make visible what an interrupted restore of several resources has whole
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Remove what is whole, too
    #[arg(long, requires = "yes")]
    pub(crate) discard: bool,
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(flatten)]
    pub(crate) voice: Voice,
}

/// `remand completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// Which shell
    #[arg(value_enum, value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

/// `remand man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Directory to write them to
    #[arg(value_name = "DIR")]
    pub(crate) directory: PathBuf,
}
