//! What zfs(8) prints, as values. Pure functions: unknown values stay strings, what cannot be understood is an error that
//! quotes the line.

use std::collections::BTreeSet;
use std::path::PathBuf;

/// A line that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unclear(pub String);

/// A line of `zfs list -o name,type,mounted,origin,mountpoint`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Full name.
    pub name: String,
    /// Whether it is a volume.
    pub volume: bool,
    /// Whether it is mounted.
    pub mounted: bool,
    /// Full name of the snapshot that it was cloned from.
    pub origin: Option<String>,
    /// The property: a path, `none` or `legacy`; `-` for volumes.
    pub mountpoint: String,
}

impl Listed {
    /// Where it is mounted, if it is and its own property tells where.
    pub fn directory(&self) -> Option<PathBuf> {
        (self.mounted && self.mountpoint.starts_with('/')).then(|| PathBuf::from(&self.mountpoint))
    }
}

/// The columns for [`listed`].
pub const LISTED_COLUMNS: &str = "name,type,mounted,origin,mountpoint";

/// Reads `zfs list -H -o` [`LISTED_COLUMNS`].
pub fn listed(text: &str) -> Result<Vec<Listed>, Unclear> {
    text.lines().map(|line| one_listed(line).ok_or_else(|| Unclear(line.to_owned()))).collect()
}

fn one_listed(line: &str) -> Option<Listed> {
    // The mountpoint is last: it alone may hold a tab.
    let mut columns = line.splitn(5, '\t');
    let mut next = || columns.next().filter(|column| !column.is_empty());
    let (name, kind, mounted, origin, mountpoint) = (next()?, next()?, next()?, next()?, next()?);
    let volume = match kind {
        "filesystem" => false,
        "volume" => true,
        _ => return None,
    };
    let mounted = match mounted {
        "yes" => true,
        "no" | "-" => false,
        _ => return None,
    };
    let origin = match origin {
        "-" => None,
        snapshot if snapshot.contains('@') => Some(snapshot.to_owned()),
        _ => return None,
    };
    Some(Listed { name: name.to_owned(), volume, mounted, origin, mountpoint: mountpoint.to_owned() })
}

/// Whether a text can be all of a listing of the dataset `full` and more, whose names come first: itself is in it, and the last line is
/// whole.
pub fn is_listing_of(text: &str, full: &str) -> bool {
    let is_own =
        |line: &str| line.strip_prefix(full).is_some_and(|rest| rest.is_empty() || rest.starts_with('\t'));
    text.ends_with('\n') && text.lines().any(is_own)
}

/// Whether what all datasets lie in is among them too, below `full`.
pub fn is_closed(all: &[Listed], full: &str) -> bool {
    let names: BTreeSet<&str> = all.iter().map(|listed| listed.name.as_str()).collect();
    let above =
        |name: &str| name == full || name.rsplit_once('/').is_some_and(|(above, _)| names.contains(above));
    names.iter().all(|name| above(name))
}

/// Reads lines of `COLUMNS` columns between tabs, of which only the last may hold a tab.
pub fn columns<const COLUMNS: usize>(text: &str) -> Result<Vec<[&str; COLUMNS]>, Unclear> {
    text.lines()
        .map(|line| {
            let mut parts = line.splitn(COLUMNS, '\t');
            let row = [(); COLUMNS].map(|()| parts.next());
            if row.iter().any(|part| part.is_none_or(str::is_empty)) {
                return Err(Unclear(line.to_owned()));
            }
            Ok(row.map(Option::unwrap_or_default))
        })
        .collect()
}

/// Pairs names (in order) with `name TAB value` lines. `None` if a value holds a newline, so that the lines
/// cannot be told apart for certain and each must be asked for alone.
pub fn properties(names: &[&str], pairs: &str) -> Option<Vec<(String, String)>> {
    let pairs: Vec<_> = pairs.lines().collect();
    if names.len() != pairs.len() {
        return None;
    }
    names
        .iter()
        .zip(pairs)
        .map(|(name, pair)| {
            let value = pair.strip_prefix(name)?.strip_prefix('\t')?;
            Some(((*name).to_owned(), value.to_owned()))
        })
        .collect()
}

/// The size at the end of `zfs send -nP`.
pub fn estimate(text: &str) -> Option<u64> {
    text.lines().rev().find_map(|line| line.strip_prefix("size\t"))?.trim().parse().ok()
}

/// Where `zfs mount` says that a file system is mounted: the name, padded to 30, two spaces, the path.
pub fn mounted_at(text: &str, name: &str) -> Option<PathBuf> {
    let prefix = format!("{name:<30}  ");
    text.lines()
        .find_map(|line| line.strip_prefix(&prefix).filter(|path| path.starts_with('/')).map(PathBuf::from))
}

/// The file system that `zfs mount` shows at a path; the last one, which hides the others.
pub fn mounted_dataset<'text>(text: &'text str, path: &str) -> Option<&'text str> {
    text.lines().rev().find_map(|line| {
        let name = line.strip_suffix(path)?.trim_end();
        (!name.is_empty() && format!("{name:<30}  {path}") == line).then_some(name)
    })
}

/// Why a command failed, as far as it is known: the kinds that lead to different actions. All else stays text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// A dataset or snapshot that was named does not exist.
    Absent(String),
    /// The name is taken.
    Exists(String),
    /// The dataset above the one named does not exist.
    NoParent(String),
    /// It is in use: open files, a hold, or a clone.
    Busy,
    /// ZFS does not run on this host.
    NoZfs,
}

