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

/// Exports `names` into one archive.
pub(crate) fn archive_of(pool: &Pool, names: &[&str], options: &[&str], to: &Path) {
    let ended = remand(["export"]).on(pool).args(options).args(names).arg(to).end();
    assert!([0, 3].contains(&ended.status), "{}", ended.describe());
}

/// The same, but the one at `failed` is told not to be whole.
pub(crate) fn with_failure(pool: &Pool, names: &[&str], failed: u32, to: &Path) {
    let scratch = Scratch::new();
    let parts: Vec<_> = names.iter().map(|name| (part_of(pool, name, &scratch), None)).collect();
    combine(&parts, Some(failed), to);
}

/// One jail as many, which are called `j000` and so on.
pub(crate) fn copies(pool: &Pool, name: &str, count: usize, to: &Path) {
    let scratch = Scratch::new();
    let part = part_of(pool, name, &scratch);
    let parts: Vec<_> = (0..count).map(|number| (part.clone(), Some(format!("j{number:03}")))).collect();
    combine(&parts, None, to);
}

fn part_of(pool: &Pool, name: &str, scratch: &Scratch) -> PathBuf {
    let part = scratch.join(&format!("{name}.tar"));
    remand(["export"]).on(pool).arg(name).arg(&part).ends(0);
    part
}

/// Puts archives of one resource each, under other names where such are given, into one.
fn combine(parts: &[(PathBuf, Option<String>)], failed: Option<u32>, to: &Path) {
    let mut index = Index::default();
    for (part, rename) in parts {
        index.rename.clone_from(rename);
        read(Source::Path(part.clone()), "part", &mut index).unwrap();
    }
    let sink = FileSink::create(to, false, "remand-20260101T000000Z-00000000").unwrap();
    let mut writer = Writer::tar(Box::new(sink), Compression::None, to.parent().unwrap()).unwrap();
    writer.manifest(&index.whole.expect("a part"), 0).unwrap();
    let mut copy = Copy { lines: index.lines, writer: &mut writer, prefix: String::new(), rename: None };
    for (part, rename) in parts {
        copy.rename.clone_from(rename);
        read(Source::Path(part.clone()), "part", &mut copy).unwrap();
    }
    if let Some(resource) = failed {
        writer.fail(&Failure { resource, error: "the disk is broken".into() }).unwrap();
    }
    writer.finish().unwrap();
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
        record.name = self.rename.clone().unwrap_or(record.name);
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
