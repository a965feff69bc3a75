//! All that a reader sees of an archive.

use std::io::Cursor;

use remand::archive::digest::{Digest, of_content};
use remand::archive::{self, Error, Failure, Line, Manifest, Result, Seal, Source, Visitor};
use remand::tree::Content;

/// Everything that a restore is made from.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Sight {
    manifest: Option<Manifest>,
    /// With their content, holes too.
    members: Vec<(Line, Option<(Vec<(u64, u64)>, Digest)>)>,
    lines: Vec<Line>,
    failures: Vec<Failure>,
    seal: Option<Seal>,
}

impl Visitor for Sight {
    fn manifest(&mut self, manifest: &Manifest) -> Result<()> {
        self.manifest = Some(manifest.clone());
        Ok(())
    }

    fn member(&mut self, line: &Line, content: Option<&mut dyn Content>) -> Result<()> {
        let failed = |source| Error::Source { member: line.name.to_string(), source };
        let read = content
            .map(|content| {
                let extents = content.extents().iter().map(|extent| (extent.offset, extent.length)).collect();
                of_content(content).map(|digest| (extents, digest))
            })
            .transpose();
        self.members.push((line.clone(), read.map_err(failed)?));
        Ok(())
    }

    fn line(&mut self, line: &Line) -> Result<()> {
        self.lines.push(line.clone());
        Ok(())
    }

    fn failure(&mut self, failure: &Failure) -> Result<()> {
        self.failures.push(failure.clone());
        Ok(())
    }
}

/// Reads an archive as `verify` and `restore` do.
pub(crate) fn see(bytes: &[u8]) -> Result<Sight> {
    see_source(Source::Stream(Box::new(Cursor::new(bytes.to_vec()))))
}

pub(crate) fn see_source(source: Source) -> Result<Sight> {
    let mut sight = Sight::default();
    let seal = archive::read(source, "the archive", &mut sight)?;
    sight.seal = Some(seal);
    Ok(sight)
}

/// Whether an archive is told to be damaged or refused. `None` if it is whole; fails the test on everything else.
#[track_caller]
pub(crate) fn found(bytes: &[u8], what: &str) -> Option<String> {
    match see(bytes) {
        Ok(_) => None,
        Err(error @ (Error::Damaged(_) | Error::Refused(_))) => Some(error.to_string()),
        Err(error) => panic!("{what}: {error:?}"),
    }
}
