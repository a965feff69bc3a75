//! Archives of several resources, made of archives of one each.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use remand::archive::index::Role;
use remand::archive::manifest::ResourceKind;
use remand::archive::{
    Body, Compression, Failure, FileSink, Line, Manifest, MemberName, Result, Source, Visitor, Writer,
    Written, read,
};
use remand::tree::{Content, TreePath};

use crate::support::Scratch;
use crate::support::pool::Pool;
use crate::support::run::remand;

/// What is different in the whole from its parts.
#[derive(Default)]
pub(crate) struct Twist {
    /// Members that become hard links to another resource's, by their names in the whole: which, and to which.
    pub(crate) links: Vec<(&'static str, &'static str)>,
    /// Resources that are not whole, by their place.
    pub(crate) failed: Vec<u32>,
}

/// Exports each of `names` and puts them into one archive.
pub(crate) fn archive_of(pool: &Pool, names: &[&str], options: &[&str], to: &Path) {
    twisted(pool, names, options, &Twist::default(), to);
}

/// The same with something different.
pub(crate) fn twisted(pool: &Pool, names: &[&str], options: &[&str], twist: &Twist, to: &Path) {
    let scratch = Scratch::new();
    let mut parts = Vec::new();
    for (number, name) in names.iter().enumerate() {
        let part = scratch.join(&format!("{number}.tar"));
        let ended = remand(["export"]).on(pool).args(options).arg(name).arg(&part).end();
        assert!([0, 3].contains(&ended.status), "{}", ended.describe());
        parts.push(part);
    }
    combine(&parts, twist, to).unwrap();
}

/// One jail as many, which are called `j000` and so on.
pub(crate) fn copies(pool: &Pool, name: &str, count: usize, to: &Path) {
    let scratch = Scratch::new();
    let part = scratch.join("part.tar");
    remand(["export"]).on(pool).arg(name).arg(&part).ends(0);
    let mut index = Index::default();
    read(Source::Path(part.clone()), "part", &mut index).unwrap();
    let mut whole = index.whole.expect("a part");
    let record = whole.resources.remove(0);
    for number in 0..count {
        let mut record = record.clone();
        record.name = format!("j{number:03}");
        record.prefix = format!("./jails/{}/", record.name);
        whole.resources.push(record);
    }
    let id = "remand-20260101T000000Z-00000000";
    let sink = FileSink::create(to, false, id).unwrap();
    let mut writer = Writer::tar(Box::new(sink), Compression::None, to.parent().unwrap()).unwrap();
    writer.manifest(&whole, 0).unwrap();
    for record in &whole.resources {
        let mut index = Index { rename: Some(record.name.clone()), ..Index::default() };
        read(Source::Path(part.clone()), "part", &mut index).unwrap();
        let rename = Some(record.name.clone());
        let mut copy = Copy { lines: index.lines, writer: &mut writer, prefix: String::new(), rename };
        read(Source::Path(part.clone()), "part", &mut copy).unwrap();
    }
    writer.finish().unwrap();
}

fn combine(parts: &[PathBuf], twist: &Twist, to: &Path) -> Result<()> {
    let mut index = Index::default();
    for part in parts {
        index.prefix.clear();
        read(Source::Path(part.clone()), "part", &mut index)?;
    }
    let mut whole = index.whole.expect("a part");
    whole.consistent = Some(false);
    let id = "remand-20260101T000000Z-00000000";
    let mut writer = match to.extension() {
        None => Writer::directory(to, false, id)?,
        Some(_) => {
            let compression = if to.extension().is_some_and(|it| it == "gz") {
                Compression::Gzip(1)
            } else {
                Compression::None
            };
            Writer::tar(Box::new(FileSink::create(to, false, id)?), compression, to.parent().unwrap())?
        }
    };
    writer.manifest(&whole, 0)?;
    let place = |name: &str| {
        let of = |prefix: &str| name.starts_with(&prefix[2..]);
        u32::try_from(whole.resources.iter().position(|it| of(&it.prefix)).unwrap()).unwrap()
    };
    for (link, target) in &twist.links {
        let line = index.lines.get_mut(&member(target)).expect("the link's target");
        line.shared.push(place(link));
        line.shared.sort_unstable();
        line.shared.dedup();
        let line = index.lines.get_mut(&member(link)).expect("the link");
        line.role = Role::Link { to: member(target) };
    }
    let mut copy = Copy { lines: index.lines, writer: &mut writer, prefix: String::new(), rename: None };
    for part in parts {
        read(Source::Path(part.clone()), "part", &mut copy)?;
    }
    for resource in &twist.failed {
        writer.fail(&Failure { resource: *resource, error: "the disk is broken".into() })?;
    }
    writer.finish()?;
    Ok(())
}

