//! Archives of other tools: libioc's own, and what iocage exports.
//!
//! They are not handled beside remand's, but adapted: what they are is recognised, a look at all members finds what a manifest has to say,
//! and then an archive of version 1 is made of them by the [`Writer`] on a thread of its own, while the reader reads it.
//!
//! ```text
//! file ─▶ sort ─▶ survey ─▶ manifest ─┐
//!   └───▶ members (again) ───────────▶ Writer ─▶ pipe ─▶ reader, with all its checks ─▶ info, ls, verify, restore …
//! ```
//!
//! So nothing of them is believed that is not believed of any other archive. What they cannot guarantee is told by the manifest
//! ([`Foreign`]), which they cannot write themselves. Nothing is copied: a file or a directory is read
//! twice or more. A pipe is, since it can be read once.

use std::collections::HashSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use crate::archive::index::Role;
use crate::archive::manifest::{
    FORMAT, Foreign, Host, MAJOR, MINOR, Manifest, Mode, ResourceKind, ResourceRecord, Tool, Version,
};
use crate::archive::reader::Origin;
use crate::archive::reader::members::whole;
use crate::archive::{Body, Error, Line, MemberName, ReadAt, Result, Source, Writer, Written};
use crate::tree::{Content, Tree, TreePath};

mod adapter;
mod iocage;
mod libioc;
mod pipe;
mod place;
mod sort;
mod spool;
mod stream;

pub(crate) use sort::{Sort, sort_of_path, sort_of_stream};
#[cfg(test)]
pub(crate) use stream::tests::head as stream_head;

use adapter::{Adapter, Made};
use place::{About, Place};

/// More than any jail has.
const MAX_STREAMS: usize = 10_000;
/// More than ZFS lets datasets lie in each other.
const MAX_DEPTH: usize = 50;

/// Where a foreign archive is.
pub(crate) enum Where {
    /// A directory.
    Directory(PathBuf),
    /// A file that can be read at any place, and its path.
    File(Arc<dyn ReadAt>, PathBuf),
    /// A pipe.
    Stream(Box<dyn Read + Send>),
}

/// Who can receive a stream and show what is in it.
pub(crate) trait Receiver {
    /// Receives the stream of the own dataset of a jail, which lies there until the restore has ended.
    fn receive(&mut self, stream: &mut dyn Read) -> crate::error::Result<Tree>;
}

/// A stream that is taken over.
struct Item {
    source: MemberName,
    dataset: String,
    /// The member that it becomes.
    target: String,
    /// Whether something that is no stream comes behind it.
    early: bool,
}

/// What is in a foreign archive.
struct Survey {
    manifest: Manifest,
    foreign: Foreign,
    /// Its streams.
    items: Vec<Item>,
    /// Members that are streams, and places where a dataset other than the root is.
    taken: HashSet<Vec<u8>>,
    /// Whether the root is one of them.
    standalone: bool,
    /// Whether config and fstab are members, and not in a stream.
    has_files: bool,
}

impl Survey {
    fn new(manifest: Manifest, foreign: Foreign, items: Vec<Item>) -> Self {
        let standalone = items.iter().any(|item| item.dataset == "root");
        let names = items.iter().filter(|item| item.dataset != "root");
        let places = names.map(|item| item.dataset.clone().into_bytes());
        let sources = items.iter().map(|item| item.source.path().as_bytes().to_vec());
        let taken = places.chain(sources).collect();
        Self { manifest, foreign, items, taken, standalone, has_files: true }
    }

    /// Whether a member is a stream, or lies where another dataset is.
    fn is_taken(&self, path: &TreePath) -> bool {
        let bytes = path.as_bytes();
        let ends = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        ends.chain([bytes.len()]).any(|end| self.taken.contains(&bytes[..end]))
    }
}

