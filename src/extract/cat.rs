//! The content of single files.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::FindPool;
use super::base::{Base, leads_through};
use crate::archive::digest::ContentHasher;
use crate::archive::index::Role;
use crate::archive::{self, Digest, Failure, Line, Manifest, MemberName, Visitor};
use crate::confine;
use crate::error::{Error, Result};
use crate::event::Observer;
use crate::input::{Input, Plain};
use crate::keys::Keys;
use crate::listing::not_whole;
use crate::locator::{Locator, Part};
use crate::scratch::{Scratch, Written};
use crate::step::Steps;
use crate::tree::content::Interruptible;
use crate::tree::{Content, Kind, TreePath};

/// Links that are followed from one hard link to the next.
const MAX_LINKS: usize = 40;

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Which files.
#[derive(Clone, Debug)]
pub struct Cat<'a> {
    /// Each a path of a regular file.
    pub files: &'a [Locator],
    /// In which dataset: `root`.
    pub dataset: &'a str,
}

/// Writes the content of files to `output`, one after the other. What a differential archive leaves to the base comes from there. Each
/// waits in a temporary file until it is proven; of a pipe nothing is written before the whole archive is.
pub fn cat(
    pool: FindPool<'_>,
    input: Input,
    what: &Cat<'_>,
    observer: &dyn Observer,
    interrupted: &Arc<AtomicBool>,
    output: &mut (dyn Write + Send),
) -> Result<()> {
    let allowed = super::allowed(pool)?.and_temporary(true);
    confine::run(&allowed, || read(pool, input, what, observer, interrupted, output))
}

fn read(
    pool: FindPool<'_>,
    input: Input,
    what: &Cat<'_>,
    observer: &dyn Observer,
    interrupted: &Arc<AtomicBool>,
    output: &mut dyn Write,
) -> Result<()> {
    let steps = Steps::new(observer, &input.name());
    let (input, keys) = input.or_stream()?;
    let mut catting = Catting { pool, what, keys: &keys, steps: &steps, interrupted, output };
    match input {
        Plain::Stream(stream) => catting.piped(stream),
        Plain::Path(path) => what.files.iter().try_for_each(|file| catting.file(&path, file)),
    }
}

struct Catting<'a> {
    pool: FindPool<'a>,
    what: &'a Cat<'a>,
    keys: &'a Keys,
    steps: &'a Steps<'a>,
    interrupted: &'a Arc<AtomicBool>,
    output: &'a mut dyn Write,
}

impl Catting<'_> {
    /// All files of an archive that can be read once.
    fn piped(&mut self, stream: Box<dyn io::Read + Send>) -> Result<()> {
        let mut search = Search::new(self.what.files, self.what.dataset, self.keys, self.interrupted);
        search.run(Input::Stream(stream), self.interrupted)?;
        for target in &mut search.targets {
            match target.answer(None)? {
                Answer::Member(member) if member != target.own => {
                    let (own, member) = (target.part.label(&target.part.path), member.to_string());
                    return Err(Error::Unsupported(format!(
                        "{own} is another name of {member}, which came before it: read the archive from a file, or ask for that"
                    )));
                }
                Answer::Member(_) => target.write(self.output)?,
                Answer::Base(path, digest) => {
                    let part = target.part.clone();
                    self.print_from_base(&part, &path, digest)?;
                }
            }
        }
        Ok(())
    }

    /// One file of an archive that can be read as often as needed.
    fn file(&mut self, archive: &std::path::Path, file: &Locator) -> Result<()> {
        let files = std::slice::from_ref(file);
        let mut name = None;
        for _ in 0..MAX_LINKS {
            let mut search = Search::new(files, self.what.dataset, self.keys, self.interrupted);
            search.elsewhere.clone_from(&name);
            search.run(Input::Path(archive.to_owned()), self.interrupted)?;
            let Some(target) = search.targets.first_mut() else { return Ok(()) };
            match target.answer(name.as_ref())? {
                Answer::Member(member) if member == *name.as_ref().unwrap_or(&target.own) => {
                    return target.write(self.output);
                }
                Answer::Member(member) => name = Some(member),
                Answer::Base(path, digest) => {
                    let part = target.part.clone();
                    return self.print_from_base(&part, &path, digest);
                }
            }
        }
        Err(Error::Refused("its hard links lead from one to the next".into()))
    }

    fn print_from_base(&mut self, part: &Part, path: &TreePath, digest: Option<Digest>) -> Result<()> {
        let base = Base::open(self.pool, part, self.steps, self.interrupted)?;
        let written = copy_from(&base, part, path, digest, (self.output, self.interrupted));
        base.close(self.steps);
        written
    }
}

