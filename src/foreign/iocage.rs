//! What `iocage export` writes: a zip or tar.xz file of streams, and the SHA-256 of it beside it.
//!
//! ```text
//! NAME_DATE             the jail's own dataset: config.json, fstab
//! NAME_DATE_root        the dataset root
//! NAME_DATE_data_db     the dataset data/db, or data_db: `_` stands for itself and for `/`
//! ```
//!
//! They lie in the directories where iocage had them. Config and fstab are in a stream, so they are known only when that has been
//! received.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use super::place::{About, Place, is_in};
use super::stream::{Head, Sort};
use super::{Item, MAX_STREAMS, Survey, check_nesting, libioc, order};
use crate::archive::manifest::{Encoding, Foreign, Mode};
use crate::archive::{Body, Error, Line, MemberName, Result, Writer};
use crate::resource::check_name;
use crate::tree::{Content, Entry, MemoryContent, Tree, TreePath};

/// Longest config or fstab that is taken, in bytes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// What a file's name says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    jail: String,
    date: String,
    /// What follows; empty for the jail's own dataset.
    rest: String,
}

impl Name {
    fn parse(name: &[u8]) -> Option<Self> {
        let name = std::str::from_utf8(name).ok()?;
        let name = name.rsplit('/').next().unwrap_or(name);
        // A jail may be called as a date is written, so the last one counts.
        let (at, _) = name.char_indices().rev().find(|&(at, _)| is_date(&name[at..]))?;
        let jail = name[..at].strip_suffix('_').filter(|jail| check_name(jail).is_ok())?;
        let (date, rest) = name[at..].split_at(DATE_BYTES);
        let rest =
            if rest.is_empty() { rest } else { rest.strip_prefix('_').filter(|rest| !rest.is_empty())? };
        Some(Self { jail: jail.to_owned(), date: date.to_owned(), rest: rest.to_owned() })
    }
}

const DATE_BYTES: usize = "2026-01-02".len();

/// Whether a text begins with a date.
fn is_date(text: &str) -> bool {
    let digits = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_digit);
    match text.as_bytes() {
        [year @ .., b'-', _, _, b'-', _, _] if year.len() == 4 => digits(year),
        longer if longer.len() > DATE_BYTES && text.is_char_boundary(DATE_BYTES) => {
            is_date(&text[..DATE_BYTES]) && longer[DATE_BYTES] == b'_'
        }
        _ => false,
    }
}

/// Whether a member is one of an export.
pub(super) fn is_member(name: &MemberName, head: &[u8]) -> bool {
    Name::parse(name.path().as_bytes()).is_some() && Head::parse(head).is_some()
}

struct Found {
    source: MemberName,
    name: Name,
    head: Head,
}

/// Looks at all members of an export; `sum` is the file with its checksum, if there is one.
pub(super) fn survey(place: &Place, about: &About, sum: Option<&Sum>) -> Result<(Survey, MemberName)> {
    let name = &about.name;
    let found = RefCell::new(Vec::<Found>::new());
    let about = About { proves: false, ..about.clone() };
    let mut wants = |_: &Line| true;
    let mut take = |line: &Line, content: Option<&mut dyn Content>| {
        let refused = |why: &str| Error::Refused(format!("{} in {name} {why}", line.name));
        let Some(content) = content else { return Err(refused("is no regular file")) };
        let parsed = Name::parse(line.name.path().as_bytes());
        let parsed = parsed.ok_or_else(|| refused("is not called as what iocage exports is"))?;
        let head = Head::read(content)?;
        let head = head.ok_or_else(|| {
            Error::Damaged(format!("{} in {name} does not begin as ZFS streams do", line.name))
        })?;
        if head.sort == Sort::Package {
            return Err(refused("is a stream of several snapshots or datasets, which iocage does not write"));
        }
        let mut found = found.borrow_mut();
        if found.len() == MAX_STREAMS {
            return Err(Error::Refused(format!("{name} has more than {MAX_STREAMS} streams")));
        }
        if found
            .first()
            .is_some_and(|first| (&first.name.jail, &first.name.date) != (&parsed.jail, &parsed.date))
        {
            return Err(refused("is of another jail than what is before it"));
        }
        found.push(Found { source: line.name.clone(), name: parsed, head });
        Ok(())
    };
    place.each(&about, &mut wants, &mut take)?;
    describe(name, &found.into_inner(), sum)
}