/// Reads standard error. Each form is one that zfs-fuse 0.7 or `OpenZFS` 2 prints with the locale C, from the begin of its
/// line to its end.
pub fn failure(stderr: &str) -> Option<Failure> {
    stderr.lines().find_map(one_failure)
}

fn one_failure(line: &str) -> Option<Failure> {
    const NO_ZFS: [&str; 5] = [
        "Please make sure that the zfs-fuse daemon is running.",
        "internal error: failed to initialize ZFS library",
        "The ZFS modules are not loaded.",
        "The ZFS modules cannot be auto-loaded.",
        "/dev/zfs and /proc/self/mounts are required.",
    ];
    if NO_ZFS.contains(&line) {
        return Some(Failure::NoZfs);
    }
    if line == "could not find any snapshots to destroy; check snapshot names." {
        return Some(Failure::Absent("snapshot of that name".to_owned()));
    }
    if let Some(name) = quoted(line, "cannot open ", ": dataset does not exist") {
        return Some(Failure::Absent(name));
    }
    for verb in ["cannot create ", "cannot create snapshot ", "cannot rename "] {
        if let Some(name) = quoted(line, verb, ": dataset already exists") {
            return Some(Failure::Exists(name));
        }
        if let Some(name) = quoted(line, verb, ": parent does not exist") {
            return Some(Failure::NoParent(name));
        }
    }
    if let Some(name) = quoted(line, "cannot receive new filesystem stream: destination ", " exists") {
        return Some(Failure::Exists(name));
    }
    // umount(8), for zfs-fuse.
    if line.starts_with("umount: ") && line.ends_with(": target is busy.") {
        return Some(Failure::Busy);
    }
    for verb in ["cannot destroy ", "cannot unmount ", "cannot rename ", "cannot mount "] {
        for reason in [
            ": dataset is busy",
            ": pool or dataset is busy",
            ": mountpoint or dataset is busy",
            ": Device busy",
            ": Device or resource busy",
            ": filesystem has dependent clones",
            ": volume has dependent clones",
            ": snapshot has dependent clones",
        ] {
            if quoted(line, verb, reason).is_some() {
                return Some(Failure::Busy);
            }
        }
    }
    None
}

fn quoted(line: &str, before: &str, after: &str) -> Option<String> {
    let name = line.strip_prefix(before)?.strip_prefix('\'')?.strip_suffix(after)?.strip_suffix('\'')?;
    Some(name.to_owned())
}

/// What this host's zfs(8) can do, by its usage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub struct Features {
    /// The one-letter options of `zfs send` that its usage names.
    pub send: BTreeSet<char>,
    /// `zfs receive -o` and `-x`.
    pub receive_override: bool,
    /// `zfs receive -s`.
    pub receive_resumable: bool,
    /// `zfs diff`.
    pub diff: bool,
    /// `zfs snapshot` of several datasets at once.
    pub snapshot_many: bool,
}

/// Reads what `zfs` prints when it is called without arguments.
pub fn features(usage: &str) -> Features {
    let mut features = Features::default();
    let mut command = "";
    for line in usage.lines() {
        let trimmed = line.trim_start();
        // A continued line begins with an option.
        if !trimmed.starts_with(['-', '[', '<']) {
            command = trimmed.split_whitespace().next().unwrap_or("");
        }
        match command {
            "send" => features.send.extend(options(trimmed)),
            "receive" if trimmed.contains("[-x ") && trimmed.contains("[-o ") => {
                features.receive_override = true;
                features.receive_resumable |= options(trimmed).any(|letter| letter == 's');
            }
            "diff" => features.diff = true,
            "snapshot" => features.snapshot_many |= trimmed.ends_with("> ..."),
            _ => {}
        }
    }
    features
}

/// The letters of `[-abc]`.
fn options(line: &str) -> impl Iterator<Item = char> {
    line.split('[')
        .filter_map(|part| part.strip_prefix('-'))
        .flat_map(|part| part.chars().take_while(char::is_ascii_alphanumeric).collect::<Vec<_>>())
}

/// What kind of object a stream's first bytes announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamKind {
    /// One file system.
    FileSystem,
    /// One volume.
    Volume,
    /// Several, with history or datasets below.
    Package,
}

/// How many bytes [`stream_kind`] looks at.
pub const STREAM_HEAD_BYTES: usize = 36;

/// Reads the head of a stream: a `dmu_replay_record` of type `DRR_BEGIN`, in the byte order of the host that sent it
/// (`sys/zfs_ioctl.h`): type, payload length, magic, version and features, creation time, type of the objects.
pub fn stream_kind(head: &[u8]) -> Option<StreamKind> {
    const MAGIC: u64 = 0x2_f5ba_cbac;
    let word = |at: usize| -> Option<[u8; 8]> { head.get(at..at + 8)?.try_into().ok() };
    let half = |at: usize| -> Option<[u8; 4]> { head.get(at..at + 4)?.try_into().ok() };
    let (version, objects) = if u64::from_le_bytes(word(8)?) == MAGIC {
        (u64::from_le_bytes(word(16)?), u32::from_le_bytes(half(32)?))
    } else if u64::from_be_bytes(word(8)?) == MAGIC {
        (u64::from_be_bytes(word(16)?), u32::from_be_bytes(half(32)?))
    } else {
        return None;
    };
    match (version & 3, objects) {
        (2, _) => Some(StreamKind::Package),
        (1, 2) => Some(StreamKind::FileSystem),
        (1, 3) => Some(StreamKind::Volume),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