fn copy_from(
    base: &Base,
    part: &Part,
    path: &TreePath,
    digest: Option<Digest>,
    (output, interrupted): (&mut dyn Write, &AtomicBool),
) -> Result<()> {
    let fail = || Error::tree(format!("read the base {}", base.label));
    let found = base.find(path)?.ok_or_else(|| part.not_there())?;
    if found.stat.kind != Kind::File {
        let node = found.dir.node(&found.name, &found.stat).map_err(fail())?;
        let target = node.and_then(|node| node.entry.target);
        return Err(no_file(part, found.stat.kind, target.as_deref()));
    }
    let file = found.dir.open_file(&found.name).map_err(fail())?;
    let mut file = file.ok_or_else(|| part.not_there())?;
    let copied = copy(&mut Interruptible::new(&mut file, interrupted), output, zeros)?;
    if digest.is_some_and(|digest| digest != copied) {
        return Err(Error::Archive(archive::Error::Damaged(format!(
            "{} is not in the base what the index says",
            part.label(path)
        ))));
    }
    Ok(())
}

/// What writes the zeros of a hole.
type Fill<W> = fn(&dyn Content, &mut W, u64) -> Result<()>;

/// Copies content with zeros for its holes; its digest.
fn copy<W: Write + ?Sized>(content: &mut dyn Content, output: &mut W, fill: Fill<W>) -> Result<Digest> {
    let (size, runs) = (content.size(), content.extents().to_vec());
    let mut hasher = ContentHasher::new(size);
    let mut at = 0;
    for run in runs {
        fill(content, output, run.offset - at)?;
        at = run.offset;
        while at < run.offset + run.length {
            let next = content.next_data().map_err(Error::io("read", "a file's content"))?;
            let Some((offset, data)) = next else { break };
            hasher.data(offset, data);
            output.write_all(data).map_err(output_error)?;
            at = offset + data.len() as u64;
        }
    }
    fill(content, output, size - at)?;
    Ok(hasher.finish())
}

fn zeros<W: Write + ?Sized>(content: &dyn Content, output: &mut W, mut count: u64) -> Result<()> {
    while count > 0 {
        content.go_on().map_err(Error::io("read", "a file's content"))?;
        let length = usize::try_from(count).map_or(ZEROS.len(), |count| count.min(ZEROS.len()));
        output.write_all(&ZEROS[..length]).map_err(output_error)?;
        count -= length as u64;
    }
    Ok(())
}

/// Leaves holes as they are where it can: of a few bytes in an archive they can be longer than any disk.
fn holes(content: &dyn Content, spool: &mut Scratch, count: u64) -> Result<()> {
    if spool.pass(count).map_err(Error::io("write", "a temporary file"))? {
        return Ok(());
    }
    zeros(content, spool, count)
}

fn output_error(source: io::Error) -> Error {
    Error::Io { action: "write", subject: "the content".into(), source }
}

fn no_file(part: &Part, kind: Kind, target: Option<&[u8]>) -> Error {
    let path = part.label(&part.path);
    let target =
        target.map(|target| format!(" to {}; links are not followed", crate::tree::path::printable(target)));
    Error::Unsupported(format!("{path} is {}{}", kind.described(), target.unwrap_or_default()))
}

/// What the index says of a file.
enum Answer {
    /// Its content is that of this member.
    Member(MemberName),
    /// Its content is in the base, and has this digest if the index tells.
    Base(TreePath, Option<Digest>),
}

struct Target {
    part: Part,
    /// Its name in the archive.
    own: MemberName,
    /// Its line, or that of the other name that is looked for.
    line: Option<Line>,
    /// The deepest line of what it lies in.
    above: Option<Line>,
    spool: Option<Rc<RefCell<Written>>>,
}