fn describe(name: &str, found: &[Found], sum: Option<&Sum>) -> Result<(Survey, MemberName)> {
    let refused = |why: String| Error::Refused(format!("{name} {why}"));
    let own = found.iter().position(|found| found.name.rest.is_empty());
    let own = own.ok_or_else(|| refused("has no stream of the jail's own dataset".into()))?;
    let mut foreign = Foreign {
        tool: "iocage".into(),
        form: "iocage's export".into(),
        limits: Vec::new(),
        notices: Vec::new(),
    };
    let mut hasher = blake3::Hasher::new();
    let mut parts = Vec::new();
    let mut seconds = 0;
    for part in found {
        let head = &part.head;
        hasher.update(
            format!("{} {}@{} {}\n", part.source, head.dataset, head.snapshot, head.seconds).as_bytes(),
        );
        seconds = seconds.max(head.seconds);
        if !part.name.rest.is_empty() {
            let dataset = dataset_of(part, &found[own].head, &mut foreign);
            parts.push((dataset, part));
        }
    }
    parts.sort_by(|(a, _), (b, _)| order(a).cmp(&order(b)));
    let names: BTreeSet<&str> = parts.iter().map(|(dataset, _)| dataset.as_str()).collect();
    if names.len() != parts.len() || found.iter().filter(|part| part.name.rest.is_empty()).count() > 1 {
        return Err(refused("has two streams of one dataset".into()));
    }
    if !names.contains("root") {
        return Err(refused("has no stream of the dataset root".into()));
    }
    check_nesting(name, names.iter().copied())?;
    limits(&mut foreign, sum);
    let first = found[own].head.snapshot.clone();
    let snapshot = Some(first).filter(|first| found.iter().all(|part| part.head.snapshot == *first));
    let mut datasets = Vec::new();
    let mut items = Vec::new();
    for (dataset, part) in &parts {
        let record = libioc::dataset(dataset, Encoding::Zfs, part.head.sort == Sort::Volume);
        // Nothing that is no stream comes from there.
        let (source, dataset) = (part.source.clone(), dataset.clone());
        items.push(Item { source, dataset, target: record.member.clone(), early: false });
        datasets.push(record);
    }
    let mut record = super::record(found[own].name.jail.clone(), "iocage", datasets);
    (record.mode, record.snapshot, record.consistent) = (Mode::Standalone, snapshot, true);
    let id = hasher.finalize().to_hex()[..32].to_owned();
    let manifest = super::manifest(&foreign, id, seconds, record);
    let survey = Survey { has_files: false, ..Survey::new(manifest, foreign, items) };
    Ok((survey, found[own].source.clone()))
}

/// The stream says which dataset it is of. Where that does not go with the name of its file, it is what iocage itself makes of that
/// name: each `_` is a `/`.
fn dataset_of(part: &Found, own: &Head, foreign: &mut Foreign) -> String {
    let rest = &part.name.rest;
    let by_name = rest.replace('_', "/");
    let sent = part.head.dataset.strip_prefix(&own.dataset).and_then(|below| below.strip_prefix('/'));
    match sent.filter(|sent| sent.replace('/', "_") == *rest) {
        Some(sent) if sent == by_name => by_name,
        Some(sent) => {
            foreign.notices.push(format!(
                "{} is of the dataset {sent}, as its stream says; by its name alone, as iocage reads it, it would be {by_name}",
                part.source
            ));
            sent.to_owned()
        }
        None => {
            if rest.contains('_') {
                foreign.limits.push(format!(
                    "{} is taken for the dataset {by_name}, as iocage does; its name could mean another one, and its stream says that it is of {}",
                    part.source, part.head.dataset
                ));
            }
            by_name
        }
    }
}

