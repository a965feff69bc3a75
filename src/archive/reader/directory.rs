//! Reading DIRECTORY. The index is proven first; then each file is compared with its line.

use std::io::{self, BufReader, Read};

use super::held::Held;
use super::index::{Item, Sealed, read_lines};
use super::tar::unusable;
use super::{Terms, Visitor};
use crate::archive::bounds::{MAX_MANIFEST_BYTES, MAX_SIGNATURE_BYTES};
use crate::archive::check::{Checker, is_member};
use crate::archive::format::{INDEX, MANIFEST, SIGNATURE};
use crate::archive::index::Role;
use crate::archive::signature::Expected;
use crate::archive::writer::Hashing;
use crate::archive::{Error, Line, Manifest, Result, Seal, header};
use crate::tree::content::Interruptible;
use crate::tree::{Content as _, Dir, FileContent, Kind, Tree, TreePath};

/// Reads the manifest alone.
pub(super) fn read_manifest(tree: &Tree, name: &str) -> Result<Manifest> {
    Ok(manifest(tree, name)?.0)
}

/// Reads a whole archive, or of its files only those that are wanted.
pub(super) fn read(tree: &Tree, terms: &Terms, whole: bool, visitor: &mut dyn Visitor) -> Result<Seal> {
    let name = &terms.name;
    let (manifest, json) = manifest(tree, name)?;
    let expected = Expected::new(&manifest, &terms.keys, name)?;
    let index = tree.root().open_file(INDEX.as_bytes()).map_err(Error::Tree)?;
    let index = index.ok_or_else(|| Error::Damaged(format!("{name} has no index")))?;
    let mut checker = Checker::new(&manifest)?;
    let lines = Lines { index: &index, manifest: &json, name };
    let sealed = lines.each(&mut |item| match item {
        Item::Line(line) => checker.line_alone(&line),
        Item::Failure(failure) => checker.failure(&failure),
    })?;
    checker.seal(&sealed.seal, sealed.digest)?;
    let signed = expected.check(&sealed.line, signature(tree, name)?.as_deref())?;
    if whole {
        find_unknown(tree, &checker, &mut |path| Err(Error::Damaged(format!("unknown file ./{path}"))))?;
    }
    visitor.manifest(&manifest)?;
    if let Some(signed) = &signed {
        visitor.signature(signed)?;
    }
    let mut files = Files::new(tree, terms);
    lines.again(&sealed, &mut |item| match item {
        Item::Line(line) if is_member(&line) => files.member(&line, visitor),
        _ => Ok(()),
    })?;
    let mut held = Held::new(&expected, visitor)?;
    lines.again(&sealed, &mut |item| held.give(&item, visitor))?;
    held.release(visitor)?;
    Ok(sealed.seal)
}

fn signature(tree: &Tree, name: &str) -> Result<Option<Vec<u8>>> {
    let Some(stat) = tree.root().stat(SIGNATURE.as_bytes()).map_err(Error::Tree)? else { return Ok(None) };
    let refused = || Error::Refused(format!("the signature of {name} is no small, plain file"));
    if stat.kind != Kind::File {
        return Err(refused());
    }
    let file = tree.root().open_file(SIGNATURE.as_bytes()).map_err(Error::Tree)?.ok_or_else(refused)?;
    if file.size() > MAX_SIGNATURE_BYTES {
        return Err(refused());
    }
    read_all(&file, MAX_SIGNATURE_BYTES, || format!("the signature of {name}")).map(Some)
}

fn read_all(file: &FileContent, most: u64, subject: impl FnOnce() -> String) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = AtReader { file, offset: 0 }.take(most).read_to_end(&mut bytes);
    read.map_err(|source| Error::Io { action: "read", subject: subject(), source })?;
    Ok(bytes)
}

pub(super) fn manifest(tree: &Tree, name: &str) -> Result<(Manifest, Vec<u8>)> {
    let file = tree.root().open_file(MANIFEST.as_bytes()).map_err(Error::Tree)?;
    let file = file.ok_or_else(|| {
        Error::Refused(format!("{name} has no manifest; it is a directory that was not written by remand"))
    })?;
    if file.size() > MAX_MANIFEST_BYTES {
        return Err(Error::Refused(format!("the manifest of {name} is too long")));
    }
    let json = read_all(&file, MAX_MANIFEST_BYTES, || format!("the manifest of {name}"))?;
    let manifest = Manifest::from_json(&json).map_err(|error| unusable(name, &error))?;
    Ok((manifest, json))
}

/// A file from its beginning, as often as needed.
pub(super) struct AtReader<'a> {
    pub(super) file: &'a FileContent,
    pub(super) offset: u64,
}

impl Read for AtReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buffer, self.offset)?;
        self.offset += read as u64;
        Ok(read)
    }
}

