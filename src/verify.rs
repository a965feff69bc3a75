//! Reading an archive to prove it whole: every digest, every header against its index line, the seal. Needs no base and no pool.

mod repair;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::archive::{self, Failure, Line, Manifest, Seal, Signed, Visitor};
use crate::confine::{self, Allowed};
use crate::error::{Error, Result};
use crate::event::{Observer, Step};
use crate::input::{Input, Opened};
use crate::step::{Meter, Steps};
use crate::tree::Content;

pub use repair::{Location, examine, locate};

/// What a whole archive holds.
#[derive(Clone, Debug)]
pub struct Report {
    /// Its manifest.
    pub manifest: Manifest,
    /// Its seal.
    pub seal: Seal,
    /// Its signature.
    pub signed: Option<Signed>,
    /// Files that changed each time they were read at export; what is archived of them may be a mixture.
    pub unstable: Vec<String>,
    /// Resources that failed while they were exported: nothing of them can be used.
    pub failed: Vec<Failure>,
}

/// Reads the whole archive `input`.
pub fn verify(mut input: Input, observer: &dyn Observer, interrupted: &Arc<AtomicBool>) -> Result<Report> {
    let allowed = Allowed::nothing().and_temporary(input.is_foreign()?);
    confine::run(&allowed, || prove(input, observer, interrupted))
}

fn prove(input: Input, observer: &dyn Observer, interrupted: &Arc<AtomicBool>) -> Result<Report> {
    let steps = Steps::new(observer, &input.name());
    let opened = input.open(interrupted)?;
    steps.run(Step::Verify, None, opened.total_bytes, |meter| {
        let mut check = Check {
            meter,
            read_bytes: opened.read_bytes,
            by_file: opened.total_bytes.is_some(),
            interrupted,
            manifest: None,
            signed: None,
            unstable: Vec::new(),
            failed: Vec::new(),
        };
        let read = archive::read(opened.source, &opened.name, &mut check).map_err(Error::from);
        if interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let seal = read?;
        let manifest = check.manifest.ok_or_else(|| Error::Refused("it has no manifest".into()))?;
        Ok(Report { manifest, seal, signed: check.signed, unstable: check.unstable, failed: check.failed })
    })
}

/// What an archive says that it holds: its manifest, from the head of a file or pipe.
///
/// Where a signature is required, the index is read too, and of a pipe everything, to prove it; only then it is told. Of what another
/// tool wrote all headers are read.
pub fn info(mut input: Input, interrupted: &Arc<AtomicBool>) -> Result<(Manifest, Option<Signed>)> {
    let allowed = Allowed::nothing().and_temporary(input.is_foreign()?);
    confine::run(&allowed, || described(input.open(interrupted)?, interrupted))
}

pub(crate) fn described(opened: Opened, interrupted: &AtomicBool) -> Result<(Manifest, Option<Signed>)> {
    if let Some(origin) = &opened.origin {
        // It is known, and what it is of need not be read once more.
        return Ok((origin.manifest.clone(), None));
    }
    if !opened.must_be_signed {
        return Ok((archive::reader::read_manifest(opened.source, &opened.name)?, None));
    }
    let mut head = Head { interrupted, manifest: None, signed: None };
    archive::select(opened.source, &opened.name, &mut head)?;
    let manifest = head.manifest.ok_or_else(|| Error::Refused("it has no manifest".into()))?;
    Ok((manifest, head.signed))
}

/// Wants to know who signed a manifest, and nothing else.
struct Head<'a> {
    interrupted: &'a AtomicBool,
    manifest: Option<Manifest>,
    signed: Option<Signed>,
}

impl Visitor for Head<'_> {
    fn manifest(&mut self, manifest: &Manifest) -> archive::Result<()> {
        self.manifest = Some(manifest.clone());
        Ok(())
    }

    fn wants(&mut self, _: &Line) -> bool {
        false
    }

    fn member(&mut self, _: &Line, _: Option<&mut dyn Content>) -> archive::Result<()> {
        Ok(())
    }

    fn line(&mut self, _: &Line) -> archive::Result<()> {
        if self.interrupted.load(Ordering::Relaxed) { Err(Error::Interrupted.into()) } else { Ok(()) }
    }

    fn failure(&mut self, _: &Failure) -> archive::Result<()> {
        Ok(())
    }

    fn signature(&mut self, signed: &Signed) -> archive::Result<()> {
        self.signed = Some(signed.clone());
        Ok(())
    }
}

struct Check<'a> {
    meter: &'a Meter<'a>,
    read_bytes: Arc<AtomicU64>,
    by_file: bool,
    interrupted: &'a AtomicBool,
    manifest: Option<Manifest>,
    signed: Option<Signed>,
    unstable: Vec<String>,
    failed: Vec<Failure>,
}

impl Visitor for Check<'_> {
    fn manifest(&mut self, manifest: &Manifest) -> archive::Result<()> {
        self.manifest = Some(manifest.clone());
        Ok(())
    }

    fn member(&mut self, line: &Line, _: Option<&mut dyn Content>) -> archive::Result<()> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(Error::Interrupted.into());
        }
        if self.by_file {
            self.meter.set(self.read_bytes.load(Ordering::Relaxed), 0);
        } else {
            self.meter.add(line.entry.as_ref().map_or(0, |entry| entry.size), 1);
        }
        Ok(())
    }

    fn line(&mut self, line: &Line) -> archive::Result<()> {
        if line.unstable {
            self.unstable.push(line.name.to_string());
        }
        Ok(())
    }

    fn failure(&mut self, failure: &Failure) -> archive::Result<()> {
        self.failed.push(failure.clone());
        Ok(())
    }

    fn signature(&mut self, signed: &Signed) -> archive::Result<()> {
        self.signed = Some(signed.clone());
        Ok(())
    }
}