fn limits(foreign: &mut Foreign, sum: Option<&Sum>) {
    foreign.limits.push("properties of its datasets are not in it".into());
    foreign.limits.push(
        if sum.is_some() {
            "it has no seal: the .sha256 beside it proves its bytes, but not who wrote them"
        } else {
            "there is no .sha256 beside it, and it has no seal: damage that its compression does not show is not seen"
        }
        .into(),
    );
    foreign.notices.push(
        "its config, its fstab and the files beside them are in the stream of the jail's own dataset; they are known when that is received in a pool of ZFS"
            .into(),
    );
}

/// The checksum that lies beside an export.
pub(super) struct Sum {
    path: PathBuf,
    hex: String,
}

impl Sum {
    /// Looks for that of the archive at `path`: `NAME_DATE.sha256` beside `NAME_DATE.zip`.
    pub(super) fn beside(path: &Path) -> Result<Option<Self>> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(stem) = name.strip_suffix(".zip").or_else(|| name.strip_suffix(".tar.xz")) else {
            return Ok(None);
        };
        let path = path.with_file_name(format!("{stem}.sha256"));
        let shown = path.display().to_string();
        let failed = |source| Error::Io { action: "read", subject: shown.clone(), source };
        let mut text = Vec::new();
        match std::fs::File::open(&path) {
            Ok(file) => file.take(4096).read_to_end(&mut text).map_err(failed)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        // sha256(1) and sha256sum(1) write names beside it.
        let text = String::from_utf8_lossy(&text);
        let mut words = text.split_ascii_whitespace();
        let hex = words.find(|word| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let hex = hex.ok_or_else(|| Error::Damaged(format!("there is no checksum in {shown}")))?;
        Ok(Some(Self { hex: hex.to_ascii_lowercase(), path }))
    }

    /// Compares it with what it is of.
    pub(super) fn check(&self, bytes: &mut dyn Read, about: &About) -> Result<()> {
        let name = &about.name;
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        loop {
            about.go_on()?;
            match bytes.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => hasher.update(&buffer[..read]),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(source) => return Err(Error::Io { action: "read", subject: name.clone(), source }),
            }
        }
        let found = HEXLOWER.encode(&hasher.finalize());
        if found == self.hex {
            return Ok(());
        }
        Err(Error::Damaged(format!(
            "the SHA-256 of {name} is {found}, and {} says {}",
            self.path.display(),
            self.hex
        )))
    }
}

/// What the jail's own dataset holds, once that has been received.
pub(super) struct Own {
    pub(super) tree: Tree,
    config: Option<(Entry, Vec<u8>)>,
    fstab: Option<(Entry, Vec<u8>)>,
}

impl Own {
    /// Reads config and fstab, and completes the manifest by what they say.
    pub(super) fn read(tree: Tree, survey: &mut Survey) -> Result<Self> {
        let config = file(&tree, libioc::CONFIG)?;
        let mut fstab = file(&tree, libioc::FSTAB)?;
        let record = &mut survey.manifest.resources[0];
        record.config = config.is_some().then(|| libioc::CONFIG.into());
        record.fstab = fstab.is_some().then(|| libioc::FSTAB.into());
        if config.is_none() {
            survey.foreign.limits.push("there is no config.json in the jail's own dataset".into());
        }
        if let Some((_, bytes)) = &mut fstab
            && let Some(directory) = directory_in(bytes, &record.name)
        {
            *bytes = crate::fstab::to_archive(bytes, Path::new(&directory));
            record.mountpoint = directory;
        }
        let mut config = config;
        if let Some((entry, bytes)) = &mut config {
            if let Some(jail) = of_template(bytes) {
                survey.foreign.notices.push("it is of a template, and becomes a jail, as by iocage".into());
                *bytes = jail;
                entry.size = bytes.len() as u64;
            }
            let config: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
            let release = ["cloned_release", "release"].iter().find_map(|key| config[*key].as_str());
            record.base = release.and_then(libioc::base);
        }
        Ok(Self { tree, config, fstab })
    }