/// Adapts an archive that was recognised. Without `receiver`, what lies in the stream of a jail's own dataset is not looked at.
pub(crate) fn adapt(
    sort: Sort,
    found: Where,
    (name, interrupted): (&str, &Arc<AtomicBool>),
    receiver: Option<&mut dyn Receiver>,
) -> Result<(Source, Arc<Origin>)> {
    let about = About { name: name.to_owned(), interrupted: Arc::clone(interrupted), proves: true };
    let (place, path) = place(sort, found, &about)?;
    let adapter = match sort {
        Sort::Libioc => {
            let survey = libioc::survey(&place, &about, path.as_deref().and_then(stem).as_deref())?;
            Adapter { place, about, survey, own: None, sum: None }
        }
        Sort::IocageZip | Sort::IocageTar => export(place, about, path.as_deref(), receiver)?,
    };
    let foreign = Some(adapter.survey.foreign.clone());
    let manifest = Manifest { foreign, ..adapter.survey.manifest.clone() };
    let origin = Arc::new(Origin::new(adapter.survey.foreign.clone(), manifest));
    let made = Made::new(adapter, &origin);
    Ok((Source::Adapted(Box::new(Source::Stream(Box::new(made))), Arc::clone(&origin)), origin))
}

fn place(sort: Sort, found: Where, about: &About) -> Result<(Place, Option<PathBuf>)> {
    let (file, path) = match found {
        Where::Directory(path) => {
            return Ok((Place::Directory(Tree::open(&path).map_err(Error::Tree)?), Some(path)));
        }
        Where::File(file, path) => (file, Some(path)),
        Where::Stream(stream) => (spool::spool(stream, about)?, None),
    };
    let place = if sort == Sort::IocageZip { Place::Zip(file) } else { Place::Tar(file) };
    Ok((place, path))
}

/// The name of an archive without what tells its form.
fn stem(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let ends = [".tar.gz", ".tar.xz", ".tar.zst", ".tgz", ".txz", ".tar"];
    Some(ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name).to_owned())
}

fn export(
    place: Place,
    about: About,
    path: Option<&Path>,
    receiver: Option<&mut dyn Receiver>,
) -> Result<Adapter> {
    let sum = path.map_or(Ok(None), iocage::Sum::beside)?;
    let (mut survey, own) = iocage::survey(&place, &about, sum.as_ref())?;
    let (Place::Zip(file) | Place::Tar(file)) = &place else {
        return Err(Error::Refused(format!("{} is no file", about.name)));
    };
    let sum = sum.map(|sum| (sum, Arc::clone(file)));
    let Some(receiver) = receiver else { return Ok(Adapter { place, about, survey, own: None, sum }) };
    // What is received must be what was written.
    if let Some((sum, file)) = &sum {
        sum.check(&mut whole(file), &about)?;
    }
    let mut tree = None;
    place.each(&about, &mut |line| line.name == own, &mut |line, content| {
        let missing = || Error::Refused(format!("{} has no content", line.name));
        let mut stream = ContentStream { content: content.ok_or_else(missing)?, rest: Vec::new(), taken: 0 };
        tree = Some(receiver.receive(&mut stream)?);
        Ok(())
    })?;
    let tree = tree.ok_or_else(|| changed(&about))?;
    let own = iocage::Own::read(tree, &mut survey)?;
    Ok(Adapter { place, about, survey, own: Some(own), sum: None })
}

fn changed(about: &About) -> Error {
    Error::Damaged(format!("{} changed while it was read", about.name))
}

/// A line of the same entry in another place, as the writer takes it.
fn moved(line: &Line, to: &dyn Fn(&MemberName) -> MemberName) -> Line {
    let role = match &line.role {
        Role::Link { to: target } => Role::Link { to: to(target) },
        role => role.clone(),
    };
    Line { name: to(&line.name), role, shared: Vec::new(), ..line.clone() }
}

/// Writes a member.
fn put(line: Line, content: Option<&mut dyn Content>, writer: &mut Writer) -> Result<()> {
    if matches!(line.role, Role::Unarchived) {
        return writer.line(line);
    }
    let body = content.map_or(Body::Empty, Body::Content);
    match writer.member(line, body, 1)? {
        Written::Done(_) => Ok(()),
        Written::Unstable(line) => writer.line(line),
    }
}

