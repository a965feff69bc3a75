//! The resource's own directory: config, fstab and the files beside them.

use std::collections::BTreeMap;

use super::datasets::{Against, Job, path};
use super::members::Counts;
use super::queue::MemberWriter;
use crate::archive::{Body, Written};
use crate::change::{Change, Differs, Trees, What};
use crate::config::{self, Config, Defaults, Form, Place};
use crate::error::{Error, Result};
use crate::event::Step;
use crate::pool::Pool;
use crate::resource::Resource;
use crate::step::{Meter, Steps};
use crate::tree::{Acl, Content as _, Entry, Flags, Kind, MemoryContent, Tree, TreePath};

/// More than any config or fstab has; they are held in memory.
const MAX_TEXT_BYTES: usize = 16 << 20;

impl Job<'_> {
    /// Config, fstab and the other files beside them.
    pub(super) fn own_directory(&self, writer: &mut dyn MemberWriter, counts: &mut Counts) -> Result<()> {
        self.with_view(self.snapshot, |view| {
            match self.resource.config {
                Some(form) => self.steps.run(Step::ExportConfig, None, None, |meter| match form.file() {
                    Some(name) => self.single(writer, &view.tree, name, meter, counts),
                    None => self.properties(writer, &view.tree, form),
                })?,
                None => self.steps.skip(Step::ExportConfig, None, "there is none"),
            }
            if self.resource.fstab {
                self.steps.run(Step::ExportFstab, None, None, |_| self.fstab(writer, &view.tree))?;
            } else {
                self.steps.skip(Step::ExportFstab, None, "there is none");
            }
            self.steps.run(Step::ExportFiles, None, None, |meter| {
                let exclude = self.not_files()?;
                let against = Against::default();
                let trees = Trees { base: None, now: &view.tree };
                self.tree(writer, trees, &self.place("files")?, (&exclude, &against), meter, counts)?;
                Ok(())
            })
        })
    }

    /// What of the resource's own directory is written elsewhere.
    fn not_files(&self) -> Result<Vec<TreePath>> {
        let fstab = self.resource.fstab.then_some("fstab");
        let datasets = self.resource.datasets.iter().map(|part| part.name.as_str());
        let enclosed = self.resource.enclosed.iter().map(String::as_str);
        let config = self.resource.config.and_then(Form::file);
        config.into_iter().chain(fstab).chain(datasets).chain(enclosed).map(path).collect()
    }

    /// One file of the own directory, as it is.
    fn single(
        &self,
        writer: &mut dyn MemberWriter,
        tree: &Tree,
        name: &str,
        meter: &Meter<'_>,
        counts: &mut Counts,
    ) -> Result<()> {
        let failed = || Error::tree(format!("read {name}"));
        let directory = tree.root();
        let stat = directory.stat(name.as_bytes()).map_err(failed())?;
        let node = match stat {
            Some(stat) => directory.node(name.as_bytes(), &stat).map_err(failed())?,
            None => None,
        };
        let Some(node) = node else {
            return Err(Error::Unsupported(format!("{name} vanished while it was read")));
        };
        let what = What::Whole { node, replaced: None };
        let change = Change {
            path: path(name)?,
            what,
            differs: Differs::default(),
            group: None,
            directory: Some(directory),
        };
        let mut members = self.members(writer, tree, self.prefix, meter);
        members.write(change)?;
        counts.add(members.counts);
        Ok(())
    }

    fn fstab(&self, writer: &mut dyn MemberWriter, tree: &Tree) -> Result<()> {
        let (entry, text) = small(tree, "fstab", &format!("fstab of the {}", self.resource.label()))?;
        let text = crate::fstab::to_archive(&text, &self.resource.directory);
        let entry = Entry { size: text.len() as u64, ..entry };
        self.put(writer, "fstab", entry, text)
    }

    /// A config that has no file. Snapshots do not hold properties: they are those of now.
    fn properties(&self, writer: &mut dyn MemberWriter, tree: &Tree, form: Form) -> Result<()> {
        let Resource { dataset, directory, .. } = self.resource;
        let place = Place { backend: self.pool.backend(), dataset, directory };
        let text = place.of_properties()?.into_bytes();
        let own = tree.root_node().map_err(Error::tree("look at the resource's directory"))?.entry;
        let entry = Entry {
            kind: Kind::File,
            mode: 0o644,
            size: text.len() as u64,
            xattrs: BTreeMap::new(),
            acl: Acl::default(),
            flags: Flags::default(),
            ..own
        };
        self.put(writer, form.member(), entry, text)
    }

    fn put(&self, writer: &mut dyn MemberWriter, name: &str, entry: Entry, text: Vec<u8>) -> Result<()> {
        let mut content = MemoryContent::new(text);
        let written = writer.member(self.member_line(name, entry)?, Body::Content(&mut content), 1)?;
        match written {
            Written::Done(_) => Ok(()),
            Written::Unstable(line) => Ok(writer.line(line)?),
        }
    }
}

/// A file of the own directory that is held in memory.
fn small(tree: &Tree, name: &str, subject: &str) -> Result<(Entry, Vec<u8>)> {
    let failed = || Error::tree(format!("read {name}"));
    let directory = tree.root();
    let gone = || Error::Unsupported(format!("{name} vanished while it was read"));
    let stat = directory.stat(name.as_bytes()).map_err(failed())?.ok_or_else(gone)?;
    let node = directory.node(name.as_bytes(), &stat).map_err(failed())?.ok_or_else(gone)?;
    let file = directory.open_file(name.as_bytes()).map_err(failed())?.ok_or_else(gone)?;
    let mut text = vec![0; usize::try_from(file.size()).unwrap_or(usize::MAX).min(MAX_TEXT_BYTES + 1)];
    let read = file.read_at(&mut text, 0).map_err(Error::io("read", name))?;
    text.truncate(read);
    if text.len() > MAX_TEXT_BYTES {
        let reason = format!("it is larger than {MAX_TEXT_BYTES} bytes");
        return Err(Error::Malformed { subject: subject.to_owned(), reason });
    }
    Ok((node.entry, text))
}

/// Which config and fstab a resource has in a tree of its own directory, and what the config says there: now says nothing of then.
pub(super) fn look(pool: &Pool, resource: &mut Resource, tree: &Tree, steps: &Steps<'_>) -> Result<()> {
    let directory = tree.root();
    let is_file = |name: &str| {
        let stat = directory.stat(name.as_bytes()).map_err(Error::tree(format!("look for {name}")))?;
        Ok(stat.map(|stat| stat.kind == Kind::File))
    };
    let place = Place { backend: pool.backend(), dataset: &resource.dataset, directory: &resource.directory };
    let form = config::find(pool.layout().config_forms(), is_file, || {
        Ok(!place.of_properties()?.keys().is_empty())
    })?;
    let fstab = is_file("fstab")? == Some(true);
    let subject = format!("config of the {}", resource.label());
    let read = form.map(|form| {
        if let Some(name) = form.file() {
            return Config::parse(form, small(tree, name, &subject)?.1, &subject);
        }
        steps.notice("config", "it is properties, and as they are now: a snapshot holds none".into());
        place.of_properties()
    });
    let view = match read.transpose() {
        Ok(Some(config)) => Some(Defaults::of(pool.backend())?.view(&config)),
        Ok(None) | Err(Error::Malformed { .. }) => None,
        Err(error) => return Err(error),
    };
    (resource.config, resource.view, resource.fstab) = (form, view, fstab);
    Ok(())
}
