//! What libioc's `ResourceBackup` writes: a tar file, or a directory whatever its name.
//!
//! ```text
//! ./config.json ./fstab
//! ./root/…              differential: what rsync found to differ from the release, and every directory
//! ./root.zfs            standalone
//! ./data.zfs ./data/db.zfs     the other datasets
//! ./root/bin.zfs        a dataset below root, within the differences
//! ```

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::place::{About, Place, is_in};
use super::stream::{Head, Sort};
use super::{Item, MAX_STREAMS, Survey, check_nesting, no_manifest, order};
use crate::archive::format::{INDEX, MANIFEST};
use crate::archive::index::Role;
use crate::archive::manifest::{BaseRecord, DatasetRecord, Encoding, Foreign, Mode, ResourceKind};
use crate::archive::{Error, Line, MemberName, Result};
use crate::export::plan::member;
use crate::resource::check_name;
use crate::tree::{Content, Kind};

mod limits;

pub(super) const CONFIG: &str = "config.json";
pub(super) const FSTAB: &str = "fstab";
const ROOT: &str = "root";
/// Longest config that is looked at, in bytes.
const MAX_CONFIG_BYTES: u64 = 16 << 20;
/// Names that are told of what is left out.
const TOLD: usize = 5;

/// A stream that was found.
struct Found {
    source: MemberName,
    dataset: String,
    head: Head,
    number: u64,
}

/// What a look at all members has found.
#[derive(Default)]
struct Scan {
    /// Members so far.
    number: u64,
    /// The last one that is no stream and is taken over.
    last: u64,
    config: Option<Vec<u8>>,
    fstab: bool,
    delta: bool,
    streams: Vec<Found>,
    sources: BTreeSet<Vec<u8>>,
    seconds: i64,
    left_out: u64,
    told: Vec<String>,
    /// Of what lies in `root/` and is no stream.
    files_in_root: u64,
    hasher: blake3::Hasher,
}

/// What a member is.
enum Class {
    Own,
    Config,
    Fstab,
    InRoot,
    /// Maybe a stream, of this dataset.
    Stream(String),
    Container,
    /// Of an archive of remand's.
    Ours,
    Unknown,
}

fn class(line: &Line) -> Class {
    let path = line.name.path();
    let kind = line.entry.as_ref().map(|entry| entry.kind);
    let is_file = kind == Some(Kind::File) && matches!(line.role, Role::Member { .. });
    let stem = path.as_bytes().strip_suffix(b".zfs").filter(|stem| !stem.is_empty() && !stem.ends_with(b"/"));
    match (path.as_bytes(), stem) {
        (b"", _) => Class::Own,
        (b"config.json", _) => Class::Config,
        (b"fstab", _) => Class::Fstab,
        (path, _) if path == MANIFEST.as_bytes() || path == INDEX.as_bytes() => Class::Ours,
        (_, Some(stem)) if is_file => match std::str::from_utf8(stem) {
            Ok(dataset) => Class::Stream(dataset.to_owned()),
            Err(_) if is_in(path, ROOT) => Class::InRoot,
            Err(_) => Class::Unknown,
        },
        _ if is_in(path, ROOT) => Class::InRoot,
        _ if kind == Some(Kind::Directory) => Class::Container,
        _ => Class::Unknown,
    }
}

impl Scan {
    /// Whether the content of the next member is wanted.
    fn wants(&mut self, line: &Line) -> bool {
        self.number += 1;
        let entry = line.entry.as_ref();
        let (size, seconds) = entry.map_or((0, 0), |entry| (entry.size, entry.mtime.seconds));
        self.hasher.update(format!("{} {size} {seconds}\n", line.name).as_bytes());
        match class(line) {
            Class::Own => self.seconds = self.seconds.max(seconds),
            Class::Config => {
                (self.last, self.seconds) = (self.number, self.seconds.max(seconds));
                return true;
            }
            Class::Fstab => {
                (self.last, self.seconds, self.fstab) = (self.number, self.seconds.max(seconds), true);
            }
            Class::InRoot => {
                let is_root = line.name.path().as_bytes() == ROOT.as_bytes();
                let is_directory = entry.is_some_and(|entry| entry.kind == Kind::Directory);
                self.files_in_root += u64::from(!is_directory);
                self.delta |= !is_root || is_directory;
                self.last = self.number;
            }
            Class::Stream(_) | Class::Ours => return true,
            Class::Container => {}
            Class::Unknown => self.leave_out(line),
        }
        false
    }

