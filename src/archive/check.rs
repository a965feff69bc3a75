//! What must be true of an archive, checked while it is read.
//!
//! Members come first, then the index. Of each member 16 bytes of hash are kept until its line comes, and as much of
//! each name to find duplicates. The hashes are keyed with random bytes, so that nobody can prepare two that collide.

mod names;

use super::announced::{Announced, Place};
use super::format::{INDEX, MANIFEST, SIGNATURE};
use super::index::{Failure, Role, line_to_json, member_bytes};
use super::{Error, Line, Manifest, MemberName, Result, Seal, header};
use crate::tree::{Kind, TreePath};
use names::{Known, Names};

/// Hash of a line.
type Short = [u8; 16];

/// Checks one archive.
pub(super) struct Checker {
    announced: Announced,
    resources: u32,
    names: Names,
    members: Vec<Short>,
    /// Places of members whose content was not read.
    skipped: std::collections::HashSet<usize>,
    /// The member before this one, if it is a regular file, and which attempt.
    last: Option<(MemberName, u32)>,
    lines: u64,
    matched: usize,
    bytes: u64,
}

impl Checker {
    /// Begins with the manifest.
    pub(super) fn new(manifest: &Manifest) -> Result<Self> {
        let mut names = Names::new();
        for own in [MANIFEST, INDEX, SIGNATURE] {
            names.remember(&MemberName::new(TreePath::root().join(own.as_bytes())), Known::Other)?;
        }
        Ok(Self {
            announced: Announced::new(manifest)?,
            resources: u32::try_from(manifest.resources.len()).unwrap_or(u32::MAX),
            names,
            members: Vec::new(),
            skipped: std::collections::HashSet::new(),
            last: None,
            lines: 0,
            matched: 0,
            bytes: 0,
        })
    }

    /// A member's header, before its content.
    pub(super) fn member(&mut self, line: &Line, attempt: u32) -> Result<()> {
        let is_file = matches!(line.role, Role::Member { .. })
            && line.entry.as_ref().is_some_and(|entry| entry.kind == Kind::File);
        let last = self.last.take();
        if attempt == 1 {
            self.claim(line)?;
        } else {
            let again = is_file
                && last.is_some_and(|(name, before)| {
                    name == line.name && before.checked_add(1) == Some(attempt)
                });
            if !again {
                return Err(refuse(&line.name, "it takes the place of a member that is not before it"));
            }
            // Same name, so the same key; its line is the repetition's.
            self.members.pop();
            self.skipped.remove(&self.members.len());
        }
        self.last = is_file.then(|| (line.name.clone(), attempt));
        Ok(())
    }

    /// A member that was read; its line has the digest.
    pub(super) fn member_read(&mut self, line: &Line) {
        let hash = self.hash_line(line);
        self.members.push(hash);
    }

    /// A member whose content was not read; its line has no digest.
    pub(super) fn member_skipped(&mut self, line: &Line) {
        self.skipped.insert(self.members.len());
        self.member_read(line);
    }

    /// A line of the index, after all members.
    pub(super) fn line(&mut self, line: &Line) -> Result<()> {
        self.count(line)?;
        if !is_member(line) {
            return self.claim(line);
        }
        let hash = if self.skipped.contains(&self.matched) {
            self.hash_line(&header::line_in_header(line))
        } else {
            self.hash_line(line)
        };
        let expected = self.members.get(self.matched);
        self.matched += 1;
        if expected == Some(&hash) {
            return Ok(());
        }
        if self.names.find(line.name.path()).is_some() {
            return Err(Error::Damaged(format!("{} is not what the index says, or not where", line.name)));
        }
        Err(Error::Damaged(format!("{} is missing", line.name)))
    }

    /// A resource that is not whole, after all lines of its members.
    pub(super) fn failure(&self, failure: &Failure) -> Result<()> {
        if failure.resource < self.resources {
            return Ok(());
        }
        Err(Error::Refused(
            "its index says that a resource failed which its manifest does not announce".to_owned(),
        ))
    }

