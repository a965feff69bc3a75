//! The resource's own directory: config, fstab and the files beside them.

use super::datasets::{Against, Job, path};
use super::members::Counts;
use super::queue::MemberWriter;
use crate::archive::{Body, Written};
use crate::change::{Change, Differs, Trees, What};
use crate::error::{Error, Result};
use crate::event::Step;
use crate::step::Meter;
use crate::tree::{Content as _, Entry, MemoryContent, Tree, TreePath};

/// More than any fstab has; it is held in memory.
const MAX_FSTAB_BYTES: usize = 16 << 20;

impl Job<'_> {
    /// Config, fstab and the other files beside them.
    pub(super) fn own_directory(&self, writer: &mut dyn MemberWriter, counts: &mut Counts) -> Result<()> {
        self.with_view(self.snapshot, |view| {
            match self.resource.config {
                Some(name) => self.steps.run(Step::ExportConfig, None, None, |meter| {
                    self.single(writer, &view.tree, name, meter, counts)
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
                let against = Against { base: None, left_out: &[], fingerprint: false };
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
        self.resource.config.into_iter().chain(fstab).chain(datasets).chain(enclosed).map(path).collect()
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
        let failed = || Error::tree("read fstab");
        let directory = tree.root();
        let gone = || Error::Unsupported("fstab vanished while it was read".into());
        let stat = directory.stat(b"fstab").map_err(failed())?.ok_or_else(gone)?;
        let node = directory.node(b"fstab", &stat).map_err(failed())?.ok_or_else(gone)?;
        let file = directory.open_file(b"fstab").map_err(failed())?.ok_or_else(gone)?;
        let mut text = vec![0; usize::try_from(file.size()).unwrap_or(usize::MAX).min(MAX_FSTAB_BYTES + 1)];
        let read = file.read_at(&mut text, 0).map_err(Error::io("read", "fstab"))?;
        text.truncate(read);
        if text.len() > MAX_FSTAB_BYTES {
            let reason = format!("it is larger than {MAX_FSTAB_BYTES} bytes");
            return Err(Error::Malformed {
                subject: format!("fstab of the {}", self.resource.label()),
                reason,
            });
        }
        let text = crate::fstab::to_archive(&text, &self.resource.directory);
        let entry = Entry { size: text.len() as u64, ..node.entry };
        let mut content = MemoryContent::new(text);
        let written = writer.member(self.member_line("fstab", entry)?, Body::Content(&mut content), 1)?;
        match written {
            Written::Done(_) => Ok(()),
            Written::Unstable(line) => Ok(writer.line(line)?),
        }
    }
}