/// The order of datasets in a manifest: the root first, then by name, what lies in what behind it.
fn order(dataset: &str) -> (bool, Vec<&str>) {
    (dataset != "root", dataset.split('/').collect())
}

/// What a dataset lies in must be there too.
fn check_nesting<'a>(name: &str, datasets: impl Iterator<Item = &'a str>) -> Result<()> {
    let known: HashSet<&str> = datasets.collect();
    for dataset in &known {
        if dataset.split('/').count() > MAX_DEPTH {
            return Err(Error::Refused(format!("{name} has datasets that lie more than {MAX_DEPTH} deep")));
        }
        match dataset.rsplit_once('/') {
            Some((above, _)) if !known.contains(above) => {
                return Err(Error::Refused(format!(
                    "{name} has the dataset {dataset}, but not {above}, which that lies in"
                )));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The manifest of what one resource is.
fn manifest(foreign: &Foreign, id: String, seconds: i64, record: ResourceRecord) -> Manifest {
    let created = jiff::Timestamp::from_second(seconds).unwrap_or_default();
    Manifest {
        format: FORMAT.into(),
        version: Version { major: MAJOR, minor: MINOR },
        requires: Vec::new(),
        tool: Tool { name: foreign.tool.clone(), version: String::new() },
        id,
        created: created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        host: Host { os: "FreeBSD".into(), ..Host::default() },
        consistent: Some(record.consistent),
        resources: vec![record],
        failed: Vec::new(),
        signed_by: None,
        options: std::collections::BTreeMap::new(),
        foreign: None,
    }
}

fn record(
    name: String,
    layout: &str,
    datasets: Vec<crate::archive::manifest::DatasetRecord>,
) -> ResourceRecord {
    ResourceRecord {
        kind: ResourceKind::Jail,
        name,
        layout: layout.to_owned(),
        backend: "zfs".into(),
        mountpoint: String::new(),
        prefix: "./".into(),
        mode: Mode::Standalone,
        base: None,
        snapshot: None,
        taken: None,
        consistent: false,
        config: None,
        fstab: None,
        base_directories: Vec::new(),
        properties: std::collections::BTreeMap::new(),
        datasets,
        revision: None,
        tags: Vec::new(),
        note: None,
        keep: false,
        records: Vec::new(),
        as_base: None,
        view: None,
    }
}

/// That a file or directory is none of ours, nor one that is known.
fn no_manifest(name: &str, why: &str) -> Error {
    Error::Refused(format!("{name} has no manifest at its begin, so it was not written by remand, {why}"))
}

fn content_error(subject: &str, source: io::Error) -> Error {
    Error::Io { action: "read", subject: subject.to_owned(), source }
}

/// All of a small content.
fn read_all(content: &mut dyn Content) -> Result<Vec<u8>> {
    let failed = |source| content_error("a member", source);
    let size = content.size();
    let mut bytes = Vec::new();
    while let Some((offset, data)) = content.next_data().map_err(failed)? {
        bytes.resize(usize::try_from(offset).unwrap_or(usize::MAX).max(bytes.len()), 0);
        bytes.extend_from_slice(data);
    }
    bytes.resize(usize::try_from(size).unwrap_or(usize::MAX), 0);
    Ok(bytes)
}

/// A member's content as a stream, which has no holes.
struct ContentStream<'a> {
    content: &'a mut dyn Content,
    rest: Vec<u8>,
    taken: usize,
}

impl Read for ContentStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.rest.len() {
            (self.rest, self.taken) = match self.content.next_data()? {
                Some((_, data)) => (data.to_vec(), 0),
                None => (Vec::new(), 0),
            };
        }
        let read = (&self.rest[self.taken..]).read(buffer)?;
        self.taken += read;
        Ok(read)
    }
}