    /// A line of an index that is read before the members.
    pub(super) fn line_alone(&mut self, line: &Line) -> Result<()> {
        self.count(line)?;
        self.matched += usize::from(is_member(line));
        self.claim(line)
    }

    fn count(&mut self, line: &Line) -> Result<()> {
        self.lines += 1;
        if let (true, Some(entry)) = (is_member(line), &line.entry) {
            let bytes = member_bytes(&line.role, entry.kind, entry.size);
            self.bytes = self.bytes.checked_add(bytes).ok_or_else(|| {
                refuse(&line.name, "with it the archive has more bytes than can be counted")
            })?;
        }
        Ok(())
    }

    /// The end of the index.
    pub(super) fn seal(&self, seal: &Seal, digest: super::Digest) -> Result<()> {
        if self.members.len() > self.matched {
            return Err(Error::Damaged("it has members that its index does not know".to_owned()));
        }
        if seal.digest != digest {
            return Err(Error::Damaged("its seal does not match the manifest and the index".to_owned()));
        }
        if (seal.entries, seal.members, seal.bytes) != (self.lines, self.matched as u64, self.bytes) {
            return Err(Error::Damaged("its seal counts other entries than it has".to_owned()));
        }
        Ok(())
    }

    /// Whether the index has an entry at `path`, or one below it.
    pub(super) fn knows(&self, path: &TreePath) -> bool {
        self.names.find(path).is_some_and(|known| known != Known::Deleted)
    }

    fn hash_line(&self, line: &Line) -> Short {
        let line = Line {
            entry: header::in_header(line),
            name: line.name.clone(),
            role: line.role.clone(),
            group: None,
            replaced: None,
            unstable: false,
            shared: line.shared.clone(),
        };
        let mut hasher = blake3::Hasher::new_keyed(&self.names.key);
        hasher.update(&line_to_json(&line));
        short(&hasher)
    }

    /// Makes sure that a line's name is announced, new, and in a directory, and remembers it.
    fn claim(&mut self, line: &Line) -> Result<()> {
        let name = &line.name;
        let Some((number, place, below)) = self.announced.find(name) else {
            return Err(refuse(name, "the manifest does not announce it"));
        };
        let kind = line.entry.as_ref().map(|entry| entry.kind);
        if matches!(line.role, Role::Deleted | Role::Metadata { .. }) && place != Place::Delta {
            return Err(refuse(name, "only what differs from a base can be so"));
        }
        let is_link = matches!(line.role, Role::Link { .. });
        if !place.is_directory() && (kind != Some(Kind::File) || !matches!(line.role, Role::Member { .. })) {
            return Err(refuse(name, "it is no regular file"));
        }
        if place.is_directory() && below.is_root() && (kind != Some(Kind::Directory) || is_link) {
            return Err(refuse(name, "it is no directory"));
        }
        if let Role::Link { to } = &line.role {
            self.check_link(name, to, number, place)?;
        }
        let known = match kind {
            None => Known::Deleted,
            Some(Kind::Directory) if !is_link => Known::Directory,
            Some(_) => Known::Other,
        };
        self.names.remember(name, known)
    }

    fn check_link(&mut self, name: &MemberName, to: &MemberName, number: usize, place: Place) -> Result<()> {
        let Some((other, other_place, below)) = self.announced.find(to) else {
            return Err(refuse(name, &format!("it is a link to {to}, which is elsewhere")));
        };
        if other != number {
            // A file that has names in several trees: its content came with the first of them.
            return match self.names.find(to.path()) {
                Some(Known::Other) if other_place.is_directory() => Ok(()),
                _ => Err(refuse(name, &format!("it is a link to {to}, which is elsewhere"))),
            };
        }
        match self.names.find(to.path()) {
            Some(Known::Other) => Ok(()),
            // A name that only the base has.
            None if place == Place::Delta && !below.is_root() => {
                self.names.lead_to(to.path());
                Ok(())
            }
            Some(_) => Err(refuse(name, &format!("it is a link to {to}, which has no content"))),
            None => Err(refuse(name, &format!("it is a link to {to}, which is not before it"))),
        }
    }
}

