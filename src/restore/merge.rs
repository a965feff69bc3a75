//! Merging an archive's changes into a base that is not the one that it was made against.

use super::OnConflict;
use super::conflict::{Conflicts, Found};
use crate::archive::Line;
use crate::archive::index::Role;
use crate::error::{Error, Result};
use crate::event::Warning;
use crate::step::Steps;
use crate::tree::{Content, Kind, Tree, TreePath, TreeWriter};

/// A merge that is under way.
pub(super) struct Merge {
    conflicts: Conflicts,
    rule: OnConflict,
    /// Deleted directories, in the archive's order. They go last and only if they are empty: this base may have entries
    /// in them that the archive knows nothing of.
    directories: Vec<TreePath>,
}

/// Whether a line is dealt with.
pub(super) struct Decided(bool);

impl Decided {
    pub(super) fn is_settled(&self) -> bool {
        self.0
    }
}

impl Merge {
    pub(super) fn new(conflicts: Conflicts, rule: OnConflict) -> Self {
        Self { conflicts, rule, directories: Vec::new() }
    }

    /// A hard link to an entry that this base does not have: nobody has its content.
    pub(super) fn lost_link(&mut self, path: &TreePath, to: &TreePath, steps: &Steps<'_>) {
        self.conflicts.add(format!("{path} (a link to {to}, which this base does not have)"));
        if self.rule != OnConflict::Fail {
            Self::warn(
                steps,
                path,
                &format!("is another name of {to}, which this base does not have; it was left out"),
            );
        }
    }

    /// Decides on a line of the root. The archive's members have been applied already; what is not settled here is left
    /// to be applied as on the right base.
    pub(super) fn decide(
        &mut self,
        line: &Line,
        path: &TreePath,
        writer: &mut TreeWriter,
        steps: &Steps<'_>,
    ) -> Result<Decided> {
        let found = self.conflicts.look_up(path)?;
        let deleted_directory = line.role == Role::Deleted
            && found.as_ref().is_some_and(|found| found.node.entry.kind == Kind::Directory);
        if deleted_directory {
            self.directories.push(path.clone());
            return Ok(Decided(true));
        }
        let lacks_content = matches!(line.role, Role::Metadata { .. });
        if !Conflicts::is_conflict(line, found.as_ref()) {
            return Ok(Decided(lacks_content && found.is_none()));
        }
        self.conflicts.add(path.to_string());
        match self.rule {
            OnConflict::Fail => Ok(Decided(true)),
            OnConflict::Theirs if lacks_content && found.is_none() => {
                Self::warn(steps, path, "is not in this base, and the archive has its attributes only");
                Ok(Decided(true))
            }
            OnConflict::Theirs if lacks_content => {
                Self::warn(
                    steps,
                    path,
                    "has other content in this base; the archive has its attributes only",
                );
                let regular = found.is_some_and(|found| found.node.entry.kind == Kind::File);
                Ok(Decided(!regular))
            }
            OnConflict::Theirs => {
                Self::warn(steps, path, "differs in this base; the archive's version was taken");
                Ok(Decided(false))
            }
            OnConflict::Keep => {
                Self::warn(steps, path, "differs in this base; the base's version was kept");
                self.put_back(path, found, writer)?;
                Ok(Decided(true))
            }
        }
    }

    /// Gives `path` what the base has there.
    fn put_back(&self, path: &TreePath, found: Option<Found>, writer: &mut TreeWriter) -> Result<()> {
        let failed = || Error::tree(format!("restore {path} from the base"));
        let Some(found) = found else { return writer.remove(path).map(drop).map_err(failed()) };
        let mut content = self.conflicts.content(path)?;
        let content = content.as_mut().filter(|_| found.node.entry.kind == Kind::File);
        writer
            .put(path, &found.node.entry, content.map(|content| content as &mut dyn Content))
            .map_err(failed())
    }

    /// Deals with what had to wait, and fails if conflicts were found that nobody may decide.
    pub(super) fn settle(
        &mut self,
        base: &str,
        built: &Tree,
        writer: &mut TreeWriter,
        steps: &Steps<'_>,
    ) -> Result<()> {
        for path in std::mem::take(&mut self.directories).into_iter().rev() {
            let failed = || Error::tree(format!("remove {path}"));
            let Some(directory) = built.open_dir(&path).map_err(failed())? else { continue };
            let is_empty = directory.names().map_err(failed())?.is_empty();
            if is_empty || self.rule == OnConflict::Theirs {
                writer.remove(&path).map_err(failed())?;
            }
            if is_empty {
                continue;
            }
            self.conflicts.add(format!("{path}/"));
            let done = match self.rule {
                OnConflict::Fail => continue,
                OnConflict::Keep => "it was kept",
                OnConflict::Theirs => "they were removed with it",
            };
            let message = format!("was deleted in the archive, but has other entries in this base; {done}");
            Self::warn(steps, &path, &message);
        }
        let (count, examples) = self.conflicts.summary();
        if count > 0 && self.rule == OnConflict::Fail {
            return Err(Error::Conflicts { base: base.to_owned(), count, examples });
        }
        if count > 0 {
            steps.notice(base, format!("{count} conflicts: {examples}"));
        }
        Ok(())
    }

    /// Closes the base.
    pub(super) fn close(self) -> Result<()> {
        self.conflicts.close()
    }

    fn warn(steps: &Steps<'_>, path: &TreePath, message: &str) {
        steps.warn(&Warning { subject: path.to_string(), message: message.to_owned() });
    }
}