impl Target {
    /// Writes the content that came.
    fn write(&mut self, output: &mut dyn Write) -> Result<()> {
        let Some(spool) = &mut self.spool else { return Err(self.part.not_there()) };
        let mut spool = spool.borrow_mut();
        let failed = || Error::io("read back", "a temporary file");
        spool.rewind().map_err(failed())?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            match io::Read::read(&mut *spool, &mut buffer).map_err(failed())? {
                0 => return Ok(()),
                read => output.write_all(&buffer[..read]).map_err(output_error)?,
            }
        }
    }

    /// What the lines say that were found. `elsewhere` is the other name that was looked for.
    fn answer(&self, elsewhere: Option<&MemberName>) -> Result<Answer> {
        let part = &self.part;
        let in_base = |name: &MemberName, digest| {
            let path = part.in_dataset(name).filter(|_| part.is_delta);
            path.map(|path| Answer::Base(path, digest)).ok_or_else(|| part.not_there())
        };
        let name = elsewhere.unwrap_or(&self.own);
        let Some(line) = &self.line else {
            return match self.above.as_ref().filter(|_| elsewhere.is_none()) {
                Some(above) => match &above.entry {
                    None => Err(part.not_there()),
                    Some(entry) if entry.kind == Kind::Symlink => {
                        let link = part.in_dataset(&above.name).unwrap_or_default();
                        Err(leads_through(&part.path, &link, entry.target.as_deref().unwrap_or_default()))
                    }
                    Some(entry) if entry.kind != Kind::Directory => Err(part.not_there()),
                    // What replaced something else, or is new, has nothing of the base in it.
                    Some(_) if above.replaced.as_ref().is_none_or(|was| was.kind != Kind::Directory) => {
                        Err(part.not_there())
                    }
                    Some(_) => in_base(name, None),
                },
                None => in_base(name, None),
            };
        };
        match (&line.role, &line.entry) {
            (Role::Link { to }, Some(entry)) if entry.kind == Kind::File => Ok(Answer::Member(to.clone())),
            (Role::Member { .. }, Some(entry)) if entry.kind == Kind::File => {
                Ok(Answer::Member(name.clone()))
            }
            (Role::Metadata { digest }, Some(entry)) if entry.kind == Kind::File => in_base(name, *digest),
            (_, Some(entry)) => Err(no_file(part, entry.kind, entry.target.as_deref())),
            (_, None) => Err(part.not_there()),
        }
    }
}

/// Reads an archive for files.
struct Search<'a> {
    files: &'a [Locator],
    dataset: &'a str,
    keys: &'a Keys,
    interrupted: &'a AtomicBool,
    /// Another name than that of the one file.
    elsewhere: Option<MemberName>,
    targets: Vec<Target>,
}

impl<'a> Search<'a> {
    fn new(files: &'a [Locator], dataset: &'a str, keys: &'a Keys, interrupted: &'a AtomicBool) -> Self {
        Self { files, dataset, keys, interrupted, elsewhere: None, targets: Vec::new() }
    }

    fn run(&mut self, input: Input, interrupted: &Arc<AtomicBool>) -> Result<()> {
        let opened = input.with(self.keys.clone()).open(interrupted)?;
        let read = archive::select(opened.source, &opened.name, self).map_err(Error::from);
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        read?;
        Ok(())
    }

    fn check(&self) -> Result<()> {
        if self.interrupted.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

impl Visitor for Search<'_> {
    fn manifest(&mut self, manifest: &Manifest) -> archive::Result<()> {
        for file in self.files {
            let part = Part::find(manifest, file, self.dataset)?;
            let own = part.path.components().fold(part.root.clone(), |path, name| path.join(name));
            self.targets.push(Target {
                part,
                own: MemberName::new(own),
                line: None,
                above: None,
                spool: None,
            });
        }
        Ok(())
    }

    fn wants(&mut self, line: &Line) -> bool {
        let file = matches!(line.role, Role::Member { .. })
            && line.entry.as_ref().is_some_and(|entry| entry.kind == Kind::File);
        let elsewhere = self.elsewhere.as_ref();
        file && self.targets.iter().any(|target| *elsewhere.unwrap_or(&target.own) == line.name)
    }

    fn member(&mut self, line: &Line, content: Option<&mut dyn Content>) -> archive::Result<()> {
        self.check()?;
        let Some(content) = content else { return Ok(()) };
        // Of a file that comes several times the last one counts.
        let failed = |action| Error::io(action, "a temporary file");
        let secret = !self.keys.identities().is_empty();
        let mut spool = Scratch::new(&std::env::temp_dir(), secret).map_err(failed("make"))?;
        copy(content, &mut spool, holes)?;
        let spool = Rc::new(RefCell::new(spool.finish().map_err(failed("write"))?));
        let elsewhere = self.elsewhere.as_ref();
        for target in &mut self.targets {
            if *elsewhere.unwrap_or(&target.own) == line.name {
                target.spool = Some(Rc::clone(&spool));
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &Line) -> archive::Result<()> {
        self.check()?;
        let elsewhere = self.elsewhere.as_ref();
        for target in &mut self.targets {
            if line.name == *elsewhere.unwrap_or(&target.own) {
                target.line = Some(line.clone());
            } else if line.name.path().is_above(target.own.path())
                && target.part.in_dataset(&line.name).is_some()
                && target.above.as_ref().is_none_or(|above| above.name.path().is_above(line.name.path()))
            {
                target.above = Some(line.clone());
            }
        }
        Ok(())
    }

    fn failure(&mut self, failure: &Failure) -> archive::Result<()> {
        match self.targets.iter().find(|target| target.part.resource == failure.resource as usize) {
            Some(target) => Err(not_whole(&target.part, failure).into()),
            None => Ok(()),
        }
    }
}