fn short(hasher: &blake3::Hasher) -> Short {
    let mut short = [0; 16];
    short.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    short
}

/// Whether a line is of a member.
pub(super) fn is_member(line: &Line) -> bool {
    matches!(line.role, Role::Member { .. } | Role::Link { .. })
}

fn refuse(name: &MemberName, why: &str) -> Error {
    Error::Refused(format!("{name}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::testing::{entry, line, manifest, name};

    fn link(path: &str, to: &str, kind: Kind) -> Line {
        Line { role: Role::Link { to: name(to) }, ..line(path, entry(kind)) }
    }

    #[test]
    fn nothing_lies_in_a_link_that_calls_itself_a_directory() {
        let mut checker = Checker::new(&manifest()).unwrap();
        checker.line_alone(&line("root/a", entry(Kind::File))).unwrap();
        checker.line_alone(&link("root/b", "root/a", Kind::Directory)).unwrap();
        assert!(checker.line_alone(&line("root/b/c", entry(Kind::File))).is_err());
    }

    #[test]
    fn what_only_the_base_has_is_no_directory_where_a_link_leads_to_it() {
        let metadata =
            |kind| Line { role: Role::Metadata { digest: None }, ..line("root/kept", entry(kind)) };
        for (kind, is_possible) in [(Kind::File, true), (Kind::Directory, false)] {
            let mut checker = Checker::new(&manifest()).unwrap();
            checker.member(&link("root/new", "root/kept", Kind::File), 1).unwrap();
            checker.member(&link("root/newer", "root/kept", Kind::File), 1).unwrap();
            assert_eq!(checker.line_alone(&metadata(kind)).is_ok(), is_possible, "{kind:?}");
        }
    }

    #[test]
    fn a_link_to_what_the_base_alone_has_leads_into_the_delta_and_not_to_its_root() {
        let mut checker = Checker::new(&manifest()).unwrap();
        let mut leads = |from: &str, to: &str| checker.line_alone(&link(from, to, Kind::File)).is_ok();
        assert!(leads("root/a", "root/kept"));
        for to in ["root", "files/x", "config.json", "fstab"] {
            assert!(!leads("root/b", to), "{to}");
        }
        assert!(!leads("files/a", "root/kept"));
    }

    #[test]
    fn what_was_deleted_is_not_known() {
        let mut checker = Checker::new(&manifest()).unwrap();
        let gone = Line { role: Role::Deleted, entry: None, ..line("root/gone", entry(Kind::File)) };
        checker.line_alone(&gone).unwrap();
        checker.line_alone(&line("root/d/there", entry(Kind::File))).unwrap();
        let knows = |path: &str| checker.knows(name(path).path());
        assert!(!knows("root/gone") && !knows("root/never"));
        assert!(knows("root/d") && knows("root/d/there"));
    }

    #[test]
    fn a_link_leads_to_a_file_that_came_before_in_a_tree_of_files() {
        let mut checker = Checker::new(&crate::archive::testing::two_jails()).unwrap();
        for (path, kind) in [
            ("jails/a/config.json", Kind::File),
            ("jails/a/root.tree", Kind::Directory),
            ("jails/a/root.tree/file", Kind::File),
            ("jails/b/root.tree", Kind::Directory),
        ] {
            checker.line_alone(&line(path, entry(kind))).unwrap();
        }
        let mut leads = |from: &str, to: &str| checker.line_alone(&link(from, to, Kind::File)).is_ok();
        assert!(leads("jails/a/root.tree/same", "jails/a/root.tree/file"));
        // Names in several trees.
        assert!(leads("jails/b/root.tree/other", "jails/a/root.tree/file"));
        // No base has what is not there.
        assert!(!leads("jails/a/root.tree/wrong", "jails/a/root.tree/missing"));
        for to in [
            "jails/a/root.tree",
            "jails/a/root.tree/missing",
            "jails/a/config.json",
            "jails/c/root.tree/file",
            "elsewhere",
        ] {
            assert!(!leads("jails/b/root.tree/wrong", to), "{to}");
        }
    }
}