    /// Writes config, fstab, and the files beside them.
    pub(super) fn write(&self, survey: &Survey, about: &About, writer: &mut Writer) -> Result<()> {
        for (name, file) in [(libioc::CONFIG, &self.config), (libioc::FSTAB, &self.fstab)] {
            let Some((entry, bytes)) = file else { continue };
            let entry = Entry { size: bytes.len() as u64, ..entry.clone() };
            let line = Line::member(MemberName::new(TreePath::root().join(name.as_bytes())), entry);
            writer.member(line, Body::Content(&mut MemoryContent::new(bytes.clone())), 1)?;
        }
        let root = self.tree.root_node().map_err(Error::Tree)?;
        let files = MemberName::new(TreePath::root().join(b"files"));
        writer.member(Line::member(files, root.entry), Body::Empty, 1)?;
        let datasets = &survey.manifest.resources[0].datasets;
        let is_file = |name: &MemberName| {
            let own =
                [libioc::CONFIG, libioc::FSTAB].iter().any(|own| name.path().as_bytes() == own.as_bytes());
            !own && !datasets.iter().any(|dataset| is_in(name.path(), &dataset.name))
        };
        let below = |name: &MemberName| {
            MemberName::new(
                name.path().components().fold(TreePath::root().join(b"files"), |path, part| path.join(part)),
            )
        };
        let place = Place::Directory(self.tree.clone());
        place.each(about, &mut |line| is_file(&line.name), &mut |line, content| {
            super::put(super::moved(line, &below), content, writer)
        })
    }
}

/// A small regular file of the own dataset.
fn file(tree: &Tree, name: &str) -> Result<Option<(Entry, Vec<u8>)>> {
    let root = tree.root();
    let Some(stat) = root.stat(name.as_bytes()).map_err(Error::Tree)? else { return Ok(None) };
    let refused = |why: &str| Error::Refused(format!("{name} of the jail's own dataset is {why}"));
    let node = root.node(name.as_bytes(), &stat).map_err(Error::Tree)?;
    let file = root.open_file(name.as_bytes()).map_err(Error::Tree)?;
    let (Some(node), Some(mut file)) = (node, file) else { return Err(refused("no regular file")) };
    if file.size() > MAX_FILE_BYTES {
        return Err(refused("too long"));
    }
    Ok(Some((node.entry, super::read_all(&mut file)?)))
}

/// Where the jail was, by its fstab: what is before `/root` in a place that something is mounted on.
fn directory_in(fstab: &[u8], jail: &str) -> Option<String> {
    let text = String::from_utf8_lossy(fstab);
    let own = format!("/jails/{jail}");
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    lines.filter_map(|line| line.split_ascii_whitespace().nth(1)).find_map(|target| {
        let end = target.find(&format!("{own}/root"))? + own.len();
        target.starts_with('/').then(|| target[..end].to_owned())
    })
}

/// The config of the jail that a template becomes.
fn of_template(config: &[u8]) -> Option<Vec<u8>> {
    let mut config: serde_json::Value = serde_json::from_slice(config).ok()?;
    if config["type"] != "template" {
        return None;
    }
    config["type"] = "jail".into();
    if config.get("template").is_some() {
        config["template"] = 0.into();
    }
    let mut bytes = serde_json::to_vec_pretty(&config).ok()?;
    bytes.push(b'\n');
    Some(bytes)
}

#[cfg(test)]
mod tests;