struct Lines<'a> {
    index: &'a FileContent,
    manifest: &'a [u8],
    name: &'a str,
}

impl Lines<'_> {
    fn each(&self, take: &mut dyn FnMut(Item) -> Result<()>) -> Result<Sealed> {
        let failed =
            |source| Error::Io { action: "read", subject: format!("the index of {}", self.name), source };
        let mut lines = BufReader::with_capacity(64 << 10, AtReader { file: self.index, offset: 0 });
        read_lines(&mut lines, self.manifest, take, &failed)
    }

    /// Reads the lines once more; they must be those that were proven.
    fn again(&self, sealed: &Sealed, take: &mut dyn FnMut(Item) -> Result<()>) -> Result<()> {
        if self.each(take)? == *sealed {
            return Ok(());
        }
        Err(Error::Damaged(format!("the index of {} changed while it was read", self.name)))
    }
}

/// Finds what lies in the directory and is not in the index.
pub(super) fn find_unknown(
    tree: &Tree,
    checker: &Checker,
    take: &mut dyn FnMut(&TreePath) -> Result<()>,
) -> Result<()> {
    let mut left = vec![TreePath::root()];
    while let Some(path) = left.pop() {
        let Some(directory) = tree.open_dir(&path).map_err(Error::Tree)? else { continue };
        for found in directory.names().map_err(Error::Tree)? {
            let below = path.join(&found.name);
            if path.is_root() && [MANIFEST, INDEX, SIGNATURE].iter().any(|own| own.as_bytes() == found.name) {
                continue;
            }
            if !checker.knows(&below) {
                take(&below)?;
                continue;
            }
            let kind = match found.kind {
                None => directory.stat(&found.name).map_err(Error::Tree)?.map(|stat| stat.kind),
                kind => kind,
            };
            if kind == Some(Kind::Directory) {
                left.push(below);
            }
        }
    }
    Ok(())
}

pub(super) struct Files<'a> {
    tree: &'a Tree,
    terms: &'a Terms,
    /// The directory that was open last.
    last: Option<Dir>,
}

impl<'a> Files<'a> {
    pub(super) fn new(tree: &'a Tree, terms: &'a Terms) -> Self {
        Self { tree, terms, last: None }
    }

    pub(super) fn member(&mut self, line: &Line, visitor: &mut dyn Visitor) -> Result<()> {
        let own = header::line_in_header(line);
        let Some(entry) = &line.entry else { return Ok(()) };
        if !visitor.wants(&own) {
            return Ok(());
        }
        match &line.role {
            Role::Member { digest } if entry.kind == Kind::File => {
                let mut file = self.open(line, entry.size)?;
                let mut file = Interruptible::new(&mut file, &self.terms.interrupted);
                let mut content = Hashing::new(&mut file);
                let visited = visitor.member(&own, Some(&mut content));
                let (found, _) = content.finish(&line.name, visited)?;
                if Some(found) == *digest {
                    return Ok(());
                }
                Err(Error::Damaged(format!("{} is not what the index says", line.name)))
            }
            Role::Member { .. } => {
                self.expect_kind(line, entry.kind)?;
                visitor.member(&own, None)
            }
            _ => visitor.member(&own, None),
        }
    }

    fn open(&mut self, line: &Line, size: u64) -> Result<FileContent> {
        let missing = || Error::Damaged(format!("{} is missing, or no regular file", line.name));
        let (directory, name) = self.directory(line)?.ok_or_else(missing)?;
        let file = directory.open_file(&name).map_err(Error::Tree)?.ok_or_else(missing)?;
        if file.size() == size {
            return Ok(file);
        }
        Err(Error::Damaged(format!("{} has {} bytes, and the index says {size}", line.name, file.size())))
    }

    /// What is no file may be missing, where the directory's file system cannot have it; the index says all of it.
    fn expect_kind(&mut self, line: &Line, kind: Kind) -> Result<()> {
        let Some((directory, name)) = self.directory(line)? else { return Ok(()) };
        match directory.stat(&name).map_err(Error::Tree)? {
            Some(stat) if stat.kind != kind => Err(Error::Damaged(format!(
                "{} is {}, not {}",
                line.name,
                stat.kind.described(),
                kind.described()
            ))),
            _ => Ok(()),
        }
    }

    /// The directory of a line's entry, and its name there.
    fn directory(&mut self, line: &Line) -> Result<Option<(Dir, Vec<u8>)>> {
        let Some((parent, name)) = line.name.path().split() else { return Ok(None) };
        let name = name.to_vec();
        if let Some(last) = self.last.as_ref().filter(|last| *last.path() == parent) {
            return Ok(Some((last.clone(), name)));
        }
        self.last = self.tree.open_dir(&parent).map_err(Error::Tree)?;
        Ok(self.last.clone().map(|directory| (directory, name)))
    }
}