    fn leave_out(&mut self, line: &Line) {
        self.left_out += 1;
        if self.told.len() < TOLD {
            self.told.push(line.name.to_string());
        }
    }

    fn take(&mut self, line: &Line, content: Option<&mut dyn Content>, name: &str) -> Result<()> {
        let class = class(line);
        if matches!(class, Class::Ours) {
            return Err(no_manifest(name, "though parts of an archive of remand's are in it"));
        }
        let missing = || Error::Refused(format!("{} in {name} is no regular file", line.name));
        let content = content.ok_or_else(missing)?;
        match class {
            Class::Config => {
                if content.size() > MAX_CONFIG_BYTES {
                    return Err(Error::Refused(format!("{} in {name} is too long", line.name)));
                }
                let bytes = super::read_all(content)?;
                self.hasher.update(&bytes);
                self.config = Some(bytes);
            }
            Class::Stream(dataset) => {
                let head = Head::read(content)?;
                self.stream(line, dataset, head, name)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Tells streams from files that are only called so. In the differences it is one if it says itself that it is of the
    /// dataset whose place it has, and as of the snapshot that an export makes.
    fn stream(&mut self, line: &Line, dataset: String, head: Option<Head>, name: &str) -> Result<()> {
        let path = line.name.path();
        let within = is_in(path, ROOT);
        let head = match head {
            Some(head) if !within || head.is_of(&dataset) && is_of_export(&head.snapshot) => head,
            _ if within => {
                self.files_in_root += 1;
                (self.delta, self.last) = (true, self.number);
                return Ok(());
            }
            _ => {
                return Err(Error::Damaged(format!(
                    "{} in {name} does not begin as ZFS streams do",
                    line.name
                )));
            }
        };
        if head.sort == Sort::Package {
            return Err(Error::Refused(format!(
                "{} in {name} is a stream of several snapshots or datasets, which libioc's own restore does not take either",
                line.name
            )));
        }
        if self.streams.len() == MAX_STREAMS {
            return Err(Error::Refused(format!("{name} has more than {MAX_STREAMS} streams")));
        }
        if !self.sources.insert(path.as_bytes().to_vec()) {
            return Err(Error::Refused(format!("{}: it is there twice", line.name)));
        }
        self.hasher.update(format!("{}@{} {}\n", head.dataset, head.snapshot, head.seconds).as_bytes());
        let (source, number) = (line.name.clone(), self.number);
        self.seconds = self.seconds.max(head.seconds);
        self.streams.push(Found { source, dataset, head, number });
        Ok(())
    }
}

/// Whether a snapshot has the name that libioc gives it: `backup`, a date and time (of which the minutes are the hour again, on a clock of
/// twelve), and microseconds.
fn is_of_export(snapshot: &str) -> bool {
    snapshot.strip_prefix("backup").is_some_and(|time| {
        time.len() >= 14
            && time.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-'))
    })
}

/// Looks at all members of what may be an archive of libioc's. `stem` is the name of its file without extensions.
pub(super) fn survey(place: &Place, about: &About, stem: Option<&str>) -> Result<Survey> {
    let name = &about.name;
    let scan = RefCell::new(Scan::default());
    let about = About { proves: false, ..about.clone() };
    let mut wants = |line: &Line| scan.borrow_mut().wants(line);
    let mut take =
        |line: &Line, content: Option<&mut dyn Content>| scan.borrow_mut().take(line, content, name);
    place.each(&about, &mut wants, &mut take)?;
    let mut scan = scan.into_inner();
    let Some(config) = scan.config.take() else {
        return Err(no_manifest(name, "and no config.json, as libioc's have"));
    };
    let mut streams = std::mem::take(&mut scan.streams);
    streams.sort_by(|a, b| order(&a.dataset).cmp(&order(&b.dataset)));
    let standalone = streams.first().is_some_and(|first| first.dataset == ROOT);
    if !standalone && !scan.delta {
        return Err(Error::Refused(format!(
            "{name} has neither root nor root.zfs, so nothing can be made of it"
        )));
    }
    check_nesting(name, streams.iter().map(|found| found.dataset.as_str()).chain([ROOT]))?;
    let config: serde_json::Value = serde_json::from_slice(&config).unwrap_or_default();
    Ok(describe(&scan, &streams, &config, standalone, stem))
}

fn describe(
    scan: &Scan,
    streams: &[Found],
    config: &serde_json::Value,
    standalone: bool,
    stem: Option<&str>,
) -> Survey {
    let mut foreign = Foreign {
        tool: "libioc".into(),
        form: if standalone { "libioc's, standalone" } else { "libioc's, differential" }.into(),
        limits: Vec::new(),
        notices: Vec::new(),
    };
    let release = config["release"].as_str().and_then(base);
    limits::add(&mut foreign, scan, standalone, release.as_ref());
    let (name, told) = resource_name(streams, config, stem);
    if let Some(told) = told {
        foreign.notices.push(told);
    }
    let first = streams.first().map(|found| found.head.snapshot.clone());
    let snapshot = first.filter(|first| streams.iter().all(|found| found.head.snapshot == *first));
    let mut datasets = Vec::new();
    let mut items = Vec::new();
    if !standalone {
        datasets.push(dataset(ROOT, Encoding::Delta, false));
    }
    for found in streams {
        let record = dataset(&found.dataset, Encoding::Zfs, found.head.sort == Sort::Volume);
        if is_in(found.source.path(), ROOT) {
            foreign.notices.push(format!(
                "{} is the stream of the dataset {}, and no file of the root",
                found.source, found.dataset
            ));
        }
        let early = found.number <= scan.last;
        let (source, dataset) = (found.source.clone(), found.dataset.clone());
        items.push(Item { source, dataset, target: record.member.clone(), early });
        datasets.push(record);
    }
    let mut record = super::record(name, "libioc", datasets);
    (record.mode, record.base) = (if standalone { Mode::Standalone } else { Mode::Differential }, release);
    (record.snapshot, record.consistent) = (snapshot, standalone);
    record.config = Some(CONFIG.into());
    record.fstab = scan.fstab.then(|| FSTAB.into());
    let id = scan.hasher.finalize().to_hex()[..32].to_owned();
    let manifest = super::manifest(&foreign, id, scan.seconds, record);
    Survey::new(manifest, foreign, items)
}

pub(super) fn dataset(name: &str, encoding: Encoding, volume: bool) -> DatasetRecord {
    DatasetRecord {
        name: name.to_owned(),
        encoding,
        member: member(name, encoding),
        base: None,
        volume,
        flags: Vec::new(),
        properties: std::collections::BTreeMap::new(),
        snapshots: Vec::new(),
        bytes: None,
    }
}

/// The release of a config: `12.1-RELEASE`, or with its patch level `12.1-RELEASE-p3`.
pub(super) fn base(release: &str) -> Option<BaseRecord> {
    let patched = release.rsplit_once("-p").filter(|(name, level)| {
        name.contains('-') && !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_digit())
    });
    let (name, snapshot) = match patched {
        Some((name, level)) => (name, Some(format!("p{level}"))),
        None => (release, None),
    };
    check_name(name).ok()?;
    Some(BaseRecord {
        kind: ResourceKind::Release,
        name: name.to_owned(),
        snapshot,
        guid: None,
        fingerprint: None,
    })
}

/// The jail's name is where the streams say that they are from; else in the config, or in the name of the archive.
fn resource_name(
    streams: &[Found],
    config: &serde_json::Value,
    stem: Option<&str>,
) -> (String, Option<String>) {
    let valid = |name: &&str| check_name(name).is_ok();
    let sent = streams.iter().find_map(|found| found.head.resource_of(&found.dataset)).filter(valid);
    let written = ["id", "name"].iter().find_map(|key| config[*key].as_str().filter(valid));
    if let Some(name) = sent.or(written) {
        return (name.to_owned(), None);
    }
    let (name, whose) = match stem.filter(valid) {
        Some(stem) => (stem, "that of the archive is taken"),
        None => ("jail", "it is called so"),
    };
    let told = format!("it does not say what the jail is called; {whose}: {name}. --name gives it another");
    (name.to_owned(), Some(told))
}

/// Where a member that is no stream goes in an archive of remand's; nowhere if it is not taken over.
pub(super) fn target(survey: &Survey, line: &Line) -> Option<MemberName> {
    let path = line.name.path();
    if !survey.has_files {
        return None;
    }
    let own = [CONFIG, FSTAB].iter().any(|own| path.as_bytes() == own.as_bytes());
    if own {
        return Some(line.name.clone());
    }
    if survey.standalone || !is_in(path, ROOT) || survey.is_taken(path) {
        return None;
    }
    Some(line.name.clone())
}

#[cfg(test)]
mod tests;