fn member(name: &str) -> MemberName {
    MemberName::new(TreePath::new(name.as_bytes()).unwrap())
}

fn below(prefix: &str, name: &MemberName) -> MemberName {
    let whole = [prefix.as_bytes(), name.path().as_bytes()].concat();
    MemberName::new(TreePath::new(&whole).unwrap())
}

/// Of one resource's archive.
fn prefix_of(manifest: &Manifest, rename: Option<&String>) -> String {
    let [record] = &manifest.resources[..] else { panic!("one resource each") };
    let kind = if record.kind == ResourceKind::Release { "releases" } else { "jails" };
    format!("{kind}/{}/", rename.unwrap_or(&record.name))
}

fn moved(prefix: &str, line: &Line) -> Line {
    let mut line = Line { name: below(prefix, &line.name), ..line.clone() };
    if let Role::Link { to } = &mut line.role {
        *to = below(prefix, to);
    }
    line
}

/// All lines, and the manifest of the whole.
#[derive(Default)]
struct Index {
    whole: Option<Manifest>,
    prefix: String,
    /// Another name than in the part.
    rename: Option<String>,
    lines: HashMap<MemberName, Line>,
}

impl Visitor for Index {
    fn manifest(&mut self, manifest: &Manifest) -> Result<()> {
        self.prefix = prefix_of(manifest, self.rename.as_ref());
        let mut record = manifest.resources[0].clone();
        record.prefix = format!("./{}", self.prefix);
        match &mut self.whole {
            Some(whole) => whole.resources.push(record),
            none => {
                let mut whole = manifest.clone();
                whole.resources = vec![record];
                *none = Some(whole);
            }
        }
        Ok(())
    }

    fn member(&mut self, _: &Line, _: Option<&mut dyn Content>) -> Result<()> {
        Ok(())
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        let line = moved(&self.prefix, line);
        self.lines.insert(line.name.clone(), line);
        Ok(())
    }

    fn failure(&mut self, _: &Failure) -> Result<()> {
        panic!("parts are whole")
    }
}

/// Writes the members again, with the lines that they get in the whole.
struct Copy<'a> {
    lines: HashMap<MemberName, Line>,
    writer: &'a mut Writer,
    prefix: String,
    rename: Option<String>,
}

impl Visitor for Copy<'_> {
    fn manifest(&mut self, manifest: &Manifest) -> Result<()> {
        self.prefix = prefix_of(manifest, self.rename.as_ref());
        Ok(())
    }

    fn member(&mut self, line: &Line, content: Option<&mut dyn Content>) -> Result<()> {
        let mut line = self.lines[&below(&self.prefix, &line.name)].clone();
        if let Role::Member { digest } = &mut line.role {
            *digest = None;
        }
        let body = match (content, &line.role) {
            (Some(content), Role::Member { .. }) => Body::Content(content),
            _ => Body::Empty,
        };
        match self.writer.member(line, body, 1)? {
            Written::Done(_) => Ok(()),
            Written::Unstable(_) => panic!("an archive does not change"),
        }
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        match line.role {
            Role::Member { .. } | Role::Link { .. } => Ok(()),
            _ => self.writer.line(moved(&self.prefix, line)),
        }
    }

    fn failure(&mut self, _: &Failure) -> Result<()> {
        panic!("parts are whole")
    }
}
